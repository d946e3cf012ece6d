"""The actors of a pool: raw events in, a row an actor out.

Memory grows with living actors and unfinished calls; of those that have ended the last ones are kept. Cutting the same events in
other batches changes nothing in the result.
"""

from __future__ import annotations

from collections.abc import Iterable
from heapq import nsmallest
from typing import Any

from nbray.events import ACTOR, PROCESS, TASK_FINISHED, TASK_SUBMITTED, RawEvent
from nbray_widgets.reducers.delta import State
from nbray_widgets.reducers.processes import GIVEN_BACK, Processes, hexed
from nbray_widgets.text import LONGEST_ERROR, plain

STATES = ("alive", "pending", "restarting", "dead")
MOST_ROWS = 500
MOST_DEAD = 1_000
MOST_NAMES = 10_000


class Call:
    """A call that has not ended. ``sent``: when; ``turn``: how many were sent to its actor before it."""

    __slots__ = ("actor", "method", "sent", "turn")

    def __init__(self, actor: Actor, method: str) -> None:
        self.actor = actor
        self.method = method
        self.sent = 0.0
        self.turn = -1


class Actor:
    """Attributes:
    running: calls that were sent and have not ended, the oldest first, by their identity.
    turns: how many were sent; turn: how many ended in the order in which they were sent. mixed: others have overtaken some, so
    several run at once. ended: when the last one did.
    """

    __slots__ = (
        "changed", "class_name", "died", "done", "ended", "epoch", "failed", "key", "mixed", "name", "number", "process", "queue",
        "reason", "row", "running", "seen", "state", "time", "turn", "turns",
    )  # fmt: skip

    def __init__(self, key: str, number: int, time: float) -> None:
        self.key = key
        self.number = number
        self.time = time
        self.class_name = self.name = self.process = self.reason = ""
        self.state = "pending"
        self.epoch = self.queue = self.done = self.failed = self.turn = self.turns = 0
        self.died = self.ended = 0.0
        self.mixed = False
        self.running: dict[int, Call] = {}
        self.row: dict[str, Any] = {}
        self.changed = True
        self.seen = -1


