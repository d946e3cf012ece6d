"""The feed as a Chrome trace, which Perfetto and chrome://tracing show. A pure function of the records.

A node is a process of the trace, an executor a thread of it; calls that overlap on one (an actor with async methods) get further
threads, because slices of a thread have to nest. The driver's submissions are the first row, and arrows lead from where a call
was submitted to where it ran. Times are microseconds, from the first record on.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from nbray.events import (
    ActorChanged,
    Event,
    NodeChanged,
    ProcessChanged,
    TaskDispatched,
    TaskFinished,
    TaskSubmitted,
)

TraceRecord = dict[str, Any]

#: Chrome's names of colours.
_COLOURS = {
    "done": "good",
    "failed": "terrible",
    "crashed": "black",
    "cancelled": "grey",
    "retried": "bad",
    "running": "yellow",
}
#: The driver's row, and how long a submission looks, in microseconds.
_DRIVER, _MOMENT = 0, 1.0


class _Attempt(NamedTuple):
    task: str
    state: str
    start: float
    end: float
    process: str
    number: int
    error: str


def trace(records: Iterable[Event]) -> list[TraceRecord]:
    """The trace of these records of a feed, oldest first."""
    story = _Story()
    for record in records:
        story.add(record)
    return story.tell()


class _Story:
    """Puts records of one task, and of one process, together."""

    def __init__(self) -> None:
        self.submitted: dict[str, TaskSubmitted] = {}
        self.open: dict[str, TaskDispatched] = {}
        self.attempts: list[_Attempt] = []
        self.processes: dict[str, ProcessChanged] = {}
        self.actors: dict[str, ActorChanged] = {}
        self.nodes: dict[str, int] = {}
        self.first = self.last = 0.0

    def add(self, record: Event) -> None:
        self.first = self.first or record.time
        self.last = max(self.last, record.time)
        match record:
            case TaskSubmitted():
                self.submitted[record.task] = record
            case TaskDispatched():
                before = self.open.get(record.task)
                # Sent again with the same number it had not begun; with a higher one its process died.
                if before is not None and before.attempt < record.attempt:
                    self._close(before, "crashed", record.time)
                self.open[record.task] = record
            case TaskFinished():
                self._finished(record)
            case ProcessChanged():
                if record.process not in self.processes or record.state == "up":
                    self.processes[record.process] = record
            case ActorChanged(process=process) if process:
                self.actors[process] = record
            case NodeChanged():
                self._node(record.node)

    def _node(self, node: str) -> int:
        return self.nodes.setdefault(node, len(self.nodes) + 1)

    def _close(self, sent: TaskDispatched, state: str, end: float, error: str = "") -> None:
        self.attempts.append(_Attempt(sent.task, state, sent.time, end, sent.process, sent.attempt, error))

    def _finished(self, record: TaskFinished) -> None:
        sent = self.open.pop(record.task, None)
        if record.process and record.started:
            number = sent.attempt if sent is not None else 0
            end = record.started + record.duration
            self.attempts.append(
                _Attempt(record.task, record.state, record.started, end, record.process, number, record.error)
            )
            self.last = max(self.last, end)
        elif sent is not None:
            state = "crashed" if record.state == "failed" else record.state
            self._close(sent, state, record.time, record.error)

    # -- records -----------------------------------------------------------------------------------------------------

    def _us(self, time: float) -> float:
        return round((time - self.first) * 1e6, 3)

    def tell(self) -> list[TraceRecord]:
        for sent in self.open.values():
            self._close(sent, "running", self.last)
        rows = _Rows()
        slices = [
            self._slice(attempt, self._place(attempt.process), rows)
            for attempt in sorted(self.attempts, key=lambda attempt: attempt.start)
        ]
        return [*self._names(rows), *slices, *self._submissions(slices)]

    def _place(self, process: str) -> tuple[int, str]:
        """The node's number, and what the process is called."""
        known = self.processes.get(process)
        if known is None:
            return self._node(""), f"executor {process[:8]}"
        actor = self.actors.get(process)
        what = actor.class_name if actor is not None else "actor" if known.role == "actor" else "tasks"
        name = f" {actor.name!r}" if actor is not None and actor.name else ""
        return self._node(known.node), f"{what}{name} (pid {known.pid})"

    def _slice(self, attempt: _Attempt, place: tuple[int, str], rows: _Rows) -> TraceRecord:
        submitted = self.submitted.get(attempt.task)
        start, end = self._us(attempt.start), self._us(max(attempt.start, attempt.end))
        details: dict[str, Any] = {
            "task": attempt.task,
            "state": attempt.state,
            "attempt": attempt.number,
            "process": attempt.process,
        }
        if attempt.error:
            details["error"] = attempt.error
        if submitted is not None:
            details["parent"] = submitted.parent
            details["waited_us"] = round(start - self._us(submitted.time), 3)
        return {
            "cat": f"{submitted.kind if submitted is not None else 'task'},{attempt.state}",
            "name": submitted.name if submitted is not None else f"task {attempt.task[-16:]}",
            "ph": "X",
            "ts": start,
            "dur": round(end - start, 3),
            "pid": place[0],
            "tid": rows.row(attempt.process, place, start, end),
            "cname": _COLOURS.get(attempt.state, "generic_work"),
            "args": details,
        }

    def _submissions(self, slices: list[TraceRecord]) -> list[TraceRecord]:
        """The driver's row, and arrows from each submission to the first attempt."""
        ran: dict[str, TraceRecord] = {}
        for each in slices:
            ran.setdefault(each["args"]["task"], each)
        told: list[TraceRecord] = []
        for number, submitted in enumerate(self.submitted.values()):
            moment, start = self._us(submitted.time), ran.get(submitted.task)
            pid, tid = _DRIVER, 0
            parent = ran.get(submitted.parent)
            if parent is not None:
                pid, tid = parent["pid"], parent["tid"]
            elif not submitted.parent:
                told.append(
                    {"cat": "submit", "name": f"submit {submitted.name}", "ph": "X", "ts": moment, "dur": _MOMENT,
                     "pid": pid, "tid": tid, "args": {"task": submitted.task}}
                )  # fmt: skip
            if start is None or (parent is None and submitted.parent):
                continue
            arrow = {"cat": "submit", "name": "runs", "id": number}
            told.append({**arrow, "ph": "s", "ts": moment, "pid": pid, "tid": tid})
            told.append(
                {**arrow, "ph": "f", "bp": "e", "ts": start["ts"], "pid": start["pid"], "tid": start["tid"]}
            )
        return told

    def _names(self, rows: _Rows) -> list[TraceRecord]:
        named = [("process_name", _DRIVER, 0, "driver"), ("thread_name", _DRIVER, 0, "submissions")]
        named += [
            ("process_name", number, 0, f"node {node[:8]}" if node else "unknown node")
            for node, number in self.nodes.items()
        ]
        named += [("thread_name", node, tid, name) for tid, (node, name) in rows.names.items()]
        return [
            {"name": what, "ph": "M", "pid": pid, "tid": tid, "args": {"name": name}}
            for what, pid, tid, name in named
        ]


class _Rows:
    """Threads of the trace: the first of its process's that is free."""

    def __init__(self) -> None:
        self.names: dict[int, tuple[int, str]] = {}
        self._ends: dict[str, dict[int, float]] = {}  # of each process's rows: until when they are taken

    def row(self, process: str, place: tuple[int, str], start: float, end: float) -> int:
        ends = self._ends.setdefault(process, {})
        tid = next((tid for tid, taken in ends.items() if taken <= start), 0)
        if not tid:
            tid = len(self.names) + 1
            node, name = place
            self.names[tid] = node, f"{name} · {len(ends) + 1}" if ends else name
        ends[tid] = end
        return tid
