"""What other processes ask of an owner, and what it asks of them: values, holds, large objects of other nodes."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from nbray import events
from nbray.channel.connection import Connection
from nbray.core import messages as m
from nbray.core.ids import Address, owner_of, sequence_of
from nbray.core.lineage import copy_name, place_of
from nbray.core.messages import Message, WireValue
from nbray.core.ownership import Entry, Holder, refs_in
from nbray.exceptions import ObjectLostError, OwnerDiedError
from nbray.owner.guards import DROP_HOLD, DROP_SEGMENT, DROP_STREAM, Guard, Hold
from nbray.owner.lineage import lost_with_node
from nbray.owner.serving import StoreServer
from nbray.store.transfer import Incoming, Pulls
from nbray.wire.errors import dump_error

if TYPE_CHECKING:
    from nbray.owner.owner import Owner

Handler = Callable[[Connection, Message], None]


class Peers:
    """Under the owner's lock throughout, but for ``fetch``, ``resolve`` and ``localize``, which take it.

    Attributes:
        handlers: by message kind; an executor adds its own.
        caller: whose call the calling thread runs. It knows the owner of an argument that came by value, we do not.
    """

    def __init__(self, owner: Owner) -> None:
        self.owner = owner
        self._store_server = StoreServer(owner.values.store)
        self.handlers: dict[int, Handler] = {
            m.RESULT: owner.calls.result,
            m.ITEM: owner.streams.item,
            m.RETURNED: self._returned,
            m.LAST: self._last,
            m.FETCH: self._fetch_asked,
            m.VALUE: self._value,
            m.HOLD: self._hold_asked,
            m.HOLD_OK: self._hold_ok,
            m.RELEASE: self._release,
            m.CLAIM: self._claimed,
            m.SETTLE: self._settle_asked,
            m.SETTLED: self._settled,
            m.PULL: self._store_server.asked,
            m.CHUNK: self._chunk,
            m.FREE: self._store_server.freed,
            m.COPIED: self._copied,
            m.NOT_COPIED: owner.replicas.not_copied,
            m.CANCEL_OBJECT: owner.cancelling.asked,
            m.OUTPUT: self._output,
            m.EVENTS: self._events,
            m.REPORTS: lambda connection, message: owner.reported(message[1]),
            m.INQUIRE: lambda connection, message: owner.inquiry.asked(connection, message),
            m.ACTIVITY: lambda connection, message: owner.inquiry.answered(connection, message),
        }
        self.caller: Callable[[], Address | None] = lambda: None
        self._to: dict[bytes, Connection] = {}
        self._unsaid: dict[bytes, tuple[Address, list[Message]]] = {}
        self._requests = itertools.count(1)
        self._asking: dict[int, tuple[Any, ...]] = {}
        self._pulls = Pulls(owner.values.store)
        self._copies: dict[bytes, list[Address]] = {}
        self._askers: dict[bytes, Address] = {}
        #: Of those to whom others pass refs of ours on.
        self._receivers: dict[bytes, Address] = {}
        #: Who wants to know when all that a dead process sent us is read.
        self._unsettled: dict[bytes, list[Address]] = {}

    # -- connections -----------------------------------------------------------------------------------------------

    def accepted(self, connection: Connection) -> None:
        connection.on_message = self.message
        connection.on_close = self.closed

    def message(self, connection: Connection, message: Message) -> None:
        handler = self.handlers.get(message[0])
        if handler is not None:
            handler(connection, message)

    def to(self, address: Address) -> Connection:
        """The connection for requests to that process, opened if there is none.

        Raises:
            OSError: this process is out of descriptors.
        """
        connection = self._to.get(address.process)
        if connection is None or connection.closed:
            connection = self._to[address.process] = self.owner.reactor.connect(address)
            connection.on_message = self.message
            connection.on_close = lambda c, error: self._lost(address, c, error)
        return connection

    def tell(self, address: Address, message: Message) -> None:
        """Send a message to that process; once there are descriptors again, if there are none."""
        unsaid = self._unsaid.get(address.process)
        if unsaid is not None:
            unsaid[1].append(message)
            return
        try:
            connection = self.to(address)
        except OSError:
            self._unsaid[address.process] = (address, [message])
        else:
            connection.send(message)

    def tick(self) -> None:
        """Say what could not be said for want of descriptors, and what nothing else made us say."""
        for process in list(self._unsettled):
            self._settle(process)
        unsaid, self._unsaid = self._unsaid, {}
        for address, messages in unsaid.values():
            for message in messages:
                self.tell(address, message)

    def closed(self, connection: Connection, error: BaseException | None) -> None:
        """A connection that a peer had opened to us. It may have given a lane back, and live on with refs of ours."""
        if connection.peer is not None:
            self.process_gone(connection.peer.process, alive=True)

    def _lost(self, address: Address, connection: Connection, error: BaseException | None) -> None:
        """The connection on which we asked ``address``."""
        if self._to.get(address.process) is connection:
            del self._to[address.process]
        self._owner_died(address.process)
        self._pulls.lost(
            connection, ObjectLostError(f"the process that served it is gone ({error or 'closed'})")
        )
        self.owner.completions += 1
        self.process_gone(address.process)

    def processes_gone(self, processes: Sequence[bytes]) -> None:
        """Placement says that they are dead."""
        for process in processes:
            self._owner_died(process)
            self.process_gone(process)
            self._receivers.pop(process, None)
            self._ask_what_came(process)

    def process_gone(self, process: bytes, alive: bool = False) -> None:
        """Its holds go. ``alive``: we only let go of it, so its holds stay until placement says that it died."""
        owner = self.owner
        holds = owner.holds
        if not alive:
            holds.holder_gone(process)
        if (alive and holds.has(process)) or holds.in_transit(process) or owner.inheritance.expects(process):
            owner.send_up(("watch_process", process))
        if process in self._unsettled:
            self._settle(process)

    def _owner_died(self, process: bytes) -> None:
        self.owner.inheritance.owner_died(process)
        orphans = [e for e in list(self.owner.canonical.values()) if e.owner_id == process and not e.ready]
        for entry in orphans:
            self.fail_entry(entry, _owner_died(entry))
        for request, asked in list(self._asking.items()):
            if asked[0] == process:
                self._acknowledged(request)

    def fail_entry(self, entry: Entry, error: BaseException) -> None:
        owner = self.owner
        owner.failures += 1
        owner.completions += 1
        owner.complete(entry, (m.ERROR, dump_error(error, "get", os.getpid(), owner.node.hex())))

    # -- borrowed values -------------------------------------------------------------------------------------------

    def fetch(self, refs: Iterable[Entry]) -> None:
        """Ask the owners of borrowed refs for their values."""
        borrowed = [ref for ref in refs if ref.owner is not None and not ref.ready]
        if borrowed:
            with self.owner.lock:
                self.fetch_locked(borrowed)

    def fetch_locked(self, borrowed: Iterable[Entry]) -> None:
        for entry in borrowed:
            hold = entry.guard.hold if entry.guard is not None else None
            if hold is not None and not hold.fetching and not entry.ready and entry.owner is not None:
                hold.fetching = True
                self.tell(entry.owner, (m.FETCH, entry.id, hold.lost))

    def _fetch_asked(self, connection: Connection, message: Message) -> None:
        _, oid, lost = message
        owner = self.owner
        entry = self._own(oid)
        if entry is not None and entry.ready:
            where = place_of(entry.value)
            if where is not None and (where == lost or where in owner.dead_nodes):
                owner.lineages.forget([entry])
                owner.carry_out()
        if entry is None:
            error = ObjectLostError(f"object {oid.hex()} is gone: its owner has no ref to it any more")
            connection.send(
                (m.VALUE, oid, (m.ERROR, dump_error(error, "get", os.getpid(), owner.node.hex())))
            )
        elif entry.ready:
            self._answer(connection, entry)
        else:
            entry.when_ready(lambda entry: self._answer(connection, entry))

    def _own(self, oid: bytes) -> Entry | None:
        """The entry of an object of this process that somebody else speaks of; None if it is gone, or another's."""
        if owner_of(oid) != self.owner.process:
            return None
        return self.owner.holds.entry(sequence_of(oid)) or self.owner.canonical.get(oid)

    def _answer(self, connection: Connection, entry: Entry) -> None:
        if not connection.closed and connection.peer is not None:
            connection.send((m.VALUE, entry.id, self.owner.export_value(entry, connection.peer.process)))

    def _value(self, connection: Connection, message: Message) -> None:
        _, oid, value = message
        owner = self.owner
        entry = owner.canonical.get(oid)
        value, guard = owner.import_value(value, own=False)
        if entry is None or entry.ready:
            return
        if guard is not None:
            if entry.guard is None:
                entry.guard = guard
            else:
                entry.guard.contained = guard.contained
        failed = type(value) is tuple and value[0] == m.ERROR
        # The outer value lives at its owner as long as we hold it, and with it what it contains: until our own
        # holds of those are acknowledged, keep it.
        for inner in refs_in(value) if failed else guard.contained if guard is not None else ():
            hold = inner.guard.hold if inner.guard is not None else None
            if hold is not None and hold.asked in self._asking:
                self._asking[hold.asked] += (entry,)
        owner.completions += 1
        owner.failures += failed
        owner.complete(entry, value)
        owner.carry_out()

    def received_all(self, refs: Iterable[Any]) -> tuple[Entry, ...]:
        """The entries of the wire refs that came in a message. Those that a third process passed on are claimed."""
        entries = tuple([self.received(ref) for ref in refs])
        claims: dict[Address, list[tuple[bytes, bytes]]] = {}
        for entry, ref in zip(entries, refs, strict=True):
            if type(ref[3]) is bytes and entry.owner is not None:
                claims.setdefault(entry.owner, []).append((entry.id, ref[3]))
        for address, pairs in claims.items():
            self.tell(address, (m.CLAIM, pairs))
        return entries

    def received(self, ref: Any) -> Entry:
        """The entry of a wire ref that came in a message."""
        oid, address, value, held = ref
        owner = self.owner
        entry = owner.canonical.get(oid)
        if entry is None and owner_of(oid) == owner.process:
            entry = owner.holds.entry(sequence_of(oid))
        if entry is None:
            mine = owner_of(oid) == owner.process
            entry = owner.entry_type(owner_of(oid), sequence_of(oid), None if mine else Address(*address))
            owner.canonical[oid] = entry
            if mine and value is None:
                self.fail_entry(entry, ObjectLostError(f"object {oid.hex()} is gone: its owner let go of it"))
        if entry.owner is None:
            if held:
                # Counted for the way here, over which a release on another connection may have overtaken it.
                owner.holds.release(entry.sequence, (held, owner.process), 1)
            if value is not None and not entry.ready:
                owner.complete(entry, value)
                owner.carry_out()
            return entry
        if value is not None:
            if not entry.ready:
                owner.completions += 1
                owner.complete(entry, value)
                owner.carry_out()  # calls may have waited for it
            if place_of(value) is None:
                return entry  # all of it is here, so its owner need not keep it for us
        if entry.guard is None:
            entry.guard = Guard()
        hold = entry.guard.hold
        if hold is None:
            hold = entry.guard.hold = Hold(owner.garbage, oid, entry.owner)
        if held:
            hold.count += 1
        elif not hold.count:
            hold.count = 1
            hold.asked = self.ask_hold([oid], entry.owner, (hold,))
        return entry

    def resolve(self, oid: bytes, address: Address) -> Entry:
        """The entry of a ref that is being unpickled."""
        with self.owner.lock:
            return self.owner.canonical.get(oid) or self.received((oid, address, None, False))

    # -- holds -----------------------------------------------------------------------------------------------------

    def ask_hold(
        self, oids: list[bytes], address: Address, keep: tuple[Any, ...], receiver: Address | None = None
    ) -> int:
        """Ask an owner to count holds; answers the request's number.

        Args:
            keep: stays alive until it is acknowledged.
            receiver: who is going to get these refs from us; None: they are for this process.
        """
        request = next(self._requests)
        self._asking[request] = (address.process, *keep)
        self.tell(address, (m.HOLD, request, oids, receiver and tuple(receiver)))
        return request

    def acknowledged(self, request: int) -> bool:
        return request not in self._asking

    def unacknowledged(self) -> list[int]:
        """Requests under way; an executor sends no result before they are answered."""
        return list(self._asking)

    def _hold_asked(self, connection: Connection, message: Message) -> None:
        _, request, oids, receiver = message
        owner = self.owner
        peer = connection.peer
        entries = [entry for entry in map(self._own, oids) if entry is not None]
        if peer is not None and entries:
            holder: Holder = peer.process
            if receiver is not None:
                to = Address(*receiver)
                holder = (peer.process, to.process)
                if to.process != owner.process and to.process not in self._receivers:
                    self._receivers[to.process] = to
                    owner.send_up(("watch_process", to.process))
            for entry in entries:
                owner.holds.add(entry, holder)
        connection.send((m.HOLD_OK, request))

    def _claimed(self, connection: Connection, message: Message) -> None:
        if connection.peer is not None:
            for oid, giver in message[1]:
                if owner_of(oid) == self.owner.process:
                    self.owner.holds.claim(sequence_of(oid), giver, connection.peer.process)

    def _ask_what_came(self, giver: bytes) -> None:
        """A process died that was passing refs of ours on. Who was to get them claims them, or they never came."""
        for receiver in self.owner.holds.in_transit(giver):
            if receiver == self.owner.process:
                self._unsettled.setdefault(giver, []).append(self.owner.address)
                self._settle(giver)
            else:
                self.tell(self._receivers[receiver], (m.SETTLE, giver))

    def _settle_asked(self, connection: Connection, message: Message) -> None:
        if connection.peer is not None:
            self._unsettled.setdefault(message[1], []).append(connection.peer)
            self._settle(message[1])

    def _settle(self, giver: bytes) -> None:
        """If nothing of that process can come any more, say so to who asked."""
        for connection in self.owner.reactor.connections():
            if connection.peer is not None and connection.peer.process == giver:
                return
        for address in self._unsettled.pop(giver, ()):
            if address.process == self.owner.process:
                self.owner.holds.never_came(giver, address.process)
            else:
                self.tell(address, (m.SETTLED, giver))  # on the connection that took our claims

    def _settled(self, connection: Connection, message: Message) -> None:
        if connection.peer is not None:
            self.owner.holds.never_came(message[1], connection.peer.process)

    def _hold_ok(self, connection: Connection, message: Message) -> None:
        self._acknowledged(message[1])

    def _acknowledged(self, request: int) -> None:
        asked = self._asking.pop(request, ())
        self.owner.completions += 1
        for thing in asked:
            if type(thing) is Hold:
                thing.asked = None

    def _release(self, connection: Connection, message: Message) -> None:
        if connection.peer is not None:
            for oid, n in message[1]:
                if owner_of(oid) == self.owner.process:
                    self.owner.holds.release(sequence_of(oid), connection.peer.process, n)

    # -- the end of things -----------------------------------------------------------------------------------------

    def collect(self, spare: bool = False) -> None:
        """Give back what the guards dropped. ``spare``: as in ``Owner.collect``."""
        owner = self.owner
        garbage = owner.garbage
        releases: dict[bytes, tuple[Address, list[tuple[bytes, int]]]] = {}
        while garbage:
            item = garbage.popleft()
            if item[0] == DROP_SEGMENT:
                self._drop_segment(*item[1:], spare=spare)
            elif item[0] == DROP_HOLD:
                _, oid, address, n = item
                owner.actors.handle_dropped(oid)
                releases.setdefault(address.process, (address, []))[1].append((oid, n))
            elif item[0] == DROP_STREAM:
                owner.streams.close(item[1])
            else:
                owner.actors.dropped(item[1])
        for address, pairs in releases.values():
            self.tell(address, (m.RELEASE, pairs))

    def _drop_segment(
        self, oid: bytes, node: bytes, name: str, size: int, serve: Any, *, spare: bool
    ) -> None:
        owner = self.owner
        if node == owner.node:
            store = owner.values.store
            (store.spare if spare else store.drop)(name)
        elif node not in owner.dead_nodes:
            self.tell(Address(*serve), (m.FREE, [(oid, name)]))
        for address in self._copies.pop(oid, ()):
            if address.node == owner.node:
                owner.values.store.drop(copy_name(oid))
            elif address.node not in owner.dead_nodes:
                self.tell(address, (m.FREE, [(oid, copy_name(oid))]))
        owner.feed.append((events.OBJECT, time.time(), oid, "freed", size, node))

    def _copied(self, connection: Connection, message: Message) -> None:
        _, oid, _, serve = message
        borrowed = self.owner.canonical.get(oid)
        if borrowed is not None and borrowed.owner is not None:
            self.tell(
                borrowed.owner, message
            )  # we passed it on as an argument, which does not say whose it is
            return
        if oid in self.owner.values.segments:
            self._copies.setdefault(oid, []).append(Address(*serve))
        else:  # it was given up meanwhile
            self.tell(Address(*serve), (m.FREE, [(oid, copy_name(oid))]))

    def copies(self, oid: bytes) -> list[Address]:
        """Where copies of that object are."""
        return self._copies.get(oid, [])

    def take_over_copies(self, oid: bytes, copies: list[Address]) -> None:
        """They go when this process gives the object up."""
        self._copies[oid] = copies

    def take_copy(self, oid: bytes) -> Address | None:
        """Where a copy is on a living node, which is no copy any more but the object itself from here on."""
        copies = self._copies.get(oid, [])
        for address in copies:
            if address.node not in self.owner.dead_nodes:
                copies.remove(address)
                return address
        return None

    # -- large objects of other nodes ------------------------------------------------------------------------------

    def localize(self, value: Any) -> WireValue:
        """A SHARED value of another node as one of this node: pulled once, found by the others. Blocks.

        Raises:
            ObjectLostError: the node or the object is gone.
        """
        owner = self.owner
        _, oid, node, name, size, layout, serve = value[:7]
        here = (m.SHARED, oid, owner.node, copy_name(oid), size, layout, tuple(owner.values.serve), ())
        if owner.values.store.has(copy_name(oid)):
            return here
        where = Address(*serve)
        with owner.lock:
            if node in owner.dead_nodes:
                raise lost_with_node(oid, node)
            connection = self.to(where)
            asker = self.caller()
            if asker is not None:
                self._askers[oid] = asker
            incoming, asks = self._pulls.want(connection, oid, name, copy_name(oid))
            for ask in asks:
                connection.send(ask)
        try:
            owner.lead.run_until(lambda: incoming.finished or node in owner.dead_nodes or owner.closed)
        finally:
            with owner.lock:
                self._pulls.leave(incoming)
                self._askers.pop(oid, None)
        error = incoming.error
        if isinstance(error, ObjectLostError) or not owner.values.store.has(copy_name(oid)):
            raise lost_with_node(oid, node) from error
        if error is not None:
            raise error
        return here

    def _chunk(self, connection: Connection, message: Message) -> None:
        incoming, asks = self._pulls.receive(message)
        for ask in asks:
            connection.send(ask)
        if incoming is not None and incoming.finished and incoming.error is None:
            self._arrived(incoming)

    def _arrived(self, incoming: Incoming) -> None:
        """Tell the object's owner where its copy is, so that it goes when the object goes."""
        owner = self.owner
        oid = incoming.object_id
        serve = owner.values.serve
        if owner_of(oid) == owner.process:
            self._copies.setdefault(oid, []).append(serve)
        else:
            entry = owner.canonical.get(oid)
            asker = entry.owner if entry is not None else self._askers.pop(oid, None)
            if asker is not None:
                self.tell(asker, (m.COPIED, oid, owner.node, tuple(serve)))
        owner.feed.append((events.OBJECT, time.time(), oid, "copied", 0, owner.node))
        owner.completions += 1

    # -- the rest --------------------------------------------------------------------------------------------------

    def _returned(self, connection: Connection, message: Message) -> None:
        _, sequences, blocked = message
        context = connection.context
        if context is not None and not context.machine.gone:
            if not sequences and not blocked:
                self.owner.tasks.lanes.resumed(context.machine)
            self.owner.tasks.lanes.returned(context.machine, sequences, blocked, time.monotonic())
            self.owner.carry_out()

    def _last(self, connection: Connection, message: Message) -> None:
        context = connection.context
        if context is not None and not context.machine.gone:
            self.owner.tasks.lanes.last(context.machine, message[1], time.monotonic())
            self.owner.carry_out()

    def _output(self, connection: Connection, message: Message) -> None:
        self.owner.console.add(*message[1:])

    def _events(self, connection: Connection, message: Message) -> None:
        self.owner.feed.extend(message[1])


def _owner_died(entry: Entry) -> OwnerDiedError:
    hold = entry.guard.hold if entry.guard is not None else None
    oid = entry.id.hex()
    if hold is not None and hold.lost and hold.put:
        return OwnerDiedError(
            f"object {oid} was put, by nbray.put(), on node {hold.lost.hex()}, which is gone, and so is the process that put it"
        )
    where = f" on node {entry.owner.node.hex()}" if entry.owner is not None else ""
    return OwnerDiedError(f"the process{where} that owned object {oid} is gone, its value with it")


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
