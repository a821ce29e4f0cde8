"""An event loop with simulated time. Its clock jumps to the next timer, so waiting takes no real time."""

import asyncio
import selectors
from collections.abc import Awaitable, Callable


class Selector(selectors.SelectSelector):
    """Polls for input without waiting. If there is none, it advances the simulated time by the timeout."""

    passed = 0.0  # seconds

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        found = super().select(0)
        if not found:
            assert timeout is not None, "the loop would wait forever"
            self.passed += timeout
        return found


class Loop(asyncio.SelectorEventLoop):
    """An event loop with the time of its selector."""

    def __init__(self) -> None:
        self.selector = Selector()
        super().__init__(self.selector)

    def time(self) -> float:
        return self.selector.passed

    def be_busy(self, seconds: float) -> None:
        """Advance the time, as a callback that takes this long would."""
        self.selector.passed += seconds


def run(work: Callable[[Loop], Awaitable[None]]) -> None:
    """Run a coroutine that does not wait for another process or thread."""

    async def to_the_end() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, Loop)
        await work(loop)

    with asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(to_the_end())
