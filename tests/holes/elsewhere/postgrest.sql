-- PostgREST without Supabase: views of a separate owner, roles that an authenticator can become, a login of a service
-- and an administrator.

-- the platform
create role authenticator noinherit login;
create role web_anon nologin;
create role web_user nologin;
grant web_anon, web_user to authenticator;
create role view_owner nologin;
create role mailer login;
create role backup login bypassrls;
create role operator nologin;
grant operator to backup;
create schema data;
create schema api;
grant usage on schema api to web_anon, web_user;
grant usage on schema data to view_owner, mailer, operator;
alter role web_anon set statement_timeout = '5s';
alter role web_user set statement_timeout = '5s';
create function data.me() returns text language sql stable as $$ select nullif(current_setting('request.jwt.claims', true), '')::json ->> 'sub' $$;
create table data.todos (id uuid primary key default gen_random_uuid(), owner text not null default data.me(), body text);
alter table data.todos enable row level security;
create policy own on data.todos using (owner = data.me());
grant select, insert, update, delete on data.todos to view_owner;
grant all on data.todos to operator;
create view api.todos as select id, body from data.todos;
alter view api.todos owner to view_owner;
grant select, insert, update, delete on api.todos to web_user;
grant select (id) on api.todos to web_anon;
create table data.mails (id uuid primary key default gen_random_uuid(), owner text not null default data.me(), body text);
alter table data.mails enable row level security;
create policy own on data.mails using (owner = data.me());
create policy sends on data.mails to mailer using (true);
grant select, delete on data.mails to mailer;
create table data.teams (id uuid primary key default gen_random_uuid(), name text);
create table data.members (team uuid, person text not null, primary key (team, person));
alter table data.teams enable row level security;
alter table data.members enable row level security;
create policy own on data.members for select using (person = data.me());

-- the API's roles: note assumed web_anon, web_user
comment on schema data is 'the audit finds only the roles that PostgREST uses';

-- a view whose owner may read all rows: hole view api.todos
create policy everything on data.todos for select to view_owner using (true);

-- a role of PostgREST that reads all mail: warning policy reads on data.mails
grant usage on schema data to web_anon;
grant select on data.mails to web_anon;
create policy reads on data.mails for select to web_anon using (true);

-- one role for all users, which only a superuser can become: warning policy reads on data.mails
revoke web_user, web_anon from authenticator;
revoke mailer from current_user;
alter role mailer nologin;
grant select on data.mails to web_anon;
create policy reads on data.mails for select to web_anon using (true);

-- sound: a scalar subquery that selects a row of the user
create policy member on data.teams for select using ((select true from data.members m where m.person = data.me() and m.team = teams.id));
grant usage on schema data to web_user; grant select on data.members, data.teams to web_user;

-- a scalar subquery without the user: warning policy member on data.teams
create policy member on data.teams for select using ((select true from data.members m where m.team = teams.id limit 1));
grant usage on schema data to web_user; grant select on data.members, data.teams to web_user;

-- sound: a definer that creates a team, and one that selects into a variable
create policy member on data.teams for select using (exists (select from data.members m where m.person = data.me() and m.team = teams.id));
grant usage on schema data to web_user; grant select on data.members, data.teams to web_user;
create function api.found(name text) returns void language plpgsql security definer set search_path = pg_catalog, pg_temp as $$ declare made uuid; begin
  insert into data.teams (name) values (found.name) returning id into made;
  insert into data.members (team, person) values (made, data.me());
end $$;
create function api.forget() returns void language plpgsql security definer set search_path = pg_catalog, pg_temp as $$ declare who text; begin
  select into who data.me();
  delete from data.todos where owner = who;
end $$;

-- a definer that creates and renames teams: hole security_definer api.rename(uuid, text)
create policy member on data.teams for select using (exists (select from data.members m where m.person = data.me() and m.team = teams.id));
grant usage on schema data to web_user; grant select on data.members, data.teams to web_user;
create function api.rename(team uuid, name text) returns void language plpgsql security definer set search_path = pg_catalog, pg_temp as $$ begin
  insert into data.teams values (rename.team, rename.name) on conflict (id) do update set name = excluded.name;
end $$;

-- a definer that adds a member of the caller's choice: hole security_definer api.enlist(uuid, text)
create policy member on data.teams for select using (exists (select from data.members m where m.person = data.me() and m.team = teams.id));
grant usage on schema data to web_user; grant select on data.members, data.teams to web_user;
create function api.enlist(team uuid, person text) returns void language plpgsql security definer set search_path = pg_catalog, pg_temp as $$ begin insert into data.members values (enlist.team, enlist.person); end $$;

