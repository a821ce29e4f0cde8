-- Idempotency: what a client's Idempotency-Key created, so that a repeat creates nothing more.
set local lock_timeout = '5s';

create table app.idempotency_keys (
  user_id text collate "C" not null default app.current_user_id(),
  key text collate "C" not null,
  task json not null,
  created_at timestamptz not null default now(),
  constraint idempotency_keys_pkey primary key (user_id, key),
  constraint idempotency_keys_user_id_fkey foreign key (user_id) references app.users on delete cascade,
  constraint idempotency_keys_key_format check (key ~ '^[\x20-\x7e]{1,255}$')
);

comment on table app.idempotency_keys is 'The answers already given to requests with an Idempotency-Key.';
comment on column app.idempotency_keys.user_id is 'Whose key it is: keys of different users never meet.';
comment on column app.idempotency_keys.key is 'What the client sent: 1 to 255 printable ASCII characters.';
comment on column app.idempotency_keys.task is 'The task as it was created, to answer a repeat with.';
comment on column app.idempotency_keys.created_at is 'When it was first used; honoured for 24 hours from then.';

create index idempotency_keys_by_age on app.idempotency_keys (user_id, created_at);
comment on index app.idempotency_keys_by_age is 'Finds the keys of one user that have served their time.';

alter table app.idempotency_keys enable row level security;
alter table app.idempotency_keys force row level security;

create policy select_own on app.idempotency_keys
  for select
  to tasks_api
  using (user_id = app.current_user_id());
comment on policy select_own on app.idempotency_keys is 'Users see their own keys only.';

create policy insert_own on app.idempotency_keys
  for insert
  to tasks_api
  with check (user_id = app.current_user_id());
comment on policy insert_own on app.idempotency_keys is 'Users keep keys for themselves only.';

create policy delete_expired on app.idempotency_keys
  for delete
  to tasks_api
  using (user_id = app.current_user_id() and created_at < now() - interval '24 hours');
comment on policy delete_expired on app.idempotency_keys is 'Users'' own keys go, and only after their 24 hours.';

-- update is withheld: an answer once given stays as it was.
-- user_id and created_at are withheld: the database decides them.
grant select, delete, insert (key, task) on app.idempotency_keys to tasks_api;

-- A key that is known answers with what it created. One that another transaction keeps meanwhile runs
-- into the primary key: nothing of this one remains, not even a used id, and a second call finds it.
-- The count makes sure that the expired go before the new one comes, which may be the same key.
create function app.create_task_once(
  wanted_key text, wanted_title text, wanted_description text, wanted_completed boolean
)
returns table (task json, version integer, id bigint, replayed boolean, same boolean)
language sql volatile
as $$
  with expired as (
    delete from app.idempotency_keys
    where user_id = app.current_user_id() and created_at < now() - interval '24 hours'
    returning key
  ), known as (
    select k.task
    from app.idempotency_keys as k
    where k.user_id = app.current_user_id() and k.key = wanted_key
      and k.created_at >= now() - interval '24 hours'
  ), created as (
    insert into app.tasks (title, description, completed)
    select app.trimmed(wanted_title), wanted_description, wanted_completed
    where not exists (select from known)
    returning id, user_id, title, description, completed, version, created_at, updated_at
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
  from known
$$;

comment on function app.create_task_once(text, text, text, boolean) is
  'Creates a task, or answers what the same key created in the last 24 hours, and whether it asked for the same.';

revoke execute on function app.create_task_once(text, text, text, boolean) from public;
grant execute on function app.create_task_once(text, text, text, boolean) to tasks_api;

create or replace function app.schema_version() returns integer
language sql immutable parallel safe
return 5;
