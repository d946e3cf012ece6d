"""Objects of other processes that this one has refs to: asking their owners for the values, and answering who asks us."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from nbray.channel.connection import Connection
from nbray.core import messages as m
from nbray.core.lineage import place_of
from nbray.core.messages import Message
from nbray.core.ownership import Entry, refs_in
from nbray.exceptions import ObjectLostError, OwnerDiedError

if TYPE_CHECKING:
    from nbray.owner.owner import Owner


class Borrowing:
    """Under the owner's lock throughout, but for ``fetch``, which takes it."""

    def __init__(self, owner: Owner) -> None:
        self.owner = owner

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
                self.owner.peers.tell(entry.owner, (m.FETCH, entry.id, hold.lost))

    def asked(self, connection: Connection, message: Message) -> None:
        """FETCH"""
        _, oid, lost = message
        owner = self.owner
        entry = owner.own(oid)
        if entry is not None and entry.ready:
            where = place_of(entry.value)
            if where is not None and (where == lost or where in owner.dead_nodes):
                owner.lineages.forget([entry])
                owner.carry_out()
        if entry is None:
            error = ObjectLostError(f"object {oid.hex()} is gone: its owner has no ref to it any more")
            connection.send((m.VALUE, oid, owner.values.failure(error)))
        elif entry.ready:
            self._answer(connection, entry)
        else:
            entry.when_ready(lambda entry: self._answer(connection, entry))

    def _answer(self, connection: Connection, entry: Entry) -> None:
        if not connection.closed and connection.peer is not None:
            value = self.owner.passing.export_value(entry, connection.peer.process)
            connection.send((m.VALUE, entry.id, value))

    def came(self, connection: Connection, message: Message) -> None:
        """VALUE"""
        _, oid, value = message
        owner = self.owner
        entry = owner.canonical.get(oid)
        value, guard = owner.passing.import_value(value, own=False)
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
            if inner.guard is not None and inner.guard.hold is not None:
                owner.holding.keep(entry, inner.guard.hold)
        owner.completions += 1
        owner.failures += failed
        owner.complete(entry, value)
        owner.carry_out()

    def owner_died(self, process: bytes) -> None:
        """What it owned and had not told will never come."""
        for entry in list(self.owner.canonical.values()):
            if entry.owner_id == process and not entry.ready:
                self.owner.fail(entry, _owner_died(entry))


def _owner_died(entry: Entry) -> OwnerDiedError:
    hold = entry.guard.hold if entry.guard is not None else None
    oid = entry.id.hex()
    if hold is not None and hold.lost and hold.put:
        return OwnerDiedError(
            f"object {oid} was put, by nbray.put(), on node {hold.lost.hex()}, which is gone, and so is the process that put it"
        )
    where = f" on node {entry.owner.node.hex()}" if entry.owner is not None else ""
    return OwnerDiedError(f"the process{where} that owned object {oid} is gone, its value with it")
