"""Running one call: what it calls, its arguments, its results, and the answer."""

from __future__ import annotations

import contextvars
import os
import pickle
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from nbray.channel.connection import Connection
from nbray.core import messages as m
from nbray.core.ids import Address, ProcessId, object_id
from nbray.core.messages import WireValue
from nbray.core.ownership import Entry, with_refs
from nbray.core.streaming import Outlet
from nbray.exceptions import ObjectLostError, TaskCancelledError, TaskTimeoutError
from nbray.executor.actor_methods import ACTOR_METHODS
from nbray.executor.generators import Generators
from nbray.owner.owner import Owner
from nbray.owner.reloads import Reloading
from nbray.owner.values import pickled
from nbray.wire.errors import dump_error
from nbray.wire.pickling import Dumped

if TYPE_CHECKING:
    import asyncio

#: Seconds for which an answer waits until owners have acknowledged what the callee keeps.
_ACK_LIMIT = 60.0


class Caller:
    """What came over one connection from an owner: its functions, which lease or actor it speaks to, and what it says of its
    generators that run or wait here, by the call's sequence number."""

    __slots__ = ("functions", "names", "lease", "epoch", "outlets")

    def __init__(self) -> None:
        self.functions: dict[Any, Any] = {}
        self.names: dict[Any, str] = {}
        self.lease = -1
        self.epoch = -1
        self.outlets: dict[int, Outlet] = {}


class ArgumentLost(Exception):
    """An argument's bytes went with their node: (object id, node). The caller can have them made again."""


class NeverBegan(TaskCancelledError):
    """The call was cancelled before its user code ran."""


class Current:
    """The call that a thread (or an asyncio task) runs.

    Attributes:
        name: of the function or method. title: the same, or the name that the user gave the call.
        origin: the notebook cell from which it stems.
        number: names its function among those of its connection; the name of a method.
        canceled: it is not wanted any more. recursive: nor is what it has submitted.
        began: an asyncio task has started to run it.
        interrupted: the KeyboardInterrupt was raised.
        overdue: the seconds that it might run, once they are over.
        answered: it was answered before it ended, because it ran for too long.
        task: the asyncio task that runs it, in an async actor: cancelling is its cancel() there, and else a KeyboardInterrupt.
        started: when, as ``time.time()`` tells it. awaits: what its user code waits for, if it does.
        waiting: its threads for whose wait it lends its lease.
    """

    __slots__ = (
        "connection", "sequence", "number", "owner", "name", "title", "origin", "canceled", "recursive", "interrupted", "began",
        "task", "overdue", "answered", "started", "awaits", "waiting",
    )  # fmt: skip

    def __init__(self, connection: Connection, call: Any, owner: bytes, name: str) -> None:
        self.connection = connection
        self.sequence = call[0]
        self.number = call[1]
        self.owner = owner
        self.name = name
        extra = call[5]
        self.origin: str = call[6]
        self.title: str = extra["name"] if extra is not None and "name" in extra else name
        self.canceled = False
        self.recursive = False
        self.interrupted = False
        self.began = False
        self.overdue: float | None = None
        self.answered = False
        self.task: asyncio.Task[None] | None = None
        self.started = 0.0
        self.awaits: Sequence[Entry] | None = None
        self.waiting = 0

    @property
    def task_id(self) -> bytes:
        return object_id(ProcessId(self.owner), self.sequence)


#: What the running thread or asyncio task is doing; a thread that a call starts does it for that call.
running_call: contextvars.ContextVar[Current | None] = contextvars.ContextVar("nbray_call", default=None)


def current() -> Current | None:
    """The call that the calling thread or asyncio task runs."""
    return running_call.get()


def enter(call: Current | None) -> None:
    """The calling thread or asyncio task runs that call from here on."""
    running_call.set(call)


