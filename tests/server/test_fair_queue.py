"""Who waits for whom: in turn, user by user, and not for ever."""

import asyncio

import pytest
from support.clock import Loop, run

from app.postgres import fair_queue
from app.postgres.fair_queue import FairQueue


async def enter(queue: FairQueue, user: str) -> bool:
    return queue.enter(user) or await queue.wait(user)


async def begun(tasks: list[asyncio.Task[bool]]) -> list[int]:
    """Return which of them have entered by now."""
    await asyncio.sleep(0.01)
    return [n for n, task in enumerate(tasks) if task.done() and task.result()]


def line(queue: FairQueue, *users: str) -> list[asyncio.Task[bool]]:
    return [asyncio.create_task(enter(queue, user)) for user in users]


def test_one_user_enters_at_most_half_of_the_places() -> None:
    async def work(_: Loop) -> None:
        queue = FairQueue(4)
        tasks = line(queue, "a", "a", "a", "a", "b")
        assert await begun(tasks) == [0, 1, 4]
        queue.leave("b")  # which is none of a's
        assert await begun(tasks) == [0, 1, 4]
        queue.leave("a")
        assert await begun(tasks) == [0, 1, 2, 4]

    run(work)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_a_single_user_can_always_enter(size: int) -> None:
    async def work(_: Loop) -> None:
        queue = FairQueue(size)
        tasks = line(queue, "a", "a")
        assert await begun(tasks) == [0]
        queue.leave("a")
        assert await begun(tasks) == [0, 1]

    run(work)


def test_users_enter_in_turn_and_each_one_s_requests_in_order() -> None:
    async def work(_: Loop) -> None:
        queue = FairQueue(1)
        assert queue.enter("x")
        entered: list[str] = []

        async def come_and_go(name: str) -> None:
            assert await enter(queue, name[0])
            entered.append(name)
            queue.leave(name[0])

        tasks = [asyncio.create_task(come_and_go(name)) for name in ("a1", "a2", "a3", "b1", "b2", "c1")]
        await asyncio.sleep(0)
        queue.leave("x")
        await asyncio.gather(*tasks)
        assert entered == ["a1", "b1", "c1", "a2", "b2", "a3"]
        assert (queue.free, queue.inside, queue.waiting) == (1, {}, 0)

    run(work)


def test_a_turn_that_comes_to_a_cancelled_request_goes_on_to_the_next() -> None:
    async def work(_: Loop) -> None:
        queue = FairQueue(1)
        assert queue.enter("x")
        waiting, entered, last = line(queue, "a", "a", "b")
        await asyncio.sleep(0.01)
        waiting.cancel()  # before its turn
        queue.leave("x")
        entered.cancel()  # at its turn, of which it has not heard yet
        assert await last
        assert waiting.cancelled()
        assert entered.cancelled()
        queue.leave("b")
        assert (queue.free, queue.inside, queue.waiting) == (1, {}, 0)

    run(work)


def test_who_waits_too_long_is_refused_and_the_others_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fair_queue, "MAX_WAIT", 0.2)

    async def work(_: Loop) -> None:
        queue = FairQueue(2)
        first = line(queue, "a", "a", "a")
        await asyncio.sleep(0.15)
        later = line(queue, "a")
        assert [await task for task in first] == [True, False, False]
        assert not later[0].done()
        queue.leave("a")
        assert await later[0]
        await asyncio.sleep(0.3)
        again = line(queue, "a")
        assert not await again[0]

    run(work)


def test_a_process_that_is_late_answers_instead_of_refusing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fair_queue, "MAX_WAIT", 0.05)

    async def work(loop: Loop) -> None:
        queue = FairQueue(1)
        tasks = line(queue, *["a"] * 20)
        await asyncio.sleep(0)
        loop.be_busy(0.3)
        await asyncio.sleep(0.1)
        refused = [task for task in tasks if task.done() and not task.result()]
        assert len(refused) == 1
        queue.leave("a")
        assert await tasks[2]
        for task in tasks:
            task.cancel()

    run(work)
