"""What the audit must report and what it must not: planted holes with their exploits, and sound variations.

Every exploit runs as tasks_api in the name of mallory, against a task `secret` of alice, and answers true.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Hole:
    """A hole to plant: the finding that must name it, and SQL that goes through it."""

    name: str
    check: str
    object: str
    plant: str
    exploit: str = ""
    severity: str = "hole"
    since: int = 15
    until: int = 99
    alone: bool = False  # it can't be planted beside others
    mended: bool = True  # the remedy can be pasted as it is
    icu: bool = False  # needs a server built with ICU


SEES = "select exists (select from {} where user_id = 'alice')"
TASKS = SEES.format("app.tasks")
COUNTS = "select count(*) > 0 from {}"
LEARNS = "select raises('23505', $$ {} $$)"  # a duplicate key tells of another user's row
OWN = "user_id = app.current_user_id()"


def table(name: str, columns: str = "", key: str = "primary key (user_id, id)", grants: str = "") -> str:
    """SQL for one more table that is properly protected."""
    return f"""
    create table {name} (
      id bigint not null default app.next_task_id(),
      user_id text collate "C" not null default app.current_user_id() references app.users on delete cascade,
      {columns and columns + ","} {key});
    alter table {name} enable row level security;
    alter table {name} force row level security;
    create policy own on {name} for all to tasks_api using ({OWN}) with check ({OWN});
    {grants or f"grant select, insert, update, delete on {name} to tasks_api"};
    """


def policy(name: str, clauses: str, on: str = "app.tasks", to: str = "tasks_api") -> str:
    """SQL for one more policy."""
    return f"create policy {name} on {on} {clauses.replace(' using', f' to {to} using', 1)};"


def reads(name: str, using: str, exploit: str = TASKS, before: str = "") -> Hole:
    """One more policy that lets somebody read too much."""
    return Hole(
        name, "policy", f"{name} on app.tasks", before + policy(name, f"for select using ({using})"), exploit, icu="icu" in before
    )


ROLES = [
    Hole("superuser", "role_attribute", "tasks_api", "alter role tasks_api superuser", TASKS, alone=True),
    Hole("bypassrls", "role_attribute", "tasks_api", "alter role tasks_api bypassrls", TASKS, alone=True),
    Hole("createrole", "role_attribute", "tasks_api", "alter role tasks_api createrole", alone=True),
    Hole("createdb", "role_attribute", "tasks_api", "alter role tasks_api createdb", alone=True),
    Hole("replication", "role_attribute", "tasks_api", "alter role tasks_api replication", alone=True),
    *(
        Hole(f"member_of_{role}", "role_membership", f"tasks_api -> {role}", f"grant {role} to tasks_api", exploit)
        for role, exploit in {
            "pg_read_all_data": "",
            "pg_write_all_data": "",
            "pg_read_server_files": "create temp table f (line text); copy f from 'PG_VERSION'; select count(*) > 0 from f",
            "pg_write_server_files": "",
            "pg_execute_server_program": "create temp table f (line text); copy f from program 'echo x'; select count(*) > 0 from f",
            "pg_read_all_settings": "",
            "pg_signal_backend": "",
            "pg_checkpoint": "",
        }.items()
    ),
    Hole("member_of_pg_maintain", "role_membership", "tasks_api -> pg_maintain", "grant pg_maintain to tasks_api", since=17),
    Hole(
        "chain_to_a_predefined_role", "role_membership", "tasks_api -> ops -> pg_stat_scan_tables",
        "create role ops; grant pg_stat_scan_tables to ops; grant ops to tasks_api",
    ),
    Hole(
        "member_of_one_who_bypasses", "role_attribute", "tasks_api -> reporting",
        "create role reporting bypassrls; grant usage on schema app to reporting; grant select on app.tasks to reporting; grant reporting to tasks_api",
        "set local role reporting; " + TASKS,
    ),
    Hole(
        "member_through_two_others", "role_attribute", "tasks_api -> team -> boss",
        "create role boss superuser; create role team; grant boss to team; grant team to tasks_api",
        "set local role boss; " + TASKS,
    ),
    Hole(
        "member_without_inheriting", "role_membership", "tasks_api -> sleeper",
        "create role sleeper; grant usage on schema app to sleeper; grant select on app.tasks to sleeper; create policy sleepers on app.tasks to sleeper using (true); grant sleeper to tasks_api with inherit false, set true",
        "set local role sleeper; " + TASKS, since=16,
    ),
    Hole(
        "member_by_admin_option_alone", "role_membership", "tasks_api -> locked",
        "create role locked; grant locked to tasks_api with admin true, inherit false, set false", since=16,
    ),
    Hole(
        "member_without_options", "role_membership", "tasks_api -> inert",
        "create role inert; grant inert to tasks_api with admin false, inherit false, set false",
        severity="warning", since=16,
    ),
    Hole("impersonator", "role_impersonation", "web -> tasks_api", "create role web login; grant tasks_api to web"),
    Hole(
        "impersonator_through_a_group", "role_impersonation", "intern -> interns -> tasks_api",
        "create role interns; create role intern login; grant tasks_api to interns; grant interns to intern",
    ),
    Hole(
        "impersonator_by_admin_option", "role_impersonation", "clerk -> tasks_api",
        "create role clerk login; grant tasks_api to clerk with admin true, inherit false, set false", since=16,
    ),
    Hole("owner_of_a_table", "role_ownership", "app.tasks", "alter table app.tasks owner to tasks_api", "alter table app.tasks no force row level security; " + TASKS, alone=True),
    Hole("owner_of_a_function", "role_ownership", "app.current_user_id()", "alter function app.current_user_id() owner to tasks_api", alone=True),
    Hole("owner_of_a_schema", "role_ownership", "app", "alter schema app owner to tasks_api", alone=True),
    Hole("owner_of_a_view", "role_ownership", "app.view_of_mine", "create view app.view_of_mine with (security_invoker) as select 1 as one; alter view app.view_of_mine owner to tasks_api"),
    Hole("owner_of_a_sequence", "role_ownership", "app.counter_of_mine", "create sequence app.counter_of_mine; alter sequence app.counter_of_mine owner to tasks_api"),
    Hole("owner_of_a_type", "role_ownership", "app.mood", "create type app.mood as enum ('good'); alter type app.mood owner to tasks_api"),
    Hole("owner_of_a_large_object", "role_ownership", "4711", "select lo_create(4711); alter large object 4711 owner to tasks_api"),
    Hole(
        "owner_through_a_role", "role_ownership", "app.idempotency_keys",
        "create role archivist; alter table app.idempotency_keys owner to archivist; grant archivist to tasks_api", alone=True,
    ),
    Hole(
        "owner_of_the_database", "role_ownership", "{database}", "alter database {database} owner to tasks_api", alone=True,
    ),
    *(
        Hole(f"no_{limit}", "role_limit", "tasks_api", plant, severity="warning", alone=True)
        for limit, plant in {
            "statement_timeout": "alter role tasks_api reset statement_timeout",
            "lock_timeout": "alter role tasks_api set lock_timeout = 0",
            "idle_in_transaction_session_timeout": "alter role tasks_api in database {database} set idle_in_transaction_session_timeout = '0'",
        }.items()
    ),
]

PLAIN = "create table {0} (user_id text, title text); insert into {0} values ('alice', 'secret'); grant select on {0} to tasks_api;"

REACH = [
    Hole("row_security_off", "row_security", "app.tasks", "alter table app.tasks disable row level security", TASKS),
    Hole("row_security_off_for_users", "row_security", "app.users", "alter table app.users disable row level security", "select count(*) > 1 from app.users"),
    Hole("row_security_not_forced", "row_security_not_forced", "app.idempotency_keys", "alter table app.idempotency_keys no force row level security"),
    Hole("new_table_without", "row_security", "app.notes", PLAIN.format("app.notes"), SEES.format("app.notes")),
    Hole("new_table_in_public", "row_security", "public.notes", PLAIN.format("public.notes"), SEES.format("public.notes")),
    Hole("odd_name", "row_security", 'app."My ""Notes"""', PLAIN.format('app."My ""Notes"""'), SEES.format('app."My ""Notes"""')),
    Hole(
        "new_table_for_everybody", "row_security", "public.lists",
        PLAIN.format("public.lists").replace("to tasks_api", "to public"), SEES.format("public.lists"),
    ),
    Hole(
        "new_table_in_another_schema", "row_security", "archive.tasks",
        "create schema archive; grant usage on schema archive to public;" + PLAIN.format("archive.tasks"), SEES.format("archive.tasks"),
    ),
    Hole(
        "one_column_of_a_table", "row_security", "app.marks",
        PLAIN.format("app.marks").replace("grant select", "grant select (user_id)"), SEES.format("app.marks"),
    ),
    Hole(
        "table_of_an_inherited_role", "row_security", "public.of_a_team",
        "create role a_team; grant a_team to tasks_api;" + PLAIN.format("public.of_a_team").replace("to tasks_api", "to a_team"),
        SEES.format("public.of_a_team"),
    ),
    Hole(
        "partition", "row_security", "app.parted_0",
        table("app.parted").replace("primary key (user_id, id));", "primary key (user_id, id)) partition by hash (user_id);")
        + "create table app.parted_0 partition of app.parted for values with (modulus 1, remainder 0);"
        + "insert into app.parted values (1, 'alice'); grant select on app.parted_0 to tasks_api",
        SEES.format("app.parted_0"),
    ),
    Hole(
        "inheritance_child", "row_security", "app.old_tasks",
        "create table app.old_tasks () inherits (app.tasks); insert into app.old_tasks select * from app.tasks; grant select on app.old_tasks to tasks_api",
        SEES.format("app.old_tasks"),
    ),
    Hole(
        "inheritance_parent", "row_security", "app.things",
        "create table app.things (title text not null); alter table app.tasks inherit app.things; grant select on app.things to tasks_api",
        "select exists (select from app.things where title = 'secret')",
    ),
    Hole(
        "foreign_table", "foreign_table", "app.far",
        "create foreign data wrapper nowhere; create server nowhere foreign data wrapper nowhere; create foreign table app.far (user_id text) server nowhere; grant select on app.far to tasks_api",
    ),
    Hole(
        "materialised_view", "materialized_view", "app.copy",
        "create materialized view app.copy as select user_id, title from app.tasks; grant select on app.copy to tasks_api", SEES.format("app.copy"),
    ),
    Hole(
        "view_as_owner", "view", "app.all_tasks",
        "create view app.all_tasks as select user_id, title from app.tasks; grant select on app.all_tasks to tasks_api", SEES.format("app.all_tasks"),
    ),
    Hole(
        "view_that_says_no", "view", "app.said_no",
        "create view app.said_no with (security_invoker = off, security_barrier) as select user_id from app.tasks; grant select on app.said_no to tasks_api",
        SEES.format("app.said_no"),
    ),
    Hole(
        "view_for_everybody", "view", "public.tasks_view",
        "create view public.tasks_view as select user_id from app.tasks; grant select on public.tasks_view to public", SEES.format("public.tasks_view"),
    ),
    Hole(
        "view_on_a_view_as_owner", "view", "app.outer_view",
        "create view app.inner_view as select user_id from app.tasks; create view app.outer_view with (security_invoker) as select user_id from app.inner_view; grant select on app.inner_view, app.outer_view to tasks_api",
        SEES.format("app.outer_view"),
    ),
    Hole(
        "view_as_owner_on_an_invoker_view", "view", "app.outside",
        "create view app.inside with (security_invoker) as select user_id from app.tasks; create view app.outside as select user_id from app.inside; grant select on app.outside to tasks_api",
        severity="warning",
    ),
    Hole(
        "view_on_a_copy", "view", "app.on_a_copy",
        "create materialized view app.kept as select user_id from app.tasks; create view app.on_a_copy with (security_invoker) as select user_id from app.kept; grant select on app.kept, app.on_a_copy to tasks_api",
        SEES.format("app.on_a_copy"),
    ),
    Hole(
        "view_of_one_who_bypasses", "view", "app.by_auditor",
        "create role auditor bypassrls; grant usage, create on schema app to auditor; grant select on app.tasks to auditor; create view app.by_auditor as select user_id from app.tasks; alter view app.by_auditor owner to auditor; grant select on app.by_auditor to tasks_api",
        SEES.format("app.by_auditor"),
    ),
    Hole(
        "view_to_write_through", "view", "app.drop_box",
        "create view app.drop_box as select user_id, title, updated_at from app.tasks; grant insert on app.drop_box to tasks_api",
        "insert into app.drop_box values ('alice', 'forged', now()); select true",
    ),
    Hole(
        "view_of_one_column", "view", "app.one_column",
        "create view app.one_column as select user_id, title from app.tasks; grant select (user_id) on app.one_column to tasks_api", SEES.format("app.one_column"),
    ),
    Hole(
        "view_of_statistics", "view", "app.statistics",
        "create view app.statistics as select starelid, stavalues1::text as value from pg_statistic; grant select on app.statistics to tasks_api",
    ),
    Hole(
        "rule_that_copies", "rule", "copies on app.tasks",
        "create table app.rule_log (user_id text, title text); create rule copies as on insert to app.tasks do also insert into app.rule_log values (new.user_id, new.title)",
    ),
    Hole(
        "foreign_partition", "foreign_table", "app.abroad_1",
        table("app.abroad", key="check (true)").replace("check (true));", "check (true)) partition by list (user_id);").replace("references app.users on delete cascade", "")
        + "create foreign data wrapper elsewhere; create server elsewhere foreign data wrapper elsewhere;"
        + "create foreign table app.abroad_1 partition of app.abroad default server elsewhere",
        severity="warning",
    ),
    Hole("table_of_somebody_else", "owner", "app.rented", "create role landlord;" + table("app.rented") + "alter table app.rented owner to landlord", severity="warning"),
]

