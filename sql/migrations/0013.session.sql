-- Session: the role's settings name all that the API relies on and a client cannot ask for, or a pooler may drop.
set local lock_timeout = '5s';

-- A role's setting goes before the database's and the server's. default_transaction_read_only is left alone: a
-- database that is read-only was set so by its owner, and the API then says so. So is synchronous_commit, which
-- may be stronger than `on` for the database; the audit warns where commits are not on disk.
-- Every `make migrate` sets these again. An owner without the privilege to alter the role gets an error there.
do $$
declare
  setting text;
begin
  foreach setting in array array[
    'client_encoding = ''UTF8''',
    'DateStyle = ''ISO, MDY''',
    'default_transaction_isolation = ''read committed''',
    'row_security = ''on''',
    'standard_conforming_strings = ''on'''
  ]
  loop
    if not exists (
      select from pg_catalog.pg_db_role_setting
      where setrole = 'tasks_api'::regrole and setdatabase = 0
        and setconfig @> array[replace(replace(setting, ' = ', '='), '''', '')]
    ) then
      execute 'alter role tasks_api set ' || setting;
    end if;
  end loop;
exception when insufficient_privilege then
  raise notice 'role tasks_api keeps its settings: %', sqlerrm;
end
$$;

create or replace function app.schema_version() returns integer
language sql immutable parallel safe
return 13;