-- sound: a definer that first selects the row of the user
create function api.clear(todo uuid) returns void language plpgsql security definer set search_path = pg_catalog, pg_temp as $$ declare mine record; begin
  select into mine * from data.todos where todos.id = todo and todos.owner = data.me();
  if mine.id is null then raise insufficient_privilege; end if;
  delete from data.mails where id = mine.id;
end $$;

-- a definer that first selects any row: warning security_definer api.clear(uuid)
create function api.clear(todo uuid) returns void language plpgsql security definer set search_path = pg_catalog, pg_temp as $$ declare mine record; begin
  select into mine * from data.todos where todos.id = todo;
  if mine.id is null then raise insufficient_privilege; end if;
  delete from data.mails where owner <> data.me() and id = mine.id;
end $$;

-- sound: a helper with the name of the claim, and a policy for the owner of the views
create function data.claim(name text) returns text language sql stable as $$ select nullif(current_setting('request.jwt.claims', true), '')::json ->> name $$;
create function data.user_id() returns int language sql stable as $$ select case data.claim('user_id') when '' then null else data.claim('user_id')::int end $$;
create table data.notes (id uuid primary key default gen_random_uuid(), author int not null default data.user_id(), body text);
alter table data.notes enable row level security;
create policy own on data.notes to view_owner using (data.claim('role') = 'web_user' and author = data.user_id());
grant select, insert, update, delete on data.notes to view_owner;
create view api.notes as select * from data.notes; alter view api.notes owner to view_owner;
grant select, insert, update, delete on api.notes to web_user;

-- such a policy does not check new rows: hole policy own on data.notes
create table data.notes (id uuid primary key default gen_random_uuid(), author text not null default data.me(), body text);
alter table data.notes enable row level security;
create policy own on data.notes to view_owner using (author = data.me()) with check (true);
grant select, insert, update, delete on data.notes to view_owner;
create view api.notes as select * from data.notes; alter view api.notes owner to view_owner;
grant select, insert, update, delete on api.notes to web_user;

-- a claim that each user has: hole policy own on data.notes
create function data.claim(name text) returns text language sql stable as $$ select nullif(current_setting('request.jwt.claims', true), '')::json ->> name $$;
create table data.notes (id uuid primary key default gen_random_uuid(), author text not null default data.me(), body text);
alter table data.notes enable row level security;
create policy own on data.notes using (data.claim('sub') is not null);
grant usage on schema data to web_user; grant select, insert, delete on data.notes to web_user;

-- a user if no claim is set: hole identity_function data.somebody()
create function data.somebody() returns text language sql stable as $$ select coalesce(nullif(current_setting('request.jwt.claims', true), '')::json ->> 'sub', 'guest') $$;
create table data.notes (id uuid primary key default gen_random_uuid(), author text not null default data.somebody(), body text);
alter table data.notes enable row level security;
create policy own on data.notes using (author = data.somebody());
grant usage on schema data to web_user; grant select, insert, delete on data.notes to web_user;

-- sound: the starter kit: user 0 without a claim, a policy for the owner of the views, which need no further options
create function data.claim(name text) returns text language sql stable as $$ select nullif(current_setting('request.jwt.claims', true), '')::json ->> name $$;
create function data."userId"() returns int language sql stable as $$ select case coalesce(data.claim('user_id'), '') when '' then 0 else data.claim('user_id')::int end $$;
create table data.pupils (class int, pupil int not null default data."userId"(), primary key (class, pupil));
create table data.classes (id int primary key, teacher int not null default data."userId"(), name text);
alter table data.pupils enable row level security; alter table data.classes enable row level security;
create policy own on data.pupils for select to view_owner using (pupil = data."userId"() or data.claim('role') = 'office');
create policy taught on data.classes for select to view_owner
  using (teacher = data."userId"() or exists (select from data.pupils p where p.class = classes.id));
grant select on data.pupils, data.classes to view_owner;
create view api.classes as select id, name from data.classes; create view api.others as select id from data.classes where teacher <> data."userId"();
alter view api.classes owner to view_owner; alter view api.others owner to view_owner;
grant select on api.classes, api.others to web_user;

-- every role but one: warning policy taught on data.classes
create function data.claim(name text) returns text language sql stable as $$ select nullif(current_setting('request.jwt.claims', true), '')::json ->> name $$;
create table data.classes (id int primary key, teacher text not null default data.me(), name text);
alter table data.classes enable row level security;
create policy taught on data.classes for select to view_owner using (teacher = data.me() or data.claim('role') <> 'web_user');
grant select on data.classes to view_owner;
create view api.classes as select id, name from data.classes; alter view api.classes owner to view_owner;
grant select on api.classes to web_user;

