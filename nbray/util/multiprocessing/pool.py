"""``Pool``: the interface of ``multiprocessing.Pool`` on actors."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any

import nbray
from nbray.util.multiprocessing.results import AsyncResult, Callback, IMapIterator
from nbray.util.multiprocessing.workers import Call, Chunk, Workers, pool_actor

__all__ = ["AsyncResult", "Pool"]

logger = logging.getLogger(__name__)


class Pool:
    """Processes that call functions, as ``multiprocessing.Pool``, on all nodes of the session.

    Without a session it starts one. Exceptions are raised as the function raised them. A process that died is replaced; what it
    was at fails with ``ActorDiedError``.

    Args:
        processes: their number (default: the CPUs of all nodes).
        initializer: called as ``initializer(*initargs)`` in each process first. If it raises, so does ``Pool``.
        maxtasksperchild: chunks after which a process is replaced; None: never.
        context: has no meaning here; accepted with a warning.
        ray_address: what ``init`` gets as ``address`` if there is no session.
        ray_remote_args: options of the actors, such as ``{"num_gpus": 1}``. They take no CPUs unless these say so.

    Raises:
        ValueError: ``processes`` is not positive, or more than the CPUs there are. RayActorError: ``initializer`` raised.

    Example:
        >>> with Pool(4) as pool:
        ...     pool.map(abs, [-1, 2, -3])
        [1, 2, 3]
    """

    def __init__(
        self,
        processes: int | None = None,
        initializer: Callable[..., Any] | None = None,
        initargs: Iterable[Any] | None = None,
        maxtasksperchild: int | None = None,
        context: Any = None,
        ray_address: str | None = None,
        ray_remote_args: Mapping[str, Any] | None = None,
    ) -> None:
        if context is not None:
            logger.warning("Pool: 'context' has no effect; how processes start is nbray's own matter")
        if processes is not None and processes <= 0:
            raise ValueError(f"'processes' must be positive, got {processes}")
        if maxtasksperchild is not None and maxtasksperchild <= 0:
            raise ValueError(f"'maxtasksperchild' must be positive or None, got {maxtasksperchild}")
        if initializer is not None and not callable(initializer):
            raise TypeError("'initializer' must be callable")
        if not nbray.is_initialized():
            nbray.init(ray_address, num_cpus=None if ray_address else processes)
        cpus = int(nbray.cluster_resources().get("CPU", 0))
        if processes is None:
            processes = max(1, cpus)
        elif processes > cpus:
            raise ValueError(f"a pool of {processes} processes was asked for, and there are {cpus} CPUs")
        actor, arguments = pool_actor(ray_remote_args or {}), tuple(initargs or ())
        self._processes = processes
        self._workers = Workers(processes, lambda: actor.remote(initializer, arguments), maxtasksperchild)
        self._finalizer = weakref.finalize(self, self._workers.close)

    # -- one call ----------------------------------------------------------------------------------------------------

    def apply(
        self,
        func: Callable[..., Any],
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """``func(*args, **kwargs)``, in one of the processes."""
        return self.apply_async(func, args, kwargs).get()

    def apply_async(
        self,
        func: Callable[..., Any],
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        callback: Callback | None = None,
        error_callback: Callback | None = None,
    ) -> AsyncResult:
        """``apply``, without waiting.

        Args:
            callback: called with the result. error_callback: called with the exception. Both by a thread of the pool: they
                should be short.

        Raises:
            ValueError: the pool is closed.
        """
        call: Call = tuple(args or ()), dict(kwargs or {})
        return self._run(func, [[call]], callback, error_callback, single=True)

    # -- many calls --------------------------------------------------------------------------------------------------

    def map(
        self, func: Callable[[Any], Any], iterable: Iterable[Any], chunksize: int | None = None
    ) -> list[Any]:
        """The results of ``func`` for every item, in order.

        Args:
            chunksize: items that a process gets at a time (default: such that each process gets about 4 chunks).
        """
        results: list[Any] = self.map_async(func, iterable, chunksize).get()
        return results

    def map_async(
        self,
        func: Callable[[Any], Any],
        iterable: Iterable[Any],
        chunksize: int | None = None,
        callback: Callback | None = None,
        error_callback: Callback | None = None,
    ) -> AsyncResult:
        """``map``, without waiting. ``callback`` gets the list of all results, ``error_callback`` the first exception."""
        self._check_running()
        calls: list[Call] = [((item,), {}) for item in iterable]
        return self._run(func, self._chunks(calls, chunksize), callback, error_callback)

    def starmap(
        self, func: Callable[..., Any], iterable: Iterable[Iterable[Any]], chunksize: int | None = None
    ) -> list[Any]:
        """``map`` where each item is the arguments of a call: ``func(*item)``."""
        results: list[Any] = self.starmap_async(func, iterable, chunksize=chunksize).get()
        return results

    def starmap_async(
        self,
        func: Callable[..., Any],
        iterable: Iterable[Iterable[Any]],
        callback: Callback | None = None,
        error_callback: Callback | None = None,
        *,
        chunksize: int | None = None,
    ) -> AsyncResult:
        """``starmap``, without waiting; as ``map_async``."""
        self._check_running()
        calls: list[Call] = [(tuple(item), {}) for item in iterable]
        return self._run(func, self._chunks(calls, chunksize), callback, error_callback)

    def imap(
        self, func: Callable[[Any], Any], iterable: Iterable[Any], chunksize: int | None = 1
    ) -> Iterator[Any]:
        """``map`` as an iterator. Items are taken as results are fetched, so ``iterable`` may be endless."""
        return self._imap(func, iterable, chunksize, ordered=True)

    def imap_unordered(
        self, func: Callable[[Any], Any], iterable: Iterable[Any], chunksize: int | None = 1
    ) -> Iterator[Any]:
        """``imap`` with the results in the order in which they come."""
        return self._imap(func, iterable, chunksize, ordered=False)

    def _imap(
        self, func: Callable[[Any], Any], iterable: Iterable[Any], chunksize: int | None, ordered: bool
    ) -> IMapIterator:
        self._check_running()
        if chunksize is None:
            chunksize = self._chunksize(len(iterable)) if isinstance(iterable, Collection) else 1
        _check_chunksize(chunksize)
        return IMapIterator(
            self._workers, nbray.put(func), iterable, chunksize, self._processes, ordered, self
        )

    def _chunksize(self, count: int) -> int:
        return max(1, -(-count // (4 * self._processes)))

    def _chunks(self, calls: Sequence[Call], chunksize: int | None) -> list[Sequence[Call]]:
        size = self._chunksize(len(calls)) if chunksize is None else _check_chunksize(chunksize)
        return [calls[start : start + size] for start in range(0, len(calls), size)]

    def _run(
        self,
        func: Callable[..., Any],
        chunks: Sequence[Sequence[Call]],
        callback: Callback | None,
        error_callback: Callback | None,
        single: bool = False,
    ) -> AsyncResult:
        self._check_running()
        result = AsyncResult(len(chunks), callback, error_callback, single, self)
        function = nbray.put(func) if len(chunks) > 1 else func  # pickled once
        for index, calls in enumerate(chunks):
            self._workers.submit(
                Chunk(function, calls, lambda outcomes, index=index: result.arrived(index, outcomes))  # type: ignore[misc]
            )
        return result

    # -- the end -----------------------------------------------------------------------------------------------------

    def _check_running(self) -> None:
        if self._workers.closed:
            raise ValueError("this pool is closed: it is not running")

    def close(self) -> None:
        """Take no more work. What was submitted is finished; then the processes go."""
        self._workers.close()

    def terminate(self) -> None:
        """End the processes now. What they were at, and what waits, fails with ``ActorDiedError``."""
        self._workers.terminate()

    def join(self) -> None:
        """Wait until a closed pool has finished its work.

        Raises:
            ValueError: it was not closed.
        """
        if not self._workers.closed:
            raise ValueError("the pool is still running: close() or terminate() it first")
        self._workers.join()

    def __enter__(self) -> Pool:
        self._check_running()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.terminate()


def _check_chunksize(chunksize: int) -> int:
    if chunksize < 1:
        raise ValueError(f"'chunksize' must be 1 or more, got {chunksize}")
    return chunksize
