set local lock_timeout = '5s';

comment on schema app is 'Tasks of many users, kept apart by row security on the setting app.user_id.';
comment on schema audit is 'What the audit of this database has to know: findings that somebody accepted.';
comment on table app.users is 'Everyone who ever made a task. The row appears with the first one.';
comment on column app.users.id is 'The user claim of their token: opaque, case-sensitive.';
comment on column app.users.created_at is 'When their first task was made.';
comment on trigger users_last_task_id_counts on app.users is 'A task id is never given twice.';
comment on column app.tasks.id is 'Counted 1, 2, 3... within each user; gaps are allowed, an id is never given twice.';
comment on column app.tasks.user_id is 'The owner, taken from app.user_id; nobody can hand a task over.';
comment on column app.tasks.title is 'What to do: 1 to 200 characters, without white space at either end.';
comment on column app.tasks.description is 'More about it, as it was sent: null or at most 1000 characters.';
comment on column app.tasks.completed is 'Whether it is done.';
comment on column app.tasks.version is 'Starts at 1; every real change adds 1. The API''s ETag.';
comment on column app.tasks.created_at is 'When it was made.';
comment on column app.tasks.updated_at is 'When it last really changed; grows with version.';
comment on column app.tasks.priority is 'How much it matters: none, low, medium, high or urgent.';
comment on column app.tasks.due_date is 'When it is to be done: null or a local date and time without a zone, in whole seconds.';
comment on column app.tasks.category is 'The group that it is in: null or 1 to 50 characters in lower case, without white space at either end.';
comment on column app.tasks.tags is 'What it is about: at most 20 tags of 1 to 50 characters, none twice, in the order in which they were sent.';
comment on trigger tasks_stamp on app.tasks is 'Gives a new task its updated_at.';
comment on trigger tasks_touch on app.tasks is 'Keeps version and updated_at, and only when the row really changes.';
comment on table app.idempotency_keys is 'The answers already given to requests with an Idempotency-Key.';
comment on column app.idempotency_keys.user_id is 'Whose key it is: keys of different users never meet.';
comment on column app.idempotency_keys.key is 'What the client sent: 1 to 255 printable ASCII characters.';
comment on column app.idempotency_keys.task is 'The task as it was created, to answer a repeat with.';
comment on column app.idempotency_keys.created_at is 'When it was first used; honoured for 24 hours from then.';
comment on index app.idempotency_keys_by_age is 'Finds the keys of one user that have served their time.';
comment on table audit.accepted is 'Findings that are kept on purpose: the audit lists them as accepted, and the API starts in spite of them.';
comment on column audit.accepted.reason is 'Why it is no danger here, for whoever reads it in a year.';
comment on column audit.accepted.accepted_on is 'The day it was accepted.';
comment on column audit.accepted.expires_on is 'The day from which it refuses again; null is never.';
comment on function app.are_tags(text[]) is 'Whether each is of 1 to 50 characters without white space at its ends, and none is there twice.';
comment on function app.create_task_once(text,json) is 'Creates a task, or answers what the same key created in the last 24 hours, and whether it asked for the same.';
comment on function app.create_task_once(text,text,text,boolean) is 'The same for the release before, which serves while this schema comes. A later migration drops it.';
comment on function app.current_user_id() is 'The user this transaction acts for: the setting app.user_id, or null (no rows at all) where it is unset or empty.';
comment on function app.next_task_id() is 'Enters the user where they are new and gives their next task id: 1, 2, 3... for each user.';
comment on function app.refuse_recount() is 'Refuses any change of last_task_id but adding one.';
comment on function app.stamp_task() is 'A new task was last changed when it was made.';
comment on function app.tags(jsonb) is 'The strings of a JSON array without white space at their ends, none twice, in their order.';
comment on function app.touch_task() is 'A real change adds one to version and moves updated_at forward.';

-- In a database restored without the role tasks_api, its policies do not exist yet.
do $$
declare
  statement text;
begin
  for statement in
    select format('comment on policy %I on %s is %L', policy, relation, text)
    from (values
      ('app.users', 'delete_named', 'The owner of the database erases the user whom app.user_id names, and no other.'),
      ('app.users', 'insert_own', 'Users enter themselves only.'),
      ('app.users', 'select_own', 'Users see their own counter only.'),
      ('app.users', 'update_own', 'Users advance their own counter only.'),
      ('app.tasks', 'insert_own', 'Users make tasks for themselves only.'),
      ('app.tasks', 'update_own', 'Users change their own tasks only, and keep them.'),
      ('app.idempotency_keys', 'delete_all_expired', 'The owner of the database lets keys go after their 24 hours.'),
      ('app.idempotency_keys', 'delete_expired', 'Users'' own keys go, and only after their 24 hours.'),
      ('app.idempotency_keys', 'insert_own', 'Users keep keys for themselves only.'),
      ('audit.accepted', 'select_all', 'Whoever runs the audit sees what was accepted.')
    ) as new (relation, policy, text)
    where exists (select from pg_policy where polrelid = relation::regclass and polname = policy)
  loop
    execute statement;
  end loop;
end
$$;

create or replace function app.schema_version() returns integer
language sql immutable parallel safe
return 19;
