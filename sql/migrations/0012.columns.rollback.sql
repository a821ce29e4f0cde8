set local lock_timeout = '5s';

drop function app.create_task_once(text, json);
drop function app.insert_task(json);

comment on function app.create_task_once(text, text, text, boolean) is
  'Creates a task, or answers what the same key created in the last 24 hours, and whether it asked for the same.';

create or replace function app.schema_version() returns integer
language sql immutable parallel safe
return 11;
