set local lock_timeout = '5s';

drop table audit.accepted;
drop schema audit;

create or replace function app.schema_version() returns integer
language sql immutable parallel safe
return 9;
