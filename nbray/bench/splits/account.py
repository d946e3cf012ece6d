"""Where the CPUs' time went while a piece of code ran, from the feed's events. Pure.

At every moment each CPU either runs a task or is idle, and what the unfinished tasks are doing says why it is idle:

    sending, returning   a call or its result is on its way, its arguments are fetched   -> transfer
    ready                it could run, and was not sent yet                              -> scheduling
    blocked              it waits for the results of other tasks                         -> dependencies
    nothing of these     there are fewer tasks than CPUs, or none: too few, or only the code's own work

The integrals of that over the time, summed over the CPUs, are the account.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nbray.events import ACTOR, TASK_DISPATCHED, TASK_FINISHED, TASK_SUBMITTED, RawEvent

Floats = NDArray[np.float64]

#: The parts of an account, in the order in which they are drawn, and what each is called.
PARTS = {
    "busy": "running tasks",
    "scheduling": "scheduling",
    "transfer": "transfer",
    "dependencies": "waiting for other tasks",
    "too_few": "too few tasks at once",
    "own": "the code's own work",
}
# Submissions that follow one another faster than this are one burst: who is idle in it waits for the submitter.
BURST = 0.002

# Of the tasks' time, what actors that were made before have to do to be spoken of: a counter that is told of progress does less.
MENTIONED = 0.1

_BLOCKED, _READY, _SENDING, _RUNNING, _RETURNING = range(5)


class Account(NamedTuple):
    """What ``cpus`` CPUs did in ``wall`` seconds. The parts are CPU-seconds and add up to ``wall * cpus``.

    ``tasks`` counts tasks and actor calls; ``mean`` and ``longest`` are how long they ran, in seconds. ``nested``: how many of
    them tasks submitted. ``older``: actors that were made before and did a part of the work worth mentioning: they hold to no
    number of CPUs. ``lost``: events that were gone before they could be read; with any of them the figures are too low.
    """

    wall: float
    cpus: float
    tasks: int = 0
    failed: int = 0
    nested: int = 0
    mean: float = 0.0
    longest: float = 0.0
    busy: float = 0.0
    scheduling: float = 0.0
    transfer: float = 0.0
    dependencies: float = 0.0
    too_few: float = 0.0
    own: float = 0.0
    lost: int = 0
    older: int = 0

    @property
    def efficiency(self) -> float:
        """The share of the CPUs' time in which they ran tasks."""
        return self.share("busy")

    @property
    def overhead(self) -> float:
        """Seconds of the CPUs' time that each task cost beyond its run."""
        return (self.scheduling + self.transfer) / self.tasks if self.tasks else 0.0

    def share(self, part: str) -> float:
        """A part as a share of the CPUs' time."""
        whole = self.wall * self.cpus
        return float(getattr(self, part)) / whole if whole else 0.0

    def shares(self) -> dict[str, float]:
        return {part: self.share(part) for part in PARTS}


class _Task:
    __slots__ = ("actor", "dispatched", "finished", "needs", "parent", "runs", "submitted")

    def __init__(self, submitted: float, needs: Sequence[str], parent: str, actor: bytes | str = "") -> None:
        self.submitted = submitted
        self.actor = actor
        self.needs = needs
        self.parent = parent
        self.dispatched: float | None = None
        self.finished: float | None = None
        self.runs: list[tuple[float, float]] = []  # one an attempt


