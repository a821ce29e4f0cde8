-- Sound variations: whatever of these a database has, the audit says nothing.

-- invoker view
create view app.mine with (security_invoker = true) as select id, title from app.tasks;
grant select on app.mine to tasks_api;

-- invoker view on an invoker view
create view app.in1 with (security_invoker = on) as select id from app.tasks;
create view app.in2 with (security_invoker = 1) as select id from app.in1;
grant select on app.in1, app.in2 to tasks_api;

-- view of no table
create view app.clock as select now() as now;
grant select on app.clock to tasks_api;

-- view of the catalog
create view app.catalog as select relname from pg_class;
grant select on app.catalog to tasks_api;

-- view that the role can't reach
create view app.for_dba as select user_id, title from app.tasks;
create materialized view app.dba_copy as select user_id from app.tasks;

-- table that the role can't reach
create table public.yoyo (id int);
create table app.audit_log (user_id text, at timestamptz);
create sequence app.audit_ids;

-- table in a schema without usage
create schema private;
create table private.stock (id int);
grant select on private.stock to public;

-- protected table
create table app.notes (
  id bigint not null default app.next_task_id(),
  user_id text collate "C" not null default app.current_user_id() references app.users on delete cascade,
  body text,
  primary key (user_id, id));
call attack.protect('app.notes');

-- protected table in its own schema
create schema more;
grant usage on schema more to tasks_api;
create table more.notes (
  id bigint not null default app.next_task_id(),
  user_id text collate "C" not null default app.current_user_id() references app.users on delete cascade,
  body text,
  primary key (user_id, id));
call attack.protect('more.notes');

-- protected table by column
create table app.labels (
  id bigint not null default app.next_task_id(),
  user_id text collate "C" not null default app.current_user_id() references app.users on delete cascade,
  name text,
  primary key (user_id, name));
call attack.protect('app.labels', rights => 'select, delete, insert (name), update (name)');

-- protected table with policies by command
create table app.lists (
  id bigint not null default app.next_task_id(),
  user_id text collate "C" not null default app.current_user_id() references app.users on delete cascade,
  name text,
  primary key (user_id, id));
call attack.protect('app.lists', rights => 'select, insert (name), update (name), delete');
drop policy own on app.lists;
create policy s on app.lists for select to tasks_api using (user_id = app.current_user_id());
create policy i on app.lists for insert to tasks_api with check (user_id = app.current_user_id());
create policy u on app.lists for update to tasks_api using (user_id = app.current_user_id());
create policy d on app.lists for delete to tasks_api using (user_id = app.current_user_id());

-- protected table with a varchar owner
create table app.short (
  id bigint not null default app.next_task_id(),
  user_id varchar(255) collate "C" not null default app.current_user_id() references app.users on delete cascade,
  primary key (user_id, id));
call attack.protect('app.short');

-- protected table with another owner's name
create table app.named (
  id bigint not null default app.next_task_id(),
  owner text collate "C" not null default app.current_user_id() references app.users on delete cascade,
  primary key (owner, id));
call attack.protect('app.named', test => 'owner = app.current_user_id()');

-- protected table with a uuid
create table app.uuids (
  id uuid not null default gen_random_uuid(),
  user_id text collate "C" not null default app.current_user_id() references app.users on delete cascade,
  body text,
  primary key (user_id, id));
call attack.protect('app.uuids', rights => 'select, insert (body)');

-- partitioned table
create table app.parts (
  id bigint not null default app.next_task_id(),
  user_id text collate "C" not null default app.current_user_id() references app.users on delete cascade,
  primary key (user_id, id)) partition by hash (user_id);
call attack.protect('app.parts');
create table app.parts_0 partition of app.parts for values with (modulus 2, remainder 0);
create table app.parts_1 partition of app.parts for values with (modulus 2, remainder 1);

-- key within the owner
create table app.replies (
  id bigint not null default app.next_task_id(),
  user_id text collate "C" not null default app.current_user_id() references app.users on delete cascade,
  task_id bigint, foreign key (user_id, task_id) references app.tasks (user_id, id) on delete cascade,
  primary key (user_id, id));
call attack.protect('app.replies');

-- key to a lookup table
create table app.colours (name text primary key);
create table app.coloured (
  id bigint not null default app.next_task_id(),
  user_id text collate "C" not null default app.current_user_id() references app.users on delete cascade,
  colour text references app.colours,
  primary key (user_id, id));
