-- Owner: the owner of the database, who need be no superuser, can dump it, erase a user and let old keys go.
set local lock_timeout = '5s';

-- Row security stays forced: what the owner lends, a view or a function, shows nothing more in the API's
-- session, which the owner did not log in to. pg_database_owner has one member, whoever that is.

create policy select_all on app.users
  for select
  to pg_database_owner
  using (pg_has_role(session_user, 'pg_database_owner', 'usage'));
comment on policy select_all on app.users is 'The owner of the database sees all users in a session of their own.';

create policy select_all on app.tasks
  for select
  to pg_database_owner
  using (pg_has_role(session_user, 'pg_database_owner', 'usage'));
comment on policy select_all on app.tasks is 'The owner of the database sees all tasks in a session of their own.';

create policy select_all on app.idempotency_keys
  for select
  to pg_database_owner
  using (pg_has_role(session_user, 'pg_database_owner', 'usage'));
comment on policy select_all on app.idempotency_keys is 'The owner of the database sees all keys in a session of their own.';

-- Tasks and keys go with their user, by the foreign keys. insert and update are withheld from the owner too.
create policy delete_named on app.users
  for delete
  to pg_database_owner
  using (id = app.current_user_id() and pg_has_role(session_user, 'pg_database_owner', 'usage'));
comment on policy delete_named on app.users is 'The owner of the database erases the user whom app.user_id names, and no other.';

create policy delete_all_expired on app.idempotency_keys
  for delete
  to pg_database_owner
  using (created_at < now() - interval '24 hours' and pg_has_role(session_user, 'pg_database_owner', 'usage'));
comment on policy delete_all_expired on app.idempotency_keys is 'The owner of the database lets keys go after their 24 hours.';

create or replace function app.schema_version() returns integer
language sql immutable parallel safe
return 9;
