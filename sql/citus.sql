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
--   creates app.act_as, which sets app.user_id on the workers, too;
--   prepares the workers for shards;
--   distributes the tables, and deletes the rows that this leaves on the coordinator;
--   revokes Citus's own functions from PUBLIC.
-- It grants to tasks_api: execute on app.act_as and on three functions of Citus that do not access rows, and insert
-- into every column of the shards (not of the tables).
\set ON_ERROR_STOP on
\set QUIET on
set search_path = pg_catalog, pg_temp;
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

-- Returns a statement that revokes functions from PUBLIC and tasks_api.
-- Citus lets PUBLIC execute some 250 functions that run commands on the workers and lock and move shards. Only
-- superusers and the owner of the schema need them. Citus moves shards as that owner.
-- tasks_api keeps three: with assign_distributed_transaction_id a worker joins the coordinator's transaction, with
-- relation_is_a_known_shard Citus hides shards in catalogs, and with read_intermediate_result it executes statements
-- in several steps. None of them accesses a row that the role could not read.
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
        n.nspname = 'app' as is_ours, its.is_needed
      from pg_catalog.pg_proc as p
      join pg_catalog.pg_namespace as n on n.oid = p.pronamespace
      cross join lateral (
        select
          p.proname in (
            'assign_distributed_transaction_id', 'relation_is_a_known_shard', 'read_intermediate_result'
          ) as is_needed,
          exists (
            select 1
            from pg_catalog.pg_depend as d
            join pg_catalog.pg_extension as e on e.oid = d.refobjid
            where d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass and d.objid = p.oid
              and d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass and d.deptype = 'e'
              and e.extname in ('citus', 'citus_columnar')
          ) as is_of_citus
      ) as its
      where (n.nspname = 'app' or its.is_of_citus) and pg_catalog.has_function_privilege('public', p.oid, 'execute')
        or its.is_of_citus and pg_catalog.has_function_privilege('tasks_api', p.oid, 'execute') <> its.is_needed
    loop
      execute pg_catalog.format('revoke execute on routine %s from public', routine.name);
      continue when routine.is_ours;
      execute pg_catalog.format('revoke execute on routine %s from tasks_api', routine.name);
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

-- Citus sends `set local` in a transaction block to the workers, but not set_config(). If this function exists, the
-- API begins its transactions with it. `set` takes no parameters, so the value is quoted by format().
create or replace function app.act_as(user_id text) returns void
language plpgsql
as $$
begin
  -- Without this `set local` stays on the coordinator, and all lists are empty.
  perform pg_catalog.set_config('citus.propagate_set_commands', 'local', true);
  execute pg_catalog.format('set local app.user_id = %L', user_id);
end
$$;

comment on function app.act_as(text) is
  'Sets the user of this transaction, on the coordinator and on each worker that it uses.';

revoke execute on function app.act_as(text) from public;
grant execute on function app.act_as(text) to tasks_api;

-- 2. Shards --------------------------------------------------------------------------------------------------

