"""The task graph: raw events in, groups with counts, edges and actors out.

Laws of this file:
- Its memory grows with unfinished tasks, living actors and distinct names, never with tasks that have finished.
- Cutting the same events into other batches changes nothing in the result.
- Events of one process come in their order; those of different processes may overtake each other.

It reads raw events (``nbray.events``), because making a record costs more than counting it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from math import inf
from typing import Any, TypeAlias

from nbray.events import (
    ACTOR,
    NODE,
    OBJECT,
    PROCESS,
    TASK_DISPATCHED,
    TASK_FINISHED,
    TASK_SUBMITTED,
    RawEvent,
)
from nbray_widgets.reducers.origins import Origins
from nbray_widgets.text import LONGEST_ERROR, plain

State: TypeAlias = dict[str, Any]
#: A task that has ended, and its submission if that was seen.
Told: TypeAlias = tuple[RawEvent, RawEvent | None]

MOST_GROUPS = 400
OTHER = "(other functions)"
MOST_DEAD_ACTORS = 1_000
MOST_UNSEEN_SOURCES = 4_096
TASKS_SHOWN = 12
NEEDS_SHOWN = 4
#: How many numbers after its own belong to the call of a generator.
_STREAM = (1 << 32) - 1
_NOBODY: dict[tuple[Group, str], int] = {}


class Group:
    """One function or actor method, with its counts and the few tasks that a drill-down shows."""

    __slots__ = (
        "cancelled", "done", "failed", "failures", "floor", "holder", "index", "kind", "latest", "maker", "name", "retries",
        "running", "seconds", "slowest", "waiting",
    )  # fmt: skip

    def __init__(self, index: int, name: str, kind: str, holder: ActorClass | None) -> None:
        self.index = index
        self.name = name
        self.kind = kind
        self.holder = holder
        self.waiting = self.running = self.done = self.failed = self.cancelled = self.retries = 0
        self.seconds = 0.0
        self.maker: Group | None = None  # of the last dependency: most likely that of the next one too
        self.floor = -1.0
        self.slowest: list[Told] = []
        self.latest: deque[Told] = deque(maxlen=TASKS_SHOWN)
        self.failures: deque[Told] = deque(maxlen=TASKS_SHOWN)

    def slow(self, told: Told) -> None:
        """Keep a task if it is among the slowest: sorted only once the list has doubled."""
        self.slowest.append(told)
        if len(self.slowest) >= 2 * TASKS_SHOWN:
            self.slowest = self.ranked()
            self.floor = self.slowest[-1][0][6]

    def ranked(self) -> list[Told]:
        return sorted(self.slowest, key=lambda told: -told[0][6])[:TASKS_SHOWN]


class ActorClass:
    """All actors of one class: drawn as one shape that holds the class's methods."""

    __slots__ = ("index", "name", "queue", "states")

    def __init__(self, index: int, name: str) -> None:
        self.index = index
        self.name = name
        self.queue = 0
        self.states = {"pending": 0, "alive": 0, "restarting": 0, "dead": 0}


class Actor:
    __slots__ = ("key", "kind", "name", "process", "queue", "reason", "state")

    def __init__(self, key: bytes, kind: ActorClass) -> None:
        self.key = key
        self.kind = kind
        self.name = self.process = self.reason = ""
        self.state = "pending"
        self.queue = 0
        kind.states["pending"] += 1


class Owner:
    """What one submitting process has under way. A task is in ``waiting`` or in ``running``, or it is over."""

    __slots__ = ("actors", "origins", "running", "submissions", "unseen", "waiting")

    def __init__(self) -> None:
        self.waiting: dict[int, Group] = {}
        self.running: dict[int, tuple[Group, RawEvent]] = {}
        self.submissions: dict[int, RawEvent] = {}  # of both
        self.actors: dict[int, Actor] = {}
        self.origins: Origins[Group] = Origins()
        # Objects that were used before we saw who makes them: a put (then nobody ever does), or a task whose
        # submission, by another process, reaches the feed later than its use.
        self.unseen: dict[int, dict[tuple[Group, str], int]] = {}


