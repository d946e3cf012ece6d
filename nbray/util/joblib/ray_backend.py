"""The joblib backend: a batch of calls is a task, an argument that many calls share is stored once."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

from dask.sizeof import sizeof
from joblib.parallel import AutoBatchingMixin, FallbackToBackend, ParallelBackendBase, SequentialBackend

import nbray

#: Bytes from which an argument is stored once for all calls that have it.
SHARED_MIN = 256 * 1024


class _Shared(NamedTuple):
    """Stands in a call for the stored argument of that number."""

    number: int


def _run(batch: Any, *stored: Any) -> Any:
    batch.items = [
        (
            function,
            [stored[each.number] if type(each) is _Shared else each for each in args],
            {name: stored[each.number] if type(each) is _Shared else each for name, each in kwargs.items()},
        )
        for function, args, kwargs in batch.items
    ]
    return batch()


class RayBackend(AutoBatchingMixin, ParallelBackendBase):  # type: ignore[misc]
    """What ``joblib.parallel_config("ray")`` uses, see ``register_ray``.

    Args:
        nesting_level, inner_max_num_threads: joblib's own.
        ray_remote_args: options of the tasks, such as ``{"num_cpus": 2}``.
    """

    default_n_jobs = -1
    supports_retrieve_callback = True

    def __init__(
        self,
        nesting_level: int | None = None,
        inner_max_num_threads: int | None = None,
        ray_remote_args: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(nesting_level=nesting_level, inner_max_num_threads=inner_max_num_threads, **kwargs)
        self.ray_remote_args = ray_remote_args
        self._task: Any = None
        self._thread: ThreadPoolExecutor | None = None
        self._under_way: set[Any] = set()
        self._lock = threading.Lock()
        # By identity; the argument itself is kept, or its id could become another's.
        self._stored: dict[int, tuple[Any, Any]] = {}

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """Batches at a time; -1: as many as the session has CPUs (which starts one if there is none)."""
        if n_jobs == 0:
            raise ValueError("n_jobs == 0 has no meaning")
        if n_jobs is None:
            return 1
        if n_jobs > 0:
            return n_jobs
        if not nbray.is_initialized():
            nbray.init()
        cpus = int(nbray.cluster_resources().get("CPU", 1))
        return max(1, cpus + 1 + n_jobs)

    def configure(
        self,
        n_jobs: int = 1,
        parallel: Any = None,
        prefer: str | None = None,
        require: str | None = None,
        ray_remote_args: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> int:
        count = self.effective_n_jobs(n_jobs)
        if count == 1:
            raise FallbackToBackend(SequentialBackend(nesting_level=self.nesting_level))
        options = ray_remote_args if ray_remote_args is not None else self.ray_remote_args
        self._task = nbray.remote(_run).options(**{"name": "joblib", **(options or {})})
        # joblib's callbacks take the next arguments, which is the user's code: not for a thread that moves messages.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="nbray-joblib")
        self.parallel = parallel
        return count

    def submit(self, func: Any, callback: Callable[[Any], Any] | None = None) -> Future[Any]:
        """Run a batch; ``callback`` gets its future once that is done."""
        stored: dict[Any, int] = {}
        batch = copy.copy(func)
        batch.items = [
            (
                function,
                [self._by_ref(each, stored) for each in args],
                {name: self._by_ref(each, stored) for name, each in kwargs.items()},
            )
            for function, args, kwargs in func.items
        ]
        ref = self._task.remote(batch, *stored)
        future: Future[Any] = ref.future()
        thread = self._thread
        with self._lock:
            self._under_way.add(ref)

        def done(future: Future[Any]) -> None:
            with self._lock:
                self._under_way.discard(ref)
            if callback is not None and thread is not None:
                try:
                    thread.submit(callback, future)
                except RuntimeError:
                    pass  # aborted or ended meanwhile: nobody waits for it

        future.add_done_callback(done)
        return future

    def _by_ref(self, argument: Any, stored: dict[Any, int]) -> Any:
        """The argument, or what stands for it if it is large; its ref is in ``stored`` then."""
        known = self._stored.get(id(argument))
        if known is None:
            if isinstance(argument, nbray.ObjectRef) or sizeof(argument) < SHARED_MIN:
                return argument
            known = self._stored[id(argument)] = argument, nbray.put(argument)
        return _Shared(stored.setdefault(known[1], len(stored)))

    def retrieve_result_callback(self, out: Future[Any]) -> Any:
        return out.result()

    def stop_call(self) -> None:
        self._stored.clear()

    def terminate(self) -> None:
        self._stop()
        self.reset_batch_stats()

    def abort_everything(self, ensure_ready: bool = True) -> None:
        """One call failed, or the user interrupted: what is under way is nobody's any more."""
        self._stop()
        if ensure_ready:
            self.configure(n_jobs=self.parallel.n_jobs, parallel=self.parallel)

    def _stop(self) -> None:
        with self._lock:
            refs = list(self._under_way)
            self._under_way.clear()
        if self._thread is not None:
            self._thread.shutdown(wait=False, cancel_futures=True)
            self._thread = None
        self._stored.clear()
        if nbray.is_initialized():
            for ref in refs:
                nbray.cancel(ref)
