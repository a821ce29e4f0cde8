-- Priority: how much a task matters, one of five words. A check, not an enum type: another word must not lock.
set local lock_timeout = '5s';

-- A constant default and a constraint that is not valid yet read no row, so that the lock is held for
-- milliseconds; 0019.valid.sql reads them, under a lock that nobody waits for.
alter table app.tasks add column priority text not null default 'medium';
alter table app.tasks add constraint tasks_priority_word
  check (priority in ('none', 'low', 'medium', 'high', 'urgent')) not valid;

comment on column app.tasks.priority is 'How much it matters: none, low, medium, high or urgent.';
grant insert (priority), update (priority) on app.tasks to tasks_api;

-- Nothing that users write is in the planner's statistics. Citus takes this form only where it is not passed on.
set local citus.enable_ddl_propagation = off;
alter table app.tasks alter column priority set statistics 0;
set local citus.enable_ddl_propagation = on;

create or replace function app.schema_version() returns integer
language sql immutable parallel safe
return 15;
