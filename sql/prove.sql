-- Proves by trying that users are kept apart: psql -f sql/prove.sql, or make prove.
--
-- Acts as tasks_api for invented users and for nobody, and tries what must be refused or find
-- nothing, and, so that a database in which nothing works proves nothing, what must work.
-- One line for each attempt; `result` is ok or BROKEN, and the last line counts them.
--
-- Safe on a live database: one transaction, rolled back; every attempt but those that must `keep`
-- is undone at once. Writes name an invented user or fail at the first row, so that no row of a real
-- one is locked or changed however broken the database is; waits for a lock end after 100 ms; nothing printed holds anybody's
-- data; where row security holds no whole table is read, and where it does not, reading ends at the
-- first row. Only where the role wrongly owns or may empty a table is that table locked for a moment.
--
-- Run it as a superuser, as tasks_api, or as a role that may grant tasks_api to itself (the one that
-- made it). As a superuser you trust the owner of schema app, whose triggers run in your session; as
-- tasks_api you need not.
--
-- Left out, with the reason:
-- * naming another user: SQL run as tasks_api may do that, which is why none is built from input;
-- * create trigger, create rule, comment on: they lock the table before they ask for the privilege,
--   so the privileges are asked for instead;
-- * lock table on app.tasks: PostgreSQL allows it to whoever may delete from a table;
-- * copy to stdout (PL/pgSQL has no client), tablesample (reads the whole table): the project's tests do;
-- * how many rows the whole table has: every role reads that in pg_class;
-- * procedures, and functions that reach outside (dblink, programs, http): they could do more than can be undone.

begin isolation level read committed read write;
set local search_path = pg_catalog, pg_temp;
set local client_min_messages = error;
set local lock_timeout = '100ms';
set local statement_timeout = '120s';
-- For Citus, and without meaning elsewhere: objects are attempted on this server, and all hear who acts. In this
-- order: it passes on not the statement but the text it came in, which may be this whole file.
set local citus.enable_ddl_propagation = off;
set local citus.propagate_set_commands = 'local';

do $$
begin
  if pg_is_in_recovery() then
    raise exception 'prove.sql writes and rolls back: run it on the primary, this is a standby';
  elsif to_regnamespace('app') is null then
    raise exception 'database % has no schema app: apply the migrations first', current_database();
  end if;
  begin
    -- Nothing of a superuser is left, so that becoming another role is a fair attempt, too.
    set local session authorization tasks_api;
  exception when insufficient_privilege then
    begin
      set local role tasks_api;
    exception when insufficient_privilege then
      grant tasks_api to current_user;
      set local role tasks_api;
    end;
  end;
exception
  when insufficient_privilege then
    raise exception 'prove.sql acts as tasks_api, which % may not: run it as a superuser, as tasks_api, '
      'or after: grant tasks_api to %', current_user, quote_ident(current_user);
  when undefined_object or invalid_parameter_value then
    raise exception 'role tasks_api does not exist here: apply the migrations first';
end
$$;

do $prove$
declare
  -- The accent and the capitals are there to be mistaken. Nobody else can have these names.
  alice constant text := 'prove Alice ' || gen_random_uuid();
  bob constant text := 'prove Bób ' || gen_random_uuid();
  carol constant text := 'prove Carol ' || gen_random_uuid();
  erin constant text := 'prove Erin ' || gen_random_uuid();
  attempt record;
  found_rows bigint;
  happened text;
  kind text;
  results jsonb := '[]';
  on_citus constant boolean := exists (select from pg_extension where extname = 'citus');
