"""What a node agent does every now and then: gives memory of the store back, counts it anew, looks whether memory runs out.

A look at both takes 30 µs, once a second while nothing happens.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from nbray.core.memory import Candidate
from nbray.executor.memory import MemoryMonitor, threshold_from_environment
from nbray.machine import MemoryFigures
from nbray.store.store import Store

logger = logging.getLogger("nbray.node")

#: Seconds between two looks at the store, and if the last one left something to do.
_BEAT, _SOON = 1.0, 0.02
#: Seconds until the next look, if this one failed.
_BLIND = 10.0


class Upkeep:
    """
    Args:
        candidates: gives the executors that may be ended when memory runs out.
        end: called with the chosen one and the reason.

    Raises:
        ValueError: the threshold in the environment is no number.
    """

    def __init__(
        self, candidates: Callable[[], Sequence[Candidate]], end: Callable[[Candidate, str], None]
    ) -> None:
        self._monitor = MemoryMonitor(MemoryFigures().read, threshold_from_environment(), candidates, end)
        self._uncounted = False
        self._timers: dict[Callable[[], float], asyncio.TimerHandle] = {}

    def start(self, store: Store) -> None:
        """Begin, on the running loop."""
        self._store = store
        self._loop = asyncio.get_running_loop()
        for work in (self._look_at_store, self._monitor.look):
            self._timers[work] = self._loop.call_later(_BEAT, self._run, work)

    def stop(self) -> None:
        for timer in self._timers.values():
            timer.cancel()

    def executor_ended(self) -> None:
        """It may have died in the middle of a write."""
        self._uncounted = True

    def _run(self, work: Callable[[], float]) -> None:
        try:
            pause = work()
        except Exception:
            logger.exception("the upkeep of this node failed")
            pause = _BLIND
        self._timers[work] = self._loop.call_later(pause, self._run, work)

    def _look_at_store(self) -> float:
        if self._uncounted:
            self._uncounted = False
            self._store.recount()
        return _SOON if self._store.tidy() else _BEAT
