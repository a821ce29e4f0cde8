-- The isolation audit: does anything in this database let one user reach another's rows?
--
--   psql -X -d DATABASE -f sql/audit.sql
--
-- Run it as anybody, from a superuser down to a role without a single privilege, on PostgreSQL 15 to 18.
-- It is one statement, reads nothing but system catalogs and changes nothing. No rows: nothing was found.
--
--   severity    hole: a user's row can be read, changed or detected, or a guard against that is gone.
--               warning: a defence is weaker than it should be, or something cannot be judged.
--   check_name  the kind of finding; `unknown` is something that is there but hidden from the role that asks.
--   object      what it is about, by its full name.
--   finding     what an attacker or a bug could do with it.
--   remedy      SQL to paste, as the owner of the object or as a superuser.
--
-- What it takes for granted: the API works as the role tasks_api, whose rows are those of the user named in
-- the setting app.user_id, as app.current_user_id() returns it; superusers and the owners of the database
-- and of schema app are trusted. How it judges is said above each part:
--
--   1 names    2 roles    3 grants    4 reach    5 owners    6 policies    7 code    8 settings    9 findings
--
-- Names are qualified, so that the session's search_path does not matter. Operators are not, for legibility:
-- ask with search_path = pg_catalog where a schema ahead of it might hold operators of somebody else's.
with recursive

-- 1. Names --------------------------------------------------------------------------------------------------

api as materialized (
  select oid
  from pg_catalog.pg_roles
  where rolname = 'tasks_api'
),

home as materialized (
  select oid, nspowner
  from pg_catalog.pg_namespace
  where nspname = 'app'
),

-- The migrations' tables: the column that says whose a row is, and the columns that the database decides.
known as materialized (
  select c.oid, k.owner_column, k.decided
  from home
  cross join (values
    ('users', 'id', array['last_task_id', 'created_at']),
    ('tasks', 'user_id', array['id', 'version', 'created_at', 'updated_at']),
    ('idempotency_keys', 'user_id', array['created_at'])
  ) as k (relname, owner_column, decided)
  join pg_catalog.pg_class c on c.relnamespace = home.oid and c.relname = k.relname
),

identity_function as materialized (
  select p.oid
  from home
  join pg_catalog.pg_proc p on p.pronamespace = home.oid
  where p.proname = 'current_user_id' and p.pronargs = 0
),

-- Owners of the place itself: what they could do, they need no hole for.
trusted as materialized (
  select oid from pg_catalog.pg_roles where rolsuper or rolname = 'pg_database_owner'
  union
  select datdba from pg_catalog.pg_database where datname = pg_catalog.current_database()
  union
  select nspowner from home
),

-- What belongs to an extension is its author's: only what was granted on top of it is looked at.
extension_member as materialized (
  select classid, objid
  from pg_catalog.pg_depend
  where deptype = 'e' and refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass
),

-- 2. Roles: everybody whom the API can become, and everybody who can become the API ---------------------------

-- inherit_option and set_option exist since 16; before, every membership has both. Admin can grant itself the rest.
membership as materialized (
  select m.member, m.roleid, m.admin_option,
    coalesce((pg_catalog.to_jsonb(m) ->> 'inherit_option')::boolean, true) as inherit_option,
    coalesce((pg_catalog.to_jsonb(m) ->> 'set_option')::boolean, true) as set_option
  from pg_catalog.pg_auth_members m
),

becomes as (
  select api.oid, array[api.oid] as path
  from api
  union all
  select m.roleid, b.path || m.roleid
  from becomes b
  join membership m on m.member = b.oid
  where (m.inherit_option or m.set_option or m.admin_option)
    and m.roleid <> all (b.path)
),

-- The API role and what it can become, each by its shortest way.
self as materialized (
  select r.oid, r.rolname, b.path, r.oid = b.path[1] as is_api,
    (
      select pg_catalog.string_agg(pg_catalog.quote_ident(s.rolname), ' -> ' order by p.step)
      from pg_catalog.unnest(b.path) with ordinality as p (oid, step)
      join pg_catalog.pg_roles s on s.oid = p.oid
    ) as way
  from pg_catalog.pg_roles r
  cross join lateral (
    select w.path
    from becomes w
    where w.oid = r.oid
    order by pg_catalog.cardinality(w.path), w.path
    limit 1
  ) b
  where r.oid = any (array(select oid from becomes))
),

-- Whose grants the API enjoys: its own, those of what it can become, and everybody's (0 is PUBLIC).
grantee as materialized (
  select oid, pg_catalog.quote_ident(rolname) as name, is_api from self
  union all
  select 0, 'public', false
),

-- Whoever made a role by CREATEROLE (16+) holds it with admin option alone: that is administration.
impersonator as (
  select m.member as oid, array[api.oid, m.member] as path
  from api
  join membership m on m.roleid = api.oid
  join pg_catalog.pg_roles r on r.oid = m.member
  where m.member not in (select oid from trusted)
    and (m.inherit_option or m.set_option or (m.admin_option and not r.rolcreaterole))
  union all
  select m.member, i.path || m.member
  from impersonator i
  join membership m on m.roleid = i.oid
  join pg_catalog.pg_roles r on r.oid = m.member
  where m.member not in (select oid from trusted)
    and (m.inherit_option or m.set_option or (m.admin_option and not r.rolcreaterole))
    and m.member <> all (i.path)
),

-- 3. Grants: whatever was ever granted to the API, to what it can become or to PUBLIC ------------------------

-- `= any (array(...))` here and below: few are picked from many, by index, and the planner knows it. It would
-- otherwise expect millions of rows and compile the audit to machine code for longer than it runs.

grants as materialized (
  select o.classid, o.objid, o.subid, o.kind, o.object,
    coalesce(o.target, pg_catalog.format('%s %s', o.kind, o.object)) as target,
    a.grantee, a.privilege_type as privilege, a.is_grantable, o.column_name
  from (
    select 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid as classid, c.oid as objid, 0 as subid,
      c.relkind::pg_catalog.text as kind,
      pg_catalog.format('%I.%I', n.nspname, c.relname) as object,
      pg_catalog.format('%s %I.%I', case c.relkind when 'S' then 'sequence' else 'table' end, n.nspname, c.relname) as target,
      null::pg_catalog.name as column_name, c.relacl as acl
    from pg_catalog.pg_class c
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where c.oid = any (array(
      select x.oid
      from pg_catalog.pg_class x
      cross join lateral pg_catalog.aclexplode(x.relacl) y
      where y.grantee = any (array(select oid from grantee))
    ))
      and c.relpersistence <> 't'
    union all
    select 'pg_catalog.pg_class'::pg_catalog.regclass, c.oid, t.attnum,
      'column',
      pg_catalog.format('%I.%I.%I', n.nspname, c.relname, t.attname),
      pg_catalog.format('table %I.%I', n.nspname, c.relname),
      t.attname, t.attacl
    from pg_catalog.pg_attribute t
    join pg_catalog.pg_class c on c.oid = t.attrelid
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where t.attrelid = any (array(select x.attrelid from pg_catalog.pg_attribute x where x.attacl is not null))
      and t.attacl is not null
      and not t.attisdropped
      and c.relpersistence <> 't'
    union all
    select 'pg_catalog.pg_proc'::pg_catalog.regclass, p.oid, 0,
      'function',
      pg_catalog.format('%I.%I(%s)', n.nspname, p.proname, pg_catalog.oidvectortypes(p.proargtypes)),
      pg_catalog.format('routine %I.%I(%s)', n.nspname, p.proname, pg_catalog.oidvectortypes(p.proargtypes)),
      null, p.proacl
    from pg_catalog.pg_proc p
    join pg_catalog.pg_namespace n on n.oid = p.pronamespace
    where p.oid = any (array(select x.oid from pg_catalog.pg_proc x where x.proacl is not null))
    union all
    select 'pg_catalog.pg_type'::pg_catalog.regclass, t.oid, 0,
      'type', pg_catalog.format('%I.%I', n.nspname, t.typname), null, null, t.typacl
    from pg_catalog.pg_type t
    join pg_catalog.pg_namespace n on n.oid = t.typnamespace
    where t.oid = any (array(select x.oid from pg_catalog.pg_type x where x.typacl is not null))
    union all
    select 'pg_catalog.pg_namespace'::pg_catalog.regclass, oid, 0,
      'schema', pg_catalog.quote_ident(nspname), null, null, nspacl
    from pg_catalog.pg_namespace
    union all
    select 'pg_catalog.pg_database'::pg_catalog.regclass, oid, 0,
      'database', pg_catalog.quote_ident(datname), null, null, datacl
    from pg_catalog.pg_database
    where datname = pg_catalog.current_database()
    union all
    select 'pg_catalog.pg_language'::pg_catalog.regclass, oid, 0,
      'language', pg_catalog.quote_ident(lanname), null, null, lanacl
    from pg_catalog.pg_language
    union all
    select 'pg_catalog.pg_foreign_data_wrapper'::pg_catalog.regclass, oid, 0,
      'foreign data wrapper', pg_catalog.quote_ident(fdwname), null, null, fdwacl
    from pg_catalog.pg_foreign_data_wrapper
    union all
    select 'pg_catalog.pg_foreign_server'::pg_catalog.regclass, oid, 0,
      'foreign server', pg_catalog.quote_ident(srvname), null, null, srvacl
    from pg_catalog.pg_foreign_server
    union all
    select 'pg_catalog.pg_tablespace'::pg_catalog.regclass, oid, 0,
      'tablespace', pg_catalog.quote_ident(spcname), null, null, spcacl
    from pg_catalog.pg_tablespace
    union all
    select 'pg_catalog.pg_largeobject_metadata'::pg_catalog.regclass, oid, 0,
      'large object', oid::pg_catalog.text, null, null, lomacl
    from pg_catalog.pg_largeobject_metadata
    union all
    select 'pg_catalog.pg_parameter_acl'::pg_catalog.regclass, oid, 0,
      'parameter', parname, null, null, paracl
    from pg_catalog.pg_parameter_acl
  ) o
  cross join lateral pg_catalog.aclexplode(o.acl) a
  join grantee e on e.oid = a.grantee
),

