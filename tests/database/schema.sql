-- The schemas app and audit as SQL, from the catalog: one row for each paragraph of sql/schema.sql, in order.
with
-- Tables in the order of their creation: a table that is referenced comes before those that reference it.
relation as (
  select c.oid, c.oid::regclass::text as name, c.relrowsecurity, c.relforcerowsecurity, c.relacl, c.relowner
  from pg_class as c
  join pg_namespace as n on n.oid = c.relnamespace
  where n.nspname in ('app', 'audit') and c.relkind in ('r', 'p')
),

-- What a table consists of: its columns, then its constraints.
part as (
  select r.oid, 1 as kind, a.attnum as place, concat_ws(' ',
      quote_ident(a.attname), format_type(a.atttypid, a.atttypmod),
      'collate ' || quote_ident(l.collname), case when a.attnotnull then 'not null' end,
      'default ' || pg_get_expr(d.adbin, d.adrelid)) as line
  from relation as r
  join pg_attribute as a on a.attrelid = r.oid and a.attnum > 0 and not a.attisdropped
  join pg_type as t on t.oid = a.atttypid
  left join pg_collation as l on l.oid = a.attcollation and a.attcollation <> t.typcollation
  left join pg_attrdef as d on d.adrelid = a.attrelid and d.adnum = a.attnum
  union all
  select r.oid, 2, row_number() over (partition by r.oid order by strpos('pfuc', c.contype::text), c.conname),
    format('constraint %I %s', c.conname, pg_get_constraintdef(c.oid))
  from relation as r
  join pg_constraint as c on c.conrelid = r.oid and c.contype in ('p', 'f', 'u', 'c')
),

policy as (
  select p.polrelid as oid, p.polname, p.oid as policy, concat_ws(E'\n  ',
      format('create policy %I on %s', p.polname, p.polrelid::regclass),
      case when not p.polpermissive then 'as restrictive' end,
      'for ' || case p.polcmd when 'r' then 'select' when 'a' then 'insert' when 'w' then 'update'
        when 'd' then 'delete' else 'all' end,
      'to ' || (select string_agg(coalesce(nullif(pg_get_userbyid(g), 'unknown (OID=0)'), 'public'), ', ')
        from unnest(p.polroles) as g),
      'using ' || regexp_replace(pg_get_expr(p.polqual, p.polrelid), '^[^(].*', '(\&)'),
      'with check ' || regexp_replace(pg_get_expr(p.polwithcheck, p.polrelid), '^[^(].*', '(\&)')) as sql
  from pg_policy as p
),

-- Privileges of a table: of all of it, then of some of its columns.
privilege as (
  select r.oid, a.grantee, lower(a.privilege_type) as privilege, null as columns
  from relation as r
  cross join aclexplode(r.relacl) as a
  where a.grantee <> r.relowner
  union all
  select r.oid, a.grantee, lower(a.privilege_type), string_agg(quote_ident(c.attname), ', ' order by c.attnum)
  from relation as r
  join pg_attribute as c on c.attrelid = r.oid
  cross join aclexplode(c.attacl) as a
  group by r.oid, a.grantee, a.privilege_type
),

routine as (
  select p.oid, p.oid::regprocedure::text as name, p.proacl, p.proowner, concat_ws(E'\n',
      format('create function %s(%s) returns %s', p.oid::regproc, pg_get_function_arguments(p.oid),
        pg_get_function_result(p.oid)),
      concat_ws(' ', 'language', l.lanname,
        case p.provolatile when 'i' then 'immutable' when 's' then 'stable' else 'volatile' end,
        case p.proparallel when 's' then 'parallel safe' when 'r' then 'parallel restricted' end,
        case when p.proisstrict then 'strict' end, case when p.prosecdef then 'security definer' end,
        case when p.proleakproof then 'leakproof' end),
      (select string_agg('set ' || replace(setting, '=', ' = '), E'\n') from unnest(p.proconfig) as setting),
      coalesce(lower(left(pg_get_function_sqlbody(p.oid), 6)) || substr(pg_get_function_sqlbody(p.oid), 7),
        'as $$' || p.prosrc || '$$') || ';') as sql
  from pg_proc as p
  join pg_language as l on l.oid = p.prolang
  where p.pronamespace = 'app'::regnamespace
),

grantee as (
  select oid, rolname as name from pg_roles
  union all
  select 0, 'public'
),