-- sound: a definer that compares a column of a row of the user, which exists
create function api.append(todo uuid, expected text) returns void language plpgsql security definer set search_path = pg_catalog, pg_temp as $$ declare t data.todos; begin
  select * into t from data.todos where id = todo and owner = data.me();
  if not found then raise exception 'not found'; end if;
  if t.body <> expected then raise exception 'changed'; end if;
  update data.todos set body = '' where id = todo;
end $$;

-- a definer that compares a column of a row that may not exist: hole security_definer api.append(uuid, text)
create function api.append(todo uuid, expected text) returns void language plpgsql security definer set search_path = pg_catalog, pg_temp as $$ declare t data.todos; begin
  select * into t from data.todos where id = todo and owner = data.me();
  if t.body <> expected then raise exception 'changed'; end if;
  update data.todos set body = '' where id = todo;
end $$;

-- sound: an enumeration of roles in a schema
create type data."Role" as enum ('owner', 'viewer');
create table data.ranks (person text primary key, team uuid not null, rank data."Role" not null);
alter table data.ranks enable row level security;
create function data.my_team() returns uuid language sql stable security definer set search_path = pg_catalog, pg_temp as $$ select team from data.ranks where person = data.me() $$;
create function data.my_rank() returns data."Role" language sql stable security definer set search_path = pg_catalog, pg_temp as $$ select rank from data.ranks where person = data.me() $$;
create policy owners on data.teams for update to web_user using (id = data.my_team() and data.my_rank() = 'owner');
grant usage on schema data to web_user; grant select, update (name) on data.teams to web_user;
create policy own on data.teams for select to web_user using (id = data.my_team());

-- sound: a topic with the id of a team of the user
create table data.messages (id uuid primary key default gen_random_uuid(), topic text not null, body text);
alter table data.messages enable row level security;
create policy members on data.messages for select to web_user
  using (exists (select from data.members m where m.person = data.me() and 'team:' || m.team::text = topic));
alter table data.members add muted boolean not null default false;
create policy mutes on data.members for update using (person = data.me());
grant usage on schema data to web_user; grant select on data.messages, data.members to web_user; grant update (muted) on data.members to web_user;

-- sound: a worker that sends mail that is due
create table data.reminders (id uuid primary key default gen_random_uuid(), owner text not null default data.me(), due timestamptz);
alter table data.reminders enable row level security;
create policy own on data.reminders using (owner = data.me());
create policy due on data.reminders for select to mailer using (due <= now());
grant select on data.reminders to mailer;

-- sound: a role of staff that the token names, and a catalog that only staff change
create role librarian nologin;
grant librarian to authenticator;
create table data.books (isbn text primary key, title text not null);
grant usage on schema data to librarian, web_user;
grant select on data.books to web_user;
grant select, insert, update, delete on data.books to librarian;
grant select, insert, update, delete on data.todos to librarian;
create policy staff on data.todos to librarian using (true) with check (true);
create view api.desk with (security_invoker) as select id, body from data.todos;
grant usage on schema api to librarian; grant select on api.desk to librarian;

-- all rows for such a role: warning policy role librarian
create role librarian nologin;
grant librarian to authenticator;
grant usage on schema data to librarian;
grant select on data.todos to librarian;
create policy staff on data.todos for select to librarian using (true);

-- users who can become staff: hole role_membership web_user -> librarian
create role librarian nologin;
grant librarian to authenticator, web_user;
grant usage on schema data to librarian;
grant select, update on data.todos to librarian;
create policy staff on data.todos to librarian using (true);

-- a login that inherits the privileges of staff: hole policy staff on data.todos
create role librarian nologin;
alter role authenticator inherit;
grant librarian to authenticator;
grant usage on schema data to librarian;
grant select, update on data.todos to librarian;
create policy staff on data.todos to librarian using (true);

-- sound: shares whose key references the user's own list
create table data.lists (id integer primary key, owner text not null default data.me(), title text, unique (owner, id));
alter table data.lists enable row level security;
create policy own on data.lists to web_user using (owner = data.me());
create table data.shares (list integer, owner text not null default data.me(), reader text, primary key (list, reader),
  foreign key (owner, list) references data.lists (owner, id));
alter table data.shares enable row level security;
create policy own on data.shares to web_user using (owner = data.me());
create policy shared on data.lists for select to web_user
  using (exists (select from data.shares s where s.list = lists.id and s.reader = data.me()));
grant usage on schema data to web_user; grant select, insert on data.lists, data.shares to web_user;

-- shares whose key references any list: hole membership data.shares.list
create table data.lists (id integer primary key, owner text not null default data.me(), title text, unique (owner, id));
alter table data.lists enable row level security;
create policy own on data.lists to web_user using (owner = data.me());
create table data.shares (list integer references data.lists, owner text not null default data.me(), reader text,
  primary key (list, reader));
