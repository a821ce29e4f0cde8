-- Definers: judged by what they compare, and by every way that leads to them.

-- argument compared with the owner: hole security_definer app.titles_of(text)
create function app.titles_of(wanted text) returns setof text language sql stable security definer set search_path = pg_catalog as 'select title from app.tasks where user_id = wanted';
-- exploit
select 'secret' in (select app.titles_of('alice'));

-- argument by its place: hole security_definer app.titles_by(text)
create function app.titles_by(text) returns setof text language sql stable security definer set search_path = pg_catalog begin atomic select title from app.tasks where user_id = $1; end;
-- exploit
select 'secret' in (select app.titles_by('alice'));

-- argument in plpgsql: hole security_definer app.title_of(text, bigint)
create function app.title_of(owner text, wanted bigint) returns text language plpgsql stable security definer set search_path = pg_catalog as $$
declare
  found_title text;
begin
  select t.title into found_title from app.tasks as t where t.user_id = owner and t.id = wanted;
  return found_title;
end $$;
-- exploit
select app.title_of('alice', 77) = 'secret';

-- identity or an argument: warning security_definer app.some_titles(text)
create function app.some_titles(wanted text) returns setof text language sql stable security definer set search_path = pg_catalog as 'select title from app.tasks where user_id = app.current_user_id() or user_id = wanted';
-- exploit
select 'secret' in (select app.some_titles('alice'));

-- identity coalesced with an argument: hole security_definer app.titles_or(text)
create function app.titles_or(wanted text default null) returns setof text language sql stable security definer set search_path = pg_catalog as 'select title from app.tasks where user_id = coalesce(wanted, app.current_user_id())';
-- exploit
select 'secret' in (select app.titles_or('alice'));

-- identity in a comment alone: hole security_definer app.noted()
create function app.noted() returns setof text language sql stable security definer set search_path = pg_catalog as $$
  -- where user_id = app.current_user_id()
  select title from app.tasks /* where user_id = app.current_user_id() */ $$;
-- exploit
select 'secret' in (select app.noted());

-- identity in a string alone: hole security_definer app.quoted()
create function app.quoted() returns setof text language sql stable security definer set search_path = pg_catalog as $$ select title from app.tasks where 'user_id = app.current_user_id()' <> '' $$;
-- exploit
select 'secret' in (select app.quoted());

-- one statement filters and another does not: warning security_definer app.two_counts()
create function app.two_counts() returns bigint language plpgsql security definer set search_path = pg_catalog as $$
declare
  mine bigint;
begin
  select count(*) into mine from app.tasks where user_id = app.current_user_id();
  return (select count(*) from app.tasks) - mine;
end $$;
-- exploit
select app.two_counts() > 0;

-- delete by number alone: hole security_definer app.remove(bigint)
create function app.remove(wanted bigint) returns void language plpgsql security definer set search_path = pg_catalog as $$ begin delete from app.tasks where id = wanted; end $$;
-- exploit
select app.remove(77) is not null;

-- moves a row: hole security_definer app.take(bigint)
create function app.take(wanted bigint) returns void language sql security definer set search_path = pg_catalog as 'update app.tasks set user_id = app.current_user_id(), id = app.next_task_id() where id = wanted';
-- exploit
do $$ begin perform app.take(77); end $$;
select exists (select from app.tasks where title = 'secret');

-- writes in another's name: hole security_definer app.plant(text, text)
create function app.plant(owner text, wanted text) returns void language sql security definer set search_path = pg_catalog as 'insert into app.tasks (user_id, id, title, updated_at) values (owner, 99, wanted, now())';
-- exploit
do $$ begin perform app.plant('alice', 'forged'); end $$;
select true;

-- guard that null passes: hole security_definer app.all_titles()
create table app.staff (user_id text collate "C" primary key, role text);
create function app.all_titles() returns setof text language plpgsql stable security definer set search_path = pg_catalog as $$
declare
  my_role text;
begin
  select s.role into my_role from app.staff s where s.user_id = app.current_user_id();
  if my_role <> 'admin' then
    raise exception 'administrators only';
  end if;
  return query select title from app.tasks;
end $$;
-- exploit
select 'secret' in (select app.all_titles());

-- guard by a sub-select that null passes: hole security_definer app.every_title()
create table app.staff2 (user_id text collate "C" primary key, role text);
create function app.every_title() returns setof text language plpgsql stable security definer set search_path = pg_catalog as $$
begin
  if (select s.role from app.staff2 s where s.user_id = app.current_user_id()) != 'admin' then
    raise exception 'administrators only';
  end if;
  return query select title from app.tasks;
end $$;
-- exploit
select 'secret' in (select app.every_title());

-- guard by a function that null passes: hole security_definer app.whole_list()
create table app.staff3 (user_id text collate "C" primary key, is_admin boolean);
create function app.is_admin() returns boolean language sql stable as 'select is_admin from app.staff3 where user_id = app.current_user_id()';
create function app.whole_list() returns setof text language plpgsql stable security definer set search_path = pg_catalog as $$
begin
  if not app.is_admin() then
    raise exception 'administrators only';
  end if;
  return query select title from app.tasks;
end $$;
-- exploit
select 'secret' in (select app.whole_list());

-- guard by an argument: hole security_definer app.guarded_titles(text)
create function app.guarded_titles(password text) returns setof text language plpgsql stable security definer set search_path = pg_catalog as $$
begin
  if password <> 'open' then
    raise exception 'no';
  end if;
  return query select title from app.tasks;
end $$;
-- exploit
select 'secret' in (select app.guarded_titles(null));

-- definer behind a definer: hole security_definer app.back_office()
create role clerk nologin;
grant create, usage on schema app to clerk;
create function app.back_office() returns setof text language sql stable security definer set search_path = pg_catalog as 'select title from app.tasks';
revoke execute on function app.back_office() from public;
grant execute on function app.back_office() to clerk;
create function app.front_desk() returns setof text language sql stable security definer set search_path = pg_catalog as 'select app.back_office()';
alter function app.front_desk() owner to clerk;
revoke create on schema app from clerk;
-- exploit
select 'secret' in (select app.front_desk());

-- definer behind a definer, parsed: hole security_definer app.back_room()
create role clerk2 nologin;
grant create, usage on schema app to clerk2;
create function app.back_room() returns setof text language sql stable security definer set search_path = pg_catalog as 'select title from app.tasks';
revoke execute on function app.back_room() from public;
grant execute on function app.back_room() to clerk2;
create function app.front_room() returns setof text language sql stable security definer set search_path = pg_catalog begin atomic select app.back_room(); end;
alter function app.front_room() owner to clerk2;
revoke create on schema app from clerk2;
-- exploit
select 'secret' in (select app.front_room());

-- definer as an aggregate's function, withheld: hole security_definer app.peek(text, text)
create function app.peek(text, text) returns text language sql security definer set search_path = pg_catalog as 'select max(title) from app.tasks';
revoke execute on function app.peek(text, text) from public;
create aggregate app.peeked(text) (sfunc = app.peek, stype = text);
-- exploit
select app.peeked('any') = 'secret';

-- definer as an aggregate's last function, withheld: hole security_definer app.last_word(text)
create function app.keep_first(text, text) returns text language sql immutable as 'select $1';
create function app.last_word(text) returns text language sql security definer set search_path = pg_catalog as 'select max(title) from app.tasks';
revoke execute on function app.last_word(text) from public;
create aggregate app.worded(text) (sfunc = app.keep_first, stype = text, finalfunc = app.last_word);
-- exploit
select app.worded('any') = 'secret';

