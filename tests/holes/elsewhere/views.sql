-- A database that isolates users only by views: no role has privileges on tables, and none has row security.

-- the platform
create role clerk nologin;
alter role clerk set statement_timeout = '5s';
create schema store;
create schema desk;
grant usage on schema desk to clerk;
create function store.firm() returns integer language sql stable as $$ select nullif(current_setting('shop.firm', true), '')::integer $$;
create table store.orders (id bigint primary key, firm integer not null, user_id text, total numeric);
create view desk.orders with (security_barrier) as select id, total from store.orders o where o.firm = store.firm() with cascaded check option;
grant select, insert, update, delete on desk.orders to clerk;

-- a view without security_barrier: warning view desk.bills
create table store.bills (id bigint primary key, firm integer not null, user_id text, total numeric);
create view desk.bills as select id, total from store.bills b where b.firm = store.firm();
grant select on desk.bills to clerk;

-- a view without a filter: hole view desk.totals
create view desk.totals with (security_barrier) as select firm, sum(total) as total from store.orders group by firm;
grant select on desk.totals to clerk;

-- a view whose filter does not contain the user: hole view desk.large
create view desk.large with (security_barrier) as select id, total from store.orders o where o.total > 1000;
grant select on desk.large to clerk;
