"""Malformed requests: no response is a 500 or violates the contract, and the memory does not grow."""

import asyncio
import base64
import json
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from conftest import Api, deployed
from overload import rss
from support.faults import cluster
from support.load import MARK, QUICK, Client, Report, port_of

INPUTS = 6_000 if QUICK else 110_000
PROCESSES, CONNECTIONS = 2, 12
ALLOWED = {200, 201, 204, 304, 400, 401, 403, 404, 405, 412, 413, 414, 415, 422, 431, 501, 503, 505}
METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "PURGE"]
# A request that is valid by the document may be refused, for example because of If-Match or a used key.
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance"
CHECKS += ",response_schema_conformance,unsupported_method,ignored_auth,use_after_free"
HEADERS = ["If-Match", "If-None-Match", "Idempotency-Key", "X-Request-ID", "Origin", "Content-Type", "Expect"]
HEADERS += ["Authorization", "Cookie", "Upgrade", "Connection", "Accept", "Access-Control-Request-Method"]
VALUES = ['"1"', "*", 'W/"1"', "k", "\x7f", "\xff", "", " ", "a" * 300, '"' * 50, ",,,", "websocket", "close"]
VALUES += ["100-continue", "%00", "http://localhost:3000", "null", '"1", "2"', "\t", "Bearer", "Bearer  x"]
PIECES = [
    b"%00",
    b"%ff",
    b"%2F",
    b"..",
    b"//",
    b"?",
    b"#",
    b"%",
    b"%zz",
    b"\xc3\xa9",
    b"%ed%a0%80",
    b"+",
    b"&",
]
QUERIES = [
    "status=",
    "search=",
    "sort=",
    "order=",
    "limit=",
    "cursor=",
    "x=",
    "status=all&status=done",
    "priority=",
    "category=",
    "tags=",
    "due_before=",
    "due_after=",
    "q=",
]
STATEMENTS = [
    "'; drop table app.tasks; --",
    "%(user_id)s",
    "$1",
    "%s",
    "\\",
    "{0}",
    "\x00",
    "\ud800",
    "\U0001f600",
]
NUMBERS = ["0", "-1", "1e9", "9" * 30, "1_0", "\u0661", "1.0", "0x1", "", "NaN", "2147483648", "1000", "1001"]


def run(report: Report) -> None:
    with cluster("18") as postgres:
        postgres.start(fsync="off", synchronous_commit="off")
        postgres.migrated()
        settings = {"POOL_SIZE": "4", "LOG_FORMAT": "json", "METRICS": "true"}
        with deployed(postgres.conninfo("tasks", "tasks_api"), **settings) as api:
            barrage(report, api)
            log = api.log.read_text()
            for secret, name in ((MARK, "text"), (api.secret, "secret"), ("eyJ", "token")):
                report.expect(secret not in log, f"no {name} in the log")
            report.expect('"exception"' not in log and "Traceback" not in log, "no defect in the log")
            schemas(report, api)


def barrage(report: Report, api: Api) -> None:
    token, began = api.token("fuzz"), time.monotonic()
    memory = [rss(api.process.pid)]
    seen: Counter[str] = Counter()
    with ProcessPoolExecutor(PROCESSES, get_context("spawn")) as pool:
        for _ in range(4):
            share = INPUTS // 4 // PROCESSES
            jobs = [pool.submit(send, port_of(api), token, share, random.random()) for _ in range(PROCESSES)]
            for job in jobs:
                seen += job.result()
            memory.append(rss(api.process.pid))
    wrong = {key: count for key, count in seen.items() if key.startswith("wrong")}
    report.expect(not wrong, f"fuzz: {dict(list(wrong.items())[:5])}")
    report.total["requests"] += seen["inputs"]
    report.total["500s"] += seen["500"]
    report.expect(memory[-1] - memory[2] < 8, f"memory grows: {memory}")
    statuses = ", ".join(f"{seen[key]:,} x {key}" for key in sorted(seen) if key.isdigit())
    report.say(
        "fuzzed heads, tokens, paths, queries, bodies",
        f"{seen['inputs']:,} inputs in {time.monotonic() - began:.0f} s: {statuses}; "
        f"{seen['closed']:,} closed, {seen['waiting']} incomplete; "
        f"memory {' '.join(f'{m:.0f}' for m in memory)} MB",
    )


