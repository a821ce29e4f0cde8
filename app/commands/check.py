"""`python -m app check`: runs the startup checks (settings, address, database, keys) without serving.

A deploy runs it before it replaces the running version. Unlike startup, it also fails if the keys at
JWT_JWKS_URL cannot be fetched.
"""

import asyncio
import errno
import logging
import sys
from collections.abc import Iterator

import psycopg

from app.api.health import STATEMENTS
from app.identity.keys import EDWARDS, Keys
from app.main import check_database
from app.postgres import NotReady, safety
from app.postgres.database import Database
from app.server.run import try_address, why_not
from app.settings import MigrationSettings, Settings, find_mistakes, load


class Failed(Exception):
    """The reason why the API would refuse to start."""


def main() -> None:
    """Print a line for each check; exit with status 1 if one of them fails."""
    wrong = [*_wrong_settings()]
    for line in [*wrong, *(f"warning: {mistake}" for mistake in find_mistakes())]:
        print(f"settings: {line}")
    if wrong:
        sys.exit(1)
    print("settings: ok")
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)  # the check prints the reason itself
    sys.exit(not asyncio.run(_check(load(Settings))))


def _wrong_settings() -> Iterator[str]:
    for kind in (Settings, MigrationSettings):
        try:
            load(kind)
        except SystemExit as refusal:
            lines = str(refusal).splitlines()
            optional = kind is MigrationSettings
            yield from (line for line in lines if not (optional and ": is missing" in line))


async def _check(settings: Settings) -> bool:
    checks = {"address": _address, "database": _database, "keys": _keys}
    sound = True
    for name, check in checks.items():
        try:
            result = f"ok, {await check(settings)}"
        except (Failed, NotReady) as reason:
            result, sound = str(reason), False
        print(f"{name}: {result}")
    return sound


async def _address(settings: Settings) -> str:
    """Try to listen. A port in use is not a failure: the running version of this service may use it."""
    host, port = settings.host, settings.port
    try:
        try_address(host, port)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise Failed(why_not(error, host, port)) from None
        return f"{host} port {port}, which is in use by a program"
    return f"{host} port {port}"


async def _database(settings: Settings) -> str:
    try:
        async with Database(settings) as database:
            await check_database(database, settings)
            await safety.check_statements(database, STATEMENTS)
    except psycopg.Error as error:
        raise Failed(f"DATABASE_URL: {' '.join(str(error).split())}") from None
    return f"as tasks_api, migrated to {safety.SCHEMA_VERSION} or later, row security active"


async def _keys(settings: Settings) -> str:
    async with Keys(settings) as keys:
        secrets = {key.algorithm_name for key in keys.shared}
        found = [f"JWT_SECRET for {', '.join(sorted(secrets))}"] if secrets else []
        if keys.url:
            if not keys.current:
                raise Failed(f"JWT_JWKS_URL: {keys.failure}")
            if not keys.published:
                raise Failed("JWT_JWKS_URL: it has no usable key")
            published = keys.allowed.intersection(key.algorithm_name for key in keys.published)
            names = sorted(published - EDWARDS | ({"EdDSA"} if published & EDWARDS else set()))
            found.append(f"{keys.usable} at JWT_JWKS_URL for {', '.join(names)}")
    return "; ".join(found)
