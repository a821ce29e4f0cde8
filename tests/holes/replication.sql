-- Replication: rows that leave, or come in, past every policy.

-- publication of all: warning publication everything
create publication everything for all tables;

-- publication of tasks: warning publication tasks_feed
create publication tasks_feed for table app.tasks;

-- publication of a row: warning publication filtered
create publication filtered for table app.users where (id = 'alice') with (publish = 'insert');

-- publication of a schema: warning publication schema_wide
create publication schema_wide for tables in schema app;
