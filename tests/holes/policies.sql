-- Policies: that apply to the API role and are not the identity test, and the columns they stand on.

-- everybody: hole policy everybody on app.tasks
create policy everybody on app.tasks for select to tasks_api using (true);
-- exploit
select attack.sees('app.tasks');

-- one more: hole policy one_more on app.tasks
create policy one_more on app.tasks for select to tasks_api using (completed or not completed);
-- exploit
select attack.sees('app.tasks');

-- by or: hole policy by_or on app.tasks
create policy by_or on app.tasks for select to tasks_api using (user_id = app.current_user_id() or completed = false);
-- exploit
select attack.sees('app.tasks');

-- by or inside: hole policy by_or_inside on app.tasks
create policy by_or_inside on app.tasks for select to tasks_api using ((user_id = app.current_user_id() or title <> '') and version > 0);
-- exploit
select attack.sees('app.tasks');

-- by not: hole policy by_not on app.tasks
create policy by_not on app.tasks for select to tasks_api using (not (user_id = app.current_user_id()));
-- exploit
select attack.sees('app.tasks');

-- by different: hole policy by_different on app.tasks
create policy by_different on app.tasks for select to tasks_api using (user_id <> app.current_user_id());
-- exploit
select attack.sees('app.tasks');

-- by order: warning policy by_order on app.tasks
create policy by_order on app.tasks for select to tasks_api using (user_id <= app.current_user_id());
-- exploit
select attack.sees('app.tasks');

-- by coalesce: warning policy by_coalesce on app.tasks
create policy by_coalesce on app.tasks for select to tasks_api using (user_id = coalesce(nullif(app.current_user_id(), 'mallory'), user_id));
-- exploit
select attack.sees('app.tasks');

-- by coalesce around: warning policy by_coalesce_around on app.tasks
create policy by_coalesce_around on app.tasks for select to tasks_api using (coalesce(nullif(user_id = app.current_user_id(), false), true));
-- exploit
select attack.sees('app.tasks');

-- where nobody is named: hole policy where_nobody_is_named on app.tasks
create policy where_nobody_is_named on app.tasks for select to tasks_api using (app.current_user_id() is null or user_id = app.current_user_id());
-- exploit
select set_config('app.user_id', '', true);
select attack.sees('app.tasks');

-- by distinct: warning policy by_distinct on app.tasks
create policy by_distinct on app.tasks for select to tasks_api using (not user_id is distinct from coalesce(app.current_user_id(), 'alice'));
-- exploit
select set_config('app.user_id', '', true);
select attack.sees('app.tasks');

-- by another setting: hole policy by_another_setting on app.tasks
create policy by_another_setting on app.tasks for select to tasks_api using (user_id = current_setting('app.tenant', true));
-- exploit
select set_config('app.tenant', 'alice', true);
select attack.sees('app.tasks');

-- by prefix: warning policy by_prefix on app.tasks
create policy by_prefix on app.tasks for select to tasks_api using (starts_with(user_id, left(app.current_user_id(), 0)));
-- exploit
select attack.sees('app.tasks');

-- by like: warning policy by_like on app.tasks
create policy by_like on app.tasks for select to tasks_api using (user_id like app.current_user_id());
-- exploit
select set_config('app.user_id', 'al%', true);
select attack.sees('app.tasks');

-- by pattern: warning policy by_pattern on app.tasks
create policy by_pattern on app.tasks for select to tasks_api using (user_id ~ app.current_user_id());
-- exploit
select set_config('app.user_id', '.', true);
select attack.sees('app.tasks');

-- by case: warning policy by_case on app.tasks
create policy by_case on app.tasks for select to tasks_api using (lower(user_id) = lower(app.current_user_id()));
-- exploit
select set_config('app.user_id', 'ALICE', true);
select attack.sees('app.tasks');

-- by length: warning policy by_length on app.tasks
create policy by_length on app.tasks for select to tasks_api using (length(user_id) = length(app.current_user_id()));
-- exploit
select set_config('app.user_id', 'carol', true);
select attack.sees('app.tasks');

