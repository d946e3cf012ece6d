"""The owner's side of actors: creating them, calling them, and what becomes of their calls."""

from __future__ import annotations

import itertools
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import msgpack

from nbray import events
from nbray.channel.connection import Connection
from nbray.core import actors as actor_effects
from nbray.core import messages as m
from nbray.core.actors import ALIVE, DEAD, LIMBO, ActorCalls
from nbray.core.calls import Call, Function
from nbray.core.ids import EACH_64TH, Address, object_id
from nbray.core.messages import EXIT_ACTOR, Loss
from nbray.core.ownership import Entry, with_refs
from nbray.exceptions import (
    ActorDiedError,
    ActorUnavailableError,
    ActorUnschedulableError,
    PendingCallsLimitExceeded,
    RayActorError,
    RayError,
    RaySystemError,
)
from nbray.owner.calls import Target
from nbray.owner.guards import ActorLife, Guard
from nbray.owner.lineage import Again, lost_with_node
from nbray.wire.errors import describe_error

if TYPE_CHECKING:
    from nbray.owner.owner import Owner

#: Calls that wait to go in one message before the message goes.
_BATCH = 128
#: Seconds after which placement is asked what became of an actor whose connection broke.
LIMBO_LIMIT = 2.0


class NameTaken(Exception):
    """
    Attributes:
        handle: of the living actor that has the name, packed.
    """

    def __init__(self, handle: bytes) -> None:
        super().__init__("another actor has that name")
        self.handle = handle


class Creation:
    """An actor that waits for its constructor's arguments. Stands where a call has its pool."""

    __slots__ = ("actors", "machine", "spec", "options", "class_name")

    def __init__(self, actors: Actors, machine: ActorCalls, options: Any, class_name: str) -> None:
        self.actors = actors
        self.machine = machine
        self.options = options
        self.class_name = class_name

    def resolved(self, call: Call) -> None:
        self.actors.announce(self, call)


class Queue:
    """Stands where a task's call has its lane pool: the actor whose queue may move on."""

    __slots__ = ("machine",)

    def __init__(self, machine: ActorCalls) -> None:
        self.machine = machine

    def resolved(self, call: Call) -> None:
        self.machine.pump()