-- A shard gets the row security flags and the grants of its table. Citus moves shards by logical replication, as a
-- role that is a member of the table's owner. Forced row security applies to this role, so the move of a shard with
-- forced row security would never finish. So the tables keep force on all nodes, and an event trigger on each worker
-- removes it from new shards. Row security stays enabled on shards, and tasks_api does not own them. When Citus
-- writes to a shard, its INSERT lists every column, including those that tasks_api may not insert on the coordinator.
-- So tasks_api gets insert on all columns of shards. Other privileges are those of the table. Citus does not send
-- `set statistics` to the workers. The event trigger executes it for each column of shards that may contain users'
-- text, in the transaction that adds the column, so the statistics of the workers never contain such text.
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
        select c.oid::pg_catalog.regclass as name, c.relname ~ '[0-9]$' as is_shard, c.relforcerowsecurity as is_forced,
          pg_catalog.has_table_privilege('tasks_api', c.oid, 'insert') as is_granted, written.actions
        from pg_catalog.pg_event_trigger_ddl_commands() as d
        join pg_catalog.pg_class as c on d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass and c.oid = d.objid
        cross join lateral (
          select pg_catalog.string_agg(pg_catalog.format('alter column %I set statistics 0', a.attname), ', ') as actions
          from pg_catalog.pg_attribute as a
          where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attname not in ('id', 'user_id')
            and pg_catalog.format_type(a.atttypid, null)
              not in ('bigint', 'boolean', 'integer', 'timestamp with time zone')
            and a.attstattarget is distinct from 0
        ) as written
        where c.relkind = 'r'
          and c.relnamespace = 'app'::pg_catalog.regnamespace
          and c.relname ~ '^(users|tasks|idempotency_keys)(_[0-9]+)?$'
      loop
        if shard.actions is not null then
          execute pg_catalog.format('alter table %s %s', shard.name, shard.actions);
        end if;
        continue when not shard.is_shard;
        if not shard.is_granted then
          execute pg_catalog.format('grant insert on %s to tasks_api', shard.name);
        end if;
        if shard.is_forced then
          execute pg_catalog.format('alter table %s no force row level security', shard.name);
        end if;
      end loop;
    end
    $$;

    comment on function app.prepare_shards() is
      'Prepares new shards: removes force row level security, grants insert, keeps users'' text out of statistics.';

    revoke execute on function app.prepare_shards() from public;

    drop event trigger if exists app_prepare_shards; -- it may be disabled
    create event trigger app_prepare_shards on ddl_command_end
      when tag in ('ALTER TABLE')
      execute function app.prepare_shards();

    -- Fire the trigger for shards that already exist, by an ALTER TABLE that changes nothing. Its lock blocks neither
    -- reads nor writes.
    perform pg_catalog.set_config('lock_timeout', '5s', true);
    perform pg_catalog.set_config('citus.override_table_visibility', 'off', true);
    perform pg_catalog.set_config('citus.enable_manual_changes_to_shards', 'on', true);
    for early in
      select c.oid::pg_catalog.regclass as name, a.attname, coalesce(a.attstattarget, -1) as target
      from pg_catalog.pg_class as c
      join pg_catalog.pg_attribute as a on a.attrelid = c.oid and a.attnum = 1
      where c.relkind = 'r'
        and c.relnamespace = 'app'::pg_catalog.regnamespace
        and c.relname ~ '^(users|tasks|idempotency_keys)(_[0-9]+)?$'
    loop
      execute pg_catalog.format('alter table %s alter column %I set statistics %s', early.name, early.attname, early.target);
    end loop;

    delete from pg_catalog.pg_statistic as s
    using pg_catalog.pg_attribute as a
    where a.attrelid = s.starelid and a.attnum = s.staattnum and a.attstattarget = 0;
  end
  $do$
$worker$);

-- 3. Tables --------------------------------------------------------------------------------------------------

-- A table that is referenced by a foreign key is distributed before the table that references it. The tables are
-- colocated: all rows of a user are on one node.
select create_distributed_table('app.users', 'id')
where not exists (select 1 from pg_dist_partition where logicalrelid = 'app.users'::regclass);

select create_distributed_table('app.tasks', 'user_id', colocate_with => 'app.users')
where not exists (select 1 from pg_dist_partition where logicalrelid = 'app.tasks'::regclass);

select create_distributed_table('app.idempotency_keys', 'user_id', colocate_with => 'app.users')
where not exists (select 1 from pg_dist_partition where logicalrelid = 'app.idempotency_keys'::regclass);

-- create_distributed_table leaves the old rows on the coordinator, where no statement reaches them, not even
-- sql/erase.sql. The statistics of the empty tables would stay, since analyze skips empty tables.
select truncate_local_data_after_distributing_table('app.users')
where exists (
  select 1
  from pg_class
  where relnamespace = 'app'::regnamespace and relname in ('users', 'tasks', 'idempotency_keys')
    and pg_relation_size(oid) > 0
);

with deleted as (
  delete from pg_statistic
  where starelid in ('app.users'::regclass, 'app.tasks'::regclass, 'app.idempotency_keys'::regclass)
  returning 1
)
select count(*) > 0 as has_deleted from deleted \gset
\if :has_deleted
vacuum full pg_statistic; -- removes the deleted rows from the file, since they contain user ids
\endif

-- 4. Privileges ----------------------------------------------------------------------------------------------

select pg_temp.withhold() \gexec
select pg_temp.on_workers(pg_temp.withhold());

-- No other privileges have to change: PUBLIC has none on shards, and tasks_api may not create objects and is a member
-- of no role.
select format('users, tasks and idempotency_keys are distributed: %s shards on %s workers',
  count(distinct s.shardid), count(distinct p.groupid))
from pg_dist_shard as s
join pg_dist_placement as p on p.shardid = s.shardid
where s.logicalrelid = 'app.users'::regclass;
