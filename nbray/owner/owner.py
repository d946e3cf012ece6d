"""The owner: submits, knows what became of its calls, and keeps what others still refer to.

Everything that changes state happens under ``lock``; what user code must see (callbacks) is put off until it is free.
The pure machines decide; this file carries out. What peers ask for is in ``owner/peers.py``, actors are in ``owner/actors.py``.
"""

from __future__ import annotations

import itertools
import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from itertools import compress
from operator import attrgetter, not_
from typing import Any
from weakref import WeakValueDictionary

from nbray import events
from nbray.channel.connection import Connection
from nbray.channel.interrupts import DeferringLock, Interrupts
from nbray.channel.leader import Leadership
from nbray.channel.reactor import Reactor
from nbray.core import lanes as lane_effects
from nbray.core import messages as m
from nbray.core.calls import Call, Function
from nbray.core.ids import Address, ObjectId, ProcessId, object_id
from nbray.core.lanes import Lane, Lanes, Pool
from nbray.core.messages import Message, Spec, WireValue
from nbray.core.ownership import Completer, Entry, Holds, refs_in, with_refs
from nbray.exceptions import (
    GetTimeoutError,
    RayError,
    RaySystemError,
    SerializationError,
    TaskUnschedulableError,
    WorkerCrashedError,
)
from nbray.owner.actors import Actors
from nbray.owner.guards import Garbage, Guard
from nbray.owner.peers import Peers, Target
from nbray.owner.values import Values, contained, pickled
from nbray.wire.errors import dump_error, load_error
from nbray.wire.explain import explain_unpicklable
from nbray.wire.pickling import Dumped, dump_function

_ready = attrgetter("ready")
_failed = attrgetter("failed")
_value = attrgetter("value")

#: Returns of one call have consecutive sequence numbers, so calls are this far apart.
STRIDE = 1 << 20
#: Seconds for which a crashed call waits for placement to say why.
VERDICT = 2.0
#: Seconds a blocked ``get`` of a task waits before it lends its slot.
GRACE = 0.002


