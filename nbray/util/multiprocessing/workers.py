"""The actors of a pool, who of them is free, and what waits for one.

Work is handed to actors that are idle, never queued at one: a slow chunk holds up nothing but itself. One thread of the pool
hears of results, hands out what comes next, and calls the user's callbacks, as ``multiprocessing`` does it.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import cloudpickle

import nbray
from nbray.exceptions import ActorDiedError, RayActorError, RaySystemError, RayTaskError

#: Arguments of one call: positional ones, and those by name.
Call: TypeAlias = tuple[tuple[Any, ...], Mapping[str, Any]]


class Failure(NamedTuple):
    """A call that raised: the exception, and its traceback there as text."""

    error: BaseException
    traceback: str

    def reraised(self) -> BaseException:
        """The exception to raise here, with the remote traceback as its cause."""
        if self.traceback:
            self.error.__cause__ = RemoteTraceback(self.traceback)
        return self.error


class RemoteTraceback(Exception):
    """Shows where in a pool's process an exception was raised."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f'\n"""\n{self.text}"""'


class Chunk(NamedTuple):
    """Calls of one function that one process makes in turn.

    Attributes:
        function: it, or a ref to it.
        finished: called with the outcomes: a value or a ``Failure`` a call.
    """

    function: Any
    calls: Sequence[Call]
    finished: Callable[[list[Any]], None]


class _PoolActor:
    """One process of a pool."""

    def __init__(self, initializer: Callable[..., Any] | None, initargs: Sequence[Any]) -> None:
        if initializer is not None:
            initializer(*initargs)

    def ping(self) -> None:
        """Answers once ``initializer`` has run."""

    def run(self, function: Callable[..., Any], calls: Sequence[Call]) -> list[Any]:
        import traceback

        outcomes: list[Any] = []
        for args, kwargs in calls:
            try:
                outcomes.append(function(*args, **kwargs))
            except Exception as error:
                outcomes.append(Failure(_portable(error), traceback.format_exc()))
        return outcomes


def _portable(error: Exception) -> Exception:
    try:
        cloudpickle.loads(cloudpickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error} (the exception itself cannot be pickled)")
    return error


class _Worker:
    __slots__ = ("actor", "served")

    def __init__(self, actor: Any) -> None:
        self.actor = actor
        self.served = 0


_Event: TypeAlias = (
    "tuple[_Worker, Chunk, list[Any] | Future[list[Any]]] | None"  # None: look whether all is done
)


class Workers:
    """A fixed number of actors that work off chunks.

    Args:
        count: of actors.
        create: makes one.
        most: chunks after which an actor is replaced; None: no limit.

    Raises:
        RayActorError: the initializer raised.
    """

    def __init__(self, count: int, create: Callable[[], Any], most: int | None) -> None:
        self._create = create
        self._most = most
        self._lock = threading.Lock()
        self._backlog: deque[Chunk] = deque()
        self._busy: set[_Worker] = set()
        self._idle = deque(_Worker(create()) for _ in range(count))
        self._inbox: queue.SimpleQueue[_Event] = queue.SimpleQueue()
        self.closed = False
        self._terminated = False
        nbray.get([worker.actor.ping.remote() for worker in self._idle])
        self._thread = threading.Thread(target=self._hear, name="nbray-pool", daemon=True)
        self._thread.start()

    # -- what users do ---------------------------------------------------------------------------------------------

    def submit(self, chunk: Chunk) -> None:
        """Have it run, now or once an actor is idle.

        Raises:
            ValueError: the pool is closed. RaySystemError: its session has ended.
        """
        if not nbray.is_initialized():
            raise RaySystemError("the session of this pool has ended")
        with self._lock:
            if self.closed:
                raise ValueError("this pool is closed: it is not running")
            self._backlog.append(chunk)
        self._hand_out()

    def close(self) -> None:
        """Take nothing more; actors leave once everything is done."""
        self.closed = True
        self._inbox.put(None)

    def terminate(self) -> None:
        """Kill the actors; what they were at, and what waits, fails."""
        for worker in self._give_up("the pool was terminated"):
            try:
                nbray.kill(worker.actor)
            except RaySystemError:
                pass  # it went with its session
        self._inbox.put(None)

    def _give_up(self, reason: str) -> list[_Worker]:
        """Nothing is handed out any more."""
        with self._lock:
            self.closed = self._terminated = True
            workers = [*self._idle, *self._busy]
            dropped = list(self._backlog)
            self._backlog.clear()
            self._idle.clear()
        for chunk in dropped:
            chunk.finished([Failure(ActorDiedError(reason), "")] * len(chunk.calls))
        return workers if nbray.is_initialized() else []

    def join(self) -> None:
        """Return once everything is done."""
        self._thread.join()

    # -- work ------------------------------------------------------------------------------------------------------

    def _hand_out(self) -> None:
        while True:
            with self._lock:
                if not self._idle or not self._backlog:
                    return
                worker, chunk = self._idle.popleft(), self._backlog.popleft()
                self._busy.add(worker)
            try:
                ref = worker.actor.run.remote(chunk.function, chunk.calls)
            except Exception as error:  # arguments that cannot be pickled
                self._inbox.put((worker, chunk, [Failure(error, "")] * len(chunk.calls)))
                continue
            ref.future().add_done_callback(partial(self._came, worker, chunk))

    def _came(self, worker: _Worker, chunk: Chunk, future: Future[list[Any]]) -> None:
        self._inbox.put((worker, chunk, future))

    def _hear(self) -> None:
        while True:
            event = self._inbox.get()
            if event is not None:
                self._finished(*event)
            with self._lock:
                if self.closed and not self._backlog and not self._busy:
                    self._idle.clear()  # their handles go, and so do they
                    return

    def _finished(self, worker: _Worker, chunk: Chunk, found: list[Any] | Future[list[Any]]) -> None:
        died = False
        if isinstance(found, list):
            outcomes = found
        else:
            try:
                outcomes = found.result()
            except Exception as error:
                died = isinstance(error, RayActorError) and not isinstance(error, RayTaskError)
                outcomes = [Failure(error, "")] * len(chunk.calls)
        worker.served += 1
        if not nbray.is_initialized():  # or what comes next would start a session anew
            self._give_up("the session has ended")
        if (died or worker.served == self._most) and not self._terminated:
            self._replace(worker)
        with self._lock:
            self._busy.discard(worker)
            if not self._terminated:
                self._idle.append(worker)
        self._hand_out()
        chunk.finished(outcomes)

    def _replace(self, worker: _Worker) -> None:
        """Its process leaves (if it has not gone already), and there is a new one."""
        worker.actor, worker.served = self._create(), 0


def pool_actor(options: Mapping[str, Any]) -> Any:
    """The class of actors of a pool whose user gave these options."""
    return nbray.remote(_PoolActor).options(**{"num_cpus": 0, **options})
