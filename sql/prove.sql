-- Tests that users cannot reach each other's rows: psql -f sql/prove.sql, or make prove.
--
-- It acts as the API's role, for the probe users alice, bob, carol and erin, and without a user ("nobody"). Most
-- attempts must be refused or find nothing. Some must succeed: if nothing worked, the other attempts would prove
-- nothing. The output has one line for each attempt. `result` is ok, BROKEN, or `not tried`. The last line counts
-- the results.
--
-- In the database of the tasks API, the attempts on its own tables are written below. For all other tables, and in
-- other databases, they are generated from the catalog. bob gets a row. alice and nobody try to read, change, delete
-- and take over that row, to insert a row in bob's name, and to find bob's row through each view and function. alice
-- also inserts rows that reference bob's row, and then tries to read it. The settings are those of audit.sql:
-- audit.role, audit.schema, audit.setting, audit.claim, audit.owners. Those that are not set are derived from the
-- policies and grants.
--
-- It is safe on a live database. It is one transaction, which is rolled back. Each attempt is undone immediately,
-- except those that insert rows for later attempts (`keep` in the column `must`). Each statement that writes is
-- restricted to a probe user or fails at the first row, so it never locks or changes a row of a real user, even if
-- the policies are broken. Waits for a lock end after 100 ms. The output contains no user's data. Reads stop at the
-- first row, but a condition without an index still scans the table. The time limit is 120 seconds: in a database
-- with thousands of tables, set audit.schema to a few schemas. A table of the tasks API is locked for a moment only
-- if the role wrongly owns it or may truncate it. If a column's default uses a sequence, the sequence has a gap
-- afterwards.
--
-- Run it as a superuser, as the API's role, or as a role that may grant the API's role to itself (the role that
-- created it). Functions, views and policies that the API's roles can reach are run, and their code can return to the
-- rights of the role that connected, by `set session authorization default` or `reset role`. So unless you trust all
-- roles that may create functions, run it as the API's role. A superuser inserts the rows of the probe users without
-- triggers and foreign keys.
--
-- Not attempted:
-- * to set another user id: SQL that runs as the API's role may do this, so the API builds no SQL from input;
-- * create trigger, create rule, comment on: they lock the table before they check the privilege, so the privileges
--   are looked up instead; the same holds for truncate in other databases;
-- * lock table on app.tasks: every role that may delete from a table may also lock it;
-- * copy to stdout (PL/pgSQL has no client) and tablesample (it reads the whole table): the project's tests
--   attempt both;
-- * to read the number of rows of a table: every role can read it in pg_class;
-- * procedures, and functions with effects outside of the database (dblink, programs, http), since these cannot be
--   undone; tables with such triggers are not written to;
-- * writes by functions: functions are called in a read-only transaction;
-- * to find out whether rows are shared on purpose: a table that every user may read is reported as BROKEN.

begin isolation level read committed read write;
set local search_path = pg_catalog, pg_temp;
set local client_min_messages = error;
set local lock_timeout = '100ms';
set local statement_timeout = '120s';
set local jit = off;
-- For Citus; elsewhere these settings have no effect. Objects are created only on this server, and `set local` sets
-- the user on all servers. Keep this order: Citus passes on the whole message that contains a `set local`, which can
-- be this whole file.
set local citus.enable_ddl_propagation = off;
set local citus.propagate_set_commands = 'local';

do $$
declare
  is_tasks constant boolean := coalesce(nullif(current_setting('audit.role', true), ''), 'tasks_api') = 'tasks_api' and (
    select count(*) = 2 from pg_proc as p join pg_namespace as n on n.oid = p.pronamespace
    where n.nspname = 'app' and p.proname in ('current_user_id', 'next_task_id'));
  given constant text[] := regexp_split_to_array(nullif(btrim(current_setting('audit.role', true)), ''), '[, ]+');
  is_supabase constant boolean := not is_tasks and given is null and exists (
      select from pg_proc as p join pg_namespace as n on n.oid = p.pronamespace where n.nspname = 'auth' and p.proname = 'uid')
    and (select count(*) = 2 from pg_roles where rolname in ('anon', 'authenticated'));
  conditions text;
  roles text[];
  schemas text[];
  settings text[];
  name text;
  way text;
begin
  if pg_is_in_recovery() then
    raise exception 'prove.sql writes and rolls back: run it on the primary, this is a standby';
  elsif not is_tasks and not is_supabase and given is null and not exists (select from pg_policy) then
    raise exception 'database % has no row security policy, so there is nothing to prove: for the tasks API, run make '
      'migrate; for another database, create policies, or set audit.role, audit.schema and audit.setting',
      current_database();
  end if;

  -- The conditions of the policies, and the bodies of the functions that they call
  select string_agg(t.said, ' ') into conditions
  from (
    select concat_ws(' ', pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid)) as said
    from pg_policy as p
    union
    select coalesce(pg_get_function_sqlbody(f.oid), f.prosrc)
    from pg_depend as d join pg_proc as f on f.oid = d.refobjid
    where d.classid = 'pg_policy'::regclass and d.refclassid = 'pg_proc'::regclass and f.oid >= 16384
  ) as t;
  settings := case when is_tasks then '{app.user_id}'
    when is_supabase then '{request.jwt.claims,request.jwt.claim.sub}' else coalesce(
    regexp_split_to_array(nullif(lower(btrim(current_setting('audit.setting', true))), ''), '[, ]+'),
    (
      select array_agg(distinct lower(m.part[1]))
      from (
        select conditions
        union all
        select coalesce(pg_get_function_sqlbody(f.oid), f.prosrc)
        from pg_proc as f
        where f.oid >= 16384 and f.pronargs = 0 and strpos(conditions, f.proname || '(') > 0
      ) as t (said)
      cross join regexp_matches(t.said, 'current_setting\(\s*''([^'']+\.[^'']+)''', 'gi') as m (part)
    )) end;
  schemas := case when is_tasks then '{app}' when is_supabase then '{public}' else coalesce(
    regexp_split_to_array(nullif(btrim(current_setting('audit.schema', true)), ''), '[, ]+'),
    (
      select array_agg(distinct n.nspname)
      from pg_policy as p join pg_class as c on c.oid = p.polrelid join pg_namespace as n on n.oid = c.relnamespace
      where n.nspname !~ '^(auth|storage|realtime|_realtime|vault|cron|net|graphql|graphql_public|extensions|supabase_.*)$'
    )) end;
  -- The API's roles have a privilege on a table with policies, do not own it, and do not bypass row security.
  select coalesce(given, case when is_tasks then '{tasks_api}' when is_supabase then '{anon,authenticated}' end::text[], array_agg(distinct r.rolname::text)) into roles
  from pg_policy as p
  join pg_class as c on c.oid = p.polrelid
  join pg_namespace as n on n.oid = c.relnamespace and n.nspname = any (schemas)
  join pg_roles as r on not r.rolsuper and not r.rolbypassrls and r.rolname !~ '^pg_' and r.oid <> c.relowner
    and (0 = any (p.polroles) or r.oid = any (p.polroles)) and has_any_column_privilege(r.oid, c.oid, 'select')
    and r.oid <> (select datdba from pg_database where datname = current_database());
  -- If there are none, the application logs in as the owner of these tables.
  roles := coalesce(roles, (
    select array_agg(distinct r.rolname::text)
    from pg_policy as p
    join pg_class as c on c.oid = p.polrelid
    join pg_namespace as n on n.oid = c.relnamespace and n.nspname = any (schemas)
    join pg_roles as r on r.oid = c.relowner and r.rolcanlogin and not r.rolsuper and not r.rolbypassrls
  ));
  if settings is null then
    raise exception 'no policy of database % reads a setting: set audit.setting', current_database();
  elsif schemas is null or roles is null then
    raise exception 'no role of database % is subject to policies: set audit.role and audit.schema', current_database();
  end if;

  foreach name in array roles loop
    if not exists (select from pg_roles where rolname = name) then
      raise exception 'role % does not exist here: %', quote_ident(name),
        case when is_tasks then 'run make migrate, which creates it' else 'audit.role is mistyped' end;
    end if;
    begin
      -- Session authorization instead of `set role`: after `set role`, a superuser's session may still become any
      -- role, and the attempts to become another role would succeed.
      execute format('set local session authorization %I', name);
      way := 'session authorization';
      set local session authorization default;
    exception when insufficient_privilege then
      begin
        way := 'role';
        execute format('set local role %I', name);
      exception when insufficient_privilege then
        begin
          execute format('grant %I to current_user', name);
          execute format('set local role %I', name);
        exception when insufficient_privilege then
          raise exception 'prove.sql must act as %, but % may not: run it as a superuser, as %, '
            'or after: grant % to %', name, current_user, name, quote_ident(name), quote_ident(current_user);
        end;
      end;
      set local role none;
    end;
  end loop;
  perform set_config('prove.way', way, true), set_config('prove.is_tasks', is_tasks::text, true), set_config('prove.roles', roles::text, true),
    set_config('prove.schemas', schemas::text, true), set_config('prove.settings', settings::text, true);