-- PostgreSQL's own objects and extensions' come with grants: those recorded at their making, or the default.
granted as materialized (
  select g.classid, g.objid, g.subid, g.kind, g.object, g.target, g.grantee, g.privilege, g.is_grantable, g.column_name,
    e.name as grantee_name, case g.grantee when 0 then 'everybody' else e.name end as who,
    g.objid < 16384 or m.objid is not null as is_foreign,
    (g.classid, g.objid, g.subid, g.privilege) in (
      select i.classoid, i.objoid, i.objsubid, a.privilege_type
      from pg_catalog.pg_init_privs i
      cross join lateral pg_catalog.aclexplode(i.initprivs) a
      join grantee e on e.oid = a.grantee
    )
    or (
      g.kind in ('function', 'type', 'language')
      and (g.classid, g.objid) not in (select i.classoid, i.objoid from pg_catalog.pg_init_privs i)
    )
    -- initdb records those of information_schema nowhere.
    or g.grantee = 0 and g.privilege = 'SELECT' and g.object like 'information\_schema.%' as is_initial,
    case when g.column_name is null then pg_catalog.format('revoke %s on %s from %s;', lower(g.privilege), g.target, e.name)
      else pg_catalog.format('revoke %s (%I) on %s from %s;', lower(g.privilege), g.column_name, g.target, e.name)
    end as revoke
  from grants g
  join grantee e on e.oid = g.grantee
  left join extension_member m on m.classid = g.classid and m.objid = g.objid
),

-- Schemas in which the API can name things.
usable as materialized (
  select n.oid
  from pg_catalog.pg_namespace n
  where n.nspowner in (select oid from self)
    or n.oid in (select objid from grants where kind = 'schema' and privilege = 'USAGE')
),

-- Schemas in which somebody who is not trusted can place objects.
writable as materialized (
  select n.oid, n.nspname
  from pg_catalog.pg_namespace n
  where n.nspowner not in (select oid from trusted)
    or exists (
      select
      from pg_catalog.aclexplode(n.nspacl) a
      where a.privilege_type = 'CREATE' and a.grantee not in (select oid from trusted)
    )
),

-- 4. Reach: every relation that the API can name and was granted something on -------------------------------

reached as materialized (
  select c.oid, c.relkind, c.relnamespace, c.relowner, c.relrowsecurity, c.relforcerowsecurity, c.reloptions,
    pg_catalog.format('%I.%I', n.nspname, c.relname) as name,
    k.oid is not null as is_known
  from pg_catalog.pg_class c
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  left join known k on k.oid = c.oid
  where c.oid = any (array(
    select oid
    from known
    union all
    select g.objid
    from granted g
    join pg_catalog.pg_class x on x.oid = g.objid
    where g.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
      and not g.is_foreign
      and x.relkind in ('r', 'p', 'f', 'v', 'm')
      and x.relnamespace in (select oid from usable)
    union all
    select x.oid
    from pg_catalog.pg_class x
    where x.oid >= 16384
      and x.relowner = any (array(select oid from self))
      and x.relpersistence <> 't'
      and x.relkind in ('r', 'p', 'f', 'v', 'm')
      and x.relnamespace in (select oid from usable)
  ))
),

-- Rows are also written to, and collide in, the partitions and children of a table.
touched as (
  select r.oid, r.oid as root
  from reached r
  union
  select i.inhrelid, t.root
  from touched t
  join pg_catalog.pg_inherits i on i.inhparent = t.oid
),

-- What a view reads, all the way down, and which view on the way reads it: by its parsed definition, since
-- pg_depend keeps nothing about PostgreSQL's own catalogs.
view_reads as (
  select r.oid as view, null::pg_catalog.oid as reader, r.oid
  from reached r
  where r.relkind = 'v'
  union
  select v.view, v.oid, m.relid[1]::pg_catalog.oid
  from view_reads v
  join pg_catalog.pg_rewrite w on w.ev_class = v.oid and w.rulename = '_RETURN'
  join pg_catalog.pg_class c on c.oid = v.oid and c.relkind = 'v'
  cross join lateral pg_catalog.regexp_matches(w.ev_action::pg_catalog.text, ':relid ([1-9][0-9]*)', 'g') as m (relid)
  where m.relid[1]::pg_catalog.oid <> v.oid
),

view_as_owner as materialized (
  select c.oid
  from pg_catalog.pg_class c
  where c.relkind = 'v'
    and c.oid in (select oid from view_reads)
    and not coalesce(
      (
        select o.option_value::boolean
        from pg_catalog.pg_options_to_table(c.reloptions) o
        where o.option_name = 'security_invoker'
      ),
      false
    )
),

view_source as materialized (
  select v.view, v.reader, c.oid, c.relkind, pg_catalog.format('%I.%I', n.nspname, c.relname) as name,
    v.reader in (select oid from view_as_owner) as as_owner,
    -- Rows: of anybody's table, or of a system catalog or view that the API may not read itself.
    case when c.oid >= 16384 then c.relkind in ('r', 'p', 'f', 'm')
      else not pg_catalog.has_table_privilege(api.oid, c.oid, 'select')
        and v.reader >= 16384
    end as has_rows
  from view_reads v
  cross join api
  join pg_catalog.pg_class c on c.oid = v.oid
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  where v.reader is not null
),

-- What the API may do with a table: by grant on it, or on any of its columns.
right_on as materialized (
  select objid as oid, privilege, pg_catalog.string_agg(distinct grantee_name, ', ') as grantees
  from granted
  where classid = 'pg_catalog.pg_class'::pg_catalog.regclass
  group by objid, privilege
),

-- 5. Owners: the column that says whose a row is -------------------------------------------------------------

-- Expressions are judged by their parsed form, where every name is resolved. Here what names the user in them,
-- app.current_user_id() or its body spelled out, becomes the word <me>. Escapes go first: no name can forge one.
expression as materialized (
  select e.kind, e.oid, e.clause,
    pg_catalog.regexp_replace(
      pg_catalog.regexp_replace(
        pg_catalog.regexp_replace(e.tree, E'\\\\.', '_', 'g'),
        pg_catalog.format('[{]FUNCEXPR :funcid %s :[^{}]*:args <> [^{}]*[}]', coalesce(f.oid, 0)),
        '<me>', 'g'),
      '[{]NULLIFEXPR :opno 98 [^{}]*:args [(]'
        '[{]FUNCEXPR :funcid (2077|3294) [^{}]*:args [(]' -- pg_catalog.current_setting
        '[{]CONST :consttype 25 [^{}]*:constvalue 15 [[]( [0-9-]+){4}' -- 'app.user_id'
        ' 97 112 112 46 117 115 101 114 95 105 100 []][}]'
        '( [{]CONST :consttype 16 [^{}]*[}])?[)] [^{}]*[}]'
        ' [{]CONST :consttype 25 [^{}]*:constvalue 4 [[][^{}]*[}][)] [^{}]*[}]', -- ''
      '<me>', 'g') as tree
  from (
    select 'policy' as kind, p.oid, c.clause, c.tree::pg_catalog.text as tree
    from reached r
    join pg_catalog.pg_policy p on p.polrelid = r.oid
    cross join lateral (values
      ('using', case when p.polcmd <> 'a' then p.polqual end),
      ('with check', case when p.polcmd in ('a', 'w', '*') then coalesce(p.polwithcheck, p.polqual) end)
    ) as c (clause, tree)
    where p.polroles && array(select oid from grantee) and c.tree is not null
    union all
    select 'default', d.oid, null, d.adbin::pg_catalog.text
    from reached r
    join pg_catalog.pg_attrdef d on d.adrelid = r.oid
    union all
    select 'body', p.oid, null, p.prosqlbody::pg_catalog.text
    from pg_catalog.pg_proc p
    join identity_function i on i.oid = p.oid
  ) e
  left join identity_function f on e.kind <> 'body'
),

policy_clause as materialized (
  select p.oid, p.polname, p.polrelid, p.polcmd, p.polpermissive, p.polroles, e.clause, e.tree
  from expression e
  join pg_catalog.pg_policy p on p.oid = e.oid
  where e.kind = 'policy'
),

-- By its name; else by its key to app.users; else by its default; else by the policies themselves.
owner_column as materialized (
  select t.oid as table_oid, t.root, a.attnum, a.attname, a.attnotnull, a.atttypid, a.attcollation,
    t.oid in (select oid from known) as is_known
  from touched t
  left join known k on k.oid = t.root
  join pg_catalog.pg_attribute ra on ra.attrelid = t.root and ra.attname = coalesce(
    k.owner_column,
    (
      select u.attname
      from pg_catalog.pg_attribute u
      where u.attrelid = t.root and u.attname = 'user_id' and not u.attisdropped
    ),
    (
      select u.attname
      from pg_catalog.pg_constraint f
      join known ku on ku.oid = f.confrelid and ku.owner_column = 'id'
      join pg_catalog.pg_attribute u on u.attrelid = f.conrelid and u.attnum = f.conkey[1]
      where f.conrelid = t.root and f.contype = 'f' and pg_catalog.cardinality(f.conkey) = 1
      order by u.attnum
      limit 1
    ),
    (
      select u.attname
      from pg_catalog.pg_attrdef d
      join pg_catalog.pg_attribute u on u.attrelid = d.adrelid and u.attnum = d.adnum
      join pg_catalog.pg_depend g on g.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass and g.objid = d.oid
      where d.adrelid = t.root and g.refobjid in (select oid from identity_function)
      order by u.attnum
      limit 1
    ),
    (
      select u.attname
      from policy_clause p
      join pg_catalog.pg_attribute u on u.attrelid = p.polrelid
        and u.attnum::pg_catalog.text = pg_catalog.substring(
          p.tree, ':args [(](?:[{]RELABELTYPE :arg )?[{]VAR :varno 1 :varattno ([0-9]+) [^{}]*[}][^{}]*[}]? ?<me>')
      where p.polrelid = t.root and p.polpermissive
      order by u.attnum
      limit 1
    )
  )
  join pg_catalog.pg_attribute a on a.attrelid = t.oid and a.attname = ra.attname and not a.attisdropped
),

-- 6. Policies: is the expression the identity test, and nothing that lets more through? ----------------------

