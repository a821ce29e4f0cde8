set local lock_timeout = '5s';

-- The role's search_path stays: another database of the cluster may rely on it, and no older code minds.

create or replace function app.touch_task() returns trigger
language plpgsql
as $$
begin
  new.version := old.version + 1;
  new.updated_at := greatest(clock_timestamp(), old.updated_at + interval '1 microsecond');
  return new;
end
$$;

create or replace function app.next_task_id() returns bigint
language sql volatile
as $$
  insert into app.users (id)
  values (app.current_user_id())
  on conflict (id) do update set last_task_id = users.last_task_id + 1
  returning last_task_id
$$;

create or replace function app.schema_version() returns integer
language sql immutable parallel safe
return 6;
