set local lock_timeout = '5s';

-- The statistics themselves come back with the next analyze.
alter table app.idempotency_keys
  alter column task set statistics -1,
  alter column key set statistics -1;

alter table app.tasks
  alter column description set statistics -1,
  alter column title set statistics -1;

create or replace function app.schema_version() returns integer
language sql immutable parallel safe
return 5;
