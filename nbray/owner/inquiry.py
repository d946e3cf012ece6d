"""Finding out why a value is not there: what this process knows, what others answer when asked, what placement has.

Nothing of it runs before somebody asks. Every process answers for itself (INQUIRE, ACTIVITY), also while its user code runs;
whoever wants to know asks one after the other along the way, for ``PATIENCE`` seconds at most.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from nbray import events
from nbray.channel.connection import Connection
from nbray.core import explaining as e
from nbray.core import messages as m
from nbray.core.actors import ALIVE, ActorCalls
from nbray.core.calls import Call
from nbray.core.explaining import Activity, Explanation, Facts, Held, Running, Standing, Supply
from nbray.core.ids import Address, call_of, object_id, owner_of, sequence_of
from nbray.core.lanes import Lane, Pool
from nbray.core.ledger import Asks, asks_of
from nbray.core.messages import Message
from nbray.core.ownership import Entry
from nbray.core.ready import Ready
from nbray.exceptions import RaySystemError

if TYPE_CHECKING:
    from nbray.owner.owner import Owner

#: Seconds for all answers together.
PATIENCE = 1.0
#: Rounds of questions, questions of a round, and refs of a call that waits which are told.
_ROUNDS, _QUESTIONS, _REFS = 16, 32, 8


class Inquiry:
    """Of one owner. What its process does, if it runs calls, ``owner.activity`` says."""

    def __init__(self, owner: Owner) -> None:
        self.owner = owner
        self._requests = itertools.count(1)
        self._answers: dict[int, tuple[Any, ...] | None] = {}

    # -- answering: under the lock ---------------------------------------------------------------------------------

    def asked(self, connection: Connection, message: Message) -> None:
        """INQUIRE"""
        _, request, oids = message
        activity = self.owner.activity()
        connection.send(
            (
                m.ACTIVITY,
                request,
                None if activity is None else tuple(activity),
                [tuple(self._standing(oid)) for oid in oids],
            )
        )

    def answered(self, connection: Connection, message: Message) -> None:
        """ACTIVITY"""
        _, request, activity, standings = message
        if request in self._answers:
            self._answers[request] = (activity, standings)

    def refs(self, entries: Iterable[Entry]) -> tuple[e.Ref, ...]:
        """The first of those that are not ready."""
        pending = itertools.islice((entry for entry in entries if not entry.ready), _REFS)
        return tuple((entry.id, tuple(entry.owner or self.owner.address)) for entry in pending)

    def names(self, entries: Sequence[Entry]) -> tuple[tuple[str, ...], bool]:
        """The names of the calls that make some entries, as far as they are known here, and whether all are tasks of this
        process that are under way."""
        under_way, process = self.owner.calls.under_way, self.owner.process
        found: dict[str, None] = {}
        certain = bool(entries)
        for entry in itertools.islice((entry for entry in entries if not entry.ready), _REFS):
            call = under_way.get(call_of(entry.sequence)) if entry.owner_id == process else None
            found[call.function.name if call is not None else "a value of another process"] = None
            certain = certain and call is not None and type(call.pool) is Pool
        return tuple(found), certain

    def names_of(self, entries: Sequence[Entry]) -> list[str]:
        """The functions of the calls that make some entries; "" where that is another process' business, or long ago."""
        with self.owner.lock:
            find, process = self.owner.calls.under_way.get, self.owner.process
            calls = [find(call_of(e.sequence)) if e.owner_id == process else None for e in entries]
        over = {
            call_of(entry.sequence)
            for entry, call in zip(entries, calls, strict=True)
            if call is None and entry.owner_id == process
        }
        told = self._names_in_feed(over) if over else {}
        return [
            call.function.name if call is not None else told.get(call_of(entry.sequence), "")
            for entry, call in zip(entries, calls, strict=True)
        ]

    def _names_in_feed(self, sequences: set[int]) -> dict[int, str]:
        """The names of calls that are over, as far back as the feed goes."""
        process = self.owner.process
        raws, _ = self.owner.feed.raw_since(0)
        return {
            raw[3]: raw[4]
            for raw in raws
            if raw[0] == events.TASK_SUBMITTED and raw[3] in sequences and raw[2] == process
        }

    def running_of(self, entries: Sequence[Entry]) -> list[str]:
        """What runs of the calls that make some entries: a line each, the functions with their pids."""
        owner = self.owner
        with owner.lock:
            wanted = {call_of(entry.sequence) for entry in entries if entry.owner_id == owner.process}
            found = []
            for peer in [*owner.tasks.peers(), *owner.actors.peers()]:
                call = peer.context.machine.running
                if call is not None and call.sequence in wanted:
                    found.append(f"{call.function.name} on pid {peer.pid}")
        return found

    def submitted(self, parent: bytes) -> list[Entry]:
        """What a call has submitted and what is not there."""
        calls = self.owner.calls.under_way.values()
        return [entry for call in calls if call.parent == parent for entry in call.entries[:1]]

    def _standing(self, oid: bytes) -> Standing:
        owner = self.owner
        call = (
            owner.calls.under_way.get(call_of(sequence_of(oid))) if owner_of(oid) == owner.process else None
        )
        if call is not None:
            return self._of(call)
        entry = owner.canonical.get(oid) or owner.holds.entry(sequence_of(oid))
        if entry is None:
            return Standing(e.GONE)
        return Standing(e.READY if entry.ready else e.ENDED)

    def _of(self, call: Call) -> Standing:
        task = object_id(self.owner.process, call.sequence)
        name, place = call.function.name, call.place
        if type(call.pool) is not Pool:
            return self._method(call, task, call.pool.machine)
        if call.missing:
            return Standing(e.ARGUMENTS, task, name, refs=self.refs(entry for _, entry in call.slots))
        asks = asks_of(call.pool.spec)
        if type(place) is Lane:
            peer = place.peer
            address = peer.peer or Address(peer.context.process, b"", "", "")
            return Standing(e.SENT, task, name, process=tuple(address), pid=peer.pid)
        if type(place) is Ready:
            return Standing(e.QUEUED, task, name, asks=asks)
        pause = self.owner.tasks.pause_of(call)
        if pause is not None:
            return Standing(e.PAUSED, task, name, asks=asks, seconds=pause)
        return Standing(e.ENDED, task, name)

    def _method(self, call: Call, task: bytes, machine: ActorCalls) -> Standing:
        name = call.function.name
        if call.missing:
            return Standing(e.ARGUMENTS, task, name, refs=self.refs(entry for _, entry in call.slots))
        refs: tuple[e.Ref, ...] = ()
        first = next((each for each in machine.queue if not each.ended), None)
        if machine.state == ALIVE:
            if first is not None and first.missing and call.place is None:
                refs = self.refs(entry for _, entry in first.slots)
            peer = machine.peer
            process = tuple(machine.address) if machine.address is not None else ()
            return Standing(
                e.ACTOR, task, name, refs, process=process, pid=peer.pid if peer is not None else 0,
                actor=machine.actor_id, state=machine.state,
            )  # fmt: skip
        creation = self.owner.creating.call(machine.actor_id)
        if creation is not None and creation.missing:
            refs = self.refs(entry for _, entry in creation.slots)
        return Standing(e.ACTOR, task, name, refs, actor=machine.actor_id, state=machine.state)

    # -- asking: no lock held --------------------------------------------------------------------------------------

    def explain(self, entries: Sequence[Entry], done: Callable[[], bool] = lambda: False) -> Explanation:
        """Why those entries are not ready, as far as it can be found out within ``PATIENCE`` seconds, and until ``done()``."""
        pending = [entry for entry in entries if not entry.ready]
        return e.explain(self._gather(pending, done), [entry.id for entry in pending])

    def _gather(self, entries: Sequence[Entry], done: Callable[[], bool]) -> Facts:
        owner = self.owner
        end = time.monotonic() + PATIENCE
        facts = Facts(owner.process, {}, {}, None, PATIENCE)
        with owner.lock:
            # Of very many, those at the front: the rest is told as "more like it" at best.
            own = [entry for entry in entries if entry.owner is None]
            for entry in own[:10_000]:
                call = owner.calls.under_way.get(call_of(entry.sequence))
                facts.objects[entry.id] = self._of(call) if call is not None else self._standing(entry.id)
        todo: list[e.Ref] = []
        for entry in entries:
            if entry.owner is not None and len(todo) < _QUESTIONS:
                todo.append((entry.id, tuple(entry.owner)))
        looked: set[Any] = set()
        fresh: list[Any] = _one_of_each(facts.objects.values())
        for _ in range(_ROUNDS):
            todo += [ref for ref in e.refs_of(fresh) if ref[0] not in facts.objects]
            processes = {s.process for s in fresh if isinstance(s, Standing) and s.process}
            if facts.supply is None and any(_wants_supply(fact) for fact in fresh):
                facts = facts._replace(supply=self._supply(end))
                processes |= _holders(facts)
            fresh = self._round(todo, processes, facts, looked, end, done)
            todo = []
            if not fresh or done() or time.monotonic() >= end:
                break
        return facts

    def _round(
        self,
        refs: list[e.Ref],
        processes: Iterable[Any],
        facts: Facts,
        looked: set[Any],
        end: float,
        done: Callable[[], bool],
    ) -> list[Any]:
        """Ask all of them at once; answers what is new."""
        owner = self.owner
        questions: dict[bytes, tuple[tuple[Any, ...], list[bytes]]] = {}
        fresh: list[Any] = []
        asked: dict[int, tuple[bytes, list[bytes]]] = {}
        with owner.lock:
            connections = {
                peer.context.process: peer for peer in [*owner.tasks.peers(), *owner.actors.peers()]
            }
            for oid, address in refs:
                if oid in looked:
                    continue
                looked.add(oid)
                if address[0] == owner.process:
                    facts.objects[oid] = self._standing(oid)
                    fresh.append(facts.objects[oid])
                else:
                    questions.setdefault(address[0], (address, []))[1].append(oid)
            for address in processes:
                if address[0] not in looked and address[0] != owner.process:
                    looked.add(address[0])
                    questions.setdefault(address[0], (address, []))
            for process, (address, oids) in itertools.islice(questions.items(), _QUESTIONS):
                connection = connections.get(process)
                if connection is None:
                    try:
                        connection = owner.peers.to(Address(*address))
                    except OSError:  # out of descriptors
                        continue
                request = next(self._requests)
                self._answers[request] = None
                asked[request] = (process, oids)
                connection.send((m.INQUIRE, request, oids))
        try:
            owner.lead.run_until(
                lambda: done() or all(self._answers[request] is not None for request in asked), end
            )
        finally:
            answers = {request: self._answers.pop(request) for request in asked}
        for request, answer in answers.items():
            process, oids = asked[request]
            if answer is None:
                facts.processes.setdefault(process, None)
                continue
            activity, standings = answer
            if activity is not None:
                found = _activity(activity)
                facts.processes[process] = found
                fresh.append(found)
            for oid, standing in zip(oids, standings, strict=True):
                facts.objects[oid] = _standing(standing)
                fresh.append(facts.objects[oid])
        return fresh

    def _supply(self, end: float) -> Supply | None:
        try:
            nodes, leases, placing = self.owner.questions.ask(
                "supply", timeout=max(end - time.monotonic(), 0.1)
            )
        except RaySystemError:
            return None
        return Supply(
            tuple(nodes),
            tuple(Held(*lease) for lease in leases),
            tuple((actor, Asks(*asks)) for actor, asks in placing),
        )