POLICIES = [
    reads("everybody", "true"),
    reads("one_more", "completed or not completed"),
    reads("by_or", f"{OWN} or completed = false"),
    reads("by_or_inside", f"({OWN} or title <> '') and version > 0"),
    reads("by_not", f"not ({OWN})"),
    reads("by_different", "user_id <> app.current_user_id()"),
    reads("by_order", "user_id <= app.current_user_id()"),
    reads("by_coalesce", "user_id = coalesce(nullif(app.current_user_id(), 'mallory'), user_id)"),
    reads("by_coalesce_around", f"coalesce(nullif({OWN}, false), true)"),
    reads("where_nobody_is_named", f"app.current_user_id() is null or {OWN}", "select set_config('app.user_id', '', true); " + TASKS),
    reads("by_distinct", "not user_id is distinct from coalesce(app.current_user_id(), 'alice')", "select set_config('app.user_id', '', true); " + TASKS),
    reads("by_another_setting", "user_id = current_setting('app.tenant', true)", "select set_config('app.tenant', 'alice', true); " + TASKS),
    reads("by_prefix", "starts_with(user_id, left(app.current_user_id(), 0))"),
    reads("by_like", "user_id like app.current_user_id()", "select set_config('app.user_id', 'al%', true); " + TASKS),
    reads("by_pattern", "user_id ~ app.current_user_id()", "select set_config('app.user_id', '.', true); " + TASKS),
    reads("by_case", "lower(user_id) = lower(app.current_user_id())", "select set_config('app.user_id', 'ALICE', true); " + TASKS),
    reads("by_length", "length(user_id) = length(app.current_user_id())", "select set_config('app.user_id', 'carol', true); " + TASKS),
    reads("by_hash", "hashtext(user_id) % 1 = hashtext(app.current_user_id()) % 1"),
    reads("by_part", "left(user_id, 1) = left(app.current_user_id(), 1)", "select set_config('app.user_id', 'anton', true); " + TASKS),
    reads("by_blank_padding", "user_id::char(10) = app.current_user_id()::char(10)", "select set_config('app.user_id', 'alice  ', true); " + TASKS),
    reads("by_cut_name", "user_id::name = app.current_user_id()::name", ""),
    reads("by_another_column", "title = app.current_user_id()", "select set_config('app.user_id', 'secret', true); " + TASKS),
    reads("by_itself", "user_id = user_id and app.current_user_id() = app.current_user_id()"),
    reads("by_database_user", "current_user = 'tasks_api'"),
    reads("by_session_user", "session_user <> user_id"),
    reads("by_list", "user_id = any (string_to_array(app.current_user_id(), ','))", "select set_config('app.user_id', 'x,alice', true); " + TASKS),
    reads("by_constant", f"{OWN} or user_id = 'alice'"),
    reads("by_case_when", f"case when {OWN} then true else version > 0 end"),
    reads("by_looser_collation", "user_id = app.current_user_id() collate app.loose", "select set_config('app.user_id', 'ALICE', true); " + TASKS,
          "create collation app.loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false);"),
    reads("by_another_function", "user_id = app.whoever()", TASKS,
          "create function app.whoever() returns text language sql stable return 'alice';"),
    reads("by_function_of_its_name", "user_id = public.current_user_id()", TASKS,
          "create function public.current_user_id() returns text language sql stable return 'alice';"),
    reads("by_function_of_a_row", "app.may_see(user_id, app.current_user_id())", TASKS,
          "create function app.may_see(text, text) returns boolean language sql stable return true;"),
    reads("by_own_operator", "user_id operator(app.=) app.current_user_id()", TASKS,
          "create function app.always(text, text) returns boolean language sql immutable return true;"
          "create operator app.= (leftarg = text, rightarg = text, function = app.always);"),
    reads("by_lookup", "exists (select from app.shares s where s.user_id = tasks.user_id and s.with_user = app.current_user_id())",
          "insert into app.shares values ('alice', 'mallory'); " + TASKS,
          "create table app.shares (user_id text, with_user text); grant select, insert on app.shares to tasks_api;"),
    reads("by_membership", "user_id in (select id from app.users)", ""),
    reads("by_sub_select_of_all", "user_id = (select user_id from app.idempotency_keys limit 1) or true"),
    Hole("for_public", "policy", "for_public on app.tasks", policy("for_public", "for select using (true)", to="public"), TASKS),
    Hole(
        "for_a_role_of_its", "policy", "for_a_role_of_its on app.tasks",
        "create role readers; grant readers to tasks_api;" + policy("for_a_role_of_its", "for select using (true)", to="readers"), TASKS,
    ),
    Hole("for_all", "policy", "for_all on app.idempotency_keys", policy("for_all", "for all using (true)", on="app.idempotency_keys"), "select exists (select from app.idempotency_keys)"),
    Hole("change_all", "policy", "change_all on app.tasks", policy("change_all", "for update using (true)") + policy("see_all", "for select using (true)"),
         "with u as (update app.tasks set title = 'x' where user_id = 'alice' returning 1) select count(*) > 0 from u"),
    Hole("delete_all", "policy", "delete_all on app.tasks", policy("delete_all", "for delete using (true)"), "delete from app.tasks; select true"),
    Hole("insert_for_anybody", "policy", "insert_for_anybody on app.users",
         "create policy insert_for_anybody on app.users for insert to tasks_api with check (true)", "insert into app.users (id) values ('victim'); select true"),
    Hole("check_weaker_than_using", "policy", "update_own on app.tasks", f"alter policy update_own on app.tasks using ({OWN}) with check (true); grant update (user_id) on app.tasks to tasks_api",
         "select set_config('app.user_id', 'alice', true); update app.tasks set user_id = 'mallory', title = 'mine'; select true", alone=True),
    Hole("check_gone", "policy", "insert_own on app.tasks", "alter policy insert_own on app.tasks with check (true)", alone=True),
    Hole("altered", "policy", "select_own on app.tasks", "alter policy select_own on app.tasks using (true)", TASKS, alone=True),
    Hole("no_policy_for_delete", "policy_missing", "app.tasks", "drop policy delete_own on app.tasks", severity="warning", alone=True),
    Hole("policy_for_somebody_else", "policy_missing", "app.users", "create role other; alter policy select_own on app.users to other", severity="warning", alone=True),
    Hole("new_table_without_policy", "policy_missing", "app.bare",
         "create table app.bare (user_id text collate \"C\" not null); alter table app.bare enable row level security; alter table app.bare force row level security; grant select on app.bare to tasks_api", severity="warning"),
    Hole("new_table_for_all_to_see", "policy", "own on app.board", table("app.board") + "alter policy own on app.board using (true)",
         "select exists (select from app.board where user_id = 'alice')".replace("'alice'", "'alice' or true").replace("select exists", "select true or exists")),
    Hole("owner_may_be_null", "owner_column", "app.tasks.user_id",
         "alter table app.tasks drop constraint tasks_pkey; alter table app.tasks alter user_id drop not null; create unique index on app.tasks (user_id, id)", alone=True),
    Hole("owner_compares_loosely", "owner_column", "app.blurred.user_id",
         "create collation app.blurry (provider = icu, locale = 'und-u-ks-level2', deterministic = false);"
         "create table app.blurred (id int, user_id text collate app.blurry not null, unique (user_id, id)); insert into app.blurred values (1, 'alice');"
         "alter table app.blurred enable row level security; alter table app.blurred force row level security;"
         f"create policy own on app.blurred to tasks_api using ({OWN}); grant select on app.blurred to tasks_api",
         "select set_config('app.user_id', 'ALICE', true); select exists (select from app.blurred)", icu=True),
    Hole("owner_is_padded", "owner_column", "app.padded.user_id",
         "create table app.padded (id int, user_id char(10) not null, unique (user_id, id)); insert into app.padded values (1, 'alice');"
         "alter table app.padded enable row level security; alter table app.padded force row level security;"
         f"create policy own on app.padded to tasks_api using (user_id = app.current_user_id()::char(10)); grant select on app.padded to tasks_api",
         "select set_config('app.user_id', 'alice  ', true); select exists (select from app.padded)"),
    Hole("owner_by_default_somebody", "owner_default", "app.tasks.user_id", "alter table app.tasks alter user_id set default 'alice'", alone=True),
    Hole("owner_by_default_coalesced", "owner_default", "app.idempotency_keys.user_id",
         "alter table app.idempotency_keys alter user_id set default coalesce(app.current_user_id(), 'anonymous')", alone=True),
]

