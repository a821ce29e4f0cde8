-- Beyond: what the first edition of the audit did not see, or looked for in one place only.

-- definer behind a column's domain: hole security_definer cellar.fits(text)
create schema if not exists cellar;
create function cellar.fits(text) returns boolean language sql security definer as 'select not exists (select from app.tasks where title = $1)';
create domain cellar.tag as text check (cellar.fits(value));
alter table app.tasks add column tag cellar.tag;
grant insert (tag) on app.tasks to tasks_api;

-- definer behind an operator class: hole security_definer cellar.cmp(text, text)
create schema if not exists cellar;
create function cellar.cmp(text, text) returns int language plpgsql immutable security definer as $$ begin if exists (select from app.tasks where title = $1) then raise exception 'seen'; end if; return case when $1 < $2 then -1 when $1 > $2 then 1 else 0 end; end $$;
create operator class cellar.odd for type text using btree as operator 1 <, operator 2 <=, operator 3 =, operator 4 >=, operator 5 >, function 1 cellar.cmp(text, text);
create index odd_titles on app.tasks (user_id, title cellar.odd);

-- definer behind a partition key: hole security_definer cellar.part(text) | alone
create schema if not exists cellar;
create function cellar.part(text) returns text language sql immutable security definer as 'select coalesce((select max(user_id) from app.tasks where title = $1), $1)';
create table app.parts (id bigint, user_id text collate "C" not null default app.current_user_id(), title text) partition by list (cellar.part(title));
create table app.parts_0 partition of app.parts default;
call attack.protect('app.parts');

-- definer in an operator of a check: hole security_definer cellar.known(text, text)
create schema if not exists cellar;
create function cellar.known(text, text) returns boolean language sql security definer as 'select not exists (select from app.tasks where title = $1)';
create operator cellar.?? (leftarg = text, rightarg = text, function = cellar.known);
alter table app.tasks add constraint odd check (title operator(cellar.??) '') not valid;

-- definer in a generated column: hole security_definer cellar.gen(text)
create schema if not exists cellar;
create function cellar.gen(text) returns text language sql immutable security definer as 'select max(user_id) from app.tasks where title = $1';
alter table app.idempotency_keys add column hint text generated always as (cellar.gen(key)) stored;

-- helper that notifies: hole trigger app.tell_all(text) by trigger tells on app.tasks
create function app.tell_all(text) returns void language plpgsql as $$ begin perform pg_notify('all', $1); end $$;
create function app.on_task() returns trigger language plpgsql as $$ begin perform app.tell_all(new.title); return new; end $$;
create trigger tells after insert on app.tasks for each row execute function app.on_task();

-- helper that names the user: hole trigger cellar.helper() by trigger changes on app.tasks
create schema if not exists cellar;
grant usage on schema cellar to tasks_api;
create function cellar.helper() returns void language plpgsql as $$ begin perform set_config('app.user_id', 'alice', true); end $$;
create function app.on_change() returns trigger language plpgsql as $$ begin perform cellar.helper(); return new; end $$;
create trigger changes before update on app.tasks for each row execute function app.on_change();

-- trigger into a large object: hole trigger app.keep_lo() by trigger keeps on app.tasks
create function app.keep_lo() returns trigger language plpgsql as $$ begin perform lo_from_bytea(0, convert_to(new.title, 'UTF8')); return new; end $$;
create trigger keeps after insert on app.tasks for each row execute function app.keep_lo();

-- trigger by dblink: hole trigger app.send() by trigger sends on app.tasks
create extension if not exists dblink;
create function app.send() returns trigger language plpgsql as $$ begin perform public.dblink_exec('dbname=x', 'insert into t values (' || quote_literal(new.title) || ')'); return new; end $$;
create trigger sends after insert on app.tasks for each row execute function app.send();

-- definer trigger to a shared feed: hole policy read on app.feed
create table app.feed (title text);
alter table app.feed enable row level security;
alter table app.feed force row level security;
create policy read on app.feed for select to tasks_api using (true);
grant select on app.feed to tasks_api;
create function app.feed_it() returns trigger language plpgsql security definer set search_path = pg_catalog as $$ begin insert into app.feed values (new.title); return new; end $$;
create trigger feeds after insert on app.tasks for each row execute function app.feed_it();

