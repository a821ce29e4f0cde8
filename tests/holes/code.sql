-- Code: that runs with other rights, names the user, or tells of rows.

-- definer: hole security_definer app.leak()
create function app.leak() returns setof app.tasks language sql stable security definer begin atomic select * from app.tasks;
end;
-- exploit
select attack.sees('app.leak()');

-- definer granted: hole security_definer app.leak(integer)
create function app.leak(n int) returns setof app.tasks language sql stable security definer begin atomic select * from app.tasks;
end;
revoke execute on function app.leak(int) from public;
grant execute on function app.leak(int) to tasks_api;
-- exploit
select attack.sees('app.leak(1)');

-- definer in public: hole security_definer public.leak()
create function public.leak() returns setof app.tasks language sql stable security definer begin atomic select * from app.tasks;
end;
-- exploit
select attack.sees('public.leak()');

-- definer procedure: hole security_definer app.wipe()
create procedure app.wipe() language sql security definer as 'delete from app.tasks';
-- exploit
call app.wipe();
select true;

-- definer with search path: hole security_definer app.pathed()
create function app.pathed() returns bigint language sql security definer set search_path = app, pg_temp as 'select count(*) from tasks';
-- exploit
select app.pathed() > 0;

-- definer next id: warning security_definer app.next_task_id() | alone | unmended
alter function app.next_task_id() security definer;

-- definer in a check: hole security_definer app.taken(text)
create function app.taken(text) returns boolean language sql security definer as 'select not exists (select from app.tasks where title = $1)';
alter table app.idempotency_keys add constraint free check (app.taken(key));
-- exploit
select attack.learns('23514', $$ insert into app.idempotency_keys (key, task) values ('secret', '{}') $$);

-- definer behind an operator: hole security_definer cellar.known(text, text)
create schema if not exists cellar;
create function cellar.known(text, text) returns boolean language sql security definer as 'select exists (select from app.tasks where title = $1)';
create operator app.?? (leftarg = text, rightarg = text, function = cellar.known);
-- exploit
select 'secret' operator(app.??) '';

-- definer behind a cast: hole security_definer cellar.hint(text)
create schema if not exists cellar;
create type app.hint as (title text);
create function cellar.hint(text) returns app.hint language sql security definer as 'select row(max(title))::app.hint from app.tasks';
create cast (text as app.hint) with function cellar.hint(text);
-- exploit
select ('any'::text::app.hint).title = 'secret';

-- definer behind a domain: hole security_definer cellar.unknown(text)
create schema if not exists cellar;
create function cellar.unknown(text) returns boolean language sql security definer as 'select not exists (select from app.tasks where title = $1)';
create domain app.guess as text check (cellar.unknown(value));
-- exploit
select attack.learns('23514', $$ select 'secret'::app.guess $$);

-- definer behind an aggregate: hole security_definer cellar.add(text, text)
create schema if not exists cellar;
create function cellar.add(text, text) returns text language sql security definer as 'select max(title) from app.tasks';
create aggregate app.longest(text) (sfunc = cellar.add, stype = text);
-- exploit
select app.longest('any') = 'secret';

-- definer behind a function: hole security_definer cellar.count()
create schema if not exists cellar;
create function cellar.count() returns bigint language sql security definer as 'select count(*) from app.tasks';
create function app.count() returns bigint language sql return cellar.count();
-- exploit
select app.count() > 0;

-- definer trigger: hole trigger app.copy_title() by trigger copies on app.tasks
create table public.copies (title text);
create function app.copy_title() returns trigger language plpgsql security definer as $$ begin insert into public.copies values (new.title); return new; end $$;
create trigger copies after insert on app.tasks for each row execute function app.copy_title();

-- definer trigger that adds rows of others: warning trigger app.pass_on() by trigger passes_on on app.errands
create table app.errands (id uuid primary key default gen_random_uuid(), user_id text collate "C" not null default app.current_user_id(), helper text not null, what text not null);
call attack.protect('app.errands', 'select, insert (helper, what)');
create function app.pass_on() returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp as $$ begin insert into app.tasks (user_id, title) values (new.helper, new.what); return null; end $$;
revoke execute on function app.pass_on() from public;
create trigger passes_on after insert on app.errands for each row execute function app.pass_on();

