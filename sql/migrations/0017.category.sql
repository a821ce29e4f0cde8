-- Category: the one group that a task is in, in lower case, so that Work and work are the same.
set local lock_timeout = '5s';

alter table app.tasks add column category text;
alter table app.tasks add constraint tasks_category_trimmed check (category = app.trimmed(category)) not valid;
alter table app.tasks add constraint tasks_category_lower check (category = lower(category)) not valid;
alter table app.tasks add constraint tasks_category_length
  check (char_length(category) between 1 and 50) not valid;

comment on column app.tasks.category is
  'The group that it is in: null or 1 to 50 characters in lower case, without white space at either end.';
grant insert (category), update (category) on app.tasks to tasks_api;

-- Nothing that users write is in the planner's statistics. Citus takes this form only where it is not passed on.
set local citus.enable_ddl_propagation = off;
alter table app.tasks alter column category set statistics 0;
set local citus.enable_ddl_propagation = on;

create or replace function app.schema_version() returns integer
language sql immutable parallel safe
return 17;
