"""Why a value is not there yet, in words. Pure: facts in, text out; ``owner/inquiry.py`` gathers the facts.

A walk along who waits for whom, from the value to what really keeps it: a call that runs, a resource that others hold, an actor
that is busy. A walk that comes back to where it was has found a deadlock.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

from nbray.core.labels import matches, told
from nbray.core.ledger import Asks, Resources, amount, meets, supplied

#: How a call stands, as its owner sees it (``Standing.stage``).
ARGUMENTS, QUEUED, SENT, ACTOR, PAUSED, ENDED, READY, GONE = (
    "arguments", "queued", "sent", "actor", "paused", "ended", "ready", "gone",
)  # fmt: skip

#: (object id, its owner's address)
Ref: TypeAlias = "tuple[bytes, tuple[Any, ...]]"

#: Holders of a resource, and steps of a walk, that are told.
_HOLDERS, _STEPS = 6, 12


class Standing(NamedTuple):
    """What an object's owner knows of it, and of the call that makes it.

    Attributes:
        task: id of the call. name: of its function.
        refs: the arguments that are missing (stage ARGUMENTS).
        asks: what it asks for (QUEUED, PAUSED).
        process: where it was sent (SENT), or the address of its actor ((): it is nowhere).
        pid: of that process, 0 if it is not known.
        actor: the actor's id, and its state (ACTOR). ahead: calls of the same caller that go before it.
        seconds: until it runs again (PAUSED).
    """

    stage: str
    task: bytes = b""
    name: str = ""
    refs: tuple[Ref, ...] = ()
    asks: Asks = Asks(())
    process: tuple[Any, ...] = ()
    pid: int = 0
    actor: bytes = b""
    state: str = ""
    ahead: int = 0
    seconds: float = 0.0


class Running(NamedTuple):
    """A call that runs in a process. ``awaits``: the refs that it waits for; None: it is at work."""

    task: bytes
    name: str
    seconds: float
    awaits: tuple[Ref, ...] | None


class Activity(NamedTuple):
    """What a process does.

    Attributes:
        actor: the name of the class, if it is an actor. beginning: its ``__init__`` runs.
        running: the calls that run. waiting: how many wait in it.
    """

    pid: int
    actor: str
    beginning: bool
    running: tuple[Running, ...]
    waiting: int


class Held(NamedTuple):
    """A lease. ``has``: what it holds and has not lent. ``process``: the address of its executor, () before there is one."""

    owner: bytes
    actor: bytes
    class_name: str
    has: Resources
    lent: bool
    process: tuple[Any, ...]


class Supply(NamedTuple):
    """What placement knows: the nodes (totals, free, whether it takes no more lanes, how many those are, labels) and leases."""

    nodes: tuple[tuple[Resources, Resources, bool, int, tuple[tuple[str, str], ...]], ...]
    leases: tuple[Held, ...]
    placing: tuple[tuple[bytes, Asks], ...]  # actors that have no place yet: id, what must be free


class Facts(NamedTuple):
    """All that was found out.

    Attributes:
        me: the id of the process that asks.
        objects: by object id. processes: by process id; None: it has not answered.
        lost: the seconds for which an answer was awaited.
    """

    me: bytes
    objects: dict[bytes, Standing]
    processes: dict[bytes, Activity | None]
    supply: Supply | None
    patience: float


class Explanation:
    """Why refs are not ready. Its text, ``str(...)``, is what a notebook shows of it.

    Attributes:
        lines: the text. deadlock: who waits for whom comes back to itself, so nothing will end that.
    """

    __slots__ = ("deadlock", "lines")

    def __init__(self, lines: tuple[str, ...], deadlock: bool) -> None:
        self.lines = lines
        self.deadlock = deadlock

    def __str__(self) -> str:
        return "\n".join(self.lines)

    __repr__ = __str__


def explain(facts: Facts, objects: Sequence[bytes], most: int = 3) -> Explanation:
    """Why those objects are not there.

    Args:
        most: kinds of calls that are told; one of each kind is followed.
    """
    pending = [oid for oid in objects if facts.objects.get(oid, _UNKNOWN).stage != READY]
    if not pending:
        return Explanation(("Everything is there.",), False)
    kinds: dict[tuple[str, str], list[bytes]] = {}
    for oid in pending:
        standing = facts.objects.get(oid, _UNKNOWN)
        kinds.setdefault((standing.name, standing.stage), []).append(oid)
    lines: list[str] = []
    deadlock = False
    for oids in list(kinds.values())[:most]:
        walk = _Walk(facts)
        text = walk.text(oids[0])
        others = f" (and {len(oids) - 1} more like it)" if len(oids) > 1 else ""
        lines += [text + others, *walk.notes]
        deadlock = deadlock or walk.deadlock
    if len(kinds) > most:
        lines.append(f"... and {sum(map(len, list(kinds.values())[most:]))} others")
    return Explanation(tuple(dict.fromkeys(lines)), deadlock)


_UNKNOWN = Standing(GONE)


class _Walk:
    """One walk. ``notes``: lines after the first."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._steps: list[str] = []
        self._seen: dict[bytes, int] = {}
        self.notes: list[str] = []
        self.deadlock = False

    def text(self, oid: bytes) -> str:
        self._object(oid)
        return " -> ".join(self._steps)

    def _step(self, task: bytes, text: str) -> bool:
        """One step further; False if the walk ends here, because it has been there or is long."""
        if task and task in self._seen:
            self.deadlock = True
            circle = [step.partition(" (")[0] for step in self._steps[self._seen[task] :]]
            self._steps.append(text.partition(" (")[0])
            each = f"each of {', '.join(circle)} waits for the next, and the last for the first"
            self.notes.append(
                f"This is a deadlock: {each if len(circle) > 1 else circle[0] + ' waits for itself'}."
            )
            return False
        self._seen[task] = len(self._steps)
        self._steps.append(text)
        return len(self._steps) < _STEPS

    def _object(self, oid: bytes) -> None:
        standing = self._facts.objects.get(oid)
        if standing is None:
            self._step(oid, "a value whose owner has not answered")
            return
        follow = {
            ARGUMENTS: self._arguments,
            QUEUED: self._queued,
            SENT: self._sent,
            ACTOR: self._to_actor,
            PAUSED: self._paused,
        }.get(standing.stage)
        if follow is not None:
            follow(standing)
        elif standing.stage == READY:
            self._step(oid, f"{standing.name or 'a value'} (there in this moment)")
        elif standing.stage == ENDED:
            self._step(oid, f"{standing.name or 'a value'} (has ended, its value is on the way)")
        else:
            self._step(oid, "a value that its owner does not know (any more)")

    def _arguments(self, standing: Standing) -> None:
        missing = len(standing.refs)
        what = "an argument" if missing == 1 else f"{missing} arguments"
        if self._step(standing.task, f"{standing.name} (has not started: {what} missing)") and standing.refs:
            self._object(standing.refs[0][0])

    def _paused(self, standing: Standing) -> None:
        text = f"runs again in {standing.seconds:.0f} s, its executor was ended because memory ran out"
        self._step(standing.task, f"{standing.name} ({text})")

    # -- where it runs ---------------------------------------------------------------------------------------------

    def _sent(self, standing: Standing) -> None:
        process = standing.process[0]
        activity = self._facts.processes.get(process)
        if activity is None:
            self._step(standing.task, f"{standing.name} ({self._silent(process, standing.pid)})")
            return
        for running in activity.running:
            if running.task == standing.task:
                self._runs(running, activity)
                return
        if activity.running and self._step(
            standing.task, f"{standing.name} (queued on pid {activity.pid} behind {activity.running[0].name})"
        ):
            self._runs(activity.running[0], activity)
        elif not activity.running:
            self._step(standing.task, f"{standing.name} (sent to pid {activity.pid}, about to start)")

    def _silent(self, process: bytes, pid: int) -> str:
        where = f"pid {pid}" if pid else "its process"
        if process in self._facts.processes:
            return (
                f"sent to {where}, which has not answered for {self._facts.patience:.0f} s: "
                "it is stopped, or does not let other threads run"
            )
        return f"sent to {where}"

    def _runs(self, running: Running, activity: Activity) -> None:
        if running.awaits is None:
            self._step(
                running.task, f"{running.name} (running on pid {activity.pid} for {_time(running.seconds)})"
            )
            return
        text = f"{running.name} (on pid {activity.pid}, waits in get for {_time(running.seconds)})"
        if self._step(running.task, text) and running.awaits:
            self._object(running.awaits[0][0])

    # -- actors ----------------------------------------------------------------------------------------------------

    def _to_actor(self, standing: Standing) -> None:
        if standing.process:
            activity = self._facts.processes.get(standing.process[0])
            if activity is None:
                self._step(
                    standing.task, f"{standing.name} ({self._silent(standing.process[0], standing.pid)})"
                )
                return
            for running in activity.running:
                if running.task == standing.task:
                    self._runs(running, activity)
                    return
            self._behind(standing, activity)
            return
        actor = standing.name.partition(".")[0]
        for id_, asks in self._facts.supply.placing if self._facts.supply is not None else ():
            if id_ == standing.actor:
                if self._step(standing.task, f"{standing.name} (its actor has no place yet)"):
                    self._resources(actor, asks, own=standing.actor)
                return
        held = self._held_by(standing.actor)
        activity = self._facts.processes.get(held.process[0]) if held is not None and held.process else None
        if activity is not None and activity.beginning:
            text = f"its actor's __init__ has been running on pid {activity.pid}"
            self._step(standing.task, f"{standing.name} ({text})")
        elif standing.refs:
            if self._step(
                standing.task, f"{standing.name} (its actor waits for an argument of its constructor)"
            ):
                self._object(standing.refs[0][0])
        else:
            state = {"pending": "is being started", "restarting": "restarts", "limbo": "is unreachable"}
            self._step(
                standing.task, f"{standing.name} (its actor {state.get(standing.state, standing.state)})"
            )

    def _behind(self, standing: Standing, activity: Activity) -> None:
        calls = f" and {activity.waiting} calls" if activity.waiting > 1 else ""
        if activity.running:
            first = activity.running[0]
            text = (
                f"{standing.name} (in the queue of its actor, pid {activity.pid}, behind {first.name}{calls})"
            )
            if self._step(standing.task, text):
                self._runs(first, activity)
        elif standing.refs:
            text = f"{standing.name} (behind an earlier call of the same caller whose argument is missing)"
            if self._step(standing.task, text):
                self._object(standing.refs[0][0])
        else:
            self._step(standing.task, f"{standing.name} (sent to its actor, pid {activity.pid})")

    def _held_by(self, actor: bytes) -> Held | None:
        leases = self._facts.supply.leases if self._facts.supply is not None else ()
        return next((lease for lease in leases if lease.actor == actor), None)

    # -- resources -------------------------------------------------------------------------------------------------

    def _queued(self, standing: Standing) -> None:
        if self._step(standing.task, f"{standing.name} (has not started: waits for {standing.asks})"):
            self._resources(standing.name, standing.asks)

    def _resources(self, name: str, asks: Asks, own: bytes = b"") -> None:
        supply = self._facts.supply
        if supply is None:
            self.notes.append("The scheduler has not answered.")
            return
        if not supply.nodes:
            self.notes.append("The pool has no node.")
            return
        wanted = asks.resources
        able = [node for node in supply.nodes if meets(dict(node[0]), dict(node[4]), asks)]
        if not able:
            self._nobody_has(name, asks, supply.nodes)
            return
        roomy = [node for node in able if meets(dict(node[1]), dict(node[4]), asks)]
        if not roomy:
            short = [
                resource
                for resource, units in wanted
                if all(dict(node[1]).get(resource, 0) < units for node in able)
            ] or [resource for resource, _ in wanted]
            for resource in short:
                self._holders(resource, wanted, able)
        elif not own and all(node[2] for node in roomy):
            most = max(node[3] for node in roomy)
            self.notes.append(
                f"There are CPUs, but a node runs tasks in at most {most} processes (NBRAY_MAX_PROCESSES), and all of them wait."
            )
        else:
            self.notes.append("There is room for it: a process is being started.")

    def _nobody_has(self, name: str, asks: Asks, nodes: Sequence[tuple[Any, ...]]) -> None:
        labelled = [node for node in nodes if matches(dict(node[4]), asks.where)]
        unknown = [
            resource for resource, _ in asks.resources if not any(dict(n[0]).get(resource) for n in labelled)
        ]
        there = supplied(((dict(node[0]), dict(node[4])) for node in nodes), asks)
        if not labelled:
            self.notes.append(f"No node of the pool has labels {told(asks.where)}; the nodes have {there}.")
        elif unknown:
            what = " or ".join(repr(resource) for resource in unknown)
            self.notes.append(f"No node of the pool provides {what}; the nodes have {there}.")
        else:
            self.notes.append(f"No node is that large: {name} asks for {asks}, the nodes have {there}.")

    def _holders(self, resource: str, asks: Resources, able: Sequence[tuple[Any, ...]]) -> None:
        supply = self._facts.supply
        assert supply is not None
        free = max(max(dict(node[1]).get(resource, 0), 0) for node in able)
        total = max(dict(node[0])[resource] for node in able)
        holders = [lease for lease in supply.leases if dict(lease.has).get(resource)]
        told = Counter(self._holder(lease, resource) for lease in holders)
        lines = [f"{f'{n} × ' if n > 1 else ''}{text}" for text, n in told.most_common(_HOLDERS)]
        if len(told) > _HOLDERS:
            lines.append(f"{len(told) - _HOLDERS} others")
        self.notes.append(
            f"{resource} is missing: {amount(resource, dict(asks)[resource])} asked, {amount(resource, free)} of "
            f"{amount(resource, total)} free. Held by {'; '.join(lines) or 'nobody now'}."
        )
        for lease in holders:
            self._never_lent(lease, resource)

    def _holder(self, lease: Held, resource: str) -> str:
        activity = self._facts.processes.get(lease.process[0]) if lease.process else None
        much = f", {amount(resource, dict(lease.has)[resource])} {resource}"
        pid = f", pid {activity.pid}" if activity is not None else ""
        who = f", for {owner}" if (owner := self._owner(lease.owner)) else ""
        if lease.actor:
            doing = ""
            if activity is not None and activity.running:
                first = activity.running[0]
                doing = f", {first.name} {'waits' if first.awaits is not None else 'runs'}"
            return f"actor {lease.class_name}{pid}{doing}{much}{who}"
        if activity is None:
            return f"a task{much}{who}"
        if not activity.running:
            return f"an executor between two tasks{pid}{much}{who}"
        first = activity.running[0]
        return f"{first.name} (pid {activity.pid}, for {_time(first.seconds)}){much}{who}"

    def _owner(self, owner: bytes) -> str:
        if owner == self._facts.me:
            return ""
        activity = self._facts.processes.get(owner)
        if activity is None:
            return "another process"
        what = activity.actor or (activity.running[0].name if activity.running else "")
        return f"{what or 'a task'} (pid {activity.pid})"

    def _never_lent(self, lease: Held, resource: str) -> None:
        activity = self._facts.processes.get(lease.process[0]) if lease.process else None
        if not lease.actor or activity is None:
            return
        blocked = [running for running in activity.running if running.awaits]
        if not blocked or len(blocked) < len(activity.running):
            return
        first = blocked[0]
        assert first.awaits is not None
        standing = self._facts.objects.get(first.awaits[0][0], _UNKNOWN)
        self.notes.append(
            f"Actor {lease.class_name} (pid {activity.pid}) waits in {first.name} for {standing.name or 'a value'} and keeps its "
            f"{resource} meanwhile: an actor's resources are never lent, as a task's CPUs are. More {resource}s, or an actor "
            f"that asks for less (num_cpus=0), would let the others run."
        )
        # Whoever waits for what this actor waits for, in its turn, waits for itself.
        if first.task in self._seen:
            self.deadlock = True
            self.notes.append(
                f"This is a deadlock: {first.name} waits for a task that waits for its {resource}."
            )


def _time(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def refs_of(facts: Iterable[Standing | Activity]) -> Iterator[Ref]:
    """What has to be looked at next."""
    for fact in facts:
        if isinstance(fact, Standing):
            yield from fact.refs[:1]
        else:
            for running in fact.running:
                if running.awaits:
                    yield running.awaits[0]
