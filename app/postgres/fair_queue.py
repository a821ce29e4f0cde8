"""Fair queueing for database connections: users take turns, and the waiting time is limited.

Without it the user with the most requests would get most of the connections. The next request is always one
of the user with the smallest recent use. Recent use is the time for which the user's requests recently held
connections. A request that has waited for MAX_WAIT seconds is refused.

A user with a request that held a connection for LONG or more (an expensive search, a create that waited for
a lock) is called a heavy user for some time. Heavy users may not take the last `reserve` connections, which
stay free for the short requests of other users. But all heavy users together may always have `reserve`
connections, even while others never stop sending short requests.

On Citus, the users of one worker together may not take the last connections either. If the worker hangs, the
requests of its users hang, but those of other users do not wait for them.
"""

import asyncio
from bisect import insort
from collections import Counter, OrderedDict, defaultdict, deque
from math import inf
from time import monotonic

# Seconds, without the delays of the event loop. Unlike a maximum queue length, this fits both a fast and a
# slow database.
MAX_WAIT = 2
TICK = 0.01  # seconds between two measurements of the event loop's delay, while requests wait

LONG = 0.1  # seconds with a connection; a request that holds it longer delays others noticeably
# Recent use is a number of seconds that decreases as time passes. Each second with a connection adds DECAY.
DECAY = 20
# Short requests raise the recent use of a user to this many seconds at most. A user with more is heavy.
HEAD_START = 1.5
MAX_KNOWN = 4096  # users; about 1 MB


class User:
    """The state of a user: requests with a connection, waiting requests, and recent use."""

    __slots__ = ("heavy_inside", "inside", "known", "listed", "server", "turns", "until")

    def __init__(self) -> None:
        self.inside = 0
        self.heavy_inside = 0  # the user's part of FairQueue.heavy_inside
        self.server: int | None = None  # the server that has the user's rows, if there are several
        self.known = False  # whether a request of the user has ended
        self.until = 0.0  # the time until which recent use counts
        self.turns: dict[asyncio.Future[bool], None] | None = None  # waiting requests, oldest first
        self.listed = False  # whether the user is in one of FairQueue.lists

    def is_heavy(self, now: float) -> bool:
        """Return whether a request of the user has recently held a connection for LONG or more."""
        return self.until > now + HEAD_START

    def charge(self, held: float, now: float) -> None:
        """Add the seconds for which a request held a connection to the recent use."""
        self.known = True
        if held >= LONG:
            self.until = max(self.until, now + HEAD_START + held * DECAY)
        elif self.until < now + HEAD_START:
            self.until = min(max(self.until, now) + held * DECAY, now + HEAD_START)


Waiting = deque[tuple[float, int, User]]  # sorted: recent use, order of listing, user


