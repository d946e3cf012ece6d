"""What owners leave behind on a node when they die: their large objects go, but for those that somebody has taken over.

An executor's refs may have gone out as results, and who got them says so within a while (``owner/inheritance.py``). Nobody gets
anything from a driver that way, so what it leaves goes at once. Its executors end with it: they may have been writing, and what
they leave, too, need not wait for long.
"""

from __future__ import annotations

import asyncio
import logging
import math

from nbray.core.ids import PROCESS_ID_SIZE
from nbray.owner.serving import StoreServer

logger = logging.getLogger("nbray.node")

#: Seconds that processes have to say which objects of a dead owner they take over.
HEIRS = 30.0
#: Seconds until a dead driver's objects go.
SOON, AGAIN = 0.2, 3.0


class Estates:
    """On the node agent's loop."""

    def __init__(self, server: StoreServer, loop: asyncio.AbstractEventLoop) -> None:
        self._server = server
        self._loop = loop
        self._driver_gone = -math.inf
        self._due: dict[float, set[bytes]] = {}
        self._timers: dict[float, asyncio.TimerHandle] = {}

    def owner_gone(self, process: bytes, driver: bool) -> None:
        """A process is dead, here or on another node."""
        if len(process) != PROCESS_ID_SIZE:
            return  # an executor that never came up
        now = self._loop.time()
        if driver:
            self._driver_gone = now
        soon = now < self._driver_gone + AGAIN
        for delay in (SOON, AGAIN) if driver else (AGAIN if soon else HEIRS,):
            # Many end together, and one look through the store does for all of a second.
            when = math.ceil(now + delay) if delay >= 1 else now + delay
            self._due.setdefault(when, set()).add(process)
            if when not in self._timers:
                self._timers[when] = self._loop.call_at(when, self._remove, when)

    def close(self) -> None:
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def _remove(self, when: float) -> None:
        del self._timers[when]
        try:
            self._server.remove_heirless(self._due.pop(when))
        except Exception:
            logger.exception("what dead processes left could not be removed")