KEYS = [
    Hole("title_unique_over_all", "unique_key", "one_title on app.tasks", "create unique index one_title on app.tasks (title)", LEARNS.format("insert into app.tasks (title) values ('secret')")),
    Hole("constraint_over_all", "unique_key", "titles on app.tasks", "alter table app.tasks add constraint titles unique (title)", LEARNS.format("insert into app.tasks (title) values ('secret')")),
    Hole("part_unique_over_all", "unique_key", "one_open on app.tasks", "create unique index one_open on app.tasks (title) where not completed", LEARNS.format("insert into app.tasks (title) values ('secret')")),
    Hole("owner_only_included", "unique_key", "with_owner on app.tasks", "create unique index with_owner on app.tasks (title) include (user_id)", LEARNS.format("insert into app.tasks (title) values ('secret')")),
    Hole("owner_in_an_expression", "unique_key", "by_lower on app.tasks", "create unique index by_lower on app.tasks (lower(user_id), title)"),
    Hole("owner_collated_loosely", "unique_key", "loosely on app.tasks",
         "create collation app.looser (provider = icu, locale = 'und-u-ks-level2', deterministic = false); create unique index loosely on app.tasks (user_id collate app.looser, title)",
         "select set_config('app.user_id', 'ALICE', true); " + LEARNS.format("insert into app.tasks (title) values ('secret')"), icu=True),
    Hole("excluded_over_all", "unique_key", "no_two on app.tasks", "alter table app.tasks add constraint no_two exclude using hash (title with =)",
         "select raises('23P01', $$ insert into app.tasks (title) values ('secret') $$)"),
    Hole("key_of_a_child", "unique_key", "child_title on app.old_tasks", "create table app.old_tasks () inherits (app.tasks); create unique index child_title on app.old_tasks (title)"),
    Hole("key_of_a_new_table", "unique_key", "tags_pkey on app.tags", table("app.tags", "name text", "primary key (name)") + "insert into app.tags values (1, 'alice', 'secret')",
         LEARNS.format("insert into app.tags (name) values ('secret')")),
    Hole("reference_to_anybodys_task", "foreign_key", "parent on app.tasks",
         "create unique index task_ids on app.tasks (id); alter table app.tasks add column parent_id bigint constraint parent references app.tasks (id); grant insert (parent_id) on app.tasks to tasks_api",
         "insert into app.tasks (title, parent_id) values ('mine', 77); select true"),
    Hole("reference_to_anybody", "foreign_key", "assigned on app.jobs",
         table("app.jobs", 'assignee text collate "C" constraint assigned references app.users on update cascade'),
         "insert into app.jobs (assignee) values ('alice'); select true"),
    Hole("counted_over_all", "shared_counter", "app.tasks.id", "create sequence app.task_ids; alter table app.tasks alter id set default nextval('app.task_ids')", alone=True),
    Hole("identity_over_all", "shared_counter", "app.tasks.id", "alter table app.tasks alter id drop default, alter id add generated always as identity", alone=True, mended=False),
]

