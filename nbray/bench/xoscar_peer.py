"""Xoscar: actors, and nothing else. Its users write coroutines, so the steps run in an event loop."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

from . import cases
from .adapter import Adapter, Native


class Xoscar(Adapter):
    """A pool of two processes beside the driver's, as the actors of a case live apart."""

    def __init__(self, cpus: int) -> None:
        self.xoscar = importlib.import_module("xoscar")
        self.loop = asyncio.new_event_loop()
        self._pool = self.run(self.xoscar.create_actor_pool("127.0.0.1", n_process=max(2, cpus)))

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(coroutine)

    def create(self, actor_class: type, *args: Any, process: int) -> Any:
        where = self.xoscar.allocate_strategy.ProcessIndex(process)
        address = self._pool.external_address
        return self.run(
            self.xoscar.create_actor(actor_class, *args, address=address, allocate_strategy=where)
        )

    def shutdown(self) -> None:
        self.run(self._pool.stop())
        self.loop.close()


def _classes(api: Xoscar) -> tuple[type, type, type]:
    base: Any = api.xoscar.Actor

    class Sync(base):  # type: ignore[misc]
        def ping(self) -> bytes:
            return b"ok"

    class Async(base):  # type: ignore[misc]
        async def ping(self) -> bytes:
            return b"ok"

    class Caller(base):  # type: ignore[misc]
        def __init__(self, callee: Any) -> None:
            self.callee = callee

        async def call(self, count: int) -> int:
            return len(await asyncio.gather(*[self.callee.ping() for _ in range(count)]))

    return Sync, Async, Caller


def _one_by_one(kind: int) -> Callable[[Any], Iterator[Callable[[], object]]]:
    def prepare(api: Xoscar) -> Iterator[Callable[[], object]]:
        actor = api.create(_classes(api)[kind], process=1)
        cases.expect(api.run(actor.ping()), b"ok")
        yield lambda: api.run(actor.ping())

    return prepare


def _at_once(kind: int) -> Callable[[Any], Iterator[Callable[[], object]]]:
    def prepare(api: Xoscar) -> Iterator[Callable[[], object]]:
        actor = api.create(_classes(api)[kind], process=1)

        async def all_of_them() -> None:
            await asyncio.gather(*[actor.ping() for _ in range(cases.AT_ONCE)])

        yield lambda: api.run(all_of_them())

    return prepare


def _actor_to_actor(api: Xoscar) -> Iterator[Callable[[], object]]:
    sync, _, caller_class = _classes(api)
    caller = api.create(caller_class, api.create(sync, process=1), process=2)
    cases.expect(api.run(caller.call(3)), 3)
    yield lambda: api.run(caller.call(cases.AT_ONCE))


NATIVE: Native = {
    "actor_sync": _one_by_one(0),
    "actor_batch": _at_once(0),
    "actor_to_actor": _actor_to_actor,
    "async_sync": _one_by_one(1),
    "async_batch": _at_once(1),
}
