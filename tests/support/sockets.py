"""Sockets with small kernel buffers, so that data that a client does not read stays in the server process."""

import asyncio
import socket

BUFFER = 65536  # bytes; the default can be megabytes


def listening() -> socket.socket:
    """Bind a socket to the loopback. Accepted sockets inherit the buffer size (tcp(7))."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
    made.bind(("127.0.0.1", 0))
    return made


async def connect(address: tuple[str, int]) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect as a client that does not read ahead."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
    made.setblocking(False)
    await asyncio.get_running_loop().sock_connect(made, address)
    return await asyncio.open_connection(sock=made, limit=1024)


async def turns(number: int = 40) -> None:
    """Let the event loop poll for input this many times.

    A number of polls is reliable on a busy machine; a time is not.
    """
    for _ in range(number):
        await asyncio.sleep(0.003)
