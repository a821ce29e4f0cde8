"""Concurrent requests: no update is lost, no retry creates twice, no user gets another user's row."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import httpx
import pytest
from conftest import Api, Person, Server
from support.contract import assert_problem, assert_task, tasks, tasks_of, until_blocked

Send = Callable[..., Awaitable[httpx.Response]]


def together(api: Api, *requests: Callable[[Send], Coroutine[Any, Any, Any]]) -> list[Any]:
    """Run requests concurrently. Each gets a function that sends a request with a token."""

    async def alone(request: Callable[[Send], Coroutine[Any, Any, Any]]) -> Any:
        async with httpx.AsyncClient(base_url=api.url, timeout=60) as client:

            async def send(method: str, path: str, token: str, **more: Any) -> httpx.Response:
                headers = {"Authorization": f"Bearer {token}"} | more.pop("headers", {})
                return await client.request(method, path, headers=headers, **more)

            return await request(send)

    async def run() -> list[Any]:
        return await asyncio.gather(*map(alone, requests))

    return asyncio.run(run())


def parallel(
    api: Api, person: Person, count: int, method: str, path: str, **more: Any
) -> list[httpx.Response]:
    """Send `count` equal requests concurrently."""

    async def once(send: Send) -> httpx.Response:
        return await send(method, tasks_of(person.name) + path, person.token, **more)

    return together(api, *[once] * count)


def test_no_toggle_is_lost(api: Api, alice: Person) -> None:
    alice.create()
    answers = [assert_task(answer) for answer in parallel(api, alice, 41, "PATCH", "/1/complete")]
    answers.sort(key=lambda task: task["version"])
    assert [task["version"] for task in answers] == list(range(2, 43))
    assert [task["completed"] for task in answers] == [True, False] * 20 + [True]
    stamps = [task["updated_at"] for task in answers]
    assert stamps == sorted(set(stamps))


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "/1", {"title": "Mine"}),
        ("PATCH", "/1", {"completed": True}),
        ("PATCH", "/1/complete", {}),
        ("DELETE", "/1", None),
    ],
)
def test_of_concurrent_changes_of_one_version_exactly_one_succeeds(
    api: Api, alice: Person, method: str, path: str, body: object
) -> None:
    alice.create()
    answers = parallel(api, alice, 20, method, path, json=body, headers={"If-Match": '"1"'})
    won = [answer for answer in answers if answer.is_success]
    assert len(won) == 1
    for answer in answers:
        if answer not in won:
            assert_problem(answer, 404 if method == "DELETE" else 412)
    assert [task["version"] for task in tasks(alice)] == ([] if method == "DELETE" else [2])


def test_clients_that_retry_with_the_new_version_lose_no_update(api: Api, alice: Person) -> None:
    alice.create("0")
    path = f"{tasks_of(alice.name)}/1"

    async def increment(send: Send) -> None:
        while True:
            read = await send("GET", path, alice.token)
            title = str(int(read.json()["title"]) + 1)
            headers = {"If-Match": read.headers["etag"]}
            changed = await send("PUT", path, alice.token, json={"title": title}, headers=headers)
            if changed.status_code == 200:
                return
            assert_problem(changed, 412)

    together(api, *[increment] * 8)
    assert (tasks(alice)[0]["title"], tasks(alice)[0]["version"]) == ("8", 9)


def test_concurrent_creates_get_different_ids(api: Api, alice: Person) -> None:
    answers = parallel(api, alice, 40, "POST", "", json={"title": "x"})
    made = sorted((assert_task(answer, 201) for answer in answers), key=lambda task: int(task["id"]))
    assert [task["id"] for task in made] == list(range(1, 41))
    stamps = [task["created_at"] for task in made]
    assert stamps == sorted(stamps)


@pytest.mark.parametrize("new", [True, False], ids=["of a new user", "of a known user"])
def test_concurrent_repeats_create_one_task(api: Api, alice: Person, new: bool) -> None:
    already = [] if new else [alice.create("Already")]
    key = {"Idempotency-Key": str(uuid4())}
    answers = parallel(api, alice, 50, "POST", "", json={"title": "x"}, headers=key)
    made = [assert_task(answer, 201) for answer in answers]
    assert all(task == made[0] for task in made)
    replayed = Counter(answer.headers.get("idempotency-replayed") for answer in answers)
    assert replayed == {"true": 49, None: 1}
    assert tasks(alice) == made[:1] + already
    assert alice.create()["id"] == made[0]["id"] + 1


def test_of_concurrent_different_requests_with_one_key_one_succeeds(api: Api, alice: Person) -> None:
    path, headers = tasks_of(alice.name), {"Idempotency-Key": "k"}

    def create(title: str) -> Callable[[Send], Coroutine[Any, Any, httpx.Response]]:
        async def request(send: Send) -> httpx.Response:
            return await send("POST", path, alice.token, json={"title": title}, headers=headers)

        return request

    answers = together(api, *(create(str(number)) for number in range(20)))
    assert sorted(answer.status_code for answer in answers) == [201] + [422] * 19
    assert len(tasks(alice)) == 1


def users(count: int) -> list[str]:
    run = uuid4().hex[:8]
    return [f"user {number} of {run}" for number in range(count)]


async def live(send: Send, api: Api, user: str) -> None:
    """Create, complete and list a task, and assert that all rows are of this user."""
    path, token = tasks_of(user), api.token(user)
    made = assert_task(await send("POST", path, token, json={"title": user}), 201)
    assert (made["id"], made["user_id"], made["title"]) == (1, user, user)
    done = assert_task(await send("PATCH", f"{path}/1/complete", token))
    assert (done["user_id"], done["version"], done["completed"]) == (user, 2, True)
    listed = await send("GET", path, token)
    assert listed.json() == [done]


def test_two_hundred_users_on_four_connections_get_only_their_own_tasks(api: Api) -> None:
    def as_user(user: str) -> Callable[[Send], Coroutine[Any, Any, None]]:
        return lambda send: live(send, api, user)

    together(api, *map(as_user, users(200)))


def test_users_get_only_their_own_tasks_while_other_clients_disconnect(api: Api) -> None:
    def leave(user: str, number: int) -> Callable[[Send], Coroutine[Any, Any, None]]:
        async def request(send: Send) -> None:
            body = {"title": f"{user} was here", "description": "x" * 1000}
            sending = asyncio.ensure_future(send("POST", tasks_of(user), api.token(user), json=body))
            for _ in range(number % 12):
                await asyncio.sleep(0)  # each client disconnects at a different step
            sending.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await sending

        return request

    def stay(user: str) -> Callable[[Send], Coroutine[Any, Any, None]]:
        return lambda send: live(send, api, user)

    staying, leaving = users(60), users(60)
    together(
        api,
        *(request for i in range(60) for request in (leave(leaving[i], i), stay(staying[i]))),
    )
    for user in leaving:
        found = httpx.get(
            api.url + tasks_of(user), headers={"Authorization": f"Bearer {api.token(user)}"}, timeout=60
        ).json()
        assert {task["user_id"] for task in found} <= {user}
        assert len(found) <= 1


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_pages_contain_every_task_once_while_others_change(api: Api, alice: Person, order: str) -> None:
    steady = [alice.create(f"steady {number}")["id"] for number in range(12)]
    path = tasks_of(alice.name)
    over = asyncio.Event()
    seen: list[int] = []

    async def write(send: Send) -> None:
        while not over.is_set():
            made = await send("POST", path, alice.token, json={"title": "x"})
            await send("PATCH", f"{path}/{steady[3]}/complete", alice.token)
            await send("DELETE", f"{path}/{made.json()['id']}", alice.token)

    async def walk(send: Send) -> None:
        target: str | None = f"{path}?limit=2&search=steady&order={order}"
        while target:
            page = await send("GET", target, alice.token)
            seen.extend(task["id"] for task in page.json())
            target = page.links["next"]["url"] if "next" in page.links else None
        over.set()

    together(api, walk, write, write)
    assert seen == (steady if order == "asc" else steady[::-1])


def test_one_users_tasks_become_visible_in_the_order_of_their_ids(api: Api, alice: Person) -> None:
    """Otherwise reading the pages in ascending order would skip a task that commits later."""
    path = tasks_of(alice.name)

    async def create(send: Send) -> None:
        assert_task(await send("POST", path, alice.token, json={"title": "x"}), 201)

    async def look(send: Send) -> None:
        ids = [task["id"] for task in (await send("GET", f"{path}?order=asc", alice.token)).json()]
        assert ids == list(range(1, len(ids) + 1))

    together(api, *[create, look] * 20)


@pytest.mark.parametrize(("method", "path"), [("PUT", "/1"), ("PATCH", "/1/complete"), ("DELETE", "/1")])
@pytest.mark.parametrize(
    ("meanwhile", "headers", "status"),
    [
        ("delete from app.tasks where user_id = %s", {}, 404),
        ("delete from app.tasks where user_id = %s", {"If-Match": '"1"'}, 404),
        ("update app.tasks set title = 'Theirs' where user_id = %s", {"If-Match": '"1"'}, 412),
    ],
)
def test_a_change_that_waited_for_another_transaction_sees_its_result(  # noqa: PLR0913, PLR0917 - a table of cases
    server: Server,
    database: str,
    alice: Person,
    method: str,
    path: str,
    meanwhile: str,
    headers: dict[str, str],
    status: int,
) -> None:
    alice.create()
    with ThreadPoolExecutor() as pool:
        with server.connect(database) as other, other.transaction():
            other.execute(meanwhile, (alice.name,))
            waiting = pool.submit(alice.client.request, method, f"/tasks{path}", json={}, headers=headers)
            until_blocked(other)
        assert_problem(waiting.result(), status)