-- statistics object of another: hole untrusted_owner app.by_title
create role lurker login;
create statistics app.by_title on version, completed from app.tasks;
alter statistics app.by_title owner to lurker;

-- invoker view into an unusable schema: hole row_security vault.copy
create schema if not exists vault;
create table vault.copy as select user_id, title from app.tasks;
grant select on vault.copy to tasks_api;
create view app.peek with (security_invoker) as select user_id, title from vault.copy;
grant select on app.peek to tasks_api;

-- parsed body into an unusable schema: hole row_security vault.rows
create schema if not exists vault;
create table vault.rows as select user_id, title from app.tasks;
grant select on vault.rows to public;
create function app.rows() returns setof text language sql stable begin atomic select title from vault.rows; end;

-- other may create in public: hole search_path the default search_path | alone
alter role tasks_api reset search_path;
create role tenant login;
grant create on schema public to tenant;

-- role's own schema on the path: hole search_path the default search_path | alone
alter role tasks_api reset search_path;
create role squatter login;
create schema tasks_api authorization squatter;

-- path of the role with a stranger's schema: hole search_path role tasks_api set search_path | alone
create role merchant login;
create schema bazaar;
grant create on schema bazaar to merchant;
grant usage on schema bazaar to tasks_api;
alter role tasks_api set search_path = pg_catalog, bazaar;

-- trigger right for another: hole privilege app.tasks
create role hooker login;
grant usage on schema app to hooker;
grant trigger on app.tasks to hooker;

-- child of another: hole untrusted_owner app.old_tasks
create role heir login;
create table app.old_tasks () inherits (app.tasks);
alter table app.old_tasks owner to heir;

-- partition of another: hole untrusted_owner app.slices_0
create role cutter login;
create table app.slices (id bigint, user_id text collate "C" not null default app.current_user_id()) partition by list (user_id);
create table app.slices_0 partition of app.slices default;
alter table app.slices_0 owner to cutter;
call attack.protect('app.slices');

-- domain of another: hole untrusted_owner app.label
create role namer login;
create domain app.label as text check (value <> '');
alter table app.tasks add column label app.label;
grant insert (label) on app.tasks to tasks_api;
alter domain app.label owner to namer;

-- function in a check of another: hole untrusted_owner app.is_nice(text)
create role nicer login;
create function app.is_nice(text) returns boolean language sql immutable return true;
alter table app.tasks add constraint nice check (app.is_nice(title));
alter function app.is_nice(text) owner to nicer;

