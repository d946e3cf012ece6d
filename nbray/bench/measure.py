"""The timing loop."""

from __future__ import annotations

import time
from collections.abc import Callable


def steps_per_second(
    step: Callable[[], object], seconds: float, clock: Callable[[], float] = time.perf_counter
) -> float:
    """How often ``step`` runs in a second: warmed up for half of ``seconds``, then timed for ``seconds`` at least.

    The clock is read once in about a fiftieth of ``seconds``, so that reading it costs nothing in a case of a microsecond.
    """
    began = clock()
    warm = 0
    while warm == 0 or clock() - began < seconds / 2:
        step()
        warm += 1
    stride = max(1, warm // 25)

    count = 0
    began = clock()
    while (elapsed := clock() - began) < seconds or count == 0:
        for _ in range(stride):
            step()
        count += stride
    return count / elapsed
