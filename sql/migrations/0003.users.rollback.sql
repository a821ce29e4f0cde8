set local lock_timeout = '5s';

drop function app.next_task_id();
drop table app.users;
drop function app.refuse_recount();

create or replace function app.schema_version() returns integer
language sql immutable parallel safe
return 2;
