"""Calls of tasks and of actors' methods alike: pickling what they take, sending them, and what their answers come to.

Where a call runs is decided by the machines: ``owner/tasks.py`` has the lanes, ``owner/actors.py`` the actors.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import deque
from collections.abc import Sequence
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, NamedTuple

from nbray import events
from nbray.channel.connection import Connection
from nbray.core import messages as m
from nbray.core.calls import Call, Function
from nbray.core.lanes import Lane, Pool
from nbray.core.messages import Message, WireValue
from nbray.core.ownership import Entry, refs_in, with_refs
from nbray.exceptions import SerializationError
from nbray.owner.guards import Guard
from nbray.owner.unasked import guard_of, see
from nbray.wire.errors import load_error
from nbray.wire.explain import explain_arguments, explain_unpicklable
from nbray.wire.pickling import Dumped, dump, dump_function

if TYPE_CHECKING:
    from nbray.owner.owner import Owner


class Target:
    """What a connection to an executor leads to: a ``Lane`` or an ``ActorCalls``. Its ``context``.

    Attributes:
        last: name, origin and sequence number of the call that was sent last.
    """

    __slots__ = ("process", "machine", "last")

    def __init__(self, process: bytes, machine: Any) -> None:
        self.process = process
        self.machine = machine
        self.last = ("", "", 0)


class Failure(NamedTuple):
    """What came of a call that ran and did not return.

    Attributes:
        context: of the connection over which it was answered. error: the wire value. duration: us. started: as ``time.time()``.
        before: what a generator had yielded for the first returns.
    """

    call: Call
    context: Any
    error: Any
    duration: int
    started: float
    before: Sequence[WireValue] = ()


class Calls:
    """Under the owner's lock, but for ``function`` and ``arguments``.

    Attributes:
        under_way: submitted and not ended, by sequence number.
    """

    def __init__(self, owner: Owner) -> None:
        self.owner = owner
        self.under_way: dict[int, Call] = {}
        self._functions = itertools.count(1)
        self._unjudged: deque[Failure] = deque()
        self._judging = False
        # A bound method is made anew at each look, and each waiting call would keep one.
        self._when_argument_ready = self._argument_ready
        self._dependency = (b"", 0, (b"",))

    # -- before sending --------------------------------------------------------------------------------------------

    def function(self, callable_: Any, name: str) -> Function:
        """Pickle a function or class for sending; each process it goes to gets it once."""
        refs: list[Any] = []
        try:
            blob = dump_function(callable_, refs)
        except Exception as error:
            raise SerializationError(explain_unpicklable(callable_, error)) from None
        sequence, oid = self.owner.new_id()
        value, guard = self.owner.values.keep(Dumped(blob, (), refs), oid, "function")
        made = Function(next(self._functions), name, value, guard)
        made.reloads = self.owner.reloads()
        return made

    def arguments(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
        """``(payload, slots, refs, guard)``: refs among the arguments become slots, the rest is pickled."""
        owner = self.owner
        if not kwargs:
            if not args:
                return b"", (), (), None
            if owner.entry_type not in map(type, args):
                dumped = _arguments((args, None))
                if not dumped.buffers and not dumped.refs and len(dumped.pickle) <= 65536:
                    return dumped.pickle, (), (), None
                return self._payload(dumped, ())
        slots: list[tuple[Any, Entry]] = []
        plain = list(args)
        for position, value in enumerate(args):
            if isinstance(value, owner.entry_type):
                slots.append((position, value))
                plain[position] = None
        if len(slots) == len(args) and not kwargs:
            return _only_slots(len(args)), tuple(slots), (), None
        named = dict(kwargs)
        for name, value in kwargs.items():
            if isinstance(value, owner.entry_type):
                slots.append((name, value))
                named[name] = None
        return self._payload(_arguments((tuple(plain), named or None)), tuple(slots))

    def _payload(self, dumped: Any, slots: tuple[Any, ...]) -> tuple[Any, ...]:
        if self.owner.garbage:
            self.owner.collect()
        payload, guard = self.owner.values.keep(dumped, self.owner.new_id()[1], "arguments")
        return payload, slots, tuple(dumped.refs), guard

    def dependencies(self, slots: tuple[tuple[Any, Entry], ...]) -> tuple[bytes, ...]:
        """The ids of a call's arguments that are refs, for the feed. Many calls may wait for one and the same: they share it."""
        if len(slots) != 1:
            return tuple([entry.id for _, entry in slots])
        entry = slots[0][1]
        owner_id, sequence, ids = self._dependency
        if entry.sequence != sequence or entry.owner_id != owner_id:
            ids = (entry.id,)
            self._dependency = entry.owner_id, entry.sequence, ids
        return ids

    # -- dependencies and failures ----------------------------------------------------------------------------------

    def depend(self, call: Call) -> None:
        """Count the arguments that are not there; a failed one fails the call."""
        if self.owner.dead_nodes:
            lost = [entry for _, entry in call.slots if self.owner.lineages.is_lost(entry)]
            if lost:
                self.owner.lineages.forget(lost)
        borrowed: list[Entry] = []
        for _, entry in call.slots:
            if not entry.ready:
                call.missing += 1
                entry.when_ready(partial(self._when_argument_ready, call))
                if entry.owner is not None:
                    borrowed.append(entry)
            elif entry.failed:
                self.fail(call, entry.value, guard=guard_of(entry))
                return
        if borrowed:
            self.owner.borrowing.fetch_locked(borrowed)

    def _argument_ready(self, call: Call, entry: Entry) -> None:
        call.missing -= 1
        if call.ended:
            return
        if entry.failed:
            self.fail(call, entry.value, guard=guard_of(entry))
        elif not call.missing:
            if type(call.pool) is Pool:
                self.owner.tasks.lanes.submit(call)
            else:
                call.pool.resolved(call)

    def fail(self, call: Call, value: Any, state: str = "failed", guard: Guard | None = None) -> None:
        """The call ends with that failure. Under the lock; the caller carries out the effects."""
        owner = self.owner
        if call.ended:
            return
        call.ended = True
        self.under_way.pop(call.sequence, None)
        if type(call.pool) is Pool:
            owner.tasks.lanes.withdraw(call)
        elif call.place is None:
            call.pool.resolved(call)  # whoever queued behind it may go
        owner.feed.append(
            (events.TASK_FINISHED, time.time(), owner.process, call.sequence, state, 0.0, 0.0, b"", "")
        )
        owner.failures += 1
        owner.completions += 1
        if guard is not None and call.stream is not None:
            see(guard)
        for entry in call.entries:
            owner.complete(entry, value, guard if entry.guard is None else None)

    def fail_with(self, call: Call, error: BaseException) -> None:
        self.fail(call, self.owner.values.failure(error, call.function.name))

    # -- sending and answers ---------------------------------------------------------------------------------------

    def send(self, peer: Connection, known: set[int], calls: list[Call]) -> None:
        """Send calls to an executor, its functions first."""
        owner = self.owner
        now = time.time()
        context = peer.context
        receiver = context.process
        batch = []
        append = owner.feed.append
        for call in calls:
            function = call.function
            number = function.number
            if number not in known:
                known.add(number)
                if type(number) is int:
                    blob = function.blob
                    if function.refs is not None and function.refs.contained:
                        blob = with_refs(blob, owner.passing.export(function.refs.contained, receiver))
                    peer.send((m.FUNCTION, number, blob, function.name, function.reloads))
            payload = call.payload
            if call.refs:
                payload = with_refs(payload, owner.passing.export(call.refs, receiver))
            slots: Any = ()
            if call.slots:
                slots = [(key, owner.passing.export_value(entry, receiver)) for key, entry in call.slots]
            returns = len(call.entries) if call.stream is None else m.STREAMING
            batch.append((call.sequence, number, payload, slots, returns, call.extra, call.origin))
            append((events.TASK_DISPATCHED, now, owner.process, call.sequence, receiver, call.attempt))
        context.last = (call.function.name, call.origin, call.sequence)
        peer.send((m.CALLS, batch))

    def result(self, connection: Connection, message: Message) -> None:
        """RESULT: a call is answered."""
        owner = self.owner
        _, sequence, status, values, duration, started = message
        context = connection.context
        if context is None:
            return
        if type(context.machine) is Lane:
            call = owner.tasks.lanes.finished(context.machine, sequence, duration, time.monotonic())
        else:
            call = context.machine.finished(sequence, duration, connection)
        if call is not None and call.cancelled:
            owner.cancelling.answered(call)
        if call is None or call.ended:
            self._discard(values)
        elif status == m.OK:
            call.ended = True
            del self.under_way[sequence]
            owner.completions += 1
            owner.feed.append(
                (events.TASK_FINISHED, time.time(), owner.process, sequence, "done", started, duration * 1e-6,
                 context.process, "")
            )  # fmt: skip
            if self._take_in(call.entries, values, context):
                owner.lineages.keep(call)
        elif status == m.LOST and not call.cancelled:
            owner.lineages.missed(call, *values[0])
        elif status == m.CANCELLED or status == m.LOST:
            value = values[0] if status == m.CANCELLED and values else owner.cancelling.error(call)
            self._ended(Failure(call, context, value, duration, started), "cancelled")
        else:
            value, _ = owner.passing.import_value(values[0], own=False)
            inside = refs_in(value)
            if inside:
                owner.inheritance.expect(inside, context.process)
            self._raised(Failure(call, context, value, duration, started, values[1:]))
        if owner.tasks.lanes.has_effects or owner.actors.effects:
            owner.carry_out()

    def _take_in(self, entries: Sequence[Entry], values: Sequence[WireValue], context: Any) -> bool:
        """The values of those entries have come. Whether one of them is large."""
        owner = self.owner
        large = False
        for entry, value in zip(entries, values, strict=True):
            if type(value) is bytes:
                owner.complete(entry, value)
            else:
                large = large or value[0] == m.SHARED
                value, guard = owner.passing.import_value(value, own=True)
                if guard is not None and guard.contained:
                    owner.inheritance.expect(guard.contained, context.process)
                owner.complete(entry, value, guard)
        return large

    def _raised(self, failure: Failure) -> None:
        call = failure.call
        wanted = call.retry_exceptions if call.retries and not call.cancelled else False
        if type(wanted) is tuple and wanted:
            # Unpickling the user's exception may run user code: without the lock, and not on a thread that polls.
            self._unjudged.append(failure)
            if not self._judging:
                self._judging = True
                threading.Thread(target=self._judge, name="nbray-judge", daemon=True).start()
        else:
            self._failed(failure, bool(wanted))

    def _judge(self) -> None:
        """A thread that decides whether what was raised is to be tried again, as long as there is something to decide."""
        while True:
            with self.owner.lock:
                if not self._unjudged:
                    self._judging = False
                    return
                failure = self._unjudged.popleft()
            retry = _is_one_of(failure.error, failure.call.retry_exceptions)
            with self.owner.lock:
                if failure.call.ended:
                    self._discard(failure.before)
                else:
                    self._failed(failure, retry)
                    self.owner.carry_out()
                if not self.owner.closed:
                    self.owner.reactor.wake()  # whoever polls has to look at what changed

    def _failed(self, failure: Failure, retry: bool) -> None:
        call = failure.call
        if not (retry and not call.cancelled and call.charge()):
            self._ended(failure, "failed")
            return
        self._discard(failure.before)
        self._tell(failure, "retried")
        if type(failure.context.machine) is Lane:
            self.owner.tasks.lanes.again(call)
        else:
            failure.context.machine.again(call)

    def _ended(self, failure: Failure, state: str) -> None:
        """It ran, and there will be no value but those that were there before."""
        owner = self.owner
        call, context, error, _, _, before = failure
        self._tell(failure, state)
        call.ended = True
        self.under_way.pop(call.sequence, None)
        owner.failures += 1
        owner.completions += 1
        if call.stream is not None and state == "failed":
            call.stream.raised = True
        if before:
            self._take_in(call.entries[: len(before)], before, context)
        guard = owner.unasked.guard(call, error, context.process) if state == "failed" else None
        for entry in call.entries[len(before) :]:
            owner.complete(entry, error, guard)

    def _tell(self, failure: Failure, state: str) -> None:
        owner = self.owner
        call, context, _, duration, started, _ = failure
        owner.feed.append(
            (events.TASK_FINISHED, time.time(), owner.process, call.sequence, state, started, duration * 1e-6,
             context.process, "")
        )  # fmt: skip

    def _discard(self, values: Sequence[WireValue]) -> None:
        """Values that nobody waits for: importing and dropping them gives back holds and files."""
        for value in values:
            self.owner.passing.import_value(value, own=True)


@lru_cache
def _only_slots(n: int) -> bytes:
    """The payload of a call whose ``n`` arguments are all refs."""
    return dump(((None,) * n, None)).pickle


def _arguments(both: tuple[tuple[Any, ...], dict[str, Any] | None]) -> Dumped:
    try:
        return dump(both)
    except Exception as error:
        raise SerializationError(explain_arguments(both[0], both[1] or {}, error)) from None


def _is_one_of(value: Any, wanted: tuple[type, ...]) -> bool:
    error = load_error(value[1])
    try:
        return isinstance(error, wanted) or isinstance(getattr(error, "cause", None), wanted)
    except Exception:  # a metaclass of the user's
        return False