begin
  for attempt in
    select tried.who, tried.what, tried.must, tried.statement
    from (
      values
      -- Before anybody is named: the setting is not even empty yet, where the session is new
      (null::text, 'nobody, the setting unset, reads tasks', 'find nothing',
        'select from app.tasks limit 1'),
      (null, 'nobody, the setting unset, reads users', 'find nothing',
        'select from app.users limit 1'),
      (null, 'nobody, the setting unset, reads idempotency keys', 'find nothing',
        'select from app.idempotency_keys limit 1'),
      (null, 'nobody, the setting unset, makes a task', 'be refused',
        $$insert into app.tasks (title) values ('nobody''s')$$),
      ('', 'nobody reads tasks', 'find nothing',
        'select from app.tasks limit 1'),
      ('', 'nobody reads users', 'find nothing',
        'select from app.users limit 1'),
      ('', 'nobody reads idempotency keys', 'find nothing',
        'select from app.idempotency_keys limit 1'),

      -- What must work: bob has three tasks and alice two, so that bob's id 3 is none of hers; its
      -- title is his name, so that a statement can mean it and nobody else's without naming the owner
      (bob, 'bob makes three tasks', 'keep 3',
        $$insert into app.tasks (title, description, completed)
          values ('bob''s first', null, false), ('bob''s second', 'secret', true), ({bob}, 'secret', false)$$),
      (bob, 'bob keeps an idempotency key', 'keep 1',
        $$insert into app.idempotency_keys (key, task) values ('prove', '{"title": "bob''s"}')$$),
      (alice, 'alice makes two tasks', 'keep 2',
        $$insert into app.tasks (title, completed) values ('alice''s first', false), ('alice''s second', true)$$),
      (alice, 'alice keeps the same idempotency key', 'keep 1',
        $$insert into app.idempotency_keys (key, task) values ('prove', '{"title": "alice''s"}')$$),
      (alice, 'alice reads her tasks', 'find 2',
        'table app.tasks'),
      (alice, 'alice''s tasks are hers, number 1 and 2', 'find 2',
        'select from app.tasks where user_id = {alice} and id in (1, 2) and version = 1'),
      (alice, 'alice changes her task', 'find 1',
        $$with changed as (update app.tasks set title = 'changed' where user_id = {alice} and id = 1 returning version)
          select from changed where version = 2$$),
      (alice, 'alice deletes her tasks', 'find 2',
        'delete from app.tasks where user_id = {alice}'),
      (alice, 'alice reads her own counter', 'find 1',
        'select from app.users where id = {alice} and last_task_id = 2'),
      (alice, 'alice''s next task is number 3', 'find 1',
        'select from app.next_task_id() as id where id = 3'),
      (alice, 'alice reads her own idempotency key', 'find 1',
        'select key, task, created_at from app.idempotency_keys'),

      -- Creating with a key: erin's belongs to him
      (erin, 'erin creates a task with a key', 'keep 1',
        $$select from app.create_task_once('prove once', json_build_object('title', {erin})) where not replayed$$),
      (erin, 'erin repeats it and is answered the same', 'find 1',
        $$select from app.create_task_once('prove once', json_build_object('title', {erin})) where replayed and same$$),
      (erin, 'erin creates a task as the release before does', 'find 1',
        $$select from app.create_task_once('prove before', {erin}, null, false)
          where not replayed and task ->> 'user_id' = {erin}$$),
      (alice, 'alice sends erin''s key and gets a task of her own', 'find 1',
        $$select from app.create_task_once('prove once', '{"title": "hers"}')
          where not replayed and task ->> 'user_id' = {alice}$$),
      (alice, 'alice asks by erin''s key and title for what he made', 'find nothing',
        $$select from app.create_task_once('prove once', json_build_object('title', {erin}))
          where replayed or task ->> 'user_id' <> {alice}$$),
      ('', 'nobody creates a task with a key', 'be refused',
        $$select from app.create_task_once('prove once', '{"title": "nobody''s"}')$$),
      ('', 'nobody repeats erin''s key', 'be refused',
        $$select from app.create_task_once('prove once', json_build_object('title', {erin}))$$),

      -- Reading
      (alice, 'alice reads somebody else''s tasks', 'find nothing',
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
      (alice, 'alice reads by place in the table (ctid)', 'find nothing',
        $$select from app.tasks where ctid >= '(0,0)' and user_id <> {alice} limit 1$$),
      (alice, 'alice reads by transaction (xmin)', 'find nothing',
        'select from app.tasks where xmin <> 0::text::xid and user_id <> {alice} limit 1'),
      (alice, 'alice locks bob''s tasks', 'find nothing',
        'select from app.tasks where user_id = {bob} for update nowait'),
      (alice, 'alice copies bob''s tasks into hers', 'find nothing',
        'insert into app.tasks (title) select title from app.tasks where user_id = {bob}'),
      (alice, 'alice reads bob''s counter', 'find nothing',
        'select from app.users where id = {bob}'),
      (alice, 'alice reads somebody else''s counter', 'find nothing',
        'select from app.users where id <> {alice} limit 1'),
      (alice, 'alice reads bob''s idempotency key', 'find nothing',
        'select from app.idempotency_keys where user_id = {bob}'),
      (alice, 'alice reads somebody else''s idempotency key', 'find nothing',
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
      (alice, 'alice takes bob''s tasks over', 'be refused',
        'update app.tasks set user_id = {alice} where user_id = {bob}'),
      (alice, 'alice hands her task to bob', 'be refused',
        'update app.tasks set user_id = {bob} where user_id = {alice} and id = 1'),
      (alice, 'alice makes a task for bob', 'be refused',
        $$insert into app.tasks (user_id, title) values ({bob}, 'planted')$$),
      (alice, 'alice makes a task with an id of her choice', 'be refused',
        $$insert into app.tasks (id, title) values (3, 'probe')$$),
      (alice, 'alice probes bob''s ids by unique violation', 'be refused',
        $$insert into app.tasks (user_id, id, title) values ({bob}, 3, 'probe') on conflict do nothing$$),
      (alice, 'alice numbers her task anew', 'be refused',
        'update app.tasks set id = 30 where user_id = {alice} and id = 1'),
      (alice, 'alice sets a version', 'be refused',
        'update app.tasks set version = 1 where user_id = {alice} and id = 1'),
      (alice, 'alice makes a task of a version', 'be refused',
        $$insert into app.tasks (title, version) values ('hers', 7)$$),
      (alice, 'alice makes a task of long ago', 'be refused',
        $$insert into app.tasks (title, created_at, updated_at) values ('hers', '2000-01-01', '2000-01-01')$$),
      (alice, 'alice sets a time stamp', 'be refused',
        'update app.tasks set created_at = now(), updated_at = now() where user_id = {alice} and id = 1'),
      (alice, 'what alice makes belongs to somebody else', 'find nothing',
        $$with made as (insert into app.tasks (title) values ('hers') returning user_id)
          select from made where user_id is distinct from {alice}$$),
      (alice, 'nobody but alice is counted when she makes a task', 'find 1',
        $$with made as (insert into app.tasks (title) values ('hers') returning id) select from made where id = 3$$),

      -- A statement that reads no column is not asked by the select policies. It names no owner either, so
      -- it fails at the first row it reaches, before that is locked; carol owns none.
      (carol, 'carol, who has no task, changes all tasks', 'find nothing',
        $$update app.tasks set title = 'taken' where 1 / (0 * random())::integer = 1$$),
      (carol, 'carol deletes all tasks', 'find nothing',
        'delete from app.tasks where 1 / (0 * random())::integer = 1'),
      (carol, 'carol sets all counters', 'find nothing',
        'update app.users set last_task_id = 1 where 1 / (0 * random())::integer = 1'),
      (carol, 'carol deletes all idempotency keys', 'find nothing',
        'delete from app.idempotency_keys where 1 / (0 * random())::integer = 1'),
      ('', 'nobody changes all tasks', 'find nothing',
        $$update app.tasks set title = 'taken' where 1 / (0 * random())::integer = 1$$),
      ('', 'nobody deletes all tasks', 'find nothing',
        'delete from app.tasks where 1 / (0 * random())::integer = 1'),
      ('', 'nobody sets all counters', 'find nothing',
        'update app.users set last_task_id = 1 where 1 / (0 * random())::integer = 1'),
      ('', 'nobody deletes all idempotency keys', 'find nothing',
        'delete from app.idempotency_keys where 1 / (0 * random())::integer = 1'),

      -- The counters
      (alice, 'alice sets bob''s counter', 'find nothing',
        'update app.users set last_task_id = last_task_id + 1 where id = {bob}'),
      (alice, 'alice sets her counter back', 'break a rule',
        'update app.users set last_task_id = 1 where id = {alice}'),
      (alice, 'alice keeps her counter as it is', 'break a rule',
        'update app.users set last_task_id = last_task_id where id = {alice}'),
      (alice, 'alice skips ids', 'break a rule',
        'update app.users set last_task_id = last_task_id + 2 where id = {alice}'),
      (alice, 'alice sets her counter back by entering herself again', 'be refused',
        'insert into app.users (id, last_task_id) values ({alice}, 0)
         on conflict (id) do update set last_task_id = excluded.last_task_id'),
      (alice, 'alice becomes bob in the list of users', 'be refused',
        'update app.users set id = {bob} where id = {alice}'),
      (alice, 'alice enters a user who is not there', 'be refused',
        $$insert into app.users (id) values ({alice} || ' the second')$$),
      (alice, 'alice probes for a user who is there', 'be refused',
        'insert into app.users (id) values ({bob}) on conflict do nothing'),
      (alice, 'alice counts bob up by entering him again', 'be refused',
        'insert into app.users (id) values ({bob})
         on conflict (id) do update set last_task_id = users.last_task_id + 1'),
      (alice, 'alice deletes bob and all of his', 'be refused',
        'delete from app.users where id = {bob}'),
      (alice, 'alice deletes herself to be counted anew', 'be refused',
        'delete from app.users where id = {alice}'),

      -- The idempotency records
      (alice, 'alice deletes bob''s idempotency key', 'find nothing',
        'delete from app.idempotency_keys where user_id = {bob}'),
      (alice, 'alice deletes her key before its time', 'find nothing',
        'delete from app.idempotency_keys where user_id = {alice}'),
      (alice, 'alice changes what a key answers', 'be refused',
        $$update app.idempotency_keys set task = '{}' where user_id = {alice}$$),
      (alice, 'alice changes it by entering the key again', 'be refused',
        $$insert into app.idempotency_keys (key, task) values ('prove', '{}')
          on conflict (user_id, key) do update set task = excluded.task$$),
      (alice, 'alice forges a key for bob', 'be refused',
        $$insert into app.idempotency_keys (user_id, key, task) values ({bob}, 'forged', '{}')$$),
      (alice, 'alice dates a key', 'be refused',
        $$insert into app.idempotency_keys (key, task, created_at) values ('dated', '{}', '2000-01-01')$$),
      (alice, 'alice''s new key meets nobody else''s', 'find 1',
        $$insert into app.idempotency_keys (key, task) values ('new', '{}') on conflict do nothing$$),

      -- Side doors: errors, statistics, other sessions, objects in front of ours
      (alice, 'alice learns of bob''s tasks by an error', 'find nothing',
        'select from app.tasks where user_id = {bob} and 1 / (char_length(title) - char_length(title)) = 1'),
      (alice, 'alice shows a function every row it should not see', 'find 2 or be refused',
        $$create function pg_temp.peek(seen text) returns boolean language plpgsql cost 0.0001 as '
            begin
              if seen <> current_setting(''app.user_id'') then raise exception ''a row of somebody else''; end if;
              return true;
            end';
          select from app.tasks where pg_temp.peek(user_id) limit 3$$),
      (alice, 'alice looks through a view of her own', 'find nothing or be refused',
        'create view pg_temp.prove_view as select user_id from app.tasks;
         select from pg_temp.prove_view where user_id <> {alice} limit 1'),
      (alice, 'alice puts a function in front of current_setting', 'find nothing or be refused',
        $$create function pg_temp.current_setting(text, boolean) returns text language sql return {bob};
          select set_config('search_path', 'pg_temp, pg_catalog', true);
          select from app.tasks where user_id <> {alice} limit 1$$),
      (alice, 'alice puts a function of hers into schema app', 'be refused',
        'create or replace function app.current_user_id() returns text language sql return {bob}'),
      (alice, 'alice puts a table into schema app', 'be refused',
        'create table app.prove ()'),
      (alice, 'alice makes a schema', 'be refused',
        'create schema prove_schema'),
      (alice, 'alice reads the statistics of our tables', 'find nothing',
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
      (alice, 'what alice writes is told to listening sessions', 'find nothing',
        $$select from pg_trigger as t join pg_proc as p on p.oid = t.tgfoid
          where t.tgrelid in ('app.tasks'::regclass, 'app.users'::regclass, 'app.idempotency_keys'::regclass)
            and t.tgenabled <> 'D' and (p.prosrc ~* '\y(pg_)?notify\y' or p.prosrc = 'triggered_change_notification')$$),
      (alice, 'alice''s statements find a function in front of PostgreSQL''s own', 'find nothing',
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
      (alice, 'somebody may put one there', 'find nothing',
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

      -- Switching it off
      (alice, 'alice switches row security off for her session', 'be refused',
        $$select set_config('row_security', 'off', true); select from app.tasks limit 1$$),
      (alice, 'alice switches row security off for app.tasks', 'be refused',
        'alter table app.tasks disable row level security'),
      (alice, 'alice drops a policy', 'be refused',
        'drop policy select_own on app.tasks'),
      (alice, 'alice weakens a policy', 'be refused',
        'alter policy select_own on app.tasks using (true)'),
      (alice, 'alice adds a policy', 'be refused',
        'create policy prove_all on app.tasks using (true)'),
      (alice, 'alice switches triggers off for the table', 'be refused',
        'alter table app.users disable trigger all'),
      (alice, 'alice switches triggers off for her session', 'be refused',
        $$select set_config('session_replication_role', 'replica', true)$$),
      (alice, 'alice empties app.tasks', 'be refused',
        'truncate app.tasks'),
      (alice, 'alice empties app.idempotency_keys', 'be refused',
        'truncate app.idempotency_keys'),
      (alice, 'alice empties app.users and all that hangs on it', 'be refused',
        'truncate app.users cascade'),
      (alice, 'alice locks app.users', 'be refused',
        'lock table app.users in share update exclusive mode nowait'),
      (alice, 'alice may hang a trigger, a rule or a foreign key on a table', 'find nothing',
        $$select from unnest(array['app.tasks', 'app.users', 'app.idempotency_keys']) as t
          where has_any_column_privilege(t, 'references') or has_table_privilege(t, 'trigger')$$),
      (alice, 'alice grants everybody her rights', 'find nothing',
        $$grant select on app.tasks, app.users, app.idempotency_keys to public;
          select from pg_class as c cross join aclexplode(c.relacl) as a
          where c.relnamespace = 'app'::regnamespace and a.grantee = 0$$),
      (alice, 'alice takes app.tasks', 'be refused',
        'alter table app.tasks owner to current_user'),
      (alice, 'alice lifts her role above row security', 'be refused',
        'alter role tasks_api bypassrls'),
      (alice, 'alice can become another role', 'find nothing',
        $$select from pg_roles where oid <> current_user::regrole and pg_has_role(oid, 'member')$$),
      (alice, 'alice becomes the superuser', 'be refused',
        $$select set_config('role', rolname, true) from pg_roles where oid = 10$$),
      (alice, 'alice makes a role', 'be refused',
        'create role prove_role'),

      -- One session, several users: plans and cursors outlive their user, rights do not
      (bob, 'bob prepares a statement and runs it', 'keep 3',
        $$select set_config('plan_cache_mode', 'force_generic_plan', true);
         prepare prove_plan as select from app.tasks where user_id = {bob};
         execute prove_plan$$),
      (alice, 'alice runs the statement that bob prepared', 'find nothing',
        'execute prove_plan'),
      ('', 'nobody runs the statement that bob prepared', 'find nothing',
        'execute prove_plan'),
      (bob, 'bob runs his statement again', 'find 3',
        'execute prove_plan'),
      (bob, 'bob puts his statement away', 'keep nothing',
        'deallocate prove_plan'),
      (bob, 'bob opens a cursor to outlive his transaction', 'keep nothing',
        'declare prove_cursor cursor with hold for select from app.tasks where user_id = {bob}'),
      (alice, 'alice fetches from the cursor that bob opened', 'find nothing',
        'fetch all from prove_cursor'),
      ('', 'nobody opens a cursor to outlive the transaction', 'keep nothing',
        'declare prove_empty cursor with hold for select from app.tasks where user_id = {bob}'),
      (alice, 'alice fetches from the cursor that nobody opened', 'find nothing',
        'fetch all from prove_empty'),

      -- Nobody, and names that are nearly bob's
      ('', 'nobody, after alice and bob, reads tasks', 'find nothing',
        'select from app.tasks limit 1'),
      ('', 'nobody reads users', 'find nothing',
        'select from app.users limit 1'),
      ('', 'nobody reads idempotency keys', 'find nothing',
        'select from app.idempotency_keys limit 1'),
      ('', 'nobody makes a task', 'be refused',
        $$insert into app.tasks (title) values ('nobody''s')$$),
      ('', 'nobody is counted', 'be refused',
        'select app.next_task_id()'),
      ('', 'nobody enters bob', 'be refused',
        'insert into app.users (id) values ({bob}) on conflict do nothing'),
      ('', 'nobody keeps an idempotency key', 'be refused',
        $$insert into app.idempotency_keys (key, task) values ('nobody', '{}')$$),
      ('', 'nobody changes a task', 'find nothing',
        'update app.tasks set completed = not completed where user_id = {bob}'),
      ('', 'nobody deletes a task', 'find nothing',
        'delete from app.tasks where user_id = {bob}'),
      ('', 'nobody is somebody', 'find nothing',
        'select where app.current_user_id() is not null')
    ) as tried (who, what, must, statement)
    union all
    select alias.who, 'a user named ' || alias.like_bob || ' reads tasks', 'find nothing',
      'select from app.tasks limit 1'
    from (
      values
      (upper(bob), 'bob in capitals'),
      (lower(bob), 'bob in small letters'),
      (left(bob, -1), 'bob without the last letter'),
      (bob || ' ', 'bob and a blank'),
      (' ' || bob, 'a blank and bob'),
      (bob || chr(8203), 'bob and a letter of no width'),
      (normalize(bob, nfd), 'bob with the accent as a letter of its own'),
      (replace(bob, 'ó', 'o'), 'bob without the accent'),
      (replace(bob, 'o', chr(1086)), 'bob with a Cyrillic o'),
      (replace(bob, '-', '_'), 'bob as a pattern'),
      ('%', 'percent'), ('*', 'star'), ('.*', 'anything'), ('null', 'null'), (' ', 'blank'),
      ('{' || bob || '}', 'bob in an array'), (bob || ',' || alice, 'bob and alice at once'),
      (quote_literal(bob), 'bob in quotes'), (''' or true --', 'SQL'), (current_user::text, 'the role')
    ) as alias (who, like_bob)
    union all
    -- Whatever else lies in schema app or is a view of it, today or some day
    select alice, 'alice finds bob in ' || other.oid::regclass, 'find nothing or be refused',
      format('select from %s as r where r::text like ''%%'' || {bob} || ''%%'' limit 1', other.oid::regclass)
    from (
      with recursive derived (oid) as (
        select c.oid
        from pg_class as c
        where c.relnamespace = 'app'::regnamespace and c.relkind in ('r', 'p', 'f', 'v', 'm')
        union
        select r.ev_class
        from derived as d
        join pg_depend as d_on on d_on.refclassid = 'pg_class'::regclass and d_on.refobjid = d.oid
          and d_on.classid = 'pg_rewrite'::regclass
        join pg_rewrite as r on r.oid = d_on.objid
      )
      select oid from derived where has_any_column_privilege(oid, 'select')
    ) as other
    union all
    -- Every function that the API may call and that somebody made, read-only so that none can lock or change a
    -- row, but for those that would reach outside
    select alice, 'alice is told of bob by ' || p.oid::regprocedure, 'find nothing or be refused or break a rule or fail',
      format('set local transaction_read_only = on; select from (select r::text as said from %s(%s) as r) as r where said like ''%%'' || {bob} || ''%%'' limit 1',
        p.oid::regproc,
        (select string_agg(case when a.type = 'text'::regtype then '{alice}' else format('null::%s', a.type::regtype) end, ', ' order by a.place)
         from unnest(p.proargtypes::oid[]) with ordinality as a (type, place)))
    from pg_proc as p
    join pg_namespace as n on n.oid = p.pronamespace
    where p.oid >= 16384 and p.prokind = 'f'
      and p.prorettype not in ('trigger'::regtype, 'event_trigger'::regtype, 'internal'::regtype)
      and p.provariadic = 0 and not exists (select from unnest(p.proargtypes) as t where t::regtype::text like 'any%')
      and n.nspname !~ '^pg_' and has_schema_privilege(n.oid, 'usage') and has_function_privilege(p.oid, 'execute')
      and p.prosrc !~* 'dblink|program|http|pg_sleep'
      and not exists (select from pg_depend as d where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e')
  loop
    -- Not set_config: where the tables are spread by Citus, only `set local` reaches the other servers.
    if attempt.who is not null then
      execute format('set local app.user_id = %L', attempt.who);
    end if;
    begin
      execute replace(replace(replace(
        attempt.statement, '{alice}', quote_literal(alice)), '{bob}', quote_literal(bob)), '{erin}', quote_literal(erin));
      get diagnostics found_rows = row_count;
      kind := coalesce(nullif(found_rows, 0)::text, 'nothing');
      happened := 'found ' || kind;
      if attempt.must not like 'keep %' then
        raise exception using errcode = 'PROVE'; -- caught below: undoes the attempt
      end if;
      kind := 'keep ' || kind;
    exception
      when sqlstate 'PROVE' then
        kind := 'find ' || kind;
      when insufficient_privilege or null_value_not_allowed then -- Citus says the latter to nobody's rows
        kind := 'be refused';
        happened := 'refused: ' || sqlerrm;
      when check_violation then
        kind := 'break a rule';
        happened := 'broke a rule: ' || sqlerrm;
      when connection_exception or connection_failure then -- a server of Citus is away: this tells nothing
        raise;
      when others then
        -- What Citus can't do over several servers reaches nobody's row.
        kind := case
          when on_citus and attempt.must ~ 'nothing|refused' and (sqlstate in ('0A000', '3F000') or sqlerrm ~ 'not yet supported')
            then split_part(attempt.must, ' or ', 1)
          else 'fail'
        end;
        happened := 'failed: ' || sqlstate || ' ' || sqlerrm;
    end;
    results := results || jsonb_build_object(
      'tried', attempt.what, 'must', attempt.must, 'happened', happened,
      'result', case when kind = any (string_to_array(attempt.must, ' or ')) then 'ok' else 'BROKEN' end);
  end loop;
  perform set_config('prove.results', results::text, true);
end
$prove$;

select r.tried, r.must, r.happened, r.result
from jsonb_to_recordset(current_setting('prove.results')::jsonb)
  as r (tried text, must text, happened text, result text);

select count(*) || ' attempts, ' || coalesce(nullif(count(*) filter (where r.result <> 'ok'), 0)::text, 'none')
  || ' BROKEN' as summary
from jsonb_to_recordset(current_setting('prove.results')::jsonb) as r (result text);

rollback;
