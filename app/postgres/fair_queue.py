"""A fair queue for connections: a request waits a limited time, users take turns, and some places stay free.

A user whose requests hold connections for long (an expensive search, creates that wait for a lock) waits for
other such users. However many they are, they never hold the last places, which short requests pass through.
"""

import asyncio
from collections import OrderedDict
from heapq import heappop, heappush
from time import monotonic

MAX_WAIT = 2  # seconds: a time bounds the queue whatever the database's pace
# A refusal costs about what an answer does, and a client that tries again at once makes it another request.
# So the later the event loop is, the longer the pause after a refusal: a busy process spends its time on
# answers, and gives them to those who have waited longer too.
MIN_PAUSE = 0.001  # seconds
PAUSE_FACTOR = 10  # times what the event loop was late

LONG = 0.1  # seconds of a connection, after which others would notice
# Each second of a connection counts as recent use for so many seconds...
DECAY = 20
# ...but all short requests of a user for so many at most: the latest head start of a user without recent use.
HEAD_START = 1.5
MAX_KNOWN = 4096  # users, some 1 MB


class User:
    """What is known of a user: requests inside and waiting, and until when recent use counts."""

    __slots__ = ("inside", "known", "listed", "turns", "until")

    def __init__(self) -> None:
        self.inside = 0
        self.known = False  # a request of theirs has ended
        self.until = 0.0
        self.turns: OrderedDict[asyncio.Future[bool], None] | None = None  # the first come first
        self.listed = False  # among the users whose turn may come

    def is_long(self, now: float) -> bool:
        """Return whether a request of theirs has held a connection for long of late."""
        return self.until > now + HEAD_START

    def charge(self, held: float, now: float) -> None:
        """Count the seconds for which a request held a connection."""
        self.known = True
        if held >= LONG:
            self.until = max(self.until, now + HEAD_START + held * DECAY)
        elif self.until < now + HEAD_START:
            self.until = min(max(self.until, now) + held * DECAY, now + HEAD_START)


Waiting = list[tuple[float, int, User]]  # a heap


class FairQueue:
    """At most `size` requests are inside, and one more if it is its user's only one and known to be short.

    Of one user at most half are inside, and a single one until their first has ended. All users with long
    requests together leave `reserve` places to the others.
    """

    def __init__(self, size: int) -> None:
        self.free = size
        self.share = max(1, size // 2)
        self.reserve = min(size - 1, max(1, size // 5))
        self.users: OrderedDict[str, User] = OrderedDict()  # the first seen first
        # Users that wait, those with short and those with long requests: the least recent use first.
        self.lists: tuple[Waiting, Waiting] = ([], [])
        self.listings = 0
        self.arrivals: OrderedDict[asyncio.Future[bool], tuple[float, User]] = OrderedDict()  # oldest first
        self.watching = False

    @property
    def waiting(self) -> int:
        """Return how many requests wait."""
        return len(self.arrivals)

    def enter(self, name: str, now: float) -> bool:
        """Enter if there is a place for this user; its waiting requests come first."""
        user = self.users.get(name) or self._meet(name, now)
        if user.turns or not self._may_enter(user, now):
            return False
        self.free -= 1
        user.inside += 1
        return True

    def _meet(self, name: str, now: float) -> User:
        """Remember a user, and forget the first seen of too many, unless that has an effect."""
        for _ in range(2 if len(self.users) >= MAX_KNOWN else 0):
            first, user = self.users.popitem(last=False)
            if user.inside or user.turns or user.is_long(now):
                self.users[first] = user
        user = self.users[name] = User()
        return user

    def _may_enter(self, user: User, now: float) -> bool:
        if user.inside >= (self.share if user.known else 1):
            return False
        if self.free > self.reserve:
            return True
        if user.is_long(now):
            return False
        return self.free > (-1 if user.known and not user.inside else 0)

    def leave(self, name: str, held: float, now: float) -> None:
        """Leave after so many seconds with a connection, if any, and let the next ones enter."""
        user = self.users[name]
        self.free += 1
        user.inside -= 1
        if held:
            user.charge(held, now)
        if self.arrivals:
            self._list(user, now)
            self._admit(now)

    def _list(self, user: User, now: float) -> None:
        """List a user that waits, unless one of their requests must leave before another may enter."""
        if user.turns and not user.listed and user.inside < (self.share if user.known else 1):
            user.listed = True
            self.listings += 1
            since = max(now, min(user.until, now + HEAD_START))
            heappush(self.lists[user.is_long(now)], (since, self.listings, user))

    def _admit(self, now: float) -> None:
        """Let the first of the lists enter while they may; who stands behind them waits for them."""
        while ready := [users for users in self.lists if self._first_may_enter(users, now)]:
            *_, user = heappop(min(ready))
            user.listed = False
            turn = next(iter(user.turns or ()))
            self._remove(turn)
            if not turn.done():  # else its request is just being cancelled
                turn.set_result(True)
                self.free -= 1
                user.inside += 1
            self._list(user, now)

    def _first_may_enter(self, users: Waiting, now: float) -> bool:
        """Return whether a list's first user may enter, after sorting out those that are not of this list."""
        while users:
            *_, user = users[0]
            if user.turns and user.is_long(now) == (users is self.lists[True]):
                return self._may_enter(user, now)
            heappop(users)
            user.listed = False
            self._list(user, now)
        return False

    def _remove(self, turn: asyncio.Future[bool]) -> None:
        """Take a request out that waits no more."""
        _, user = self.arrivals.pop(turn)
        if user.turns:
            del user.turns[turn]

    async def wait(self, name: str, now: float) -> bool:
        """Wait to enter; return whether that came in time."""
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[bool] = loop.create_future()
        user = self.users[name]
        until = loop.time() + MAX_WAIT
        if not self.watching:
            self.watching = True
            loop.call_at(until, self._refuse, loop, until)
        self.arrivals[turn] = until, user
        user.turns = user.turns or OrderedDict()
        user.turns[turn] = None
        self._list(user, now)
        try:
            return await turn
        except asyncio.CancelledError:
            if turn in self.arrivals:
                self._remove(turn)
            elif not turn.cancelled() and turn.result():
                self.leave(name, 0, monotonic())
            raise

    def _refuse(self, loop: asyncio.AbstractEventLoop, when: float) -> None:
        """Refuse the longest waiting request once it has waited too long; see to the next in a moment."""
        if not self.arrivals:
            self.watching = False
            return
        turn, (until, _) = next(iter(self.arrivals.items()))
        now = loop.time()
        if turn.done():  # its request is just being cancelled
            self._remove(turn)
        elif until <= now:
            self._remove(turn)
            turn.set_result(False)
            until = now + max(MIN_PAUSE, PAUSE_FACTOR * (now - when))
        loop.call_at(until, self._refuse, loop, until)
