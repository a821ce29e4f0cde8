"""A fair queue for connections: a request waits a limited time, and users take turns."""

import asyncio
from collections import OrderedDict, deque

MAX_WAIT = 2  # seconds: a time bounds the queue whatever the database's pace
# A refusal costs about what an answer does, and a client that tries again at once makes it another request.
# So the later the event loop is, the longer the pause after a refusal: a busy process spends its time on
# answers, and gives them to those who have waited longer too.
MIN_PAUSE = 0.001  # seconds
PAUSE_FACTOR = 10  # times what the event loop was late


class FairQueue:
    """At most `size` requests are inside, of one user at most half; the others enter user by user."""

    def __init__(self, size: int) -> None:
        self.free = size
        self.share = max(1, size // 2)
        self.inside: dict[str, int] = {}
        self.queues: OrderedDict[str, deque[asyncio.Future[bool]]] = OrderedDict()  # the next user first
        self.arrivals: deque[tuple[float, asyncio.Future[bool]]] = deque()  # the longest waiting first
        self.waiting = 0

    def enter(self, user: str) -> bool:
        """Enter if there is a place for this user; those that wait then are of users with their share."""
        inside = self.inside.get(user, 0)
        if not self.free or inside >= self.share:
            return False
        self.free -= 1
        self.inside[user] = inside + 1
        return True

    def leave(self, user: str) -> None:
        """Leave, and let the next one enter."""
        self.free += 1
        self.inside[user] -= 1
        if not self.inside[user]:
            del self.inside[user]
        while self.queues and self.free and (following := self._next()) is not None:
            self._admit(following)

    def _next(self) -> str | None:
        """Return the user whose turn it is: two at most, who have their share, are passed over."""
        return next((user for user in self.queues if self.inside.get(user, 0) < self.share), None)

    def _admit(self, user: str) -> None:
        """Let a user's first request enter, unless it waits no more; then it is another user's turn."""
        queue = self.queues[user]
        turn = queue.popleft()
        if not queue:
            del self.queues[user]
        if turn.done():
            return
        if queue:
            self.queues.move_to_end(user)
        turn.set_result(self.enter(user))

    async def wait(self, user: str) -> bool:
        """Wait to enter; tell whether that came in time."""
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[bool] = loop.create_future()
        until = loop.time() + MAX_WAIT
        if not self.arrivals:
            loop.call_at(until, self._refuse, loop, until)
        self.arrivals.append((until, turn))
        self.queues.setdefault(user, deque()).append(turn)
        self.waiting += 1
        try:
            return await turn
        except asyncio.CancelledError:
            if not turn.cancelled() and turn.result():
                self.leave(user)
            raise
        finally:
            self.waiting -= 1

    def _refuse(self, loop: asyncio.AbstractEventLoop, when: float) -> None:
        """Refuse the longest waiting request once it has waited too long; see to the next in a moment."""
        while self.arrivals and self.arrivals[0][1].done():
            self.arrivals.popleft()
        if not self.arrivals:
            return
        until, turn = self.arrivals[0]
        now = loop.time()
        if until <= now:
            turn.set_result(False)
            until = now + max(MIN_PAUSE, PAUSE_FACTOR * (now - when))
        loop.call_at(until, self._refuse, loop, until)