-- The tree is rewritten from the inside out: what compares the owner column with <me> by PostgreSQL's own
-- equality of text, under a collation in which only equal strings are equal, is <identity>, whichever comes
-- first and with a sub-select or without. `and` keeps it with whatever else, since that only restricts; `or`
-- only among its own kind. Where no rule applies, the innermost unknown nodes become <other>.
reduction as (
  select c.oid, c.clause, 0 as step,
    pg_catalog.regexp_replace(
      pg_catalog.regexp_replace(
        c.tree,
        pg_catalog.format('[{]VAR :varno 1 :varattno %s :[^{}]*:varlevelsup 0 [^{}]*[}]', coalesce(o.attnum, 0)),
        '<owner>', 'g'),
      pg_catalog.format(':inputcollid (%s) ', coalesce(
        (select pg_catalog.string_agg(oid::pg_catalog.text, '|') from pg_catalog.pg_collation where not collisdeterministic),
        'none')),
      ':inputcollid loose ', 'g') as tree
  from policy_clause c
  left join owner_column o on o.table_oid = c.polrelid
  union all
  select r.oid, r.clause, r.step + 1,
    case when n.tree <> r.tree then n.tree
      else pg_catalog.regexp_replace(r.tree, '[{][^{}]*[}]', '<other>', 'g')
    end
  from reduction r
  cross join lateral (
    select
      pg_catalog.regexp_replace(
      pg_catalog.regexp_replace(
      pg_catalog.regexp_replace(
      pg_catalog.regexp_replace(
      pg_catalog.regexp_replace(
      pg_catalog.regexp_replace(
      pg_catalog.regexp_replace(
        r.tree,
        -- (select <me>)
        '[{]SUBLINK :subLinkType 4 [^{}]*:subselect [{]QUERY [^{}]*:rtable <> [^{}]*'
          ':jointree [{]FROMEXPR :fromlist <> :quals <>[}] [^{}]*'
          ':targetList [(][{]TARGETENTRY :expr <me> [^{}]*[}][)] [^{}]*[}] [^{}]*[}]',
        '<me>', 'g'),
        -- <owner> in (select <me>)
        '[{]SUBLINK :subLinkType 2 [^{}]*:testexpr [{]OPEXPR :opno 98 [^{}]*:inputcollid [0-9]+ '
          ':args [(]<owner> [{]PARAM :paramkind 2 [^{}]*[}][)] [^{}]*[}] [^{}]*:subselect [{]QUERY [^{}]*:rtable <> [^{}]*'
          ':jointree [{]FROMEXPR :fromlist <> :quals <>[}] [^{}]*'
          ':targetList [(][{]TARGETENTRY :expr <me> [^{}]*[}][)] [^{}]*[}] [^{}]*[}]',
        '<identity>', 'g'),
        -- casts between varchar and text, and collate: they keep the bytes
        '[{](RELABELTYPE|COLLATEEXPR) :arg (<me>|<owner>) [^{}]*[}]', E'\\2', 'g'),
        -- <owner> = <me>
        '[{]OPEXPR :opno 98 [^{}]*:inputcollid [0-9]+ :args [(](<owner> <me>|<me> <owner>)[)] [^{}]*[}]',
        '<identity>', 'g'),
        -- <identity> and whatever else
        '[{]BOOLEXPR :boolop and :args [(](<(owner|me|other|identity)> )*<identity>( <(owner|me|other|identity)>)*[)] [^{}]*[}]',
        '<identity>', 'g'),
        '[{]BOOLEXPR :boolop or :args [(]<identity>( <identity>)*[)] [^{}]*[}]',
        '<identity>', 'g'),
        '[{]BOOLEANTEST :arg <identity> :booltesttype 0 [^{}]*[}]',
        '<identity>', 'g') as tree
  ) n
  where r.tree like '%{%' and r.step < 1000
),

judged as materialized (
  select c.oid, c.polname, c.polrelid, c.polcmd, c.polpermissive, c.polroles, c.clause,
    exists (select from reduction d where d.oid = c.oid and d.clause = c.clause and d.tree = '<identity>') as is_identity
  from policy_clause c
),

-- 7. Code that runs when the API works with a table, or that it can call -------------------------------------

-- A schema hides a function from who would name it, but not from who uses a cast, an operator, a domain, an
-- aggregate or another function that was made of it.
wrapped as materialized (
  select d.refobjid as function
  from pg_catalog.pg_depend d
  left join pg_catalog.pg_operator o on d.classid = 'pg_catalog.pg_operator'::pg_catalog.regclass and o.oid = d.objid
  left join pg_catalog.pg_proc p on d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass and p.oid = d.objid
  left join pg_catalog.pg_constraint k on d.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass and k.oid = d.objid
  left join pg_catalog.pg_type t on t.oid = k.contypid
  where d.refclassid = 'pg_catalog.pg_proc'::pg_catalog.regclass
    and d.refobjid = any (array(select oid from pg_catalog.pg_proc where prosecdef or proleakproof and oid >= 16384))
    and (
      d.classid = 'pg_catalog.pg_cast'::pg_catalog.regclass
      or coalesce(o.oprnamespace, p.pronamespace, t.typnamespace) in (select oid from usable)
    )
),

code as materialized (
  select p.oid, p.prosecdef, p.proconfig, p.proleakproof, p.proowner, p.provolatile, p.prolang, p.prorettype,
    p.prosrc || coalesce(pg_catalog.pg_get_function_sqlbody(p.oid), '') as body,
    l.lanname, l.lanpltrusted,
    pg_catalog.format('%I.%I(%s)', n.nspname, p.proname, pg_catalog.oidvectortypes(p.proargtypes)) as name,
    (
      n.oid in (select oid from usable)
      or p.oid in (select function from wrapped)
    )
    and p.prorettype not in ('pg_catalog.trigger'::pg_catalog.regtype, 'pg_catalog.event_trigger'::pg_catalog.regtype)
    and (
      p.proowner in (select oid from self)
      or p.proacl is null
      or p.oid in (select objid from grants where kind = 'function')
    ) as is_callable
  from pg_catalog.pg_proc p
  join pg_catalog.pg_namespace n on n.oid = p.pronamespace
  join pg_catalog.pg_language l on l.oid = p.prolang
  where (p.oid >= 16384 or p.prosecdef or p.proconfig is not null)
    and not exists (
      select
      from extension_member m
      where m.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass and m.objid = p.oid
    )
),

-- Triggers, defaults, checks, policies, indexes and rules of the tables call functions, whoever asks.
called_by as (
  select t.tgfoid as function, c.oid as table_oid, pg_catalog.format('trigger %I', t.tgname) as what
  from (select distinct oid from touched) c
  join pg_catalog.pg_trigger t on t.tgrelid = c.oid
  where not t.tgisinternal and t.tgenabled <> 'D'
  union all
  select d.refobjid, w.table_oid, w.what
  from (
    select 'pg_catalog.pg_attrdef'::pg_catalog.regclass::pg_catalog.oid as classid, d.oid, d.adrelid as table_oid, 'a default' as what
    from pg_catalog.pg_attrdef d
    where d.adrelid in (select oid from touched)
    union all
    select 'pg_catalog.pg_constraint'::pg_catalog.regclass, c.oid, c.conrelid, pg_catalog.format('constraint %I', c.conname)
    from pg_catalog.pg_constraint c
    where c.conrelid in (select oid from touched) and c.contype in ('c', 'x')
    union all
    select 'pg_catalog.pg_policy'::pg_catalog.regclass, p.oid, p.polrelid, pg_catalog.format('policy %I', p.polname)
    from pg_catalog.pg_policy p
    where p.polrelid in (select oid from touched) and p.polroles && array(select oid from grantee)
    union all
    select 'pg_catalog.pg_class'::pg_catalog.regclass, i.indexrelid, i.indrelid, 'an index'
    from pg_catalog.pg_index i
    where i.indrelid in (select oid from touched)
    union all
    select 'pg_catalog.pg_trigger'::pg_catalog.regclass, t.oid, t.tgrelid, pg_catalog.format('trigger %I', t.tgname)
    from pg_catalog.pg_trigger t
    where t.tgrelid in (select oid from touched) and not t.tgisinternal
    union all
    select 'pg_catalog.pg_rewrite'::pg_catalog.regclass, w.oid, w.ev_class, 'its definition'
    from pg_catalog.pg_rewrite w
    where w.ev_class in (select oid from touched)
  ) w
  join pg_catalog.pg_depend d on d.classid = w.classid and d.objid = w.oid
  where d.refclassid = 'pg_catalog.pg_proc'::pg_catalog.regclass
),

called as materialized (
  select b.function, b.table_oid,
    pg_catalog.string_agg(distinct b.what, ', ') as what,
    pg_catalog.min(pg_catalog.format('%I.%I', n.nspname, c.relname)) as table_name
  from called_by b
  join pg_catalog.pg_class c on c.oid = b.table_oid
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  group by b.function, b.table_oid
),

-- 8. Settings: by role, database, function, server or file ---------------------------------------------------

watched (name, sound, danger) as materialized (
  values
    ('app.user_id', '', 'a request that names no user acts as this one, and sees their rows'),
    ('role', 'none', 'what runs under it has another role''s grants and policies'),
    ('session_authorization', 'default', 'what runs under it has another role''s grants and policies'),
    ('row_security', 'on', 'whoever may bypass row security does so without notice'),
    ('session_replication_role', 'origin', 'triggers and foreign keys are switched off'),
    ('lo_compat_privileges', 'off', 'the privileges of large objects are not checked: every user reads every one'),
    ('transform_null_equals', 'off', 'a comparison with null becomes a test for null: a missing user id matches rows'),
    ('search_path', null, null) -- judged by its schemas
),

-- A role's setting for this database goes before the role's own, that before the database's, that before all's.
role_setting as materialized (
  select pg_catalog.lower(pg_catalog.split_part(c.entry, '=', 1)) as name,
    pg_catalog.substr(c.entry, pg_catalog.strpos(c.entry, '=') + 1) as value,
    (s.setrole <> 0)::integer * 2 + (s.setdatabase <> 0)::integer as rank,
    case when s.setrole = 0 and s.setdatabase = 0 then 'role all'
      when s.setrole = 0 then pg_catalog.format('database %I', pg_catalog.current_database())
      when s.setdatabase = 0 then 'role tasks_api'
      else pg_catalog.format('role tasks_api in database %I', pg_catalog.current_database())
    end as place
  from pg_catalog.pg_db_role_setting s
  cross join api
  cross join lateral pg_catalog.unnest(s.setconfig) as c (entry)
  where s.setrole in (0, api.oid)
    and s.setdatabase in (0, (select oid from pg_catalog.pg_database where datname = pg_catalog.current_database()))
),

