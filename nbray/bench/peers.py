"""The peers, each behind Ray's verbs. Each is imported only in the interpreter that measures it.

nbray and Ray have the verbs themselves. The others get them from the adapters below, as far as they can do the same thing; where
one has a better way of its own to do a case, the adapter's ``native`` has it, so that each peer shows what it can.
"""

from __future__ import annotations

import importlib
import inspect
import multiprocessing
from collections.abc import Callable, Iterator
from concurrent import futures
from dataclasses import dataclass
from typing import Any

from . import cases  # noqa: TID252  (the package has another name in the measuring process)

Native = dict[str, Callable[[Any], Iterator[Callable[[], object]]]]


class NotApplicable(Exception):
    """The peer has no such thing."""


@dataclass(frozen=True)
class Peer:
    """``module`` must be importable for the peer to count as installed; ``start(cpus)`` gives the object with the verbs.

    ``cold`` is the program of the case "cold": it prints "ready" once it has its first result. ``{cpus}`` is filled in.
    """

    module: str
    start: Callable[[int], Any]
    cold: str
    native: Native


# --- nbray and Ray -----------------------------------------------------------------------------------------------------

# Both without dashboard and log forwarding, as quiet as they go.
_INIT: dict[str, dict[str, Any]] = {
    "nbray": {},
    "ray": {"address": "local", "include_dashboard": False, "logging_level": "ERROR", "log_to_driver": False},
}

_COLD_RAY = """
import {module} as ray
ray.init({arguments})
@ray.remote
def first(): return 1
assert ray.get(first.remote()) == 1
print("ready", flush=True)
ray.shutdown()
"""


def _ray_like(module: str) -> Peer:
    options = _INIT[module]

    def start(cpus: int) -> Any:
        ray = importlib.import_module(module)
        ray.init(num_cpus=cpus, **options)
        return ray

    arguments = ", ".join(["num_cpus={cpus}", *(f"{key}={value!r}" for key, value in options.items())])
    return Peer(module, start, _COLD_RAY.replace("{module}", module).replace("{arguments}", arguments), {})


# --- process pools -----------------------------------------------------------------------------------------------------


class _Function:
    """``remote(f)`` of an adapter: an object with ``.remote(*args)``."""

    def __init__(self, submit: Callable[..., Any], function: Callable[..., Any]) -> None:
        self._submit = submit
        self._function = function

    def remote(self, *args: Any) -> Any:
        return self._submit(self._function, *args)


class _Adapter:
    """Ray's verbs over ``_submit(function, *args)``, which gives something with ``result()``."""

    def remote(self, *positional: Any, **options: Any) -> Any:
        if options:  # only actors are given any
            raise NotApplicable("no actors")
        (target,) = positional
        if "<locals>" in target.__qualname__:
            raise NotApplicable("tasks cannot submit tasks")
        return _Function(self._submit, target)

    def _submit(self, function: Callable[..., Any], *args: Any) -> Any:
        raise NotImplementedError

    def get(self, refs: Any) -> Any:
        return [ref.result() for ref in refs] if isinstance(refs, list) else refs.result()

    def put(self, value: Any) -> Any:
        raise NotApplicable("no objects")

    def wait(self, refs: list[Any]) -> tuple[list[Any], list[Any]]:
        raise NotApplicable("no wait")

    def shutdown(self) -> None:
        raise NotImplementedError


class _Processes(_Adapter):
    def __init__(self, cpus: int) -> None:
        self._pool = futures.ProcessPoolExecutor(cpus, multiprocessing.get_context("fork"))

    def _submit(self, function: Callable[..., Any], *args: Any) -> Any:
        if any(isinstance(arg, futures.Future) for arg in args):
            raise NotApplicable("no dependencies between tasks")
        return self._pool.submit(function, *args)

    def wait(self, refs: list[Any]) -> tuple[list[Any], list[Any]]:
        done, _ = futures.wait(refs, return_when=futures.FIRST_COMPLETED)
        first = next(ref for ref in refs if ref in done)
        return [first], [ref for ref in refs if ref is not first]

    def shutdown(self) -> None:
        self._pool.shutdown()


def _as_completed(as_completed: Callable[[Any], Any]) -> Callable[[Any], Iterator[Callable[[], object]]]:
    def prepare(api: Any) -> Iterator[Callable[[], object]]:
        task = api.remote(cases.small)

        def step() -> None:
            for _ in as_completed([task.remote(index) for index in range(cases.AT_ONCE)]):
                pass

        yield step

    return prepare


