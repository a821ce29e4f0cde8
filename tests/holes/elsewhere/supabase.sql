-- Supabase: what the platform brings, and what projects put into it. The first block is the empty platform.

-- the platform
create role supabase_admin superuser login;
create role anon nologin noinherit;
create role authenticated nologin noinherit;
create role service_role nologin noinherit bypassrls;
create role authenticator noinherit login;
grant anon, authenticated, service_role to authenticator;
create role supabase_auth_admin noinherit createrole login;
create role supabase_storage_admin noinherit createrole login;
create role supabase_replication_admin login replication;
create role supabase_read_only_user login bypassrls;
grant pg_read_all_data to supabase_read_only_user;
create role dashboard_user nologin createrole createdb replication;
create role pgbouncer login;
grant authenticator to supabase_storage_admin;
alter role anon set statement_timeout = '3s';
alter role authenticated set statement_timeout = '8s';
alter role authenticator set session_preload_libraries = 'safeupdate';
create schema extensions;
grant usage on schema extensions to anon, authenticated, service_role;
create schema auth authorization supabase_admin;
create schema storage authorization supabase_admin;
create schema realtime authorization supabase_admin;
create schema graphql_public;
create schema vault;
create schema pgbouncer;
grant usage on schema auth, storage, realtime, graphql_public to anon, authenticated, service_role;
grant usage on schema public to anon, authenticated, service_role;
alter default privileges in schema public grant all on tables to anon, authenticated, service_role;
alter default privileges in schema public grant all on functions to anon, authenticated, service_role;
alter default privileges in schema public grant all on sequences to anon, authenticated, service_role;
alter default privileges for role supabase_admin in schema public grant all on tables to anon, authenticated, service_role;
alter default privileges in schema storage grant all on tables to anon, authenticated, service_role;
alter default privileges in schema graphql_public grant all on functions to anon, authenticated, service_role;
create table auth.users (id uuid primary key, email text, raw_user_meta_data jsonb, created_at timestamptz default now());
create table auth.refresh_tokens (id bigserial primary key, token text, user_id text);
create table auth.sessions (id uuid primary key, user_id uuid references auth.users on delete cascade);
alter table auth.users enable row level security;
alter table auth.refresh_tokens enable row level security;
alter table auth.sessions enable row level security;
alter table auth.users owner to supabase_auth_admin;
alter table auth.refresh_tokens owner to supabase_auth_admin;
alter table auth.sessions owner to supabase_auth_admin;
create function auth.uid() returns uuid language sql stable as $$
  select coalesce(nullif(current_setting('request.jwt.claim.sub', true), ''), (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub'))::uuid
$$;
create function auth.role() returns text language sql stable as $$
  select coalesce(nullif(current_setting('request.jwt.claim.role', true), ''), (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'role'))::text
$$;
create function auth.email() returns text language sql stable as $$
  select coalesce(nullif(current_setting('request.jwt.claim.email', true), ''), (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'email'))::text
$$;
create function auth.jwt() returns jsonb language sql stable as $$
  select coalesce(nullif(current_setting('request.jwt.claim', true), ''), nullif(current_setting('request.jwt.claims', true), ''))::jsonb
$$;
alter function auth.uid() owner to supabase_auth_admin;
alter function auth.role() owner to supabase_auth_admin;
alter function auth.email() owner to supabase_auth_admin;
create table storage.buckets (id text primary key, name text not null, owner uuid, public boolean default false, created_at timestamptz default now());
create table storage.objects (id uuid primary key default gen_random_uuid(), bucket_id text references storage.buckets, name text, owner uuid, owner_id text, created_at timestamptz default now());
create table storage.migrations (id integer primary key, name text not null unique);
create unique index bucketid_objname on storage.objects (bucket_id, name);
alter table storage.buckets enable row level security;
alter table storage.objects enable row level security;
alter table storage.migrations enable row level security;
alter table storage.buckets owner to supabase_storage_admin;
alter table storage.objects owner to supabase_storage_admin;
alter table storage.migrations owner to supabase_storage_admin;
create function storage.foldername(name text) returns text[] language plpgsql immutable as $$ declare parts text[]; begin select string_to_array(name, '/') into parts; return parts[1:array_length(parts, 1) - 1]; end $$;
create function storage.filename(name text) returns text language plpgsql as $$ begin return split_part(name, '/', -1); end $$;
create function storage.search(prefix text, bucketname text) returns table (name text, id uuid) language plpgsql stable as $$ begin return query execute 'select o.name, o.id from storage.objects o where o.bucket_id = $1 and o.name like $2' using bucketname, prefix || '%'; end $$;
create table realtime.messages (id uuid primary key default gen_random_uuid(), topic text not null, extension text not null, payload jsonb);
alter table realtime.messages enable row level security;
grant select, insert, update on realtime.messages to anon, authenticated, service_role;
create table realtime.subscription (id bigint generated always as identity primary key, subscription_id uuid not null, claims jsonb not null);
grant select on realtime.subscription to anon, authenticated, service_role;
create function realtime.topic() returns text language sql stable as $$ select nullif(current_setting('realtime.topic', true), '')::text $$;
create function realtime.send(payload jsonb, event text, topic text, private boolean default true) returns void language plpgsql as $$ begin insert into realtime.messages (payload, extension, topic) values (payload, event, topic); exception when others then raise warning 'not sent'; end $$;
create function graphql_public.graphql(query text) returns jsonb language sql as $$ select jsonb_build_object('errors', query) $$;
create function extensions.grant_pg_cron_access() returns event_trigger language plpgsql as $$ begin
  if exists (select from pg_event_trigger_ddl_commands() where object_identity = 'pg_cron') then
    grant usage on schema cron to postgres with grant option;
    alter default privileges in schema cron grant all on tables to postgres with grant option;
  end if;
end $$;
create function extensions.set_graphql_placeholder() returns event_trigger language plpgsql as $$ begin
  execute 'create or replace function graphql_public.graphql(query text) returns jsonb language sql as ''select null::jsonb''';
  execute 'grant usage on schema graphql_public to anon, authenticated';
end $$;
create function extensions.pgrst_ddl_watch() returns event_trigger language plpgsql as $$ declare cmd record; begin
  for cmd in select * from pg_event_trigger_ddl_commands() loop
    if cmd.command_tag in ('CREATE TABLE', 'ALTER TABLE', 'GRANT', 'REVOKE', 'CREATE FUNCTION') then notify pgrst, 'reload schema'; end if;
  end loop;
end $$;
alter function extensions.grant_pg_cron_access() owner to supabase_admin;
alter function extensions.set_graphql_placeholder() owner to supabase_admin;
alter function extensions.pgrst_ddl_watch() owner to supabase_admin;
create event trigger issue_pg_cron_access on ddl_command_end when tag in ('CREATE EXTENSION') execute function extensions.grant_pg_cron_access();
create event trigger issue_graphql_placeholder on sql_drop when tag in ('DROP EXTENSION') execute function extensions.set_graphql_placeholder();
create event trigger pgrst_ddl_watch on ddl_command_end execute function extensions.pgrst_ddl_watch();
create function pgbouncer.get_auth(p_usename text) returns table (username text, password text) language plpgsql security definer as $$ begin return query select usename::text, passwd::text from pg_catalog.pg_shadow where usename = p_usename; end $$;
revoke all on function pgbouncer.get_auth(text) from public;
grant execute on function pgbouncer.get_auth(text) to pgbouncer;
create publication supabase_realtime;

-- sound: idioms
create table public.profiles (id uuid primary key references auth.users on delete cascade, username text, website text);
alter table public.profiles enable row level security;
create policy "Users can view own profile" on public.profiles for select using (auth.uid() = id);
create policy "Users can insert own profile" on public.profiles for insert with check ((select auth.uid()) = id);
create policy "Users can update own profile" on public.profiles for update using ((select auth.uid()) = id);
create table public.todos (id bigint generated by default as identity primary key, user_id uuid not null references auth.users, task text check (char_length(task) > 3), is_complete boolean default false);
alter table public.todos enable row level security;
create policy "own todos" on public.todos for all to authenticated using ((select auth.uid()) = user_id) with check ((select auth.uid()) = user_id);
create table public.notes (id uuid primary key default gen_random_uuid(), owner text not null default auth.uid()::text, note text);
alter table public.notes enable row level security;
create policy "own notes" on public.notes to authenticated using (auth.uid()::text = owner);
create table public.letters (id uuid primary key default gen_random_uuid(), owner_id text not null, body text);
alter table public.letters enable row level security;
create policy "own letters" on public.letters to authenticated using ((auth.jwt() ->> 'sub') = owner_id) with check (owner_id = (select auth.jwt() ->> 'sub'));
create table public.jobs (id uuid primary key default gen_random_uuid(), user_id uuid not null, state text);
alter table public.jobs enable row level security;
create policy "own jobs, or the service" on public.jobs using (auth.uid() = user_id or auth.role() = 'service_role');
create table public.countries (id bigint primary key, name text);
alter table public.countries enable row level security;
create policy "for all to read" on public.countries for select using (true);
create table public.addresses (id uuid primary key default gen_random_uuid(), user_id uuid not null default auth.uid(), country_id bigint references public.countries, line text);
alter table public.addresses enable row level security;
create policy "own addresses" on public.addresses to authenticated using (user_id = auth.uid()) with check (user_id = auth.uid());
alter publication supabase_realtime add table public.countries;

-- sound: a profile for each new user
create table public.people (id uuid primary key references auth.users on delete cascade, name text);
alter table public.people enable row level security;
create policy "own person" on public.people for select to authenticated using (id = (select auth.uid()));
create function public.handle_new_user() returns trigger language plpgsql security definer set search_path = '' as $$ begin insert into public.people (id, name) values (new.id, new.raw_user_meta_data ->> 'name'); return new; end $$;
create trigger on_auth_user_created after insert on auth.users for each row execute function public.handle_new_user();

-- sound: teams whose members their owners choose
create table public.teams (id uuid primary key default gen_random_uuid(), owner_id uuid not null default auth.uid(), name text);
create table public.team_members (team_id uuid references public.teams on delete cascade, user_id uuid references auth.users, primary key (team_id, user_id));
alter table public.teams enable row level security;
alter table public.team_members enable row level security;
create function public.is_member_of(wanted uuid) returns boolean language sql stable security definer set search_path = '' as $$ select exists (select 1 from public.team_members where team_id = wanted and user_id = auth.uid()) $$;
create policy "own teams" on public.teams to authenticated using (owner_id = auth.uid()) with check (owner_id = auth.uid());
create policy "teams of mine" on public.teams for select to authenticated using (public.is_member_of(id));
create policy "own rows" on public.team_members for select to authenticated using (user_id = auth.uid());
create policy "owners add" on public.team_members for insert to authenticated with check (exists (select 1 from public.teams t where t.id = team_members.team_id and t.owner_id = auth.uid()));
create policy "owners remove" on public.team_members for delete to authenticated using (exists (select 1 from public.teams t where t.id = team_members.team_id and t.owner_id = auth.uid()));
create table public.team_docs (id uuid primary key default gen_random_uuid(), team_id uuid not null references public.teams, body text);
alter table public.team_docs enable row level security;
create policy "members" on public.team_docs to authenticated using (team_id in (select m.team_id from public.team_members m where m.user_id = (select auth.uid()))) with check (public.is_member_of(team_id));

-- sound: files in a folder of one's own
create policy "own folder" on storage.objects to authenticated using (bucket_id = 'files' and (storage.foldername(name))[1] = auth.uid()::text) with check (bucket_id = 'files' and (storage.foldername(name))[1] = (select auth.uid()::text));

-- sound: own files
create policy "own files" on storage.objects for select to authenticated using (owner = auth.uid());

-- sound: a profile that the user may not promote
create table public.accounts (id uuid primary key references auth.users, name text, role text not null default 'user');
alter table public.accounts enable row level security;
create policy "own account" on public.accounts for select to authenticated using (id = auth.uid());
create policy "rename" on public.accounts for update to authenticated using (id = auth.uid()) with check (id = auth.uid() and role = 'user');
create table public.invoices (id uuid primary key default gen_random_uuid(), total integer);
alter table public.invoices enable row level security;
create policy "admins" on public.invoices for select to authenticated using (exists (select 1 from public.accounts a where a.id = auth.uid() and a.role = 'admin'));

-- sound: a function for the signed-in user
create table public.orders (id uuid primary key default gen_random_uuid(), user_id uuid not null, total integer);
alter table public.orders enable row level security;
create policy "own orders" on public.orders for select to authenticated using (user_id = auth.uid());
create function public.cancel_order(wanted uuid) returns void language plpgsql security definer set search_path = '' as $$
begin
  if auth.uid() is null then
    raise exception 'sign in';
  end if;
  delete from public.orders where id = wanted and user_id = auth.uid();
end $$;
create function public.set_updated_at() returns trigger language plpgsql as $$ begin new.total := coalesce(new.total, 0); return new; end $$;
create trigger keeps before update on public.orders for each row execute function public.set_updated_at();

-- everybody reads: warning policy "see all" on public.diaries
create table public.diaries (id uuid primary key default gen_random_uuid(), user_id uuid not null default auth.uid(), body text);
alter table public.diaries enable row level security;
create policy "see all" on public.diaries for select using (true);
create policy "write own" on public.diaries for insert to authenticated with check (user_id = auth.uid());

-- everybody reads mail addresses: hole policy "see all" on public.contacts
create table public.contacts (id uuid primary key default gen_random_uuid(), user_id uuid not null default auth.uid(), billing_email text);
alter table public.contacts enable row level security;
create policy "see all" on public.contacts for select using (true);

-- everybody reads, although another policy restricts the rows: hole policy "see all" on public.notes
create table public.notes (id uuid primary key default gen_random_uuid(), user_id uuid not null default auth.uid(), body text);
alter table public.notes enable row level security;
create policy "see own" on public.notes for select to authenticated using (user_id = auth.uid());
create policy "see all" on public.notes for select to authenticated using (true);

-- a state in another language publishes rows: warning policy publicado on public.textos
create table public.textos (id uuid primary key default gen_random_uuid(), user_id uuid not null default auth.uid(), estado text not null default 'borrador');
alter table public.textos enable row level security;
create policy publicado on public.textos for select using (estado = 'publicado');

-- a state that each new row has: warning policy nuevos on public.textos
create table public.textos (id uuid primary key default gen_random_uuid(), user_id uuid not null default auth.uid(), estado text not null default 'nuevo');
alter table public.textos enable row level security;
create policy nuevos on public.textos for select using (estado = 'nuevo');

-- a view of some columns of users: warning view public.people
create table public.authors (id uuid primary key default auth.uid(), name text, website text, email text);
alter table public.authors enable row level security; create policy own on public.authors using (id = auth.uid());
create view public.people as select id, name from public.authors;
revoke all on public.people from anon, authenticated; grant select on public.people to authenticated;

-- a view of some columns of users that they may change: hole view public.people
create table public.authors (id uuid primary key default auth.uid(), name text, website text, email text);
alter table public.authors enable row level security; create policy own on public.authors using (id = auth.uid());
create view public.people as select id, name from public.authors;

-- a view of mail addresses by another name: hole view public.people
create table public.authors (id uuid primary key default auth.uid(), name text, website text, email text);
alter table public.authors enable row level security; create policy own on public.authors using (id = auth.uid());
create view public.people as select id, email as handle from public.authors;
revoke all on public.people from anon, authenticated; grant select on public.people to authenticated;

-- a view of whole rows: hole view public.people
create table public.authors (id uuid primary key default auth.uid(), name text, website text, email text);
alter table public.authors enable row level security; create policy own on public.authors using (id = auth.uid());
create view public.people as select to_jsonb(a) as person from public.authors a where a.name <> '';
revoke all on public.people from anon, authenticated; grant select on public.people to authenticated;

-- a view of all columns: hole view public.people
create table public.entries (id uuid primary key default gen_random_uuid(), user_id uuid not null default auth.uid(), topic text, body text);
alter table public.entries enable row level security; create policy own on public.entries using (user_id = auth.uid());
create view public.people as select id, user_id, topic, body from public.entries where body <> '';
revoke all on public.people from anon, authenticated; grant select on public.people to authenticated;

-- a view of some columns of all rows, which are not users: warning view public.people
create table public.entries (id uuid primary key default gen_random_uuid(), user_id uuid not null default auth.uid(), topic text, body text);
alter table public.entries enable row level security; create policy own on public.entries using (user_id = auth.uid());
create view public.people as select topic from public.entries;
revoke all on public.people from anon, authenticated; grant select on public.people to authenticated;

-- numbers of rows: warning materialized_view public.counts
create table public.entries (id uuid primary key default gen_random_uuid(), user_id uuid not null default auth.uid(), topic text, body text);
alter table public.entries enable row level security; create policy own on public.entries using (user_id = auth.uid());
create materialized view public.counts as select topic, count(*) as n from public.entries group by topic;

-- numbers of rows of each user: warning materialized_view public.counts
create table public.entries (id uuid primary key default gen_random_uuid(), user_id uuid not null default auth.uid(), topic text, body text);
alter table public.entries enable row level security; create policy own on public.entries using (user_id = auth.uid());
create materialized view public.counts as select user_id, count(*) as n from public.entries group by user_id;

-- a definer that finds a row by a code: warning security_definer public.claim(text)
create table public.devices (id uuid primary key default gen_random_uuid(), owner_id uuid, code text unique);
alter table public.devices enable row level security;
create policy "own devices" on public.devices to authenticated using (owner_id = auth.uid());
revoke all on public.devices from anon, authenticated; grant select (id, owner_id) on public.devices to authenticated;
create function public.claim(printed text) returns void language sql security definer set search_path = '' as $$ update public.devices set owner_id = auth.uid(), code = null where code = printed and owner_id is null $$;

-- a definer that finds a row by its id: warning security_definer public.claim(uuid)
create table public.devices (id uuid primary key default gen_random_uuid(), owner_id uuid, code text unique);
alter table public.devices enable row level security;
create policy "own devices" on public.devices to authenticated using (owner_id = auth.uid());
revoke all on public.devices from anon, authenticated; grant select (id, owner_id) on public.devices to authenticated;
create function public.claim(device uuid) returns void language sql security definer set search_path = '' as $$ update public.devices set owner_id = auth.uid(), code = null where id = device and owner_id is null $$;

-- a definer that sells a published row: warning security_definer public.buy(uuid)
create table public.offers (id uuid primary key default gen_random_uuid(), owner_id uuid not null, status text not null default 'draft');
alter table public.offers enable row level security;
create policy "own offers" on public.offers to authenticated using (owner_id = auth.uid());
create function public.buy(offer uuid) returns void language sql security definer set search_path = '' as $$ update public.offers set status = 'sold' where id = offer and status = 'published' and owner_id <> auth.uid() $$;

-- the same for anyone: warning security_definer public.buy(uuid)
create table public.offers (id uuid primary key default gen_random_uuid(), owner_id uuid not null, status text not null default 'draft');
alter table public.offers enable row level security;
create policy "own offers" on public.offers to authenticated using (owner_id = auth.uid());
create function public.buy(offer uuid) returns void language sql security definer set search_path = '' as $$ update public.offers set status = 'sold' where id = offer and status = 'published' $$;

-- all who signed in read: hole policy "signed in" on public.messages
create table public.messages (id uuid primary key default gen_random_uuid(), user_id uuid not null default auth.uid(), body text);
alter table public.messages enable row level security;
create policy "signed in" on public.messages for select using (auth.role() = 'authenticated');

-- all who have an id read: warning policy "has an id" on public.mails
create table public.mails (id uuid primary key default gen_random_uuid(), user_id uuid not null default auth.uid(), body text);
alter table public.mails enable row level security;
create policy "has an id" on public.mails for select using (auth.uid() is not null);

-- row security off: hole row_security public.leads
create table public.leads (id uuid primary key default gen_random_uuid(), email text);

-- what users write about themselves: hole policy "admins by metadata" on public.payments
create table public.payments (id uuid primary key default gen_random_uuid(), user_id uuid not null, total integer);
alter table public.payments enable row level security;
create policy "admins by metadata" on public.payments for select to authenticated using ((auth.jwt() -> 'user_metadata' ->> 'role') = 'admin');

-- a view of everybody: hole view public.mail_addresses
create view public.mail_addresses as select id, email from auth.users;

-- a view of the owner: hole view public.all_logs
create table public.logs (id uuid primary key default gen_random_uuid(), user_id uuid not null, line text);
alter table public.logs enable row level security;
create policy "own logs" on public.logs for select to authenticated using (user_id = auth.uid());
create view public.all_logs as select user_id, line from public.logs;

-- a definer by argument: hole security_definer public.orders_of(uuid)
create table public.purchases (id uuid primary key default gen_random_uuid(), user_id uuid not null, total integer);
alter table public.purchases enable row level security;
create policy "own purchases" on public.purchases for select to authenticated using (user_id = auth.uid());
create function public.orders_of(who uuid) returns setof public.purchases language sql stable security definer as $$ select * from public.purchases where user_id = who $$;

-- joining any team: hole membership public.members.team_id
create table public.members (team_id uuid not null, user_id uuid not null default auth.uid(), primary key (team_id, user_id));
alter table public.members enable row level security;
create policy "own rows" on public.members to authenticated using (user_id = auth.uid()) with check (user_id = auth.uid());
create table public.pages (id uuid primary key default gen_random_uuid(), team_id uuid not null, body text);
alter table public.pages enable row level security;
create policy "of the team" on public.pages for select to authenticated using (exists (select 1 from public.members m where m.team_id = pages.team_id and m.user_id = auth.uid()));

-- becoming an administrator: hole membership public.users.is_admin
create table public.users (id uuid primary key references auth.users, name text, is_admin boolean not null default false);
alter table public.users enable row level security;
create policy "own user" on public.users for select to authenticated using (id = auth.uid());
create policy "change own user" on public.users for update to authenticated using (id = auth.uid());
create function public.is_admin() returns boolean language sql stable security definer set search_path = '' as $$ select coalesce((select is_admin from public.users where id = auth.uid()), false) $$;
create table public.secrets (id uuid primary key default gen_random_uuid(), body text);
alter table public.secrets enable row level security;
create policy "admins only" on public.secrets to authenticated using (public.is_admin());

-- a copy: warning materialized_view public.totals
create table public.sales (id uuid primary key default gen_random_uuid(), user_id uuid not null, total integer);
alter table public.sales enable row level security;
create policy "own sales" on public.sales for select to authenticated using (user_id = auth.uid());
create materialized view public.totals as select user_id, sum(total) from public.sales group by user_id;

-- anybody's files: warning policy "all files" on storage.objects
create policy "all files" on storage.objects for select using (bucket_id = 'files');

-- inserts for anybody: warning policy add on public.comments
create table public.comments (id uuid primary key default gen_random_uuid(), user_id uuid not null, body text);
alter table public.comments enable row level security;
create policy "add" on public.comments for insert to authenticated with check (true);
create policy "own" on public.comments for select to authenticated using (user_id = auth.uid());

-- sound: uid in an array column
create table public.a (id uuid primary key default gen_random_uuid(), user_id uuid not null, shared_with uuid[] not null default '{}', t text);
alter table public.a enable row level security;
create policy o on public.a using (user_id = auth.uid()) with check (user_id = auth.uid());
create policy r on public.a for select using (auth.uid() = any (shared_with));

-- sound: parent scalar subselect
create table public.lists (id uuid primary key default gen_random_uuid(), user_id uuid not null default auth.uid(), t text);
create table public.items (id uuid primary key default gen_random_uuid(), list_id uuid not null references public.lists on delete cascade, t text);
alter table public.lists enable row level security; alter table public.items enable row level security;
create policy p on public.lists using (user_id = auth.uid()) with check (user_id = auth.uid());
create policy p on public.items using (auth.uid() = (select user_id from public.lists where lists.id = items.list_id));

-- sound: has_role with a guarded roles table
create type public.app_role as enum ('admin', 'user');
create table public.user_roles (id uuid primary key default gen_random_uuid(), user_id uuid not null references auth.users on delete cascade, role public.app_role not null, unique (user_id, role));
alter table public.user_roles enable row level security;
create policy r on public.user_roles for select to authenticated using (auth.uid() = user_id);
create function public.has_role(_user_id uuid, _role public.app_role) returns boolean language sql stable security definer set search_path = public as $$ select exists (select 1 from public.user_roles where user_id = _user_id and role = _role) $$;
create table public.reports (id uuid primary key default gen_random_uuid(), user_id uuid not null, t text);
alter table public.reports enable row level security;
create policy a on public.reports for select to authenticated using (public.has_role(auth.uid(), 'admin'));
create policy o on public.reports for select to authenticated using (user_id = auth.uid());

-- sound: items of a list that one owns, or an administrator
create table public.profiles (id uuid primary key references auth.users, is_admin boolean not null default false, name text);
alter table public.profiles enable row level security;
create policy r on public.profiles for select using (id = auth.uid());
create table public.lists (id uuid primary key default gen_random_uuid(), user_id uuid not null default auth.uid(), is_public boolean not null default false, t text);
create table public.items (id uuid primary key default gen_random_uuid(), list_id uuid not null references public.lists on delete cascade, t text);
alter table public.lists enable row level security; alter table public.items enable row level security;
create policy p on public.lists using (user_id = auth.uid()) with check (user_id = auth.uid());
create policy d on public.items for delete using (exists (select 1 from public.lists l where l.id = items.list_id and (l.user_id = auth.uid() or exists (select 1 from public.profiles where profiles.id = auth.uid() and profiles.is_admin = true))));
create policy s on public.items for select using (exists (select 1 from public.lists l where l.id = items.list_id and (l.user_id = auth.uid() or l.is_public = true)));

-- sound: shown by a flag
create table public.posts (id uuid primary key default gen_random_uuid(), author_id uuid not null, is_published boolean default false, visibility text, body text);
alter table public.posts enable row level security;
create policy a on public.posts for select using (is_published or author_id = auth.uid());
create policy b on public.posts for select using (visibility = 'public');
create policy w on public.posts for update using (author_id = auth.uid());

-- sound: user's counters by a trigger
create table public.posts (id uuid primary key default gen_random_uuid(), author_id uuid not null default auth.uid(), likes int not null default 0, body text);
create table public.likes (post_id uuid references public.posts, user_id uuid default auth.uid(), primary key (post_id, user_id));
alter table public.posts enable row level security; alter table public.likes enable row level security;
create policy o on public.posts using (author_id = auth.uid()); create policy o on public.likes using (user_id = auth.uid());
create function public.liked() returns trigger language plpgsql security definer as $$ begin update public.posts set likes = likes + 1 where id = new.post_id; return new; end $$;
create trigger liked after insert on public.likes for each row execute function public.liked();

-- sound: groups that any signed-in user may found
create table public.groups (id uuid primary key default gen_random_uuid(), name text);
create table public.group_members (group_id uuid references public.groups, user_id uuid references auth.users, primary key (group_id, user_id));
alter table public.groups enable row level security; alter table public.group_members enable row level security;
create policy i on public.groups for insert to authenticated with check (auth.uid() is not null);
create policy s on public.group_members for select using (user_id = auth.uid());
create policy r on public.groups for select using (id in (select group_id from public.group_members where user_id = auth.uid()));

-- sound: a catalogue that administrators write
create table public.profiles (id uuid primary key references auth.users, is_admin boolean not null default false, name text);
alter table public.profiles enable row level security;
create policy r on public.profiles for select using (id = auth.uid());
create table public.spells (id uuid primary key default gen_random_uuid(), name text, level int);
alter table public.spells enable row level security;
create policy r on public.spells for select using (true);
create policy a on public.spells for all using (exists (select 1 from public.profiles where profiles.id = auth.uid() and profiles.is_admin)) with check (exists (select 1 from public.profiles where profiles.id = auth.uid() and profiles.is_admin));

-- sound: file named by the user's id
create schema kit; grant usage on schema kit to authenticated;
create function kit.file_owner(name text) returns uuid language sql immutable as $$ select replace(storage.filename(name), '.png', '')::uuid $$;
create policy f on storage.objects to authenticated using (bucket_id = 'images' and kit.file_owner(name) = auth.uid());

-- sound: permissions in claims by group
create table public.data (id uuid primary key default gen_random_uuid(), group_id uuid not null, t text);
alter table public.data enable row level security;
create policy p on public.data using (((auth.jwt() -> 'app_metadata' -> 'groups') ? (group_id)::text));
create policy q on public.data for select using ((auth.jwt() -> 'app_metadata' -> 'groups' -> group_id::text ->> 'role') = 'admin');

-- is null or own: hole policy p on public.a
create table public.a (id uuid primary key default gen_random_uuid(), user_id uuid, t text);
alter table public.a enable row level security;
create policy p on public.a using (user_id is null or user_id = auth.uid());

-- coalesce identity: hole policy p on public.a
create table public.a (id uuid primary key default gen_random_uuid(), user_id uuid, t text);
alter table public.a enable row level security;
create policy p on public.a using (user_id = coalesce(auth.uid(), user_id));

-- exists joined to itself: hole policy p on public.docs
create table public.members (org_id uuid, user_id uuid, primary key (org_id, user_id));
create table public.docs (id uuid primary key default gen_random_uuid(), org_id uuid not null, t text);
alter table public.members enable row level security; alter table public.docs enable row level security;
create policy r on public.members for select using (user_id = auth.uid());
create policy p on public.docs using (exists (select 1 from public.members m where m.org_id = m.org_id and m.user_id = auth.uid()));

-- has_role with writable roles: hole membership public.user_roles.role
create type public.app_role as enum ('admin', 'user');
create table public.user_roles (id uuid primary key default gen_random_uuid(), user_id uuid not null references auth.users on delete cascade, role public.app_role not null, unique (user_id, role));
alter table public.user_roles enable row level security;
create policy r on public.user_roles to authenticated using (auth.uid() = user_id);
create function public.has_role(_user_id uuid, _role public.app_role) returns boolean language sql stable security definer set search_path = public as $$ select exists (select 1 from public.user_roles where user_id = _user_id and role = _role) $$;
create table public.reports (id uuid primary key default gen_random_uuid(), user_id uuid not null, t text);
alter table public.reports enable row level security;
create policy a on public.reports for select to authenticated using (public.has_role(auth.uid(), 'admin'));

-- count of one's own rows: warning policy p on public.a
create table public.profiles (id uuid primary key references auth.users, name text);
alter table public.profiles enable row level security;
create policy s on public.profiles for select using (id = auth.uid());
create table public.a (id uuid primary key default gen_random_uuid(), user_id uuid, t text);
alter table public.a enable row level security;
create policy p on public.a using ((select count(*) from public.profiles where id = auth.uid()) = 1);

-- has a profile: warning policy p on public.a
create table public.profiles (id uuid primary key references auth.users, name text);
alter table public.profiles enable row level security;
create policy s on public.profiles for select using (id = auth.uid());
create table public.a (id uuid primary key default gen_random_uuid(), user_id uuid, t text);
alter table public.a enable row level security;
create policy p on public.a using (exists (select 1 from public.profiles where id = auth.uid()));

-- role of the row's user: hole policy p on public.a
create table public.user_roles (user_id uuid, role text, primary key (user_id, role));
alter table public.user_roles enable row level security;
create policy s on public.user_roles for select using (user_id = auth.uid());
create function public.has_role(u uuid, r text) returns boolean language sql stable security definer set search_path = '' as $$ select exists (select 1 from public.user_roles where user_id = u and role = r) $$;
create table public.a (id uuid primary key default gen_random_uuid(), user_id uuid, t text);
alter table public.a enable row level security;
create policy p on public.a using (public.has_role(user_id, 'member'));

-- not in one's own: hole policy p on public.a
create table public.a (id uuid primary key default gen_random_uuid(), user_id uuid, t text);
alter table public.a enable row level security;
create policy p on public.a for select using (not (user_id = auth.uid()));

-- delete what is published: hole policy d on public.posts
create table public.posts (id uuid primary key default gen_random_uuid(), author_id uuid not null, is_published boolean default false, body text);
alter table public.posts enable row level security;
create policy o on public.posts for select using (author_id = auth.uid());
create policy d on public.posts for delete using (is_published or author_id = auth.uid());

-- ids of a given user: hole security_definer public.orgs_of(uuid)
create table public.members (org_id uuid, user_id uuid, primary key (org_id, user_id));
alter table public.members enable row level security;
create policy s on public.members for select using (user_id = auth.uid());
create function public.orgs_of(u uuid) returns setof uuid language sql stable security definer set search_path = '' as $$ select org_id from public.members where user_id = u $$;
create table public.docs (id uuid primary key default gen_random_uuid(), org_id uuid not null, t text);
alter table public.docs enable row level security;
create policy p on public.docs using (org_id in (select public.orgs_of(auth.uid())));

-- drafts: warning policy p on public.posts
create table public.posts (id uuid primary key default gen_random_uuid(), author_id uuid not null, status text, body text);
alter table public.posts enable row level security;
create policy p on public.posts for select using (status = 'draft' or author_id = auth.uid());

-- sound: administrators by a claim at the top level of the token
create table public.kinds (id bigint generated always as identity primary key, name text);
alter table public.kinds enable row level security;
create policy r on public.kinds for select using (true);
create policy w on public.kinds for update to authenticated using ((auth.jwt() ->> 'user_role') = 'admin');

-- sound: a definer of which each branch names the user
create table public.circles (id uuid primary key, user_id uuid not null, label text);
alter table public.circles enable row level security;
create policy own on public.circles using (user_id = auth.uid()) with check (user_id = auth.uid());
create function public.in_circle(wanted uuid) returns boolean language sql stable security definer set search_path = '' as 'select exists (select 1 from public.circles c where c.user_id = auth.uid() and c.id = wanted) or (exists (select 1 from public.circles c where c.user_id = auth.uid()) and wanted is null)';

-- one branch names nobody: warning security_definer public.in_any_circle(uuid)
create table public.circles (id uuid primary key, user_id uuid not null, label text);
alter table public.circles enable row level security;
create policy own on public.circles using (user_id = auth.uid()) with check (user_id = auth.uid());
create function public.in_any_circle(wanted uuid) returns boolean language sql stable security definer set search_path = '' as 'select exists (select 1 from public.circles c where c.user_id = auth.uid() and c.id = wanted) or exists (select 1 from public.circles c where c.id = wanted)';

-- sound: a log-in by password
create function extensions.crypt(text, text) returns text language sql immutable as 'select md5($1 || $2)';
create table public.logins (id uuid primary key, email text unique, hash text);
alter table public.logins enable row level security;
create function public.log_in(wanted text, password text) returns uuid language sql stable security definer set search_path = '' as 'select l.id from public.logins l where l.email = wanted and l.hash = extensions.crypt(password, l.hash)';

-- a claim that users write: hole policy w on public.kinds
create table public.kinds (id uuid primary key default gen_random_uuid(), name text);
alter table public.kinds enable row level security;
create policy w on public.kinds for update to authenticated using ((auth.jwt() -> 'user_metadata' ->> 'role') = 'admin');

-- sound: the tenant of the user, by a default argument
create table public.profiles (user_id uuid primary key references auth.users, tenant_id uuid not null, name text);
alter table public.profiles enable row level security;
create policy s on public.profiles for select using (user_id = auth.uid());
create function public.my_tenant(u uuid default auth.uid()) returns uuid language sql stable security definer set search_path = '' as $$ select tenant_id from public.profiles where user_id = u and u = auth.uid() $$;
create table public.docs (id uuid primary key default gen_random_uuid(), tenant_id uuid not null, body text);
alter table public.docs enable row level security;
create policy p on public.docs using (tenant_id = public.my_tenant());

-- sound: a variable of the setting
create table public.profiles (user_id uuid primary key references auth.users, name text);
alter table public.profiles enable row level security;
create policy s on public.profiles for select using (user_id = auth.uid());
create function public.rename(n text) returns void language plpgsql security definer set search_path = '' as $$ declare me uuid; begin me := nullif(current_setting('request.jwt.claim.sub', true), '')::uuid; update public.profiles set name = n where user_id = me; end $$;

-- sound: an owner deletes an organisation
create table public.members (org_id uuid, user_id uuid, is_owner boolean not null default false, primary key (org_id, user_id));
create table public.orgs (id uuid primary key default gen_random_uuid(), name text);
alter table public.members enable row level security; alter table public.orgs enable row level security;
create policy s on public.members for select using (user_id = auth.uid());
create policy o on public.orgs for select using (id in (select m.org_id from public.members m where m.user_id = auth.uid()));
create function public.dissolve(o uuid) returns void language plpgsql security definer set search_path = '' as $$ begin
  if exists (select 1 from public.members m where m.user_id = auth.uid() and m.org_id = o and m.is_owner) then
    delete from public.orgs where id = o;
  end if;
end $$;

-- sound: managers of a team add to it
create table public.team_members (team_id uuid, user_id uuid, role text not null default 'member', primary key (team_id, user_id));
create table public.team_docs (id uuid primary key default gen_random_uuid(), team_id uuid not null, body text);
alter table public.team_members enable row level security; alter table public.team_docs enable row level security;
create function public.manages(t uuid) returns boolean language sql stable security definer set search_path = '' as $$ select exists (select 1 from public.team_members m where m.team_id = t and m.user_id = auth.uid() and m.role = 'manager') $$;
create policy s on public.team_members for select using (user_id = auth.uid());
create policy i on public.team_members for insert with check (public.manages(team_id));
create policy p on public.team_docs for select using (exists (select 1 from public.team_members m where m.team_id = team_docs.team_id and m.user_id = auth.uid()));

-- one claim, trusted by several policies: warning policy claim user_role
create table public.kinds (id uuid primary key default gen_random_uuid(), name text);
alter table public.kinds enable row level security;
create policy r on public.kinds for select to authenticated using (true);
create policy w on public.kinds for update to authenticated using ((auth.jwt() ->> 'user_role') = 'admin');
create policy d on public.kinds for delete to authenticated using ((auth.jwt() ->> 'user_role') = 'admin');

-- true for each command: hole policy d on public.kinds, w on public.kinds
create table public.kinds (id uuid primary key default gen_random_uuid(), name text);
alter table public.kinds enable row level security;
create policy r on public.kinds for select to authenticated using (true);
create policy a on public.kinds for insert to authenticated with check (true);
create policy w on public.kinds for update to authenticated using (true);
create policy d on public.kinds for delete to authenticated using (true);

-- sound: a definer that reads a list of names
create table public.role_names (name text primary key);
alter table public.role_names enable row level security;
revoke all on public.role_names from anon, authenticated;
create function public.check_roles(wanted text[]) returns void language plpgsql security definer set search_path = '' as $$ begin
  if exists (select from unnest(wanted) w where w not in (select name from public.role_names)) then raise exception 'unknown role'; end if;
end $$;

-- sound: policies whose functions have the user as a default argument
create table public.profiles (user_id uuid primary key references auth.users, tenant_id uuid not null, name text);
create table public.grades (user_id uuid not null references auth.users, grade text not null, primary key (user_id, grade));
create table public.docs (id uuid primary key default gen_random_uuid(), tenant_id uuid not null, body text);
alter table public.profiles enable row level security; alter table public.grades enable row level security; alter table public.docs enable row level security;
create policy s on public.profiles for select using (user_id = auth.uid());
create policy s on public.grades for select using (user_id = auth.uid());
create function public.tenant_of(person uuid default auth.uid()) returns uuid language plpgsql stable set search_path = '' as $$ declare found uuid; begin
  if person is null then return null; end if;
  select tenant_id into found from public.profiles where user_id = person limit 1;
  return found;
end $$;
create function public.is_admin(user_id uuid default auth.uid()) returns boolean language sql stable security definer set search_path = '' as $$ select exists (select 1 from public.grades g where g.user_id = coalesce($1, auth.uid()) and g.grade = 'admin') $$;
create policy p on public.docs using (tenant_id = public.tenant_of());
create policy a on public.docs for delete using (public.is_admin());

-- another user's tenant by the same argument: warning security_definer public.tenant_of(uuid)
create table public.profiles (user_id uuid primary key references auth.users, tenant_id uuid not null, name text);
create table public.docs (id uuid primary key default gen_random_uuid(), tenant_id uuid not null, body text);
alter table public.profiles enable row level security; alter table public.docs enable row level security;
create policy s on public.profiles for select using (user_id = auth.uid());
create function public.tenant_of(person uuid default auth.uid()) returns uuid language plpgsql stable security definer set search_path = '' as $$ begin return (select tenant_id from public.profiles where user_id = person); end $$;
create policy p on public.docs using (tenant_id = public.tenant_of());

-- an argument with a default by which a caller deletes another user's rows: hole security_definer public.forget(uuid)
create table public.docs (id uuid primary key default gen_random_uuid(), user_id uuid not null, body text);
alter table public.docs enable row level security;
create policy p on public.docs using (user_id = auth.uid());
create function public.forget(person uuid default auth.uid()) returns boolean language plpgsql security definer set search_path = '' as $$ begin delete from public.docs where user_id = person; return found; end $$;

-- a default that is not the user: warning policy p on public.docs
create table public.profiles (user_id uuid primary key references auth.users, tenant_id uuid not null, name text);
create table public.docs (id uuid primary key default gen_random_uuid(), tenant_id uuid not null, body text);
alter table public.profiles enable row level security; alter table public.docs enable row level security;
create policy s on public.profiles for select using (user_id = auth.uid());
create function public.tenant_of(person uuid default '00000000-0000-0000-0000-000000000001') returns uuid language sql stable security definer set search_path = '' as $$ select tenant_id from public.profiles where user_id = person $$;
create policy p on public.docs for select using (tenant_id = public.tenant_of());
create policy q on public.docs for delete using (tenant_id = public.tenant_of(auth.uid()));

-- sound: select of rows that are not private
create table public.chats (id uuid primary key default gen_random_uuid(), user_id uuid not null, sharing text not null default 'private', is_private boolean not null default true);
alter table public.chats enable row level security;
create policy p on public.chats using (user_id = auth.uid());
create policy s on public.chats for select using (sharing <> 'private');
create policy t on public.chats for select using (not is_private);

-- select of private rows: warning policy s on public.chats
create table public.chats (id uuid primary key default gen_random_uuid(), user_id uuid not null, sharing text not null default 'private');
alter table public.chats enable row level security;
create policy p on public.chats using (user_id = auth.uid());
create policy s on public.chats for select using (sharing = 'private');

-- update of shared rows: hole policy s on public.chats
create table public.chats (id uuid primary key default gen_random_uuid(), user_id uuid not null, sharing text not null default 'private');
alter table public.chats enable row level security;
create policy p on public.chats using (user_id = auth.uid());
create policy s on public.chats for update using (sharing <> 'private');

-- sound: a catalogue that administrators write, and a list with a column that also names files
create table public.people (id uuid primary key references auth.users, is_admin boolean not null default false, notes text, image_url text);
create table public.monsters (id uuid primary key default gen_random_uuid(), name text, notes text, image_url text);
create table public.schools (id uuid primary key default gen_random_uuid(), name text unique, domain text);
alter table public.people enable row level security; alter table public.monsters enable row level security; alter table public.schools enable row level security;
create policy s on public.people for select using (id = auth.uid());
create policy s on public.monsters for select using (true);
create policy i on public.monsters for insert with check (exists (select from public.people p where p.id = auth.uid() and p.is_admin));
create policy s on public.schools for select to authenticated using (true);
create policy f on storage.objects for delete using ((storage.foldername(name))[1] = auth.uid()::text);

-- a copy of users' texts, which a trigger writes: warning policy s on public.feed
create table public.people (id uuid primary key references auth.users, is_admin boolean not null default false);
create table public.posts (id uuid primary key default gen_random_uuid(), user_id uuid not null, notes text, place text);
create table public.feed (id uuid primary key default gen_random_uuid(), notes text, place text);
alter table public.people enable row level security; alter table public.posts enable row level security; alter table public.feed enable row level security;
create policy s on public.people for select using (id = auth.uid());
create policy p on public.posts using (user_id = auth.uid());
create policy s on public.feed for select using (true);
create policy i on public.feed for insert with check (exists (select from public.people p where p.id = auth.uid() and p.is_admin));
create function public.publish() returns trigger language plpgsql security definer set search_path = '' as $$ begin insert into public.feed (notes, place) values (new.notes, new.place); return new; end $$;
create trigger publish after insert on public.posts for each row execute function public.publish();

-- sound: an invitation that is accepted by its token
create table public.invitations (id uuid primary key default gen_random_uuid(), team_id uuid not null, token text not null default md5(random()::text), invited_by uuid not null);
create table public.members (team_id uuid, user_id uuid, primary key (team_id, user_id));
alter table public.invitations enable row level security; alter table public.members enable row level security;
create policy o on public.invitations for select using (invited_by = auth.uid());
create policy s on public.members for select using (user_id = auth.uid());
create function public.accept(wanted text) returns uuid language plpgsql security definer set search_path = '' as $$ declare found uuid; begin
  select i.team_id into found from public.invitations i where i.invited_by <> auth.uid() and i.token = wanted;
  if found is null then raise exception 'unknown'; end if;
  insert into public.members (team_id, user_id) values (found, auth.uid());
  delete from public.invitations where token = wanted;
  return found;
end $$;

-- a definer that sets a token instead of comparing it: hole security_definer public.renew(uuid, text)
create table public.invitations (id uuid primary key default gen_random_uuid(), token text not null, user_id uuid not null);
alter table public.invitations enable row level security;
create policy o on public.invitations for select using (user_id = auth.uid());
create function public.renew(invitation uuid, fresh text) returns void language plpgsql security definer set search_path = '' as $$ begin update public.invitations set token = fresh where id = invitation; end $$;

-- a token accepted for a user of the caller's choice: warning security_definer public.accept_for(text, uuid)
create table public.invitations (id uuid primary key default gen_random_uuid(), team_id uuid not null, token text not null, invited_by uuid not null);
create table public.members (team_id uuid, user_id uuid, primary key (team_id, user_id));
alter table public.invitations enable row level security; alter table public.members enable row level security;
create policy o on public.invitations for select using (invited_by = auth.uid());
create policy s on public.members for select using (user_id = auth.uid());
create function public.accept_for(wanted text, person uuid) returns void language sql security definer set search_path = '' as $$ insert into public.members (team_id, user_id) select i.team_id, person from public.invitations i where i.token = wanted $$;

-- sound: the claim with the user id is the argument of a function
create table public.seats (person text, kind text, primary key (person, kind));
alter table public.seats enable row level security;
create policy own on public.seats for select to authenticated using (person = (auth.uid())::text);
revoke insert, update, delete on public.seats from anon, authenticated;
create function public.has_seat(who text, what text) returns boolean language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select exists (select from public.seats s where s.person = who and s.kind = what)
$$;
create table public.ledgers (id uuid primary key default gen_random_uuid(), total numeric);
alter table public.ledgers enable row level security;
create policy clerks on public.ledgers for select to authenticated using (public.has_seat((select auth.jwt() ->> 'sub'), 'clerk'));
revoke insert, update, delete on public.ledgers from anon, authenticated;

-- sound: states that publish a row
create type public.state as enum ('draft', 'active', 'sold');
create table public.products (id uuid primary key default gen_random_uuid(), seller_id uuid not null default auth.uid(), state public.state not null default 'draft', deleted_at timestamptz);
create table public.reviews (id uuid primary key default gen_random_uuid(), user_id uuid not null default auth.uid(), approved boolean not null default false);
create table public.articles (id uuid primary key default gen_random_uuid(), author_id uuid not null default auth.uid(), published_at timestamptz, visibility text);
alter table public.products enable row level security; alter table public.reviews enable row level security; alter table public.articles enable row level security;
create policy s on public.products for select using (state = 'active' and deleted_at is null or seller_id = auth.uid());
create policy s on public.reviews for select using (approved or user_id = auth.uid());
create policy s on public.articles for select using (published_at <= now() and visibility in ('public', 'unlisted') or author_id = auth.uid());
create view public.shop with (security_barrier) as select id from public.products where state = 'active';
revoke all on public.shop from anon, authenticated; grant select on public.shop to anon;
create function public.article(wanted uuid) returns setof public.articles language sql stable security definer set search_path = '' as $$ select * from public.articles a where a.id = wanted and a.visibility = 'public' $$;
create policy avatars on storage.objects for select using (bucket_id = 'avatars');

-- a state that is the default: warning policy s on public.accounts
create table public.accounts (id uuid primary key default gen_random_uuid(), user_id uuid not null default auth.uid(), state text not null default 'active');
alter table public.accounts enable row level security;
create policy s on public.accounts for select using (state = 'active' or user_id = auth.uid());

-- a state that publishes nothing: warning policy s on public.todos
create table public.todos (id uuid primary key default gen_random_uuid(), user_id uuid not null default auth.uid(), state text not null);
alter table public.todos enable row level security;
create policy s on public.todos for select using (state = 'done' or user_id = auth.uid());

-- a message in another user's name: warning policy i on public.messages
create table public.guests (room uuid, user_id uuid, primary key (room, user_id));
create table public.messages (id uuid primary key default gen_random_uuid(), room uuid not null, sender uuid not null default auth.uid());
alter table public.guests enable row level security; alter table public.messages enable row level security;
create policy s on public.guests for select using (user_id = auth.uid());
create policy s on public.messages for select using (exists (select from public.guests g where g.room = messages.room and g.user_id = auth.uid()));
create policy i on public.messages for insert with check (exists (select from public.guests g where g.room = messages.room and g.user_id = auth.uid()));

-- a row of another user's list: warning policy u on public.items
create table public.lists (id uuid primary key default gen_random_uuid(), owner_id uuid not null default auth.uid());
create table public.items (id uuid primary key default gen_random_uuid(), list_id uuid not null references public.lists, added_by uuid not null default auth.uid());
alter table public.lists enable row level security; alter table public.items enable row level security;
create policy o on public.lists using (owner_id = auth.uid());
create policy s on public.items for select using (list_id in (select id from public.lists where owner_id = auth.uid()));
create policy i on public.items for insert with check (added_by = auth.uid() and list_id in (select id from public.lists where owner_id = auth.uid()));
create policy u on public.items for update using (added_by = auth.uid());

-- sound: the owner of a new row, set by a trigger
create table public.remarks (id uuid primary key default gen_random_uuid(), user_id uuid not null, body text);
create function public.stamp() returns trigger language plpgsql as $$ begin new.user_id := auth.uid(); return new; end $$;
create trigger stamp before insert on public.remarks for each row execute function public.stamp();
alter table public.remarks enable row level security;
create policy s on public.remarks for select using (user_id = auth.uid());
create policy i on public.remarks for insert with check (auth.uid() is not null);

-- the owner of a new row, set by a trigger if it is missing: warning policy i on public.remarks
create table public.remarks (id uuid primary key default gen_random_uuid(), user_id uuid not null, body text);
create function public.stamp() returns trigger language plpgsql as $$ begin new.user_id := coalesce(new.user_id, auth.uid()); return new; end $$;
create trigger stamp before insert on public.remarks for each row execute function public.stamp();
alter table public.remarks enable row level security;
create policy s on public.remarks for select using (user_id = auth.uid());
create policy i on public.remarks for insert with check (auth.uid() is not null);

-- sound: helpers with a default argument, a helper that calls another, and the state of the row that is looked up
create table public.projects (id uuid primary key default gen_random_uuid(), owner_id uuid not null default auth.uid(), state text not null default 'open');
create table public.seats (project_id uuid, user_id uuid, role text not null, primary key (project_id, user_id));
create table public.tasks (id uuid primary key default gen_random_uuid(), project_id uuid not null);
create function public.in_project(project uuid, person uuid default auth.uid()) returns boolean language sql stable security definer set search_path = '' as $$ select exists (select from public.seats s where s.project_id = project and s.user_id = person) $$;
create function public.may_read(project uuid) returns boolean language sql stable as $$ select public.in_project(project) $$;
alter table public.projects enable row level security; alter table public.seats enable row level security; alter table public.tasks enable row level security;
create policy o on public.projects using (owner_id = auth.uid());
create policy s on public.projects for select using (public.in_project(id));
create policy s on public.seats for select using (public.may_read(project_id));
create policy o on public.tasks using (project_id in (select p.id from public.projects p where p.owner_id = auth.uid() and p.state = 'open'));

-- a helper with a default argument that is not the user: warning policy s on public.projects
create table public.projects (id uuid primary key default gen_random_uuid(), owner_id uuid not null default auth.uid());
create table public.seats (project_id uuid, user_id uuid, primary key (project_id, user_id));
create function public.in_project(project uuid, person uuid default null) returns boolean language sql stable security definer set search_path = '' as $$ select exists (select from public.seats s where s.project_id = project and (person is null or s.user_id = person)) $$;
alter table public.projects enable row level security; alter table public.seats enable row level security;
create policy s on public.projects for select using (public.in_project(id));

-- a join of two tables without a comparison: warning policy s on public.comments
create table public.members (space uuid, user_id uuid, primary key (space, user_id));
create table public.posts (id uuid primary key default gen_random_uuid(), space uuid not null, author uuid not null default auth.uid());
create table public.comments (id uuid primary key default gen_random_uuid(), post uuid not null, user_id uuid not null default auth.uid());
alter table public.members enable row level security; alter table public.posts enable row level security; alter table public.comments enable row level security;
create policy s on public.members for select using (user_id = auth.uid());
create policy s on public.posts for select using (author = auth.uid());
create policy s on public.comments for select using (exists (select from public.posts p, public.members m where p.id = comments.post and m.user_id = auth.uid()));

-- sound: messages of two parties that name their sender, and files in the folder of a client of the user
create table public.clients (coach uuid not null default auth.uid(), client uuid not null, primary key (coach, client));
alter table public.clients enable row level security;
revoke all on public.clients from anon, authenticated;
grant select on public.clients to authenticated;
create policy mine on public.clients for select to authenticated using (auth.uid() in (coach, client));
create table public.messages (id uuid primary key, coach uuid not null, client uuid not null, sender uuid not null default auth.uid(), body text);
alter table public.messages enable row level security;
revoke all on public.messages from anon, authenticated;
grant select, insert on public.messages to authenticated;
create policy parties on public.messages for select to authenticated using (auth.uid() in (coach, client));
create policy sends on public.messages for insert to authenticated with check (sender = auth.uid() and auth.uid() in (coach, client)
  and exists (select from public.clients c where c.coach = messages.coach and c.client = messages.client));
create policy photos on storage.objects for select to authenticated using (bucket_id = 'photos' and exists (
  select from public.clients c where c.client::text = (storage.foldername(objects.name))[1] and c.coach = auth.uid()));

-- messages of two parties that do not name their sender: warning policy sends on public.messages
create table public.messages (id uuid primary key, coach uuid not null, client uuid not null, sender uuid not null default auth.uid(), body text);
alter table public.messages enable row level security;
grant select, insert on public.messages to authenticated;
create policy parties on public.messages for select to authenticated using (auth.uid() in (coach, client));
create policy sends on public.messages for insert to authenticated with check (auth.uid() in (coach, client));

-- files in the folder of any client: warning policy photos on storage.objects
create table public.clients (coach uuid not null default auth.uid(), client uuid not null, primary key (coach, client));
alter table public.clients enable row level security;
create policy mine on public.clients for select to authenticated using (coach is not null);
create policy photos on storage.objects for select to authenticated using (bucket_id = 'photos' and exists (
  select from public.clients c where c.client::text = (storage.foldername(objects.name))[1]));

-- a role that a new user chooses: hole membership public.greet()
create table public.grades (user_id uuid primary key references auth.users, grade text not null);
create table public.exams (id uuid primary key default gen_random_uuid(), body text);
alter table public.grades enable row level security; alter table public.exams enable row level security;
create policy own on public.grades for select using (user_id = auth.uid());
create policy teachers on public.exams using (exists (select from public.grades g where g.user_id = auth.uid() and g.grade = 'teacher'));
create function public.greet() returns trigger language plpgsql security definer set search_path = '' as $$ begin
  insert into public.grades values (new.id, coalesce(new.raw_user_meta_data ->> 'role', 'student')); return new;
end $$;
create trigger greet after insert on auth.users for each row execute function public.greet();

-- changes by way of a published parent: hole policy fee on public.fees
create table public.fairs (id uuid primary key default gen_random_uuid(), user_id uuid not null default auth.uid(), is_public boolean not null);
create table public.fees (fair uuid primary key references public.fairs, amount integer);
alter table public.fairs enable row level security; alter table public.fees enable row level security;
create policy own on public.fairs using (user_id = auth.uid());
create policy everyone on public.fairs for select using (is_public);
create policy fee on public.fees using (fair in (select id from public.fairs));

-- sound: an invitation for the address in the token, and a key by its hash
create table public.guests (id uuid primary key default gen_random_uuid(), user_id uuid not null default auth.uid(), email text not null, "keyHash" text);
alter table public.guests enable row level security;
create policy own on public.guests using (user_id = auth.uid());
create function public.come(guest uuid) returns void language plpgsql security definer set search_path = '' as $$ begin
  delete from public.guests where id = guest and email = lower(auth.jwt() ->> 'email');
  if not found then raise exception 'no invitation'; end if;
end $$;
create function public.knock(hash text) returns uuid language sql security definer set search_path = '' as $$ select user_id from public.guests where "keyHash" = hash $$;

-- numbers that a trigger keeps for all users: warning row_security public.rooms
create table public.rooms (room text primary key, taken integer not null default 0);
create table public.stays (id uuid primary key default gen_random_uuid(), user_id uuid not null default auth.uid(), room text not null references public.rooms);
alter table public.stays enable row level security;
create policy own on public.stays using (user_id = auth.uid());
revoke all on public.rooms from anon, authenticated; grant select on public.rooms to authenticated;
create function public.take() returns trigger language plpgsql security definer set search_path = '' as $$ begin
  update public.rooms set taken = taken + 1 where room = new.room; return null;
end $$;
create trigger take after insert on public.stays for each row execute function public.take();

-- a queue of jobs that users may only add: warning row_security public.queue
create table public.queue (id bigint generated always as identity primary key, job text not null);
revoke all on public.queue from anon, authenticated; grant insert on public.queue to authenticated;

-- an attachment by its number: hole security_definer public.path_of(bigint)
create table public.parts (id bigint generated always as identity primary key, user_id uuid not null default auth.uid(), path text);
alter table public.parts enable row level security;
create policy own on public.parts using (user_id = auth.uid());
create function public.path_of(part bigint) returns text language sql stable security definer set search_path = '' as $$ select path from public.parts where id = part $$;

-- an address by way of any meeting: hole membership public.meetings.place
create table public.places (id uuid primary key default gen_random_uuid(), user_id uuid not null default auth.uid(), street text);
create table public.meetings (id uuid primary key default gen_random_uuid(), user_id uuid not null default auth.uid(), place uuid);
alter table public.places enable row level security; alter table public.meetings enable row level security;
create policy own on public.meetings using (user_id = auth.uid());
create policy seen on public.places using (user_id = auth.uid() or exists (select from public.meetings m where m.place = places.id));

-- all rows by the names of tables: hole security_definer public.empty_all()
create table public.crumbs (id uuid primary key default gen_random_uuid(), user_id uuid not null default auth.uid());
alter table public.crumbs enable row level security;
create policy own on public.crumbs using (user_id = auth.uid());
create function public.empty_all() returns void language plpgsql security definer set search_path = '' as $$ begin
  execute (select string_agg(format('truncate %I.%I', schemaname, tablename), '; ') from pg_catalog.pg_tables where schemaname = 'public');
end $$;
