"""An event loop whose clock jumps to its next timer: what waits for a time takes none, and comes in order."""

import asyncio
import selectors
from collections.abc import Awaitable, Callable


class Selector(selectors.SelectSelector):
    """Looks for input without waiting; where there is none, the loop's time goes on at once."""

    passed = 0.0  # seconds

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        found = super().select(0)
        if not found:
            assert timeout is not None, "nothing will ever happen"
            self.passed += timeout
        return found


class Loop(asyncio.SelectorEventLoop):
    """Passes time by its selector alone."""

    def __init__(self) -> None:
        self.selector = Selector()
        super().__init__(self.selector)

    def time(self) -> float:
        return self.selector.passed

    def be_busy(self, seconds: float) -> None:
        """Let this much time pass as if a callback had taken it."""
        self.selector.passed += seconds


def run(work: Callable[[Loop], Awaitable[None]]) -> None:
    """Run something that meets no other process or thread."""

    async def to_the_end() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, Loop)
        await work(loop)

    with asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(to_the_end())
