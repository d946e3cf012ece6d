"""Objects that were lost with their node are made again, by running the tasks that made them, as far as those have retries left.

Only when somebody asks for one: a ``get``, a task that takes it, a process that borrows it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from nbray import events
from nbray.core import messages as m
from nbray.core.actors import ActorCalls
from nbray.core.calls import Call
from nbray.core.ids import Address
from nbray.core.lanes import Pool
from nbray.core.lineage import (
    Known,
    Lineage,
    at_copy,
    elsewhere,
    is_put,
    lineage_of,
    place_of,
    remember,
    repeat,
)
from nbray.core.ownership import Entry
from nbray.core.streaming import Rerun
from nbray.exceptions import NodeDiedError, ObjectLostError

if TYPE_CHECKING:
    from nbray.owner.owner import Owner


class Again:
    """Stands where a method's call has its actor's queue, when it runs once more because what it made was lost with ``node``."""

    __slots__ = ("machine", "node")

    def __init__(self, machine: ActorCalls, node: bytes) -> None:
        self.machine = machine
        self.node = node

    def resolved(self, call: Call) -> None:
        self.machine.resolved(call)


class Lineages:
    """Under the owner's lock throughout, but for ``recover``, which takes it."""

    def __init__(self, owner: Owner) -> None:
        self.owner = owner

    def keep(self, call: Call) -> None:
        """A call has ended with large values: on a cluster, remember how they came about."""
        if not self.owner.address.tcp:
            return  # a local pool has one node, which dies with the driver
        lineage = remember(call)
        if lineage is None:
            return
        for entry in call.entries:
            if place_of(entry.value) is not None:
                entry.guard.lineage = lineage

    def keep_item(self, call: Call, entry: Entry) -> None:
        """A generator has yielded a large item."""
        stream = call.stream
        if not self.owner.address.tcp or stream is None:
            return
        if stream.lineage is None:
            stream.lineage = remember(call)
        lineage = stream.lineage
        if lineage is not None:
            lineage.call.retries = call.retries  # crashes have cost some
            lineage.items[lineage.index(entry)] = entry
            entry.guard.lineage = lineage

    def item_again(self, lineage: Lineage, index: int) -> Entry | None:
        """A generator has yielded that item anew: the entry that lost it, if there is one."""
        assert lineage.items is not None
        entry = lineage.wanted.pop(index, None) or lineage.items.get(index)
        if entry is None or (entry.ready and not self.is_lost(entry)):
            return None
        entry.ready, entry.value = False, None
        return entry

    def stream_ended(self, lineage: Lineage, rerun: Rerun | None = None, end: Entry | None = None) -> None:
        """A generator's call has ended. Another run makes lost items that this one has passed; others cannot be had."""
        owner = self.owner
        todo: list[tuple[Entry, Lineage | None]] = []
        wanted, lineage.wanted = lineage.wanted, {}
        for index, entry in wanted.items():
            if rerun is None or index in rerun.late:
                entry.ready = True  # it was
                todo.append((entry, lineage))
            elif end is not None and end.failed:
                owner.failures += 1
                owner.completions += 1
                owner.complete(entry, end.value)  # type: ignore[arg-type]
            else:
                why = f"{lineage.call.function.name}, which had yielded it, did not when it ran again."
                owner.fail(entry, ObjectLostError(f"object {entry.id.hex()} is lost. {why}"))
        self._remake(todo)

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
        borrowed = [entry for entry in lost if entry.owner is not None and not self._has_replica(entry)]
        for entry in borrowed:
            hold = entry.guard.hold
            hold.lost, hold.put, hold.fetching = place_of(entry.value), is_put(entry.value), False
            entry.ready, entry.value = False, None
        if borrowed:
            self.owner.borrowing.fetch_locked(borrowed)
        self._remake([(entry, lineage_of(entry)) for entry in lost if entry.owner is None])

    def _remake(self, todo: list[tuple[Entry, Lineage | None]]) -> None:
        """Run the calls again that made those, and before them those that made their arguments, and so on."""
        made: dict[int, Entry] = {}
        calls: dict[int, Call] = {}
        while todo:
            entry, lineage = todo.pop()
            if not entry.ready or self._has_copy(entry):
                continue  # another return of the same call came first, or a reader's node has it too
            node = place_of(entry.value)
            put = node is not None and is_put(entry.value)
            entry.ready, entry.value = False, None
            if lineage is None:
                why = PUT_ONCE if put else MADE_ONCE
                self.owner.fail(entry, lost_with_node(entry.id, node, why))
            elif lineage.actor is not None and lineage.actor() is None:
                self.owner.fail(entry, lost_with_node(entry.id, node, NO_ACTOR))
            elif lineage.items is not None:
                self._want_item(lineage, entry, node, made, todo, calls)
            else:
                calls[lineage.call.sequence] = self._call(lineage, node, made, todo)
        for call in reversed(calls.values()):
            self._submit(call)

    def _want_item(
        self,
        lineage: Lineage,
        entry: Entry,
        node: bytes | None,
        made: dict[int, Entry],
        todo: list[tuple[Entry, Lineage | None]],
        calls: dict[int, Call],
    ) -> None:
        """An item of a generator is to come again: by the run that is under way, or by one more."""
        index = lineage.index(entry)
        lineage.wanted[index] = entry
        sequence = lineage.call.sequence
        running = self.owner.calls.under_way.get(sequence) or calls.get(sequence)
        if running is not None:
            if type(running.stream) is Rerun:
                running.stream.want(index)
        elif lineage.call.retries:
            call = calls[sequence] = self._call(lineage, node, made, todo)
            lineage.call.retries, lineage.call.attempt = call.retries, call.attempt
        else:
            del lineage.wanted[index]
            self.owner.fail(entry, lost_with_node(entry.id, node, MADE_ONCE))

    def _call(
        self,
        lineage: Lineage,
        node: bytes | None,
        made: dict[int, Entry],
        todo: list[tuple[Entry, Lineage | None]],
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
        stream = None
        if lineage.items is not None:
            stream = Rerun(lineage.call.sequence, lineage)
            end = Entry(self.owner.process, stream.sequence)
            end.when_ready(partial(self.stream_ended, lineage, stream))
            entries = [end]
        call = repeat(lineage, tuple(slots), entries)
        call.stream = stream
        handle = lineage.actor() if lineage.actor is not None else None
        if handle is not None:
            call.keep = (call.keep, handle)
            call.pool = Again(self.owner.actors.machine(handle), node or b"")
        return call

    def _entry(self, sequence: int) -> Entry:
        return self.owner.entry_type(self.owner.process, sequence)

    def _submit(self, call: Call) -> None:
        owner = self.owner
        owner.calls.under_way[call.sequence] = call
        inside = tuple([entry.id for _, entry in call.slots])
        actor = type(call.pool) is Again
        kind, actor_id = ("actor_method", call.pool.machine.actor_id) if actor else ("task", b"")
        returns = len(call.entries) if call.stream is None else m.STREAMING
        owner.feed.append(
            (events.TASK_SUBMITTED, time.time(), owner.process, call.sequence, call.function.name, kind, actor_id,
             b"", inside, returns)
        )  # fmt: skip
        if call.slots:
            owner.calls.depend(call)
        if call.ended:
            return
        if actor:
            call.pool.machine.submit(call)
        elif not call.missing:
            owner.tasks.lanes.submit(call)

    def _has_copy(self, entry: Entry) -> bool:
        """A node that had read it still has it: that becomes its place."""
        value: Any = entry.value
        if value is None:
            return False
        where = self.owner.copies.take_one(entry.id)
        if where is None:
            return False
        entry.value = at_copy(value, where, self.owner.copies.of(entry.id))
        entry.guard.segment.moved(entry.value)
        return True

    def _has_replica(self, entry: Entry) -> bool:
        """Another process' object, put with replicas: one on a living node becomes its place."""
        gone: Any = entry.value
        value = elsewhere(gone, {gone[2], *self.owner.dead_nodes})
        if value is None:
            return False
        entry.value = value
        segment = entry.guard.segment
        if segment is not None:  # its owner is dead, and we give it up
            segment.moved(value)
            self.owner.copies.take_over(entry.id, [Address(*each) for each in value[8]])
        return True


MADE_ONCE = "It cannot be made again: it is no result of a task with retries left"
PUT_ONCE = "It was put there, by nbray.put(), so nothing can make it again"
NO_ACTOR = (
    "It cannot be made again: it is the result of a method, and there is no handle to its actor any more"
)


def lost_with_node(oid: bytes, node: bytes | None, why: str = "") -> ObjectLostError:
    """What becomes of an object whose node is gone. ``lost`` says which and where, for who can do something about it."""
    where = node.hex() if node else "unknown"
    error = ObjectLostError(f"object {oid.hex()} was on node {where}, which is gone. {why}".rstrip())
    error.lost = (oid, node)  # type: ignore[attr-defined]
    error.__cause__ = NodeDiedError(f"node {where} is gone")
    return error