-- by hash: warning policy by_hash on app.tasks
create policy by_hash on app.tasks for select to tasks_api using (hashtext(user_id) % 1 = hashtext(app.current_user_id()) % 1);
-- exploit
select attack.sees('app.tasks');

-- by part: warning policy by_part on app.tasks
create policy by_part on app.tasks for select to tasks_api using (left(user_id, 1) = left(app.current_user_id(), 1));
-- exploit
select set_config('app.user_id', 'anton', true);
select attack.sees('app.tasks');

-- by blank padding: warning policy by_blank_padding on app.tasks
create policy by_blank_padding on app.tasks for select to tasks_api using (user_id::char(10) = app.current_user_id()::char(10));
-- exploit
select set_config('app.user_id', 'alice  ', true);
select attack.sees('app.tasks');

-- by cut name: warning policy by_cut_name on app.tasks
create policy by_cut_name on app.tasks for select to tasks_api using (user_id::name = app.current_user_id()::name);

-- by another column: hole policy by_another_column on app.tasks
create policy by_another_column on app.tasks for select to tasks_api using (title = app.current_user_id());
-- exploit
select set_config('app.user_id', 'secret', true);
select attack.sees('app.tasks');

-- by itself: warning policy by_itself on app.tasks
create policy by_itself on app.tasks for select to tasks_api using (user_id = user_id and app.current_user_id() = app.current_user_id());
-- exploit
select attack.sees('app.tasks');

-- by database user: hole policy by_database_user on app.tasks
create policy by_database_user on app.tasks for select to tasks_api using (current_user = 'tasks_api');
-- exploit
select attack.sees('app.tasks');

-- by session user: hole policy by_session_user on app.tasks
create policy by_session_user on app.tasks for select to tasks_api using (session_user <> user_id);
-- exploit
select attack.sees('app.tasks');

-- by list: warning policy by_list on app.tasks
create policy by_list on app.tasks for select to tasks_api using (user_id = any (string_to_array(app.current_user_id(), ',')));
-- exploit
select set_config('app.user_id', 'x,alice', true);
select attack.sees('app.tasks');

-- by constant: hole policy by_constant on app.tasks
create policy by_constant on app.tasks for select to tasks_api using (user_id = app.current_user_id() or user_id = 'alice');
-- exploit
select attack.sees('app.tasks');

-- by case when: hole policy by_case_when on app.tasks
create policy by_case_when on app.tasks for select to tasks_api using (case when user_id = app.current_user_id() then true else version > 0 end);
-- exploit
select attack.sees('app.tasks');

-- by looser collation: warning policy by_looser_collation on app.tasks | icu
create collation app.loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
create policy by_looser_collation on app.tasks for select to tasks_api using (user_id = app.current_user_id() collate app.loose);
-- exploit
select set_config('app.user_id', 'ALICE', true);
select attack.sees('app.tasks');

-- by another function: hole policy by_another_function on app.tasks
create function app.whoever() returns text language sql stable return 'alice';
create policy by_another_function on app.tasks for select to tasks_api using (user_id = app.whoever());
-- exploit
select attack.sees('app.tasks');

-- by function of its name: hole policy by_function_of_its_name on app.tasks
create function public.current_user_id() returns text language sql stable return 'alice';
create policy by_function_of_its_name on app.tasks for select to tasks_api using (user_id = public.current_user_id());
-- exploit
select attack.sees('app.tasks');

-- by function of a row: warning policy by_function_of_a_row on app.tasks
create function app.may_see(text, text) returns boolean language sql stable return true;
create policy by_function_of_a_row on app.tasks for select to tasks_api using (app.may_see(user_id, app.current_user_id()));
-- exploit
select attack.sees('app.tasks');