-- The files may be read by few, and a view without permission would fail the whole audit, even unread:
-- ts_stat runs a query only where it is given one, and hands back its words.
file_setting as materialized (
  select pg_catalog.lower(pg_catalog.split_part(f.word, '=', 1)) as name,
    pg_catalog.substr(f.word, pg_catalog.strpos(f.word, '=') + 1) as value
  from pg_catalog.ts_stat(
    case when pg_catalog.has_table_privilege('pg_catalog.pg_file_settings', 'select')
        and pg_catalog.has_function_privilege('pg_catalog.pg_show_all_file_settings()', 'execute')
      then 'select pg_catalog.array_to_tsvector(pg_catalog.array_agg(pg_catalog.left(name || ''='' || coalesce(setting, ''''), 500)))
            from (select distinct on (name) name, setting from pg_catalog.pg_file_settings
                  where name is not null and error is null order by name, seqno desc) newest'
    end
  ) f
  where pg_catalog.lower(pg_catalog.split_part(f.word, '=', 1)) in (select name from watched)
),

setting as materialized (
  select name, value, pg_catalog.format('%s set %s', place, name) as object,
    pg_catalog.format('alter %s reset %s;', place, name) as remedy, null::pg_catalog.oid as function
  from role_setting
  union all
  select pg_catalog.lower(pg_catalog.split_part(e.entry, '=', 1)),
    pg_catalog.substr(e.entry, pg_catalog.strpos(e.entry, '=') + 1),
    pg_catalog.format('%s set %s', c.name, pg_catalog.split_part(e.entry, '=', 1)),
    pg_catalog.format('alter routine %s reset %s;', c.name, pg_catalog.split_part(e.entry, '=', 1)),
    c.oid
  from code c
  cross join lateral pg_catalog.unnest(c.proconfig) as e (entry)
  where c.is_callable or c.oid < 16384 or c.oid in (select function from called)
  union all
  select name, value, pg_catalog.format('configuration file: %s', name),
    pg_catalog.format('alter system reset %s; select pg_catalog.pg_reload_conf(); -- or take it out of the file', name), null
  from file_setting
  union all
  select s.name, s.reset_val, pg_catalog.format('server: %s', s.name),
    pg_catalog.format('alter system reset %s; select pg_catalog.pg_reload_conf(); -- or take it from where the server is started', s.name), null
  from pg_catalog.pg_settings s
  where s.name in (select name from watched)
    and s.source in ('configuration file', 'command line', 'environment variable')
    and s.name not in (select name from file_setting)
),

searched as (
  select s.object, s.remedy, s.value, s.function, pg_catalog.btrim(p.part, ' "') as schema,
    p.step = pg_catalog.count(*) over (partition by s.object) as is_last
  from setting s
  cross join lateral pg_catalog.unnest(pg_catalog.string_to_array(s.value, ',')) with ordinality as p (part, step)
  where s.name = 'search_path'
),

-- 9. Findings ------------------------------------------------------------------------------------------------

role_finding (severity, check_name, object, finding, remedy) as (
  select 'hole', 'missing', m.object,
    pg_catalog.format('%s does not exist: this is no database of the tasks API, or its migrations were not applied', m.object),
    '-- make migrate'
  from (
    select 'role tasks_api' as object
    where not exists (select from api)
    union all
    select pg_catalog.format('table app.%s', k.relname)
    from (values ('users'), ('tasks'), ('idempotency_keys')) as k (relname)
    where not exists (
      select
      from home
      join pg_catalog.pg_class c on c.relnamespace = home.oid
      where c.relname = k.relname and c.relkind in ('r', 'p')
    )
    union all
    select 'function app.current_user_id()'
    where not exists (select from identity_function)
  ) m
  union all
  select 'hole', 'role_attribute', s.way,
    pg_catalog.format('%s has the attribute %s: it %s', case when s.is_api then 'the API role' else 'the API role can become this role, which' end, a.attribute, a.danger),
    pg_catalog.format('alter role %I no%s;', s.rolname, pg_catalog.lower(a.attribute))
  from self s
  join pg_catalog.pg_roles r on r.oid = s.oid
  cross join lateral (values
    (r.rolsuper, 'SUPERUSER', 'passes every check, row security included, and reads and changes every user''s rows'),
    (r.rolbypassrls, 'BYPASSRLS', 'reads and changes every user''s rows, as if there were no policy'),
    (r.rolcreaterole, 'CREATEROLE', 'can make roles, and grant itself others, that see more than one user'),
    (r.rolcreatedb, 'CREATEDB', 'can copy a template database, or make one in which nothing keeps users apart'),
    (r.rolreplication, 'REPLICATION', 'can read every user''s changes from the write-ahead log')
  ) as a (is_set, attribute, danger)
  where a.is_set and (s.is_api or s.rolname not like 'pg\_%')
  union all
  select 'hole', 'role_membership', s.way,
    pg_catalog.format('the API role is a member of %I, directly or through others: it can %s', s.rolname,
      case s.rolname
        when 'pg_read_all_data' then 'read every table, so the day a table lacks row security it reads every user''s rows'
        when 'pg_write_all_data' then 'write to every table, whatever was granted'
        when 'pg_read_server_files' then 'read the server''s files, among them the tables themselves'
        when 'pg_write_server_files' then 'write the server''s files, and so take over the server'
        when 'pg_execute_server_program' then 'run programs as the server, and so read and change every user''s rows'
        when 'pg_monitor' then 'watch the statements and statistics of everybody else'
        when 'pg_read_all_stats' then 'watch the statements and statistics of everybody else'
        when 'pg_read_all_settings' then 'read settings that are hidden from others'
        when 'pg_stat_scan_tables' then 'look into tables with monitoring functions, which ignore row security'
        when 'pg_signal_backend' then 'cancel and end other users'' requests'
        when 'pg_checkpoint' then 'slow down the server with checkpoints'
        when 'pg_maintain' then 'lock every table, and count its rows with VACUUM VERBOSE'
        when 'pg_create_subscription' then 'make subscriptions, which write past row security'
        when 'pg_use_reserved_connections' then 'take the connections kept for administrators'
        when 'pg_database_owner' then 'do what the owner of the database can'
        else 'use its privileges, and see and change what its policies and grants let through'
      end),
    (
      select pg_catalog.format('revoke %I from %I;', roleof.rolname, memberof.rolname)
      from pg_catalog.pg_roles roleof, pg_catalog.pg_roles memberof
      where memberof.oid = s.path[1] and roleof.oid = s.path[2]
    )
  from self s
  where not s.is_api
  union all
  select 'warning', 'role_membership', pg_catalog.format('tasks_api -> %I', r.rolname),
    pg_catalog.format('the API role is a member of %I: without the options to inherit, set or administer it this gives nothing yet, but one ALTER away it does', r.rolname),
    pg_catalog.format('revoke %I from tasks_api;', r.rolname)
  from membership m
  join api on api.oid = m.member
  join pg_catalog.pg_roles r on r.oid = m.roleid
  where not (m.inherit_option or m.set_option or m.admin_option)
  union all
  select 'hole', 'role_impersonation', i.way,
    pg_catalog.format('%I can become the API role, directly or through others, and then name any user in app.user_id and read their rows', i.rolname),
    pg_catalog.format('revoke tasks_api from %I;', i.first_name)
  from (
    select distinct on (i.oid) r.rolname, f.rolname as first_name,
      (
        select pg_catalog.string_agg(pg_catalog.quote_ident(s.rolname), ' -> ' order by p.step desc)
        from pg_catalog.unnest(i.path) with ordinality as p (oid, step)
        join pg_catalog.pg_roles s on s.oid = p.oid
      ) as way
    from impersonator i
    join pg_catalog.pg_roles r on r.oid = i.oid
    join pg_catalog.pg_roles f on f.oid = i.path[2]
    order by i.oid, pg_catalog.cardinality(i.path)
  ) i
  union all
  -- Rights of owners can't be revoked. Beyond 25 objects a role's list is cut: one is enough to act.
  select 'hole', 'role_ownership', o.object,
    pg_catalog.format('this %s belongs to %s: its owner can change it, grant it and switch its protection off', o.type,
      case when o.is_api then 'the API role' else pg_catalog.format('%I, which the API role can become (%s)', o.rolname, o.way) end),
    case o.type
      when 'large object' then pg_catalog.format('alter large object %s owner to %I;', o.object, o.heir)
      when 'database' then pg_catalog.format('alter database %s owner to %I;', o.object, o.heir)
      else pg_catalog.format('reassign owned by %I to %I;', o.rolname, o.heir)
    end
  from (
    select s.rolname, s.is_api, s.way, i.type, i.identity as object,
      coalesce(
        (
          select t.rolname
          from pg_catalog.pg_roles t
          where t.oid in (select oid from trusted) and t.rolname !~ '^pg_' and t.oid not in (select oid from self)
          order by t.oid = (select nspowner from home) desc, t.oid
          limit 1
        ),
        'postgres'
      ) as heir,
      pg_catalog.row_number() over (partition by s.oid order by i.identity !~ '^app[.]', i.identity) as place
    from pg_catalog.pg_shdepend d
    join self s on s.oid = d.refobjid
    cross join lateral pg_catalog.pg_identify_object(d.classid, d.objid, d.objsubid) i
    where d.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass
      and d.deptype = 'o'
      and d.dbid in (0, (select oid from pg_catalog.pg_database where datname = pg_catalog.current_database()))
      and coalesce(i.schema, '') !~ '^pg_(toast_)?temp'
      and i.identity is not null
      and i.type not in ('toast table', 'index')
  ) o
  where o.place <= 25
  union all
  select 'warning', 'role_limit', 'tasks_api',
    pg_catalog.format('the API role has no %s: %s', l.name, l.danger),
    pg_catalog.format('alter %s set %s = %L;', case when e.place like 'role tasks_api%' then e.place else 'role tasks_api' end, l.name, l.value)
  from (values
    ('statement_timeout', '5s', 'one statement can keep a connection, and everybody who waits for it, busy for ever'),
    ('lock_timeout', '2s', 'requests queue without end behind somebody''s lock'),
    ('idle_in_transaction_session_timeout', '10s', 'a client that stalls in a transaction keeps its locks for ever')
  ) as l (name, value, danger)
  cross join api
  left join lateral (
    select s.place, s.value
    from role_setting s
    where s.name = l.name
    order by s.rank desc
    limit 1
  ) e on true
  where e.value is null or e.value ~ '^0*[a-z]*$'
),

reach_finding (severity, check_name, object, finding, remedy) as (
  select 'hole', 'row_security', r.name,
    'row security is off for this table, which the API role can reach: every user reads, and with the privilege for it changes, every other user''s rows',
    pg_catalog.format('alter table %s enable row level security; alter table %s force row level security;', r.name, r.name)
  from reached r
  where r.relkind in ('r', 'p') and not r.relrowsecurity
  union all
  select 'hole', 'row_security_not_forced', r.name,
    'row security is not forced for this table: whatever runs as its owner (a function, a view, a job) passes over every user''s rows',
    pg_catalog.format('alter table %s force row level security;', r.name)
  from reached r
  where r.relkind in ('r', 'p') and r.relrowsecurity and not r.relforcerowsecurity
  union all
  select 'hole', 'foreign_table', r.name,
    'the API role can reach this foreign table: its rows lie on another server, where no policy of this database holds',
    pg_catalog.format('revoke all on %s from tasks_api, public;', r.name)
  from reached r
  where r.relkind = 'f'
  union all
  select 'warning', 'foreign_table', pg_catalog.format('%I.%I', n.nspname, c.relname),
    'this foreign table is a partition or child of a table that the API works with: users'' rows lie on another server, where no policy of this database holds',
    pg_catalog.format('drop foreign table %I.%I; -- after moving its rows', n.nspname, c.relname)
  from pg_catalog.pg_class c
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  where c.relkind = 'f' and c.oid in (select oid from touched) and c.oid not in (select oid from reached)
  union all
  select 'hole', 'materialized_view', r.name,
    'the API role can reach this materialised view: it keeps a copy of the rows that its owner saw, without row security, which it cannot have',
    pg_catalog.format('revoke all on %s from tasks_api, public;', r.name)
  from reached r
  where r.relkind = 'm'
  union all
  select 'hole', 'view', r.name,
    case when r.oid = v.reader then pg_catalog.format('this view runs as its owner, not as whoever asks: through it the API role reaches what the owner sees of %s', v.names)
      else pg_catalog.format('this view runs as its invoker, but reads %s through %s, which runs as its owner: the API role reaches what that owner sees', v.names, v.reader_name)
    end,
    pg_catalog.format('alter view %s set (security_invoker = true);', v.reader_name)
  from reached r
  join (
    select v.view, v.reader, pg_catalog.string_agg(distinct v.name, ', ') as names,
      pg_catalog.format('%I.%I', n.nspname, c.relname) as reader_name
    from view_source v
    join pg_catalog.pg_class c on c.oid = v.reader
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where v.as_owner and v.has_rows
    group by v.view, v.reader, n.nspname, c.relname
  ) v on v.view = r.oid
  union all
  select 'warning', 'view', r.name,
    'this view runs as its owner, not as whoever asks: only the views that it reads keep users apart',
    pg_catalog.format('alter view %s set (security_invoker = true);', r.name)
  from reached r
  where r.oid in (select oid from view_as_owner)
    and r.oid in (select view from view_source where has_rows)
    and r.oid not in (select view from view_source where has_rows and as_owner)
  union all
  select 'hole', 'view', r.name,
    pg_catalog.format('this view reads %s, a copy of rows without row security: through it the API role can reach every user''s', v.name),
    pg_catalog.format('drop view %s;', r.name)
  from reached r
  join view_source v on v.view = r.oid
  where v.relkind = 'm' and not v.as_owner and v.oid >= 16384
  union all
  select 'hole', 'rule', pg_catalog.format('%I on %s', w.rulename, r.name),
    'a rule rewrites what is done with this relation, and what it adds runs as the relation''s owner: rows can be copied or changed past the policies',
    pg_catalog.format('drop rule %I on %s;', w.rulename, r.name)
  from touched t
  join reached r on r.oid = t.oid
  join pg_catalog.pg_rewrite w on w.ev_class = r.oid
  where w.rulename <> '_RETURN' and t.oid = t.root
  union all
  select 'warning', 'owner', r.name,
    pg_catalog.format('this table belongs to %I, who owns neither the database nor its schema: they can switch its row security off', o.rolname),
    pg_catalog.format('alter table %s owner to %I;', r.name, h.rolname)
  from reached r
  join pg_catalog.pg_roles o on o.oid = r.relowner
  cross join home
  join pg_catalog.pg_roles h on h.oid = home.nspowner
  where r.relkind in ('r', 'p')
    and r.relowner not in (select oid from trusted)
    and r.relowner not in (select oid from self)
    and r.relowner <> (select n.nspowner from pg_catalog.pg_namespace n where n.oid = r.relnamespace)
),

policy_finding (severity, check_name, object, finding, remedy) as (
  select 'hole', 'policy', pg_catalog.format('%I on %s', j.polname, r.name),
    pg_catalog.format('this permissive policy applies to the API role and is not the identity test: it lets through what satisfies %s',
      pg_catalog.string_agg(
        pg_catalog.format('%s %s', j.clause, coalesce(
          pg_catalog.pg_get_expr(case j.clause when 'using' then p.polqual else coalesce(p.polwithcheck, p.polqual) end, p.polrelid, false),
          'nothing')),
        ' and ' order by j.clause)),
    case when o.attname is null then pg_catalog.format('drop policy if exists %I on %s;', j.polname, r.name)
      when r.is_known and j.polname in ('select_own', 'insert_own', 'update_own', 'delete_own') then
        pg_catalog.format('alter policy %I on %s', j.polname, r.name)
        || case when j.polcmd <> 'a' then pg_catalog.format(' using (%I = app.current_user_id())', o.attname) else '' end
        || case when j.polcmd in ('a', 'w', '*') then pg_catalog.format(' with check (%I = app.current_user_id())', o.attname) else '' end
        || ';'
      else pg_catalog.format('drop policy if exists %I on %s;', j.polname, r.name)
    end
  from judged j
  join reached r on r.oid = j.polrelid
  join pg_catalog.pg_policy p on p.oid = j.oid
  left join owner_column o on o.table_oid = j.polrelid and o.root = j.polrelid
  where j.polpermissive and not j.is_identity
    -- Whatever it lets through, a restrictive identity test may hold back.
    and not exists (
      select
      from judged g
      cross join api
      where g.polrelid = j.polrelid and g.clause = j.clause and g.polcmd in ('*', j.polcmd)
        and not g.polpermissive and g.is_identity
        and (0 = any (g.polroles) or api.oid = any (g.polroles))
    )
  group by j.polname, j.polcmd, r.name, r.is_known, o.attname
  union all
  select 'warning', 'policy_missing', r.name,
    pg_catalog.format('%s is granted here, but no policy says on which rows: none while row security is on, all of them the day it is off', m.privileges),
    pg_catalog.string_agg(
      case
        when o.attname is null then pg_catalog.format('revoke %s on %s from %s;', m.privilege, r.name, m.grantees)
        when q.polname is not null then pg_catalog.format('alter policy %I on %s to tasks_api;', q.polname, r.name)
        else pg_catalog.format('create policy %s_own on %s for %s to tasks_api %s (%I = app.current_user_id());',
          m.privilege, r.name, m.privilege, case m.privilege when 'insert' then 'with check' else 'using' end, o.attname)
      end,
      ' ' order by m.privilege)
  from reached r
  cross join lateral (
    select pg_catalog.lower(u.privilege) as privilege, c.polcmd, u.grantees,
      pg_catalog.string_agg(u.privilege, ', ') over () as privileges
    from right_on u
    join (values ('SELECT', 'r'), ('INSERT', 'a'), ('UPDATE', 'w'), ('DELETE', 'd')) as c (privilege, polcmd) using (privilege)
    where u.oid = r.oid
      and not exists (
        select
        from judged j
        where j.polrelid = r.oid and j.polpermissive and j.polcmd in ('*', c.polcmd::"char")
      )
  ) m
  left join owner_column o on o.table_oid = r.oid and o.root = r.oid
  left join pg_catalog.pg_policy q on q.polrelid = r.oid and q.polname = m.privilege || '_own'
  where r.relkind in ('r', 'p')
  group by r.name, m.privileges
  union all
  select 'hole', 'owner_column', pg_catalog.format('%s.%I', r.name, o.attname),
    pg_catalog.format('this column says whose a row is, but %s', w.wrong),
    w.remedy
  from reached r
  join owner_column o on o.table_oid = r.oid and o.root = r.oid
  join pg_catalog.pg_type t on t.oid = o.atttypid
  cross join lateral (
    -- A column's type can't change under its policies.
    select coalesce(pg_catalog.string_agg(pg_catalog.format('drop policy if exists %I on %s;', p.polname, r.name), ' '), '') as drops
    from pg_catalog.pg_policy p
    where p.polrelid = r.oid
  ) d
  cross join lateral (values
    (
      not o.attnotnull or exists (
        select
        from pg_catalog.pg_constraint n
        where n.conrelid = o.table_oid and n.contype = 'n' and n.conkey = array[o.attnum] and not n.convalidated -- 18
      ),
      'may be null: such rows belong to nobody, and any test for null hands them to everybody',
      pg_catalog.format('alter table %s alter column %I set not null;', r.name, o.attname)
    ),
    (
      coalesce(nullif(t.typbasetype, 0), t.oid) not in (25, 1043), -- text, varchar
      pg_catalog.format('its type %s does not compare every character of a user id: different users can count as one',
        pg_catalog.format_type(o.atttypid, null)),
      pg_catalog.format('%s alter table %s alter column %I type text collate "C";', d.drops, r.name, o.attname)
    ),
    (
      exists (select from pg_catalog.pg_collation l where l.oid = o.attcollation and not l.collisdeterministic),
      'its collation takes different strings for equal: a user whose id only looks like another''s reads their rows',
      pg_catalog.format('%s alter table %s alter column %I type text collate "C";', d.drops, r.name, o.attname)
    )
  ) as w (is_wrong, wrong, remedy)
  where r.relkind in ('r', 'p') and w.is_wrong
  union all
  select 'hole', 'owner_default', pg_catalog.format('%s.%I', r.name, o.attname),
    pg_catalog.format('the default of the column that says whose a row is is %s, not the user of this transaction: rows can be made for somebody else',
      pg_catalog.pg_get_expr(d.adbin, d.adrelid)),
    pg_catalog.format('alter table %s alter column %I set default app.current_user_id();', r.name, o.attname)
  from reached r
  join owner_column o on o.table_oid = r.oid and o.root = r.oid
  join pg_catalog.pg_attrdef d on d.adrelid = r.oid and d.adnum = o.attnum
  where r.relkind in ('r', 'p')
    and not exists (
      select
      from expression e
      where e.kind = 'default' and e.oid = d.oid
        and e.tree ~ '^([{]COERCETODOMAIN :arg )?([{]FUNCEXPR :funcid 669 [^{}]*:args [(])?([{]RELABELTYPE :arg )?<me>' -- 669: length of varchar
    )
  union all
  select 'hole', 'shared_counter', pg_catalog.format('%s.%I', r.name, a.attname),
    'this column is counted over all users: the gaps in one''s own numbers tell how much everybody else does',
    pg_catalog.format('alter table %s alter column %I %sset default app.next_task_id();', r.name, a.attname,
      case when a.attidentity <> '' then 'drop identity, alter column id ' else '' end)
  from reached r
  join pg_catalog.pg_attribute a on a.attrelid = r.oid and a.attname = 'id'
  left join pg_catalog.pg_attrdef d on d.adrelid = r.oid and d.adnum = a.attnum
  where r.is_known
    and (
      a.attidentity <> ''
      or exists (
        select
        from pg_catalog.pg_depend u
        join pg_catalog.pg_class s on s.oid = u.refobjid and s.relkind = 'S'
        where u.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass and u.objid = d.oid
          and u.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
      )
    )
),

key_finding (severity, check_name, object, finding, remedy) as (
  select 'hole', 'unique_key', pg_catalog.format('%I on %I.%I', i.relname, n.nspname, c.relname),
    pg_catalog.format('this %s spans all users%s: an error on a duplicate tells one user that another has such a row',
      case when x.indisexclusion then 'exclusion constraint' else 'unique index' end,
      case when o.attname is null then '' else pg_catalog.format(', since it does not compare %I for equality', o.attname) end),
    case when k.conname is null then pg_catalog.format('drop index %I.%I;', n.nspname, i.relname)
      else pg_catalog.format('alter table %I.%I drop constraint %I;', n.nspname, c.relname, k.conname)
    end || case when o.attname is null then '' else pg_catalog.format(' -- and make it again with %I first', o.attname) end
  from (select oid, pg_catalog.min(root) as root from touched group by oid) t
  join pg_catalog.pg_class c on c.oid = t.oid
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  join pg_catalog.pg_index x on x.indrelid = t.oid
  join pg_catalog.pg_class i on i.oid = x.indexrelid
  left join pg_catalog.pg_constraint k on k.conindid = i.oid and k.conrelid = t.oid and k.contype in ('p', 'u', 'x')
  left join owner_column o on o.table_oid = t.oid and o.root = t.root
  where (x.indisunique or x.indisexclusion)
    and c.relkind in ('r', 'p')
    and t.root in (select oid from right_on where privilege in ('INSERT', 'UPDATE')) -- else nobody can try
    -- Of a partitioned index only the top is named.
    and not exists (select from pg_catalog.pg_inherits h where h.inhrelid = i.oid)
    and not exists (
      select
      from pg_catalog.generate_series(0, x.indnkeyatts - 1) as p (place)
      where x.indkey[p.place] = o.attnum
        and not exists (select from pg_catalog.pg_collation l where l.oid = x.indcollation[p.place] and not l.collisdeterministic)
        and case when x.indisexclusion then k.conexclop[p.place + 1] = 98 -- = of text
          else x.indclass[p.place] < 16384
        end
    )
    -- A key that nobody can choose can't be probed: identity, sequence or random.
    and not exists (
      select
      from pg_catalog.generate_series(0, x.indnkeyatts - 1) as p (place)
      join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum = x.indkey[p.place]
      left join pg_catalog.pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
      where c.oid not in (select oid from known)
        and (a.attidentity <> '' or pg_catalog.pg_get_expr(d.adbin, d.adrelid) ~ '(nextval|uuid[a-z_0-9]*)[(]')
        and not exists (
          select
          from granted g
          where g.objid = t.root and g.privilege in ('INSERT', 'UPDATE') and (g.subid = 0 or g.column_name = a.attname)
        )
    )
  union all
  select 'hole', 'foreign_key', pg_catalog.format('%I on %I.%I', f.conname, n.nspname, c.relname),
    pg_catalog.format('this foreign key finds rows of every user in %I.%I: by naming a key, one user learns whether another has it, or ties rows to it',
      rn.nspname, rc.relname),
    pg_catalog.format('alter table %I.%I drop constraint %I; -- and make it again with the owner''s column first', n.nspname, c.relname, f.conname)
  from (select oid, pg_catalog.min(root) as root from touched group by oid) t
  join pg_catalog.pg_constraint f on f.conrelid = t.oid and f.contype = 'f' and f.conparentid = 0
  join pg_catalog.pg_class c on c.oid = f.conrelid
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  join pg_catalog.pg_class rc on rc.oid = f.confrelid
  join pg_catalog.pg_namespace rn on rn.oid = rc.relnamespace
  left join owner_column o on o.table_oid = f.conrelid and o.root = t.root
  left join owner_column ro on ro.table_oid = f.confrelid and ro.root = f.confrelid
  where t.root in (select oid from right_on where privilege in ('INSERT', 'UPDATE'))
    and (ro.attnum is not null or rc.relrowsecurity)
    and not exists (
      select
      from pg_catalog.generate_subscripts(f.conkey, 1) as k (place)
      where f.conkey[k.place] = o.attnum and f.confkey[k.place] = ro.attnum
    )
),

privilege_finding (severity, check_name, object, finding, remedy) as (
  select 'hole', 'privilege', g.object,
    pg_catalog.format('%s may %s here: %s', g.who, g.privilege,
      case g.privilege
        when 'TRUNCATE' then 'row security does not apply to it, so one statement deletes every user''s rows'
        when 'REFERENCES' then 'a foreign key to it tells whether another user''s row exists'
        when 'TRIGGER' then 'a trigger on it sees, and can change, every user''s rows as they are written'
        else 'it can lock everybody out, and VACUUM VERBOSE counts every user''s rows'
      end),
    g.revoke
  from granted g
  join reached r on r.oid = g.objid
  where g.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
    and (r.relkind in ('r', 'p', 'f') and g.privilege in ('TRUNCATE', 'REFERENCES', 'TRIGGER', 'MAINTAIN')
      or r.relkind = 'v' and g.privilege = 'TRIGGER')
  union all
  select 'hole', 'owner_column_grant', pg_catalog.format('%s.%I', r.name, o.attname),
    pg_catalog.format('%s may %s the column that says whose a row is: only one policy then stands between a mistake and a row in another user''s name',
      g.who, g.privilege),
    g.revoke || case
      when r.name = 'app.tasks' and g.subid = 0 then pg_catalog.format(' grant %s (title, description, completed) on app.tasks to tasks_api;', pg_catalog.lower(g.privilege))
      when r.name = 'app.users' and g.privilege = 'UPDATE' then ' grant update (last_task_id) on app.users to tasks_api;'
      when r.name = 'app.users' then ' grant insert (id) on app.users to tasks_api;'
      when r.name = 'app.idempotency_keys' and g.privilege = 'INSERT' then ' grant insert (key, task) on app.idempotency_keys to tasks_api;'
      else ''
    end
  from granted g
  join reached r on r.oid = g.objid
  join owner_column o on o.table_oid = r.oid and o.root = r.oid
  where g.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
    and g.privilege in ('INSERT', 'UPDATE')
    and (g.subid = o.attnum and (g.privilege = 'UPDATE' or r.is_known) or g.subid = 0 and r.is_known)
    and not (r.name = 'app.users' and g.subid = o.attnum and g.privilege = 'INSERT')
  union all
  select 'warning', 'decided_column_grant', g.object,
    pg_catalog.format('%s may %s this column, which the database decides: a version, number or time could be forged, and an update lost',
      g.who, g.privilege),
    g.revoke
  from granted g
  join known k on k.oid = g.objid
  where g.column_name = any (k.decided)
    and g.privilege in ('INSERT', 'UPDATE')
    and not (g.column_name = 'last_task_id' and g.privilege = 'UPDATE')
  union all
  select 'hole', 'public_grant', g.object,
    pg_catalog.format('everybody who can connect may %s here, through PUBLIC: the rows are no longer the API''s alone', g.privilege),
    g.revoke
  from granted g
  left join reached r on r.oid = g.objid
  join pg_catalog.pg_class c on c.oid = g.objid
  cross join home
  where g.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
    and g.grantee = 0
    and c.relnamespace = home.oid
    and not g.is_foreign
    and (c.relkind in ('r', 'p', 'f', 'm'))
    and g.privilege not in ('TRUNCATE', 'REFERENCES', 'TRIGGER', 'MAINTAIN')
  union all
  select 'warning', 'public_grant', 'app',
    pg_catalog.format('everybody who can connect may %s schema app, through PUBLIC: whatever is granted to PUBLIC in it one day is theirs', g.privilege),
    g.revoke
  from granted g
  cross join home
  where g.kind = 'schema' and g.objid = home.oid and g.grantee = 0 and g.privilege = 'USAGE'
  union all
  select 'hole', 'grant_option', g.object,
    pg_catalog.format('%s may pass its right to %s on to others: whoever runs SQL as it can let anybody in', g.grantee_name, g.privilege),
    pg_catalog.regexp_replace(g.revoke, '^revoke ', 'revoke grant option for ')
  from granted g
  where g.is_grantable
  union all
  select 'hole', 'sequence', g.object,
    pg_catalog.format('%s may %s this sequence: its numbers tell how much all users do, or can be advanced for them',
      g.who, g.privilege),
    g.revoke
  from granted g
  join pg_catalog.pg_class c on c.oid = g.objid
  where g.kind = 'S' and not g.is_foreign and c.relnamespace in (select oid from usable)
  union all
  select 'hole', 'create', g.object,
    pg_catalog.format('%s may create objects in this %s: one that stands in front of another, or that others call, runs with their rights',
      g.who, g.kind),
    g.revoke
  from granted g
  where g.privilege = 'CREATE' and g.kind in ('schema', 'database', 'tablespace')
  union all
  select 'warning', 'create', 'app',
    pg_catalog.format('%I, who is not the API, may create objects in schema app: a function or operator there can stand in for the real one', r.rolname),
    pg_catalog.format('revoke create on schema app from %I;', r.rolname)
  from pg_catalog.pg_namespace n
  join home on home.oid = n.oid
  cross join lateral pg_catalog.aclexplode(n.nspacl) a
  join pg_catalog.pg_roles r on r.oid = a.grantee
  where a.privilege_type = 'CREATE'
    and a.grantee not in (select oid from trusted)
    and a.grantee not in (select oid from grantee)
  union all
  select 'hole', 'temp', g.object,
    pg_catalog.format('%s was granted TEMP on this database: a temporary table stands in front of the real one of its name, and keeps rows from one user''s request to the next''s', g.grantee_name),
    g.revoke
  from granted g
  where g.privilege = 'TEMPORARY' and g.kind = 'database' and g.grantee <> 0
  union all
  select 'hole', 'system_privilege', g.object,
    pg_catalog.format('%s was granted %s on this %s of PostgreSQL or an extension, which is withheld by default because it reaches past tables and policies',
      g.who, g.privilege,
      case g.kind when 'function' then 'function' when 'column' then 'column' else 'object' end),
    g.revoke
  from granted g
  where (g.is_foreign and not g.is_initial or g.kind = 't') -- t: where long values of a table are kept
    and g.kind not in ('schema', 'database', 'language', 'foreign data wrapper', 'foreign server', 'tablespace', 'large object', 'parameter', 'type')
  union all
  select 'hole', 'large_object', g.object,
    pg_catalog.format('%s may %s this large object: large objects have no policies, every user shares them',
      g.who, g.privilege),
    g.revoke
  from granted g
  where g.kind = 'large object'
  union all
  select 'hole', 'parameter', g.object,
    pg_catalog.format('%s may %s this parameter, which is kept for superusers: session_replication_role, for one, switches triggers and keys off',
      g.who, g.privilege),
    g.revoke
  from granted g
  where g.kind = 'parameter'
  union all
  select 'hole', 'foreign_server', g.object,
    pg_catalog.format('%s may use this %s: it can reach another server, or this one as somebody else', g.who, g.kind),
    g.revoke
  from granted g
  where g.kind in ('foreign server', 'foreign data wrapper')
  union all
  select case when m.umuser = 0 then 'warning' else 'hole' end, 'foreign_server', m.srvname::pg_catalog.text,
    pg_catalog.format('a user mapping lets %s log in at this foreign server: with it the API can reach another server, or this one as somebody else',
      case when m.umuser = 0 then 'everybody' else m.usename end),
    pg_catalog.format('drop user mapping for %s server %I;', e.name, m.srvname)
  from pg_catalog.pg_user_mappings m
  join grantee e on e.oid = m.umuser
  union all
  select 'hole', 'language', pg_catalog.quote_ident(l.lanname),
    'this language reaches past PostgreSQL''s checks, but is marked as trusted: everybody may write functions in it',
    pg_catalog.format('update pg_catalog.pg_language set lanpltrusted = false where lanname = %L;', l.lanname)
  from pg_catalog.pg_language l
  where l.lanpltrusted and l.lanname in ('c', 'internal', 'plperlu', 'plpythonu', 'plpython2u', 'plpython3u', 'pltclu')
  union all
  select case when a.kind in ('r', 'S', 'n', 'L') then 'hole' else 'warning' end, 'default_privilege',
    pg_catalog.format('default privileges of %s%s', o.rolname, case when n.oid is null then '' else pg_catalog.format(' in schema %I', n.nspname) end),
    pg_catalog.format('%s that %I makes%s will be granted %s to %s at once, before anybody thought about its row security',
      k.one, o.rolname, case when n.oid is null then '' else pg_catalog.format(' in schema %I', n.nspname) end,
      a.privileges, a.grantee_name),
    pg_catalog.format('alter default privileges for role %I%s revoke all on %s from %s;', o.rolname,
      case when n.oid is null then '' else pg_catalog.format(' in schema %I', n.nspname) end, k.many, a.grantee_name)
  from (
    select d.defaclrole, d.defaclnamespace, d.defaclobjtype as kind, e.oid as grantee, e.name as grantee_name,
      pg_catalog.string_agg(x.privilege_type, ', ') as privileges
    from pg_catalog.pg_default_acl d
    cross join lateral pg_catalog.aclexplode(d.defaclacl) x
    join grantee e on e.oid = x.grantee
    where x.grantee <> d.defaclrole
      and not (x.grantee = 0 and d.defaclobjtype in ('f', 'T'))
    group by d.defaclrole, d.defaclnamespace, d.defaclobjtype, e.oid, e.name
  ) a
  join pg_catalog.pg_roles o on o.oid = a.defaclrole
  join (values
    ('r', 'each table', 'tables'), ('S', 'each sequence', 'sequences'), ('n', 'each schema', 'schemas'),
    ('L', 'each large object', 'large objects'), ('f', 'each function', 'functions'), ('T', 'each type', 'types')
  ) as k (kind, one, many) on k.kind = a.kind::pg_catalog.text
  left join pg_catalog.pg_namespace n on n.oid = a.defaclnamespace
  where a.defaclnamespace = 0 or a.kind = 'n' or a.grantee <> 0 or a.defaclnamespace in (select oid from usable)
),

code_finding (severity, check_name, object, finding, remedy) as (
  select 'hole', 'identity_function', c.name,
    pg_catalog.format('every policy asks this function who the user is, but %s', w.wrong),
    w.remedy
  from identity_function f
  join pg_catalog.pg_proc p on p.oid = f.oid
  join code c on c.oid = f.oid
  cross join lateral (
    select
      p.prorettype = 25 and c.lanname = 'sql'
      and (
        exists (
          select
          from expression e
          where e.kind = 'body' and e.oid = p.oid
            and e.tree ~ (
              '^[(]*[{]QUERY :commandType 1 [^{}]*:cteList <> :rtable <> [^{}]*'
              ':jointree [{]FROMEXPR :fromlist <> :quals <>[}] [^{}]*'
              ':targetList [(][{]TARGETENTRY :expr <me> [^{}]*[}][)] [^{}]*[}][)]*$')
        )
        or p.prosqlbody is null
          and pg_catalog.regexp_replace(pg_catalog.lower(p.prosrc), '(pg_catalog[.]|::text|::pg_catalog[.]text|[[:space:];])', '', 'g')
            = 'selectnullif(current_setting(''app.user_id'',true),'''')'
      ) as is_sound
  ) b
  cross join lateral (values
    (
      not b.is_sound,
      'its body is not nullif(current_setting(''app.user_id'', true), ''''): it can name somebody else, or somebody where nobody was named',
      'create or replace function app.current_user_id() returns text language sql stable parallel safe return nullif(current_setting(''app.user_id'', true), '''');'
    ),
    (
      p.provolatile = 'i',
      'it is marked immutable: a prepared statement keeps the user of its first request and answers the next user with their rows',
      'alter function app.current_user_id() stable;'
    ),
    (
      p.prosecdef,
      'it runs as its owner: what it answers is no longer bound to whoever asks',
      'alter function app.current_user_id() security invoker;'
    )
  ) as w (is_wrong, wrong, remedy)
  where w.is_wrong
  union all
  select 'hole', 'identity_function', pg_catalog.format('%I.%I(%s)', n.nspname, p.proname, pg_catalog.oidvectortypes(p.proargtypes)),
    'the identity test is made of this function of PostgreSQL, but somebody replaced it: it can name somebody else, or take every user for equal',
    '-- restore the database into a new one; PostgreSQL''s own functions can''t be made again'
  from pg_catalog.pg_proc p
  join pg_catalog.pg_namespace n on n.oid = p.pronamespace
  where p.oid in (67, 2077, 3294) -- texteq, current_setting
    and p.prosrc not in ('texteq', 'show_config_by_name', 'show_config_by_name_missing_ok')
  union all
  select 'warning', 'identity_function', c.name,
    'every policy asks this function who the user is, and since it is marked volatile it is asked for every row: whoever changes app.user_id within a statement sees rows of both users',
    'alter function app.current_user_id() stable;'
  from identity_function f
  join pg_catalog.pg_proc p on p.oid = f.oid
  join code c on c.oid = f.oid
  where p.provolatile = 'v'
  union all
  select 'warning', 'identity_change', c.name,
    'the API role may call this function, which sets app.user_id: any statement that calls it goes on as somebody else',
    pg_catalog.format('revoke execute on routine %s from public, tasks_api;', c.name)
  from code c
  where c.is_callable
    and c.body ~* 'app[.]user_id'
    and c.body ~* 'set_config|\yset\y'
  union all
  select 'warning', 'public_grant', g.object,
    'everybody who can connect may call this function of the API, through PUBLIC: the migrations withhold that',
    g.revoke
  from granted g
  join pg_catalog.pg_proc p on p.oid = g.objid
  cross join home
  where g.kind = 'function' and g.grantee = 0
    and p.pronamespace = home.oid
    and p.proname in ('current_user_id', 'next_task_id', 'trimmed', 'schema_version', 'create_task_once', 'refuse_recount', 'stamp_task', 'touch_task')
  union all
  select 'hole', 'security_definer', c.name,
    pg_catalog.format('this function runs with the rights of its owner %I and the API role may call it%s: whatever it reads or writes is not held to the policies of the user%s',
      o.rolname, case when p.proacl is null then ' (like everybody, by default)' else '' end,
      case when exists (select from pg_catalog.unnest(c.proconfig) s where s like 'search_path=%') then ''
        else ', and without a search_path of its own it takes the caller''s' end),
    pg_catalog.format('alter routine %s security invoker; -- or revoke execute on it from tasks_api and public', c.name)
  from code c
  join pg_catalog.pg_proc p on p.oid = c.oid
  join pg_catalog.pg_roles o on o.oid = c.proowner
  where c.prosecdef and c.is_callable and c.oid not in (select oid from identity_function)
  union all
  select 'hole', case when k.what like '%trigger%' then 'trigger' else 'security_definer' end,
    pg_catalog.format('%s by %s on %s', c.name, k.what, k.table_name),
    pg_catalog.format('working with this table calls a function that runs with the rights of its owner %I (%s): it sees every user''s rows and can copy or change them', o.rolname, k.what),
    pg_catalog.format('alter function %s security invoker;', c.name)
  from code c
  join called k on k.function = c.oid
  join pg_catalog.pg_roles o on o.oid = c.proowner
  where c.prosecdef and not c.is_callable
  union all
  select 'hole', 'untrusted_owner', c.name,
    pg_catalog.format('working with %s calls this function (%s), and %I, who owns neither the database nor schema app, can replace it with anything', k.table_name, k.what, o.rolname),
    pg_catalog.format('alter routine %s owner to %I;', c.name, h.rolname)
  from code c
  join called k on k.function = c.oid
  join pg_catalog.pg_roles o on o.oid = c.proowner
  cross join home
  join pg_catalog.pg_roles h on h.oid = home.nspowner
  where c.proowner not in (select oid from trusted) and c.proowner not in (select oid from self)
  union all
  select 'hole', 'trigger', pg_catalog.format('%s by %s on %s', c.name, k.what, k.table_name),
    pg_catalog.format('this function runs whenever rows of the table are written, and %s', w.wrong),
    pg_catalog.format('drop trigger %s on %s;', coalesce(pg_catalog.substring(k.what, 'trigger ([^,]+)'), '?'), k.table_name)
  from code c
  join called k on k.function = c.oid
  cross join lateral (values
    (c.body ~* 'set_config|app[.]user_id|row_security|session_replication_role|set\s+(local\s+|session\s+)?(role|session\s+authorization)\y',
      'sets who the user is or how row security works: the rest of the request runs as somebody else'),
    (c.body ~* '\y(pg_)?notify\y', 'tells every listening session about it: users see what others do')
  ) as w (is_wrong, wrong)
  where w.is_wrong and k.what like '%trigger%'
  union all
  select 'hole', 'trigger', pg_catalog.format('%I on %I.%I', t.tgname, n.nspname, c.relname),
    'this trigger tells every listening session of each change: users see what others do',
    pg_catalog.format('drop trigger %I on %I.%I;', t.tgname, n.nspname, c.relname)
  from pg_catalog.pg_trigger t
  join pg_catalog.pg_class c on c.oid = t.tgrelid
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  join pg_catalog.pg_proc p on p.oid = t.tgfoid
  where t.tgrelid in (select oid from touched) and p.proname = 'triggered_change_notification'
  union all
  select 'warning', 'trigger', pg_catalog.format('%s by %s on %s', c.name, k.what, k.table_name),
    'this function runs whenever rows of the table are written, and writes elsewhere or runs dynamic SQL: a copy of the rows may have no owner and no policy',
    pg_catalog.format('drop trigger %s on %s;', coalesce(pg_catalog.substring(k.what, 'trigger ([^,]+)'), '?'), k.table_name)
  from code c
  join called k on k.function = c.oid
  where k.what like '%trigger%' and not c.prosecdef
    and c.body ~* '\y(insert\s+into|delete\s+from|merge\s+into|update\s+[a-z_."]+\s+set|copy|execute|dblink[a-z_]*)\y'
  union all
  select 'warning', 'trigger_disabled', pg_catalog.format('%I on %I.%I', t.tgname, n.nspname, c.relname),
    'this trigger of the migrations does not fire: numbers may be given twice, versions stand still, or keys go unchecked',
    pg_catalog.format('alter table %I.%I enable trigger %I;', n.nspname, c.relname, t.tgname)
  from known k
  join pg_catalog.pg_trigger t on t.tgrelid = k.oid
  join pg_catalog.pg_class c on c.oid = k.oid
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  where t.tgenabled in ('D', 'R') and t.tgparentid = 0
  union all
  select 'hole', 'untrusted_language', c.name,
    pg_catalog.format('the API role may call this function, which is written in %I: it runs past all of PostgreSQL''s checks', c.lanname),
    pg_catalog.format('revoke execute on routine %s from public, tasks_api;', c.name)
  from code c
  where c.oid >= 16384 and not c.lanpltrusted and c.lanname <> 'sql' and c.is_callable
  union all
  select 'hole', 'leakproof', pg_catalog.format('%I.%I(%s)', n.nspname, p.proname, pg_catalog.oidvectortypes(p.proargtypes)),
    'this function is marked leakproof: PostgreSQL may call it with other users'' rows before the policy has refused them, and its errors or notices tell their values',
    pg_catalog.format('alter function %I.%I(%s) not leakproof;', n.nspname, p.proname, pg_catalog.oidvectortypes(p.proargtypes))
  from pg_catalog.pg_proc p
  join pg_catalog.pg_namespace n on n.oid = p.pronamespace
  where p.proleakproof
    and case when p.oid >= 16384 then
        (p.pronamespace in (select oid from usable) or p.oid in (select function from wrapped))
        and (p.proacl is null or p.oid in (select objid from grants where kind = 'function'))
      -- PostgreSQL's own are comparisons, hashes and casts that can't fail
      else p.proname !~ '(eq|ne|lt|le|gt|ge|cmp|hash|larger|smaller|extended)$'
        and p.proname !~ '^(name|text)(eq|ne|lt|le|gt|ge)(text|name)$|^xid(eq|neq)int4$|^(sha(224|256|384|512)|md5|crc32c?|uuid_extract_(timestamp|version)|gen_random_uuid|starts_with)$'
        and p.proname not in ('bool', 'bytea', 'float4', 'float8', 'int2', 'int4', 'int8', 'interval', 'macaddr8', 'name', 'numeric', 'text', 'varchar')
    end
  union all
  select 'hole', 'cast', pg_catalog.format('%s as %s', pg_catalog.format_type(t.castsource, null), pg_catalog.format_type(t.casttarget, null)),
    'this cast is applied without being asked for: a comparison with a user id can come to mean something else than it says',
    pg_catalog.format('drop cast (%s as %s);', pg_catalog.format_type(t.castsource, null), pg_catalog.format_type(t.casttarget, null))
  from pg_catalog.pg_cast t
  where t.oid >= 16384
    and t.castcontext = 'i'
    and (t.castsource < 16384 and t.casttarget < 16384 or t.castfunc >= 16384)
    and not exists (
      select from extension_member m where m.classid = 'pg_catalog.pg_cast'::pg_catalog.regclass and m.objid = t.oid
    )
  union all
  select 'hole', 'operator', pg_catalog.format('%I.%s(%s, %s)', n.nspname, o.oprname, pg_catalog.format_type(o.oprleft, null), pg_catalog.format_type(o.oprright, null)),
    'this operator compares PostgreSQL''s own types in its own way: with its schema in the search_path, a comparison with a user id can come to mean something else than it says',
    pg_catalog.format('drop operator %I.%s (%s, %s);', n.nspname, o.oprname, pg_catalog.format_type(o.oprleft, null), pg_catalog.format_type(o.oprright, null))
  from pg_catalog.pg_operator o
  join pg_catalog.pg_namespace n on n.oid = o.oprnamespace
  where o.oid >= 16384
    and o.oprname in ('=', '<>', '<', '<=', '>', '>=')
    and o.oprleft < 16384 and o.oprright < 16384
    and not exists (
      select from extension_member m where m.classid = 'pg_catalog.pg_operator'::pg_catalog.regclass and m.objid = o.oid
    )
  union all
  select 'hole', 'event_trigger', pg_catalog.quote_ident(e.evtname),
    pg_catalog.format('this event trigger calls %I.%I, which %s', n.nspname, p.proname, w.wrong),
    pg_catalog.format('drop event trigger %I;', e.evtname)
  from pg_catalog.pg_event_trigger e
  join pg_catalog.pg_proc p on p.oid = e.evtfoid
  join pg_catalog.pg_namespace n on n.oid = p.pronamespace
  cross join lateral (values
    (p.proowner not in (select oid from trusted), 'somebody who is not trusted can replace: it then runs with the rights of whoever deploys'),
    (p.prosecdef, 'runs with the rights of its owner whenever somebody changes the schema: the API role does by making a temporary table'),
    (p.prosrc ~* 'set_config|app[.]user_id|row_security|disable\s+row|grant\s', 'sets who the user is, or weakens row security or grants')
  ) as w (is_wrong, wrong)
  where e.evtenabled <> 'D' and w.is_wrong
    and not exists (
      select from extension_member m where m.classid = 'pg_catalog.pg_event_trigger'::pg_catalog.regclass and m.objid = e.oid
    )
),