PRIVILEGES = [
    Hole("truncate", "privilege", "app.tasks", "grant truncate on app.tasks to tasks_api", "truncate app.tasks; select true"),
    Hole("references", "privilege", "app.users", "grant references on app.users to tasks_api"),
    Hole("references_of_a_column", "privilege", "app.tasks.id", "grant references (id) on app.tasks to tasks_api"),
    Hole("trigger", "privilege", "app.idempotency_keys", "grant trigger on app.idempotency_keys to tasks_api"),
    Hole("trigger_for_public", "privilege", "app.users", "grant trigger on app.users to public"),
    Hole("maintain", "privilege", "app.tasks", "grant maintain on app.tasks to tasks_api", "lock table app.tasks; select true", since=17),
    Hole("everything_through_a_role", "privilege", "app.tasks", "create role helpers; grant all on app.tasks to helpers; grant helpers to tasks_api", "truncate app.tasks; select true"),
    Hole("update_of_the_owner", "owner_column_grant", "app.tasks.user_id", "grant update (user_id) on app.tasks to tasks_api"),
    Hole("update_of_the_user", "owner_column_grant", "app.users.id", "grant update (id) on app.users to tasks_api"),
    Hole("update_of_everything", "owner_column_grant", "app.tasks.user_id", "grant update on app.tasks to tasks_api", alone=True),
    Hole("insert_of_everything", "owner_column_grant", "app.idempotency_keys.user_id", "grant insert on app.idempotency_keys to tasks_api", alone=True),
    Hole("insert_of_the_owner", "owner_column_grant", "app.tasks.user_id", "grant insert (user_id) on app.tasks to tasks_api"),
    Hole("update_of_a_version", "decided_column_grant", "app.tasks.version", "grant update (version) on app.tasks to tasks_api",
         "select set_config('app.user_id', 'alice', true); with u as (update app.tasks set version = 99 returning version) select count(*) > 0 from u", severity="warning"),
    Hole("insert_of_a_counter", "decided_column_grant", "app.users.last_task_id", "grant insert (last_task_id) on app.users to tasks_api", severity="warning"),
    Hole("select_for_public", "public_grant", "app.tasks", "grant select on app.tasks to public"),
    Hole("column_for_public", "public_grant", "app.users.id", "grant select (id) on app.users to public"),
    Hole("usage_for_public", "public_grant", "app", "grant usage on schema app to public", severity="warning"),
    Hole("grant_option", "grant_option", "app.tasks", "grant select on app.tasks to tasks_api with grant option", "grant select on app.tasks to public; select true"),
    Hole("grant_option_on_a_column", "grant_option", "app.tasks.title", "grant update (title) on app.tasks to tasks_api with grant option"),
    Hole("grant_option_on_a_schema", "grant_option", "app", "grant usage on schema app to tasks_api with grant option"),
    Hole("grant_option_on_a_function", "grant_option", "app.trimmed(text)", "grant execute on function app.trimmed(text) to tasks_api with grant option"),
    Hole("sequence", "sequence", "app.counter", "create sequence app.counter; grant usage on sequence app.counter to tasks_api", "select nextval('app.counter') > 0"),
    Hole("sequence_for_public", "sequence", "public.counter", "create sequence public.counter; grant select on sequence public.counter to public", "select last_value > 0 from public.counter"),
    Hole("create_in_app", "create", "app", "grant create on schema app to tasks_api", "create table app.mine (x int); select true"),
    Hole("create_in_public", "create", "public", "grant create on schema public to public", "create function public.lower(text) returns text language sql return 'x'; select true"),
    Hole("create_in_another_schema", "create", "workshop", "create schema workshop; grant create, usage on schema workshop to tasks_api", "create table workshop.mine (x int); select true"),
    Hole("create_in_the_database", "create", "{database}", "grant create on database {database} to tasks_api", "create schema mine; select true"),
    Hole("temp", "temp", "{database}", "grant temp on database {database} to tasks_api", "create temp table tasks (title text); select true"),
    Hole("default_tables", "default_privilege", "postgres in schema app", "alter default privileges in schema app grant select on tables to tasks_api",
         "reset role; create table app.next (user_id text); insert into app.next values ('alice'); set local role tasks_api; " + SEES.format("app.next")),
    Hole("default_tables_for_public", "default_privilege", "default privileges of postgres", "alter default privileges grant select on tables to public"),
    Hole("default_sequences", "default_privilege", "postgres in schema app", "alter default privileges in schema app grant usage on sequences to tasks_api"),
    Hole("default_of_another_role", "default_privilege", "default privileges of builder", "create role builder; alter default privileges for role builder grant select on tables to tasks_api"),
    Hole("default_functions", "default_privilege", "postgres in schema app", "alter default privileges in schema app grant execute on functions to tasks_api", severity="warning"),
    Hole("read_files", "system_privilege", "pg_catalog.pg_read_file(text)", "grant execute on function pg_catalog.pg_read_file(text) to tasks_api", "select pg_read_file('PG_VERSION') <> ''"),
    Hole("list_directories", "system_privilege", "pg_catalog.pg_ls_dir(text)", "grant execute on function pg_catalog.pg_ls_dir(text) to public", "select count(*) > 0 from pg_ls_dir('.')"),
    Hole("import_files", "system_privilege", "pg_catalog.lo_import(text)", "grant execute on function pg_catalog.lo_import(text) to tasks_api", "select lo_import('PG_VERSION') > 0"),
    Hole("statistics", "system_privilege", "pg_catalog.pg_statistic", "grant select on pg_catalog.pg_statistic to tasks_api", "select count(*) > 0 from pg_catalog.pg_statistic"),
    Hole("passwords", "system_privilege", "pg_catalog.pg_authid.rolpassword", "grant select (rolname, rolpassword) on pg_catalog.pg_authid to tasks_api", "select count(*) > 0 from (select rolpassword from pg_authid) p"),
    Hole("large_object", "large_object", "815", "select lo_from_bytea(815, 'secret'); grant select on large object 815 to tasks_api", "select lo_get(815) = 'secret'"),
    Hole("large_object_for_public", "large_object", "816", "select lo_from_bytea(816, 'secret'); grant update on large object 816 to public"),
    Hole("parameter", "parameter", "session_replication_role", "grant set on parameter session_replication_role to tasks_api",
         "set local session_replication_role = replica; select set_config('app.user_id', 'ghost', true); insert into app.idempotency_keys (key, task) values ('x', '{}'); select true"),
    Hole("parameter_of_the_system", "parameter", "log_statement", "grant alter system on parameter log_statement to tasks_api"),
    Hole("foreign_server", "foreign_server", "abroad", "create foreign data wrapper far; create server abroad foreign data wrapper far; grant usage on foreign server abroad to tasks_api"),
    Hole("foreign_data_wrapper", "foreign_server", "wrapper", "create foreign data wrapper wrapper; grant usage on foreign data wrapper wrapper to tasks_api"),
    Hole("user_mapping", "foreign_server", "mapped", "create foreign data wrapper wide; create server mapped foreign data wrapper wide; create user mapping for tasks_api server mapped"),
    Hole("user_mapping_for_public", "foreign_server", "shared", "create foreign data wrapper open; create server shared foreign data wrapper open; create user mapping for public server shared", severity="warning"),
    Hole("tablespace", "create", "pg_default", "grant create on tablespace pg_default to tasks_api"),
    Hole("trusted_c", "language", "c", "update pg_catalog.pg_language set lanpltrusted = true where lanname = 'c'"),
]