class ActorReducer:
    """Feed it raw events with ``apply``; read ``snapshot``."""

    def __init__(self) -> None:
        self._actors: dict[str, Actor] = {}
        self._dead: dict[str, None] = {}
        self._calls: dict[Any, dict[int, Call]] = {}
        self._methods: dict[str, tuple[str, str]] = {}
        self._processes = Processes()
        self._count = 0
        self._totals = dict.fromkeys(STATES, 0)
        self._queued = 0
        self._last = 0.0
        self.skipped = 0

    # --- input -----------------------------------------------------------------------------------------------------

    def apply(self, raws: Iterable[RawEvent]) -> None:
        """Count raw events, oldest first."""
        calls = self._calls
        for raw in raws:
            kind = raw[0]
            if kind == TASK_SUBMITTED:
                if raw[5] == "actor_method":
                    self._called(raw)
            elif kind <= TASK_FINISHED:
                of = calls.get(raw[2])
                if of is None:
                    continue
                call = of.get(raw[3])
                if call is None:
                    continue
                if kind == TASK_FINISHED:
                    self._ended(raw, of, call)
                else:
                    actor = call.actor
                    call.sent, call.turn = raw[1], actor.turns
                    actor.turns += 1
                    actor.running[id(call)] = call
                    actor.changed = True
            elif kind == ACTOR:
                self._processes.apply(raw)
                self._actor(raw)
            elif kind == PROCESS:
                self._processes.apply(raw)
                if raw[3] == "down" and raw[7] != GIVEN_BACK:
                    self._caller_gone(raw[2])

    def skip(self, events: int) -> None:
        """So many events were lost: which calls are under way is not known any more, nor which actors live."""
        self.skipped += events
        self._calls.clear()
        self._queued = 0
        for actor in self._actors.values():
            actor.queue = 0
            actor.running.clear()
            actor.changed = True
        for actor in [actor for actor in self._actors.values() if actor.state != "dead"]:
            self._totals[actor.state] -= 1
            del self._actors[actor.key]  # what stands is told next

    def _of(self, key: bytes | str, time: float) -> Actor:
        actor = self._actors.get(name := hexed(key))
        if actor is None:
            actor = self._actors[name] = Actor(name, self._count, time)
            self._count += 1
            self._totals["pending"] += 1
        return actor

    def _called(self, raw: RawEvent) -> None:
        _, time, owner, sequence, name, _, key, _, _, _ = raw
        actor = self._actors.get(hexed(key))
        if actor is None:
            actor = self._of(key, time)
        names = self._methods.get(name)
        if names is None:
            names = self._named(name)
        if not actor.class_name:
            actor.class_name = names[0]
        actor.queue += 1
        actor.changed = True
        self._queued += 1
        of = self._calls.get(owner)
        if of is None:
            of = self._calls[owner] = {}
        of[sequence] = Call(actor, names[1])

    def _named(self, name: str) -> tuple[str, str]:
        """Class and method."""
        if len(self._methods) >= MOST_NAMES:
            self._methods.clear()
        class_name, _, method = name.rpartition(".")
        found = self._methods[name] = (plain(class_name), plain(method))
        return found

    def _ended(self, raw: RawEvent, of: dict[int, Call], call: Call) -> None:
        actor = call.actor
        actor.changed = True
        if actor.running.pop(id(call), None) is not None:
            if call.turn == actor.turn:
                actor.turn += 1
            else:
                actor.mixed = True
        actor.ended = raw[1]
        state = raw[4]
        if state == "retried":
            return
        del of[raw[3]]
        actor.queue -= 1
        self._queued -= 1
        if state == "done":
            actor.done += 1
        elif state == "failed":
            actor.failed += 1

    def _actor(self, raw: RawEvent) -> None:
        _, time, key, class_name, name, state, epoch, process, reason = raw
        actor = self._of(key, time)
        if actor.state == "dead" or state not in STATES:
            return
        self._last = max(self._last, time)
        self._totals[actor.state] -= 1
        self._totals[state] += 1
        actor.class_name, actor.name, actor.state = plain(class_name), plain(name or ""), state
        actor.epoch = max(actor.epoch, epoch)
        actor.process = hexed(process) or actor.process
        actor.reason = plain(str(reason), LONGEST_ERROR)
        actor.changed = True
        if state == "dead":
            actor.died = time
            self._dead[actor.key] = None
            if len(self._dead) > MOST_DEAD:
                oldest = next(iter(self._dead))
                del self._dead[oldest], self._actors[oldest]

    def _caller_gone(self, process: bytes | str) -> None:
        for call in self._calls.pop(process, {}).values():
            actor = call.actor
            actor.queue -= 1
            self._queued -= 1
            actor.mixed |= actor.running.pop(id(call), None) is not None
            actor.changed = True

    # --- output ----------------------------------------------------------------------------------------------------

    @property
    def unfinished(self) -> int:
        """Calls that wait or run."""
        return self._queued

    def snapshot(self) -> State:
        """The rows of the actors there are, and of the last that have ended, ``MOST_ROWS`` at most."""
        actors: Iterable[Actor] = self._actors.values()
        if len(self._actors) > MOST_ROWS:
            actors = nsmallest(
                MOST_ROWS, actors, key=lambda actor: (actor.state == "dead", -actor.queue, -actor.number)
            )
        rows = {actor.key: self._row(actor) for actor in actors}
        return {
            "actors": rows,
            "totals": {**self._totals, "queue": self._queued},
            "about": {
                "skipped": self.skipped,
                "hidden": len(self._actors) - len(rows),
                "last": max([self._last, *(actor.ended for actor in self._actors.values())]),
            },
        }

    def _row(self, actor: Actor) -> dict[str, Any]:
        if actor.changed or actor.seen != self._processes.version:
            actor.changed, actor.seen = False, self._processes.version
            # One that is not there has no process; of the dead it is known which they had.
            process = self._processes[actor.process if actor.state in ("alive", "dead") else ""]
            method, since = "", 0.0
            for call in actor.running.values():
                # Those behind the first were sent long ago; one begins when the one before it has ended.
                method, since = call.method, call.sent if actor.mixed else max(call.sent, actor.ended)
                break
            actor.row = {
                "number": actor.number,
                "class": actor.class_name,
                "name": actor.name,
                "state": actor.state,
                "pid": process.pid,
                "node": process.node[:8],
                "restarts": actor.epoch,
                "queue": actor.queue,
                "done": actor.done,
                "failed": actor.failed,
                "method": method if actor.state != "dead" else "",
                "since": since if actor.state != "dead" else 0.0,
                "running": len(actor.running),
                "reason": actor.reason,
                "time": actor.time,
                "died": actor.died,
            }
        return actor.row
