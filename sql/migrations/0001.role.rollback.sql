set local lock_timeout = '5s';

drop schema app;

-- The role stays where another database of the cluster still uses it, or where somebody else made it.
do $$
begin
  drop role tasks_api;
exception
  when dependent_objects_still_exist or insufficient_privilege then
    raise notice 'role tasks_api is kept: %', sqlerrm;
end
$$;
