"""Dask: a local cluster of processes with one thread each."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterator
from typing import Any

from . import cases
from .adapter import Adapter, Function, Native, NotApplicable


class _Actor:
    """A Dask actor, whose methods are called as Ray's are."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor

    def __getattr__(self, name: str) -> Any:
        return Function(lambda method, *args: method(*args), getattr(self._actor, name))


class _ActorClass:
    def __init__(self, client: Any, actor_class: type) -> None:
        self._client = client
        self._class = actor_class

    def remote(self, *args: Any) -> Any:
        return _Actor(self._client.submit(self._class, *args, actor=True, pure=False).result())


class Dask(Adapter):
    """Futures may be arguments of others, and there are actors; they live in the workers."""

    def __init__(self, cpus: int) -> None:
        distributed = importlib.import_module("distributed")
        self._cluster = distributed.LocalCluster(
            n_workers=cpus, threads_per_worker=1, dashboard_address=":0", silence_logs=50
        )
        self._client = distributed.Client(self._cluster)

    def remote(self, *positional: Any, **options: Any) -> Any:
        if not options:
            return super().remote(*positional)
        if "max_concurrency" in options:
            raise NotApplicable("an actor has one thread")
        return self._actor_class

    def _actor_class(self, actor_class: type) -> Any:
        if "<locals>" in actor_class.__qualname__ or inspect.iscoroutinefunction(
            actor_class.__dict__["ping"]
        ):
            raise NotApplicable("no such actors")
        return _ActorClass(self._client, actor_class)

    def submit(self, function: Callable[..., Any], *args: Any) -> Any:
        return self._client.submit(function, *args, pure=False)

    def put(self, value: Any) -> Any:
        return self._client.scatter(value, hash=False)

    def get(self, refs: Any) -> Any:
        of_tasks = isinstance(refs, list) and refs and hasattr(refs[0], "key")
        return self._client.gather(refs) if of_tasks else super().get(refs)

    def shutdown(self) -> None:
        self._client.close()
        self._cluster.close()


def _completed(api: Any) -> Iterator[Callable[[], object]]:
    as_completed = importlib.import_module("distributed").as_completed
    task = api.remote(cases.small)

    def step() -> None:
        for _ in as_completed([task.remote() for _ in range(cases.AT_ONCE)]):
            pass

    yield step


def _no_processes(_api: Any) -> Iterator[Callable[[], object]]:
    raise NotApplicable("actors have no processes of their own")
    yield lambda: None


NATIVE: Native = {"wait": _completed, "actors_created": _no_processes}

COLD = """
from distributed import Client, LocalCluster
def first(): return 1
if __name__ == "__main__":
    cluster = LocalCluster(n_workers={cpus}, threads_per_worker=1, dashboard_address=":0", silence_logs=50)
    with cluster, Client(cluster) as client:
        assert client.submit(first).result() == 1
        print("ready", flush=True)
"""
