set local lock_timeout = '5s';

drop policy delete_all_expired on app.idempotency_keys;
drop policy delete_named on app.users;
drop policy select_all on app.idempotency_keys;
drop policy select_all on app.tasks;
drop policy select_all on app.users;

create or replace function app.schema_version() returns integer
language sql immutable parallel safe
return 8;
