set local lock_timeout = '5s';

drop function app.schema_version();
drop function app.current_user_id();
