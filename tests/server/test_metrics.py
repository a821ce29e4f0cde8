"""The cost of /metrics."""

from collections import Counter
from typing import Any, cast

import pytest

from app.postgres.pool import Pool
from app.server import metrics
from app.server.log_writer import LogWriter


class IdlePool:
    """A pool without connections."""

    def __init__(self) -> None:
        self.failures: Counter[str] = Counter()

    def get_stats(self) -> dict[str, int]:
        return {}


def test_many_requests_for_the_metrics_within_a_second_share_a_rendering(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now, rendered = 100.0, 0

    def render(_: object) -> bytes:
        nonlocal rendered
        rendered += 1
        return b"rendering %d" % rendered

    monkeypatch.setattr(metrics, "monotonic", lambda: now)
    monkeypatch.setattr(metrics, "generate_latest", render)
    counted, pool = metrics.Metrics(LogWriter()), cast(Pool, cast(Any, IdlePool()))
    texts = [counted.render(pool) for _ in range(1000)]
    assert (rendered, texts[-1]) == (metrics.MAX_RENDERINGS, b"rendering %d" % metrics.MAX_RENDERINGS)
    now += 1
    assert counted.render(pool) == b"rendering %d" % (metrics.MAX_RENDERINGS + 1)
