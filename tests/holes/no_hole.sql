-- Sound changes that once were called holes: the audit may hint or warn of them, no more.

-- a policy that lets nothing through
create table app.shut (id bigint, user_id text collate "C" not null default app.current_user_id());
call attack.protect('app.shut', 'select', 'false');

-- a command shut by its policy
create table app.kept (id bigint, user_id text collate "C" not null default app.current_user_id());
call attack.protect('app.kept', 'select, insert (id), delete');
create policy never on app.kept for delete to tasks_api using (false);

-- the setting itself
create table app.by_setting (id bigint, user_id text collate "C" not null default app.current_user_id());
call attack.protect('app.by_setting', test => 'user_id = current_setting(''app.user_id'', true)');

-- the setting itself, and not empty
create table app.by_setting_filled (id bigint, user_id text collate "C" not null default app.current_user_id());
call attack.protect('app.by_setting_filled', test => 'user_id = current_setting(''app.user_id'', true) and current_setting(''app.user_id'', true) <> ''''');

-- the setting in a sub-select
create table app.by_setting_once (id bigint, user_id text collate "C" not null default app.current_user_id());
call attack.protect('app.by_setting_once', test => 'user_id = (select current_setting(''app.user_id'', true))');

-- the setting without missing_ok
create table app.by_strict_setting (id bigint, user_id text collate "C" not null default app.current_user_id());
call attack.protect('app.by_strict_setting', test => 'current_setting(''app.user_id'') = user_id');

-- a cast of a number
create table app.by_number (id bigint, user_id bigint not null default 1, primary key (user_id, id));
call attack.protect('app.by_number', 'select', 'user_id::text = app.current_user_id()');

-- a cast of a uuid
create table app.by_uuid (id bigint, user_id uuid not null default gen_random_uuid(), primary key (user_id, id));
call attack.protect('app.by_uuid', 'select', 'app.current_user_id() = user_id::text');

-- a cast of the setting
create table app.by_cast (id bigint, user_id uuid not null, primary key (user_id, id));
call attack.protect('app.by_cast', 'select', 'user_id = nullif(current_setting(''app.user_id'', true), '''')::uuid');

-- a case that restricts
create table app.by_case (id bigint, open boolean, user_id text collate "C" not null default app.current_user_id());
call attack.protect('app.by_case', test => 'case when open then user_id = app.current_user_id() else false end');