def _standing(fields: tuple[Any, ...]) -> Standing:
    standing = Standing(*fields)
    return standing._replace(asks=Asks(*standing.asks))


def _activity(fields: tuple[Any, ...]) -> Activity:
    pid, actor, beginning, running, waiting = fields
    return Activity(pid, actor, beginning, tuple(Running(*each) for each in running), waiting)


def _wants_supply(fact: Any) -> bool:
    return isinstance(fact, Standing) and (
        fact.stage == e.QUEUED or (fact.stage == e.ACTOR and not fact.process)
    )


def _holders(facts: Facts) -> set[tuple[Any, ...]]:
    """The addresses of some executors that hold something, and of those for which they do."""
    leases = facts.supply.leases if facts.supply is not None else ()
    by_process = {lease.process[0]: lease.process for lease in leases if lease.process}
    found = {lease.process for lease in leases if lease.process and (lease.has or lease.actor)}
    found |= {by_process[lease.owner] for lease in leases if lease.owner in by_process}
    return set(itertools.islice(found, _QUESTIONS))


def _one_of_each(standings: Iterable[Standing]) -> list[Standing]:
    """Of calls that stand alike the first: the others would lead the same way."""
    found: dict[tuple[str, str], Standing] = {}
    for standing in standings:
        found.setdefault((standing.name, standing.stage), standing)
    return list(found.values())
