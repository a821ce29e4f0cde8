-- Citus: distributes the tables over the servers of a cluster by user. All rows of a user are on one server.
--
--   psql -X -d DATABASE -f sql/citus.sql
--
-- Run it on the coordinator as a superuser, after the migrations. Run it again after every later migration, after
-- `citus_add_node` (before shards are moved there) and after `alter extension citus update`; it can be repeated
-- at any time. Stop the API before the first run: an API that started on local tables sets app.user_id in a way
-- that does not reach the workers. Tested with Citus 13.2 on PostgreSQL 15.
--
-- It does this, in this order:
--   refuses a cluster that is not set up as needed;
--   creates app.act_as, with which the API sets app.user_id on the workers, too;
--   prepares the workers for shards;
--   distributes the tables;
--   revokes Citus's own functions from PUBLIC.
-- It grants to tasks_api: execute on app.act_as and on three functions of Citus that do not access rows, and insert
-- into every column of the shards (not of the tables).
\set ON_ERROR_STOP on
\set QUIET on
set search_path = pg_catalog;
set client_min_messages = warning;
set citus.enable_unsafe_triggers = on; -- our triggers access only the row that they are called for

do $$
begin
  if not exists (select 1 from pg_extension where extname = 'citus') then
    raise exception 'database % has no extension citus', quote_ident(current_database())
      using hint = 'On every node: shared_preload_libraries = ''citus'', then create extension citus.';
  elsif to_regprocedure('app.create_task_once(text, json)') is null then
    raise exception 'the migrations are not applied: run make migrate first';
  elsif not exists (select 1 from pg_dist_node where groupid = 0) then
    raise exception 'run this on the coordinator, after: select citus_set_coordinator_host(''HOST'', PORT)';
  elsif exists (select 1 from pg_dist_node where groupid = 0 and shouldhaveshards) then
    raise exception 'the coordinator holds shards, but this script prepares only the workers'
      using hint = 'Run: select citus_set_node_property(nodename, nodeport, ''shouldhaveshards'', false) '
        'from pg_dist_node where groupid = 0; select rebalance_table_shards();';
  elsif not exists (select 1 from pg_dist_node where noderole = 'primary' and isactive and shouldhaveshards) then
    raise exception 'the cluster has no worker: select citus_add_node(''HOST'', PORT)';
  elsif exists (select 1 from pg_dist_node where noderole = 'primary' and not isactive) then
    raise exception 'a worker is not active' using hint = 'Run: select citus_activate_node(''HOST'', PORT)';
  end if;
end
$$;

set citus.enable_ddl_propagation = off; -- the functions in pg_temp belong to this session

-- Raises an exception if a worker fails. run_command_on_workers by itself only returns a row with success = false.
create function pg_temp.on_workers(command text) returns void
language plpgsql
as $$
declare
  refused record;
begin
  for refused in
    select nodename, nodeport, result from run_command_on_workers(command) where not success
  loop
    raise exception '%:%: %', refused.nodename, refused.nodeport, refused.result;
  end loop;
end
$$;

