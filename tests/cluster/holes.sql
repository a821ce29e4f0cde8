-- Holes on one worker, each on a shard of its own ({0} and so on) where it is about one.
-- The first line is how the audit must name it.

-- row_security: app.{0}
alter table app.{0} disable row level security;

-- policy: everybody on app.{1}
create policy everybody on app.{1} for select to tasks_api using (true);

-- policy: select_own on app.{2}
alter policy select_own on app.{2} using (user_id is not null);

-- privilege: app.{3}
grant truncate on app.{3} to tasks_api;

-- public_grant: app.{4}
grant select on app.{4} to public;

-- view: app.everything
create view app.everything as table app.{5};
grant select on app.everything to tasks_api;

-- security_definer: app.peek()
create function app.peek() returns bigint
language sql security definer return (select count(*) from app.{6});
grant execute on function app.peek() to tasks_api;

-- identity_function: app.current_user_id()
create or replace function app.current_user_id() returns text
language sql stable return coalesce(current_setting('app.user_id', true), 'bob');

-- unique_key: titles on app.{7}
create unique index titles on app.{7} (title);

-- role_attribute: tasks_api
alter role tasks_api bypassrls;

-- role_membership: tasks_api -> pg_read_all_data
grant pg_read_all_data to tasks_api;

-- setting: role tasks_api set app.user_id
alter role tasks_api set app.user_id = 'bob';

-- event_trigger: app_prepare_shards
create or replace function app.prepare_shards() returns event_trigger
language plpgsql as 'begin execute ''alter table app.{0} disable row level security''; end';

-- publication: everybody
create publication everybody for table app.{8};
