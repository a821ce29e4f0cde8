-- Somebody else's database: tenants by uuid, named in a claim of a token that PostgREST would put into a setting.

-- the shop, sound
create role web nologin;
alter role web set statement_timeout = '5s';
alter role web set lock_timeout = '2s';
alter role web set idle_in_transaction_session_timeout = '10s';
create schema shop;
grant usage on schema shop to web;
create table shop.customers (
  tenant_id uuid not null default (current_setting('request.jwt.claims', true)::json ->> 'sub')::uuid,
  id bigint generated always as identity,
  name text not null,
  primary key (tenant_id, id));
create table shop.orders (
  tenant_id uuid not null default (current_setting('request.jwt.claims', true)::json ->> 'sub')::uuid,
  id uuid not null default gen_random_uuid(),
  customer_id bigint not null,
  primary key (id),
  unique (tenant_id, id),
  foreign key (tenant_id, customer_id) references shop.customers);
create table shop.currencies (code text primary key);
alter table shop.customers enable row level security;
alter table shop.customers force row level security;
alter table shop.orders enable row level security;
alter table shop.orders force row level security;
alter table shop.currencies enable row level security;
create policy tenant on shop.customers to web
  using (tenant_id = (current_setting('request.jwt.claims')::json ->> 'sub')::uuid);
create policy tenant on shop.orders to web
  using (tenant_id = (select (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')::uuid))
  with check (tenant_id = (select (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')::uuid));
create policy everybody on shop.currencies for select to web using (true);
grant select, insert, update, delete on shop.customers, shop.orders to web;
grant select on shop.currencies to web;
grant usage on all sequences in schema shop to postgres;

-- row security off: hole row_security shop.invoices
create table shop.invoices (tenant_id uuid not null, id uuid primary key);
grant select on shop.invoices to web;

-- not forced: hint row_security_not_forced shop.customers
alter table shop.customers no force row level security;

-- for all to see: hole policy everyone on shop.orders
create policy everyone on shop.orders for select to web using (true);

-- another claim: warning policy by_role on shop.orders
create policy by_role on shop.orders to web using (tenant_id = (current_setting('request.jwt.claims')::json ->> 'tenant')::uuid);

-- another setting: hole policy by_setting on shop.customers
create policy by_setting on shop.customers to web using (tenant_id = current_setting('shop.tenant')::uuid);

-- a way out: hole policy with_or on shop.orders
create policy with_or on shop.orders to web
  using (tenant_id = (current_setting('request.jwt.claims')::json ->> 'sub')::uuid or current_setting('shop.admin', true) = 'on');

-- a leak beside it: warning policy_leak narrow on shop.orders
create policy narrow on shop.orders as restrictive to web using (id::text::int > 0 or true);

-- a view of the owner: hole view shop.all_orders
create view shop.all_orders as select tenant_id, id from shop.orders;
grant select on shop.all_orders to web;

-- a definer: hole security_definer shop.count_orders()
create function shop.count_orders() returns bigint language sql security definer as 'select count(*) from shop.orders';

-- a key over all: hole unique_key one_name on shop.customers
create unique index one_name on shop.customers (name);

-- a reference to anybody: warning foreign_key favourite on shop.customers
alter table shop.customers add column order_id uuid constraint favourite references shop.orders;

-- a trigger that tells: hole trigger shop.tell() by trigger tells on shop.orders
create function shop.tell() returns trigger language plpgsql as $$ begin perform pg_notify('orders', new.id::text); return new; end $$;
create trigger tells after insert on shop.orders for each row execute function shop.tell();

-- a setting of the role: hole setting role web set request.jwt.claims
alter role web set request.jwt.claims = '{"sub": "00000000-0000-0000-0000-000000000001"}';

-- truncate: hole privilege shop.customers
grant truncate on shop.customers to web;

-- a stranger's trigger: hole privilege shop.orders
create role vendor login;
grant trigger on shop.orders to vendor;
