"""Large objects outlive the executor that put them, if a call's result brought their refs here: this process takes them over.

Where such an object lies travels inside its ref, so it can be read without its owner. What is left to do when the owner has died:
somebody has to give the file up at the end. That is who got the ref as a result; the node agent removes what nobody takes over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from nbray.core import messages as m
from nbray.core.ids import Address
from nbray.core.lineage import copy_name, is_put, place_of
from nbray.core.ownership import Entry

if TYPE_CHECKING:
    from nbray.owner.owner import Owner


class Inheritance:
    """Under the owner's lock throughout."""

    def __init__(self, owner: Owner) -> None:
        self.owner = owner
        self._from: dict[bytes, WeakValueDictionary[int, Entry]] = {}

    def expect(self, entries: tuple[Any, ...], giver: bytes) -> None:
        """A result of ``giver`` brought these refs; its own large objects among them come to us if it dies."""
        for entry in entries:
            if entry.owner_id == giver and entry.owner is not None and place_of(entry.value) is not None:
                self._from.setdefault(giver, WeakValueDictionary())[entry.sequence] = entry

    def expects(self, process: bytes) -> bool:
        """Whether there is anything that would come from ``process``."""
        expected = self._from.get(process)
        if expected is None:
            return False
        if not expected:
            del self._from[process]
        return bool(expected)

    def owner_died(self, process: bytes) -> None:
        """Take over what came from ``process`` and is still wanted here."""
        kept: dict[tuple[Any, ...], list[tuple[bytes, str]]] = {}
        for entry in list(self._from.pop(process, {}).values()):
            value: Any = entry.value
            if place_of(value) is None or entry.guard.segment is not None:
                continue
            entry.guard.segment = self.owner.values.segment(value)
            if is_put(value):
                self.owner.copies.take_over(entry.id, [Address(*each) for each in value[8]])
            kept.setdefault(tuple(value[6]), []).append((entry.id, value[3]))
            for replica in value[8] if is_put(value) else ():
                kept.setdefault(tuple(replica), []).append((entry.id, copy_name(entry.id)))
        for serve, objects in kept.items():
            self.owner.peers.tell(Address(*serve), (m.ADOPT, objects))