-- definer in a view: hole security_definer cellar.any_title()
create schema if not exists cellar;
create function cellar.any_title() returns text language sql stable security definer set search_path = pg_catalog as 'select max(title) from app.tasks';
create view app.titled with (security_invoker) as select cellar.any_title() as title;
grant select on app.titled to tasks_api;
-- exploit
select title = 'secret' from app.titled;

-- definer in a view below a view: hole security_definer cellar.best_title()
create schema if not exists cellar;
create function cellar.best_title() returns text language sql stable security definer set search_path = pg_catalog as 'select max(title) from app.tasks';
create view cellar.inner_title as select cellar.best_title() as title;
create view app.outer_title as select title from cellar.inner_title;
grant select on app.outer_title to tasks_api;
-- exploit
select title = 'secret' from app.outer_title;

-- definer with dynamic sql: hole security_definer app.run(text)
create function app.run(q text) returns bigint language plpgsql security definer set search_path = pg_catalog as $$ declare n bigint; begin execute q into n; return n; end $$;
-- exploit
select app.run('select count(*) from app.tasks') > 0;

-- definer that reads by a name from outside: hole security_definer app.count_rows(text)
create function app.count_rows(t text) returns bigint language plpgsql security definer set search_path = pg_catalog as $$ declare n bigint; begin execute format('select count(*) from app.%I', t) into n; return n; end $$;
-- exploit
select app.count_rows('tasks') > 0;

-- barrier view without a filter: hole view app.barred
create view app.barred with (security_barrier) as select user_id, title from app.tasks where title is not null;
grant select on app.barred to tasks_api;
-- exploit
select attack.sees('app.barred');

-- barrier view with a filter and a way round: warning view app.half_barred
create view app.half_barred with (security_barrier) as select user_id, title from app.tasks where user_id = app.current_user_id() or not completed;
grant select on app.half_barred to tasks_api;
-- exploit
select attack.sees('app.half_barred');

-- barrier view that lets in what it hides: hole view app.letter_box
create view app.letter_box with (security_barrier) as select user_id, title, id, updated_at from app.tasks where user_id = app.current_user_id();
grant insert on app.letter_box to tasks_api;
-- exploit
insert into app.letter_box (user_id, title, id, updated_at) values ('alice', 'forged', 5, now());
select true;

-- barrier view that filters another table: warning view app.half_filtered
create view app.half_filtered with (security_barrier) as select u.id, t.user_id, t.title from app.users u cross join app.tasks t where u.id = app.current_user_id();
grant select on app.half_filtered to tasks_api;
-- exploit
select attack.sees('app.half_filtered');

-- barrier view with a sub-select of all: warning view app.with_best
create view app.with_best with (security_barrier) as select u.id, (select max(t.title) from app.tasks t) as best from app.users u where u.id = app.current_user_id();
grant select on app.with_best to tasks_api;
-- exploit
insert into app.users (id) values ('mallory') on conflict do nothing;
select best = 'secret' from app.with_best;

-- compares the user beside the table: warning security_definer app.peek_beside()
create function app.peek_beside() returns setof app.tasks language sql security definer set search_path = '' as $$ select t.* from app.users u, app.tasks t where u.id = app.current_user_id() $$; grant execute on function app.peek_beside() to tasks_api;

-- all but the user's: warning security_definer app.peek_others()
create function app.peek_others() returns bigint language sql security definer set search_path = '' as $$ select count(*) from app.tasks where not user_id = app.current_user_id() $$; grant execute on function app.peek_others() to tasks_api;

-- barrier view that filters another instance of the table: warning view app.neighbours
create view app.neighbours with (security_barrier) as select a.user_id, a.title from app.tasks as a join app.tasks as b on a.id = b.id where b.user_id = app.current_user_id();
grant select on app.neighbours to tasks_api;
insert into app.tasks (id, user_id, title) values (77, 'mallory', 'mine') on conflict do nothing;
-- exploit
select attack.sees('app.neighbours');

-- filtered view that is no barrier: hole view app.unbarred
create view app.unbarred as select user_id, title from app.tasks where user_id = app.current_user_id() and title is not null;
grant select on app.unbarred to tasks_api;
-- exploit
select attack.learns('22P02', 'set local enable_indexscan = off; set local enable_bitmapscan = off; select from app.unbarred where title::integer > 0');

-- filter on a left join: warning security_definer app.joined()
create function app.joined() returns setof text language sql security definer set search_path = pg_catalog as 'select t.title from app.tasks as t left join app.users as u on u.id = t.user_id and u.id = app.current_user_id()';
-- exploit
select 'secret' in (select app.joined());

-- filter that must be false: warning security_definer app.others_titles()
create function app.others_titles() returns setof text language sql security definer set search_path = pg_catalog as 'select title from app.tasks where (user_id = app.current_user_id()) is false';
-- exploit
select 'secret' in (select app.others_titles());

-- trigger that executes a column: hole trigger app.run_it() by trigger runs on app.tasks
create function app.run_it() returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp as $$ begin if new.description like 'create %' then execute new.description; end if; return null; end $$;
create trigger runs after insert on app.tasks for each row execute function app.run_it();
-- exploit
insert into app.tasks (title, description) values ('x', 'create view app.got as select title from app.tasks'), ('y', 'create function app.get() returns boolean language sql security definer return ''secret'' in (select title from app.got)');
select app.get();

-- trigger that executes a string: warning trigger app.tidy_up() by trigger tidies on app.tasks
create function app.tidy_up() returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp as $$ begin execute 'update app.tasks set user_id = ' || quote_literal(new.user_id) || ' where id = 77'; return null; end $$;
create trigger tidies after insert on app.tasks for each row when (new.title = 'tidy') execute function app.tidy_up();
-- exploit
insert into app.tasks (title) values ('tidy');
select exists (select from app.tasks where title = 'secret');

-- query in an argument of ts_stat: hole security_definer app.popular_words()
create function app.popular_words() returns setof text language sql stable security definer set search_path = pg_catalog, pg_temp as $$ select word from ts_stat('select to_tsvector(''simple'', title) from app.tasks') $$;
-- exploit
select 'secret' in (select app.popular_words());

-- table as an argument of table_to_xml: hole security_definer app.export_xml(regclass)
create function app.export_xml(t regclass) returns text language sql stable security definer set search_path = pg_catalog, pg_temp begin atomic select table_to_xml(t, true, false, '')::text; end;

-- query in an argument of ts_rewrite: hole security_definer app.rewrite(tsquery, text)
create function app.rewrite(q tsquery, by text) returns tsquery language sql stable security definer set search_path = pg_catalog, pg_temp as $$ select ts_rewrite(q, by) $$;
-- exploit
select app.rewrite('a', 'select ''a''::tsquery, plainto_tsquery(''simple'', title) from app.tasks where title = ''secret''') = plainto_tsquery('simple', 'secret');

-- guard that only warns: hole security_definer app.titles_noted(text)
create function app.titles_noted(who text) returns setof text language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$ begin
if who is distinct from app.current_user_id() then raise warning 'reads tasks of %', who; end if;
return query select title from app.tasks where user_id = who; end $$;
-- exploit
select 'secret' in (select app.titles_noted('alice'));

