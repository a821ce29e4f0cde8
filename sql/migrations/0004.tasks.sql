-- Tasks: each belongs to one user, whom the database tells apart.
set local lock_timeout = '5s';

-- Unicode's White_Space property; btrim alone knows only blanks.
create function app.trimmed(value text) returns text
language sql immutable parallel safe
return btrim(value, U&'\0009\000A\000B\000C\000D\0020\0085\00A0\1680\2000\2001\2002\2003\2004\2005\2006\2007\2008\2009\200A\2028\2029\202F\205F\3000');

comment on function app.trimmed(text) is 'The text without Unicode white space at either end.';
revoke execute on function app.trimmed(text) from public;
grant execute on function app.trimmed(text) to tasks_api;

-- In the order of the JSON. Defaults are taken in this order too: id waits for the user's counter
-- first, so that created_at never runs backwards against id.
create table app.tasks (
  id bigint not null default app.next_task_id(),
  user_id text collate "C" not null default app.current_user_id(),
  title text not null,
  description text,
  completed boolean not null default false,
  version integer not null default 1,
  created_at timestamptz not null default clock_timestamp(),
  updated_at timestamptz not null,
  constraint tasks_pkey primary key (user_id, id),
  constraint tasks_user_id_fkey foreign key (user_id) references app.users on delete cascade,
  constraint tasks_title_trimmed check (title = app.trimmed(title)),
  constraint tasks_title_length check (char_length(title) between 1 and 200),
  constraint tasks_description_length check (char_length(description) <= 1000)
);

comment on table app.tasks is 'The tasks. A task of another user does not exist.';
comment on column app.tasks.id is 'Counted 1, 2, 3... within each user; gaps are allowed, an id is never given twice.';
comment on column app.tasks.user_id is 'The owner, taken from app.user_id; nobody can hand a task over.';
comment on column app.tasks.title is 'What to do: 1 to 200 characters, without white space at either end.';
comment on column app.tasks.description is 'More about it, as it was sent: null or at most 1000 characters.';
comment on column app.tasks.completed is 'Whether it is done.';
comment on column app.tasks.version is 'Starts at 1; every real change adds 1. The API''s ETag.';
comment on column app.tasks.created_at is 'When it was made.';
comment on column app.tasks.updated_at is 'When it last really changed; grows with version.';

-- Listing by status stays as cheap as a page, however many tasks have the other one.
create index tasks_by_status on app.tasks (user_id, completed, id);
comment on index app.tasks_by_status is 'Serves listing by status, newest first.';

alter table app.tasks enable row level security;
alter table app.tasks force row level security;

create policy select_own on app.tasks
  for select
  to tasks_api
  using (user_id = app.current_user_id());
comment on policy select_own on app.tasks is 'Users see their own tasks only.';

create policy insert_own on app.tasks
  for insert
  to tasks_api
  with check (user_id = app.current_user_id());
comment on policy insert_own on app.tasks is 'Users make tasks for themselves only.';

create policy update_own on app.tasks
  for update
  to tasks_api
  using (user_id = app.current_user_id())
  with check (user_id = app.current_user_id());
comment on policy update_own on app.tasks is 'Users change their own tasks only, and keep them.';

create policy delete_own on app.tasks
  for delete
  to tasks_api
  using (user_id = app.current_user_id());
comment on policy delete_own on app.tasks is 'Users delete their own tasks only.';

-- id, user_id, version and the time stamps are withheld: the database decides them.
-- truncate is withheld because row security does not apply to it; references and trigger because
-- they would let the role watch other users' rows.
grant select, delete,
  insert (title, description, completed),
  update (title, description, completed)
  on app.tasks to tasks_api;

create function app.stamp_task() returns trigger
language plpgsql
as $$
begin
  new.updated_at := new.created_at;
  return new;
end
$$;

comment on function app.stamp_task() is 'A new task was last changed when it was made.';
revoke execute on function app.stamp_task() from public;

create trigger tasks_stamp before insert on app.tasks
  for each row
  when (new.updated_at is null)
  execute function app.stamp_task();
comment on trigger tasks_stamp on app.tasks is 'Gives a new task its updated_at.';

-- clock_timestamp, since the transaction that waited for the row may have begun before the one it
-- waited for; the microsecond, since clocks are set back.
create function app.touch_task() returns trigger
language plpgsql
as $$
begin
  new.version := old.version + 1;
  new.updated_at := greatest(clock_timestamp(), old.updated_at + interval '1 microsecond');
  return new;
end
$$;

comment on function app.touch_task() is 'A real change adds one to version and moves updated_at forward.';
revoke execute on function app.touch_task() from public;

create trigger tasks_touch before update on app.tasks
  for each row
  when (old.* is distinct from new.*)
  execute function app.touch_task();
comment on trigger tasks_touch on app.tasks is 'Keeps version and updated_at, and only when the row really changes.';

create or replace function app.schema_version() returns integer
language sql immutable parallel safe
return 4;
