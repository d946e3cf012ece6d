"""An executor that is an actor: its constructor, and the asyncio loop of actors with async methods."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections import deque
from collections.abc import Mapping
from types import CoroutineType, FunctionType, GeneratorType
from typing import TYPE_CHECKING, Any, NamedTuple

import msgpack

from nbray.channel.connection import Connection
from nbray.core import messages as m
from nbray.core.messages import WireValue
from nbray.exceptions import TaskCancelledError
from nbray.executor import forks
from nbray.executor.actor_methods import ActorExit, is_async
from nbray.executor.crews import Crews
from nbray.executor.deadlines import GRACE
from nbray.executor.drawing import Broken, draw
from nbray.executor.running import ArgumentLost, Caller, Current, NeverBegan

if TYPE_CHECKING:
    from nbray.executor.main import Executor

#: Characters of an actor's ``repr`` that stand before each of its lines.
LABEL = 60


def become(executor: Executor, creation: bytes) -> None:
    """Run the constructor; then this process is that actor, or ends."""
    name, blob, payload, slots, concurrency, job, namespace, more = msgpack.unpackb(creation, use_list=False)
    executor.class_name, executor.actor_name, executor.handle = name, more.get("name", ""), more["handle"]
    executor.label = name
    executor.upstream.maker = more["origin"]
    owner = executor.owner
    owner.job, owner.namespace = job, namespace
    owner.lead.ensure_background()
    keep: list[Any] = []
    caller = Caller()
    caller.functions[0] = (blob, more["reloads"])
    failed = loop = None
    try:
        try:
            cls = executor.runner.find(caller, 0)
            executor.class_path = f"{cls.__module__}.{cls.__qualname__}"
            args, kwargs = executor.runner.arguments(payload, slots, keep) if payload or slots else ((), {})
            if is_async(cls):
                loop = asyncio.Runner()
                made = loop.run(_construct(cls, args, kwargs))
                if made.error is not None:
                    raise made.error
                executor.runner.instance = made.instance
            else:
                executor.runner.instance = cls(*args, **kwargs)
            del args, kwargs
            executor.label = _label(executor.runner.instance, name)
        finally:
            if forks.forked:
                forks.leave()
    except ActorExit as error:
        executor.exit_soon(error)
        return
    except BaseException as error:
        failed = executor.runner.failure(error, f"{name}.__init__")
    waiting = owner.holding.unacknowledged()
    if waiting:
        executor.runner.acknowledged(waiting)
    executor.hosted(None if failed is None else failed[1])  # type: ignore[arg-type]
    if failed is not None:
        executor.retiring = True
        return
    groups = more.get("groups", {})
    if loop is not None:
        with loop:
            loop.run(AsyncHost(executor, concurrency, groups).serve())
    elif concurrency > 1 or groups:
        Crews(executor, concurrency, groups).serve()


def _label(instance: Any, name: str) -> str:
    """What names an actor before its lines: the ``__repr__`` that its class defines, as in Ray; else the name of its class."""
    if type(type(instance).__repr__) is not FunctionType:  # that of object, or of dict
        return name
    try:
        first, *more = repr(instance).split("\n", 1)
    except Exception:
        return name
    return f"{first[:LABEL]}..." if more or len(first) > LABEL else first or name


class _Made(NamedTuple):
    instance: Any
    error: BaseException | None = None


async def _construct(cls: type, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Made:
    """In the loop of the actor's calls: its constructor may start asyncio tasks, and may be an ``async def`` itself, as in Ray.

    What it raises is an answer, so that asyncio has no part in its traceback, or in what becomes of a SystemExit.
    """
    initialize: Any = inspect.getattr_static(cls, "__init__")
    try:
        if not inspect.iscoroutinefunction(initialize):
            return _Made(cls(*args, **kwargs))
        instance = cls.__new__(cls, *args, **kwargs)
        await initialize(instance, *args, **kwargs)
        return _Made(instance)
    except BaseException as error:
        return _Made(None, error)
    finally:
        if forks.forked:
            forks.leave()


class Places:
    """How many calls of a group may run at a time; the others get their turns in the order in which they came.

    Not asyncio's Semaphore: that is a coroutine a call, a tenth of what a short call costs, also where nobody has to wait.

    Attributes:
        free: whoever takes one counts it down himself. Where there are some, nobody waits.
    """

    def __init__(self, free: int) -> None:
        self.free = free
        self._turns: deque[asyncio.Future[None]] = deque()

    async def turn(self) -> None:
        """Wait for a place, where none is free, and have it."""
        turn = asyncio.get_running_loop().create_future()
        self._turns.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # it was ours for a moment
                self.leave()
            raise

    def leave(self) -> None:
        """Give a place to who has waited longest."""
        while self._turns:
            turn = self._turns.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self.free += 1


class AsyncHost:
    """Calls as asyncio tasks on the main thread; the loop polls the process's sockets."""

    def __init__(self, executor: Executor, concurrency: int, groups: Mapping[str, int]) -> None:
        self._executor = executor
        self._places = Places(concurrency)
        self._groups = {name: Places(size) for name, size in groups.items()}
        self._end: asyncio.Event | None = None

    async def serve(self) -> None:
        executor = self._executor
        loop = asyncio.get_running_loop()
        lead = executor.owner.lead
        self._end = asyncio.Event()
        elsewhere = executor.cancelling.elsewhere

        def served() -> None:
            if forks.forked:
                forks.leave()
            queue = executor.intake.queue
            while queue and not executor.exiting:
                connection, slot = queue.popleft()
                assert connection is not None
                try:
                    call = slot.pop()
                except IndexError:  # cancelled
                    continue
                peer = connection.peer
                assert peer is not None
                name = f"{executor.class_name}.{call[1]}"
                current = Current(connection, call, peer.process, name)
                # Not by `create_task`, and it leaves `elsewhere` by itself: a callback at its end would cost a tenth of a call.
                current.task = asyncio.Task(self._run(connection, call, current), loop=loop, name=name)
                elsewhere[connection, call[0]] = current
            executor.cancelling.idle()
            if (executor.retiring or executor.exiting) and self._end is not None:
                self._end.set()

        lead.serve_from(loop, served)
        served()
        await self._end.wait()
        running = [call.task for call in elsewhere.values() if call.task is not None]
        if running:
            await asyncio.wait(running)
        lead.leave_loop(loop)

    async def _run(self, connection: Connection, call: Any, current: Current) -> None:
        """One call from its turn to its answer. One coroutine: each more that it awaits costs a short call a twentieth."""
        executor = self._executor
        runner = executor.runner
        sequence, method, payload, slots, returns, extra, _ = call
        peer = connection.peer
        assert peer is not None
        places = self._places if extra is None or "group" not in extra else self._groups[extra["group"]]
        try:
            executor.cancelling.look(current)
            current.began = True
            if places.free:
                places.free -= 1
            else:
                await places.turn()
        except (asyncio.CancelledError, NeverBegan):
            executor.intake.refuse(call)
            executor.answer(current, m.CANCELLED, runner.cancelled(current, NeverBegan()), 0, 0.0)
            executor.cancelling.end(current)
            return
        try:
            if executor.exiting:
                return
            executor.enter(current)
            current.started, begun = time.time(), time.perf_counter_ns()
            timer = None
            if extra is not None and "timeout" in extra:
                timer = Timer(executor, current, current.task, extra["timeout"])
            keep: list[Any] = []
            try:
                try:
                    function = runner.find(connection.context, method)
                    args, kwargs = runner.arguments(payload, slots, keep) if payload or slots else ((), {})
                    result = function(*args, **kwargs)
                    if type(result) is CoroutineType or inspect.isawaitable(result):
                        result = await result
                finally:
                    if forks.forked:
                        forks.leave()
                if returns == m.STREAMING:
                    await runner.generators.run_async(current, result)
                    result, returns = None, 1
                elif type(result) is GeneratorType and returns:
                    result = draw(result, returns, current.name)
                if current.canceled and current.overdue is None:  # and it took no notice
                    status, values = m.CANCELLED, runner.cancelled(current, None)
                else:
                    status, values = m.OK, runner.results(result, returns, current.name, peer, sequence)
            except ArgumentLost as lost:
                status, values = m.LOST, [lost.args]
            except (ActorExit, SystemExit) as error:
                executor.exit_soon(error)
                return
            except BaseException as error:
                items: list[Any] = []
                if type(error) is Broken:
                    items, error = error.items, error.error
                status, values = self._failed(current, error)
                if items and status == m.FAILED:
                    values += runner.results_before(items, current.name, peer, sequence)
            duration = (time.perf_counter_ns() - begun) // 1000
            if timer is None or timer.end():
                executor.answer(current, status, values, duration, current.started)
        finally:
            places.leave()
            executor.cancelling.end(current)  # whoever cancels it now is too late

    def _failed(self, current: Current, error: BaseException) -> tuple[int, list[WireValue]]:
        """Status and values of a call that did not return."""
        runner = self._executor.runner
        if isinstance(error, asyncio.CancelledError | TaskCancelledError):
            if current.overdue is not None:
                return m.FAILED, runner.overdue(current, error)
            if current.canceled:
                return m.CANCELLED, runner.cancelled(current, error)
        if isinstance(error, asyncio.CancelledError):
            # By no word of ours: an asyncio task that it awaited was cancelled. Its readers get what they can catch, as in Ray.
            text = f"{current.name} let through that an asyncio task which it awaited was cancelled"
            error = TaskCancelledError(current.task_id.hex(), text).with_traceback(error.__traceback__)
        return m.FAILED, [runner.failure(error, current.name, current.connection.peer)]


class Timer:
    """The option ``timeout`` of an async method, see ``executor/deadlines.py``."""

    def __init__(
        self, executor: Executor, call: Current, task: asyncio.Task[Any] | None, seconds: float
    ) -> None:
        assert task is not None
        self._executor = executor
        self._call = call
        self._task = task
        self._seconds = seconds
        self._handle = asyncio.get_running_loop().call_later(seconds, self._late)

    def _late(self) -> None:
        call = self._call
        call.overdue, call.canceled = self._seconds, True
        with self._executor.owner.lock:
            self._executor.owner.cancelling.children(call.task_id, False)
        self._task.cancel()
        self._handle = asyncio.get_running_loop().call_later(GRACE, self._give_up)

    def _give_up(self) -> None:
        seconds = self._seconds
        text = f"{self._call.name} ran for more than {seconds:g} s and did not end within {GRACE:g} s of its cancellation"
        self._executor.deadlines.give_up(self._call, text, seconds)

    def end(self) -> bool:
        """The call has ended; False if it was answered in the meantime."""
        self._handle.cancel()
        return not self._call.answered
