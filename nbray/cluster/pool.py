"""What the runtime holds of a pool, however it came to be."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeVar

from nbray.cluster.loop import LoopThread
from nbray.core.messages import Message
from nbray.executor.supervisor import Node

logger = logging.getLogger("nbray.cluster")

T = TypeVar("T")

#: Seconds that a step of ``close`` may take by default, and all of them together. Usually it is half a second for all;
#: on a machine that is busy with something else, ending things well takes longer and is worth it.
STEP, ALL = 2.0, 10.0


class Uplink(Protocol):
    """The driver's way to placement."""

    def send(self, message: Message) -> None:
        """Post a message for placement ("uplink" in ``core/messages.py``); any thread, never blocks. Order is kept."""


class Pool:
    """A running pool.

    Attributes:
        uplink: the way to placement.
        scheduler_address: of Dask's scheduler.
        node: this process's node: its store, and (on a local pool) all executors. Lives on ``loop``.
        loop: the thread's asyncio loop.
        own: nbray started it, for this process alone.
        cluster: the Dask ``Cluster`` that was attached to, if it was given as such.
    """

    def __init__(self, thread: LoopThread, node: Node, on_message: Callable[[Message], None]) -> None:
        self._thread = thread
        self._on_message = on_message
        self._closing: list[tuple[str, Callable[[], Coroutine[Any, Any, object]], float | None]] = []
        self._closed = False
        self._at_end: list[Callable[[], None]] = []
        self.loop = thread.loop
        self.node = node
        self.uplink: Uplink
        self.scheduler_address = ""
        self.own = False
        self.cluster: Any = None

    def deliver(self, message: Message) -> None:
        """What placement says, on the pool's thread; not what it says because the pool closes."""
        if not self._closed:
            self._on_message(message)

    def call(self, coroutine: Coroutine[Any, Any, T], timeout: float | None = None) -> T:
        """Run a coroutine on the pool's loop and wait for its result; not from that loop's own thread.

        Raises:
            TimeoutError: it took longer than ``timeout`` seconds.
        """
        return self._thread.call(coroutine, timeout)

    def close(self) -> None:
        """End the pool: afterwards it has no thread, process, descriptor or file left. Idempotent."""
        if self._closed:
            return
        self._closed = True
        with contextlib.suppress(TimeoutError):
            self._thread.call(self._close(), ALL)
        self._thread.stop()
        for function in self._at_end:
            function()
        # Dask's caches keep the scheduler, and it what it delivers to: not the driver's objects, too.
        self._on_message = _ignore

    async def _close(self) -> None:
        for what, step, patience in reversed(self._closing):
            try:
                await asyncio.wait_for(step(), patience)
            except TimeoutError:
                logger.warning("closing %s took longer than %s s", what, patience)
            except Exception:
                logger.exception("could not close %s", what)

    def on_close(
        self, what: str, step: Callable[[], Coroutine[Any, Any, object]], patience: float | None = STEP
    ) -> None:
        """Do that when the pool closes, on its loop; the last first.

        Args:
            patience: seconds after which it is cancelled; None: it knows its own limit.
        """
        self._closing.append((what, step, patience))

    def at_end(self, function: Callable[[], None]) -> None:
        """Call that when everything is closed."""
        self._at_end.append(function)


def _ignore(message: Message) -> None:
    """Nobody is there any more."""
