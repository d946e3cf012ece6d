"""``ActorPool``: values are spread over a fixed set of actors, one call an actor at a time."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias

import nbray
from nbray.exceptions import ActorDiedError, RayTaskError

#: What ``fn`` answers: a ref, or a list of them (a method with several returns).
Answer: TypeAlias = Any
Submit: TypeAlias = Callable[[Any, Any], Answer]


class ActorPool:
    """Spreads work over actors: each has one call at a time, and the next as soon as its result was fetched.

    An actor that died is left out from then on; the others go on.

    Args:
        actors: handles to the actors.

    Example:
        >>> pool = ActorPool([Doubler.remote(), Doubler.remote()])
        >>> list(pool.map(lambda actor, value: actor.double.remote(value), [1, 2, 3]))
        [2, 4, 6]
    """

    def __init__(self, actors: Iterable[Any]) -> None:
        self._idle = list(actors)
        self._running: dict[int, tuple[Answer, Any]] = {}  # by number, in the order of submission
        self._submitted = 0
        self._next = 0
        self._pending: deque[tuple[Submit, Any]] = deque()

    def map(self, fn: Submit, values: Iterable[Any]) -> Iterator[Any]:
        """The results for all values, in the order of the values. Results submitted before are dropped.

        Args:
            fn: called as ``fn(actor, value)``; answers the ref of a call of that actor.
            values: all are taken at once.

        Raises:
            Whatever a call raised, when its turn comes.
        """
        self._forget(self.get_next)
        for value in values:
            self.submit(fn, value)
        return self._results(self.get_next)

    def map_unordered(self, fn: Submit, values: Iterable[Any]) -> Iterator[Any]:
        """The results for all values, as they arrive. Results submitted before are dropped; arguments as of ``map``."""
        self._forget(self.get_next_unordered)
        for value in values:
            self.submit(fn, value)
        return self._results(self.get_next_unordered)

    def _results(self, take: Callable[[], Any]) -> Iterator[Any]:
        while self.has_next():
            yield take()

    def _forget(self, take: Callable[..., Any]) -> None:
        # What still waits for an actor is submitted nevertheless, as with Ray: a call may have effects.
        while self.has_next():
            try:
                take(timeout=0, ignore_if_timedout=True)
            except Exception:
                pass

    def submit(self, fn: Submit, value: Any) -> None:
        """Run ``fn(actor, value)`` on a free actor, now or once there is one. ``get_next`` fetches the result."""
        if not self._idle:
            self._pending.append((fn, value))
            return
        actor = self._idle.pop()
        try:
            answer = fn(actor, value)
        except BaseException:
            self._idle.append(actor)
            raise
        self._running[self._submitted] = answer, actor
        self._submitted += 1

    def has_next(self) -> bool:
        """Whether there are results to fetch."""
        return bool(self._running)

    def get_next(self, timeout: float | None = None, ignore_if_timedout: bool = False) -> Any:
        """The next result in the order of submission.

        Args:
            timeout: seconds to wait at most; None: without end.
            ignore_if_timedout: after the time-out, go on without that result.

        Raises:
            TimeoutError: it was not there in time.
            StopIteration: there is nothing to fetch.
            ValueError: ``get_next_unordered`` has fetched later ones.
            Whatever the call raised.
        """
        if not self._running:
            raise StopIteration("there are no more results to get")
        if self._next >= self._submitted:
            raise ValueError("get_next() cannot follow get_next_unordered(), which fetched later results")
        number = self._next  # what comes after the last that was fetched is running, or was never submitted
        if timeout is not None and self._first_done([number], timeout) is None:
            return self._timed_out(number, ignore_if_timedout)
        return self._take(number)

    def get_next_unordered(self, timeout: float | None = None, ignore_if_timedout: bool = False) -> Any:
        """Any result that is there, or the first that comes. Arguments and errors as of ``get_next``."""
        if not self._running:
            raise StopIteration("there are no more results to get")
        number = self._first_done(self._running, timeout)
        if number is None:
            return self._timed_out(next(iter(self._running)), ignore_if_timedout)
        return self._take(number)

    def _first_done(self, numbers: Iterable[int], timeout: float | None) -> int | None:
        """The first of these calls all of whose refs are ready."""
        deadline = None if timeout is None else time.monotonic() + timeout
        missing = {number: len(_refs(self._running[number][0])) for number in numbers}
        waiting = {ref: number for number in missing for ref in _refs(self._running[number][0])}
        while True:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            ready, _ = nbray.wait(list(waiting), timeout=left)
            if not ready:
                return None
            number = waiting.pop(ready[0])
            missing[number] -= 1
            if not missing[number]:
                return number

    def _timed_out(self, number: int, ignore: bool) -> Any:
        if not ignore:
            raise TimeoutError("the result was not there in time")
        answer, actor = self._leave(number)
        self._free(actor)
        raise TimeoutError(f"the result was not there in time; {answer} is ignored from now on")

    def _leave(self, number: int) -> tuple[Answer, Any]:
        self._next = max(self._next, number + 1)
        return self._running.pop(number)

    def _take(self, number: int) -> Any:
        answer, actor = self._leave(number)
        alive = True
        try:
            return nbray.get(answer)
        except ActorDiedError as error:
            alive = isinstance(error, RayTaskError)  # then one that its method asked
            raise
        finally:
            if alive:
                self._free(actor)

    def _free(self, actor: Any) -> None:
        self._idle.append(actor)
        if self._pending:
            self.submit(*self._pending.popleft())

    def has_free(self) -> bool:
        """Whether an actor is idle and nothing waits for one."""
        return bool(self._idle) and not self._pending

    def pop_idle(self) -> Any:
        """Take an idle actor out of the pool; None if there is none."""
        return self._idle.pop() if self.has_free() else None

    def push(self, actor: Any) -> None:
        """Add an actor to the pool.

        Raises:
            ValueError: it belongs to it already.
        """
        if actor in self._idle or any(actor == busy for _, busy in self._running.values()):
            raise ValueError("this actor belongs to the pool already")
        self._free(actor)


def _refs(answer: Answer) -> list[Any]:
    return answer if isinstance(answer, list) else [answer]
