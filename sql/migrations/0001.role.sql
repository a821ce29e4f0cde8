-- Role: the one identity under which the API reaches PostgreSQL, and the schema it works in.
set local lock_timeout = '5s';

create schema app;
comment on schema app is 'Tasks of many users, kept apart by row security on the setting app.user_id.';

-- A role belongs to the whole cluster: another database may have made it already,
-- perhaps at this very moment, and perhaps as somebody whom we may not alter it for.
do $$
begin
  if current_setting('server_encoding') <> 'UTF8' then
    raise exception 'database % is encoded in %, but tasks are UTF-8',
      quote_ident(current_database()), current_setting('server_encoding')
      using hint = 'Make one with: create database ... encoding ''UTF8'' template template0';
  end if;

  begin
    create role tasks_api nologin nosuperuser nocreatedb nocreaterole noreplication nobypassrls;
    comment on role tasks_api is
      'The API: owner of nothing, member of nothing, sees only the rows of app.user_id.';
  exception when duplicate_object or unique_violation then
    raise notice 'role tasks_api exists already: it is kept';
  end;

  -- Limits live on the role, so that they hold for every client and behind a pooler.
  -- Time stamps are rendered by the database, in UTC.
  if not exists (
    select from pg_catalog.pg_db_role_setting
    where setrole = 'tasks_api'::regrole and setdatabase = 0
      and setconfig @> array['statement_timeout=5s', 'lock_timeout=2s',
                             'idle_in_transaction_session_timeout=10s', 'TimeZone=UTC']
  ) then
    alter role tasks_api set statement_timeout = '5s';
    alter role tasks_api set lock_timeout = '2s';
    alter role tasks_api set idle_in_transaction_session_timeout = '10s';
    alter role tasks_api set timezone = 'UTC';
  end if;
end
$$;

-- create is withheld: the role must not be able to place an object in front of ours.
grant usage on schema app to tasks_api;
