-- Audit: which findings of sql/audit.sql are kept on purpose, by whom and why.
set local lock_timeout = '5s';

create schema audit;
comment on schema audit is 'What the audit of this database has to know: findings that somebody accepted.';

create table audit.accepted (
  check_name text not null,
  object text not null,
  reason text not null,
  accepted_by text not null default session_user,
  accepted_on date not null default current_date,
  expires_on date,
  constraint accepted_pkey primary key (check_name, object),
  constraint accepted_reason_given check (reason ~ '\S')
);

comment on table audit.accepted is
  'Findings that are kept on purpose: the audit lists them as accepted, and the API starts in spite of them.';
comment on column audit.accepted.check_name is 'The check_name of the finding, as the audit gives it.';
comment on column audit.accepted.object is 'The object of the finding, as the audit gives it.';
comment on column audit.accepted.reason is 'Why it is no danger here, for whoever reads it in a year.';
comment on column audit.accepted.accepted_by is 'The role that accepted it.';
comment on column audit.accepted.accepted_on is 'The day it was accepted.';
comment on column audit.accepted.expires_on is 'The day from which it refuses again; null is never.';

-- Not forced: only the owner writes here, and may.
alter table audit.accepted enable row level security;

create policy select_all on audit.accepted
  for select
  to public
  using (true);
comment on policy select_all on audit.accepted is 'Whoever runs the audit sees what was accepted.';

-- insert, update and delete are withheld from everybody: who could accept a finding could open a hole.
grant usage on schema audit to public;
grant select on audit.accepted to public;

create or replace function app.schema_version() returns integer
language sql immutable parallel safe
return 10;
