"""Objects that were lost with their node are made again, by running the tasks that made them, as far as those have retries left.

Only when somebody asks for one: a ``get``, a task that takes it, a process that borrows it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from nbray import events
from nbray.core import messages as m
from nbray.core.calls import Call
from nbray.core.lanes import Pool
from nbray.core.lineage import Known, Lineage, lineage_of, place_of, remember, repeat
from nbray.core.ownership import Entry
from nbray.exceptions import NodeDiedError, ObjectLostError
from nbray.owner.guards import Guard

if TYPE_CHECKING:
    from nbray.owner.owner import Owner


class Lineages:
    """Under the owner's lock throughout, but for ``recover``, which takes it."""

    def __init__(self, owner: Owner) -> None:
        self.owner = owner

    def keep(self, call: Call) -> None:
        """A task has ended with large values: on a cluster, remember how they came about."""
        if not self.owner.address.tcp or type(call.pool) is not Pool:
            return  # a local pool has one node, which dies with the driver
        lineage = remember(call)
        if lineage is None:
            return
        for entry in call.entries:
            if place_of(entry.value) is not None:
                entry.guard.lineage = lineage

    def is_lost(self, entry: Entry) -> bool:
        """Ready, but its bytes were on a node that is gone."""
        return bool(self.owner.dead_nodes) and place_of(entry.value) in self.owner.dead_nodes

    def recover(self, entries: Iterable[Entry], error: ObjectLostError) -> bool:
        """After ``error`` on the way to a value: see that lost ones come back; False if none of ``entries`` was lost."""
        with self.owner.lock:
            lost = [entry for entry in entries if entry.ready and self.is_lost(entry)]
            where = getattr(error, "lost", None)
            if where is not None:
                oid, node = where
                lost += [
                    e
                    for e in entries
                    if e.ready and e.id == oid and place_of(e.value) == node and e not in lost
                ]
            if not lost:
                return False
            self.forget(lost)
            self.owner.carry_out()
        return True

    def missed(self, call: Call, oid: bytes, node: bytes) -> None:
        """An executor could not reach an argument of ``call``, which so has not run. It runs again, once that is there."""
        lost = [entry for _, entry in call.slots if entry.id == oid]
        if not lost:
            self.owner.calls.fail_with(call, lost_with_node(oid, node))
            return
        self.forget([entry for entry in lost if entry.ready and place_of(entry.value) == node])
        self.owner.calls.depend(call)
        if call.ended:
            return
        if type(call.pool) is not Pool:
            call.pool.machine.again(call)
        elif not call.missing:
            self.owner.tasks.lanes.again(call)

    def forget(self, lost: list[Entry]) -> None:
        """Those values are gone: our own are made again, others' owners are asked anew."""
        borrowed = [entry for entry in lost if entry.owner is not None]
        for entry in borrowed:
            hold = entry.guard.hold
            hold.lost, hold.fetching = place_of(entry.value), False
            entry.ready, entry.value = False, None
        if borrowed:
            self.owner.peers.fetch_locked(borrowed)
        self._remake([entry for entry in lost if entry.owner is None])

    def _remake(self, lost: list[Entry]) -> None:
        """Run the calls again that made those, and before them those that made their arguments, and so on."""
        made: dict[int, Entry] = {}
        calls: list[Call] = []
        todo = [(entry, lineage_of(entry)) for entry in lost]
        while todo:
            entry, lineage = todo.pop()
            if not entry.ready or self._has_copy(entry):
                continue  # another return of the same call came first, or a reader's node has it too
            node = place_of(entry.value)
            entry.ready, entry.value = False, None
            if lineage is None:
                self.owner.peers.fail_entry(entry, lost_with_node(entry.id, node, MADE_ONCE))
            else:
                calls.append(self._call(lineage, made, todo))
        for call in reversed(calls):
            self._submit(call)

    def _call(
        self, lineage: Lineage, made: dict[int, Entry], todo: list[tuple[Entry, Lineage | None]]
    ) -> Call:
        entries = []
        for position, alive in enumerate(lineage.entries):
            sequence = lineage.call.sequence + position
            entry = alive() or made.get(sequence) or self._entry(sequence)
            if self.is_lost(entry):
                entry.ready, entry.value = False, None
            entries.append(entry)
        slots = []
        for argument in lineage.arguments:
            if isinstance(argument, Known):
                entry = argument.entry
                if entry.ready and entry.owner is None and self.is_lost(entry):
                    todo.append((entry, None))
            else:
                found = argument.entry() or made.get(argument.sequence)
                if found is None:
                    entry = made[argument.sequence] = self._entry(argument.sequence)
                    entry.ready = True  # it was; what follows makes it again
                    todo.append((entry, argument.lineage))
                else:
                    entry = found
                    if entry.ready and self.is_lost(entry):
                        todo.append((entry, lineage_of(entry)))
            slots.append((argument.key, entry))
        return repeat(lineage, tuple(slots), entries)

    def _entry(self, sequence: int) -> Entry:
        return self.owner.entry_type(self.owner.process, sequence)

    def _submit(self, call: Call) -> None:
        owner = self.owner
        owner.calls.under_way[call.sequence] = call
        inside = tuple([entry.id for _, entry in call.slots])
        owner.feed.append(
            (events.TASK_SUBMITTED, time.time(), owner.process, call.sequence, call.function.name, "task", b"",
             b"", inside, len(call.entries))
        )  # fmt: skip
        if call.slots:
            owner.calls.depend(call)
        if not call.missing and not call.ended:
            owner.tasks.lanes.submit(call)

    def _has_copy(self, entry: Entry) -> bool:
        """A node that had read it still has it: that becomes its place."""
        value: Any = entry.value
        if value is None:
            return False
        copied = self.owner.peers.take_copy(entry.id)
        if copied is None:
            return False
        name, where = copied
        value = (m.SHARED, entry.id, where.node, name, value[4], value[5], tuple(where), ())
        guard = entry.guard or Guard()
        guard.segment = self.owner.values.segment(value)
        entry.value, entry.guard = value, guard
        return True


MADE_ONCE = "It cannot be made again: it is no result of a task with retries left"


def lost_with_node(oid: bytes, node: bytes | None, why: str = "") -> ObjectLostError:
    """What becomes of an object whose node is gone. ``lost`` says which and where, for who can do something about it."""
    where = node.hex() if node else "unknown"
    error = ObjectLostError(f"object {oid.hex()} was on node {where}, which is gone. {why}".rstrip())
    error.lost = (oid, node)  # type: ignore[attr-defined]
    error.__cause__ = NodeDiedError(f"node {where} is gone")
    return error
