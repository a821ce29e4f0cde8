-- Tags: what a task is about, a few words in the order of its user.
set local lock_timeout = '5s';

create function app.tags(value jsonb) returns text[]
language sql immutable strict parallel safe
return (
  select coalesce(array_agg(tag order by place), '{}')
  from (
    select app.trimmed(sent.tag) as tag, min(sent.place) as place
    from jsonb_array_elements_text(value) with ordinality as sent (tag, place)
    group by app.trimmed(sent.tag)
  ) as once
);

comment on function app.tags(jsonb) is
  'The strings of a JSON array without white space at their ends, none twice, in their order.';
revoke execute on function app.tags(jsonb) from public;
grant execute on function app.tags(jsonb) to tasks_api;

create function app.are_tags(value text[]) returns boolean
language sql immutable parallel safe
return (
  select array_ndims(value) = 1 and count(distinct tag) = count(*)
    and bool_and(tag = app.trimmed(tag) and char_length(tag) between 1 and 50)
  from unnest(value) as tag
);

comment on function app.are_tags(text[]) is
  'Whether each is of 1 to 50 characters without white space at its ends, and none is there twice.';
revoke execute on function app.are_tags(text[]) from public;
grant execute on function app.are_tags(text[]) to tasks_api;

alter table app.tasks add column tags text[] not null default '{}';
alter table app.tasks add constraint tasks_tags_count check (cardinality(tags) <= 20) not valid;
-- A task without tags, as most are, calls no function.
alter table app.tasks add constraint tasks_tags_words check (tags = '{}' or app.are_tags(tags)) not valid;

comment on column app.tasks.tags is
  'What it is about: at most 20 tags of 1 to 50 characters, none twice, in the order in which they were sent.';
grant insert (tags), update (tags) on app.tasks to tasks_api;

-- Nothing that users write is in the planner's statistics. Citus takes this form only where it is not passed on.
set local citus.enable_ddl_propagation = off;
alter table app.tasks alter column tags set statistics 0;
set local citus.enable_ddl_propagation = on;

create or replace function app.schema_version() returns integer
language sql immutable parallel safe
return 18;
