-- The isolation audit: can one user read or change another's rows in this database?
--
--   PGOPTIONS='-c search_path=pg_catalog,pg_temp -c jit=off' psql -X -d DATABASE -f sql/audit.sql        or: make audit
--
-- This is one statement, which reads only catalogs and the table of accepted findings. Any role may run it, from a
-- superuser down to one without a privilege, on PostgreSQL 15 to 18. If it returns no row, it found nothing.
--
--   severity    hole: rows of another user can be read, changed, deleted, counted or inferred; the finding says how.
--               warning: review it; the catalogs do not show whether it is a hole, or a guard is missing.
--               hint: hardening. note: an assumption. accepted: a finding that is kept on purpose.
--   check_name  the kind of finding. sql/checks.md explains each.
--   object      what to change. One cause with several effects is one row.
--   finding     how the API's role reaches the rows, and the other effects.
--   remedy      SQL to run as the owner of the object or as a superuser. A decision that needs a person follows --.
--
-- sql/README.md explains its settings, audit.role and others. With audit.fail_on=hole (or warning) the statement ends
-- in an error that counts and names the findings, and psql with ON_ERROR_STOP exits with 3.
--
-- The parts:  1 constants   2 scope   3 roles   4 privileges   5 names and settings   6 functions that return the user
--   7 conditions   8 owner columns   9 executed code   10 code with other rights   11-17 checks   18 output
-- Each begins with its subject and an example: statements that cause a finding, and after => the finding.
--
-- Names are not qualified, so set search_path to pg_catalog, as above. The audit compares the text of policies, so
-- quote_all_identifiers must be off, and standard_conforming_strings on, as they are by default. Most CTEs are
-- materialized, since inlining them makes planning slower than everything else.
--
-- The planner has no row estimates for CTEs and may choose nested loops, whose time is quadratic in the number of
-- tables. So each CTE is computed for all tables at once. Conditions with `not in` or `(x in (select y)) is true` are
-- hashed, and so is a full join; `coalesce` in its conditions keeps it from becoming an inner join. A sub-select with
-- `offset 0` is computed before it is joined. A regular expression per name would be compiled for each text.
with recursive

-- 1. Constants --------------------------------------------------------------------------------------------------------
-- Objects and settings of PostgreSQL, of platforms and of this project's migrations, which the other parts use.
--
--   drop trigger tasks_touch on app.tasks;
--   => warning guard_changed trigger tasks_touch on app.tasks: it is missing, disabled, or its definition differs

-- Schemas that belong to a platform or a tool. Only objects that a project adds to them are checked.
platform_schema (preset, nspname) as materialized (values
  ('supabase', string_to_array('auth storage realtime _realtime graphql graphql_public vault extensions pgbouncer '
    'supabase_functions supabase_migrations _analytics _supavisor net pgsodium pgsodium_masks pgtle pgmq', ' ')),
  ('', string_to_array('cron graphile_worker graphile_migrate hdb_catalog hdb_views pgboss partman pgmq net topology '
    'tiger drizzle repack timescaledb_information _timescaledb_catalog _timescaledb_internal _timescaledb_config '
    '_timescaledb_functions', ' '))
),

-- The values of each preset for settings that are not set. PostgREST puts all claims into one setting, or each claim
-- into its own.
preset (kind, roles, schemas, settings, owners) as materialized (values
  ('tasks', '{tasks_api}'::text[], '{app}'::text[], '{app.user_id}'::text[],
    '{users.id,tasks.user_id,idempotency_keys.user_id,user_id}'::text[]),
  ('supabase', '{anon,authenticated}', null, '{request.jwt.claims,request.jwt.claim,request.jwt.claim.sub}', null),
  ('postgrest', null, null, '{request.jwt.claims,request.jwt.claim,request.jwt.claim.sub}', null)
),

-- Guards that the migrations of the tasks API create, with the MD5 of their definitions (see the CTE `defined`).
guard (relname, name, hash) as materialized (values
  ('users', 'trigger users_last_task_id_counts', '19d859cb643e3bc0be1e6b4991b9ff11'),
  ('tasks', 'trigger tasks_touch', '2050b591a20af81b60445a7526019f12'),
  ('tasks', 'constraint tasks_user_id_fkey', '8baf5de4ebece38898d252fac7e67d44'),
  ('idempotency_keys', 'constraint idempotency_keys_user_id_fkey', '8baf5de4ebece38898d252fac7e67d44'),
  ('users', 'constraint users_id_length', 'df4ed2cfb8eced133a0ec3ade05cd665'),
  ('tasks', 'constraint tasks_title_length', '363d771e0e63c319e13074f94ebee2ea'),
  ('tasks', 'default of id', 'da21159e94a84d138c77f9fca25cfecf'),
  ('tasks', 'default of user_id', '821f3d53b87b9359faf9ab55912f3f4a'),
  ('idempotency_keys', 'default of user_id', '821f3d53b87b9359faf9ab55912f3f4a'),
  (null, 'function app.refuse_recount()', 'b8acf57a169d2ac7dc222b558c71ddab'),
  (null, 'function app.touch_task()', 'f3e10ee00eb619cca313a65afedb8c67'),
  (null, 'function app.next_task_id()', '13455cf6b995e8a7d8862d36316f31e9')
),

-- Names of columns with secrets or contact data, without the contact data of companies.
sensitive_name (pattern) as materialized (values
  ('^(?!(?:work|business|office|company|public|support)_).*(?:e?mail|correo|phone|mobile|tel[eé]fono?|address|adresse'
    '|direcci[oó]n|street|stra(?:ss|ß)e|passw(?:or)?d|passwort|secret|token|api_?key|iban|birth(?:day|_?date)?'
    '|date_?of_?birth|dob|naissance|geburt\w*|salary|salaire|gehalt|ssn|(?:^|_)ip)(?:_?(?:address|number|hash|digest'
    '|encrypted))?s?$')
),

-- Privileges that the API's roles should not have, and their danger.
withheld (check_name, kinds, privileges, danger) as materialized (values
  ('privilege', '{r,p,f}'::text[], '{TRUNCATE}'::text[], 'row security does not apply to TRUNCATE'),
  ('privilege', '{r,p,f,v}', '{TRIGGER}', 'a trigger can read and change every user''s rows as they are written'),
  ('privilege', '{r,p,f}', '{MAINTAIN}', 'it permits LOCK TABLE, which blocks all users'),
  ('privilege', '{r,p,f,column}', '{REFERENCES}', 'a foreign key reveals whether another user''s row exists'),
  ('sequence', '{S}', '{SELECT,USAGE,UPDATE}', 'its numbers reveal how many rows all users create'),
  ('create', '{schema,database}', '{CREATE}', 'an object that the role creates can shadow another'),
  ('temp', '{database}', '{TEMPORARY}', 'in a pooled session, a temporary table stays, and shadows another table'),
  ('large_object', '{large object}', '{SELECT,UPDATE}', 'large objects have no policies, so all users share them'),
  ('parameter', '{parameter}', '{SET,"ALTER SYSTEM"}', 'such a parameter can disable triggers and foreign keys'),
  ('foreign_server', '{foreign server,foreign data wrapper}', '{USAGE}',
    'it permits a connection to another server, or to this one as another role')
),

-- 2. Scope ------------------------------------------------------------------------------------------------------------
-- The roles, settings and schemas to audit. Those without a setting are derived from policies and grants.
--
--   set local audit.role = 'tasks_aip';
--   => hole missing role tasks_aip: role tasks_aip does not exist

given as materialized (
  select lower(coalesce(nullif(btrim(current_setting('audit.preset', true)), ''), '')) as preset,
    regexp_split_to_array(nullif(btrim(current_setting('audit.role', true)), ''), '[, ]+') as roles,
    regexp_split_to_array(nullif(btrim(current_setting('audit.schema', true)), ''), '[, ]+') as schemas,
    regexp_split_to_array(nullif(lower(btrim(current_setting('audit.setting', true))), ''), '[, ]+') as settings,
    regexp_split_to_array(nullif(btrim(current_setting('audit.claim', true)), ''), '[, ]+') as claims,
    regexp_split_to_array(nullif(btrim(current_setting('audit.owners', true)), ''), '[, ]+') as owners,
    coalesce(nullif(btrim(current_setting('audit.accepted', true)), ''), 'audit.accepted') as accepted,
    lower(coalesce(nullif(btrim(current_setting('audit.fail_on', true)), ''), '')) as fail_on
),

-- This project's own database is recognized by its functions: other projects may have a schema named app, too.
scope as materialized (
  select g.preset, g.claims, g.accepted, g.fail_on, p.is_tasks, p.function as tasks_function, k.kind,
    p.is_tasks or g.roles is not null and g.settings is not null as is_strict,
    coalesce(g.roles, d.roles) as roles, coalesce(g.schemas, d.schemas) as schemas,
    coalesce(g.settings, d.settings) as settings, coalesce(g.owners, d.owners) as owners
  from given g
  cross join lateral (
    select g.preset in ('', 'tasks') and coalesce(g.roles, '{tasks_api}') = '{tasks_api}'
      and coalesce(g.schemas, '{app}') = '{app}'
      and count(distinct p.proname) filter (where p.proname <> 'current_user_id') >= 2 as is_tasks,
        max(p.oid) filter (where p.proname = 'current_user_id' and p.pronargs = 0) as function
    from pg_proc p
    where p.pronamespace = to_regnamespace('app')
      and p.proname in ('schema_version', 'next_task_id', 'create_task_once', 'current_user_id')
  ) p
  cross join lateral (
    select case when g.preset <> '' then g.preset
      when p.is_tasks then 'tasks'
      when exists (select from pg_proc where pronamespace = to_regnamespace('auth') and proname = 'uid')
        and (select count(*) from pg_roles where rolname in ('anon', 'authenticated')) = 2 then 'supabase'
      else '' end as kind
  ) k
  left join preset d on d.kind = k.kind
),

platform as materialized (
  select n.oid
  from scope
  join platform_schema s on s.preset in ('', scope.kind)
  join pg_namespace n on n.nspname = any (s.nspname)
  where not scope.is_tasks and n.nspname <> all (coalesce(scope.schemas, '{}'))
),

-- All policies, with their conditions as PostgreSQL deparses them: operators in parentheses, names with schemas.
policies as materialized (
  select p.oid, p.polname, p.polrelid, p.polcmd::text as polcmd, p.polpermissive, p.polroles,
    t.using_text, t.check_text, replace(concat_ws(' ', t.using_text, t.check_text), 'now()', '')
      ~* '[\w$]\(|\y(?:current|session)_user\y' as is_user
  from pg_policy p
  cross join lateral (
    select pg_get_expr(p.polqual, p.polrelid) as using_text, pg_get_expr(p.polwithcheck, p.polrelid) as check_text
    offset 0
  ) t
),