-- kind: schema 1, role 2, table 3, function 4; place: the order within a kind; step: the order within an object.
paragraph as (
  select 1 as kind, (n.nspname <> 'app')::integer as place, 1 as step, '' as name, concat_ws(E'\n',
      format('create schema %I;', n.nspname),
      format('comment on schema %I is %L;', n.nspname, obj_description(n.oid, 'pg_namespace')),
      (select string_agg(format('grant %s on schema %I to %s;', lower(a.privilege_type), n.nspname, g.name), E'\n'
          order by g.name)
        from aclexplode(n.nspacl) as a join grantee as g on g.oid = a.grantee where a.grantee <> n.nspowner)) as sql
  from pg_namespace as n
  where n.nspname in ('app', 'audit')
  union all
  select 2, 0, 1, '', concat_ws(E'\n',
      'create role tasks_api nosuperuser nocreatedb nocreaterole noreplication nobypassrls;',
      format('comment on role tasks_api is %L;', shobj_description(r.oid, 'pg_authid')),
      (select string_agg(format('alter role tasks_api set %s = %L;', split_part(setting, '=', 1),
          substr(setting, strpos(setting, '=') + 1)), E'\n' order by setting)
        from pg_db_role_setting as s cross join unnest(s.setconfig) as setting
        where s.setrole = r.oid and s.setdatabase = 0))
  from pg_roles as r
  where r.rolname = 'tasks_api'
  union all
  select 3, r.oid::bigint, 1, '', format(E'create table %s (\n  %s\n);', r.name,
      (select string_agg(line, E',\n  ' order by p.kind, p.place) from part as p where p.oid = r.oid))
  from relation as r
  union all
  select 3, r.oid::bigint, 2, '', concat_ws(E'\n',
      format('comment on table %s is %L;', r.name, obj_description(r.oid, 'pg_class')),
      (select string_agg(format('comment on column %s.%I is %L;', r.name, a.attname, col_description(r.oid, a.attnum)),
          E'\n' order by a.attnum)
        from pg_attribute as a
        where a.attrelid = r.oid and a.attnum > 0 and not a.attisdropped),
      (select string_agg(format('comment on constraint %I on %s is %L;', c.conname, r.name, d), E'\n' order by c.conname)
        from pg_constraint as c cross join obj_description(c.oid, 'pg_constraint') as d
        where c.conrelid = r.oid and d is not null))
  from relation as r
  union all
  select 3, r.oid::bigint, 3, '', string_agg(format('alter table %s alter column %I set statistics %s;', r.name,
      a.attname, a.attstattarget), E'\n' order by a.attnum)
  from relation as r
  join pg_attribute as a on a.attrelid = r.oid and a.attnum > 0 and a.attstattarget >= 0
  group by r.oid, r.name
  union all
  select 3, r.oid::bigint, 4, i.indexrelid::regclass::text, concat_ws(E'\n', pg_get_indexdef(i.indexrelid) || ';',
      format('comment on index %s is %L;', i.indexrelid::regclass, obj_description(i.indexrelid, 'pg_class')))
  from relation as r
  join pg_index as i on i.indrelid = r.oid
  where not exists (select from pg_constraint as c where c.conindid = i.indexrelid and c.contype in ('p', 'u'))
  union all
  select 3, r.oid::bigint, 5, '', concat_ws(E'\n',
      case when r.relrowsecurity then format('alter table %s enable row level security;', r.name) end,
      case when r.relforcerowsecurity then format('alter table %s force row level security;', r.name) end)
  from relation as r
  union all
  select 3, r.oid::bigint, 6, p.polname, concat_ws(E'\n', p.sql || ';',
      format('comment on policy %I on %s is %L;', p.polname, r.name, obj_description(p.policy, 'pg_policy')))
  from relation as r
  join policy as p on p.oid = r.oid
  union all
  select 3, r.oid::bigint, 7, g.name, format(E'grant %s\n  on %s to %s;',
      string_agg(concat(p.privilege, ' (' || p.columns || ')'), E',\n  ' order by p.columns nulls first, p.privilege),
      r.name, g.name)
  from relation as r
  join privilege as p on p.oid = r.oid
  join grantee as g on g.oid = p.grantee
  group by r.oid, r.name, g.name
  union all
  select 3, r.oid::bigint, 8, t.tgname, concat_ws(E'\n', pg_get_triggerdef(t.oid) || ';',
      format('comment on trigger %I on %s is %L;', t.tgname, r.name, obj_description(t.oid, 'pg_trigger')))
  from relation as r
  join pg_trigger as t on t.tgrelid = r.oid and not t.tgisinternal
  union all
  select 4, 0, 1, f.name, concat_ws(E'\n', f.sql,
      format('comment on function %s is %L;', f.name, obj_description(f.oid, 'pg_proc')),
      case when f.proacl is not null
        and not exists (select from aclexplode(f.proacl) as a where a.grantee = 0)
        then format('revoke execute on function %s from public;', f.name) end,
      (select string_agg(format('grant execute on function %s to %s;', f.name, g.name), E'\n' order by g.name)
        from aclexplode(f.proacl) as a join grantee as g on g.oid = a.grantee where a.grantee not in (0, f.proowner)))
  from routine as f
)
select sql
from paragraph
where sql <> ''
order by kind, place, step, name
