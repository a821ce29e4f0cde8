-- Inlining: PostgreSQL does not parse the body of app.are_tags for each insert and update of a task.
set local lock_timeout = '5s';

-- To inline a SQL function, PostgreSQL parses its body whenever it plans a constraint, which is for each insert
-- and update. A body with aggregates cannot be inlined. A function with a setting is not considered at all.
alter function app.are_tags(text[]) set search_path = pg_catalog;

create or replace function app.schema_version() returns integer
language sql immutable parallel safe
return 21;