-- operator of another: hole untrusted_owner app.===(
create role opper login;
create function app.same(text, text) returns boolean language sql immutable return $1 = $2;
create operator app.=== (leftarg = text, rightarg = text, function = app.same);
alter operator app.=== (text, text) owner to opper;
create policy more on app.tasks as restrictive for select to tasks_api using (title operator(app.===) title);

-- leaky conjunct: hole policy_leak select_own on app.tasks | alone
create function app.leaky(text) returns boolean language plpgsql cost 0.0001 as $$ begin raise notice '%', $1; return true; end $$;
grant execute on function app.leaky(text) to tasks_api;
alter policy select_own on app.tasks using (user_id = app.current_user_id() and app.leaky(title));

-- leaky cast in a conjunct: warning policy_leak select_own on app.tasks | alone
alter policy select_own on app.tasks using (user_id = app.current_user_id() and (title::int > 0 or true));

-- leaky restrictive: hole policy_leak nosy on app.tasks
create function app.nosy(text) returns boolean language plpgsql cost 0.0001 as $$ begin raise notice '%', $1; return true; end $$;
create policy nosy on app.tasks as restrictive for select to tasks_api using (app.nosy(title));

-- textregexeq leakproof: hole leakproof pg_catalog.textregexeq(text, text) | alone
alter function pg_catalog.textregexeq(text, text) leakproof;

-- int8range leakproof: hole leakproof pg_catalog.int8range(bigint, bigint) | alone
alter function pg_catalog.int8range(bigint, bigint) leakproof;

-- member of an extension by hand: hole security_definer app.leak_ext()
create extension if not exists citext;
create function app.leak_ext() returns setof text language sql security definer as 'select title from app.tasks';
alter extension citext add function app.leak_ext();

-- table of an extension by hand: hole row_security app.notes_ext | alone
create extension if not exists citext;
create table app.notes_ext (user_id text, title text);
grant select on app.notes_ext to tasks_api;
alter extension citext add table app.notes_ext;

-- view of an extension by hand: hole view app.view_ext
create extension if not exists citext;
create view app.view_ext as select user_id, title from app.tasks;
grant select on app.view_ext to tasks_api;
alter extension citext add view app.view_ext;

-- trigger by an extension's function on the tasks: hole trigger app.tell_ext() by trigger ext on app.tasks
create extension if not exists citext;
create function app.tell_ext() returns trigger language plpgsql security definer as $$ begin perform pg_notify('x', new.title); return new; end $$;
alter extension citext add function app.tell_ext();
create trigger ext after insert on app.tasks for each row execute function app.tell_ext();

-- counter's trigger dropped: warning guard_changed trigger users_last_task_id_counts on app.users | unmended
drop trigger users_last_task_id_counts on app.users;

-- version's trigger dropped: warning guard_changed trigger tasks_touch on app.tasks | unmended
drop trigger tasks_touch on app.tasks;

-- foreign key dropped: warning guard_changed constraint tasks_user_id_fkey on app.tasks | unmended
alter table app.tasks drop constraint tasks_user_id_fkey;

-- foreign key of keys dropped: warning guard_changed constraint idempotency_keys_user_id_fkey on app.idempotency_keys | unmended
alter table app.idempotency_keys drop constraint idempotency_keys_user_id_fkey;

-- counter for all: warning guard_changed app.next_task_id() | alone | unmended
create sequence app.global_ids;
create or replace function app.next_task_id() returns bigint language sql volatile as $$ insert into app.users (id) values (app.current_user_id()) on conflict (id) do nothing; select nextval('app.global_ids') $$;

-- definer rule on a view: hole rule r on app.inbox
create view app.inbox with (security_invoker) as select user_id, title from app.tasks;
create rule r as on insert to app.inbox do instead insert into app.tasks (user_id, title, updated_at) values (new.user_id, new.title, now());
grant insert on app.inbox to tasks_api;

-- policy to a group with or: hole policy own2 on app.tasks
create policy own2 on app.tasks for update to public using (user_id = app.current_user_id() or title like 'public:%');

-- trigger on a referencing table: hole trigger app.gossip() by trigger g on app.gossips
create table app.gossips (user_id text collate "C" references app.users on delete cascade, title text);
create function app.gossip() returns trigger language plpgsql security definer as $$ begin perform pg_notify('x', old.title); return old; end $$;
create trigger g after delete on app.gossips for each row execute function app.gossip();
alter table app.tasks add column gossip text;
create table app.subtasks (user_id text collate "C", id bigint, foreign key (user_id, id) references app.tasks on delete cascade);
create trigger g2 after delete on app.subtasks for each row execute function app.gossip();

-- default of a column by definer aggregate: hole security_definer cellar.acc(text, text)
create schema if not exists cellar;
create function cellar.acc(text, text) returns text language sql security definer as 'select max(title) from app.tasks';
create aggregate cellar.agg(text) (sfunc = cellar.acc, stype = text);
create function app.hint() returns text language sql return (select cellar.agg(x) from (values ('a')) v(x));
alter table app.tasks alter description set default app.hint();

-- definer with dynamic sql by the table owner: hole security_definer app.dyn(text)
create role keeper;
grant create on schema app to keeper;
create function app.dyn(q text) returns text language plpgsql security definer as $$ declare r text; begin execute q into r; return r; end $$;
alter function app.dyn(text) owner to keeper;
revoke create on schema app from keeper;
grant usage on schema app to keeper;
grant select on app.tasks to keeper;
create policy keep on app.tasks for select to keeper using (true);

-- definer by a role with a policy: hole security_definer app.via_reader()
create role reader;
grant usage on schema app to reader;
grant select on app.tasks to reader;
create policy all_rows on app.tasks for select to reader using (true);
create function app.via_reader() returns bigint language sql security definer as 'select count(*) from app.tasks';
alter function app.via_reader() owner to reader;

-- owner view by a role with a policy: hole view app.reader_view
create role viewer;
grant usage, create on schema app to viewer;
grant select on app.tasks to viewer;
create policy viewer_rows on app.tasks for select to viewer using (true);
create view app.reader_view as select user_id from app.tasks;
alter view app.reader_view owner to viewer;
revoke create on schema app from viewer;
grant select on app.reader_view to tasks_api;

-- exists over an unguarded parent: hole policy own on app.items | alone
create table app.lists (id uuid primary key, user_id text);
grant select on app.lists to tasks_api;
create table app.items (list_id uuid not null references app.lists, body text);
call attack.protect('app.items', 'select', 'exists (select from app.lists l where l.id = list_id)');

-- exists over a parent by half its key: hole policy own on app.comments
create table app.comments (task_id bigint not null, body text);
call attack.protect('app.comments', 'select', 'exists (select from app.tasks t where t.id = task_id)');

-- case that lets through: hole policy own on app.cased
create table app.cased (user_id text collate "C" not null default app.current_user_id(), open boolean);
call attack.protect('app.cased', 'select', 'case when open then true else user_id = app.current_user_id() end');

-- any of an array with a constant: warning policy own on app.arrayed
create table app.arrayed (user_id text collate "C" not null default app.current_user_id());
call attack.protect('app.arrayed', 'select', 'user_id = any (array[app.current_user_id(), ''alice''])');

-- restrictive identity for another command: hole policy own on app.lax
create table app.lax (user_id text collate "C" not null default app.current_user_id());
call attack.protect('app.lax', 'select, update', 'true');
create policy r on app.lax as restrictive for select to tasks_api using (user_id = app.current_user_id());

-- lookup that one may write: hole policy own on app.tags
create table app.tags (name text primary key);
call attack.protect('app.tags', 'select, insert', 'true');

-- lookup of users' names: hole policy own on app.people
create table app.people (id int, user_id text collate "C" references app.users);
call attack.protect('app.people', 'select', 'true');

-- identity by a default in coalesce: hole identity_function app.current_user_id() | alone
create or replace function app.current_user_id() returns text language sql stable parallel safe return nullif(coalesce(nullif(current_setting('app.user_id', true), ''), current_setting('app.fallback', true)), '');

-- index expression of another's function: hole untrusted_owner app.norm(text)
create role normer login;
create function app.norm(text) returns text language sql immutable return lower($1);
create index on app.tasks (user_id, app.norm(title));
alter function app.norm(text) owner to normer;

-- trigger with a definer helper: hole security_definer cellar.deep()
create schema if not exists cellar;
grant usage on schema cellar to tasks_api;
create function cellar.deep() returns text language sql security definer as 'select max(title) from app.tasks';
create function app.deep_trigger() returns trigger language plpgsql as $$ begin new.description := cellar.deep(); return new; end $$;
create trigger d before insert on app.tasks for each row execute function app.deep_trigger();

-- untrusted language in a default: hole untrusted_language app.slurp(text) | alone
create function app.slurp(text) returns text language internal as 'pg_read_file_all';
revoke execute on function app.slurp(text) from public;
alter table app.tasks alter description set default app.slurp('PG_VERSION');

-- copy to program in a trigger: hole trigger app.shell() by trigger s on app.tasks
create function app.shell() returns trigger language plpgsql security definer as $$ begin copy (select 1) to program 'cat'; return new; end $$;
create trigger s after insert on app.tasks for each statement execute function app.shell();

-- a generated column with a column that is not granted: warning generated_column app.directory.search
create table app.directory (id text primary key, shown text not null, email text not null, search text generated always as (lower(shown || ' ' || email)) stored);
alter table app.directory enable row level security; alter table app.directory force row level security;
create policy anybody on app.directory for select to tasks_api using (true);
grant select (id, shown, search) on app.directory to tasks_api;
insert into app.directory values ('alice', 'Alice', 'alice@example.org');
-- exploit
select search like '%alice@example.org' from app.directory;