alter table data.shares enable row level security;
create policy own on data.shares to web_user using (owner = data.me());
create policy shared on data.lists for select to web_user
  using (exists (select from data.shares s where s.list = lists.id and s.reader = data.me()));
grant usage on schema data to web_user; grant select, insert on data.lists, data.shares to web_user;

-- sound: the user of a session, found by the hash of its token
create table data.sessions (hash bytea primary key, person text not null);
create table data.shops (id integer primary key, person text not null);
create table data.sales (id integer primary key, user_id text, shop integer not null references data.shops);
alter table data.sessions enable row level security; alter table data.shops enable row level security; alter table data.sales enable row level security;
create function data.person() returns text language sql stable security definer set search_path = pg_catalog, pg_temp as $$ select s.person from data.sessions s where s.hash = sha256(convert_to(current_setting('request.jwt.claims', true), 'UTF8')) $$;
create function data.my_shops() returns setof integer language sql stable security definer set search_path = pg_catalog, pg_temp as $$ select s.id from data.shops s where s.person = data.person() $$;
create policy own on data.sales for select to web_user using (shop in (select data.my_shops()));
grant usage on schema data to web_user; grant select on data.sales to web_user;

-- a helper that returns the shops of all users: warning security_definer data.my_shops()
create table data.shops (id integer primary key, person text not null);
create policy own on data.shops to web_user using (person = data.me());
create table data.sales (id integer primary key, user_id text, shop integer not null references data.shops);
alter table data.shops enable row level security; alter table data.sales enable row level security;
create function data.my_shops() returns setof integer language sql stable security definer set search_path = pg_catalog, pg_temp as $$ select s.id from data.shops s $$;
create policy own on data.sales for select to web_user using (shop in (select data.my_shops()));
grant usage on schema data to web_user; grant select on data.sales to web_user;

-- AND before OR: hole policy member on data.teams
alter table data.members add deputy text;
create policy member on data.teams for select
  using (exists (select from data.members m where m.team = teams.id and m.person = data.me() or m.deputy = data.me()));
grant usage on schema data to web_user; grant select on data.members, data.teams to web_user;

-- a role of the caller's team, for all teams: warning policy data.is_chair()
create function data.team() returns uuid language sql stable as $$ select (nullif(current_setting('request.jwt.claims', true), '')::json ->> 'team')::uuid $$;
create function data.is_chair() returns boolean language sql stable security definer set search_path = pg_catalog, pg_temp as $$ select exists (select from data.members m where m.team = data.team() and m.person = data.me()) $$;
create table data.notes (id uuid primary key default gen_random_uuid(), team uuid not null default data.team(), body text);
alter table data.notes enable row level security;
create policy team on data.notes using (team = data.team());
create policy chair on data.notes for select using (data.is_chair());
grant usage on schema data to web_user; grant select, delete on data.notes to web_user;

-- sound: the same, with the team
create function data.team() returns uuid language sql stable as $$ select (nullif(current_setting('request.jwt.claims', true), '')::json ->> 'team')::uuid $$;
create function data.is_chair() returns boolean language sql stable security definer set search_path = pg_catalog, pg_temp as $$ select exists (select from data.members m where m.team = data.team() and m.person = data.me()) $$;
create table data.notes (id uuid primary key default gen_random_uuid(), team uuid not null default data.team(), body text);
alter table data.notes enable row level security;
create policy team on data.notes using (team = data.team() and data.is_chair());
grant usage on schema data to web_user; grant select, delete on data.notes to web_user;

-- a definer that tests one of two rows: warning security_definer api.merge(uuid, uuid)
create function api.merge(source uuid, target uuid) returns void language plpgsql security definer set search_path = pg_catalog, pg_temp as $$ begin
  if not exists (select from data.todos where id = target and owner = data.me()) then raise insufficient_privilege; end if;
  update data.todos set body = '' where id = source;
end $$;

-- a token or an address: hole security_definer api.opened(uuid, text)
alter table data.mails add token uuid not null default gen_random_uuid();
create function api.opened(token uuid, address text) returns setof text language sql stable security definer set search_path = pg_catalog, pg_temp as $$ select body from data.mails m where m.token = opened.token or lower(m.owner) = lower(address) $$;

-- sound: guests write to a user
create policy guests on data.mails for insert to web_anon with check (length(body) < 100);
grant usage on schema data to web_anon, web_user; grant insert (owner, body) on data.mails to web_anon;
drop policy own on data.mails; create policy own on data.mails to web_user using (owner = data.me()); grant select on data.mails to web_user;
