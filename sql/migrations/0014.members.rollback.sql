set local lock_timeout = '5s';

create or replace function app.insert_task(wanted json) returns json
language plpgsql volatile
set search_path = pg_catalog  -- since PL/pgSQL looks names and operators up when it runs
as $$
declare
  made record;
begin
  insert into app.tasks (title, description, completed)
  values (wanted->>'title', wanted->>'description', coalesce((wanted->>'completed')::boolean, false))
  returning id, user_id, title, description, completed, version, created_at, updated_at
  into made;
  return pg_catalog.to_json(made);
end
$$;

comment on function app.insert_task(json) is 'Creates a task with the members of a JSON object, and answers it as the API does.';

create or replace function app.schema_version() returns integer
language sql immutable parallel safe
return 13;
