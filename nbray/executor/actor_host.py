"""An executor that is an actor: its constructor, and the asyncio loop of actors with async methods."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgpack

from nbray.channel.connection import Connection
from nbray.core import messages as m
from nbray.executor.actor_methods import ActorExit
from nbray.executor.crews import Crews
from nbray.executor.running import ArgumentLost, Caller, Current

if TYPE_CHECKING:
    from nbray.executor.main import Executor


def become(executor: Executor, creation: bytes) -> None:
    """Run the constructor; then this process is that actor, or ends."""
    name, blob, payload, slots, concurrency, job, namespace, more = msgpack.unpackb(creation, use_list=False)
    executor.class_name = name
    owner = executor.owner
    owner.job, owner.namespace = job, namespace
    owner.lead.ensure_background()
    keep: list[Any] = []
    caller = Caller()
    caller.functions[0] = (blob,)
    failed = None
    try:
        cls = executor.runner.find(caller, 0)
        args, kwargs = executor.runner.arguments(payload, slots, keep) if payload or slots else ((), {})
        executor.runner.instance = cls(*args, **kwargs)
        del args, kwargs
    except ActorExit:
        executor.exit_soon()
        return
    except BaseException as error:
        failed = executor.runner.failure(error, f"{name}.__init__")
    waiting = owner.peers.unacknowledged()
    if waiting:
        executor.runner.acknowledged(waiting)
    executor.hosted(None if failed is None else failed[1])  # type: ignore[arg-type]
    if failed is not None:
        executor.retiring = True
        return
    groups = more.get("groups", {})
    if is_async(type(executor.runner.instance)):
        asyncio.run(AsyncHost(executor, concurrency, groups).serve())
    elif concurrency > 1 or groups:
        Crews(executor, concurrency, groups).serve()


def is_async(cls: type) -> bool:
    """Whether a class has any ``async def`` method, and so gets an event loop."""
    return any(
        inspect.iscoroutinefunction(member) or inspect.isasyncgenfunction(member)
        for member in (inspect.getattr_static(cls, name, None) for name in dir(cls))
    )


class AsyncHost:
    """Calls as asyncio tasks on the main thread; the loop polls the process's sockets."""

    def __init__(self, executor: Executor, concurrency: int, groups: Mapping[str, int]) -> None:
        self._executor = executor
        self._slots = asyncio.Semaphore(concurrency)
        self._groups = {name: asyncio.Semaphore(size) for name, size in groups.items()}
        self._running: set[asyncio.Task[None]] = set()
        self._end: asyncio.Event | None = None

    async def serve(self) -> None:
        executor = self._executor
        loop = asyncio.get_running_loop()
        lead = executor.owner.lead
        self._end = asyncio.Event()

        def served() -> None:
            queue = executor.queue
            while queue and not executor.exiting:
                connection, call = queue.popleft()
                assert connection is not None
                task = loop.create_task(self._run(connection, call))
                self._running.add(task)
                task.add_done_callback(self._running.discard)
            if (executor.retiring or executor.exiting) and self._end is not None:
                self._end.set()

        lead.serve_from(loop, served)
        served()
        await self._end.wait()
        if self._running:
            await asyncio.wait(self._running)
        lead.leave_loop(loop)

    async def _run(self, connection: Connection, call: Any) -> None:
        executor = self._executor
        sequence, method, payload, slots, returns, extra = call
        peer = connection.peer
        assert peer is not None
        name = f"{executor.class_name}.{method}"
        slots_of_group = self._groups[extra["group"]] if extra and "group" in extra else self._slots
        async with slots_of_group:
            if executor.exiting:
                return
            current = Current(connection, sequence, peer.process, name)
            executor.enter(current)
            started, begun = time.time(), time.perf_counter_ns()
            keep: list[Any] = []
            try:
                function = executor.runner.find(connection.context, method)
                args, kwargs = (
                    executor.runner.arguments(payload, slots, keep) if payload or slots else ((), {})
                )
                result = function(*args, **kwargs)
                if inspect.isawaitable(result):
                    result = await result
                status, values = m.OK, executor.runner.results(result, returns, name, peer, sequence)
            except ArgumentLost as lost:
                status, values = m.LOST, [lost.args]
            except ActorExit:
                executor.exit_soon()
                return
            except asyncio.CancelledError as error:
                status, values = m.FAILED, [executor.runner.failure(error, name)]
            except BaseException as error:
                status, values = m.FAILED, [executor.runner.failure(error, name)]
            duration = (time.perf_counter_ns() - begun) // 1000
            executor.answer(current, status, values, duration, started)
