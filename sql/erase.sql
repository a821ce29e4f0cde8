-- Erase one user with all tasks and idempotency keys, in one transaction:
--
--   psql -X -v user=alice -d DATABASE -f sql/erase.sql
--
-- Run it as the owner of the database or as a superuser. First make sure that the user gets no new token and that all
-- old ones have expired: a later request would create the user again, with task ids from 1. Requests of other users
-- do not wait for it. The bytes of erased rows stay in backups. They also stay in the files of the tables, even after
-- vacuum, until their space is reused. `vacuum full` of the three tables removes them at once; requests wait for it.
-- The statistics can contain the user's id until the next analyze.
\set ON_ERROR_STOP on
begin;
set local search_path = pg_catalog, pg_temp; -- so that no operator of another role is called

select 'erasing ' || :'user' || ': ' || (select count(*) from app.tasks where user_id = :'user') || ' tasks'
  as summary;

-- The policy delete_named lets the owner delete only this user. The foreign keys delete the rest by cascade.
set local app.user_id = :'user';

do $$
begin
  delete from app.users where id = app.current_user_id();
  if not found then
    raise exception 'nothing was erased: no user %, or % is not the owner of database %',
      app.current_user_id(), current_user, current_database();
  end if;
end
$$;

commit;
