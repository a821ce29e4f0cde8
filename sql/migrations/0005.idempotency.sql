-- Idempotency: what a client's Idempotency-Key created, so that a repeat creates nothing more.
set local lock_timeout = '5s';

create table app.idempotency_keys (
  user_id text collate "C" not null default app.current_user_id(),
  key text collate "C" not null,
  task json not null,
  created_at timestamptz not null default now(),
  constraint idempotency_keys_pkey primary key (user_id, key),
  constraint idempotency_keys_user_id_fkey foreign key (user_id) references app.users on delete cascade,
  constraint idempotency_keys_key_format check (key ~ '^[\x20-\x7e]{1,255}$')
);

comment on table app.idempotency_keys is 'The answers already given to requests with an Idempotency-Key.';
comment on column app.idempotency_keys.user_id is 'Whose key it is: keys of different users never meet.';
comment on column app.idempotency_keys.key is 'What the client sent: 1 to 255 printable ASCII characters.';
comment on column app.idempotency_keys.task is 'The task as it was created, to answer a repeat with.';
comment on column app.idempotency_keys.created_at is 'When it was first used; honoured for 24 hours from then.';

create index idempotency_keys_by_age on app.idempotency_keys (user_id, created_at);
comment on index app.idempotency_keys_by_age is 'Finds the keys of one user that have served their time.';

alter table app.idempotency_keys enable row level security;
alter table app.idempotency_keys force row level security;

create policy select_own on app.idempotency_keys
  for select
  to tasks_api
  using (user_id = app.current_user_id());
comment on policy select_own on app.idempotency_keys is 'Users see their own keys only.';

create policy insert_own on app.idempotency_keys
  for insert
  to tasks_api
  with check (user_id = app.current_user_id());
comment on policy insert_own on app.idempotency_keys is 'Users keep keys for themselves only.';

create policy delete_expired on app.idempotency_keys
  for delete
  to tasks_api
  using (user_id = app.current_user_id() and created_at < now() - interval '24 hours');
comment on policy delete_expired on app.idempotency_keys is 'Users'' own keys go, and only after their 24 hours.';

-- update is withheld: an answer once given stays as it was.
-- user_id and created_at are withheld: the database decides them.
grant select, delete, insert (key, task) on app.idempotency_keys to tasks_api;

create or replace function app.schema_version() returns integer
language sql immutable parallel safe
return 5;
