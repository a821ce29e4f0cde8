set local lock_timeout = '5s';

-- The role's settings stay: other databases of the cluster rely on them, and the release before is content with them.
create or replace function app.schema_version() returns integer
language sql immutable parallel safe
return 12;
