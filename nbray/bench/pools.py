"""Pools of processes: concurrent.futures, multiprocessing, loky, ipyparallel."""

from __future__ import annotations

import importlib
import multiprocessing
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any

from . import cases
from .adapter import Adapter, Native


class Processes(Adapter):
    """concurrent.futures; forked, which is its fastest start and call."""

    future = futures.Future

    def __init__(self, cpus: int) -> None:
        self._pool = self._make(cpus)

    def _make(self, cpus: int) -> Any:
        return futures.ProcessPoolExecutor(cpus, multiprocessing.get_context("fork"))

    def submit(self, function: Callable[..., Any], *args: Any) -> Any:
        return self._pool.submit(function, *args)

    def shutdown(self) -> None:
        self._pool.shutdown()


class Loky(Processes):
    """loky has futures of concurrent.futures."""

    def _make(self, cpus: int) -> Any:
        return importlib.import_module("loky").ProcessPoolExecutor(cpus)


def completed(api: Any) -> Iterator[Callable[[], object]]:
    """The case "wait", as one does it with futures."""
    task = api.remote(cases.small)

    def step() -> None:
        for _ in futures.as_completed([task.remote() for _ in range(cases.AT_ONCE)]):
            pass

    yield step


FUTURES: Native = {"wait": completed}


class _Applied:
    """An ``AsyncResult`` with the verb of futures."""

    def __init__(self, result: Any) -> None:
        self.result = result.get


class Multiprocessing(Adapter):
    """multiprocessing.Pool, forked."""

    future = _Applied

    def __init__(self, cpus: int) -> None:
        self.pool = multiprocessing.get_context("fork").Pool(cpus)

    def submit(self, function: Callable[..., Any], *args: Any) -> Any:
        return _Applied(self.pool.apply_async(function, args))

    def shutdown(self) -> None:
        self.pool.terminate()
        self.pool.join()


def _mapped(function: Callable[..., Any]) -> Callable[[Any], Iterator[Callable[[], object]]]:
    def prepare(api: Any) -> Iterator[Callable[[], object]]:
        yield lambda: api.pool.map(function, range(cases.AT_ONCE), chunksize=1)

    return prepare


def _unordered(api: Any) -> Iterator[Callable[[], object]]:
    def step() -> None:
        for _ in api.pool.imap_unordered(cases.small, range(cases.AT_ONCE)):
            pass

    yield step


MAPS: Native = {
    "tasks_batch": _mapped(cases.small),
    "tasks_1ms": _mapped(cases.one_millisecond),
    "wait": _unordered,
}


class Ipyparallel(Adapter):
    """A local cluster of ipyparallel, balanced over its engines."""

    future = _Applied

    def __init__(self, cpus: int) -> None:
        self._cluster = importlib.import_module("ipyparallel").Cluster(n=cpus, log_level=50)
        self._view = self._cluster.start_and_connect_sync(activate=False).load_balanced_view()

    def submit(self, function: Callable[..., Any], *args: Any) -> Any:
        return _Applied(self._view.apply_async(function, *args))

    def shutdown(self) -> None:
        self._cluster.stop_cluster_sync()


COLD_PROCESSES = """
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
def first(): return 1
pool = ProcessPoolExecutor({cpus}, multiprocessing.get_context("fork"))
assert pool.submit(first).result() == 1
print("ready", flush=True)
pool.shutdown()
"""

COLD_LOKY = """
from loky import ProcessPoolExecutor
def first(): return 1
pool = ProcessPoolExecutor({cpus})
assert pool.submit(first).result() == 1
print("ready", flush=True)
pool.shutdown()
"""

COLD_MULTIPROCESSING = """
import multiprocessing
def first(): return 1
pool = multiprocessing.get_context("fork").Pool({cpus})
assert pool.apply(first) == 1
print("ready", flush=True)
pool.terminate()
"""

COLD_IPYPARALLEL = """
import ipyparallel
def first(): return 1
cluster = ipyparallel.Cluster(n={cpus}, log_level=50)
view = cluster.start_and_connect_sync(activate=False).load_balanced_view()
assert view.apply_sync(first) == 1
print("ready", flush=True)
cluster.stop_cluster_sync()
"""
