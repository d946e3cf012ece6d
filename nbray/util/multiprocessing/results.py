"""What the asynchronous methods of a pool answer."""

from __future__ import annotations

import itertools
import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from multiprocessing import TimeoutError
from typing import Any

from nbray.util.multiprocessing.workers import Call, Chunk, Failure, Workers

logger = logging.getLogger(__name__)

Callback = Callable[[Any], Any]


class AsyncResult:
    """The result of a call, or of many, that are under way. Pools make it.

    Args:
        count: chunks that it consists of.
        single: the result is the one call's, not a list.
        callback: called with the result, if no call raised. error_callback: called with the first exception.
        pool: kept alive meanwhile.
    """

    def __init__(
        self,
        count: int,
        callback: Callback | None,
        error_callback: Callback | None,
        single: bool,
        pool: object,
    ) -> None:
        self._single = single
        self._callback = callback
        self._error_callback = error_callback
        self._chunks: list[list[Any]] = [[]] * count
        self._missing = count
        self._failure: Failure | None = None
        self._value: Any = None
        self._done = threading.Event()
        self._pool: object | None = pool
        if not count:
            self._finish()

    def arrived(self, index: int, outcomes: list[Any]) -> None:
        """A chunk's outcomes are there. Called by one thread."""
        self._chunks[index] = outcomes
        self._missing -= 1
        if not self._missing:
            self._finish()

    def _finish(self) -> None:
        outcomes = list(itertools.chain.from_iterable(self._chunks))
        self._failure = next((each for each in outcomes if isinstance(each, Failure)), None)
        if self._failure is None:
            self._value = outcomes[0] if self._single else outcomes
            call, value = self._callback, self._value
        else:
            call, value = self._error_callback, self._failure.reraised()
        self._chunks.clear()
        self._pool = None
        try:
            if call is not None:
                call(value)
        except Exception:
            logger.exception("a callback of a pool raised")
        finally:
            self._done.set()

    def get(self, timeout: float | None = None) -> Any:
        """The result.

        Args:
            timeout: seconds to wait at most; None: without end.

        Raises:
            multiprocessing.TimeoutError: it was not there in time. Whatever the function raised: of several calls the first
            in their order.
        """
        self.wait(timeout)
        if not self.ready():
            raise TimeoutError
        if self._failure is not None:
            raise self._failure.reraised()
        return self._value

    def wait(self, timeout: float | None = None) -> None:
        """Return once the result is there, or after ``timeout`` seconds."""
        self._done.wait(timeout)

    def ready(self) -> bool:
        """Whether all calls have ended, and the callback too."""
        return self._done.is_set()

    def successful(self) -> bool:
        """Whether no call raised.

        Raises:
            ValueError: the result is not there yet.
        """
        if not self.ready():
            raise ValueError(f"{self!r} is not ready yet")
        return self._failure is None


class IMapIterator(Iterator[Any]):
    """Results as they come, while the arguments are taken as results are fetched: they may be endless. Pools make it.

    Args:
        workers: of the pool. function: it, or a ref. arguments: of the calls. chunksize: calls a chunk.
        window: chunks under way at most. ordered: in the order of the arguments. pool: kept alive meanwhile.
    """

    def __init__(
        self,
        workers: Workers,
        function: Any,
        arguments: Iterable[Any],
        chunksize: int,
        window: int,
        ordered: bool,
        pool: object,
    ) -> None:
        self._workers = workers
        self._function = function
        self._arguments = iter(arguments)
        self._chunksize = chunksize
        self._ordered = ordered
        self._pool: object | None = pool
        self._inbox: queue.SimpleQueue[tuple[int, list[Any]]] = queue.SimpleQueue()
        self._early: dict[int, list[Any]] = {}  # ready before their turn
        self._ready: deque[Any] = deque()
        self._submitted = self._taken = 0
        for _ in range(window):
            self._submit_next()

    def _submit_next(self) -> None:
        calls: list[Call] = [
            ((argument,), {}) for argument in itertools.islice(self._arguments, self._chunksize)
        ]
        if not calls:
            return
        index = self._submitted
        self._submitted += 1
        self._workers.submit(
            Chunk(self._function, calls, lambda outcomes: self._inbox.put((index, outcomes)))
        )

    def next(self, timeout: float | None = None) -> Any:
        """The next result.

        Args:
            timeout: seconds to wait at most; None: without end.

        Raises:
            StopIteration: there are no more. multiprocessing.TimeoutError: it was not there in time. Whatever the function
            raised; the results after it can still be fetched.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self._ready:
            if self._taken == self._submitted:
                self._pool = None
                raise StopIteration
            self._receive(deadline)
        outcome = self._ready.popleft()
        if isinstance(outcome, Failure):
            raise outcome.reraised()
        return outcome

    def _receive(self, deadline: float | None) -> None:
        if not (self._ordered and self._taken in self._early):
            try:
                left = None if deadline is None else max(0.0, deadline - time.monotonic())
                index, outcomes = self._inbox.get(timeout=left)
            except queue.Empty:
                raise TimeoutError from None
            self._early[index] = outcomes
            # A closed pool finishes what it has; what was not taken from the arguments by then never is.
            if not self._workers.closed:
                self._submit_next()
            if self._ordered and self._taken not in self._early:
                return
        number = self._taken if self._ordered else next(iter(self._early))
        self._ready.extend(self._early.pop(number))
        self._taken += 1

    __next__ = next
