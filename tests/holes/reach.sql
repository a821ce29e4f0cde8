-- Reach: tables, partitions, foreign tables, copies and views without row security in between.

-- row security off: hole row_security app.tasks
alter table app.tasks disable row level security;
-- exploit
select attack.sees('app.tasks');

-- row security off for users: hole row_security app.users
alter table app.users disable row level security;
-- exploit
select count(*) > 1 from app.users;

-- row security not forced: hint row_security_not_forced app.idempotency_keys
alter table app.idempotency_keys no force row level security;

-- new table without: hole row_security app.notes
create table app.notes (user_id text, title text);
insert into app.notes values ('alice', 'secret');
grant select on app.notes to tasks_api;
-- exploit
select attack.sees('app.notes');

-- new table in public: hole row_security public.notes
create table public.notes (user_id text, title text);
insert into public.notes values ('alice', 'secret');
grant select on public.notes to tasks_api;
-- exploit
select attack.sees('public.notes');

-- odd name: hole row_security app."My ""Notes"""
create table app."My ""Notes""" (user_id text, title text);
insert into app."My ""Notes""" values ('alice', 'secret');
grant select on app."My ""Notes""" to tasks_api;
-- exploit
select attack.sees('app."My ""Notes"""');

-- new table for everybody: hole row_security public.lists
create table public.lists (user_id text, title text);
insert into public.lists values ('alice', 'secret');
grant select on public.lists to public;
-- exploit
select attack.sees('public.lists');

-- new table in another schema: hole row_security archive.tasks
create schema archive;
grant usage on schema archive to public;
create table archive.tasks (user_id text, title text);
insert into archive.tasks values ('alice', 'secret');
grant select on archive.tasks to tasks_api;
-- exploit
select attack.sees('archive.tasks');

-- one column of a table: hole row_security app.marks
create table app.marks (user_id text, title text);
insert into app.marks values ('alice', 'secret');
grant select (user_id) on app.marks to tasks_api;
-- exploit
select attack.sees('app.marks');

-- table of an inherited role: hole row_security public.of_a_team
create role a_team;
grant a_team to tasks_api;
create table public.of_a_team (user_id text, title text);
insert into public.of_a_team values ('alice', 'secret');
grant select on public.of_a_team to a_team;
-- exploit
select attack.sees('public.of_a_team');

-- partition: hole row_security app.parted_0
create table app.parted (
  id bigint not null default app.next_task_id(),
  user_id text collate "C" not null default app.current_user_id() references app.users on delete cascade,
  primary key (user_id, id)) partition by hash (user_id);
call attack.protect('app.parted');
create table app.parted_0 partition of app.parted for values with (modulus 1, remainder 0);
insert into app.parted values (1, 'alice');
grant select on app.parted_0 to tasks_api;
-- exploit
select attack.sees('app.parted_0');

-- inheritance child: hole row_security app.old_tasks
create table app.old_tasks () inherits (app.tasks);
insert into app.old_tasks select * from app.tasks;
grant select on app.old_tasks to tasks_api;
-- exploit
select attack.sees('app.old_tasks');

-- inheritance parent: hole row_security app.things
create table app.things (title text not null);
alter table app.tasks inherit app.things;
grant select on app.things to tasks_api;
-- exploit
select exists (select from app.things where title = 'secret');

-- foreign table: hole foreign_table app.far
create foreign data wrapper nowhere;
create server nowhere foreign data wrapper nowhere;
create foreign table app.far (user_id text) server nowhere;
grant select on app.far to tasks_api;

-- materialised view: hole materialized_view app.copy
create materialized view app.copy as select user_id, title from app.tasks;
grant select on app.copy to tasks_api;
-- exploit
select attack.sees('app.copy');

-- view as owner: hole view app.all_tasks
create view app.all_tasks as select user_id, title from app.tasks;
grant select on app.all_tasks to tasks_api;
-- exploit
select attack.sees('app.all_tasks');

-- view that says no: hole view app.said_no
create view app.said_no with (security_invoker = off, security_barrier) as select user_id from app.tasks;
grant select on app.said_no to tasks_api;
-- exploit
select attack.sees('app.said_no');

-- view for everybody: hole view public.tasks_view
create view public.tasks_view as select user_id from app.tasks;
grant select on public.tasks_view to public;
-- exploit
select attack.sees('public.tasks_view');

-- view on a view as owner: hole view app.outer_view
create view app.inner_view as select user_id from app.tasks;
create view app.outer_view with (security_invoker) as select user_id from app.inner_view;
grant select on app.inner_view, app.outer_view to tasks_api;
-- exploit
select attack.sees('app.outer_view');

-- view on a copy: hole materialized_view app.kept
create materialized view app.kept as select user_id from app.tasks;
create view app.on_a_copy with (security_invoker) as select user_id from app.kept;
grant select on app.kept, app.on_a_copy to tasks_api;
-- exploit
select attack.sees('app.on_a_copy');

