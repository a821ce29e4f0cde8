"""Uvicorn's server, which announces that it serves, and stops without losing what is on its way.

A proxy takes a connection that it keeps for one that may be used. If the server closes it while a request is
on its way, the proxy cannot know whether a POST had an effect, and answers 502. So, on a stop, an idle
connection goes on for DRAIN_TIME, and its next response says `Connection: close`. Meanwhile new connections
are refused, which tells the proxy to use another server.
"""

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import uvicorn


class Server(uvicorn.Server):
    """Uvicorn's server with an announcement and a slow end."""

    def __init__(self, config: uvicorn.Config, announce: Callable[[], object] = lambda: None) -> None:
        super().__init__(config)
        self.announce = announce

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to listen, and say so."""
        await super().startup(sockets)
        if self.started:
            self.announce()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop to listen, then have the next response on each connection be the last."""
        headers = self.server_state.default_headers
        self.server_state.default_headers = [*headers, (b"connection", b"close")]
        await self._accept_last()
        await super().shutdown(sockets)

    async def _accept_last(self) -> None:
        """Accept the connections that the kernel has made already: closing the socket would reset them."""
        listening = [each.dup() for server in self.servers for each in server.sockets]
        for server in self.servers:
            server.close()
        accepted: list[socket.socket] = []
        for each in listening:
            with each, suppress(BlockingIOError):
                each.setblocking(False)
                while True:
                    accepted.append(each.accept()[0])
        for connection in accepted:
            await asyncio.get_running_loop().connect_accepted_socket(self._protocol, connection)

    def _protocol(self) -> asyncio.Protocol:
        kind: Any = self.config.http_protocol_class
        made: asyncio.Protocol = kind(self.config, self.server_state, self.lifespan.state)
        return made
