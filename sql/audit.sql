-- The isolation audit: does anything in this database let one user reach another's rows?
--
--   PGOPTIONS='-c search_path=pg_catalog,pg_temp' psql -X -d DATABASE -f sql/audit.sql        or: make audit
--
-- One statement that reads only catalogs (and the table of accepted findings) and changes nothing. Anybody may run
-- it, from a superuser down to a role without a privilege, on PostgreSQL 15 to 18. No rows: nothing was found.
--
--   severity    hole: a user's row can be read, changed or detected, or a guard against that is gone.
--               warning: a defence is weaker than it should be, or something cannot be judged.
--               accepted: a hole or a warning that is kept on purpose (see `acceptance`).
--   check_name  the kind of finding, named like the part of this file that makes it.
--   object      what it is about, by its full name.
--   finding     what an attacker or a bug could do with it.
--   remedy      SQL to paste, as the owner of the object or as a superuser.
--
-- For another database than that of the tasks API, say what is called otherwise there (all but the role and the
-- schema may stay away), for example:
--
--   PGOPTIONS="-c search_path=pg_catalog,pg_temp -c audit.role=web -c audit.schema=shop
--     -c audit.setting=request.jwt.claims -c audit.claim=sub -c audit.owners=tenant_id" psql -f sql/audit.sql
--
-- It takes for granted that the API works as audit.role, whose rows are those of the user named in audit.setting, and
-- that superusers and the owners of the database and of audit.schema are trusted. Its parts:
--
--   1 names   2 roles   3 grants   4 names that resolve   5 what runs   6 whose rows   7 policies   8 rights of others
--   9 the checks, one each   10 what was accepted
--
-- Names are those of pg_catalog: the session's search_path should say so, like above. Where it does not, and somebody
-- untrusted put a function or an operator where it looks, the check search_path says so.
--
-- The parts are materialized, also those that are read once: to merge them takes the planner as long as all else.
with recursive

-- 1. Names: everything that another project calls otherwise --------------------------------------------------

asked as materialized (
  select s.role, s.home, s.is_tasks,
    coalesce(nullif(current_setting('audit.setting', true), ''), 'app.user_id') as setting,
    coalesce(nullif(current_setting('audit.claim', true), ''), 'sub') as claim, -- of a setting that holds JSON
    -- The function that answers who the user is, if there is one.
    coalesce(nullif(current_setting('audit.identity', true), ''), case when s.is_tasks then 'app.current_user_id' end)
      as identity,
    -- The columns that say whose a row is: of one table (table.column) or wherever they are (column).
    coalesce(nullif(current_setting('audit.owners', true), ''),
      case when s.is_tasks then 'users.id, tasks.user_id, idempotency_keys.user_id, user_id' else 'user_id' end) as owners,
    -- A table (check_name, object, reason, accepted_by, accepted_on, expires_on), if there is one.
    coalesce(nullif(current_setting('audit.accepted', true), ''), 'audit.accepted') as accepted
  from (
    select coalesce(nullif(current_setting('audit.role', true), ''), 'tasks_api') as role,
      coalesce(nullif(current_setting('audit.schema', true), ''), 'app') as home,
      coalesce(current_setting('audit.schema', true), '') in ('', 'app') as is_tasks
  ) s
),

api as materialized (
  select r.oid, r.rolname, quote_ident(r.rolname) as name
  from asked join pg_roles r on r.rolname = asked.role
),

home as materialized (
  select n.oid, n.nspname, n.nspowner, pg_get_userbyid(n.nspowner) as owner_name
  from asked join pg_namespace n on n.nspname = asked.home
),

owner_name as materialized (
  select split_part(o, '.', -2) as relname, split_part(o, '.', -1) as attname
  from asked cross join lateral regexp_split_to_table(asked.owners, '[, ]+') as o
  where o <> ''
),

-- Tables whose owner's column is known by name: those of the migrations, or those that audit.owners names.
known as materialized (
  select c.oid, c.relname, k.attname as owner_column
  from home
  join pg_class c on c.relnamespace = home.oid and c.relkind in ('r', 'p')
  join owner_name k on k.relname = c.relname
),

identity_function as materialized (
  select p.oid
  from asked
  join pg_namespace n on n.nspname = coalesce(nullif(split_part(rtrim(asked.identity, '()'), '.', -2), ''), asked.home)
  join pg_proc p on p.pronamespace = n.oid and p.proname = split_part(rtrim(asked.identity, '()'), '.', -1)
  where p.pronargs = 0
),

-- What the tasks API's migrations made and nobody may quietly take away.
guard (kind, relname, name, loss) as materialized (
  select g.kind, g.relname, g.name, g.loss
  from asked
  cross join (values
    ('trigger', 'users', 'users_last_task_id_counts', 'a user''s counter can be set back, and an id given twice'),
    ('trigger', 'tasks', 'tasks_touch', 'versions stand still: changes made meanwhile are lost unseen'),
    ('foreign key', 'tasks', 'users', 'tasks may belong to nobody, and stay when their user is erased'),
    ('foreign key', 'idempotency_keys', 'users', 'keys may belong to nobody, and stay when their user is erased')
  ) as g (kind, relname, name, loss)
  where asked.is_tasks
),

-- Columns that the database decides, and what the API may be granted instead of all columns.
decided (relname, columns, instead, others) as materialized (
  select d.relname, d.columns, d.instead, d.others
  from asked
  cross join (values
    ('users', array['last_task_id', 'created_at'], '{"INSERT": "id", "UPDATE": "last_task_id"}'::jsonb, 'select'),
    ('tasks', array['id', 'version', 'created_at', 'updated_at'], (
      select jsonb_build_object('INSERT', columns, 'UPDATE', columns)
      from (
        select string_agg(quote_ident(a.attname), ', ' order by a.attnum) as columns
        from pg_class c
        join pg_namespace n on n.oid = c.relnamespace
        join pg_attribute a on a.attrelid = c.oid
        where n.nspname = 'app' and c.relname = 'tasks' and a.attnum > 0 and not a.attisdropped
          and a.attname not in ('id', 'user_id', 'version', 'created_at', 'updated_at')
      ) as written
    ), 'select, delete'),
    ('idempotency_keys', array['created_at'], '{"INSERT": "key, task"}', 'select, delete')
  ) as d (relname, columns, instead, others)
  where asked.is_tasks
),

-- Shards of Citus lie beside their tables, as table_102008, where a node is told to show them. Row security is enabled
-- on them by Citus itself but not forced; nobody works with them by name. What is sound on a shard is said here.
shard as materialized (
  select c.oid
  from known k
  join pg_class s on s.oid = k.oid
  join pg_class c on c.relnamespace = s.relnamespace and c.relname ~ ('^' || k.relname || '_[0-9]{6,}$')
  where exists (select from pg_extension where extname = 'citus') and s.relforcerowsecurity
),

-- What else sql/citus.sql makes, as long as it is that very code: it takes force off shards, and names the user.
spread (check_name, object) as (
  select 'event_trigger', quote_ident(e.evtname)
  from pg_event_trigger e
  join pg_proc p on p.oid = e.evtfoid
  where e.evtname = 'app_prepare_shards' and not p.prosecdef and p.proowner in (select oid from trusted)
    and md5(regexp_replace(p.prosrc, '\s+', ' ', 'g')) = 'dcd4fcfe5ef0ed9892e56089402622c5'
  union all
  select 'identity_change', 'app.act_as(text)'
  from home
  join pg_proc p on p.pronamespace = home.oid and p.proname = 'act_as' and not p.prosecdef
  where md5(regexp_replace(p.prosrc, '\s+', ' ', 'g')) = '8293a6636a3ed451fde2130662a7c949'
),

-- Owners of the place itself: what they could do, they need no hole for.
trusted as materialized (
  select oid from pg_roles where rolsuper or rolname = 'pg_database_owner'
  union
  select datdba from pg_database where datname = current_database()
  union
  select nspowner from home
),

-- What an extension's own script made is its author's: only what was granted on top of it is looked at, and code that
-- touches the API's tables. What somebody made a member later is not: another transaction wrote that down, or it lies
-- elsewhere than the extension, or holds rows that the extension does not call its own.
authored as materialized (
  select d.classid, d.objid
  from pg_depend d
  join pg_extension e on e.oid = d.refobjid
  left join pg_depend made on made.classid = d.refclassid and made.objid = e.oid and made.refclassid = 'pg_namespace'::regclass -- pg_catalog is pinned
  left join pg_class c on d.classid = 'pg_class'::regclass and c.oid = d.objid
  where d.deptype = 'e' and d.refclassid = 'pg_extension'::regclass
    and d.xmin in (made.xmin, e.xmin)
    and (c.relkind is null or c.relkind not in ('r', 'p', 'm', 'v') or c.oid = any (e.extconfig)
      or c.relnamespace not in (select oid from home))
),

-- 2. Roles: everybody whom the API can become, and everybody who can become the API ----------------------------

-- inherit_option and set_option exist since 16; before, every membership has both. Admin can grant itself the rest.
membership as materialized (
  select m.member, m.roleid, m.admin_option,
    coalesce((to_jsonb(m) ->> 'inherit_option')::boolean, true) as inherit_option,
    coalesce((to_jsonb(m) ->> 'set_option')::boolean, true) as set_option
  from pg_auth_members m
),

-- Breadth first, one row a step and each role once: meshed roles have more paths than anybody can count.
becomes as (
  select 0 as step, array_agg(oid) as newest, array_agg(oid) as seen from api
  union all
  select b.step + 1, n.oids, b.seen || n.oids
  from becomes b
  cross join lateral (
    select array_agg(distinct m.roleid) as oids
    from membership m
    where m.member = any (b.newest) and m.roleid <> all (b.seen)
      and (m.inherit_option or m.set_option or m.admin_option)
  ) n
  where n.oids is not null
),

self_path as (
  select oid, array[oid] as path from api
  union all
  select n.oid, p.path || n.oid
  from self_path p
  join becomes b on b.step = cardinality(p.path)
  cross join lateral unnest(b.newest) as n (oid)
  where p.oid = (
    select min(m.member) from membership m
    where m.roleid = n.oid and (m.inherit_option or m.set_option or m.admin_option)
      and m.member = any ((select v.newest from becomes v where v.step = b.step - 1)::oid[])
  )
),

-- The API role and what it can become, each by a shortest way.
self as materialized (
  select r.oid, r.rolname, p.path, cardinality(p.path) = 1 as is_api,
    (select string_agg(quote_ident(s.rolname), ' -> ' order by w.step)
     from unnest(p.path) with ordinality as w (oid, step) join pg_roles s on s.oid = w.oid) as way
  from self_path p join pg_roles r on r.oid = p.oid
),

-- Whose grants the API enjoys: its own, those of what it can become, and everybody's (0 is PUBLIC).
grantee as materialized (
  select oid, quote_ident(rolname) as name from self
  union all
  select 0, 'public'
),

-- The same from the other end. Whoever made a role by CREATEROLE (16+) holds it with admin option alone: that is
-- administration.
impersonates as (
  select 0 as step, array_agg(oid) as newest, array_agg(oid) as seen from api
  union all
  select i.step + 1, n.oids, i.seen || n.oids
  from impersonates i
  cross join lateral (
    select array_agg(distinct m.member) as oids
    from membership m join pg_roles r on r.oid = m.member
    where m.roleid = any (i.newest) and m.member <> all (i.seen)
      and m.member not in (select oid from trusted)
      and (m.inherit_option or m.set_option or (m.admin_option and not r.rolcreaterole))
  ) n
  where n.oids is not null
),

impersonator_path as (
  select oid, array[oid] as path from api
  union all
  select n.oid, p.path || n.oid
  from impersonator_path p
  join impersonates i on i.step = cardinality(p.path)
  cross join lateral unnest(i.newest) as n (oid)
  where p.oid = (
    select min(m.roleid) from membership m
    where m.member = n.oid and (m.inherit_option or m.set_option or m.admin_option)
      and m.roleid = any ((select v.newest from impersonates v where v.step = i.step - 1)::oid[])
  )
),

-- 3. Grants: whatever was ever granted to the API, to what it can become or to PUBLIC --------------------------

-- `= any (array(…))` here and below: few are picked from many, by index, and the planner knows it. It would otherwise
-- expect millions of rows and compile the audit to machine code for longer than it runs.
grants as materialized (
  select o.classid, o.objid, o.subid, o.kind, o.object, coalesce(o.target, format('%s %s', o.kind, o.object)) as target,
    a.grantee, a.privilege_type as privilege, a.is_grantable, o.column_name
  from (
    select 'pg_class'::regclass::oid as classid, c.oid as objid, 0 as subid, c.relkind::text as kind,
      format('%I.%I', n.nspname, c.relname) as object,
      format('%s %I.%I', case c.relkind when 'S' then 'sequence' else 'table' end, n.nspname, c.relname) as target,
      null::name as column_name, c.relacl as acl
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where c.relacl is not null and c.relpersistence <> 't'
    union all
    select 'pg_class'::regclass, c.oid, t.attnum, 'column', format('%I.%I.%I', n.nspname, c.relname, t.attname),
      format('table %I.%I', n.nspname, c.relname), t.attname, t.attacl
    from pg_attribute t join pg_class c on c.oid = t.attrelid join pg_namespace n on n.oid = c.relnamespace
    where t.attrelid = any (array(select x.attrelid from pg_attribute x where x.attacl is not null))
      and t.attacl is not null and not t.attisdropped and c.relpersistence <> 't'
    union all
    select 'pg_proc'::regclass, p.oid, 0, 'function', format('%I.%I(%s)', n.nspname, p.proname, oidvectortypes(p.proargtypes)),
      format('routine %I.%I(%s)', n.nspname, p.proname, oidvectortypes(p.proargtypes)), null, p.proacl
    from pg_proc p join pg_namespace n on n.oid = p.pronamespace
    where p.oid = any (array(select x.oid from pg_proc x where x.proacl is not null))
    union all
    select 'pg_type'::regclass, t.oid, 0, 'type', format('%I.%I', n.nspname, t.typname), null, null, t.typacl
    from pg_type t join pg_namespace n on n.oid = t.typnamespace
    where t.oid = any (array(select x.oid from pg_type x where x.typacl is not null))
    union all
    select 'pg_namespace'::regclass, oid, 0, 'schema', quote_ident(nspname), null, null, nspacl from pg_namespace
    union all
    select 'pg_database'::regclass, oid, 0, 'database', quote_ident(datname), null, null, datacl
    from pg_database where datname = current_database()
    union all
    select 'pg_language'::regclass, oid, 0, 'language', quote_ident(lanname), null, null, lanacl from pg_language
    union all
    select 'pg_foreign_data_wrapper'::regclass, oid, 0, 'foreign data wrapper', quote_ident(fdwname), null, null, fdwacl
    from pg_foreign_data_wrapper
    union all
    select 'pg_foreign_server'::regclass, oid, 0, 'foreign server', quote_ident(srvname), null, null, srvacl
    from pg_foreign_server
    union all
    select 'pg_tablespace'::regclass, oid, 0, 'tablespace', quote_ident(spcname), null, null, spcacl from pg_tablespace
    union all
    select 'pg_largeobject_metadata'::regclass, oid, 0, 'large object', oid::text, null, null, lomacl
    from pg_largeobject_metadata
    union all
    select 'pg_parameter_acl'::regclass, oid, 0, 'parameter', parname, null, null, paracl from pg_parameter_acl
  ) o
  cross join lateral aclexplode(o.acl) a
  join grantee e on e.oid = a.grantee
),

-- PostgreSQL's own objects and extensions' come with grants: those recorded at their making, or the default.
granted as materialized (
  select g.classid, g.objid, g.subid, g.kind, g.object, g.target, g.grantee, g.privilege, g.is_grantable, g.column_name,
    e.name as grantee_name, case g.grantee when 0 then 'everybody' else e.name end as who,
    g.objid < 16384 or m.objid is not null as is_foreign,
    (g.classid, g.objid, g.subid, g.privilege) in (
      select i.classoid, i.objoid, i.objsubid, a.privilege_type
      from pg_init_privs i cross join lateral aclexplode(i.initprivs) a join grantee e on e.oid = a.grantee
    )
    or g.kind in ('function', 'type', 'language')
      and (g.classid, g.objid) not in (select i.classoid, i.objoid from pg_init_privs i)
    -- initdb records those of information_schema nowhere.
    or g.grantee = 0 and g.privilege = 'SELECT' and g.object like 'information\_schema.%' as is_initial,
    format('revoke %s%s on %s from %s;', lower(g.privilege), ' (' || quote_ident(g.column_name) || ')', g.target, e.name)
      as revoke
  from grants g
  join grantee e on e.oid = g.grantee
  left join authored m on m.classid = g.classid and m.objid = g.objid
),