-- trigger that renames: hole trigger app.rename() by trigger renames on app.tasks
create function app.rename() returns trigger language plpgsql as $$ begin perform set_config('app.user_id', 'alice', true); return new; end $$;
create trigger renames after update on app.tasks for each row execute function app.rename();

-- trigger that notifies: hole trigger app.tell() by trigger tells on app.tasks
create function app.tell() returns trigger language plpgsql as $$ begin perform pg_notify('tasks', new.title); return new; end $$;
create trigger tells after insert on app.tasks for each row execute function app.tell();

-- trigger of a stranger: hole untrusted_owner app.guest_touch()
create role guest login;
create function app.guest_touch() returns trigger language plpgsql as $$ begin return new; end $$;
alter function app.guest_touch() owner to guest;
create trigger guests before insert on app.tasks for each row execute function app.guest_touch();

-- trigger off: warning guard_changed tasks_touch on app.tasks | alone | unmended
alter table app.tasks disable trigger tasks_touch;

-- keys off: warning guard_changed idempotency_keys_user_id_fkey on app.idempotency_keys | alone | unmended
alter table app.idempotency_keys disable trigger all;

-- identity of a constant: hole identity_function app.current_user_id() | alone
create or replace function app.current_user_id() returns text language sql stable return 'alice';
-- exploit
select attack.sees('app.tasks');

-- identity with a default: hole identity_function app.current_user_id() | alone
create or replace function app.current_user_id() returns text language sql stable return coalesce(nullif(current_setting('app.user_id', true), ''), 'alice');
-- exploit
select set_config('app.user_id', '', true);
select attack.sees('app.tasks');

-- identity of another setting: hole identity_function app.current_user_id() | alone
create or replace function app.current_user_id() returns text language sql stable return nullif(current_setting('app.tenants', true), '');
-- exploit
select set_config('app.tenants', 'alice', true);
select attack.sees('app.tasks');

-- identity in plpgsql: hole identity_function app.current_user_id() | alone
create or replace function app.current_user_id() returns text language plpgsql stable as $$ begin return 'alice'; end $$;
-- exploit
select attack.sees('app.tasks');

-- identity in lower case: hole identity_function app.current_user_id() | alone
create or replace function app.current_user_id() returns text language sql stable return lower(nullif(current_setting('app.user_id', true), ''));
-- exploit
select set_config('app.user_id', 'ALICE', true);
select attack.sees('app.tasks');

-- identity immutable: hole identity_function app.current_user_id() | alone
alter function app.current_user_id() immutable;
-- exploit
prepare mine as select user_id from app.tasks;
set local plan_cache_mode = force_generic_plan;
execute mine;
select set_config('app.user_id', 'alice', true);
select set_config('app.user_id', 'alice', true) = 'alice';

-- identity of a stranger: hole untrusted_owner app.current_user_id() | alone
create role thief login;
alter function app.current_user_id() owner to thief;

-- identity with a setting: hole function_setting app.current_user_id() set app.user_id | alone
alter function app.current_user_id() set app.user_id = 'alice';
-- exploit
select attack.sees('app.tasks');

-- function that names a user: hole function_setting app.as_alice() set app.user_id
create function app.as_alice() returns bigint language sql set app.user_id = 'alice' as 'select count(*) from app.tasks';
-- exploit
select app.as_alice() > 0;

-- function without row security: hole function_setting app.unseen() set row_security
create function app.unseen() returns bigint language sql set row_security = off as 'select count(*) from app.tasks';

-- function of another role: hole function_setting app.as_boss() set role
create function app.as_boss() returns bigint language sql set role = 'postgres' as 'select count(*) from app.tasks';

-- function that searches temp: hole search_path app.shadowed() set search_path
create function app.shadowed() returns bigint language sql set search_path = pg_temp, app as 'select count(*) from app.tasks';

