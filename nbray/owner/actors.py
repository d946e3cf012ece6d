"""The owner's side of actors: calling them, and what becomes of the calls. How they are made is ``creating.py``'s."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

from nbray import events
from nbray.channel.connection import Connection
from nbray.core import actors as actor_effects
from nbray.core import messages as m
from nbray.core.actors import ALIVE, DEAD, LIMBO, ActorCalls
from nbray.core.calls import Call, Function
from nbray.core.ids import EACH_64TH, Address, object_id
from nbray.core.messages import Loss
from nbray.core.ownership import Entry
from nbray.exceptions import PendingCallsLimitExceeded, RayActorError, RaySystemError
from nbray.owner.calls import Target
from nbray.owner.endings import actor_error, why
from nbray.owner.guards import Guard
from nbray.owner.lineage import Again, lost_with_node

if TYPE_CHECKING:
    from nbray.owner.owner import Owner

#: Calls that wait to go in one message before the message goes.
_BATCH = 128
#: Seconds after which placement is asked what became of an actor whose connection broke.
LIMBO_LIMIT = 2.0


class Queue:
    """Stands where a task's call has its lane pool: the actor whose queue may move on."""

    __slots__ = ("machine",)

    def __init__(self, machine: ActorCalls) -> None:
        self.machine = machine

    def resolved(self, call: Call) -> None:
        self.machine.resolved(call)