class Actors:
    """Under the owner's lock throughout, but for ``create``, ``call``, ``kill`` and ``named``, which take it."""

    def __init__(self, owner: Owner) -> None:
        self.owner = owner
        self.effects: list[tuple[Any, ...]] = []
        self.machines: dict[bytes, ActorCalls] = {}
        self.unsent: dict[ActorCalls, list[Call]] = {}
        self._queues: dict[ActorCalls, Queue] = {}
        self._methods: dict[tuple[str, str], Function] = {}
        self._creations: dict[bytes, Call] = {}
        self._limbo: dict[ActorCalls, float] = {}
        self._requests = itertools.count(1)
        self._answers: dict[int, tuple[Any, ...] | None] = {}

    # -- creating --------------------------------------------------------------------------------------------------

    def create(
        self, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any], options: Any
    ) -> Entry:
        """Create an actor; answers the entry that lives as long as somebody has a handle.

        Raises:
            NameTaken: a living actor has its name.
        """
        owner = self.owner
        payload, slots, refs, guard = owner.calls.arguments(args, kwargs)
        sequence, actor_id = owner.new_id()
        if options.name is not None:
            self._claim(actor_id, options)
        entry = owner.entry_type(owner.process, sequence)
        entry.guard = Guard()
        entry.guard.life = ActorLife(owner.garbage, actor_id)
        with owner.lock:
            owner.check_alive()
            owner.canonical[actor_id] = entry
            machine = self.machines[actor_id] = ActorCalls(actor_id, self.effects, function.name)
            creation = Creation(self, machine, options, function.name)
            call = Call(sequence, function, payload, slots, [], refs, guard, creation, 0, False)
            # Restarts need the arguments again, so they live as long as the actor.
            self._creations[actor_id] = call
            call.parent, call.origin = owner.cause()
            owner.feed.append(
                (
                    events.ACTOR,
                    time.time(),
                    actor_id,
                    function.name,
                    options.name or "",
                    "pending",
                    0,
                    b"",
                    "",
                )
            )
            if slots:
                owner.calls.depend(call)
            if call.ended:
                self._creation_failed(machine, call)
            elif not call.missing:
                self.announce(creation, call)
            owner.carry_out()
        return entry

    def _claim(self, actor_id: bytes, options: Any) -> None:
        """Have the name for that actor before anybody else has: placement decides, so that two processes at once agree."""
        handle = self._handle(actor_id, options.meta)
        try:
            holder, theirs = self.ask("actor_claim", actor_id, options.name, options.namespace, handle)
        except BaseException:  # Ctrl-C, or no answer: the claim may have been heard
            with self.owner.lock:
                self.owner.send_up(("actor_drop", actor_id))
            raise
        if holder != actor_id:
            raise NameTaken(theirs)

    def announce(self, creation: Creation, call: Call) -> None:
        """Its arguments are there: placement takes over."""
        owner = self.owner
        if call.ended:
            self._creation_failed(creation.machine, call)
            return
        function = call.function
        blob = function.blob
        if function.refs is not None and function.refs.contained:
            blob = with_refs(blob, self._lend(function.refs.contained))
        payload = with_refs(call.payload, self._lend(call.refs)) if call.refs else call.payload
        slots = []
        for key, entry in call.slots:
            inside = entry.guard.contained if entry.guard is not None else ()
            value: Any = entry.value
            slots.append((key, with_refs(value, self._lend(inside)) if inside else value))
        options = creation.options
        actor_id = creation.machine.actor_id
        handle = self._handle(actor_id, options.meta)
        packed = msgpack.packb(
            (
                function.name,
                blob,
                payload,
                slots,
                options.max_concurrency,
                owner.job,
                owner.namespace,
                {**_more(options), "handle": handle, "origin": call.origin, "reloads": function.reloads},
            )
        )
        directory = {
            "held": options.held_spec,
            "max_restarts": options.max_restarts,
            "name": options.name or "",
            "namespace": options.namespace or "",
            "detached": options.detached,
            "class_name": function.name,
            "handle": handle,
        }
        owner.send_up(("actor_new", actor_id, options.placing_spec, packed, directory))

    def _handle(self, actor_id: bytes, meta: bytes) -> bytes:
        packed: bytes = msgpack.packb((actor_id, tuple(self.owner.address), meta))
        return packed

    def _lend(self, entries: Any) -> tuple[Any, ...]:
        """Wire refs without holds: whoever gets them asks for its own, while we keep ours as long as the actor lives."""
        refs = []
        for entry in entries:
            self.owner.canonical[entry.id] = entry
            refs.append((entry.id, tuple(entry.owner or self.owner.address), None, False))
        return tuple(refs)

    def _creation_failed(self, machine: ActorCalls, call: Call) -> None:
        value: Any = next(entry.value for _, entry in call.slots if entry.failed)
        machine.changed(DEAD, machine.epoch + 1, None, ("init", value[1], 0, 0, ""))
        self.owner.send_up(("actor_drop", machine.actor_id))  # others may wait for it

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

    # -- calling ---------------------------------------------------------------------------------------------------

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

    def creation(self, actor_id: bytes) -> Call | None:
        """The constructor's call of an actor that this process has created."""
        return self._creations.get(actor_id)

    def peers(self) -> list[Connection]:
        """The connections to living actors."""
        return [machine.peer for machine in self.machines.values() if machine.peer is not None]

    # -- asking placement ------------------------------------------------------------------------------------------

    def ask(self, operation: str, *fields: Any, timeout: float = 10.0) -> tuple[Any, ...]:
        """A question to placement and its answer.

        Raises:
            RaySystemError: no answer within ``timeout`` seconds.
        """
        owner = self.owner
        with owner.lock:
            request = next(self._requests)
            self._answers[request] = None
            owner.send_up((operation, request, *fields))
        owner.interrupts.install()
        owner.lead.run_until(lambda: self._answers[request] is not None, time.monotonic() + timeout)
        answer = self._answers.pop(request)
        if answer is None:
            raise RaySystemError(f"the scheduler did not answer within {timeout} s ({operation})")
        return answer

    def answered(self, request: int, *fields: Any) -> None:
        if request in self._answers:
            self._answers[request] = fields

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
        call = self._creations.get(actor_id)
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
            self._creations.pop(actor_id, None)
            self.carry_out()
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
        self.owner.calls.fail_with(call, error)


def _more(options: Any) -> dict[str, Any]:
    """What only few actors' executors have to know."""
    more: dict[str, Any] = {}
    if options.concurrency_groups:
        more["groups"] = dict(options.concurrency_groups)
    if options.name is not None:
        more["name"] = options.name
    return more


def why(reason: Loss | None) -> str:
    """One line on why an actor's process went."""
    if reason is None:
        return ""
    kind, text, pid, code, _ = reason
    if kind == "init":
        told = describe_error(text) if isinstance(text, bytes) else text
        return f"its __init__ raised: {told.strip().rpartition(chr(10))[2]}"
    if kind == "killed" and text == EXIT_ACTOR:
        return "it exited on purpose, by exit_actor()"
    return {
        "signal": f"its process (pid={pid}) was ended by signal {text!s}",
        "exit": f"its process (pid={pid}) ended with exit code {code}",
        "node": "its node is gone",
        "killed": f"it was killed ({text!s})" if text else "it was killed",
        "memory": f"its process (pid={pid}) was ended because its node ran out of memory: {text!s}",
        "dropped": "no handle to it was left",
        "owner": "the process that created it is gone",
    }.get(kind, str(text))


def actor_error(name: str, dead: bool, reason: Loss | None) -> RayError:
    """How an actor's end reads to the caller of ``name``."""
    if not dead:
        return ActorUnavailableError(
            f"The actor restarts while {name} was under way: {why(reason) or 'its connection broke'}. "
            "The call may or may not have run; max_task_retries would have tried it again."
        )
    if reason is None:
        return ActorDiedError(f"The actor of {name} is dead.")
    if reason[0] == "init":
        told = describe_error(reason[1]) if isinstance(reason[1], bytes) else reason[1]
        return ActorDiedError(f"The actor of {name} never came up: its __init__ raised.\n{told}")
    if reason[0] == "infeasible":
        return ActorUnschedulableError(f"The actor of {name} can never be placed: {reason[1]!s}")
    text = f"The actor of {name} is dead: {why(reason)}."
    if reason[4]:
        text += f"\nThe end of its stderr:\n{reason[4]}"
    return ActorDiedError(text)
