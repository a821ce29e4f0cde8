"""Uvicorn's server with a graceful stop behind proxies, and with a callback when clients can connect.

A proxy keeps idle connections and sends requests on them at any time. If the server closes such a connection
while a request is on its way, the proxy cannot know whether a POST had an effect, and responds with 502. So,
when the server stops, idle connections stay open for DRAIN_TIME, and the next response on each has
`Connection: close`. New connections are refused, so a proxy uses another server.
"""

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import uvicorn

# The number of connections accepted in one iteration of the event loop. uvloop accepts one per listening
# socket, so the last of 4,000 new clients would wait for 4,000 iterations, in which the first clients already
# send their next requests. Each duplicate of the socket accepts one more. With several processes the number
# is 1, since otherwise one process would accept all connections of a client that opens several at once.
ACCEPTED = 16


class Server(uvicorn.Server):
    """Uvicorn's server with a callback when it serves and a graceful stop."""

    def __init__(self, config: uvicorn.Config, announce: Callable[[], object] = lambda: None) -> None:
        super().__init__(config)
        self.announce = announce

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to listen, and call `announce`."""
        await super().startup(sockets)
        loop = asyncio.get_running_loop()
        duplicates = ACCEPTED - 1 if self.config.workers == 1 else 0
        for each in [each for server in self.servers for each in server.sockets]:
            for _ in range(duplicates):
                sock, backlog = each.dup(), self.config.backlog
                self.servers.append(await loop.create_server(self._protocol, sock=sock, backlog=backlog))
        if self.started:
            self.announce()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening, and add `Connection: close` to all further responses."""
        headers = self.server_state.default_headers
        self.server_state.default_headers = [*headers, (b"connection", b"close")]
        await self._accept_last()
        await super().shutdown(sockets)

    async def _accept_last(self) -> None:
        """Accept the connections in the kernel's queue, which closing the socket would reset.

        If the process has no free file descriptor, they are reset.
        """
        listening: list[socket.socket] = []
        for each in [each for server in self.servers for each in server.sockets]:
            with suppress(OSError):
                listening.append(each.dup())
        for server in self.servers:
            server.close()
        accepted: list[socket.socket] = []
        for each in listening:
            with each, suppress(OSError):  # in most cases BlockingIOError: the queue is empty
                each.setblocking(False)
                while True:
                    accepted.append(each.accept()[0])
        for connection in accepted:
            await asyncio.get_running_loop().connect_accepted_socket(self._protocol, connection)

    def _protocol(self) -> asyncio.Protocol:
        kind: Any = self.config.http_protocol_class
        made: asyncio.Protocol = kind(self.config, self.server_state, self.lifespan.state)
        return made