-- guard whose error is caught: warning security_definer app.title_caught(text, bigint)
create function app.title_caught(who text, task bigint) returns text language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare t text; begin
begin if who is distinct from app.current_user_id() then raise exception 'not yours'; end if; exception when others then raise notice '%', sqlerrm; end;
select title into t from app.tasks where user_id = who and id = task; return t; end $$;
-- exploit
select app.title_caught('alice', 77) = 'secret';

-- guard that a setting disables: warning security_definer app.titles_set(text)
create function app.titles_set(who text) returns setof text language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$ begin
if current_setting('app.admin', true) is distinct from 'on' then if who is distinct from app.current_user_id() then raise insufficient_privilege; end if; end if;
return query select title from app.tasks where user_id = who; end $$;
-- exploit
set local app.admin = 'on';
select 'secret' in (select app.titles_set('alice'));

-- another output of the CTE with the user: warning security_definer app.recent_of(text)
create function app.recent_of(wanted text) returns setof text language sql stable security definer set search_path = pg_catalog as 'with me as (select app.current_user_id() as id, wanted as other) select t.title from app.tasks t, me where t.user_id = me.other';
-- exploit
select 'secret' in (select app.recent_of('alice'));

-- a union in the CTE with the user: warning security_definer app.recent_too(text)
create function app.recent_too(wanted text) returns setof text language sql stable security definer set search_path = pg_catalog as 'with me as (select app.current_user_id() as id union select wanted) select t.title from app.tasks t, me where t.user_id = me.id';
-- exploit
select 'secret' in (select app.recent_too('alice'));

-- a table with the name of the CTE: warning security_definer app.recent_all()
create function app.recent_all() returns setof text language sql stable security definer set search_path = pg_catalog as 'with me as (select app.current_user_id() as id) select t.title from app.tasks t join app.tasks me on t.user_id = me.user_id';
-- exploit
select 'secret' in (select app.recent_all());

-- identity at the end of the statement, after or: warning security_definer app.open_or_own()
create function app.open_or_own() returns setof text language plpgsql stable security definer set search_path = pg_catalog as $$ begin return query select title from app.tasks where not completed or user_id = app.current_user_id(); end $$;
-- exploit
select 'secret' in (select app.open_or_own());

-- filter of one aggregate beside another: warning security_definer app.share_of_tasks()
create function app.share_of_tasks() returns table (mine bigint, total bigint) language sql stable security definer set search_path = pg_catalog, pg_temp as $$ select count(*) filter (where user_id = app.current_user_id()), count(*) from app.tasks $$;
-- exploit
select total > mine from app.share_of_tasks();

-- window over all rows: warning security_definer app.my_rank()
create function app.my_rank() returns table (rank bigint, of bigint) language sql stable security definer set search_path = pg_catalog, pg_temp as $$
select r, n from (select id, user_id, rank() over (order by title) r, count(*) over () n from app.tasks) x where user_id = app.current_user_id() $$;
-- exploit
insert into app.tasks (title) values ('z');
select of > 1 from app.my_rank();

-- a definer trigger copies titles into a table that all users read: hole row_security app.lines
create table app.lines (line text not null);
grant select on app.lines to tasks_api;
create function app.to_lines() returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp as $$ begin insert into app.lines values (new.title); return null; end $$;
create trigger to_lines after insert or update on app.tasks for each row execute function app.to_lines();
update app.tasks set title = 'secret' where user_id = 'alice';
-- exploit
select 'secret' in (select line from app.lines);

-- the same with row security: hole policy everyone on app.lines2
create table app.lines2 (line text not null);
alter table app.lines2 enable row level security;
create policy everyone on app.lines2 for select to tasks_api using (true);
grant select on app.lines2 to tasks_api;
create function app.to_lines2() returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp as $$ declare line text := upper(new.title); begin insert into app.lines2 values (line) on conflict do nothing; return null; end $$;
create trigger to_lines2 after insert or update on app.tasks for each row execute function app.to_lines2();

-- a definer trigger counts for all users: hole row_security app.totals
create table app.totals (what text primary key, n bigint not null);
insert into app.totals values ('tasks', 0);
grant select on app.totals to tasks_api;
create function app.count_all() returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp as $$ begin update app.totals set n = n + 1 where what = 'tasks'; return null; end $$;
create trigger count_all after insert or update on app.tasks for each row execute function app.count_all();
update app.tasks set title = 'secret' where user_id = 'alice';
-- exploit
select n > 0 from app.totals;

-- a definer function calls another, which writes its argument: hole row_security app.news
create table app.news (line text not null);
grant select on app.news to tasks_api;
create function app.put(line text) returns void language sql set search_path = pg_catalog, pg_temp as $$ insert into app.news values (line) $$;
create function app.publish(line text) returns void language plpgsql security definer set search_path = pg_catalog, pg_temp as $$ begin perform app.put(line); end $$;

-- identity in the select list: warning security_definer app.titles_marked()
create function app.titles_marked() returns table (title text, mine boolean) language sql stable security definer set search_path = pg_catalog, pg_temp as $$ select t.title, t.user_id = app.current_user_id() from app.tasks t $$;
-- exploit
select 'secret' in (select title from app.titles_marked());

-- identity in order by: warning security_definer app.own_titles_first()
create function app.own_titles_first() returns setof text language sql stable security definer set search_path = pg_catalog, pg_temp as $$ select title from app.tasks order by (user_id = app.current_user_id()) desc $$;
-- exploit
select 'secret' in (select app.own_titles_first());

-- identity in returning: warning security_definer app.finish_any(bigint)
create function app.finish_any(task bigint) returns boolean language sql security definer set search_path = pg_catalog, pg_temp as $$ update app.tasks set completed = true where id = task returning user_id = app.current_user_id() $$;
-- exploit
select app.finish_any(77) is not null;

-- filter outside of the CTE that deletes: warning security_definer app.drop_and_look(bigint)
create function app.drop_and_look(task bigint) returns setof text language sql security definer set search_path = pg_catalog, pg_temp as $$ with gone as (delete from app.tasks where id = task returning *) select title from gone where user_id = app.current_user_id() $$;
-- exploit
do $$ begin perform app.drop_and_look(77); end $$;
set local app.user_id = 'alice';
select not exists (select from app.tasks where id = 77);

-- sub-select without the filter of its query: warning security_definer app.best_with_mine()
create function app.best_with_mine() returns setof text language sql stable security definer set search_path = pg_catalog, pg_temp as $$ select (select max(o.title) from app.tasks o where o.priority = t.priority) from app.tasks t where t.user_id = app.current_user_id() $$;
-- exploit
insert into app.tasks (title) values ('a');
select 'secret' in (select app.best_with_mine());

-- all rows but those that match: warning security_definer app.not_hidden()
create table app.hidden (user_id text collate "C", task_id bigint, primary key (user_id, task_id));
call attack.protect('app.hidden');
create function app.not_hidden() returns setof text language sql stable security definer set search_path = pg_catalog, pg_temp as $$ select t.title from app.tasks t where not exists (select from app.hidden h where h.task_id = t.id and h.user_id = app.current_user_id()) $$;
-- exploit
select 'secret' in (select app.not_hidden());

-- copies a row of another user: hole security_definer app.copy_task(bigint)
create table app.copies (user_id text collate "C", title text, primary key (user_id, title));
call attack.protect('app.copies');
create function app.copy_task(task bigint) returns void language sql security definer set search_path = pg_catalog, pg_temp as $$ insert into app.copies (user_id, title) select app.current_user_id(), t.title from app.tasks t where t.id = task $$;
-- exploit
do $$ begin perform app.copy_task(77); end $$;
select exists (select from app.copies where title = 'secret');

