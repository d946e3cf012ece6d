"""The owner: knows the objects that its process created, and keeps what others still refer to.

Everything that changes state happens under ``lock``; what user code must see (callbacks) is put off until it is free. The pure
machines of ``core/`` decide, the shells around this file carry out: ``calls.py`` (what tasks and methods have in common),
``tasks.py`` (lanes), ``actors.py``, ``waiting.py`` (``get`` and ``wait``), and ``peers.py`` (the other processes), with what
passes between those: refs and values (``passing.py``, ``borrowing.py``), holds (``holding.py``), large objects (``copies.py``).
"""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Callable
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from nbray import events
from nbray.channel.interrupts import DeferringLock, Interrupts
from nbray.channel.leader import Leadership
from nbray.channel.reactor import Reactor
from nbray.core.ids import (
    FIRST_STREAM,
    STREAM_STRIDE,
    STRIDE,
    Address,
    ObjectId,
    ProcessId,
    object_id,
    owner_of,
    sequence_of,
)
from nbray.core.lineage import place_of, put_value
from nbray.core.messages import RELEASE, Message, Spec
from nbray.core.ownership import Completer, Entry, Holds
from nbray.exceptions import RaySystemError
from nbray.owner.actors import Actors
from nbray.owner.borrowing import Borrowing
from nbray.owner.calls import Calls
from nbray.owner.cancelling import Cancelling
from nbray.owner.chronicle import Chronicle
from nbray.owner.console import Console
from nbray.owner.copies import Copies
from nbray.owner.creating import Creating
from nbray.owner.guards import DROP_FAILURE, DROP_HOLD, DROP_SEGMENT, DROP_STREAM, Garbage
from nbray.owner.holding import Holding
from nbray.owner.inheritance import Inheritance
from nbray.owner.lineage import Lineages
from nbray.owner.origin import cause
from nbray.owner.passing import Passing
from nbray.owner.peers import Peers
from nbray.owner.questions import Questions
from nbray.owner.reloads import Stamps
from nbray.owner.replicas import Replicas
from nbray.owner.streams import Streams
from nbray.owner.tasks import Tasks
from nbray.owner.unasked import Unasked
from nbray.owner.values import Values, pickled
from nbray.owner.waiting import Waiting

if TYPE_CHECKING:
    from nbray.core.explaining import Activity
    from nbray.owner.inquiry import Inquiry


@lru_cache(maxsize=256)
def in_environment(spec: Spec, environment: tuple[tuple[str, str], ...]) -> Spec:
    """The spec with the variables that it does not have itself."""
    resources, own, where = spec
    return resources, tuple(sorted({**dict(environment), **dict(own)}.items())), where


