"""What a node agent does every now and then: gives memory of the store back, counts it anew, looks whether memory runs out.

A look at both takes 30 µs, once a second while nothing happens. While somebody watches the node, its figures are told as often.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from nbray.core.memory import Candidate
from nbray.executor.memory import MemoryMonitor, threshold_from_environment
from nbray.machine import CpuFigures, MemoryFigures
from nbray.store.store import Store

logger = logging.getLogger("nbray.node")

#: Seconds between two looks at the store, and if the last one left something to do.
_BEAT, _SOON = 1.0, 0.02
#: Seconds over which the first figure of the CPUs is taken.
_FIRST = 0.1
#: Seconds until the next look, if this one failed.
_BLIND = 10.0


#: CPUs that are busy, memory used and in all, store used and in all, spilled: a float and bytes.
Sample = tuple[float, int, int, int, int, int]


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
        self._memory = MemoryFigures()
        self._monitor = MemoryMonitor(self._memory.read, threshold_from_environment(), candidates, end)
        self._uncounted = False
        self._watched_until = 0.0
        self._timers: dict[Callable[[], float | None], asyncio.TimerHandle] = {}

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

    def watched(self, seconds: float, tell: Callable[[Sample], None]) -> None:
        """Somebody wants the figures of this node for that long from now on, once a second."""
        watching, self._watched_until = self._loop.time() < self._watched_until, self._loop.time() + seconds
        self._tell = tell
        if not watching:
            self._cpu = CpuFigures()
            if self._sample in self._timers:
                self._timers[self._sample].cancel()
            self._timers[self._sample] = self._loop.call_later(_FIRST, self._run, self._sample)

    def _sample(self) -> float | None:
        if self._loop.time() > self._watched_until:
            return None
        used, total = self._memory.read()
        store = self._store.figures
        self._tell((self._cpu.busy(), used, total, store.used, store.capacity, store.spilled))
        return _BEAT

    def _run(self, work: Callable[[], float | None]) -> None:
        """Do it, and again after the seconds that it answers; None: no more."""
        try:
            pause = work()
        except Exception:
            logger.exception("the upkeep of this node failed")
            pause = _BLIND
        if pause is None:
            del self._timers[work]
        else:
            self._timers[work] = self._loop.call_later(pause, self._run, work)

    def _look_at_store(self) -> float:
        if self._uncounted:
            self._uncounted = False
            self._store.recount()
        return _SOON if self._store.tidy() else _BEAT