setting_finding (severity, check_name, object, finding, remedy) as (
  select 'hole', case when s.function is null then 'setting' else 'function_setting' end, s.object,
    pg_catalog.format('%s = %s is set here: %s', s.name, s.value, w.danger),
    s.remedy
  from setting s
  join watched w on w.name = s.name
  where w.sound is not null
    and pg_catalog.lower(s.value) <> w.sound
    and not (w.sound = 'on' and pg_catalog.lower(s.value) ~ '^(on|t|tr|tru|true|y|ye|yes|1)$')
    and not (w.sound = 'off' and pg_catalog.lower(s.value) ~ '^(of|off|f|fa|fal|fals|false|n|no|0)$')
  union all
  select 'hole', 'search_path', s.object,
    pg_catalog.format('the search_path %s %s', s.value, pg_catalog.min(w.wrong)),
    s.remedy
  from searched s
  cross join lateral (
    select pg_catalog.format('names schema %I, in which somebody untrusted may create: their function, operator or table can stand in for the real one', x.nspname) as wrong
    from writable x
    where x.nspname = s.schema
    union all
    select 'searches temporary objects before others: a temporary table can stand in for the real one'
    where s.schema = 'pg_temp' and not s.is_last
  ) w
  group by s.object, s.value, s.remedy
  union all
  -- A session may well have named its user itself, but the API's role is the one that does.
  select 'warning', 'unknown', 'app.user_id',
    'app.user_id has a value in this session, and the role that asks may not read the configuration files: if it was not set by this session, a request that names no user acts as this one',
    'select name, setting, sourcefile from pg_catalog.pg_file_settings where name = ''app.user_id''; -- as a superuser'
  where pg_catalog.current_setting('app.user_id', true) <> ''
    and not (
      pg_catalog.has_table_privilege('pg_catalog.pg_file_settings', 'select')
      and pg_catalog.has_function_privilege('pg_catalog.pg_show_all_file_settings()', 'execute')
    )
    and session_user <> 'tasks_api'
    and not exists (select from role_setting where name = 'app.user_id')
),