call attack.protect('app.coloured');

-- identity test turned round
create table app.turned (id bigint, user_id text collate "C" not null default app.current_user_id());
call attack.protect('app.turned', test => 'app.current_user_id() = user_id');

-- identity test in a sub-select
create table app.selected (id bigint, user_id text collate "C" not null default app.current_user_id());
call attack.protect('app.selected', test => 'user_id = (select app.current_user_id())');

-- identity test in a list of one
create table app.listed (id bigint, user_id text collate "C" not null default app.current_user_id());
call attack.protect('app.listed', test => 'user_id in (select app.current_user_id())');

-- identity test spelled out
create table app.spelled (id bigint, user_id text collate "C" not null default app.current_user_id());
call attack.protect('app.spelled', test => 'user_id = nullif(current_setting(''app.user_id'', true), '''')');

-- identity test and more
create table app.strict (id bigint, open boolean, user_id text collate "C" not null default app.current_user_id());
call attack.protect('app.strict', test => 'open and (user_id = app.current_user_id() and (id > 0 or open))');

-- identity test among its kind
create table app.kin (id bigint, open boolean, user_id text collate "C" not null default app.current_user_id());
call attack.protect('app.kin', test => '(user_id = app.current_user_id() and open) or (user_id = app.current_user_id() and id > 0)');

-- identity test, and somebody is named
create table app.sure (id bigint, user_id text collate "C" not null default app.current_user_id());
call attack.protect('app.sure', test => 'app.current_user_id() is not null and user_id = app.current_user_id() and exists (select from app.users where id = user_id)');

-- identity test with casts
create table app.casting (id bigint, user_id text collate "C" not null default app.current_user_id());
call attack.protect('app.casting', test => '(user_id::varchar)::text = app.current_user_id()::text');

-- restrictive policy
create policy only_open on app.tasks as restrictive for update to tasks_api using (not completed or true);

-- restrictive policy for everybody
create policy not_at_night on app.tasks as restrictive using (current_setting('app.user_id', true) <> 'root');

-- restrictive identity test under a permissive policy
create table app.held_back (id bigint, user_id text collate "C" not null default app.current_user_id());
call attack.protect('app.held_back', test => 'true');
create policy only_own on app.held_back as restrictive using (user_id = app.current_user_id());

-- policy of an unrelated role
create role support;
create policy support_sees on app.tasks for select to support using (true);
grant select on app.tasks to support;
grant usage on schema app to support;

-- unrelated roles
create role dba superuser;
create role analyst bypassrls;
create role maker createrole createdb;
create role streamer replication;
create role crew;
grant crew to analyst;
grant pg_monitor to crew;
grant select on all tables in schema app to analyst;
grant usage on schema app to analyst;

-- default privileges of an unrelated role
create role press;
alter default privileges for role press grant select on tables to press;
alter default privileges in schema app grant select on tables to press;

-- table of an unrelated role
create role shop;
create schema shop authorization shop;
create table shop.orders (user_id text);
alter table shop.orders owner to shop;
grant select on shop.orders to public;

-- login for the role
alter role tasks_api login connection limit 10 valid until 'infinity';

-- other limits for the role
alter role tasks_api set statement_timeout = '3s';
alter role tasks_api set work_mem = '8MB';
alter role tasks_api set row_security = on;

-- settings of unrelated roles
create role batch;
alter role batch set app.user_id = 'batch';
alter role batch set row_security = off;

-- settings of the database
alter database {database} set work_mem = '8MB';
alter database {database} set search_path = "$user", public;
alter database {database} set timezone = 'UTC';

-- a membership without options | from 16
create role inert;
grant inert to tasks_api with admin false, inherit false, set false;

-- the creator's grant | from 16
create role cloud createrole;
grant tasks_api to cloud with admin true, inherit false, set false;

-- more indexes
create index on app.tasks (user_id, title);
create unique index on app.tasks (user_id, title, id);
create unique index on app.tasks (id, user_id);
create index on app.tasks (created_at);

-- exclusion within the owner
alter table app.tasks add constraint apart exclude using btree (user_id with =, id with =);

-- exclusion within the owner, by an extension
create extension if not exists btree_gist schema public;
alter table app.tasks add constraint apart_by_gist exclude using gist (user_id with =, id with =);

-- owner of a domain
create domain app.user_name as text collate "C" check (value <> 'root');
create table app.by_domain (id bigint, user_id app.user_name not null default app.current_user_id());
call attack.protect('app.by_domain');

-- more columns
alter table app.tasks add column due date, add column effort int not null default 0;
grant insert (due, effort), update (due, effort) on app.tasks to tasks_api;

-- renamed constraints
alter table app.tasks rename constraint tasks_pkey to tasks_key;

-- harmless trigger
create function app.tidy() returns trigger language plpgsql as $$ begin new.description := nullif(new.description, ''); return new; end $$;
create trigger tidies before insert or update on app.tasks for each row execute function app.tidy();
create trigger same before update on app.tasks for each row execute function suppress_redundant_updates_trigger();

-- definer that the role can't call
create function app.report() returns setof text language sql stable security definer return (select max(title) from app.tasks);
revoke execute on function app.report() from public;

-- definer out of reach
create schema if not exists vault;
create function vault.report() returns setof text language sql stable security definer return (select max(title) from app.tasks);
create function vault.told(text, text) returns boolean language sql security definer return exists (select from app.tasks);
create operator vault.?? (leftarg = text, rightarg = text, function = vault.told);

-- definer behind an operator, withheld
create function app.told(text, text) returns boolean language sql security definer return exists (select from app.tasks);
revoke execute on function app.told(text, text) from public;
create operator app.<? (leftarg = text, rightarg = text, function = app.told);

-- plain functions
create function app.twice(n int) returns int language sql immutable return n * 2;
create function public.mine() returns bigint language sql stable as 'select count(*) from app.tasks';
create function app.fixed() returns int language sql set search_path = app, pg_catalog as 'select 1';
grant execute on function app.twice(int) to tasks_api;

-- leakproof out of reach
create schema lab;
create function lab.fast(text) returns boolean language sql leakproof return true;

-- identity function as a string
create or replace function app.current_user_id() returns text language sql stable as $$ select nullif(pg_catalog.current_setting('app.user_id', true), ''); $$;

-- types and casts
create type app.state as enum ('open', 'shut');
create domain app.short_text as text check (length(value) < 9);
create cast (varchar as app.state) with inout as implicit;

-- policy on a table out of reach
create table public.far (a int);
create policy any_row on public.far using (true);

-- publication of another table
create table public.news (id int primary key);
create publication newsfeed for table public.news;

-- event trigger
create function public.log_ddl() returns event_trigger language plpgsql as $$ begin raise log 'ddl'; end $$;
create event trigger ddl_logged on ddl_command_end execute function public.log_ddl();

-- large object of the owner
select lo_create(99);

-- foreign server of others
create role remote;
create foreign data wrapper fdw1;
create server srv1 foreign data wrapper fdw1;
create user mapping for remote server srv1;
grant usage on foreign server srv1 to remote;
create foreign table public.remote_t (a int) server srv1;

-- comment and statistics
create statistics app.by_state on user_id, completed from app.tasks;
comment on table app.tasks is 'x';

-- no TEMP for PUBLIC
revoke temporary on database {database} from public;

-- rule on a table out of reach
create table public.inbox (a int);
create rule quiet as on insert to public.inbox do instead nothing;

-- rules that make a lookup table constant
create table app.constants (name text primary key, amount integer);
alter table app.constants enable row level security;
create policy everyone on app.constants for select using (true);
grant select on app.constants to tasks_api;
create rule no_update as on update to app.constants do instead nothing;
create rule no_delete as on delete to app.constants do instead nothing;

-- system views
grant select on pg_catalog.pg_class to tasks_api;
grant execute on function pg_catalog.lower(text) to tasks_api;

-- aggregate
create function app.join_state(text, text) returns text language sql immutable return $1 || $2;
create aggregate app.joined(text) (sfunc = app.join_state, stype = text);

-- range type
create type app.text_range as range (subtype = text);

-- lookup
create table app.hues (name text primary key);
alter table app.hues enable row level security;
alter table app.hues force row level security;
create policy read on app.hues for select to tasks_api using (true);
grant select on app.hues to tasks_api;

-- child asks its parent
create table app.baskets (id uuid primary key default gen_random_uuid(), user_id text collate "C" not null default app.current_user_id() references app.users on delete cascade, name text);
call attack.protect('app.baskets', 'select, insert (name)');
create table app.basket_items (id uuid primary key default gen_random_uuid(), list_id uuid not null references app.baskets on delete cascade, body text);
call attack.protect('app.basket_items', 'select, insert (list_id, body)', 'exists (select from app.baskets l where l.id = list_id)');

-- child by the whole key
create table app.comments (user_id text collate "C" not null default app.current_user_id(), task_id bigint not null, body text, foreign key (user_id, task_id) references app.tasks on delete cascade);
call attack.protect('app.comments', 'select, insert (task_id, body)', 'exists (select from app.tasks t where t.user_id = comments.user_id and t.id = comments.task_id)');

-- permissive for all, restrictive by command
create table app.held2 (id bigint, user_id text collate "C" not null default app.current_user_id());
alter table app.held2 enable row level security;
alter table app.held2 force row level security;
create policy a on app.held2 to tasks_api using (true);
create policy s on app.held2 as restrictive for select to tasks_api using (user_id = app.current_user_id());
create policy i on app.held2 as restrictive for insert to tasks_api with check (user_id = app.current_user_id());
create policy u on app.held2 as restrictive for update to tasks_api using (user_id = app.current_user_id());
create policy d on app.held2 as restrictive for delete to tasks_api using (user_id = app.current_user_id());
grant select, insert (id), delete on app.held2 to tasks_api;

-- any of an array of one
create table app.arrayed_one (id bigint, user_id text collate "C" not null default app.current_user_id());
call attack.protect('app.arrayed_one', test => 'user_id = any (array[app.current_user_id()])');

-- case that only restricts
create table app.cased (id bigint, open boolean not null, user_id text collate "C" not null default app.current_user_id());
call attack.protect('app.cased', test => 'case when open then user_id = app.current_user_id() else false end');

-- case on the identity
create table app.cased2 (id bigint, open boolean not null, user_id text collate "C" not null default app.current_user_id());
call attack.protect('app.cased2', test => 'case when user_id = app.current_user_id() then open end');

-- definer audit trigger, own schema
create schema if not exists vault;
create table vault.log (at timestamptz default now(), user_id text, title text);
create function vault.log_it() returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp as $$ begin insert into vault.log (user_id, title) values (new.user_id, new.title); return null; end $$;
revoke execute on function vault.log_it() from public;
create trigger logs after insert or update on app.tasks for each row execute function vault.log_it();

-- definer audit trigger in app
create table app.change_log (at timestamptz default now(), op text, row_data jsonb);
create function app.audit_it() returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp as $$ begin if tg_op = 'DELETE' then insert into app.change_log (op, row_data) values (tg_op, to_jsonb(old)); return old; end if;
insert into app.change_log (op, row_data) values (tg_op, to_jsonb(new)); return new; end $$;
revoke execute on function app.audit_it() from public;
create trigger audits after insert or update or delete on app.tasks for each row execute function app.audit_it();

-- definer whose search_path ends with pg_temp
create function app.spelled(n bigint) returns text language plpgsql security definer set search_path = pg_catalog, pg_temp as $$ begin return n::text; end $$;

-- definer of a role without rights that reads tasks
create role powerless;
create function app.harmless() returns bigint language sql security definer set search_path = pg_catalog as 'select count(*) from app.tasks';
alter function app.harmless() owner to powerless;

-- definer view whose owner has no policy
create role shower;
grant usage on schema app to shower;
grant select on app.tasks to shower;
create view app.shown as select id, title from app.tasks;
alter view app.shown owner to shower;
grant select on app.shown to tasks_api;

-- invoker trigger that normalises by a helper
create function app.trim_it(text) returns text language sql immutable return btrim($1);
create function app.trim_task() returns trigger language plpgsql as $$ begin new.description := app.trim_it(new.description); return new; end $$;
create trigger trims before insert on app.tasks for each row execute function app.trim_task();

-- reporting role with its own policy
create role reports login;
grant usage on schema app to reports;
grant select on app.tasks to reports;
create policy reports_see on app.tasks for select to reports using (completed);

-- coalesce to false
create table app.coal (id bigint, user_id text collate "C" not null default app.current_user_id());
call attack.protect('app.coal', test => 'coalesce(user_id = app.current_user_id(), false)');

-- more conditions, all leakproof
create table app.more (id bigint, open boolean, at timestamptz not null default now(), user_id text collate "C" not null default app.current_user_id());
call attack.protect('app.more', test => 'user_id = app.current_user_id() and open and id > 0 and at < now()');

-- owner view over a lookup
create table app.sizes (name text primary key);
alter table app.sizes enable row level security;
alter table app.sizes force row level security;
create policy read on app.sizes for select using (true);
grant select on app.sizes to tasks_api;
create view app.size_names as select name from app.sizes;
grant select on app.size_names to tasks_api;

-- the tasks themselves, partitioned by hash | alone
create table app.tasks_p (like app.tasks including all) partition by hash (user_id);
create table app.tasks_p0 partition of app.tasks_p for values with (modulus 2, remainder 0);
create table app.tasks_p1 partition of app.tasks_p for values with (modulus 2, remainder 1);
drop table app.tasks cascade;
alter table app.tasks_p rename to tasks;
alter table app.tasks alter title set statistics 0, alter description set statistics 0, alter category set statistics 0, alter tags set statistics 0, alter priority set statistics 0;
alter table app.tasks add foreign key (user_id) references app.users on delete cascade;
alter table app.tasks enable row level security;
alter table app.tasks force row level security;
create policy select_own on app.tasks for select to tasks_api using (user_id = app.current_user_id());
create policy insert_own on app.tasks for insert to tasks_api with check (user_id = app.current_user_id());
create policy update_own on app.tasks for update to tasks_api using (user_id = app.current_user_id());
create policy delete_own on app.tasks for delete to tasks_api using (user_id = app.current_user_id());
grant select, delete, insert (title, description, completed, priority, due_date, category, tags), update (title, description, completed, priority, due_date, category, tags) on app.tasks to tasks_api;
create trigger tasks_touch before update on app.tasks for each row when (old.* is distinct from new.*) execute function app.touch_task();

-- policies that compare the user in other words
create table app.said (user_id text collate "C" not null default app.current_user_id(), id bigint not null, primary key (user_id, id));
alter table app.said enable row level security; alter table app.said force row level security;
create policy by_not on app.said for select to tasks_api using (not (user_id <> app.current_user_id()));
create policy by_null on app.said for insert to tasks_api with check (user_id = app.current_user_id() or user_id is null);
create policy by_true on app.said for update to tasks_api using ((user_id = app.current_user_id()) is true);
grant select, insert (id), update (id) on app.said to tasks_api;

-- a function that compares the owner with the user
create function app.is_mine(owner text) returns boolean language sql stable parallel safe return owner = app.current_user_id();
create table app.mine_alone (user_id text collate "C" not null default app.current_user_id(), id bigint not null, primary key (user_id, id));
call attack.protect('app.mine_alone', 'select', 'app.is_mine(user_id)');

-- an outbox that the API may only fill
create table app.outbox (id bigint generated always as identity primary key, user_id text collate "C" not null default app.current_user_id(), kind text not null);
alter table app.outbox enable row level security; alter table app.outbox force row level security;
create policy fill on app.outbox for insert to tasks_api with check (user_id = app.current_user_id());
grant insert (kind) on app.outbox to tasks_api;

-- a definer that replaces a part of a text search
create function app.widen(q tsquery) returns tsquery language sql stable security definer set search_path = pg_catalog, pg_temp as $$ select ts_rewrite(q, to_tsquery('simple', 'a'), 'b') $$;

-- an argument that the function's name qualifies, and a stable function that reads rows
create table app.bands (band_id bigint, user_id text collate "C" not null default app.current_user_id(), primary key (user_id, band_id));
call attack.protect('app.bands', 'select');
create function app.in_band(band_id bigint) returns boolean language sql stable as 'select exists (select from app.bands b where b.band_id = in_band.band_id and b.user_id = app.current_user_id())';
create function app.lengths(title text) returns bigint language sql immutable as 'select length(title)';

-- policies with a sub-select of the user, and without a table
create table app.said2 (user_id text collate "C" not null default app.current_user_id(), id bigint not null, primary key (user_id, id));
alter table app.said2 enable row level security; alter table app.said2 force row level security;
create policy by_array on app.said2 for select to tasks_api using (user_id = any (array(select app.current_user_id())));
create policy by_exists on app.said2 for insert to tasks_api with check (exists (select where user_id = app.current_user_id()));
create policy by_row on app.said2 for update to tasks_api using (to_jsonb(said2) ->> 'user_id' = app.current_user_id());
grant select, insert (id), update (id) on app.said2 to tasks_api;

-- documents with the user in JSON
create table app.documents (id uuid primary key default gen_random_uuid(), doc jsonb not null);
call attack.protect('app.documents', 'select, insert (doc), update (doc), delete', 'doc ->> ''user_id'' = app.current_user_id()');
create table app.documents2 (id uuid primary key default gen_random_uuid(), doc jsonb not null);
call attack.protect('app.documents2', 'select, insert (doc), update (doc), delete', 'doc @> jsonb_build_object(''user_id'', app.current_user_id())');

-- the same comparison in PL/pgSQL, without a variable
create function app.is_theirs(owner text) returns boolean language plpgsql stable as $$ begin return owner = app.current_user_id(); end $$;
create table app.theirs (user_id text collate "C" not null default app.current_user_id(), id bigint not null, primary key (user_id, id));
call attack.protect('app.theirs', 'select', 'app.is_theirs(user_id)');

-- a random public id that the role may not set
alter table app.tasks add column public_id uuid not null default gen_random_uuid() unique;

-- lookup tables to which definers write constants, or rows of each other
create table app.moods (name text primary key, is_stale boolean not null default false);
create table app.old_moods (name text primary key);
alter table app.moods enable row level security;
alter table app.old_moods enable row level security;
create policy everyone on app.moods for select to tasks_api using (true);
create policy everyone on app.old_moods for select to tasks_api using (true);
grant select on app.moods, app.old_moods to tasks_api;
create function app.age_moods() returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  update app.moods set is_stale = true where name = 'sad';
  insert into app.old_moods (name) select m.name from app.moods m where m.is_stale on conflict do nothing;
  return null;
end $$;
create trigger age_moods after insert on app.tasks for each statement execute function app.age_moods();

-- definer that writes what users do to a table that the role may not read
create table app.trail (line text not null);
create function app.keep_trail() returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp as $$ begin insert into app.trail values (old.title); return null; end $$;
create trigger keep_trail after delete on app.tasks for each row execute function app.keep_trail();

-- trigger that writes rows of the user with the rights of the caller
create table app.title_history (user_id text collate "C" not null default app.current_user_id(), task_id bigint, at timestamptz not null default clock_timestamp(), primary key (user_id, task_id, at));
call attack.protect('app.title_history', 'select, insert (task_id), update (at), delete');
create function app.keep_title() returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  delete from app.title_history where task_id = old.id;
  insert into app.title_history as h (task_id) values (old.id) on conflict (user_id, task_id, at) do update set at = now();
  return null;
end $$;
create trigger keep_title after update on app.tasks for each row execute function app.keep_title();
-- lookup for every user
create table app.tariffs (id bigint primary key, is_valid boolean not null);
call attack.protect('app.tariffs', 'select', 'app.current_user_id() is not null and is_valid');

-- lookup for everybody, with a policy for more
create table app.tiers (id bigint primary key, since date);
call attack.protect('app.tiers', 'select', 'true');
create policy longer on app.tiers for select to tasks_api using (length(app.current_user_id()) > extract(year from since));

-- owner view on an invoker view
create view app.inside with (security_invoker) as select user_id from app.tasks;
create view app.outside as select user_id from app.inside;
grant select on app.outside to tasks_api;

-- trigger of an invoker view, with the rights of the caller
create view app.to_do with (security_invoker) as select id, title from app.tasks where not completed;
create function app.write_to_do() returns trigger language plpgsql as 'begin if tg_op = ''DELETE'' then delete from app.tasks where id = old.id; return old; end if; insert into app.tasks (title) values (new.title); return new; end';
create trigger write instead of insert or delete on app.to_do for each row execute function app.write_to_do();
grant select, insert, delete on app.to_do to tasks_api;

-- lookup for a column of the tasks
create table app.levels (priority text primary key, place smallint not null);
call attack.protect('app.levels', 'select', 'true');

-- rows of a task, by an owner column of another name
create table app.steps (task_owner text collate "C" not null default app.current_user_id(), task_id bigint not null, step bigint not null, primary key (task_owner, task_id, step));
call attack.protect('app.steps', 'select, insert (task_id, step), delete', 'exists (select from app.tasks t where t.user_id = task_owner and t.id = task_id and t.user_id = app.current_user_id())');

-- table with the name of its schema
create table app.app (user_id text collate "C" primary key default app.current_user_id());
call attack.protect('app.app', 'select, insert (user_id), delete');
