-- Names: what the API's role and the functions call is PostgreSQL's own, whatever stands beside it.
set local lock_timeout = '5s';

-- A function is the best match over the whole search_path: public.to_json(record) would beat
-- pg_catalog.to_json(anyelement), although pg_catalog comes first. So nothing else is on the role's path.
-- It counts from a session's login on: a pooler's sessions keep the old one until it reconnects.
do $$
begin
  if not exists (
    select from pg_catalog.pg_db_role_setting
    where setrole = 'tasks_api'::regrole and setdatabase = 0
      and setconfig @> array['search_path=pg_catalog']
  ) then
    alter role tasks_api set search_path = pg_catalog;
  end if;
end
$$;

-- The functions hold under any caller's path. SQL is bound to its objects now, by begin atomic; PL/pgSQL
-- looks names up when it runs, so its are qualified.
create or replace function app.next_task_id() returns bigint
language sql volatile
begin atomic
  insert into app.users (id)
  values (app.current_user_id())
  on conflict (id) do update set last_task_id = users.last_task_id + 1
  returning last_task_id;
end;

create or replace function app.touch_task() returns trigger
language plpgsql
as $$
begin
  new.version := old.version operator(pg_catalog.+) 1;
  new.updated_at := greatest(
    pg_catalog.clock_timestamp(), old.updated_at operator(pg_catalog.+) interval '1 microsecond');
  return new;
end
$$;

create or replace function app.schema_version() returns integer
language sql immutable parallel safe
return 7;