class Owner:
    """
    Args:
        process: this process' id. node: its node's id.
        entry_type: makes entries; the public ``ObjectRef``.
        socket_path: where to listen within the node. tcp_host: where to listen for other nodes, "" for not at all.
        serve: the address from which other nodes pull large objects of this node; None: this process.
        send_up: carries an uplink message to placement.
    """

    def __init__(
        self,
        *,
        process: ProcessId,
        node: bytes,
        secret: bytes,
        store_dir: str,
        socket_path: str,
        tcp_host: str,
        entry_type: type[Entry],
        send_up: Callable[[Message], None],
        serve: Address | None = None,
        feed: events.Feed | None = None,
    ) -> None:
        self.process = process
        self.node = node
        self.entry_type = entry_type
        self.send_up = send_up
        self.feed = events.Feed() if feed is None else feed
        self.interrupts = Interrupts()
        self.lock = DeferringLock(self.interrupts)
        self.reactor = Reactor(Address(process, node, "", ""), secret, self.lock)
        self.interrupts.wake = self.reactor.wake
        self.reactor.listen_unix(socket_path)
        if tcp_host:
            self.reactor.listen_tcp(tcp_host)
        self.address = self.reactor.address
        self.lead = Leadership(self.reactor, self.interrupts, self.flush, self.tick)
        self.garbage: Garbage = deque()
        self.values = Values(node, store_dir, serve or self.address, self.garbage, self._stored)
        self.lanes = Lanes()
        self.holds = Holds()
        self.complete = Completer()
        self.calls: dict[int, Call] = {}
        self.lane_of: dict[int, Lane] = {}
        self.canonical: WeakValueDictionary[bytes, Entry] = WeakValueDictionary()
        self.failures = 0
        self.completions = 0
        self.deferred: deque[Callable[[], None]] = deque()
        self.closed = False
        self.abandoned = ""
        self.parent_task: Callable[[], bytes] = lambda: b""
        self.current_lease: Callable[[], int | None] = lambda: None
        self.on_block: Callable[[], None] | None = None
        self.on_unblock: Callable[[], None] | None = None
        #: Called before every poll and every second: what an executor has to pass on.
        self.on_flush: Callable[[], None] | None = None
        self.dead_nodes: set[bytes] = set()
        # Of the driver for which this process works; an executor learns them from who attaches to it.
        self.job = b""
        self.namespace = ""
        self._sequences = itertools.count(STRIDE, STRIDE)
        self._functions = itertools.count(1)
        self._verdicts: dict[int, tuple[float, list[Call]]] = {}
        self._notices: dict[str, Callable[..., None]] = {
            "granted": self._granted,
            "reclaim": lambda n: self.lanes.reclaim(n, time.monotonic()),
            "infeasible": self._infeasible,
            "lost": self._lease_lost,
            "node": self._node,
        }
        self.peers = Peers(self)
        self.actors = Actors(self)
        self.reactor.on_accept = self.peers.accepted
        self._notices["actor"] = self.actors.changed
        self._notices["processes_gone"] = self.peers.processes_gone
        self._notices["named"] = self.actors.answered
        self._notices["resources"] = self.actors.answered
        self.values.localize = self.peers.localize

    # -- objects ---------------------------------------------------------------------------------------------------

    def new_id(self) -> tuple[int, ObjectId]:
        sequence = next(self._sequences)
        return sequence, object_id(self.process, sequence)

    def put(self, value: Any) -> Entry:
        """Store a value; answers its entry, ready."""
        dumped = pickled(value, "the value")
        if self.garbage:
            self.collect()  # what was dropped makes room for this one, and its file may be written over
        sequence = next(self._sequences)
        entry = self.entry_type(self.process, sequence)
        entry.value, entry.guard = self.values.keep(dumped, object_id(self.process, sequence))
        entry.ready = True
        return entry

    def get(self, refs: Sequence[Entry], timeout: float | None = None) -> list[Any]:
        """The values, in order; the first failure is raised, without waiting for the rest.

        Raises:
            GetTimeoutError: ``timeout`` seconds passed. The refs stay valid and nothing was cancelled.
        """
        __tracebackhide__ = True  # IPython shows the user's frames only
        if not all(map(_ready, refs)):
            self._await(refs, timeout)
        load = self.values.load
        return [load(value) for value in map(_value, refs)]

    def _await(self, refs: Sequence[Entry], timeout: float | None) -> None:
        __tracebackhide__ = True
        self.interrupts.install()
        deadline = None if timeout is None else time.monotonic() + timeout
        position, count, failures = 0, len(refs), -1

        def done() -> bool:
            nonlocal position, failures
            while position < count and refs[position].ready:
                position += 1
            if position == count:
                return True
            if self.failures != failures:
                failures = self.failures
                return any(entry.failed for entry in refs)
            return False

        self.peers.fetch(refs)
        if not self._block(done, deadline):
            self._check_open()
            missing = count - sum(map(_ready, refs))
            raise GetTimeoutError(
                f"{missing} of {count} objects were not ready after {timeout} s. Nothing was cancelled, the refs stay valid."
            )
        failed = next(compress(refs, map(_failed, refs)), None)
        if failed is not None:
            self.values.load(failed.value)

    def wait(
        self, refs: list[Entry], num_returns: int, timeout: float | None, fetch_local: bool
    ) -> tuple[list[Entry], list[Entry]]:
        """Up to ``num_returns`` ready refs and the others, both in the order given."""
        __tracebackhide__ = True
        flags = list(map(_ready, refs))
        if sum(flags) < num_returns:
            self.interrupts.install()
            deadline = None if timeout is None else time.monotonic() + timeout
            completions = -1

            def done() -> bool:
                nonlocal completions
                if completions == self.completions:
                    return False
                completions = self.completions
                return bool(sum(map(_ready, refs)) >= num_returns)

            if fetch_local:
                self.peers.fetch(refs)
            self._block(done, deadline)
            self._check_open()
            flags = list(map(_ready, refs))
        ready = list(compress(refs, flags))
        if len(ready) > num_returns:
            ready = ready[:num_returns]
            last = refs.index(ready[-1]) + 1
            return ready, list(compress(refs[:last], map(not_, flags))) + refs[last:]
        return ready, list(compress(refs, map(not_, flags)))

    def _block(self, done: Callable[[], bool], deadline: float | None) -> bool:
        __tracebackhide__ = True
        if self.on_block is None:
            return self.lead.run_until(done, deadline)
        grace = time.monotonic() + GRACE
        if deadline is not None and deadline <= grace:
            return self.lead.run_until(done, deadline)
        if self.lead.run_until(done, grace):
            return True
        self.on_block()
        try:
            return self.lead.run_until(done, deadline)
        finally:
            assert self.on_unblock is not None
            self.on_unblock()

    def _check_open(self) -> None:
        if self.closed:
            raise RaySystemError("nbray was shut down while this was waiting")

    def on_ready(self, entry: Entry, callback: Callable[[], None]) -> None:
        """Call ``callback()`` once the entry is ready, on some thread, without locks; at once if it is ready."""
        with self.lock:
            if not entry.ready:
                entry.when_ready(lambda _: self.deferred.append(callback))
                callback_now = False
            else:
                callback_now = True
        if callback_now:
            callback()
        else:
            self.peers.fetch((entry,))
            self.lead.ensure_background()

    def _stored(self, oid: bytes, size: int) -> None:
        self.feed.append((events.OBJECT, time.time(), oid, "stored", size, self.node))

    # -- calls -----------------------------------------------------------------------------------------------------

    def function(self, callable_: Any, name: str) -> Function:
        """Pickle a function or class for sending; each process it goes to gets it once."""
        refs: list[Any] = []
        try:
            blob = dump_function(callable_, refs)
        except Exception as error:
            raise SerializationError(explain_unpicklable(callable_, error)) from None
        sequence, oid = self.new_id()
        value, guard = self.values.keep(Dumped(blob, (), refs), oid)
        return Function(next(self._functions), name, value, guard)

    def arguments(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
        """``(payload, slots, refs, guard)``: refs among the arguments become slots, the rest is pickled."""
        if not kwargs:
            if not args:
                return b"", (), (), None
            if self.entry_type not in map(type, args):
                dumped = pickled((args, None), "the arguments")
                if not dumped.buffers and not dumped.refs and len(dumped.pickle) <= 65536:
                    return dumped.pickle, (), (), None
                return self._payload(dumped, ())
        slots: list[tuple[Any, Entry]] = []
        plain = list(args)
        for position, value in enumerate(args):
            if isinstance(value, self.entry_type):
                slots.append((position, value))
                plain[position] = None
        named = dict(kwargs)
        for name, value in kwargs.items():
            if isinstance(value, self.entry_type):
                slots.append((name, value))
                named[name] = None
        return self._payload(pickled((tuple(plain), named or None), "the arguments"), tuple(slots))

    def _payload(self, dumped: Any, slots: tuple[Any, ...]) -> tuple[Any, ...]:
        if self.garbage:
            self.collect()
        payload, guard = self.values.keep(dumped, self.new_id()[1])
        return payload, slots, tuple(dumped.refs), guard

    def submit(
        self, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any], options: Any
    ) -> list[Any]:
        """Submit a task; answers its return entries."""
        payload, slots, refs, guard = self.arguments(args, kwargs)
        sequence = next(self._sequences)
        process, entry_type, returns = self.process, self.entry_type, options.returns
        if returns == 1:
            entries: list[Any] = [entry_type(process, sequence)]
        else:
            entries = [entry_type(process, sequence + i) for i in range(returns)]
        with self.lock:
            self.check_alive()
            call = Call(
                sequence, function, payload, slots, entries, refs, guard, self.lanes.pool(options.spec),
                options.max_retries, options.retry_exceptions,
            )  # fmt: skip
            self.calls[sequence] = call
            self.feed.append(
                (events.TASK_SUBMITTED, time.time(), process, sequence, options.name or function.name, "task", b"",
                 self.parent_task(), tuple([e.id for _, e in slots]) if slots else (), returns)
            )  # fmt: skip
            if slots:
                self.depend(call)
            if not call.missing and not call.ended:
                self.lanes.submit(call)
                if self.lanes.has_effects:
                    self.carry_out()
        if self.interrupts.pending:
            self.interrupts.install()
        return entries

    def depend(self, call: Call) -> None:
        """Count the arguments that are not there; a failed one fails the call."""
        borrowed: list[Entry] = []
        for _, entry in call.slots:
            if not entry.ready:
                call.missing += 1
                entry.when_ready(partial(self._argument_ready, call))
                if entry.owner is not None:
                    borrowed.append(entry)
            elif entry.failed:
                self.fail(call, entry.value)
                return
        if borrowed:
            self.peers.fetch_locked(borrowed)

    def _argument_ready(self, call: Call, entry: Entry) -> None:
        call.missing -= 1
        if call.ended:
            return
        if entry.failed:
            self.fail(call, entry.value)
        elif not call.missing:
            if type(call.pool) is Pool:
                self.lanes.submit(call)
            else:
                call.pool.resolved(call)

    def fail(self, call: Call, value: Any) -> None:
        """The call ends with that failure. Under the lock; the caller carries out the effects."""
        if call.ended:
            return
        call.ended = True
        self.calls.pop(call.sequence, None)
        error = ""
        if call.place is None and type(call.pool) is not Pool:
            call.pool.resolved(call)  # whoever queued behind it may go
        self.feed.append(
            (events.TASK_FINISHED, time.time(), self.process, call.sequence, "failed", 0.0, 0.0, b"", error)
        )
        self.failures += 1
        self.completions += 1
        for entry in call.entries:
            self.complete(entry, value)

    def fail_with(self, call: Call, error: BaseException) -> None:
        self.fail(call, (m.ERROR, dump_error(error, call.function.name, os.getpid(), self.node.hex())))

    # -- effects ---------------------------------------------------------------------------------------------------

    def carry_out(self) -> None:
        """Do what the machines decided. Under the lock."""
        while self.lanes.has_effects or self.actors.effects:
            for effect in self.lanes.take_effects():
                what = effect[0]
                if what == lane_effects.SEND:
                    lane = effect[1]
                    self.send_calls(lane.peer, lane.known, effect[2])
                elif what == lane_effects.WANT:
                    self.send_up(("want", effect[1], effect[2], self.current_lease()))
                elif what == lane_effects.GIVE:
                    self._give(effect[1])
                elif what == lane_effects.RECALL:
                    effect[1].peer.send((m.RECALL, effect[2]))
                else:
                    self._crashed(effect[1], effect[2])
            self.actors.carry_out()

    def send_calls(self, peer: Connection, known: set[int], calls: list[Call]) -> None:
        """Send calls to an executor, its functions first."""
        now = time.time()
        context = peer.context
        receiver = context.process
        batch = []
        append = self.feed.append
        for call in calls:
            function = call.function
            number = function.number
            if number not in known:
                known.add(number)
                if type(number) is int:
                    blob = function.blob
                    if function.refs is not None and function.refs.contained:
                        blob = with_refs(blob, self.export(function.refs.contained, receiver))
                    peer.send((m.FUNCTION, number, blob, function.name))
            payload = call.payload
            if call.refs:
                payload = with_refs(payload, self.export(call.refs, receiver))
            slots: Any = ()
            if call.slots:
                slots = [(key, self.export_value(entry, receiver)) for key, entry in call.slots]
            batch.append((call.sequence, number, payload, slots, len(call.entries)))
            append((events.TASK_DISPATCHED, now, self.process, call.sequence, receiver, call.attempt))
        peer.send((m.CALLS, batch))

    def export(self, entries: Sequence[Entry], receiver: bytes) -> tuple[Any, ...]:
        """Wire refs for ``receiver``; holds of our own entries are counted. See "Holds" in core/DESIGN.md."""
        refs: list[tuple[Any, ...]] = []
        for entry in entries:
            oid = entry.id
            self.canonical[oid] = entry
            value = entry.value
            if type(value) is bytes and len(value) <= 4096:
                refs.append((oid, tuple(entry.owner or self.address), value, False))
            elif entry.owner is None:
                self.holds.add(entry, receiver)
                refs.append((oid, tuple(self.address), None, True))
            else:
                refs.append((oid, tuple(entry.owner), None, False))
        return tuple(refs)

    def export_value(self, entry: Entry, receiver: bytes) -> WireValue:
        """A ready entry's value for ``receiver``."""
        value = entry.value
        assert value is not None
        inside = contained(entry)
        return with_refs(value, self.export(inside, receiver)) if inside else value

    def import_value(self, value: WireValue, *, own: bool) -> tuple[WireValue, Guard | None]:
        """A value that came: its refs become entries in the guard.

        Args:
            own: it is the value of an object that this process owns, whose segment it has to remove.
        """
        if type(value) is bytes:
            return value, None
        refs = refs_in(value)
        owned = own and value[0] == m.SHARED
        if not refs and not owned:
            return value, None
        guard = Guard()
        if refs:
            guard.contained = tuple([self.peers.received(ref) for ref in refs])
            value = with_refs(value, ())
        if owned:
            guard.segment = self.values.segment(value)
        return value, guard

    # -- results ---------------------------------------------------------------------------------------------------

    def result(self, connection: Connection, message: Message) -> None:
        """RESULT: a call is answered."""
        _, sequence, status, values, duration, started = message
        context = connection.context
        if context is None:
            return
        if type(context.machine) is Lane:
            call = self.lanes.finished(context.machine, sequence, duration, time.monotonic())
        else:
            call = context.machine.finished(sequence, duration, connection)
        if call is None or call.ended:
            self._discard(values)
        elif status == m.OK:
            call.ended = True
            del self.calls[sequence]
            self.completions += 1
            self.feed.append(
                (events.TASK_FINISHED, time.time(), self.process, sequence, "done", started, duration * 1e-6,
                 context.process, "")
            )  # fmt: skip
            for entry, value in zip(call.entries, values, strict=True):
                if type(value) is bytes:
                    self.complete(entry, value)
                else:
                    value, guard = self.import_value(value, own=True)
                    self.complete(entry, value, guard)
        else:
            self._raised(call, context, values[0], duration, started)
        if self.lanes.has_effects or self.actors.effects:
            self.carry_out()

    def _raised(self, call: Call, context: Any, value: Any, duration: float, started: float) -> None:
        wanted = call.retry_exceptions
        retry = bool(wanted) and call.retries != 0 and (wanted is True or self._is_one_of(value, wanted))
        self.feed.append(
            (events.TASK_FINISHED, time.time(), self.process, call.sequence, "retried" if retry else "failed", started,
             duration * 1e-6, context.process, "")
        )  # fmt: skip
        if retry and call.charge():
            if type(context.machine) is Lane:
                self.lanes.again(call)
            else:
                context.machine.again(call)
            return
        call.ended = True
        self.calls.pop(call.sequence, None)
        self.failures += 1
        self.completions += 1
        for entry in call.entries:
            self.complete(entry, value)

    @staticmethod
    def _is_one_of(value: Any, wanted: tuple[type, ...]) -> bool:
        error = load_error(value[1])
        return isinstance(error, tuple(wanted)) or isinstance(getattr(error, "cause", None), tuple(wanted))

    def _discard(self, values: Sequence[WireValue]) -> None:
        """Values that nobody waits for: importing and dropping them gives back holds and files."""
        for value in values:
            self.import_value(value, own=True)

    # -- lanes: what placement and connections say -----------------------------------------------------------------

    def notice(self, message: Message) -> None:
        """A message from placement, on any thread."""
        with self.lock:
            if self.closed:
                return
            self.notice_locked(message)
        # Whoever polls has to look at what changed, and to send what was gathered.
        self.reactor.wake()

    def notice_locked(self, message: Message) -> None:
        handler = self._notices.get(message[0])
        if handler is not None:
            handler(*message[1:])
            self.carry_out()

    def _granted(self, lease: int, spec: Spec, address: Any) -> None:
        address = Address(*address)
        try:
            connection = self.reactor.connect(address)
        except OSError:  # out of descriptors: somebody else may have the lease
            self.send_up(("give", lease))
            return
        connection.on_message = self.peers.message
        connection.on_close = self._lane_closed
        connection.on_open = partial(self.process_up, "lane")
        connection.send((m.ATTACH, lease, self.job, self.namespace))
        target = Target(address.process, None)
        connection.context = target
        # granted() already sends: the lane has to know its connection, the connection its lane.
        lane = self.lanes.granted(lease, spec, connection, time.monotonic())
        target.machine = lane
        self.lane_of[lease] = lane

    def _lane_closed(self, connection: Connection, error: BaseException | None) -> None:
        lane = connection.context.machine
        self.process_down("lane", connection, error or "ended")
        self.peers.process_gone(connection.context.process)
        if not lane.gone:
            # Placement hears of the executor's end from its node, with the reason. Giving the lease back now would lose that.
            self._verdicts.setdefault(lane.lease, (time.monotonic() + VERDICT, []))
            self.lanes.lost(lane, charge=connection.opened)
            self.carry_out()
        self.lane_of.pop(lane.lease, None)

    def process_up(self, role: str, connection: Connection) -> None:
        peer = connection.peer
        assert peer is not None
        self.feed.append(
            (events.PROCESS, time.time(), peer.process, "up", role, connection.pid, peer.node, "")
        )

    def process_down(self, role: str, connection: Connection, why: object = None) -> None:
        peer = connection.peer
        if peer is not None:
            reason = "given back" if why is None else str(why)
            self.feed.append(
                (events.PROCESS, time.time(), peer.process, "down", role, connection.pid, peer.node, reason)
            )

    def _give(self, lane: Lane) -> None:
        self.process_down("lane", lane.peer)
        self.lane_of.pop(lane.lease, None)
        self.peers.process_gone(lane.peer.context.process, alive=True)
        lane.peer.close()
        self.send_up(("give", lane.lease))

    def _crashed(self, call: Call, lane: Lane) -> None:
        """Out of retries. Placement will say how the executor ended."""
        _, calls = self._verdicts.setdefault(lane.lease, (time.monotonic() + VERDICT, []))
        calls.append(call)

    def _lease_lost(self, lease: int, reason: Any) -> None:
        lane = self.lane_of.pop(lease, None)
        if lane is not None and not lane.gone:
            self.lanes.ending(lane)
            lane.peer.drain()  # what it had answered may lie unread in the socket
            lane.peer.close()
            self.peers.process_gone(lane.peer.context.process)
            self.lanes.lost(lane, charge=lane.peer.opened)
            self.carry_out()
        verdict = self._verdicts.pop(lease, None)
        if verdict is not None:
            for call in verdict[1]:
                self.fail_with(call, crash_error(call.function.name, reason))

    def _infeasible(self, spec: Spec, text: str) -> None:
        for call in self.lanes.infeasible(spec):
            self.fail_with(call, TaskUnschedulableError(f"{call.function.name} can never run: {text}"))

    def _node(self, node: bytes, state: str, resources: Any, address: Any) -> None:
        if state == "down":
            self.dead_nodes.add(node)
        self.feed.append((events.NODE, time.time(), node, state, dict(resources)))

    # -- housekeeping ----------------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Send what was held back, give back what was dropped, run put-off callbacks. No lock held."""
        if self.actors.unsent:
            with self.lock:
                self.actors.flush()
        if self.garbage:
            self.collect()
        if self.on_flush is not None:
            self.on_flush()
        while self.deferred:
            try:
                callback = self.deferred.popleft()
            except IndexError:
                return
            callback()

    def collect(self) -> None:
        """Give back what was dropped."""
        with self.lock:
            if not self.closed:
                self.peers.collect()
                self.carry_out()

    def tick(self) -> None:
        """Once a second or so."""
        now = time.monotonic()
        with self.lock:
            if self.closed:
                return
            self.lanes.tick(now)
            self.actors.tick(now)
            for lease in [lease for lease, (until, _) in self._verdicts.items() if until < now]:
                for call in self._verdicts.pop(lease)[1]:
                    self.fail_with(call, crash_error(call.function.name, None))
                self.send_up(("give", lease))  # only the connection broke
            self.carry_out()
        if self.on_flush is not None:
            self.on_flush()
        self.values.tick()
        self.feed.trim()

    def check_alive(self) -> None:
        """Refuse what could never be answered."""
        if self.closed:
            raise RaySystemError("nbray was shut down; init() starts it again")
        if self.abandoned:
            raise RaySystemError(f"{self.abandoned}; init() starts or attaches anew")

    def abandon(self, why: str) -> None:
        """Placement is gone for good: whatever waits for it fails, nothing new is taken."""
        with self.lock:
            if self.closed or self.abandoned:
                return
            self.abandoned = why
            for call in list(self.calls.values()):
                self.fail_with(call, RaySystemError(why))
        self.reactor.wake()

    def close(self) -> None:
        """End: whatever waits gets an error, sockets close. Idempotent."""
        with self.lock:
            if self.closed:
                return
            self.closed = True
            gone = RaySystemError("nbray was shut down before this was done")
            for call in list(self.calls.values()):
                self.fail_with(call, gone)
            for entry in list(self.canonical.values()):
                if not entry.ready and entry.owner is not None:
                    self.failures += 1
                    self.complete(entry, (m.ERROR, dump_error(gone, "get", os.getpid(), self.node.hex())))
        self.lead.close()
        self.flush_deferred()
        self.reactor.close()
        self.values.close()
        self.interrupts.uninstall()

    def flush_deferred(self) -> None:
        while self.deferred:
            self.deferred.popleft()()


def crash_error(name: str, reason: Any) -> RayError:
    """How an executor's end reads to the caller of what it ran."""
    if reason is None:
        return WorkerCrashedError(f"The executor that ran {name} died; its node did not say how.")
    kind, text, pid, code, tail = reason
    how = {
        "signal": f"was ended by signal {text}",
        "exit": f"ended with exit code {code} in the middle of the call",
        "node": "was lost with its node",
        "killed": f"was killed: {text}",
    }.get(kind, str(text))
    message = f"The executor that ran {name} (pid={pid}) {how}."
    if tail:
        message += f"\nThe end of its stderr:\n{tail}"
    return WorkerCrashedError(message)
