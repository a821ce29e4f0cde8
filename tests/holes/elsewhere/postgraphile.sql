-- PostGraphile: a visitor, sessions kept in a table, and three schemas.

-- the platform
create role app_owner login;
create role app_authenticator login noinherit;
create role app_visitor nologin;
grant app_visitor to app_authenticator;
create schema app_public authorization app_owner;
create schema app_hidden authorization app_owner;
create schema app_private authorization app_owner;
revoke all on schema public from public;
grant usage on schema public, app_public, app_hidden to app_visitor;
alter default privileges for role app_owner in schema app_public, app_hidden grant usage, select on sequences to app_visitor;
alter default privileges for role app_owner in schema app_public, app_hidden grant execute on functions to app_visitor;
alter default privileges for role app_owner revoke all on functions from public;
set local role app_owner;
create table app_public.users (id uuid primary key default gen_random_uuid(), username text not null unique, is_admin boolean not null default false);
create table app_private.sessions (uuid uuid primary key default gen_random_uuid(), user_id uuid not null references app_public.users on delete cascade);
alter table app_private.sessions enable row level security;
alter table app_public.users enable row level security;
create function app_public.current_session_id() returns uuid language sql stable as $$ select nullif(pg_catalog.current_setting('jwt.claims.session_id', true), '')::uuid; $$;
create function app_public.current_user_id() returns uuid language sql stable security definer set search_path to pg_catalog, public, pg_temp as $$ select user_id from app_private.sessions where uuid = app_public.current_session_id(); $$;
create policy select_self on app_public.users for select using (id = app_public.current_user_id());
create policy update_self on app_public.users for update using (id = app_public.current_user_id());
grant select on app_public.users to app_visitor;
grant update (username) on app_public.users to app_visitor;
create table app_private.user_secrets (user_id uuid not null primary key references app_public.users, password_hash text);
alter table app_private.user_secrets enable row level security;
create table app_public.user_emails (id uuid primary key default gen_random_uuid(), user_id uuid not null default app_public.current_user_id() references app_public.users on delete cascade, email text not null, is_verified boolean not null default false, unique (user_id, email));
alter table app_public.user_emails enable row level security;
create policy select_own on app_public.user_emails for select using (user_id = app_public.current_user_id());
create policy insert_own on app_public.user_emails for insert with check (user_id = app_public.current_user_id());
create policy delete_own on app_public.user_emails for delete using (user_id = app_public.current_user_id());
grant select, insert (email), delete on app_public.user_emails to app_visitor;
create function app_private.tg__timestamps() returns trigger language plpgsql set search_path to pg_catalog, public, pg_temp as $$ begin new.email = lower(new.email); return new; end $$;
create trigger _100_timestamps before insert or update on app_public.user_emails for each row execute function app_private.tg__timestamps();
reset role;

-- sound: organisations, joined by invitation
set local role app_owner;
create table app_public.organizations (id uuid primary key default gen_random_uuid(), name text);
create table app_public.organization_memberships (id uuid primary key default gen_random_uuid(), organization_id uuid not null references app_public.organizations, user_id uuid not null references app_public.users, is_owner boolean not null default false, unique (organization_id, user_id));
alter table app_public.organizations enable row level security;
alter table app_public.organization_memberships enable row level security;
create function app_public.current_user_member_organization_ids() returns setof uuid language sql stable security definer set search_path to pg_catalog, public, pg_temp as $$ select organization_id from app_public.organization_memberships where user_id = app_public.current_user_id(); $$;
create policy select_member on app_public.organizations for select using (id in (select app_public.current_user_member_organization_ids()));
create policy select_member on app_public.organization_memberships for select using (organization_id in (select app_public.current_user_member_organization_ids()));
grant select on app_public.organizations, app_public.organization_memberships to app_visitor;
create function app_public.create_organization(name text) returns app_public.organizations language plpgsql security definer set search_path to pg_catalog, public, pg_temp as $$
declare
  made app_public.organizations;
begin
  if app_public.current_user_id() is null then
    raise exception 'log in' using errcode = 'LOGIN';
  end if;
  insert into app_public.organizations (name) values (name) returning * into made;
  insert into app_public.organization_memberships (organization_id, user_id, is_owner) values (made.id, app_public.current_user_id(), true);
  return made;
end $$;
reset role;

-- everybody reads: hole policy all_emails on app_public.user_emails
create policy all_emails on app_public.user_emails for select using (true);

-- secrets by argument: hole security_definer app_public.secret_of(uuid)
set local role app_owner;
create function app_public.secret_of(wanted uuid) returns text language sql stable security definer set search_path to pg_catalog, public, pg_temp as $$ select password_hash from app_private.user_secrets where user_id = wanted $$;
reset role;

-- sessions to write: hole membership app_private.sessions.user_id
grant usage on schema app_private to app_visitor;
grant select, insert, update on app_private.sessions to app_visitor;
create policy own on app_private.sessions to app_visitor using (uuid = app_public.current_session_id());

-- a table without row security: hole row_security app_public.inboxes
create table app_public.inboxes (id uuid primary key default gen_random_uuid(), user_id uuid not null, body text);
grant select, insert on app_public.inboxes to app_visitor;