def send(port: int, token: str, number: int, seed: float) -> Counter[str]:
    """Send the requests of one process."""
    random.seed(seed)
    return asyncio.run(volley(port, token, number))


async def volley(port: int, token: str, number: int) -> Counter[str]:
    seen: Counter[str] = Counter()
    left = iter(range(number))

    async def sender() -> None:
        client = Client(port, "fuzz", token)
        for _ in left:
            await one(client, seen)

    await asyncio.gather(*(sender() for _ in range(CONNECTIONS)))
    return seen


async def one(client: Client, seen: Counter[str]) -> None:
    method, raw = make(client.token)
    seen["inputs"] += 1
    try:
        async with asyncio.timeout(2):
            answer = await client.send(raw, method)
    except (OSError, ValueError, IndexError):
        seen["closed"] += 1
        client.close()
        return
    except TimeoutError:  # the server waits for the rest of it
        seen["waiting"] += 1
        client.close()
        return
    seen[str(answer.status)] += 1
    ours = "x-request-id" in answer.headers
    if answer.status not in ALLOWED or (not ours and answer.status != 400) or not answer.sound:
        seen[f"wrong {answer.status} {answer.body[:100]!r} for {raw[:300]!r}"] += 1
    if not ours or random.random() < 0.3:  # otherwise the next request is sent on the same connection
        client.close()


def make(token: str) -> tuple[str, bytes]:
    """Return a request with few errors, so that it passes most checks."""
    method = random.choice(METHODS[:5]) if random.random() < 0.9 else random.choice(METHODS)
    number = random.choice([b"1", b"2", b"3", some(NUMBERS).encode()])
    paths = {"POST": b"", "PATCH": random.choice([b"/" + number, b"/" + number + b"/complete"])}
    path = paths.get(method, b"/" + number) if random.random() < 0.8 else random.choice([b"", b"/complete"])
    target = b"/api/fuzz/tasks" + path
    headers = {b"Host": b"x", b"Authorization": b"Bearer " + token.encode()}
    body = random.choice(BODIES)() if method in {"POST", "PUT", "PATCH"} else b""
    spoil = random.random()
    if spoil < 0.2:
        target += b"?" + query()
    elif spoil < 0.35:
        headers[b"Authorization"] = random.choice(TOKENS)(token)
    elif spoil < 0.5:
        headers[random.choice(HEADERS).encode()] = some(VALUES).encode("latin-1")
    elif spoil < 0.6:
        at = random.randrange(1, len(target))
        target = target[:at] + random.choice(PIECES) + target[at:]
    if body or random.random() < 0.1:
        headers[b"Content-Length"] = str(len(body)).encode()
    lines = [method.encode() + b" " + target + b" HTTP/1.1", *(k + b": " + v for k, v in headers.items())]
    raw = b"\r\n".join(lines) + b"\r\n\r\n" + body
    return method, flip(raw) if random.random() < 0.15 else raw


def some(values: list[str]) -> str:
    value = random.choice(values)
    return value if random.random() < 0.7 else value + random.choice(values)


def flip(raw: bytes) -> bytes:
    """Change, drop or repeat a few bytes."""
    spoiled = bytearray(raw)
    for _ in range(random.randint(1, 4)):
        at = random.randrange(len(spoiled))
        chance = random.random()
        if chance < 0.5:
            spoiled[at] = random.randrange(256)
        elif chance < 0.75:
            del spoiled[at]
        else:
            spoiled[at:at] = spoiled[at : at + random.randint(1, 50)]
    return bytes(spoiled)