-- filter that a function makes true: warning security_definer app.own_or_true()
create function app.own_or_true() returns setof text language sql stable security definer set search_path = pg_catalog, pg_temp as $$ select title from app.tasks where coalesce(nullif(user_id = app.current_user_id(), false), true) $$;
-- exploit
select 'secret' in (select app.own_or_true());

-- the TABLE command: hole security_definer app.dump_tasks()
create function app.dump_tasks() returns setof app.tasks language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$ begin return query table app.tasks; end $$;
-- exploit
select 'secret' in (select title from app.dump_tasks());

-- the TABLE command in a CTE: hole security_definer app.dump_titles()
create function app.dump_titles() returns setof text language sql stable security definer set search_path = pg_catalog, pg_temp as $$ with everything as (table app.tasks) select title from everything $$;
-- exploit
select 'secret' in (select app.dump_titles());

-- test after the change, which only ends the function: warning security_definer app.rename_list(integer, text)
create table app.lists (id int primary key, user_id text collate "C" not null, name text);
call attack.protect('app.lists', 'select');
insert into app.lists values (1, 'alice', 'mine');
create function app.rename_list(list int, new_name text) returns text language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare l app.lists;
begin
  update app.lists set name = new_name where id = list returning * into l;
  if l.user_id is distinct from app.current_user_id() then return null; end if;
  return l.name;
end $$;
-- exploit
do $$ begin perform app.rename_list(1, 'taken'); end $$;
set local app.user_id = 'alice';
select name = 'taken' from app.lists;

-- test of the first of many: warning security_definer app.delete_clips(integer[])
create table app.clips (id int primary key, user_id text collate "C" not null);
call attack.protect('app.clips', 'select');
insert into app.clips values (1, 'alice'), (2, 'mallory');
create function app.delete_clips(variadic ids int[]) returns void language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform from app.clips c where c.id = ids[1] and c.user_id = app.current_user_id();
  if not found then raise no_data_found; end if;
  delete from app.clips c where c.id = any (ids);
end $$;
-- exploit
do $$ begin perform app.delete_clips(2, 1); end $$;
set local app.user_id = 'alice';
select not exists (select from app.clips);

-- test of one team, statement for another: warning security_definer app.read_memo(integer, integer)
create table app.crews_of (crew int, user_id text collate "C" not null, primary key (crew, user_id));
call attack.protect('app.crews_of', 'select');
create table app.memos (id int primary key, crew int not null, body text);
alter table app.memos enable row level security;
insert into app.crews_of values (1, 'mallory');
insert into app.memos values (5, 2, 'secret');
create function app.read_memo(of_crew int, memo int) returns text language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare crew_found int;
begin
  select c.crew into crew_found from app.crews_of c where c.crew = of_crew and c.user_id = app.current_user_id();
  if crew_found is null then raise insufficient_privilege; end if;
  return (select m.body from app.memos m where m.id = memo);
end $$;
-- exploit
select app.read_memo(1, 5) = 'secret';

-- test of what the caller claims: hole security_definer app.read_invitation(text)
create table app.invitations (email text primary key, body text);
alter table app.invitations enable row level security;
insert into app.invitations values ('alice@example.com', 'secret');
create function app.read_invitation(address text) returns text language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
begin
  if not exists (select from app.invitations i where lower(i.email) = lower(address)) then return null; end if;
  return (select i.body from app.invitations i where lower(i.email) = lower(address));
end $$;
-- exploit
select app.read_invitation('alice@example.com') = 'secret';

-- FOUND of another statement: warning security_definer app.read_vault(integer)
create table app.keepers (vault int, user_id text collate "C" not null, primary key (vault, user_id));
create table app.vaults (vault int primary key, body text);
create table app.vault_log (vault int, user_id text);
alter table app.keepers enable row level security;
alter table app.vaults enable row level security;
alter table app.vault_log enable row level security;
insert into app.vaults values (1, 'secret');
create function app.read_vault(of_vault int) returns text language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform from app.keepers k where k.vault = of_vault and k.user_id = app.current_user_id();
  insert into app.vault_log values (of_vault, app.current_user_id());
  if not found then raise insufficient_privilege; end if;
  return (select v.body from app.vaults v where v.vault = of_vault);
end $$;
-- exploit
select app.read_vault(1) = 'secret';

-- a comma without a blank: warning security_definer app.peek_tight()
create function app.peek_tight() returns setof text language sql stable security definer set search_path = '' as 'select t.title from app.users u,app.tasks t where u.id = app.current_user_id()';
-- exploit
select 'secret' in (select app.peek_tight());

-- quoted names: hole security_definer app.peek_quoted()
create schema "Back Office";
create table "Back Office"."Order-Items" (user_id text not null, body text);
alter table "Back Office"."Order-Items" enable row level security;
insert into "Back Office"."Order-Items" values ('alice', 'secret');
create function app.peek_quoted() returns setof text language sql stable security definer set search_path = '' as 'select body from "Back Office"."Order-Items"';
-- exploit
select 'secret' in (select app.peek_quoted());

-- a string that the audit reads wrongly: hole security_definer app.peek_escaped()
create function app.peek_escaped() returns setof text language plpgsql stable security definer set search_path = '' as $$ begin raise log E'it\'s'; return query select title from app.tasks; raise log 'read'; end $$;
-- exploit
select 'secret' in (select app.peek_escaped());

-- test of the task by its number, which others have, too: warning security_definer app.rename_by_id(bigint, text)
create function app.rename_by_id(task bigint, new_title text) returns void language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform from app.tasks where user_id = app.current_user_id() and id = task;
  if not found then raise no_data_found; end if;
  update app.tasks set title = new_title where id = task;
end $$;
-- exploit
insert into app.users (id) values ('mallory') on conflict do nothing;
reset role;
insert into app.tasks (id, user_id, title) values (77, 'mallory', 'mine');
do $$ begin perform app.rename_by_id(77, 'taken'); end $$;
select exists (select from app.tasks where user_id = 'alice' and title = 'taken');

-- test of any team: warning security_definer app.memos_of(integer)
create table app.bands_of (band int, user_id text collate "C" not null, primary key (band, user_id));
create table app.band_memos (band int not null, body text);
alter table app.bands_of enable row level security;
alter table app.band_memos enable row level security;
insert into app.bands_of values (1, 'mallory');
insert into app.band_memos values (2, 'secret');
create function app.memos_of(of_band int) returns setof text language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
begin
  if not exists (select from app.bands_of b where b.user_id = app.current_user_id()) then raise insufficient_privilege; end if;
  return query select m.body from app.band_memos m where m.band = of_band;
end $$;
-- exploit
select 'secret' in (select app.memos_of(2));

-- joined by the number of a task: warning security_definer app.remarks_of_mine() | unmended
create table app.remarks_on (user_id text collate "C" not null, task_id bigint not null, body text, foreign key (user_id, task_id) references app.tasks (user_id, id) on delete cascade);
call attack.protect('app.remarks_on', 'select');
insert into app.remarks_on values ('alice', 77, 'secret');
create function app.remarks_of_mine() returns setof text language sql stable security definer set search_path = pg_catalog, pg_temp as $$
select r.body from app.tasks t left join app.remarks_on r on r.task_id = t.id where t.user_id = app.current_user_id() $$;
-- exploit
reset role;
insert into app.tasks (id, user_id, title) values (77, 'mallory', 'mine');
select 'secret' in (select app.remarks_of_mine());

