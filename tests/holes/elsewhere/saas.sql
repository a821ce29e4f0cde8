-- Tenants of a service, in a schema that happens to be called app, behind one login.

-- the platform
create role saas_owner login;
create role saas_app login;
alter role saas_app set statement_timeout = '10s';
create schema app authorization saas_owner;
grant usage on schema app to saas_app;
set local role saas_owner;
create table app.tenants (id uuid primary key, name text not null);
create table app.users (id uuid primary key default gen_random_uuid(), tenant_id uuid not null references app.tenants, email text not null, unique (tenant_id, email));
create table app.tasks (id uuid primary key default gen_random_uuid(), tenant_id uuid not null references app.tenants, user_id uuid not null references app.users, title text);
alter table app.tenants enable row level security;
alter table app.users enable row level security;
alter table app.tasks enable row level security;
alter table app.tenants force row level security;
alter table app.users force row level security;
alter table app.tasks force row level security;
create policy tenant_isolation on app.tenants using (id = current_setting('app.current_tenant')::uuid);
create policy tenant_isolation on app.users using (tenant_id = current_setting('app.current_tenant')::uuid) with check (tenant_id = current_setting('app.current_tenant')::uuid);
create policy tenant_isolation on app.tasks using (tenant_id = current_setting('app.current_tenant')::uuid);
grant select on app.tenants to saas_app;
grant select, insert, update, delete on app.users, app.tasks to saas_app;
reset role;

-- sound: a function in PL/pgSQL that names the tenant
set local role saas_owner;
create function app.tenant_id() returns uuid language plpgsql stable as $$ begin return nullif(current_setting('app.current_tenant', true), '')::uuid; exception when invalid_text_representation then return null; end $$;
create table app.files (id uuid primary key default gen_random_uuid(), tenant_id uuid not null default app.tenant_id() references app.tenants, path text);
alter table app.files enable row level security;
alter table app.files force row level security;
create policy tenant_isolation on app.files using (tenant_id = app.tenant_id());
grant select, insert, update, delete on app.files to saas_app;
reset role;

-- a setting of the application that makes all rows visible: warning policy claim app.is_support
create policy support on app.tasks for select using (current_setting('app.is_support', true) = 'on');

-- a table forgotten: hole row_security app.invoices
create table app.invoices (id uuid primary key default gen_random_uuid(), tenant_id uuid not null references app.tenants, total integer);
grant select, insert on app.invoices to saas_app;

-- null tenants for all: warning policy shared on app.tasks
create policy shared on app.tasks for select using (tenant_id = current_setting('app.current_tenant')::uuid or title like 'public%');

-- sound: a flag for administrators, as a Django library sets it
create policy bypass on app.users using (case when (select current_setting('rls.is_admin', true)) = 'true' then true else tenant_id = nullif((select current_setting('app.current_tenant', true)), '')::uuid end);
create policy flag on app.tasks using (coalesce(current_setting('rls.is_admin', true), '') = 'on' or tenant_id = current_setting('app.current_tenant')::uuid);

-- a flag that is set by default: warning policy flag on app.tasks
create policy flag on app.tasks using (coalesce(current_setting('rls.is_admin', true), 'on') = 'on' or tenant_id = current_setting('app.current_tenant')::uuid);

-- all rows without the flag: hole policy flag on app.tasks
create policy flag on app.tasks using (case when current_setting('rls.is_user', true) = 'on' then tenant_id = current_setting('app.current_tenant')::uuid else true end);

-- a flag that is not compared: hole policy flag on app.tasks
create policy flag on app.tasks using (current_setting('rls.is_admin', true) <> 'off' or tenant_id = current_setting('app.current_tenant')::uuid);

-- one grant on several tables: hole privilege app.tasks, app.users
grant truncate on app.users, app.tasks to saas_app;

-- sound: a tool that the application's login has installed
create schema hdb_catalog authorization saas_app;
set local role saas_app;
create table hdb_catalog.hdb_version (hasura_uuid uuid primary key default gen_random_uuid(), version text not null);
create type hdb_catalog.state as enum ('new', 'done');
reset role;

-- a table of the application that its login owns, beside a tool: hole role_ownership app.users
create schema hdb_catalog authorization saas_app;
alter table app.users owner to saas_app;