-- by own operator: warning policy by_own_operator on app.tasks
create function app.always(text, text) returns boolean language sql immutable return true;
create operator app.= (leftarg = text, rightarg = text, function = app.always);
create policy by_own_operator on app.tasks for select to tasks_api using (user_id operator(app.=) app.current_user_id());
-- exploit
select attack.sees('app.tasks');

-- by lookup: hole policy by_lookup on app.tasks
create table app.shares (user_id text, with_user text);
grant select, insert on app.shares to tasks_api;
create policy by_lookup on app.tasks for select to tasks_api using (exists (select from app.shares s where s.user_id = tasks.user_id and s.with_user = app.current_user_id()));
-- exploit
insert into app.shares values ('alice', 'mallory');
select attack.sees('app.tasks');

-- by sub select of all: hole policy by_sub_select_of_all on app.tasks
create policy by_sub_select_of_all on app.tasks for select to tasks_api using (user_id = (select user_id from app.idempotency_keys limit 1) or true);
-- exploit
select attack.sees('app.tasks');

-- for public: hole policy for_public on app.tasks
create policy for_public on app.tasks for select to public using (true);
-- exploit
select attack.sees('app.tasks');

-- for a role of its: hole policy for_a_role_of_its on app.tasks
create role readers;
grant readers to tasks_api;
create policy for_a_role_of_its on app.tasks for select to readers using (true);
-- exploit
select attack.sees('app.tasks');

-- for all: hole policy for_all on app.idempotency_keys
create policy for_all on app.idempotency_keys for all to tasks_api using (true);
-- exploit
select exists (select from app.idempotency_keys);

-- change all: hole policy change_all on app.tasks
create policy change_all on app.tasks for update to tasks_api using (true);
create policy see_all on app.tasks for select to tasks_api using (true);
-- exploit
with u as (update app.tasks set title = 'x' where user_id = 'alice' returning 1) select count(*) > 0 from u;

-- delete all: hole policy delete_all on app.tasks
create policy delete_all on app.tasks for delete to tasks_api using (true);
-- exploit
delete from app.tasks;
select true;

-- insert for anybody: hole policy insert_for_anybody on app.users
create policy insert_for_anybody on app.users for insert to tasks_api with check (true);
-- exploit
insert into app.users (id) values ('victim');
select true;

-- check weaker than using: hole policy update_own on app.tasks | alone
alter policy update_own on app.tasks using (user_id = app.current_user_id()) with check (true);
grant update (user_id) on app.tasks to tasks_api;
-- exploit
select set_config('app.user_id', 'alice', true);
update app.tasks set user_id = 'mallory', title = 'mine';
select true;

-- check gone: hole policy insert_own on app.tasks | alone
alter policy insert_own on app.tasks with check (true);

-- altered: hole policy select_own on app.tasks | alone
alter policy select_own on app.tasks using (true);
-- exploit
select attack.sees('app.tasks');

-- new table for all to see: hole policy own on app.board
create table app.board (
  id bigint not null default app.next_task_id(),
  user_id text collate "C" not null default app.current_user_id() references app.users on delete cascade,
  primary key (user_id, id));
call attack.protect('app.board');
alter policy own on app.board using (true);
-- exploit
select true or exists (select from app.board where user_id = 'alice' or true);

