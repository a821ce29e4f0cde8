set local lock_timeout = '5s';

drop function app.create_task_once(text, text, text, boolean);
drop table app.idempotency_keys;

create or replace function app.schema_version() returns integer
language sql immutable parallel safe
return 4;
