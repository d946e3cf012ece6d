"""A thread with an asyncio loop, for what must not run on the user's."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class LoopThread:
    """Runs until ``stop``. A daemon: an interpreter that ends does not wait for it."""

    def __init__(self, name: str) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, args=(self.loop,), name=name, daemon=True)
        self._thread.start()

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        try:
            loop.run_forever()
        finally:
            loop.run_until_complete(_finish(loop))
            asyncio.set_event_loop(None)
            loop.close()

    def call(self, coroutine: Coroutine[Any, Any, T], timeout: float | None = None) -> T:
        """Run a coroutine there and wait for its result, from any other thread.

        Raises:
            TimeoutError: it took longer than ``timeout`` seconds; it is cancelled.
        """
        if threading.current_thread() is self._thread:
            coroutine.close()
            raise RuntimeError("would wait for itself")
        future = asyncio.run_coroutine_threadsafe(coroutine, self.loop)
        try:
            return future.result(timeout)
        except concurrent.futures.TimeoutError:
            future.cancel()
            raise
        except BaseException:
            future.cancel()
            raise

    def post(self, function: Callable[..., object], *args: Any) -> None:
        """Call a function there soon; from any thread. Nothing happens once the thread has stopped."""
        try:
            self.loop.call_soon_threadsafe(function, *args)
        except RuntimeError:  # closed
            pass

    def stop(self, timeout: float = 2.0) -> None:
        """End loop and thread. Nothing happens the second time."""
        self.post(self.loop.stop)
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout)


async def _finish(loop: asyncio.AbstractEventLoop) -> None:
    """What still runs is cancelled and awaited, so that nothing is destroyed while pending."""
    current = asyncio.current_task()
    tasks = [task for task in asyncio.all_tasks(loop) if task is not current]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await loop.shutdown_asyncgens()
    await loop.shutdown_default_executor()
