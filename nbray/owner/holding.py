"""Holds between processes: who asks for one, who is told that it counts, and what becomes of a ref whose giver died on the way.

The rules are in "Holds" in ``core/DESIGN.md``, the table of counts is ``core/ownership.py``'s.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from nbray.channel.connection import Connection
from nbray.core import messages as m
from nbray.core.ids import Address, owner_of, sequence_of
from nbray.core.messages import Message
from nbray.core.ownership import Holder
from nbray.owner.guards import Hold

if TYPE_CHECKING:
    from nbray.owner.owner import Owner


class Holding:
    """Under the owner's lock throughout, but for ``acknowledged`` and ``unacknowledged``."""

    def __init__(self, owner: Owner) -> None:
        self.owner = owner
        self._requests = itertools.count(1)
        #: By request, whom it was sent to and what stays alive until it is acknowledged.
        self._asking: dict[int, tuple[Any, ...]] = {}
        #: Of those to whom others pass refs of ours on.
        self._receivers: dict[bytes, Address] = {}
        #: Who wants to know when all that a dead process sent us is read.
        self._unsettled: dict[bytes, list[Address]] = {}

    # -- asking ----------------------------------------------------------------------------------------------------

    def ask(
        self, oids: list[bytes], address: Address, keep: tuple[Any, ...], receiver: Address | None = None
    ) -> int:
        """Ask an owner to count holds; answers the request's number.

        Args:
            keep: stays alive until it is acknowledged.
            receiver: who is going to get these refs from us; None: they are for this process.
        """
        request = next(self._requests)
        self._asking[request] = (address.process, *keep)
        self.owner.peers.tell(address, (m.HOLD, request, oids, receiver and tuple(receiver)))
        return request

    def keep(self, thing: Any, hold: Hold) -> None:
        """Until that hold is acknowledged, the thing stays alive, too."""
        if hold.asked in self._asking:
            self._asking[hold.asked] += (thing,)

    def acknowledged(self, request: int) -> bool:
        return request not in self._asking

    def unacknowledged(self) -> list[int]:
        """Requests under way; an executor sends no result before they are answered."""
        return list(self._asking)

    def counted(self, connection: Connection, message: Message) -> None:
        """HOLD_OK"""
        self._acknowledged(message[1])

    def _acknowledged(self, request: int) -> None:
        asked = self._asking.pop(request, ())
        self.owner.completions += 1
        for thing in asked:
            if type(thing) is Hold:
                thing.asked = None

    def owner_died(self, process: bytes) -> None:
        """Nobody answers what it was asked."""
        for request, asked in list(self._asking.items()):
            if asked[0] == process:
                self._acknowledged(request)

    # -- counting --------------------------------------------------------------------------------------------------

    def asked(self, connection: Connection, message: Message) -> None:
        """HOLD"""
        _, request, oids, receiver = message
        owner = self.owner
        peer = connection.peer
        entries = [entry for entry in map(owner.own, oids) if entry is not None]
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

    def claimed(self, connection: Connection, message: Message) -> None:
        """CLAIM"""
        if connection.peer is not None:
            for oid, giver in message[1]:
                if owner_of(oid) == self.owner.process:
                    self.owner.holds.claim(sequence_of(oid), giver, connection.peer.process)

    def released(self, connection: Connection, message: Message) -> None:
        """RELEASE"""
        if connection.peer is not None:
            for oid, n in message[1]:
                if owner_of(oid) == self.owner.process:
                    self.owner.holds.release(sequence_of(oid), connection.peer.process, n)

    # -- refs whose giver died -------------------------------------------------------------------------------------

    def process_died(self, process: bytes) -> None:
        """Placement says so. It may have been passing refs of ours on: who was to get them claims them, or they never came."""
        self._receivers.pop(process, None)
        for receiver in self.owner.holds.in_transit(process):
            if receiver == self.owner.process:
                self._unsettled.setdefault(process, []).append(self.owner.address)
                self.settle(process)
            else:
                self.owner.peers.tell(self._receivers[receiver], (m.SETTLE, process))

    def settle_asked(self, connection: Connection, message: Message) -> None:
        """SETTLE"""
        if connection.peer is not None:
            self._unsettled.setdefault(message[1], []).append(connection.peer)
            self.settle(message[1])

    def settle(self, giver: bytes) -> None:
        """If somebody asked for it, and nothing of that process can come any more, say so."""
        if giver not in self._unsettled:
            return
        for connection in self.owner.reactor.connections():
            if connection.peer is not None and connection.peer.process == giver:
                return
        for address in self._unsettled.pop(giver):
            if address.process == self.owner.process:
                self.owner.holds.never_came(giver, address.process)
            else:
                self.owner.peers.tell(address, (m.SETTLED, giver))  # on the connection that took our claims

    def settled(self, connection: Connection, message: Message) -> None:
        """SETTLED"""
        if connection.peer is not None:
            self.owner.holds.never_came(message[1], connection.peer.process)

    def tick(self) -> None:
        """A connection may have gone without anything that made us look."""
        for process in list(self._unsettled):
            self.settle(process)
