"""The actor directory: names, incarnations, restarts, and who is told. Pure: events in, effects out.

    pending ----alive----> alive ----exited, restarts left----> restarting ----alive----> alive
       |                     |                                      |
       +---------------------+----- init failed, killed, none left -+--> dead

Each incarnation has an *epoch*, 0 at first; what concerns an older one is refused. Options of ``new`` (all may be left out):

    held         Spec that the actor keeps while it lives (default: the placing spec)
    max_restarts restarts at most, -1 for no end (default 0)
    name, namespace   under which it is found; one living actor a name
    detached     outlives its creator (default False)
    class_name   for people
    handle       bytes that a look-up by name answers with

An actor that is dropped (nobody has a handle any more) is let finish: it is retired as soon as it lives, and not restarted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

from nbray.core.effects import Tell
from nbray.core.ids import ActorId, ProcessId, owner_of
from nbray.core.messages import Loss, Spec

PENDING, ALIVE, RESTARTING, DEAD = "pending", "alive", "restarting", "dead"

#: Seconds before a restart: none before the first, then from FIRST doubling up to LONGEST.
FIRST, LONGEST = 0.1, 10.0
#: Seconds that an incarnation must live to count as a success.
STABLE = 10.0
#: Dead actors whose end is remembered.
MEMORY = 10_000


class Acquire(NamedTuple):
    """Find a place for that incarnation: ``asks`` must be free there, ``holds`` is what it keeps."""

    actor: ActorId
    epoch: int
    owner: ProcessId
    asks: Spec
    holds: Spec


class Vacate(NamedTuple):
    """Kill what runs, withdraw what waits."""

    actor: ActorId


class Retire(NamedTuple):
    """Let the actor finish what is queued and leave."""

    actor: ActorId


class Later(NamedTuple):
    """Call ``later(event)`` in that many seconds."""

    seconds: float
    event: tuple[str, ActorId, int]


Effect: TypeAlias = "Acquire | Vacate | Retire | Later | Tell"


class Record:
    """What the directory knows of one actor."""

    __slots__ = (
        "address", "asks", "class_name", "creation", "detached", "dropped", "epoch", "handle", "holds", "id",
        "max_restarts", "name", "namespace", "owner", "reason", "restarts", "state", "streak", "watchers",
    )  # fmt: skip

    def __init__(
        self, id: ActorId, owner: ProcessId, asks: Spec, creation: bytes, options: Mapping[str, Any]
    ) -> None:
        self.id = id
        self.owner = owner
        self.asks = asks
        self.holds: Spec = options.get("held", asks)
        self.creation = creation
        self.max_restarts: int = options.get("max_restarts", 0)
        self.name: str = options.get("name") or ""
        self.namespace: str = options.get("namespace") or ""
        self.detached: bool = options.get("detached", False)
        self.class_name: str = options.get("class_name", "")
        self.handle: bytes = options.get("handle", b"")
        self.state = PENDING
        self.epoch = 0
        self.restarts = 0
        self.streak = 0  # restarts since an incarnation lived for STABLE seconds
        self.address: tuple[Any, ...] | None = None
        self.reason: Loss | None = None
        self.dropped = False
        self.watchers: dict[ProcessId, None] = {owner: None}


class ActorDirectory:
    def __init__(self) -> None:
        self._actors: dict[ActorId, Record] = {}
        self._dead: dict[ActorId, Record] = {}
        self._names: dict[tuple[str, str], ActorId] = {}
        self._claimed: dict[
            ActorId, tuple[tuple[str, str], bytes]
        ] = {}  # not announced yet: its name, its handle
        self._watching: dict[ProcessId, dict[ActorId, None]] = {}
        self._expected: dict[ActorId, dict[ProcessId, None]] = {}  # watchers of those not announced yet
        self._effects: list[Effect] = []

    def drain(self) -> list[Effect]:
        effects, self._effects = self._effects, []
        return effects

    # --- from owners and callers ---------------------------------------------------------------------------------------
    def claim(
        self, process: ProcessId, request: int, actor: ActorId, name: str, namespace: str, handle: bytes
    ) -> None:
        """``process`` will create that actor, if the name is free; answered as ``named``, with whoever has the name then."""
        key = (namespace, name)
        if key not in self._names:
            self._names[key] = actor
            self._claimed[actor] = (key, handle)
        self.named(process, request, name, namespace)

    def new(
        self, owner: ProcessId, actor: ActorId, asks: Spec, creation: bytes, options: Mapping[str, Any]
    ) -> None:
        """``owner`` creates an actor. If its name is taken it dies at once, with kind "name"."""
        if actor in self._actors or actor in self._dead:
            return  # said twice
        record = Record(actor, owner, asks, creation, options)
        if record.name:
            key = (record.namespace, record.name)
            self._claimed.pop(actor, None)
            if self._names.get(key, actor) != actor:
                text = f"an actor named {record.name!r} lives in namespace {record.namespace!r}"
                self._bury(record, ("name", text, 0, 0, ""))
                return
            self._names[key] = actor
        self._actors[actor] = record
        self._watching.setdefault(owner, {})[actor] = None
        for watcher in self._expected.pop(actor, {}):
            record.watchers[watcher] = None
            self._watching.setdefault(watcher, {})[actor] = None
        self._acquire(record)

    def kill(self, actor: ActorId, no_restart: bool) -> None:
        """``ray.kill``: its process ends now; with ``no_restart`` False it may be restarted as after a crash."""
        how = "killed by nbray.kill"
        record = self._actors.get(actor)
        if record is None:
            if no_restart and actor not in self._dead:
                self._give_up(actor, ("killed", how, 0, 0, ""))
            return
        if no_restart and record.max_restarts:
            how += "; no_restart=False would have let it restart"
        loss: Loss = ("killed", how, 0, 0, "")
        if no_restart:
            self._die(record, loss)
        elif record.state == ALIVE:
            self._effects.append(Vacate(actor))
            self._fall(record, loss)

    def drop(self, actor: ActorId) -> None:
        """Nobody has a handle any more."""
        record = self._actors.get(actor)
        if record is None and actor not in self._dead:
            self._give_up(actor, ("dropped", "it was given up before it was made", 0, 0, ""))
            return
        if record is None or record.detached or record.dropped:
            return
        record.dropped = True
        self._free_name(record)  # nobody else may come to it while it finishes
        if record.state == ALIVE:
            self._effects.append(Retire(actor))

    def watch(self, process: ProcessId, actor: ActorId, creator_lives: bool = False) -> None:
        """``process`` wants to hear of the actor: its present state at once, then each change.

        A handle may travel faster than its creator's word that there is such an actor, or come before the constructor's
        arguments are there: while the creator lives, an unknown actor is expected.
        """
        record = self._actors.get(actor) or self._dead.get(actor)
        if record is None and creator_lives:
            self._expected.setdefault(actor, {})[process] = None
            return
        if record is None:
            gone: Loss = ("dropped", "no actor of that id is known (any more)", 0, 0, "")
            self._effects.append(Tell(process, ("actor", actor, DEAD, 0, None, gone)))
            return
        if record.state != DEAD:
            record.watchers[process] = None
            self._watching.setdefault(process, {})[actor] = None
        self._tell(process, record, record.state, record.reason)

    def named(self, process: ProcessId, request: int, name: str, namespace: str) -> None:
        """Look a living actor up."""
        actor = self._names.get((namespace, name))
        handle = None
        if actor is not None:
            handle = self._claimed[actor][1] if actor in self._claimed else self._actors[actor].handle
        self._effects.append(Tell(process, ("named", request, actor, handle)))

    def process_gone(self, process: ProcessId) -> None:
        """A process ended: its actors die with it unless they are detached, and it watches no more."""
        for actor in [actor for actor in self._claimed if owner_of(actor) == process]:
            self._unclaim(actor)
        for actor in [actor for actor in self._expected if owner_of(actor) == process]:
            loss: Loss = ("owner", "the process that created it is gone", 0, 0, "")
            for watcher in self._expected.pop(actor):
                self._effects.append(Tell(watcher, ("actor", actor, DEAD, 0, None, loss)))
        for watchers in self._expected.values():
            watchers.pop(process, None)
        for actor in self._watching.pop(process, {}):
            record = self._actors.get(actor)
            if record is None:
                continue
            record.watchers.pop(process, None)
            if record.owner == process and not record.detached:
                self._die(record, ("owner", "the process that created it is gone", 0, 0, ""))

    # --- from placement and the nodes ----------------------------------------------------------------------------------
    def alive(self, actor: ActorId, epoch: int, address: tuple[Any, ...]) -> None:
        """The incarnation's ``__init__`` has returned."""
        record = self._current(actor, epoch)
        if record is None or record.state == ALIVE:
            return
        record.state, record.address, record.reason = ALIVE, address, None
        self._announce(record)
        if record.streak:
            self._effects.append(Later(STABLE, ("stable", actor, epoch)))
        if record.dropped:
            self._effects.append(Retire(actor))

    def exited(self, actor: ActorId, epoch: int, loss: Loss) -> None:
        """The incarnation ended or could not be started. Final kinds are not restarted: its ``__init__`` raised, it
        left on purpose ("killed": what nbray kills is taken out of the directory before), it fits nowhere."""
        record = self._current(actor, epoch)
        if record is None:
            return
        if record.dropped and loss[0] in ("exit", "killed"):
            self._die(record, ("dropped", "nobody has a handle to it any more", *loss[2:]))
        elif loss[0] in ("init", "killed", "infeasible"):
            self._die(record, loss)
        else:
            self._fall(record, loss)

    def later(self, event: tuple[str, ActorId, int]) -> None:
        """The time of a ``Later`` is over."""
        what, actor, epoch = event
        record = self._current(actor, epoch)
        if record is None:
            return
        if what == "restart" and record.state == RESTARTING:
            self._acquire(record)
        elif what == "stable" and record.state == ALIVE:
            record.streak = 0

    # --- views -----------------------------------------------------------------------------------------------------
    def class_of(self, actor: ActorId) -> str:
        """The name of its class, and its own if it has one."""
        record = self._actors.get(actor)
        if record is None:
            return ""
        return f"{record.class_name} {record.name!r}" if record.name else record.class_name

    def creation_of(self, actor: ActorId) -> bytes:
        """What an executor needs to become the actor; b"" if it has died meanwhile."""
        record = self._actors.get(actor)
        return record.creation if record is not None else b""

    def records(self) -> list[Record]:
        """All that live, then those whose end is remembered."""
        return [*self._actors.values(), *self._dead.values()]

    def validate(self) -> None:
        """Assert the laws; tests call it after every step."""
        for actor, record in self._actors.items():
            assert record.state in (PENDING, ALIVE, RESTARTING)
            assert (record.address is not None) == (record.state == ALIVE)
            assert record.max_restarts < 0 or record.restarts <= record.max_restarts
            assert record.epoch == record.restarts
            for watcher in record.watchers:
                assert actor in self._watching[watcher]
            if record.name and not record.dropped:
                assert self._names[record.namespace, record.name] == actor
        for record in self._dead.values():
            assert record.state == DEAD
            assert record.reason is not None
            assert not record.creation
            assert not record.watchers
        assert set(self._names.values()) <= {*self._actors, *self._claimed}
        for actor, (key, _) in self._claimed.items():
            assert self._names[key] == actor
            assert actor not in self._actors
        for watcher, actors in self._watching.items():
            for actor in actors:
                assert watcher in self._actors[actor].watchers

    # --- inside ----------------------------------------------------------------------------------------------------
    def _current(self, actor: ActorId, epoch: int) -> Record | None:
        record = self._actors.get(actor)
        return record if record is not None and record.epoch == epoch else None

    def _acquire(self, record: Record) -> None:
        self._effects.append(Acquire(record.id, record.epoch, record.owner, record.asks, record.holds))

    def _fall(self, record: Record, loss: Loss) -> None:
        """The incarnation is lost: restart or die."""
        record.address = None
        if record.dropped or 0 <= record.max_restarts <= record.restarts:
            self._die(record, loss)
            return
        delay = min(FIRST * 2 ** (record.streak - 1), LONGEST) if record.streak else 0.0
        record.restarts += 1
        record.streak += 1
        record.epoch += 1
        record.state, record.reason = RESTARTING, loss
        self._announce(record)
        if delay:
            self._effects.append(Later(delay, ("restart", record.id, record.epoch)))
        else:
            self._acquire(record)

    def _die(self, record: Record, loss: Loss) -> None:
        del self._actors[record.id]
        self._free_name(record)
        for watcher in record.watchers:
            watched = self._watching.get(watcher, {})
            watched.pop(record.id, None)
            if not watched:
                self._watching.pop(watcher, None)
        self._effects.append(Vacate(record.id))
        self._bury(record, loss)

    def _give_up(self, actor: ActorId, loss: Loss) -> None:
        """It never will be made. It is not announced yet: its constructor's arguments are pending, or word of it travels."""
        self._unclaim(actor)
        record = Record(actor, owner_of(actor), ((), (), ()), b"", {})
        record.watchers.update(self._expected.pop(actor, {}))
        self._bury(record, loss)

    def _free_name(self, record: Record) -> None:
        key = (record.namespace, record.name)
        if record.name and self._names.get(key) == record.id:
            del self._names[key]

    def _unclaim(self, actor: ActorId) -> None:
        claimed = self._claimed.pop(actor, None)
        if claimed is not None:
            del self._names[claimed[0]]

    def _bury(self, record: Record, loss: Loss) -> None:
        """Tell who watches, and remember the end for who asks later."""
        record.state, record.address, record.reason = DEAD, None, loss
        self._announce(record)
        record.watchers.clear()
        record.creation = record.handle = b""
        self._dead[record.id] = record
        if len(self._dead) > MEMORY:
            del self._dead[next(iter(self._dead))]

    def _announce(self, record: Record) -> None:
        for watcher in record.watchers:
            self._tell(watcher, record, record.state, record.reason)

    def _tell(self, to: ProcessId, record: Record, state: str, reason: Loss | None) -> None:
        message = ("actor", record.id, state, record.epoch, record.address, reason)
        self._effects.append(Tell(to, message))