end
$$;

-- The attempts, in the order in which they are made. {alice}, {bob} and {erin} are replaced with the users' ids.
do $plan$
declare
  is_tasks constant boolean := current_setting('prove.is_tasks')::boolean;
  roles constant text[] := current_setting('prove.roles')::text[];
  schemas constant text[] := current_setting('prove.schemas')::text[];
  owners constant text[] := case when is_tasks then '{user_id}'
    else regexp_split_to_array(nullif(btrim(current_setting('audit.owners', true)), ''), '[, ]+') end;
  -- Capitals and an accent, to detect comparisons that ignore them. No real user can have these ids.
  alice text := 'prove Alice ' || gen_random_uuid();
  -- Other databases may have an encoding without these characters.
  o constant text := chr(case when is_tasks then 243 else 111 end);
  bob text := 'prove B' || o || 'b ' || gen_random_uuid();
  carol text := 'prove Carol ' || gen_random_uuid();
  erin constant text := 'prove Erin ' || gen_random_uuid();
  -- A second mark in bob's rows: a function that is called with bob's id may return that id, so its result is
  -- searched for this mark
  mark constant text := 'prove.' || left(md5(random()::text), 12);
  owner_types oid[];
  tables jsonb;
  plan jsonb := '[]';
begin
  -- The planner expects too few rows from each step below, and would choose slow nested loops.
  perform set_config('enable_nestloop', 'off', true);
  -- The tables that the roles can reach, the tables that those reference, their owner columns, and values for their
  -- rows
  with recursive reached as materialized (
    select c.oid
    from pg_class as c
    join pg_namespace as n on n.oid = c.relnamespace
    where n.nspname = any (schemas) and c.relkind in ('r', 'p') and not c.relispartition
      and not (is_tasks and c.relname in ('users', 'tasks', 'idempotency_keys'))
      and exists (
        select from unnest(roles) as r (name)
        where has_schema_privilege(r.name, n.oid, 'usage')
          and (has_any_column_privilege(r.name, c.oid, 'select, insert, update') or has_table_privilege(r.name, c.oid, 'delete')))
  ),
  involved (oid) as (
    select oid from reached
    union
    select f.confrelid from involved as i join pg_constraint as f on f.conrelid = i.oid and f.contype = 'f'
  ),
  key as materialized (
    select f.oid, f.conrelid, f.confrelid, k.child, k.parent
    from pg_constraint as f
    cross join unnest(f.conkey, f.confkey) as k (child, parent)
    where f.contype = 'f' and f.conrelid <> f.confrelid and f.conrelid in (select oid from involved) and f.conparentid = 0
  ),
  attribute as materialized (
    select a.attrelid, a.attnum, a.attname::text as name, coalesce(nullif(t.typbasetype, 0), t.oid) as type, t.typtype, t.typcategory,
      a.atttypmod, a.attnotnull, a.atthasdef or a.attidentity <> '' as has_default,
      exists (select from pg_index as x where x.indrelid = a.attrelid and x.indisprimary and a.attnum = any (x.indkey::smallint[])) as is_key,
      (
        select pg_get_constraintdef(k.oid) from pg_constraint as k
        where k.conrelid = a.attrelid and k.contype = 'c' and a.attnum = any (k.conkey) limit 1
      ) as rule
    from involved as i
    join pg_attribute as a on a.attrelid = i.oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
    join pg_type as t on t.oid = a.atttypid
  ),
  condition as materialized (
    select p.polrelid, coalesce(pg_get_expr(p.polqual, p.polrelid), '') || ' ' || coalesce(pg_get_expr(p.polwithcheck, p.polrelid), '') as said
    from pg_policy as p
    where p.polrelid in (select oid from involved)
  ),
  -- Owner columns: those in audit.owners, or those that a policy compares with the result of a function
  named as materialized (
    select a.attrelid, a.attnum, a.name, a.type
    from attribute as a
    join pg_class as c on c.oid = a.attrelid
    where case
      when owners is not null then a.name = any (owners) or c.relname || '.' || a.name = any (owners)
        or c.relnamespace::regnamespace || '.' || c.relname || '.' || a.name = any (owners)
      else a.name in ('user_id', 'owner_id', 'userId', 'ownerId') or a.type in ('text'::regtype, 'varchar'::regtype, 'uuid'::regtype, 'int4'::regtype, 'int8'::regtype) and exists (
        select from condition as p
        cross join regexp_replace(quote_ident(a.name), '\W', '\\\&', 'g') as q
        where p.polrelid = a.attrelid and (
          p.said ~ ('(^|[^\w."])' || q || '\)*(::[\w ]+)?\)* = \(*(\s*SELECT )?\(*(NULLIF\(\(*)?[\w."]+\(')
          or p.said ~ ('\)( AS \w+\))?(::[\w ]+)?\)* = \(*' || q || '([^\w."(]|$)')))
      end
  ),
  -- Columns that foreign keys link get the same value. So do columns without a foreign key that have the same name,
  -- such as team_id.
  namesake as materialized (
    select a.attrelid, a.attnum, first_value(a.attrelid) over w as first_relid, first_value(a.attnum) over w as first_attnum
    from attribute as a
    where a.name ~ '._id$|.Id$' and (a.attrelid, a.attnum) not in (select conrelid, child from key)
      and (a.name, a.type) not in (select n.name, n.type from named as n)
    window w as (partition by a.name, a.type order by a.attrelid)
  ),
  tie (relid, attnum, to_relid, to_attnum) as (
    select conrelid, child, confrelid, parent from key
    union select confrelid, parent, conrelid, child from key
    union select attrelid, attnum, first_relid, first_attnum from namesake
    union select first_relid, first_attnum, attrelid, attnum from namesake
  ),
  tied (relid, attnum, to_relid, to_attnum) as (
    select attrelid, attnum, attrelid, attnum from attribute where (attrelid, attnum) in (select relid, tie.attnum from tie)
    union
    select t.relid, t.attnum, e.to_relid, e.to_attnum from tied as t join tie as e on e.relid = t.to_relid and e.attnum = t.to_attnum
  ),
  owner as materialized (
    select a.attrelid, a.attnum, a.type
    from attribute as a
    where (a.attrelid, a.attnum) in (
        select n.attrelid, n.attnum from named as n
        union
        select t.relid, t.attnum from tied as t join named as n on n.attrelid = t.to_relid and n.attnum = t.to_attnum)
      or (a.name, a.type) in (select n.name, n.type from named as n where n.name <> 'id')
  ),
  -- Tables with users' rows: they have an owner column, or a policy that reads the user, or a foreign key to such a
  -- table, or the roles may insert and there is no row security
  owned (oid) as (
    select o.attrelid from owner as o where o.attrelid in (select oid from reached)
    union
    select p.polrelid from condition as p where p.said ~ 'current_setting\(|\w\(\)|SELECT |[\w"]\.[\w"]+\('
    union
    select c.oid from reached as c cross join unnest(roles) as r (name)
    where not (select relrowsecurity from pg_class where oid = c.oid) and has_any_column_privilege(r.name, c.oid, 'insert')
    union
    select k.conrelid from owned as o join key as k on k.confrelid = o.oid
  ),
  filled as materialized (
    select a.*, o.attnum is not null as is_owner, k.child is not null as is_reference,
      coalesce(t.root, format('%s %s', a.attrelid, a.attnum)) as root, coalesce(t.is_shared, a.attrelid not in (select oid from owned)) as is_shared
    from attribute as a
    left join owner as o on o.attrelid = a.attrelid and o.attnum = a.attnum
    left join (select conrelid, child from key union select attrelid, attnum from namesake) as k on k.conrelid = a.attrelid and k.child = a.attnum
    left join (
      select t.relid, t.attnum, min(format('%s %s', t.to_relid, t.to_attnum)) as root,
        bool_or(t.to_relid not in (select oid from owned) and (t.to_relid, t.to_attnum) in (select confrelid, parent from key)) as is_shared
      from tied as t
      group by t.relid, t.attnum
    ) as t on t.relid = a.attrelid and t.attnum = a.attnum
    where o.attnum is not null or k.child is not null or a.is_key or a.attnotnull and not a.has_default
      or a.type in ('text'::regtype, 'varchar'::regtype) and not a.has_default and a.rule is null and a.attrelid in (select oid from owned)
  )
  select jsonb_agg(jsonb_build_object('oid', t.oid, 'name', t.oid::regclass, 'owned', t.oid in (select oid from owned),
      'reached', t.oid in (select oid from reached), 'quiet', not exists (
        select from pg_trigger as g join pg_proc as f on f.oid = g.tgfoid
        where g.tgrelid = t.oid and not g.tgisinternal and f.prosrc ~* 'dblink|program|http|pg_sleep|notify|\ynet\.'),
      'small', (select reltuples < 100000 from pg_class where oid = t.oid),
      'columns', (
        select jsonb_agg(jsonb_build_object('name', f.name, 'num', f.attnum, 'owner', f.is_owner, 'key', f.is_key, 'reference', f.is_reference,
          'shared', f.is_shared, 'root', f.root, 'type', f.type::regtype, 'sort', case
            when f.rule ~ 'ARRAY\[''' then 'listed' when f.typcategory = 'S' then 'text' when f.typtype = 'e' then 'enum' when f.typcategory = 'A' then 'array'
            when f.typtype = 'r' then 'range' else f.type::regtype::text end,
          'length', case when f.typcategory = 'S' and f.atttypmod > 4 then f.atttypmod - 4 end,
          'first', coalesce((regexp_match(f.rule, 'ARRAY\[''([^'']*)'''))[1], (select enumlabel from pg_enum where enumtypid = f.type order by enumsortorder limit 1))
        ) order by f.attnum)
        from filled as f where f.attrelid = t.oid)) order by t.oid),
    (
      select array_agg(t.type)
      from (
        select o.type from owner as o
        union all
        select f.prorettype
        from pg_depend as d join pg_proc as f on f.oid = d.refobjid and f.pronargs = 0
        where d.classid = 'pg_policy'::regclass and d.refclassid = 'pg_proc'::regclass and f.oid >= 16384
      ) as t (type)
    )
  into tables, owner_types
  from (select oid from involved) as t;
  if owner_types && array['int4'::regtype, 'int8'::regtype]::oid[] then
    alice := 1500000000 + floor(random() * 100000000)::integer;
    bob := alice::integer + 100000007;
    carol := alice::integer + 200000003;
  elsif owner_types && array['uuid'::regtype]::oid[] then
    alice := gen_random_uuid();
    bob := gen_random_uuid();
    carol := gen_random_uuid();
  end if;

  with thing as materialized (
    select t.oid, t.name, t.owned, t.reached, t.quiet, t.small, t.columns
    from jsonb_to_recordset(tables) as t (oid oid, name text, owned boolean, reached boolean, quiet boolean, small boolean, columns jsonb)
    where t.columns is not null
  ),
  -- The values of five rows per table: a row of bob; a row of alice; a row with bob as the owner, which alice
  -- inserts (forged); a row of alice that references bob's row (joined); and a row of carol with the values of
  -- bob's row (copied)
  cell as materialized (
    select t.oid, u.row, c.name, c.num, c.owner, c.key, c.reference, c.shared,
      case
        when c.owner then u.id
        when c.sort in ('text', 'character varying') then left(u.prefix || '.' || left(seed, 12) || '@example.invalid', coalesce(c.length, 200))
        when c.sort in ('enum', 'listed') then c.first
        when c.sort = 'uuid' then seed::uuid::text
        when c.sort in ('integer', 'bigint') then (1000000000 + ('x' || left(seed, 7))::bit(28)::integer)::text
        when c.sort = 'smallint' then ('x' || left(seed, 3))::bit(12)::integer::text
        when c.sort in ('numeric', 'real', 'double precision', 'money') then '1'
        when c.sort = 'boolean' then 'false'
        when c.sort in ('date', 'timestamp without time zone', 'timestamp with time zone') then now()::text
        when c.sort like 'time w%' then '12:00'
        when c.sort = 'interval' then '1 day'
        when c.sort in ('json', 'jsonb', 'array') then '{}'
        when c.sort = 'range' then 'empty'
        when c.sort in ('inet', 'cidr') then '192.0.2.1'
        when c.sort in ('bytea', 'tsvector') then ''
      end as value
    from thing as t
    cross join jsonb_to_recordset(t.columns) as c (name text, num smallint, owner boolean, key boolean, reference boolean, shared boolean, root text, type text, sort text, length integer, first text)
    cross join lateral (values
      ('bob', bob, 'bob', case when t.owned then mark else 'prove' end), ('alice', alice, 'alice', 'prove'),
      ('forged', bob, case when c.key and not c.reference then 'again' else 'bob' end, 'prove'),
      ('joined', alice, case when c.reference then 'bob' else 'joined' end, 'prove'),
      ('copied', carol, case when c.reference then 'carol' when c.key and c.sort <> 'text' then 'copied' else 'bob' end,
        case when t.owned then mark else 'prove' end)
    ) as u (row, id, salt, prefix)
    cross join lateral (select md5(mark || c.root || case when c.shared then '' else u.salt end) as seed) as m
  ),
  line as materialized (
    select c.oid, c.row, string_agg(quote_ident(c.name), ', ' order by c.num) as names, string_agg(quote_nullable(c.value), ', ' order by c.num) as cells,
      coalesce(string_agg(format('%I = %L', c.name, c.value), ' and ') filter (where c.key),
        string_agg(format('%I = %L', c.name, c.value), ' and ') filter (where c.owner)) as found,
      string_agg(format('%I = %L', c.name, c.value), ', ') filter (where c.owner) as taken, min(c.name) filter (where c.owner) as owner
    from cell as c
    group by c.oid, c.row
  ),
  -- The patterns that only a row of bob contains
  trace (patterns) as materialized (
    select concat_ws(', ', quote_literal('%' || mark || '%'), string_agg(quote_literal('%' || k.value || '%'), ', '))
    from (
      select distinct c.value
      from cell as c join thing as t on t.oid = c.oid and t.owned and t.reached
      where c.row = 'bob' and c.key and not c.owner and not c.shared and length(c.value) > 8
      limit 50
    ) as k
  ),
  target as materialized (
    select r.role, t.oid, t.name, t.quiet, t.small, b.found as bobs, a.found as alices, b.taken as to_bob, a.taken as to_alice, b.owner, w.changeable
    from thing as t
    cross join unnest(roles) as r (role)
    join line as b on b.oid = t.oid and b.row = 'bob' and b.found is not null
    join line as a on a.oid = t.oid and a.row = 'alice'
    cross join lateral (
      select quote_ident(min(p.attname)) as changeable
      from pg_attribute as p
      where p.attrelid = t.oid and p.attnum > 0 and not p.attisdropped and p.attgenerated = '' and p.attidentity <> 'a'
        and has_column_privilege(r.role, t.oid, p.attnum, 'update')
    ) as w
    where t.owned and t.reached and has_schema_privilege(r.role, (select relnamespace from pg_class where oid = t.oid), 'usage')
      and (has_any_column_privilege(r.role, t.oid, 'select, insert, update') or has_table_privilege(r.role, t.oid, 'delete'))
  ),
  joined as materialized (
    select r.role, c.oid, string_agg(quote_ident(c.name), ', ' order by c.num) as names, string_agg(quote_nullable(c.value), ', ' order by c.num) as cells
    from cell as c
    cross join unnest(roles) as r (role)
    where c.row = 'joined' and has_column_privilege(r.role, c.oid, c.num, 'insert')
    group by r.role, c.oid
    having bool_or(c.owner) and bool_or(c.reference and not c.owner)
  ),
  -- The tables with the rows of bob that such a row references. Tables without an owner column come first, since
  -- their policies depend on the reference alone.
  shared_key as materialized (
    select k.oid, k.to_oid, row_number() over (partition by k.oid order by k.has_owner, k.to_oid) as rank
    from (
      select distinct a.oid, b.oid as to_oid, exists (select from line as l where l.oid = b.oid and l.row = 'bob' and l.owner is not null) as has_owner
      from cell as a
      join cell as b on b.row = 'bob' and b.value = a.value and b.oid <> a.oid
      where a.row = 'joined' and a.reference and not a.owner and a.oid in (select oid from joined)
    ) as k
  ),
  attempt (part, place, role, who, what, must, statement, plants, needs) as (
    select 1, row_number() over (), 'tasks_api', tried.who, tried.what, tried.must, tried.statement, null, null
    from (
      values
      -- Before a user is set: in a new session the setting does not exist yet
      (null::text, 'nobody reads tasks in a new session', 'find nothing',
        'select from app.tasks limit 1'),
      (null, 'nobody reads users in a new session', 'find nothing',
        'select from app.users limit 1'),
      (null, 'nobody reads idempotency keys in a new session', 'find nothing',
        'select from app.idempotency_keys limit 1'),
      (null, 'nobody creates a task in a new session', 'be refused',
        $$insert into app.tasks (title) values ('nobody''s')$$),
      ('', 'nobody reads tasks', 'find nothing',
        'select from app.tasks limit 1'),
      ('', 'nobody reads users', 'find nothing',
        'select from app.users limit 1'),
      ('', 'nobody reads idempotency keys', 'find nothing',
        'select from app.idempotency_keys limit 1'),

      -- What must work. bob has three tasks and alice two, so only bob has a task with the id 3. Its title is his
      -- user id, so that a statement can select it by the title instead of the owner.
      (bob, 'bob creates three tasks', 'keep 3',
        $$insert into app.tasks (title, description, completed)
          values ('bob''s first', null, false), ('bob''s second', 'secret', true), ({bob}, 'secret', false)$$),
      (bob, 'bob stores an idempotency key', 'keep 1',
        $$insert into app.idempotency_keys (key, task) values ('prove', '{"title": "bob''s"}')$$),
      (alice, 'alice creates two tasks', 'keep 2',
        $$insert into app.tasks (title, completed) values ('alice''s first', false), ('alice''s second', true)$$),
      (alice, 'alice stores the same idempotency key', 'keep 1',
        $$insert into app.idempotency_keys (key, task) values ('prove', '{"title": "alice''s"}')$$),
      (alice, 'alice reads her tasks', 'find 2',
        'table app.tasks'),
      (alice, 'alice''s tasks have the ids 1 and 2', 'find 2',
        'select from app.tasks where user_id = {alice} and id in (1, 2) and version = 1'),
      (alice, 'alice changes her task', 'find 1',
        $$with changed as (update app.tasks set title = 'changed' where user_id = {alice} and id = 1 returning version)
          select from changed where version = 2$$),
      (alice, 'alice deletes her tasks', 'find 2',
        'delete from app.tasks where user_id = {alice}'),
      (alice, 'alice reads her own counter', 'find 1',
        'select from app.users where id = {alice} and last_task_id = 2'),
      (alice, 'alice''s next task has the id 3', 'find 1',
        'select from app.next_task_id() as id where id = 3'),
      (alice, 'alice reads her own idempotency key', 'find 1',
        'select key, task, created_at from app.idempotency_keys'),

      -- Creating with an idempotency key. The key `prove once` belongs to erin.
      (erin, 'erin creates a task with a key', 'keep 1',
        $$select from app.create_task_once('prove once', json_build_object('title', {erin})) where not replayed$$),
      (erin, 'erin repeats it and gets the same task', 'find 1',
        $$select from app.create_task_once('prove once', json_build_object('title', {erin})) where replayed and same$$),
      (erin, 'erin creates a task as the previous release does', 'find 1',
        $$select from app.create_task_once('prove before', {erin}, null, false)
          where not replayed and task ->> 'user_id' = {erin}$$),
      (alice, 'alice sends erin''s key and gets a task of her own', 'find 1',
        $$select from app.create_task_once('prove once', '{"title": "hers"}')
          where not replayed and task ->> 'user_id' = {alice}$$),
      (alice, 'alice repeats erin''s key and title to read erin''s task', 'find nothing',
        $$select from app.create_task_once('prove once', json_build_object('title', {erin}))
          where replayed or task ->> 'user_id' <> {alice}$$),
      ('', 'nobody creates a task with a key', 'be refused',
        $$select from app.create_task_once('prove once', '{"title": "nobody''s"}')$$),
      ('', 'nobody repeats erin''s key', 'be refused',
        $$select from app.create_task_once('prove once', json_build_object('title', {erin}))$$),

      -- Reading
      (alice, 'alice reads another user''s tasks', 'find nothing',
        'select from app.tasks where user_id <> {alice} limit 1'),
      (alice, 'alice reads bob''s tasks', 'find nothing',
        'select from app.tasks where user_id = {bob}'),
      (alice, 'alice reads a task by an id that only bob has', 'find nothing',
        'select from app.tasks where id = 3'),
      (alice, 'alice counts all tasks', 'find nothing',
        'select count(*) from app.tasks having count(*) <> 2'),
      (alice, 'alice asks whether bob has tasks', 'find nothing',
        'select where exists (select from app.tasks where user_id = {bob})'),
      (alice, 'alice reads with "or true"', 'find 2',
        'select from app.tasks where user_id = {alice} or true limit 3'),
      (alice, 'alice reads through a union', 'find nothing',
        'select from (select user_id from app.tasks union all select id from app.users) as all_users (id)
         where id <> {alice} limit 1'),
      (alice, 'alice reads through a recursive query', 'find nothing',
        'with recursive walk (id, user_id) as (
           select id, user_id from app.tasks where user_id = {bob}
           union select t.id, t.user_id from app.tasks as t join walk as w on w.user_id = t.user_id)
         select from walk'),
      (alice, 'alice reads through a lateral join', 'find nothing',
        'select from app.users as u
         cross join lateral (select from app.tasks as t where t.user_id <> u.id) as t limit 1'),
      (alice, 'alice counts owners through a window', 'find nothing',
        'select from (select dense_rank() over (order by user_id) from app.tasks) as owners (n) where n > 1'),
      (alice, 'alice reads by physical location (ctid)', 'find nothing',
        $$select from app.tasks where ctid >= '(0,0)' and user_id <> {alice} limit 1$$),
      (alice, 'alice reads by transaction (xmin)', 'find nothing',
        'select from app.tasks where xmin <> 0::text::xid and user_id <> {alice} limit 1'),
      (alice, 'alice locks bob''s tasks', 'find nothing',
        'select from app.tasks where user_id = {bob} for update nowait'),
      (alice, 'alice copies bob''s tasks into hers', 'find nothing',
        'insert into app.tasks (title) select title from app.tasks where user_id = {bob}'),
      (alice, 'alice reads bob''s counter', 'find nothing',
        'select from app.users where id = {bob}'),
      (alice, 'alice reads another user''s counter', 'find nothing',
        'select from app.users where id <> {alice} limit 1'),
      (alice, 'alice reads bob''s idempotency key', 'find nothing',
        'select from app.idempotency_keys where user_id = {bob}'),
      (alice, 'alice reads another user''s idempotency key', 'find nothing',
        'select from app.idempotency_keys where user_id <> {alice} limit 1'),

      -- Changing
      (alice, 'alice changes bob''s tasks', 'find nothing',
        $$update app.tasks set title = 'taken' where user_id = {bob}$$),
      (alice, 'alice changes a task by an id that only bob has', 'find nothing',
        'update app.tasks set completed = not completed where id = 3 and title = {bob}'),
      (alice, 'alice changes bob''s tasks by merge', 'find nothing',
        $$merge into app.tasks as t using (values (3, {bob})) as v (id, title) on t.id = v.id and t.title = v.title
          when matched then update set title = 'taken'$$),
      (alice, 'alice deletes bob''s tasks by merge', 'find nothing',
        'merge into app.tasks as t using (values (3, {bob})) as v (id, title) on t.id = v.id and t.title = v.title
         when matched then delete'),
      (alice, 'alice deletes bob''s tasks', 'find nothing',
        'delete from app.tasks where user_id = {bob}'),
      (alice, 'alice deletes a task by an id that only bob has', 'find nothing',
        'delete from app.tasks where id = 3 and title = {bob} returning title'),
      (alice, 'alice makes herself the owner of bob''s tasks', 'be refused',
        'update app.tasks set user_id = {alice} where user_id = {bob}'),
      (alice, 'alice gives her task to bob', 'be refused',
        'update app.tasks set user_id = {bob} where user_id = {alice} and id = 1'),
      (alice, 'alice inserts a task for bob', 'be refused',
        $$insert into app.tasks (user_id, title) values ({bob}, 'planted')$$),
      (alice, 'alice inserts a task with a chosen id', 'be refused',
        $$insert into app.tasks (id, title) values (3, 'probe')$$),
      (alice, 'alice probes bob''s ids by unique violation', 'be refused',
        $$insert into app.tasks (user_id, id, title) values ({bob}, 3, 'probe') on conflict do nothing$$),
      (alice, 'alice changes the id of her task', 'be refused',
        'update app.tasks set id = 30 where user_id = {alice} and id = 1'),
      (alice, 'alice sets a version', 'be refused',
        'update app.tasks set version = 1 where user_id = {alice} and id = 1'),
      (alice, 'alice inserts a task with a chosen version', 'be refused',
        $$insert into app.tasks (title, version) values ('hers', 7)$$),
      (alice, 'alice inserts a task with an old created_at', 'be refused',
        $$insert into app.tasks (title, created_at, updated_at) values ('hers', '2000-01-01', '2000-01-01')$$),
      (alice, 'alice sets updated_at', 'be refused',
        'update app.tasks set created_at = now(), updated_at = now() where user_id = {alice} and id = 1'),
      (alice, 'a task that alice inserts belongs to another user', 'find nothing',
        $$with made as (insert into app.tasks (title) values ('hers') returning user_id)
          select from made where user_id is distinct from {alice}$$),
      (alice, 'alice''s ids count only her own tasks', 'find 1',
        $$with made as (insert into app.tasks (title) values ('hers') returning id) select from made where id = 3$$),

      -- The select policies do not apply to a statement that reads no column. Such a statement cannot be restricted
      -- to the probe users, so its condition fails at the first row that it reaches, before the row is locked. carol
      -- has no rows.
      (carol, 'carol, who has no task, changes all tasks', 'find nothing',
        $$update app.tasks set title = 'taken' where {fails}$$),
      (carol, 'carol deletes all tasks', 'find nothing',
        'delete from app.tasks where {fails}'),
      (carol, 'carol sets all counters', 'find nothing',
        'update app.users set last_task_id = 1 where {fails}'),
      (carol, 'carol deletes all idempotency keys', 'find nothing',
        'delete from app.idempotency_keys where {fails}'),
      ('', 'nobody changes all tasks', 'find nothing',
        $$update app.tasks set title = 'taken' where {fails}$$),
      ('', 'nobody deletes all tasks', 'find nothing',
        'delete from app.tasks where {fails}'),
      ('', 'nobody sets all counters', 'find nothing',
        'update app.users set last_task_id = 1 where {fails}'),
      ('', 'nobody deletes all idempotency keys', 'find nothing',
        'delete from app.idempotency_keys where {fails}'),

      -- The counters
      (alice, 'alice sets bob''s counter', 'find nothing',
        'update app.users set last_task_id = last_task_id + 1 where id = {bob}'),
      (alice, 'alice sets her counter back', 'break a rule',
        'update app.users set last_task_id = 1 where id = {alice}'),
      (alice, 'alice updates her counter to the same value', 'break a rule',
        'update app.users set last_task_id = last_task_id where id = {alice}'),
      (alice, 'alice skips ids', 'break a rule',
        'update app.users set last_task_id = last_task_id + 2 where id = {alice}'),
      (alice, 'alice sets her counter back by an upsert of herself', 'be refused',
        'insert into app.users (id, last_task_id) values ({alice}, 0)
         on conflict (id) do update set last_task_id = excluded.last_task_id'),
      (alice, 'alice changes her id in app.users to bob', 'be refused',
        'update app.users set id = {bob} where id = {alice}'),
      (alice, 'alice inserts a user who does not exist', 'be refused',
        $$insert into app.users (id) values ({alice} || ' the second')$$),
      (alice, 'alice probes for a user by unique violation', 'be refused',
        'insert into app.users (id) values ({bob}) on conflict do nothing'),
      (alice, 'alice increments bob''s counter by an upsert', 'be refused',
        'insert into app.users (id) values ({bob})
         on conflict (id) do update set last_task_id = users.last_task_id + 1'),
      (alice, 'alice deletes bob, which would cascade', 'be refused',
        'delete from app.users where id = {bob}'),
      (alice, 'alice deletes herself to restart her counter', 'be refused',
        'delete from app.users where id = {alice}'),

      -- The idempotency records
      (alice, 'alice deletes bob''s idempotency key', 'find nothing',
        'delete from app.idempotency_keys where user_id = {bob}'),
      (alice, 'alice deletes her key before it expires', 'find nothing',
        'delete from app.idempotency_keys where user_id = {alice}'),
      (alice, 'alice changes the task of a key', 'be refused',
        $$update app.idempotency_keys set task = '{}' where user_id = {alice}$$),
      (alice, 'alice changes the task of a key by an upsert', 'be refused',
        $$insert into app.idempotency_keys (key, task) values ('prove', '{}')
          on conflict (user_id, key) do update set task = excluded.task$$),
      (alice, 'alice forges a key for bob', 'be refused',
        $$insert into app.idempotency_keys (user_id, key, task) values ({bob}, 'forged', '{}')$$),
      (alice, 'alice sets created_at of a key', 'be refused',
        $$insert into app.idempotency_keys (key, task, created_at) values ('dated', '{}', '2000-01-01')$$),
      (alice, 'alice stores a new idempotency key', 'find 1',
        $$insert into app.idempotency_keys (key, task) values ('new', '{}') on conflict do nothing$$),

      -- Side channels: errors, statistics, other sessions, objects that shadow those of the API
      (alice, 'alice sees bob''s tasks in an error message', 'find nothing',
        'select from app.tasks where user_id = {bob} and 1 / (char_length(title) - char_length(title)) = 1'),
      (alice, 'alice calls her own function before the policy filters the rows', 'find 2 or be refused',
        $$create function pg_temp.peek(seen text) returns boolean language plpgsql cost 0.0001 as '
            begin
              if seen <> current_setting(''app.user_id'') then raise exception ''a row of another user''; end if;
              return true;
            end';
          select from app.tasks where pg_temp.peek(user_id) limit 3$$),
      (alice, 'alice reads through a view that she creates', 'find nothing or be refused',
        'create view pg_temp.prove_view as select user_id from app.tasks;
         select from pg_temp.prove_view where user_id <> {alice} limit 1'),
      (alice, 'alice creates a function that hides current_setting', 'find nothing or be refused',
        $$create function pg_temp.current_setting(text, boolean) returns text language sql return {bob};
          select set_config('search_path', 'pg_temp, pg_catalog', true);
          select from app.tasks where user_id <> {alice} limit 1$$),
      (alice, 'alice creates a function in schema app', 'be refused',
        'create or replace function app.current_user_id() returns text language sql return {bob}'),
      (alice, 'alice creates a table in schema app', 'be refused',
        'create table app.prove ()'),
      (alice, 'alice creates a schema', 'be refused',
        'create schema prove_schema'),
      (alice, 'alice reads the statistics of these tables', 'find nothing',
        $$select from pg_stats where schemaname = 'app'$$),
      (alice, 'alice reads all statistics', 'be refused',
        'select stavalues1 from pg_statistic limit 1'),
      (alice, 'alice reads what other roles'' sessions run', 'find nothing',
        $$select from pg_stat_activity
          where usename <> current_user and coalesce(query, '') not in ('', '<insufficient privilege>')$$),
      (alice, 'alice reads passwords', 'be refused',
        'select rolpassword from pg_authid limit 1'),
      (alice, 'alice reads a file of the server', 'be refused',
        $$select pg_read_file('PG_VERSION')$$),
      (alice, 'alice copies tasks to a file of the server', 'be refused',
        $$copy (select from app.tasks where user_id = {bob}) to '/dev/null'$$),
      (alice, 'alice copies tasks to a program of the server', 'be refused',
        $$copy (select from app.tasks where user_id = {bob}) to program 'exit 0'$$),
      (alice, 'alice copies tasks from a file of the server', 'be refused',
        $$copy app.tasks (title) from '/dev/null'$$),

      (alice, 'alice may read or write a large object', 'find nothing',
        'select from pg_largeobject_metadata as l
         where l.lomowner = current_user::regrole or exists (
           select from aclexplode(l.lomacl) as a where a.grantee = 0 or pg_has_role(a.grantee, ''member'')) limit 1'),
      (alice, 'a trigger notifies other sessions of what alice writes', 'find nothing',
        $$select from pg_trigger as t join pg_proc as p on p.oid = t.tgfoid
          where t.tgrelid in ('app.tasks'::regclass, 'app.users'::regclass, 'app.idempotency_keys'::regclass)
            and t.tgenabled <> 'D' and (p.prosrc ~* '\y(pg_)?notify\y' or p.prosrc = 'triggered_change_notification')$$),
      (alice, 'alice''s statements call a function instead of PostgreSQL''s own', 'find nothing',
        $$select from (
            select coalesce((
              select substr(c.entry, 13)
              from pg_db_role_setting as s cross join unnest(s.setconfig) as c (entry)
              where c.entry like 'search_path=%' and s.setrole in (0, 'tasks_api'::regrole)
                and s.setdatabase in (0, (select oid from pg_database where datname = current_database()))
              order by s.setrole = 0, s.setdatabase = 0 limit 1), '"$user", public') as path
          ) as effective
          cross join unnest(string_to_array(path, ',')) as e (part)
          join pg_namespace as n on n.nspname = replace(btrim(e.part, ' "'), '$user', 'tasks_api')
          join pg_proc as p on p.pronamespace = n.oid
          where n.nspname <> 'pg_catalog' and not exists (select from unnest(p.proargtypes) as t where t >= 16384)
            and exists (select from pg_proc as b where b.proname = p.proname and b.pronamespace = 'pg_catalog'::regnamespace)
            and not exists (select from pg_depend as d where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e')$$),
      (alice, 'another role may create such a function', 'find nothing',
        $$select from (
            select coalesce((
              select substr(c.entry, 13)
              from pg_db_role_setting as s cross join unnest(s.setconfig) as c (entry)
              where c.entry like 'search_path=%' and s.setrole in (0, 'tasks_api'::regrole)
                and s.setdatabase in (0, (select oid from pg_database where datname = current_database()))
              order by s.setrole = 0, s.setdatabase = 0 limit 1), '"$user", public') as path
          ) as effective
          cross join unnest(string_to_array(path, ',')) as e (part)
          join pg_namespace as n on n.nspname = replace(btrim(e.part, ' "'), '$user', 'tasks_api')
          cross join aclexplode(n.nspacl) as a
          left join pg_roles as r on r.oid = a.grantee
          where n.nspname <> 'pg_catalog' and a.privilege_type = 'CREATE' and not coalesce(r.rolsuper, false)
            and a.grantee not in (n.nspowner, (select datdba from pg_database where datname = current_database()))$$),

      -- Disabling row security and other protections
      (alice, 'alice turns off row security for her session', 'be refused',
        $$select set_config('row_security', 'off', true); select from app.tasks limit 1$$),
      (alice, 'alice disables row security on app.tasks', 'be refused',
        'alter table app.tasks disable row level security'),
      (alice, 'alice drops a policy', 'be refused',
        'drop policy select_own on app.tasks'),
      (alice, 'alice weakens a policy', 'be refused',
        'alter policy select_own on app.tasks using (true)'),
      (alice, 'alice adds a policy', 'be refused',
        'create policy prove_all on app.tasks using (true)'),
      (alice, 'alice disables the triggers of app.users', 'be refused',
        'alter table app.users disable trigger all'),
      (alice, 'alice turns off triggers for her session', 'be refused',
        $$select set_config('session_replication_role', 'replica', true)$$),
      (alice, 'alice truncates app.tasks', 'be refused',
        'truncate app.tasks'),
      (alice, 'alice truncates app.idempotency_keys', 'be refused',
        'truncate app.idempotency_keys'),
      (alice, 'alice truncates app.users with cascade', 'be refused',
        'truncate app.users cascade'),
      (alice, 'alice locks app.users', 'be refused',
        'lock table app.users in share update exclusive mode nowait'),
      (alice, 'alice may create a trigger, a rule or a foreign key on a table', 'find nothing',
        $$select from unnest(array['app.tasks', 'app.users', 'app.idempotency_keys']) as t
          where has_any_column_privilege(t, 'references') or has_table_privilege(t, 'trigger')$$),
      (alice, 'alice grants her privileges to public', 'find nothing',
        $$grant select on app.tasks, app.users, app.idempotency_keys to public;
          select from pg_class as c cross join aclexplode(c.relacl) as a
          where c.relnamespace = 'app'::regnamespace and a.grantee = 0$$),
      (alice, 'alice becomes the owner of app.tasks', 'be refused',
        'alter table app.tasks owner to current_user'),
      (alice, 'alice gives her role bypassrls', 'be refused',
        'alter role tasks_api bypassrls'),
      (alice, 'alice can become another role', 'find nothing',
        $$select from pg_roles where oid <> current_user::regrole and pg_has_role(oid, 'member')$$),
      (alice, 'alice becomes the superuser', 'be refused',
        $$select set_config('role', rolname, true) from pg_roles where oid = 10$$),
      (alice, 'alice creates a role', 'be refused',
        'create role prove_role'),

      -- Several users in one session: a plan or cursor of one user must not show rows to the next
      (bob, 'bob prepares his statement and runs it', 'keep 3',
        $$select set_config('plan_cache_mode', 'force_generic_plan', true);
         prepare prove_plan as select from app.tasks where user_id = {bob};
         execute prove_plan$$),
      (alice, 'alice runs the statement that bob prepared', 'find nothing',
        'execute prove_plan'),
      ('', 'nobody runs the statement that bob prepared', 'find nothing',
        'execute prove_plan'),
      (bob, 'bob runs his statement again', 'find 3',
        'execute prove_plan'),
      (bob, 'bob deallocates his statement', 'keep nothing',
        'deallocate prove_plan'),
      (bob, 'bob opens a cursor with hold', 'keep nothing',
        'declare prove_cursor cursor with hold for select from app.tasks where user_id = {bob}'),
      (alice, 'alice fetches from the cursor that bob opened', 'find nothing',
        'fetch all from prove_cursor'),
      ('', 'nobody opens a cursor with hold', 'keep nothing',
        'declare prove_empty cursor with hold for select from app.tasks where user_id = {bob}'),
      (alice, 'alice fetches from the cursor that nobody opened', 'find nothing',
        'fetch all from prove_empty'),

      -- Without a user, and with user ids that are similar to bob's
      ('', 'nobody reads tasks after alice and bob', 'find nothing',
        'select from app.tasks limit 1'),
      ('', 'nobody reads users', 'find nothing',
        'select from app.users limit 1'),
      ('', 'nobody reads idempotency keys', 'find nothing',
        'select from app.idempotency_keys limit 1'),
      ('', 'nobody inserts a task', 'be refused',
        $$insert into app.tasks (title) values ('nobody''s')$$),
      ('', 'nobody gets a task id', 'be refused',
        'select app.next_task_id()'),
      ('', 'nobody inserts bob', 'be refused',
        'insert into app.users (id) values ({bob}) on conflict do nothing'),
      ('', 'nobody inserts an idempotency key', 'be refused',
        $$insert into app.idempotency_keys (key, task) values ('nobody', '{}')$$),
      ('', 'nobody changes a task', 'find nothing',
        'update app.tasks set completed = not completed where user_id = {bob}'),
      ('', 'nobody deletes a task', 'find nothing',
        'delete from app.tasks where user_id = {bob}'),
      ('', 'nobody has a user id', 'find nothing',
        'select where app.current_user_id() is not null')
    ) as tried (who, what, must, statement)
    where is_tasks
    union all
    select 2, row_number() over (), 'tasks_api', alias.who, 'a user named ' || alias.like_bob || ' reads tasks', 'find nothing',
      'select from app.tasks limit 1', null, null
    from (
      values
      (upper(bob), 'bob in upper case'),
      (lower(bob), 'bob in lower case'),
      (left(bob, -1), 'bob without the last letter'),
      (bob || ' ', 'bob and a space'),
      (' ' || bob, 'a space and bob'),
      (bob || chr(case when is_tasks then 8203 end), 'bob and a zero-width space'),
      (case when is_tasks then normalize(bob, nfd) end, 'bob with a combining accent'),
      (replace(bob, o, 'o'), 'bob without the accent'),
      (replace(bob, 'o', chr(case when is_tasks then 1086 end)), 'bob with a Cyrillic o'),
      (replace(bob, '-', '_'), 'bob with LIKE wildcards'),
      ('%', 'percent'), ('*', 'star'), ('.*', 'anything'), ('null', 'null'), (' ', 'space'),
      ('{' || bob || '}', 'bob in an array'), (bob || ',' || alice, 'bob and alice at once'),
      (quote_literal(bob), 'bob in quotes'), (''' or true --', 'SQL'), ('tasks_api', 'the role')
    ) as alias (who, like_bob)
    where is_tasks

    -- Insert the rows of bob and alice, as the role that runs this script, then as each of the API's roles. There
    -- are three passes, since a row may need the row that it references.
    union all
    select 3, row_number() over (order by r.place, p.pass, u.row, t.oid), r.role, u.id, u.row || ' has a row in ' || t.name,
      case when p.pass = 3 and r.place > cardinality(roles) and t.owned and t.reached then 'be there' else 'be there or later' end,
      format('insert into %s (%s) overriding system value values (%s) on conflict do nothing', t.name, l.names, l.cells), t.name || u.row, null
    from thing as t
    join line as l on l.oid = t.oid
    join (values ('bob', bob), ('alice', alice)) as u (row, id) on u.row = l.row
    cross join generate_series(1, 3) as p (pass)
    cross join unnest(array_prepend('', roles)) with ordinality as r (role, place)
    where t.quiet or r.role = ''

    -- What the users try with these rows
    union all
    select 4, row_number() over (order by t.name, t.role, a.place), t.role, a.who, a.what || case when cardinality(roles) > 1 then ' as ' || t.role else '' end, a.must, a.statement, null,
      t.name || case when a.what like 'alice hands%' then 'alice' else 'bob' end
    from target as t
    cross join lateral (values
      (1, bob, format('bob reads his row in %s', t.name), 'find 1 to prove', format('select from %s where %s', t.name, t.bobs),
        has_any_column_privilege(t.role, t.oid, 'select') and ((select not relrowsecurity from pg_class where oid = t.oid) or exists (
          select from pg_policy as p
          where p.polrelid = t.oid and p.polpermissive and p.polcmd in ('r', '*')
            and (0 = any (p.polroles) or exists (select from unnest(p.polroles) as o (oid) where o.oid <> 0 and pg_has_role(t.role, o.oid, 'usage')))))),
      (2, alice, format('alice reads bob''s row in %s', t.name), 'find nothing or be refused', format('select from %s where %s', t.name, t.bobs), true),
      (3, '', format('nobody reads bob''s row in %s', t.name), 'find nothing or be refused or fail', format('select from %s where %s', t.name, t.bobs), true),
      (4, alice, format('alice changes bob''s row in %s', t.name), 'find nothing or be refused',
        format('update %s set %s = %2$s where %s', t.name, t.changeable, t.bobs), t.quiet and t.changeable is not null),
      (5, alice, format('alice makes herself the owner of bob''s row in %s', t.name), 'find nothing or be refused',
        format('update %s set %s where %s', t.name, t.to_alice, t.bobs), t.quiet and has_column_privilege(t.role, t.oid, t.owner, 'update')),
      (6, alice, format('alice hands her row in %s to bob', t.name), 'find nothing or be refused or break a rule',
        format('update %s set %s where %s', t.name, t.to_bob, t.alices), t.quiet and has_column_privilege(t.role, t.oid, t.owner, 'update')),
      (7, alice, format('alice deletes bob''s row in %s', t.name), 'find nothing or be refused',
        format('delete from %s where %s', t.name, t.bobs), t.quiet and has_table_privilege(t.role, t.oid, 'delete')),
      (8, alice, format('alice inserts a row for bob in %s', t.name), 'be refused or break a rule', (
        select format('insert into %s (%s) overriding system value values (%s)', t.name, string_agg(quote_ident(c.name), ', ' order by c.num), string_agg(quote_nullable(c.value), ', ' order by c.num))
        from cell as c
        where c.oid = t.oid and c.row = 'forged' and has_column_privilege(t.role, t.oid, c.num, 'insert')
        having bool_or(c.owner)), t.quiet),
      (12, carol, format('carol detects bob''s row in %s by inserting the same values', t.name), 'not collide', (
        select format('insert into %s (%s) overriding system value values (%s)', t.name, string_agg(quote_ident(c.name), ', ' order by c.num), string_agg(quote_nullable(c.value), ', ' order by c.num))
        from cell as c
        where c.oid = t.oid and c.row = 'copied' and has_column_privilege(t.role, t.oid, c.num, 'insert')
        having not bool_and(c.owner or c.reference)), t.quiet),
      (9, carol, format('carol changes all rows of %s without reading', t.name), 'find nothing or be refused',
        format('update %s set %s = null where {fails}', t.name, t.changeable), t.quiet and t.small and t.changeable is not null),
      (10, carol, format('carol deletes all rows of %s without reading', t.name), 'find nothing or be refused',
        format('delete from %s where {fails}', t.name), t.quiet and t.small and has_table_privilege(t.role, t.oid, 'delete')),
      (11, alice, format('alice may truncate %s', t.name), 'find nothing',
        -- Supabase grants TRUNCATE to all its roles, and its API has no command for it.
        format('select where has_table_privilege(%L, %s::oid, ''truncate'')', t.role, t.oid), not exists (select from pg_roles where rolname = 'anon'))
    ) as a (place, who, what, must, statement, is_asked)
    where a.is_asked and a.statement is not null
    union all
    -- alice inserts a row that references a row of bob, for example a membership, and then reads bob's row
    select 5, row_number() over (order by j.name, d.name, j.role), j.role, alice,
      format('alice reads bob''s row in %s after inserting a row in %s', d.name, j.name), 'find nothing or be refused or break a rule or fail',
      format('insert into %s (%s) overriding system value values (%s); select from %s where %s', j.name, v.names, v.cells, d.name, d.bobs), null, d.name || 'bob'
    from joined as v
    join target as j on j.role = v.role and j.oid = v.oid and j.quiet
    join shared_key as k on k.oid = j.oid and k.rank <= 10
    join target as d on d.role = j.role and d.oid = k.to_oid

    -- All tables and views in the schemas, and all views that use them, including those that are added later
    union all
    select 6, row_number() over (order by other.oid, r.role), r.role, alice,
      'alice finds a row of bob in ' || other.oid::regclass || case when cardinality(roles) > 1 then ' as ' || r.role else '' end, 'find nothing or be refused',
      format('select from %s as r where r::text like any (array[''%%'' || {bob} || ''%%'', %s]) limit 1', other.oid::regclass, trace.patterns), null, null
    from (
      with recursive derived (oid) as (
        select c.oid
        from pg_class as c
        where c.relnamespace::regnamespace::text = any (select quote_ident(s) from unnest(schemas) as s) and c.relkind in ('r', 'p', 'f', 'v', 'm')
        union
        select r.ev_class
        from derived as d
        join pg_depend as d_on on d_on.refclassid = 'pg_class'::regclass and d_on.refobjid = d.oid
          and d_on.classid = 'pg_rewrite'::regclass
        join pg_rewrite as r on r.oid = d_on.objid
      )
      select d.oid, c.relnamespace from derived as d join pg_class as c on c.oid = d.oid
      where is_tasks or c.relkind in ('f', 'v', 'm')
    ) as other
    cross join trace
    cross join unnest(roles) as r (role)
    where has_any_column_privilege(r.role, other.oid, 'select') and has_schema_privilege(r.role, other.relnamespace, 'usage')

    -- Calls of every user-defined function that the roles may execute, except functions with effects outside of the
    -- database. The transaction is read-only, so a call cannot lock or change a row. The arguments are alice's id,
    -- then bob's id, then the key of a row of bob.
    union all
    select 7, row_number() over (order by a.place, p.oid, r.role, a.what), r.role, alice, a.what || case when cardinality(roles) > 1 then ' as ' || r.role else '' end,
      'find nothing or be refused or break a rule or fail',
      format('set local transaction_read_only = on; select from (select r::text as said from %s(%s) as r) as r where said like any (array[%s]) limit 1',
        p.oid::regproc, (
          select string_agg(format('%s::%s', case when t.type::regtype::text = any (a.types) then a.value else 'null' end, t.type::regtype), ', ' order by t.place)
          from unnest(p.proargtypes::oid[]) with ordinality as t (type, place)), a.sought), null, null
    from pg_proc as p
    join pg_namespace as n on n.oid = p.pronamespace
    cross join trace
    cross join unnest(roles) as r (role)
    cross join lateral (
      select 1, 'alice learns about bob from ' || p.oid::regprocedure, '{alice}', array['text', case when bob ~ '^\d+$' then 'bigint' when bob !~ ' ' then 'uuid' end, case when bob ~ '^\d+$' then 'integer' end],
        '''%'' || {bob} || ''%'', ' || trace.patterns
      union all
      select 2, 'alice learns about bob from his id and ' || p.oid::regprocedure, '{bob}', array['text', case when bob ~ '^\d+$' then 'bigint' when bob !~ ' ' then 'uuid' end, case when bob ~ '^\d+$' then 'integer' end],
        trace.patterns
      where not is_tasks and p.pronargs > 0
      union all
      select 3, format('alice learns about bob''s row in %s by its key and %s', t.name, p.oid::regprocedure), quote_literal(c.value), array[format_type(k.atttypid, null)], quote_literal('%' || mark || '%')
      from thing as t
      join cell as c on c.oid = t.oid and c.row = 'bob' and c.key and not c.owner
      join pg_attribute as k on k.attrelid = t.oid and k.attnum = c.num
      where t.owned and t.reached and p.prosecdef and k.atttypid = any (p.proargtypes::oid[])
    ) as a (place, what, value, types, sought)
    where p.oid >= 16384 and p.prokind = 'f'
      and p.prorettype not in ('trigger'::regtype, 'event_trigger'::regtype, 'internal'::regtype)
      and p.provariadic = 0 and not exists (select from unnest(p.proargtypes) as t where t::regtype::text like 'any%')
      and n.nspname !~ '^pg_' and has_schema_privilege(r.role, n.oid, 'usage') and has_function_privilege(r.role, p.oid, 'execute')
      and p.prosrc !~* 'dblink|program|http|pg_sleep'
      and not exists (select from pg_depend as d where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e')
  )
  select coalesce(jsonb_agg(to_jsonb(a) order by a.part, a.place), '[]') into plan from attempt as a;
  perform set_config('enable_nestloop', 'on', true), set_config('prove.plan', plan::text, true),
    set_config('prove.users', jsonb_build_object('{alice}', alice, '{bob}', bob, '{erin}', erin)::text, true);
end
$plan$;

do $prove$
declare
  is_tasks constant boolean := current_setting('prove.is_tasks')::boolean;
  settings constant text[] := current_setting('prove.settings')::text[];
  claim constant text := coalesce(nullif(btrim(current_setting('audit.claim', true)), ''), 'sub');
  users constant jsonb := current_setting('prove.users')::jsonb;
  way constant text := current_setting('prove.way');
  on_citus constant boolean := exists (select from pg_extension where extname = 'citus');
  may_skip_triggers constant boolean := has_parameter_privilege('session_replication_role', 'set');
  -- Fails at the first row that the policies let through. Its estimated cost is higher than that of the policies,
  -- so the planner evaluates the policies first.
  fails constant text := '1 / (0 * (' || repeat('random() + ', 20) || '0))::integer = 1';
  acting text;
  attempt record;
  setting text;
  found_rows bigint;
  happened text;
  kind text;
  result text;
  is_stopped boolean;
  planted text[] := '{}';
  results jsonb[] := '{}';
begin
  for attempt in
    select *
    from jsonb_to_recordset(current_setting('prove.plan')::jsonb)
      as a (part integer, role text, who text, what text, must text, statement text, plants text, needs text)
  loop
    continue when attempt.plants = any (planted) or attempt.needs is not null and attempt.needs <> all (planted);
    if attempt.role is distinct from acting then
      acting := attempt.role;
      if way = 'role' then
        set local role none;
      else
        set local session authorization default;
      end if;
      if may_skip_triggers then
        perform set_config('session_replication_role', case acting when '' then 'replica' else 'origin' end, true);
      end if;
      if acting <> '' then
        execute format('set local %s %I', way, acting);
      end if;
    end if;
    foreach setting in array settings loop
      continue when attempt.who is null;
      if is_tasks then
        -- Not set_config: on Citus only `set local` reaches the workers.
        execute format('set local app.user_id = %L', attempt.who);
      elsif setting ~ '(claims?|jwt|token|json)$' or current_setting('audit.claim', true) <> '' and setting !~ '\.claim\.' then
        perform set_config(setting, (jsonb_build_object('role', acting)
          || case attempt.who when '' then '{}' else jsonb_build_object('sub', attempt.who, claim, attempt.who) end)::text, true);
      else
        perform set_config(setting, attempt.who, true);
      end if;
    end loop;
    is_stopped := false;
    begin
      execute replace(replace(replace(replace(attempt.statement, '{fails}', fails), '{alice}', quote_literal(users ->> '{alice}')),
        '{bob}', quote_literal(users ->> '{bob}')), '{erin}', quote_literal(users ->> '{erin}'));
      get diagnostics found_rows = row_count;
      kind := coalesce(nullif(found_rows, 0)::text, 'nothing');
      happened := 'found ' || kind;
      if attempt.must not like 'keep %' and attempt.plants is null then
        raise exception using errcode = 'PROVE'; -- caught below: undoes the attempt
      end if;
      kind := case when attempt.plants is null then 'keep ' || kind else 'be there' end;
    exception
      when sqlstate 'PROVE' then
        kind := 'find ' || kind;
      when insufficient_privilege or null_value_not_allowed then -- Citus raises the latter if no user is set
        kind := 'be refused';
        happened := 'refused: ' || sqlerrm;
      when check_violation then
        kind := 'break a rule';
        happened := 'broke a rule: ' || sqlerrm;
      when connection_exception or connection_failure then -- a worker of Citus is down: there is no result
        raise;
      when others then
        -- A statement that Citus does not support on several servers reaches no row.
        kind := case
          when on_citus and attempt.must ~ 'nothing|refused' and (sqlstate in ('0A000', '3F000') or sqlerrm ~ 'not yet supported')
            then split_part(attempt.must, ' or ', 1)
          else 'fail'
        end;
        happened := 'failed: ' || sqlstate || ' ' || sqlerrm;
        -- A trigger or an invalid value ended the attempt before the policies did. Violated constraints (class 23)
        -- and divisions by zero come after the policies.
        is_stopped := sqlstate !~ '^(23|22012)';
    end;
    if kind = 'be there' then
      planted := planted || attempt.plants;
    end if;
    continue when attempt.plants is not null and (kind = 'be there' or attempt.must <> 'be there');
    result := case
      when kind = any (string_to_array(attempt.must, ' or ')) then 'ok'
      when attempt.must = 'find 1 to prove' and kind = 'find 1' then 'ok'
      when attempt.must = 'not collide' and not is_stopped and happened !~ '^failed: 23505' then 'ok'
      when attempt.must in ('be there', 'find 1 to prove') or is_stopped and attempt.part > 3 then 'not tried'
      else 'BROKEN'
    end;
    results := array_append(results, jsonb_build_object(
      'tried', attempt.what, 'must', attempt.must, 'happened', happened, 'result', result));
  end loop;
  perform set_config('prove.results', to_jsonb(results)::text, true);
end
$prove$;

select r.tried, r.must, r.happened, r.result
from jsonb_to_recordset(current_setting('prove.results')::jsonb)
  as r (tried text, must text, happened text, result text);

select count(*) filter (where r.result <> 'not tried') || ' attempts, '
  || coalesce(nullif(count(*) filter (where r.result = 'BROKEN'), 0)::text, 'none') || ' BROKEN'
  || coalesce(', ' || nullif(count(*) filter (where r.result = 'not tried'), 0) || ' not tried', '') as summary
from jsonb_to_recordset(current_setting('prove.results')::jsonb) as r (result text);

rollback;
