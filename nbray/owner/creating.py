"""Creating actors: their names, their constructors' arguments, and what placement has to know of them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import msgpack

from nbray import events
from nbray.core.actors import DEAD, ActorCalls
from nbray.core.calls import Call, Function
from nbray.core.ownership import Entry, with_refs
from nbray.owner.guards import ActorLife, Guard

if TYPE_CHECKING:
    from nbray.owner.owner import Owner


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

    __slots__ = ("creating", "machine", "options")

    def __init__(self, creating: Creating, machine: ActorCalls, options: Any) -> None:
        self.creating = creating
        self.machine = machine
        self.options = options

    def resolved(self, call: Call) -> None:
        self.creating.announce(self, call)


class Creating:
    """Under the owner's lock throughout, but for ``create``, which takes it."""

    def __init__(self, owner: Owner) -> None:
        self.owner = owner
        self._calls: dict[bytes, Call] = {}

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
            machine = owner.actors.begin(actor_id, function.name)
            creation = Creation(self, machine, options)
            call = Call(sequence, function, payload, slots, [], refs, guard, creation, 0, False)
            # Restarts need the arguments again, so they live as long as the actor.
            self._calls[actor_id] = call
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
            holder, theirs = self.owner.questions.ask(
                "actor_claim", actor_id, options.name, options.namespace, handle
            )
        except BaseException:  # Ctrl-C, or no answer: the claim may have been heard
            with self.owner.lock:
                self.owner.send_up(("actor_drop", actor_id))
            raise
        if holder != actor_id:
            raise NameTaken(theirs)

    def announce(self, creation: Creation, call: Call) -> None:
        """Its arguments are there: placement takes over."""
        owner = self.owner
        if creation.machine.state == DEAD:  # killed meanwhile
            return
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
            "held": owner.in_environment(options.held_spec),
            "max_restarts": options.max_restarts,
            "name": options.name or "",
            "namespace": options.namespace or "",
            "detached": options.detached,
            "class_name": function.name,
            "handle": handle,
        }
        owner.send_up(("actor_new", actor_id, owner.in_environment(options.placing_spec), packed, directory))

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

    def call(self, actor_id: bytes) -> Call | None:
        """The constructor's call of an actor that this process has created; it is kept until that is dead."""
        return self._calls.get(actor_id)

    def over(self, actor_id: bytes) -> None:
        """The actor is dead, and will not be made again."""
        self._calls.pop(actor_id, None)


def _more(options: Any) -> dict[str, Any]:
    """What only few actors' executors have to know."""
    more: dict[str, Any] = {}
    if options.concurrency_groups:
        more["groups"] = dict(options.concurrency_groups)
    if options.name is not None:
        more["name"] = options.name
    return more
