"""`make psql`: psql with the role, the settings and the user of one API request."""

import os
import re
import shutil
import signal
import subprocess
import sys

from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import Conninfo

from app.commands.token import named_user
from app.postgres import session_settings
from app.settings import DatabaseSettings, load


def main() -> None:
    """Start psql as tasks_api, acting for the user in the variable AS."""
    user = named_user()
    conninfo = conninfo_to_dict(load(DatabaseSettings).database_url.get_secret_value())
    psql = shutil.which("psql") or sys.exit("psql: is missing; install PostgreSQL's client")
    # Every process of the machine can see arguments; the environment is private.
    # Parameters that have no variable, such as tcp_user_timeout, are left out.
    variables = {o.envvar.decode(): o.keyword.decode() for o in Conninfo.get_defaults() if o.envvar}
    environment = os.environ | {
        variable: str(conninfo[name]) for variable, name in variables.items() if name in conninfo
    }
    environment |= session_settings.START_UP
    environment["PGOPTIONS"] = "-c app.user_id=" + re.sub(r"([\\\s])", r"\\\1", user)
    prompt = f"%n as {user.replace('%', '%%')} %R%# "
    signal.signal(signal.SIGINT, lambda *_: None)  # psql handles Ctrl-C itself
    sys.exit(subprocess.run([psql, "-v", f"PROMPT1={prompt}"], env=environment, check=False).returncode)
