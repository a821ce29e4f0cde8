-- Comments: what each thing is, in the terms of PostgreSQL's manual.
set local lock_timeout = '5s';

comment on schema app is 'Tasks of many users, isolated by row security on the setting app.user_id.';
comment on schema audit is 'Findings of the audit that are accepted in this database.';
comment on table app.users is 'The users who have created a task. The row is made with the first task.';
comment on column app.users.id is 'The user claim of the token, case-sensitive.';
comment on column app.users.created_at is 'When the user''s first task was created.';
comment on trigger users_last_task_id_counts on app.users is 'Prevents that a task id is used twice.';
comment on column app.tasks.id is 'Counts 1, 2, 3... within each user. Gaps are possible; an id is never used twice.';
comment on column app.tasks.user_id is 'The owner, taken from app.user_id. It never changes.';
comment on column app.tasks.title is '1 to 200 characters, without white space at either end.';
comment on column app.tasks.description is 'Null or at most 1000 characters.';
comment on column app.tasks.completed is 'Whether the task is completed.';
comment on column app.tasks.version is 'Starts at 1; each change of a value adds 1. The API''s ETag.';
comment on column app.tasks.created_at is 'When the task was created.';
comment on column app.tasks.updated_at is 'When a value last changed; grows with version.';
comment on column app.tasks.priority is 'The priority: none, low, medium, high or urgent.';
comment on column app.tasks.due_date is 'Null or a local date and time without a time zone, in whole seconds.';
comment on column app.tasks.category is 'Null or 1 to 50 characters in lower case, without white space at either end.';
comment on column app.tasks.tags is 'At most 20 different tags of 1 to 50 characters, in the order in which they were sent.';
comment on trigger tasks_stamp on app.tasks is 'Sets updated_at of a new task.';
comment on trigger tasks_touch on app.tasks is 'Sets version and updated_at if a value changes.';
comment on table app.idempotency_keys is 'The responses to requests with an Idempotency-Key.';
comment on column app.idempotency_keys.user_id is 'The user who sent the key. Equal keys of different users are independent.';
comment on column app.idempotency_keys.key is 'The key as the client sent it: 1 to 255 printable ASCII characters.';
comment on column app.idempotency_keys.task is 'The task as it was created, for the response to a repeated request.';
comment on column app.idempotency_keys.created_at is 'When the key was first used. It is valid for 24 hours.';
comment on index app.idempotency_keys_by_age is 'Finds the expired keys of a user.';
comment on table audit.accepted is 'Findings that are accepted on purpose. They do not prevent a start of the API.';
comment on column audit.accepted.reason is 'Why the finding is not a danger in this database.';
comment on column audit.accepted.accepted_on is 'The day on which it was accepted.';
comment on column audit.accepted.expires_on is 'The first day on which it counts again; null means never.';
comment on function app.are_tags(text[]) is 'Whether all have 1 to 50 characters without white space at either end, and differ.';
comment on function app.create_task_once(text,json) is 'Creates a task, or returns the task that the same key created in the last 24 hours, and whether it was created from equal members.';
comment on function app.create_task_once(text,text,text,boolean) is 'The same for the previous release, which runs while this schema is being deployed. A later migration drops it.';
comment on function app.current_user_id() is 'The user of this transaction: the setting app.user_id, or null if it is unset or empty, so that no row is visible.';
comment on function app.next_task_id() is 'Returns the user''s next task id, 1, 2, 3... Inserts the user if this is the first task.';
comment on function app.refuse_recount() is 'Refuses any change of last_task_id except adding 1.';
comment on function app.stamp_task() is 'Sets updated_at of a new task to created_at.';
comment on function app.tags(jsonb) is 'The strings of a JSON array without white space at either end and without duplicates, in their order.';
comment on function app.touch_task() is 'Adds 1 to version and moves updated_at forward.';

-- In a database restored without the role tasks_api, its policies do not exist yet.
do $$
declare
  statement text;
begin
  for statement in
    select format('comment on policy %I on %s is %L', policy, relation, text)
    from (values
      ('app.users', 'delete_named', 'The owner of the database may delete the user named by app.user_id, and no other.'),
      ('app.users', 'insert_own', 'Users insert only their own row.'),
      ('app.users', 'select_own', 'Users see only their own row.'),
      ('app.users', 'update_own', 'Users increment only their own counter.'),
      ('app.tasks', 'insert_own', 'Users insert tasks only for themselves.'),
      ('app.tasks', 'update_own', 'Users update only their own tasks, and cannot give them to another user.'),
      ('app.idempotency_keys', 'delete_all_expired', 'The owner of the database may delete expired keys.'),
      ('app.idempotency_keys', 'delete_expired', 'Users delete only their own keys, and only after 24 hours.'),
      ('app.idempotency_keys', 'insert_own', 'Users insert keys only for themselves.'),
      ('audit.accepted', 'select_all', 'All roles that run the audit see the accepted findings.')
    ) as new (relation, policy, text)
    where exists (select from pg_policy where polrelid = relation::regclass and polname = policy)
  loop
    execute statement;
  end loop;
end
$$;

create or replace function app.schema_version() returns integer
language sql immutable parallel safe
return 20;
