"""An HTTP client for fault tests, and the report of make chaos."""

import asyncio
import json
import os
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

QUICK = bool(os.environ.get("QUICK"))
MARK = "a text that no log may contain"


@dataclass(frozen=True)
class Response:
    """A response, and the seconds that it took."""

    status: int
    headers: dict[str, str]
    body: bytes
    seconds: float
    method: str = "GET"

    @property
    def sound(self) -> bool:
        """Return whether an error response has the form that the contract promises."""
        if self.status < 400 or "x-request-id" not in self.headers:  # refusals by the HTTP parser are exempt
            return self.status < 500
        if self.headers.get("content-type") != "application/problem+json":
            return False
        if self.status == 503 and "retry-after" not in self.headers:
            return False
        matches = self.method == "HEAD" or json.loads(self.body)["status"] == self.status
        return self.status != 500 and bool(matches)


class Client:
    """A client with one connection, which it opens again when it breaks."""

    def __init__(self, port: int, user: str = "", token: str = "") -> None:
        self.port, self.base, self.token = port, f"/api/{quote(user, safe='')}/tasks", token
        self.reader: asyncio.StreamReader | None = None
        self.writer: asyncio.StreamWriter | None = None

    def close(self) -> None:
        if self.writer:
            self.writer.transport.abort()
        self.reader = self.writer = None

    def head(self, method: str, path: str, size: int, **headers: str) -> bytes:
        more = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        return (
            f"{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {self.token}\r\n"
            f"Content-Length: {size}\r\n{more}\r\n"
        ).encode()

    async def ask(self, method: str, path: str = "", value: object = None, **headers: str) -> Response:
        """Send a request below /api/{user}/tasks; raise OSError if the connection breaks."""
        body = b"" if value is None else json.dumps(value).encode()
        return await self.send(self.head(method, self.base + path, len(body), **headers) + body, method)

    async def send(self, raw: bytes, method: str = "GET") -> Response:
        began = time.monotonic()
        try:
            if self.writer is None or self.reader is None or self.reader.at_eof():
                self.close()
                self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
            self.writer.write(raw)
            return await self._answer(self.reader, method, began)
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            self.close()
            raise ConnectionResetError from error
        except BaseException:
            self.close()
            raise

    async def _answer(self, reader: asyncio.StreamReader, method: str, began: float) -> Response:
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        if lines[0].startswith("HTTP/1.1 100"):  # 100 Continue
            return await self._answer(reader, method, began)
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:-2])}
        status = int(lines[0].split()[1])
        if "transfer-encoding" in headers:
            body = b""
            while size := int(await reader.readline(), 16):
                body += await reader.readexactly(size)
                await reader.readline()
            await reader.readline()
        else:
            size = 0 if method == "HEAD" or status == 304 else int(headers.get("content-length", 0))
            body = await reader.readexactly(size)
        if headers.get("connection") == "close":
            self.close()
        return Response(status, headers, body, time.monotonic() - began, method)


@dataclass
class Report:
    """The injected faults, their effects, and counts that must be zero."""

    rows: list[tuple[str, str]] = field(default_factory=list)
    total: Counter[str] = field(default_factory=Counter)
    longest: float = 0.0
    broken: list[str] = field(default_factory=list)

    def say(self, injected: str, seen: str) -> None:
        self.rows.append((injected, seen))
        print(f"{injected:46} {seen}", flush=True)

    def expect(self, true: bool, promise: str) -> None:
        if not true:
            self.broken.append(promise)
            print(f"BROKEN: {promise}", flush=True)

    def count(self, answer: Response, where: str) -> None:
        self.total["requests"] += 1
        self.total["500s"] += answer.status == 500
        if not answer.sound:
            self.expect(False, f"{where}: {answer.status} {answer.headers} {answer.body[:200]!r}")

    def end(self) -> int:
        print("\n" + "-" * 100)
        for injected, seen in self.rows:
            print(f"{injected:46} {seen}")
        print("-" * 100)
        for name in ("requests", "acknowledged writes", "lost", "half there", "crossed rows", "500s"):
            print(f"{name}: {self.total[name]:,}")
        print(f"longest outage after the database's return: {self.longest:.2f} s")
        wrong = [name for name in ("lost", "half there", "crossed rows", "500s") if self.total[name]]
        print(
            "BROKEN: " + "; ".join(wrong + self.broken)
            if wrong or self.broken
            else "all expectations were met"
        )
        return bool(wrong or self.broken)


def quantile(values: list[float], share: float) -> float:
    return sorted(values)[min(int(len(values) * share), len(values) - 1)] if values else 0.0


def port_of(api: Any) -> int:
    return int(api.url.rpartition(":")[2])