replication_finding (severity, check_name, object, finding, remedy) as (
  select 'hole', 'publication', pg_catalog.quote_ident(p.pubname),
    pg_catalog.format('this publication sends the rows of all users in %s to whoever subscribes: no policy holds there',
      case when p.puballtables then 'every table' else t.names end),
    pg_catalog.format('drop publication %I;', p.pubname)
  from pg_catalog.pg_publication p
  cross join lateral (
    select pg_catalog.string_agg(distinct r.name, ', ') as names
    from reached r
    where r.oid in (select x.prrelid from pg_catalog.pg_publication_rel x where x.prpubid = p.oid)
      or r.relnamespace in (select x.pnnspid from pg_catalog.pg_publication_namespace x where x.pnpubid = p.oid)
      or exists (
        select
        from touched u
        join pg_catalog.pg_publication_rel x on x.prrelid = u.oid
        where u.root = r.oid and x.prpubid = p.oid
      )
  ) t
  where p.puballtables or t.names is not null
  union all
  select 'warning', 'replication_slot', pg_catalog.quote_ident(s.slot_name),
    'this logical replication slot keeps the changes of all users for whoever may read it: no policy holds there',
    pg_catalog.format('select pg_catalog.pg_drop_replication_slot(%L);', s.slot_name)
  from pg_catalog.pg_replication_slots s
  where s.slot_type = 'logical' and s.database = pg_catalog.current_database()
  union all
  select case when t.names is null then 'warning' else 'hole' end,
    case when t.names is null then 'unknown' else 'subscription' end,
    pg_catalog.quote_ident(s.subname),
    case when t.names is null then 'this subscription has not said yet which tables it writes to: it may be those of the API, past every policy'
      else pg_catalog.format('this subscription writes rows that another server sends into %s, past every policy', t.names)
    end,
    pg_catalog.format('alter subscription %I disable; alter subscription %I set (slot_name = none); drop subscription %I;', s.subname, s.subname, s.subname)
  from pg_catalog.pg_subscription s
  cross join lateral (
    select pg_catalog.string_agg(distinct r.name, ', ') as names
    from pg_catalog.pg_subscription_rel x
    join touched u on u.oid = x.srrelid
    join reached r on r.oid = u.root
    where x.srsubid = s.oid
  ) t
  where s.subdbid = (select oid from pg_catalog.pg_database where datname = pg_catalog.current_database())
    and (t.names is not null or not exists (select from pg_catalog.pg_subscription_rel x where x.srsubid = s.oid))
  union all
  select 'hole', 'server_version', pg_catalog.format('PostgreSQL %s', pg_catalog.current_setting('server_version')),
    pg_catalog.format('this release has known flaws in row security, by which a user can learn of rows that the policies hide; %s mends them', v.mended),
    pg_catalog.format('-- install PostgreSQL %s or newer', v.mended)
  from (values (150000, 150014, '15.14'), (160000, 160010, '16.10'), (170000, 170006, '17.6')) as v (first, sound, mended)
  where pg_catalog.current_setting('server_version_num')::integer >= v.first
    and pg_catalog.current_setting('server_version_num')::integer < v.sound
  union all
  select 'warning', 'server_version', pg_catalog.format('PostgreSQL %s', pg_catalog.current_setting('server_version')),
    'this release is older than any that the audit knows', '-- install PostgreSQL 15.14 or newer'
  where pg_catalog.current_setting('server_version_num')::integer < 150000
)

select distinct severity, check_name, object, finding, remedy
from (
  select * from role_finding
  union all
  select * from reach_finding
  union all
  select * from policy_finding
  union all
  select * from key_finding
  union all
  select * from privilege_finding
  union all
  select * from code_finding
  union all
  select * from setting_finding
  union all
  select * from replication_finding
) f
order by severity, check_name, object, finding;