-- a case that refuses first
create table app.by_case_first (id bigint, open boolean, user_id text collate "C" not null default app.current_user_id());
call attack.protect('app.by_case_first', test => 'case when current_setting(''app.user_id'', true) = '''' then false else user_id = current_setting(''app.user_id'', true) end');

-- a case over a column
create table app.by_case_of (id bigint, state text, user_id text collate "C" not null default app.current_user_id());
call attack.protect('app.by_case_of', test => 'case id when 1 then user_id = app.current_user_id() when 2 then user_id = app.current_user_id() and id > 0 end');

-- an identity test or nothing
create table app.or_false (id bigint, user_id text collate "C" not null default app.current_user_id());
call attack.protect('app.or_false', test => 'user_id = app.current_user_id() or false');

-- identity in plpgsql | alone
create or replace function app.current_user_id() returns text language plpgsql stable as $$ begin return nullif(current_setting('app.user_id', true), ''); end $$;

-- identity in plpgsql by steps | alone
create or replace function app.current_user_id() returns text language plpgsql stable parallel safe as $$
declare
  named text := current_setting('app.user_id', true);
begin
  if named is null or named = '' then
    return null;
  end if;
  return named;
end $$;

-- identity that insists | alone
create or replace function app.current_user_id() returns text language plpgsql stable as $$
begin
  if nullif(current_setting('app.user_id', true), '') is null then
    raise exception 'no user is named' using errcode = 'insufficient_privilege';
  end if;
  return current_setting('app.user_id');
end $$;

-- identity by another function | alone
create function app.named() returns text language sql stable return nullif(current_setting('app.user_id', true), '');
grant execute on function app.named() to tasks_api;
create or replace function app.current_user_id() returns text language sql stable return app.named();

-- the policies with another function of the same setting
create function app.me() returns text language sql stable as $$ select nullif(current_setting('app.user_id', true), '') $$;
create table app.of_me (id bigint, user_id text collate "C" not null default app.current_user_id());
call attack.protect('app.of_me', test => 'user_id = app.me()');

-- a definer that filters by the identity
create function app.my_count() returns bigint language sql stable security definer set search_path = pg_catalog
  as 'select count(*) from app.tasks t where t.user_id = app.current_user_id()';

-- a definer that filters by the identity, parsed
create function app.my_titles() returns setof text language sql stable security definer set search_path = pg_catalog
begin atomic select title from app.tasks where user_id = app.current_user_id() and not completed; end;

-- a definer that filters in steps
create function app.finish(wanted bigint) returns void language plpgsql security definer set search_path = pg_catalog as $$
declare
  me text := app.current_user_id();
begin
  update app.tasks set completed = true where user_id = me and id = wanted;
  if not found then
    raise exception 'no such task';
  end if;
end $$;

-- a definer that writes for the user
create function app.add_quick(wanted text) returns void language sql security definer set search_path = pg_catalog
  as 'insert into app.tasks (user_id, title) values (app.current_user_id(), wanted)';

-- a definer that refuses others
create function app.count_of(wanted text) returns bigint language plpgsql stable security definer set search_path = pg_catalog as $$
begin
  if wanted is distinct from app.current_user_id() then
    raise exception 'not yours';
  end if;
  return (select count(*) from app.tasks where user_id = wanted);
end $$;

-- a definer of the superuser that touches nobody's rows
create function app.version() returns text language sql stable security definer set search_path = pg_catalog as 'select current_setting(''server_version'')';

-- a definer over a lookup table
create table app.tones (name text primary key);
create function app.tone_names() returns setof text language sql stable security definer set search_path = pg_catalog as 'select name from app.tones';

-- a definer of a role without rights
create role helpless nologin;
create function app.by_helpless() returns bigint language sql security definer set search_path = pg_catalog as 'select count(*) from app.tasks';
grant usage on schema app to helpless;
grant create on schema app to helpless;
alter function app.by_helpless() owner to helpless;
revoke create on schema app from helpless;

-- a definer of an owner under forced row security
create role holder nologin;
grant create, usage on schema app to holder;
create table app.held (id bigint, user_id text collate "C" not null default app.current_user_id(), primary key (user_id, id));
call attack.protect('app.held');
alter table app.held owner to holder;
create function app.by_holder() returns bigint language sql security definer set search_path = pg_catalog as 'select count(*) from app.held';
alter function app.by_holder() owner to holder;
revoke create on schema app from holder;

-- a definer that sets a column called role
create table app.crew (user_id text collate "C" not null primary key, role text);
create function app.step_down() returns void language sql security definer set search_path = pg_catalog
  as 'update app.crew set role = ''none'' where user_id = app.current_user_id()';

-- a definer that the default names, without execute
create function app.hidden() returns text language sql security definer as 'select max(title) from app.tasks';
revoke execute on function app.hidden() from public;
create table app.spoiled (id bigint, user_id text collate "C" not null default app.current_user_id(), note text default app.hidden());
call attack.protect('app.spoiled');

-- a definer trigger that keeps a log out of reach
create schema if not exists vault;
create table vault.log (at timestamptz default now(), user_id text, id bigint);
create function vault.log_it() returns trigger language plpgsql security definer set search_path = pg_catalog as $$ begin insert into vault.log (user_id, id) values (new.user_id, new.id); return new; end $$;
create trigger logs after insert on app.tasks for each row execute function vault.log_it();

-- a barrier view that filters
create view app.own_tasks with (security_barrier) as select id, title from app.tasks where user_id = app.current_user_id();
grant select on app.own_tasks to tasks_api;

-- a barrier view that filters by the setting
create view app.own_open with (security_barrier = true) as select id, title from app.tasks where user_id = nullif(current_setting('app.user_id', true), '') and not completed;
grant select on app.own_open to tasks_api;

-- a lookup table that is referenced
create table app.levels (name text primary key);
alter table app.levels enable row level security;
create policy read on app.levels for select to tasks_api using (true);
grant select, references on app.levels to tasks_api;
create table app.levelled (id bigint not null default app.next_task_id(), user_id text collate "C" not null default app.current_user_id() references app.users on delete cascade,
  level text references app.levels, primary key (user_id, id));
call attack.protect('app.levelled');

-- a lookup table without row security that is referenced
create table app.kinds (name text primary key);
grant select on app.kinds to tasks_api;
create table app.kindly (id bigint not null default app.next_task_id(), user_id text collate "C" not null default app.current_user_id() references app.users on delete cascade,
  kind text references app.kinds, primary key (user_id, id));
call attack.protect('app.kindly');

-- a lookup table that is published
create table app.flags (name text primary key);
alter table app.flags enable row level security;
create policy read on app.flags for select to tasks_api using (true);
grant select on app.flags to tasks_api;
create publication flags_only for table app.flags;

-- truncate on a table of nobody's rows
create table app.scratch (n integer);
alter table app.scratch enable row level security;
create policy read on app.scratch for select to tasks_api using (true);
grant select, trigger, references on app.scratch to tasks_api;

-- a worker that is a member of the API's role
create role worker login noinherit;
grant tasks_api to worker;

-- a login that works as the API's role
create role web_login login;
grant tasks_api to web_login;

-- a group that holds the API's grants
create role app_readers;
grant usage on schema app to app_readers;
grant app_readers to tasks_api;

-- a random key over all
create table app.tokens (id uuid not null default gen_random_uuid() unique, user_id text collate "C" not null default app.current_user_id(), note text);
call attack.protect('app.tokens', 'select, insert (note), delete');

-- a random text key over all
create table app.links (slug text not null default md5(random()::text) unique, user_id text collate "C" not null default app.current_user_id(), note text);
call attack.protect('app.links', 'select, insert (note), delete');

-- the owner's column granted, and checked
create table app.open_owner (id bigint not null default 1, user_id text collate "C" not null default app.current_user_id(), note text, primary key (user_id, id));
call attack.protect('app.open_owner', 'select, insert (id, user_id, note), update (note)');

-- the owner's column of the tasks granted, and checked
grant insert (user_id) on app.tasks to tasks_api;

-- not forced, where the owner is no role of the API
create table app.unforced (id bigint not null default 1, user_id text collate "C" not null default app.current_user_id(), primary key (user_id, id));
call attack.protect('app.unforced');
alter table app.unforced no force row level security;

-- members by a table that only the owner writes
create table app.teams_of (team text, member text, primary key (team, member));
alter table app.teams_of enable row level security;
create policy own on app.teams_of for select to tasks_api using (member = app.current_user_id());
grant select on app.teams_of to tasks_api;
create table app.team_notes (id bigint, team text not null, note text);
call attack.protect('app.team_notes', 'select, insert (id, team, note)', 'exists (select from app.teams_of m where m.team = team_notes.team and m.member = app.current_user_id())');

-- members by a definer's list
create table app.crews (crew text, member text, primary key (crew, member));
create function app.my_crews() returns setof text language sql stable security definer set search_path = pg_catalog as 'select crew from app.crews where member = app.current_user_id()';
create table app.crew_notes (id bigint, crew text not null, note text);
call attack.protect('app.crew_notes', 'select, insert (id, crew, note)', 'crew in (select app.my_crews())');

-- shared with somebody by the owner
create table app.shared (id bigint not null, user_id text collate "C" not null default app.current_user_id(), with_user text, primary key (user_id, id));
alter table app.shared enable row level security;
create policy own on app.shared to tasks_api using (user_id = app.current_user_id()) with check (user_id = app.current_user_id());
create policy seen on app.shared for select to tasks_api using (with_user = app.current_user_id());
grant select, insert (id, with_user), update (with_user), delete on app.shared to tasks_api;

-- administrators by a column that nobody may write
create table app.people (user_id text collate "C" primary key, name text, is_admin boolean not null default false);
call attack.protect('app.people', 'select, insert (name), update (name)');
create table app.reports (id bigint, body text);
call attack.protect('app.reports', 'select', 'exists (select from app.people p where p.user_id = app.current_user_id() and p.is_admin)');

-- an event trigger that speaks of grants
create function public.say_grant() returns event_trigger language plpgsql as $$ begin raise notice 'please grant select on it yourself'; end $$;
create event trigger says on ddl_command_end when tag in ('CREATE TABLE') execute function public.say_grant();

-- an upsert, a sweep and a job of another role
create role janitor nologin;
grant usage on schema app to janitor;
grant select, delete on app.idempotency_keys to janitor;
create policy janitor_sweeps on app.idempotency_keys to janitor using (created_at < now() - interval '2 days');

-- those that the policies of another table show
create policy by_membership on app.tasks for select to tasks_api using (user_id in (select id from app.users));

-- identity without nullif | alone
create or replace function app.current_user_id() returns text language sql stable return current_setting('app.user_id', true);

-- a task shared by its owner
create table app.shares (user_id text collate "C" not null default app.current_user_id(), task_id bigint not null, with_user text collate "C" not null, primary key (user_id, task_id, with_user), foreign key (user_id, task_id) references app.tasks (user_id, id) on delete cascade);
alter table app.shares enable row level security; alter table app.shares force row level security;
create policy own on app.shares to tasks_api using (user_id = app.current_user_id()) with check (user_id = app.current_user_id());
create policy seen on app.shares for select to tasks_api using (with_user = app.current_user_id());
grant select, delete, insert (task_id, with_user) on app.shares to tasks_api;
create policy shared on app.tasks for select to tasks_api using (exists (select from app.shares s where s.user_id = tasks.user_id and s.task_id = tasks.id and s.with_user = app.current_user_id()));

-- the identity in a sub-select of a sub-select
create table app.lines (user_id text collate "C" not null default app.current_user_id(), id bigint not null, primary key (user_id, id));
call attack.protect('app.lines', 'select', 'user_id = (select u from (select app.current_user_id() as u) x)');

-- a definer trigger that counts for the owner of the row
create table app.counts (user_id text collate "C" primary key, n bigint not null default 0);
alter table app.counts enable row level security; alter table app.counts force row level security;
create policy own on app.counts for select to tasks_api using (user_id = app.current_user_id()); grant select on app.counts to tasks_api;
create policy keeps on app.counts to postgres using (true);
create function app.count_up() returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp as $$ begin insert into app.counts (user_id, n) values (new.user_id, 1) on conflict (user_id) do update set n = counts.n + 1; return new; end $$;
create trigger counts after insert on app.tasks for each row execute function app.count_up();

-- the same comparison in PL/pgSQL, by a variable named me
create function app.is_own(owner text) returns boolean language plpgsql stable as $$ declare me text := app.current_user_id(); begin if me is null then return false; end if; return owner = me; end $$;
create table app.owned_alone (user_id text collate "C" not null default app.current_user_id(), id bigint not null, primary key (user_id, id));
call attack.protect('app.owned_alone', 'select', 'app.is_own(user_id)');

-- a definer whose variable holds the user that it reads from the setting
create function app.rename_me(n text) returns void language plpgsql security definer set search_path = pg_catalog as $$ declare me text; begin me := nullif(current_setting('app.user_id', true), ''); update app.tasks set title = n where user_id = me; end $$;

-- a definer that acts only if a row of the user's is there
create table app.errands (id bigint primary key, user_id text collate "C" not null);
call attack.protect('app.errands', 'select');
create function app.close_errand(wanted bigint) returns void language plpgsql security definer set search_path = pg_catalog as $$ begin if exists (select from app.errands t where t.user_id = app.current_user_id() and t.id = wanted) then delete from app.errands where id = wanted; end if; end $$;

-- a definer that reads the user in a CTE or a sub-select
create function app.recent() returns setof text language sql stable security definer set search_path = pg_catalog as 'with me as (select app.current_user_id() as id) select t.title from app.tasks t, me where t.user_id = me.id';
create function app.recent2() returns setof text language sql stable security definer set search_path = pg_catalog begin atomic with me (id) as materialized (select app.current_user_id()) select t.title from app.tasks t join me on t.user_id = me.id; end;
create function app.recent3() returns setof text language sql stable security definer set search_path = pg_catalog as 'select t.title from (select app.current_user_id() as id) n join app.tasks t on t.user_id = n.id';
create table app.preferences (user_id text collate "C" not null, key text not null, value text, primary key (user_id, key));
call attack.protect('app.preferences', 'select');
create function app.prefer(k text, v text) returns void language sql security definer set search_path = pg_catalog as 'merge into app.preferences p using (select app.current_user_id() as me, k as k, v as v) as n on p.user_id = n.me and p.key = n.k when matched then update set value = n.v when not matched then insert (user_id, key, value) values (n.me, n.k, n.v)';

-- a definer in PL/pgSQL whose statement ends with the comparison
create function app.rename_all(n text) returns void language plpgsql security definer set search_path = pg_catalog as $$ begin update app.tasks set title = n where user_id = app.current_user_id(); end $$;

-- the policy of the owner of the database, for everybody
alter policy select_all on app.tasks to public;

-- a definer whose aggregates all have a filter, or whose statement has one
create function app.done_of_mine() returns table (done bigint, mine bigint) language sql stable security definer set search_path = pg_catalog, pg_temp as $$ select count(*) filter (where user_id = app.current_user_id() and completed), count(*) filter (where user_id = app.current_user_id()) from app.tasks $$;
create function app.done_of_all_mine() returns table (done bigint, mine bigint) language sql stable security definer set search_path = pg_catalog, pg_temp as $$ select count(*) filter (where completed), count(*) from app.tasks where user_id = app.current_user_id() $$;

-- a definer whose windows contain only rows of the user
create function app.numbered() returns table (n bigint, title text) language sql stable security definer set search_path = pg_catalog, pg_temp as $$ select n, title from (select row_number() over (order by id) as n, t.title from app.tasks t where t.user_id = app.current_user_id()) x where n < 10 $$;
create function app.partitioned() returns table (n bigint, title text) language sql stable security definer set search_path = pg_catalog, pg_temp as $$ select n, title from (select user_id, row_number() over (partition by user_id order by id) as n, title from app.tasks) x where user_id = app.current_user_id() $$;

-- a guard whose error the block raises again, or after which nothing runs
create function app.guarded_again(who text) returns setof text language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$ begin
begin if who is distinct from app.current_user_id() then raise exception 'not yours'; end if; exception when others then raise notice '%', sqlerrm; raise; end;
return query select title from app.tasks where user_id = who; end $$;
create function app.guarded_to_the_end(who text) returns setof text language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$ begin
if who is distinct from app.current_user_id() then raise notice 'not yours'; raise insufficient_privilege; end if;
return query select title from app.tasks where user_id = who; exception when insufficient_privilege then raise notice 'refused'; end $$;

-- a list of users beside an owner that the role may not set
create table app.by_list_alone (user_id text not null default app.current_user_id(), people text[]);
call attack.protect('app.by_list_alone', 'select, insert (people), update (people)', 'app.current_user_id() = any (people)');
-- quoted names with a blank and a hyphen
create schema "Sales Team";
grant usage on schema "Sales Team" to tasks_api;
create table "Sales Team"."Hot-Lead" (id bigint, "Owner Id" text not null default app.current_user_id(), primary key ("Owner Id", id));
call attack.protect('"Sales Team"."Hot-Lead"', 'select, delete', '"Owner Id" = app.current_user_id()');
create table app.calls (id bigint primary key, "Owner Id" text not null, lead bigint);
call attack.protect('app.calls', 'select', 'exists (select from "Sales Team"."Hot-Lead" l where l.id = calls.lead and l."Owner Id" = calls."Owner Id" and l."Owner Id" = app.current_user_id())');

-- a domain as type of the owner column
create domain app.user_name as text check (char_length(value) between 1 and 255);
create table app.drafts (id bigint, subject app.user_name not null, primary key (subject, id));
call attack.protect('app.drafts', 'select, delete', 'subject = app.current_user_id()::app.user_name');

-- membership by a row of two columns
create table app.seats_of (region text, holder text, primary key (region, holder));
call attack.protect('app.seats_of', 'select', 'holder = app.current_user_id()');
create table app.deals (id bigint primary key, region text not null);
call attack.protect('app.deals', 'select', '(region, app.current_user_id()) in (select s.region, s.holder from app.seats_of s)');
create policy by_array on app.deals for select to tasks_api using (region = any (array(select s.region from app.seats_of s where s.holder = app.current_user_id())));
create policy by_union on app.deals for select to tasks_api using (region in (select s.region from app.seats_of s where s.holder = app.current_user_id() union select lower(s.region) from app.seats_of s where s.holder = app.current_user_id()));
create policy own_too on app.deals for select to tasks_api using ((app.current_user_id(), region) in (select s.holder, s.region from app.seats_of s where s.region <> 'x'));

-- an array of teams, cast in a sub-select
create table app.crew_of (team uuid, member text, primary key (team, member));
call attack.protect('app.crew_of', 'select', 'member = app.current_user_id()');
create function app.team_ids() returns uuid[] language sql stable security definer set search_path = pg_catalog, pg_temp as 'select array_agg(c.team) from app.crew_of c where c.member = app.current_user_id()';
create table app.chores (id bigint primary key, team uuid not null);
call attack.protect('app.chores', 'select', 'team = any ((select app.team_ids())::uuid[])');

-- lists of readers in an array and in JSON
create table app.pages_of (id bigint primary key, acl jsonb not null, readers text[] not null);
call attack.protect('app.pages_of', 'select', 'acl -> ''readers'' ? app.current_user_id()');
create policy p1 on app.pages_of for select to tasks_api using (acl #> '{page,readers}' @> to_jsonb(app.current_user_id()));
create policy p2 on app.pages_of for select to tasks_api using (acl @> jsonb_build_object('readers', jsonb_build_array(app.current_user_id())));
create policy p3 on app.pages_of for select to tasks_api using (exists (select from jsonb_array_elements_text(coalesce(acl -> 'readers', '[]')) r where r = app.current_user_id()));
create policy p4 on app.pages_of for select to tasks_api using (app.current_user_id() in (select jsonb_array_elements_text(acl -> 'page' -> 'readers')));
create policy p5 on app.pages_of for select to tasks_api using (exists (select from unnest(readers) r where r = app.current_user_id()));
create policy p6 on app.pages_of for select to tasks_api using (acl -> 'readers' ?| array[app.current_user_id()]);
create policy p7 on app.pages_of for select to tasks_api using (array_position(readers, app.current_user_id()) is not null);

-- a trigger of a view that inserts for the user and changes the old row
create table app.cards (id bigint primary key, user_id text not null, label text);
alter table app.cards enable row level security;
create view app.my_cards with (security_barrier) as select id, label from app.cards where user_id = app.current_user_id();
create function app.put_card() returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp as 'begin if tg_op = ''INSERT'' then insert into app.cards (id, user_id, label) values (new.id, app.current_user_id(), new.label); else update app.cards set label = new.label where id = old.id; end if; return new; end';
create trigger put instead of insert or update on app.my_cards for each row execute function app.put_card();
grant select, insert, update on app.my_cards to tasks_api;

-- a delegation by its principal
create table app.proxies (principal text not null default app.current_user_id(), delegate text not null, valid daterange not null default '(,)', primary key (principal, delegate));
alter table app.proxies enable row level security;
create policy seen on app.proxies for select to tasks_api using (principal = app.current_user_id() or delegate = app.current_user_id());
create policy made on app.proxies for insert to tasks_api with check (principal = app.current_user_id());
grant select, insert (delegate, valid) on app.proxies to tasks_api;
create table app.mails (id bigint, mailbox text not null, primary key (mailbox, id));
call attack.protect('app.mails', 'select', 'mailbox in (select d.principal from app.proxies d where d.delegate = app.current_user_id() and d.valid @> current_date)');
create policy read_too on app.mails for select to tasks_api using (exists (select from app.proxies d where d.principal = mails.mailbox and d.delegate = app.current_user_id() and d.valid @> current_date));

-- a definer trigger that compares a row of two columns
create table app.nudges (user_id text not null, task_id bigint not null, primary key (user_id, task_id));
call attack.protect('app.nudges', 'select');
create function app.drop_nudges() returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp as 'begin delete from app.nudges n where (n.user_id, n.task_id) = (old.user_id, old.id); return old; end';
create trigger drop_nudges after delete on app.tasks for each row execute function app.drop_nudges();

-- a helper that ignores its argument, which is the user
create table app.chiefs (person text primary key);
call attack.protect('app.chiefs', 'select', 'person = app.current_user_id()');
create function app.is_chief(person_id text) returns boolean language sql stable security definer set search_path = pg_catalog, pg_temp as 'select exists (select from app.chiefs c where c.person = app.current_user_id())';
create table app.salaries (id bigint primary key, amount numeric);
call attack.protect('app.salaries', 'select', 'app.is_chief(app.current_user_id())');

-- readers that only the owner sets
create table app.boards_of (id bigint, user_id text not null default app.current_user_id(), readers text[] not null, primary key (user_id, id));
call attack.protect('app.boards_of', 'select, insert, update');
create policy read_too on app.boards_of for select to tasks_api using (app.current_user_id() = any (readers));
create policy add on app.boards_of for insert to tasks_api with check (user_id = app.current_user_id() and app.current_user_id() = any (readers));

-- a delegation for a time, by a function
create table app.mandates (grantor text not null default app.current_user_id(), grantee text not null, during tstzrange not null, primary key (grantor, grantee));
call attack.protect('app.mandates', 'select, insert, update, delete', 'grantor = app.current_user_id()');
create function app.acts_for(whom text) returns boolean language sql stable security definer set search_path = pg_catalog, pg_temp as 'select exists (select from app.mandates g where g.grantor = whom and g.grantee = app.current_user_id() and g.during @> now())';
create function app.grantors() returns setof text language sql stable security definer set search_path = pg_catalog, pg_temp as 'select g.grantor from app.mandates g where g.grantee = app.current_user_id() and g.during @> now()';
create table app.diaries (id bigint, user_id text not null default app.current_user_id(), primary key (user_id, id));
call attack.protect('app.diaries', 'select, delete', 'user_id = app.current_user_id() or app.acts_for(user_id)');
create policy read_too on app.diaries for select to tasks_api using (user_id in (select app.grantors()));

-- a request that the other user accepts
create table app.follows (follower text not null default app.current_user_id(), followed text not null, state text not null default 'asked', primary key (follower, followed));
call attack.protect('app.follows', 'select', 'false');
create policy read_both on app.follows for select to tasks_api using (follower = app.current_user_id() or followed = app.current_user_id());
create policy ask on app.follows for insert to tasks_api with check (follower = app.current_user_id() and state = 'asked');
create policy answer on app.follows for update to tasks_api using (followed = app.current_user_id()) with check (followed = app.current_user_id());
grant insert, update (state) on app.follows to tasks_api;
create table app.feed (id bigint, author text not null, primary key (author, id));
call attack.protect('app.feed', 'select', 'author = app.current_user_id() or exists (select from app.follows f where f.followed = feed.author and f.follower = app.current_user_id() and f.state = ''accepted'')');

-- a membership with quoted names
create table app."Seats" ("User Id" text not null default app.current_user_id(), "Team Id" bigint not null, note text, primary key ("User Id", "Team Id"));
call attack.protect('app."Seats"', 'select, insert ("User Id", note), delete', '"User Id" = app.current_user_id()');
create table app."Docs" (id bigint primary key, "Team Id" bigint not null);
call attack.protect('app."Docs"', 'select', 'exists (select from app."Seats" s where s."Team Id" = "Docs"."Team Id" and s."User Id" = app.current_user_id())');

-- a column compared with itself, beside a comparison with the row
create table app.remarks (user_id text collate "C" not null default app.current_user_id(), task_id bigint not null, body text);
alter table app.remarks alter body set statistics 0;
call attack.protect('app.remarks', 'select', 'exists (select from app.tasks where id = tasks.id and id = remarks.task_id and user_id = app.current_user_id() and tasks.user_id = remarks.user_id)');

-- a list that a function returns, in the check of a new row
create table app.answers (user_id text collate "C" not null default app.current_user_id(), task_id bigint not null, body text);
alter table app.answers alter body set statistics 0;
call attack.protect('app.answers', 'select, insert', 'exists (select from app.tasks t where t.id = answers.task_id and t.user_id = app.current_user_id() and t.user_id = answers.user_id and not exists (select from unnest(string_to_array(t.category, '','')) c where c = ''closed''))');

-- a definer that archives the rows that its CTE deletes
create table app.old_tasks (like app.tasks, primary key (user_id, id));
call attack.protect('app.old_tasks', 'select');
create function app.archive_tasks() returns bigint language sql security definer set search_path = pg_catalog, pg_temp as $$
with gone as (delete from app.tasks t where t.user_id = app.current_user_id() and t.completed returning t.*),
moved as (insert into app.old_tasks select g.* from gone g returning 1) select count(*) from moved $$;

-- a definer that deletes the rows that its CTE selects
create function app.purge_tasks() returns void language sql security definer set search_path = pg_catalog, pg_temp as $$
with old as (select t.user_id, t.id from app.tasks t where t.user_id = app.current_user_id() and t.completed order by t.id limit 100 for update skip locked)
delete from app.tasks t using old o where t.user_id = o.user_id and t.id = o.id $$;

-- a definer with the user in a constant that is not null
create function app.forget_task(task bigint) returns void language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare me constant text not null := app.current_user_id(); begin delete from app.tasks where user_id = me and id = task; end $$;

-- a definer with case and aggregates in its select list
create function app.tasks_by_state() returns table (state text, n bigint) language sql stable security definer set search_path = pg_catalog, pg_temp as $$
select case when completed then 'done' when priority = 'urgent' then case when id > 5 then 'new' else 'old' end else 'open' end, count(*)
from app.tasks where user_id = app.current_user_id() group by 1 order by count(*) filter (where not completed) desc $$;

-- a definer with a correlated sub-select, and one that filters
create function app.numbered_tasks() returns table (title text, others bigint) language sql stable security definer set search_path = pg_catalog, pg_temp begin atomic
select x.title, (select count(*) from app.idempotency_keys k where k.user_id = x.user_id)
from (select t.title, t.user_id, row_number() over (order by t.id) as n from app.tasks t where t.user_id = app.current_user_id()) x where x.n < 4; end;

-- a definer with a recursive CTE
create table app.folders (user_id text collate "C", id bigint, parent bigint, primary key (user_id, id));
call attack.protect('app.folders');
create function app.below(folder bigint) returns setof bigint language sql stable security definer set search_path = pg_catalog, pg_temp as $$
with recursive tree as (select f.user_id, f.id from app.folders f where f.id = folder and f.user_id = app.current_user_id()
union all select f.user_id, f.id from app.folders f join tree t on t.user_id = f.user_id and t.id = f.parent) select id from tree $$;

-- a definer that reads or changes a row, and then tests its owner
create table app.bins (id int primary key, user_id text collate "C" not null, name text);
call attack.protect('app.bins', 'select');
create function app.read_bin(bin int) returns text language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare b app.bins;
begin
  select * into b from app.bins where id = bin;
  if b.user_id is distinct from app.current_user_id() then return null; end if;
  update app.bins set name = b.name || '.' where id = b.id;
  return b.name;
end $$;
create function app.rename_bin(bin int, new_name text) returns void language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare b app.bins;
begin
  update app.bins set name = new_name where id = bin returning * into b;
  if b.user_id is distinct from app.current_user_id() then raise insufficient_privilege; end if;
end $$;
create function app.delete_bins(ids int[]) returns void language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare one int;
begin
  foreach one in array ids loop
    perform from app.bins b where b.id = one and b.user_id = app.current_user_id();
    if not found then raise no_data_found; end if;
  end loop;
  delete from app.bins b where b.id = any (ids);
end $$;

-- a definer that tests the team of the row
create table app.guilds_of (guild int, user_id text collate "C" not null, primary key (guild, user_id));
call attack.protect('app.guilds_of', 'select');
create table app.plans (id int primary key, guild int not null, body text);
alter table app.plans enable row level security;
create function app.read_plan(plan int) returns text language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare p app.plans; of_guild int;
begin
  select * into p from app.plans where id = plan;
  of_guild := p.guild;
  if not exists (select from app.guilds_of g where g.guild = of_guild and g.user_id = app.current_user_id()) then raise no_data_found; end if;
  return (select body from app.plans where id = plan);
end $$;

-- a definer that tests a role which may be null
create function app.count_plans() returns bigint language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare my_guild int;
begin
  select g.guild into my_guild from app.guilds_of g where g.user_id = app.current_user_id();
  if my_guild is null or my_guild <> 1 then raise insufficient_privilege; end if;
  return (select count(*) from app.plans);
end $$;

-- a definer that inserts or updates a row of the user
create table app.knobs (user_id text collate "C" not null, key text not null, value jsonb, primary key (user_id, key));
call attack.protect('app.knobs', 'select');
create function app.turn(k text, v jsonb) returns void language sql security definer set search_path = pg_catalog, pg_temp as $$
insert into app.knobs as n (key, user_id, value) values (k, app.current_user_id(), coalesce(v, '{}')) on conflict (user_id, key) do update set value = excluded.value $$;
create function app.turn2(k text, v jsonb) returns void language sql security definer set search_path = pg_catalog, pg_temp as $$
insert into app.knobs values (app.current_user_id(), k, v) on conflict on constraint knobs_pkey do update set value = excluded.value $$;
create function app.turn3(k text, v jsonb) returns void language sql security definer set search_path = pg_catalog, pg_temp as $$
merge into app.knobs n using (values (k, v)) as x (k, v) on n.key = x.k and n.user_id = app.current_user_id()
when matched and x.v is null then delete when matched then update set value = x.v
when not matched then insert (user_id, key, value) values (app.current_user_id(), x.k, x.v) $$;

-- a definer that reads a view, and filters it, or the view filters
create view app.plain_tasks with (security_invoker) as select user_id, title from app.tasks;
create view app.own_tasks2 with (security_invoker) as select title from app.tasks where user_id = app.current_user_id();
create function app.titles_by_view() returns setof text language sql stable security definer set search_path = pg_catalog, pg_temp as $$ select title from app.plain_tasks where user_id = app.current_user_id() $$;
create function app.titles_by_view2() returns setof text language sql stable security definer set search_path = pg_catalog, pg_temp as $$ select title from app.own_tasks2 $$;

-- a definer that joins by the owner and a number
create table app.hints (user_id text collate "C" not null, task_id bigint not null, hint text, foreign key (user_id, task_id) references app.tasks (user_id, id) on delete cascade);
call attack.protect('app.hints', 'select');
create function app.hints_of_tasks() returns setof text language sql stable security definer set search_path = pg_catalog, pg_temp as $$
select h.hint from app.tasks t left join app.hints h on h.task_id = t.id and h.user_id = t.user_id where t.user_id = app.current_user_id() $$;

-- a right join whose rows are filtered
create function app.right_titles() returns setof text language sql stable security definer set search_path = pg_catalog, pg_temp as $$
select t.title from app.users u right join app.tasks t on t.user_id = u.id where t.user_id = app.current_user_id() $$;

-- an administrator acts on any task
create table app.chiefs_of (user_id text collate "C" primary key);
alter table app.chiefs_of enable row level security;
create function app.rename_any(task bigint, new_title text) returns void language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform from app.chiefs_of c where c.user_id = app.current_user_id();
  if not found then raise insufficient_privilege; end if;
  update app.tasks set title = new_title where id = task;
end $$;

-- messages that only the sender writes
create table app.notes_to (id uuid primary key default gen_random_uuid(), sender text not null default app.current_user_id(), recipient text not null, body text);
call attack.protect('app.notes_to', 'select, insert (recipient, body), delete', 'sender = app.current_user_id() or recipient = app.current_user_id()');

-- definers that find rows by variables with keys of the user's rows
create table app.slips (id uuid primary key default gen_random_uuid(), user_id text collate "C" not null default app.current_user_id(), n int not null default 0, done boolean);
call attack.protect('app.slips', 'select');
create table app.slip_lines (slip uuid not null references app.slips on delete cascade, user_id text collate "C" not null, line text);
call attack.protect('app.slip_lines', 'select');
create function app.number_slips() returns void language plpgsql security definer set search_path = pg_catalog, pg_temp as $$ declare r record; i int := 0; begin
for r in select s.id from app.slips s where s.user_id = app.current_user_id() order by s.id loop i := i + 1; update app.slips set n = i where id = r.id; end loop; end $$;
create function app.drop_slips() returns int language plpgsql security definer set search_path = pg_catalog, pg_temp as $$ declare old uuid[] := array(select s.id from app.slips s where s.user_id = app.current_user_id() and s.done); begin
delete from app.slips where id = any (old); return cardinality(old); end $$;
create function app.lines_of(wanted uuid) returns setof text language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$ declare found_id uuid; begin
select s.id into found_id from app.slips s where s.id = wanted and s.user_id = app.current_user_id(); return query select l.line from app.slip_lines l where l.slip = found_id; end $$;
create function app.swap_slips(a uuid, b uuid) returns void language plpgsql security definer set search_path = pg_catalog, pg_temp as $$ declare me text := app.current_user_id(); x app.slips; y app.slips; begin
select * into x from app.slips s where s.id = a and s.user_id = me for update; select * into y from app.slips s where s.id = b and s.user_id = me for update;
update app.slips set n = y.n where id = x.id; update app.slips set n = x.n where id = y.id; end $$;

-- definers with cursors
create function app.mark_tasks() returns void language plpgsql security definer set search_path = pg_catalog, pg_temp as $$ declare c cursor for select from app.tasks t where t.user_id = app.current_user_id() for update; r record; begin
open c; loop fetch c into r; exit when not found; update app.tasks set completed = true where current of c; end loop; close c; end $$;
create function app.mark_more() returns void language plpgsql security definer set search_path = pg_catalog, pg_temp as $$ declare c cursor (whose text) for select from app.tasks t where t.user_id = whose for update; begin
for r in c (app.current_user_id()) loop update app.tasks set completed = true where current of c; end loop; end $$;

-- definers that execute a constant
create function app.count_by_execute(done_too boolean) returns bigint language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$ declare n bigint; begin
execute 'select count(*) from app.tasks where user_id = $1 and ($2 or not completed)' into n using app.current_user_id(), done_too; return n; end $$;
create function app.tasks_in_order(by_column text) returns setof app.tasks language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$ begin
if by_column not in ('title', 'id') then raise 'no such order'; end if;
return query execute format('select * from app.tasks where user_id = $1 order by %I', by_column) using app.current_user_id(); end $$;
create function app.titles_by_execute() returns setof text language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$ declare r record; begin
for r in execute $q$ select title from app.tasks where user_id = $1 $q$ using app.current_user_id() loop return next r.title; end loop; end $$;

-- definers whose dynamic SQL differs only in names, values and constants
create function app.titles_sorted(by_column text, direction text default 'asc') returns setof text language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$ declare filter text; begin
filter := case by_column when 'due_date' then 'due_date is not null' else 'true' end;
if upper(direction) not in ('ASC', 'DESC') then raise 'no such direction'; end if;
return query execute format('select title from app.tasks where user_id = %L and (%s) order by ', app.current_user_id(), filter) || quote_ident(by_column) || ' ' || direction; end $$;
create function app.erase_me() returns void language plpgsql security definer set search_path = pg_catalog, pg_temp as $$ declare t record; me constant text := app.current_user_id(); begin
for t in select c.table_schema, c.table_name from information_schema.columns c where c.column_name = 'user_id' loop execute format('delete from %I.%I where user_id = $1', t.table_schema, t.table_name) using me; end loop; end $$;
create function app.words_of_me() returns setof text language sql stable security definer set search_path = pg_catalog, pg_temp as $$
select word from ts_stat(format('select to_tsvector(''simple'', title) from app.tasks where user_id = %L', app.current_user_id())) $$;

-- definers that join the user, or find shared rows by the whole key
create function app.titles_of_me() returns setof text language sql stable security definer set search_path = pg_catalog, pg_temp as $$
with me (user_id) as (select app.current_user_id()) select t.title from me join app.tasks as t using (user_id) $$;
create function app.titles_of_me2() returns setof text language sql stable security definer set search_path = pg_catalog, pg_temp as $$
select t.title from (values (app.current_user_id())) as me (id) join app.tasks t on t.user_id = me.id $$;
create table app.shared_whole (owner text collate "C" not null, task_id bigint not null, reader text collate "C" not null, primary key (owner, task_id, reader));
alter table app.shared_whole enable row level security;
create function app.titles_for_me(q text) returns setof text language sql stable security definer set search_path = pg_catalog, pg_temp as $$
select t.title from app.tasks t where t.title like q and (t.user_id = app.current_user_id() or exists (select from app.shared_whole s where s.owner = t.user_id and s.task_id = t.id and s.reader = app.current_user_id())) $$;

-- a definer that keeps the last owner of a team
create table app.choirs (name text primary key);
alter table app.choirs enable row level security;
create table app.choir_members (choir text not null references app.choirs, person text collate "C" not null, rank text not null, primary key (choir, person));
alter table app.choir_members enable row level security;
create policy own on app.choir_members for select to tasks_api using (person = app.current_user_id());
create function app.leave_choir(c text) returns boolean language sql security definer set search_path = pg_catalog, pg_temp as $$
delete from app.choir_members m where m.choir = c and m.person = app.current_user_id() and (m.rank <> 'owner' or exists (select from app.choir_members o where o.choir = m.choir and o.rank = 'owner' and o.person <> m.person)) returning true $$;

-- a definer that takes a token of which only a digest is stored
create table app.tickets (digest bytea primary key, owner text collate "C" not null, task_id bigint not null);
alter table app.tickets enable row level security;
create function app.title_by_ticket(ticket text) returns text language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare me constant text := app.current_user_id(); owner text; task bigint; begin
if me is null or ticket is null or char_length(ticket) < 32 then raise 'no ticket'; end if;
select t.owner, t.task_id into owner, task from app.tickets t where t.digest = sha256(convert_to(ticket, 'UTF8'));
return owner; end $$;

-- statements in a text that nothing executes
create function app.help() returns text language sql immutable return 'update app.users set role = ''admin''; set role postgres; execute $$drop policy$$';

-- a parsed function that a policy asks about the user
create table app.duties (person text collate "C" not null, duty text not null, primary key (person, duty));
call attack.protect('app.duties', 'select', 'person = app.current_user_id()');
create function app.has_duty(person text, wanted text) returns boolean language sql stable set search_path = pg_catalog, pg_temp
return exists (select from app.duties as d where d.person = has_duty.person and d.duty = wanted);
create policy by_duty on app.tasks for select to tasks_api using (app.has_duty(app.current_user_id(), 'auditor'));

-- definers that raise an error in another way
create table app.papers (id uuid primary key default gen_random_uuid(), user_id text collate "C" not null default app.current_user_id(), body text);
alter table app.papers alter body set statistics 0;
call attack.protect('app.papers', 'select');
create function app.require_paper(wanted uuid) returns void language plpgsql security definer set search_path = pg_catalog, pg_temp as $$ begin
if not exists (select from app.papers p where p.id = wanted and p.user_id = app.current_user_id()) then raise insufficient_privilege; end if; end $$;
create function app.drop_paper(wanted uuid) returns void language plpgsql security definer set search_path = pg_catalog, pg_temp as $$ begin perform app.require_paper(wanted); delete from app.papers where id = wanted; end $$;
create function app.drop_paper2(wanted uuid) returns void language plpgsql security definer set search_path = pg_catalog, pg_temp as $$ declare me text; begin
select p.user_id into strict me from app.papers p where p.id = wanted and p.user_id = app.current_user_id(); delete from app.papers where id = wanted; end $$;
create function app.drop_paper4(wanted uuid) returns void language plpgsql security definer set search_path = pg_catalog, pg_temp as $$ declare me text := app.current_user_id(); owner text; begin
select p.user_id into owner from app.papers p where p.id = wanted; if me is null or owner is null or owner <> me then raise insufficient_privilege; end if; delete from app.papers where id = wanted; end $$;
create function app.is_paper(wanted uuid) returns boolean language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$ begin perform from app.papers p where p.id = wanted and p.user_id = app.current_user_id(); return found; end $$;
create function app.drop_paper6(wanted uuid) returns void language plpgsql security definer set search_path = pg_catalog, pg_temp as $$ begin if not app.is_paper(wanted) then raise insufficient_privilege; end if; delete from app.papers where id = wanted; end $$;

-- definers with two sub-selects for each row of the user, and with a filter outside of a union
create table app.scraps (user_id text collate "C" not null, label text, n int);
call attack.protect('app.scraps');
create function app.my_numbers() returns table (n bigint, m int) language sql stable security definer set search_path = pg_catalog, pg_temp as $$ select (select count(*) from app.scraps s where s.user_id = u.id), (select max(s.n) from app.scraps s where s.user_id = u.id) from app.users u where u.id = app.current_user_id() $$;
create function app.my_feed() returns setof text language sql stable security definer set search_path = pg_catalog, pg_temp as $$ select f.t from (select t.user_id as u, t.title as t from app.tasks t union all select s.user_id, s.label from app.scraps s) f where f.u = app.current_user_id() $$;
create function app.my_feed2() returns setof text language sql stable security definer set search_path = pg_catalog, pg_temp as $$ with f as (select t.user_id as u, t.title as t from app.tasks t union all select s.user_id, s.label from app.scraps s) select t from f where u = app.current_user_id() $$;

-- a definer that uses up an invitation by the digest of its token
create table app.invites (team uuid not null, token_digest bytea primary key);
alter table app.invites enable row level security;
create function app.use_invite(token uuid) returns uuid language plpgsql security definer set search_path = pg_catalog, pg_temp as $$ declare joined uuid; begin
if app.current_user_id() is null then raise insufficient_privilege; end if; delete from app.invites i where i.token_digest = sha256(uuid_send(token)) returning i.team into joined; return joined; end $$;

-- the owner as a hash, and the user in a CTE
create table app.hashed (user_hash bytea not null default sha256(convert_to(app.current_user_id(), 'UTF8')), id bigint, primary key (user_hash, id));
call attack.protect('app.hashed', 'select, delete', 'user_hash = sha256(convert_to(app.current_user_id(), ''UTF8''))');
create table app.hashed2 (user_hash text not null, id bigint, primary key (user_hash, id));
call attack.protect('app.hashed2', 'select, delete', 'user_hash = encode(sha256(convert_to(''v1:'' || app.current_user_id(), ''UTF8'')), ''hex'')');
create policy by_cte on app.tasks to tasks_api using (user_id = (with u (id) as (select app.current_user_id()) select u.id from u));

-- fewer rows than those of the user's teams
create table app.ranks (team text, member text, primary key (team, member));
alter table app.ranks enable row level security;
create table app.orders_of (id bigint primary key, team text not null);
call attack.protect('app.orders_of', 'select', 'team in (select r.team from app.ranks r where r.member = app.current_user_id() except select r.team from app.ranks r where r.member = ''x'')');
create policy p1 on app.orders_of for select to tasks_api using (team in (with mine as (select r.team from app.ranks r where r.member = app.current_user_id()) select mine.team from mine));
create policy p2 on app.orders_of for select to tasks_api using ((select bool_or(r.member = app.current_user_id()) from app.ranks r where r.team = orders_of.team));

-- a recursive helper of an organization
create table app.units (id uuid primary key, parent uuid, name text);
create table app.staff_of (unit uuid, person text, primary key (unit, person));
alter table app.units enable row level security;
alter table app.staff_of enable row level security;
create function app.in_unit(unit uuid) returns boolean language sql stable security definer set search_path = pg_catalog, pg_temp as $$
with recursive up as (select u.id, u.parent from app.units u where u.id = in_unit.unit union all select u.id, u.parent from app.units u join up on u.id = up.parent)
select exists (select from up join app.staff_of s on s.unit = up.id where s.person = app.current_user_id()) $$;
create table app.briefs (id bigint primary key, unit uuid);
call attack.protect('app.briefs', 'select', 'app.in_unit(unit)');

-- a request that the other user accepts, by a boolean or a time
create table app.fans (fan text not null default app.current_user_id(), star text not null, accepted boolean not null default false, seen_at timestamptz, primary key (fan, star));
call attack.protect('app.fans', 'select', 'false');
create policy ask on app.fans for insert to tasks_api with check (fan = app.current_user_id() and not accepted and seen_at is null);
create policy answer on app.fans for update to tasks_api using (star = app.current_user_id()) with check (star = app.current_user_id());
grant insert (star, accepted, seen_at), update (accepted, seen_at) on app.fans to tasks_api;
create table app.shows (id bigint, star text not null, primary key (star, id));
call attack.protect('app.shows', 'select', 'exists (select from app.fans f where f.star = shows.star and f.fan = app.current_user_id() and f.accepted)');
create policy seen on app.shows for select to tasks_api using (exists (select from app.fans f where f.star = shows.star and f.fan = app.current_user_id() and f.seen_at is not null));

-- rows that their owner publishes
alter table app.tasks add column published boolean not null default false;
grant insert (published), update (published) on app.tasks to tasks_api;
create policy published on app.tasks for select to tasks_api using (published);

-- a helper that finds a share by the owner and the number of a task
create table app.shares_of (owner_id text collate "C" not null, task_id bigint not null, shared_with text collate "C" not null, primary key (owner_id, task_id, shared_with));
alter table app.shares_of enable row level security;
create function app.has_share(of_owner text, task bigint) returns boolean language sql stable security definer set search_path = pg_catalog, pg_temp as $$
select exists (select from app.shares_of s where (s.owner_id, s.task_id) = (of_owner, task) and s.shared_with = app.current_user_id()) $$;
create policy shared_whole on app.tasks for select to tasks_api using (app.has_share(user_id, id));

-- a check in each branch, and one that only other users skip
create function app.export_mine(who text, form text) returns setof text language plpgsql stable security definer set search_path = pg_catalog as $$ begin
if form = 'csv' then if who is distinct from app.current_user_id() then raise insufficient_privilege; end if; return query select title from app.tasks where user_id = who;
else if who is distinct from app.current_user_id() then raise insufficient_privilege; end if; return query select to_json(title)::text from app.tasks where user_id = who; end if; end $$;
create function app.export_if_set(who text) returns setof text language plpgsql stable security definer set search_path = pg_catalog as $$ begin
if app.current_user_id() is not null then if who is distinct from app.current_user_id() then raise insufficient_privilege; end if; end if; return query select title from app.tasks where user_id = who and app.current_user_id() is not null; end $$;

-- return query and return
create function app.my_history(who text) returns setof text language plpgsql stable security definer set search_path = pg_catalog as $$ begin
if who is distinct from app.current_user_id() then return query select 'denied'; return; end if; return query select title from app.tasks where user_id = who; end $$;

-- members of a team that an exists compares
create table app.fellows (user_id text collate "C", team bigint, primary key (user_id, team));
create table app.leaves (id uuid primary key, team bigint, owner_id text collate "C", title text);
create function app.leaves_of_mine(wanted bigint) returns setof text language sql stable security definer set search_path = pg_catalog as 'select c.title from app.leaves c where c.team = wanted and exists (select from app.fellows m where m.user_id = app.current_user_id() and m.team = c.team)';

-- definers that refuse users whose role is null, or another
create table app.staff_roles (login text collate "C" primary key, role text not null, team bigint);
alter table app.staff_roles enable row level security;
create function app.titles_for_admins() returns setof text language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare my_role text;
begin
  select s.role into my_role from app.staff_roles s where s.login = app.current_user_id();
  if my_role is distinct from 'admin' then raise exception 'administrators only'; end if;
  return query select title from app.tasks;
end $$;
create function app.titles_for_managers() returns setof text language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
  me text := app.current_user_id();
  mine app.staff_roles.role%type := (select s.role from app.staff_roles s where s.login = me);
  n bigint;
begin
  if mine is null or mine not in ('admin', 'manager') then return; end if;
  return query select title from app.tasks;
end $$;

-- a definer that selects into a variable with the name of the table
create function app.count_mine() returns bigint language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare tasks bigint; begin select count(*) into tasks from app.tasks as t where t.user_id = app.current_user_id(); return tasks; end $$;

-- definers whose callers pass the user
create function app.titles_of_user(wanted text) returns setof text language sql stable security definer set search_path = pg_catalog, pg_temp as 'select title from app.tasks where user_id = wanted';
revoke execute on function app.titles_of_user(text) from public;
create function app.titles_of_caller() returns setof text language sql stable security definer set search_path = pg_catalog, pg_temp as 'select app.titles_of_user(app.current_user_id())';
create schema out_of_reach;
create function out_of_reach.title(person text, wanted bigint) returns text language sql stable set search_path = pg_catalog, pg_temp as 'select title from app.tasks where user_id = person and id = wanted';
create function app.title_by_helper(wanted bigint) returns text language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare me text := app.current_user_id(); begin return out_of_reach.title(me, wanted) || out_of_reach.title(wanted => wanted, person => me); end $$;

-- a definer that merges rows of a sub-select with the user
create function app.merge_titles(changes jsonb) returns void language sql security definer set search_path = pg_catalog, pg_temp as $$
  merge into app.tasks t
  using (select c.id, c.title, app.current_user_id() as me from jsonb_to_recordset(changes) as c (id bigint, title text)) s
  on t.user_id = s.me and t.id = s.id
  when matched then update set title = s.title $$;

-- a definer with a case as condition
create function app.titles_in(scope text) returns setof text language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select t.title from app.tasks t
  where case scope when 'all' then t.user_id = app.current_user_id() when 'none' then false
    when 'urgent' then t.user_id = app.current_user_id() and t.priority = 'urgent' else false end order by 1 $$;

-- keys that a definer chooses at random
create table app.keys_of_users (id uuid primary key default gen_random_uuid(), user_id text collate "C" not null default app.current_user_id(), hash bytea not null unique, is_revoked boolean);
call attack.protect('app.keys_of_users', 'select (id, user_id, is_revoked), update (is_revoked), delete');
create function app.new_key() returns text language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare key text := gen_random_uuid()::text; begin insert into app.keys_of_users (user_id, hash) values (app.current_user_id(), sha256(convert_to(key, 'UTF8'))); return key; end $$;

-- comments on the user's own tasks, by a foreign key whose owner the policy checks | alone
create table app.task_remarks (task_owner text collate "C" not null, task_id bigint not null, author text collate "C" not null default app.current_user_id(), foreign key (task_owner, task_id) references app.tasks (user_id, id) on delete cascade);
alter table app.task_remarks enable row level security;
create policy with_task on app.task_remarks for select to tasks_api using (exists (select from app.tasks t where t.user_id = task_owner and t.id = task_remarks.task_id));
create policy own on app.task_remarks for insert to tasks_api with check (author = app.current_user_id() and task_owner = app.current_user_id());
grant select, insert (task_owner, task_id) on app.task_remarks to tasks_api;

-- a CTE and a query that reads from it
create function app.summary() returns json language sql security definer set search_path = pg_catalog, pg_temp as $$
  with mine as (select title, completed from app.tasks where user_id = app.current_user_id()), done as (select title from mine where completed)
  select json_build_object('total', (select count(*) from mine), 'done', (select json_agg(d.title) from done d)) $$;

-- tests about the rows that the statement uses
create table app.panels (panel text collate "C", user_id text collate "C", role text not null default 'member', until timestamptz not null, primary key (panel, user_id));
create table app.posters (id uuid primary key default gen_random_uuid(), panel text collate "C" not null, body text);
create function app.hang(wanted text, person text) returns void language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  if not exists (select from app.panels p where p.panel = wanted and p.user_id = app.current_user_id() and p.until > now()) then raise insufficient_privilege; end if;
  insert into app.panels (panel, user_id, until) values (wanted, person, now());
end $$;
create function app.posters_of(wanted text) returns setof text language sql security definer set search_path = pg_catalog, pg_temp as $$
  select p.body from app.posters p where p.panel = wanted and exists (select from app.panels m where m.user_id = app.current_user_id() and m.panel = wanted) $$;
create table app.permits (user_id text collate "C", permit text, primary key (user_id, permit));
create table app.grants (user_id text collate "C" not null, role text not null, panel text collate "C", unique (user_id, role, panel));
call attack.protect('app.grants', 'select');
create policy for_editors on app.posters for select to tasks_api using (exists (select from app.grants g where g.user_id = app.current_user_id() and g.role = 'editor'));
alter table app.posters enable row level security;
grant select on app.posters to tasks_api;
create function app.all_posters() returns setof text language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  if not exists (select from app.permits p where p.user_id = app.current_user_id() and p.permit in ('read', 'write')) then raise insufficient_privilege; end if;
  return query select body from app.posters;
end $$;

-- a test of each element of an array
create table app.chits (id uuid primary key default gen_random_uuid(), user_id text collate "C" not null, body text);
create function app.chits_counted(ids uuid[]) returns setof text language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  if (select count(*) from app.chits where id = any (ids) and user_id = app.current_user_id()) is distinct from cardinality(ids) then raise insufficient_privilege; end if;
  return query select body from app.chits where id = any (ids);
end $$;
create function app.chits_looped(ids uuid[]) returns setof text language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare i uuid;
begin
  foreach i in array ids loop
    if not exists (select from app.chits c where c.id = i and c.user_id = app.current_user_id()) then raise insufficient_privilege; end if;
  end loop;
  return query select body from app.chits where id = any (ids);
end $$;
create function app.chit_in_branch(wanted uuid, is_read boolean) returns text language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  if is_read then
    perform from app.chits c where c.id = wanted and c.user_id = app.current_user_id();
    if not found then raise insufficient_privilege; end if;
    return (select body from app.chits where id = wanted);
  end if;
  return null;
end $$;

-- random tokens
create function app.generate_token() returns text language sql set search_path = pg_catalog, pg_temp as 'select md5(gen_random_uuid()::text)';
create table app.wickets (user_id text collate "C" primary key, token text not null default app.generate_token());
create function app.open_wicket(given text) returns setof text language sql security definer set search_path = pg_catalog, pg_temp as $$
  select t.title from app.wickets d join app.tasks t on t.user_id = d.user_id where d.token = given $$;

-- members whose role and team come from an invitation, or from a team that they create
create table app.troops (troop text collate "C" primary key);
create table app.troopers (troop text collate "C", user_id text collate "C", is_muted boolean, role text not null default 'member', primary key (troop, user_id));
call attack.protect('app.troopers', 'select');
create table app.orders (troop text collate "C" primary key, body text);
call attack.protect('app.orders', 'select', 'exists (select from app.troopers c where c.troop = orders.troop and c.user_id = app.current_user_id() and c.role = ''owner'')');
create table app.summons (code uuid primary key default gen_random_uuid(), troop text collate "C", user_id text collate "C", role text);
create function app.follow_summons(given uuid) returns void language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare s app.summons;
begin
  delete from app.summons x where x.code = given and x.user_id = app.current_user_id() returning * into s;
  insert into app.troopers (troop, user_id, role) values (s.troop, app.current_user_id(), s.role);
end $$;
create function app.mute(wanted text, is_quiet boolean) returns void language sql security definer set search_path = pg_catalog, pg_temp as $$
  update app.troopers set is_muted = is_quiet where troop = wanted and user_id = app.current_user_id() $$;
create function app.found_troop(name text) returns void language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  insert into app.troops values (name) on conflict do nothing;
  if not found then raise unique_violation; end if;
  insert into app.troopers (troop, user_id, role) values (name, app.current_user_id(), 'owner');
end $$;

-- a cache with the user
create table app.painted (reader text collate "C", task_id bigint, html text, primary key (reader, task_id));
create function app.paint(wanted bigint) returns text language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare result text;
begin
  select r.html into result from app.painted r where r.task_id = wanted and r.reader = app.current_user_id();
  if result is null then
    select t.title into result from app.tasks t where t.user_id = app.current_user_id() and t.id = wanted;
    insert into app.painted values (app.current_user_id(), wanted, result);
  end if;
  return result;
end $$;

-- a sub-select that selects a column of the row, but compares it
create table app.seats (club int, guest text collate "C", primary key (club, guest));
call attack.protect('app.seats', 'select', 'guest = app.current_user_id()');
create table app.clubs (id int, body text);
call attack.protect('app.clubs', 'select', 'id in (select clubs.id from app.seats s where s.club = clubs.id and s.guest = app.current_user_id())');

-- administrators by a list that nobody may write, in a policy and in a view
create table app.wardens (warden text collate "C" primary key, since date);
call attack.protect('app.wardens', 'select', 'warden = app.current_user_id()');
create table app.pleas (id uuid primary key default gen_random_uuid(), user_id text collate "C" not null default app.current_user_id(), body text);
call attack.protect('app.pleas', 'select, insert (body)', 'user_id = app.current_user_id() or exists (select from app.wardens w where w.warden = app.current_user_id())');
create table app.oaths (id uuid primary key default gen_random_uuid(), user_id text collate "C" not null default app.current_user_id(), body text);
call attack.protect('app.oaths', 'insert (body)');
create view app.all_oaths with (security_barrier) as select o.id, o.body from app.oaths o where app.current_user_id() in (select warden from app.wardens);
grant select on app.all_oaths to tasks_api;

-- rows without an owner, which the role cannot make
create table app.patterns (id uuid primary key default gen_random_uuid(), user_id text collate "C" default app.current_user_id(), body text);
call attack.protect('app.patterns', 'insert (body), delete');
create policy look on app.patterns for select to tasks_api using (user_id is null or user_id = app.current_user_id());
grant select on app.patterns to tasks_api;

-- a share for a time, of a row whose owner a function compares
create table app.prints (id uuid primary key default gen_random_uuid(), user_id text collate "C" not null default app.current_user_id(), body text);
create table app.loans (print uuid, user_id text collate "C" not null default app.current_user_id(), borrower text collate "C", until date, primary key (print, borrower));
create function app.owns_print(given uuid) returns boolean language sql stable security definer set search_path = pg_catalog return exists (select from app.prints p where p.id = given and p.user_id = app.current_user_id());
call attack.protect('app.loans', 'select, insert (print, borrower, until)', 'user_id = app.current_user_id() and app.owns_print(print)');
call attack.protect('app.prints', 'select', 'user_id = app.current_user_id() or exists (select from app.loans l where l.print = prints.id and l.borrower = app.current_user_id() and l.until > now())');

-- a group with a policy that compares the user
create role app_writers;
grant usage on schema app to app_writers;
create table app.jottings (id uuid primary key default gen_random_uuid(), user_id text collate "C" not null default app.current_user_id(), body text);
alter table app.jottings enable row level security;
alter table app.jottings force row level security;
create policy own on app.jottings to app_writers using (user_id = app.current_user_id());
grant select, insert (body), delete on app.jottings to app_writers;
grant app_writers to tasks_api;

-- a definer trigger of a role without members keeps versions, which users read by their notes
create role versioner;
create table app.kept_papers (id uuid primary key default gen_random_uuid(), user_id text collate "C" not null default app.current_user_id(), note text);
call attack.protect('app.kept_papers', 'select, insert (note), update (note)');
create table app.paper_versions (paper uuid not null references app.kept_papers on delete cascade, note text);
alter table app.paper_versions enable row level security;
create policy own on app.paper_versions for select to tasks_api using ((select d.user_id from app.kept_papers d where d.id = paper_versions.paper) = app.current_user_id());
grant select on app.paper_versions to tasks_api;
grant usage on schema app to versioner;
grant insert on app.paper_versions to versioner;
create function app.keep_paper() returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp as $$ begin insert into app.paper_versions (paper, note) values (old.id, old.note) on conflict do nothing; return null; end $$;
revoke execute on function app.keep_paper() from public;
alter function app.keep_paper() owner to versioner;
create trigger keep_paper after update on app.kept_papers for each row execute function app.keep_paper();

-- a foreign table without columns of users
create foreign data wrapper rates_files;
create server rates_files foreign data wrapper rates_files;
create foreign table app.rates (currency text, rate numeric) server rates_files;
grant select on app.rates to tasks_api;

-- a comparison with the operator of pg_catalog
create function app.my_headings() returns setof text language sql stable security definer set search_path = pg_catalog, pg_temp as $$ select t.title from app.tasks t where t.user_id operator(pg_catalog.=) app.current_user_id() $$;

-- the user's rows of a materialized view
create materialized view app.tallies2 as select user_id, count(*) as n from app.tasks group by user_id;
create function app.my_tally() returns bigint language sql stable security definer set search_path = pg_catalog begin atomic select t.n from app.tallies2 t where t.user_id = app.current_user_id(); end;

-- a random link, an offer by the key of an own row, members of a new team, and a list of users
create table app.leaflets (id uuid primary key default gen_random_uuid(), user_id text collate "C" not null default app.current_user_id(), body text);
call attack.protect('app.leaflets', 'select');
create table app.leaflet_links (link uuid primary key default gen_random_uuid(), page uuid not null references app.leaflets);
alter table app.leaflet_links enable row level security;
create function app.open_leaflet(p_link uuid) returns text language sql stable security definer set search_path = pg_catalog begin atomic select p.body from app.leaflet_links l join app.leaflets p on p.id = l.page where l.link = p_link; end;
create table app.leaflet_offers (page uuid primary key references app.leaflets, offered_to text collate "C" not null);
alter table app.leaflet_offers enable row level security;
create function app.offer_leaflet(wanted uuid, recipient text) returns void language sql security definer set search_path = pg_catalog begin atomic
insert into app.leaflet_offers select p.id, recipient from app.leaflets p where p.id = wanted and p.user_id = app.current_user_id() on conflict (page) do update set offered_to = excluded.offered_to; end;
create table app.binders (id uuid primary key default gen_random_uuid(), founder text collate "C" not null);
create table app.binder_people (binder uuid not null references app.binders, person text collate "C" not null, primary key (binder, person));
alter table app.binders enable row level security;
alter table app.binder_people enable row level security;
create function app.found_binder() returns uuid language sql security definer set search_path = pg_catalog begin atomic
with b as (insert into app.binders (founder) values (app.current_user_id()) returning id, founder) insert into app.binder_people select b.id, b.founder from b returning binder; end;
create table app.features (feature text primary key, logins text[] not null);
alter table app.features enable row level security;
create function app.has_feature(f text) returns boolean language sql stable security definer set search_path = pg_catalog return coalesce((select app.current_user_id() = any (g.logins) from app.features g where g.feature = f), false);

-- a notification that only says that something has changed
create function app.say_changed() returns trigger language plpgsql as $$ begin perform pg_notify('changed', ''); return null; end $$;
create trigger says_changed after insert on app.tasks for each statement execute function app.say_changed();

-- a table that a definer of another role counts in
create role counting login; grant usage, create on schema app to counting;
create table app.counted (n bigint not null); alter table app.counted owner to counting;
create function app.count_one() returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp as $$ begin update app.counted set n = n + 1; return null; end $$;
alter function app.count_one() owner to counting; revoke all on function app.count_one() from public; revoke create on schema app from counting;
create trigger counts_one after insert on app.tasks for each statement execute function app.count_one();

-- the user, or nobody, and a concatenation of the owner
create table app.said3 (user_id text collate "C" not null default app.current_user_id(), id bigint not null, primary key (user_id, id));
alter table app.said3 enable row level security; alter table app.said3 force row level security;
create policy by_blank on app.said3 for select to tasks_api using (user_id = coalesce(app.current_user_id(), '') and user_id <> '');
create policy by_concat on app.said3 for delete to tasks_api using (user_id || '' = app.current_user_id());
grant select, delete on app.said3 to tasks_api;

-- a trigger that only tests
create table app.boats (ship bigint, sailor text collate "C" not null default app.current_user_id(), is_captain boolean not null default false, primary key (sailor, ship));
alter table app.boats enable row level security;
create policy aboard on app.boats for all to tasks_api using (sailor = app.current_user_id());
grant select, delete on app.boats to tasks_api;
create function app.keep_captain() returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp as $$ begin if not exists (select from app.boats c where c.ship = old.ship and c.is_captain) then raise exception 'a ship needs a captain'; end if; return null; end $$;
revoke all on function app.keep_captain() from public;
create constraint trigger keep_captain after delete on app.boats deferrable for each row execute function app.keep_captain();

-- a trigger that sets the user, and tests the user's row
create table app.lent (lender text collate "C" not null, task_id bigint not null, reader text collate "C" not null, primary key (lender, task_id, reader));
create function app.set_lender() returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp as $$ begin new.lender := app.current_user_id(); if not exists (select from app.tasks t where t.user_id = new.lender and t.id = new.task_id) then raise exception 'no such task'; end if; return new; end $$;
revoke all on function app.set_lender() from public;
create trigger set_lender before insert on app.lent for each row execute function app.set_lender();
alter table app.lent enable row level security, force row level security;
create policy lent on app.lent to tasks_api using (lender = app.current_user_id());
grant select, insert (task_id, reader) on app.lent to tasks_api;

-- a view of one group
create view app.my_counts with (security_barrier) as select t.user_id, count(*) as n from app.tasks t group by t.user_id having t.user_id = app.current_user_id();
grant select on app.my_counts to tasks_api;

-- a restrictive policy for the state of a request
create table app.guilds (id bigint primary key, user_id text collate "C" not null default app.current_user_id(), news text);
create table app.joins (club bigint not null, user_id text collate "C" not null default app.current_user_id(), granted boolean not null default false, primary key (user_id, club));
alter table app.guilds enable row level security, force row level security;
alter table app.joins enable row level security, force row level security;
create policy asked on app.joins to tasks_api using (user_id = app.current_user_id());
create policy "not granted yet" on app.joins as restrictive for insert to tasks_api with check (not granted);
create policy members on app.guilds for select to tasks_api using (exists (select from app.joins j where j.club = guilds.id and j.user_id = app.current_user_id() and j.granted));
alter table app.guilds alter news set statistics 0;
grant select on app.guilds to tasks_api;
grant select, insert (club) on app.joins to tasks_api;

-- rows of one of two users, and rows of the accounts on either side
create table app.payments (id uuid primary key default gen_random_uuid(), payer varchar not null, payee varchar not null);
call attack.protect('app.payments', 'select', 'app.current_user_id() = any (array[payer, payee])');
create table app.accounts (user_id text collate "C" not null default app.current_user_id(), iban text, primary key (user_id, iban));
call attack.protect('app.accounts', 'select');
create table app.postings (id uuid primary key default gen_random_uuid(), payer text not null, payee text not null);
call attack.protect('app.postings', 'select', 'exists (select from app.accounts a where a.iban in (payer, payee) and a.user_id = app.current_user_id())');

-- views of filtered sub-selects and unions
create view app.both with (security_barrier) as select id, 'task' as kind from app.tasks where user_id = app.current_user_id() union all select id, title from app.tasks where app.current_user_id() = user_id;
create view app.by_month with (security_barrier) as with o as (select due_date, title from app.tasks where user_id = app.current_user_id()) select date_trunc('month', o.due_date) as month, count(*) as n from o group by 1;
create view app.late with (security_barrier) as select o.title from (select id, title, due_date from app.tasks where user_id = app.current_user_id()) o where o.due_date < current_date union select o.title from (select t.title from app.tasks t where t.user_id = app.current_user_id() and t.completed) o;
grant select on app.both, app.by_month, app.late to tasks_api;

-- an order of a closed list, as a part of dynamic SQL
create function app.titles_sorted(place text) returns setof text language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
begin
  if place not in ('id', 'title') then raise 'no such order'; end if;
  return query execute 'select title from app.tasks where user_id = $1 order by ' || place using app.current_user_id();
end $$;

-- an argument in place of the user, if it is the user
create function app.titles_for(who text default null) returns setof text language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
begin
  if who is distinct from app.current_user_id() and who is not null then raise 'not yours'; end if;
  return query select title from app.tasks where user_id = coalesce(who, app.current_user_id());
end $$;

-- a guard that raises an error, and returns true
create function app.require_task(wanted bigint) returns boolean language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
begin
  if not exists (select from app.tasks where user_id = app.current_user_id() and id = wanted) then raise 'not yours'; end if;
  return true;
end $$;
create function app.title_required(wanted bigint) returns text language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform app.require_task(wanted);
  return (select t.title from app.tasks t where t.id = wanted limit 1);
end $$;

-- a helper with a quoted name
create table app.bands (id bigint, user_id text collate "C" not null default app.current_user_id(), primary key (user_id, id));
call attack.protect('app.bands', 'select');
create function app."ownsBand"(band bigint) returns boolean language sql stable return exists (select from app.bands b where b.id = band and b.user_id = app.current_user_id());
grant execute on function app."ownsBand"(bigint) to tasks_api;
create table app.band_tools (id bigint, band_id bigint not null);
call attack.protect('app.band_tools', 'select', 'app."ownsBand"(band_id)');
