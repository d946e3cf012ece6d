"""The cluster: raw events in; nodes, counts of tasks and actors, and the last two minutes out.

Every event of a busy pool comes by here, so a task costs some dict and set operations and nothing else. Memory grows with
unfinished tasks and living actors.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from nbray.events import (
    ACTOR,
    NODE,
    NODE_SAMPLED,
    PROCESS,
    TASK_DISPATCHED,
    TASK_FINISHED,
    TASK_SUBMITTED,
    RawEvent,
)
from nbray_widgets.reducers.delta import State
from nbray_widgets.reducers.processes import GIVEN_BACK, Processes, hexed
from nbray_widgets.text import plain

#: Seconds of the past that are drawn.
SECONDS = 120
MOST_DOWN = 50
BYTES = ("memory", "object_store_memory")
ACTOR_STATES = ("alive", "pending", "restarting", "dead")


class Node:
    __slots__ = ("host", "number", "resources", "sample", "up", "used")

    def __init__(self, number: int) -> None:
        self.number = number
        self.host = ""
        self.up = True
        self.resources: dict[str, float] = {}
        self.used: dict[str, float] = {}
        #: CPUs busy, memory, of, store, of, spilled; None before the first.
        self.sample: tuple[Any, ...] | None = None


class Owner:
    """What one submitting process has under way: sequence numbers; and which of them are calls of which actor."""

    __slots__ = ("calls", "running", "unfinished")

    def __init__(self) -> None:
        self.unfinished: set[int] = set()
        self.running: set[int] = set()
        self.calls: dict[int, Any] = {}


class ClusterReducer:
    """Feed it raw events with ``apply``; read ``snapshot``."""

    def __init__(self) -> None:
        self._nodes: dict[str, Node] = {}
        self._down: dict[str, None] = {}
        self._owners: dict[Any, Owner] = {}
        self._actors: dict[str, str] = {}
        #: Calls that were sent to an actor and have not ended: they queue there, and it runs one of them.
        self._sent: dict[Any, int] = {}
        self._dead = 0
        self._processes = Processes()
        self._ends = {"done": 0, "failed": 0, "cancelled": 0, "retried": 0}
        #: By second: ended, CPUs leased, CPUs busy, memory and store used. What was not sampled is None.
        self._history: dict[int, list[Any]] = {}
        self._numbers = 0
        self._last = 0.0
        self.skipped = 0

    # --- input -----------------------------------------------------------------------------------------------------

    def apply(self, raws: Iterable[RawEvent]) -> None:
        """Count raw events, oldest first."""
        owners, history, ends = self._owners, self._history, self._ends
        owner_of, owner = None, Owner()
        for raw in raws:
            kind = raw[0]
            if kind > TASK_FINISHED:
                self._rare(raw)
                owner_of = None
                continue
            if raw[2] is not owner_of:
                owner_of = raw[2]
                found = owners.get(owner_of)
                if found is None:
                    found = owners[owner_of] = Owner()
                owner = found
            sequence = raw[3]
            if kind == TASK_SUBMITTED:
                owner.unfinished.add(sequence)
                if raw[5] == "actor_method":
                    owner.calls[sequence] = raw[6]
            elif kind == TASK_DISPATCHED:
                if sequence in owner.unfinished and sequence not in owner.running:
                    owner.running.add(sequence)
                    if sequence in owner.calls:
                        actor = owner.calls[sequence]
                        self._sent[actor] = self._sent.get(actor, 0) + 1
            else:
                if sequence in owner.running:
                    owner.running.remove(sequence)
                    if sequence in owner.calls:
                        self._answered(owner.calls[sequence])
                state = raw[4]
                ends[state] = ends.get(state, 0) + 1
                if state != "retried":
                    owner.unfinished.discard(sequence)
                    owner.calls.pop(sequence, None)
                    second = int(raw[1])
                    bucket = history.get(second)
                    if bucket is None:
                        bucket = self._second(second)
                    bucket[0] += 1

    def skip(self, events: int) -> None:
        """So many events were lost: what was under way may have ended. What stands is told next."""
        self.skipped += events
        self._owners.clear()
        self._actors.clear()
        self._sent.clear()
        for node in self._nodes.values():
            node.up = False

    def _answered(self, actor: Any) -> None:
        self._sent[actor] -= 1
        if not self._sent[actor]:
            del self._sent[actor]

    def _second(self, second: int) -> list[Any]:
        history = self._history
        bucket = history.get(second)
        if bucket is None:
            bucket = history[second] = [0, None, None, None, None]
            if len(history) > SECONDS:
                newest = max(history)
                for old in [other for other in history if other <= newest - SECONDS]:
                    del history[old]
        self._last = max(self._last, float(second))
        return bucket

    def _rare(self, raw: RawEvent) -> None:
        kind = raw[0]
        if kind == NODE_SAMPLED:
            self._sampled(raw)
        elif kind == NODE:
            self._node(raw)
        elif kind == ACTOR:
            self._processes.apply(raw)
            key, state = hexed(raw[2]), raw[5]
            if state == "dead":
                self._dead += self._actors.pop(key, None) is not None
            elif state in ACTOR_STATES:
                self._actors[key] = state
        elif kind == PROCESS:
            self._processes.apply(raw)
            if raw[3] == "down" and raw[7] != GIVEN_BACK:
                owner = self._owners.pop(raw[2], Owner())
                for sequence in owner.running & owner.calls.keys():
                    self._answered(owner.calls[sequence])

    def _of(self, key: str) -> Node:
        node = self._nodes.get(key)
        if node is None:
            node = self._nodes[key] = Node(self._numbers)
            self._numbers += 1
        return node

    def _node(self, raw: RawEvent) -> None:
        _, time, key, state, resources, *more = raw
        name = hexed(key)
        node = self._of(name)
        node.up = state == "up"
        self._last = max(self._last, time)
        self._down.pop(name, None)
        if node.up:
            node.resources = dict(resources)
            node.host = plain(more[0]) if more else ""
        else:
            node.used = {}
            self._down[name] = None
            if len(self._down) > MOST_DOWN:
                oldest = next(iter(self._down))
                del self._down[oldest], self._nodes[oldest]

    def _sampled(self, raw: RawEvent) -> None:
        _, time, key, *figures, used = raw
        node = self._nodes.get(hexed(key))
        if node is None or not node.up:
            return
        node.sample, node.used = tuple(figures), dict(used)
        bucket = self._second(int(time))
        up = [node for node in self._nodes.values() if node.up]
        # Nodes of one machine see the same CPUs and the same memory.
        machines = {node.host: node.sample for node in up if node.sample is not None}
        bucket[1] = round(sum(node.used.get("CPU", 0.0) for node in up), 2)
        bucket[2] = round(sum(sample[0] for sample in machines.values()), 2)
        bucket[3] = sum(sample[1] for sample in machines.values())
        bucket[4] = sum(node.sample[3] for node in up if node.sample is not None)

    # --- output ----------------------------------------------------------------------------------------------------

    @property
    def unfinished(self) -> int:
        """Tasks that wait or run."""
        return sum(len(owner.unfinished) for owner in self._owners.values())

    @property
    def unsampled(self) -> bool:
        """Some node has not told its figures yet."""
        return any(node.up and node.sample is None for node in self._nodes.values())

    def snapshot(self) -> State:
        """The whole picture as JSON-able values; see ``reducers.delta``."""
        sent = sum(len(owner.running) for owner in self._owners.values())
        running = sent - sum(self._sent.values()) + len(self._sent)
        actors = dict.fromkeys(ACTOR_STATES, 0)
        for state in self._actors.values():
            actors[state] += 1
        actors["dead"] = self._dead
        lanes: dict[str, list[int]] = {}
        for process in self._processes.up():
            counts = lanes.setdefault(process.node, [0, 0])
            if process.role != "driver":
                counts[process.role == "actor"] += 1
        return {
            "nodes": {
                key: _node_state(key, node, lanes.get(key, [0, 0])) for key, node in self._nodes.items()
            },
            "tasks": {"waiting": self.unfinished - running, "running": running, **self._ends},
            "actors": actors,
            "history": {str(second): list(bucket) for second, bucket in self._history.items()},
            "about": {"skipped": self.skipped, "last": self._last},
        }


def _node_state(key: str, node: Node, processes: list[int]) -> dict[str, Any]:
    resources = node.resources
    sample = node.sample or (None, None, resources.get("memory", 0.0), None, 0, None)
    busy, memory, memory_total, store, store_total, spilled = sample
    return {
        "number": node.number,
        "id": key,
        "host": node.host,
        "up": node.up,
        "cpus": resources.get("CPU", 0.0),
        "used": node.used.get("CPU", 0.0) if node.sample is not None else None,
        "busy": None if busy is None else round(busy, 2),
        "memory": memory,
        "memory_total": memory_total,
        "store": store,
        "store_total": store_total or resources.get("object_store_memory", 0.0),
        "spilled": spilled,
        "lanes": processes[0],
        "actors": processes[1],
        "others": {
            plain(name): [node.used.get(name, 0.0), total]
            for name, total in resources.items()
            if name != "CPU" and name not in BYTES and not name.startswith("node:")
        },
    }
