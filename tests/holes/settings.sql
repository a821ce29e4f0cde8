-- Settings: that name a user or weaken row security.

-- role names a user: hole setting role tasks_api set app.user_id
alter role tasks_api set app.user_id = 'alice';

-- role names a user here: hole setting role tasks_api in database
alter role tasks_api in database {database} set app.user_id = 'alice';

-- database names a user: hole setting set app.user_id
alter database {database} set app.user_id = 'alice';

-- everybody is a user: hole setting role all set app.user_id
alter role all set app.user_id = 'alice';

-- role without row security: hole setting role tasks_api set row_security
alter role tasks_api set row_security = off;

-- database without row security: hole setting set row_security
alter database {database} set row_security = 'false';

-- role as a replica: hole setting role tasks_api set session_replication_role
alter role tasks_api set session_replication_role = replica;

-- role as another: hole setting role tasks_api set role
create role another;
alter role tasks_api set role = 'another';

-- large objects for all: hole setting set lo_compat_privileges
alter database {database} set lo_compat_privileges = on;

-- nulls equal: hole setting set transform_null_equals
alter role tasks_api set transform_null_equals = on;

-- path through a writable schema: hole search_path role tasks_api set search_path | alone
create schema bazaar;
grant create on schema bazaar to public;
alter role tasks_api set search_path = bazaar, app;

-- path of a stranger: hole search_path role tasks_api in database
create role squatter;
create schema squat authorization squatter;
alter role tasks_api in database {database} set search_path = app, squat;

-- path through temp: hole search_path set search_path | alone
alter role tasks_api reset search_path;
alter database {database} set search_path = pg_temp, public;

-- commits not on disk: warning session role tasks_api set synchronous_commit
alter role tasks_api set synchronous_commit = off;
