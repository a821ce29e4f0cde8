-- Statistics: what users write stays out of the planner's, since explain tells of them whatever the policies say.
set local lock_timeout = '5s';

-- No plan of the API needs them. Setting a column's type, to what it is, is what drops those that are there
-- already: it reads the table once and locks it meanwhile, 3 seconds for a million tasks.
alter table app.tasks
  alter column title type text,
  alter column title set statistics 0,
  alter column description type text,
  alter column description set statistics 0;

alter table app.idempotency_keys
  alter column key type text collate "C",
  alter column key set statistics 0,
  alter column task type json,
  alter column task set statistics 0;

create or replace function app.schema_version() returns integer
language sql immutable parallel safe
return 6;
