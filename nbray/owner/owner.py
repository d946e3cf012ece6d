"""The owner: knows the objects that its process created, and keeps what others still refer to.

Everything that changes state happens under ``lock``; what user code must see (callbacks) is put off until it is free. The pure
machines of ``core/`` decide, the shells around this file carry out: ``calls.py`` (what tasks and methods have in common),
``tasks.py`` (lanes), ``actors.py``, and ``peers.py`` (what other processes ask for).
"""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import cached_property
from itertools import compress, filterfalse, islice
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakValueDictionary

from nbray import events
from nbray.channel.connection import Connection
from nbray.channel.interrupts import DeferringLock, Interrupts
from nbray.channel.leader import Leadership
from nbray.channel.reactor import Reactor
from nbray.core import messages as m
from nbray.core.digest import Digest
from nbray.core.ids import (
    FIRST_STREAM,
    STREAM_STRIDE,
    STRIDE,
    Address,
    ObjectId,
    ProcessId,
    object_id,
    sequence_of,
)
from nbray.core.lineage import place_of, put_value
from nbray.core.messages import Message, WireValue
from nbray.core.ownership import Completer, Entry, Holds, refs_in, with_refs
from nbray.exceptions import (
    GetTimeoutError,
    ObjectLostError,
    RaySystemError,
)
from nbray.owner.actors import Actors
from nbray.owner.calls import Calls
from nbray.owner.cancelling import Cancelling
from nbray.owner.console import NOBODY, Author, Console
from nbray.owner.guards import Garbage, Guard
from nbray.owner.inheritance import Inheritance
from nbray.owner.lineage import Lineages
from nbray.owner.origin import cause
from nbray.owner.peers import Peers
from nbray.owner.reloads import Stamps
from nbray.owner.replicas import Replicas
from nbray.owner.streams import Streams
from nbray.owner.tasks import Tasks
from nbray.owner.values import Values, contained, pickled
from nbray.wire.errors import dump_error

if TYPE_CHECKING:
    from nbray.core.explaining import Activity
    from nbray.owner.inquiry import Inquiry

_ready = attrgetter("ready")
_failed = attrgetter("failed")
_value = attrgetter("value")

#: Seconds a blocked ``get`` of a task waits before it lends its slot.
GRACE = 0.002
#: Seconds after which a driver's ``get`` or ``wait`` is a long one.
LONG = 2.0


