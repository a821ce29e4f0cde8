set local lock_timeout = '5s';

drop table app.tasks;
drop function app.touch_task();
drop function app.stamp_task();
drop function app.trimmed(text);

create or replace function app.schema_version() returns integer
language sql immutable parallel safe
return 3;