-- What the API may do with a relation: by grant on it, or on any of its columns.
right_on as materialized (
  select objid as oid, privilege, string_agg(distinct grantee_name, ', ') as grantees
  from granted
  where classid = 'pg_class'::regclass
  group by objid, privilege
),

-- Relations that the API has a right on, whatever schema they lie in.
mine as materialized (
  select c.oid, c.relkind, c.relnamespace, c.relowner, c.reloptions
  from pg_class c
  where c.relkind in ('r', 'p', 'f', 'v', 'm') and c.relpersistence <> 't'
    and (c.oid in (select objid from granted where classid = 'pg_class'::regclass and not is_foreign)
      or c.oid >= 16384 and c.relowner in (select oid from self)
      or c.oid in (select oid from known))
),

-- Schemas in which the API can name things.
usable as materialized (
  select n.oid
  from pg_namespace n
  where n.nspowner in (select oid from self)
    or n.oid in (select objid from grants where kind = 'schema' and privilege = 'USAGE')
),

-- Schemas in which somebody who is not trusted can place objects, and who.
writable as materialized (
  select n.oid, n.nspname, string_agg(distinct case w.oid when 0 then 'everybody' else pg_get_userbyid(w.oid) end, ', ') as who
  from pg_namespace n
  cross join lateral (
    select n.nspowner as oid
    union
    select a.grantee from aclexplode(n.nspacl) a where a.privilege_type = 'CREATE'
  ) w
  where w.oid not in (select oid from trusted)
  group by n.oid, n.nspname
),

-- 4. Names that resolve: settings, and where unqualified names are looked up -----------------------------------

watched (name, sound, danger) as materialized (
  select * from (values
    ('role', 'none', 'what runs under it has another role''s grants and policies'),
    ('session_authorization', 'default', 'what runs under it has another role''s grants and policies'),
    ('row_security', 'on', 'whoever may bypass row security does so without notice'),
    ('session_replication_role', 'origin', 'triggers and foreign keys are switched off'),
    ('lo_compat_privileges', 'off', 'the privileges of large objects are not checked: every user reads every one'),
    ('transform_null_equals', 'off', 'a comparison with null becomes a test for null: a missing user id matches rows'),
    ('search_path', null, null) -- judged by its schemas
  ) as w (name, sound, danger)
  union all
  select lower(setting), '', 'a request that names no user acts as this one, and sees their rows' from asked
),

-- A role's setting for this database goes before the role's own, that before the database's, that before all's.
role_setting as materialized (
  select lower(split_part(c.entry, '=', 1)) as name, substr(c.entry, strpos(c.entry, '=') + 1) as value,
    (s.setrole <> 0)::integer * 2 + (s.setdatabase <> 0)::integer as rank,
    case when s.setrole = 0 and s.setdatabase = 0 then 'role all'
      when s.setrole = 0 then format('database %I', current_database())
      when s.setdatabase = 0 then format('role %s', api.name)
      else format('role %s in database %I', api.name, current_database())
    end as place
  from pg_db_role_setting s
  cross join api
  cross join lateral unnest(s.setconfig) as c (entry)
  where s.setrole in (0, api.oid)
    and s.setdatabase in (0, (select oid from pg_database where datname = current_database()))
),

