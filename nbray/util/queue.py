"""A first-in, first-out queue between tasks, actors and the driver. It lives in an actor of its own."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Iterable, Mapping
from typing import Any

import nbray
from nbray.exceptions import ActorDiedError, RayActorError

__all__ = ["Empty", "Full", "Queue"]


class Empty(queue.Empty):
    """There is nothing in the queue (in time)."""


class Full(queue.Full):
    """There is no room in the queue (in time)."""


class Queue:
    """A queue that may be passed to tasks and actors; all that have it see the same items.

    Args:
        maxsize: items at most; 0 or less: no limit.
        actor_options: of the actor that holds the items, for example ``{"num_cpus": 1}``.

    Example:
        >>> queue = Queue(maxsize=100)
        >>> workers = [work.remote(queue) for _ in range(4)]
        >>> queue.put("item")
    """

    def __init__(self, maxsize: int = 0, actor_options: Mapping[str, Any] | None = None) -> None:
        self.maxsize = maxsize
        self.actor: Any = nbray.remote(_QueueActor).options(**(actor_options or {})).remote(maxsize)

    def _actor(self) -> Any:
        if self.actor is None:
            raise ActorDiedError("this queue was shut down")
        return self.actor

    def __len__(self) -> int:
        return self.size()

    def size(self) -> int:
        """The number of items."""
        size: int = nbray.get(self._actor().qsize.remote())
        return size

    def qsize(self) -> int:
        """The number of items."""
        return self.size()

    def empty(self) -> bool:
        """Whether there is nothing in it."""
        empty: bool = nbray.get(self._actor().empty.remote())
        return empty

    def full(self) -> bool:
        """Whether there is no room in it."""
        full: bool = nbray.get(self._actor().full.remote())
        return full

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """Add an item at the end.

        Args:
            item: as an argument of a task: it is pickled now, and of an ``ObjectRef`` the value arrives.
            block: wait for room.
            timeout: seconds to wait at most; None: without end.

        Raises:
            Full: there is no room (in time). ValueError: the time-out is negative.
        """
        _taken(nbray.get(self._actor().put.remote(item, _seconds(block, timeout))))

    async def put_async(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """``put``, to be awaited."""
        _taken(await self._actor().put.remote(item, _seconds(block, timeout)))

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Take the first item.

        Args:
            block: wait for one.
            timeout: seconds to wait at most; None: without end.

        Raises:
            Empty: there is none (in time). ValueError: the time-out is negative.
        """
        return _given(nbray.get(self._actor().get.remote(_seconds(block, timeout))))

    async def get_async(self, block: bool = True, timeout: float | None = None) -> Any:
        """``get``, to be awaited."""
        return _given(await self._actor().get.remote(_seconds(block, timeout)))

    def put_nowait(self, item: Any) -> None:
        """``put(item, block=False)``."""
        self.put(item, block=False)

    def get_nowait(self) -> Any:
        """``get(block=False)``."""
        return self.get(block=False)

    def put_nowait_batch(self, items: Iterable[Any]) -> None:
        """Add items in their order: all, or none.

        Raises:
            Full: there is no room for all of them. TypeError: they cannot be iterated over.
        """
        if not isinstance(items, Iterable):
            raise TypeError(f"'items' must be an iterable, not {type(items).__name__}")
        items = list(items)
        size = nbray.get(self._actor().put_nowait_batch.remote(items))
        if size is not None:
            raise Full(f"a queue of {size} items with room for {self.maxsize} cannot take {len(items)} more")

    def get_nowait_batch(self, num_items: int) -> list[Any]:
        """Take just that many items.

        Raises:
            Empty: there are fewer; they stay. TypeError, ValueError: that is no number of items.
        """
        if not isinstance(num_items, int):
            raise TypeError(f"'num_items' must be an int, not {type(num_items).__name__}")
        if num_items < 0:
            raise ValueError(f"'num_items' must be 0 or more, got {num_items}")
        items: list[Any] | None
        items, size = nbray.get(self._actor().get_nowait_batch.remote(num_items))
        if items is None:
            raise Empty(f"a queue of {size} items cannot give {num_items}")
        return items

    def shutdown(self, force: bool = False, grace_period_s: int = 5) -> None:
        """End the queue and its actor: whoever waits in ``put`` or ``get`` gets an ``ActorDiedError``.

        Args:
            force: do not wait for calls that were sent before.
            grace_period_s: seconds to wait for them otherwise. A ``get`` that waits for an item is not waited for.
        """
        actor, self.actor = self.actor, None
        if actor is None:
            return
        if not force:
            # Whatever was sent before has begun when this answers: calls start in order.
            try:
                nbray.get(actor.qsize.remote(), timeout=grace_period_s)
            except (RayActorError, TimeoutError):
                pass
        nbray.kill(actor, no_restart=True)


def _seconds(block: bool, timeout: float | None) -> float | None:
    if not block:
        return 0
    if timeout is not None and timeout < 0:
        raise ValueError(f"'timeout' must be 0 or more, got {timeout}")
    return timeout


def _taken(put: bool) -> None:
    if not put:
        raise Full


def _given(items: list[Any]) -> Any:
    if not items:
        raise Empty
    return items[0]


class _QueueActor:
    """Holds the items. That a queue is full or empty is an answer here, no exception: it is no failure in anybody's eyes."""

    def __init__(self, maxsize: int) -> None:
        self.queue: asyncio.Queue[Any] = asyncio.Queue(maxsize)

    def qsize(self) -> int:
        return self.queue.qsize()

    def empty(self) -> bool:
        return self.queue.empty()

    def full(self) -> bool:
        return self.queue.full()

    async def put(self, item: Any, timeout: float | None) -> bool:
        # Not wait_for() for what needs no waiting: with a time-out of 0 it gives up before it has tried.
        try:
            self.queue.put_nowait(item)
        except asyncio.QueueFull:
            if timeout == 0:
                return False
            try:
                await asyncio.wait_for(self.queue.put(item), timeout)
            except TimeoutError:
                return False
        return True

    async def get(self, timeout: float | None) -> list[Any]:
        """A list of the item, an empty one if there is none."""
        try:
            return [self.queue.get_nowait()]
        except asyncio.QueueEmpty:
            if timeout == 0:
                return []
            try:
                return [await asyncio.wait_for(self.queue.get(), timeout)]
            except TimeoutError:
                return []

    def put_nowait_batch(self, items: list[Any]) -> int | None:
        """None if all were put, else the number of items in the way."""
        if 0 < self.queue.maxsize < len(items) + self.queue.qsize():
            return self.queue.qsize()
        for item in items:
            self.queue.put_nowait(item)
        return None

    def get_nowait_batch(self, num_items: int) -> tuple[list[Any] | None, int]:
        """The items, or None and how many there are."""
        size = self.queue.qsize()
        if num_items > size:
            return None, size
        return [self.queue.get_nowait() for _ in range(num_items)], size
