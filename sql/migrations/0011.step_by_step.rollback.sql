set local lock_timeout = '5s';

create or replace function app.create_task_once(
  wanted_key text, wanted_title text, wanted_description text, wanted_completed boolean
)
returns table (task json, version integer, id bigint, replayed boolean, same boolean)
language sql volatile
begin atomic
  with known as (
    select k.task
    from app.idempotency_keys as k
    where k.user_id = app.current_user_id() and k.key = wanted_key
      and k.created_at >= now() - interval '24 hours'
  ), created as (
    insert into app.tasks (title, description, completed)
    select app.trimmed(wanted_title), wanted_description, wanted_completed
    where not exists (select from known)
    returning id, user_id, title, description, completed, version, created_at, updated_at
  ), expired as (
    delete from app.idempotency_keys
    where exists (select from created)
      and user_id = app.current_user_id() and created_at < now() - interval '24 hours'
      and key = any(array(
        select wanted_key
        union all
        (
          select k.key
          from app.idempotency_keys as k
          where k.user_id = app.current_user_id() and k.created_at < now() - interval '24 hours'
          order by k.created_at
          limit 100
        )
      ))
    returning key
  ), kept as (
    insert into app.idempotency_keys (key, task)
    select wanted_key, to_json(created)
    from created, (select count(key) from expired) as swept
  )
  select to_json(created), created.version, created.id, false, true
  from created
  union all
  select known.task, 1, (known.task->>'id')::bigint, true,
    (known.task->>'title', known.task->>'description', (known.task->>'completed')::boolean)
      is not distinct from (app.trimmed(wanted_title), wanted_description, wanted_completed)
  from known;
end;

create or replace function app.next_task_id() returns bigint
language sql volatile
begin atomic
  insert into app.users (id)
  values (app.current_user_id())
  on conflict (id) do update set last_task_id = users.last_task_id + 1
  returning last_task_id;
end;

create or replace function app.schema_version() returns integer
language sql immutable parallel safe
return 10;
