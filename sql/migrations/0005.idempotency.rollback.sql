set local lock_timeout = '5s';

drop table app.idempotency_keys;

create or replace function app.schema_version() returns integer
language sql immutable parallel safe
return 4;
