"""The limit of the database: pgbench runs the statements of the API without pauses."""

import re
import subprocess
import tempfile

from conftest import Server
from embedded.programs import find_programs

from app.api.pages import Page
from app.api.statements import CHANGE_COLUMN, CREATE_TASK, DELETE_TASK, GET_TASK, TOGGLE_TASK, list_page
from app.postgres.database import ACT_AS, READ_AS
from performance.database import TASKS
from performance.services import POOL
from performance.traffic import USERS

STATEMENTS = {
    "list": (READ_AS, list_page(Page())[0]),
    "get": (READ_AS, GET_TASK),
    "create": (ACT_AS, CREATE_TASK),
    "update": (ACT_AS, CHANGE_COLUMN["title"].any_version),
    "complete": (ACT_AS, TOGGLE_TASK.any_version),
    "delete": (ACT_AS, DELETE_TASK.any_version),
}

# The variables of pgbench become parameters of the prepared statement. The second half of each user's tasks
# is for pgbench, the first half for the services.
VARIABLES = f"""
\\set user_id random(1, {USERS})
\\set id random({TASKS // 2 + 1}, {TASKS})
\\set title random(1, 1000000)
\\set limit {Page().limit + 1}
"""
SENT = {
    "create": "jsonb_build_object('title', :title::text, 'description', 'The blue one, for breakfast')",
    "update": "jsonb_build_object('title', :title::text)",
}


def script(operation: str) -> str:
    """Return the script of an operation: one pipeline."""
    written = {"etags": "null", "sent": SENT.get(operation, "")}

    def value(match: re.Match[str]) -> str:
        return written.get(match[1], f":{match[1]}")

    statements = [re.sub(r"%\((\w+)\)s", value, statement) for statement in STATEMENTS[operation]]
    return (
        VARIABLES + "\\startpipeline\n" + "".join(f"{s.strip()};\n" for s in statements) + "\\endpipeline\n"
    )


def rate(server: Server, operation: str, seconds: float) -> float:
    """Return the transactions per second, on as many connections as the API has."""
    options = ["-h", server.host, "-U", "tasks_api", "-n", "-M", "prepared", f"-c{POOL}"]
    options += [f"-T{max(1, round(seconds))}", "tasks"]
    with tempfile.NamedTemporaryFile("w") as file:
        file.write(script(operation))
        file.flush()
        command = [str(find_programs() / "pgbench"), "-f", file.name, *options]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    failed = re.search(r"number of failed transactions: (\d+)", output)
    found = re.search(r"tps = ([\d.]+)", output)
    if not found or (failed and int(failed[1])):
        raise SystemExit(output)
    return float(found[1])
