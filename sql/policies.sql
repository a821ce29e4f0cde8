-- The access matrix: PGOPTIONS='-c search_path=pg_catalog,pg_temp' psql -f sql/policies.sql, or make policies.
--
-- There is one row for each table, command and role that a grant or a policy names, and one for each owner. `remark`
-- says if a grant and a policy do not match: with only a grant the role finds no row, and a policy without a grant is
-- never applied. Any role may run this file. Superusers may do everything and are not listed.
--
-- In the database of the tasks API it shows schema app. In another database it shows each schema with a table that
-- has row security, or that a role other than the owner has a privilege on. To choose the schemas, set
-- audit.schema; to choose the roles, set audit.role. To read it in a terminal: psql -x -P format=wrapped -P columns=120 -f ...
with
asked as (
  select regexp_split_to_array(nullif(btrim(current_setting('audit.schema', true)), ''), '[, ]+') as schemas,
    regexp_split_to_array(nullif(btrim(current_setting('audit.role', true)), ''), '[, ]+') as roles,
    to_regprocedure('app.schema_version()') is not null and to_regprocedure('app.next_task_id()') is not null as is_tasks
),

schemas as (
  select n.oid
  from asked as a
  join pg_catalog.pg_namespace as n on case
    when a.schemas is not null then n.nspname = any (a.schemas)
    when a.is_tasks then n.nspname = 'app'
    else n.nspname !~ '^pg_' and n.nspname <> 'information_schema' and exists (
      select
      from pg_catalog.pg_class as c
      where c.relnamespace = n.oid and c.relkind in ('r', 'p', 'f', 'v', 'm')
        and not exists (select from pg_catalog.pg_depend as d where d.objid = c.oid and d.deptype = 'e')
        and (
          c.relrowsecurity
          or exists (select from aclexplode(c.relacl) as g where g.grantee <> c.relowner)
          or exists (select from pg_catalog.pg_attribute as t where t.attrelid = c.oid and t.attacl is not null)
        ))
    end
),

-- Tables and views. If relacl is null, the object has the default privileges.
relations as (
  select c.oid, c.oid::regclass::text as name, c.relowner, c.relkind in ('r', 'p') as is_table,
    c.relrowsecurity, c.relforcerowsecurity, coalesce(c.relacl, acldefault('r', c.relowner)) as acl
  from pg_catalog.pg_class as c
  where c.relnamespace in (select oid from schemas) and c.relkind in ('r', 'p', 'f', 'v', 'm')
),

-- Grants on a whole relation (columns is null) and on columns.
grants as (
  select r.oid, lower(a.privilege_type) as command, a.grantee, null as columns, a.is_grantable
  from relations as r
  cross join aclexplode(r.acl) as a
  where a.grantee <> r.relowner
  union all
  select r.oid, lower(a.privilege_type), a.grantee, string_agg(quote_ident(c.attname), ', ' order by c.attnum),
    bool_or(a.is_grantable)
  from relations as r
  join pg_catalog.pg_attribute as c on c.attrelid = r.oid and not c.attisdropped
  cross join aclexplode(c.attacl) as a
  where a.grantee <> r.relowner
  group by r.oid, a.privilege_type, a.grantee
),

-- Policies, with one row for each command and role: `for all` stands for four commands.
policies as (
  select p.polrelid as oid, c.command, g.grantee, p.polname, p.polpermissive,
    obj_description(p.oid, 'pg_policy') as words,
    case when c.command <> 'insert' then pg_get_expr(p.polqual, p.polrelid) end as using_sql,
    case when c.command in ('insert', 'update') then pg_get_expr(coalesce(p.polwithcheck, p.polqual), p.polrelid) end
      as check_sql
  from pg_catalog.pg_policy as p
  cross join unnest(p.polroles) as g (grantee)
  join (values ('r', 'select'), ('a', 'insert'), ('w', 'update'), ('d', 'delete')) as c (letter, command)
    on p.polcmd::text in (c.letter, '*')
),

-- A policy for PUBLIC, or for a role that the grantee is a member of, applies to the grantee, too.
rights as (
  select g.oid, g.command, g.grantee, g.columns, g.is_grantable, true as granted,
    p.polname, p.polpermissive, p.words, p.using_sql, p.check_sql
  from grants as g
  left join policies as p on p.oid = g.oid and p.command = g.command
    and (p.grantee in (0, g.grantee) or g.grantee <> 0 and pg_has_role(g.grantee, p.grantee, 'usage'))
  union all
  -- Policies without a grant. The owner of the database needs no grant on its own tables.
  select p.oid, p.command, p.grantee, null, false, p.grantee = 'pg_database_owner'::regrole and r.relowner = (
      select datdba from pg_catalog.pg_database where datname = current_database()
    ),
    p.polname, p.polpermissive, p.words, p.using_sql, p.check_sql
  from policies as p
  join relations as r on r.oid = p.oid
  where p.grantee <> r.relowner and not exists (
    select
    from grants as g
    where g.oid = p.oid and g.command = p.command
      and (p.grantee in (0, g.grantee) or g.grantee <> 0 and pg_has_role(g.grantee, p.grantee, 'usage')))
),

matrix as (
  select r.name, a.command, coalesce(quote_ident(pg_get_userbyid(nullif(a.grantee, 0))), 'PUBLIC') as role,
    case when a.granted then coalesce(a.columns, 'all') else 'none' end as columns,
    a.polname || case when a.polpermissive then '' else ' (restrictive)' end as policy,
    a.words, a.using_sql, a.check_sql,
    concat_ws('; ',
      case when a.is_grantable then 'with grant option' end,
      case
        when not r.is_table then 'not a table: has no row security of its own'
        when not r.relrowsecurity then 'row security is OFF: every row'
        when b.rolsuper or b.rolbypassrls then 'the role bypasses row security: every row'
        when not a.granted then 'policy without grant: never applied'
        when a.command not in ('select', 'insert', 'update', 'delete') then 'row security does not apply'
        when not coalesce(bool_or(a.polpermissive) over (partition by a.oid, a.command, a.grantee, a.columns), false)
          then 'granted, but no policy allows it: no row'
      end) as remark
  from rights as a
  join relations as r on r.oid = a.oid
  left join pg_catalog.pg_roles as b on b.oid = a.grantee
  cross join asked
  where asked.roles is null or a.grantee = 0 or b.rolname = any (asked.roles)
  union all
  select r.name, 'as owner', quote_ident(o.rolname), 'all', null, null, null, null,
    case
      when not r.is_table then 'not a table: has no row security of its own'
      when not r.relrowsecurity then 'row security is OFF: every row'
      when o.rolsuper or o.rolbypassrls then 'the role bypasses row security: every row'
      when not r.relforcerowsecurity then 'row security is not FORCED: every row'
      else 'row security is forced: the rows that policies allow, until the owner changes that'
    end
  from relations as r
  join pg_catalog.pg_roles as o on o.oid = r.relowner
)

select m.name as "table", m.command, m.role, m.columns, m.policy, m.words as "in words",
  m.using_sql as "sees rows where", m.check_sql as "writes rows where", nullif(m.remark, '') as remark
from matrix as m
order by m.name, array_position(array['select', 'insert', 'update', 'delete', 'as owner'], m.command),
  m.command, m.role, m.policy;