-- Returns a statement that revokes functions from PUBLIC.
-- Citus grants some 250 functions to PUBLIC, which run commands on the workers and lock and move shards. Only the
-- owner of the schema (as which Citus moves shards) and superusers need them.
-- tasks_api keeps assign_distributed_transaction_id (a worker joins the coordinator's transaction),
-- relation_is_a_known_shard (shards are hidden in catalogs) and read_intermediate_result (statements of several
-- steps). None of them accesses a row that the role could not read.
-- A new node receives the functions of schema app without the revoke from PUBLIC, so it is repeated here.
create function pg_temp.withhold() returns text
language sql
return $withhold$
  do $$
  declare
    routine record;
    owner text;
  begin
    perform pg_catalog.set_config('citus.enable_ddl_propagation', 'off', true);
    select pg_catalog.quote_ident(r.rolname) into owner
    from pg_catalog.pg_namespace as n
    join pg_catalog.pg_roles as r on r.oid = n.nspowner
    where n.nspname = 'app';
    for routine in
      select pg_catalog.format('%I.%I(%s)', n.nspname, p.proname, pg_catalog.pg_get_function_identity_arguments(p.oid)) as name,
        n.nspname = 'app' as is_ours,
        p.proname in ('assign_distributed_transaction_id', 'relation_is_a_known_shard', 'read_intermediate_result') as is_needed
      from pg_catalog.pg_proc as p
      join pg_catalog.pg_namespace as n on n.oid = p.pronamespace
      where pg_catalog.has_function_privilege('public', p.oid, 'execute')
        and (
          n.nspname = 'app'
          or exists (
            select 1
            from pg_catalog.pg_depend as d
            join pg_catalog.pg_extension as e on e.oid = d.refobjid
            where d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass and d.objid = p.oid
              and d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass and d.deptype = 'e'
              and e.extname in ('citus', 'citus_columnar')
          )
        )
    loop
      execute pg_catalog.format('revoke execute on routine %s from public', routine.name);
      continue when routine.is_ours;
      execute pg_catalog.format('grant execute on routine %s to %s', routine.name, owner);
      if routine.is_needed then
        execute pg_catalog.format('grant execute on routine %s to tasks_api', routine.name);
      end if;
    end loop;
  end
  $$
$withhold$;

set citus.enable_ddl_propagation = on;

-- 1. Identity ------------------------------------------------------------------------------------------------

-- Citus passes `set local` in a transaction block on to the workers, but not set_config(). If this function exists,
-- the API begins its transactions with it. `set` takes no parameters, so the value is quoted by format().
create or replace function app.act_as(user_id text) returns void
language plpgsql
as $$
begin
  execute pg_catalog.format('set local app.user_id = %L', user_id);
end
$$;

comment on function app.act_as(text) is
  'Names the user of this transaction, on the coordinator and on each worker that it reaches.';

revoke execute on function app.act_as(text) from public;
grant execute on function app.act_as(text) to tasks_api;

-- Without this setting `set local` does not reach the workers, and all lists are empty.
alter role tasks_api set citus.propagate_set_commands = 'local';

-- 2. Shards --------------------------------------------------------------------------------------------------

-- A shard gets the row security flags and the grants of its table. Citus moves shards by logical replication, as a
-- role that is a member of the table's owner. Forced row security applies to this role, so the move of a shard with
-- force would never finish. So the tables keep force on all nodes, and an event trigger on each worker removes it
-- from new shards. Row security stays enabled on shards, and tasks_api does not own them.
-- When Citus writes to a shard it names every column, also columns that tasks_api may not insert on the
-- coordinator. So tasks_api gets insert on all columns of shards. Other privileges are those of the table.
select pg_temp.on_workers($worker$
  do $do$
  declare
    early record;
  begin
    perform pg_catalog.set_config('citus.enable_ddl_propagation', 'off', true);

    create or replace function app.prepare_shards() returns event_trigger
    language plpgsql
    as $$
    declare
      shard record;
    begin
      for shard in
        select c.oid::pg_catalog.regclass as name
        from pg_catalog.pg_event_trigger_ddl_commands() as d
        join pg_catalog.pg_class as c on d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass and c.oid = d.objid
        where c.relkind = 'r' and c.relforcerowsecurity
          and c.relnamespace = 'app'::pg_catalog.regnamespace
          and c.relname ~ '^(users|tasks|idempotency_keys)_[0-9]+$'
      loop
        execute pg_catalog.format('alter table %s no force row level security', shard.name);
        execute pg_catalog.format('grant insert on %s to tasks_api', shard.name);
      end loop;
    end
    $$;

    comment on function app.prepare_shards() is
      'Removes force row level security from new shards, which would block online moves, and grants insert on them.';

    revoke execute on function app.prepare_shards() from public;

    if not exists (select 1 from pg_catalog.pg_event_trigger where evtname = 'app_prepare_shards') then
      create event trigger app_prepare_shards on ddl_command_end
        when tag in ('ALTER TABLE')
        execute function app.prepare_shards();
    end if;

    -- Shards that are older than the trigger: altering them without a change fires it.
    perform pg_catalog.set_config('citus.override_table_visibility', 'off', true);
    perform pg_catalog.set_config('citus.enable_manual_changes_to_shards', 'on', true);
    for early in
      select c.oid::pg_catalog.regclass as name
      from pg_catalog.pg_class as c
      where c.relkind = 'r' and c.relforcerowsecurity
        and c.relnamespace = 'app'::pg_catalog.regnamespace
        and c.relname ~ '^(users|tasks|idempotency_keys)_[0-9]+$'
    loop
      execute pg_catalog.format('alter table %s force row level security', early.name);
    end loop;
  end
  $do$
$worker$);

-- 3. Tables --------------------------------------------------------------------------------------------------

-- The order is that of the foreign keys. The tables are colocated: all rows of a user are on one node.
select create_distributed_table('app.users', 'id')
where not exists (select 1 from pg_dist_partition where logicalrelid = 'app.users'::regclass);

select create_distributed_table('app.tasks', 'user_id', colocate_with => 'app.users')
where not exists (select 1 from pg_dist_partition where logicalrelid = 'app.tasks'::regclass);

select create_distributed_table('app.idempotency_keys', 'user_id', colocate_with => 'app.users')
where not exists (select 1 from pg_dist_partition where logicalrelid = 'app.idempotency_keys'::regclass);

-- 4. Privileges ----------------------------------------------------------------------------------------------

select pg_temp.withhold() \gexec
select pg_temp.on_workers(pg_temp.withhold());

-- Not granted, as elsewhere: privileges on shards to PUBLIC, and create or membership in a role to tasks_api.
select format('users, tasks and idempotency_keys are distributed: %s shards on %s workers',
  count(distinct s.shardid), count(distinct p.groupid))
from pg_dist_shard as s
join pg_dist_placement as p on p.shardid = s.shardid
where s.logicalrelid = 'app.users'::regclass;