class Owner:
    """
    Args:
        process: this process' id. node: its node's id.
        entry_type: makes entries; the public ``ObjectRef``.
        socket_path: where to listen within the node. tcp_host: where to listen for other nodes, "" for not at all.
        serve: the address from which other nodes pull large objects of this node; None: this process.
        environment: sorted (variable, value) pairs that all it submits gets, unless its own options say otherwise.
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
        environment: tuple[tuple[str, str], ...] = (),
    ) -> None:
        self.process = process
        self.node = node
        self.entry_type = entry_type
        self.send_up = send_up
        self._environment = environment
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
        self.chronicle = Chronicle(self)
        self.values = Values(node, store_dir, serve or self.address, self.garbage, self.chronicle.stored)
        self.holds = Holds()
        self.complete = Completer()
        self.canonical: WeakValueDictionary[bytes, Entry] = WeakValueDictionary()
        self.failures = 0
        self.completions = 0
        self.deferred: deque[Callable[[], None]] = deque()
        self.console = Console(node)
        self.closed = False
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
        #: Called before every poll and every second: what an executor has to pass on.
        self.on_flush: Callable[[], None] | None = None
        #: Takes reports of bars. Called under the lock.
        self.reported: Callable[[list[Any]], None] = _unheard
        self.dead_nodes: set[bytes] = set()
        # Of the driver for which this process works; an executor learns them from who attaches to it.
        self.job = b""
        self.namespace = ""
        self.lineages = Lineages(self)
        self.sequences = itertools.count(STRIDE, STRIDE)
        self.stream_sequences = itertools.count(FIRST_STREAM, STREAM_STRIDE)
        self.inheritance = Inheritance(self)
        self.replicas = Replicas(self)
        self.unasked = Unasked(self)
        self.calls = Calls(self)
        self.cancelling = Cancelling(self)
        self.tasks = Tasks(self)
        self.questions = Questions(self)
        self.actors = Actors(self)
        self.creating = Creating(self)
        self.streams = Streams(self)
        self.waiting = Waiting(self)
        self.passing = Passing(self)
        self.borrowing = Borrowing(self)
        self.holding = Holding(self)
        self.copies = Copies(self)
        self.values.localize = self.copies.localize
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
            "named": self.questions.answered,
            "resources": self.questions.answered,
            "output": self.chronicle.printed_last,
            "actors": self.questions.answered,
            "supply": self.questions.answered,
            "resized": self.questions.answered,
            "node": self.chronicle.node,
            "sampled": self.chronicle.sampled,
        }

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

    def own(self, oid: bytes) -> Entry | None:
        """The entry of an object of this process that somebody else speaks of; None if it is gone, or another's."""
        if owner_of(oid) != self.process:
            return None
        return self.holds.entry(sequence_of(oid)) or self.canonical.get(oid)

    def fail(self, entry: Entry, error: BaseException) -> None:
        """That error is what the entry comes to. Under the lock."""
        self.failures += 1
        self.completions += 1
        self.complete(entry, self.values.failure(error))

    # -- effects ---------------------------------------------------------------------------------------------------

    def carry_out(self) -> None:
        """Do what the machines decided. Under the lock."""
        lanes, actors = self.tasks.lanes, self.actors
        while lanes.has_effects or actors.effects:
            self.tasks.carry_out()
            actors.carry_out()

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
                self._collect(spare)
                self.carry_out()

    def _collect(self, spare: bool) -> None:
        garbage = self.garbage
        releases: dict[bytes, tuple[Address, list[tuple[bytes, int]]]] = {}
        while garbage:
            item = garbage.popleft()
            if item[0] == DROP_SEGMENT:
                self.copies.drop(*item[1:], spare=spare)
            elif item[0] == DROP_HOLD:
                _, oid, address, n = item
                self.actors.handle_dropped(oid)
                releases.setdefault(address.process, (address, []))[1].append((oid, n))
            elif item[0] == DROP_STREAM:
                self.streams.close(item[1])
            elif item[0] == DROP_FAILURE:
                self.unasked.tell(*item[1:])
            else:
                self.actors.dropped(item[1])
        for address, pairs in releases.values():
            self.peers.tell(address, (RELEASE, pairs))

    def tick(self) -> None:
        """Once a second or so."""
        now = time.monotonic()
        with self.lock:
            if self.closed:
                return
            self.cancelling.tick(now)
            self.tasks.tick(now)
            self.actors.tick(now)
            self.holding.tick()
            self.peers.tick()
            if self.holds.changed:
                self.chronicle.tell_holders()
            self.carry_out()
        if self.on_flush is not None:
            self.on_flush()
        self.feed.trim()

    def in_environment(self, spec: Spec) -> Spec:
        """What is submitted here has the environment of who submits it."""
        return in_environment(spec, self._environment) if self._environment else spec

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
                    self.fail(entry, gone)
        self.lead.close()
        self.console.write_out()
        self.flush_deferred()
        self.reactor.close()
        self.values.close()
        self.interrupts.uninstall()

    def flush_deferred(self) -> None:
        while self.deferred:
            self.deferred.popleft()()


def _unheard(reports: list[Any]) -> None:
    """Nobody shows bars here."""
