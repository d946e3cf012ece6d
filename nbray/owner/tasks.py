"""The owner's side of tasks: submitting them, the lanes they run on, and what placement says of those."""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from nbray import events
from nbray.channel.connection import Connection
from nbray.core import lanes as lane_effects
from nbray.core import messages as m
from nbray.core.calls import Call, Function
from nbray.core.ids import EACH_64TH, Address
from nbray.core.lanes import Lane, Lanes
from nbray.core.messages import Message, Spec
from nbray.exceptions import ProcessLimitExceeded, TaskUnschedulableError
from nbray.owner.calls import Target
from nbray.owner.endings import crash_error

if TYPE_CHECKING:
    from nbray.owner.owner import Owner

#: Seconds for which a crashed call waits for placement to say why.
VERDICT = 2.0
#: How often a call runs again whose executor was ended because its node ran out of memory. That does not count as a retry.
MEMORY_RETRIES = 5
#: Seconds before the first of these; twice as many before each one that follows.
MEMORY_PAUSE = 1.0


class Verdict(NamedTuple):
    """Calls of a lane whose connection ended: they wait until ``until`` for placement to say why."""

    until: float
    crashed: list[Call]
    doubted: list[Call]


class Tasks:
    """Under the owner's lock throughout, but for ``submit``, which takes it."""

    def __init__(self, owner: Owner) -> None:
        self.owner = owner
        self.lanes = Lanes()
        self._lane_of: dict[int, Lane] = {}
        self._verdicts: dict[int, Verdict] = {}
        self._paused: list[tuple[float, Call]] = []

    def submit(
        self, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any], options: Any
    ) -> list[Any]:
        """Submit a task; answers its return entries, or its stream."""
        owner = self.owner
        payload, slots, refs, guard = owner.calls.arguments(args, kwargs)
        sequence = next(owner.sequences)
        process, entry_type, returns = owner.process, owner.entry_type, options.returns
        stream = None
        if returns == 1:
            entries: list[Any] = [entry_type(process, sequence)]
        elif returns == m.STREAMING:
            stream = owner.streams.open(options.ahead)
            sequence, entries = stream.sequence, [stream.end]
        else:
            entries = [entry_type(process, sequence + i) for i in range(returns)]
        with owner.lock:
            owner.check_alive()
            call = Call(
                sequence, function, payload, slots, entries, refs, guard, self.lanes.pool(owner.in_environment(options.spec)),
                options.max_retries, options.retry_exceptions,
            )  # fmt: skip
            call.priority = options.priority
            call.extra = options.extra
            if stream is not None:
                owner.streams.join(call, stream)
            owner.calls.under_way[sequence] = call
            call.parent, call.origin = owner.cause()
            owner.feed.append(
                (events.TASK_SUBMITTED, time.time(), process, sequence, options.name or function.name, "task", b"",
                 call.parent, owner.calls.dependencies(slots) if slots else (), returns)
            )  # fmt: skip
            if slots:
                owner.calls.depend(call)
            if not call.missing and not call.ended:
                self.lanes.submit(call)
                if self.lanes.has_effects:
                    owner.carry_out()
        if not sequence & EACH_64TH:
            owner.lead.take_turn()
        if owner.interrupts.pending:
            owner.interrupts.install()
        return entries if stream is None else [stream]

    def peers(self) -> list[Connection]:
        """The connections of all lanes."""
        return [lane.peer for lane in self._lane_of.values()]

    def kept(self) -> list[Sequence[tuple[str, int]]]:
        """What each lane has that is kept though nothing runs on it."""
        with self.owner.lock:
            return [pool.spec[0] for pool in self.lanes.pools() for _ in pool.idle]

    # -- effects ---------------------------------------------------------------------------------------------------

    def carry_out(self) -> None:
        """Do what the lanes' machine decided."""
        owner = self.owner
        for effect in self.lanes.take_effects():
            what = effect[0]
            if what == lane_effects.SEND:
                lane = effect[1]
                owner.calls.send(lane.peer, lane.known, effect[2])
            elif what == lane_effects.WANT:
                head = self.lanes.pool(effect[1]).ready.head()
                priority = head.priority if head is not None else 0
                owner.send_up(("want", effect[1], effect[2], owner.current_lease(), priority))
            elif what == lane_effects.GIVE:
                self._give(effect[1])
            elif what == lane_effects.RECALL:
                effect[1].peer.send((m.RECALL, effect[2]))
            elif what == lane_effects.CANCELLED:
                owner.cancelling.ended(effect[1])
            elif what == lane_effects.INTERRUPT:
                owner.cancelling.interrupt(effect[1], effect[2])
            elif what == lane_effects.CRASHED:
                self._verdict(effect[2]).crashed.append(effect[1])
            else:
                self._verdict(effect[2]).doubted.append(effect[1])

    def tick(self, now: float) -> None:
        """Once a second or so."""
        owner = self.owner
        self.lanes.tick(now)
        for lease in [lease for lease, verdict in self._verdicts.items() if verdict.until < now]:
            verdict = self._verdicts.pop(lease)
            for call in [*verdict.crashed, *verdict.doubted]:
                self._judge(call, None)
            # Only the connection broke. Given back, the executor might be granted again and not be reached again, for ever.
            owner.send_up(("abandon", lease))
        if self._paused:
            due = [call for when, call in self._paused if when <= now]
            self._paused = [(when, call) for when, call in self._paused if when > now]
            for call in due:
                if not call.ended:
                    self.lanes.again(call)

    # -- what placement and connections say --------------------------------------------------------------------------

    def pause_of(self, call: Call) -> float | None:
        """Seconds until a call runs again whose executor was ended for memory; None if that is not so."""
        now = time.monotonic()
        return next((max(when - now, 0.0) for when, each in self._paused if each is call), None)

    def reclaim(self, n: int) -> None:
        self.lanes.reclaim(n, time.monotonic())

    def granted(self, lease: int, spec: Spec, address: Any) -> None:
        owner = self.owner
        address = Address(*address)
        try:
            connection = owner.reactor.connect(address)
        except OSError:  # out of descriptors: somebody else may have the lease
            owner.send_up(("give", lease))
            return
        connection.on_message = owner.peers.message
        connection.on_close = self._lane_closed
        connection.on_open = partial(owner.chronicle.process_up, "lane")
        connection.send((m.ATTACH, lease, owner.job, owner.namespace))
        target = Target(address.process, None)
        connection.context = target
        # granted() already sends: the lane has to know its connection, the connection its lane.
        lane = self.lanes.granted(lease, spec, connection, time.monotonic())
        target.machine = lane
        self._lane_of[lease] = lane

    def returned(self, connection: Connection, message: Message) -> None:
        """RETURNED"""
        _, sequences, blocked = message
        context = connection.context
        if context is not None and not context.machine.gone:
            if not sequences and not blocked:
                self.lanes.resumed(context.machine)
            self.lanes.returned(context.machine, sequences, blocked, time.monotonic())
            self.owner.carry_out()

    def last(self, connection: Connection, message: Message) -> None:
        """LAST"""
        context = connection.context
        if context is not None and not context.machine.gone:
            self.lanes.last(context.machine, message[1], time.monotonic())
            self.owner.carry_out()

    def _lane_closed(self, connection: Connection, error: BaseException | None) -> None:
        owner = self.owner
        lane = connection.context.machine
        owner.chronicle.process_down("lane", connection, error or "ended")
        owner.peers.process_gone(connection.context.process)
        if not lane.gone:
            # Placement hears of the executor's end from its node, with the reason. Giving the lease back now would lose that.
            self._verdict(lane)
            self.lanes.lost(lane, charge=connection.opened, dead=False)
            owner.carry_out()
        self._lane_of.pop(lane.lease, None)

    def _give(self, lane: Lane) -> None:
        owner = self.owner
        owner.chronicle.process_down("lane", lane.peer)
        self._lane_of.pop(lane.lease, None)
        owner.peers.process_gone(lane.peer.context.process, alive=True)
        lane.peer.close()
        owner.send_up(("give", lane.lease))

    def abandon(self, lane: Lane) -> None:
        """The lane's executor does not react. It is killed; what waited behind its call runs elsewhere."""
        owner = self.owner
        self._lane_of.pop(lane.lease, None)
        self.lanes.lost(lane)
        owner.chronicle.process_down("lane", lane.peer, "killed")
        owner.peers.process_gone(lane.peer.context.process, alive=True)
        lane.peer.close()
        owner.send_up(("abandon", lane.lease))

    def _verdict(self, lane: Lane) -> Verdict:
        """What waits for placement to say how the lane's executor ended."""
        return self._verdicts.setdefault(lane.lease, Verdict(time.monotonic() + VERDICT, [], []))

    def lease_lost(self, lease: int, reason: Any) -> None:
        owner = self.owner
        lane = self._lane_of.pop(lease, None)
        if lane is not None and not lane.gone:
            self.lanes.ending(lane)
            lane.peer.drain()  # what it had answered may lie unread in the socket
            lane.peer.close()
            owner.peers.process_gone(lane.peer.context.process)
            self.lanes.lost(lane, charge=lane.peer.opened)
            owner.carry_out()
        verdict = self._verdicts.pop(lease, None)
        if verdict is not None:
            # It has died, so what it had answered has come, and it had not begun what comes behind the first one unanswered.
            for call in verdict.crashed:
                self._judge(call, reason)
            others = [call for call in verdict.doubted if not call.ended]
            if others:
                self.lanes.again(*others)
            owner.carry_out()

    def _judge(self, call: Call, reason: Any) -> None:
        """Whether a call that has crashed runs again, when its executor ended for that reason."""
        if call.ended:
            return
        if reason is not None:  # it is dead, and what it may have written for its answer nobody knows
            for entry in call.entries:
                self.owner.values.store.drop_all_of(entry.id)
        if reason is not None and reason[0] == "memory":
            if call.charge_memory(MEMORY_RETRIES):
                pause = MEMORY_PAUSE * 2 ** (call.memory_kills - 1)
                self._paused.append((time.monotonic() + pause, call))
                return
        elif call.charge():
            self.lanes.again(call)
            return
        name = call.function.name
        value = self.owner.values.failure(crash_error(name, reason, call.memory_kills), name)
        self.owner.calls.fail(call, value, guard=self.owner.unasked.guard(call, value))

    def infeasible(self, spec: Spec, text: str) -> None:
        for call in self.lanes.infeasible(spec):
            self.owner.calls.fail_with(
                call, TaskUnschedulableError(f"{call.function.name} can never run: {text}")
            )

    def full(self, spec: Spec, text: str) -> None:
        call = self.lanes.full(spec)
        if call is not None:
            self.owner.calls.fail_with(
                call, ProcessLimitExceeded(f"{call.function.name} cannot run: {text}.")
            )

    def unmet(self, spec: Spec, actor: bytes | None, text: str) -> None:
        """Work of ours waits for a node that there is not: said once, and it waits on."""
        if actor is not None:
            machine = self.owner.actors.machines.get(actor)
            name = machine.name if machine is not None else ""
        else:
            call = self.lanes.pool(spec).ready.head()
            name = call.function.name if call is not None else ""
        said = f"{name or 'a task of this session'} {text}. It waits until the cluster has such a node."
        self.owner.deferred.append(partial(warnings.warn, said, RuntimeWarning, stacklevel=2))