class Tasks:
    """The tasks that were submitted from ``began`` on. Events of others are passed over, also when they come late."""

    def __init__(self, began: float = 0.0) -> None:
        self._began = began
        self._tasks: dict[tuple[bytes, int], _Task] = {}
        self._new_actors: set[bytes | str] = set()
        self._unfinished = 0
        self.failed = 0
        self.lost = 0
        self.last = 0.0  # when the last task finished

    def apply(self, raws: Iterable[RawEvent]) -> None:
        for raw in raws:
            kind = raw[0]
            if kind == TASK_SUBMITTED:
                if raw[1] < self._began:
                    continue
                self._tasks[raw[2], raw[3]] = _Task(raw[1], raw[8], raw[7], raw[6])
                self._unfinished += 1
            elif kind == TASK_DISPATCHED:
                task = self._tasks.get((raw[2], raw[3]))
                if task is not None:
                    task.dispatched = raw[1]
            elif kind == TASK_FINISHED:
                task = self._tasks.get((raw[2], raw[3]))
                if task is None or task.finished is not None:
                    continue
                _, time, _, _, state, started, duration, _, _ = raw
                if started:
                    task.runs.append((started, started + duration))
                if state != "retried":
                    task.finished = time
                    self.last = max(self.last, time)
                    self._unfinished -= 1
                    self.failed += state != "done"
            elif kind == ACTOR and raw[5] == "pending":
                self._new_actors.add(raw[2])

    @property
    def unfinished(self) -> int:
        return self._unfinished

    def under_way(self, owner: bytes) -> list[int]:
        """The numbers of the tasks that this process has submitted and that have not ended."""
        return [
            sequence for (of, sequence), task in self._tasks.items() if of == owner and task.finished is None
        ]

    def account(self, began: float, ended: float, cpus: float) -> Account:
        """What ``cpus`` CPUs did from ``began`` to ``ended``, in seconds since the epoch."""
        wall = max(ended - began, 0.0)
        if not self._tasks or not wall:
            return Account(wall, cpus, own=wall * cpus, lost=self.lost)
        parts: dict[str, Any] = _parts(
            *_counts(self._intervals(ended), began, ended), cpus, self._submissions()
        )
        durations = [end - start for task in self._tasks.values() for start, end in task.runs]
        return Account(
            wall,
            cpus,
            tasks=len(self._tasks),
            failed=self.failed,
            nested=sum(bool(task.parent) for task in self._tasks.values()),
            mean=sum(durations) / len(durations) if durations else 0.0,
            longest=max(durations, default=0.0),
            lost=self.lost,
            older=self._older_actors(),
            **parts,
        )

    def _older_actors(self) -> int:
        whole, theirs = 0.0, 0.0
        found = set()
        for task in self._tasks.values():
            took = sum(end - start for start, end in task.runs)
            whole += took
            if task.actor and task.actor not in self._new_actors:
                found.add(task.actor)
                theirs += took
        return len(found) if theirs > MENTIONED * whole else 0

    def _submissions(self) -> Floats:
        return np.sort(np.array([task.submitted for task in self._tasks.values()]))

    def _intervals(self, ended: float) -> list[list[tuple[float, float]]]:
        """For each state the intervals in which one task was in it."""
        found: list[list[tuple[float, float]]] = [[] for _ in range(5)]
        children: dict[str, list[tuple[float, float]]] = {}
        for task in self._tasks.values():
            if task.parent:
                finished = ended if task.finished is None else task.finished
                children.setdefault(_hex(task.parent), []).append((task.submitted, finished))
        for (owner, sequence), task in self._tasks.items():
            finished = ended if task.finished is None else task.finished
            ready = min(max([task.submitted, *(self._made(need, ended) for need in task.needs)]), finished)
            found[_BLOCKED].append((task.submitted, ready))
            dispatched = finished if task.dispatched is None else max(task.dispatched, ready)
            if not task.runs:  # it runs since it was sent, or never did
                sent = min(dispatched, finished)
                found[_READY].append((ready, sent))
                if task.finished is None:
                    found[_RUNNING].append((sent, finished))
                continue
            start, end = task.runs[-1]
            start = min(max(start, ready), finished)
            sent = min(dispatched, start)
            end = min(max(end, start), finished)
            found[_READY].append((ready, sent))
            found[_SENDING].append((sent, start))
            found[_RETURNING].append((end, finished))
            runs = [*task.runs[:-1], (start, end)]
            waits = children.get(f"{_hex(owner)}{sequence:016x}") if children else None
            found[_RUNNING] += _without(runs, waits) if waits else runs
        return found

    def _made(self, need: str | bytes, ended: float) -> float:
        """When an object was there, 0 of one that is older than what we listened to."""
        name = _hex(need)
        owner, sequence = bytes.fromhex(name[:16]), int(name[16:], 16)
        # An object's number names its task: see `TaskSubmitted`.
        task = self._tasks.get((owner, sequence - sequence % (1 << 20 if sequence < 1 << 63 else 1 << 32)))
        return 0.0 if task is None else ended if task.finished is None else task.finished


def _hex(value: str | bytes) -> str:
    return value.hex() if isinstance(value, bytes) else value


def _without(runs: list[tuple[float, float]], waits: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """``runs`` less the times in ``waits``: a task whose own tasks are under way waits for them and needs no CPU."""
    left = []
    waits = sorted(waits)
    for start, end in runs:
        for first, last in waits:
            if first > start:
                left.append((start, min(first, end)))
            start = max(start, last)
            if start >= end:
                break
        if start < end:
            left.append((start, end))
    return left


def _counts(
    intervals: list[list[tuple[float, float]]], began: float, ended: float
) -> tuple[Floats, Floats, list[Floats]]:
    """Times, how long each lasts, and for each state how many tasks are in it then."""
    arrays = [np.clip(np.array(pairs or [(began, began)]), began, ended) for pairs in intervals]
    times = np.unique(np.concatenate([[began, ended], *(array.ravel() for array in arrays)]))
    counts = []
    for array in arrays:
        changes = np.zeros(len(times))
        np.add.at(changes, np.searchsorted(times, array[:, 0]), 1.0)
        np.add.at(changes, np.searchsorted(times, array[:, 1]), -1.0)
        counts.append(np.cumsum(changes)[:-1])
    return times[:-1], np.diff(times), counts


def _parts(
    times: Floats, lasts: Floats, counts: list[Floats], cpus: float, submissions: Floats
) -> dict[str, float]:
    """The CPUs' time, each moment of each CPU given to one part."""
    running = np.minimum(counts[_RUNNING], cpus)
    idle = cpus - running

    def take(most: Floats) -> Floats:
        nonlocal idle
        taken = np.minimum(idle, most)
        idle = idle - taken
        return taken

    sending = take(counts[_SENDING])
    scheduling = take(counts[_READY])
    returning = take(counts[_RETURNING])
    dependencies = take(np.where(counts[_BLOCKED] > 0, cpus, 0.0))
    after = np.searchsorted(submissions, times, side="right")
    inside = (after > 0) & (after < len(submissions))
    before = submissions[np.clip(after - 1, 0, None)]
    following = submissions[np.clip(after, None, len(submissions) - 1)]
    in_burst = inside & (following - before < BURST)
    nothing = sum(counts[state] for state in (_SENDING, _READY, _RETURNING, _RUNNING)) == 0
    own = take(np.where(in_burst | nothing, cpus, 0.0))
    parts = {
        "busy": running,
        "scheduling": scheduling,
        "transfer": sending + returning,
        "dependencies": dependencies,
        "too_few": idle,
        "own": own,
    }
    return {part: float((count * lasts).sum()) for part, count in parts.items()}
