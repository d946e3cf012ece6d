"""Large objects on more than one node: pulling them here, knowing where copies of our own are, removing all at the end."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from nbray import events
from nbray.channel.connection import Connection
from nbray.core import messages as m
from nbray.core.ids import Address, owner_of
from nbray.core.lineage import copy_name
from nbray.core.messages import Message, WireValue
from nbray.exceptions import ObjectLostError
from nbray.owner.lineage import lost_with_node
from nbray.store.transfer import Incoming, Pulls

if TYPE_CHECKING:
    from nbray.owner.owner import Owner


class Copies:
    """Under the owner's lock throughout, but for ``localize``, which takes it.

    Attributes:
        caller: whose call the calling thread runs. It knows the owner of an argument that came by value, we do not.
    """

    def __init__(self, owner: Owner) -> None:
        self.owner = owner
        self.caller: Callable[[], Address | None] = lambda: None
        self._pulls = Pulls(owner.values.store)
        self._of: dict[bytes, list[Address]] = {}
        self._askers: dict[bytes, Address] = {}

    # -- pulling ---------------------------------------------------------------------------------------------------

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
            connection = owner.peers.to(where)
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

    def came(self, connection: Connection, message: Message) -> None:
        """CHUNK"""
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
            self._of.setdefault(oid, []).append(serve)
        else:
            entry = owner.canonical.get(oid)
            asker = entry.owner if entry is not None else self._askers.pop(oid, None)
            if asker is not None:
                owner.peers.tell(asker, (m.COPIED, oid, owner.node, tuple(serve)))
        owner.feed.append((events.OBJECT, time.time(), oid, "copied", 0, owner.node))
        owner.completions += 1

    def connection_lost(self, connection: Connection, error: BaseException | None) -> None:
        """Nothing is pulled over it any more."""
        why = ObjectLostError(f"the process that served it is gone ({error or 'closed'})")
        self._pulls.lost(connection, why)
        self.owner.completions += 1

    # -- where they are --------------------------------------------------------------------------------------------

    def made(self, connection: Connection, message: Message) -> None:
        """COPIED"""
        _, oid, _, serve = message
        owner = self.owner
        borrowed = owner.canonical.get(oid)
        if borrowed is not None and borrowed.owner is not None:
            # We passed it on as an argument, which does not say whose it is.
            owner.peers.tell(borrowed.owner, message)
        elif oid in owner.values.segments:
            self._of.setdefault(oid, []).append(Address(*serve))
        else:  # it was given up meanwhile
            owner.peers.tell(Address(*serve), (m.FREE, [(oid, copy_name(oid))]))

    def of(self, oid: bytes) -> list[Address]:
        """Where copies of that object are."""
        return self._of.get(oid, [])

    def take_over(self, oid: bytes, copies: list[Address]) -> None:
        """They go when this process gives the object up."""
        self._of[oid] = copies

    def take_one(self, oid: bytes) -> Address | None:
        """Where a copy is on a living node, which is no copy any more but the object itself from here on."""
        copies = self._of.get(oid, [])
        for address in copies:
            if address.node not in self.owner.dead_nodes:
                copies.remove(address)
                return address
        return None

    # -- the end ---------------------------------------------------------------------------------------------------

    def drop(self, oid: bytes, node: bytes, name: str, size: int, serve: Any, *, spare: bool) -> None:
        """This process gives an object up: its file goes, and all copies. ``spare``: as in ``Owner.collect``."""
        owner = self.owner
        if node == owner.node:
            store = owner.values.store
            (store.spare if spare else store.drop)(name)
        elif node not in owner.dead_nodes:
            owner.peers.tell(Address(*serve), (m.FREE, [(oid, name)]))
        for address in self._of.pop(oid, ()):
            if address.node == owner.node:
                owner.values.store.drop(copy_name(oid))
            elif address.node not in owner.dead_nodes:
                owner.peers.tell(address, (m.FREE, [(oid, copy_name(oid))]))
        owner.feed.append((events.OBJECT, time.time(), oid, "freed", size, node))
