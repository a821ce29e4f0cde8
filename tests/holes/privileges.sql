-- Privileges: beyond those that the migrations grant.

-- truncate: hole privilege app.tasks
grant truncate on app.tasks to tasks_api;
-- exploit
truncate app.tasks;
select true;

-- references: hint privilege app.users | alone
grant references on app.users to tasks_api;

-- references of a column: hint privilege app.tasks.id | alone
grant references (id) on app.tasks to tasks_api;

-- trigger: hole privilege app.idempotency_keys
grant trigger on app.idempotency_keys to tasks_api;

-- trigger for public: hole privilege app.users
grant trigger on app.users to public;

-- maintain: hole privilege app.tasks | from 17
grant maintain on app.tasks to tasks_api;
-- exploit
lock table app.tasks;
select true;

-- everything through a role: hole privilege app.tasks
create role helpers;
grant all on app.tasks to helpers;
grant helpers to tasks_api;
-- exploit
truncate app.tasks;
select true;

-- grant option: hole grant_option app.tasks
grant select on app.tasks to tasks_api with grant option;
-- exploit
grant select on app.tasks to public;
select true;

-- grant option on a column: hole grant_option app.tasks.title
grant update (title) on app.tasks to tasks_api with grant option;

-- grant option on a schema: hole grant_option app
grant usage on schema app to tasks_api with grant option;

-- grant option on a function: hole grant_option app.trimmed(text)
grant execute on function app.trimmed(text) to tasks_api with grant option;

-- sequence: hole sequence app.counter
create sequence app.counter;
grant usage on sequence app.counter to tasks_api;
-- exploit
select nextval('app.counter') > 0;

-- sequence for public: hole sequence public.counter
create sequence public.counter;
grant select on sequence public.counter to public;
-- exploit
select last_value > 0 from public.counter;

-- create in app: hole create app
grant create on schema app to tasks_api;
-- exploit
create table app.mine (x int);
select true;

-- create in public: hole create public
grant create on schema public to public;
-- exploit
create function public.lower(text) returns text language sql return 'x';
select true;

-- create in another schema: hole create workshop
create schema workshop;
grant create, usage on schema workshop to tasks_api;
-- exploit
create table workshop.mine (x int);
select true;

-- create in the database: hole create {database}
grant create on database {database} to tasks_api;
-- exploit
create schema mine;
select true;

-- temp: hole temp {database}
grant temp on database {database} to tasks_api;
-- exploit
create temp table tasks (title text);
select true;

-- default tables: hole default_privilege postgres in schema app
alter default privileges in schema app grant select on tables to tasks_api;
-- exploit
reset role;
create table app.next (user_id text);
insert into app.next values ('alice');
set local role tasks_api;
select attack.sees('app.next');

-- default tables for public: hole default_privilege default privileges of postgres
alter default privileges grant select on tables to public;

-- default of another role: hole default_privilege default privileges of builder
create role builder;
alter default privileges for role builder grant select on tables to tasks_api;

-- read files: hole system_privilege pg_catalog.pg_read_file(text)
grant execute on function pg_catalog.pg_read_file(text) to tasks_api;
-- exploit
select pg_read_file('PG_VERSION') <> '';

-- list directories: hole system_privilege pg_catalog.pg_ls_dir(text)
grant execute on function pg_catalog.pg_ls_dir(text) to public;
-- exploit
select count(*) > 0 from pg_ls_dir('.');

-- import files: hole system_privilege pg_catalog.lo_import(text)
grant execute on function pg_catalog.lo_import(text) to tasks_api;
-- exploit
select lo_import('PG_VERSION') > 0;

-- statistics: hole system_privilege pg_catalog.pg_statistic
grant select on pg_catalog.pg_statistic to tasks_api;
-- exploit
select count(*) > 0 from pg_catalog.pg_statistic;

-- passwords: hole system_privilege pg_catalog.pg_authid.rolpassword
grant select (rolname, rolpassword) on pg_catalog.pg_authid to tasks_api;
-- exploit
select count(*) > 0 from (select rolpassword from pg_authid) p;

-- large object: hole large_object 815
select lo_from_bytea(815, 'secret');
grant select on large object 815 to tasks_api;
-- exploit
select lo_get(815) = 'secret';

-- large object for public: hole large_object 816
select lo_from_bytea(816, 'secret');
grant update on large object 816 to public;

-- parameter: hole parameter session_replication_role
grant set on parameter session_replication_role to tasks_api;
-- exploit
set local session_replication_role = replica;
select set_config('app.user_id', 'ghost', true);
insert into app.idempotency_keys (key, task) values ('x', '{}');
select true;

-- parameter of the system: hole parameter log_statement
grant alter system on parameter log_statement to tasks_api;

-- foreign server: hole foreign_server abroad
create foreign data wrapper far;
create server abroad foreign data wrapper far;
grant usage on foreign server abroad to tasks_api;

-- foreign data wrapper: hole foreign_server wrapper
create foreign data wrapper wrapper;
grant usage on foreign data wrapper wrapper to tasks_api;

-- long values: hole system_privilege pg_toast.pg_toast_
do $$ begin execute format('grant select on %s to tasks_api', (select reltoastrelid::regclass from pg_class where oid = 'app.tasks'::regclass)); end $$;

-- extension's function: hole system_privilege dblink_connect_u(text)
create extension dblink;
grant execute on function dblink_connect_u(text) to tasks_api;

-- trigger on a view: hole privilege app.seen
create view app.seen with (security_invoker) as select id, title from app.tasks;
grant select, delete, trigger on app.seen to tasks_api;
-- exploit
create function pg_temp.spy() returns trigger language plpgsql as $$ begin return old; end $$;
create trigger spies instead of delete on app.seen for each row execute function pg_temp.spy();
select true;