LEAK = "returns setof app.tasks language sql stable security definer begin atomic select id, user_id, title, description, completed, version, created_at, updated_at from app.tasks; end"

CODE = [
    Hole("definer", "security_definer", "app.leak()", f"create function app.leak() {LEAK}", SEES.format("app.leak()")),
    Hole("definer_granted", "security_definer", "app.leak(integer)", f"create function app.leak(n int) {LEAK} ; revoke execute on function app.leak(int) from public; grant execute on function app.leak(int) to tasks_api", SEES.format("app.leak(1)")),
    Hole("definer_in_public", "security_definer", "public.leak()", f"create function public.leak() {LEAK}", SEES.format("public.leak()")),
    Hole("definer_procedure", "security_definer", "app.wipe()", "create procedure app.wipe() language sql security definer as 'delete from app.tasks'", "call app.wipe(); select true"),
    Hole("definer_with_search_path", "security_definer", "app.pathed()", "create function app.pathed() returns bigint language sql security definer set search_path = app, pg_temp as 'select count(*) from tasks'", "select app.pathed() > 0"),
    Hole("definer_next_id", "security_definer", "app.next_task_id()", "alter function app.next_task_id() security definer", alone=True),
    Hole("definer_in_a_default", "security_definer", "app.hidden()", "create function app.hidden() returns text language sql security definer as 'select max(title) from app.tasks'; revoke execute on function app.hidden() from public; alter table app.tasks alter description set default app.hidden()"),
    Hole("definer_in_a_check", "security_definer", "app.taken(text)", "create function app.taken(text) returns boolean language sql security definer as 'select not exists (select from app.tasks where title = $1)'; alter table app.idempotency_keys add constraint free check (app.taken(key))",
         "select raises('23514', $$ insert into app.idempotency_keys (key, task) values ('secret', '{}') $$)"),
    Hole("definer_trigger", "trigger", "app.copy_title() by trigger copies on app.tasks",
         "create table public.copies (title text); create function app.copy_title() returns trigger language plpgsql security definer as $$ begin insert into public.copies values (new.title); return new; end $$; create trigger copies after insert on app.tasks for each row execute function app.copy_title()"),
    Hole("trigger_that_renames", "trigger", "app.rename() by trigger renames on app.tasks",
         "create function app.rename() returns trigger language plpgsql as $$ begin perform set_config('app.user_id', 'alice', true); return new; end $$; create trigger renames after update on app.tasks for each row execute function app.rename()"),
    Hole("trigger_that_notifies", "trigger", "app.tell() by trigger tells on app.tasks",
         "create function app.tell() returns trigger language plpgsql as $$ begin perform pg_notify('tasks', new.title); return new; end $$; create trigger tells after insert on app.tasks for each row execute function app.tell()"),
    Hole("trigger_that_writes_elsewhere", "trigger", "app.note_it() by trigger notes on app.tasks",
         "create function app.note_it() returns trigger language plpgsql as $$ begin insert into public.log values (new.title); return new; end $$; create trigger notes after insert on app.tasks for each row execute function app.note_it()", severity="warning"),
    Hole("trigger_of_a_stranger", "untrusted_owner", "app.guest_touch()",
         "create role guest; create function app.guest_touch() returns trigger language plpgsql as $$ begin return new; end $$; alter function app.guest_touch() owner to guest; create trigger guests before insert on app.tasks for each row execute function app.guest_touch()"),
    Hole("trigger_off", "trigger_disabled", "tasks_touch on app.tasks", "alter table app.tasks disable trigger tasks_touch", severity="warning"),
    Hole("trigger_gone", "trigger_missing", "users_last_task_id_counts on app.users", "drop trigger users_last_task_id_counts on app.users",
         "select set_config('app.user_id', 'alice', true); update app.users set last_task_id = 0; select true", severity="warning"),
    Hole("keys_off", "trigger_disabled", "on app.idempotency_keys", "alter table app.idempotency_keys disable trigger all", severity="warning"),
    Hole("identity_of_a_constant", "identity_function", "app.current_user_id()", "create or replace function app.current_user_id() returns text language sql stable return 'alice'", TASKS, alone=True),
    Hole("identity_with_a_default", "identity_function", "app.current_user_id()", "create or replace function app.current_user_id() returns text language sql stable return coalesce(nullif(current_setting('app.user_id', true), ''), 'alice')", "select set_config('app.user_id', '', true); " + TASKS, alone=True),
    Hole("identity_of_another_setting", "identity_function", "app.current_user_id()", "create or replace function app.current_user_id() returns text language sql stable return nullif(current_setting('app.tenants', true), '')", "select set_config('app.tenants', 'alice', true); " + TASKS, alone=True),
    Hole("identity_without_nullif", "identity_function", "app.current_user_id()", "create or replace function app.current_user_id() returns text language sql stable return current_setting('app.user_id', true)", alone=True),
    Hole("identity_in_plpgsql", "identity_function", "app.current_user_id()", "create or replace function app.current_user_id() returns text language plpgsql stable as $$ begin return 'alice'; end $$", TASKS, alone=True),
    Hole("identity_in_lower_case", "identity_function", "app.current_user_id()", "create or replace function app.current_user_id() returns text language sql stable return lower(nullif(current_setting('app.user_id', true), ''))", "select set_config('app.user_id', 'ALICE', true); " + TASKS, alone=True),
    Hole("identity_immutable", "identity_function", "app.current_user_id()", "alter function app.current_user_id() immutable",
         "prepare mine as select user_id from app.tasks; set local plan_cache_mode = force_generic_plan; execute mine; select set_config('app.user_id', 'alice', true); "
         "select set_config('app.user_id', 'alice', true) = 'alice'", alone=True),
    Hole("identity_definer", "identity_function", "app.current_user_id()", "alter function app.current_user_id() security definer", alone=True),
    Hole("identity_of_a_stranger", "untrusted_owner", "app.current_user_id()", "create role thief login; alter function app.current_user_id() owner to thief", alone=True),
    Hole("identity_with_a_setting", "function_setting", "app.current_user_id() set app.user_id", "alter function app.current_user_id() set app.user_id = 'alice'", TASKS, alone=True),
    Hole("function_that_names_a_user", "function_setting", "app.as_alice() set app.user_id", "create function app.as_alice() returns bigint language sql set app.user_id = 'alice' as 'select count(*) from app.tasks'", "select app.as_alice() > 0"),
    Hole("function_without_row_security", "function_setting", "app.unseen() set row_security", "create function app.unseen() returns bigint language sql set row_security = off as 'select count(*) from app.tasks'"),
    Hole("function_of_another_role", "function_setting", "app.as_boss() set role", "create function app.as_boss() returns bigint language sql set role = 'postgres' as 'select count(*) from app.tasks'"),
    Hole("function_that_searches_temp", "search_path", "app.shadowed() set search_path", "create function app.shadowed() returns bigint language sql set search_path = pg_temp, app as 'select count(*) from app.tasks'"),
    Hole("system_function_with_a_setting", "function_setting", "pg_catalog.lower(text) set app.user_id", "alter function pg_catalog.lower(text) set app.user_id = 'alice'", alone=True),
    Hole("leakproof", "leakproof", "app.shout(text)",
         "create function app.shout(text) returns boolean language plpgsql leakproof cost 0.0001 as $$ begin if $1 = 'secret' then raise exception using errcode = 'P0007'; end if; return true; end $$",
         "set local enable_indexscan = off; set local enable_bitmapscan = off; select raises('P0007', $$ select from app.tasks where app.shout(title) $$)"),
    Hole("leakproof_of_postgresql", "leakproof", "pg_catalog.textlike(text, text)", "alter function pg_catalog.textlike(text, text) leakproof"),
    Hole("internal_language", "untrusted_language", "app.read_all(text)", "create function app.read_all(text) returns text language internal as 'pg_read_file_all'", "select true"),
    Hole("cast", "cast", "text as integer", "create function app.to_int(text) returns int language sql immutable return 1; create cast (text as integer) with function app.to_int(text) as implicit"),
    Hole("cast_inout", "cast", "text as bigint", "create cast (text as bigint) with inout as implicit"),
    Hole("operator", "operator", "public.=(text, text)", "create function public.same(text, text) returns boolean language sql immutable return true; create operator public.= (leftarg = text, rightarg = text, function = public.same)",
         "set local search_path = public, pg_catalog; select 'alice' = 'mallory'::text"),
    Hole("event_trigger", "event_trigger", "watch", "create function public.watch() returns event_trigger language plpgsql as $$ begin perform set_config('app.user_id', 'alice', false); end $$; create event trigger watch on ddl_command_end execute function public.watch()"),
    Hole("event_trigger_of_a_stranger", "event_trigger", "rude", "create role passer; create function public.rude() returns event_trigger language plpgsql as $$ begin end $$; alter function public.rude() owner to passer; create event trigger rude on ddl_command_end execute function public.rude()"),
]