def query() -> bytes:
    cursor = json.dumps({"sort": "created", "order": "desc", "key": None, "id": 5})
    spoiled = flip(cursor.encode())
    texts = [
        base64.urlsafe_b64encode(spoiled).decode(),
        *STATEMENTS,
        *NUMBERS,
        "title",
        "asc",
        "pending",
        "a",
    ]
    parts = [random.choice(QUERIES) + random.choice(texts) for _ in range(random.randint(1, 4))]
    safe = "".join(c if c.isalnum() or c in "=&" else f"%{ord(c) & 255:02x}" for c in "&".join(parts))
    return safe.encode("utf-8", "replace") if random.random() < 0.9 else flip(safe.encode("utf-8", "replace"))


def member() -> object:
    texts = [MARK, "", " ", "x" * 201, "x" * 1001, "\u0000", "\u2003a\u2003", *STATEMENTS]
    others: list[object] = [None, True, 0, 1.5, 10**30, [], {}, [[[]]], {"a": 1}]
    return random.choice(texts) if random.random() < 0.7 else random.choice(others)


def task() -> bytes:
    names = [
        "title",
        "description",
        "completed",
        "priority",
        "due_date",
        "dueDate",
        "category",
        "tags",
        "status",
    ]
    names += ["id", "user_id", "version", "__proto__", "ti\u0000tle"]
    given = {name: member() for name in random.sample(names, random.randint(0, 5))}
    return json.dumps({"title": MARK} | given).encode()


BODIES: list[Callable[[], bytes]] = [
    task,
    task,
    task,
    lambda: flip(task()),
    lambda: json.dumps(member()).encode(),
    lambda: random.randbytes(random.randint(0, 200)),
    lambda: b"[" * random.choice([10, 5000, 60000]),
    lambda: b'{"title": ' * random.choice([10, 6000]),
    lambda: b'{"title": "' + b"x" * random.choice([100, 65500, 70000]) + b'"}',
    lambda: (
        b'{"title": ' + random.choice([b"1e999", b"-Infinity", b"9" * 5000, b'"\\ud800"', b'"\xff"']) + b"}"
    ),
    lambda: b'{"title": "a", "title": "b"}',
    lambda: "\ufeff{}".encode(random.choice(["utf-8", "utf-16", "utf-32"])),
]
UNSIGNED = base64.urlsafe_b64encode(b'{"alg":"none"}')
TOKENS: list[Callable[[str], bytes]] = [
    lambda token: b"Bearer " + flip(token.encode()).replace(b"\r", b"").replace(b"\n", b""),
    lambda token: b"Bearer " + token[:-1].encode(),
    lambda token: b"Basic " + token.encode(),
    lambda _: b"Bearer " + base64.urlsafe_b64encode(random.randbytes(60)),
    lambda _: b"Bearer a.b.c",
    lambda _: b"Bearer " + b"x" * 9000,
    lambda token: b"Bearer " + UNSIGNED + b"." + token.split(".")[1].encode() + b".",
    lambda _: b"",
]


def schemas(report: Report, api: Api) -> None:
    """Run schemathesis on the OpenAPI document."""
    folder = api.log.parent
    (folder / "schemathesis.toml").write_text('[parameters]\n"path.user_id" = "fuzz"\n')
    command = [str(Path(sys.executable).parent / "schemathesis"), "run", f"{api.url}/openapi.json"]
    command += ["--header", f"Authorization: Bearer {api.token('fuzz')}", "--workers", "1", "--no-color"]
    command += ["--max-examples", "15" if QUICK else "200", "--exclude-path", "/ready", "--phases"]
    command += ["examples,coverage,fuzzing" if QUICK else "examples,coverage,fuzzing,stateful"]
    command += ["--suppress-health-check", "all", "--checks", CHECKS]
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=200, check=False)
    lines = [line.strip() for line in ended.stdout.splitlines() if "generated," in line]
    report.expect(ended.returncode == 0, f"schemathesis: {ended.stdout[-3000:]}{ended.stderr[-500:]}")
    report.say("schemathesis", "; ".join(lines))
