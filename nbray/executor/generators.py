"""Running generators: each item goes to the caller when it is yielded."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any

from nbray.channel.connection import Connection
from nbray.core import messages as m
from nbray.core.ids import STREAM_STRIDE
from nbray.core.messages import Message
from nbray.core.streaming import Outlet
from nbray.executor import forks

if TYPE_CHECKING:
    from nbray.executor.running import Current, Runner

#: Frames of one connection that wait for its socket: beyond the first number generators pause, until it falls to the second.
_CROWDED, _CLEAR = 64, 16
#: Seconds between two looks whether a crowded connection is clear, on an asyncio loop.
_LOOK = 0.001


class Generators:
    """What callers say of the generators that run or wait here is noted under the lock; the generators run without."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._owner = runner.owner

    # -- what callers say: under the lock --------------------------------------------------------------------------

    def expect(self, connection: Connection, sequence: int, extra: dict[str, Any] | None) -> None:
        """A generator's call has come."""
        connection.context.outlets[sequence] = Outlet(extra.get("ahead", 0) if extra else 0)
        connection.on_close = self._caller_gone

    def taken(self, connection: Connection, message: Message) -> None:
        """TAKEN"""
        outlet = connection.context.outlets.get(message[1])
        if outlet is not None:
            outlet.took(message[2])

    def close(self, connection: Connection, message: Message) -> None:
        """CLOSE"""
        outlet = connection.context.outlets.get(message[1])
        if outlet is not None:
            outlet.close()

    def _caller_gone(self, connection: Connection, error: BaseException | None) -> None:
        for outlet in list(connection.context.outlets.values()):
            outlet.close()
        self._owner.peers.closed(connection, error)

    # -- running ---------------------------------------------------------------------------------------------------

    def run(self, call: Current, result: Any) -> None:
        """Iterate over what a generator function answered. What it raises is raised."""
        outlet = call.connection.context.outlets[call.sequence]
        items = _iterator(result, call.name)
        try:
            while not outlet.closed:
                try:
                    item = next(items)
                except StopIteration:
                    break
                self._send(call, outlet, item)
                del item
                while outlet.full:
                    self._owner.waiting.block(lambda: not outlet.full, None, (), 0)
                if call.connection.behind > _CROWDED:
                    self._owner.lead.run_until(lambda: call.connection.behind <= _CLEAR)
        finally:
            close = getattr(items, "close", None)
            if close is not None:
                close()

    async def run_async(self, call: Current, result: Any) -> None:
        """``run`` in an asyncio task: other calls go on between two items. If nobody wants more while an async generator awaits
        something, that is cancelled."""
        outlet = call.connection.context.outlets[call.sequence]
        items = result if hasattr(result, "__anext__") else _in_turns(_iterator(result, call.name))
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        news = asyncio.Event()
        inside = cancelled = False

        def hear() -> None:
            nonlocal cancelled
            news.set()
            if outlet.closed and inside and not cancelled:
                cancelled = task.cancel()

        outlet.changed = lambda: loop.call_soon_threadsafe(hear) and None
        try:
            while not outlet.closed:
                inside = True
                try:
                    item = await anext(items)
                except StopAsyncIteration:
                    break
                finally:
                    inside = False
                self._send(call, outlet, item)
                del item
                while outlet.full:
                    news.clear()
                    await news.wait()
                await asyncio.sleep(0)
                while call.connection.behind > _CROWDED:  # noqa: ASYNC110 (a socket that has room again tells nobody)
                    await asyncio.sleep(_LOOK)
        except asyncio.CancelledError:
            if not cancelled:
                raise
        finally:
            outlet.changed = None
            if cancelled:
                task.uncancel()
            if hasattr(items, "aclose"):
                await items.aclose()

    def _send(self, call: Current, outlet: Outlet, item: Any) -> None:
        if forks.forked:
            forks.leave()
        connection = call.connection
        peer = connection.peer
        assert peer is not None
        index = outlet.sent
        if index == STREAM_STRIDE - 1:
            raise OverflowError(f"{call.name} has yielded {index} items; no call can yield more")
        value = self._runner.value(item, f"item {index} of {call.name}", peer, call.sequence + 1 + index)
        outlet.sent = index + 1
        with self._owner.lock:
            connection.send((m.ITEM, call.sequence, index, value))


def _iterator(result: Any, name: str) -> Iterator[Any]:
    try:
        return iter(result)
    except TypeError:
        raise TypeError(
            f"{name} is to be streamed, but answered a {type(result).__name__}, which cannot be iterated over"
        ) from None


async def _in_turns(items: Iterator[Any]) -> AsyncIterator[Any]:
    """A plain generator among async ones."""
    try:
        for item in items:
            yield item
    finally:
        if inspect.isgenerator(items):
            items.close()
