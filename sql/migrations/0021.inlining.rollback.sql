set local lock_timeout = '5s';

alter function app.are_tags(text[]) reset search_path;

create or replace function app.schema_version() returns integer
language sql immutable parallel safe
return 20;
