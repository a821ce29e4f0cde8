-- Guards: hollowed out instead of dropped.

-- the foreign key no longer cascades: warning guard_changed tasks_user_id_fkey on app.tasks | alone | unmended
alter table app.tasks drop constraint tasks_user_id_fkey;
alter table app.tasks add constraint tasks_user_id_fkey foreign key (user_id) references app.users;

-- the foreign key was never checked: warning guard_changed tasks_user_id_fkey on app.tasks | alone | unmended
alter table app.tasks drop constraint tasks_user_id_fkey;
alter table app.tasks add constraint tasks_user_id_fkey foreign key (user_id) references app.users on delete cascade not valid;

-- the foreign key is not enforced: warning guard_changed idempotency_keys_user_id_fkey on app.idempotency_keys | alone | from 18 | unmended
alter table app.idempotency_keys drop constraint idempotency_keys_user_id_fkey;
alter table app.idempotency_keys add constraint idempotency_keys_user_id_fkey foreign key (user_id) references app.users on delete cascade not enforced;

-- a check is not enforced: warning guard_changed users_id_length on app.users | alone | from 18 | unmended
alter table app.users drop constraint users_id_length;
alter table app.users add constraint users_id_length check (char_length(id) between 1 and 255) not enforced;

-- a check was never checked: warning guard_changed users_id_length on app.users | alone | unmended
alter table app.users drop constraint users_id_length;
alter table app.users add constraint users_id_length check (char_length(id) between 1 and 255) not valid;

-- a check was replaced: warning guard_changed users_id_length on app.users | alone | unmended
alter table app.users drop constraint users_id_length;
alter table app.users add constraint users_id_length check (true);

-- a check was dropped: warning guard_changed tasks_title_length on app.tasks | alone | unmended
alter table app.tasks drop constraint tasks_title_length;

-- a trigger that never fires: warning guard_changed tasks_touch on app.tasks | alone | unmended
create or replace trigger tasks_touch before update on app.tasks for each row when (false) execute function app.touch_task();

-- a trigger for one column: warning guard_changed tasks_touch on app.tasks | alone | unmended
create or replace trigger tasks_touch before update of description on app.tasks for each row when (old.* is distinct from new.*) execute function app.touch_task();

-- a trigger's function that does nothing: warning guard_changed app.touch_task() | alone | unmended
create or replace function app.touch_task() returns trigger language plpgsql as $$ begin return new; end $$;

-- a counter that may go back: warning guard_changed app.refuse_recount() | alone | unmended
create or replace function app.refuse_recount() returns trigger language plpgsql as $$ begin return new; end $$;

-- a counter that another function refuses: warning guard_changed users_last_task_id_counts on app.users | alone | unmended
create function app.allow() returns trigger language plpgsql as $$ begin return new; end $$;
create or replace trigger users_last_task_id_counts before update on app.users for each row when (new.last_task_id is distinct from old.last_task_id + 1) execute function app.allow();

-- the default of the number is gone: warning guard_changed default of id on app.tasks | alone | unmended
alter table app.tasks alter id drop default;

-- the default of the number is a constant: warning guard_changed default of id on app.tasks | alone | unmended
alter table app.tasks alter id set default 1;

-- the function that gives numbers was replaced: warning guard_changed app.next_task_id() | alone | unmended
create or replace function app.next_task_id() returns bigint language sql volatile as 'select 1::bigint';

-- titles in the planner's statistics: hole statistics app.tasks.title | alone
alter table app.tasks alter title set statistics 100;
insert into app.tasks (user_id, id, title, updated_at) select 'alice', 1000 + n, 'secret', now() from generate_series(1, 50) n;
analyze app.tasks;
-- exploit
do $$
declare
  found json;
  other json;
begin
  execute $q$ explain (format json) select from app.tasks where title = 'secret' $q$ into found;
  execute $q$ explain (format json) select from app.tasks where title = 'public' $q$ into other;
  if found::text = other::text then
    raise 'nothing learnt';
  end if;
end $$;
select true;

-- keys in the planner's statistics: hole statistics app.idempotency_keys.key | alone
alter table app.idempotency_keys alter key set statistics -1;

-- titles in extended statistics: hole statistics app.by_title on app.tasks
create statistics app.by_title (mcv) on title, completed from app.tasks;

-- titles in an expression index: hole statistics app.low_titles on app.tasks
create index low_titles on app.tasks (user_id, (lower(title)));

-- titles in a statistics expression: hole statistics app.by_lower on app.tasks
create statistics app.by_lower on (lower(title)) from app.tasks;

-- a new column with users' text: hole statistics app.tasks.place
alter table app.tasks add column place text;
grant insert (place), update (place) on app.tasks to tasks_api;
