"""Refs and values on their way between processes: what a message says of them, and what they become where they arrive."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from nbray.core import messages as m
from nbray.core.ids import Address, owner_of, sequence_of
from nbray.core.lineage import place_of
from nbray.core.messages import WireValue
from nbray.core.ownership import Entry, refs_in, with_refs
from nbray.exceptions import ObjectLostError
from nbray.owner.guards import Guard, Hold
from nbray.owner.values import IN_REF_MOST, contained

if TYPE_CHECKING:
    from nbray.owner.owner import Owner


class Passing:
    """Under the owner's lock throughout, but for ``resolve``, which takes it."""

    def __init__(self, owner: Owner) -> None:
        self.owner = owner

    # -- out -------------------------------------------------------------------------------------------------------

    def export(self, entries: Sequence[Entry], receiver: bytes) -> tuple[Any, ...]:
        """Wire refs for ``receiver``; holds of our own entries are counted. See "Holds" in core/DESIGN.md."""
        owner = self.owner
        refs: list[tuple[Any, ...]] = []
        for entry in entries:
            oid = entry.id
            owner.canonical[oid] = entry
            value = entry.value
            if type(value) is bytes and len(value) <= IN_REF_MOST:
                refs.append((oid, tuple(entry.owner or owner.address), value, False))
            else:
                # Where a large value lies travels with the ref, so it can be read when its owner is gone.
                place = value if place_of(value) is not None and not contained(entry) else None
                if entry.owner is None:
                    if entry.failed:  # the receiver may ask for it
                        owner.unasked.seen((entry,))
                    owner.holds.add(entry, receiver)
                    refs.append((oid, tuple(owner.address), place, True))
                else:
                    refs.append((oid, tuple(entry.owner), place, False))
        return tuple(refs)

    def export_value(self, entry: Entry, receiver: bytes) -> WireValue:
        """A ready entry's value for ``receiver``."""
        value = entry.value
        assert value is not None
        if type(value) is tuple and value[0] == m.SHARED:
            self.owner.canonical[entry.id] = entry  # who copies it to another node tells us
        inside = contained(entry)
        return with_refs(value, self.export(inside, receiver)) if inside else value

    # -- in --------------------------------------------------------------------------------------------------------

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
            return with_refs(value, self.received_all(refs)), None
        guard = Guard()
        if refs:
            guard.contained = self.received_all(refs)
            value = with_refs(value, ())
        if owned:
            guard.segment = self.owner.values.segment(value)
            sequence = sequence_of(guard.segment.object_id)
            holds = self.owner.holds
            if holds.entry(sequence) is not None:  # who has it had what was not known to be large
                holds.changed.add(sequence)
        return value, guard

    def received_all(self, refs: Iterable[Any]) -> tuple[Entry, ...]:
        """The entries of the wire refs that came in a message. Those that a third process passed on are claimed."""
        entries = tuple([self.received(ref) for ref in refs])
        claims: dict[Address, list[tuple[bytes, bytes]]] = {}
        for entry, ref in zip(entries, refs, strict=True):
            if type(ref[3]) is bytes and entry.owner is not None:
                claims.setdefault(entry.owner, []).append((entry.id, ref[3]))
        for address, pairs in claims.items():
            self.owner.peers.tell(address, (m.CLAIM, pairs))
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
                owner.fail(entry, ObjectLostError(f"object {oid.hex()} is gone: its owner let go of it"))
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
            hold.asked = owner.holding.ask([oid], entry.owner, (hold,))
        return entry

    def resolve(self, oid: bytes, address: Address) -> Entry:
        """The entry of a ref that is being unpickled."""
        with self.owner.lock:
            return self.owner.canonical.get(oid) or self.received((oid, address, None, False))
