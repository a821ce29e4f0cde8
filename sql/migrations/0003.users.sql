-- Users: one row for each who ever made a task, holding the counter of their task ids.
set local lock_timeout = '5s';

create table app.users (
  id text collate "C" not null,
  last_task_id bigint not null default 1,
  created_at timestamptz not null default now(),
  constraint users_pkey primary key (id),
  constraint users_id_length check (char_length(id) between 1 and 255)
);

comment on table app.users is 'Everyone who ever made a task. The row appears with the first one.';
comment on column app.users.id is 'The user claim of their token: opaque, case-sensitive.';
comment on column app.users.last_task_id is 'The newest task id given to this user; it counts by one and never goes back.';
comment on column app.users.created_at is 'When their first task was made.';

alter table app.users enable row level security;
alter table app.users force row level security;

create policy select_own on app.users
  for select
  to tasks_api
  using (id = app.current_user_id());
comment on policy select_own on app.users is 'Users see their own counter only.';

create policy insert_own on app.users
  for insert
  to tasks_api
  with check (id = app.current_user_id());
comment on policy insert_own on app.users is 'Users enter themselves only.';

create policy update_own on app.users
  for update
  to tasks_api
  using (id = app.current_user_id())
  with check (id = app.current_user_id());
comment on policy update_own on app.users is 'Users advance their own counter only.';

-- delete is withheld: erasing a user, and with them all their tasks, is for the DBA.
-- insert of the counter and update of the id are withheld: both are the database's to decide.
grant select, insert (id), update (last_task_id) on app.users to tasks_api;

-- A counter that could be set back would give an id twice.
create function app.refuse_recount() returns trigger
language plpgsql
as $$
begin
  raise check_violation using message = 'app.users.last_task_id counts by one', constraint = 'users_last_task_id_counts';
end
$$;

comment on function app.refuse_recount() is 'Refuses any change of last_task_id but adding one.';
revoke execute on function app.refuse_recount() from public;

create trigger users_last_task_id_counts before update on app.users
  for each row
  when (new.last_task_id is distinct from old.last_task_id + 1)
  execute function app.refuse_recount();
comment on trigger users_last_task_id_counts on app.users is 'A task id is never given twice.';

-- The row lock taken here is held until commit: one user's ids become visible in the order of their
-- numbers, so that a page of tasks never misses one that commits later.
create function app.next_task_id() returns bigint
language sql volatile
as $$
  insert into app.users (id)
  values (app.current_user_id())
  on conflict (id) do update set last_task_id = users.last_task_id + 1
  returning last_task_id
$$;

comment on function app.next_task_id() is
  'Enters the user where they are new and gives their next task id: 1, 2, 3... for each user.';

revoke execute on function app.next_task_id() from public;
grant execute on function app.next_task_id() to tasks_api;

create or replace function app.schema_version() returns integer
language sql immutable parallel safe
return 3;