SETTINGS = [
    Hole("role_names_a_user", "setting", "role tasks_api set app.user_id", "alter role tasks_api set app.user_id = 'alice'"),
    Hole("role_names_a_user_here", "setting", "role tasks_api in database", "alter role tasks_api in database {database} set app.user_id = 'alice'"),
    Hole("database_names_a_user", "setting", "set app.user_id", "alter database {database} set app.user_id = 'alice'"),
    Hole("everybody_is_a_user", "setting", "role all set app.user_id", "alter role all set app.user_id = 'alice'"),
    Hole("role_without_row_security", "setting", "role tasks_api set row_security", "alter role tasks_api set row_security = off"),
    Hole("database_without_row_security", "setting", "set row_security", "alter database {database} set row_security = 'false'"),
    Hole("role_as_a_replica", "setting", "role tasks_api set session_replication_role", "alter role tasks_api set session_replication_role = replica"),
    Hole("role_as_another", "setting", "role tasks_api set role", "create role another; alter role tasks_api set role = 'another'"),
    Hole("large_objects_for_all", "setting", "set lo_compat_privileges", "alter database {database} set lo_compat_privileges = on"),
    Hole("nulls_equal", "setting", "set transform_null_equals", "alter role tasks_api set transform_null_equals = on"),
    Hole("path_through_a_writable_schema", "search_path", "role tasks_api set search_path", "create schema bazaar; grant create on schema bazaar to public; alter role tasks_api set search_path = bazaar, app"),
    Hole("path_of_a_stranger", "search_path", "role tasks_api in database", "create role squatter; create schema squat authorization squatter; alter role tasks_api in database {database} set search_path = app, squat"),
    Hole("path_through_temp", "search_path", "set search_path", "alter database {database} set search_path = pg_temp, public"),
]