class _Applied:
    """An ``AsyncResult`` with the name that futures use."""

    def __init__(self, result: Any) -> None:
        self.result = result.get


class _Multiprocessing(_Adapter):
    def __init__(self, cpus: int) -> None:
        self.pool = multiprocessing.get_context("fork").Pool(cpus)

    def _submit(self, function: Callable[..., Any], *args: Any) -> Any:
        if any(isinstance(arg, _Applied) for arg in args):
            raise NotApplicable("no dependencies between tasks")
        return _Applied(self.pool.apply_async(function, args))

    def shutdown(self) -> None:
        self.pool.terminate()
        self.pool.join()


def _map(work: str) -> Callable[[Any], Iterator[Callable[[], object]]]:
    def prepare(api: Any) -> Iterator[Callable[[], object]]:
        function = getattr(cases, work)
        yield lambda: api.pool.map(function, range(cases.AT_ONCE), chunksize=1)

    return prepare


def _unordered(api: Any) -> Iterator[Callable[[], object]]:
    def step() -> None:
        for _ in api.pool.imap_unordered(cases.small, range(cases.AT_ONCE)):
            pass

    yield step


_COLD_PROCESSES = """
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
def first(): return 1
pool = ProcessPoolExecutor({cpus}, multiprocessing.get_context("fork"))
assert pool.submit(first).result() == 1
print("ready", flush=True)
pool.shutdown()
"""

_COLD_MP = """
import multiprocessing
def first(): return 1
pool = multiprocessing.get_context("fork").Pool({cpus})
assert pool.apply(first) == 1
print("ready", flush=True)
pool.terminate()
"""


# --- Dask --------------------------------------------------------------------------------------------------------------


class _DaskActor:
    """A Dask actor, whose methods are called as Ray's are."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor

    def __getattr__(self, name: str) -> Any:
        return _Function(lambda method, *args: method(*args), getattr(self._actor, name))


class _DaskActorClass:
    def __init__(self, client: Any, actor_class: type) -> None:
        self._client = client
        self._class = actor_class

    def remote(self, *args: Any) -> Any:
        return _DaskActor(self._client.submit(self._class, *args, actor=True, pure=False).result())


class _Dask(_Adapter):
    def __init__(self, cpus: int) -> None:
        distributed = importlib.import_module("distributed")
        self._cluster = distributed.LocalCluster(
            n_workers=cpus, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50
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
            getattr(actor_class, "ping", None)
        ):
            raise NotApplicable("no such actors")
        return _DaskActorClass(self._client, actor_class)

    def _submit(self, function: Callable[..., Any], *args: Any) -> Any:
        return self._client.submit(function, *args, pure=False)

    def put(self, value: Any) -> Any:
        return self._client.scatter(value, hash=False)

    def get(self, refs: Any) -> Any:
        futures_of_tasks = isinstance(refs, list) and refs and hasattr(refs[0], "key")
        return self._client.gather(refs) if futures_of_tasks else super().get(refs)

    def shutdown(self) -> None:
        self._client.close()
        self._cluster.close()


def _dask_as_completed(futures: Any) -> Any:
    return importlib.import_module("distributed").as_completed(futures)


def _no_actor_processes(_api: Any) -> Iterator[Callable[[], object]]:
    raise NotApplicable("actors have no processes of their own")
    yield lambda: None


_COLD_DASK = """
from distributed import Client, LocalCluster
def first(): return 1
if __name__ == "__main__":
    cluster = LocalCluster(n_workers={cpus}, threads_per_worker=1, dashboard_address=None, silence_logs=50)
    with cluster, Client(cluster) as client:
        assert client.submit(first).result() == 1
        print("ready", flush=True)
"""


PEERS: dict[str, Peer] = {
    "nbray": _ray_like("nbray"),
    "ray": _ray_like("ray"),
    "dask": Peer(
        "distributed",
        _Dask,
        _COLD_DASK,
        {"wait": _as_completed(_dask_as_completed), "actors_created": _no_actor_processes},
    ),
    "processes": Peer(
        "concurrent.futures", _Processes, _COLD_PROCESSES, {"wait": _as_completed(futures.as_completed)}
    ),
    "mp": Peer(
        "multiprocessing",
        _Multiprocessing,
        _COLD_MP,
        {"tasks_batch": _map("small"), "tasks_1ms": _map("one_millisecond"), "wait": _unordered},
    ),
}
