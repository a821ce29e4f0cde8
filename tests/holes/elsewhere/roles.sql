-- A database in which each user is a role, as in PostgreSQL's own examples. The first block is sound.

-- leave requests
create role staff nologin;
alter role staff set statement_timeout = '5s';
create schema hr;
grant usage on schema hr to staff;
create table hr.leave (id uuid primary key default gen_random_uuid(), username name not null default current_user, days integer);
alter table hr.leave enable row level security;
create policy own on hr.leave to staff using (username = current_user) with check (username = current_user);
grant select, insert, update, delete on hr.leave to staff;

-- sound: a manager sees a team
create table hr.teams (member name primary key, manager name not null);
alter table hr.teams enable row level security;
create policy own on hr.teams for select to staff using (manager = current_user);
grant select on hr.teams to staff;
create policy team on hr.leave for select to staff using (exists (select from hr.teams t where t.member = leave.username and t.manager = current_user));

-- all who are named: warning policy named on hr.leave
create policy named on hr.leave for select to staff using (current_user is not null);

-- all but one: hole policy others on hr.leave
create policy others on hr.leave for select to staff using (username <> current_user);

-- the API's role owns a table: hole role_ownership hr.reviews
create table hr.reviews (id uuid primary key default gen_random_uuid(), username name not null, body text);
alter table hr.reviews enable row level security;
create policy own on hr.reviews to staff using (username = current_user);
alter table hr.reviews owner to staff;

-- the API's role bypasses row security: hole role_attribute staff
alter role staff bypassrls;

-- all members of staff: hole policy members on hr.leave
create policy members on hr.leave for select to staff using (pg_has_role(current_user, 'staff', 'member'));

-- sound: a definer for the login
create function hr.mine() returns setof hr.leave language sql stable security definer set search_path = pg_catalog, pg_temp as $$ select * from hr.leave where username = session_user $$;

-- current_user is the owner in a definer: hole security_definer hr.mine()
create function hr.mine() returns setof hr.leave language sql stable security definer set search_path = pg_catalog, pg_temp as $$ select * from hr.leave where username = current_user $$;

-- sound: a role of support staff that reads all
create role support login; grant usage on schema hr to support; grant select on hr.leave to support;
create role alice login in role staff;
create policy support on hr.leave for select to support using (true);

-- a role of support staff that a user can become: warning policy support on hr.leave
create role support nologin; grant usage on schema hr to support; grant select on hr.leave to support;
create role alice login in role staff, support;
create policy support on hr.leave for select to support using (true);

-- a temporary table replaces the teams: hole search_path hr.manages(name)
create table hr.teams (member name primary key, manager name not null);
alter table hr.teams enable row level security;
create function hr.manages(who name) returns boolean language sql stable security definer set search_path = hr as $$ select exists (select from teams t where t.member = who and t.manager = session_user) $$;
create policy team on hr.leave for select to staff using (hr.manages(username));

-- the login of the users' role bypasses row security: hole role_attribute carol
create role carol login bypassrls in role staff;

-- a user that is not set counts as the row's own: hole policy mine on hr.leave
create policy mine on hr.leave for select to staff using (username = coalesce(nullif(current_setting('hr.user', true), ''), username::text));

-- sound: a role of the office that also has rows of its own
create role office nologin; grant usage on schema hr to office;
create role alice login in role staff; create role carol login in role office;
create table hr.rooms (id int primary key, username name not null default current_user);
alter table hr.rooms enable row level security;
create policy own on hr.rooms for select to staff using (username = current_user);
create policy office on hr.rooms to office using (true);
grant select on hr.rooms to staff; grant select, insert, update, delete on hr.rooms to office;
create policy own_of_office on hr.leave for select to office using (username = current_user);
grant select on hr.leave to office;
