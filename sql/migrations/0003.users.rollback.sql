set local lock_timeout = '5s';

-- Rows are dropped where app.drop_rows says so, and nowhere else. An owner whom row security is forced on
-- could not count them.
alter table app.users no force row level security;

do $$
declare
  lost bigint := (select count(*) from app.users);
begin
  if lost > 0 and current_setting('app.drop_rows', true) is distinct from 'yes' then
    raise exception 'this would drop % row(s) of app.users', lost
      using hint = 'To drop them: make rollback DROP_ROWS=yes';
  end if;
end
$$;

drop function app.next_task_id();
drop table app.users;
drop function app.refuse_recount();

create or replace function app.schema_version() returns integer
language sql immutable parallel safe
return 2;