class Actors:
    """Under the owner's lock throughout, but for ``call`` and ``kill``, which take it."""

    def __init__(self, owner: Owner) -> None:
        self.owner = owner
        self.effects: list[tuple[Any, ...]] = []
        self.machines: dict[bytes, ActorCalls] = {}
        self.unsent: dict[ActorCalls, list[Call]] = {}
        self._queues: dict[ActorCalls, Queue] = {}
        self._methods: dict[tuple[str, str], Function] = {}
        self._limbo: dict[ActorCalls, float] = {}
        self._init_failed: Guard | None = None

    # -- calling ---------------------------------------------------------------------------------------------------

    def begin(self, actor_id: bytes, name: str) -> ActorCalls:
        """The machine for an actor that is being created."""
        machine = self.machines[actor_id] = ActorCalls(actor_id, self.effects, name)
        return machine

    def machine(self, entry: Entry) -> ActorCalls:
        """The machine for an actor; a handle that came from elsewhere starts watching it."""
        actor_id = entry.id
        if entry.owner is None and entry.owner_id != self.owner.process:
            raise RaySystemError("this handle belongs to a session that shutdown() has ended")
        machine = self.machines.get(actor_id)
        if machine is None:
            machine = self.machines[actor_id] = ActorCalls(actor_id, self.effects)
            self.owner.send_up(("actor_watch", actor_id))
        return machine

    def call(
        self,
        entry: Entry,
        method: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        options: Any,
        class_name: str,
    ) -> list[Any]:
        """Submit a method call; answers its return entries, or its stream."""
        entries: list[Any]
        owner = self.owner
        payload, slots, refs, guard = owner.calls.arguments(args, kwargs)
        sequence = next(owner.sequences)
        function = self._methods.get((class_name, method))
        if function is None:
            function = self._methods[class_name, method] = Function(method, f"{class_name}.{method}", b"")  # type: ignore[arg-type]
        process, entry_type, returns = owner.process, owner.entry_type, options.returns
        stream = None
        if returns == 1:
            entries = [entry_type(process, sequence)]
        elif returns == m.STREAMING:
            stream = owner.streams.open(options.ahead)
            sequence, entries = stream.sequence, [stream.end]
        else:
            entries = [entry_type(process, sequence + i) for i in range(returns)]
        with owner.lock:
            owner.check_alive()
            machine = self.machine(entry)
            if options.unordered:
                machine.unordered = True
            if 0 < options.max_pending <= machine.unfinished:
                raise PendingCallsLimitExceeded(
                    f"{function.name}: {machine.unfinished} calls of this actor are unanswered, and max_pending_calls is "
                    f"{options.max_pending}. Wait for some, or raise the limit."
                )
            queue = self._queues.get(machine)
            if queue is None:
                queue = self._queues[machine] = Queue(machine)
            call = Call(
                sequence, function, payload, slots, entries, refs, (guard, entry), queue, options.max_task_retries,
                options.retry_exceptions,
            )  # fmt: skip
            call.extra = options.extra
            if stream is not None:
                owner.streams.join(call, stream)
            owner.calls.under_way[sequence] = call
            call.parent, call.origin = owner.cause()
            owner.feed.append(
                (events.TASK_SUBMITTED, time.time(), process, sequence, options.name or function.name, "actor_method",
                 machine.actor_id, call.parent, owner.calls.dependencies(slots) if slots else (), returns)
            )  # fmt: skip
            if slots:
                owner.calls.depend(call)
            if not call.ended:
                machine.submit(call)
            if self.effects:
                owner.carry_out()
        if not sequence & EACH_64TH:
            owner.lead.take_turn()
        return entries if stream is None else [stream]

    def kill(self, entry: Entry, no_restart: bool) -> None:
        with self.owner.lock:
            machine = self.machine(entry)
            self.flush()
            machine.killed()
            self._in_limbo(machine)
            self.owner.send_up(("actor_kill", machine.actor_id, no_restart))

    def dropped(self, actor_id: bytes) -> None:
        """The last handle anywhere is gone."""
        self.owner.send_up(("actor_drop", actor_id))

    def handle_dropped(self, actor_id: bytes) -> None:
        """This process has no handle any more to an actor that another created."""
        machine = self.machines.get(actor_id)
        if machine is not None and not machine.unfinished:
            if machine.peer is not None:
                machine.peer.close()
            self._forget(machine)

    def _forget(self, machine: ActorCalls) -> None:
        """Handles that are still there begin anew: placement remembers the dead."""
        self.machines.pop(machine.actor_id, None)
        self._queues.pop(machine, None)
        self._limbo.pop(machine, None)
        self.unsent.pop(machine, None)

    def peers(self) -> list[Connection]:
        """The connections to living actors."""
        return [machine.peer for machine in self.machines.values() if machine.peer is not None]

    # -- effects and notices ---------------------------------------------------------------------------------------

    def carry_out(self) -> None:
        while self.effects:
            effects, self.effects[:] = list(self.effects), []
            for effect in effects:
                what, subject = effect[0], effect[1]
                if what == actor_effects.SEND:
                    self._send(subject, effect[2])
                elif what == actor_effects.CONNECT:
                    self._connect(subject, effect[2])
                elif what == actor_effects.CANCELLED:
                    self.owner.cancelling.ended(subject)
                elif what == actor_effects.INTERRUPT:
                    self.flush()  # it may be among what was gathered
                    self.owner.cancelling.interrupt(subject, effect[2])
                else:
                    self._fail(subject, effect[2], effect[3])

    def _send(self, machine: ActorCalls, calls: list[Call]) -> None:
        """The first call goes at once; those behind unanswered ones are gathered, they would only queue there."""
        held = self.unsent.get(machine)
        if held is None:
            if len(machine.sent) == len(calls):
                self.owner.calls.send(machine.peer, machine.known, calls)
                return
            held = self.unsent[machine] = []
            self.owner.lead.nudge()
        held.extend(calls)
        if len(held) >= _BATCH:
            del self.unsent[machine]
            self.owner.calls.send(machine.peer, machine.known, held)

    def flush(self) -> None:
        """Send what was gathered."""
        while self.unsent:
            machine, calls = self.unsent.popitem()
            if machine.peer is not None:
                self.owner.calls.send(machine.peer, machine.known, calls)

    def _connect(self, machine: ActorCalls, address: Any) -> None:
        self.unsent.pop(machine, None)
        address = Address(*address)
        try:
            connection = self.owner.reactor.connect(address)
        except OSError:  # out of descriptors: after a while placement is asked for the actor again
            machine.lost(machine.peer)
            self._limbo[machine] = time.monotonic()
            return
        connection.on_message = self.owner.peers.message
        connection.on_close = self._closed
        connection.on_open = partial(self.owner.chronicle.process_up, "actor")
        connection.context = Target(address.process, machine)
        connection.send((m.ATTACH_ACTOR, machine.actor_id, machine.epoch))
        machine.peer = connection

    def tick(self, now: float) -> None:
        """Placement has said nothing of an actor whose connection broke: only the connection may have."""
        for machine, since in self._limbo.items():
            if now - since > LIMBO_LIMIT:
                self._limbo[machine] = now
                self.owner.send_up(("actor_watch", machine.actor_id))

    def _in_limbo(self, machine: ActorCalls) -> None:
        """Ask for it if placement says nothing; but a connection may close long after the actor's end was told."""
        if machine.state == LIMBO and self.machines.get(machine.actor_id) is machine:
            self._limbo[machine] = time.monotonic()

    def _closed(self, connection: Connection, error: BaseException | None) -> None:
        machine = connection.context.machine
        self.owner.chronicle.process_down("actor", connection, error or "ended")
        self.unsent.pop(machine, None)
        machine.lost(connection)
        self._in_limbo(machine)
        self.owner.peers.process_gone(connection.context.process)

    def changed(self, actor_id: bytes, state: str, epoch: int, address: Any, reason: Loss | None) -> None:
        """Placement says what became of an actor."""
        machine = self.machines.get(actor_id)
        if machine is None:
            return
        before = machine.state
        self._limbo.pop(machine, None)
        if machine.peer is not None and (state != ALIVE or epoch > machine.epoch):
            machine.peer.drain()  # what that incarnation had answered may lie unread in the socket
        machine.changed(state, epoch, address, reason)
        call = self.owner.creating.call(actor_id)
        if (
            (call is not None or self.effects)
            and machine.state == DEAD
            and reason is not None
            and reason[0] == "init"
            and type(reason[1]) is bytes
        ):
            # Whoever asks for what came of its calls is told why.
            author = (machine.name, call.origin if call is not None else "", actor_id, b"")
            self._init_failed = self.owner.unasked.failure(author, reason[1])
        if call is not None and machine.state != before:
            process = address[0] if address else b""
            self.owner.feed.append(
                (
                    events.ACTOR,
                    time.time(),
                    actor_id,
                    call.function.name,
                    call.pool.options.name or "",
                    machine.state,
                    epoch,
                    process,
                    why(reason),
                )
            )
        if machine.state == DEAD:
            self.owner.creating.over(actor_id)
            self.carry_out()
            self._init_failed = None
            self._forget(machine)
        elif machine.state == ALIVE and machine.peer is None:
            self.carry_out()

    def _fail(self, call: Call, dead: bool, reason: Loss | None) -> None:
        error = actor_error(call.function.name, dead, reason)
        if type(call.pool) is Again:
            oid = object_id(self.owner.process, call.sequence)
            error = lost_with_node(oid, call.pool.node, f"It cannot be made again: {error}")
        if isinstance(error, RayActorError):
            error.actor_id = call.pool.machine.actor_id.hex()
            error.actor_init_failed = reason is not None and reason[0] == "init"
        name = call.function.name
        guard = self._init_failed if reason is not None and reason[0] == "init" else None
        self.owner.calls.fail(call, self.owner.values.failure(error, name), guard=guard)
