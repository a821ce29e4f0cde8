-- Members: a new task is given the columns that its JSON names, as the catalog has them, so that one more needs no other copy.
set local lock_timeout = '5s';

-- PL/pgSQL would keep a plan for fixed columns; these it plans at each call. Null and absent are the same: a
-- column's default.
create or replace function app.insert_task(wanted json) returns json
language plpgsql volatile
set search_path = pg_catalog  -- since PL/pgSQL looks names and operators up when it runs
as $$
declare
  columns text;
  expressions text;
  made app.tasks;
begin
  select string_agg(quote_ident(a.attname), ', ' order by a.attnum), string_agg(format('($1).%I', a.attname), ', ' order by a.attnum)
  into columns, expressions
  from pg_attribute as a
  where a.attrelid = 'app.tasks'::regclass and a.attnum > 0 and not a.attisdropped
    and wanted->>a.attname is not null;

  execute format('insert into app.tasks (%s) values (%s) returning *', columns, expressions)
  into made
  using json_populate_record(null::app.tasks, wanted);
  return to_json(made);
end
$$;

comment on function app.insert_task(json) is
  'Creates a task with the members of a JSON object, and returns all columns of its row.';

create or replace function app.schema_version() returns integer
language sql immutable parallel safe
return 14;