-- definer that a temporary type changes: warning search_path app.spell(bigint)
create function app.spell(n bigint) returns text language plpgsql security definer set search_path = pg_catalog as $$ begin return n::text; end $$;
-- exploit
create function pg_temp.spy(pg_catalog.text) returns boolean language plpgsql as $$ begin return set_config('attack.role', current_user, true) <> ''; end $$;
create domain pg_temp.text as pg_catalog.text check (pg_temp.spy(value::pg_catalog.text));
select app.spell(1);
select current_setting('attack.role') = 'postgres';

-- definer that a temporary table changes: hole search_path app.is_role(name)
create function app.is_role(n name) returns boolean language sql security definer set search_path = '' as 'select exists (select from pg_roles where rolname = n)';
-- exploit
create temporary table pg_roles as select name 'nobody' as rolname;
grant select on pg_temp.pg_roles to public;
select app.is_role('nobody');

-- system function with a setting: hole function_setting pg_catalog.lower(text) set app.user_id | alone
alter function pg_catalog.lower(text) set app.user_id = 'alice';

-- leakproof: hole leakproof app.shout(text)
create function app.shout(text) returns boolean language plpgsql leakproof cost 0.0001 as $$ begin if $1 = 'secret' then raise exception using errcode = 'P0007'; end if; return true; end $$;
-- exploit
set local enable_indexscan = off;
set local enable_bitmapscan = off;
select attack.learns('P0007', $$ select from app.tasks where app.shout(title) $$);

-- leakproof of an extension: hole leakproof citext_eq(
create extension if not exists citext schema public;
alter function public.citext_eq(public.citext, public.citext) leakproof;

-- leakproof behind an operator: hole leakproof cellar.shout(text, text)
create schema if not exists cellar;
create function cellar.shout(text, text) returns boolean language plpgsql leakproof cost 0.0001 as $$ begin if $1 = 'secret' then raise exception using errcode = 'P0007'; end if; return true; end $$;
create operator app.!! (leftarg = text, rightarg = text, function = cellar.shout);
-- exploit
set local enable_indexscan = off;
set local enable_bitmapscan = off;
select attack.learns('P0007', $$ select from app.tasks where title operator(app.!!) '' $$);

-- leakproof of postgresql: hole leakproof pg_catalog.textlike(text, text)
alter function pg_catalog.textlike(text, text) leakproof;

-- internal language: hole untrusted_language app.read_all(text)
create function app.read_all(text) returns text language internal as 'pg_read_file_all';
-- exploit
select true;

-- event trigger: hole event_trigger watch
create function public.watch() returns event_trigger language plpgsql as $$ begin perform set_config('app.user_id', 'alice', false); end $$;
create event trigger watch on ddl_command_end execute function public.watch();

-- event trigger with other rights: hole event_trigger runs_as_owner
create function public.as_owner() returns event_trigger language plpgsql security definer as $$ begin if current_setting('role') = 'tasks_api' and current_user <> 'tasks_api' then raise exception using errcode = 'P0007'; end if; end $$;
revoke execute on function public.as_owner() from public;
create event trigger runs_as_owner on ddl_command_end execute function public.as_owner();
-- exploit
select attack.learns('P0007', 'create temp table t (a int)');

-- event trigger of a stranger: hole event_trigger rude
create role passer;
create function public.rude() returns event_trigger language plpgsql as $$ begin end $$;
alter function public.rude() owner to passer;
create event trigger rude on ddl_command_end execute function public.rude();

-- function that changes the user: hole identity_change app.become(text)
create function app.become(text) returns text language sql return set_config('app.user_id', $1, true);
-- exploit
select app.become('alice');
select attack.sees('app.tasks');

-- immutable function that reads rows: hole session_state app.my_titles()
create function app.my_titles() returns text language sql immutable as $$ select string_agg(title, ',') from app.tasks $$;
-- exploit
prepare my_titles as select app.my_titles() = 'secret';
select set_config('app.user_id', 'alice', true);
execute my_titles;
select set_config('app.user_id', 'mallory', true);
execute my_titles;
