-- Holes on one worker, each on a shard of its own ({0} and so on, with its number) if it is about one.
-- The first line is how the audit must name it.

-- hole: row_security: app.{0}
alter table app.{0} disable row level security;

-- hole: policy: everybody on app.{1}
create policy everybody on app.{1} for select to tasks_api using (true);

-- hole: policy: select_own on app.{2}
alter policy select_own on app.{2} using (user_id is not null);

-- hole: privilege: app.{3}
grant truncate on app.{3} to tasks_api;

-- hole: view: app.everything
create view app.everything as table app.{5};
grant select on app.everything to tasks_api;

-- hole: security_definer: app.peek()
create function app.peek() returns bigint
language sql security definer return (select count(*) from app.{6});
grant execute on function app.peek() to tasks_api;

-- hole: identity_function: app.current_user_id()
create or replace function app.current_user_id() returns text
language sql stable return coalesce(current_setting('app.user_id', true), 'bob');

-- hole: unique_key: titles on app.{7}
create unique index titles on app.{7} (title);

-- hole: role_attribute: tasks_api
alter role tasks_api bypassrls;

-- hole: role_membership: tasks_api -> pg_read_all_data
grant pg_read_all_data to tasks_api;

-- hole: setting: role tasks_api set app.user_id
alter role tasks_api set app.user_id = 'bob';

-- warning: publication: everybody
create publication everybody for table app.{8};

-- hole: statistics: app.{9}.title
alter event trigger app_prepare_shards disable;
alter table app.{9} alter column title set statistics 100;
alter event trigger app_prepare_shards enable;

-- warning: guard_changed: trigger tasks_touch on app.{11}
alter table app.{11} disable trigger tasks_touch_{number[11]};

-- warning: guard_changed: trigger tasks_touch on app.{12}
drop trigger tasks_touch_{number[12]} on app.{12};

-- warning: guard_changed: constraint tasks_user_id_fkey on app.{13}
alter table app.{13} drop constraint tasks_user_id_fkey_{number[13]};

-- warning: guard_changed: constraint tasks_title_length on app.{14}
alter table app.{14} drop constraint tasks_title_length;

-- warning: guard_changed: constraint tasks_user_id_fkey on app.{15}
alter table app.{15} drop constraint tasks_user_id_fkey_{number[15]};
alter table app.{15} add constraint tasks_user_id_fkey_{number[15]} foreign key (user_id)
  references app.users_{users[15]};

-- warning: system_privilege: functions of Citus for tasks_api
grant execute on function run_command_on_workers(text, boolean) to tasks_api;

-- warning: system_privilege: functions of Citus for everybody
grant execute on function run_command_on_placements(regclass, text, boolean) to public;

-- hole: event_trigger: app_prepare_shards
create or replace function app.prepare_shards() returns event_trigger
language plpgsql as 'begin execute ''alter table app.{0} disable row level security''; end';