-- joined by a label: warning security_definer app.labelled() | unmended
create table app.labels_of (user_id text collate "C" not null, label text not null, primary key (user_id, label));
create table app.links_of (user_id text collate "C" not null, url text not null, label text, primary key (user_id, url));
call attack.protect('app.labels_of', 'select, insert (user_id, label)');
call attack.protect('app.links_of', 'select');
insert into app.links_of values ('alice', 'secret', 'work');
create function app.labelled() returns setof text language sql stable security definer set search_path = pg_catalog, pg_temp as $$
select l.url from app.labels_of t join app.links_of l on l.label = t.label where t.user_id = app.current_user_id() $$;
-- exploit
insert into app.labels_of values ('mallory', 'work');
select 'secret' in (select app.labelled());

-- a view with the caller's rights, in a definer: hole security_definer app.titles_by_view()
create view app.tasks_flat with (security_invoker) as select id, title from app.tasks;
grant select on app.tasks_flat to tasks_api;
create function app.titles_by_view() returns setof text language sql stable security definer set search_path = pg_catalog, pg_temp as 'select title from app.tasks_flat';
-- exploit
select 'secret' in (select app.titles_by_view());

-- a view out of reach, in a definer: hole security_definer app.titles_by_hidden_view()
create schema if not exists cellar;
create view cellar.tasks_flat as select user_id, title from app.tasks;
create function app.titles_by_hidden_view() returns setof text language sql stable security definer set search_path = pg_catalog, pg_temp begin atomic select title from cellar.tasks_flat; end;
-- exploit
select 'secret' in (select app.titles_by_hidden_view());

-- an upsert by a key without the owner: warning security_definer app.set_option(text, text)
create table app.options (key text primary key, user_id text collate "C" not null, value text);
call attack.protect('app.options', 'select');
insert into app.options values ('theme', 'alice', 'dark');
create function app.set_option(k text, v text) returns void language sql security definer set search_path = pg_catalog, pg_temp as $$
insert into app.options (key, user_id, value) values (k, app.current_user_id(), v) on conflict (key) do update set value = excluded.value $$;
-- exploit
do $$ begin perform app.set_option('theme', 'pink'); end $$;
set local app.user_id = 'alice';
select value = 'pink' from app.options;

-- MERGE with a branch that does not compare the user: warning security_definer app.merge_option(text, text)
create table app.choices (user_id text collate "C" not null, key text not null, value text, primary key (user_id, key));
call attack.protect('app.choices', 'select');
insert into app.choices values ('alice', 'theme', 'dark');
create function app.merge_option(k text, v text) returns void language sql security definer set search_path = pg_catalog, pg_temp as $$
merge into app.choices c using (values (k, v)) as n (k, v) on c.key = n.k
when matched and c.user_id = app.current_user_id() then update set value = n.v when matched then delete $$;
-- exploit
do $$ begin perform app.merge_option('theme', 'pink'); end $$;
set local app.user_id = 'alice';
select not exists (select from app.choices);

-- MERGE that inserts for another user: warning security_definer app.merge_for(text, text)
create table app.picks (user_id text collate "C" not null, key text not null, primary key (user_id, key));
call attack.protect('app.picks', 'select');
create function app.merge_for(k text, who text) returns void language sql security definer set search_path = pg_catalog, pg_temp as $$
merge into app.picks p using (values (k)) as n (k) on p.key = n.k and p.user_id = app.current_user_id()
when matched then delete when not matched then insert (user_id, key) values (who, n.k) $$;
-- exploit
do $$ begin perform app.merge_for('theme', 'alice'); end $$;
set local app.user_id = 'alice';
select exists (select from app.picks);

-- filter before a right join: warning security_definer app.right_joined()
create function app.right_joined() returns setof text language sql stable security definer set search_path = pg_catalog, pg_temp as $$
select t.title from app.users u join app.users v on v.id = u.id and u.id = app.current_user_id() right join app.tasks t on t.user_id = u.id $$;
-- exploit
select 'secret' in (select app.right_joined());

-- a temporary table in place of the one that is tested: hole search_path app.everything()
create table app.rulers (user_id text collate "C" primary key);
alter table app.rulers enable row level security;
create function app.everything() returns setof text language plpgsql stable security definer set search_path = app as $$
begin
  if not exists (select from rulers r where r.user_id = app.current_user_id()) then raise insufficient_privilege; end if;
  return query select t.title from app.tasks t;
end $$;
-- exploit
create temporary table rulers (user_id text);
insert into rulers values ('mallory');
grant select on rulers to public;
select 'secret' in (select app.everything());

-- rows by a variable that is no key: warning security_definer app.drop_same()
create table app.chits (user_id text collate "C" not null default app.current_user_id(), n int not null);
call attack.protect('app.chits', 'select');
insert into app.chits values ('alice', 1), ('mallory', 1);
create function app.drop_same() returns void language plpgsql security definer set search_path = pg_catalog, pg_temp as $$ declare r record; begin
for r in select c.n from app.chits c where c.user_id = app.current_user_id() loop delete from app.chits where n = r.n; end loop; end $$;
-- exploit
do $$ begin perform app.drop_same(); end $$;
set local app.user_id = 'alice';
select not exists (select from app.chits);

-- ids of tasks in a variable, which other users have, too: warning security_definer app.finish_all()
create function app.finish_all() returns void language plpgsql security definer set search_path = pg_catalog, pg_temp as $$ declare r record; begin
for r in select t.id from app.tasks t where t.user_id = app.current_user_id() loop update app.tasks set completed = true where id = r.id; end loop; end $$;

-- variables with an id of the user's row or of another: warning security_definer app.drop_card(uuid, uuid[])
create table app.cards_of (id uuid primary key, user_id text collate "C" not null default app.current_user_id());
call attack.protect('app.cards_of', 'select');
insert into app.cards_of values ('00000000-0000-0000-0000-000000000001', 'alice');
create function app.drop_card(a uuid, b uuid[]) returns void language plpgsql security definer set search_path = pg_catalog, pg_temp as $$ declare c uuid; d uuid[]; begin
select x.id into c from app.cards_of x where x.user_id = app.current_user_id(); c := coalesce(c, a); d := array(select x.id from app.cards_of x where x.user_id = app.current_user_id()); d := d || b;
delete from app.cards_of where id = c; delete from app.cards_of where id = any (d); end $$;
-- exploit
do $$ begin perform app.drop_card(null, '{00000000-0000-0000-0000-000000000001}'); end $$;
set local app.user_id = 'alice';
select not exists (select from app.cards_of);

-- cursor over all rows: hole security_definer app.mark_all()
create function app.mark_all() returns void language plpgsql security definer set search_path = pg_catalog, pg_temp as $$ declare c cursor for select from app.tasks t for update; begin for r in c loop update app.tasks set completed = true where current of c; end loop; end $$;

-- cursor that is also opened for an argument: warning security_definer app.mark_of(text)
create function app.mark_of(who text) returns void language plpgsql security definer set search_path = pg_catalog, pg_temp as $$ declare c cursor (whose text) for select from app.tasks t where t.user_id = whose for update; begin
for r in c (app.current_user_id()) loop update app.tasks set completed = true where current of c; end loop; for r in c (who) loop update app.tasks set completed = true where current of c; end loop; end $$;