class Watch(Protocol):
    """Looks after one long wait."""

    def look(self) -> float:
        """Called on the waiting thread, without locks; answers the seconds until the next look."""

    def close(self, how: str) -> None:
        """It is over: "done", "interrupted", "timed out" or "ended" (with the session)."""


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
        self.holds = Holds()
        self.complete = Completer()
        self.canonical: WeakValueDictionary[bytes, Entry] = WeakValueDictionary()
        self.failures = 0
        self.completions = 0
        self.deferred: deque[Callable[[], None]] = deque()
        self.console = Console(node)
        self._digest = Digest()
        self.closed = False
        self._said_what_runs_on = False
        #: The interpreter ends: Python runs our last handler, and only daemon threads are left beside it.
        self.exiting = False
        self.abandoned = ""
        #: Of what the calling thread submits: the id of the task that does it, b"" for the driver, and the notebook cell.
        self.cause: Callable[[], tuple[bytes, str]] = cause.get
        self.current_name: Callable[[], str] = lambda: ""
        #: What this process does, if it runs calls. Called under the lock.
        self.activity: Callable[[], Activity | None] = lambda: None
        #: Modules that were edited and loaded again; see ``reloads.py``.
        self.reloads: Callable[[], Stamps] = tuple
        self.current_lease: Callable[[], int | None] = lambda: None
        #: Called when the user code of a task or actor waits for longer than a moment: for which entries, until when.
        self.on_block: Callable[[Sequence[Entry], float | None], None] | None = None
        self.on_unblock: Callable[[], None] | None = None
        #: In a driver: called when a ``get`` or ``wait`` has taken ``LONG`` seconds; answers who looks after it from there on.
        self.on_long: Callable[[Sequence[Entry], int], Watch] | None = None
        #: Called before every poll and every second: what an executor has to pass on.
        self.on_flush: Callable[[], None] | None = None
        #: Takes reports of bars. Called under the lock.
        self.reported: Callable[[list[Any]], None] = _unheard
        #: Called after each ``wait`` with its refs and how many are ready, until it answers False.
        self.after_wait: Callable[[Sequence[Entry], int], bool] | None = None
        self.dead_nodes: set[bytes] = set()
        # Of the driver for which this process works; an executor learns them from who attaches to it.
        self.job = b""
        self.namespace = ""
        self.lineages = Lineages(self)
        self.sequences = itertools.count(STRIDE, STRIDE)
        self.stream_sequences = itertools.count(FIRST_STREAM, STREAM_STRIDE)
        self.inheritance = Inheritance(self)
        self.replicas = Replicas(self)
        self.calls = Calls(self)
        self.cancelling = Cancelling(self)
        self.tasks = Tasks(self)
        self.actors = Actors(self)
        self.streams = Streams(self)
        self.peers = Peers(self)
        self.reactor.on_accept = self.peers.accepted
        self._notices: dict[str, Callable[..., None]] = {
            "granted": self.tasks.granted,
            "reclaim": self.tasks.reclaim,
            "infeasible": self.tasks.infeasible,
            "full": self.tasks.full,
            "unmet": self.tasks.unmet,
            "lost": self.tasks.lease_lost,
            "actor": self.actors.changed,
            "processes_gone": self.peers.processes_gone,
            "named": self.actors.answered,
            "resources": self.actors.answered,
            "output": self._printed_last,
            "actors": self.actors.answered,
            "supply": self.actors.answered,
            "resized": self.actors.answered,
            "node": self._node,
            "sampled": self._sampled,
        }
        self.values.localize = self.peers.localize

    @cached_property
    def inquiry(self) -> Inquiry:
        """For who wants to know why something is not there. Most programs never do, and save the import."""
        from nbray.owner.inquiry import Inquiry

        return Inquiry(self)

    # -- objects ---------------------------------------------------------------------------------------------------

    def new_id(self) -> tuple[int, ObjectId]:
        sequence = next(self.sequences)
        return sequence, object_id(self.process, sequence)

    def put(self, value: Any, replicas: int = 1) -> Entry:
        """Store a value, on so many nodes; answers its entry, ready."""
        dumped = pickled(value, "the value")
        large = replicas > 1  # then it goes into a file in any case, of which there can be copies
        sequence = next(self.sequences)
        entry = self.entry_type(self.process, sequence)
        if not self.garbage:
            entry.value, entry.guard = self.values.keep(
                dumped, object_id(self.process, sequence), "put", large=large
            )
        else:
            try:
                self.collect(spare=True)  # what was dropped makes room for this one, or is written over by it
                entry.value, entry.guard = self.values.keep(
                    dumped, object_id(self.process, sequence), "put", large=large
                )
            finally:
                self.values.store.drop_spared()
        if place_of(entry.value) is not None:
            entry.value = put_value(entry.value)
            if replicas > 1:
                self.replicas.make(entry, replicas)
        entry.ready = True
        return entry

    def get(self, refs: Sequence[Entry], timeout: float | None = None) -> list[Any]:
        """The values, in order; the first failure is raised, without waiting for the rest.

        Raises:
            GetTimeoutError: ``timeout`` seconds passed. The refs stay valid and nothing was cancelled.
        """
        __tracebackhide__ = True  # IPython shows the user's frames only
        deadline = None if timeout is None else time.monotonic() + timeout
        load = self.values.load
        while True:
            if not all(map(_ready, refs)):
                self._await(refs, timeout, deadline)
            if self.console.queue:  # another thread may have taken in the result, and what came before it
                self.console.write_out()
            try:
                return [load(value) for value in map(_value, refs)]
            except ObjectLostError as error:
                if not self.lineages.recover(refs, error):
                    raise

    def _await(self, refs: Sequence[Entry], timeout: float | None, deadline: float | None) -> None:
        __tracebackhide__ = True
        self.interrupts.install()
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
        if not self.wait_for(done, deadline, refs, count):
            self.check_open()
            missing = count - sum(map(_ready, refs))
            raise GetTimeoutError(
                f"{missing} of {count} objects were not ready after {timeout} s. Nothing was cancelled, the refs stay valid."
            )
        failed = next(compress(refs, map(_failed, refs)), None)
        if failed is not None:
            self.console.write_out()
            self.values.load(failed.value)

    def wait(
        self, refs: list[Entry], num_returns: int, timeout: float | None
    ) -> tuple[list[Entry], list[Entry]]:
        """Up to ``num_returns`` ready refs and the others, both in the order given."""
        __tracebackhide__ = True
        ready = _first_ready(refs, num_returns)
        if len(ready) < num_returns:
            self.interrupts.install()
            deadline = None if timeout is None else time.monotonic() + timeout
            completions = -1

            def done() -> bool:
                nonlocal completions
                if completions == self.completions:
                    return False
                completions = self.completions
                return bool(sum(map(_ready, refs)) >= num_returns)

            self.peers.fetch(refs)  # the value, or where it is; large bytes come with the get
            self.wait_for(done, deadline, refs, num_returns)
            self.check_open()
            ready = _first_ready(refs, num_returns)
        if self.console.queue:
            self.console.write_out()
        if self.after_wait is not None and not self.after_wait(refs, len(ready)):
            self.after_wait = None
        if len(ready) < num_returns:
            last = len(refs)
        else:
            last = refs.index(ready[-1]) + 1
            if last == num_returns:
                return ready, refs[last:]
        # More may have become ready meanwhile; what is not among ``ready`` is among the others.
        return ready, list(filterfalse(set(ready).__contains__, refs[:last])) + refs[last:]

    def block(
        self, done: Callable[[], bool], deadline: float | None, awaited: Sequence[Entry], needed: int
    ) -> bool:
        """Serve the sockets until ``done()``, or the deadline. A task lends its CPU if that takes longer than a moment.

        Args:
            awaited: what it waits for, and how many of them are ``needed``: for those who ask.
        """
        __tracebackhide__ = True
        if self.on_block is None:
            long = time.monotonic() + LONG
            if self.on_long is None or (deadline is not None and deadline <= long):
                return self.lead.run_until(done, deadline)
            return self.lead.run_until(done, long) or self._watched(done, deadline, awaited, needed)
        grace = time.monotonic() + GRACE
        if deadline is not None and deadline <= grace:
            return self.lead.run_until(done, deadline)
        if self.lead.run_until(done, grace):
            return True
        try:
            self.on_block(awaited, deadline)
            return self.lead.run_until(done, deadline)
        finally:
            assert self.on_unblock is not None
            self.on_unblock()

    def _watched(
        self, done: Callable[[], bool], deadline: float | None, awaited: Sequence[Entry], needed: int
    ) -> bool:
        """It takes long. Somebody may want to show how far it is; he does it on this thread, between two looks at the sockets."""
        __tracebackhide__ = True
        if self.closed or self.on_long is None:
            return done()
        watch = self.on_long(awaited, needed)
        how = "interrupted"
        try:
            while True:
                with self.interrupts.put_off():  # half a bar is none
                    until = time.monotonic() + watch.look()
                if deadline is not None and deadline < until:
                    until = deadline
                if self.lead.run_until(done, until):
                    how = "done"
                    return True
                if self.closed or time.monotonic() < until or until == deadline:
                    how = "timed out" if until == deadline else "ended"
                    return False
        finally:
            with self.interrupts.put_off():
                watch.close(how)

    def wait_for(
        self, done: Callable[[], bool], deadline: float | None, awaited: Sequence[Entry], needed: int
    ) -> bool:
        """``block``, from which at the interpreter's end no thread returns that would only tell of it."""
        __tracebackhide__ = True
        try:
            return self.block(done, deadline, awaited, needed)
        except KeyboardInterrupt as interrupt:
            self._say_what_runs_on(interrupt)
            raise
        finally:
            if self.exiting:
                stop_if_daemon()

    def _say_what_runs_on(self, interrupt: KeyboardInterrupt) -> None:
        """Ctrl-C ends the wait and not the work. Said once a session, to the driver."""
        if self.on_block is None and not self._said_what_runs_on:
            self._said_what_runs_on = True
            interrupt.add_note("The tasks run on. nbray.cancel(ref) ends the one that makes a ref's value.")

    def check_open(self) -> None:
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

    def _stored(self, oid: bytes, size: int, on_disk: bool, made: str) -> None:
        state = "spilled" if on_disk else "stored"
        self.feed.append((events.OBJECT, time.time(), oid, state, size, self.node, made, self.current_name()))

    # -- calls -----------------------------------------------------------------------------------------------------

    # -- effects ---------------------------------------------------------------------------------------------------

    def carry_out(self) -> None:
        """Do what the machines decided. Under the lock."""
        lanes, actors = self.tasks.lanes, self.actors
        while lanes.has_effects or actors.effects:
            self.tasks.carry_out()
            actors.carry_out()

    def export(self, entries: Sequence[Entry], receiver: bytes) -> tuple[Any, ...]:
        """Wire refs for ``receiver``; holds of our own entries are counted. See "Holds" in core/DESIGN.md."""
        refs: list[tuple[Any, ...]] = []
        for entry in entries:
            oid = entry.id
            self.canonical[oid] = entry
            value = entry.value
            if type(value) is bytes and len(value) <= 4096:
                refs.append((oid, tuple(entry.owner or self.address), value, False))
            else:
                # Where a large value lies travels with the ref, so it can be read when its owner is gone.
                place = value if place_of(value) is not None and not contained(entry) else None
                if entry.owner is None:
                    self.holds.add(entry, receiver)
                    refs.append((oid, tuple(self.address), place, True))
                else:
                    refs.append((oid, tuple(entry.owner), place, False))
        return tuple(refs)

    def export_value(self, entry: Entry, receiver: bytes) -> WireValue:
        """A ready entry's value for ``receiver``."""
        value = entry.value
        assert value is not None
        if type(value) is tuple and value[0] == m.SHARED:
            self.canonical[entry.id] = entry  # who copies it to another node tells us
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
        if value[0] == m.ERROR:
            # A failure passes from entry to entry, to all that depend on the first, and what it contains goes with it.
            return with_refs(value, self.peers.received_all(refs)), None
        guard = Guard()
        if refs:
            guard.contained = self.peers.received_all(refs)
            value = with_refs(value, ())
        if owned:
            guard.segment = self.values.segment(value)
            sequence = sequence_of(guard.segment.object_id)
            if self.holds.entry(sequence) is not None:  # who has it had what was not known to be large
                self.holds.changed.add(sequence)
        return value, guard

    # -- results ---------------------------------------------------------------------------------------------------

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
            if why is not None:
                self.console.gone(connection.pid, peer.node, self._author(connection))
            self.feed.append(
                (events.PROCESS, time.time(), peer.process, "down", role, connection.pid, peer.node, reason)
            )

    def _node(self, node: bytes, state: str, resources: Any, address: Any) -> None:
        if state == "down":
            self.dead_nodes.add(node)
        have = {name: n / m.RESOURCE_UNIT for name, n in resources}
        host = address[3].rpartition(":")[0] if address else ""
        self.feed.append((events.NODE, time.time(), node, state, have, host))

    def _sampled(self, node: bytes, figures: Sequence[Any], used: Sequence[Any]) -> None:
        leased = {name: n / m.RESOURCE_UNIT for name, n in used if n}
        self.feed.append((events.NODE_SAMPLED, time.time(), node, *figures, leased))

    def watch(self, kind: int) -> None:
        """Somebody reads events that are made for readers only. On any thread."""
        if kind == events.NODE_SAMPLED and not self.closed and not self.abandoned:
            self.send_up(("watch_nodes", events.WATCHED))

    def _printed_last(self, pid: int, node: bytes, rest: Sequence[tuple[int, int, int, bytes]]) -> None:
        """A dead executor's output, as far as it may not have come: after what lies unread in the socket."""
        author = None
        for peer in [*self.tasks.peers(), *self.actors.peers()]:
            if peer.pid == pid and peer.peer is not None and peer.peer.node == node:
                peer.drain()
                author = self._author(peer)
        author = author or self.console.last_of(pid, node)
        for stream, start, missing, data in rest:
            self.console.add_rest(stream, start, missing, data, pid, node, author)

    def _author(self, peer: Connection) -> Author:
        """Who prints in an executor of ours: the call that runs there, or the last one that was sent."""
        target = peer.context
        call = target.machine.running
        name, origin, sequence = (
            target.last if call is None else (call.function.name, call.origin, call.sequence)
        )
        task = object_id(self.process, sequence) if sequence else b""
        return (target.machine.name or name or NOBODY[0], origin, task, target.process)

    def _heard(self, author: Author, stream: int, text: str, pid: int, node: bytes) -> None:
        """The driver's console: what is printed goes into the feed."""
        taken = self._digest.take(text, time.monotonic()) if stream < 3 else None
        if taken is not None:
            name, origin, task, process = author
            self.feed.append_text(
                (events.PRINTED, time.time(), origin, task, name, stream, taken, process, pid, node)
            )

    def listen(self) -> None:
        """This is a driver: what is printed ends here."""
        self.console.heard = self._heard

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
        if self.console.queue:
            self.console.write_out()
        while self.deferred:
            try:
                callback = self.deferred.popleft()
            except IndexError:
                return
            callback()

    def collect(self, *, spare: bool = False) -> None:
        """Give back what was dropped.

        Args:
            spare: a file for the object that the caller writes next, see ``Store.spare``.
        """
        with self.lock:
            if not self.closed:
                self.peers.collect(spare)
                self.carry_out()

    def tick(self) -> None:
        """Once a second or so."""
        now = time.monotonic()
        with self.lock:
            if self.closed:
                return
            self.cancelling.tick(now)
            self.tasks.tick(now)
            self.actors.tick(now)
            self.peers.tick()
            if self.holds.changed:
                self._tell_holders()
            self.carry_out()
        if self.on_flush is not None:
            self.on_flush()
        self.feed.trim()

    def _tell_holders(self) -> None:
        """Once a second, and of large objects only: who else has them."""
        now, large = time.time(), self.values.segments
        changed, self.holds.changed = self.holds.changed, set()
        for sequence in changed:
            oid = object_id(self.process, sequence)
            if oid in large:
                self.feed.append((events.OBJECT_HELD, now, oid, tuple(self.holds.holders(sequence))))

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
            for call in list(self.calls.under_way.values()):
                self.calls.fail_with(call, RaySystemError(why))
        self.reactor.wake()

    def close(self) -> None:
        """End: whatever waits gets an error, sockets close. Idempotent."""
        with self.lock:
            if self.closed:
                return
            self.closed = True
            gone = RaySystemError("nbray was shut down before this was done")
            for call in list(self.calls.under_way.values()):
                self.calls.fail_with(call, gone)
            for entry in list(self.canonical.values()):
                if not entry.ready and entry.owner is not None:
                    self.failures += 1
                    self.complete(entry, (m.ERROR, dump_error(gone, "get", os.getpid(), self.node.hex())))
        self.lead.close()
        self.console.write_out()
        self.flush_deferred()
        self.reactor.close()
        self.values.close()
        self.interrupts.uninstall()

    def flush_deferred(self) -> None:
        while self.deferred:
            self.deferred.popleft()()


def _first_ready(refs: list[Entry], most: int) -> list[Entry]:
    return list(islice(compress(refs, map(_ready, refs)), most))


def _unheard(reports: list[Any]) -> None:
    """Nobody shows bars here."""


def stop_if_daemon() -> None:
    """At the interpreter's end: a daemon thread goes no further, as if it had been ended, instead of printing that it was."""
    if threading.current_thread() is not threading.main_thread():
        threading.Event().wait()