-- view of one who bypasses: hole view app.by_auditor
create role auditor bypassrls;
grant usage, create on schema app to auditor;
grant select on app.tasks to auditor;
create view app.by_auditor as select user_id from app.tasks;
alter view app.by_auditor owner to auditor;
grant select on app.by_auditor to tasks_api;
-- exploit
select attack.sees('app.by_auditor');

-- view to write through: hole view app.drop_box
create view app.drop_box as select user_id, title, updated_at from app.tasks;
grant insert on app.drop_box to tasks_api;
-- exploit
insert into app.drop_box values ('alice', 'forged', now());
select true;

-- view of one column: hole view app.one_column
create view app.one_column as select user_id, title from app.tasks;
grant select (user_id) on app.one_column to tasks_api;
-- exploit
select attack.sees('app.one_column');

-- view of statistics: hole view app.statistics
create view app.statistics as select starelid, stavalues1::text as value from pg_statistic;
grant select on app.statistics to tasks_api;

-- rule that copies: hole rule copies on app.tasks
create table app.rule_log (user_id text, title text);
create rule copies as on insert to app.tasks do also insert into app.rule_log values (new.user_id, new.title);

-- rule with a condition that reads all rows: hole rule probes on app.rule_probe
create table app.rule_probe (title text primary key);
grant select, insert on app.rule_probe to tasks_api;
create rule probes as on insert to app.rule_probe
  where exists (select from app.tasks t where t.title = new.title) do instead nothing;

-- table without owners: hint row_security public.countries
create table public.countries (code text primary key);
create table public.cities (name text primary key, code text references public.countries);
grant select on public.countries, public.cities to tasks_api;

-- view of the passwords: hole view app.logins
create view app.logins as select usename, passwd from pg_catalog.pg_shadow;
grant select on app.logins to tasks_api;
-- exploit
select exists (select passwd from app.logins);

-- union of two filtered selects, one without the filter: warning view app.all_orders
create table app.orders (id bigint primary key, user_id text not null);
create table app.orders_2024 (id bigint primary key, user_id text not null);
alter table app.orders enable row level security;
alter table app.orders_2024 enable row level security;
create view app.all_orders with (security_barrier) as select id, user_id from app.orders where user_id = app.current_user_id() union all select id, user_id from app.orders_2024;
insert into app.orders_2024 values (1, 'alice');
grant select on app.all_orders to tasks_api;
-- exploit
select attack.sees('app.all_orders');

-- filtered sub-select beside an unfiltered table: warning view app.mixed
create view app.mixed with (security_barrier) as select t.user_id from (select title from app.tasks where user_id = app.current_user_id()) o right join app.tasks t on true;
grant select on app.mixed to tasks_api;
-- exploit
select attack.sees('app.mixed');

-- sub-select that filters one of two tables: warning view app.doubled
create view app.doubled with (security_barrier) as select o.user_id from (select t.user_id from app.tasks t, app.tasks u where u.user_id = app.current_user_id()) o;
grant select on app.doubled to tasks_api;
-- exploit
insert into app.tasks (title) values ('m');
select attack.sees('app.doubled');

-- trigger of a view that takes the owner from the new row: warning trigger app.put_contact() by trigger put on app.contacts_of_me
create table app.contacts (id bigint, user_id text not null);
alter table app.contacts enable row level security;
create view app.contacts_of_me with (security_barrier) as select id, user_id from app.contacts where user_id = app.current_user_id();
create function app.put_contact() returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp as 'begin insert into app.contacts (id, user_id) values (new.id, coalesce(new.user_id, app.current_user_id())); return new; end';
create trigger put instead of insert on app.contacts_of_me for each row execute function app.put_contact();
create function attack.has_contact() returns boolean language sql security definer as 'select exists (select from app.contacts where user_id = ''alice'')';
grant select, insert on app.contacts_of_me to tasks_api;
-- exploit
insert into app.contacts_of_me values (1, 'alice');
select attack.has_contact();

-- trigger of a view that takes the owner of the new row: hole trigger app.put_address() by trigger put on app.addresses_of_me
create table app.addresses (id bigint, user_id text not null);
alter table app.addresses enable row level security;
create view app.addresses_of_me with (security_barrier) as select id, user_id from app.addresses where user_id = app.current_user_id();
create function app.put_address() returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp as 'begin insert into app.addresses (id, user_id) values (new.id, new.user_id); return new; end';
create trigger put instead of insert on app.addresses_of_me for each row execute function app.put_address();
grant select, insert on app.addresses_of_me to tasks_api;

-- definer instead of a delete, by a key that other users have, too: hole trigger app.drop_task() by trigger drop_task on app.my_tasks
create view app.my_tasks with (security_invoker, security_barrier) as select id, title from app.tasks;
create function app.drop_task() returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp as 'begin delete from app.tasks where id = old.id; return old; end';
create trigger drop_task instead of delete on app.my_tasks for each row execute function app.drop_task();
grant select, delete on app.my_tasks to tasks_api;

-- view that ranks all rows before its filter: warning view app.places
create view app.places with (security_barrier) as select p.user_id, p.place from (select t.user_id, rank() over (order by t.version) as place from app.tasks t) p where p.user_id = app.current_user_id();
grant select on app.places to tasks_api;