-- constants without the filter: warning security_definer app.count_constant(text)
create function app.count_constant(who text) returns bigint language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$ declare n bigint; begin
execute 'select count(*) from app.tasks where user_id = $2 or $1 is null' into n using app.current_user_id(), who; return n; end $$;
-- exploit
select app.count_constant('alice') > 0;

-- constant with the filter in a comment: warning security_definer app.count_comment()
create function app.count_comment() returns bigint language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$ declare n bigint; begin execute 'select count(*) from app.tasks -- where user_id = $1' into n using app.current_user_id(); return n; end $$;
-- exploit
select app.count_comment() > 0;

-- name of a column that is compared: warning security_definer app.titles_where(text)
create function app.titles_where(c text) returns setof text language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$ begin return query execute format('select title from app.tasks where %I <> $1', c) using app.current_user_id(); end $$;
-- exploit
select 'secret' in (select app.titles_where('title'));

-- name of a column that is the user: warning security_definer app.count_where(text)
create function app.count_where(c text) returns bigint language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$ declare n bigint; begin execute format('select count(*) from app.tasks where %I = $1', c) into n using app.current_user_id(); return n; end $$;

-- order whose direction is not checked: hole security_definer app.titles_ordered(text, text)
create function app.titles_ordered(c text, direction text) returns setof text language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$ begin
if c not in ('title', 'id') then raise 'no such order'; end if;
return query execute '(select title from app.tasks where user_id = $1 order by ' || quote_ident(c) || ' ' || direction || ')' using app.current_user_id(); end $$;
-- exploit
select 'secret' in (select app.titles_ordered('id', 'limit 0) union all (select title from app.tasks'));

-- list of conditions, one without the filter: warning security_definer app.titles_by_scope(text)
create function app.titles_by_scope(scope text) returns setof text language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$ declare condition text; begin
condition := case scope when 'open' then 'user_id = $1 and not completed' when 'done' then 'completed' else 'user_id = $1' end;
return query execute 'select title from app.tasks where ' || condition using app.current_user_id(); end $$;

-- tables by their names, and a user from outside: hole security_definer app.erase(text)
create function app.erase(who text) returns void language plpgsql security definer set search_path = pg_catalog, pg_temp as $$ declare t name; begin
for t in select c.table_name from information_schema.columns c where c.table_schema = 'app' and c.column_name = 'user_id' loop execute format('delete from app.%I where user_id = $1', t) using who; end loop; end $$;

-- rows shared by a number that other users have, too: warning security_definer app.titles_shared(text)
create table app.shared_with (task_id bigint not null, reader text collate "C" not null, primary key (task_id, reader));
alter table app.shared_with enable row level security;
create function app.titles_shared(q text) returns setof text language sql stable security definer set search_path = pg_catalog, pg_temp as $$
select t.title from app.tasks t where t.title like q and (t.user_id = app.current_user_id() or exists (select from app.shared_with s where s.task_id = t.id and s.reader = app.current_user_id())) $$;

-- condition on others of the same team, with an argument: warning security_definer app.quit(text, text)
create table app.bands (name text primary key);
create table app.band_members (band text not null references app.bands, person text collate "C" not null, nickname text not null, primary key (band, person));
alter table app.band_members enable row level security;
create policy own on app.band_members for select to tasks_api using (person = app.current_user_id());
create function app.quit(b text, guess text) returns boolean language sql security definer set search_path = pg_catalog, pg_temp as $$
delete from app.band_members m where m.band = b and m.person = app.current_user_id() and exists (select from app.band_members o where o.band = m.band and o.person <> m.person and o.nickname like guess) returning true $$;

-- digest or an argument: warning security_definer app.title_by_link(text, bigint)
create table app.links_to (digest bytea primary key, owner text collate "C" not null, task_id bigint not null);
alter table app.links_to enable row level security;
create function app.title_by_link(link text, wanted bigint) returns setof text language sql stable security definer set search_path = pg_catalog, pg_temp as $$
select t.title from app.links_to l join app.tasks t on t.user_id = l.owner and t.id = l.task_id where l.digest = sha256(convert_to(link, 'UTF8')) or t.id = wanted $$;

-- helper that only warns: hole security_definer app.drop_warned(bigint)
create function app.warn_owner(task bigint) returns void language plpgsql as $$ begin if not exists (select from app.tasks t where t.id = task and t.user_id = app.current_user_id()) then raise warning 'not yours'; end if; end $$;
create function app.drop_warned(task bigint) returns void language plpgsql security definer set search_path = pg_catalog, pg_temp as $$ begin perform app.warn_owner(task); delete from app.tasks where id = task; end $$;

-- helper whose error is caught: warning security_definer app.titles_refused(text)
create function app.refuse_others(who text) returns void language plpgsql as $$ begin if not exists (select from app.users u where u.id = who and u.id = app.current_user_id()) then raise exception 'not yours'; end if; end $$;
create function app.titles_refused(who text) returns setof text language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$ begin
begin perform app.refuse_others(who); exception when others then null; end; return query select title from app.tasks where user_id = who; end $$;
-- exploit
select 'secret' in (select app.titles_refused('alice'));

-- strict select whose error is caught: warning security_definer app.drop_strict(bigint)
create function app.drop_strict(task bigint) returns void language plpgsql security definer set search_path = pg_catalog, pg_temp as $$ declare me text; begin
begin select t.user_id into strict me from app.tasks t where t.id = task and t.user_id = app.current_user_id(); exception when no_data_found then null; end; delete from app.tasks where id = task; end $$;

-- <> without a test for a missing user: warning security_definer app.drop_unequal(bigint)
create function app.drop_unequal(task bigint) returns void language plpgsql security definer set search_path = pg_catalog, pg_temp as $$ declare owner text; begin
select t.user_id into owner from app.tasks t where t.id = task; if owner is null or owner <> app.current_user_id() then raise insufficient_privilege; end if; delete from app.tasks where id = task; end $$;

-- deletes after the test, not in it: warning security_definer app.drop_after(bigint)
create function app.drop_after(task bigint) returns void language plpgsql security definer set search_path = pg_catalog, pg_temp as $$ declare owner text; begin
select t.user_id into owner from app.tasks t where t.id = task; if owner = app.current_user_id() then perform 1; end if; delete from app.tasks where id = task; end $$;

-- one of two sub-selects for each row: warning security_definer app.two_numbers()
create table app.bits (user_id text collate "C" not null, n int);
call attack.protect('app.bits');
create function app.two_numbers() returns table (n bigint, m bigint) language sql stable security definer set search_path = pg_catalog, pg_temp as $$ select (select count(*) from app.bits s where s.user_id = u.id), (select count(*) from app.bits s where s.n > length(u.id)) from app.users u where u.id = app.current_user_id() $$;

-- filter outside of a union, beside another table: warning security_definer app.feed_and_all()
create function app.feed_and_all() returns setof text language sql stable security definer set search_path = pg_catalog, pg_temp as $$ select k.task::text from (select t.user_id as u from app.tasks t union all select s.user_id from app.tasks s) f join app.idempotency_keys k on true where f.u = app.current_user_id() $$;

-- a check in one branch only: warning security_definer app.export(text, text)
create function app.export(who text, form text) returns setof text language plpgsql stable security definer set search_path = pg_catalog as $$ begin
if form = 'csv' then if who is distinct from app.current_user_id() then raise insufficient_privilege; end if; return query select title from app.tasks where user_id = who;
elsif form = 'json' then return query select to_json(title)::text from app.tasks where user_id = who; end if; end $$;
-- exploit
select '"secret"' in (select app.export('alice', 'json'));

