-- Session: what one request leaves to the next, and what is shared by all of them.

-- a temporary table of a function: hole session_state app.remember(text)
create function app.remember(t text) returns void language plpgsql set search_path = pg_catalog, pg_temp as $$ begin create temp table if not exists memory (t text); insert into memory values (t); end $$;
-- exploit
do $$ begin perform app.remember('secret'); end $$;
select set_config('app.user_id', 'bob', true);
select exists (select from pg_temp.memory where t = 'secret');

-- a user for the whole session: hole session_state app.log_in(text)
create function app.log_in(t text) returns text language sql as $$ select set_config('app.user_id', t, false) $$;
-- exploit
select app.log_in('alice');
select attack.sees('app.tasks');

-- a user's text for the whole session: hole session_state app.draft(text)
create function app.draft(t text) returns void language plpgsql as $$ begin perform set_config('app.draft', t, false); end $$;
-- exploit
do $$ begin perform app.draft('secret'); end $$;
select set_config('app.user_id', 'bob', true);
select current_setting('app.draft') = 'secret';

-- large objects that the role makes: hole large_object app.attach(text)
create function app.attach(t text) returns oid language sql as $$ select lo_from_bytea(0, convert_to(t, 'UTF8')) $$;
-- exploit
select set_config('app.user_id', 'alice', true);
select app.attach('secret');
select set_config('app.user_id', 'bob', true);
select exists (select from pg_largeobject_metadata m where lo_get(m.oid) = 'secret');

-- a lock keyed by the user: hole advisory_lock app.lock_me()
create function app.lock_me() returns void language plpgsql as $$ begin perform pg_advisory_xact_lock(hashtext(app.current_user_id())); end $$;
-- exploit
select set_config('app.user_id', 'alice', true);
do $$ begin perform app.lock_me(); end $$;
select set_config('app.user_id', 'bob', true);
select exists (select from pg_locks where locktype = 'advisory' and objid = (hashtext('alice')::bigint & 4294967295)::oid);

-- a trigger's lock keyed by the owner: hole advisory_lock app.lock_owner() by trigger locks on app.tasks
create function app.lock_owner() returns trigger language plpgsql as $$ begin perform pg_advisory_xact_lock(hashtext(new.user_id)); return new; end $$;
create trigger locks before insert on app.tasks for each row execute function app.lock_owner();

-- numbers over all: hole shared_counter app.receipts.id
create table app.receipts (id bigint generated always as identity, user_id text collate "C" not null default app.current_user_id(), note text, primary key (user_id, id));
call attack.protect('app.receipts', 'select, insert (note)');
insert into app.receipts (user_id) values ('alice'), ('alice');
-- exploit
insert into app.receipts (note) values ('x');
select id = 3 from app.receipts;

-- serial numbers over all: hole shared_counter app.slips.id
create table app.slips (id bigserial, user_id text collate "C" not null default app.current_user_id(), note text, primary key (user_id, id));
grant usage on sequence app.slips_id_seq to tasks_api;
call attack.protect('app.slips', 'select, insert (note)');
insert into app.slips (user_id) values ('alice'), ('alice');
-- exploit
insert into app.slips (note) values ('x');
select id = 3 from app.slips;

-- a cursor that outlives the transaction: hole session_state app.page()
create function app.page() returns void language plpgsql set search_path = pg_catalog, pg_temp as $$ begin execute 'declare pages cursor with hold for select title from app.tasks'; end $$;

-- large objects that statements make: warning large_object app.files.content
create table app.files (id uuid not null default gen_random_uuid(), user_id text collate "C" not null default app.current_user_id(), content oid not null, primary key (user_id, id));
call attack.protect('app.files', 'select, insert (content), delete');
-- exploit
set local app.user_id = 'alice';
insert into app.files (content) values (lo_from_bytea(0, 'secret'));
set local app.user_id = 'mallory';
select exists (select from pg_largeobject_metadata m where lo_get(m.oid) = 'secret');
