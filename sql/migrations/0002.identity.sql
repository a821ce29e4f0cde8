-- Identity: whom this transaction acts for, asked by every policy.
set local lock_timeout = '5s';

-- A transaction-local setting leaves '' behind, not null: hence the nullif.
-- return binds every name now, so that no search_path can redirect them later.
create function app.current_user_id() returns text
language sql stable parallel safe
return nullif(current_setting('app.user_id', true), '');

comment on function app.current_user_id() is
  'The user this transaction acts for: the setting app.user_id, or null (no rows at all) where it is unset or empty.';

revoke execute on function app.current_user_id() from public;
grant execute on function app.current_user_id() to tasks_api;

-- How far the migrations have come, for the API and its readiness check: yoyo's own tables are out of
-- their reach. Each migration raises it.
create function app.schema_version() returns integer
language sql immutable parallel safe
return 2;

comment on function app.schema_version() is
  'The number of the newest migration that is applied.';

revoke execute on function app.schema_version() from public;
grant execute on function app.schema_version() to tasks_api;