-- a check that an argument skips: warning security_definer app.checked_if_strict(text, boolean)
create function app.checked_if_strict(who text, strictly boolean) returns setof text language plpgsql stable security definer set search_path = pg_catalog as $$ begin
if strictly then if who is distinct from app.current_user_id() then raise insufficient_privilege; end if; end if; return query select title from app.tasks where user_id = who; end $$;
-- exploit
select 'secret' in (select app.checked_if_strict('alice', false));

-- return query goes on: warning security_definer app.history(text)
create function app.history(who text) returns setof text language plpgsql stable security definer set search_path = pg_catalog as $$ begin
if who is distinct from app.current_user_id() then return query select 'denied'; end if; return query select title from app.tasks where user_id = who; end $$;
-- exploit
select 'secret' in (select app.history('alice'));

-- a member of any team, since a column is compared with itself: warning security_definer app.leaves_of(bigint)
create table app.fellows (user_id text collate "C", team bigint, primary key (user_id, team));
create table app.leaves (id uuid primary key, team bigint, owner_id text collate "C", title text);
insert into app.fellows values ('mallory', 1);
insert into app.leaves values (gen_random_uuid(), 2, 'alice', 'secret');
create function app.leaves_of(wanted bigint) returns setof text language sql stable security definer set search_path = pg_catalog as 'select c.title from app.leaves c where c.team = wanted and exists (select from app.fellows m where m.user_id = app.current_user_id() and m.team = m.team)';
-- exploit
select 'secret' in (select app.leaves_of(2));

-- tests for null of what the caller passes: warning security_definer app.titles_for_claim(text, boolean)
create table app.staff4 (login text collate "C" primary key, role text not null);
insert into app.staff4 values ('mallory', 'clerk');
create function app.titles_for_claim(my_role text, strictly boolean) returns setof text language plpgsql stable security definer set search_path = pg_catalog as $$
declare mine text := (select s.role from app.staff4 s where s.login = app.current_user_id());
begin
  if my_role is null or my_role <> 'admin' then raise exception 'administrators only'; end if;
  if my_role is distinct from 'admin' then raise exception 'administrators only'; end if;
  if mine is null or mine <> 'admin' and strictly then raise exception 'administrators only'; end if;
  return query select title from app.tasks;
end $$;
-- exploit
select 'secret' in (select app.titles_for_claim('admin', false));

-- a role that is tested for null, but not required: warning security_definer app.titles_for_others()
create table app.staff5 (login text collate "C" primary key, role text not null);
create function app.titles_for_others() returns setof text language plpgsql stable security definer set search_path = pg_catalog as $$
declare mine text;
begin
  select s.role into mine from app.staff5 s where s.login = app.current_user_id();
  if mine is null or mine <> 'admin' then return query select title from app.tasks; end if;
end $$;
-- exploit
select 'secret' in (select app.titles_for_others());

-- one caller passes the user, another what it gets: warning security_definer app.titles_of_one(text)
create function app.titles_of_one(wanted text) returns setof text language sql stable security definer set search_path = pg_catalog as 'select title from app.tasks where user_id = wanted';
revoke execute on function app.titles_of_one(text) from public;
create function app.titles_of_me() returns setof text language sql stable security definer set search_path = pg_catalog as 'select app.titles_of_one(app.current_user_id())';
create function app.titles_of_all(people text[]) returns setof text language sql stable security definer set search_path = pg_catalog as 'select app.titles_of_one(p) from unnest(people) p';
-- exploit
select 'secret' in (select app.titles_of_all('{alice}'));

-- a variable that was the user: hole security_definer app.titles_of_two(text)
create function app.titles_of_two(wanted text) returns setof text language sql stable security definer set search_path = pg_catalog as 'select title from app.tasks where user_id = wanted';
revoke execute on function app.titles_of_two(text) from public;
create function app.titles_of_former(person text) returns setof text language plpgsql stable security definer set search_path = pg_catalog as $$
declare me text := app.current_user_id(); begin select person into me; return query select app.titles_of_two(me); end $$;
-- exploit
select 'secret' in (select app.titles_of_former('alice'));