REPLICATION = [
    Hole("publication_of_all", "publication", "everything", "create publication everything for all tables"),
    Hole("publication_of_tasks", "publication", "tasks_feed", "create publication tasks_feed for table app.tasks"),
    Hole("publication_of_a_row", "publication", "filtered", "create publication filtered for table app.users where (id = 'alice') with (publish = 'insert')"),
    Hole("publication_of_a_schema", "publication", "schema_wide", "create publication schema_wide for tables in schema app"),
    Hole("subscription", "unknown", "feed", "create subscription feed connection 'dbname=nowhere' publication p with (connect = false, slot_name = none, enabled = false, create_slot = false)", severity="warning"),
    Hole("subscription_to_tasks", "subscription", "inflow", "create subscription inflow connection 'dbname=nowhere' publication p with (connect = false, slot_name = none, enabled = false, create_slot = false);"
         "insert into pg_subscription_rel (srsubid, srrelid, srsubstate) select oid, 'app.tasks'::regclass, 'i' from pg_subscription where subname = 'inflow'", mended=False),
]

HOLES = {
    "roles": ROLES, "reach": REACH, "policies": POLICIES, "keys": KEYS,
    "privileges": PRIVILEGES, "code": CODE, "settings": SETTINGS, "replication": REPLICATION,
}

