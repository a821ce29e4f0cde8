-- Roles: what the API role is, what it can become and owns, and who can become it.

-- superuser: hole role_attribute tasks_api | alone
alter role tasks_api superuser;
-- exploit
select attack.sees('app.tasks');

-- bypassrls: hole role_attribute tasks_api | alone
alter role tasks_api bypassrls;
-- exploit
select attack.sees('app.tasks');

-- createrole: hole role_attribute tasks_api | alone
alter role tasks_api createrole;

-- createdb: hole role_attribute tasks_api | alone
alter role tasks_api createdb;

-- replication: hole role_attribute tasks_api | alone
alter role tasks_api replication;

-- member of pg read all data: hole role_membership tasks_api -> pg_read_all_data
grant pg_read_all_data to tasks_api;

-- member of pg write all data: hole role_membership tasks_api -> pg_write_all_data
grant pg_write_all_data to tasks_api;

-- member of pg read server files: hole role_membership tasks_api -> pg_read_server_files
grant pg_read_server_files to tasks_api;
-- exploit
create temp table f (line text);
copy f from 'PG_VERSION';
select count(*) > 0 from f;

-- member of pg write server files: hole role_membership tasks_api -> pg_write_server_files
grant pg_write_server_files to tasks_api;

-- member of pg execute server program: hole role_membership tasks_api -> pg_execute_server_program
grant pg_execute_server_program to tasks_api;
-- exploit
create temp table f (line text);
copy f from program 'echo x';
select count(*) > 0 from f;

-- member of pg read all settings: hole role_membership tasks_api -> pg_read_all_settings
grant pg_read_all_settings to tasks_api;

-- member of pg signal backend: hole role_membership tasks_api -> pg_signal_backend
grant pg_signal_backend to tasks_api;

-- member of pg checkpoint: hole role_membership tasks_api -> pg_checkpoint
grant pg_checkpoint to tasks_api;

-- member of pg maintain: hole role_membership tasks_api -> pg_maintain | from 17
grant pg_maintain to tasks_api;

-- chain to a predefined role: hole role_membership tasks_api -> ops -> pg_stat_scan_tables
create role ops;
grant pg_stat_scan_tables to ops;
grant ops to tasks_api;

-- member of one who bypasses: hole role_attribute tasks_api -> reporting
create role reporting bypassrls;
grant usage on schema app to reporting;
grant select on app.tasks to reporting;
grant reporting to tasks_api;
-- exploit
set local role reporting;
select attack.sees('app.tasks');

-- member through two others: hole role_attribute tasks_api -> team -> boss
create role boss superuser;
create role team;
grant boss to team;
grant team to tasks_api;
-- exploit
set local role boss;
select attack.sees('app.tasks');

-- member without inheriting: hole role_membership tasks_api -> sleeper | from 16
create role sleeper;
grant usage on schema app to sleeper;
grant select on app.tasks to sleeper;
create policy sleepers on app.tasks to sleeper using (true);
grant sleeper to tasks_api with inherit false, set true;
-- exploit
set local role sleeper;
select attack.sees('app.tasks');

-- member by admin option alone: hint role_membership tasks_api -> locked | from 16
create role locked;
grant locked to tasks_api with admin true, inherit false, set false;

-- owner of a table: hole role_ownership app.tasks | alone | unmended
alter table app.tasks owner to tasks_api;
-- exploit
alter table app.tasks no force row level security;
select attack.sees('app.tasks');

-- owner of a function: hole role_ownership app.current_user_id() | alone | unmended
alter function app.current_user_id() owner to tasks_api;

-- owner of a function with an argument: hole role_ownership app.fold_json(json)
create function app.fold_json(json) returns json language sql immutable return $1;
alter function app.fold_json owner to tasks_api;

-- owner of a schema: hole role_ownership app | alone | unmended
alter schema app owner to tasks_api;

-- owner of a view: hole role_ownership app.view_of_mine
create view app.view_of_mine with (security_invoker) as select 1 as one;
alter view app.view_of_mine owner to tasks_api;

-- owner of a sequence: hole role_ownership app.counter_of_mine
create sequence app.counter_of_mine;
alter sequence app.counter_of_mine owner to tasks_api;

-- owner of a type: hole role_ownership app.mood
create type app.mood as enum ('good');
alter type app.mood owner to tasks_api;

-- owner of a large object: hole role_ownership 4711
select lo_create(4711);
alter large object 4711 owner to tasks_api;

-- owner through a role: hole role_ownership app.idempotency_keys | alone
create role archivist;
alter table app.idempotency_keys owner to archivist;
grant archivist to tasks_api;

-- owner of the database: hole role_ownership {database} | alone
alter database {database} owner to tasks_api;

-- no statement timeout: warning role_limit tasks_api | alone
alter role tasks_api reset statement_timeout;

-- no lock timeout: warning role_limit tasks_api | alone
alter role tasks_api set lock_timeout = 0;

-- no idle in transaction session timeout: warning role_limit tasks_api | alone
alter role tasks_api in database {database} set idle_in_transaction_session_timeout = '0';
