-- Columns: which of them a new task is given is said by app.insert_task alone, so that one more needs no other copy.
set local lock_timeout = '5s';

create function app.insert_task(wanted json) returns json
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
revoke execute on function app.insert_task(json) from public;
grant execute on function app.insert_task(json) to tasks_api;

-- As before, a key that another transaction keeps meanwhile runs into the primary key, and the call leaves no
-- trace, not even a used id. A member that the kept task lacks, since its column is younger, counts as null.
create function app.create_task_once(wanted_key text, wanted json)
returns table (task json, version integer, id bigint, replayed boolean, same boolean)
language plpgsql volatile
set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  me text := app.current_user_id(); -- as a value it tells Citus the one shard to ask; as a function, all of them
begin
  select k.task
  into task
  from app.idempotency_keys as k
  where k.user_id = me and k.key = wanted_key
    and k.created_at >= pg_catalog.now() - interval '24 hours';

  replayed := found;
  if replayed then
    same := not exists (
      select 1 from pg_catalog.json_each_text(wanted) as w where w.value is distinct from task->>w.key
    );
  else
    task := app.insert_task(wanted);
    same := true;

    -- What goes: the wanted key itself where its time is over, and the user's hundred oldest. The insert above
    -- has locked the user's row, so that no two of one user's calls sweep at once.
    delete from app.idempotency_keys as k
    where k.user_id = me and k.created_at < pg_catalog.now() - interval '24 hours'
      and k.key = wanted_key;

    delete from app.idempotency_keys as k
    where k.user_id = me and k.created_at < pg_catalog.now() - interval '24 hours'
      and k.key in (
        select o.key
        from app.idempotency_keys as o
        where o.user_id = me and o.created_at < pg_catalog.now() - interval '24 hours'
        order by o.created_at
        limit 100
      );

    insert into app.idempotency_keys (key, task)
    values (wanted_key, task);
  end if;
  version := task->>'version';
  id := task->>'id';
  return next;
end
$$;

comment on function app.create_task_once(text, json) is
  'Creates a task, or answers what the same key created in the last 24 hours, and whether it asked for the same.';
revoke execute on function app.create_task_once(text, json) from public;
grant execute on function app.create_task_once(text, json) to tasks_api;

comment on function app.create_task_once(text, text, text, boolean) is
  'The same for the release before, which serves while this schema comes. A later migration drops it.';

create or replace function app.schema_version() returns integer
language sql immutable parallel safe
return 12;