class TaskGraphReducer:
    """Feed it raw events with ``apply``; read ``snapshot`` and ``tasks``."""

    def __init__(self) -> None:
        self._groups: list[Group] = []
        self._functions: dict[str, Group] = {}
        self._methods: dict[str, Group] = {}
        self._other: Group | None = None
        self._classes: dict[str, ActorClass] = {}
        self._actors: dict[bytes, Actor] = {}
        self._dead: deque[Actor] = deque()
        self._owners: dict[bytes, Owner] = {}
        self._edges: dict[tuple[int, int, str], int] = {}
        self._lost_sight: dict[tuple[bytes, int], Group] = {}
        self.skipped = 0
        self.first = inf
        self.last = 0.0
        self._handlers = {
            TASK_SUBMITTED: self._submitted,
            TASK_DISPATCHED: self._dispatched,
            TASK_FINISHED: self._finished,
            PROCESS: self._process,
            ACTOR: self._actor,
            OBJECT: self._ignored,
            NODE: self._ignored,
        }

    # --- input -----------------------------------------------------------------------------------------------------

    def apply(self, raws: Iterable[RawEvent]) -> None:
        """Count raw events, oldest first."""
        handlers, ignored = self._handlers, self._ignored
        for raw in raws:
            handlers.get(raw[0], ignored)(raw)

    def skip(self, events: int) -> None:
        """``events`` events were lost between the last batch and the next: the feed had dropped them.

        What was under way may have ended meanwhile, so it is neither waiting nor running until an event names it again.
        """
        self.skipped += events
        self._lost_sight.clear()
        for key, owner in self._owners.items():
            for sequence, group in owner.waiting.items():
                group.waiting -= 1
                self._lost_sight[key, sequence] = group
            for sequence, (group, _) in owner.running.items():
                group.running -= 1
                self._lost_sight[key, sequence] = group
            for actor in owner.actors.values():
                actor.queue -= 1
                actor.kind.queue -= 1
            owner.waiting.clear()
            owner.running.clear()
            owner.submissions.clear()
            owner.actors.clear()

    def _submitted(self, raw: RawEvent) -> None:
        _, time, key, sequence, name, what, actor, parent, dependencies, returns = raw
        group = self._functions.get(name) if what == "task" else self._methods.get(name)
        if group is None:
            group = self._group(name, what)
        owner = self._owners.get(key)
        if owner is None:
            owner = self._owners[key] = Owner()
        if time < self.first:
            self.first = time
        owner.waiting[sequence] = group
        owner.submissions[sequence] = raw
        group.waiting += 1
        if returns < 0:  # a generator: any number of items follow
            returns = _STREAM
        returns = returns or 1
        owner.origins.add(sequence, returns, group)
        if owner.unseen:
            those = range(sequence, sequence + returns)
            for made in those if returns < _STREAM else [made for made in owner.unseen if made in those]:
                for (user, why), count in owner.unseen.pop(made, _NOBODY).items():
                    self._edge(group, user, why, count)
        for dependency in dependencies:
            self._depends(group, dependency, "data")
        if parent:
            self._depends(group, parent, "calls")
        if what == "actor_method":
            called = self._actor_of(actor, group)
            called.queue += 1
            called.kind.queue += 1
            owner.actors[sequence] = called

    def _dispatched(self, raw: RawEvent) -> None:
        owner = self._owners.get(raw[2])
        if owner is None:
            return
        sequence = raw[3]
        group = owner.waiting.pop(sequence, None)
        if group is not None:
            group.waiting -= 1
        elif sequence in owner.running:  # called back from a busy lane and sent to another
            owner.running[sequence] = (owner.running[sequence][0], raw)
            return
        else:
            group = self._lost_sight.pop((raw[2], sequence), None)
            if group is None:
                return
        group.running += 1
        owner.running[sequence] = (group, raw)

    def _finished(self, raw: RawEvent) -> None:
        _, time, key, sequence, state, _, duration, _, _ = raw
        owner = self._owners.get(key)
        if owner is None:
            return
        entry = owner.running.pop(sequence, None)
        if entry is not None:
            group = entry[0]
            group.running -= 1
        else:  # failed or cancelled before it ran
            waiting = owner.waiting.pop(sequence, None)
            if waiting is not None:
                waiting.waiting -= 1
            else:
                waiting = self._lost_sight.pop((key, sequence), None)
                if waiting is None:
                    return
            group = waiting
        if state == "retried":
            group.retries += 1
            group.failures.append((raw, owner.submissions.get(sequence)))
            group.waiting += 1
            owner.waiting[sequence] = group
            return
        told = (raw, owner.submissions.pop(sequence, None))
        if state == "done":
            group.done += 1
        elif state == "failed":
            group.failed += 1
            group.failures.append(told)
        else:
            group.cancelled += 1
        group.latest.append(told)
        group.seconds += duration
        if duration > group.floor:
            group.slow(told)
        if time > self.last:
            self.last = time
        if group.holder is not None:
            actor = owner.actors.pop(sequence, None)
            if actor is not None:
                actor.queue -= 1
                actor.kind.queue -= 1

    def _process(self, raw: RawEvent) -> None:
        _, _, process, state, *_ = raw
        if state != "down":
            return
        # Nobody can use what a dead owner owned, and nobody reports on it any more.
        key = _key(process)
        owner = self._owners.pop(key, None)
        if owner is None:
            return
        for group in owner.waiting.values():
            group.waiting -= 1
            group.cancelled += 1
        for group, _ in owner.running.values():
            group.running -= 1
            group.cancelled += 1
        for actor in owner.actors.values():
            actor.queue -= 1
            actor.kind.queue -= 1

    def _actor(self, raw: RawEvent) -> None:
        _, _, key, class_name, name, state, _, process, reason = raw
        key = _key(key)
        actor = self._actors.get(key)
        if actor is None:
            actor = self._actors[key] = Actor(key, self._class(class_name))
        states = actor.kind.states
        if actor.state == "dead" or state not in states:
            return
        states[actor.state] -= 1
        states[state] += 1
        actor.state = state
        actor.name = plain(name or "")
        actor.process = _hex(process)
        actor.reason = plain(str(reason), LONGEST_ERROR)
        if state == "dead":
            self._dead.append(actor)
            if len(self._dead) > MOST_DEAD_ACTORS:
                self._actors.pop(self._dead.popleft().key, None)

    def _ignored(self, raw: RawEvent) -> None:
        """Objects and nodes are no part of this view."""

    # --- names and edges ---------------------------------------------------------------------------------------------

    def _group(self, name: str, what: str) -> Group:
        """The group of a name seen for the first time; beyond ``MOST_GROUPS`` names there is one for all others."""
        known = self._functions if what == "task" else self._methods
        kind = what.removeprefix("actor_")
        if kind == "creation" and not name.endswith(".__init__"):
            name += ".__init__"
            if name in known:
                return known[name]
        if len(self._groups) >= MOST_GROUPS:
            if self._other is None:
                self._other = Group(len(self._groups), OTHER, "task", None)
                self._groups.append(self._other)
            return self._other
        holder = None if what == "task" else self._class(name.rpartition(".")[0] or name)
        group = known[name] = Group(len(self._groups), plain(name), kind, holder)
        self._groups.append(group)
        return group

    def _class(self, name: str) -> ActorClass:
        found = self._classes.get(name)
        if found is None:
            if len(self._classes) >= MOST_GROUPS:
                name = "(other actors)"
                if name in self._classes:
                    return self._classes[name]
            found = self._classes[name] = ActorClass(len(self._classes), plain(name))
        return found

    def _actor_of(self, key: bytes | str, group: Group) -> Actor:
        key = _key(key)
        actor = self._actors.get(key)
        if actor is None:  # its creator's events come later, or are lost
            actor = self._actors[key] = Actor(key, group.holder or self._class(group.name))
        return actor

    def _depends(self, group: Group, object_id: bytes | str, kind: str) -> None:
        key = _key(object_id)
        owner = self._owners.get(key[:8])
        if owner is None:
            owner = self._owners[key[:8]] = Owner()
        sequence = int.from_bytes(key[8:], "big")
        maker = owner.origins.find(sequence, group.maker)
        if maker is not None:
            group.maker = maker
            self._edge(maker, group, kind)
            return
        users = owner.unseen.get(sequence)
        if users is None:
            users = owner.unseen[sequence] = {}
            if len(owner.unseen) > MOST_UNSEEN_SOURCES:
                del owner.unseen[next(iter(owner.unseen))]
        users[group, kind] = users.get((group, kind), 0) + 1

    def _edge(self, source: Group, target: Group, kind: str, count: int = 1) -> None:
        key = (source.index, target.index, kind)
        self._edges[key] = self._edges.get(key, 0) + count

    # --- output ------------------------------------------------------------------------------------------------------

    @property
    def unfinished(self) -> int:
        """Tasks that wait or run."""
        return sum(group.waiting + group.running for group in self._groups)

    def snapshot(self) -> State:
        """The whole picture as JSON-able values. Entries are keyed by stable ids; see ``reducers.delta``."""
        return {
            "groups": {str(group.index): _group_state(group) for group in self._groups},
            "actors": {
                str(kind.index): {"name": kind.name, "queue": kind.queue, **kind.states}
                for kind in self._classes.values()
            },
            "edges": {f"{a}>{b}>{kind}": count for (a, b, kind), count in self._edges.items()},
            "about": {
                "skipped": self.skipped,
                "first": 0.0 if self.first == inf else self.first,
                "last": self.last,
            },
        }

    def tasks(self, group: int) -> State:
        """Single tasks of one group: running, failed, slowest and latest, at most ``TASKS_SHOWN`` of each."""
        if not 0 <= group < len(self._groups):
            return {"running": [], "failed": [], "slowest": [], "latest": [], "actors": []}
        found = self._groups[group]
        under_way = sorted(
            (raw for owner in self._owners.values() for of, raw in owner.running.values() if of is found),
            key=lambda raw: raw[1],
        )
        running = [
            {
                "task": _task(raw),
                "state": "running",
                "started": raw[1],
                "process": _hex(raw[4]),
                "attempt": raw[5],
                **self._submission(self._owners[raw[2]].submissions.get(raw[3]), raw[1]),
            }
            for raw in under_way[:TASKS_SHOWN]
        ]
        actors = [a for a in self._actors.values() if a.kind is found.holder] if found.holder else []
        actors.sort(key=lambda a: (a.state == "dead", -a.queue, a.key))
        return {
            "running": running,
            "failed": [self._ended(told) for told in reversed(found.failures)],
            "slowest": [self._ended(told) for told in found.ranked()],
            "latest": [self._ended(told) for told in reversed(found.latest)],
            "actors": [
                {"actor": a.key.hex(), "name": a.name, "state": a.state, "queue": a.queue, "reason": a.reason}
                for a in actors[:TASKS_SHOWN]
            ],
        }

    def _ended(self, told: Told) -> State:
        raw, submission = told
        _, _, _, _, state, started, duration, process, error = raw
        return {
            "task": _task(raw),
            "state": state,
            "started": started,
            "duration": duration,
            "process": _hex(process),
            "error": plain(error, LONGEST_ERROR),
            **self._submission(submission, started),
        }

    def _submission(self, raw: RawEvent | None, started: float) -> State:
        """When a task was submitted, how long it waited, and what it needed."""
        if raw is None:
            return {}
        needs = []
        for dependency in raw[8][:NEEDS_SHOWN]:
            key = _key(dependency)
            owner = self._owners.get(key[:8])
            sequence = int.from_bytes(key[8:], "big")
            maker = None if owner is None else owner.origins.find(sequence)
            needs.append(
                {
                    "object": key.hex(),
                    "group": None if maker is None else maker.index,
                    "name": "put" if maker is None else maker.name,
                }
            )
        return {
            "submitted": raw[1],
            "waited": max(started - raw[1], 0.0) if started else None,
            "needs": needs,
            "more": max(len(raw[8]) - NEEDS_SHOWN, 0),
        }


def _group_state(group: Group) -> State:
    ended = group.done + group.failed
    return {
        "name": group.name,
        "kind": group.kind,
        "actor": None if group.holder is None else str(group.holder.index),
        "waiting": group.waiting,
        "running": group.running,
        "done": group.done,
        "failed": group.failed,
        "cancelled": group.cancelled,
        "retries": group.retries,
        "mean": group.seconds / ended if ended else 0.0,
    }


def _task(raw: RawEvent) -> str:
    return f"{_hex(raw[2])}{raw[3]:016x}"


def _key(value: bytes | str) -> bytes:
    return value if isinstance(value, bytes) else bytes.fromhex(value)


def _hex(value: bytes | str) -> str:
    return value.hex() if isinstance(value, bytes) else value
