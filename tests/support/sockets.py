"""Sockets with small buffers in the kernel: what a client does not read stays in the server, anywhere."""

import asyncio
import socket

BUFFER = 65536  # bytes; a socket that is given no size takes megabytes, as the system is set


def listening() -> socket.socket:
    """Listen on the loopback; accepted sockets inherit the size (tcp(7))."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
    made.bind(("127.0.0.1", 0))
    return made


async def connect(address: tuple[str, int]) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect as a client that reads no more than it is asked to."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
    made.setblocking(False)
    await asyncio.get_running_loop().sock_connect(made, address)
    return await asyncio.open_connection(sock=made, limit=1024)


async def turns(number: int = 40) -> None:
    """Let the event loop look for input so often, which a busy machine cannot skip as it can a time."""
    for _ in range(number):
        await asyncio.sleep(0.003)
