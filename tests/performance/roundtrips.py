"""Round trips to the database per request: the latency through a slow network in round trip times."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import islice
from typing import Any

from conftest import Server, free_port
from psycopg.conninfo import make_conninfo

from performance import services, wrk
from performance.compare import PEER_SERVES, peer_identity
from performance.traffic import OPERATIONS, Identity, own_id, requests

DELAY = 0.02  # seconds each way


class Network:
    """A TCP proxy in front of the socket of the server that delays data by DELAY in each direction."""

    def __init__(self, server: Server) -> None:
        self.port = free_port()
        self.socket = f"{server.host}/.s.PGSQL.5432"

    async def run(self) -> None:
        async with await asyncio.start_server(self.connect, "127.0.0.1", self.port) as listening:
            await listening.serve_forever()

    async def connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_unix_connection(self.socket)
        await asyncio.gather(self.carry(reader, back), self.carry(there, writer))

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        later = asyncio.get_running_loop().call_later
        while data := await reader.read(65536):
            later(DELAY, writer.write, data)
        later(DELAY, writer.close)


@contextmanager
def network(server: Server) -> Iterator[int]:
    """Run the proxy in a thread; yield its port."""
    slow = Network(server)
    threading.Thread(target=asyncio.run, args=[slow.run()], daemon=True).start()
    yield slow.port


def measure(server: Server, seconds: float) -> dict[str, Any]:
    """Return the median number of round trips of each operation, for the API and the peer."""
    with ExitStack() as stack:
        port = stack.enter_context(network(server))
        conninfo = make_conninfo(
            host="127.0.0.1", port=port, user="tasks_api", dbname="tasks", sslmode="disable"
        )
        url = f"postgresql+asyncpg://postgres@127.0.0.1:{port}/peer?ssl=disable"
        api = stack.enter_context(services.api(conninfo, POOL_SIZE="1"))
        peer = stack.enter_context(services.other("performance.peer:app", DATABASE_URL=url, POOL_SIZE="1"))
        return {
            operation: {
                "api": _trips(api.url, operation, own_id, seconds),
                "peer": _trips(peer.url, operation, peer_identity, seconds)
                if operation in PEER_SERVES
                else None,
            }
            for operation in OPERATIONS
        }


def _trips(url: str, operation: str, identity: Identity, seconds: float) -> float:
    stream = islice(requests(operation, identity, seed=2), 200)
    load = wrk.run(url, stream, connections=1, seconds=seconds)
    return load.p50 / (2 * DELAY * 1000)
