-- The application logs in as the owner of its tables, as with the migrations of Rails or Django. Row security is forced.

-- the platform
create role shop login;
alter role shop set statement_timeout = '5s';
grant create, usage on schema public to shop;
set local role shop;
create table public.schema_migrations (version varchar primary key);
create table public.firms (id bigserial primary key, name varchar not null);
create table public.invoices (id bigserial primary key, firm_id bigint not null references public.firms, number varchar not null);
alter table public.firms enable row level security, force row level security;
alter table public.invoices enable row level security, force row level security;
create policy mine on public.firms using (id = nullif(current_setting('app.current_firm', true), '')::bigint);
create policy mine on public.invoices using (firm_id = nullif(current_setting('app.current_firm', true), '')::bigint);
reset role;

-- not forced, so the owner bypasses the policies: hole row_security_not_forced public.invoices
alter table public.invoices no force row level security;

-- a table without row security: hole row_security public.payments
set local role shop;
create table public.payments (id bigserial primary key, firm_id bigint not null references public.firms, amount numeric);
reset role;

-- another role of the application, which bypasses row security through the owner: hole role_membership web -> shop
create role web login;
grant select on public.invoices to web;
grant shop to web;