class Runner:
    """
    Attributes:
        instance: the actor, if this process is one.
    """

    def __init__(self, owner: Owner) -> None:
        self.owner = owner
        self.instance: Any = None
        self.generators = Generators(self)
        self.reloading = Reloading()

    def find(self, caller: Caller, number: Any) -> Any:
        """The function or bound method that a call names."""
        if type(number) is str:
            try:
                return getattr(self.instance, number)
            except AttributeError:
                if number not in ACTOR_METHODS:
                    raise
                return partial(ACTOR_METHODS[number], self.instance)
        function = caller.functions[number]
        if type(function) is tuple:
            if function[1]:
                self.reloading.apply(function[1])
            with self.owner.lock:
                value, guard = self.owner.passing.import_value(function[0], own=False)
            function = self.owner.values.load(value)
            caller.functions[number] = function
        return function

    def path(self, call: Current) -> str:
        """Where the function of a call that runs is defined: ``module.Class.method``."""
        if type(call.number) is str:
            cls = type(self.instance)
            return f"{cls.__module__}.{cls.__qualname__}.{call.number}"
        function = call.connection.context.functions[call.number]
        return f"{function.__module__}.{function.__qualname__}"

    def arguments(
        self, payload: WireValue, slots: Any, keep: list[Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """``(args, kwargs)`` with the slots filled in; the entries of refs in them go to ``keep``."""
        owner = self.owner
        if type(payload) is not bytes or slots:
            with owner.lock:
                payload, guard = owner.passing.import_value(payload, own=False)
                keep.append(guard)
                imported = []
                for key, value in slots:
                    value, guard = owner.passing.import_value(value, own=False)
                    keep.append(guard)
                    imported.append((key, value))
        args, kwargs = owner.values.load(payload)
        if slots:
            filled = list(args)
            kwargs = kwargs or {}
            try:
                for key, value in imported:
                    if type(key) is int:
                        filled[key] = owner.values.load(value)
                    else:
                        kwargs[key] = owner.values.load(value)
            except ObjectLostError as error:
                if (lost := getattr(error, "lost", None)) is None:
                    raise
                raise ArgumentLost(*lost) from error
            args = tuple(filled)
        return args, kwargs or {}

    def results(
        self, result: Any, returns: int, name: str, receiver: Address, sequence: int
    ) -> list[WireValue]:
        """Wire values for what a call returned; the receiver owns them as ``sequence`` and those after it."""
        if returns == 1:
            if result is None:
                return [_NONE]
            return [self.value(result, f"the result of {name}", receiver, sequence)]
        if returns == 0:
            return []
        try:
            items = list(result)
        except TypeError:
            raise TypeError(
                f"{name} has num_returns={returns} but returned a {type(result).__name__}, which is not iterable"
            ) from None
        if len(items) != returns:
            raise ValueError(f"{name} has num_returns={returns} but returned {len(items)} values")
        # All are pickled before any is kept: one that cannot be must leave no holds of those before it.
        dumps = [pickled(item, f"the result of {name}") for item in items]
        return [self._kept(dumped, receiver, sequence + i) for i, dumped in enumerate(dumps)]

    def results_before(
        self, items: list[Any], name: str, receiver: Address, sequence: int
    ) -> list[WireValue]:
        """As ``results``, of what came before an error, as far as it can be sent."""
        values: list[WireValue] = []
        with suppress(Exception):  # there is an error to tell already
            for item in items:
                values.append(self.value(item, f"the result of {name}", receiver, sequence + len(values)))
        return values

    def value(self, result: Any, what: str, receiver: Address, sequence: int) -> WireValue:
        """A wire value for the receiver, who owns it as ``sequence``; errors call it ``what``."""
        return self._kept(pickled(result, what), receiver, sequence)

    def _kept(self, dumped: Dumped, receiver: Address, sequence: int) -> WireValue:
        owner = self.owner
        if not dumped.buffers and not dumped.refs and len(dumped.pickle) < 65536:
            return dumped.pickle
        oid = object_id(ProcessId(receiver.process), sequence)
        value, guard = owner.values.keep(dumped, oid, "result", own=False)
        if guard is not None and guard.contained:
            value = with_refs(value, self._export_result(guard.contained, receiver))
        return value

    def _export_result(self, entries: tuple[Entry, ...], receiver: Address) -> tuple[Any, ...]:
        """Wire refs whose holds the receiver has when it gets them: ours counted here, others' by their owners."""
        owner = self.owner
        others: dict[Address, list[Entry]] = {}
        with owner.lock:
            for entry in entries:
                if entry.owner is not None and type(entry.value) is not bytes:
                    others.setdefault(entry.owner, []).append(entry)
            requests = [
                owner.holding.ask([entry.id for entry in theirs], address, tuple(theirs), receiver)
                for address, theirs in others.items()
            ]
        if requests:
            self.acknowledged(requests)
        held = {entry.id for theirs in others.values() for entry in theirs}
        with owner.lock:
            # What was held goes with its hold, even if a small value has come meanwhile that would need none.
            return tuple(
                (oid, address, None if type(value) is bytes else value, owner.process)
                if oid in held
                else (oid, address, value, hold)
                for oid, address, value, hold in owner.passing.export(entries, receiver.process)
            )

    def acknowledged(self, requests: list[int]) -> None:
        """Wait until owners have counted what this process, or a receiver of its results, keeps."""
        holding = self.owner.holding
        self.owner.lead.run_until(
            lambda: all(map(holding.acknowledged, requests)), time.monotonic() + _ACK_LIMIT
        )

    def overdue(self, call: Current, error: BaseException) -> list[WireValue]:
        """The values of an answer that says that a call ran for too long."""
        told = TaskTimeoutError(f"{call.name} ran for more than {call.overdue:g} s")
        told.__traceback__ = error.__traceback__
        return [self.failure(told, call.name, raised=False)]

    def cancelled(self, call: Current, error: BaseException | None) -> list[WireValue]:
        """The values of an answer that says that a call was cancelled; ``error`` is what it let through, if anything."""
        if call.recursive:
            with self.owner.lock:  # what it submitted after CANCEL had come
                self.owner.cancelling.children(call.task_id, False)
        if isinstance(error, NeverBegan):
            return []
        told = TaskCancelledError(call.task_id.hex(), f"{call.name} was cancelled while it ran")
        if error is not None:
            told.__traceback__ = error.__traceback__
        # What ended user code is a RayTaskError too, as in Ray: its own examples catch that.
        return [self.failure(told, call.name, raised=error is not None)]

    def failure(
        self, error: BaseException, name: str, receiver: Address | None = None, *, raised: bool = True
    ) -> WireValue:
        """The wire value of what user code raised, or of what is said in its place.

        Args:
            receiver: gets the refs that the exception holds.
            raised: user code let it through.
        """
        refs: list[Entry] | None = None if receiver is None else []
        data = dump_error(error, name, os.getpid(), self.owner.node.hex(), refs, raised=raised)
        if not refs or receiver is None:
            return (m.ERROR, data)
        return (m.ERROR, data, self._export_result(tuple(dict.fromkeys(refs)), receiver))


_NONE = pickle.dumps(None, 5)
