"""The fair queue: users take turns, waits are limited, and heavy users leave places to others."""

import asyncio

import pytest
from support.clock import Loop, run

from app.postgres import fair_queue
from app.postgres.fair_queue import FairQueue, User

SHORT, LONG = 0.001, 2.0  # seconds that a request holds a connection
SIZES = [1, 2, 3, 4, 10, 50]


class Crowd:
    """A queue and the requests of its users."""

    def __init__(self, size: int) -> None:
        self.queue = FairQueue(size)
        self.clock = asyncio.get_running_loop()

    def ask(self, *users: str, server: int | None = None) -> list[asyncio.Task[bool]]:
        return [asyncio.create_task(self._enter(user, server)) for user in users]

    async def _enter(self, user: str, server: int | None) -> bool:
        now = self.clock.time()
        return self.queue.enter(user, now, server) or await self.queue.wait(user, now)

    def leave(self, user: str, held: float = SHORT) -> None:
        self.queue.leave(user, held, self.clock.time())

    async def meet(self, *users: str, held: float = SHORT) -> None:
        """Send one request for each user, so that the queue knows the users."""
        for user in users:
            (asked,) = self.ask(user)
            assert await asked
            self.leave(user, held)


async def settled() -> None:
    """Run the event loop until no task can continue."""
    for _ in range(20):
        await asyncio.sleep(0)


async def entered(tasks: list[asyncio.Task[bool]]) -> list[int]:
    """Return the indexes of the tasks that have entered."""
    await settled()
    return [n for n, task in enumerate(tasks) if task.done() and task.result()]


def test_one_user_gets_at_most_half_of_the_places() -> None:
    async def work(_: Loop) -> None:
        crowd = Crowd(4)
        await crowd.meet("a", "b")
        tasks = crowd.ask("a", "a", "a", "a", "b")
        assert await entered(tasks) == [0, 1, 4]
        crowd.leave("b")  # not a place of a
        assert await entered(tasks) == [0, 1, 4]
        crowd.leave("a")
        assert await entered(tasks) == [0, 1, 2, 4]

    run(work)


def test_a_new_user_gets_one_place_until_the_first_duration_is_known() -> None:
    async def work(_: Loop) -> None:
        crowd = Crowd(10)
        tasks = crowd.ask(*["a"] * 9)
        assert await entered(tasks) == [0]
        crowd.leave("a")
        assert await entered(tasks) == [0, 1, 2, 3, 4, 5]

    run(work)


