"""Runs the application in the process of the test."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from app import main


@asynccontextmanager
async def served() -> AsyncIterator[httpx.AsyncClient]:
    """Run the application with the settings of the environment, without a server; yield a client."""
    app = main.create_app()
    async with main.lifespan(app) as state:

        async def with_state(scope: Scope, receive: Receive, send: Send) -> None:
            await app({**scope, "state": dict(state)}, receive, send)

        transport = httpx.ASGITransport(with_state)
        async with httpx.AsyncClient(transport=transport, base_url="http://tasks") as client:
            yield client


def start() -> None:
    """Start the application, and stop it."""

    async def begin() -> None:
        async with served():
            pass

    asyncio.run(begin())


def refusal() -> str:
    """Start the application, which must fail; return the message that the process would print."""
    with pytest.raises(SystemExit) as refused:
        start()
    return str(refused.value)
