-- Step by step: app.create_task_once in plpgsql, which keeps its plans and can be planned where tables are spread.
set local lock_timeout = '5s';

-- As one statement in SQL it was planned anew at each call, and Citus refuses it: there the parameters of an
-- SQL function are unknown to the planner, and an insert from a select copies, which row security forbids.
-- As before, a key that another transaction keeps meanwhile runs into the primary key, and the call leaves no
-- trace, not even a used id.
create or replace function app.create_task_once(
  wanted_key text, wanted_title text, wanted_description text, wanted_completed boolean
)
returns table (task json, version integer, id bigint, replayed boolean, same boolean)
language plpgsql volatile
set search_path = pg_catalog  -- since PL/pgSQL looks names and operators up when it runs
as $$
#variable_conflict use_column
declare
  made record;
begin
  select k.task
  into task
  from app.idempotency_keys as k
  where k.user_id = app.current_user_id() and k.key = wanted_key
    and k.created_at >= pg_catalog.now() - interval '24 hours';

  replayed := found;
  if replayed then
    version := 1;
    id := task->>'id';
    same := (task->>'title', task->>'description', (task->>'completed')::boolean)
      is not distinct from (app.trimmed(wanted_title), wanted_description, wanted_completed);
  else
    insert into app.tasks (title, description, completed)
    values (app.trimmed(wanted_title), wanted_description, wanted_completed)
    returning id, user_id, title, description, completed, version, created_at, updated_at
    into made;

    task := pg_catalog.to_json(made);
    version := made.version;
    id := made.id;
    same := true;

    -- What goes: the wanted key itself where its time is over, and the user's hundred oldest. The insert above
    -- has locked the user's row, so that no two of one user's calls sweep at once.
    delete from app.idempotency_keys as k
    where k.user_id = app.current_user_id() and k.created_at < pg_catalog.now() - interval '24 hours'
      and k.key = wanted_key;

    delete from app.idempotency_keys as k
    where k.user_id = app.current_user_id() and k.created_at < pg_catalog.now() - interval '24 hours'
      and k.key in (
        select o.key
        from app.idempotency_keys as o
        where o.user_id = app.current_user_id() and o.created_at < pg_catalog.now() - interval '24 hours'
        order by o.created_at
        limit 100
      );

    insert into app.idempotency_keys (key, task)
    values (wanted_key, task);
  end if;
  return next;
end
$$;

-- The default of app.tasks.id writes to app.users, whose copy on another server Citus makes after its functions:
-- a parsed body would find no table there. So every name, the operator's too, says where it is.
create or replace function app.next_task_id() returns bigint
language sql volatile
as $$
  insert into app.users (id)
  values (app.current_user_id())
  on conflict (id) do update set last_task_id = users.last_task_id operator(pg_catalog.+) 1
  returning last_task_id
$$;

create or replace function app.schema_version() returns integer
language sql immutable parallel safe
return 11;