class FairQueue:
    """Limits the number of requests that use connections; such a request is "inside".

    At most `size` requests are inside. One more may enter if its user has no request inside and an earlier
    request of the user has ended. One user has at most half of the places, and only one until the user's
    first request has ended. If `reserve` requests of heavy users are inside, another one may enter only while
    more than `reserve` places are free. The users of one server together have at most `size - 2 * reserve`
    places, so that heavy users of other servers can enter, too.
    """

    def __init__(self, size: int) -> None:
        self.free = size
        self.heavy_inside = 0  # requests of heavy users
        self.share = max(1, size // 2)  # places of one user
        self.reserve = min(size - 1, max(1, size // 5))
        self.server_share = max(1, size - 2 * self.reserve)  # places of the users of one server
        self.inside: Counter[int | None] = Counter()  # by server
        self.users: OrderedDict[str, User] = OrderedDict()  # in the order in which they were first seen
        # Users with waiting requests, by server, and by whether they are heavy. Each list is sorted, with the
        # least recent use first. Most users are added at the end, so this costs less than a heap.
        self.lists: defaultdict[tuple[int | None, bool], Waiting] = defaultdict(deque)
        self.listings = 0
        # Waiting requests, oldest first, each with its time limit and user.
        self.arrivals: dict[asyncio.Future[bool], tuple[float, User]] = {}
        self.due = inf  # the time of the next call of _tick, or inf if none is scheduled
        self.delays = 0.0  # the sum of the delays of all calls of _tick, in seconds
        self.served = False  # whether a request has left since the last call of _tick

    @property
    def waiting(self) -> int:
        """The number of waiting requests."""
        return len(self.arrivals)

    def clock(self, now: float) -> float:
        """Return `now` minus the delays of the event loop, which make no user heavy and no wait too long."""
        return min(now, self.due) - self.delays

    def enter(self, name: str, now: float, server: int | None = None) -> bool:
        """Enter and return True if there is a place for this user and none of the user's requests waits."""
        user = self.users.get(name) or self._add_user(name, now)
        if not (user.inside or user.turns):
            user.server = server
        if user.turns or not self._may_enter(user, now):
            return False
        self._count(user, 1, now)
        return True

    def _count(self, user: User, entered: int, now: float) -> None:
        """Count a request that enters (1) or leaves (-1)."""
        self.free -= entered
        user.inside += entered
        if user.server is not None:
            self.inside[user.server] += entered
        if user.heavy_inside or user.is_heavy(now):
            self.heavy_inside -= user.heavy_inside
            user.heavy_inside = user.inside if user.is_heavy(now) else 0
            self.heavy_inside += user.heavy_inside

    def _add_user(self, name: str, now: float) -> User:
        """Add a user. If there are too many, drop the oldest two, unless inside, waiting or heavy."""
        for _ in range(2 if len(self.users) >= MAX_KNOWN else 0):
            first, user = self.users.popitem(last=False)
            if user.inside or user.turns or user.is_heavy(now):
                self.users[first] = user
        user = self.users[name] = User()
        return user

    def is_full(self, server: int | None) -> bool:
        """Return whether the users of this server already have as many places as they may have together."""
        return server is not None and self.inside[server] >= self.server_share

    def _may_enter(self, user: User, now: float) -> bool:
        if user.inside >= (self.share if user.known else 1):
            return False
        if self.is_full(user.server):
            return False
        if self.heavy_inside >= self.reserve and user.is_heavy(now):
            return self.free > self.reserve
        return self.free > (-1 if user.known and not user.inside else 0)

    def leave(self, name: str, held: float, now: float) -> None:
        """Leave after `held` seconds of clock() with a connection, 0 if it got none, and admit requests."""
        user = self.users[name]
        self.served = True
        if held:
            user.charge(held, now)
        self._count(user, -1, now)
        if self.arrivals:
            self._list(user, now)
            self._admit(now)

    def _list(self, user: User, now: float, since: float | None = None) -> None:
        """Add a user with waiting requests to a list, unless the user has the maximum of requests inside."""
        if user.turns and not user.listed and user.inside < (self.share if user.known else 1):
            user.listed = True
            self.listings += 1
            since = since or max(now, min(user.until, now + HEAD_START))
            users, listed = self.lists[user.server, user.is_heavy(now)], (since, self.listings, user)
            if users and listed < users[-1]:
                insort(users, listed)
            else:
                users.append(listed)

    def _admit(self, now: float) -> None:
        """Admit the first user of a list while there is a place. The other users wait."""
        while ready := [
            users
            for (_, heavy), users in [*self.lists.items()]
            if self._first_may_enter(users, now, heavy=heavy)
        ]:
            *_, user = min(ready).popleft()
            user.listed = False
            turn = next(iter(user.turns or ()))
            self._remove(turn)
            if not turn.done():  # otherwise its request is being cancelled
                turn.set_result(True)
                self._count(user, 1, now)
            self._list(user, now)

    def _first_may_enter(self, users: Waiting, now: float, *, heavy: bool) -> bool:
        """Return whether the first user of a list may enter.

        Users who no longer wait, or who now belong to the other list, are removed first. A user who is no
        longer heavy keeps their place in the order.
        """
        while users:
            since, _, user = users[0]
            if user.turns and user.is_heavy(now) == heavy:
                return self._may_enter(user, now)
            users.popleft()
            user.listed = False
            self._list(user, now, since if heavy else None)
        return False

    def _remove(self, turn: asyncio.Future[bool]) -> None:
        """Remove a request that no longer waits."""
        _, user = self.arrivals.pop(turn)
        if user.turns:
            del user.turns[turn]

    async def wait(self, name: str, now: float) -> bool:
        """Wait until the request may enter. Return False if it is refused."""
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[bool] = loop.create_future()
        user = self.users[name]
        until = self.clock(now) + MAX_WAIT
        if self.due == inf:
            self.due = now + TICK
            loop.call_at(self.due, self._tick, loop)
        self.arrivals[turn] = until, user
        user.turns = user.turns or {}
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

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        """Measure the delay of the event loop, and refuse requests."""
        now = loop.time()
        self.delays += max(0, now - self.due)
        self.due = now + TICK
        self.served = False
        self._refuse(loop)

    def _refuse(self, loop: asyncio.AbstractEventLoop) -> None:
        """Refuse the oldest request if it has waited for MAX_WAIT, and the next one in the next iteration.

        A refusal costs about as much CPU as a response, and many clients retry immediately. If each iteration
        of the event loop serves requests, the CPU limits the throughput, so only one request per TICK is
        refused. If the database limits it, most iterations serve none, and each of these refuses one. A
        request that has passed its limit but is not refused yet may still get a connection.
        """
        if not self.arrivals:
            self.due = inf
            return
        turn, (until, _) = next(iter(self.arrivals.items()))
        now = loop.time()
        if self.served or now > self.due or until > self.clock(now):
            loop.call_at(self.due, self._tick, loop)
            return
        self._remove(turn)
        if not turn.done():  # otherwise its request is being cancelled
            turn.set_result(False)
        loop.call_soon(self._refuse, loop)