@pytest.mark.parametrize("size", SIZES)
def test_a_single_user_can_always_enter(size: int) -> None:
    async def work(_: Loop) -> None:
        crowd = Crowd(size)
        await crowd.meet("a", held=LONG)
        share = max(1, size // 2)
        tasks = crowd.ask(*["a"] * (share + 1))
        assert await entered(tasks) == list(range(share))
        crowd.leave("a", LONG)
        assert await entered(tasks) == list(range(share + 1))

    run(work)


def test_users_enter_in_turn_and_each_one_s_requests_in_order() -> None:
    async def work(_: Loop) -> None:
        crowd = Crowd(1)
        await crowd.meet("x", held=LONG)
        assert await crowd.ask("x")[0]
        order: list[str] = []

        async def come_and_go(name: str) -> None:
            assert await crowd.ask(name[0])[0]
            order.append(name)
            crowd.leave(name[0])

        tasks = [asyncio.create_task(come_and_go(name)) for name in ("a1", "a2", "a3", "b1", "b2", "c1")]
        await settled()
        crowd.leave("x")
        await asyncio.gather(*tasks)
        assert order == ["a1", "b1", "c1", "a2", "b2", "a3"]
        assert (crowd.queue.free, crowd.queue.waiting) == (1, 0)

    run(work)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("greedy", [2, 3, 10, 20, 100])
def test_users_with_long_requests_never_hold_the_last_places(size: int, greedy: int) -> None:
    async def work(_: Loop) -> None:
        crowd = Crowd(size)
        users = [f"greedy {n}" for n in range(greedy)]
        await crowd.meet("known")
        await crowd.meet(*users, held=LONG)
        tasks = crowd.ask(*users * 20)
        await settled()
        for _turn in range(30):
            assert await entered(crowd.ask("known")) == [0]
            crowd.leave("known")
            if size > 1:
                assert await entered(crowd.ask("new")) == [0]
                crowd.leave("new")
                crowd.queue.users.pop("new")
            inside = [name for name, user in crowd.queue.users.items() if user.inside]
            crowd.leave(inside[0], LONG)
        assert len(await entered(tasks)) > 30

    run(work)


@pytest.mark.parametrize("size", [2, 3, 4, 10, 50])
def test_users_of_a_hanging_server_leave_places_to_users_of_others(size: int) -> None:
    async def work(_: Loop) -> None:
        crowd = Crowd(size)
        users = [f"user {n}" for n in range(100)]
        await crowd.meet(*users, "short")
        await crowd.meet("long", held=LONG)
        hanging = crowd.ask(*users, server=1)
        assert len(await entered(hanging)) == max(1, size - 2 * max(1, size // 5))
        for _turn in range(3):
            assert await entered(crowd.ask("short", server=2)) == [0]
            crowd.leave("short")
            if size > 2:
                assert await entered(crowd.ask("long", server=2)) == [0]
                crowd.leave("long", LONG)

    run(work)


def test_a_user_of_one_server_does_not_wait_for_users_of_another() -> None:
    async def work(_: Loop) -> None:
        crowd = Crowd(5)
        users = [f"user {n}" for n in range(9)]
        await crowd.meet(*users)
        assert await entered(crowd.ask(*users[:3], server=1)) == [0, 1, 2]
        other = crowd.ask(*users[3:6], server=2)
        assert await entered(other) == [0, 1, 2]
        waiting = crowd.ask(*users[6:8], server=1) + crowd.ask(users[8], server=2)
        assert await entered(waiting) == []
        crowd.leave(users[3])
        crowd.leave(users[4])
        assert await entered(waiting) == [2]

    run(work)


def test_a_user_without_recent_use_is_next_before_thousands_of_requests() -> None:
    async def work(_: Loop) -> None:
        crowd = Crowd(10)
        users = [f"busy {n}" for n in range(100)]
        await crowd.meet(*users * 10)
        tasks = crowd.ask(*users * 20)
        await settled()
        assert crowd.queue.free == -1  # even the last place, since all requests are short
        new = crowd.ask("new")
        assert await entered(new) == []
        for number, busy in enumerate(name for name, user in crowd.queue.users.items() if user.inside):
            if number < 2:  # one of the eleven places is only for known users
                crowd.leave(busy)
        assert await entered(new) == [0]
        assert len(await entered(tasks)) < 30

    run(work)


def test_a_long_request_waits_for_later_short_ones_only_for_a_limited_time() -> None:
    async def work(_: Loop) -> None:
        crowd = Crowd(1)
        await crowd.meet("x", "long", held=LONG)
        assert await crowd.ask("x")[0]
        tasks = crowd.ask("long")
        await asyncio.sleep(fair_queue.HEAD_START - 0.1)
        tasks += crowd.ask("soon")
        await asyncio.sleep(0.2)
        tasks += crowd.ask("late")
        assert await entered(tasks) == []
        for user, inside in (("x", [1]), ("soon", [0, 1]), ("long", [0, 1, 2])):
            crowd.leave(user)
            assert await entered(tasks) == inside

    run(work)


@pytest.mark.parametrize("size", [3, 10])
@pytest.mark.parametrize("after", [0.0, fair_queue.DECAY * fair_queue.LONG - 0.5])  # heavy, or not any more
def test_a_long_request_is_served_even_if_short_ones_never_stop(size: int, after: float) -> None:
    async def work(_: Loop) -> None:
        crowd = Crowd(size)
        busy = [f"busy {n}" for n in range(50)]
        await crowd.meet(*busy)
        await crowd.meet("long", held=fair_queue.LONG)
        await asyncio.sleep(after)
        crowd.ask(*busy * 2)
        await settled()
        tasks = crowd.ask("long")
        while not tasks[0].done():
            await asyncio.sleep(0.005)
            leaving = next(name for name, user in crowd.queue.users.items() if name in busy and user.inside)
            crowd.leave(leaving)
            crowd.ask(leaving)
            await settled()
        assert await tasks[0]

    run(work)


def test_a_user_counts_as_heavy_only_for_a_limited_time() -> None:
    user = User()
    user.charge(LONG, 0)
    assert user.is_heavy(fair_queue.DECAY * LONG - 1)
    assert not user.is_heavy(fair_queue.DECAY * LONG + 1)
    for now in range(100):
        user.charge(SHORT, 100 + now / 100)  # any number of short requests
    assert not user.is_heavy(101)


def test_a_delay_of_the_event_loop_makes_no_user_heavy() -> None:
    async def work(loop: Loop) -> None:
        crowd = Crowd(3)
        clock = crowd.queue.clock
        await crowd.meet("a", "b", "c", "d", "e")
        tasks = crowd.ask("a", "b", "c", "d", "e")
        await asyncio.sleep(3 * fair_queue.TICK)
        begun = clock(loop.time())
        loop.be_busy(1)
        for name, wait in (("a", fair_queue.TICK), ("b", fair_queue.LONG + fair_queue.TICK), ("c", 0)):
            crowd.leave(name, clock(loop.time()) - begun)
            await asyncio.sleep(wait)
        assert await entered(tasks) == [0, 1, 2, 3, 4]
        heavy = [name for name, user in crowd.queue.users.items() if user.is_heavy(loop.time())]
        assert heavy == ["c"]

    run(work)


def test_a_cancelled_request_passes_its_turn_to_the_next() -> None:
    async def work(_: Loop) -> None:
        crowd = Crowd(1)
        await crowd.meet("x", held=LONG)
        assert await crowd.ask("x")[0]
        waiting, admitted, last = crowd.ask("a", "a", "b")
        await settled()
        waiting.cancel()  # before its turn
        crowd.leave("x")
        admitted.cancel()  # when it has a place, but has not run yet
        assert await last
        assert waiting.cancelled()
        assert admitted.cancelled()
        crowd.leave("b")
        assert (crowd.queue.free, crowd.queue.waiting) == (1, 0)

    run(work)


def test_a_request_that_no_longer_waits_is_removed() -> None:
    async def work(_: Loop) -> None:
        crowd = Crowd(1)
        await crowd.meet("x", held=LONG)
        assert await crowd.ask("x")[0]
        tasks = crowd.ask(*["a", "b"] * 500)
        await settled()
        assert crowd.queue.waiting == 1000
        for task in tasks[2:]:
            task.cancel()
        await settled()
        assert crowd.queue.waiting == 2
        assert sum(len(user.turns or ()) for user in crowd.queue.users.values()) == 2
        crowd.leave("x")
        assert await tasks[0]
        crowd.leave("a")
        assert await tasks[1]
        assert not any(user.turns for user in crowd.queue.users.values())
        assert crowd.queue.waiting == 0

    run(work)


def test_the_number_of_known_users_is_bounded_and_heavy_ones_are_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fair_queue, "MAX_KNOWN", 50)

    async def work(_: Loop) -> None:
        crowd = Crowd(10)
        await crowd.meet("long", held=LONG)
        await crowd.meet(*(f"user {n}" for n in range(1000)))
        assert len(crowd.queue.users) <= 51
        assert crowd.queue.users["long"].is_heavy(crowd.clock.time())

    run(work)


def test_only_requests_that_wait_too_long_are_refused() -> None:
    async def work(_: Loop) -> None:
        crowd = Crowd(2)
        await crowd.meet("a")
        first = crowd.ask("a", "a", "a")
        await asyncio.sleep(fair_queue.MAX_WAIT * 0.75)
        later = crowd.ask("a")
        await asyncio.sleep(fair_queue.MAX_WAIT * 0.25)
        await asyncio.sleep(0.1)
        assert [task.done() and task.result() for task in first] == [True, False, False]
        assert first[2].done()
        assert not later[0].done()
        crowd.leave("a")
        assert await later[0]
        await asyncio.sleep(fair_queue.MAX_WAIT)  # no request waits
        again = crowd.ask("a")
        await asyncio.sleep(fair_queue.MAX_WAIT)
        assert not await again[0]

    run(work)


def test_waits_stay_short_at_ten_times_the_capacity() -> None:
    async def work(loop: Loop) -> None:
        crowd = Crowd(1)
        await crowd.meet("a", "b")
        waits: list[float] = []

        async def request(user: str) -> None:
            loop.be_busy(0.0002)
            begun = loop.time()
            if await crowd.ask(user)[0]:
                await asyncio.sleep(0.02)
                crowd.leave(user)
            else:
                waits.append(loop.time() - begun)
            loop.be_busy(0.0002)

        begun = loop.time()
        async with asyncio.TaskGroup() as group:
            for number in range(500):
                for user in "ab" * 5:
                    group.create_task(request(user))
                await asyncio.sleep(begun + (number + 1) / 100 - loop.time())
        assert len(waits) > 2500
        assert max(waits) < fair_queue.MAX_WAIT + 0.1

    run(work)


def test_a_busy_process_refuses_one_request_while_it_serves_nine() -> None:
    async def work(loop: Loop) -> None:
        crowd = Crowd(1)
        users = [f"user {n}" for n in range(1000)]
        await crowd.meet("x", "y", *users)
        assert await entered(crowd.ask("x", "y")) == [0, 1]

        async def served(user: str) -> bool:
            entered = await crowd.ask(user)[0]
            loop.be_busy(0.001)
            if entered:
                crowd.leave(user)
            return entered

        tasks = [asyncio.create_task(served(user)) for user in users]
        await asyncio.sleep(fair_queue.MAX_WAIT - fair_queue.TICK)
        crowd.leave("x")
        results = await asyncio.gather(*tasks)
        assert 0 < results.count(False) <= len(users) / 10

    run(work)


def test_a_late_process_serves_requests_instead_of_refusing_them() -> None:
    async def work(loop: Loop) -> None:
        crowd = Crowd(1)
        await crowd.meet("a")
        tasks = crowd.ask(*["a"] * 3)
        await settled()
        loop.be_busy(fair_queue.MAX_WAIT + 1)
        await asyncio.sleep(1)
        assert [task.done() for task in tasks] == [True, False, False]
        crowd.leave("a")
        assert await tasks[1]

    run(work)


def test_requests_are_refused_again_soon_after_the_process_was_suspended() -> None:
    async def work(loop: Loop) -> None:
        crowd = Crowd(1)
        await crowd.meet("a")
        tasks = crowd.ask("a", "a", "a")[1:]
        await settled()
        loop.be_busy(3600)
        begun = loop.time()
        assert await asyncio.gather(*tasks) == [False, False]
        assert loop.time() - begun < fair_queue.MAX_WAIT + 0.1

    run(work)