-- owner compares loosely: hole owner_column app.blurred.user_id | icu | unmended
create collation app.blurry (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
create table app.blurred (id int, user_id text collate app.blurry not null, unique (user_id, id));
insert into app.blurred values (1, 'alice');
alter table app.blurred enable row level security;
alter table app.blurred force row level security;
create policy own on app.blurred to tasks_api using (user_id = app.current_user_id());
grant select on app.blurred to tasks_api;
-- exploit
select set_config('app.user_id', 'ALICE', true);
select exists (select from app.blurred);

-- owner is padded: hole owner_column app.padded.user_id | unmended
create table app.padded (id int, user_id char(10) not null, unique (user_id, id));
insert into app.padded values (1, 'alice');
alter table app.padded enable row level security;
alter table app.padded force row level security;
create policy own on app.padded to tasks_api using (user_id = app.current_user_id()::char(10));
grant select on app.padded to tasks_api;
-- exploit
select set_config('app.user_id', 'alice  ', true);
select exists (select from app.padded);

-- restrictive for another command: hole policy own on app.lax_delete
create table app.lax_delete (user_id text collate "C" not null default app.current_user_id());
insert into app.lax_delete values ('alice');
call attack.protect('app.lax_delete', 'select, delete', 'true');
create policy narrow on app.lax_delete as restrictive for select to tasks_api using (user_id = app.current_user_id());
-- exploit
do $$ begin delete from app.lax_delete; if not found then raise 'nothing found'; end if; end $$;
select true;

-- restrictive for another role: hole policy own on app.lax_role
create role bystander;
create table app.lax_role (user_id text collate "C" not null default app.current_user_id());
insert into app.lax_role values ('alice');
call attack.protect('app.lax_role', 'select', 'true');
create policy narrow on app.lax_role as restrictive to bystander using (user_id = app.current_user_id());
-- exploit
select attack.sees('app.lax_role');

-- not in the list of one: hole policy own on app.unlisted
create table app.unlisted (id bigint, user_id text collate "C" not null default app.current_user_id());
insert into app.unlisted values (1, 'alice');
call attack.protect('app.unlisted', test => 'user_id not in (select app.current_user_id())');
-- exploit
select attack.sees('app.unlisted');

-- greater than the list of one: warning policy own on app.above
create table app.above (id bigint, user_id text collate "C" not null default app.current_user_id());
insert into app.above values (1, 'alice');
call attack.protect('app.above', test => 'user_id <= any (select app.current_user_id())');
-- exploit
select attack.sees('app.above');

-- owner by default somebody: warning guard_changed default of user_id on app.tasks | alone | unmended
alter table app.tasks alter user_id set default 'alice';

-- owner by default coalesced: warning guard_changed default of user_id on app.idempotency_keys | alone | unmended
alter table app.idempotency_keys alter user_id set default coalesce(app.current_user_id(), 'anonymous');

-- a user who sees all: hole policy by_name on app.tasks
create policy by_name on app.tasks for select to tasks_api using (user_id = app.current_user_id() or app.current_user_id() = 'admin');
-- exploit
select set_config('app.user_id', 'admin', true);
select attack.sees('app.tasks');

-- a row that is not known to be another's: warning policy own on app.not_false
create table app.not_false (user_id text collate "C" not null default app.current_user_id(), primary key (user_id));
call attack.protect('app.not_false', 'select', '(user_id = app.current_user_id()) is not false');
insert into app.not_false values ('alice'), ('mallory');
-- exploit
select count(*) = 2 from (select set_config('app.user_id', '', true)) s cross join lateral (select from app.not_false) n;

-- rows of no owner are everybody's: warning policy own on app.nobodys
create table app.nobodys (user_id text collate "C" default app.current_user_id(), id bigint not null, unique (user_id, id));
call attack.protect('app.nobodys', 'select', 'user_id = app.current_user_id() or user_id is null');

-- a constant in the array of a sub-select: warning policy own on app.any_of_two
create table app.any_of_two (user_id text collate "C" not null default app.current_user_id(), id bigint not null, primary key (user_id, id));
insert into app.any_of_two values ('alice', 1);
call attack.protect('app.any_of_two', 'select', 'user_id = any (array(select app.current_user_id() union select ''alice''))');
-- exploit
select attack.sees('app.any_of_two');

-- no other user in a sub-select without a table: hole policy own on app.no_other
create table app.no_other (user_id text collate "C" not null default app.current_user_id(), id bigint not null, primary key (user_id, id));
insert into app.no_other values ('alice', 1);
call attack.protect('app.no_other', 'select', 'not exists (select where user_id <> app.current_user_id())');
-- exploit
select set_config('app.user_id', '', true);
select attack.sees('app.no_other');

-- the user in JSON, but any owner: hole policy adds on app.signed
create table app.signed (user_id text collate "C" not null default app.current_user_id(), id bigint not null, doc jsonb not null, primary key (user_id, id));
alter table app.signed enable row level security; alter table app.signed force row level security;
create policy own on app.signed for select to tasks_api using (user_id = app.current_user_id());
create policy adds on app.signed for insert to tasks_api with check (doc ->> 'by' = app.current_user_id());
grant select, insert on app.signed to tasks_api;
-- exploit
insert into app.signed values ('alice', 1, '{"by": "mallory"}');
select true;

-- a function that compares another value than its argument: warning policy app.is_any(text) | unmended
create function app.is_any(owner text) returns boolean language plpgsql stable as $$ begin return owner <> '' or app.current_user_id() = app.current_user_id(); end $$;
create table app.compared (user_id text collate "C" not null default app.current_user_id(), id bigint not null, primary key (user_id, id));
insert into app.compared values ('alice', 1);
call attack.protect('app.compared', 'select', 'app.is_any(user_id)');
-- exploit
select attack.sees('app.compared');

-- the user or a constant: warning policy own on app.list_of_two
create table app.list_of_two (user_id text not null default app.current_user_id(), id bigint);
call attack.protect('app.list_of_two', 'select', 'app.current_user_id() = any (array[user_id, ''mallory''])');
insert into app.list_of_two values ('alice');
-- exploit
select attack.sees('app.list_of_two');

-- all but two users: warning policy own on app.all_but_two
create table app.all_but_two (user_id text not null default app.current_user_id(), other text not null default '');
call attack.protect('app.all_but_two', 'select', 'app.current_user_id() <> all (array[user_id, other])');
insert into app.all_but_two values ('alice');
-- exploit
select attack.sees('app.all_but_two');

-- a list of users in a new row: hole policy own on app.by_list
create table app.by_list (user_id text not null default app.current_user_id(), people text[]);
call attack.protect('app.by_list', 'insert', 'app.current_user_id() = any (people)');
-- exploit
insert into app.by_list values ('alice', '{mallory}') returning true;

-- a list that contains users in a new row: hole policy own on app.by_contents
create table app.by_contents (user_id text not null default app.current_user_id(), people text[]);
call attack.protect('app.by_contents', 'insert', 'people @> array[app.current_user_id()]');

-- read-only, with the row itself in place of the user: hole policy own on app.worklog
create table app.worklog (id bigint, member text not null);
call attack.protect('app.worklog', 'select', 'member = coalesce(app.current_user_id(), member)');
insert into app.worklog values (1, 'alice');
-- exploit
select set_config('app.user_id', '', true);
select exists (select from app.worklog);

-- read-only, with a part of the user id: warning policy own on app.files_of
create table app.files_of (id bigint, subject text not null);
call attack.protect('app.files_of', 'select', 'split_part(subject, ''|'', 2) = split_part(app.current_user_id(), ''|'', 2)');
insert into app.files_of values (1, 'github|7');
-- exploit
select set_config('app.user_id', 'google|7', true);
select exists (select from app.files_of);

-- read-only, with a list of users in the setting: warning policy own on app.memos
create table app.memos (id bigint, person text not null);
call attack.protect('app.memos', 'select', 'person = any (string_to_array(current_setting(''app.user_id'', true), '',''))');
insert into app.memos values (1, 'alice');
-- exploit
select set_config('app.user_id', 'mallory,alice', true);
select exists (select from app.memos);

-- read-only, with the user id in a path: warning policy own on app.pages
create table app.pages (id bigint, acl jsonb not null);
call attack.protect('app.pages', 'select', 'jsonb_path_exists(acl, (''$.readers[*] ? (@ == "'' || app.current_user_id() || ''")'')::jsonpath)');
insert into app.pages values (1, '{"readers": ["alice"]}');
-- exploit
select set_config('app.user_id', 'x" || @ != "', true);
select exists (select from app.pages);

-- a row of two columns, with the user in the wrong place: warning policy own on app.posts_of
create table app.seats_at (region text, holder text, deputy text, primary key (region, holder));
call attack.protect('app.seats_at', 'select', 'holder = app.current_user_id()');
insert into app.seats_at values ('north', 'mallory', 'mallory');
create table app.posts_of (id bigint primary key, region text not null);
call attack.protect('app.posts_of', 'select', '(app.current_user_id(), app.current_user_id()) in (select s.deputy, s.holder from app.seats_at s)');
insert into app.posts_of values (1, 'south');
-- exploit
select exists (select from app.posts_of);

-- readers or all: warning policy own on app.leaves
create table app.leaves (id bigint primary key, acl jsonb not null);
call attack.protect('app.leaves', 'select', 'acl -> ''readers'' ?| array[app.current_user_id(), ''all'']');
insert into app.leaves values (1, '["all"]'), (2, '{"readers": ["all"]}');
-- exploit
select exists (select from app.leaves);

-- blocked readers: hole policy own on app.walls
create table app.walls (id bigint primary key, acl jsonb not null);
call attack.protect('app.walls', 'select', 'not acl -> ''blocked'' ? app.current_user_id()');
insert into app.walls values (1, '{"blocked": []}');
-- exploit
select exists (select from app.walls);

-- the list is in the user: hole policy own on app.doors
create table app.doors (id bigint primary key, acl jsonb not null);
call attack.protect('app.doors', 'select', 'to_jsonb(app.current_user_id()) <@ acl or jsonb_array_length(acl) = 0');
insert into app.doors values (1, '[]');
-- exploit
select exists (select from app.doors);

-- readers that do not contain the user: warning policy own on app.fences
create table app.fences (id bigint primary key, readers text[] not null);
call attack.protect('app.fences', 'select', 'array_position(readers, app.current_user_id()) is null');
insert into app.fences values (1, '{alice}');
-- exploit
select exists (select from app.fences);

-- a union with regions of all: hole policy own on app.trips
create table app.hubs (region text primary key, user_id text);
grant select on app.hubs to tasks_api;
insert into app.hubs values ('south', 'alice');
create table app.trips (id bigint primary key, region text not null);
call attack.protect('app.trips', 'select', 'region in (select h.region from app.hubs h where h.user_id = app.current_user_id() union select h.region from app.hubs h)');
insert into app.trips values (1, 'south');
-- exploit
select exists (select from app.trips);

-- a reader, but another owner: hole policy add on app.posters
create table app.posters (id bigint, user_id text not null default app.current_user_id(), readers text[] not null, primary key (user_id, id));
call attack.protect('app.posters', 'select, insert');
create policy add on app.posters for insert to tasks_api with check (app.current_user_id() = any (readers));
create function attack.has_poster() returns boolean language sql security definer as 'select exists (select from app.posters where user_id = ''alice'')';
-- exploit
insert into app.posters values (1, 'alice', '{mallory}');
select attack.has_poster();

-- an array that contains the user, but another owner: hole policy change on app.banners
create table app.banners (id bigint, user_id text not null default app.current_user_id(), readers text[] not null, primary key (user_id, id));
call attack.protect('app.banners', 'select, update');
create policy change on app.banners for update to tasks_api using (user_id = app.current_user_id()) with check (array_position(readers, app.current_user_id()) is not null);

-- either of two users writes as the other: hole policy own on app.messages_to
create table app.messages_to (id uuid primary key default gen_random_uuid(), sender text not null default app.current_user_id(), recipient text not null, body text);
call attack.protect('app.messages_to', test => 'sender = app.current_user_id() or recipient = app.current_user_id()');
-- exploit
insert into app.messages_to (sender, recipient, body) values ('alice', 'mallory', 'forged');
select true;

-- a short hash of the owner: warning policy by_short_hash on app.tasks
create policy by_short_hash on app.tasks for select to tasks_api using (hashtext(user_id) = hashtext(app.current_user_id()));

-- a hash of another column: hole policy by_other_hash on app.tasks
create policy by_other_hash on app.tasks for select to tasks_api using (title = encode(sha256(convert_to(title, 'UTF8')), 'hex') or sha256(convert_to(user_id, 'UTF8')) <> sha256(convert_to(app.current_user_id(), 'UTF8')));

-- a CTE that is not the user: hole policy by_other_cte on app.tasks
create policy by_other_cte on app.tasks for select to tasks_api using (user_id = (with u as (select max(id) as id from app.users) select u.id from u));

-- all but the user's: warning policy by_except on app.tasks
create policy by_except on app.tasks for select to tasks_api using (user_id in (select u.id from app.users u except select u.id from app.users u where u.id = app.current_user_id()));

-- whoever may delete what is published: hole policy drop_published on app.placards
create table app.placards (id bigint, user_id text collate "C" not null default app.current_user_id(), published boolean not null default false, primary key (user_id, id));
call attack.protect('app.placards', 'select, insert (id, published), delete');
create policy drop_published on app.placards for delete to tasks_api using (published);

-- a column that the table of the sub-select does not have: warning policy by_outer on app.tasks
create table app.watchers (watched text collate "C", watcher text collate "C", primary key (watched, watcher));
call attack.protect('app.watchers', 'select', 'watcher = app.current_user_id()');
create policy by_outer on app.tasks for select to tasks_api using (user_id in (select user_id from app.watchers where watcher = app.current_user_id()));
insert into app.watchers values ('carol', 'mallory');
-- exploit
select attack.sees('app.tasks');

-- a row that is compared with itself in a sub-select: warning policy by_same_row on app.tasks
create table app.onlookers (watched text collate "C", watcher text collate "C", primary key (watched, watcher));
call attack.protect('app.onlookers', 'select', 'watcher = app.current_user_id()');
create policy by_same_row on app.tasks for select to tasks_api using (exists (select from app.onlookers where user_id = tasks.user_id and watcher = app.current_user_id()));
insert into app.onlookers values ('carol', 'mallory');
-- exploit
select attack.sees('app.tasks');

-- any row of the user in a table whose key has two columns: warning policy by_jurors on app.tasks
create table app.jurors (court int, juror text collate "C", primary key (court, juror));
call attack.protect('app.jurors', 'select', 'juror = app.current_user_id()');
create policy by_jurors on app.tasks for select to tasks_api using (app.current_user_id() in (select juror from app.jurors));
insert into app.jurors values (1, 'mallory');
-- exploit
select attack.sees('app.tasks');

-- rows whose owner was deleted: warning policy look on app.sketches
create table app.sketches (id uuid primary key default gen_random_uuid(), user_id text collate "C" default app.current_user_id() references app.users on delete set null, body text);
call attack.protect('app.sketches', 'insert (body), delete');
create policy look on app.sketches for select to tasks_api using (user_id is null or user_id = app.current_user_id());
grant select on app.sketches to tasks_api;

-- whether the user has any row: warning policy app.has_garden() | alone | unmended
create table app.gardens (id uuid primary key default gen_random_uuid(), user_id text collate "C" not null default app.current_user_id());
insert into app.gardens (user_id) values ('alice'), ('bob');
create function app.has_garden() returns boolean language sql stable security definer set search_path = pg_catalog, pg_temp as $$ select exists (select from app.gardens g where g.user_id = app.current_user_id()) $$;
alter table app.gardens enable row level security, force row level security;
create policy own_one on app.gardens for select to tasks_api using (app.has_garden());
grant select on app.gardens to tasks_api;

-- rows for another user: warning policy packed on app.boxes
create table app.boxes (id uuid primary key default gen_random_uuid(), recipient text collate "C" not null, packer text collate "C" not null default app.current_user_id());
alter table app.boxes enable row level security, force row level security;
create policy received on app.boxes for select to tasks_api using (recipient = app.current_user_id());
create policy packed on app.boxes for insert to tasks_api with check (packer = app.current_user_id());
grant select, insert (recipient) on app.boxes to tasks_api;
