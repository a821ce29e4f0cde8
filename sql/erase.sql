-- Erase one user and all that is theirs, in one transaction:
--
--   psql -X -v user=alice -d DATABASE -f sql/erase.sql
--
-- As the owner of the database, who need be no superuser, or as one. Make sure that they get no token any
-- more: a request of theirs that comes later enters them anew, and their ids begin at 1 again. Other users
-- wait for nothing meanwhile. What was erased stays in the files until vacuum (analyze), and in backups.
\set ON_ERROR_STOP on
begin;

select 'erasing ' || :'user' || ': ' || (select count(*) from app.tasks where user_id = :'user') || ' tasks'
  as summary;

-- The policy delete_named lets the owner delete this user and no other; the foreign keys take the rest along.
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
