-- Mutants: statements that each plant one mistake into schema app, made from what the catalog holds,
-- with the kind of the mistake.
with
relation as (
  select c.oid, c.oid::regclass::text as name, c.relacl, c.relowner
  from pg_class as c
  where c.relnamespace = 'app'::regnamespace and c.relkind in ('r', 'p')
),
policy as (
  select p.polname, r.name, pg_get_expr(polqual, polrelid) as using_sql,
    pg_get_expr(polwithcheck, polrelid) as check_sql
  from pg_policy as p
  join relation as r on r.oid = p.polrelid
),
attribute as (
  select r.oid, r.name, a.attnum, a.attname, a.attnotnull, a.atthasdef, a.attacl
  from relation as r
  join pg_attribute as a on a.attrelid = r.oid and a.attnum > 0 and not a.attisdropped
),
granted as (
  select r.name, a.privilege_type, null as attname
  from relation as r
  cross join aclexplode(r.relacl) as a
  where a.grantee = 'tasks_api'::regrole
  union all
  select t.name, a.privilege_type, t.attname
  from attribute as t
  cross join aclexplode(t.attacl) as a
  where a.grantee = 'tasks_api'::regrole
),
function as (
  select p.oid, p.oid::regprocedure::text as name, p.prorettype = 'trigger'::regtype as is_trigger,
    format('%s(%s) returns %s', p.oid::regproc, pg_get_function_arguments(p.oid), pg_get_function_result(p.oid))
      as head,
    case p.provolatile when 'i' then 'immutable' when 's' then 'stable' else 'volatile' end as volatility,
    coalesce(
      (select string_agg('null::' || format_type(t.type, null), ', ' order by t.place)
       from unnest(p.proallargtypes, p.proargmodes) with ordinality as t (type, mode, place)
       where t.mode = 't'),
      'null::' || format_type(p.prorettype, null)) as nothing
  from pg_proc as p
  where p.pronamespace = 'app'::regnamespace
)
select 'policy dropped', format('drop policy %I on %s', polname, name) from policy
union all
select 'policy sees all', format('alter policy %I on %s using (%s)', polname, name, weak.expression)
from policy
cross join lateral (
  values ('true'), (using_sql || ' or true'), (using_sql || ' or app.current_user_id() is null'),
    (using_sql || ' or (tableoid is not null)')) as weak (expression)
where using_sql is not null
union all
select 'policy writes all', format('alter policy %I on %s with check (%s)', polname, name, weak.expression)
from policy
cross join lateral (values ('true'), (check_sql || ' or true')) as weak (expression)
where check_sql is not null
union all
select 'policy for everybody', format('alter policy %I on %s to public', polname, name) from policy
union all
select 'policy added',
  format('create policy mutant on %s for %s to tasks_api %s', name, c.command, c.expression)
from relation
cross join (values ('all', 'using (true)'), ('select', 'using (true)'), ('insert', 'with check (true)'),
  ('update', 'using (true)'), ('delete', 'using (true)')) as c (command, expression)
union all
select 'row security off', format('alter table %s disable row level security', name) from relation
union all
select 'row security not forced', format('alter table %s no force row level security', name) from relation
union all
select 'grant missing',
  format('revoke %s %s on %s from tasks_api', privilege_type, '(' || quote_ident(attname) || ')', name)
from granted
union all
select 'grant missing', format('revoke execute on function %s from tasks_api', name)
from function
where not is_trigger
union all
select 'grant missing', 'revoke usage on schema app from tasks_api'
union all
select 'grant too many', format('grant %s (%I) on %s to tasks_api', p.privilege, a.attname, a.name)
from attribute as a
cross join (values ('INSERT'), ('UPDATE'), ('REFERENCES')) as p (privilege)
where not exists (
  select from granted as g
  where g.name = a.name and g.privilege_type = p.privilege and coalesce(g.attname, a.attname) = a.attname)
union all
select 'grant too many', format('grant %s on %s to tasks_api', p.privilege, r.name)
from relation as r
cross join (values ('INSERT'), ('UPDATE'), ('DELETE'), ('TRUNCATE'), ('REFERENCES'), ('TRIGGER'))
  as p (privilege)
where not exists (
  select from granted as g
  where (g.name, g.privilege_type) = (r.name, p.privilege) and g.attname is null)
union all
select 'grant on schema', 'grant create on schema app to tasks_api'
union all
select 'grant to everybody', format('grant select on %s to public', name) from relation
union all
select 'grant to everybody', format('grant execute on function %s to public', name) from function
union all
select 'grant option', format('grant select on %s to tasks_api with grant option', name) from relation
union all
select 'rule dropped', format('alter table %s drop constraint %I cascade', r.name, k.conname)
from pg_constraint as k
join relation as r on r.oid = k.conrelid
where k.contype in ('c', 'f', 'u', 'p')
union all
select 'null allowed', format('alter table %s alter %I drop not null', name, attname)
from attribute as a
where attnotnull and not exists (
  select from pg_index as i where i.indrelid = a.oid and i.indisprimary and a.attnum = any (i.indkey))
union all
select 'default dropped', format('alter table %s alter %I drop default', name, attname)
from attribute
where atthasdef
union all
select 'trigger dropped', format('drop trigger %I on %s', t.tgname, r.name)
from pg_trigger as t
join relation as r on r.oid = t.tgrelid
where not t.tgisinternal
union all
select 'trigger disabled', format('alter table %s %s trigger %I', r.name, c.change, t.tgname)
from pg_trigger as t
join relation as r on r.oid = t.tgrelid
cross join (values ('disable'), ('enable replica')) as c (change)
where not t.tgisinternal
union all
select 'function does nothing',
  case
    when is_trigger
      then format('create or replace function %s language plpgsql as %L', head, 'begin return new; end')
    else format('create or replace function %s language sql %s as %L', head, volatility, 'select ' || nothing)
  end
from function
union all
select 'function changed', format('alter function %s %s', name, c.change)
from function
cross join (values ('security definer'), ('leakproof'), ('set search_path = app'), ('owner to tasks_api'))
  as c (change)
union all
select 'index dropped', format('drop index %s', i.indexrelid::regclass)
from pg_index as i
join relation as r on r.oid = i.indrelid
where not exists (select from pg_constraint as k where k.conindid = i.indexrelid)
union all
select 'table owned', format('alter table %s owner to tasks_api', name) from relation
union all
select 'schema owned', 'alter schema app owner to tasks_api'
union all
select 'role limit dropped', format('alter role tasks_api reset %I', split_part(s.setting, '=', 1))
from pg_db_role_setting as r
cross join unnest(r.setconfig) as s (setting)
where r.setrole = 'tasks_api'::regrole
union all
select 'role above row security', 'alter role tasks_api ' || a.attribute
from (values ('superuser'), ('bypassrls')) as a (attribute)
union all
select 'role attribute', 'alter role tasks_api ' || a.attribute
from (values ('createrole'), ('createdb'), ('replication'), ('set row_security = off'), ('set app.user_id = alice'))
  as a (attribute)
union all
select 'role above row security', format('grant %s to tasks_api', quote_ident(rolname))
from pg_roles
where rolname in (
  'pg_read_all_data', 'pg_write_all_data', 'pg_read_server_files', 'pg_execute_server_program');
