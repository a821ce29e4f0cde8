set local lock_timeout = '5s';

-- What is valid stays so.

create or replace function app.schema_version() returns integer
language sql immutable parallel safe
return 18;