SOUND = {
    "invoker view": "create view app.mine with (security_invoker = true) as select id, title from app.tasks; grant select on app.mine to tasks_api",
    "invoker view on an invoker view": "create view app.in1 with (security_invoker = on) as select id from app.tasks; create view app.in2 with (security_invoker = 1) as select id from app.in1; grant select on app.in1, app.in2 to tasks_api",
    "view of no table": "create view app.clock as select now() as now; grant select on app.clock to tasks_api",
    "view of the catalog": "create view app.catalog as select relname from pg_class; grant select on app.catalog to tasks_api",
    "view that the role can't reach": "create view app.for_dba as select user_id, title from app.tasks; create materialized view app.dba_copy as select user_id from app.tasks",
    "table that the role can't reach": "create table public.yoyo (id int); create table app.audit_log (user_id text, at timestamptz); create sequence app.audit_ids",
    "table in a schema without usage": "create schema private; create table private.stock (id int); grant select on private.stock to public",
    "protected table": table("app.notes", "body text"),
    "protected table in its own schema": "create schema more; grant usage on schema more to tasks_api;" + table("more.notes", "body text"),
    "protected table by column": table("app.labels", "name text", "primary key (user_id, name)", "grant select, delete, insert (name), update (name) on app.labels to tasks_api"),
    "protected table with policies by command":
        table("app.lists", "name text", grants="grant select, insert (name), update (name), delete on app.lists to tasks_api")
        + f"drop policy own on app.lists; create policy s on app.lists for select to tasks_api using ({OWN}); create policy i on app.lists for insert to tasks_api with check ({OWN});"
        f"create policy u on app.lists for update to tasks_api using ({OWN}); create policy d on app.lists for delete to tasks_api using ({OWN})",
    "protected table with a varchar owner": table("app.short").replace('user_id text collate "C"', 'user_id varchar(255) collate "C"'),
    "protected table with another owner's name": table("app.named").replace("user_id", "owner").replace("current_owner", "current_user_id"),
    "protected table with identity and uuid": table("app.numbered", "body text", "primary key (id)", "grant select, insert (body) on app.numbered to tasks_api").replace("id bigint not null default app.next_task_id()", "id bigint generated always as identity")
        + table("app.uuids", "body text", "primary key (user_id, id)", "grant select, insert (body) on app.uuids to tasks_api").replace("id bigint not null default app.next_task_id()", "id uuid not null default gen_random_uuid()"),
    "partitioned table": table("app.parts").replace("primary key (user_id, id));", "primary key (user_id, id)) partition by hash (user_id);")
        + "create table app.parts_0 partition of app.parts for values with (modulus 2, remainder 0); create table app.parts_1 partition of app.parts for values with (modulus 2, remainder 1)",
    "key within the owner": table("app.replies", "task_id bigint, foreign key (user_id, task_id) references app.tasks (user_id, id) on delete cascade"),
    "key to a lookup table": "create table app.colours (name text primary key);" + table("app.coloured", "colour text references app.colours"),
    "identity test turned round": table("app.turned").replace(OWN, "app.current_user_id() = user_id"),
    "identity test in a sub-select": table("app.selected").replace(OWN, "user_id = (select app.current_user_id())"),
    "identity test spelled out": table("app.spelled").replace(OWN, "user_id = nullif(current_setting('app.user_id', true), '')"),
    "identity test and more": table("app.strict", "open boolean").replace(f"using ({OWN})", f"using (open and ({OWN} and (id > 0 or open)))"),
    "identity test among its kind": table("app.kin", "open boolean").replace(f"using ({OWN})", f"using (({OWN} and open) or ({OWN} and id > 0))"),
    "identity test, and somebody is named": table("app.sure").replace(OWN, f"app.current_user_id() is not null and {OWN} and exists (select from app.users where id = user_id)"),
    "identity test with casts": table("app.casting").replace(OWN, "(user_id::varchar)::text = app.current_user_id()::text"),
    "restrictive policy": "create policy only_open on app.tasks as restrictive for update to tasks_api using (not completed or true)",
    "restrictive policy for everybody": "create policy not_at_night on app.tasks as restrictive using (current_setting('app.user_id', true) <> 'root')",
    "policy of an unrelated role": "create role support; create policy support_sees on app.tasks for select to support using (true); grant select on app.tasks to support; grant usage on schema app to support",
    "unrelated roles": "create role dba superuser login; create role analyst bypassrls login; create role maker createrole createdb; create role streamer replication; create role crew; grant crew to analyst; grant pg_monitor to crew; grant select on all tables in schema app to analyst; grant usage on schema app to analyst",
    "default privileges of an unrelated role": "create role press; alter default privileges for role press grant select on tables to press; alter default privileges in schema app grant select on tables to press",
    "table of an unrelated role": "create role shop; create schema shop authorization shop; create table shop.orders (user_id text); alter table shop.orders owner to shop; grant select on shop.orders to public",
    "login for the role": "alter role tasks_api login password 'x' connection limit 10 valid until 'infinity'",
    "other limits for the role": "alter role tasks_api set statement_timeout = '3s'; alter role tasks_api set work_mem = '8MB'; alter role tasks_api set search_path = app, public, pg_temp; alter role tasks_api set row_security = on",
    "settings of unrelated roles": "create role batch; alter role batch set app.user_id = 'batch'; alter role batch set row_security = off",
    "settings of the database": "alter database {database} set work_mem = '8MB'; alter database {database} set search_path = \"$user\", public; alter database {database} set timezone = 'UTC'",
    "creator's grant": "create role cloud createrole; do $$ begin if current_setting('server_version_num')::int >= 160000 then execute 'grant tasks_api to cloud with admin true, inherit false, set false'; end if; end $$",
    "more indexes": "create index on app.tasks (user_id, title); create unique index on app.tasks (user_id, title, id); create unique index on app.tasks (id, user_id); create index on app.tasks (created_at)",
    "exclusion within the owner": "alter table app.tasks add constraint apart exclude using btree (user_id with =, id with =)",
    "more columns": "alter table app.tasks add column due date, add column priority int not null default 0; grant insert (due, priority), update (due, priority) on app.tasks to tasks_api",
    "renamed constraints": "alter table app.tasks rename constraint tasks_pkey to tasks_key",
    "harmless trigger": "create function app.tidy() returns trigger language plpgsql as $$ begin new.description := nullif(new.description, ''); return new; end $$; create trigger tidies before insert or update on app.tasks for each row execute function app.tidy(); create trigger same before update on app.tasks for each row execute function suppress_redundant_updates_trigger()",
    "definer that the role can't call": f"create function app.report() {LEAK}; revoke execute on function app.report() from public",
    "definer out of reach": f"create schema vault; create function vault.report() {LEAK}",
    "plain functions": "create function app.twice(n int) returns int language sql immutable return n * 2; create function public.mine() returns bigint language sql stable as 'select count(*) from app.tasks'; create function app.fixed() returns int language sql set search_path = app, pg_catalog as 'select 1'; grant execute on function app.twice(int) to tasks_api",
    "leakproof out of reach": "create schema lab; create function lab.fast(text) returns boolean language sql leakproof return true",
    "identity function as a string": "create or replace function app.current_user_id() returns text language sql stable as $$ select nullif(pg_catalog.current_setting('app.user_id', true), ''); $$",
    "types and casts": "create type app.state as enum ('open', 'shut'); create domain app.short_text as text check (length(value) < 9); create cast (varchar as app.state) with inout as implicit",
    "policy on a table out of reach": "create table public.far (a int); create policy any_row on public.far using (true)",
    "publication of another table": "create table public.news (id int primary key); create publication newsfeed for table public.news",
    "event trigger": "create function public.log_ddl() returns event_trigger language plpgsql as $$ begin raise log 'ddl'; end $$; create event trigger ddl_logged on ddl_command_end execute function public.log_ddl()",
    "large object of the owner": "select lo_create(99)",
    "foreign server of others": "create role remote; create foreign data wrapper fdw1; create server srv1 foreign data wrapper fdw1; create user mapping for remote server srv1; grant usage on foreign server srv1 to remote; create foreign table public.remote_t (a int) server srv1",
    "comment and statistics": "create statistics app.by_state on user_id, completed from app.tasks; comment on table app.tasks is 'x'",
    "no TEMP for PUBLIC": "revoke temporary on database {database} from public",
    "rule on a table out of reach": "create table public.inbox (a int); create rule quiet as on insert to public.inbox do instead nothing",
    "system views": "grant select on pg_catalog.pg_class to tasks_api; grant execute on function pg_catalog.lower(text) to tasks_api",
}