-- ts_stat runs a query only where it is given one, and hands back its words: that way this statement may look at what
-- is not there in every database, or may be read by few, and would fail the whole audit, even unread.
file_setting as materialized (
  select lower(split_part(f.word, '=', 1)) as name, substr(f.word, strpos(f.word, '=') + 1) as value
  from ts_stat(
    case when has_table_privilege('pg_file_settings', 'select') and has_function_privilege('pg_show_all_file_settings()', 'execute')
      then 'select pg_catalog.array_to_tsvector(pg_catalog.array_agg(pg_catalog.left(name || ''='' || coalesce(setting, ''''), 500)))
            from (select distinct on (name) name, setting from pg_catalog.pg_file_settings
                  where name is not null and error is null order by name, seqno desc) newest'
    end
  ) f
  where lower(split_part(f.word, '=', 1)) in (select name from watched)
),

server_setting as materialized (
  select name, value, format('configuration file: %s', name) as object,
    format('alter system reset %s; select pg_reload_conf(); -- or take it out of the file', name) as remedy
  from file_setting
  union all
  select s.name, s.reset_val, format('server: %s', s.name),
    format('alter system reset %s; select pg_reload_conf(); -- or take it from where the server is started', s.name)
  from pg_settings s
  where s.name in (select name from watched)
    and s.source in ('configuration file', 'command line', 'environment variable')
    and s.name not in (select name from file_setting)
),

-- Every search_path that could be the API's, and which one is. Where none is set it is "$user", public.
path_setting as materialized (
  select p.object, p.value, p.rank, p.place, p.rank = max(p.rank) over () as is_effective
  from (
    select format('%s set search_path', place) as object, value, rank, place from role_setting where name = 'search_path'
    union all
    select object, value, -1, null from server_setting where name = 'search_path'
    union all
    select 'the default search_path', '"$user", public', -2, null from api
  ) p
),

path_entry as materialized (
  select p.object, p.value, p.rank, p.is_effective, s.schema, s.step, n.oid,
    s.step = count(*) over (partition by p.object) as is_last
  from path_setting p
  cross join api
  cross join lateral (
    select e.step, case when btrim(e.part, ' "') = '$user' then api.rolname::text else btrim(e.part, ' "') end as schema
    from unnest(string_to_array(p.value, ',')) with ordinality as e (part, step)
  ) s
  left join pg_namespace n on n.nspname = s.schema
),

-- Functions in front of PostgreSQL's own: the best match over the whole path is called, so that one on record beats
-- to_json(anyelement) although pg_catalog comes first. One that takes somebody's own type only serves that type.
shadow as materialized (
  select p.oid, n.nspname, e.object as path
  from (select distinct oid, object from path_entry where is_effective and schema not in ('pg_catalog', 'pg_temp')) e
  join pg_namespace n on n.oid = e.oid
  join pg_proc p on p.pronamespace = e.oid
  where p.oid >= 16384
    and not exists (select from unnest(p.proargtypes) t where t >= 16384)
    and exists (select from pg_proc b where b.proname = p.proname and b.pronamespace = 'pg_catalog'::regnamespace)
    and not exists (select from authored m where m.classid = 'pg_proc'::regclass and m.objid = p.oid)
),

-- 5. What runs: the closure over pg_depend from every relation and function that the API can reach ---------------

-- What a view reads, all the way down, and which view on the way reads it: by its parsed definition, since pg_depend
-- keeps nothing about PostgreSQL's own catalogs. It needs no USAGE on the schemas of what it reads.
view_reads as (
  select oid as view, null::oid as reader, oid
  from mine
  where relkind = 'v' and relnamespace in (select oid from usable)
  union
  select v.view, v.oid, m.relid[1]::oid
  from view_reads v
  join pg_class c on c.oid = v.oid and c.relkind = 'v'
  join pg_rewrite w on w.ev_class = v.oid and w.rulename = '_RETURN'
  cross join lateral regexp_matches(w.ev_action::text, ':relid ([1-9][0-9]*)', 'g') as m (relid)
  where m.relid[1]::oid <> v.oid
),

view_as_owner as materialized (
  select c.oid, c.relowner
  from pg_class c
  where c.oid in (select oid from view_reads) and c.relkind = 'v'
    and not coalesce((
      select o.option_value::boolean from pg_options_to_table(c.reloptions) o where o.option_name = 'security_invoker'
    ), false)
),

-- Bodies that PostgreSQL keeps as text say only by name what they call and touch: every word that is the name of a
-- function or relation, by its schema or in one where the body looks for it, counts.
body as materialized (
  select p.oid, regexp_replace(p.prosrc, '--[^\n]*|/\*([^*]|\*+[^*/])*\*+/', ' ', 'g') as code,
    array(
      select e.oid from path_entry e where e.is_effective and e.oid is not null
      union select oid from home
      union
      select n.oid
      from unnest(p.proconfig) as c (entry)
      cross join lateral unnest(string_to_array(substr(c.entry, 13), ',')) as s (schema)
      join pg_namespace n on n.nspname = btrim(s.schema, ' "')
      where c.entry like 'search_path=%'
    ) as path
  from pg_proc p
  join pg_language l on l.oid = p.prolang
  where p.oid >= 16384 and p.prosqlbody is null and l.lanname not in ('c', 'internal')
),

word as materialized (
  select distinct b.oid, b.path, lower(btrim(w.part[1], '" .')) as schema, lower(btrim(w.part[2], '"')) as name,
    w.part[3] is not null as is_call
  from body b
  cross join lateral regexp_matches(b.code, '((?:[[:alpha:]_][\w$]*|"[^"]+")\s*\.\s*)?([[:alpha:]_][\w$]*|"[^"]+")(\s*\()?', 'g') as w (part)
),

said as materialized (
  select w.oid as function, 'pg_proc'::regclass::oid as classid, p.oid as objid
  from word w
  join pg_proc p on p.proname = w.name and p.oid >= 16384 and p.oid <> w.oid
  join pg_namespace n on n.oid = p.pronamespace
  where w.is_call and (n.nspname = w.schema or w.schema is null and n.oid = any (w.path))
  union
  select w.oid, 'pg_class'::regclass, c.oid
  from word w
  join pg_class c on c.relname = w.name and c.relkind in ('r', 'p', 'f', 'v', 'm')
  join pg_namespace n on n.oid = c.relnamespace
  where n.nspname = w.schema or w.schema is null and n.oid = any (w.path) and c.oid >= 16384
),

callable as materialized (
  select p.oid, p.pronamespace, p.prosecdef, m.objid is not null as is_authored
  from pg_proc p
  left join authored m on m.classid = 'pg_proc'::regclass and m.objid = p.oid
  where (p.oid >= 16384 or p.prosecdef or p.proconfig is not null)
    and p.prorettype not in ('trigger'::regtype, 'event_trigger'::regtype)
    and (p.proowner in (select oid from self) or p.proacl is null or p.oid in (select objid from grants where kind = 'function'))
),

-- What follows from what. `by_right`: only where the API has a right on it, or other rights are borrowed on the way.
edge as materialized (
  -- what it was made of
  select d.classid, d.objid, d.refclassid as toclass, d.refobjid as toid, 0::oid as reader,
    d.refclassid = 'pg_class'::regclass as is_table,
    d.refclassid = 'pg_class'::regclass and d.refobjid not in (select oid from mine) as by_right
  from pg_depend d
  where d.refobjid >= 16384
    and (d.refclassid in ('pg_proc'::regclass, 'pg_operator'::regclass, 'pg_opclass'::regclass, 'pg_opfamily'::regclass, 'pg_collation'::regclass)
      or d.refclassid = 'pg_type'::regclass and d.classid <> 'pg_operator'::regclass
      or d.refclassid = 'pg_class'::regclass and d.classid in ('pg_proc'::regclass, 'pg_policy'::regclass))
  union all
  -- what belongs to it
  select d.refclassid, d.refobjid, d.classid, d.objid, 0, false, false
  from pg_depend d
  left join pg_trigger t on d.classid = 'pg_trigger'::regclass and t.oid = d.objid
  left join pg_constraint k on d.classid = 'pg_constraint'::regclass and k.oid = d.objid
  left join pg_class c on d.classid = 'pg_class'::regclass and c.oid = d.objid
  left join pg_policy y on d.classid = 'pg_policy'::regclass and y.oid = d.objid
  where d.refobjid >= 16384 and d.deptype in ('a', 'i')
    and d.classid in ('pg_trigger'::regclass, 'pg_constraint'::regclass, 'pg_class'::regclass, 'pg_policy'::regclass,
      'pg_attrdef'::regclass, 'pg_rewrite'::regclass, 'pg_statistic_ext'::regclass, 'pg_amop'::regclass, 'pg_amproc'::regclass)
    and coalesce(not t.tgisinternal and t.tgenabled <> 'D', true)
    and coalesce(k.contype <> 'f', true)
    and coalesce(c.relkind in ('i', 'I'), true)
    and coalesce(y.polroles && array(select oid from grantee), true)
    -- Most indexes, constraints and defaults are made of nothing that somebody else made.
    and (d.classid not in ('pg_constraint'::regclass, 'pg_class'::regclass, 'pg_attrdef'::regclass)
      or (d.classid, d.objid) in (
        select classid, objid from pg_depend where refobjid >= 16384 and refclassid <> 'pg_class'::regclass and refclassid <> 'pg_constraint'::regclass))
  union all
  -- partitions and children, and the triggers of tables whose rows go along with its rows
  select 'pg_class'::regclass, i.inhparent, 'pg_class'::regclass, i.inhrelid, 0, true, false
  from pg_inherits i join pg_class c on c.oid = i.inhrelid and c.relkind in ('r', 'p', 'f')
  union all
  select 'pg_class'::regclass, k.confrelid, 'pg_trigger'::regclass, t.oid, 0, false, false
  from pg_constraint k join pg_trigger t on t.tgrelid = k.conrelid and not t.tgisinternal and t.tgenabled <> 'D'
  where k.contype = 'f' and (k.confdeltype in ('c', 'n', 'd') or k.confupdtype in ('c', 'n', 'd'))
  union all
  -- what a view reads, what a body says, what a type is cast to
  select 'pg_class'::regclass, v.reader, 'pg_class'::regclass, v.oid, coalesce(o.oid, 0), true,
    o.oid is null and v.oid not in (select oid from mine)
  from view_reads v left join view_as_owner o on o.oid = v.reader
  where v.reader is not null
  union all
  select 'pg_proc'::regclass, s.function, s.classid, s.objid, 0, s.classid = 'pg_class'::regclass, s.classid = 'pg_class'::regclass and s.objid not in (select oid from mine)
  from said s
  union all
  select 'pg_type'::regclass, t.oid, 'pg_cast'::regclass, k.oid, 0, false, false
  from pg_cast k join pg_type t on t.oid in (k.castsource, k.casttarget)
  where k.oid >= 16384
),

-- Every piece of what runs. `automatic`: whatever the API does with a table brings it along, by its `hook` (a trigger,
-- a default, a policy, an index, a column's type…); else the API has to call it. `within` is the function with other
-- rights that is running then, `reader` the view whose owner's rights decide what it reads.
piece (classid, objid, automatic, hookclass, hook, within, reader) as (
  select r.classid, r.objid, r.automatic, 0::oid, 0::oid, r.within, 0::oid
  from (
    select 'pg_class'::regclass::oid as classid, oid as objid, true as automatic, 0::oid as within
    from mine
    where relnamespace in (select oid from usable) or oid in (select oid from known)
    union
    select 'pg_proc'::regclass, p.oid, false, case when p.prosecdef then p.oid else 0 end
    from callable p
    where p.pronamespace in (select oid from usable) and (p.prosecdef or not p.is_authored)
    union
    select 'pg_proc'::regclass, oid, true, 0 from shadow
    -- A schema hides a function from who would name it, but not from who uses a cast, an operator or a domain.
    union
    select 'pg_operator'::regclass, oid, false, 0 from pg_operator
    where oid >= 16384 and oprnamespace in (select oid from usable)
    union
    select 'pg_type'::regclass, oid, false, 0 from pg_type
    where oid >= 16384 and typtype = 'd' and typnamespace in (select oid from usable)
    union
    select 'pg_cast'::regclass, oid, false, 0 from pg_cast where oid >= 16384
  ) r
  union
  select e.toclass, e.toid, p.automatic,
    case when not p.automatic or e.is_table then 0 when p.hook = 0 then e.toclass else p.hookclass end,
    case when not p.automatic or e.is_table then 0 when p.hook = 0 then e.toid else p.hook end,
    coalesce(f.oid, p.within), e.reader
  from piece p
  join edge e on e.classid = p.classid and e.objid = p.objid and (not e.by_right or p.within <> 0)
  left join pg_proc f on e.toclass = 'pg_proc'::regclass and f.oid = e.toid and f.prosecdef
  -- What is read with the rights of others is not looked into: whether they may read it says all.
  where p.classid <> 'pg_class'::regclass or p.within = 0 and p.reader = 0
),

-- Relations that the API works with by its own rights, and the partitions and children of them.
reached as materialized (
  select c.oid, c.relkind, c.relnamespace, c.relowner, c.relrowsecurity, c.relforcerowsecurity,
    format('%I.%I', n.nspname, c.relname) as name, k.oid is not null as is_known
  from pg_class c
  join pg_namespace n on n.oid = c.relnamespace
  left join known k on k.oid = c.oid
  where c.relkind in ('r', 'p', 'f', 'v', 'm')
    and c.oid in (select objid from piece where classid = 'pg_class'::regclass and within = 0 and reader = 0)
    and c.oid in (select oid from mine)
),

touched as (
  select r.oid, r.oid as root from reached r
  union
  select i.inhrelid, t.root from touched t join pg_inherits i on i.inhparent = t.oid
),

-- The functions among the pieces, and what they say.
code as materialized (
  select p.oid, p.prosecdef, p.proowner, pg_get_userbyid(p.proowner) as owner_name, p.proacl is null as is_public, p.proconfig,
    p.prokind, p.prosrc, p.prorettype = 'trigger'::regtype as is_trigger, l.lanname, l.lanpltrusted,
    format('%I.%I(%s)', n.nspname, p.proname, oidvectortypes(p.proargtypes)) as name,
    coalesce(b.code, pg_get_function_sqlbody(p.oid), '') as body,
    exists (select from unnest(p.proconfig) c where c like 'search\_path=%') as has_path,
    m.objid is not null as is_authored,
    asked.is_tasks and n.nspname = 'app' and p.proname in ('current_user_id', 'next_task_id', 'trimmed', 'local_time', 'tags', 'are_tags',
      'schema_version', 'insert_task', 'create_task_once', 'refuse_recount', 'stamp_task', 'touch_task') as is_migrated
  from asked
  cross join pg_proc p
  join pg_namespace n on n.oid = p.pronamespace
  join pg_language l on l.oid = p.prolang
  left join body b on b.oid = p.oid
  left join authored m on m.classid = 'pg_proc'::regclass and m.objid = p.oid
  where p.oid = any (array(select objid from piece where classid = 'pg_proc'::regclass))
),

-- How they come to run: each automatic one with the table and the hook that brings it along, and SQL to unhook it.
hook (hookclass, hook, table_oid, what, unhook) as materialized (
  select 'pg_trigger'::regclass::oid, t.oid, t.tgrelid, format('trigger %I', t.tgname), format('drop trigger if exists %I on %s;', t.tgname, t.tgrelid::regclass)
  from pg_trigger t
  where not t.tgisinternal
  union all
  select 'pg_attrdef'::regclass, d.oid, d.adrelid, format('the default of %I', a.attname),
    format(case when a.attgenerated = '' then 'alter table %s alter column %I drop default;' else 'alter table %s drop column %I;' end, d.adrelid::regclass, a.attname)
  from pg_attrdef d join pg_attribute a on a.attrelid = d.adrelid and a.attnum = d.adnum
  union all
  select 'pg_constraint'::regclass, k.oid, k.conrelid, format('constraint %I', k.conname), 
    case when k.coninhcount = 0 then format('alter table %s drop constraint if exists %I;', k.conrelid::regclass, k.conname) else '-- goes with that of its parent' end
  from pg_constraint k
  where k.conrelid <> 0 and k.contype <> 'f'
  union all
  select 'pg_policy'::regclass, y.oid, y.polrelid, format('policy %I', y.polname), null from pg_policy y
  union all
  select 'pg_rewrite'::regclass, w.oid, w.ev_class, 'its definition', null from pg_rewrite w where w.oid >= 16384
  union all
  select 'pg_class'::regclass, i.indexrelid, i.indrelid, format('index %s', i.indexrelid::regclass), format('drop index if exists %s;', i.indexrelid::regclass)
  from pg_index i
  where i.indexrelid in (select p.hook from piece p where p.hookclass = 'pg_class'::regclass)
  union all
  select 'pg_statistic_ext'::regclass, s.oid, s.stxrelid, format('statistics %I', s.stxname), format('drop statistics if exists %s.%I;', s.stxnamespace::regnamespace, s.stxname)
  from pg_statistic_ext s
  union all
  select 'pg_proc'::regclass, d.refobjid, d.objid, 'the partition key', null
  from pg_depend d
  where d.refclassid = 'pg_proc'::regclass and d.refobjid >= 16384 and d.classid = 'pg_class'::regclass
  union all
  select 'pg_type'::regclass, a.atttypid, a.attrelid, format('column %I of type %s', a.attname, a.atttypid::regtype),
    (select string_agg(format('alter domain %s drop constraint if exists %I;', k.contypid::regtype, k.conname), ' ') from pg_constraint k where k.contypid = a.atttypid)
  from pg_attribute a
  where a.atttypid >= 16384 and a.attrelid in (select oid from touched)
),

hooked as materialized (
  select distinct p.classid, p.objid, p.within, p.hookclass, p.hook, coalesce(h.table_oid, 0) as table_oid,
    coalesce(h.what, lower(pg_describe_object(p.hookclass, p.hook, 0))) as what, c.name as table_name, h.unhook
  from piece p
  left join hook h on h.hookclass = p.hookclass and h.hook = p.hook
  left join (
    select c.oid, format('%I.%I', n.nspname, c.relname) as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
  ) c on c.oid = h.table_oid
  where p.automatic and p.hook <> 0
    and p.classid in ('pg_proc'::regclass, 'pg_type'::regclass, 'pg_operator'::regclass, 'pg_opclass'::regclass,
      'pg_opfamily'::regclass, 'pg_collation'::regclass, 'pg_statistic_ext'::regclass)
),

-- 6. Expressions: what a policy, a default or the identity function comes to ------------------------------------

-- Expressions are judged by their parsed form, where every name is resolved. Each is reduced from the inside out to one
-- word, a level at a time: the innermost nodes {…} are marked «…», the rules are tried on them in turn, and the last
-- rules take whatever none of the others knew. So user_id = (select app.current_user_id()) and length(title) > 3 goes:
--
--   {BOOLEXPR :boolop and :args ({OPEXPR :opno 98 … :args ({VAR … 2 …} {SUBLINK … {QUERY … {FUNCEXPR :funcid 16506 …}}})}
--                                {OPEXPR :opno 521 … :args ({FUNCEXPR :funcid 1317 … {VAR … 3 …}} {CONST …})})}
--   {BOOLEXPR … and ({OPEXPR 98 (<row 2> {SUBLINK … {QUERY … <me>}})} {OPEXPR 521 ({FUNCEXPR 1317 <row 3>} <const>)})}
--   {BOOLEXPR … and ({OPEXPR 98 (<row 2> {SUBLINK … <me>})} {OPEXPR 521 (<leak> <const>)})}      length is not leakproof
--   {BOOLEXPR … and ({OPEXPR 98 (<row 2> <me>)} <leak>)}
--   {BOOLEXPR … and (<identity 2> <leak>)}
--   <leaking 2>
--
--   <me>          the user: what the identity function answers, or its expression spelled out
--   <setting>     the raw setting: an empty one, left behind by an earlier transaction, is somebody here
--   <claims>      the setting as JSON
--   <row 2>       column 2 of the row
--   <identity 2>  true only where column 2 is the user; <leaking 2> the same, but a function sees rows that could tell
--   <no>          false or null
--   <const>       anything in which no column is; <some> anything else; <leak> anything else, seen by what could tell
--
-- In a pattern … is the rest of a node, N a number, and EQUALS PostgreSQL's own equality of text, uuid and integers.
reduces (step, begins, pattern, word) as materialized (
  select row_number() over (), '«' || substring(r.pattern from '^[A-Z]*'),
    replace(replace(replace(replace('«' || r.pattern || ' …»', ' … ', ' (?:[^«»]* )?'), '…', '[^«»]*'), 'EQUALS', '(?:98|2972|96|410|15|416)'), 'N>', '([0-9]+)>'), r.word
  from asked
  left join identity_function f on true
  cross join lateral (values
    -- leaves
    (format('FUNCEXPR :funcid %s … :args <>', coalesce(f.oid, 0)), '<me>'),
    ('VAR :varno 1 :varattno (-?[0-9]+) … :varlevelsup 0', E'<row \\1>'),
    ('VAR', '<some>'),
    ('CONST :consttype 16 … :constvalue (<>|1 \[ 0[ 0]*\])', '<no>'),
    ('CONST :consttype 25 … :constvalue ' || (select n.tree from spelled n where n.word = asked.setting limit 1), '<name>'),
    ('CONST :consttype 25 … :constvalue ' || (select n.tree from spelled n where n.word = asked.claim limit 1), '<claim>'),
    ('CONST :consttype 25 … :constvalue 4', '<blank>'),
    ('CONST', '<const>'),
    -- who the user is: current_setting, nullif, casts that fail on what is none, ->>, coalesce, collate, (select …)
    ('FUNCEXPR :funcid (2077|3294) … :args \(<name>( <(const|no)>)?\)', '<setting>'),
    ('NULLIFEXPR :opno 98 … :args \((<setting>|<me>) <blank>\)', '<me>'),
    ('COERCEVIAIO :arg (<setting>|<me>) :resulttype (114|3802)', '<claims>'),
    ('OPEXPR :opno (3963|3477) … :args \(<claims> <claim>\)', '<me>'),
    ('COERCEVIAIO :arg (<setting>|<me>) :resulttype (20|21|23|2950)', '<me>'),
    ('COALESCEEXPR … :args \(<me>( <me>)*\)', '<me>'),
    ('FUNCEXPR :funcid 669 … :args \(<me> <const> <no>\)', '<me>'), -- to varchar(255), or an error
    ('(?:RELABELTYPE|COLLATEEXPR|COERCETODOMAIN) :arg <(me|setting|row -?[0-9]+)>', E'<\\1>'),
    ('FROMEXPR :fromlist <> :quals <>', '<nowhere>'),
    ('TARGETENTRY :expr <me>', '<answer>'),
    ('QUERY … :cteList <> :rtable <> … :jointree <nowhere> … :targetList \(<answer>\)', '<me>'),
    ('SUBLINK :subLinkType 4 … :subselect <me>', '<me>'),
    -- whether the row is the user's: =, in (select …), = any (array[…]), is not distinct from
    ('OPEXPR :opno EQUALS … :args \(<row N> <me>\)', E'<identity \\1>'),
    ('OPEXPR :opno EQUALS … :args \(<me> <row N>\)', E'<identity \\1>'),
    ('PARAM :paramkind 2', '<listed>'),
    ('OPEXPR :opno EQUALS … :args \(<row N> <listed>\)', E'<listed \\1>'),
    ('SUBLINK :subLinkType 2 … :testexpr <listed N> … :subselect <me>', E'<identity \\1>'),
    ('ARRAYEXPR … :elements \(<me>\)', '<only me>'),
    ('SCALARARRAYOPEXPR :opno EQUALS … :useOr true … :args \(<row N> <only me>\)', E'<identity \\1>'),
    ('DISTINCTEXPR :opno EQUALS … :args \(<row N> <me>\)', E'<other than \\1>'),
    ('BOOLEXPR :boolop not :args \(<other than N>\)', E'<identity \\1>'),
    -- what keeps that: and beside whatever else; or, case and coalesce among their kind
    ('BOOLEXPR :boolop and :args \((?=…<leak)…<(?:identity|leaking) N>…\)', E'<leaking \\1>'),
    ('BOOLEXPR :boolop and :args \(…<identity N>…\)', E'<identity \\1>'),
    ('BOOLEXPR :boolop or :args \((?:<no> )*<identity N>(?: <identity \1>| <no>)*\)', E'<identity \\1>'),
    ('BOOLEXPR :boolop or :args \((?:<no> )*<(?:identity|leaking) N>(?: <(?:identity|leaking) \1>| <no>)*\)', E'<leaking \\1>'),
    ('BOOLEANTEST :arg <(identity|leaking) N> :booltesttype 0', E'<\\1 \\2>'),
    ('COALESCEEXPR … :args \(<(identity|leaking) N>( <no>)+\)', E'<\\1 \\2>'),
    ('CASEWHEN :expr <identity N> :result <(?!leak)[^<>]*>', E'<identity \\1>'),
    ('CASEWHEN :expr <(?!leak)[^<>]*> :result <identity N>', E'<identity \\1>'),
    ('CASEWHEN :expr <(?!leak)[^<>]*> :result <no>', '<no>'),
    ('CASEEXPR … :arg <> :args \((?:<no> )*<identity N>(?: <identity \1>| <no>)*\) :defresult (<no>|<>|<identity \1>)', E'<identity \\1>'),
    -- whatever else: whether a column is in it, and whether what sees the column could tell
    ('…<leak…', '<leak>'),
    (format('(FUNCEXPR|[A-Z]+EXPR :opno [0-9]+) :(op)?funcid (%s) …<(row|some|identity|other|listed)…',
      (select string_agg(oid::text, '|') from sealed)), '<some>'),
    ('(FUNCEXPR|OPEXPR|SCALARARRAYOPEXPR|NULLIFEXPR|DISTINCTEXPR|COERCEVIAIO|ARRAYCOERCEEXPR|AGGREF|JSON[A-Z]*|XMLEXPR) '
      '…<(row|some|identity|other|listed)…', '<leak>'),
    ('…<(row|some|identity|other|listed)…', '<some>'),
    ('…', '<const>')
  ) as r (pattern, word)
),

-- How the names of the setting and of its claim stand in a tree: length, header and bytes.
spelled as materialized (
  select w.word, format('%s \[( -?[0-9]+){4}%s \]', octet_length(w.word) + 4,
    (select string_agg(' ' || get_byte(convert_to(w.word, 'UTF8'), i), '' order by i) from generate_series(0, octet_length(w.word) - 1) i)) as tree
  from asked cross join lateral (values (asked.setting), (asked.claim)) as w (word)
),

expression as materialized (
  select e.kind, e.oid, e.relid, e.clause,
    -- Escapes go first: no name can forge a node. So does what would make equal expressions differ.
    regexp_replace(regexp_replace(translate(e.tree, '«»', '__'), E'\\\\.', '_', 'g'), '( :location -?[0-9]+)? ?[}]', ' }', 'g') as tree
  from (
    select 'policy' as kind, p.oid, p.polrelid as relid, c.clause, c.tree::text as tree
    from reached r
    join pg_policy p on p.polrelid = r.oid
    cross join lateral (values
      ('using', case when p.polcmd <> 'a' then p.polqual end),
      ('with check', case when p.polcmd in ('a', 'w', '*') then coalesce(p.polwithcheck, p.polqual) end)
    ) as c (clause, tree)
    where p.polroles && array(select oid from grantee) and c.tree is not null
    union all
    select 'default', d.oid, d.adrelid, null, d.adbin::text from reached r join pg_attrdef d on d.adrelid = r.oid
    union all
    select 'body', p.oid, null, null, p.prosqlbody::text from pg_proc p join identity_function i on i.oid = p.oid
    union all
    -- those of other roles, under whose rights a function or a view of theirs may read
    select 'other', p.oid, p.polrelid, 'using', p.polqual::text
    from pg_policy p
    where p.polpermissive and p.polcmd in ('r', '*') and not p.polroles && array(select oid from grantee)
      and p.polrelid = any (array(select objid from piece where classid = 'pg_class'::regclass and (within <> 0 or reader <> 0)))
  ) e
),

-- Equal under a collation that takes different strings for equal is not equal.
distinct_tree as materialized (
  select t.tree as original, regexp_replace(t.tree, ':opno (98)( [^{}]*:inputcollid '
      || format('(%s) )', coalesce((select string_agg(oid::text, '|') from pg_collation where not collisdeterministic), 'none')),
    E':opno 0\\2', 'g') as tree
  from (select distinct tree from expression where tree is not null) t
),

reduction (original, step, tree) as (
  select original, 0::bigint, tree from distinct_tree
  union all
  select d.original, n.step,
    case
      when n.step = 1 then regexp_replace(d.tree, '[{]([^{}]*)[}]', E'«\\1»', 'g')
      when position(u.begins in d.tree) = 0 then d.tree -- there are more patterns than PostgreSQL keeps compiled
      else regexp_replace(d.tree, u.pattern, u.word, 'g')
    end
  from reduction d
  -- Where nothing is marked, the next level is.
  cross join lateral (select case when d.tree like '%«%' then d.step + 1 else 1 end as step) n
  left join reduces u on u.step = n.step - 1
  where d.tree ~ '[{«]'
),

verdict as materialized (
  select e.kind, e.oid, e.relid, e.clause, btrim(d.tree, '() ') as word,
    substring(d.tree from '<(?:identity|leaking) ([0-9]+)>')::integer as attnum, d.tree ~ '<leak' as leaks
  from expression e
  join reduction d on d.original = e.tree and d.tree !~ '[{«]'
),

-- Leakproof functions of PostgreSQL 15 to 18: what initdb makes so. No name tells: textregexeq is not one of them.
sealed as materialized (
  select p.oid
  from pg_proc p
  where p.proleakproof
    and p.oid = any (regexp_split_to_array('56 57 60 61 62 63 64 65 66 67 68 69 70 72 73 74 84 144 145 146 147 148 149 150 151 157 158 159 160 161 162
      163 164 165 166 167 168 169 184 185 235 236 240 241 242 243 244 245 246 247 248 249 250 251 252 253 287
      288 289 290 291 292 293 294 295 296 297 298 299 300 301 302 303 304 305 306 307 308 309 310 311 313 316
      318 350 351 354 355 356 358 359 360 377 404 406 407 409 458 459 467 468 469 470 471 472 474 475 476 477
      478 479 481 482 619 652 655 656 657 658 659 677 678 679 680 681 716 717 740 741 742 743 754 830 831 832
      833 834 835 836 842 852 853 854 855 856 857 888 889 890 891 892 893 920 921 922 923 924 925 926 999 1048
      1049 1050 1051 1052 1053 1063 1064 1078 1086 1087 1088 1089 1090 1091 1092 1102 1103 1104 1105 1106 1107
      1145 1152 1153 1154 1155 1156 1157 1162 1163 1164 1165 1166 1167 1246 1265 1288 1292 1314 1315 1319 1352
      1353 1354 1355 1356 1357 1358 1370 1400 1401 1462 1463 1464 1465 1466 1467 1482 1483 1484 1485 1486 1581
      1582 1592 1593 1594 1595 1596 1638 1639 1666 1667 1668 1669 1670 1671 1672 1691 1692 1693 1740 1742 1743
      1781 1782 1850 1851 1852 1853 1854 1855 1856 1857 1858 1859 1860 1861 1948 1949 1950 1951 1952 1953 1954
      2045 2052 2053 2054 2055 2056 2057 2160 2161 2163 2164 2166 2174 2175 2177 2178 2180 2188 2189 2190 2191
      2192 2193 2194 2195 2311 2321 2557 2558 2790 2791 2792 2793 2794 2954 2955 2956 2957 2958 2959 2960 3231
      3232 3233 3234 3235 3236 3251 3308 3309 3419 3420 3421 3422 3432 3696 4113 4114 4115 4116 4117 4118 4119
      4123 5034 5035 5036 5037 5084 5085 5096 6342 6343 6364 6365 6367 6368 6369 6393 6394', '\s+')::oid[])
),

-- 7. Whose rows: the column that says it, and the policies ------------------------------------------------------

-- By its name; else by its key to the known users; else by its default; else by the policies themselves.
owner_of as materialized (
  select t.oid as table_oid, t.root, a.attnum, a.attname, a.attnotnull, a.atttypid, a.attcollation, k.oid is not null as is_known
  from touched t
  left join known k on k.oid = t.root
  cross join lateral (
    select coalesce(
      (select u.attname from pg_attribute u where u.attrelid = t.root and u.attname = k.owner_column and not u.attisdropped),
      (select min(u.attname::text) from pg_attribute u
       where u.attrelid = t.root and u.attname in (select o.attname from owner_name o where o.relname = '') and not u.attisdropped),
      (select min(u.attname::text)
       from pg_constraint f
       join known ku on ku.oid = f.confrelid and ku.owner_column = 'id'
       join pg_attribute u on u.attrelid = f.conrelid and u.attnum = f.conkey[1]
       where f.conrelid = t.root and f.contype = 'f' and cardinality(f.conkey) = 1),
      (select min(u.attname::text)
       from verdict v join pg_attrdef d on d.oid = v.oid join pg_attribute u on u.attrelid = d.adrelid and u.attnum = d.adnum
       where v.kind = 'default' and v.word = '<me>' and v.relid = t.root),
      (select min(u.attname::text)
       from verdict v join pg_attribute u on u.attrelid = v.relid and u.attnum = v.attnum
       where v.kind = 'policy' and v.relid = t.root)
    ) as attname
  ) o
  join pg_attribute a on a.attrelid = t.oid and a.attname = o.attname and not a.attisdropped
),

-- A policy that asks for the parent's row, by a whole unique key of it: what that row's own policies let through, and
-- no more, counts. By the text that PostgreSQL gives of it, which is clear where all its operators and functions are
-- PostgreSQL's own.
parent as materialized (
  select v.oid, v.clause, v.relid as child, m.parent,
    array(select a.attnum from pg_attribute a where a.attrelid = v.relid and a.attname = any (j.child_columns)) as child_key,
    array(select a.attnum from pg_attribute a where a.attrelid = m.parent and a.attname = any (j.parent_columns)) as parent_key
  from verdict v
  join pg_policy p on p.oid = v.oid
  join pg_class c on c.oid = v.relid
  cross join lateral (
    select min(d.refobjid) as parent
    from pg_depend d
    where d.classid = 'pg_policy'::regclass and d.objid = v.oid and d.refclassid = 'pg_class'::regclass and d.refobjid <> v.relid
    having count(distinct d.refobjid) = 1
  ) m
  cross join lateral (
    select regexp_replace(replace(pg_get_expr(case v.clause when 'using' then p.polqual else coalesce(p.polwithcheck, p.polqual) end, p.polrelid), '"', ''),
      '\s+', ' ', 'g') as said
  ) x
  cross join lateral (
    select array_agg(case when e.part[1] = c.relname then e.part[2] else e.part[4] end) as child_columns,
      array_agg(case when e.part[1] = c.relname then e.part[4] else e.part[2] end) as parent_columns
    from regexp_matches(x.said, '([\w$]+)\.([\w$]+) = ([\w$]+)\.([\w$]+)', 'g') as e (part)
    where (e.part[1] = c.relname) <> (e.part[3] = c.relname)
  ) j
  where v.kind = 'policy' and v.attnum is null
    and x.said ~ '^\(?EXISTS \( SELECT [^()]*FROM [\w$.]+( [\w$]+)? WHERE [^|]*\)\)?$'
    and x.said !~ ' (OR|NOT|CASE|UNION|JOIN|GROUP|LIMIT|OPERATOR) |OPERATOR\('
    and not exists (
      select from pg_depend d
      where d.classid = 'pg_policy'::regclass and d.objid = v.oid
        and (d.refclassid = 'pg_operator'::regclass
          or d.refclassid = 'pg_proc'::regclass and d.refobjid not in (select oid from identity_function))
    )
),

-- Each policy clause that applies to the API, for each command it is asked for.
clause as materialized (
  select p.oid, p.polname, p.polrelid, p.polcmd, p.polpermissive, v.clause, c.cmd, v.leaks,
    0 = any (p.polroles) or api.oid = any (p.polroles) as is_for_api,
    coalesce((v.relid, v.attnum) in (select table_oid, attnum from owner_of where table_oid = root), false) as is_identity,
    exists (
      select from parent a join pg_index x on x.indrelid = a.parent
      where a.oid = v.oid and a.clause = v.clause and x.indisunique and x.indpred is null and x.indexprs is null
        and (x.indkey::int2[])[0:x.indnkeyatts - 1] <@ a.parent_key
        -- Whatever guards the parent guards the child.
        and exists (select from pg_class t where t.oid = a.parent and t.relrowsecurity and t.oid in (select oid from reached))
        and not exists (
          select from verdict w join pg_policy g on g.oid = w.oid
          where w.relid = a.parent and w.kind = 'policy' and w.clause = 'using' and g.polpermissive and g.polcmd in ('r', '*')
            and w.attnum is null and w.oid not in (select oid from parent)
        )
    ) as asks_parent
  from verdict v
  cross join api
  join pg_policy p on p.oid = v.oid
  join (values ('r', 'using'), ('a', 'with check'), ('w', 'using'), ('w', 'with check'), ('d', 'using')) as c (cmd, clause)
    on c.clause = v.clause and p.polcmd::text in ('*', c.cmd)
  where v.kind = 'policy'
),

-- Tables that hold nobody's rows: the API may only read them, they name no owner, belong to no row that does, and look
-- like none of the tables that have one.
lookup as materialized (
  select r.oid
  from reached r
  where r.relkind in ('r', 'p') and r.relrowsecurity and not r.is_known
    and r.oid not in (select oid from right_on where privilege <> 'SELECT')
    and r.oid not in (select table_oid from owner_of)
    and exists (select from right_on g where g.oid = r.oid)
    and not exists (select from pg_inherits i where r.oid in (i.inhparent, i.inhrelid))
    and not exists (
      select from pg_policy p join pg_depend d on d.classid = 'pg_policy'::regclass and d.objid = p.oid
      where p.polrelid = r.oid and d.refclassid = 'pg_class'::regclass and d.refobjid <> r.oid
    )
    and not exists (
      select from pg_constraint f
      where f.conrelid = r.oid and f.contype = 'f' and f.confrelid in (select table_oid from owner_of)
    )
    and not exists (
      select from pg_attribute a
      join pg_attribute b on b.attname = a.attname and b.atttypid = a.atttypid and b.attrelid in (select oid from known)
      where a.attrelid = r.oid and a.attnum > 0 and b.attnum > 0 and a.atttypid = 'text'::regtype
    )
),

-- 8. Rights of others: does a function or a view that runs with them get past row security? ---------------------

-- Roles that need no grant: they pass row security, or can give themselves whatever they lack.
strong as materialized (
  select r.oid
  from pg_roles r
  where r.rolsuper or r.rolbypassrls or r.rolcreaterole or r.rolreplication
    or exists (
      select from pg_roles p
      where p.rolname in ('pg_read_all_data', 'pg_write_all_data', 'pg_read_server_files', 'pg_write_server_files',
        'pg_execute_server_program', 'pg_maintain') and pg_has_role(r.oid, p.oid, 'usage')
    )
),

-- Whose rights decide, over which relation; is it more than the policies of the caller let through?
borrowed as materialized (
  select b.within, b.reader, b.owner, c.oid, c.relkind, format('%I.%I', n.nspname, c.relname) as name,
    c.oid in (select oid from mine) as is_mine, c.relnamespace in (select oid from usable) as is_usable,
    c.oid not in (select oid from lookup)
    and case
      when c.oid < 16384 then not has_table_privilege(api.oid, c.oid, 'select') and b.reader >= 16384
      when c.relkind not in ('r', 'p', 'f', 'm') then b.reader = 0
      when b.owner in (select oid from strong) then true
      when not c.relrowsecurity or c.relkind in ('f', 'm') then pg_has_role(b.owner, c.relowner, 'usage')
        or has_any_column_privilege(b.owner, c.oid, 'select, insert, update') or has_table_privilege(b.owner, c.oid, 'delete')
      else pg_has_role(b.owner, c.relowner, 'usage') and not c.relforcerowsecurity
        or (pg_has_role(b.owner, c.relowner, 'usage') or has_any_column_privilege(b.owner, c.oid, 'select, update'))
          and exists (
            select from pg_policy p join verdict v on v.oid = p.oid and v.kind in ('policy', 'other') and v.clause = 'using'
            where p.polrelid = c.oid and p.polpermissive and v.attnum is null
              and exists (select from unnest(p.polroles) as g where g = 0 or pg_has_role(b.owner, g, 'usage'))
          )
    end as is_past
  from (
    select distinct p.within, p.reader, coalesce(v.relowner, f.proowner) as owner, p.objid
    from piece p
    left join pg_class v on v.oid = nullif(p.reader, 0)
    left join pg_proc f on f.oid = p.within
    where p.classid = 'pg_class'::regclass and (p.within <> 0 or p.reader <> 0)
  ) b
  cross join api
  join pg_class c on c.oid = b.objid and c.relkind in ('r', 'p', 'f', 'm', 'v')
  join pg_namespace n on n.oid = c.relnamespace
),

-- What a body does besides reading and writing tables.
deed as materialized (
  select c.oid, w.kind, w.what
  from code c
  cross join asked
  cross join lateral (values
    ('names', 'sets who the user is or how row security works: what follows runs as somebody else',
      c.body ~* format('set_config\s*\(\s*(''(%1$s|%2$s)''|[^''\s])|\yset\s+((local|session)\s+)?(%1$s|%2$s|session\s+authorization)\y',
        regexp_replace(asked.setting, '\W', '[\&]', 'g'), 'role|session_authorization|row_security|session_replication_role')),
    ('tells', 'tells every listening session about it: users see what others do', c.body ~* '\y(pg_)?notify\y' or c.prosrc = 'triggered_change_notification'),
    ('carries', 'carries rows out of the tables: to large objects, files, programs or other servers, where no policy holds',
      c.body ~* '\y(lo_\w+|loread|lowrite|dblink\w*|pg_(read|write)\w*_file\w*|pg_file_write|copy\s|pg_logical_emit_message)\y|\ycopy\y'),
    ('is dynamic', 'runs SQL that it puts together itself', c.body ~* '\yexecute\y' or c.lanname not in ('sql', 'plpgsql', 'internal', 'c'))
  ) as w (kind, what, does)
  where w.does
),

-- Functions that run with the rights of their owner, and more than the API has. As a trigger one may keep a log where
-- the API does not come: that is no way to another user's row.
definer as materialized (
  select c.oid, c.name, c.owner_name, c.is_public, c.has_path, c.is_migrated, p.automatic, b.names
  from code c
  join (select distinct objid, automatic from piece where classid = 'pg_proc'::regclass) p on p.objid = c.oid
  left join lateral (
    select string_agg(distinct x.name, ', ') filter (where x.is_past) as names,
      coalesce(bool_or(x.is_past), false) as is_past,
      coalesce(bool_or(x.is_mine or x.is_usable and not c.has_path), false) as is_near
    from borrowed x where x.within = c.oid
  ) b on true
  where c.prosecdef and (not c.is_authored or b.is_past and b.is_near)
    and (p.automatic or c.oid in (select oid from callable))
    and case
      when c.proowner in (select oid from self) then false
      when c.is_trigger then (b.is_near or exists (select from deed d where d.oid = c.oid))
        and (b.is_past or c.proowner in (select oid from strong))
      when c.proowner in (select oid from strong) then true
      else b.is_past or exists (select from deed d where d.oid = c.oid and d.kind = 'is dynamic')
        and exists (
          select from pg_class t
          where t.relkind in ('r', 'p', 'f', 'm', 'v') and t.oid >= 16384
            and (pg_has_role(c.proowner, t.relowner, 'usage') or has_any_column_privilege(c.proowner, t.oid, 'select, insert, update'))
        )
    end
),

-- 9. The checks, one each, named as its check_name --------------------------------------------------------------

missing as materialized (
  select 'hole' as severity, m.object,
    format('%s does not exist: this is no database of this API, or its migrations were not applied', m.object) as finding,
    '-- make migrate' as remedy
  from (
    select format('role %I', role) as object from asked where not exists (select from api)
    union all
    select format('schema %I', home) from asked where not is_tasks and not exists (select from home)
    union all
    select format('table %I.%I', asked.home, k.relname)
    from asked cross join owner_name k
    where k.relname <> '' and k.relname not in (select relname from known)
    union all
    select format('function %s()', rtrim(identity, '()')) from asked
    where identity is not null and not exists (select from identity_function)
  ) m
),

role_attribute as materialized (
  select 'hole', s.way,
    format('%s has the attribute %s: it %s',
      case when s.is_api then 'the API role' else 'the API role can become this role, which' end, a.attribute, a.danger),
    format('alter role %I no%s;', s.rolname, lower(a.attribute))
  from self s
  join pg_roles r on r.oid = s.oid
  cross join lateral (values
    (r.rolsuper, 'SUPERUSER', 'passes every check, row security included, and reads and changes every user''s rows'),
    (r.rolbypassrls, 'BYPASSRLS', 'reads and changes every user''s rows, as if there were no policy'),
    (r.rolcreaterole, 'CREATEROLE', 'can make roles, and grant itself others, that see more than one user'),
    (r.rolcreatedb, 'CREATEDB', 'can copy a template database, or make one in which nothing keeps users apart'),
    (r.rolreplication, 'REPLICATION', 'can read every user''s changes from the write-ahead log')
  ) as a (is_set, attribute, danger)
  where a.is_set and (s.is_api or s.rolname not like 'pg\_%')
),

role_membership as materialized (
  select 'hole', s.way,
    format('the API role is a member of %I, directly or through others: it can %s', s.rolname,
      coalesce(d.danger, 'use its privileges, and see and change what its policies and grants let through')),
    (select format('revoke %I from %I;', g.rolname, m.rolname) from pg_roles g, pg_roles m where m.oid = s.path[1] and g.oid = s.path[2])
  from self s
  left join (values
    ('pg_read_all_data', 'read every table, so the day a table lacks row security it reads every user''s rows'),
    ('pg_write_all_data', 'write to every table, whatever was granted'),
    ('pg_read_server_files', 'read the server''s files, among them the tables themselves'),
    ('pg_write_server_files', 'write the server''s files, and so take over the server'),
    ('pg_execute_server_program', 'run programs as the server, and so read and change every user''s rows'),
    ('pg_monitor', 'watch the statements and statistics of everybody else'),
    ('pg_read_all_stats', 'watch the statements and statistics of everybody else'),
    ('pg_read_all_settings', 'read settings that are hidden from others'),
    ('pg_stat_scan_tables', 'look into tables with monitoring functions, which ignore row security'),
    ('pg_signal_backend', 'cancel and end other users'' requests'),
    ('pg_checkpoint', 'slow down the server with checkpoints'),
    ('pg_maintain', 'lock every table, and count its rows with VACUUM VERBOSE'),
    ('pg_create_subscription', 'make subscriptions, which write past row security'),
    ('pg_use_reserved_connections', 'take the connections kept for administrators'),
    ('pg_database_owner', 'do what the owner of the database can')
  ) as d (rolname, danger) on d.rolname = s.rolname
  where not s.is_api
  union all
  select 'warning', format('%s -> %I', api.name, r.rolname),
    format('the API role is a member of %I: without the options to inherit, set or administer it this gives nothing yet, but one ALTER away it does', r.rolname),
    format('revoke %I from %s;', r.rolname, api.name)
  from membership m
  join api on api.oid = m.member
  join pg_roles r on r.oid = m.roleid
  where not (m.inherit_option or m.set_option or m.admin_option)
),

role_impersonation as materialized (
  select 'hole',
    (select string_agg(quote_ident(s.rolname), ' -> ' order by w.step desc)
     from unnest(i.path) with ordinality as w (oid, step) join pg_roles s on s.oid = w.oid),
    format('%I can become the API role, directly or through others, and then name any user in the setting and read their rows', r.rolname),
    format('revoke %s from %I;', api.name, f.rolname)
  from impersonator_path i
  cross join api
  join pg_roles r on r.oid = i.oid
  join pg_roles f on f.oid = i.path[2]
),

-- Rights of owners can't be revoked. Beyond 25 objects a role's list is cut: one is enough to act.
role_ownership as materialized (
  select 'hole', o.object,
    format('this %s belongs to %s: its owner can change it, grant it and switch its protection off', o.type,
      case when o.is_api then 'the API role' else format('%I, which the API role can become (%s)', o.rolname, o.way) end),
    case o.type
      when 'large object' then format('alter large object %s owner to %I;', o.object, o.heir)
      when 'database' then format('alter database %s owner to %I;', o.object, o.heir)
      else format('reassign owned by %I to %I;', o.rolname, o.heir) || coalesce(o.regrant, '')
    end
  from (
    select s.rolname, s.is_api, s.way, i.type, i.identity as object,
      -- An owner's grants go with the ownership.
      case when s.is_api then coalesce(
        (select format(' grant %s%s on %s to %I;', k.others, (
            select string_agg(format(', %s (%s)', lower(e.key), e.value), '') from jsonb_each_text(k.instead) e), i.identity, s.rolname)
          from decided k where i.type = 'table' and i.identity = format('app.%I', k.relname)),
        (select format(' grant execute on function %s to %I;', i.identity, s.rolname)
          from code c where i.type = 'function' and c.oid = d.objid and c.is_migrated and not c.is_trigger),
        (select format(' grant usage on schema %s to %I;', i.identity, s.rolname) from home where i.type = 'schema' and home.oid = d.objid)
      ) end as regrant,
      coalesce((
        select t.rolname from pg_roles t
        where t.oid in (select oid from trusted) and t.rolname !~ '^pg_' and t.oid not in (select oid from self)
        order by t.oid = (select nspowner from home) desc, t.oid
        limit 1
      ), 'postgres') as heir,
      row_number() over (partition by s.oid order by i.schema is distinct from (select nspname::text from home), i.identity) as place
    from pg_shdepend d
    join self s on s.oid = d.refobjid
    cross join lateral pg_identify_object(d.classid, d.objid, d.objsubid) i
    where d.refclassid = 'pg_authid'::regclass and d.deptype = 'o'
      and d.dbid in (0, (select oid from pg_database where datname = current_database()))
      and coalesce(i.schema, '') !~ '^pg_(toast_)?temp'
      and i.identity is not null
      and i.type not in ('toast table', 'index')
  ) o
  where o.place <= 25
),

role_limit as materialized (
  select 'warning', api.name, format('the API role has no %s: %s', l.name, l.danger),
    format('alter %s set %s = %L;', case when e.place like 'role ' || api.name || '%' then e.place else 'role ' || api.name end, l.name, l.value)
  from (values
    ('statement_timeout', '5s', 'one statement can keep a connection, and everybody who waits for it, busy for ever'),
    ('lock_timeout', '2s', 'requests queue without end behind somebody''s lock'),
    ('idle_in_transaction_session_timeout', '10s', 'a client that stalls in a transaction keeps its locks for ever')
  ) as l (name, value, danger)
  cross join api
  left join lateral (
    select s.place, s.value from role_setting s where s.name = l.name order by s.rank desc limit 1
  ) e on true
  where e.value is null or e.value ~ '^0*[a-z]*$'
),

-- What the API's session relies on besides `watched`. To lack it opens no way to another user's row, and the API
-- refuses to start where it would break its contract. Each is judged by the setting that goes before the others.
session_setting (name, sound, danger) as materialized (
  values ('client_encoding', 'utf-?8|unicode', 'a session that does not ask for UTF-8 itself stores other text than it was sent'),
    ('timezone', '(etc/)?(utc|gmt)', 'a session that does not ask for UTC itself renders time stamps with another offset'),
    ('default_transaction_isolation', 'read committed', 'concurrent changes of one user are refused'),
    ('default_transaction_read_only', 'off?|f(alse)?|no?|0', 'every change is refused'),
    ('standard_conforming_strings', 'on|t(rue)?|y(es)?|1', 'a backslash in a string of SQL is no backslash'),
    ('synchronous_commit', '(on|true|yes|1|local|remote_\w+)', 'a change that was answered can be lost when the server crashes'),
    ('fsync', 'on', 'a crash of the machine can lose changes that were answered, and damage the database'),
    ('full_page_writes', 'on', 'a crash of the machine can damage the database')
),

session as materialized (
  select 'warning', s.object, format('%s = %s is set here: %s', e.name, s.value, e.danger), s.remedy
  from asked
  cross join session_setting e
  cross join lateral (
    select format('%s set %s', r.place, r.name) as object, r.value, r.rank, format('alter %s reset %s;', r.place, r.name) as remedy
    from role_setting r
    where r.name = e.name
    union all
    -- Not where a command line says so: that is a server started for a while.
    select format('configuration file: %s', c.name), c.setting, -1,
      format('alter system reset %s; select pg_reload_conf(); -- or take it out of the file', c.name)
    from pg_settings c
    where c.name = e.name and c.source = 'configuration file' and c.name in ('synchronous_commit', 'fsync', 'full_page_writes')
    order by rank desc
    limit 1
  ) s
  where asked.is_tasks and lower(s.value) !~ format('^(%s)$', e.sound)
  union all
  select 'warning', api.name, format('the %s of the API role is %s, longer than %s: %s', l.name, s.value, l.value, 'requests wait longer than their client does'),
    format('alter %s set %s = %L;', s.place, l.name, l.value)
  from asked
  cross join api
  cross join (values ('statement_timeout', '5s', 5000), ('lock_timeout', '2s', 2000), ('idle_in_transaction_session_timeout', '10s', 10000))
    as l (name, value, milliseconds)
  cross join lateral (
    select r.place, r.value, regexp_match(lower(r.value), '^ *([0-9.]+) *(us|ms|s|min|h|d|) *$') as part
    from role_setting r
    where r.name = l.name
    order by r.rank desc
    limit 1
  ) s
  where asked.is_tasks
    and s.part[1]::numeric * case s.part[2]
      when 'us' then 0.001 when 's' then 1000 when 'min' then 60000 when 'h' then 3600000 when 'd' then 86400000 else 1 end > l.milliseconds
  union all
  -- Characters from the row, or they would be folded where this is planned, in databases that lack them too.
  select 'warning', format('database %I', d.datname),
    'lower() folds ASCII alone in this database: a search for ärger misses ÄRGER',
    '-- dump it, and restore it into: create database … template template0 encoding ''UTF8'' locale ''C.UTF-8'''
  from asked
  join pg_database d on d.datname = current_database() and d.encoding = pg_char_to_encoding('UTF8')
  where asked.is_tasks and lower(chr(case when d.encoding >= 0 then 196 end)) <> chr(228)
),

-- Logins from outside, that nothing here holds back. The server's first superuser (10) is always there.
role_leftover as materialized (
  select 'warning', quote_ident(r.rolname),
    format('this login %s, and owns neither the database nor its schema: whoever has its password reads and changes every user''s rows', a.can),
    a.remedy
  from pg_roles r
  cross join lateral (values
    (r.rolsuper, 'is a superuser', format('alter role %I nosuperuser; -- or nologin', r.rolname)),
    (r.rolbypassrls and not r.rolsuper, 'bypasses row security', format('alter role %I nobypassrls; -- or nologin', r.rolname)),
    (not r.rolbypassrls and not r.rolsuper and exists (
        select from pg_roles b
        where (b.rolsuper or b.rolbypassrls) and pg_has_role(r.oid, b.oid, 'member')
      ),
      'can become a role that bypasses row security', format('alter role %I nologin; -- or revoke that role from it', r.rolname)),
    (r.rolcreaterole and not r.rolsuper and current_setting('server_version_num')::integer < 160000,
      'may grant itself every role that is no superuser (CREATEROLE, before PostgreSQL 16)', format('alter role %I nocreaterole;', r.rolname))
  ) as a (is_set, can, remedy)
  where r.rolcanlogin and a.is_set and r.oid <> 10
    and r.oid not in (select datdba from pg_database where datname = current_database())
    and r.oid not in (select nspowner from home)
    and r.oid not in (select oid from self)
),

row_security as materialized (
  select 'hole', r.name,
    'row security is off for this table, which the API role can reach: every user reads, and with the privilege for it changes, every other user''s rows',
    format('alter table %s enable row level security; alter table %1$s force row level security;', r.name)
  from reached r
  where r.relkind in ('r', 'p') and not r.relrowsecurity
),

row_security_not_forced as materialized (
  select 'hole', r.name,
    'row security is not forced for this table: whatever runs as its owner (a function, a view, a job) passes over every user''s rows',
    format('alter table %s force row level security;', r.name)
  from reached r
  where r.relkind in ('r', 'p') and r.relrowsecurity and not r.relforcerowsecurity
    and r.oid not in (select oid from lookup) and r.oid not in (select oid from shard)
),

-- Not so made: it came before sql/citus.sql was run for its server.
shard_unprepared as materialized (
  select 'warning', format('%I.%I', n.nspname, c.relname),
    'Citus cannot write to this shard for the API role, nor move it while it is written to: its users'' writes are refused',
    '-- on the coordinator: psql -X -d DATABASE -f sql/citus.sql'
  from shard
  join pg_class c on c.oid = shard.oid
  join pg_namespace n on n.oid = c.relnamespace
  cross join api
  where c.relkind = 'r' and (c.relforcerowsecurity or not has_table_privilege(api.oid, c.oid, 'insert'))
),

foreign_table as materialized (
  select 'hole', r.name,
    'the API role can reach this foreign table: its rows lie on another server, where no policy of this database holds',
    format('revoke all on %s from %s, public;', r.name, api.name)
  from reached r cross join api
  where r.relkind = 'f'
  union all
  select 'warning', format('%I.%I', n.nspname, c.relname),
    'this foreign table is a partition or child of a table that the API works with: users'' rows lie on another server, where no policy of this database holds',
    format('drop foreign table %I.%I; -- after moving its rows', n.nspname, c.relname)
  from pg_class c
  join pg_namespace n on n.oid = c.relnamespace
  where c.relkind = 'f' and c.oid in (select oid from touched) and c.oid not in (select oid from reached)
),

materialized_view as materialized (
  select 'hole', r.name,
    'the API role can reach this materialised view: it keeps a copy of the rows that its owner saw, without row security, which it cannot have',
    format('revoke all on %s from %s, public;', r.name, api.name)
  from reached r cross join api
  where r.relkind = 'm'
),

view as materialized (
  select 'hole', r.name,
    case when r.oid = v.reader then format('this view runs as its owner, not as whoever asks: through it the API role reaches what the owner sees of %s', v.names)
      else format('this view reads %s through %s, which runs as its owner: the API role reaches what that owner sees', v.names, v.reader_name)
    end,
    format('alter view %s set (security_invoker = true);', v.reader_name)
  from reached r
  join (
    select v.view, v.reader, string_agg(distinct b.name, ', ') as names, format('%I.%I', n.nspname, c.relname) as reader_name
    from view_reads v
    join borrowed b on b.reader = v.reader and b.oid = v.oid and b.within = 0 and b.is_past
    join pg_class c on c.oid = v.reader
    join pg_namespace n on n.oid = c.relnamespace
    where not exists (select from authored m where m.classid = 'pg_class'::regclass and m.objid = v.reader) or b.is_mine
    group by v.view, v.reader, n.nspname, c.relname
  ) v on v.view = r.oid
  union all
  select 'warning', r.name,
    'this view runs as its owner, not as whoever asks: only the views that it reads keep users apart',
    format('alter view %s set (security_invoker = true);', r.name)
  from reached r
  where r.oid in (select oid from view_as_owner)
    and exists (
      select from view_reads v
      where v.view = r.oid and v.reader <> r.oid and v.reader not in (select oid from view_as_owner)
        and v.oid in (select oid from mine) and v.oid not in (select oid from lookup)
    )
    and not exists (select from view_reads v join borrowed b on b.reader = v.reader and b.is_past where v.view = r.oid)
  union all
  select 'hole', r.name,
    format('this view reads %s, a copy of rows without row security: through it the API role can reach every user''s', m.oid::regclass),
    format('drop view %s;', r.name)
  from reached r
  join view_reads v on v.view = r.oid and v.reader not in (select oid from view_as_owner)
  join mine m on m.oid = v.oid and m.relkind = 'm'
),

rule as materialized (
  select 'hole', format('%I on %s', w.rulename, r.name),
    'a rule rewrites what is done with this relation, and what it adds runs as the relation''s owner: rows can be copied or changed past the policies',
    format('drop rule %I on %s;', w.rulename, r.name)
  from reached r
  join pg_rewrite w on w.ev_class = r.oid
  where w.rulename <> '_RETURN'
),

owner as materialized (
  select 'warning', r.name,
    format('this table belongs to %I, who owns neither the database nor its schema: they can switch its row security off', pg_get_userbyid(r.relowner)),
    format('alter table %s owner to %I;', r.name, home.owner_name)
  from reached r
  cross join home
  where r.relkind in ('r', 'p')
    and r.relowner not in (select oid from trusted)
    and r.relowner not in (select oid from self)
    and r.relowner <> (select n.nspowner from pg_namespace n where n.oid = r.relnamespace)
),

-- What the policy should say instead; where another one says it already, it only has to go.
policy_remedy as materialized (
  select p.oid,
    case when i.oid is not null and o.atttypid in ('text'::regtype, 'varchar'::regtype, 'uuid'::regtype, 'bigint'::regtype, 'integer'::regtype)
        and o.attcollation not in (select oid from pg_collation where not collisdeterministic)
        and (not p.polpermissive or (p.polrelid, p.polcmd::text) not in (
          select polrelid, unnest(array[cmd, '*']) from clause where polpermissive and is_identity and not leaks
        ))
      then format('alter policy %I on %s', p.polname, r.name)
        || case when p.polcmd <> 'a' then format(' using (%I = %s)', o.attname, i.oid::regprocedure) else '' end
        || case when p.polcmd in ('a', 'w', '*') then format(' with check (%I = %s)', o.attname, i.oid::regprocedure) else '' end
        || ';'
      else format('drop policy if exists %I on %s;', p.polname, r.name)
    end as remedy
  from pg_policy p
  join reached r on r.oid = p.polrelid
  left join owner_of o on o.table_oid = r.oid and o.root = r.oid
  left join identity_function i on true
),

policy as materialized (
  select 'hole', format('%I on %s', j.polname, r.name),
    format('this permissive policy applies to the API role and is not the identity test: it lets through what satisfies %s',
      string_agg(distinct format('%s %s', j.clause,
        coalesce(pg_get_expr(case j.clause when 'using' then p.polqual else coalesce(p.polwithcheck, p.polqual) end, p.polrelid, false), 'nothing')),
        ' and ')),
    min(m.remedy)
  from clause j
  join reached r on r.oid = j.polrelid
  join pg_policy p on p.oid = j.oid
  join policy_remedy m on m.oid = j.oid
  where j.polpermissive and not j.is_identity and not j.asks_parent
    and not (r.oid in (select oid from lookup) and j.cmd = 'r')
    and not (r.oid in (select oid from lookup) and j.polcmd = '*')
    -- Whatever it lets through, a restrictive identity test may hold back.
    and not exists (
      select from clause g
      where g.polrelid = j.polrelid and g.clause = j.clause and g.cmd = j.cmd and not g.polpermissive and g.is_identity and g.is_for_api
    )
  group by j.polname, r.name
),

-- PostgreSQL asks the cheaper side of an and first.
policy_leak as materialized (
  select case when bool_or(f.oid is not null) then 'hole' else 'warning' end, format('%I on %s', j.polname, r.name),
    format('beside the identity test this policy gives rows to %s, which is not leakproof: asked first, its errors and notices tell values of other users'' rows',
      coalesce(string_agg(distinct f.oid::regprocedure::text, ', '), 'a function of PostgreSQL')),
    min(m.remedy)
  from clause j
  join reached r on r.oid = j.polrelid
  join policy_remedy m on m.oid = j.oid
  left join (
    select d.objid as policy, c.oid
    from pg_depend d
    join code c on c.oid = d.refobjid
    where d.classid = 'pg_policy'::regclass and d.refclassid = 'pg_proc'::regclass
      and (c.lanname <> 'sql' or exists (select from deed e where e.oid = c.oid))
      and (c.lanname <> 'plpgsql' or c.body ~* '\y(raise|perform|insert|update|execute)\y|/|::')
      and c.oid not in (select oid from identity_function)
  ) f on f.policy = j.oid
  where j.leaks and (j.is_identity or not j.polpermissive)
  group by j.polname, r.name
),

policy_missing as materialized (
  select 'warning', r.name,
    format('%s is granted here, but no policy says on which rows: none while row security is on, all of them the day it is off', string_agg(u.privilege, ', ')),
    string_agg(
      case
        when o.attname is null or not asked.is_tasks then format('revoke %s on %s from %s;', lower(u.privilege), r.name, u.grantees)
        when q.polname is not null then format('alter policy %I on %s to tasks_api;', q.polname, r.name)
        else format('create policy %1$s_own on %2$s for %1$s to tasks_api %3$s (%4$I = app.current_user_id());',
          lower(u.privilege), r.name, case u.privilege when 'INSERT' then 'with check' else 'using' end, o.attname)
      end,
      ' ' order by u.privilege)
  from asked
  cross join right_on u
  join (values ('SELECT', 'r'), ('INSERT', 'a'), ('UPDATE', 'w'), ('DELETE', 'd')) as c (privilege, cmd) on c.privilege = u.privilege
  join reached r on r.oid = u.oid and r.relkind in ('r', 'p')
  left join owner_of o on o.table_oid = r.oid and o.root = r.oid
  left join pg_policy q on q.polrelid = r.oid and q.polname = lower(u.privilege) || '_own'
  where (u.oid, c.cmd) not in (select polrelid, cmd from clause where polpermissive)
  group by r.name
),

owner_column as materialized (
  select 'hole', format('%s.%I', r.name, o.attname), format('this column says whose a row is, but %s', w.wrong), w.remedy
  from reached r
  join owner_of o on o.table_oid = r.oid and o.root = r.oid
  join pg_type t on t.oid = o.atttypid
  cross join lateral (
    -- A column's type can't change under its policies.
    select coalesce(string_agg(format('drop policy if exists %I on %s;', p.polname, r.name), ' '), '') as drops
    from pg_policy p
    where p.polrelid = r.oid
  ) d
  cross join lateral (values
    (
      not o.attnotnull or exists (
        select from pg_constraint n
        where n.conrelid = o.table_oid and n.contype = 'n' and n.conkey = array[o.attnum] and not n.convalidated -- 18
      ),
      'may be null: such rows belong to nobody, and any test for null hands them to everybody',
      format('alter table %s alter column %I set not null;', r.name, o.attname)
    ),
    (
      coalesce(nullif(t.typbasetype, 0), t.oid)
        not in ('text'::regtype, 'varchar'::regtype, 'uuid'::regtype, 'bigint'::regtype, 'integer'::regtype),
      format('its type %s does not compare every character of a user id: different users can count as one', format_type(o.atttypid, null)),
      format('%s alter table %s alter column %I type text collate "C";', d.drops, r.name, o.attname)
    ),
    (
      exists (select from pg_collation l where l.oid = o.attcollation and not l.collisdeterministic),
      'its collation takes different strings for equal: a user whose id only looks like another''s reads their rows',
      format('%s alter table %s alter column %I type text collate "C";', d.drops, r.name, o.attname)
    )
  ) as w (is_wrong, wrong, remedy)
  where r.relkind in ('r', 'p') and w.is_wrong
    and r.oid not in (select polrelid from clause where asks_parent)
),

owner_default as materialized (
  select 'hole', format('%s.%I', r.name, o.attname),
    format('the default of the column that says whose a row is is %s, not the user of this transaction: rows can be made for somebody else',
      pg_get_expr(d.adbin, d.adrelid)),
    format('alter table %s alter column %I %s;', r.name, o.attname,
      case when i.oid is null then 'drop default' else format('set default %s', i.oid::regprocedure) end)
  from reached r
  join owner_of o on o.table_oid = r.oid and o.root = r.oid
  join pg_attrdef d on d.adrelid = r.oid and d.adnum = o.attnum
  left join identity_function i on true
  where r.relkind in ('r', 'p')
    and d.oid not in (select oid from verdict where kind = 'default' and word = '<me>')
),

shared_counter as materialized (
  select 'hole', format('%s.%I', r.name, a.attname),
    'this column is counted over all users: the gaps in one''s own numbers tell how much everybody else does',
    format('alter table %s alter column %I %sset default app.next_task_id();', r.name, a.attname,
      case when a.attidentity <> '' then 'drop identity, alter column id ' else '' end)
  from decided k
  join reached r on r.is_known and r.name = format('app.%I', k.relname)
  join pg_attribute a on a.attrelid = r.oid and a.attname = 'id' and a.attname = any (k.columns)
  left join pg_attrdef d on d.adrelid = r.oid and d.adnum = a.attnum
  where a.attidentity <> ''
    or exists (
      select from pg_depend u join pg_class s on s.oid = u.refobjid and s.relkind = 'S'
      where u.classid = 'pg_attrdef'::regclass and u.objid = d.oid and u.refclassid = 'pg_class'::regclass
    )
  union all
  select 'hole', c.name,
    'this function counts over all users: the gaps in one''s own numbers tell how much everybody else does',
    '-- make it again as the migration of the users does'
  from asked
  join code c on asked.is_tasks and c.body ~* '\y(nextval|setval)\y'
  where c.oid in (select h.objid from hooked h where h.hookclass = 'pg_attrdef'::regclass and h.what = 'the default of id')
),

unique_key as materialized (
  select 'hole', format('%I on %I.%I', i.relname, n.nspname, c.relname),
    format('this %s spans all users%s: an error on a duplicate tells one user that another has such a row',
      case when x.indisexclusion then 'exclusion constraint' else 'unique index' end,
      ', since it does not compare ' || quote_ident(o.attname) || ' for equality'),
    case when k.conname is null then format('drop index %I.%I;', n.nspname, i.relname)
      else format('alter table %I.%I drop constraint %I;', n.nspname, c.relname, k.conname)
    end || coalesce(' -- and make it again with ' || quote_ident(o.attname) || ' first', '')
  from (select oid, min(root) as root from touched group by oid) t
  join pg_class c on c.oid = t.oid
  join pg_namespace n on n.oid = c.relnamespace
  join pg_index x on x.indrelid = t.oid
  join pg_class i on i.oid = x.indexrelid
  left join pg_constraint k on k.conindid = i.oid and k.conrelid = t.oid and k.contype in ('p', 'u', 'x')
  left join owner_of o on o.table_oid = t.oid and o.root = t.root
  where (x.indisunique or x.indisexclusion)
    and c.relkind in ('r', 'p')
    and t.root in (select oid from right_on where privilege in ('INSERT', 'UPDATE')) -- else nobody can try
    -- Of a partitioned index only the top is named.
    and not exists (select from pg_inherits h where h.inhrelid = i.oid)
    and not exists (
      select from generate_series(0, x.indnkeyatts - 1) as p (place)
      where x.indkey[p.place] = o.attnum
        and not exists (select from pg_collation l where l.oid = x.indcollation[p.place] and not l.collisdeterministic)
        and case when x.indisexclusion then k.conexclop[p.place + 1] in (98, 2972, 96, 410) -- = of text, uuid, integers
          else x.indclass[p.place] < 16384
        end
    )
    -- Within one parent's rows it is within one user's.
    and not exists (
      select from clause j join parent a on a.oid = j.oid
      where j.polrelid = t.root and j.asks_parent and a.child_key <@ x.indkey::int2[]
    )
    -- A key that nobody can choose can't be probed: identity, sequence or random.
    and not exists (
      select from generate_series(0, x.indnkeyatts - 1) as p (place)
      join pg_attribute a on a.attrelid = c.oid and a.attnum = x.indkey[p.place]
      left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
      where (c.oid not in (select oid from known) or c.relname not in (select relname from decided))
        and (a.attidentity <> '' or a.atttypid = 'uuid'::regtype or pg_get_expr(d.adbin, d.adrelid) ~ '(nextval|uuid[a-z_0-9]*)[(]')
        and (a.atttypid = 'uuid'::regtype or t.root not in (
            select objid from granted where privilege in ('INSERT', 'UPDATE') and subid = 0 and classid = 'pg_class'::regclass)
          and (t.root, a.attname) not in (
            select objid, column_name from granted where privilege in ('INSERT', 'UPDATE') and column_name is not null))
    )
),

foreign_key as materialized (
  select 'hole', format('%I on %I.%I', f.conname, n.nspname, c.relname),
    format('this foreign key finds rows of every user in %I.%I: by naming a key, one user learns whether another has it, or ties rows to it',
      rn.nspname, rc.relname),
    format('alter table %I.%I drop constraint %I; -- and make it again with the owner''s column first', n.nspname, c.relname, f.conname)
  from (select oid, min(root) as root from touched group by oid) t
  join pg_constraint f on f.conrelid = t.oid and f.contype = 'f' and f.conparentid = 0
  join pg_class c on c.oid = f.conrelid
  join pg_namespace n on n.oid = c.relnamespace
  join pg_class rc on rc.oid = f.confrelid
  join pg_namespace rn on rn.oid = rc.relnamespace
  left join owner_of o on o.table_oid = f.conrelid and o.root = t.root
  left join owner_of ro on ro.table_oid = f.confrelid and ro.root = f.confrelid
  where t.root in (select oid from right_on where privilege in ('INSERT', 'UPDATE'))
    and (ro.attnum is not null or rc.relrowsecurity)
    and f.confrelid not in (select oid from lookup)
    and not exists (
      select from generate_subscripts(f.conkey, 1) as k (place)
      where f.conkey[k.place] = o.attnum and f.confkey[k.place] = ro.attnum
    )
    -- The policy refuses a parent of somebody else before the key is looked for.
    and not exists (
      select from clause j join parent a on a.oid = j.oid
      where j.polrelid = t.root and j.asks_parent and j.cmd = 'a' and a.parent = f.confrelid
        and a.child_key <@ f.conkey and f.conkey <@ a.child_key
    )
),

privilege as materialized (
  select 'hole', g.object,
    format('%s may %s here: %s', g.who, g.privilege,
      case g.privilege
        when 'TRUNCATE' then 'row security does not apply to it, so one statement deletes every user''s rows'
        when 'REFERENCES' then 'a foreign key to it tells whether another user''s row exists'
        when 'TRIGGER' then 'a trigger on it sees, and can change, every user''s rows as they are written'
        else 'it can lock everybody out, and VACUUM VERBOSE counts every user''s rows'
      end),
    g.revoke
  from granted g
  join reached r on r.oid = g.objid
  where g.classid = 'pg_class'::regclass
    and (r.relkind in ('r', 'p', 'f') and g.privilege in ('TRUNCATE', 'REFERENCES', 'TRIGGER', 'MAINTAIN')
      or r.relkind = 'v' and g.privilege = 'TRIGGER')
  union all
  -- of anybody else: a trigger of theirs runs in the API's requests, a key of theirs looks past row security
  select 'hole', format('%I.%I', n.nspname, c.relname),
    format('%s, who is not the API, may %s here: %s', string_agg(distinct quote_ident(w.rolname), ', '), a.privilege_type,
      case a.privilege_type when 'TRIGGER' then 'a trigger of theirs runs in the API''s requests and sees, and can change, every user''s rows'
        else 'a foreign key of theirs tells whether a user''s row exists' end),
    string_agg(distinct format('revoke %s on table %I.%I from %I;', lower(a.privilege_type), n.nspname, c.relname, w.rolname), ' ')
  from pg_class c
  join pg_namespace n on n.oid = c.relnamespace
  cross join lateral (
    select x.grantee, x.privilege_type from aclexplode(c.relacl) x
    union
    select x.grantee, x.privilege_type from pg_attribute t cross join lateral aclexplode(t.attacl) x where t.attrelid = c.oid
  ) a
  join pg_roles w on w.oid = a.grantee
  where c.oid in (select oid from touched) and c.relkind in ('r', 'p', 'v')
    and a.privilege_type in ('TRIGGER', 'REFERENCES') and a.grantee <> c.relowner
    and a.grantee not in (select oid from trusted) and a.grantee not in (select oid from grantee)
  group by n.nspname, c.relname, a.privilege_type
),

owner_column_grant as materialized (
  select 'hole', format('%I.%I.%I', n.nspname, c.relname, coalesce(k.owner_column, g.column_name)),
    format('%s may %s the column that says whose a row is: only one policy then stands between a mistake and a row in another user''s name',
      g.who, g.privilege),
    g.revoke || case
      when (g.subid = 0 or k.relname = 'users') and d.instead ? g.privilege
        then format(' grant %s (%s) on %I.%I to %s;', lower(g.privilege), d.instead ->> g.privilege, n.nspname, c.relname, api.name)
      else ''
    end
  from granted g
  cross join api
  join pg_class c on c.oid = g.objid
  join pg_namespace n on n.oid = c.relnamespace
  left join (known k join decided d on d.relname = k.relname) on k.oid = g.objid
  where g.classid = 'pg_class'::regclass and g.privilege in ('INSERT', 'UPDATE')
    and g.objid in (select oid from reached)
    and (k.oid is not null and (g.subid = 0 or g.column_name = k.owner_column)
      or g.privilege = 'UPDATE' and (g.objid, g.subid) in (select table_oid, attnum::integer from owner_of))
    and not coalesce(k.relname = 'users' and g.subid <> 0 and g.privilege = 'INSERT', false)
),

decided_column_grant as materialized (
  select 'warning', g.object,
    format('%s may %s this column, which the database decides: a version, number or time could be forged, and an update lost', g.who, g.privilege),
    g.revoke
  from granted g
  join known k on k.oid = g.objid
  join decided d on d.relname = k.relname
  where g.column_name = any (d.columns) and g.privilege in ('INSERT', 'UPDATE')
    and not (g.column_name = 'last_task_id' and g.privilege = 'UPDATE')
),

public_grant as materialized (
  select 'hole', g.object,
    format('everybody who can connect may %s here, through PUBLIC: the rows are no longer the API''s alone', g.privilege), g.revoke
  from granted g
  join pg_class c on c.oid = g.objid
  join home on home.oid = c.relnamespace
  where g.classid = 'pg_class'::regclass and g.grantee = 0 and not g.is_foreign
    and c.relkind in ('r', 'p', 'f', 'm')
    and g.privilege not in ('TRUNCATE', 'REFERENCES', 'TRIGGER', 'MAINTAIN')
    and c.oid not in (select oid from lookup)
  union all
  select 'warning', g.object,
    format('everybody who can connect may %s schema %s, through PUBLIC: whatever is granted to PUBLIC in it one day is theirs', g.privilege, g.object),
    g.revoke
  from granted g
  join home on home.oid = g.objid
  where g.kind = 'schema' and g.grantee = 0 and g.privilege = 'USAGE'
  union all
  select 'warning', g.object, 'everybody who can connect may call this function of the API, through PUBLIC: the migrations withhold that', g.revoke
  from granted g
  join asked on asked.is_tasks
  join pg_proc p on p.oid = g.objid
  join home on home.oid = p.pronamespace
  where g.kind = 'function' and g.grantee = 0
    and p.oid in (select oid from code where is_migrated)
),

grant_option as materialized (
  select 'hole', g.object,
    format('%s may pass its right to %s on to others: whoever runs SQL as it can let anybody in', g.grantee_name, g.privilege),
    regexp_replace(g.revoke, '^revoke ', 'revoke grant option for ')
  from granted g
  where g.is_grantable
),

sequence as materialized (
  select 'hole', g.object, format('%s may %s this sequence: its numbers tell how much all users do, or can be advanced for them', g.who, g.privilege), g.revoke
  from granted g
  join pg_class c on c.oid = g.objid
  where g.kind = 'S' and not g.is_foreign and c.relnamespace in (select oid from usable)
),

"create" as materialized (
  select 'hole', g.object,
    format('%s may create objects in this %s: one that stands in front of another, or that others call, runs with their rights', g.who, g.kind), g.revoke
  from granted g
  where g.privilege = 'CREATE' and g.kind in ('schema', 'database', 'tablespace')
  union all
  select 'warning', quote_ident(home.nspname),
    format('%I, who is not the API, may create objects in schema %I: a function or operator there can stand in for the real one', r.rolname, home.nspname),
    format('revoke create on schema %I from %I;', home.nspname, r.rolname)
  from home
  join pg_namespace n on n.oid = home.oid
  cross join lateral aclexplode(n.nspacl) a
  join pg_roles r on r.oid = a.grantee
  where a.privilege_type = 'CREATE'
    and a.grantee not in (select oid from trusted) and a.grantee not in (select oid from grantee)
),

temp as materialized (
  select 'hole', g.object,
    format('%s was granted TEMP on this database: a temporary table stands in front of the real one of its name, and keeps rows from one user''s request to the next''s', g.grantee_name),
    g.revoke
  from granted g
  where g.privilege = 'TEMPORARY' and g.kind = 'database' and g.grantee <> 0
),

system_privilege as materialized (
  select 'hole', g.object,
    format('%s was granted %s on this %s of PostgreSQL or an extension, which is withheld by default because it reaches past tables and policies',
      g.who, g.privilege, case g.kind when 'function' then 'function' when 'column' then 'column' else 'object' end),
    g.revoke
  from granted g
  where (g.is_foreign and not g.is_initial or g.kind = 't') -- t: where long values of a table are kept
    and g.kind not in ('schema', 'database', 'language', 'foreign data wrapper', 'foreign server', 'tablespace', 'large object', 'parameter', 'type')
),

large_object as materialized (
  select 'hole', g.object, format('%s may %s this large object: large objects have no policies, every user shares them', g.who, g.privilege), g.revoke
  from granted g
  where g.kind = 'large object'
),

parameter as materialized (
  select 'hole', g.object,
    format('%s may %s this parameter, which is kept for superusers: session_replication_role, for one, switches triggers and keys off', g.who, g.privilege),
    g.revoke
  from granted g
  where g.kind = 'parameter'
),

foreign_server as materialized (
  select 'hole', g.object, format('%s may use this %s: it can reach another server, or this one as somebody else', g.who, g.kind), g.revoke
  from granted g
  where g.kind in ('foreign server', 'foreign data wrapper')
  union all
  select case when m.umuser = 0 then 'warning' else 'hole' end, m.srvname::text,
    format('a user mapping lets %s log in at this foreign server: with it the API can reach another server, or this one as somebody else',
      case when m.umuser = 0 then 'everybody' else m.usename end),
    format('drop user mapping for %s server %I;', e.name, m.srvname)
  from pg_user_mappings m
  join grantee e on e.oid = m.umuser
),

language as materialized (
  select 'hole', quote_ident(l.lanname), 'this language reaches past PostgreSQL''s checks, but is marked as trusted: everybody may write functions in it',
    format('update pg_language set lanpltrusted = false where lanname = %L;', l.lanname)
  from pg_language l
  where l.lanpltrusted and l.lanname in ('c', 'internal', 'plperlu', 'plpythonu', 'plpython2u', 'plpython3u', 'pltclu')
),

default_privilege as materialized (
  select case when a.kind in ('r', 'S', 'n', 'L') then 'hole' else 'warning' end, format('default privileges of %s', a.whose),
    format('%s that %s makes will be granted %s to %s at once, before anybody thought about its row security', k.one, a.whose, a.privileges, a.grantee_name),
    format('alter default privileges for role %s revoke all on %s from %s;', a.whose, k.many, a.grantee_name)
  from (
    select d.defaclobjtype as kind, e.name as grantee_name, quote_ident(pg_get_userbyid(d.defaclrole)) || coalesce(' in schema ' || quote_ident(n.nspname), '') as whose,
      string_agg(x.privilege_type, ', ') as privileges
    from pg_default_acl d
    left join pg_namespace n on n.oid = d.defaclnamespace
    cross join lateral aclexplode(d.defaclacl) x
    join grantee e on e.oid = x.grantee
    where x.grantee <> d.defaclrole
      and not (x.grantee = 0 and d.defaclobjtype in ('f', 'T'))
      and (n.oid is null or d.defaclobjtype = 'n' or e.oid <> 0 or n.oid in (select oid from usable))
    group by d.defaclrole, n.nspname, d.defaclobjtype, e.name
  ) a
  join (values
    ('r', 'each table', 'tables'), ('S', 'each sequence', 'sequences'), ('n', 'each schema', 'schemas'),
    ('L', 'each large object', 'large objects'), ('f', 'each function', 'functions'), ('T', 'each type', 'types')
  ) as k (kind, one, many) on k.kind = a.kind::text
),

-- A body kept as text is compared after what makes no difference in it is gone, from the inside out.
identity_text as materialized (
  select 0 as step, p.oid,
    regexp_replace(replace(replace(lower(b.code), format('current_setting(''%s'')', asked.setting), 'raw'),
      format('current_setting(''%s'',true)', asked.setting), 'raw'), '^$', '') as text
  from asked
  join identity_function i on true
  join pg_proc p on p.oid = i.oid
  cross join lateral (
    select regexp_replace(regexp_replace(p.prosrc, 'pg_catalog[.]|::text|[[:space:];]', '', 'gi'), ',''?(t|true|on)''?\)', ',true)', 'gi') as code
  ) b
  where p.prosqlbody is null
  union all
  select t.step + 1, t.oid,
    regexp_replace(regexp_replace(regexp_replace(t.text, 'nullif\((raw|me),''''\)|coalesce\(me(,me)*\)|(raw|me)::(uuid|bigint|integer|int)', 'me', 'g'),
      '(raw|me|\((raw|me)\))::jsonb?->>''' || asked.claim || '''', 'me', 'g'), '\(me\)', 'me', 'g')
  from identity_text t cross join asked
  where t.step < 8
),

identity_function_check as materialized (
  select 'hole', c.name, format('every policy asks this function who the user is, but %s', w.wrong), w.remedy
  from asked
  join identity_function f on true
  join pg_proc p on p.oid = f.oid
  join code c on c.oid = f.oid
  cross join lateral (values
    (
      c.lanname <> 'sql'
      or not exists (select from verdict v where v.kind = 'body' and v.oid = p.oid and v.word = '<me>')
        and not exists (select from identity_text t where t.oid = p.oid and t.text = 'selectme'),
      format('its body is not nullif(current_setting(''%s'', true), ''''): it can name somebody else, or somebody where nobody was named', asked.setting),
      case when asked.is_tasks then 'create or replace function app.current_user_id() returns text language sql stable parallel safe return nullif(current_setting(''app.user_id'', true), '''');'
        else '-- make it again so' end
    ),
    (
      p.provolatile = 'i',
      'it is marked immutable: a prepared statement keeps the user of its first request and answers the next user with their rows',
      format('alter function %s stable;', c.name)
    ),
    (
      p.prosecdef,
      'it runs as its owner: what it answers is no longer bound to whoever asks',
      format('alter function %s security invoker;', c.name)
    )
  ) as w (is_wrong, wrong, remedy)
  where w.is_wrong
  union all
  select 'hole', format('%I.%I(%s)', n.nspname, p.proname, oidvectortypes(p.proargtypes)),
    'the identity test is made of this function of PostgreSQL, but somebody replaced it: it can name somebody else, or take every user for equal',
    '-- restore the database into a new one; PostgreSQL''s own functions can''t be made again'
  from pg_proc p
  join pg_namespace n on n.oid = p.pronamespace
  where p.oid in (67, 2077, 3294) -- texteq, current_setting
    and p.prosrc not in ('texteq', 'show_config_by_name', 'show_config_by_name_missing_ok')
  union all
  select 'warning', c.name,
    'every policy asks this function who the user is, and since it is marked volatile it is asked for every row: whoever changes the setting within a statement sees rows of both users',
    format('alter function %s stable;', c.name)
  from identity_function f
  join pg_proc p on p.oid = f.oid
  join code c on c.oid = f.oid
  where p.provolatile = 'v'
),

identity_change as materialized (
  select 'warning', c.name, format('the API role may call this function, which %s', d.what), format('revoke execute on routine %s from public, %s;', c.name, api.name)
  from code c
  cross join api
  join deed d on d.oid = c.oid and d.kind = 'names'
  where c.oid in (select oid from callable) and not c.is_authored
    and c.oid not in (select objid from hooked where classid = 'pg_proc'::regclass)
),

security_definer as materialized (
  select 'hole', d.name,
    format('this function runs with the rights of its owner %I and the API role may call it%s: what it reads or writes%s is not held to the policies of the user%s',
      d.owner_name, case when d.is_public then ' (like everybody, by default)' else '' end, ' (' || d.names || ')',
      case when d.has_path then '' else ', and without a search_path of its own it takes the caller''s' end),
    format('alter routine %s security invoker; -- or revoke execute on it from %s and public', d.name, api.name)
  from definer d
  cross join api
  where not d.automatic and d.oid not in (select oid from identity_function)
  union all
  select 'hole', format('%s by %s on %s', d.name, h.what, h.table_name),
    format('working with this table calls a function that runs with the rights of its owner %I (%s): it sees every user''s rows and can copy or change them', d.owner_name, h.what),
    coalesce(case when not d.is_migrated then h.unhook end,
      (select remedy from policy_remedy where oid = h.hook), format('alter routine %s security invoker;', d.name))
  from definer d
  join hooked h on h.classid = 'pg_proc'::regclass and h.objid = d.oid
  where d.automatic and d.oid not in (select oid from identity_function) and h.hookclass <> 'pg_trigger'::regclass
),

trigger as materialized (
  select 'hole', format('%s by %s on %s', d.name, h.what, h.table_name),
    format('this function runs with the rights of its owner %I whenever rows of the table are written: it sees every user''s rows and can copy or change them', d.owner_name),
    case when d.is_migrated then format('alter routine %s security invoker;', d.name) else h.unhook end
  from definer d
  join hooked h on h.classid = 'pg_proc'::regclass and h.objid = d.oid
  where d.automatic and h.hookclass = 'pg_trigger'::regclass and d.oid not in (select oid from identity_function)
  union all
  select 'hole', format('%s by %s on %s', c.name, h.what, h.table_name),
    format('this function runs whenever the API works with the table, and %s', d.what), 
    case when c.is_migrated then '-- make it again as its migration does' else coalesce(h.unhook, (select remedy from policy_remedy where oid = h.hook), format('drop routine %s cascade;', c.name)) end
  from code c
  join hooked h on h.classid = 'pg_proc'::regclass and h.objid = c.oid
  join deed d on d.oid = c.oid and d.kind in ('names', 'tells', 'carries')
  where c.oid not in (select oid from identity_function)
    and not (c.is_authored and h.hookclass <> 'pg_trigger'::regclass) -- a type's or an operator's own code
  union all
  select 'warning', format('%s by %s on %s', c.name, h.what, h.table_name),
    'this function runs whenever rows of the table are written, and writes elsewhere or runs dynamic SQL: a copy of the rows may have no owner and no policy',
    h.unhook
  from code c
  join hooked h on h.classid = 'pg_proc'::regclass and h.objid = c.oid and h.hookclass = 'pg_trigger'::regclass
  where not c.prosecdef and h.within = 0
    and c.body ~* '\y(insert\s+into|delete\s+from|merge\s+into|update\s+[a-z_."]+\s+set|execute)\y'
),

trigger_disabled as materialized (
  select 'warning', format('%I on %s', t.tgname, r.name), 'this trigger does not fire: numbers may be given twice, versions stand still, or keys go unchecked',
    format('alter table %s enable trigger %I;', r.name, t.tgname)
  from known k
  join reached r on r.oid = k.oid
  join pg_trigger t on t.tgrelid = k.oid
  where t.tgenabled in ('D', 'R') and t.tgparentid = 0
),

guard_missing as materialized (
  select 'warning', format('%s %s on %s', g.kind, case g.kind when 'trigger' then g.name else format('%s_user_id_fkey', g.relname) end, format('app.%I', g.relname)),
    format('the migrations made it and it is gone: %s', g.loss),
    '-- make it again as the migration of ' || g.relname || ' does'
  from guard g
  join known k on k.relname = g.relname
  where case g.kind
    when 'trigger' then not exists (select from pg_trigger t where t.tgrelid = k.oid and t.tgname = g.name)
    else not exists (
      select from pg_constraint f join known u on u.oid = f.confrelid and u.relname = g.name
      where f.conrelid = k.oid and f.contype = 'f'
    )
  end
),

-- Whoever owns a piece can put another in its place, which then runs in the API's requests.
untrusted_owner as materialized (
  select 'hole', coalesce(c.name, i.identity) || case when c.name is null and h.table_name is not null then format(' on %s', h.table_name) else '' end,
    format('working with %s uses this %s (%s), and %I, who owns neither the database nor its schema, can replace it with anything',
      coalesce(h.table_name, 'the API''s tables'), i.type, h.what, pg_get_userbyid(d.refobjid)),
    case when h.classid = 'pg_proc'::regclass then format('alter routine %s owner to %I;', c.name, home.owner_name)
      else format('alter %s %s owner to %I;', replace(i.type, ' object', ''), i.identity, home.owner_name) end
  from (
    select distinct classid, objid, min(what) as what, min(table_name) as table_name from hooked group by classid, objid
  ) h
  cross join home
  join pg_shdepend d on d.classid = h.classid and d.objid = h.objid and d.deptype = 'o' and d.refclassid = 'pg_authid'::regclass
    and d.dbid = (select oid from pg_database where datname = current_database())
  cross join lateral pg_identify_object(h.classid, h.objid, 0) i
  left join code c on h.classid = 'pg_proc'::regclass and c.oid = h.objid
  where d.refobjid not in (select oid from trusted) and d.refobjid not in (select oid from self)
  union all
  -- What a body kept as text calls is looked up by name each time.
  select 'hole', format('schema %I', w.nspname),
    format('working with the API''s tables calls %s by name, and %s may put a function that fits the call better beside it', string_agg(distinct c.name, ', '), w.who),
    format('revoke create on schema %I from public; -- and from %s', w.nspname, w.who)
  from hooked h
  join code c on h.classid = 'pg_proc'::regclass and c.oid = h.objid
  join pg_proc p on p.oid = c.oid and p.pronargs > 0 and p.oid in (select objid from said)
  join writable w on w.oid = p.pronamespace and w.oid not in (select oid from home)
  group by w.nspname, w.who
  union all
  select 'hole', format('%I.%I', n.nspname, c.relname),
    format('this table is a partition or child of one that the API works with, and %I, who owns neither the database nor its schema, reads and changes every user''s rows in it', pg_get_userbyid(c.relowner)),
    format('alter table %I.%I owner to %I;', n.nspname, c.relname, home.owner_name)
  from touched t
  cross join home
  join pg_class c on c.oid = t.oid and t.oid <> t.root
  join pg_namespace n on n.oid = c.relnamespace
  where c.relowner not in (select oid from trusted) and c.relowner not in (select oid from self)
),

untrusted_language as materialized (
  select 'hole', c.name, format('the API role may call this function, or its tables do, and it is written in %I: it runs past all of PostgreSQL''s checks', c.lanname),
    format('drop routine %s cascade; -- or revoke execute on it from public', c.name)
  from code c
  where c.oid >= 16384 and not c.is_authored and not c.lanpltrusted and c.lanname <> 'sql'
    -- PostgreSQL's own code under another name: an aggregate, or what comes with a range type
    and c.prokind <> 'a'
    and not exists (
      select from pg_depend d
      where d.classid = 'pg_proc'::regclass and d.objid = c.oid and d.refclassid = 'pg_type'::regclass and d.deptype = 'i'
    )
    and (c.oid in (select oid from callable) or c.oid in (select objid from hooked where classid = 'pg_proc'::regclass))
),

leakproof as materialized (
  select 'hole', format('%I.%I(%s)', n.nspname, p.proname, oidvectortypes(p.proargtypes)),
    'this function is marked leakproof: PostgreSQL may call it with other users'' rows before the policy has refused them, and its errors or notices tell their values',
    format('alter function %I.%I(%s) not leakproof;', n.nspname, p.proname, oidvectortypes(p.proargtypes))
  from pg_proc p
  join pg_namespace n on n.oid = p.pronamespace
  where p.proleakproof and p.oid not in (select oid from sealed)
    and (p.oid < 16384 or p.oid in (select oid from callable) and p.oid in (select objid from piece where classid = 'pg_proc'::regclass)
      or p.oid in (select oid from callable) and n.oid in (select oid from usable))
    and not exists (select from authored m where m.classid = 'pg_proc'::regclass and m.objid = p.oid
      and p.prolang = (select oid from pg_language where lanname = 'c') and p.proname !~ 'citext')
),

"cast" as materialized (
  select 'hole', format('%s as %s', format_type(t.castsource, null), format_type(t.casttarget, null)),
    'this cast is applied without being asked for: a comparison with a user id can come to mean something else than it says',
    format('drop cast (%s as %s);', format_type(t.castsource, null), format_type(t.casttarget, null))
  from pg_cast t
  where t.oid >= 16384 and t.castcontext = 'i'
    and (t.castsource < 16384 and t.casttarget < 16384 or t.castfunc >= 16384)
    and not exists (select from authored m where m.classid = 'pg_cast'::regclass and m.objid = t.oid)
),

operator as materialized (
  select 'hole', format('%I.%s(%s, %s)', n.nspname, o.oprname, format_type(o.oprleft, null), format_type(o.oprright, null)),
    'this operator compares PostgreSQL''s own types in its own way: with its schema in the search_path, a comparison with a user id can come to mean something else than it says',
    format('drop operator %I.%s (%s, %s);', n.nspname, o.oprname, format_type(o.oprleft, null), format_type(o.oprright, null))
  from pg_operator o
  join pg_namespace n on n.oid = o.oprnamespace
  where o.oid >= 16384 and o.oprname in ('=', '<>', '<', '<=', '>', '>=') and o.oprleft < 16384 and o.oprright < 16384
    and not exists (select from authored m where m.classid = 'pg_operator'::regclass and m.objid = o.oid)
),

event_trigger as materialized (
  select 'hole', quote_ident(e.evtname), format('this event trigger calls %I.%I, which %s', n.nspname, p.proname, w.wrong), format('drop event trigger %I;', e.evtname)
  from asked
  cross join pg_event_trigger e
  join pg_proc p on p.oid = e.evtfoid
  join pg_namespace n on n.oid = p.pronamespace
  cross join lateral (values
    (p.proowner not in (select oid from trusted), 'somebody who is not trusted can replace: it then runs with the rights of whoever deploys'),
    (p.prosecdef, 'runs with the rights of its owner whenever somebody changes the schema: the API role does by making a temporary table'),
    (p.prosrc ~* 'set_config|row_security|disable\s+row|grant\s' or strpos(p.prosrc, asked.setting) > 0, 'sets who the user is, or weakens row security or grants')
  ) as w (is_wrong, wrong)
  where e.evtenabled <> 'D' and w.is_wrong
    and not exists (select from authored m where m.classid = 'pg_event_trigger'::regclass and m.objid = e.oid)
),

set_here as materialized (
  select name, value, format('%s set %s', place, name) as object, format('alter %s reset %s;', place, name) as remedy, false as by_function
  from role_setting
  union all
  select name, value, object, remedy, false from server_setting
  union all
  select lower(split_part(e.entry, '=', 1)), substr(e.entry, strpos(e.entry, '=') + 1),
    format('%s set %s', f.name, split_part(e.entry, '=', 1)), format('alter routine %s reset %s;', f.name, split_part(e.entry, '=', 1)), true
  from (
    select format('%I.%I(%s)', n.nspname, p.proname, oidvectortypes(p.proargtypes)) as name, p.proconfig
    from pg_proc p
    join pg_namespace n on n.oid = p.pronamespace
    where p.proconfig is not null
      and (p.oid < 16384 or p.oid in (select oid from callable) and n.oid in (select oid from usable) or p.oid in (select oid from code))
      and not exists (select from authored m where m.classid = 'pg_proc'::regclass and m.objid = p.oid)
  ) f
  cross join lateral unnest(f.proconfig) as e (entry)
),

setting (severity, object, finding, remedy, by_function) as materialized (
  select 'hole', s.object, format('%s = %s is set here: %s', s.name, s.value, w.danger), s.remedy, s.by_function
  from set_here s
  join watched w on w.name = s.name
  where w.sound is not null
    and lower(s.value) <> w.sound
    and not (w.sound = 'on' and lower(s.value) ~ '^(on|t|tr|tru|true|y|ye|yes|1)$')
    and not (w.sound = 'off' and lower(s.value) ~ '^(of|off|f|fa|fal|fals|false|n|no|0)$')
),

-- What anybody untrusted can put where names are looked up: for the API, for a function with a path of its own, and for
-- this very statement.
path_danger as materialized (
  select e.object, e.value, e.rank, e.is_effective,
    coalesce(
      case when w.oid is not null and e.schema <> 'pg_catalog' then format('names schema %I, in which %s may create: their function, operator or table can stand in for the real one', e.schema, w.who) end,
      case when e.schema = 'pg_temp' and not e.is_last then 'searches temporary objects before others: a temporary table can stand in for the real one' end,
      case when e.oid is null and e.schema <> 'pg_temp' and o.who is not null
        then format('names schema %I, which is not there, and %s may make it in database %I', e.schema, o.who, current_database()) end
    ) as wrong,
    e.schema
  from path_entry e
  left join writable w on w.oid = e.oid
  cross join lateral (
    select string_agg(case a.grantee when 0 then 'everybody' else pg_get_userbyid(a.grantee) end, ', ') as who
    from pg_database d cross join lateral aclexplode(d.datacl) a
    where d.datname = current_database() and a.privilege_type = 'CREATE' and a.grantee not in (select oid from trusted)
  ) o
),

search_path as materialized (
  select 'hole', format('%s: schema %I of database %I', p.object, p.schema, current_database()), format('the search_path %s %s', p.value, p.wrong),
    format('alter %s set search_path = pg_catalog;', case when g.place like 'role % in database %' then g.place else 'role ' || api.name end)
  from path_danger p
  cross join api
  cross join (select max(place) as place from path_setting where is_effective) g
  where p.wrong is not null and exists (select from path_danger e where e.is_effective and e.wrong is not null)
  union all
  select 'hole', s.object, format('the search_path %s %s', s.value, min(w.wrong)), s.remedy
  from set_here s
  cross join lateral (
    select btrim(e.part, ' "') as schema, e.step = count(*) over () as is_last
    from unnest(string_to_array(s.value, ',')) with ordinality as e (part, step)
  ) e
  cross join lateral (
    select format('names schema %I, in which %s may create: their function, operator or table can stand in for the real one', x.nspname, x.who) as wrong
    from writable x where x.nspname = e.schema
    union all
    select 'searches temporary objects before others: a temporary table can stand in for the real one' where e.schema = 'pg_temp' and not e.is_last
  ) w
  where s.name = 'search_path' and s.by_function
  group by s.object, s.value, s.remedy
  union all
  select 'hole', format('%s on %s', s.oid::regprocedure, s.path),
    format('this function has the name of one of PostgreSQL''s own and takes PostgreSQL''s own types: on %s, the API''s statements call whichever fits them better', s.path),
    format('drop function %s; -- or: alter role %s set search_path = pg_catalog', s.oid::regprocedure, api.name)
  from shadow s cross join api
  union all
  select 'hole', format('%I.%I in the search_path of this session', n.nspname, p.proname),
    'somebody untrusted made a function or operator with the name of one of PostgreSQL''s own where this session looks for names: the audit itself may be misled',
    'set search_path = pg_catalog, pg_temp; -- and ask again'
  from (
    select p.proname, p.pronamespace, p.proowner, p.oid from pg_catalog.pg_proc p
    where exists (select from pg_catalog.pg_proc b where b.proname operator(pg_catalog.=) p.proname
      and b.pronamespace operator(pg_catalog.=) 'pg_catalog'::pg_catalog.regnamespace)
    union all
    select o.oprname, o.oprnamespace, o.oprowner, o.oid from pg_catalog.pg_operator o
  ) p
  join pg_catalog.pg_namespace n on n.oid operator(pg_catalog.=) p.pronamespace
  where p.oid operator(pg_catalog.>=) 16384
    and n.nspname operator(pg_catalog.=) any (pg_catalog.current_schemas(true))
    and p.proowner not in (select oid from trusted)
    and not exists (select from authored m where m.objid operator(pg_catalog.=) p.oid)
),

publication as materialized (
  select 'hole', quote_ident(p.pubname),
    format('this publication sends the rows of all users in %s to whoever subscribes: no policy holds there',
      case when p.puballtables then 'every table' else t.names end),
    format('drop publication %I;', p.pubname)
  from pg_publication p
  cross join lateral (
    select string_agg(distinct r.name, ', ') as names
    from touched u
    join reached r on r.oid = u.root
    where u.oid in (select x.prrelid from pg_publication_rel x where x.prpubid = p.oid)
      or r.relnamespace in (select x.pnnspid from pg_publication_namespace x where x.pnpubid = p.oid)
  ) t
  where p.puballtables or t.names is not null
),

replication_slot as materialized (
  select 'warning', quote_ident(s.slot_name), 'this logical replication slot keeps the changes of all users for whoever may read it: no policy holds there',
    format('select pg_drop_replication_slot(%L);', s.slot_name)
  from pg_replication_slots s
  where s.slot_type = 'logical' and s.database = current_database()
),

subscription as materialized (
  select t.names, quote_ident(s.subname) as object,
    case when t.names is null then 'this subscription has not said yet which tables it writes to: it may be those of the API, past every policy'
      else format('this subscription writes rows that another server sends into %s, past every policy', t.names)
    end as finding,
    format('alter subscription %I disable; alter subscription %1$I set (slot_name = none); drop subscription %1$I;', s.subname) as remedy
  from pg_subscription s
  cross join lateral (
    select string_agg(distinct r.name, ', ') as names
    from pg_subscription_rel x
    join touched u on u.oid = x.srrelid
    join reached r on r.oid = u.root
    where x.srsubid = s.oid
  ) t
  where s.subdbid = (select oid from pg_database where datname = current_database())
    and (t.names is not null or not exists (select from pg_subscription_rel x where x.srsubid = s.oid))
),

unknown as materialized (
  select 'warning', object, finding, remedy from subscription where names is null
  union all
  -- A session may well have named its user itself, but the API's role is the one that does.
  select 'warning', asked.setting,
    format('%s has a value in this session, and the role that asks may not read the configuration files: if it was not set by this session, a request that names no user acts as this one', asked.setting),
    format('select name, setting, sourcefile from pg_file_settings where name = %L; -- as a superuser', asked.setting)
  from asked
  where current_setting(asked.setting, true) <> ''
    and not (has_table_privilege('pg_file_settings', 'select') and has_function_privilege('pg_show_all_file_settings()', 'execute'))
    and session_user <> asked.role
    and not exists (select from role_setting where name = lower(asked.setting))
),

server_version as materialized (
  select 'hole', format('PostgreSQL %s', current_setting('server_version')),
    format('this release has known flaws in row security, by which a user can learn of rows that the policies hide; %s mends them', v.mended),
    format('-- install PostgreSQL %s or newer', v.mended)
  from (values (150000, 150014, '15.14'), (160000, 160010, '16.10'), (170000, 170006, '17.6')) as v (first, sound, mended)
  where current_setting('server_version_num')::integer >= v.first and current_setting('server_version_num')::integer < v.sound
  union all
  select 'warning', format('PostgreSQL %s', current_setting('server_version')), 'this release is older than any that the audit knows', '-- install PostgreSQL 15.14 or newer'
  where current_setting('server_version_num')::integer < 150000
),

found (check_name, severity, object, finding, remedy) as (
  select 'missing', c.* from missing c
  union all select 'role_attribute', c.* from role_attribute c
  union all select 'role_membership', c.* from role_membership c
  union all select 'role_impersonation', c.* from role_impersonation c
  union all select 'role_ownership', c.* from role_ownership c
  union all select 'role_limit', c.* from role_limit c
  union all select 'session', c.* from session c
  union all select 'role_leftover', c.* from role_leftover c
  union all select 'row_security', c.* from row_security c
  union all select 'row_security_not_forced', c.* from row_security_not_forced c
  union all select 'foreign_table', c.* from foreign_table c
  union all select 'materialized_view', c.* from materialized_view c
  union all select 'view', c.* from view c
  union all select 'rule', c.* from rule c
  union all select 'owner', c.* from owner c
  union all select 'policy', c.* from policy c
  union all select 'policy_leak', c.* from policy_leak c
  union all select 'policy_missing', c.* from policy_missing c
  union all select 'owner_column', c.* from owner_column c
  union all select 'owner_default', c.* from owner_default c
  union all select 'shared_counter', c.* from shared_counter c
  union all select 'unique_key', c.* from unique_key c
  union all select 'foreign_key', c.* from foreign_key c
  union all select 'privilege', c.* from privilege c
  union all select 'owner_column_grant', c.* from owner_column_grant c
  union all select 'decided_column_grant', c.* from decided_column_grant c
  union all select 'public_grant', c.* from public_grant c
  union all select 'grant_option', c.* from grant_option c
  union all select 'sequence', c.* from sequence c
  union all select 'create', c.* from "create" c
  union all select 'temp', c.* from temp c
  union all select 'system_privilege', c.* from system_privilege c
  union all select 'large_object', c.* from large_object c
  union all select 'parameter', c.* from parameter c
  union all select 'shard_unprepared', c.* from shard_unprepared c
  union all select 'foreign_server', c.* from foreign_server c
  union all select 'language', c.* from language c
  union all select 'default_privilege', c.* from default_privilege c
  union all select 'identity_function', c.* from identity_function_check c
  union all select 'identity_change', c.* from identity_change c
  union all select 'security_definer', c.* from security_definer c
  union all select 'trigger', c.* from trigger c
  union all select 'trigger_disabled', c.* from trigger_disabled c
  union all select 'guard_missing', c.* from guard_missing c
  union all select 'untrusted_owner', c.* from untrusted_owner c
  union all select 'untrusted_language', c.* from untrusted_language c
  union all select 'leakproof', c.* from leakproof c
  union all select 'cast', c.* from "cast" c
  union all select 'operator', c.* from operator c
  union all select 'event_trigger', c.* from event_trigger c
  union all select 'setting', s.severity, s.object, s.finding, s.remedy from setting s where not s.by_function
  union all select 'function_setting', s.severity, s.object, s.finding, s.remedy from setting s where s.by_function
  union all select 'search_path', c.* from search_path c
  union all select 'publication', c.* from publication c
  union all select 'replication_slot', c.* from replication_slot c
  union all select 'subscription', 'hole', s.object, s.finding, s.remedy from subscription s where s.names is not null
  union all select 'unknown', c.* from unknown c
  union all select 'server_version', c.* from server_version c
),

-- 10. What was accepted -----------------------------------------------------------------------------------------

-- A DBA accepts a finding by a row in the table audit.accepted (or whatever audit.accepted says). It counts while the
-- table belongs to somebody trusted, nobody else may write to it, and the day it expires has not come.
acceptance_table as (
  select n.nspname, c.relname, c.oid,
    c.relowner in (select oid from trusted) and not exists (
      select from (
        select x.grantee, x.privilege_type from aclexplode(c.relacl) x
        union all
        select x.grantee, x.privilege_type from pg_attribute t cross join lateral aclexplode(t.attacl) x where t.attrelid = c.oid
      ) a
      where a.privilege_type <> 'SELECT' and a.grantee not in (select oid from trusted)
    ) as is_trusted
  from asked
  join pg_namespace n on n.nspname = split_part(asked.accepted, '.', -2)
  join pg_class c on c.relnamespace = n.oid and c.relname = split_part(asked.accepted, '.', -1) and c.relkind = 'r'
),

acceptance as (
  select j ->> 'check_name' as check_name, j ->> 'object' as object, j ->> 'reason' as reason, j ->> 'accepted_by' as accepted_by,
    j ->> 'accepted_on' as accepted_on
  from acceptance_table t
  cross join lateral ts_stat(
    case when t.is_trusted and has_table_privilege(t.oid, 'select') and has_schema_privilege(t.nspname, 'usage')
      then format('select pg_catalog.array_to_tsvector(pg_catalog.array_agg(pg_catalog.json_build_object(
        ''check_name'', check_name, ''object'', object, ''reason'', pg_catalog.left(reason, 200), ''accepted_by'', accepted_by,
        ''accepted_on'', accepted_on)::pg_catalog.text)) from %I.%I
        where pg_catalog.length(object) < 500 and (expires_on is null or expires_on > pg_catalog.now())', t.nspname, t.relname)
    end
  ) w
  cross join lateral (select w.word::jsonb as j) x
)

select distinct case when a.object is null then f.severity else 'accepted' end as severity, f.check_name, f.object,
  case when a.object is null then f.finding else format('%s -- accepted by %s on %s: %s', f.finding, a.accepted_by, a.accepted_on, a.reason) end
    as finding, f.remedy
from found f
left join acceptance a on a.check_name = f.check_name and a.object = f.object
where (f.check_name, f.object) not in (select check_name, object from spread)
union all
select 'hole', 'accepted', format('%I.%I', nspname, relname), 'somebody untrusted owns or may write to the table of accepted findings: none of them counts',
  format('revoke all on %I.%I from public; -- and from whoever else may write to it', nspname, relname)
from acceptance_table
where not is_trusted
order by severity, check_name, object, finding;
