-- Due date: when a task is to be done, in the local time of its user, wherever they look from.
set local lock_timeout = '5s';

alter table app.tasks add column due_date timestamp;
alter table app.tasks add constraint tasks_due_date_range
  check (due_date between timestamp '0001-01-01 00:00:00' and timestamp '9999-12-31 23:59:59') not valid;
alter table app.tasks add constraint tasks_due_date_seconds
  check (due_date = date_trunc('second', due_date)) not valid;

comment on column app.tasks.due_date is
  'When it is to be done: null or a local date and time without a zone, in whole seconds.';
grant insert (due_date), update (due_date) on app.tasks to tasks_api;

-- Nothing that users write is in the planner's statistics. Citus takes this form only where it is not passed on.
set local citus.enable_ddl_propagation = off;
alter table app.tasks alter column due_date set statistics 0;
set local citus.enable_ddl_propagation = on;

-- A cast from text is not immutable, since it reads now, tomorrow and the settings of the session.
create function app.local_time(value text) returns timestamp
language sql immutable parallel safe
return make_timestamp(
  substr(value, 1, 4)::integer, substr(value, 6, 2)::integer, substr(value, 9, 2)::integer,
  substr(value, 12, 2)::integer, substr(value, 15, 2)::integer, substr(value, 18, 2)::double precision);

comment on function app.local_time(text) is 'The local time written as YYYY-MM-DDTHH:MM:SS.';
revoke execute on function app.local_time(text) from public;
grant execute on function app.local_time(text) to tasks_api;

create or replace function app.schema_version() returns integer
language sql immutable parallel safe
return 16;
