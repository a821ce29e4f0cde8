-- Keys: whose errors tell one user of another's rows.

-- title unique over all: hole unique_key one_title on app.tasks
create unique index one_title on app.tasks (title);
-- exploit
select attack.learns('23505', $$ insert into app.tasks (title) values ('secret') $$);

-- constraint over all: hole unique_key titles on app.tasks
alter table app.tasks add constraint titles unique (title);
-- exploit
select attack.learns('23505', $$ insert into app.tasks (title) values ('secret') $$);

-- part unique over all: hole unique_key one_open on app.tasks
create unique index one_open on app.tasks (title) where not completed;
-- exploit
select attack.learns('23505', $$ insert into app.tasks (title) values ('secret') $$);

-- owner only included: hole unique_key with_owner on app.tasks
create unique index with_owner on app.tasks (title) include (user_id);
-- exploit
select attack.learns('23505', $$ insert into app.tasks (title) values ('secret') $$);

-- owner in an expression: hole unique_key by_lower on app.tasks
create unique index by_lower on app.tasks (lower(user_id), title);

-- owner collated loosely: hole unique_key loosely on app.tasks | icu
create collation app.looser (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
create unique index loosely on app.tasks (user_id collate app.looser, title);
-- exploit
select set_config('app.user_id', 'ALICE', true);
select attack.learns('23505', $$ insert into app.tasks (title) values ('secret') $$);

-- excluded over all: hole unique_key no_two on app.tasks
alter table app.tasks add constraint no_two exclude using hash (title with =);
-- exploit
select attack.learns('23P01', $$ insert into app.tasks (title) values ('secret') $$);

-- key of a child: hole unique_key child_title on app.old_tasks
create table app.old_tasks () inherits (app.tasks);
create unique index child_title on app.old_tasks (title);

-- key of a new table: hole unique_key tags_pkey on app.tags
create table app.tags (
  id bigint not null default app.next_task_id(),
  user_id text collate "C" not null default app.current_user_id() references app.users on delete cascade,
  name text,
  primary key (name));
call attack.protect('app.tags');
insert into app.tags values (1, 'alice', 'secret');
-- exploit
select attack.learns('23505', $$ insert into app.tags (name) values ('secret') $$);

-- reference to anybodys task: hole foreign_key parent on app.tasks
create unique index task_ids on app.tasks (id);
alter table app.tasks add column parent_id bigint constraint parent references app.tasks (id);
grant insert (parent_id) on app.tasks to tasks_api;
-- exploit
insert into app.tasks (title, parent_id) values ('mine', 77);
select true;

-- reference to anybody: hole foreign_key assigned on app.jobs
create table app.jobs (
  id bigint not null default app.next_task_id(),
  user_id text collate "C" not null default app.current_user_id() references app.users on delete cascade,
  assignee text collate "C" constraint assigned references app.users on update cascade,
  primary key (user_id, id));
call attack.protect('app.jobs');
-- exploit
insert into app.jobs (assignee) values ('alice');
select true;

-- counted over all: hole shared_counter app.tasks.id | alone
create sequence app.task_ids;
alter table app.tasks alter id set default nextval('app.task_ids');

-- identity over all: hole shared_counter app.tasks.id | alone | unmended
alter table app.tasks alter id drop default, alter id add generated always as identity;

-- key of a table without owners: hole unique_key words_pkey on app.words
create table app.words (word text primary key);
insert into app.words values ('secret');
grant insert on app.words to tasks_api;
-- exploit
select attack.learns('23505', $$ insert into app.words values ('secret') $$);

-- a random text that may be chosen: hole unique_key nicks_nick_key on app.nicks
create table app.nicks (nick text not null default md5(random()::text) unique, user_id text collate "C" not null default app.current_user_id());
call attack.protect('app.nicks', 'select, insert (nick)');
insert into app.nicks values ('secret', 'alice');
-- exploit
select attack.learns('23505', $$ insert into app.nicks (nick) values ('secret') $$);

-- a public id that the role may set: hole unique_key tasks_chosen_id_key on app.tasks
alter table app.tasks add column chosen_id uuid not null default gen_random_uuid() unique;
grant insert (chosen_id) on app.tasks to tasks_api;

-- a public id that counts for all users: hole shared_counter app.tasks.public_number
create sequence app.public_numbers;
alter table app.tasks add column public_number bigint not null default nextval('app.public_numbers') unique;

-- a delete that reaches rows of others: warning foreign_key tasks_project_fkey on app.tasks
create table app.projects (id uuid primary key, user_id text not null default app.current_user_id());
call attack.protect('app.projects', 'select, delete, insert (id)');
insert into app.projects values ('00000000-0000-0000-0000-00000000000a', 'mallory');
alter table app.tasks add column project uuid references app.projects on delete cascade;
grant insert (project), update (project) on app.tasks to tasks_api;
update app.tasks set project = '00000000-0000-0000-0000-00000000000a' where user_id = 'alice';
-- exploit
delete from app.projects; reset role; select not exists (select from app.tasks where user_id = 'alice');

-- keys that a definer gets from the caller: warning unique_key keys_by_caller_hash_key on app.keys_by_caller | alone | unmended
create table app.keys_by_caller (id uuid primary key default gen_random_uuid(), user_id text collate "C" not null default app.current_user_id(), hash text not null unique, is_revoked boolean);
call attack.protect('app.keys_by_caller', 'select (id, user_id, is_revoked), update (is_revoked), delete');
insert into app.keys_by_caller (user_id, hash) values ('alice', 'taken');
create function app.set_key(wanted text) returns void language sql security definer set search_path = pg_catalog as
  'insert into app.keys_by_caller (id, user_id, hash) values (gen_random_uuid(), app.current_user_id(), wanted)';
-- exploit
select attack.learns('23505', 'select app.set_key(''taken'')');

-- a foreign key whose owner one of two policies checks: hole foreign_key task_notes_task_owner_task_id_fkey on app.task_notes
create table app.task_notes (task_owner text collate "C" not null, task_id bigint not null, author text collate "C" not null default app.current_user_id(), foreign key (task_owner, task_id) references app.tasks (user_id, id) on delete cascade);
alter table app.task_notes enable row level security;
create policy own on app.task_notes for insert to tasks_api with check (author = app.current_user_id() and task_owner = app.current_user_id());
create policy authors on app.task_notes to tasks_api using (author = app.current_user_id());
grant select, insert (task_owner, task_id) on app.task_notes to tasks_api;
-- exploit
select attack.learns('23503', 'insert into app.task_notes values (''alice'', 78)');

-- a delete that reaches rows which the role cannot create: warning foreign_key labelled_label_fkey on app.labelled
create table app.labels (label text primary key, user_id text collate "C" not null default app.current_user_id());
call attack.protect('app.labels', 'select, delete');
create table app.labelled (user_id text collate "C" not null default app.current_user_id(), id bigint, label text references app.labels on delete cascade, primary key (user_id, id));
call attack.protect('app.labelled', 'select, delete');
insert into app.labels values ('home', 'mallory'); insert into app.labelled values ('alice', 1, 'home');
alter table app.labels alter label set statistics 0; alter table app.labelled alter label set statistics 0;
-- exploit
delete from app.labels; reset role; select not exists (select from app.labelled where user_id = 'alice');