-- an operator beside the caller that passes the user: hole security_definer app.titles_by_operator(text, bigint)
create function app.titles_by_operator(wanted text, n bigint) returns text language sql stable security definer set search_path = pg_catalog as 'select title from app.tasks where user_id = wanted and id = n';
revoke execute on function app.titles_by_operator(text, bigint) from public;
grant execute on function app.titles_by_operator(text, bigint) to tasks_api;
create operator app.### (leftarg = text, rightarg = bigint, function = app.titles_by_operator);
create function app.titles_by_caller() returns text language sql stable security definer set search_path = pg_catalog as 'select app.titles_by_operator(app.current_user_id(), 1)';
-- exploit
select 'alice' operator(app.###) 77::bigint = 'secret';

-- case as a condition, with a branch for all: warning security_definer app.titles_in_case(text)
create function app.titles_in_case(scope text) returns setof text language sql stable security definer set search_path = pg_catalog as $$
  select t.title from app.tasks t where case scope when 'mine' then t.user_id = app.current_user_id() when 'all' then true else false end $$;
-- exploit
select 'secret' in (select app.titles_in_case('all'));

-- case as a condition, for all but the user: warning security_definer app.titles_but(text)
create function app.titles_but(scope text) returns setof text language sql stable security definer set search_path = pg_catalog as $$
  select t.title from app.tasks t where scope = 'others' and case when t.user_id = app.current_user_id() then false else true end $$;
-- exploit
select 'secret' in (select app.titles_but('others'));

-- merge on the key alone: warning security_definer app.merge_any(jsonb)
create function app.merge_any(changes jsonb) returns void language sql security definer set search_path = pg_catalog as $$
  merge into app.tasks t
  using (select c.id, c.title, app.current_user_id() as me from jsonb_to_recordset(changes) as c (id bigint, title text)) s
  on t.id = s.id when matched then update set title = s.title $$;

-- a CTE that restricts a count alone: warning security_definer app.overview()
create function app.overview() returns table (total bigint, titles text[]) language sql security definer set search_path = pg_catalog, pg_temp as $$
  with mine as (select id from app.tasks where user_id = app.current_user_id()), every as (select title from app.tasks)
  select (select count(*) from mine), array_agg(e.title) from every e $$;
-- exploit
select 'secret' = any ((select titles from app.overview())::text[]);

-- a test of the user in any team: warning security_definer app.titles_by_lead(text)
create table app.leads (team text collate "C", user_id text collate "C", until timestamptz not null default 'infinity', primary key (team, user_id));
insert into app.leads values ('blue', 'mallory');
create function app.titles_by_lead(wanted text) returns setof text language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  if not exists (select from app.leads l where l.user_id = app.current_user_id() and l.until > now()) then raise insufficient_privilege; end if;
  return query select title from app.tasks where user_id = wanted;
end $$;
-- exploit
select 'secret' in (select app.titles_by_lead('alice'));

-- a sub-select about the user in any team: warning security_definer app.titles_if_lead(text)
create table app.leads2 (team text collate "C", user_id text collate "C", primary key (team, user_id));
insert into app.leads2 values ('blue', 'mallory');
create function app.titles_if_lead(wanted text) returns setof text language sql security definer set search_path = pg_catalog, pg_temp as $$
  select t.title from app.tasks t where t.user_id = wanted and exists (select from app.leads2 l where l.user_id = app.current_user_id()) $$;
-- exploit
select 'secret' in (select app.titles_if_lead('alice'));

-- a test of one element of an array: warning security_definer app.read_slips(uuid[])
create table app.slips (id uuid primary key, user_id text collate "C" not null, body text);
insert into app.slips values ('00000000-0000-0000-0000-0000000000aa', 'alice', 'secret'), ('00000000-0000-0000-0000-0000000000bb', 'mallory', 'mine');
create function app.read_slips(ids uuid[]) returns setof text language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  if not exists (select from app.slips where id = any (ids) and user_id = app.current_user_id()) then raise insufficient_privilege; end if;
  return query select body from app.slips where id = any (ids);
end $$;
-- exploit
select 'secret' in (select app.read_slips('{00000000-0000-0000-0000-0000000000aa,00000000-0000-0000-0000-0000000000bb}'));

-- a loop that stops at the first own element: warning security_definer app.loop_slips(uuid[])
create table app.slips2 (id uuid primary key, user_id text collate "C" not null, body text);
insert into app.slips2 values ('00000000-0000-0000-0000-0000000000aa', 'alice', 'secret'), ('00000000-0000-0000-0000-0000000000bb', 'mallory', 'mine');
create function app.loop_slips(ids uuid[]) returns setof text language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare i uuid; is_mine boolean := false;
begin
  foreach i in array ids loop
    if exists (select from app.slips2 s where s.id = i and s.user_id = app.current_user_id()) then is_mine := true; end if;
  end loop;
  if not coalesce(is_mine, false) then raise insufficient_privilege; end if;
  return query select body from app.slips2 where id = any (ids);
end $$;
-- exploit
select 'secret' in (select app.loop_slips('{00000000-0000-0000-0000-0000000000aa,00000000-0000-0000-0000-0000000000bb}'));

-- a token that a user can compute: warning security_definer app.open_door(text)
create table app.doors (user_id text collate "C" primary key, token text generated always as (md5(user_id)) stored);
insert into app.doors values ('alice');
create function app.open_door(given text) returns setof text language sql security definer set search_path = pg_catalog, pg_temp as $$
  select t.title from app.doors d join app.tasks t on t.user_id = d.user_id where d.token = given $$;
-- exploit
select 'secret' in (select app.open_door(md5('alice')));

-- a token that a function computes: warning security_definer app.open_gate(text)
create table app.gates (user_id text collate "C" primary key, token text not null);
insert into app.gates values ('alice', md5('alice:gate'));
create function app.make_gate() returns text language sql as $$
  insert into app.gates (user_id, token) values (app.current_user_id(), md5(app.current_user_id() || ':' || 'gate')) returning token $$;
create function app.open_gate(given text) returns setof text language sql security definer set search_path = pg_catalog, pg_temp as $$
  select t.title from app.gates d join app.tasks t on t.user_id = d.user_id where d.token = given $$;
-- exploit
select 'secret' in (select app.open_gate(md5('alice:gate')));

-- an invitation by its number: hole security_definer app.take_invite(bigint, uuid)
create table app.invites (id bigint primary key, user_id text collate "C" not null, body text);
insert into app.invites values (1, 'alice', 'secret');
create function app.take_invite(wanted bigint, request uuid) returns text language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare found_body text;
begin
  select i.body into found_body from app.invites i where i.id = wanted;
  if not found then raise no_data_found; end if;
  return found_body;
end $$;
-- exploit
select app.take_invite(1, null) = 'secret';

-- a test that an argument skips: warning security_definer app.read_slip(uuid, boolean)
create table app.slips3 (id uuid primary key, user_id text collate "C" not null, body text);
insert into app.slips3 values ('00000000-0000-0000-0000-0000000000aa', 'alice', 'secret');
create function app.read_slip(wanted uuid, is_checked boolean) returns text language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare owner text;
begin
  if is_checked then
    select s.user_id into owner from app.slips3 s where s.id = wanted;
    if owner is distinct from app.current_user_id() then raise insufficient_privilege; end if;
  end if;
  return (select body from app.slips3 where id = wanted);
end $$;
-- exploit
select app.read_slip('00000000-0000-0000-0000-0000000000aa', false) = 'secret';

-- a condition by which an argument skips the test: warning security_definer app.read_slip(uuid, text)
create table app.slips4 (id uuid primary key, user_id text collate "C" not null, body text);
insert into app.slips4 values ('00000000-0000-0000-0000-0000000000aa', 'alice', 'secret');
create function app.read_slip(wanted uuid, mode text) returns text language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare owner text;
begin
  select s.user_id into owner from app.slips4 s where s.id = wanted;
  if mode <> 'admin' and owner is distinct from app.current_user_id() then raise insufficient_privilege; end if;
  return (select body from app.slips4 where id = wanted);
end $$;
-- exploit
select app.read_slip('00000000-0000-0000-0000-0000000000aa', 'admin') = 'secret';

-- a cache without the user: warning security_definer app.render(bigint)
create table app.rendered (task_id bigint primary key, html text);
insert into app.rendered values (77, 'secret');
create function app.render(wanted bigint) returns text language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare result text;
begin
  select r.html into result from app.rendered r where r.task_id = wanted;
  if result is null then
    select t.title into result from app.tasks t where t.user_id = app.current_user_id() and t.id = wanted;
    insert into app.rendered values (wanted, result);
  end if;
  return result;
end $$;
-- exploit
select app.render(77) = 'secret';

-- the id of a page in place of its link: warning security_definer app.open_handbill(uuid)
create table app.handbills (id uuid primary key default gen_random_uuid(), user_id text collate "C" not null, body text);
call attack.protect('app.handbills', 'select');
create table app.handbill_links (link uuid primary key default gen_random_uuid(), page uuid not null references app.handbills);
alter table app.handbill_links enable row level security;
insert into app.handbills values ('00000000-0000-0000-0000-0000000000aa', 'alice', 'secret');
create function app.open_handbill(p_link uuid) returns text language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare v_page uuid;
begin
  select l.page into v_page from app.handbill_links l where l.link = p_link;
  return (select p.body from app.handbills p where p.id = coalesce(v_page, p_link));
end $$;
-- exploit
select app.open_handbill('00000000-0000-0000-0000-0000000000aa') = 'secret';

-- the whole materialized view: hole security_definer app.tallies_of()
create materialized view app.tallies as select user_id, min(title) as title from app.tasks group by user_id;
create function app.tallies_of() returns setof text language sql stable security definer set search_path = pg_catalog begin atomic select t.title from app.tallies t where t.user_id <> app.current_user_id(); end;
-- exploit
select 'secret' in (select app.tallies_of());

-- guard whose result is ignored: hole security_definer app.title_performed(bigint)
create function app.is_mine_too(wanted bigint) returns boolean language sql stable as 'select exists (select from app.tasks where user_id = app.current_user_id() and id = wanted)';
create function app.title_performed(wanted bigint) returns text language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform app.is_mine_too(wanted);
  return (select t.title from app.tasks t where t.id = wanted limit 1);
end $$;
-- exploit
select app.title_performed(77) = 'secret';

-- guard that stops only the user: hole security_definer app.take_all(text)
create function app.take_all(who text) returns setof text language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  if who = app.current_user_id() then raise exception 'another user is needed'; end if;
  return query update app.tasks set user_id = app.current_user_id(), id = id + 1000 where user_id = who returning title;
end $$;
-- exploit
select 'secret' in (select app.take_all('alice'));