-- Functions in SQL and PL/pgSQL, without comments, and with = for operator(pg_catalog.=). PostgreSQL deparses bodies
-- that were parsed when the function was created.
body as materialized (
  select p.oid, n.nspname, p.proname, p.pronargs, p.proretset, p.prorettype, l.lanname,
    p.prosecdef, p.proargnames, p.proargmodes, coalesce(p.proallargtypes, p.proargtypes::oid[]) as argtypes,
    p.proconfig, p.prosqlbody is not null as is_parsed,
    regexp_replace(regexp_replace(coalesce(pg_get_function_sqlbody(p.oid), p.prosrc),
      '(''(?:[^'']|'''')*'')|--[^\n]*|/\*(?:[^*]|\*+[^*/])*\*+/', '\1 ', 'g'),
      '\yoperator\s*\(\s*pg_catalog\s*\.\s*([^\w\s()'']+)\s*\)', '\1', 'gi') as code
  from pg_proc p
  join pg_namespace n on n.oid = p.pronamespace
  join pg_language l on l.oid = p.prolang
  where p.oid >= 16384 and l.lanname not in ('c', 'internal')
    and (p.pronamespace in (select oid from home)
      or p.oid not in (select objid from extension_made where classid = 'pg_proc'::regclass))
),

-- Custom settings that policies read, or views of a database without policies, or short functions.
setting_read as materialized (
  select distinct lower(m.part[1]) as name
  from (
    select concat_ws(' ', using_text, check_text) as t from policies
    union all
    select pg_get_viewdef(oid) from pg_class where relkind = 'v' and oid >= 16384 and not exists (select from policies)
    union all
    select code from body
    where code ~* 'current_setting' and pronargs <= 1 and prorettype not in ('trigger'::regtype, 'void'::regtype)
  ) x
  cross join regexp_matches(x.t, 'current_setting\(\s*E?''([^'']+\.[^'']+)''', 'gi') m (part)
),

-- The settings with the user id: those of audit.setting, else of the preset, else all settings that a policy compares
-- with a column.
identity_setting as materialized (
  select unnest(settings) as name from scope
  union
  select r.name from scope cross join setting_read r
  where scope.settings is null and r.name !~ '^request\.jwt\.claim\.(role|email|aud|iss|exp)$'
  union
  select 'request.jwt.claims' from scope where scope.settings is null and exists (select from native_identity)
),

-- The functions of pg_session_jwt (Neon). Only a superuser can create functions in C.
native_identity as materialized (
  select p.oid, n.nspname, p.proname, case p.proname when 'user_id' then 'me' else 'claims' end as word
  from pg_proc p
  join pg_namespace n on n.oid = p.pronamespace
  join pg_language l on l.oid = p.prolang
  where n.nspname = 'auth' and p.proname in ('user_id', 'session') and p.pronargs = 0 and l.lanname in ('c', 'internal')
),

-- Views on tables with policies. `is_applied`: the policies apply, since the view's owner neither owns the table nor
-- bypasses row security.
policy_view as materialized (
  select distinct v.oid, v.relowner, v.relacl,
    not o.rolsuper and not o.rolbypassrls and t.relowner <> v.relowner as is_applied
  from pg_rewrite w
  join pg_class v on v.oid = w.ev_class and v.relkind = 'v' and v.oid >= 16384
  join pg_roles o on o.oid = v.relowner
  join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = w.oid and d.refclassid = 'pg_class'::regclass
  join pg_class t on t.oid = d.refobjid
  where t.oid in (select polrelid from policies)
),

-- Roles with privileges on tables with policies, or on views of these, and the logins that can become each, except
-- those that bypass row security or own the tables. A role `is_user` if a policy for it involves the user. If
-- policies for a command name the role, only these count. If no policy names it, views count if a login switches to it,
-- as PostgREST's does. A role that bypasses row security counts only if a policy names it.
role_found as materialized (
  select r.oid, r.rolname, l.logins, bool_or(g.is_user or g.is_view and l.is_switched
      and r.oid not in (select unnest(polroles) from policies)) as is_user
  from scope
  join pg_roles r on scope.roles is null and not r.rolsuper and r.rolname !~ '^pg_'
    and (not r.rolbypassrls or r.oid in (select unnest(polroles) from policies))
    and r.oid <> (select datdba from pg_database where datname = current_database())
  join (
    select a.grantee, c.oid, m.cmd, c.oid in (select oid from policy_view) as is_view, not exists (select from policies)
      or c.oid in (select oid from policy_view where is_applied)
      or coalesce(bool_or(p.is_user) filter (where a.grantee = any (p.polroles)), bool_or(p.is_user)) as is_user
    from (
      select oid, relowner, relacl as acl from pg_class where relkind in ('r', 'p', 'v') and oid >= 16384
      union all
      select attrelid, 0, attacl from pg_attribute where attacl is not null and attrelid >= 16384
    ) c
    cross join aclexplode(c.acl) a
    join command m on m.privilege = a.privilege_type
    left join policies p on p.polrelid = c.oid and p.polcmd in ('*', m.cmd) and p.polroles && array[a.grantee, 0]
    where a.grantee <> c.relowner and (not exists (select from policies)
      or c.oid in (select polrelid from policies union all select oid from policy_view))
    group by a.grantee, c.oid, m.cmd
  ) g on g.grantee = r.oid
  cross join lateral (
    select array_agg(l.oid) as logins, bool_or(not l.rolinherit and l.oid <> r.oid) as is_switched
    from pg_roles l
    where l.rolcanlogin and not l.rolsuper and not l.rolbypassrls and pg_has_role(l.oid, r.oid, 'member')
      and (l.oid = r.oid or l.oid not in (
        select datdba from pg_database where datname = current_database()
        union
        select c.relowner from pg_class c where c.oid in (select polrelid from policies)))
  ) l
  group by r.oid, r.rolname, l.logins
),

-- Those that are the API's: roles of users that a login can become, roles that their logins inherit, and roles such as
-- PostgREST's anonymous one. Roles of staff and workers, whose policies do not involve the user, are not.
role_kept as materialized (
  select f.oid, f.rolname, f.logins
  from role_found f
  cross join (select bool_or(is_user) as has_user, bool_or(is_user and logins <> '{}') as has_login from role_found) h
  where h.has_user is not true or f.is_user and (f.logins <> '{}' or h.has_login is not true)
    or f.logins is null and f.rolname ~* 'anon|guest'
    or exists (
      select from role_found g cross join unnest(g.logins) l (oid)
      where g.is_user and l.oid = any (f.logins) and not pg_has_role(g.oid, f.oid, 'member')
        and (f.rolname ~* 'anon|guest|visitor|public' or pg_has_role(l.oid, f.oid, 'usage')))
),

-- If no such role exists, the audit assumes that the application logs in as the owner of its tables.
owner_found as materialized (
  select distinct r.oid, r.rolname
  from scope
  join policies p on scope.roles is null
  join pg_class c on c.oid = p.polrelid
  join pg_roles r on r.oid = c.relowner and r.rolcanlogin and not r.rolsuper and not r.rolbypassrls
  where not exists (select from role_kept)
),

-- The API's roles: those of audit.role, else of the preset, else those that were found.
wanted_role as materialized (
  select w.rolname::name from scope cross join unnest(scope.roles) w (rolname) where w.rolname <> ''
  union
  select rolname from role_kept
  union
  select rolname from owner_found
),

-- 3. Roles ------------------------------------------------------------------------------------------------------------
-- The schemas and the owner columns, the trusted roles, and the roles that the API's roles can become.
--
--   create role clerk; grant pg_read_all_data to clerk; grant clerk to tasks_api;
--   => hole role_membership tasks_api -> clerk -> pg_read_all_data: the API role is a member of clerk, and so of 1 more

api as materialized (
  select r.oid, r.rolname, quote_ident(r.rolname) as name
  from wanted_role w join pg_roles r on r.rolname = w.rolname
),

-- The names of the API's roles in findings and remedies.
api_names as materialized (
  select string_agg(name, ', ' order by name) as names, min(name) as name, array_agg(oid) as oids, count(*) as n
    from api
),

-- The schemas of the application. Their owners are trusted.
home as materialized (
  select n.oid, n.nspname, n.nspowner, pg_get_userbyid(n.nspowner) as owner_name
  from scope
  join pg_namespace n on n.nspname !~ '^(pg_|information_schema$)'
  where case
      when scope.schemas is not null then n.nspname = any (scope.schemas)
      else n.oid not in (select oid from platform)
        and n.oid in (select c.relnamespace from pg_class c where c.oid in (select polrelid from policies)
          or not exists (select from policies) and c.relkind in ('r', 'p') and c.oid >= 16384)
    end
),

owner_name as materialized (
  select o.parts[cardinality(o.parts) - 2] as nspname, coalesce(o.parts[cardinality(o.parts) - 1], '') as relname,
    o.parts[cardinality(o.parts)] as attname
  from scope
  cross join unnest(scope.owners) u (name)
  cross join lateral (select string_to_array(u.name, '.') as parts) o
  where u.name <> ''
),

-- Tables whose owner column is specified: by the migrations or by audit.owners.
declared_table as materialized (
  select distinct on (c.oid) c.oid, c.relname, k.attname as owner_column
  from owner_name k
  join pg_class c on c.relname = k.relname and c.relkind in ('r', 'p')
  where c.relnamespace = to_regnamespace(quote_ident(k.nspname))
    or k.nspname is null and c.relnamespace in (select oid from home)
),

-- Tables, and shards of Citus with their suffix in the names of keys and triggers. Shards are in the schema of their
-- tables, as table_102008, if a node is configured to show them. Citus enables row security on shards, but does not
-- force it. These differences are not findings.
table_or_shard as materialized (
  select oid, relname, owner_column, '' as suffix from declared_table
  union all
  select c.oid, k.relname, k.owner_column, substr(c.relname, length(k.relname) + 1)
  from declared_table k
  join pg_class s on s.oid = k.oid
  join pg_class c on c.relnamespace = s.relnamespace and c.relname ~ ('^' || k.relname || '_[0-9]{6,}$')
  where exists (select from pg_extension where extname = 'citus') and s.relforcerowsecurity
),

-- The functions of sql/citus.sql with their bodies unchanged: act_as sets the user, and prepare_shards removes force
-- from shards.
citus_function as materialized (
  select oid, proname
  from pg_proc
  where pronamespace in (select oid from home) and not prosecdef and proowner in (select oid from trusted)
    and (proname, md5(regexp_replace(prosrc, '\s+', ' ', 'g'))) in (('act_as', 'e6bae6de401f6ca914fd5ba39f7d51c1'),
      ('prepare_shards', '018fea9c5e173781dc47a3dfae8b1b41'))
),

-- Trusted roles: superusers, and the owners of the database, of its schemas and of tables with policies. They need no
-- hole.
trusted as materialized (
  select oid from pg_roles where rolsuper or rolname = 'pg_database_owner'
  union
  select datdba from pg_database where datname = current_database()
  union
  select nspowner from home
  union
  select c.relowner from scope join pg_class c on not scope.is_tasks and c.relkind in ('r', 'p')
    and c.relnamespace in (select oid from home)
    and c.oid in (select polrelid from policies)
  union
  -- roles that only superusers and logins that bypass row security can become
  select r.oid from scope join pg_roles r on not scope.is_tasks and not r.rolcanlogin and r.rolname !~ '^pg_'
  where r.oid not in (select oid from api) and not exists (
    select from pg_roles l
    where l.rolcanlogin and not l.rolsuper and not l.rolbypassrls and pg_has_role(l.oid, r.oid, 'member'))
  union
  select r.oid from scope join pg_roles r on scope.kind = 'supabase'
    and r.rolname ~ '^(supabase_|postgres$|dashboard_user$|service_role$|pgbouncer$|authenticator$)'
),

-- Objects in the schemas of a platform.
platform_object as materialized (
  select 'pg_namespace'::regclass::oid as classid, oid as objid from platform
  union all
  select d.classid, d.objid
  from platform p join pg_depend d on d.refclassid = 'pg_namespace'::regclass and d.refobjid = p.oid
),

-- Objects that the script of an extension created are not checked, except privileges that were granted later and code
-- that uses the API's tables. Objects that were added to the extension later are checked: another transaction recorded
-- them, or they are in a schema of the application and are not configuration tables of the extension.
extension_made as materialized (
  select d.classid, d.objid
  from pg_depend d
  join pg_extension e on e.oid = d.refobjid
  left join pg_depend made on made.classid = d.refclassid and made.objid = e.oid
    and made.refclassid = 'pg_namespace'::regclass -- pg_catalog is pinned
  left join pg_class c on d.classid = 'pg_class'::regclass and c.oid = d.objid
  where d.deptype = 'e' and d.refclassid = 'pg_extension'::regclass and d.xmin in (made.xmin, e.xmin)
    and (c.relkind is null or c.relkind not in ('r', 'p', 'm', 'v') or c.oid = any (e.extconfig)
      or c.relnamespace not in (select oid from home))
),

authored as materialized (
  select classid, objid from extension_made
  union
  select classid, objid from platform_object
),

-- One path of each length to each role that the API's roles can become, since the number of all paths can be
-- exponential. Since PostgreSQL 16, a membership may have none of the options; before, each inherits and can be set.
role_way (oid, path) as (
  select oid, array[oid] from api
  union all
  select n.oid, n.path
  from (
    select distinct on (m.roleid) m.roleid as oid, w.path || m.roleid as path
    from role_way w join pg_auth_members m on m.member = w.oid and m.roleid <> all (w.path)
    where m.admin_option or coalesce((to_jsonb(m) ->> 'inherit_option')::boolean, true)
      or coalesce((to_jsonb(m) ->> 'set_option')::boolean, true)
    order by m.roleid, w.path
  ) n
),

-- The API's roles and the roles that they can become, with a shortest path to each.
assumable_role as materialized (
  select r.oid, r.rolname, p.path, cardinality(p.path) = 1 as is_api,
    (select string_agg(w.oid::regrole::text, ' -> ' order by w.step)
     from unnest(p.path) with ordinality as w (oid, step)) as way
  from (select distinct on (oid) oid, path from role_way order by oid, cardinality(path), path) p
  join pg_roles r on r.oid = p.oid
),

-- Roles whose privileges the API has: its own roles, those that they can become, and PUBLIC (0). Roles that bypass row
-- security are skipped here, since the role itself is a finding. By a view, the API has the privileges of its owner on
-- tables with row security.
grantee as materialized (
  select oid, quote_ident(rolname) as name, false as is_by_view from assumable_role
  where is_api or rolname !~ '^pg_' and oid not in (select oid from pg_roles where rolsuper or rolbypassrls)
  union all
  select 0, 'public', false
  union all
  select distinct v.relowner, quote_ident(v.relowner::regrole::text), true
  from policy_view v
  cross join aclexplode(v.relacl) a
  where v.is_applied and v.relowner not in (select oid from assumable_role)
    and (a.grantee = 0 or a.grantee in (select oid from assumable_role))
),

-- 4. Privileges -------------------------------------------------------------------------------------------------------
-- All privileges of the API's roles, of roles that they can become, and of PUBLIC.
--
--   grant truncate on app.tasks to tasks_api;
--   => hole privilege app.tasks: tasks_api has TRUNCATE here: row security does not apply to TRUNCATE

-- `= any (array(...))` selects few rows by an index, with a good estimate. Otherwise the planner expects millions of
-- rows, and JIT compilation takes longer than the audit.
grants as materialized (
  select o.classid, o.objid, o.subid, o.kind, o.column_name, a.grantee, e.name as grantee_name,
    a.privilege_type as privilege, a.is_grantable
  from (
    select 'pg_class'::regclass::oid, oid, 0, relkind::text, null::name, relacl from pg_class
    where relpersistence <> 't'
    union all
    select 'pg_class'::regclass, attrelid, attnum, 'column', attname, attacl from pg_attribute
    where attrelid = any (array(select x.attrelid from pg_attribute x where x.attacl is not null))
    union all
    select 'pg_proc'::regclass, oid, 0, 'routine', null, proacl from pg_proc
    where oid = any (array(select x.oid from pg_proc x where x.proacl is not null))
    union all
    select 'pg_namespace'::regclass, oid, 0, 'schema', null, nspacl from pg_namespace
    union all
    select 'pg_database'::regclass, oid, 0, 'database', null, datacl from pg_database where datname = current_database()
    union all
    select 'pg_foreign_data_wrapper'::regclass, oid, 0, 'foreign data wrapper', null, fdwacl
    from pg_foreign_data_wrapper
    union all
    select 'pg_foreign_server'::regclass, oid, 0, 'foreign server', null, srvacl from pg_foreign_server
    union all
    select 'pg_largeobject'::regclass, oid, 0, 'large object', null, lomacl from pg_largeobject_metadata
    union all
    select 'pg_parameter_acl'::regclass, oid, 0, 'parameter', null, paracl from pg_parameter_acl
  ) o (classid, objid, subid, kind, column_name, acl)
  cross join lateral aclexplode(o.acl) a
  join grantee e on e.oid = a.grantee and (not e.is_by_view
    or o.classid = 'pg_class'::regclass and o.objid in (select oid from pg_class where relrowsecurity))
),

-- The same with names. `is_foreign`: the object belongs to PostgreSQL, an extension or a platform.
granted as materialized (
  select g.*, concat(o.name, '.' || quote_ident(g.column_name)) as object,
    case g.grantee when 0 then 'everybody' else g.grantee_name end as who,
    g.objid < 16384 or m.objid is not null as is_foreign,
    format('revoke %s%s on %s %s from %s;', lower(g.privilege), ' (' || quote_ident(g.column_name) || ')',
      case when g.kind = 'S' then 'sequence' when g.classid = 'pg_class'::regclass then 'table' else g.kind end,
      o.name, g.grantee_name) as revoke
  from grants g
  left join authored m on m.classid = g.classid and m.objid = g.objid
  cross join lateral (
    select regexp_replace(identity, '(?<=[(,])pg_catalog\.', '', 'g') as name
    from pg_identify_object(g.classid, g.objid, 0)
  ) o
),

-- The API's privileges on relations and their columns.
right_on as materialized (
  select objid as oid, privilege, string_agg(distinct grantee_name, ', ') as grantees
  from granted
  where classid = 'pg_class'::regclass
  group by objid, privilege
),

-- Relations on which the API has a privilege, in any schema.
api_relation as materialized (
  select c.oid, c.relkind, c.relnamespace
  from pg_class c
  where c.relkind in ('r', 'p', 'f', 'v', 'm') and c.relpersistence <> 't'
    and (c.oid in (select objid from granted where classid = 'pg_class'::regclass
        and (not is_foreign or objid in (select polrelid from policies)))
      or c.oid >= 16384 and c.relowner in (select oid from assumable_role)
      or c.oid in (select oid from declared_table))
),

-- Schemas on which the API has USAGE.
usable as materialized (
  select n.oid
  from pg_namespace n
  where n.nspowner in (select oid from assumable_role)
    or n.oid in (select objid from grants where kind = 'schema' and privilege = 'USAGE')
),

-- Schemas in which a role that is not trusted can create objects, and the role.
writable as materialized (
  select n.oid, n.nspname, string_agg(distinct case w.oid when 0 then 'everybody' else pg_get_userbyid(w.oid) end,
    ', ') as who
  from pg_namespace n
  cross join lateral (
    select n.nspowner as oid
    union
    select a.grantee from aclexplode(n.nspacl) a where a.privilege_type = 'CREATE'
  ) w
  where w.oid not in (select oid from trusted)
  group by n.oid, n.nspname
),

-- 5. Names and settings -----------------------------------------------------------------------------------------------
-- The settings of the API's sessions, and the schemas in which they look up unqualified names.
--
--   alter role tasks_api set row_security = off;
--   => hole setting role tasks_api set row_security: row_security = off is set here

-- `is_session`: durability, which is not a hole. The API itself refuses to start with another encoding or time zone.
watched (name, sound, danger, is_session) as materialized (
  values
    ('role', 'none', 'statements then have another role''s privileges and policies', false),
    ('session_authorization', 'default', 'statements then have another role''s privileges and policies', false),
    ('row_security', 'on|t(rue)?|y(es)?|1', 'a role that may bypass row security then does so without an error', false),
    ('session_replication_role', 'origin', 'triggers and foreign keys are disabled', false),
    ('lo_compat_privileges', 'off?|f(alse)?|no?|0', 'every user can read all large objects', false),
    ('transform_null_equals', 'off?|f(alse)?|no?|0', '`= null` means `is null`: a missing user id matches rows', false),
    ('search_path', null, null, false), -- judged by its schemas
    ('synchronous_commit', 'on|true|yes|1|local|remote_\w+', 'a crash can lose committed changes', true),
    ('fsync', 'on', 'a crash of the machine can lose committed changes, and corrupt the database', true),
    ('full_page_writes', 'on', 'a crash of the machine can corrupt the database', true)
  union all
  select name, '', 'a request that does not set the user acts as this one, and reads their rows', false
  from identity_setting
),

-- Settings of the API's roles, by rank: of a role in this database, of a role, of the database, of all roles, of the
-- server. Durability on the command line does not count, since such servers are temporary.
role_setting (rolname, name, value, object, remedy, rank) as materialized (
  select api.rolname, lower(e.name), substr(c.entry, length(e.name) + 2), format('%s set %s', p.place, lower(e.name)),
    format('alter %s reset %s;', p.place, e.name), (s.setrole <> 0)::integer * 2 + (s.setdatabase <> 0)::integer
  from pg_db_role_setting s
  join pg_database d on d.datname = current_database() and s.setdatabase in (0, d.oid)
  join api on s.setrole in (0, api.oid)
  cross join lateral unnest(s.setconfig) as c (entry)
  cross join lateral split_part(c.entry, '=', 1) as e (name)
  cross join lateral (
    select concat_ws(' in ',
      case when s.setrole <> 0 then 'role ' || api.name when s.setdatabase = 0 then 'role all' end,
      case when s.setdatabase <> 0 then format('database %I', d.datname) end) as place
  ) p
  union all
  select api.rolname, s.name, s.reset_val,
    format('%s: %s', case s.source when 'configuration file' then s.source else 'server' end, s.name),
    format('alter system reset %s; select pg_reload_conf(); -- or remove it from the file, command line or environment',
      s.name), -1
  from pg_settings s
  join watched w on w.name = s.name
  cross join api
  where s.source = 'configuration file' or s.source in ('command line', 'environment variable') and not w.is_session
),

-- The search_path of each of the API's roles. The default is "$user", public.
session_path as materialized (
  select distinct on (rolname) rolname, object, value,
    format('alter role %I in database %I set search_path = pg_catalog;', rolname, current_database()) as remedy,
    array(select case btrim(s, ' "') when '$user' then rolname::text else btrim(s, ' "') end
      from unnest(string_to_array(value, ',')) s) as schemas
  from (
    select rolname, object, value, rank from role_setting where name = 'search_path'
    union all
    select rolname, 'the default search_path', '"$user", public', -2 from api
  ) v (rolname, object, value, rank)
  order by rolname, rank desc
),

-- 6. Functions that return the user -----------------------------------------------------------------------------------
-- Functions that return the setting and nothing else.
-- Fails safe: a function whose body contains anything else does not count, and each policy that calls it is a finding.
--
--   create or replace function app.current_user_id() returns text language sql stable parallel safe
--     return coalesce(nullif(current_setting('app.user_id', true), ''), 'alice');
--   => hole identity_function app.current_user_id(): the policies get the user from this function, but it does more

-- All conditions and bodies are read as text, since PostgreSQL deparses policies and views with each operator in
-- parentheses and each name in its schema. First every literal becomes a marker in braces. SQL outside of literals
-- contains no braces, so no text can contain a false marker:
--
--   {setting} a setting with the user id   {other} another setting of PostgREST   {claim} the claim with the user id
--   {key} the claim of the role   {written} a claim that users can change (user_metadata)   {blank} ''
--   {service} an administrator's role   {apirole} a role of the API   {open} 'public' and similar words
--   {dba} the role pg_database_owner   {k} any other constant
--
--   (user_id = NULLIF(current_setting('app.user_id'::text, true), ''::text))
--   (user_id = nullif(current_setting({setting}, {yes}), {blank}))
literal as materialized (
  select
    (select string_agg(regexp_replace(name, '\W', '\\\&', 'g'), '|') from identity_setting) as settings,
    coalesce(scope.claims, '{sub}') as claims,
    (select array_agg(rolname::text) from api) || '{authenticated,anon}' as roles,
    case when scope.claims is null then '{(?:claim|k)}' else '{claim}' end as claim,
    (select string_agg('|' || regexp_replace(lower(format_type(t.oid, null)), '\W', '\\\&', 'g'), '') from pg_type t
     where t.typtype = 'd' and t.oid >= 16384 and t.typtypmod = -1
       and t.typbasetype = any ('{text,varchar,uuid,bigint,integer,numeric}'::regtype[])) as domains,
    '(?: ?::(?:(?:\w+|"[^"]+")\.)?(?:character varying|timestamp with(?:out)? time zone|\w+|"[^"]+")'
      '(?:\(\d+\))?(?:\[\])?)?' as cast_to
  from scope
),

-- The texts that are read: of policies, views, defaults and functions.
source as materialized (
  select 'policy' as kind, p.oid, c.clause, p.polrelid as relid, c.raw
  from policies p
  cross join lateral (values
    ('using', case when p.polcmd <> 'a' then p.using_text end),
    ('with check', case when p.polcmd in ('a', 'w', '*') then coalesce(p.check_text, p.using_text) end)
  ) c (clause, raw)
  where c.raw is not null
  union all
  select 'default', d.oid, null, d.adrelid, pg_get_expr(d.adbin, d.adrelid)
  from pg_attrdef d
  where d.adrelid in (select polrelid from policies) or d.adrelid in (select oid from api_relation)
  union all
  select 'view', c.oid, null, c.oid, rtrim(pg_get_viewdef(c.oid), ';') from pg_class c where c.relkind = 'v'
    and c.oid >= 16384 and c.relnamespace not in (select oid from platform)
  union all
  select 'function', b.oid, null, null, b.code from body b where b.lanname in ('sql', 'plpgsql')
),

spelled as materialized (
  select r.raw, btrim(regexp_replace(t.text, '\s+', ' ', 'g')) as text
  from (select distinct raw from source) r
  cross join literal l
  cross join lateral (
    select regexp_replace(regexp_replace(r.raw, 'pg_catalog\.', '', 'gi'),
      '\(to_jsonb\((\w+)\.\*\) ->> ''(\w+)''::text\)', '\1.\2', 'gi') as text,
      'E?''((?:[^'']|'''')*)''' || l.cast_to || '|\$\w*\$(?:[^$]|\$\d)*\$\w*\$' as pattern offset 0
  ) p
  cross join lateral (
    select case when p.text !~ '[''$]' then p.text else (
      select string_agg(concat(s.part, case
          when s.literal is null then ''
          when s.literal[1] = '' then '{blank}'
          when s.literal[1] ~ '^(?:{}|0|[0-]{36})$' then '{null}' -- no claims, and no user's id
          when lower(s.literal[1]) in (select name from identity_setting) then '{setting}'
          when s.literal[1] ~* '^request\.jwt\.[\w.]+$' then '{other}'
          when s.literal[1] = any (l.claims) then '{claim}'
          when s.literal[1] in ('role', 'aal', 'aud', 'amr') then '{key}'
          when s.literal[1] ~ '^{?(?:user_metadata|raw_user_meta_data)' then '{written}'
          when s.literal[1] in ('service_role', 'supabase_admin') then '{service}'
          when s.literal[1] = 'pg_database_owner' then '{dba}'
          when s.literal[1] = any (l.roles) then '{apirole}'
          when s.literal[1] ~* '^(?:public|published|everyone|shared|visible|listed|unlisted|avatars?|public[_-].*)$'
            then '{open}'
          else '{k}' end), '' order by s.n)
      from rows from (regexp_split_to_table(p.text, p.pattern), regexp_matches(p.text, p.pattern, 'g'))
        with ordinality as s (part, literal, n)) end as text offset 0
  ) q
  -- a quoted name as one word: "Owner Id" becomes q_owner_id
  cross join lateral (
    select case when strpos(q.text, '"') = 0 then q.text else (
      select string_agg(case when n % 2 = 0 then 'q_' || regexp_replace(part, '[^\w$]', '_', 'g') else part end, ''
        order by n) from string_to_table(q.text, '"') with ordinality as p (part, n)) end as text
  ) n
  cross join lateral (
    select regexp_replace(regexp_replace(regexp_replace(lower(
      regexp_replace(regexp_replace(n.text, '\y(then|else) 0\y', '\1 {null}', 'gi'),
        '(?<![\w.$])\d+(?:\.\d+)?(?![\w$])', '{k}', 'g')),
        '\ytrue\y', '{yes}', 'g'), '\yfalse\y', '{no}', 'g'),
        '(?<!\yis )(?<!\yis not )\ynull' || l.cast_to || '(?![\w])', '{null}', 'g') as text
  ) t
),

-- Functions of one expression whose argument is a name: claim('user_id'). Calls are replaced by this expression.
helper as materialized (
  select lower(b.proname) as name,
    regexp_replace(regexp_replace(e.part[1], ' (?=[,)])', '', 'g'), format('(?<![\w.{$])(?:%s\.)?%s(?![\w$.(])',
      lower(b.proname), coalesce('(?:\$1|' || nullif(lower(b.proargnames[1]), '') || ')', '\$1')), '{argument}', 'g')
      as expression
  from body b
  join spelled s on s.raw = b.code
  cross join regexp_matches(s.text,
    '^(?:begin )?(?:select|return) ([^;]+?) ?;?(?: exception when .*)?(?: end ?;?)?$') e (part)
  where b.pronargs = 1 and b.argtypes && '{text,varchar}'::regtype[]::oid[] and e.part[1] !~ '\yfrom\y'
    and e.part[1] ~ 'current_setting|{other}|\w ?\( ?\)' and b.proname ~ '^\w+$'
),

-- If no policy reads a setting, each user is a role of the database. In a SECURITY DEFINER function, current_user is
-- the owner of the function.
marked as materialized (
  select s.raw, case when h.pattern is null or u.text !~ h.pattern then u.text else (
    select string_agg(p.part || coalesce((select min(format('(%s)', replace(f.expression, '{argument}', p.call[2])))
      from helper f where f.name = p.call[1]), ''), '' order by p.n)
    from rows from (regexp_split_to_table(u.text, h.pattern), regexp_matches(u.text, h.pattern, 'g'))
      with ordinality as p (part, call, n)) end as text
  from spelled s
  cross join literal l
  cross join (
    select '(?<![\w.$])(?:\w+\.)?(?:q_)?(' || string_agg(name, '|') || ') ?\( ?({\w+}) ?\)' as pattern from helper
  ) h
  cross join lateral (
    select case when l.settings is null then regexp_replace(s.text,
      case when s.raw in (select code from body where prosecdef) then '\ysession_user\y'
        else '\y(?:current_user|session_user|current_role)\y' end, 'current_setting({setting})', 'g')
      else s.text end as text offset 0
  ) u
),

-- Functions without arguments whose body consists only of current_setting, nullif, coalesce, casts, ->>, variables, if,
-- return, raise and calls of other such functions. A body with a constant, a table or another call does not count.
plain as materialized (
  select b.oid, b.proname, format('(?:(?:q_)?%s\.)?(?:q_)?%s', lower(b.nspname), lower(b.proname)) as name, c.code,
    r.is_whole,
    c.code !~ '\yfrom\y|\||\.(?!\w*(?:%| ?\())|\y(?:insert|update|delete|execute|perform|loop)\y|\$\d'
      and regexp_replace(c.code, '(?:->>?|#>>) ?{\w+}', '', 'g') !~
        '{(?:k|open|claim|key|apirole|written)}' as is_pure,
    array(
      select replace(m.part[1], ' ', '') from regexp_matches(c.code, '([\w$."]+ ?\((?: ?\))?)', 'g') m (part)
      where m.part[1] !~ '^(?:current_setting|nullif|coalesce|if|and|or|not|return|select|case|then|else|when|as) ?\('
    ) as calls,
    case when b.prorettype in ('json'::regtype, 'jsonb'::regtype) then 'claims'
      when c.code ~ '{written}' then 'written'
      when not r.is_whole or c.code ~ '->>? ?{key}' or c.code ~ '{other}' and c.code !~ '{setting}'
        or c.code ~ '->>? ?{k}' and l.claim = '{claim}' then 'token'
      else 'me' end as word
  from body b
  join marked m on m.raw = b.code
  join pg_type y on y.oid = b.prorettype
  cross join literal l
  cross join lateral (
    select regexp_replace(m.text, '\yraise\y[^;]*;', ';', 'g') as code
  ) c
  cross join lateral (
    select (coalesce(nullif(y.typbasetype, 0), y.oid) = any ('{text,varchar,uuid,bigint,integer,numeric,json,jsonb}'
      ::regtype[]) or y.oid = 'name'::regtype and l.settings is null) and not b.proretset as is_whole
  ) r
  where b.pronargs = 0 and b.lanname in ('sql', 'plpgsql') and length(b.code) < 2000
),

naming_function as materialized (
  select * from plain where is_pure and calls = '{}' and code ~ 'current_setting ?\( ?{(?:setting|other)}'
),

constant_user as materialized (
  select oid from plain
  where word = 'me' and code ~ '{setting}' and regexp_replace(code,
    'nullif ?\(((?:[^()]|\([^()]*\))*), ?{\w+} ?\)', '\1', 'g') ~ 'coalesce ?\([^;]*, ?{k} ?\)'
),

-- A function that returns the result of such a function, or looks up one column by it: the user of a session, the
-- tenant of a user. The check `membership` reports such a column if the API may write to it.
passing_function as materialized (
  select oid, name, word, false as is_looked_up from naming_function
  union all
  select p.oid, p.name, case when c.is_looked_up then 'me' else p.word end, c.is_looked_up
  from plain p
  cross join (
    select coalesce(string_agg(name, '|') filter (where word = 'me'), '$') as me,
      '^(?:' || coalesce(string_agg(name, '|') filter (where word in ('me', 'claims')), '$') || ')\(\)$' as call
    from naming_function
  ) n
  cross join lateral (
    select p.is_whole and regexp_replace(regexp_replace(p.code, '(?<![\w.])(?:' || n.me || ') ?\( ?\)', '{me}', 'g'),
      '\( ?(?:select )?{me}(?: as \w+)? ?\)|{me} ?:: ?\w+', '{me}', 'g')
      ~ '^(?:begin return \()? ?select (?:[\w$]+\.)?[\w$]+ from [\w$.]+(?: (?:as )?[\w$]+)? where '
        '\(?(?:[\w$]+\.)?[\w$]+ = {me}\)?(?: limit {k})? ?;?(?: ?\); end;?)?$' as is_looked_up
  ) c
  where p.oid not in (select oid from naming_function) and (c.is_looked_up or p.is_pure and p.calls <> '{}'
    and not exists (select from unnest(p.calls) c (name) where c.name !~ n.call))
),

named as materialized (
  select coalesce(string_agg(name, '|') filter (where word = 'me'), '$') as me,
    coalesce(string_agg(name, '|') filter (where word = 'claims'), '$') as claims,
    coalesce(string_agg(name, '|') filter (where word = 'token'), '$') as token,
    coalesce(string_agg(name, '|') filter (where word = 'written'), '$') as written
  from (
    select word, name from passing_function
    union
    select word, format('(?:%s\.)?%s', nspname, proname) from native_identity
    union
    select 'me', '(?:app\.)?current_user_id' from scope
      where is_tasks -- if it returns another user, that is one finding: identity_function
  ) f
),

-- Functions with one default argument, which is the user: tenant_of(person uuid default auth.uid()).
by_default as materialized (
  select p.oid
  from pg_proc p
  cross join named n
  where p.pronargdefaults = 1 and p.oid in (select oid from body)
    and lower(pg_get_expr(p.proargdefaults, 0)) ~ format('^(?:%s)\(\)(?:::\w+)?$', n.me)
),

-- All texts with {me} and {claims} in place of the expressions that return them. Each step removes one level of
-- parentheses, casts and calls.
user_text (raw, step, text, is_last) as (
  select m.raw, 1, regexp_replace(regexp_replace(regexp_replace(regexp_replace(m.text,
    'current_setting ?\( ?{setting} ?(?:, ?{\w+} ?)?\)', '{me}', 'g'),
    '(?<![\w.])(?:' || n.me || ') ?\( ?\)', '{me}', 'g'),
    '(?<![\w.])(?:' || n.claims || ') ?\( ?\)', '{claims}', 'g'),
    '(?<![\w.])(?:' || n.token || ') ?\( ?\)', '{token}', 'g'), false
  from marked m cross join named n
  where m.raw in (select raw from source where kind in ('policy', 'function'))
  union all
  select t.raw, t.step + 1, x.text, x.text = t.text or t.step = 4
  from user_text t cross join literal l
  cross join lateral (select regexp_replace(regexp_replace(regexp_replace(t.text,
    'nullif ?\( ?{(me|claims)} ?, ?{blank} ?\)|(?<![\w$])\( ?(?:select |values )?{(me|claims)}(?: as \w+)? ?\)|'
      '{(me)} ?:: ?(?:text|uuid|bigint|integer|int|numeric|varchar|character varying)(?![\w(])', '{\1\2\3}', 'g'),
    '{me} ?:: ?jsonb?', '{claims}', 'g'),
    '{claims} ?(?:-> ?{(?:k|claim)} ?)*(?:->>|#>>) ?' || l.claim, '{me}', 'g') as text offset 0) x
  where not t.is_last
),

-- Functions to which a policy passes the user: has_role(auth.uid(), 'admin'). In their bodies, that parameter counts as
-- the user.
passed as materialized (
  select distinct coalesce(c.part[1], '') as schema, c.part[2] as name, regexp_count(c.part[3], ',') + 1 as place
  from source s
  join user_text t on t.raw = s.raw and t.is_last
  cross join regexp_matches(t.text, '(?<![\w.])(?:([\w$]+)\.)?([\w$]+)\(((?:[^(),]+, )*){me}(?=[,)])', 'g') c (part)
  where s.kind = 'policy'
  union
  select lower(b.nspname), lower(b.proname), b.pronargs from by_default d join body b on b.oid = d.oid
),

-- Arguments of SQL functions with the name of a column of a table in the body. The column takes precedence, so
-- `m.team_id = team_id` is always true.
captured as materialized (
  select b.oid as function, a.name as argument, s.objid::regclass as relid,
    b.code ~* format('(?<![\w$.])((?:[\w$]+\.)?)%1$s\s*=\s*\1%1$s(?![\w$.(])', x.name)
      or not b.is_parsed and b.code ~* format('\.%1$s\s*=\s*%1$s(?![\w$.(])'
        '|(?<![\w$.])%1$s\s*=\s*[\w$]+\.%1$s(?![\w$.(])', x.name) as is_true
  from body b
  cross join unnest(b.proargnames, b.proargmodes) as a (name, mode)
  join body_reference s on s.function = b.oid and s.classid = 'pg_class'::regclass
  join pg_attribute t on t.attrelid = s.objid and t.attname = a.name and not t.attisdropped
  cross join lateral (
    select regexp_replace(a.name, '\W', '\\\&', 'g') as name where b.lanname = 'sql' and t.attnum > 0 offset 0
  ) x
  where coalesce(a.mode, 'i') in ('i', 'b') and b.code !~* format('\$\d|\y%s\.%s\y', b.proname, x.name)
    and b.code ~* format('=\s*(?:[\w$]+\.)?%s(?![\w$.(])', x.name)
),

-- The text of each function with {me} in place of the user id, and of variables that contain only the user id. In
-- `text`, the argument to which a policy passes the user also counts as the user. In `own_text` it does not, since a
-- direct call can pass another user: `is_chosen`, if the function does more than return a boolean.
--
--   declare me text := app.current_user_id(); begin delete from app.tasks where user_id = me and id = p_id; end
--   declare {me} text := {me}; begin delete from app.tasks where user_id = {me} and id = p_id; end
function_text as materialized (
  select b.oid, b.nspname, b.proname, b.prorettype, u.place, v.text as own_text, x.text,
    v.text ~ '\y(?:execute|ts_stat|\w+_to_xml\w*|crosstab\w*|dblink\w*)\y' as is_dynamic,
    y.is_asking, y.is_own_asking, s.*,
    u.place is not null and (b.prorettype <> 'boolean'::regtype
      or v.text ~ '\y(?:insert into|update|delete from|merge)\y') as is_chosen
  from body b
  join user_text t on t.raw = b.code and t.is_last
  left join lateral (
    select min(p.place) as place, min(coalesce(nullif(lower(b.proargnames[p.place]), ''), '$' || p.place)) as name
    from passed p
    where p.name = lower(b.proname) and p.schema in ('', lower(b.nspname)) and p.place <= b.pronargs
      and b.oid not in (select function from captured where is_true)
    having count(distinct p.place) = 1
  ) u on true
  -- In a trigger, the owner column of the row: policies have compared it with the user. An INSTEAD OF trigger gets an
  -- old row that its view has returned to the user.
  cross join lateral (
    select case when b.prorettype <> 'trigger'::regtype then t.text
      else regexp_replace(regexp_replace(t.text, case
        when b.oid not in (select tgfoid from pg_trigger where tgtype & 64 <> 0)
          then '\y(?:new|old)\.(?:user_id|owner_id|q_userid|q_ownerid)(?![\w$])'
        -- the ids of tasks begin at 1 for each user
        when t.text ~ '\yapp\.tasks\y' and (select is_tasks from scope) then '\yold\.user_id(?![\w$])'
        else '\yold\.[\w$]+' end, '{me}', 'g'), 'coalesce ?\( ?{me} ?, ?{me} ?\)', '{me}', 'g') end as text
    offset 0
  ) e
  cross join lateral (
    select replace(string_agg(distinct n.name, '|'), '$', '\$') as names
    from regexp_matches(case when e.text ~ '{me}(?: ?;| into )' and strpos(e.text, 'use_column') = 0 then e.text end,
      '(?:(?<=; ?|\ydeclare )(?!(?:begin|else|loop|return)\y)([\w$]+) (?:constant )?[\w.]+(?:\(\w+\))? '
      '?(?:not {null} )?(?::=|=|default) ?{me} ?;|((?:new\.)?[\w$]+) ?:= ?{me} ?;'
      '|select {me} into (?:strict )?([\w$]+)|select into (?:strict )?([\w$]+) {me} ?;)', 'g') m (part)
    cross join lateral coalesce(m.part[1], m.part[2], m.part[3], m.part[4]) n (name)
    -- and is set to nothing else
    where n.name <> all (coalesce(b.proargnames, '{}')) and e.text !~ replace(format('(?<![\w.])%1$s ?:=(?! ?{me} ?;)'
      '|(?<!select {me} )into (?:strict )?(?:[\w$]+ ?, ?)*%1$s\y(?! {me} ?;)|\yfor(?:each)? %1$s\y', n.name), '$', '\$')
  ) w
  cross join lateral (
    select coalesce(regexp_replace(e.text, '(?<![\w.{])(?:' || w.names || ')(?![\w.(])(?! ?:=)', '{me}', 'g'), e.text)
      as text offset 0
  ) v
  cross join lateral (
    select coalesce(regexp_replace(regexp_replace(v.text, '(?<![\w.{$])(?:' || regexp_replace(lower(b.proname),
      '\W', '\\\&', 'g') || '\.)?(?:' || replace(u.name, '$', '\$') || '|\$' || u.place
      || ')(?![\w.(])(?! ?:=)', '{me}', 'g'), 'coalesce ?\( ?{me} ?, ?{me} ?\)', '{me}', 'g'), v.text) as text
    offset 0
  ) x
  -- The user is compared, passed to a function in a condition, or returned by a sub-select. SET and INSERT only store
  -- the user.
  cross join lateral (
    select a.text ~ replace(c.pattern, '{USER}', '{(?:me|claims|token)}') as is_asking,
      o.text ~ (replace(c.pattern, '{USER}', '{(?:me|claims|token)}') || c.secret) as is_own_asking
    from (values ('(?<![:=])[=<>?@&] ?[[( ]*(?:[\w$.]+ ?\((?:[^();]*, ?)?){0,3}{USER}'
      '|\y(?:from|join|using|as|materialized|in|any|array|like) ?[[( ]*{USER}|\yfrom (?:(?!\ywhere\y)[^;()])*, ?{USER}'
      '|{USER}[) ]*(?:[=<>?@~-]|!=|in\y|is (?:not )?distinct)|\( ?(?:select|values) (?:[^();]*, ?)?{USER}'
      '|(?:\y(?:if|elsif|where|and|or|not|when|on|select|return|query|perform|call|from|in)|:=) ?[( ]*[\w$.]+'
        '(?: ?\((?:[^();]*[,>] ?)?| ?){USER}',
      -- or a token or a password that the caller must know
      '|(?:(?:token|secret|hash|digest|password)\w*|(?:code|link)(?:_\w+)?) ?= ?[\w$({]'
      '|= ?(?:\w+\.)?(?:crypt|sha\d+|digest|hmac) ?\('
      -- or a column that publishes the row
      '|\y(?:where|and|on) [( ]*(?:[\w$]+\.)?(?:(?!\w*schema)[\w$]+ = {open}'
        '|(?:q_)?(?:is_?)?(?:public|published|shared|visible|listed)(?! (?:[<>!]|= {no}|is)))'))
      c (pattern, secret)
    cross join (values ('\yset (?:(?!\y(?:where|from|returning)\y)[^;])*')) n (pattern)
    cross join lateral regexp_replace(x.text, n.pattern, 'set ', 'g') a (text)
    -- Nor is a direct call restricted by `<>`, which finds rows of others, or by a test that only logs, or that stops
    -- the user.
    cross join lateral regexp_replace(regexp_replace(v.text, n.pattern, 'set ', 'g'),
      '(?<=\y(?:where|and|or) ?\(?)[\w$.]+ ?(?:<>|!=|is distinct from) ?{me}(?![^;]*\ythen\y)'
      '|\yif [^;]* then raise (?:debug|log|info|notice|warning)\y[^;]*; end if'
      '|\yif (?:[\w$.]+ = {me}|{me} = [\w$.]+) then raise [^;]*; end if', '', 'g') o (text)
    offset 0
  ) y
  -- All tables are restricted to rows of the user: there are as many comparisons as tables, joined by AND.
  cross join lateral (
    select regexp_count(x.text, '\y(?:where|and|on) [( ]*(?:[\w$]+(?:\.[\w$]+)?(?: ?:: ?\w+)? ?= ?{me}|{me} ?= ?[\w$]+'
      '(?:\.[\w$]+)?(?![\w$.(]))') as comparisons, regexp_count(x.text, '\y(?:from|join|update)\y') as tables,
      x.text ~ ('\y(?:or|union|except|intersect|left|right|full|case|not|is|merge|insert|truncate|copy|table|using'
        '|values|execute|filter|over)\y|<>|!=|\yfrom [^;()]*,|\ycoalesce ?\(.*, ?{yes} ?\)') as is_other
  ) k
  cross join lateral (
    select k.tables between 1 and k.comparisons and not k.is_other as is_simple,
      k.comparisons > k.tables as is_tied_twice
  ) s
  where b.lanname in ('sql', 'plpgsql')
),

word as materialized (
  select distinct b.oid, b.path, lower(btrim(w.part[1], '" .')) as schema, lower(btrim(w.part[2], '"')) as name,
    w.part[3] is not null as is_call
  from (
    select b.oid, b.code, array(
      select n.oid from session_path e join pg_namespace n on n.nspname = any (e.schemas)
      union select oid from home
      union
      select n.oid
      from unnest(b.proconfig) as c (entry)
      cross join lateral unnest(string_to_array(substr(c.entry, 13), ',')) as s (schema)
      join pg_namespace n on n.nspname = btrim(s.schema, ' "')
      where c.entry like 'search_path=%'
    ) as path
    from body b offset 0
  ) b
  cross join lateral regexp_matches(b.code,
    '((?:[[:alpha:]_][\w$]*|"[^"]+")\s*\.\s*)?([[:alpha:]_][\w$]*|"[^"]+")(\s*\()?', 'g') as w (part)
),

-- Bodies that are stored as text are searched for names of functions and relations. Each word counts that is such a
-- name, in its schema or in the search_path of the body.
body_reference as materialized (
  select w.oid as function, 'pg_proc'::regclass::oid as classid, p.oid as objid, null as relname
  from word w
  join pg_proc p on lower(p.proname) = w.name and p.oid >= 16384 and p.oid <> w.oid
  join pg_namespace n on n.oid = p.pronamespace
  where w.is_call and (lower(n.nspname) = w.schema or w.schema is null and n.oid = any (w.path))
  union
  select w.oid, 'pg_class'::regclass, c.oid, regexp_replace(regexp_replace(w.name, '^q_', ''), '[^\w$]', '_', 'g')
  from word w
  join pg_class c on lower(c.relname) = w.name and c.relkind in ('r', 'p', 'f', 'v', 'm')
  join pg_namespace n on n.oid = c.relnamespace
  where lower(n.nspname) = w.schema or w.schema is null and n.oid = any (w.path) and c.oid >= 16384
),

-- Relations that the body of a function uses, and whether it may write to them, or does more than add rows.
table_use as materialized (
  select r.function, r.objid as relid, f.is_simple and not f.is_chosen as is_filtered,
    f.text ~ ('\y(?:into|update|delete from|truncate|table|only) ' || n.name) as is_written,
    f.text ~ ('(?:\y(?:from|join|update|using|truncate|table|only|copy) |, ?)' || n.name) as is_read
  from body_reference r
  join function_text f on f.oid = r.function
  cross join lateral (
    select '(?:[\w$]+\.)?(?:q_)?' || replace(r.relname, '$', '\$') || '(?![\w$.(])' as name offset 0
  ) n
  where r.classid = 'pg_class'::regclass and (f.is_dynamic
    or f.text ~ ('(?:\y(?:from|join|into|update|using|truncate|table|only|copy) |, ?|\( ?)' || n.name))
),

-- Functions that use the user, and functions that call them.
asking (oid) as (
  select oid from function_text where is_asking
  union
  select r.function from asking a join body_reference r on r.objid = a.oid and r.classid = 'pg_proc'::regclass
    where a.oid not in (select oid from passing_function)
),

-- Functions that policies may call: functions that look up rows of the user. A function that ignores its arguments
-- (`idle`) returns the same for each row, `same` compares its argument with the user: is_mine(user_id). `is_unknown`: a
-- statement is not restricted to the user, but the function uses the user in another form, which is a warning.
lookup_function as materialized (
  select f.oid, lower(f.nspname) as schema, m.name, w.word, w.is_unknown,
    case w.word when 'same' then 1 else coalesce(f.place, 0) end as place
  from function_text f
  -- the name in conditions: "ownsTeam" becomes q_ownsteam
  cross join lateral (
    select case when quote_ident(f.proname) = f.proname then f.proname
      else 'q_' || regexp_replace(lower(f.proname), '[^\w$]', '_', 'g') end as name
  ) m
  join pg_proc p on p.oid = f.oid
  join argument u on u.oid = f.oid
  cross join lateral (
    select f.prorettype = 'boolean'::regtype and p.pronargs = 1 and not p.prosecdef and f.text ~ format(
      '^(?:select|return|(?:declare [^;]+; )?begin(?: if {me} is null then return (?:{no}|{null}); end if;)? return) '
      '\(?(?:\$1|%s)(?:::\w+)? = {me}\)?;?(?: end;?)?$',
      coalesce(nullif(regexp_replace(lower(p.proargnames[1]), '\W', '\\\&', 'g'), ''), '\$1')) as is_same
  ) s
  cross join lateral (
    select f.place is not null or u.names && regexp_split_to_array(f.text, '[^\w$]+') as is_used
  ) a
  cross join lateral (
    select case when s.is_same then 'same' when f.prorettype <> 'boolean'::regtype then 'derived'
      when a.is_used or p.pronargs = 0 then 'asking' else 'idle' end as word,
      not s.is_same and ((f.is_simple and not f.is_dynamic) is not true
        -- any row of the user in a table that may have several: the function names a part of each unique key, or
        -- compares two columns with values of the user
        or not a.is_used and f.prorettype = 'boolean'::regtype and (f.is_tied_twice or exists (
          select
          from table_use t
          join pg_index x on x.indrelid = t.relid and x.indisunique and x.indpred is null
          cross join lateral (
            select array(select lower(t.attname)::text from pg_attribute t where t.attrelid = x.indrelid
              and t.attnum = any ((x.indkey::int2[])[0:x.indnkeyatts - 1])) as names
          ) k
          where t.function = f.oid
          group by t.relid
          having bool_or(cardinality(k.names) > 1)
            and not bool_or(k.names <@ regexp_split_to_array(f.text, '[^\w$]+'))))) as is_unknown
  ) w
  where (f.oid in (select oid from asking) or not w.is_unknown
      or f.prorettype <> 'boolean'::regtype and f.text ~ '{(?:me|claims|token|other)}')
    and f.oid is distinct from (select tasks_function from scope where is_tasks)
    and f.prorettype <> 'trigger'::regtype
    and f.text !~ '\y(?:insert into|update|delete from|merge|truncate)\y'
    -- a setting that the caller can change
    and not ((select is_strict from scope) and f.text ~ '\ycurrent_setting ?\(')
    and f.oid not in (select oid from passing_function where not is_looked_up)
    and f.oid not in (select function from captured where is_true)
),

-- 7. Conditions -------------------------------------------------------------------------------------------------------
-- The rows that policies and views return, and the values of defaults.
-- Fails safe: an unknown form is {with} if the user is involved, which is a warning. Otherwise it restricts nothing,
-- which is a hole.
--
--   create policy urgent on app.tasks for select to tasks_api
--     using (user_id = app.current_user_id() or priority = 'urgent');
--   => hole policy urgent on app.tasks: this permissive policy lets the API role read rows of other users

-- PostgreSQL deparses each operator with its own parentheses. Each step replaces all parentheses without inner ones by
-- one word in braces, until the alternatives of the condition remain:
--
--   ((user_id = {me}) or (exists ( select {k} from app.members m where ((m.team = row.team) and (m.person = {me})))))
--   ({own:user_id} or (exists(({link} and {has:person}))))
--   ({own:user_id} or (exists({member})))
--   ({own:user_id} or {member})
--   {member|own:user_id}
--
-- The words of conditions, from the weakest. `and` is its strongest operand; the operands of `or` are alternatives. A
-- word that is not in this list restricts nothing. {has} and {link} are {member} together, {has} and {const} {ranked}.
--
--   apart:c  column c of the row is not the user         wrong   the user is involved, but others' rows match
--   vacant:c column c of the row is null                 flag    a column such as is_public permits it
--   with     the user is involved in an unknown form
--   link     a row of another table has its value        parent  such a row exists, and the caller may read it
--   has:c    column c of another table is the user       roll    any row of another table is the user's
--   ranked   and another column of it is a constant      rank    any such row exists
--   staff    a claim or a setting is a constant          member  a row of another table connects row and user, or the
--   own:c    column c of the row is the user                     user is in a list of the row
--   no       false or null
--
-- The words of values: me (the user), claims, token (another claim), derived (looked up for the user), field (a part of
-- a column), folder (of a file's name), made and found (computed from columns of the row, or of another table), v (any
-- other). A sub-select is list:WORD if it returns columns of another table, some:WORD for others; WORD is what it
-- requires.
scale (words) as materialized (
  values ('{apart,wrong,vacant,flag,with,link,parent,has,roll,ranked,staff,rank,member,own,no}'::text[])
),

-- Comparisons: the kinds of the left and the right operand, the operators, and the word. In a word, L is the column.
comparison (l, operators, r, word) as materialized (
  select string_to_array(c.l, ' '), string_to_array(c.operators, ' '), string_to_array(c.r, ' '), c.word
  from scope
  cross join literal
  cross join lateral (values
    ('row folder', '= in', 'me', 'own:L'), ('row', '<>', 'me', 'apart:L'),
    ('inner', '= in', 'me', 'has:L'), ('inner', '= in', 'row made folder', 'link'),
    ('row made', '=', 'inner', 'link'),
    -- a list of users in the row
    ('me', 'in', 'row field', 'member'), ('field', '=', 'me', 'member'), ('row field', '@> && ? ?|', 'me', 'member'),
    ('claims me', '?', 'row', 'member'),
    -- values that were looked up for the user
    ('row', '= in', 'derived', 'member'), ('inner', '= in', 'derived', 'has'),
    ('derived', '= in > >=', 'k open', 'rank'),
    -- constants
    ('inner', '= <> < <= > >= in', 'k yes no key claim apirole other open v', 'const'),
    ('token', '= in', 'service', 'no'), ('token', '= in', 'k key claim', 'staff'),
    ('token', '= in', 'apirole', 'wrong'),
    ('me', '= in', 'k', case when scope.is_strict then 'wrong' else 'staff' end),
    ('me claims token', '<> is', 'k apirole blank null', 'true'), ('row', '= is in', 'open', 'flag'),
    ('row', '= is in < <=', 'k null no v', case when not scope.is_strict then 'flag' end),
    ('row', '<>', 'k', case when not scope.is_strict then 'flag' end),
    ('row', 'is', 'null', 'vacant:L'),
    -- parts of JSON values
    ('claims me', '->> #>>', 'claim', 'me'), ('claims me', '-> #>', 'k claim key', 'claims'),
    ('claims me', '->> #>>', 'k', case literal.claim when '{claim}' then 'token' else 'me' end),
    ('claims me', '->> #>>', 'k key', 'token'), ('claims me', '-> ->> #> #>>', 'written', 'wrong'),
    ('row field', '-> ->> #> #>>', 'k claim key', 'field')
  ) c (l, operators, r, word)
),

condition as materialized (
  select s.kind, s.oid, s.clause, s.relid, s.raw, t.text
  from source s
  join marked m on m.raw = s.raw
  left join pg_class c on c.oid = s.relid
  cross join lateral (
    select case when s.kind <> 'policy' then m.text
      else regexp_replace(m.text, '(?<![\w.$])(?:q_)?' || regexp_replace(replace(lower(c.relname), '$', '\$'),
        '[^\w$\\]', '_', 'g') || '\.(?![\w$]+\()', 'row.', 'g') end as text -- not a function in a schema of this name
    offset 0
  ) t
  where s.kind <> 'function'
),

-- Each text is split into its calls, and the names are compared, since a regular expression of 1,000 names takes
-- PostgreSQL seconds. app.is_member(row.team, {me}) becomes {asking 2}(row.team, {me}) if the function looks up rows of
-- its second argument.
call as materialized (
  select t.text, c.n, f.functions, concat(c.part, coalesce(f.marker,
      concat(c.call[1] || '.', c.call[2] || '('))) as part
  from (select distinct text from condition) t
  cross join lateral rows from (
    regexp_split_to_table(t.text, '(?<![\w.])(?:[\w$]+\.)?[\w$]+\('),
    regexp_matches(t.text, '(?<![\w.])(?:([\w$]+)\.)?([\w$]+)\(', 'g')
  ) with ordinality as c (part, call, n)
  left join (
    select schema, name, array_agg(oid) as functions,
      max(format('{%s %s%s}(', word, place, case when oid in (select oid from by_default) then 'd' end))
        filter (where oid not in (select oid from passing_function)) as marker
    from lookup_function
    group by grouping sets ((schema, name), (name))
  ) f on f.name = c.call[2] and f.schema is not distinct from c.call[1]
),

-- The functions that look up rows of the user, and the conditions that call them.
lookup_call as materialized (
  select text, unnest(functions) as function from call where functions && array(select oid from lookup_function)
),

-- The texts in the form that is reduced: with the words of values, and without casts that keep the value.
expression as materialized (
  select c.kind, c.oid, c.clause, c.relid, c.raw, c.text,
    x.text || case c.kind when 'policy' then ' or {no}' else '' end as reducible
  from condition c
  cross join scope
  cross join literal l
  cross join named n
  left join (
    select text as original, string_agg(part, '' order by n) as text from call
    where text in (select text from lookup_call) group by text
  ) p on p.original = c.text
  cross join lateral (
    select replace(coalesce(p.text, c.text), case when scope.is_tasks then 'pg_has_role(session_user, {dba}, {k})'
      else '' end, '{no}') as text
  ) t
  cross join lateral (
    select regexp_replace(regexp_replace(regexp_replace(regexp_replace(regexp_replace(t.text,
      '(?<![\w.])(?:' || n.me || ')\(\)', '{me}', 'g'), '(?<![\w.])(?:' || n.claims || ')\(\)', '{claims}', 'g'),
      '(?<![\w.])(?:' || n.token || ')\(\)', '{token}', 'g'),
      '\y(?:(?:current|session)_user|current_(?:date|time|timestamp)|localtime|localtimestamp)\y', '{v}', 'g'),
      concat('::(?:text|uuid|bigint|integer|int|numeric|jsonb?|character varying', l.domains,
      ')(?:\[\])?(?![\w(])'), '', 'g') as text offset 0
  ) v
  cross join lateral (
    select translate(replace(replace(replace(replace(replace(replace(replace(v.text,
      ' is not distinct from ', ' = '), ' is distinct from ', ' <> '), ' is not ', ' <> '), ' is null', ' is {null}'),
      ' <> null', ' <> {null}'), '= any (', 'in ('), '[{k}]', '::item'), '[]', '()') as text
  ) x
),

-- `f` is the function before the parentheses, `g` their content, `a` its words, and `kinds` the kinds of these.
reduction (original, text, step) as (
  select r.text, format('(%s)', r.text), 0 from unnest(array(select distinct reducible from expression)) r (text)
  union all
  select d.original, w.text, d.step + 1
  from reduction d
  cross join scope
  cross join scale
  cross join lateral (
    select string_agg(concat(p.part, case when p.m is not null then j.word end), '' order by p.n) as text
    from rows from (
      unnest(regexp_split_to_array(d.text, '(?:exists |[\w$.]+|{\w+ \w+})?\([^()]*\)')),
      regexp_matches(d.text, '(exists |[\w$.]+|{\w+ \w+})?\(([^()]*)\)', 'g')
    ) with ordinality as p (part, m, n)
    left join lateral (
      select p.m[1] as f, btrim(p.m[2]) as g
      where p.m is not null
    ) x on true
    cross join lateral (
      select case when strpos(x.g, 'case ') > 0 and x.g ~ '\ycase\y' then 'case'
          when split_part(x.g, ' ', 1) in ('select', 'with', 'values') then 'select' when x.f is not null then 'call'
          when strpos(x.g, ' join ') > 0 then 'join' when strpos(x.g, ' and ') > 0 then 'and'
          when strpos(x.g, ' or ') > 0 then 'or'
          when x.g like 'not %' then 'not' when strpos(x.g, ', ') > 0 then 'tuple' when strpos(x.g, ' ') = 0 then 'word'
          when count(*) = 3 then 'comparison' end as kind,
        array_agg(a.word order by a.n) as a,
        array_agg(case when a.word like '{folder}%' then 'folder' when a.word like '%::%' then 'cast'
          when a.word like '{%' then split_part(translate(split_part(a.word, ':', 1), '{}', ''), '|', 1)
          when left(a.word, 4) = 'row.' or strpos(a.word, '.') = 0 then 'row' else 'inner' end order by a.n) as kinds
      from (
        select t.word, case when q.is_swapped then 4 - t.n else t.n end as n
        from unnest(string_to_array(x.g, case when x.f is null then ' ' else ', ' end)) with ordinality t (word, n)
        cross join (select x.f is null and x.g like '{%' and x.g ~ ('^{[^{}]*} (?:=|<>) [^{]\S*$'
          '|^{(?:k|service)} = {(?!k)\S*$|^{me} = {(?:folder|field|derived)}|^{list:[^{}]*} = {me}$') as is_swapped) q
      ) a
    ) k
    -- the word of an unknown form
    cross join lateral (
      select x.g ~ ('[{|](?:me|claims|token|derived|folder|with|own|has|ranked|member|rank|staff|roll'
        '|(?:list|some):(?:has|roll|ranked|rank|staff|member|own|with))(?![\w$])') as is_user
    ) h
    cross join lateral (
      select case when h.is_user then '{with}' when x.g ~ '\yrow\.|{(?:made|field)}' or x.f is not null
          and exists (select from unnest(k.a) a (word) where a.word ~ '^[a-z_][\w$]*$') then '{made}'
        when x.g ~ '\w\.\w|{found}' then '{found}' else '{v}' end as word
    ) u
    -- the operands of `and` and `or`, and their alternatives. `least` is a place in the scale: 6 is link, 8 has,
    -- 10 ranked, 12 rank, 14 own.
    cross join lateral (
      select '{' || coalesce(string_agg(distinct o.word, '|') filter (where o.word <> 'no'), 'no') || '}' as either,
        (array_agg(o.word order by o.strength))[1] as weakest,
        case when bool_or(o.least in (8, 10)) and bool_or(o.least = 6) and max(o.least) < 14 then '{member}'
          when bool_or(o.least = 8) and bool_or(o.word = 'const' and o.least = 0) and max(o.least) < 12 then '{ranked}'
          when max(o.least) > 0 then (array_agg(o.item order by o.least desc, strpos(o.item, '|'), o.n desc))[1]
          when bool_or(o.word = 'const') then '{const}' when bool_or(o.word = 'me') then '{me}'
          when bool_and(o.word = 'yes') then '{yes}' else '{v}' end as strongest
      from (
        select i.n, v.word, s.strength, min(s.strength) over (partition by i.n) as least,
          case when v.word = a.word then i.item else '{' || v.word || '}' end as item
        from unnest(string_to_array(case when k.kind in ('and', 'or', 'call') then x.g end,
          case k.kind when 'and' then ' and ' else ' or ' end))
          with ordinality i (item, n)
        cross join unnest(string_to_array(btrim(i.item, '{}'), '|')) a (word)
        cross join lateral (
          select case when i.item not like '{%' then
              case when i.item ~ '^(?:[\w$]+\.)?(?:q_)?(?:is_?)?(?:public|published|shared|visible|listed)$'
                  or not scope.is_strict and i.item ~ '^(?:row\.)?[\w$]+$' then 'flag'
                when strpos(i.item, '.') > 0 and i.item not like 'row.%' then 'const' else 'v' end
            when a.word = 'null' then 'no'
            when a.word not like 'list:%' and a.word not like 'some:%' then a.word
            when a.word ~ '^(?:list|some):(?:own|member)' then 'member'
            when a.word ~ '^(?:list|some):(?:has|roll|rank|staff)' then 'rank'
            when a.word ~ '^(?:list|some):with' then 'with'
            else a.word end as word
        ) v
        cross join lateral (
          select coalesce(array_position(scale.words, split_part(v.word, ':', 1)), 0) as strength
        ) s
      ) o
    ) o
    -- the conditions of a sub-select. What an outer join does not require is left out.
    cross join lateral (
      select string_agg(c.conditions, ') or (' order by t.n) as conditions,
        substring(x.g from '^select (?:distinct )?([^ ,]+)(?: as [^ ]+)?(?= from | where |$)') as output
      from unnest(regexp_split_to_array(case when k.kind = 'select' then
          regexp_replace(replace(replace(regexp_replace(regexp_replace(x.g,
            '(.* (?:left|right|full) join .*) on ', '\1 not on ', 'g'),
            ' from {(?:list|some):(?!.* (?:right|full) join )', ' where {', 'g'),
            ' from {derived}', ' where {has}'), ' from {me}', ' where {with}'),
            ' from {(?:made|field)}', ' where {link}', 'g')
        end, ' union (?:all )?')) with ordinality t (text, n)
      cross join lateral (
        select coalesce(string_agg(m.part[1], ' and '), '{none}') as conditions
        from regexp_matches(t.text, '(?<! not) (?:where|on|having) ({[^{}]*}|[\w$.]+)(?= |$)', 'g') m (part)
      ) c
    ) s
    -- what a sub-select requires that is the right operand, and one that is the left operand
    cross join lateral (
      select substring(k.a[3] from '^{\w+:([^{}]*)') as word,
        k.a[3] ~ '^{\w+:(?:has|roll|rank|ranked|staff|member|own)\y' as is_user,
        k.a[1] like '{list:%' and k.a[1] ~ ':(?:has|roll|rank|ranked|staff)\y' as is_rank,
        k.a[1] like '{list:%' and k.a[1] ~ ':(?:member|own)' as is_member
    ) r
    -- the user among the arguments of a function
    cross join lateral (
      select split_part(btrim(x.f, '{}'), ' ', 1) as word,
        coalesce(substring(x.f from '^{\w+ (\d+)')::integer, -1) as place,
        x.f like '%d}' and coalesce(cardinality(k.a), 0) < substring(x.f from '^{\w+ (\d+)')::integer as is_default
    ) l
    cross join lateral (
      select case k.kind
        when 'case' then concat(x.f, '(', replace(replace(replace(regexp_replace(regexp_replace(x.g,
          '\ycase (?:\S+ )?when ', '(((', 'g'), '\yend\y', ')))', 'g'), ' then ', ') and ('), ' when ', ')) or (('),
          ' else ', ')) or (('), ')')
        when 'select' then case when x.f is null and s.output = '{with}'
            or h.is_user and x.g ~ ' (?:intersect|except) ' then '{with}'
          when x.g ~ '^select (?:.* )?(?:from|where) ' then concat(
            case when x.f = 'exists ' then x.f
              when x.g ~ replace('^select (?:distinct )?(?:COLUMN, )*COLUMN from ', 'COLUMN',
                '(?!row\.)[\w$]+\.[\w$]+(?: as [\w$]+)?') then 'list' else 'some' end, '(((', s.conditions, ')))')
          when x.g like 'select %' then coalesce(s.output, u.word) else u.word end
        when 'join' then x.g
        when 'and' then o.strongest
        when 'or' then o.either
        when 'word' then x.g
        when 'not' then case when k.a[2] = '{no}' then '{yes}' when k.a[2] = '{yes}' then '{no}'
          when k.a[2] ~ '^{apart:[^|]*}$' then replace(k.a[2], 'apart', 'own')
          when k.a[2] ~ '[{|]with' then '{with}' when h.is_user then '{wrong}'
          when not scope.is_strict and k.kinds[2] = 'row' then '{flag}' else '{v}' end
        when 'comparison' then coalesce(
          case when k.a[2] in ('=', 'is') and k.a[3] = '{yes}' then k.a[1] when '{wrong}' = any (k.a) then '{wrong}'
            -- 'room:' || m.room_id
            when k.a[2] = '||' and k.a[1] = '{k}' and k.kinds[3] in ('row', 'inner') then k.a[3]
            when k.a[2] not in ('=', 'in') then null
            when k.kinds[3] <> 'list' then case when r.is_rank and k.kinds[3] <> 'row' then '{rank}'
              when r.is_member and k.kinds[3] <> 'row' then '{member}' end
            when r.is_user then case when k.kinds[1] in ('row', 'made', 'field') then '{member}'
              when k.kinds[1] in ('inner', 'found') then '{has}'
              when k.kinds[1] in ('k', 'key', 'claim', 'apirole') then '{rank}' else '{with}' end
            when r.word ~ '^with' then '{with}'
            when k.kinds[1] in ('row', 'made', 'field') then '{parent}'
            when k.kinds[1] = 'me' then case r.word when 'link' then '{member}' else '{roll}' end end,
          (select case when strpos(c.word, ':L') > 0 then format('{%s}', replace(c.word, ':L', ':' ||
              case when k.kinds[1] = 'folder' then 'name' else substring(k.a[1] from '[\w$]+$') end))
            else format('{%s}', c.word) end
            from comparison c
            where c.word is not null and k.kinds[1] = any (c.l) and k.a[2] = any (c.operators)
              and k.kinds[3] = any (c.r) limit 1),
          u.word)
        when 'call' then case
          when x.f = 'exists ' then case
            -- AND before OR: a.team = row.team and a.person = {me} or a.deputy = {me}
            when o.weakest like 'has%' then case when x.g ~ '[{|]member[|}]' then '{wrong}' else '{roll}' end
            when o.weakest like 'apart%' then '{wrong}'
            when o.weakest = 'link' then '{parent}' when o.weakest = 'ranked' then '{rank}'
            when split_part(o.weakest, ':', 1) = any (scale.words) then '{' || o.weakest || '}' else '{v}' end
          when x.f in ('list', 'some') then format('{%s:%s}', x.f, o.weakest)
          when x.f = 'array' then (
            select case when count(distinct e.word) = 1 and min(e.word) like '{%' then min(e.word)
              when bool_and(e.word in ('{k}', '{service}', '{claim}', '{key}', '{open}')) then '{k}'
              else u.word end
            from unnest(k.a) e (word))
          when x.f = 'current_setting' then case when k.a[1] = '{setting}' then '{me}'
            when k.a[1] = '{other}' or not scope.is_strict then '{token}' else u.word end
          when x.f = 'pg_has_role' then case
            when k.a[cardinality(k.a) - 1] = '{apirole}' then '{wrong}'
            when k.a[cardinality(k.a) - 1] in ('{k}', '{service}') then '{staff}'
            when k.a[1] = '{me}' and k.kinds[2] = 'row' then '{member}' else u.word end
          when x.f = 'nullif' and k.a[2] = '{blank}' and k.a[1] in ('{me}', '{claims}', '{token}') then k.a[1]
          when x.f = 'coalesce' and k.a[1] = '{me}' and 'row' = any (k.kinds) then '{wrong}' -- true without a user
          when x.f = 'coalesce' then (select case when count(distinct e.word) = 1 then min(e.word) else u.word end
            from unnest(k.a) e (word)
            where e.word not in ('{no}', '{null}') and not (e.word = '{blank}' and k.a[1] = '{token}'))
          when '{me}' = any (k.a) and k.a <@ '{"{me}","{k}","{claim}","{key}"}'
            and x.f ~ '^(?:md5|sha\d+|convert_to|encode|digest|to_jsonb?|jsonb?_build_(?:array|object))$' then '{me}'
          when k.a[1] in ('name', 'row.name') and (x.f = 'split_part' or strpos(x.f, '.') > 0) then '{folder}'
          when l.place < 0 then u.word
          when l.word = 'same' then case when k.kinds[1] = 'row' and k.a[1] !~ '^{' then format('{own:%s}',
            substring(k.a[1] from '[\w$]+$')) else u.word end
          when l.place > 0 and k.a[l.place] is distinct from '{me}' and not l.is_default then u.word
          when l.word = 'derived' then '{derived}'
          when l.word = 'idle' then case when k.kinds && '{row,made,field,inner,found}' then '{wrong}' else '{rank}' end
          when k.kinds && '{row,made,field}' then '{member}' when k.kinds && '{inner,found}' then '{has}'
          else '{rank}' end
        else u.word end as word
    ) j
  ) w
  where strpos(d.text, '(') > 0 and d.step < 100
),

-- For each condition: the columns that it compares with the user, and its alternatives.
trace as materialized (
  select t.original, array_agg(m.part[1]) as had
  from (select distinct original, text from reduction where strpos(text, ':') > 0) t
  cross join regexp_matches(t.text, '(?:own|has):([\w$]+)', 'g') m (part)
  group by t.original
),

verdict as materialized (
  select e.kind, e.oid, e.relid, e.clause, e.text, coalesce(t.had, '{}') as had, d.seen,
    case when e.kind <> 'policy' or d.seen <@ '{yes,no}' then format('{%s}', array_to_string(d.seen, '|'))
      when exists (select from unnest(d.seen) s (word)
        where coalesce(array_position(scale.words, split_part(s.word, ':', 1)), 0) < 3)
        then '{other}'
      when cardinality(d.seen) > 1 then '{mix}' else format('{%s}', d.seen[1]) end as word, a.attnum, a.attname,
    e.reducible ~ '{(?:me|claims|token|setting|other|same|asking|idle|derived)\y' as is_user
  from expression e
  cross join scale
  full join (
    select original, string_to_array(btrim(text, '{}'), '|') as seen from reduction where strpos(text, '(') = 0
  ) d on d.original = e.reducible
  full join trace t on t.original = e.reducible
  left join pg_attribute a on a.attrelid = e.relid and not a.attisdropped and a.attnum > 0 and cardinality(d.seen) = 1
    and d.seen[1] in ('own:' || lower(a.attname), 'own:q_' || regexp_replace(lower(a.attname), '[^\w$]', '_', 'g'))
  where coalesce(e.kind, '') <> ''
),

-- 8. Owner columns ----------------------------------------------------------------------------------------------------
-- Columns that contain the owner of a row, and conditions that compare them with the user.
--
--   create table app.notes (id bigint primary key, author text not null references app.users);
--   alter table app.notes enable row level security;
--   create policy own on app.notes to tasks_api using (author = app.current_user_id());
--   grant select, insert on app.notes to tasks_api;
--   => hole unique_key notes_pkey on app.notes: this unique index spans all users (it does not compare author)

reached_policy as materialized (
  select p.oid, p.polrelid, v.clause, c.cmd, p.polcmd, p.polname, p.polpermissive, v.word, v.attnum, v.seen, v.had,
    v.text,
    0 = any (p.polroles) or (select oids from api_names) && p.polroles as is_for_api
  from policies p
  full join (select * from verdict where kind = 'policy') v on v.oid = p.oid
  cross join unnest(case v.clause when 'using' then '{r,w,d}' else '{a,w}' end::text[]) as c (cmd)
  where coalesce(p.polcmd in ('*', c.cmd) and p.polroles && array(select oid from grantee), false)
    and coalesce(v.oid, 0) <> 0
),

-- 9. Executed code ----------------------------------------------------------------------------------------------------
-- Code that runs when the API uses a relation or a function: objects that are reached by pg_depend and by names in
-- bodies.
-- Fails safe: each word of a body that is the name of a function or relation counts as a use of it.
--
--   create function app.tell() returns trigger language plpgsql as
--     'begin perform pg_notify(''tasks'', new.title); return new; end';
--   create trigger tells after insert on app.tasks for each row execute function app.tell();
--   => hole trigger app.tell() by trigger tells on app.tasks: commands on the table call this function

-- The relations that a view reads, through all views, and the view whose rights are used. They are found in the parsed
-- definition, since pg_depend does not contain PostgreSQL's own catalogs. The reader of a view needs no USAGE on the
-- schemas of these relations.
view_reads as (
  select oid as view, null::oid as reader, oid
  from api_relation
  where relkind = 'v' and relnamespace in (select oid from usable)
  union
  select r.objid, null, r.objid
  from body_reference r
  join pg_class c on r.classid = 'pg_class'::regclass and c.oid = r.objid and c.relkind = 'v' and c.oid >= 16384
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

callable as materialized (
  select p.oid, p.pronamespace, p.prosecdef, m.objid is not null as is_authored
  from pg_proc p
  left join authored m on m.classid = 'pg_proc'::regclass and m.objid = p.oid
  where (p.oid >= 16384 or p.prosecdef or p.proconfig is not null)
    and p.prorettype not in ('trigger'::regtype, 'event_trigger'::regtype)
    and (p.proowner in (select oid from assumable_role) or p.proacl is null
      or p.oid in (select objid from grants where kind = 'routine'))
),

-- Edges of the graph. `by_right`: the API has no privilege on the relation, so the edge is followed only in
-- SECURITY DEFINER functions.
edge as materialized (
  -- an object and the objects that it depends on
  select d.classid, d.objid, d.refclassid as toclass, d.refobjid as toid, 0::oid as reader,
    d.refclassid = 'pg_class'::regclass as is_table,
    d.refclassid = 'pg_class'::regclass and d.refobjid not in (select oid from api_relation) as by_right
  from pg_depend d
  where d.refobjid >= 16384
    and (d.refclassid in ('pg_proc'::regclass, 'pg_operator'::regclass, 'pg_opclass'::regclass,
      'pg_opfamily'::regclass, 'pg_collation'::regclass)
      or d.refclassid = 'pg_type'::regclass and d.classid <> 'pg_operator'::regclass
      or d.refclassid = 'pg_class'::regclass and d.classid in ('pg_proc'::regclass, 'pg_policy'::regclass))
  union all
  -- an object and its parts
  select d.refclassid, d.refobjid, d.classid, d.objid, 0, false, false
  from pg_depend d
  where d.refobjid >= 16384 and d.deptype in ('a', 'i')
    and d.classid in ('pg_trigger'::regclass, 'pg_constraint'::regclass, 'pg_class'::regclass, 'pg_policy'::regclass,
      'pg_attrdef'::regclass, 'pg_rewrite'::regclass, 'pg_statistic_ext'::regclass, 'pg_amop'::regclass,
      'pg_amproc'::regclass)
    and (d.classid, d.objid) not in (
      select 'pg_trigger'::regclass, oid from pg_trigger where tgisinternal or tgenabled = 'D'
      union all
      select 'pg_constraint'::regclass, oid from pg_constraint where contype = 'f'
      union all
      select 'pg_class'::regclass, oid from pg_class where relkind not in ('i', 'I')
      union all
      select 'pg_policy'::regclass, oid from pg_policy where not polroles && array(select oid from grantee)
    )
  union all
  -- partitions and children, and the triggers of tables that are changed by foreign keys to it
  select 'pg_class'::regclass, i.inhparent, 'pg_class'::regclass, i.inhrelid, 0, true, false
  from pg_inherits i join pg_class c on c.oid = i.inhrelid and c.relkind in ('r', 'p', 'f')
  union all
  select 'pg_class'::regclass, k.confrelid, 'pg_trigger'::regclass, t.oid, 0, false, false
  from pg_constraint k join pg_trigger t on t.tgrelid = k.conrelid and not t.tgisinternal and t.tgenabled <> 'D'
  where k.contype = 'f' and (k.confdeltype in ('c', 'n', 'd') or k.confupdtype in ('c', 'n', 'd'))
  union all
  -- relations of views, and names in bodies
  select 'pg_class'::regclass, v.reader, 'pg_class'::regclass, v.oid, coalesce(o.oid, 0), true,
    o.oid is null and v.oid not in (select oid from api_relation)
  from view_reads v left join view_as_owner o on o.oid = v.reader
  where v.reader is not null
  union all
  select 'pg_proc'::regclass, s.function, s.classid, s.objid, 0, s.classid = 'pg_class'::regclass,
    s.classid = 'pg_class'::regclass and s.objid not in (select oid from api_relation)
  from body_reference s
),

-- All objects that can be executed or read. `automatic`: it runs automatically with a command on a table; `hook` is the
-- trigger, default, policy, index or column type that calls it. Otherwise the API has to call it. `within` is the
-- SECURITY DEFINER function that calls it, `reader` the view whose owner's rights apply.
reachable (classid, objid, automatic, hookclass, hook, within, reader) as (
  select r.classid, r.objid, r.automatic, 0::oid, 0::oid, r.within, 0::oid
  from (
    select 'pg_class'::regclass::oid as classid, oid as objid, true as automatic, 0::oid as within
    from api_relation
    where relnamespace in (select oid from usable) or oid in (select oid from declared_table)
      or oid in (select objid from grants where grantee in (select oid from grantee where is_by_view))
    union
    select 'pg_proc'::regclass, p.oid, false, case when p.prosecdef then p.oid else 0 end
    from callable p
    where p.pronamespace in (select oid from usable)
      and not (p.is_authored and (not p.prosecdef or p.pronamespace in (select oid from platform)))
    union
    -- Without USAGE on the schema, a function cannot be called by name, but by a cast, an operator or a domain.
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
  from reachable p
  join edge e on e.classid = p.classid and e.objid = p.objid and (not e.by_right or p.within <> 0)
  left join pg_proc f on e.toclass = 'pg_proc'::regclass and f.oid = e.toid and f.prosecdef
  -- Relations that are read with another role's rights are not followed further, except to the functions in views.
  where (p.classid <> 'pg_class'::regclass or p.within = 0 and p.reader = 0 or e.toclass = 'pg_rewrite'::regclass)
    -- Triggers, aggregates and operator classes call a function without checking EXECUTE. Otherwise the caller needs
    -- it.
    and (f.oid is null or p.classid in ('pg_trigger'::regclass, 'pg_amproc'::regclass, 'pg_opclass'::regclass,
      'pg_opfamily'::regclass)
      or p.classid = 'pg_proc'::regclass and p.objid in (select aggfnoid::oid from pg_aggregate
        where aggfnoid::oid >= 16384)
      or case when p.within = 0 then f.oid in (select oid from callable)
        else has_function_privilege((select w.proowner from pg_proc w where w.oid = p.within), f.oid, 'execute') end)
),

-- Relations that the API uses with its own privileges, and their partitions and children.
reached as materialized (
  select c.oid, c.relkind, c.relnamespace, c.relowner, c.relrowsecurity, c.relforcerowsecurity,
    c.oid::regclass::text as name, k.oid is not null as is_known,
    c.relnamespace in (select oid from platform) as is_platform
  from pg_class c
  left join declared_table k on k.oid = c.oid
  where c.relkind in ('r', 'p', 'f', 'v', 'm')
    and c.oid in (select objid from reachable where classid = 'pg_class'::regclass and within = 0 and reader = 0)
    and c.oid in (select oid from api_relation)
),

used_table as (
  select r.oid, r.oid as root from reached r
  union
  select i.inhrelid, t.root from used_table t join pg_inherits i on i.inhparent = t.oid
),

-- The functions among the reachable objects, and their bodies.
code as materialized (
  select p.oid, p.prosecdef, p.proowner, pg_get_userbyid(p.proowner) as owner_name, p.proacl is null as is_public,
    p.proconfig, p.prokind, p.prorettype = 'trigger'::regtype as is_trigger, l.lanname, l.lanpltrusted,
    format('%s.%I(%s)', p.pronamespace::regnamespace, p.proname, oidvectortypes(p.proargtypes)) as name,
    coalesce(b.code, p.prosrc, '') as body, b.is_parsed,
    exists (select from unnest(p.proconfig) c where c like 'search\_path=%') as has_path,
    m.objid is not null as is_authored
  from pg_proc p
  join pg_language l on l.oid = p.prolang
  left join body b on b.oid = p.oid
  left join authored m on m.classid = 'pg_proc'::regclass and m.objid = p.oid
  where p.oid = any (array(select objid from reachable where classid = 'pg_proc'::regclass))
),

-- Objects that commands on a table use automatically, what uses them, the table, and SQL that removes this use.
hooked as materialized (
  select distinct p.classid, p.objid, p.within, p.hookclass, p.hook, coalesce(d.refobjid, 0) as table_oid,
    coalesce(d.refobjid::regclass::text, 'tables of the API') as table_name, case p.hookclass when 'pg_proc'::regclass
      then 'the partition key of a table' else concat(i.type, ' ', i.identity) end as what,
    case when i.type in ('trigger', 'index', 'statistics object')
      then format('drop %s if exists %s;', replace(i.type, ' object', ''), i.identity) end as unhook
  from (
    select distinct classid, objid, within, hookclass, hook from reachable
    where automatic and hook <> 0
      and classid in ('pg_proc'::regclass, 'pg_type'::regclass, 'pg_operator'::regclass, 'pg_opclass'::regclass,
        'pg_opfamily'::regclass, 'pg_collation'::regclass, 'pg_statistic_ext'::regclass)
  ) p
  left join pg_depend d on d.classid = p.hookclass and d.objid = p.hook and d.refclassid = 'pg_class'::regclass
    and d.deptype in ('a', 'i')
  cross join lateral pg_identify_object(p.hookclass, p.hook, 0) i
),

-- Each automatic function with the first of its uses.
hooked_function as materialized (
  select distinct on (objid) objid as oid, ' by ' || what as place, table_name, what, unhook, hook,
    bool_or(hookclass = 'pg_trigger'::regclass) over w as is_trigger
  from hooked
  where classid = 'pg_proc'::regclass
  window w as (partition by objid)
  order by objid, table_name, what
),

-- Owner columns: those that policies compare with the user. Below: tables whose primary key is the user id.
user_column as materialized (
  select distinct v.attname
  from scope join verdict v on v.kind = 'policy' and v.attname not in ('id', 'uuid') and not scope.is_tasks
  where v.relid not in (select objid from platform_object)
  union
  select w.name::name from (values ('user_id'), ('owner_id'), ('userId'), ('ownerId')) w (name)
),

user_table as materialized (
  select oid, owner_column from declared_table where owner_column in ('id')
  union
  select c.oid, 'id' from scope join pg_class c on scope.kind = 'supabase' and c.relname = 'users'
    and c.relnamespace in (select oid from pg_namespace where nspname = 'auth')
  union
  select v.relid, v.attname
  from scope join verdict v on v.kind = 'policy' and v.attnum is not null and not scope.is_tasks
  join pg_index x on x.indrelid = v.relid and x.indisprimary and x.indnkeyatts = 1 and x.indkey[0] = v.attnum
),

-- An owner column is found by audit.owners, else by a policy, a foreign key to a table of users, or a default, else by
-- its name. For the tasks API, a foreign key and a default count before policies.
owner_of as materialized (
  select t.oid as table_oid, t.root, a.attnum, a.attname, a.attnotnull, a.atttypid, a.attcollation,
    k.oid is not null as is_known, o.is_named
  from used_table t
  left join declared_table k on k.oid = t.root
  join (
    select distinct on (w.root) w.root, w.attname, w.rank <= 2 or w.rank = 3 and scope.is_tasks as is_named
    from scope
    cross join lateral (
      select k.oid as root, 1 as rank, u.attname from declared_table k join pg_attribute u on u.attrelid = k.oid
        and u.attname = k.owner_column and not u.attisdropped
      union all
      select u.attrelid, 2, u.attname from pg_attribute u
      where u.attname in (select o.attname from owner_name o where o.relname = '') and not u.attisdropped
      union all
      select f.conrelid, case when scope.is_tasks then 3 else 5 end, u.attname
      from pg_constraint f
      join user_table ku on ku.oid = f.confrelid
      join pg_attribute u on u.attrelid = f.conrelid and u.attnum = f.conkey[1]
      where f.contype = 'f' and cardinality(f.conkey) = 1
      union all
      select v.relid, 4, v.attname from verdict v where v.kind = 'policy' and v.attnum is not null
      union all
      select v.relid, case when scope.is_tasks then 3 else 6 end, u.attname
      from verdict v join pg_attrdef d on d.oid = v.oid join pg_attribute u on u.attrelid = d.adrelid
        and u.attnum = d.adnum
      where v.kind = 'default' and v.word = '{me}'
      union all
      select u.attrelid, 7, u.attname from pg_attribute u where u.attname in (select c.attname from user_column c)
        and not u.attisdropped and u.attnum > 0
    ) w
    order by w.root, w.rank, w.attname
  ) o on o.root = t.root
  join pg_attribute a on a.attrelid = t.oid and a.attname = o.attname and not a.attisdropped
),

-- Relations of the API, with their owner columns.
relation_owner_column as materialized (
  select r.*, o.attnum, o.attname, o.attnotnull, o.atttypid, o.attcollation
  from reached r
  full join owner_of o on o.table_oid = r.oid and o.root = r.oid
  where coalesce(r.oid, 0) <> 0
),

-- The same relations, with their partitions and children.
used_table_owner as materialized (
  select t.*, o.attnum, o.attname
  from (
    select u.oid, u.root, c.relname, c.relkind, c.oid::regclass::text as name,
      c.relnamespace in (select oid from platform) as is_platform
    from (select oid, min(root) as root from used_table group by oid) u
    join pg_class c on c.oid = u.oid
  ) t
  full join owner_of o on o.table_oid = t.oid and o.root = t.root
  where coalesce(t.oid, 0) <> 0
),

-- Columns of new rows that a trigger sets to the user.
stamped as materialized (
  select t.tgrelid as relid, a.attnum
  from pg_trigger t
  join body b on b.oid = t.tgfoid and b.code !~* '\y(?:if|case|when|loop|exception)\y'
  join user_text x on x.raw = b.code and x.is_last
  cross join regexp_matches(x.text, '(?<![\w$.])new\.([\w$]+) ?:?= ?{me} ?;', 'g') m (part)
  join pg_attribute a on a.attrelid = t.tgrelid and a.attnum > 0
    and m.part[1] in (lower(a.attname), 'q_' || lower(a.attname))
  where t.tgtype & 7 = 7 and t.tgenabled in ('O', 'A') and t.tgqual is null -- before insert for each row
),

-- The policy conditions that apply to the API, for each command, and whether they restrict rows.
clause as materialized (
  select p.oid, p.polrelid, p.clause, p.cmd, p.polcmd, p.polname, p.polpermissive, p.word, p.attnum, p.had,
    array_replace(array_replace(v.seen, case when not m.is_whole then 'parent' end, 'with'),
      case when s.is_unjoined then 'member' end, 'with') as seen,
    p.text, p.is_for_api, s.is_identity,
    s.is_identity or p.word in ('{no}', '{staff}')
      or p.word in ('{member}', '{rank}', '{mix}', '{parent}', '{flag}', '{with}', '{roll}')
        and not m.is_open and not s.is_unbound
        and ('parent' <> all (p.seen) or m.is_guarded)
          and not ('rank' = any (p.seen) and m.is_any)
          and not ('roll' = any (p.seen) and m.is_filled)
          and array_to_string(v.seen, '|') !~ 'vacant' and ('flag' <> all (v.seen) or p.cmd = 'r')
      -- a table without an owner column has no rows of users, so any user may insert one
      or p.cmd = 'a' and (o.attnum is null or (p.polrelid, o.attnum) in (select relid, attnum from stamped))
        as is_filtered
  from reached_policy p
  full join owner_of o on o.table_oid = p.polrelid and o.root = p.polrelid
  cross join scope
  -- rows without an owner as a flag
  cross join lateral (
    select array_replace(p.seen, 'vacant:' || lower(o.attname), case when o.attnotnull then 'no' else 'flag' end)
      as seen
  ) v
  cross join lateral (
    select p.clause <> 'using' and (p.polrelid, o.attname, case p.cmd when 'a' then 'INSERT' else 'UPDATE' end) in (
      select attrelid, attname, privilege from settable) as is_set
  ) w
  cross join lateral (
    select p.attnum is not null and (o.attnum is null or p.attnum = o.attnum or not o.is_named
        or not w.is_set and not (o.is_known and exists (select from pg_attribute a where a.attrelid = p.polrelid
          and a.attnum = p.attnum and a.attname in ('title', 'description', 'category', 'key')))) as is_identity,
      -- a JSON column or a list of the new row contains the user, but the owner column may contain another user
      p.text ~ ('\((?:row\.)?[\w$]+ (?:->|#>|@> (?:(?:to_)?jsonb|array)|&& array|\? [^{])'
        '|\)(?:::uuid|::bigint)? = any \(\(?(?:row\.)?[\w$]+\)'
        '|(?:unnest|array_position|_text)\(\(?(?:row\.)?[\w$]+[ ,)]')
        and o.attnum is not null and w.is_set
      -- a row of two users: each may write it with the other as its author
      or p.word = '{mix}' and p.clause <> 'using' and coalesce(w.is_set, true)
        and 'own:' = all (select left(w, 4) from unnest(p.seen) w) as is_unbound,
      -- a sub-select that joins tables without a comparison of all of them
      'member' = any (p.seen) and regexp_count(p.text, '\yfrom ') = 1
        and j.joins > 0 and j.joins >= regexp_count(p.text, '\w\.[\w$]+\)?(?:::\w+)? = \(?[\w$]+\.[\w$]+(?![\w$(.])'
          '| using \(| in \( select ') - regexp_count(p.text, '(?<![\w$.])([\w$]+)\.[\w$]+ = \1\.') as is_unjoined
    from regexp_count(p.text, ' join |\yfrom (?:(?!\ywhere\y)[^(),])*,') j (joins)
  ) s
  -- A comparison with rows of another table that the caller may read counts only if the policies of that table restrict
  -- rows. For UPDATE and DELETE, a column that publishes these rows does not count.
  cross join lateral (
    select coalesce(bool_and(t.relrowsecurity and d.refobjid in (select oid from reached) and d.refobjid not in (
      select q.polrelid from reached_policy q where q.clause = 'using' and q.polpermissive and q.cmd = 'r'
        and q.attnum is null and (q.word not in ('{no}', '{member}', '{rank}', '{staff}', '{with}', '{mix}', '{flag}',
          '{parent}') or 'flag' = any (q.seen) and p.cmd in ('w', 'd')))), false) as is_guarded,
      -- all columns of a unique key are compared, or the one column of `in (select ...)`
      coalesce(bool_or('parent' <> all (p.seen) or p.text ~ ' in \( select ' or exists (
        select from pg_index x
        where x.indrelid = d.refobjid and x.indisunique and x.indpred is null and x.indexprs is null and not exists (
          select from pg_attribute a where a.attrelid = x.indrelid
            and a.attnum = any ((x.indkey::int2[])[0:x.indnkeyatts - 1])
            and p.text !~ ('\.(?:q_)?' || lower(a.attname)
              || ' = \(?row\.|row\.[\w$]+\)?(?:::\w+)? = \(?[\w$]+\.(?:q_)?' || lower(a.attname) || '\y')))),
              false) as is_whole,
      -- any row of the user in a table that may have several, since the condition uses only a part of its unique key
      coalesce(bool_or((
        select bool_or(x.n > 1 and x.has) and not bool_or(x.n = x.used)
        from (
          select count(*) as n, bool_or(lower(a.attname) = any (p.had)) as has, count(*) filter (where exists (
            select from pg_depend u where u.classid = d.classid and u.objid = p.oid and u.refclassid = d.refclassid
              and u.refobjid = t.oid and u.refobjsubid = a.attnum)) as used
          from pg_index x
          join pg_attribute a on a.attrelid = x.indrelid and a.attnotnull
            and a.attnum = any ((x.indkey::int2[])[0:x.indnkeyatts - 1])
          where x.indrelid = t.oid and x.indisunique and x.indpred is null
          group by x.indexrelid
        ) x)), false) as is_any,
      -- a table that other users may write, or the ids of tasks, which begin at 1 for each user
      coalesce(bool_or(t.oid in (select oid from effective where privilege in ('INSERT', 'UPDATE') and is_for_users)),
        false) as is_filled,
      coalesce(bool_or(not t.relrowsecurity and t.oid in (select oid from effective
        where privilege in ('INSERT', 'UPDATE'))
        or t.oid in (select oid from declared_table where relname = 'tasks') and d.refobjsubid = 1
          and p.text !~ ('row\.user_id|user_id in \(|\.user_id\)? = \(?row\.'
            '|row\.[\w$]+\)? = \(?[\w$]+\.user_id')), false) as is_open
    from pg_depend d
    join pg_class t on t.oid = d.refobjid
    where d.classid = 'pg_policy'::regclass and d.objid = p.oid and d.refclassid = 'pg_class'::regclass
      and d.refobjid <> p.polrelid
  ) m
  where coalesce(p.oid, 0) <> 0
),

restrictive as materialized (
  select polrelid, clause, cmd, word, text, is_filtered from clause where not polpermissive and is_for_api
),

command (privilege, cmd) as materialized (values ('SELECT', 'r'), ('INSERT', 'a'), ('UPDATE', 'w'), ('DELETE', 'd')),

-- The effective privileges: with row security, a command without a policy, or only with policies that are false,
-- affects no row.
effective as materialized (
  select u.oid, u.privilege,
    not c.relrowsecurity or exists (select from reached_policy p where p.polrelid = u.oid and p.cmd = m.cmd
      and p.polpermissive and p.word not in ('{no}', '{rank}', '{staff}', '{roll}')) as is_for_users
  from right_on u
  join pg_class c on c.oid = u.oid
  join command m on m.privilege = u.privilege
  where not c.relrowsecurity or c.relkind not in ('r', 'p') or (u.oid, m.cmd) in (
    select polrelid, cmd from reached_policy where polpermissive and word <> '{no}')
),

-- Columns of the tasks API with text of users.
written_column as materialized (
  select distinct a.attname
  from declared_table k
  join pg_attribute a on a.attrelid = k.oid and a.attnum > 0 and a.atttypid = 'text'::regtype
),

-- Tables that users may read, and to which SECURITY DEFINER functions of the API write what users do: values of users,
-- or a row or a higher counter for each call. Constants and rows of other lookup tables reveal nothing if a repeated
-- statement changes nothing. Functions that test who calls them do not count, nor do triggers that users cannot fire.
filled as materialized (
  select t.relid, string_agg(distinct p.oid::regprocedure::text, ', ') as names,
    bool_or(p.prorettype = 'trigger'::regtype) as is_by_trigger
  from table_use t
  join pg_class c on c.oid = t.relid and c.relkind in ('r', 'p')
  join pg_proc p on p.oid = t.function
  join function_text f on f.oid = t.function
  where t.is_written and f.text ~ format('\y(?:into|update) (?:[\w$]+\.)?(?:q_)?%s\y', lower(c.relname))
    and t.function in (select objid from reachable where classid = 'pg_proc'::regclass and within <> 0)
    and t.relid in (select oid from effective where privilege = 'SELECT' and is_for_users)
    and t.relid not in (select table_oid from owner_of)
    and case when p.prorettype = 'trigger'::regtype then t.function in (
        select h.objid from hooked h where h.classid = 'pg_proc'::regclass
          and h.table_oid in (select oid from effective where privilege <> 'SELECT'))
      else t.function not in (select oid from test where not is_open) end
    and (f.text !~ '\yon conflict\y|\ynot exists\y|\yexcept\y|\yset [\w$]+ = {\w+} ?(?:where|$)'
      or f.text ~ '\y(?:new|old)\M|{(?:me|claims|token)}|\$\d|\y([\w$]+) = \(?(?:[\w$]+\.)?\1 ?[-+*|]|\ydeclare\y'
      or p.pronargs > 0)
  group by t.relid
),

-- Lookup tables: read-only for the API (except for administrators), without an owner column, without a foreign key to a
-- table with one, without columns like those of such tables, and not filled by users. In other projects, a policy that
-- lets all users read such a table is taken as intended.
lookup as materialized (
  select r.oid
  from reached r
  where r.relkind in ('r', 'p') and not r.is_known
    and r.oid not in (select e.oid from effective e where e.privilege <> 'SELECT'
      and (e.is_for_users or (select is_strict from scope)))
    and r.oid not in (select table_oid from owner_of)
    and r.oid not in (select relid from filled where is_by_trigger or (select is_strict from scope)
      or relid in (select oid from reached where not relrowsecurity))
    and (r.oid in (select oid from right_on)) is true
    and not exists (select from pg_inherits i where r.oid in (i.inhparent, i.inhrelid))
    and r.oid not in (
      select p.polrelid from reached_policy p where cardinality(p.had) > 0 and p.word <> '{rank}'
      union all
      select p.polrelid from reached_policy p join pg_depend d on d.classid = 'pg_policy'::regclass and d.objid = p.oid
      where d.refclassid = 'pg_class'::regclass and d.refobjid <> p.polrelid
        and (p.word <> '{rank}' or (select is_strict from scope))
        or d.refclassid = 'pg_proc'::regclass and d.refobjid in (select function from captured where is_true)
      union all
      -- an unknown comparison of a column with the user, and no policy for all rows
      select p.polrelid from clause p join pg_depend d on d.classid = 'pg_policy'::regclass and d.objid = p.oid
      where p.polpermissive and p.cmd = 'r' and (not p.is_filtered or 'with' = any (p.seen))
        and (array_to_string(p.seen, '|') ~ '\y(?:with|wrong|apart)\y' or p.text in (select text from lookup_call)
          or exists (
          select from pg_depend c join function_text f on f.oid = c.refobjid
          where c.classid = d.classid and c.objid = p.oid and c.refclassid = 'pg_proc'::regclass and f.text ~ '{me}'
            and f.oid not in (select oid from passing_function)))
        and d.refclassid = 'pg_class'::regclass and d.refobjid = p.polrelid and d.refobjsubid > 0
        and p.polrelid not in (select polrelid from reached_policy where cmd = 'r' and polpermissive and word = '{yes}')
    )
    and not exists (
      select from pg_constraint f
      where f.conrelid = r.oid and f.contype = 'f' and f.confrelid in (select table_oid from owner_of)
    )
    and r.oid not in (
      select a.attrelid from pg_attribute a
      where a.attnum > 0 and a.atttypid = 'text'::regtype and a.attname in (select w.attname from written_column w)
        -- the key of a list of values that no code writes
        and (a.attrelid in (select relid from table_use where is_written) or not exists (
          select from pg_index x where x.indrelid = a.attrelid and x.indisprimary and a.attnum = any (x.indkey::int2[])
            and not exists (select from pg_attribute k where k.attrelid = x.indrelid and k.atttypid <> 'text'::regtype
              and k.attnum = any (x.indkey::int2[]))))
      union all
      select a.attrelid from pg_attribute a
      where a.attrelid >= 16384
        and a.attname ~* '^(?:to_|from_|for_)?(?:user|login|recipient|owner|customer|tenant)(?:_?id)?$'
    )
  union
  -- tables of migration tools, if the application owns them
  select r.oid
  from reached r
  join owner_found o on o.oid = r.relowner
  where substring(r.name from '\w+$') in ('schema_migrations', 'ar_internal_metadata', 'django_migrations',
    'alembic_version', 'flyway_schema_history', 'databasechangelog', 'databasechangeloglock', 'knex_migrations',
    'knex_migrations_lock', 'goose_db_version', 'pgmigrations', '_prisma_migrations', '_sqlx_migrations',
    '__diesel_schema_migrations', '__drizzle_migrations', '_yoyo_migration', '_yoyo_log', '_yoyo_version', 'yoyo_lock')
),

-- 10. Code with other rights ------------------------------------------------------------------------------------------
-- Functions and views that run with another role's rights and reach rows that the caller may not.
-- Fails safe: a function that reaches a table of users is a hole in this project's database, unless it uses the user.
--
--   create view app.titles as select title from app.tasks; grant select on app.titles to tasks_api;
--   => hole view app.titles: this view runs with the rights of its owner, which may read all rows of app.tasks

-- Roles that need no privilege: they bypass row security, or can grant themselves every privilege.
unrestricted_role as materialized (
  select r.oid
  from pg_roles r
  where r.rolsuper or r.rolbypassrls or r.rolcreaterole or r.rolreplication
    or exists (
      select from pg_roles p
      where p.rolname in ('pg_read_all_data', 'pg_write_all_data', 'pg_read_server_files', 'pg_write_server_files',
        'pg_execute_server_program', 'pg_maintain') and pg_has_role(r.oid, p.oid, 'usage')
    )
),

-- Tables that probably contain rows of users, even without a privilege of the API.
personal as materialized (
  select c.oid
  from pg_class c
  cross join scope
  where c.relkind in ('r', 'p', 'f', 'm') and c.oid >= 16384 and c.oid not in (select oid from lookup)
    and (c.relkind = 'm' or c.oid in (select f.ftrelid from pg_foreign_table f
        join pg_foreign_server s on s.oid = f.ftserver join pg_foreign_data_wrapper w on w.oid = s.srvfdw
        where w.fdwname in ('postgres_fdw', 'dblink_fdw'))
      or c.oid in (select table_oid from owner_of)
      -- except a list of names: a table with one column, the primary key, and no policy
      or c.relrowsecurity and (c.relnatts > 1 or c.oid in (select polrelid from policies)
        or c.oid not in (select indrelid from pg_index where indisprimary))
      or exists (
        select from pg_attribute a
        where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and (
          a.attname in (select u.attname from user_column u)
          or a.attname ~* '(^|_)(user|owner|member|author|account|customer|tenant|profile|person|email|password'
            '|secret|token)(_?id|s)?$|_by$'
          or scope.is_tasks and a.atttypid = 'text'::regtype and a.attname in (select w.attname from written_column w))
      )
      or exists (select from pg_constraint f where f.conrelid = c.oid and f.contype = 'f'
        and f.confrelid in (select oid from user_table)))
),

-- Tables without row security of which the API may read and write all rows with its own privileges. The finding
-- row_security lists the functions and views with other rights, since they give no further access.
open_table as materialized (
  select r.oid
  from reached r
  join granted g on g.classid = 'pg_class'::regclass and g.objid = r.oid and g.subid = 0
    and g.privilege in ('SELECT', 'INSERT', 'UPDATE', 'DELETE')
  where r.relkind in ('r', 'p') and not r.relrowsecurity and not r.is_platform
    and r.relnamespace in (select oid from usable) and r.oid not in (select oid from lookup)
  group by r.oid
  having count(distinct g.privilege) = 4
),

-- The relations that are read with another role's rights, and whether these give more rows than the caller's policies.
-- `named`: the relation itself, or the view by which a function reads it.
other_rights_read as materialized (
  select b.within, b.reader, b.owner, c.oid, c.relkind, b.named,
    format('%s.%I', c.relnamespace::regnamespace, c.relname) || case when b.named <> c.oid
      then ' by the view ' || b.named::regclass else '' end as name,
    c.oid in (select oid from api_relation) as is_api_relation, c.relnamespace in (select oid from usable) as is_usable,
    (c.oid < 16384 or c.oid in (select oid from personal))
    and c.oid not in (select oid from open_table)
    and case
      when c.oid < 16384 then not has_table_privilege(api.oid, c.oid, 'select') and b.reader >= 16384
      when b.owner in (select oid from unrestricted_role) then true
      when not c.relrowsecurity or c.relkind in ('f', 'm') then pg_has_role(b.owner, c.relowner, 'usage')
        or has_any_column_privilege(b.owner, c.oid, 'select, insert, update')
          or has_table_privilege(b.owner, c.oid, 'delete')
      else pg_has_role(b.owner, c.relowner, 'usage') and not c.relforcerowsecurity
        or (pg_has_role(b.owner, c.relowner, 'usage') or has_any_column_privilege(b.owner, c.oid, 'select, update'))
          and exists (
            select from policies p join verdict v on v.oid = p.oid and v.kind = 'policy' and v.clause = 'using'
            where p.polrelid = c.oid and p.polpermissive and p.polcmd in ('r', '*') and v.attnum is null
              and v.word <> '{no}' and p.oid not in (select oid from clause where cmd = 'r' and is_filtered)
              and exists (select from unnest(p.polroles) as g where g = 0 or pg_has_role(b.owner, g, 'usage'))
          )
    end as bypasses_policies
  from (
    select p.within, p.reader, coalesce(v.relowner, f.proowner) as owner, p.objid, p.objid as named
    from reachable p
    left join pg_class v on v.oid = nullif(p.reader, 0)
    left join pg_proc f on f.oid = p.within
    where p.classid = 'pg_class'::regclass and (p.within <> 0 or p.reader <> 0)
    union
    -- A view without the rights of its owner reads with those of the function.
    select p.within, coalesce(o.oid, 0), coalesce(o.relowner, f.proowner), v.oid, v.view
    from reachable p
    join view_reads v on v.view = p.objid and v.oid >= 16384
      and v.reader not in (select oid from filtered_view where is_simple)
    join pg_proc f on f.oid = p.within
    left join view_as_owner o on o.oid = v.reader
    where p.classid = 'pg_class'::regclass and v.view not in (select oid from filtered_view where is_simple)
  ) b
  cross join (select oid from api order by oid limit 1) api
  join pg_class c on c.oid = b.objid and c.relkind in ('r', 'p', 'f', 'm', 'v')
),

-- Other effects of a body, besides reading and writing tables. Bodies that contain one of the words are searched for
-- the pattern. A statement begins after ; or a keyword.
side_effect as materialized (
  select c.oid, w.kind, w.what
  from (
    -- A constant with several words is executed only by dynamic SQL.
    select c.oid, c.lanname, t.body, lower(t.body) as text
    from code c
    cross join lateral (
      select regexp_replace(c.body, '(''(?:[^''\s]|'''')*'')|''(?:[^'']|'''')*''', '\1', 'g') as body
    ) s
    cross join lateral (select case when c.lanname = 'sql' or c.lanname = 'plpgsql' and s.body !~* '\yexecute\y'
      then s.body else c.body end as body) t
  ) c
  cross join literal l
  cross join lateral (values
    ('identity_change', 'sets the user, the role or row_security, so later statements run as another user', '{%set%}',
      format('set_config\s*\(\s*(''(%1$s|%2$s)''(?!\s*,\s*''''\s*,)|[^''\s])|(^|;|\y(begin|then|else'
        '|loop)\y)\s*set\s+((local|session)\s+)?(%1$s|%2$s|session\s+authorization)\y',
        coalesce(l.settings, '$'), 'role|session_authorization|row_security|session_replication_role')),
    ('session_state', 'leaves a temporary table, a cursor or a setting to the next user of a pooled session',
      '{%temp%,%set_config%,%hold%}',
      '\ycreate\s+(local\s+|global\s+)?temp(orary)?\s+(table|view|sequence)\y(?!.*\yon\s+commit\s+drop\y)'
      '|\yinto\s+temp(orary)?\y|\ycursor\s+with\s+hold\y'
      '|set_config\s*\([^()]*(\([^()]*\)[^()]*)*,\s*(false|''f(alse)?'')\s*\)'),
    ('large_object', 'creates large objects, which the role of all users owns, so each user can read all of them',
      '{%lo_%}', '\y(lo_creat\w*|lo_from_bytea|lo_import)\y'),
    ('advisory_lock', 'takes an advisory lock with a key of the user, which every role can read in pg_locks',
      '{%advisory%}',
      '\ypg_(try_)?advisory_\w*lock\w*\s*\(.*(current_setting|\y(new|old)\.|user|owner|tenant)'),
    ('notification', 'sends a notification to every session that listens, which reveals changes of other users',
      '{%notif%}', '\y(pg_)?notify\y|^triggered_change_notification$'),
    ('export', 'copies rows to large objects, files, programs or other servers, where no policy applies',
      '{%lo_%,%lowrite%,%dblink%,%_file%,%copy%,%emit%}',
      '\y(lo_\w+|loread|lowrite|dblink\w*|pg_(read|write)\w*_file\w*|pg_file_write|copy|pg_logical_emit_message)\y'),
    -- This includes functions that run a query, or read all rows of a table, that an argument names.
    ('dynamic_sql', 'runs dynamic SQL',
      '{%execute%,%_to_xml%,%ts_stat%,%ts_rewrite%,%crosstab%,%connectby%,%xpath_table%}',
      '\y(execute|((query|table|cursor|schema|database)_to_xml\w*|ts_stat|crosstab\w*|connectby|xpath_table)\s*\()'
      '|\yts_rewrite\s*\(([^(),]|\([^()]*\))*,([^(),]|\([^()]*\))*\)')
  ) as w (kind, what, words, pattern)
  where c.text like any (w.words::text[]) and c.body ~* w.pattern
    or w.kind = 'dynamic_sql' and c.lanname not in ('sql', 'plpgsql', 'internal', 'c')
),

-- The tables of which SECURITY DEFINER functions reach rows of others, and whether each function restricts all tables
-- that it reads to the user. Unreadable bodies count as no.
definer_reads as materialized (
  select b.within, string_agg(distinct b.name, ', ') as names, bool_or(b.is_api_relation) as is_api_relation,
    bool_or(b.is_usable) as is_usable, bool_and(coalesce(h.is_filtered, false)) as is_compared
  from other_rights_read b
  left join (
    select p.within, bool_and(t.is_filtered) as is_filtered
    from (select distinct within, objid from reachable where within <> 0 and classid = 'pg_proc'::regclass) p
    full join table_use t on t.function = p.objid
    where coalesce(p.objid, 0) <> 0 and coalesce(t.function, 0) <> 0
    group by p.within
  ) h on h.within = b.within
  where b.within <> 0 and b.bypasses_policies
  group by b.within
),

-- Functions that compare the user or a secret, or use the user in dynamic SQL, and functions that call them.
user_check (oid) as (
  select f.oid
  from function_text f
  join body b on b.oid = f.oid
  cross join named n
  where f.is_own_asking or f.own_text ~ '{other}'
    or f.is_dynamic and (f.own_text ~ '{(?:me|claims|token)}' or b.code ~ ('\y(?:' || n.me || ')\('))
  union
  select r.function
  from user_check u
  join body_reference r on r.objid = u.oid and r.classid = 'pg_proc'::regclass
  left join function_text f on f.oid = u.oid and f.prorettype = 'boolean'::regtype and f.own_text !~ '\yraise\y'
  left join function_text c on c.oid = r.function
  where u.oid not in (select oid from passing_function)
    -- PERFORM ignores the result
    and (c.own_text ~ format('\yperform (?:[\w$]+\.)?%s ?\(', f.proname)) is not true
),

-- Tests of the user: `if ... then raise`. A test that can be null does not stop a user without a row: `is_open`.
--
--   if role <> 'admin' then raise      if not app.is_admin() then raise
test as materialized (
  select f.oid, bool_or(t.text ~ '\ynot\y|<>|!=' and h.is_safe is not true and concat_ws(' ', t.text, s.text)
    !~ '\y(?:exists|coalesce|count|found|strict|bool_or|distinct from)\y|is not {yes}|is null') as is_open
  from function_text f
  cross join regexp_matches(case when strpos(f.own_text, ' then ') > 0 then f.own_text end,
    '\yif ((?:(?!\ythen\y)[^;])*) then (?:raise (?!debug|log|info|notice|warning)|return\y(?! (?:query|next)\y))', 'g')
    m (part)
  cross join lateral regexp_replace(m.part[1], '^{me} is null or | or {me} is null$', '') t (text)
  -- the variables of the condition, and the statements that set them
  cross join lateral (
    select string_agg(p.text, ' ') as text
    from unnest(string_to_array(regexp_replace(f.own_text,
      '; ?if not found then(?= (?:raise (?!debug|log|info|notice|warning)|return\y))', ' found', 'g'), ';')) p (text)
    cross join regexp_matches(p.text, '(?<!(?:insert|merge) )\yinto (?:strict )?([\w$]+(?: ?, ?[\w$]+)*)'
      '|([\w$]+)(?: [\w$.%]+)? ?(?::=|\ydefault\y)', 'g') v (part)
    where regexp_split_to_array(coalesce(v.part[1], v.part[2]), ' ?, ?')
      && regexp_split_to_array(t.text, '[^\w$]+') and p.text ~ '{(?:me|claims|token)}'
  ) s
  left join lateral (
    select bool_and(h.own_text ~ '\y(?:exists|coalesce|count|found|bool_or)\y') as is_safe
    from regexp_matches(t.text, '([\w$]+) ?\(', 'g') k (part)
    join function_text h on lower(h.proname) = k.part[1] and (h.oid in (select oid from user_check)
      or t.text ~ '{(?:me|claims|token)}')
    having count(*) > 0
  ) h on true
  where t.text ~ '{(?:me|claims|token)}' and t.text <> '{me} is null' or s.text is not null or h.is_safe is not null
  group by f.oid
),

-- Functions in which an argument replaces the user, or is a part of dynamic SQL without quotes.
bypass as materialized (
  select f.oid
  from function_text f
  join argument g on g.oid = f.oid
  cross join regexp_matches(f.own_text, '\ycoalesce ?\( ?([\w$]+) ?, ?{me} ?\)|\y(?:execute|ts_stat) ?\(? ?'
    '(?:(?:{\w+}|quote_\w+ ?\([^()]*\)) ?\|\| ?)+([\w$]+)(?![\w$.]* ?[.(])'
    '|(?:token|secret) ?= ?[\w$.]+ or (?:[\w$.]+|\w+ ?\([^()]*\)) ?= ?(?:\w+ ?\( ?)?(?:q_)?([\w$]+)', 'g') m (part)
  where m.part[1] = any (g.names) and f.prorettype <> 'boolean'::regtype and f.oid not in (select oid from test)
    or m.part[2] = any (g.texts) and f.own_text !~ format('(?<![\w$.])%s ?(?:(?:not )?in\y|<>|!=|!?~|= ?any)',
      replace(m.part[2], '$', '\$'))
    or m.part[3] = any (g.names)
),

argument as materialized (
  select b.oid, array(select lower(a.name) from unnest(b.proargnames, b.argtypes) a (name, type)
    where a.type in ('text'::regtype, 'varchar'::regtype)) as texts,
    array(select x.name from unnest(b.proargnames, b.argtypes) with ordinality a (name, type, n)
      cross join lateral (values ('$' || a.n), (lower(a.name))) x (name)
      where a.type in ('integer'::regtype, 'bigint'::regtype)) as numbers,
    array(select '$' || i from generate_series(1, b.pronargs) i) || array(select lower(a.name)
    from unnest(b.proargnames, b.proargmodes) a (name, mode) where coalesce(a.mode, 'i') in ('i', 'b', 'v')) as names
  from body b
),

-- In other projects, a definer without the user may be meant for all: a public profile, a counter, a list. It is a hole
-- only if it changes rows, other than to count; adds rows that policies trust; finds rows by an argument that is an
-- owner or a number; or returns whole rows, secrets or contact data.
obvious as materialized (
  select f.oid
  from scope
  cross join sensitive_name n
  join function_text f on true
  join pg_proc p on p.oid = f.oid
  join argument g on g.oid = f.oid
  join other_rights_read b on b.within = f.oid and b.bypasses_policies
  join pg_class c on c.oid = b.named
  left join owner_of o on o.table_oid = b.oid and o.root = b.oid
  cross join string_to_table(f.own_text, ';') s (text)
  cross join lateral (
    select '(?:only )?(?:[\w$]+\.)?(?:q_)?' || regexp_replace(lower(c.relname), '\W', '\\\&', 'g') || '(?![\w$.(])'
      as name
  ) r
  where s.text !~ '{(?:me|claims|token)}' and (
      s.text ~ ('\y(?:update|delete from|merge into|truncate(?: table)?) ' || r.name)
        and s.text !~ '\yset ([\w$]+) = [( ]*(?:\w+ ?\( ?)?(?:[\w$]+\.)?\1\y[^;]*[-+]'
      or s.text ~ ('\yinto ' || r.name) and (b.oid in (select relid from trusted_column) or s.text ~ '\ydo update\y'))
    or s.text ~ ('\y(?:from|join|table|update) ' || r.name) and b.oid not in (
        select polrelid from clause where cmd = 'r' and polpermissive and is_for_api and not is_filtered)
      and (s.text !~ '{(?:me|claims|token)}' and (p.prorettype = c.reltype
          or s.text ~ '\yselect (?:distinct )?(?:[\w$]+\.)?\*(?= ?(?:,|from\y))|\ytable ' or exists (
            select
            from string_to_table(s.text, ' from ') l (part) cross join regexp_split_to_table(l.part, '[^\w$]+') w (word)
            where l.part ~ '\yselect\y' and w.word ~* n.pattern))
        or s.text !~ '\y(?:count|sum|avg|exists) ?\(' and b.oid not in (select oid from user_table) and exists (
          select from regexp_matches(s.text, '(?<![\w$])(?:q_)?([\w$]+)(?: ?:: ?\w+)? ?= ?(?:any ?)?[( ]*'
            '(?:[\w$]+\.)?([\w$]+)', 'g') m (part)
          where m.part[2] = any (g.numbers) or m.part[1] = lower(o.attname) and m.part[2] = any (g.names)))
),

-- SECURITY DEFINER functions whose owner has more rights than the API. `is_unknown`: the user, a secret or a column
-- that publishes the row decides which rows they reach, in a form that a person has to review.
definer as materialized (
  select c.oid, c.name, c.owner_name, c.has_path, c.is_trigger, b.names, n.is_exposed, n.is_instead, t.is_open,
    d.is_dynamic, b.is_compared and not d.is_dynamic as is_compared, y.oid is not null as is_bypassed,
    t.is_open is not true and y.oid is null and not d.is_export and (u.is_checked
      or not scope.is_strict and not d.is_dynamic and c.oid not in (select oid from obvious)) as is_unknown,
    -- It only adds rows. A role that may execute it can attach it to a temporary table as a trigger, and insert any
    -- rows there.
    o.text !~ '\y(?:update|delete from|merge|truncate|from|execute)\y' and c.has_path and not n.is_instead
      and c.oid not in (select objid from granted where classid = 'pg_proc'::regclass) as is_appended,
    -- It only reads, and raises an error with a constant message.
    not n.is_instead and o.text !~ '\y(?:insert|update|delete|merge|truncate|into|execute|perform)\y|:=|\yraise [^;]*,'
      as is_test
  from scope
  cross join code c
  full join definer_reads b on b.within = c.oid
  left join test t on t.oid = c.oid
  left join function_text f on f.oid = c.oid
  left join (select distinct oid from bypass) y on y.oid = c.oid
  cross join lateral coalesce(f.own_text, 'execute') o (text) -- another language than SQL and PL/pgSQL
  cross join lateral (
    select c.oid in (select tgfoid from pg_trigger where tgtype & 64 <> 0) as is_instead,
      coalesce(b.is_api_relation or b.is_usable and not c.has_path, false)
        or c.oid in (select tgfoid from pg_trigger where tgtype & 64 <> 0) as is_exposed
  ) n
  cross join lateral (
    select coalesce(bool_or(kind in ('dynamic_sql', 'export')), false) as is_dynamic,
      coalesce(bool_or(kind = 'export'), false) as is_export
    from side_effect where oid = c.oid
  ) d
  -- It only inserts rows with the user. A function that the API cannot call may get checked rows.
  cross join lateral (
    select c.oid in (select oid from user_check)
      or o.text ~ '{me}' and c.oid not in (select function from table_use where is_read)
      or c.oid not in (select oid from callable) and c.oid in (
      select r.objid from body_reference r where r.function in (select oid from user_check)) as is_checked
  ) u
  where coalesce(c.prosecdef, false) and c.proowner not in (select oid from assumable_role)
    and c.oid not in (select oid from passing_function)
    and (b.names is not null or d.is_dynamic and exists (
      select from personal y join pg_class t on t.oid = y.oid
      where (pg_has_role(c.proowner, t.relowner, 'usage')
        or has_any_column_privilege(c.proowner, t.oid, 'select, insert, update'))
        and not (t.relrowsecurity and t.relforcerowsecurity and c.proowner not in (select oid from unrestricted_role)
          and not exists (
          select from policies p where p.polrelid = t.oid
            and exists (select from unnest(p.polroles) as g where g = 0 or pg_has_role(c.proowner, g, 'usage')))))
      or c.lanname in ('c', 'internal') and not c.is_authored)
    and (not c.is_authored or n.is_exposed)
    and (not c.is_trigger or n.is_exposed or exists (select from side_effect d where d.oid = c.oid))
),

-- 11. Checks: roles ---------------------------------------------------------------------------------------------------
-- Missing objects, and attributes, memberships and limits of the API's roles.
--
--   alter role tasks_api bypassrls;
--   => hole role_attribute tasks_api: the API role has the attribute BYPASSRLS

-- The new owner of an object in a remedy.
new_owner as materialized (
  select quote_ident(coalesce(min(owner_name), 'postgres')) as name from home
  where nspowner not in (select oid from assumable_role) and owner_name !~ '^pg_'
),

found_roles (check_name, severity, object, finding, remedy) as materialized (
  -- The audit found no role of the application.
  select 'missing', 'hole', 'no role',
    case when t.n = 0 then 'this database has no tables: the migrations were not applied, or this is another database'
      else format('no role of the application was found: only owners (%s) have a privilege on tables', t.owners) end,
    case when t.n = 0 then '-- make migrate' else '-- create a role for the application, or set audit.role' end
  from (
    select count(*) as n, string_agg(distinct relowner::regrole::text, ', ') as owners
    from pg_class
    where relkind in ('r', 'p') and oid >= 16384 and relpersistence <> 't'
      and oid not in (select objid from authored where classid = 'pg_class'::regclass)
  ) t
  where not exists (select from wanted_role)
  union all
  -- A setting names an object that does not exist.
  select 'missing', case m.setting when 'audit.setting' then 'warning' else 'hole' end, m.object,
    format('%s %s: %s%s is wrong', m.object, m.wrong,
      case when scope.is_tasks then 'the migrations were not applied, or ' end, m.setting),
    concat('-- ', case when scope.is_tasks then 'make migrate, or ' end, 'set ', m.setting)
  from scope
  cross join lateral (
    select format('role %I', rolname), 'does not exist', 'audit.role' from wanted_role
      where rolname not in (select rolname from pg_roles)
    union all
    select format('schema %I', s.name), 'does not exist', 'audit.schema' from unnest(scope.schemas) s (name)
      where s.name not in (select nspname from pg_namespace)
    union all
    select 'table ' || concat_ws('.', coalesce(nspname, case when scope.is_tasks then 'app' end), relname),
      'does not exist', 'audit.owners'
    from owner_name where relname <> '' and relname not in (select relname from declared_table)
    union all
    select 'audit.preset ' || scope.preset, 'does not exist', 'audit.preset'
      where scope.preset not in ('', 'tasks', 'supabase', 'postgrest', 'postgraphile')
    union all
    select s.name, 'is read by no policy', 'audit.setting' from given cross join unnest(given.settings) s (name)
      where s.name not in (select name from setting_read) and not scope.is_tasks
  ) m (object, wrong, setting)
  union all
  select 'policy', 'warning', format('role %I', f.rolname), format('a login of the API can become this role, whose '
      'policies on %s do not involve the user; verify that only staff get it, and that no user can set the role in a '
      'request', string_agg(distinct p.polrelid::regclass::text, ', ')),
    '-- review it, then accept this finding'
  from role_found f
  join policies p on f.oid = any (p.polroles)
  where f.oid not in (select oid from assumable_role) and exists (select from role_kept k where k.logins && f.logins)
  group by f.rolname
  union all
  select 'assumed', 'note', api_names.names,
    concat('assumed: the role of the API is ', api_names.names,
      case when exists (select from owner_found)
        then ', the owner of the tables, since no other role has a privilege on them' end,
      coalesce('; the user id is in ' || (select string_agg(name, ', ' order by name) from identity_setting),
        '; no policy reads a setting, so each user must be a role of the database'),
      '; its schemas are ',
      coalesce((select string_agg(quote_ident(nspname), ', ' order by nspname) from home), 'none'),
      ' (preset ' || nullif(scope.kind, '') || ')',
      '; left out, since they are not the API''s (sql/README.md): ' || (
        select string_agg(quote_ident(rolname), ', ' order by rolname) from role_found
        where oid not in (select oid from role_kept))),
    '-- if that is wrong, set audit.role, audit.setting and audit.schema'
  from scope
  cross join api_names
  where not scope.is_strict and api_names.n > 0
  union all
  select 'role_attribute', 'hole', s.way,
    format('the API role %s the attribute %s, so it %s',
      case when s.is_api then 'has' else 'can become this role, which has' end, string_agg(a.attribute, ', '),
      min(a.danger)),
    case when s.is_api then string_agg(format('alter role %I no%s;', s.rolname, lower(a.attribute)), ' ')
      else format('revoke %s from %s;', s.path[2]::regrole, s.path[1]::regrole) end
  from assumable_role s
  join pg_roles r on r.oid = s.oid
  cross join lateral (values
    (r.rolsuper, 'SUPERUSER', 'bypasses all checks, row security included'),
    (r.rolbypassrls, 'BYPASSRLS', 'can read and change every user''s rows, since no policy applies to it'),
    (r.rolcreaterole, 'CREATEROLE', 'can create roles, and grant itself others, that read rows of several users'),
    (r.rolcreatedb, 'CREATEDB', 'can copy a template database, or create one without isolation of users'),
    (r.rolreplication, 'REPLICATION', 'can read every user''s changes from the write-ahead log')
  ) as a (is_set, attribute, danger)
  where a.is_set and (s.is_api or s.rolname not like 'pg\_%') and s.oid not in (select oid from owner_found)
  group by s.way, s.is_api, s.rolname, s.path
  union all
  select 'role_attribute', 'hole', quote_ident(l.rolname),
    format('each login that has the rights of the API role %s bypasses row security', api.name),
    format('alter role %I nobypassrls;', l.rolname)
  from api
  join pg_roles l on l.rolcanlogin and l.rolbypassrls and not l.rolsuper and l.oid <> api.oid
    and pg_has_role(l.oid, api.oid, 'usage')
  where not exists (
    select from pg_roles o
    where o.rolcanlogin and not o.rolsuper and not o.rolbypassrls and pg_has_role(o.oid, api.oid, 'member')
      and o.oid not in (select oid from trusted))
  union all
  -- One row for each role that was granted. The roles that are reached through it are listed in the finding. The grants
  -- of a role, and its policies that restrict rows, are checked like those of the API's role.
  select 'role_membership', case when bool_or(m.is_hole) then 'hole' when bool_or(m.danger <> '') then 'warning'
      else 'hint' end, (array_agg(m.way order by m.is_hole desc nulls last, cardinality(m.path) desc))[1],
    format('the API role is a member of %s%s, so it can %s', m.path[2]::regrole,
      case when count(*) > 1 then format(', and so of %s more', count(*) - 1) end,
      coalesce(string_agg(m.danger, '; ' order by m.is_hole desc),
        'use the privileges of this role, which are checked like its own')),
    min(format('revoke %s from %s;', m.path[2]::regrole, m.path[1]::regrole))
  from (
    select s.way, s.path, o.relowner is not null or s.rolname ~ '^pg_' or p.is_hole as is_hole, case
        when s.rolname ~ '^pg_' then 'use this predefined role, which bypasses policies or affects the whole server'
        when o.relowner is not null then format('change the tables of %I, and disable their row security', s.rolname)
        else format('read or change the rows that the policies of %I permit: ', s.rolname) || p.names end as danger
    from assumable_role s
    join pg_roles r on r.oid = s.oid
    left join (select distinct relowner from reached) o on o.relowner = s.oid
    left join (
      select r.oid, bool_or(c.text !~ '{(?:me|claims|token)}') as is_hole,
        string_agg(distinct format('%I on %s', c.polname, c.polrelid::regclass), ', ') as names
      from clause c
      join policies p on p.oid = c.oid
      cross join unnest(p.polroles) r (oid)
      where c.polpermissive and not c.is_filtered and c.polrelid not in (select oid from lookup)
      group by r.oid
    ) p on p.oid = s.oid
    where not s.is_api
      and not (r.rolsuper or r.rolbypassrls or r.rolcreaterole or r.rolcreatedb or r.rolreplication)
  ) m
  group by m.path[2]
  union all
  -- One row for each role. After a change of the owner, the old owner's privileges are lost.
  select 'role_ownership', 'hole', array_to_string((array_agg(o.object order by o.is_elsewhere, o.object))[1:25], ', '),
    format('%s owns this (%s), so it can change and grant it, and disable its row security', case when o.is_api
      then 'the API role' else format('a role that the API role can become (%s)', o.way) end,
      string_agg(distinct o.type, ', ')),
    format('reassign owned by %I to %s;', o.rolname, min(new_owner.name)) || case when o.is_api and scope.is_tasks
      then ' -- and grant its privileges again, as in sql/schema.sql' else '' end
  from scope
  cross join new_owner
  cross join (
    -- the identity of a function contains pg_catalog.json in PostgreSQL 15, and json in 18
    select s.rolname, s.is_api, s.way, i.type, regexp_replace(i.identity, '(?<=[(,])pg_catalog\.', '', 'g') as object,
      (i.schema in (select nspname::text from home)) is not true as is_elsewhere
    from pg_shdepend d
    join assumable_role s on s.oid = d.refobjid
    cross join lateral pg_identify_object(d.classid, d.objid, d.objsubid) i
    where d.refclassid = 'pg_authid'::regclass and d.deptype = 'o'
      and d.dbid in (0, (select oid from pg_database where datname = current_database()))
      and coalesce(i.schema, '') !~ '^pg_(toast_)?temp' and i.identity is not null
      and i.type not in ('toast table', 'index', 'user mapping') -- a mapping for a role is not its own
      -- Tools such as Hasura and pg-boss create their schema as the application's login.
      and not (s.oid in (select r.oid from pg_roles r where r.rolcanlogin) and coalesce(i.schema, i.name)
        in (select n.nspname::text from platform join pg_namespace n on n.oid = platform.oid))
  ) o
  where o.rolname not in (select rolname from owner_found)
  group by o.rolname, o.is_api, o.way, scope.is_tasks
  union all
  select 'role_ownership', 'warning', quote_ident(rolname),
    'the application logs in as the owner of its tables, and injected SQL can disable their row security',
    format('-- create a role for it, grant it what it needs, and let it log in as that role instead of %I', rolname)
  from owner_found
  union all
  select 'role_limit', 'warning', api.name,
    format('the API role has no %s of at most %s, so %s', l.name, l.value, l.danger),
    format('alter role %s in database %I set %s = %L;', api.name, current_database(), l.name, l.value)
  from scope
  join api on scope.is_tasks
  cross join (values
    ('statement_timeout', '5s', 'one statement can occupy a connection'),
    ('lock_timeout', '2s', 'a request can wait for a lock after its client has given up'),
    ('idle_in_transaction_session_timeout', '10s', 'a client that stalls in a transaction holds its locks')
  ) as l (name, value, danger)
  where (
    select (s.value || case when s.value ~ '\d *$' then 'ms' else '' end)::interval between '1us' and l.value::interval
    from role_setting s
    where s.name = l.name and s.rolname = api.rolname and s.value ~ '^ *[0-9.]+ *(us|ms|s|min|h|d|) *$'
    order by s.rank desc
    limit 1
  ) is not true
),

-- 12. Checks: tables and views ----------------------------------------------------------------------------------------
-- Tables without row security, materialized views, and views with the rights of another role.
--
--   alter table app.tasks disable row level security;
--   => hole row_security app.tasks: row security is off for this table

-- Views with the owner's rights that involve the user. `is_simple`: the view reads one relation, and compares a column
-- with the user. Without the option security_barrier, PostgreSQL may evaluate a condition of the caller before the
-- filter of the view.
filtered_view as materialized (
  select v.oid, o.options ~ 'security_barrier=(true|on|1|yes)' as is_barrier, o.options !~ 'check_option='
    and exists (select from effective e where e.oid = v.oid and e.privilege in ('INSERT', 'UPDATE') and not exists (
      select from pg_trigger t where t.tgrelid = v.oid and t.tgtype & 64 <> 0 -- instead of
        and t.tgtype & (case e.privilege when 'INSERT' then 4 else 16 end) <> 0)) as is_letter_box,
    v.word ~ ':(?:own|has|ranked)\y' and regexp_count(v.text, ' from | join ') = 1
      and v.text !~ ' over \(| from (?:(?! where ).)*,' as is_simple
  from verdict v
  join pg_class c on c.oid = v.oid
  cross join lateral (select coalesce(lower(c.reloptions::text), '') as options) o
  where v.kind = 'view' and v.is_user
),

-- Read-only views with the owner's rights that show the rows that a column publishes. In other projects also those, and
-- materialized views, that show a part of the columns of each table, and neither secrets nor contact data.
public_view as materialized (
  select v.oid, true as is_by_column
  from scope
  join verdict v on v.kind = 'view' and not v.is_user
  where (v.word ~ ':flag\y' or v.text ~ (' from [\w$. ]+ where \(?[\w$]+\.[\w$]+(?: = {open}' || case
      when not scope.is_strict then '| = {k}|' else '' end || ')\)?$'))
    and v.oid not in (select oid from effective where privilege <> 'SELECT')
  union all
  select c.oid, false
  from (
    select w.ev_class as oid, bool_or(a.attname ~* n.pattern) as is_sensitive,
      d.refobjid not in (select oid from personal) or count(*) < (
        select count(*) from pg_attribute a where a.attrelid = d.refobjid and a.attnum > 0 and not a.attisdropped)
        as is_part
    from scope
    cross join sensitive_name n
    join pg_rewrite w on not scope.is_strict and w.rulename = '_RETURN' and exists (select from policies)
    join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = w.oid
      and d.refclassid = 'pg_class'::regclass and d.refobjsubid > 0 and d.refobjid <> w.ev_class
    join pg_attribute a on a.attrelid = d.refobjid and a.attnum = d.refobjsubid
    where w.ev_class in (select oid from view_as_owner union all select oid from reached where relkind = 'm')
      -- it is read-only: 28 is the bits of INSERT, UPDATE and DELETE
      and (pg_relation_is_updatable(w.ev_class, true) & 28 = 0
        or w.ev_class not in (select oid from effective where privilege <> 'SELECT'))
    group by w.ev_class, d.refobjid
  ) c
  group by c.oid
  having bool_and(c.is_part and not c.is_sensitive) and pg_get_viewdef(c.oid) !~ '\.\*' -- a whole row
),

found_tables (check_name, severity, object, finding, remedy) as materialized (
  select 'row_security', case when l.is_lookup then 'hint' when l.is_unclear then 'warning' else 'hole' end, r.name,
    'row security is off for this table' || case when l.is_lookup
      then ', which seems to be a lookup table that every user can read'
      else format(', so the privileges of the API role (%s) apply to the rows of all users',
        coalesce((select string_agg(distinct u.privilege, ', ') from right_on u where u.oid = r.oid),
          'all, as its owner'))
        || coalesce('; users write to it by ' || (select f.names from filled f where f.relid = r.oid), '')
        || coalesce('; then check the code that uses the table with the rights of other roles: ' || (
          select string_agg(distinct case b.within when 0 then b.reader::regclass::text
            else b.within::regprocedure::text end, ', ')
          from other_rights_read b where b.oid = r.oid and b.oid in (select oid from open_table)), '') end,
    format('alter table %s enable row level security;', r.name) || case when scope.is_tasks
      then format(' alter table %s force row level security;', r.name)
      else ' -- and create a policy for the permitted users' end
  from scope
  cross join reached r
  -- In other projects, triggers fill tables for all users, and jobs read what the API can only add.
  cross join lateral (
    select r.oid in (select oid from lookup) as is_lookup, not scope.is_strict and bool_and(u.privilege = 'INSERT'
      or u.privilege = 'SELECT' and r.oid in (select relid from filled)) as is_unclear
    from right_on u
    where u.oid = r.oid
  ) l
  where r.relkind in ('r', 'p') and not r.relrowsecurity and not r.is_platform
  union all
  -- The owner bypasses row security unless it is forced. If the API is not the owner, this matters only if a function
  -- or view of the owner runs for it.
  select 'row_security_not_forced', case when o.is_self then 'hole' else 'hint' end,
    string_agg(r.name, ', ' order by r.name),
    case when o.is_self then 'the API role owns the table, and row security is not forced, so no policy applies'
      else 'row security is not forced, so jobs and migrations that run as the owner bypass the policies' end,
    string_agg(format('alter table %s force row level security;', r.name), ' ' order by r.name)
  from scope
  join reached r on scope.kind <> 'supabase' and r.relkind in ('r', 'p') and r.relrowsecurity
    and not r.relforcerowsecurity and not r.is_platform
  cross join lateral (select r.relowner in (select oid from assumable_role) as is_self) o
  where r.oid not in (select oid from lookup) and r.oid not in (select oid from table_or_shard where suffix <> '')
  group by o.is_self, case when scope.is_tasks or o.is_self then r.oid end
  union all
  select case r.relkind when 'f' then 'foreign_table' else 'materialized_view' end,
    case when r.oid in (select oid from personal) and r.oid not in (select oid from public_view)
      then 'hole' else 'warning' end, r.name,
    'the API role can read this, and no policy can apply to it',
    format('revoke all on %s from %s, public;', r.name, api_names.names)
  from api_names
  join reached r on r.relkind in ('f', 'm') and not r.is_platform
  -- A materialized view counts only if it reads rows of users, or views.
  where r.relkind = 'f' or exists (
    select from pg_rewrite w join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = w.oid
      and d.refclassid = 'pg_class'::regclass and d.refobjid <> r.oid
    join pg_class v on v.oid = d.refobjid
    where w.ev_class = r.oid and (v.relkind = 'v' or v.oid in (select oid from personal)))
  union all
  select 'view', case when f.is_letter_box is false and (not scope.is_strict or f.is_barrier and not f.is_simple)
      or f.oid is null and p.oid is not null then 'warning' else 'hole' end,
    r.name,
    format('%s runs with the rights of its owner' || case
      when f.oid is null and p.is_by_column then ', and a column decides which rows of %s it shows; '
        'verify that only their owners can set it'
      when f.is_letter_box then ', and without a check option, the API role can write rows of other users into %s'
      when not f.is_barrier then ', and without the option security_barrier, a condition of the caller is evaluated '
        'on other users'' rows of %s, and its errors reveal values'
      when f.oid is not null then ', in a form that the audit does not know; verify which rows of %s it shows'
      when f.oid is null and p.oid is not null
        then ', and shows a part of the columns of all rows of %s; verify that it is meant to be public'
      else ', which may read all rows of %s, so the API role can read them, too' end,
      case when r.oid = v.reader then 'this view' else 'the view ' || v.reader::regclass end, v.names),
    format('alter view %s set (%s);', v.reader::regclass, case when f.is_letter_box then 'check_option = cascaded'
      when f.is_simple then 'security_barrier = true' else 'security_invoker = true' end)
  from scope
  cross join reached r
  join (
    select v.view, v.reader, string_agg(distinct b.name, ', ') as names
    from view_reads v
    join other_rights_read b on b.reader = v.reader and b.oid = v.oid and b.within = 0 and b.bypasses_policies
    where b.reader not in (select objid from authored where classid = 'pg_class'::regclass)
      or b.is_api_relation and b.reader not in (select objid from platform_object where classid = 'pg_class'::regclass)
    group by v.view, v.reader
  ) v on v.view = r.oid
  left join filtered_view f on f.oid = v.reader
  left join (select oid, bool_or(is_by_column) as is_by_column from public_view group by oid) p on p.oid = v.reader
  where f.oid is null or f.is_letter_box or not f.is_simple or not f.is_barrier
  union all
  -- 7 is CMD_NOTHING: DO INSTEAD NOTHING without a condition.
  select 'rule', 'hole', format('%I on %s', w.rulename, r.name),
    'the commands that a rule adds run with the rights of the table''s owner, so they can read and change all rows',
    format('drop rule %I on %s;', w.rulename, r.name)
  from reached r
  join pg_rewrite w on w.ev_class = r.oid and w.rulename <> '_RETURN' and not r.is_platform
  where not (w.ev_action::text ~ '^\({QUERY :commandType 7 ' and w.ev_qual::text = '<>')
  union all
  -- Only on Citus.
  select 'shard_unprepared', 'warning', s.object, s.finding,
    '-- on the coordinator: psql -X -d DATABASE -f sql/citus.sql'
  from (
    select k.oid::regclass::text, case when k.suffix = ''
      then 'this table is distributed, but its earlier rows are still on the coordinator'
      else 'the API role may not write to this shard, or Citus cannot move it during writes, so requests fail' end
    from table_or_shard k
    join pg_class c on c.oid = k.oid and c.relkind = 'r'
    cross join api
    where case when k.suffix = '' then pg_relation_size(c.oid) > 0 and exists (
          select from pg_trigger t where t.tgrelid = c.oid and t.tgfoid::regproc::text ~ 'citus_truncate_trigger')
        else c.relforcerowsecurity or not has_table_privilege(api.oid, c.oid, 'insert') end
    union all
    select 'event trigger app_prepare_shards',
      'it is missing or disabled, so writes to new shards fail, and statistics of new columns contain values of users'
    where exists (select from table_or_shard where suffix <> '')
      and not exists (select from pg_event_trigger where evtname = 'app_prepare_shards' and evtenabled in ('O', 'A'))
  ) s (object, finding)
),

-- 13. Checks: policies ------------------------------------------------------------------------------------------------
-- Policies that do not isolate users, or that trust a column that users may write.
--
--   alter policy update_own on app.tasks with check (true);
--   => hole policy update_own on app.tasks: this permissive policy lets the API role update rows of other users

-- In this project's schema, the policy that it should be. Elsewhere, or if another policy is equal, DROP POLICY.
policy_remedy as materialized (
  select p.oid,
    case when scope.is_tasks and r.atttypid in ('text'::regtype, 'varchar'::regtype)
        and r.attcollation not in (select oid from pg_collation where not collisdeterministic)
        and (not p.polpermissive or p.oid in (select oid from clause where is_identity)
          or (p.polrelid, p.polcmd::text) not in (
            select polrelid, unnest(array[cmd, '*']) from clause
            where polpermissive and is_identity and oid not in (select oid from clause where not is_filtered)))
      then concat(format('alter policy %I on %s', p.polname, r.name),
        case when p.polcmd <> 'a' then format(' using (%I = app.current_user_id())', r.attname) end,
        case when p.polcmd in ('a', 'w', '*') then format(' with check (%I = app.current_user_id())', r.attname) end,
        ';')
      else format('drop policy if exists %I on %s; -- and compare the owner column with the user in another',
        p.polname, r.name) end as remedy
  from pg_policy p
  join relation_owner_column r on r.oid = p.polrelid
  cross join scope
),

-- The columns that a function in a policy reads, except those that it compares with the user.
asked_column as materialized (
  select f.oid as function, t.relid, a.attnum, f.text
  from (
    -- arguments as columns of the row, and a query as that of `in`, as in a policy
    select n.oid, concat('row.x in ( ', regexp_replace(n.text, format('(?<![\w$.])(?:%s\.)?(?:\$\d+%s)(?![\w$(])',
      lower(n.proname), (select string_agg('|' || regexp_replace(lower(w.name), '\W', '\\\&', 'g'), '')
        from pg_proc p cross join unnest(p.proargnames) w (name) where p.oid = n.oid and w.name <> '')), 'row.x', 'g'))
        as text,
      array(select m.part[1] from regexp_matches(n.text, '(?<![\w$])([\w$]+)(?![\w$(])',
      'g') m (part)) as names,
      array(select coalesce(m.part[1], m.part[2]) from regexp_matches(n.text,
        '(?<![\w$])([\w$]+) ?(?:::\w+ ?)?= ?{me}|{me} ?= ?(?:[\w$]+\.)?([\w$]+)(?![\w$(])', 'g') m (part)) as tied
    from function_text n
    where n.oid in (select function from lookup_call)
      and n.oid not in (select oid from lookup_function where is_unknown) offset 0
  ) f
  join table_use t on t.function = f.oid
  join pg_attribute a on a.attrelid = t.relid and a.attnum > 0 and not a.attisdropped
  where array[lower(a.attname), 'q_' || lower(a.attname)] && f.names
    and not array[lower(a.attname), 'q_' || lower(a.attname)] && f.tied
),

-- Columns of other tables that a policy compares, by itself or by a function.
trusted_column as materialized (
  select j.oid as policy, d.refobjid as relid, d.refobjsubid as attnum, j.text, j.had
  from (select distinct oid, polrelid, had, text, seen from clause where polpermissive and is_filtered
    and seen && '{member,rank,roll,with}') j
  join pg_depend d on d.classid = 'pg_policy'::regclass and d.objid = j.oid and d.refclassid = 'pg_class'::regclass
    and d.refobjsubid > 0 and d.refobjid <> j.polrelid
  join pg_attribute a on a.attrelid = d.refobjid and a.attnum = d.refobjsubid
  where not array[lower(a.attname), 'q_' || regexp_replace(lower(a.attname), '[^\w$]', '_', 'g')] && j.had
    and ('flag' <> all (j.seen) or a.attname !~* '^(is_)?(public|published|shared|visible|listed)$')
  union
  select j.oid, t.relid, t.attnum, t.text, j.had
  from lookup_call q
  join clause j on j.text = q.text
  join asked_column t on t.function = q.function
  where j.polpermissive and j.is_filtered
),

-- Trusted columns that the API may write, and the policy that checks the written row.
writable_column as materialized (
  select t.policy, t.relid, t.attnum, g.privilege, g.grantees, k.oid as check_policy, k.polname, k.cmd, k.text
  from trusted_column t
  full join (
    select objid, subid, privilege, string_agg(distinct grantee_name, ', ') as grantees,
      case privilege when 'INSERT' then 'a' else 'w' end as cmd
    from granted
    where classid = 'pg_class'::regclass and privilege in ('INSERT', 'UPDATE')
    group by objid, subid, privilege
  ) g on g.objid = t.relid
  full join (
    select oid, polrelid, polname, cmd, text, substring(word from '^{own:(.*)}$') as own
    from clause
    where polpermissive and clause = 'with check'
      and word not in ('{no}', '{rank}', '{staff}', '{member}', '{with}')
  ) k on k.polrelid = t.relid and k.cmd = g.cmd
  where coalesce(t.policy, 0) <> 0 and coalesce(g.subid in (0, t.attnum), false) and coalesce(k.oid, 0) <> 0
    -- If the compared column of the written row is the user, this row gives access only to rows of this user. Two
    -- sub-selects may find two rows. The same applies to rows that refer to the primary key of the user's row.
    and ((k.cmd = 'w' or k.own <> all (t.had) or t.text !~ ' or ') and t.text ~ format(
      'row\.[\w$]+\)? = \(?(?:[\w$]+\.)?%1$s(?![\w$.])|(?<![\w$])%1$s\)? = \(?row\.'
      '|^(?!.* in \( select .* in \( select ).*[\w$]\)? in \( select [\w$]+\.%1$s from ',
      replace(k.own, '$', '\$'))) is not true
    and (k.own = any (t.had) and exists (
      select
      from pg_index x
      join pg_attribute a on a.attrelid = x.indrelid and a.attnum = x.indkey[0]
      join pg_class c on c.oid = x.indrelid
      cross join lateral coalesce(substring(t.text from format(
        '\y(?:from|join) \(?(?:[\w$]+\.)?%s ((?!(?:where|on|join|left|inner)\y)[\w$]+)', c.relname)),
        c.relname) n (alias)
      where x.indrelid = t.relid and x.indisprimary and x.indnkeyatts = 1
        and t.text ~ format('row\.[\w$]+\)? = \(?%1$s\.%2$s(?![\w$])|(?<![\w$.])%1$s\.%2$s\)? = \(?row\.'
          '|[\w$]\)? in \( select %1$s\.%2$s from ', n.alias, a.attname))) is not true
),

-- The columns of the row that policies for SELECT and those for new and changed rows mention, besides comparisons with
-- constants. Restrictive policies count for all permissive ones.
mentioned as materialized (
  select j.oid, j.polrelid, j.polname, j.cmd, j.clause, j.polpermissive, j.is_filtered, j.word, j.own,
    array_agg(a.attnum) as columns
  from (
    select c.*, attnum as own, array(select m.part[1]
      from regexp_replace(c.texts, '(?:row\.)?[\w$]+\)?(?:::[\w ]+)? (?:=|<>) {\w+}', '', 'g') t (text)
      cross join regexp_matches(t.text, '(?<![\w$.])(?:row\.)?(?:q_)?([\w$]+)(?![\w$(])', 'g') m (part)) as names
    from (
      select *, concat_ws(' ', text, string_agg(case when not polpermissive then text end, ' ')
        over (partition by polrelid, cmd, clause)) as texts
      from clause
      where cmd = 'r' or clause = 'with check'
    ) c offset 0
  ) j
  left join pg_attribute a on a.attrelid = j.polrelid and a.attnum > 0 and not a.attisdropped
    and regexp_replace(lower(a.attname), '[^\w$]', '_', 'g') = any (j.names)
  group by j.oid, j.polrelid, j.polname, j.cmd, j.clause, j.polpermissive, j.is_filtered, j.word, j.own
),

-- The columns by which policies find the user of a row: `own` are those that they compare with the user or that contain
-- the user by default, and `looked_up` those that the policies for SELECT mention.
user_of_row as materialized (
  select u.polrelid, array_agg(u.attnum) filter (where u.is_own) as own,
    array_agg(u.attnum) filter (where not u.is_own) as looked_up
  from (
    select c.polrelid, a.attnum, true as is_own
    from (select distinct polrelid, unnest(seen) as word from clause where polpermissive) c
    join pg_attribute a on a.attrelid = c.polrelid and a.attnum > 0
      and c.word in ('own:' || lower(a.attname), 'own:q_' || lower(a.attname))
    union
    select v.relid, d.adnum, true from verdict v join pg_attrdef d on d.oid = v.oid
    where v.kind = 'default' and v.word = '{me}'
    union
    select m.polrelid, a.attnum, false
    from mentioned m
    join pg_attribute a on a.attrelid = m.polrelid and a.attnum = any (m.columns)
    join pg_type t on t.oid = a.atttypid and t.typcategory not in ('B', 'D')
    where m.cmd = 'r' and m.polpermissive
      and (m.own is not null or m.word in ('{member}', '{mix}', '{with}', '{parent}'))
      and (a.attrelid, a.attnum) not in (
        select indrelid, indkey[0] from pg_index where indisunique and indnkeyatts = 1)
  ) u
  group by u.polrelid
),

-- Policies for new and changed rows that mention none of these columns: `own` if they compare none, else `looked_up`.
uncompared as materialized (
  select i.*, w.wanted
  from (
    select *, case cmd when 'a' then 'INSERT' else 'UPDATE' end as privilege from mentioned
    where clause = 'with check' and polpermissive and is_filtered
      and (own is not null or cmd = 'a' and word in ('{member}', '{mix}', '{with}', '{parent}'))
      and polrelid not in (select objid from platform_object where classid = 'pg_class'::regclass) offset 0
  ) i
  full join user_of_row k on k.polrelid = i.polrelid
  cross join lateral (select case when i.own is null then k.own else k.looked_up end as wanted) w
  where coalesce(i.oid, 0) <> 0 and (w.wanted && i.columns) is not true
),

-- Functions in policies whose errors or notices can reveal their arguments.
revealing_function as materialized (
  select d.objid as policy, p.oid, p.procost
  from code c
  join pg_proc p on p.oid = c.oid and p.prokind = 'f' and p.pronargs > 0
  join pg_depend d on d.refclassid = 'pg_proc'::regclass and d.refobjid = p.oid and d.classid = 'pg_policy'::regclass
  where c.lanname <> 'sql' and p.oid not in (select oid from passing_function)
    and p.oid not in (select oid from lookup_function)
),

-- Permissive policies that permit rows without the user, or that need a review, and the reason: `open` (1) is a hole,
-- the others are warnings. Another project may mean to publish the rows (`public`, 2) by a policy for INSERT, or by one
-- for SELECT, unless the table has secrets or contact data, or another policy for SELECT restricts the rows of the same
-- role. A form that is always wrong is a hole anyway. If each row is compared: a column of the row permits it (3), the
-- form of the comparison is unknown (4), users are listed in another table (5), a claim or a setting permits all (6).
suspect as materialized (
  select j.oid, j.polrelid, j.polname, j.clause, j.is_filtered, j.seen,
    case j.cmd when 'r' then 'read' else lower(u.privilege) end as does,
    coalesce(case j.clause when 'using' then p.using_text else coalesce(p.check_text, p.using_text) end, 'nothing')
      as said,
    case when not j.is_filtered then case
        when scope.is_strict or array_to_string(j.seen, '|') ~ '\y(?:wrong|apart)\y' then 1
        -- each user is a role of the database, and these have no other policies for the table
        when l.settings is null and 0 <> all (p.polroles) and not exists (
          select from policies q
          where q.polrelid = p.polrelid and q.oid <> p.oid and q.polroles && (p.polroles || 0::oid)) then 2
        when j.polcmd not in ('r', 'a') then 1
        when j.polcmd = 'a' then 2
        when exists (
          select
          from granted g
          join pg_attribute a on a.attrelid = g.objid and (g.subid = 0 and a.attnum > 0 or g.subid = a.attnum)
          join sensitive_name n on a.attname ~* n.pattern
          where g.classid = 'pg_class'::regclass and g.objid = j.polrelid and g.privilege = 'SELECT') then 1
        when exists (
          select
          from clause o join policies q on q.oid = o.oid
          where o.polrelid = j.polrelid and o.polcmd = 'r' and o.polpermissive and o.is_filtered and o.oid <> j.oid
            and q.polroles && p.polroles and not o.seen && '{flag,no}') then 1
        else 2 end
      when 'flag' = any (j.seen) then 3 when 'with' = any (j.seen) then 4 when 'roll' = any (j.seen) then 5
      else 6 end as reason
  from scope
  cross join literal l
  cross join clause j
  join command u on u.cmd = j.cmd
  join policies p on p.oid = j.oid
  where j.polpermissive and (not j.is_filtered or j.seen && '{staff,flag,roll,with}')
    and (j.polrelid in (select oid from declared_table)
      or (j.polrelid, u.privilege) in (select oid, privilege from right_on))
    and not (j.polrelid in (select oid from lookup) and (j.cmd = 'r' or j.polcmd = '*'))
    -- A restrictive policy that compares the user restricts the rows anyway.
    and not exists (
      select from restrictive g
      where g.polrelid = j.polrelid and g.clause = j.clause and g.cmd = j.cmd and g.is_filtered
        and g.word <> '{staff}'
    )
),

found_policies (check_name, severity, object, finding, remedy) as materialized (
  -- Permissive policies that do not isolate users. All policies of a table that are true are one finding, and so are
  -- all policies that trust the same claim.
  select 'policy', case j.reason when 1 then 'hole' else 'warning' end,
    coalesce(min(j.claim), string_agg(distinct j.name, ', ')),
    case j.reason
      when 1 then format('%s the API role %s rows of other users: %s',
        case count(distinct j.oid) when 1 then 'this permissive policy lets' else 'these permissive policies let' end,
        string_agg(distinct j.does, ', ') filter (where not j.is_filtered),
        string_agg(distinct j.what, ' and ') filter (where not j.is_filtered))
      when 2 then format('every user may %s these rows, whatever their owner; verify that they are meant to be public, '
        'and that no column is personal: %s', string_agg(distinct j.does, ', '),
        string_agg(distinct j.what, ' and '))
      when 3
        then 'a column of the row decides whether other users can read the row; verify that only its owner can set it'
      when 4
        then format('the audit does not know this form of a comparison with the user; verify which rows it permits: %s',
          string_agg(distinct j.what, ' and ') filter (where 'with' = any (j.seen)))
      when 5
        then 'the users in another table reach the rows of all users, and users cannot write to it; verify who is in it'
      else 'a claim or a setting alone gives access to every user''s rows: ' || string_agg(distinct j.name, ', ') end,
    string_agg(distinct j.remedy, chr(10))
  from (
    select j.*, format('%s %s', j.clause, j.said) as what, format('%I on %s', j.polname, j.polrelid::regclass) as name,
      m.remedy, case when j.reason = 6 then 'claim ' || min(coalesce(y.part[1], y.part[2])) over w end as claim
    from (
      select oid, polrelid, polname, clause, is_filtered, seen, does, said, min(reason) over w as reason,
        bool_and(is_filtered or said in ('true', 'nothing')) over w as is_true
      from suspect
      window w as (partition by oid)
    ) j
    join policy_remedy m on m.oid = j.oid
    left join regexp_match(j.said, '(?:''([^'']+)''(?:::[\w\[\]]+)?(?:, true)?(?:\), ''''::text)?|([\w.]+)\()'
      '(?:\)? AS \w+)?\)+ = (?:ANY \(\(?ARRAY\[)?') y (part) on true
    window w as (partition by j.oid)
  ) j
  group by j.reason, coalesce(j.claim, case when j.reason <= 2 and j.is_true then j.polrelid else j.oid end::text)
  union all
  select 'policy', 'warning', f.oid::regprocedure::text,
    format('%s; verify which rows it permits in these policies: %s', case when f.is_unknown
        then 'the audit does not know the form of this function''s body'
        else 'this function returns the same for all rows, and one row of the user may permit all rows' end,
      string_agg(distinct format('%I on %s', j.polname, j.polrelid::regclass), ', ')),
    '-- review it, then accept this finding'
  from lookup_call q
  join lookup_function f on f.oid = q.function
  join clause j on j.text = q.text and j.polpermissive and j.is_filtered
  where f.is_unknown and f.oid not in (select oid from definer where not is_compared)
    or (f.word = 'idle' or f.oid in (select oid from body where pronargs = 0))
      and (f.oid, j.polrelid) in (select function, relid from table_use)
  group by f.oid, f.is_unknown
  union all
  select 'policy', 'warning', format('%I on %s', i.polname, i.polrelid::regclass),
    format('other policies find the user of a row by %s, which this one does not compare; verify that users cannot '
      'write rows of other users', string_agg(distinct quote_ident(a.attname), ', ')),
    format('revoke %s (%s) on %s from %s; -- or compare it', lower(i.privilege),
      string_agg(distinct quote_ident(a.attname), ', '), i.polrelid::regclass, min(api_names.names))
  from uncompared i
  join pg_attribute a on a.attrelid = i.polrelid and a.attnum = any (i.wanted)
  cross join api_names
  where (a.attrelid, a.attnum) not in (select relid, attnum from stamped)
    and (a.attrelid, a.attname, i.privilege) in (select attrelid, attname, privilege from settable)
  group by i.oid, i.polname, i.polrelid, i.privilege
  union all
  -- A comparison of a column with itself is harmless if another one compares the row.
  select 'policy', case when bool_or(m.part[2] = m.part[3]) and strpos(t.text, c.relname || '.') = 0
      then 'hole' else 'warning' end,
    format('%I on %s', p.polname, p.polrelid::regclass),
    concat(format('a sub-select of this policy compares two columns of one table (%s)%s',
      string_agg(distinct format('%s.%s = %1$s.%s', m.part[1], m.part[2], m.part[3]), ', '),
      case when bool_or(m.part[2] = m.part[3]) then ', which is always true' end),
      '; to compare the row, write '
        || string_agg(distinct p.polrelid::regclass || '.' || quote_ident(a.attname), ', ')),
    (select remedy from policy_remedy where oid = p.oid)
  from policies p
  join pg_class c on c.oid = p.polrelid
  cross join lateral concat_ws(' ', p.using_text, p.check_text) t (text)
  cross join regexp_matches(t.text, '\(([\w$]+)\.([\w$]+) = \1\.([\w$]+)\)', 'g') m (part)
  left join pg_attribute a on a.attrelid = p.polrelid and a.attname::text in (m.part[2], m.part[3]) and a.attnum > 0
  where p.polroles && array(select oid from grantee) and (p.polrelid in (select oid from reached)) is true
    and m.part[1] <> c.relname and (m.part[2] = m.part[3] or a.attname is not null)
    and (m.part[2] <> m.part[3] or p.oid not in (select oid from clause where not is_filtered))
  group by p.oid, p.polname, p.polrelid, t.text, c.relname
  union all
  -- Compared columns that the API may write, without a policy that restricts the value: one insert or update makes the
  -- user a member.
  select 'membership', case when w.is_stopped then 'warning' else 'hole' end,
    string_agg(distinct w.name, ', '),
    format('access depends on this column (policies: %s), and the API role may %s it in a user''s own row, where %s '
      'checks only the user, so one statement gives a user access to rows of others%s',
      array_to_string((array_agg(distinct w.policy_name))[1:5], ', '),
      string_agg(distinct lower(w.privilege), ' and '),
      string_agg(distinct format('the policy %I', w.polname), ' and '),
      case when w.is_stopped then '; verify that a trigger or another condition of this policy rejects such rows' end),
    string_agg(distinct format('revoke %s on %s from %s;', lower(w.privilege), w.relid::regclass, w.grantees), ' ')
      || ' -- and grant it on the other columns, or restrict the value in the policy'
  from (
    select w.*, format('%s.%I', w.relid::regclass, a.attname) as name,
      format('%I on %s', p.polname, p.polrelid::regclass) as policy_name,
      -- a trigger, a function, a foreign key with the user's column or the value of another column may restrict it
      bool_and(w.text in (select q.text from lookup_call q where q.function not in (select oid from passing_function))
        or exists (
        select from trusted_column o join pg_attribute e on e.attrelid = o.relid and e.attnum = o.attnum
        where o.policy = w.policy and o.relid = w.relid and o.attnum <> w.attnum
          and k.text ~ format('(?<![\w$])(?:q_)?%s(?![\w$(])', lower(e.attname))) or exists (
        select from pg_constraint f where f.conrelid = w.relid and f.contype = 'f' and f.convalidated
          and cardinality(f.conkey) > 1 and w.attnum = any (f.conkey)) or exists (
        select from pg_trigger x join body b on b.oid = x.tgfoid
        where x.tgrelid = w.relid and not x.tgisinternal and x.tgtype & 3 = 3
          and x.tgtype & (case w.privilege when 'INSERT' then 4 else 16 end) <> 0
          and b.code ~* ('new\s*\.\s*"?' || regexp_replace(a.attname, '\W', '\\\&', 'g') || '\y')))
        over (partition by w.relid, w.attnum) as is_stopped
    from writable_column w
    join pg_class c on c.oid = w.relid and c.relrowsecurity
    join pg_attribute a on a.attrelid = w.relid and a.attnum = w.attnum
    join pg_policy p on p.oid = w.policy
    cross join lateral (
      select '(?<![\w$])(?:row\.)?(?:q_)?' || replace(regexp_replace(lower(a.attname), '[^\w$]', '_', 'g'), '$', '\$')
        as name
    ) x
    cross join lateral (
      select concat_ws(' ', w.text, string_agg(k.text, ' ')) as text from restrictive k
      where k.polrelid = w.relid and k.clause = 'with check' and k.cmd = w.cmd
    ) k
    where (w.relid in (select oid from reached)) is true
      -- a comparison with a constant, or `is not null`, does not restrict the value to the user
      and regexp_replace(k.text, x.name || ' (?:is not null|(?:<>|>|>=|<|<=) {k})', '', 'g') !~ (x.name || '(?![\w$(])')
      -- A value of a unique key is already in use.
      and not exists (
        select from pg_index x where x.indrelid = w.relid and x.indisunique and x.indpred is null and x.indnkeyatts = 1
          and x.indkey[0] = w.attnum)
  ) w
  group by w.relid, w.is_stopped
  union all
  select 'membership', 'warning', k.name,
    format('access to rows depends on %s, and this function writes an argument there in a row of the user; verify that '
      'a user cannot choose the access', string_agg(distinct c.relid::regclass::text, ', ')),
    format('revoke execute on routine %s from public, %s; -- or test the argument', k.name, min(api_names.names))
  from table_use t
  join trusted_column c on c.relid = t.relid
  join function_text f on f.oid = t.function
  join argument g on g.oid = t.function and g.names && regexp_split_to_array(f.text, '[^\w$]+')
  join code k on k.oid = t.function
  cross join api_names
  where t.is_written and t.function not in (select oid from definer where not is_compared)
    and t.function in (select objid from reachable where classid = 'pg_proc'::regclass and within <> 0)
  group by k.name
  union all
  -- On Supabase, a new user writes raw_user_meta_data.
  select 'membership', 'hole', f.oid::regprocedure::text,
    format('access to rows depends on %s, and this function writes a role there that a new user has chosen in '
      'raw_user_meta_data', string_agg(distinct c.relid::regclass::text, ', ')),
    '-- write a constant role, or one from raw_app_meta_data'
  from function_text f
  join table_use t on t.function = f.oid and t.is_written
  join trusted_column c on c.relid = t.relid
  where f.text ~ 'raw_user_meta_data ?(?:->>?|#>>?) ?{key}'
  group by f.oid
  union all
  -- PostgreSQL evaluates the cheaper operand of AND first.
  select 'policy_leak', case when bool_or(f.procost < 1) then 'hole' else 'warning' end,
    format('%I on %s', j.polname, j.polrelid::regclass),
    format('this policy passes rows of other users to %s, which is not leakproof, so an error can reveal their values',
      coalesce(string_agg(distinct f.oid::regprocedure::text, ', '), 'a cast of PostgreSQL')), min(m.remedy)
  from scope
  join clause j on j.is_filtered or not j.polpermissive
  join policy_remedy m on m.oid = j.oid
  left join revealing_function f on f.policy = j.oid
  where f.oid is not null and (scope.is_tasks or f.procost < 1) or scope.is_strict
    and j.text ~ '\((?:row\.)?[a-z_]\w*\)(?:::text\))?::(?:integer|bigint|numeric|date|timestamp|json|double)'
  group by j.polname, j.polrelid
),

-- 14. Checks: columns and keys ----------------------------------------------------------------------------------------
-- Columns, keys, numbers and statistics that reveal rows of another user.
--
--   alter table app.tasks alter column title set statistics 100;
--   => hole statistics app.tasks.title: ANALYZE keeps samples of the values of all users here

-- Columns besides the owner column that a policy restricts to the user's rows when a row is inserted.
tied_column as materialized (
  select distinct m.polrelid, m.word, c.attnum
  from mentioned m
  cross join unnest(m.columns) c (attnum)
  where m.is_filtered and m.cmd = 'a' and c.attnum is distinct from m.own
),

-- Columns that the API may set.
settable as materialized (
  select a.attrelid, a.attname, g.privilege
  from granted g
  join pg_attribute a on a.attrelid = g.objid and (g.subid = 0 and a.attnum > 0 or g.subid = a.attnum)
  where g.classid = 'pg_class'::regclass and g.privilege in ('INSERT', 'UPDATE')
),

found_columns (check_name, severity, object, finding, remedy) as materialized (
  select 'owner_column', 'hole', format('%s.%I', r.name, r.attname),
    format('its type %s or its collation treats some different user ids as equal', format_type(r.atttypid, null)),
    format('-- PostgreSQL changes the type only without policies. Drop them, and then: '
      'alter table %s alter column %I type text collate "C";', r.name, r.attname)
  from literal l
  cross join relation_owner_column r
  join pg_type t on t.oid = r.atttypid
  cross join lateral (select coalesce(nullif(t.typbasetype, 0), t.oid) as base) b
  where r.attnum is not null and r.relkind in ('r', 'p') and not r.is_platform
    and (r.attcollation in (select oid from pg_collation where not collisdeterministic) or t.typname = 'citext'
      or b.base = 'bpchar'::regtype or b.base = 'name'::regtype and l.settings is not null)
    and r.oid not in (select polrelid from clause where word = '{parent}')
  union all
  select 'shared_counter', 'hole', format('%s.%I', r.name, a.attname),
    'all users share this counter, so the gaps between a user''s own numbers reveal how many rows others create',
    format('alter table %s alter column %I drop identity if exists, alter column %2$I set default app.next_task_id();',
      r.name, a.attname)
  from scope
  join relation_owner_column r on scope.is_tasks and r.attnum is not null and r.relkind in ('r', 'p')
  join pg_attribute a on a.attrelid = r.oid and a.attnum > 0 and not a.attisdropped
  left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
  where (a.attidentity <> '' or pg_get_expr(d.adbin, d.adrelid) ~ 'nextval\(')
    and (r.oid in (select oid from right_on where privilege = 'SELECT')) is true -- otherwise users do not see the ids
  union all
  -- Statistics of columns, of columns of expression indexes, and extended ones.
  select 'statistics', 'hole', s.object,
    'ANALYZE keeps samples of the values of all users here, and EXPLAIN''s estimates reveal which values exist',
    s.remedy
  from scope
  join table_or_shard k on scope.is_tasks
  join reached r on r.oid = k.oid
  cross join lateral (
    select case when x.oid = r.oid then format('%s.%I', r.name, a.attname) else format('%s on %s', x.name, r.name) end,
      format('alter %s %s alter column %s set statistics 0;', x.type, x.name,
        case when x.oid = r.oid then quote_ident(a.attname) else a.attnum::text end)
    from (
      select r.oid, 'table' as type, r.name, null::int2[] as columns
      union all
      select indexrelid, 'index', indexrelid::regclass::text, indkey from pg_index where indrelid = r.oid
    ) x
    join pg_attribute a on a.attrelid = x.oid and (x.columns is null or x.columns[a.attnum - 1] = 0)
    where a.attname <> k.owner_column and coalesce((to_jsonb(a) ->> 'attstattarget')::integer, -1) <> 0
      and a.attnum > 0 and format_type(a.atttypid, null) ~ '^(text|character varying|jsonb?)(\[\])?$'
    union all
    select format('%s on %s', x.name, r.name), format('drop statistics if exists %s;', x.name)
    from (
      select format('%s.%I', stxnamespace::regnamespace, stxname) as name, stxexprs, stxkeys::int2[] as columns
      from pg_statistic_ext where stxrelid = r.oid
    ) x
    where x.stxexprs is not null or exists (
      select from pg_attribute a where a.attrelid = r.oid and a.attnum = any (x.columns)
        and a.attname <> k.owner_column and format_type(a.atttypid, null) ~ '^(text|character varying)(\[\])?$')
  ) s (object, remedy)
  union all
  -- The API's own statements create large objects without a function of the database.
  select 'large_object', 'warning', format('%s.%I', r.name, a.attname),
    'this column can refer to large objects, and if the API creates them, each user can read those of all users',
    'revoke execute on function lo_from_bytea(oid, bytea), lo_creat(integer), lo_create(oid) from public;'
  from reached r
  join pg_attribute a on a.attrelid = r.oid and a.attnum > 0 and not a.attisdropped
    and (a.atttypid = 'oid'::regtype or a.atttypid in (select oid from pg_type where typbasetype = 'oid'::regtype))
  where r.relkind in ('r', 'p') and not r.is_platform and (r.oid, a.attname) in (select attrelid, attname from settable)
    and exists (select from api where has_function_privilege(api.oid, 'lo_from_bytea(oid, bytea)', 'execute'))
  union all
  -- Unique keys whose error on a duplicate reveals another user's row. Code with other rights may choose a key, too.
  select 'unique_key', case when c.is_chosen then 'hole' else 'warning' end,
    format('%I on %s', i.relname, t.name),
    format('this %s spans all users (it does not compare %s), so an error reveals another user''s row',
      case when x.indisexclusion then 'exclusion constraint' else 'unique index' end,
      coalesce(quote_ident(t.attname), 'an owner column')),
    case when k.conname is null then format('drop index %s;', i.oid::regclass)
      else format('alter table %s drop constraint %I;', t.name, k.conname) end
      || coalesce(' -- and create it again with ' || quote_ident(t.attname) || ' first', '')
  from scope
  join used_table_owner t on scope.is_strict
  join pg_index x on x.indrelid = t.oid and (x.indisunique or x.indisexclusion)
  join pg_class i on i.oid = x.indexrelid
  left join pg_constraint k on k.conindid = i.oid and k.conrelid = t.oid and k.contype in ('p', 'u', 'x')
  cross join lateral (
    select bool_or(s.is_settable) as is_chosen,
      -- = of the default operator class, or of text, uuid and integers
      bool_or(a.attnum = t.attnum and case when x.indisexclusion then k.conexclop[p.place + 1] in (98, 2972, 96, 410)
        else x.indclass[p.place] < 16384 end
        and x.indcollation[p.place] not in (select oid from pg_collation where not collisdeterministic)
        or (t.root, a.attnum) in (select polrelid, attnum from tied_column where word in ('{parent}', '{member}')))
        as is_of_one_user,
      bool_or(a.atttypid = 'uuid'::regtype or a.atttypid = 'bytea'::regtype and a.attname ~ 'token|secret'
        or not s.is_settable and (a.attidentity <> '' or pg_get_expr(d.adbin, d.adrelid) ~* 'nextval|random|uuid'))
        as is_random
    from generate_series(0, x.indnkeyatts - 1) as p (place)
    left join pg_attribute a on a.attrelid = t.oid and a.attnum = x.indkey[p.place] -- null: an expression
    left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
    cross join lateral (
      select a.attname is null or (t.root, a.attname) in (select attrelid, attname from settable) as is_settable) s
  ) c
  where t.relkind in ('r', 'p') and not t.is_platform
    -- Without INSERT or UPDATE, no error can be provoked.
    and (t.root in (select oid from effective where privilege in ('INSERT', 'UPDATE'))) is true
    and (scope.is_tasks or t.attnum is not null)
    -- Only the parent of a partitioned index is reported.
    and not exists (select from pg_inherits h where h.inhrelid = i.oid)
    and c.is_of_one_user is not true
    -- Users cannot guess random keys. The API of the tasks needs to set none.
    and (c.is_random is not true or c.is_chosen and t.root in (select oid from declared_table))
  union all
  -- Foreign keys that find another user's row.
  select 'foreign_key', case when r.is_chosen and not r.is_random then 'hole' else 'warning' end,
    format('%I on %s', f.conname, t.name),
    concat('this foreign key can reference the rows of all users in ', f.confrelid::regclass,
      case when r.is_chosen then ', so a user can test whether a row exists, or attach rows to it' end, r.effect),
    format('alter table %s drop constraint %I; -- and create it again with the owner column first', t.name, f.conname)
  from scope
  join used_table_owner t on scope.is_strict and not t.is_platform
  join pg_constraint f on f.conrelid = t.oid and f.contype = 'f' and f.conparentid = 0
  join pg_class rc on rc.oid = f.confrelid
  left join owner_of ro on ro.table_oid = f.confrelid and ro.root = f.confrelid
  cross join lateral (
    select exists (select from pg_attribute a where a.attrelid = f.confrelid and a.attnum = any (f.confkey)
        and a.atttypid = 'uuid'::regtype) as is_random,
      (t.root in (select oid from effective where privilege in ('INSERT', 'UPDATE'))) is true
        and exists (select from pg_attribute a where a.attrelid = t.oid and a.attnum = any (f.conkey)
          and (t.root, a.attname) in (select attrelid, attname from settable)) as is_chosen,
      case when f.confdeltype in ('c', 'n', 'd')
          and (f.confrelid in (select oid from effective where privilege = 'DELETE' and is_for_users)) is true
        then format('; a user who deletes the row there also %s rows of others that reference it',
          case f.confdeltype when 'c' then 'deletes' else 'changes' end) end as effect
  ) r
  where (r.is_chosen or r.effect <> '')
    and (ro.attnum is not null or rc.relrowsecurity) and f.confrelid not in (select oid from lookup)
    and (scope.is_tasks or t.attnum is distinct from f.conkey[1])
    -- The owner is a part of the key, and it is the table's own owner, or what each policy compares with the user.
    and not exists (
      select from generate_subscripts(f.conkey, 1) as k (place)
      where f.confkey[k.place] = ro.attnum and (f.conkey[k.place] = t.attnum or (
        select bool_and(coalesce(c.attnum = f.conkey[k.place], false))
        from clause c where c.polrelid = t.root and c.clause = 'with check' and c.polpermissive))
    )
    -- The policy rejects a parent of another user before the foreign key is checked.
    and not exists (select from tied_column k where k.polrelid = t.root and k.attnum = any (f.conkey))
  union all
  -- Generated columns that show the values of columns without a privilege, in rows of other users.
  select 'generated_column', 'warning', g.object,
    format('this generated column shows %s of other users, which the API role may not read; verify what users learn',
      string_agg(distinct quote_ident(h.attname), ', ')), min(g.revoke)
  from granted g
  join pg_attrdef d on d.adrelid = g.objid and d.adnum = g.subid
  join pg_attribute a on a.attrelid = g.objid and a.attnum = g.subid and a.attgenerated <> ''
  join pg_depend u on u.classid = 'pg_attrdef'::regclass and u.objid = d.oid and u.refobjid = g.objid
  join pg_attribute h on h.attrelid = g.objid and h.attnum = u.refobjsubid and h.attnum <> a.attnum
  where g.kind = 'column' and g.privilege = 'SELECT' and g.objid in (select oid from reached)
    and not exists (select from granted r where r.classid = g.classid and r.objid = g.objid and r.privilege = 'SELECT'
      and r.subid in (0, h.attnum))
  group by g.object
),

-- 15. Checks: privileges ----------------------------------------------------------------------------------------------
-- Privileges to which policies do not apply, and unneeded ones.
--
--   grant select (title) on app.tasks to tasks_api with grant option;
--   => hole grant_option app.tasks.title: tasks_api has SELECT with grant option

found_privileges (check_name, severity, object, finding, remedy) as materialized (
  -- In other databases, the same privileges of the same roles on several tables are one finding.
  select p.check_name, p.severity, string_agg(p.object, ', ' order by p.object), p.finding,
    string_agg(p.remedy, ' ' order by p.object)
  from scope
  cross join lateral (
    select w.check_name,
      case when bool_and(g.privilege = 'REFERENCES' or r.oid in (select oid from lookup)) then 'hint' else 'hole' end
        as severity,
      min(g.object) as object,
      format('%s has %s here: %s', string_agg(distinct g.who, ', '), string_agg(distinct g.privilege, ', '),
        (array_agg(w.danger order by array_position('{TRUNCATE,TRIGGER,MAINTAIN}', g.privilege)))[1])
        as finding,
      string_agg(distinct g.revoke, ' ') as remedy
    from withheld w
    join granted g on g.kind = any (w.kinds) and g.privilege = any (w.privileges)
    left join reached r on g.classid = 'pg_class'::regclass and r.oid = g.objid
    where case w.check_name
        -- If row security is off and the API may delete, only row_security is reported.
        when 'privilege' then scope.kind <> 'supabase' and not r.is_platform and g.grantee <> r.relowner
          and (r.relrowsecurity or r.relkind not in ('r', 'p') or r.oid in (select oid from lookup)
            or r.oid not in (select oid from right_on where privilege = 'DELETE'))
        when 'sequence' then scope.is_tasks and not g.is_foreign
          and g.objid in (select c.oid from pg_class c where c.relnamespace in (select oid from usable))
        when 'temp' then g.grantee <> 0
        when 'create' then g.grantee not in (select oid from owner_found)
        else true end
    group by w.check_name, g.classid, g.objid
  ) p
  group by p.check_name, p.severity, p.finding,
    case when scope.is_tasks or p.check_name <> 'privilege' then p.object end
  union all
  -- Triggers of roles that are neither trusted nor the API's.
  select 'privilege', 'hole', r.name, format('%s, which is not the API''s role, has TRIGGER here: a trigger of this '
    'role runs in the API''s requests and can read and change every user''s rows', a.grantee::regrole),
    format('revoke trigger on table %s from %s;', r.name, a.grantee::regrole)
  from used_table_owner r
  join pg_class c on c.oid = r.oid
  cross join aclexplode(c.relacl) a
  where not r.is_platform and a.privilege_type = 'TRIGGER' and a.grantee <> c.relowner
    and a.grantee not in (select oid from trusted union select oid from grantee)
  union all
  select 'grant_option', 'hole', g.object,
    format('%s has %s with grant option, so SQL that runs as this role can grant it to any role',
      string_agg(distinct g.grantee_name, ', '), string_agg(distinct g.privilege, ', ')),
    string_agg(distinct regexp_replace(g.revoke, '^revoke ', 'revoke grant option for '), ' ')
  from granted g
  where g.is_grantable and (g.classid, g.objid) not in (select classid, objid from platform_object)
  group by g.object
  union all
  -- Privileges on relations and functions of PostgreSQL and extensions besides the initial ones, and on TOAST tables
  -- (t), with the long values of a table. pg_init_privs lacks information_schema, and functions that all may call.
  select 'system_privilege', 'hole', g.object,
    format('%s was granted %s on this object, which by default only superusers may use', g.who, g.privilege),
    g.revoke
  from scope
  cross join granted g
  where g.classid in ('pg_class'::regclass, 'pg_proc'::regclass)
    and (g.kind = 't' or g.is_foreign and g.object not like 'information\_schema.%')
    and (g.classid, g.objid, g.subid, g.privilege) not in (
      select i.classoid, i.objoid, i.objsubid, a.privilege_type
      from pg_init_privs i cross join lateral aclexplode(i.initprivs) a join grantee e on e.oid = a.grantee)
    and (g.kind <> 'routine' or (g.objid < 16384 or scope.kind <> 'supabase')
      and g.objid in (select objoid from pg_init_privs where classoid = 'pg_proc'::regclass))
    and (g.classid, g.objid) not in (select classid, objid from platform_object)
  union all
  select distinct 'system_privilege', 'warning', format('functions of Citus for %s', g.who),
    format('%s may call functions that sql/citus.sql revokes, since they run commands on other servers', g.who),
    '-- on the coordinator: psql -X -d DATABASE -f sql/citus.sql'
  from granted g
  join pg_depend d on d.classid = g.classid and d.objid = g.objid and d.deptype = 'e'
  join pg_extension e on d.refclassid = 'pg_extension'::regclass and e.oid = d.refobjid and e.extname ~ '^citus'
  where g.kind = 'routine' and exists (select from citus_function where proname = 'act_as')
    and g.object !~ '(assign_distributed_transaction_id|relation_is_a_known_shard|read_intermediate_result)\('
  union all
  select 'default_privilege', case when scope.is_tasks then 'hole' else 'hint' end, 'default privileges of ' || w.whose,
    format('tables that %s creates are granted to %s at once, before row security is enabled', w.whose, e.name),
    format('alter default privileges for role %s revoke all on tables from %s;', w.whose, e.name)
  from scope
  join pg_default_acl d on scope.kind <> 'supabase' and d.defaclobjtype = 'r'
  cross join lateral (
    select concat(d.defaclrole::regrole, ' in schema ' || nullif(d.defaclnamespace, 0)::regnamespace::text) as whose
  ) w
  join grantee e on e.oid <> d.defaclrole and not e.is_by_view
    and e.oid in (select x.grantee from aclexplode(d.defaclacl) x)
  where d.defaclnamespace = 0 or e.oid <> 0 or d.defaclnamespace in (select oid from usable)
),

-- 16. Checks: code ----------------------------------------------------------------------------------------------------
-- Functions, triggers, operators, casts and guards that have too many rights, or another definition.
--
--   create function app.titles() returns setof text language sql security definer set search_path = pg_catalog
--     as 'select title from app.tasks';
--   => hole security_definer app.titles(): tasks_api may execute it (as every role may, by default)

-- How the API calls a function: the first way, and the number of further ones.
call_path as materialized (
  select c.oid,
    case when x.oid is not null then concat(coalesce(nullif(api_names.names, ''), 'the API'), ' may execute it',
        case when c.is_public then ' (as every role may, by default)' end)
      when v.callers is not null then v.callers
      when h.place is not null then h.what || ' calls it'
      else 'an operator, a cast, a type or an aggregate calls it' end as way,
    case when x.oid is null then h.place end as place, h.table_name, h.unhook
  from code c
  cross join api_names
  left join callable x on x.oid = c.oid and x.pronamespace in (select oid from usable)
  left join hooked_function h on h.oid = c.oid
  left join (
    select e.toid, string_agg(distinct format('the API reaches %s%s, which calls it', f.name,
      case when f.prosecdef then format(' (which runs as %I)', f.owner_name) end), '; ') as callers
    from (select objid, toid from edge where classid = 'pg_proc'::regclass and toclass = 'pg_proc'::regclass) e
    full join code f on f.oid = e.objid
    where coalesce(e.toid, 0) <> 0 and coalesce(f.oid, 0) <> 0
    group by e.toid
  ) v on v.toid = c.oid
),

-- The current definitions of objects that may be guards. They include NOT VALID and NOT ENFORCED, and whether triggers
-- are disabled. On Citus, the number of the shard is removed from names.
defined as materialized (
  select d.relid, regexp_replace(d.name, '_[0-9]{6,}$', '') as name,
    md5(regexp_replace(d.definition, '_[0-9]{6,}\M', '', 'g')) as hash
  from (
    select tgrelid, concat('trigger ', tgname), concat(substring(pg_get_triggerdef(oid) from
      '(?:BEFORE|AFTER|INSTEAD).*'), case when tgenabled in ('D', 'R') then ' disabled' end)
    from pg_trigger where not tgisinternal
    union all
    select c.conrelid, concat('constraint ', c.conname), pg_get_constraintdef(c.oid) || case when c.oid in (
      select tgconstraint from pg_trigger where tgenabled in ('D', 'R')) then ' disabled' else '' end
    from pg_constraint c where c.contype in ('c', 'f')
    union all
    select d.adrelid, concat('default of ', a.attname), pg_get_expr(d.adbin, d.adrelid)
    from pg_attrdef d join pg_attribute a on a.attrelid = d.adrelid and a.attnum = d.adnum
    union all
    select null, format('function app.%I()', proname), regexp_replace(prosrc, '\s+', ' ', 'g')
    from pg_proc where pronargs = 0 and pronamespace = to_regnamespace('app')
  ) d (relid, name, definition)
  where d.relid is null or d.relid in (select oid from table_or_shard)
),

found_code (check_name, severity, object, finding, remedy) as materialized (
  -- Functions in policies that do not return only the user of this transaction.
  select 'identity_function', 'hole', c.name,
    format('the policies get the user from this function, but %s', w.wrong), format(w.remedy, c.name)
  from scope
  join code c on c.oid = scope.tasks_function and scope.is_tasks or c.oid in (
    select oid from passing_function union select oid from constant_user)
  join pg_proc p on p.oid = c.oid
  cross join lateral (values
    (not scope.is_tasks and c.oid in (select oid from constant_user),
      'it returns a constant if the setting is absent, so such a request acts as that user',
      '-- let %s return null instead'),
    (scope.is_tasks and c.oid not in (select oid from passing_function where word = 'me'),
      'it does more than return the setting app.user_id, so it can return a user other than the one that is set',
      'create or replace function %s returns text language sql stable parallel safe return '
        'nullif(current_setting(''app.user_id'', true), '''');'),
    (p.provolatile = 'i',
      'it is marked immutable, so a prepared statement returns the rows of its first user to all users',
      'alter function %s stable;')
  ) as w (is_wrong, wrong, remedy)
  where w.is_wrong
  union all
  select 'session_state', 'hole', c.name,
    format('it is marked immutable, but reads %s, so a prepared statement returns its first user''s result to all',
      string_agg(distinct t.relid::regclass::text, ', ')),
    format('alter routine %s stable;', c.name)
  from code c
  join pg_proc p on p.oid = c.oid and p.provolatile = 'i'
  join table_use t on t.function = c.oid
  join pg_class r on r.oid = t.relid and r.relrowsecurity and r.oid not in (select oid from lookup)
  where not c.is_authored and c.oid not in (select oid from passing_function)
    and c.oid not in (select oid from definer where not is_compared)
  group by c.name
  union all
  -- Functions with effects besides reading and writing tables.
  select w.check_name, case when w.is_hole then 'hole' else 'warning' end, concat(c.name, h.place),
    format('%s this function, which %s',
      case when h.place is null then 'the API role may call' else 'commands on the table call' end, d.what),
    case when h.oid is null then format('revoke execute on routine %s from public, %s;', c.name, api_names.names)
      else coalesce(h.unhook, (select remedy from policy_remedy where oid = h.hook),
        format('drop routine if exists %s cascade;', c.name)) end
  from scope
  cross join api_names
  cross join code c
  join side_effect d on d.oid = c.oid
  left join hooked_function h on h.oid = c.oid
  cross join lateral (values
    ('session_state', d.kind = 'session_state' and not c.is_authored,
      scope.is_tasks or c.oid in (select e.oid from side_effect e where e.kind = 'identity_change')),
    ('advisory_lock', d.kind = 'advisory_lock' and not c.is_authored, scope.is_tasks),
    ('identity_change', d.kind = 'identity_change' and not c.is_authored and h.oid is null
      and c.oid not in (select oid from citus_function)
      and c.oid not in (select e.oid from definer e where not e.is_compared)
      and c.oid not in (select e.oid from side_effect e where e.kind = 'session_state'), true),
    ('large_object', d.kind = 'large_object' and not c.is_authored and not c.prosecdef and h.oid is null, true),
    -- code that a type or an operator calls
    ('trigger', d.kind in ('identity_change', 'notification', 'export') and h.oid is not null
      and (h.is_trigger or not c.is_authored) and c.oid not in (select oid from passing_function),
      d.kind <> 'notification' or scope.is_strict and (not c.is_trigger
        or regexp_replace(c.body, '\yreturn\s+(?:new|old)\y', '', 'gi') ~* '\y(?:new|old)\y'))
  ) as w (check_name, is_so, is_hole)
  where w.is_so and (h.oid is not null or c.oid in (select oid from callable))
  union all
  select 'security_definer', case when d.is_compared then 'hint' when d.is_unknown then 'warning' else 'hole' end,
    concat(d.name, w.place), concat(w.way, format(': it runs with the rights of its owner %I, and ', d.owner_name),
      case when d.is_compared then 'it compares a column of each table with the user'
        when d.names is not null then 'can reach the rows of all users in ' || d.names
        else 'runs dynamic SQL' end,
      case when d.is_compared then '; review it once'
        when d.is_open then '; the test before this statement has no effect if its result is null'
        when d.is_bypassed
          then '; an argument replaces the user, is not tested, or is a part of the SQL without quotes'
        when d.is_unknown then '; verify that the user or a secret decides which, or that they are meant for all' end,
      case when not d.has_path then '; it has no setting of search_path, so it uses that of its caller' end),
    case when d.is_compared then '-- review it, then accept this finding'
      else concat(w.unhook || ' ', format('alter routine %s security invoker; -- or revoke execute from %s, public',
        d.name, api_names.names)) end
  from definer d
  join call_path w on w.oid = d.oid
  cross join api_names
  where not d.is_trigger and not (d.is_compared and d.has_path
    and d.oid in (select a.function from lookup_call a join clause j on j.text = a.text))
  union all
  select 'trigger', case when g.is_alone and bool_or((d.is_dynamic or d.names is not null and d.is_exposed
      and not d.is_appended) and not d.is_unknown and not d.is_test) then 'hole' else 'warning' end,
    string_agg(distinct case when g.is_alone then d.name || w.place else d.name end, ', '),
    format('commands on %s call this with the rights of its owner %s, so it bypasses the policies of %s',
      string_agg(distinct w.table_name, ', '), string_agg(distinct quote_ident(d.owner_name), ', '),
      string_agg(distinct coalesce(d.names, 'the tables that its dynamic SQL uses'), ', '))
      || case when g.is_alone and bool_or(d.is_appended) then '; it only adds rows: verify their owner and readers'
      when not g.is_alone or bool_or(d.is_unknown) then '; verify that it reaches only rows of the user' else '' end,
    case when g.is_alone then min(w.unhook) else '-- review them, then accept this finding' end
  from scope
  join definer d on d.is_trigger
  join call_path w on w.oid = d.oid and w.place is not null
  -- In other projects, triggers maintain counters, logs and profiles. These are one finding.
  cross join lateral (select scope.is_tasks or d.is_dynamic or d.is_instead as is_alone) g
  where g.is_alone or d.names is not null
  group by g.is_alone, case when g.is_alone then d.oid end
  union all
  select 'guard_changed', 'warning', concat(g.name, ' on ' || k.oid::regclass),
    'it is missing, disabled, or its definition differs from that in the migrations',
    case when k.suffix <> ''
      then '-- move this shard to another worker, which creates it again: tests/cluster/README.md'
      else '-- enable it, or create it again as in sql/schema.sql' end
  from scope
  join guard g on scope.is_tasks
  left join table_or_shard k on k.relname = g.relname and (k.suffix = '' or g.name !~ '^default')
  where (g.relname is null or k.oid is not null) and not exists (
    select from defined e
    where (e.relid = k.oid or g.relname is null) and e.hash = g.hash and (e.name = g.name or g.name like '%\_fkey'))
  union all
  -- Partitions of tables, and objects that commands on tables use, of a role that is not trusted. A SECURITY DEFINER
  -- function of such a role has no rights of the API.
  select 'untrusted_owner', 'hole', i.object,
    format('this %s, which commands on the API''s tables use, belongs to %s, a role that owns neither the database nor '
      'its schema, and that can change it', i.type, d.refobjid::regrole),
    format('alter %s %s owner to %s;', i.type, i.object, new_owner.name)
  from new_owner
  cross join (
    select 'pg_class'::regclass::oid, oid from used_table where oid <> root
    union
    select classid, objid from hooked where objid not in (select oid from code where prosecdef)
  ) o (classid, objid)
  join pg_shdepend d on d.classid = o.classid and d.objid = o.objid and d.deptype = 'o'
    and d.dbid = (select oid from pg_database where datname = current_database())
  cross join lateral (
    select replace(type, ' object', '') as type, regexp_replace(identity, '(?<=[(,])pg_catalog\.', '', 'g') as object
    from pg_identify_object(o.classid, o.objid, 0)
  ) i
  where d.refobjid not in (select oid from trusted) and d.refobjid not in (select oid from assumable_role)
    -- except a role that only trusted roles can become
    and exists (select from pg_roles l where l.rolcanlogin and l.oid not in (select oid from trusted)
      and pg_has_role(l.oid, d.refobjid, 'member'))
  union all
  select 'untrusted_language', 'hole', c.name,
    format('the API calls this function, and PostgreSQL does not limit what functions in %I do', c.lanname),
    format('drop routine if exists %s cascade; -- or revoke execute on it from public', c.name)
  from code c
  where c.oid >= 16384 and not c.is_authored and not c.lanpltrusted
    and c.oid not in (select oid from native_identity)
    -- C functions of PostgreSQL that are declared again: aggregates, and the functions of a range type
    and c.prokind <> 'a'
    and c.oid not in (select d.objid from pg_depend d where d.classid = 'pg_proc'::regclass
      and d.refclassid = 'pg_type'::regclass and d.deptype = 'i')
    and (c.oid in (select oid from callable) or c.oid in (select oid from hooked_function))
  union all
  select 'leakproof', case when p.oid in (select oid from code where lanname = 'sql' -- it only compares
      and body ~* '^\s*(?:return|select)\s*\(?[\w$]+\s*(?:=|<>)\s*[\w$]+\)?\s*;?\s*$') then 'warning'
      else 'hole' end, r.name,
    'it is marked leakproof, so it may be called on other users'' rows before the policy, and its errors reveal values',
    format('alter function %s not leakproof;', r.name)
  from pg_proc p
  cross join lateral (
    select format('%s.%I(%s)', p.pronamespace::regnamespace, p.proname, oidvectortypes(p.proargtypes)) as name) r
  where p.proleakproof
    -- initdb writes its rows in one transaction, so a row of another transaction was changed later
    and (p.oid < 16384 and p.xmin::text <> (
        select mode() within group (order by b.xmin::text) from pg_proc b where b.proleakproof and b.oid < 16384)
      or p.oid in (select oid from callable where pronamespace in (select oid from usable))
      or p.oid in (select oid from code))
    and not (p.oid in (select objid from authored where classid = 'pg_proc'::regclass)
      and p.prolang = (select oid from pg_language where lanname = 'c') and p.proname !~ 'citext')
  union all
  select 'event_trigger', case when w.is_hole then 'hole' else 'warning' end, quote_ident(e.evtname),
    format('this event trigger calls %s, which %s', e.evtfoid::regproc, w.wrong),
    format('drop event trigger %I;', e.evtname)
  from pg_event_trigger e
  join pg_proc p on p.oid = e.evtfoid
  left join body b on b.oid = p.oid
  cross join literal l
  cross join lateral (values
    (p.proowner not in (select oid from trusted), true,
      'a role that is not trusted can replace, so its code runs with the rights of the role that changes the schema'),
    (p.prosecdef, true, 'runs with the rights of its owner, for example if the API role creates a temporary table'),
    (coalesce(b.code, p.prosrc) ~* ('set_config|set\s+(local\s+|session\s+)?row_security|disable\s+row|'
      || coalesce(l.settings, '$')), true, 'sets the user, or weakens row security'),
    (regexp_replace(coalesce(b.code, p.prosrc), '\y(raise|comment)\y[^;]*;', '', 'gi')
      ~* '\y(grant|revoke)\s+\w+.*\yon\y', false,
      'grants privileges whenever the schema changes; review to which roles')
  ) as w (is_wrong, is_hole, wrong)
  where e.evtenabled <> 'D' and w.is_wrong and e.evtfoid not in (select oid from citus_function)
    and not exists (select from authored m where (m.classid, m.objid) in (('pg_event_trigger'::regclass, e.oid),
      ('pg_proc'::regclass, p.oid)))
),

-- 17. Checks: settings, names and the server --------------------------------------------------------------------------
-- Changed settings on which isolation relies, unqualified names that can refer to an object of another role, rows that
-- leave the database, and releases with known vulnerabilities.
--
--   alter function app.trimmed(text) set app.user_id = 'bob';
--   => hole function_setting app.trimmed(text) set app.user_id: app.user_id = bob is set here

set_here (name, value, object, remedy, rank) as materialized (
  select name, value, object, remedy, rank from role_setting
  union all
  select lower(e.name), substr(e.entry, length(e.name) + 2), format('%s set %s', c.name, e.name),
    format('alter routine %s reset %s;', c.name, e.name), null
  from code c
  cross join lateral (select entry, split_part(entry, '=', 1) from unnest(c.proconfig) entry) as e (entry, name)
  where not c.is_authored
),

found_settings (check_name, severity, object, finding, remedy) as materialized (
  select case when w.is_session then 'session' when s.rank is null then 'function_setting' else 'setting' end,
    case when w.is_session then 'warning' else 'hole' end, s.object,
    format('%s = %s is set here: %s', s.name, s.value, w.danger), s.remedy
  from scope
  cross join set_here s
  join watched w on w.name = s.name and lower(s.value) !~ ('^(' || w.sound || ')$')
  where not w.is_session or scope.is_tasks and (s.name, s.rank) in (select name, max(rank) from set_here group by name)
  union all
  -- chr(196), A with an umlaut, is an error in encodings without this character, even if only the planner evaluates it.
  select 'session', 'warning', format('database %I', current_database()),
    'lower() changes only ASCII in this database, so a search is case-sensitive for all other letters',
    '-- dump it, and restore it into: create database ... template template0 encoding ''UTF8'' locale ''C.UTF-8'''
  from scope
  cross join (select case getdatabaseencoding() when 'UTF8' then 196 end as capital) a
  where scope.is_tasks and lower(chr(a.capital)) <> chr(a.capital + 32)
  union all
  -- The schemas of the search_path of the API's roles, of functions, and of this session, since functions of another
  -- role would mislead the audit.
  select 'search_path', 'hole', string_agg(distinct e.object, ', '),
    format('the search_path %s %s', min(e.value), p.wrong), string_agg(distinct e.remedy, ' ')
  from scope
  cross join (
    select object, value, remedy, schemas from session_path
    union all
    select object, value, remedy, array(select btrim(p, ' "') from unnest(string_to_array(value, ',')) p)
    from set_here where name = 'search_path' and rank is null
    union all
    select 'the search_path of this session', array_to_string(current_schemas(true), ', '),
      'set search_path = pg_catalog, pg_temp; -- and run the audit again', current_schemas(true)
  ) e
  cross join unnest(e.schemas) with ordinality as s (schema, step)
  left join writable w on w.nspname = s.schema and s.schema <> 'pg_catalog'
  cross join lateral (
    select case when w.oid is not null
        then format('contains schema %I, in which %s may create objects that shadow the real ones', s.schema, w.who)
      when s.schema = 'pg_temp' and s.step < cardinality(e.schemas)
        then 'searches temporary objects before others, so a temporary table can shadow the real one' end as wrong
  ) p
  where p.wrong is not null
  group by case when scope.is_tasks then e.object end, p.wrong
  union all
  -- PostgreSQL searches pg_temp first for types and tables, unless the search_path contains it. If a temporary domain
  -- has the name text, a cast to text runs the domain's check. Clients of Supabase cannot create temporary objects.
  select 'search_path', case when n.is_read then 'hole' else 'warning' end, c.name,
    'its search_path does not end with pg_temp, so a temporary type or table of the caller can replace one that this '
      'SECURITY DEFINER function names' || case when n.is_read then ', and the caller chooses the rows that it reads'
      else '' end,
    format('alter routine %s set search_path = %s, pg_temp; -- or revoke temporary on the database from public', c.name,
      coalesce((select nullif(substr(e, 13), '""') from unnest(c.proconfig) e where e like 'search\_path=%'),
        'pg_catalog'))
  from scope
  join code c on scope.kind <> 'supabase'
  cross join lateral (
    select c.body !~* '\ywith\y' and exists (
      select from word w
      join pg_class r on r.relname = w.name and r.relnamespace = any (w.path) and r.relkind in ('r', 'p', 'f', 'v', 'm')
      where w.oid = c.oid and w.schema is null and not w.is_call and w.name ~ '^\w+$'
        and c.body ~* format('\y(?:from|join)\s+%s(?![\w$.]|\s*\()', w.name)) as is_read
  ) n
  where c.prosecdef and not c.is_authored and not c.is_parsed and c.lanname in ('sql', 'plpgsql')
    and c.proowner not in (select oid from assumable_role)
    and (n.is_read or scope.is_tasks and c.body ~* '\ydeclare\y|:: ?"?(?!pg_catalog\.|(?:big|small)?int|bool|numeric'
      '|decimal|real|float|double|char|time)\w+"?(?![\w".])')
    and exists (select from api where has_database_privilege(api.oid, current_database(), 'temporary'))
    and not exists (select from unnest(c.proconfig) e where e ~ '^search_path=.*\ypg_temp"?$')
  union all
  select 'publication', 'warning', quote_ident(p.pubname),
    format('this publication sends the rows of all users in %s to every subscriber, where no policy applies',
      string_agg(distinct r.name, ', ')),
    format('drop publication %I;', p.pubname)
  from scope
  cross join pg_publication p
  cross join pg_get_publication_tables(p.pubname::text) t
  join used_table u on u.oid = t.relid
  join reached r on r.oid = u.root and r.oid not in (select oid from lookup)
  where not (scope.kind = 'supabase' and p.pubname ~ '^supabase_')
  group by p.pubname
  union all
  select 'server_version', case when v.fixed is null then 'warning' else 'hole' end,
    'PostgreSQL ' || current_setting('server_version'),
    coalesce('this release has vulnerabilities in row security that are fixed in ' || v.fixed,
      format('this release is %s than any that the audit was tested on (15 to 18)', v.age)),
    coalesce(format('-- install PostgreSQL %s', v.fixed), '-- use an audit that was tested on it')
  from (values (0, 150000, null, 'older'), (150000, 150014, '15.14', null), (160000, 160010, '16.10', null),
    (170000, 170006, '17.6', null), (190000, 999999, null, 'newer')) as v (first, sound, fixed, age)
  where current_setting('server_version_num')::integer between v.first and v.sound - 1
),

-- 18. Output ----------------------------------------------------------------------------------------------------------
-- Accepted findings, and audit.fail_on.
--
--   alter table app.tasks disable row level security;
--   insert into audit.accepted (check_name, object, reason) values ('row_security', 'app.tasks', 'a drill');
--   => accepted row_security app.tasks: row security is off for this table

-- A DBA accepts a finding by a row in the table audit.accepted, or in the one that the setting audit.accepted names. It
-- counts until it expires, if the table belongs to a trusted role and no other role may write to it.
acceptance_table as materialized (
  select n.nspname, c.relname, c.oid,
    c.relowner in (select oid from trusted) and not exists (
      select from (
        select c.relacl as acl union all select attacl from pg_attribute where attrelid = c.oid
      ) t
      cross join aclexplode(t.acl) a
      where a.privilege_type <> 'SELECT' and a.grantee not in (select oid from trusted)
    ) as is_trusted
  from scope
  join pg_namespace n on n.nspname = split_part(scope.accepted, '.', -2)
  join pg_class c on c.relnamespace = n.oid and c.relname = split_part(scope.accepted, '.', -1) and c.relkind = 'r'
),

-- ts_stat(text) runs a query that is built at run time, or none. A direct reference to a table that does not exist in
-- every database, or that few roles may read, would fail the whole audit.
acceptance as materialized (
  select r.*
  from acceptance_table t
  cross join lateral ts_stat(
    case when t.is_trusted and has_table_privilege(t.oid, 'select') and has_schema_privilege(t.nspname, 'usage')
      then format('select pg_catalog.array_to_tsvector(pg_catalog.array_agg(pg_catalog.json_build_object(
        ''check_name'', check_name, ''object'', object, ''reason'', pg_catalog.left(reason, 200),
        ''accepted_by'', accepted_by, ''accepted_on'', accepted_on)::pg_catalog.text)) from %I.%I
        where pg_catalog.length(object) < 500 and (expires_on is null or expires_on > pg_catalog.now())',
        t.nspname, t.relname)
    end
  ) w
  cross join lateral json_to_record(w.word::json)
    as r (check_name text, object text, reason text, accepted_by text, accepted_on text)
),

shown as materialized (
  select distinct case when a.object is null then f.severity else 'accepted' end as severity, f.check_name, f.object,
    concat(f.finding, case when a.object is not null
      then format(' -- accepted by %s on %s: %s', a.accepted_by, a.accepted_on, a.reason) end) as finding, f.remedy
  from (
    table found_roles union all table found_tables union all table found_policies union all table found_columns
    union all table found_privileges union all table found_code union all table found_settings
  ) f
  left join acceptance a on a.check_name = f.check_name and a.object = f.object
  union all
  select 'hole', 'accepted', format('%I.%I', nspname, relname),
    'a role that is not trusted owns or may write to the table of accepted findings, so no finding is accepted',
    format('revoke all on %I.%I from public; -- and from every other role that may write to it', nspname, relname)
  from acceptance_table
  where not is_trusted
),

-- With audit.fail_on, the statement ends in this error, for scripts.
failure as materialized (
  select format('%s holes, %s warnings: %s', count(*) filter (where severity = 'hole'),
    count(*) filter (where severity = 'warning'),
    string_agg(format('%s %s', check_name, object), '; ' order by severity, check_name, object)
      filter (where severity in ('hole', scope.fail_on))) as text
  from shown cross join scope
  where severity in ('hole', 'warning')
  group by scope.fail_on
  having scope.fail_on in ('hole', 'warning') and count(*) filter (where severity in ('hole', scope.fail_on)) > 0
)

select s.severity, s.check_name, s.object, s.finding,
  coalesce(s.remedy, '-- review it and change it manually') as remedy
from shown s
left join failure f on f.text::integer is null
order by array_position('{note,hole,warning,hint,accepted}', s.severity), s.check_name, s.object, s.finding;
