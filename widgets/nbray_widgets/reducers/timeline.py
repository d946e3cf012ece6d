"""The timeline: raw events in, spans in lanes out.

A lane is a process, or the objects that arrive at a node. A span is one attempt of a call, as 36 bytes in a table; hundred
thousands of them are looked at through bins (``reducers.bins``).

Laws of this file:
- Cutting the same events into other batches changes nothing in the result.
- Events of one process come in their order; those of different processes may overtake each other.
- Its memory is bounded: ``MOST_SPANS`` spans, unfinished calls, ``MOST_LANES`` lanes, distinct names.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from nbray.events import (
    ACTOR,
    OBJECT,
    PROCESS,
    TASK_DISPATCHED,
    TASK_FINISHED,
    TASK_SUBMITTED,
    RawEvent,
)
from nbray_widgets.reducers.bins import BAD, Array, Bins
from nbray_widgets.reducers.delta import State
from nbray_widgets.text import LONGEST_ERROR, plain

MOST_SPANS = 400_000
CHUNK = 8_192
MOST_LANES = 1_000
MOST_FUNCTIONS = 500
MOST_ERRORS = 5_000
MOST_OBJECTS = 20_000
MOST_ROWS = 8

#: As they go to the browser. ``start`` is seconds since the origin, ``waited`` from submission to start.
SPAN = np.dtype(
    [
        ("start", "<f8"), ("duration", "<f4"), ("waited", "<f4"), ("lane", "<u2"), ("function", "<u2"), ("state", "u1"),
        ("row", "u1"), ("owner", "<u2"), ("number", "<u4"), ("sequence", "<u8"),
    ]
)  # fmt: skip
_pack = struct.Struct("<dffHHBBHIQ").pack

#: Of spans, in the order of their numbers.
STATES = ("done", "running", "failed", "cancelled", "retried", "crashed", "copied")
_NUMBER = {name: number for number, name in enumerate(STATES)}
DONE, FAILED, CRASHED, COPIED = (_NUMBER[name] for name in ("done", "failed", "crashed", "copied"))
OTHER = "(other functions)"
TRANSFER = "object copied"


class Lane:
    """A process, or the objects that come to a node."""

    __slots__ = (
        "actor", "busy", "ends", "index", "kind", "name", "node", "open", "pid", "process", "spans", "state",
    )  # fmt: skip

    def __init__(self, index: int, kind: str, process: str, node: str = "") -> None:
        self.index = index
        self.kind = kind  # "tasks", "actor", "objects" or "other"
        self.process = process
        self.node = node
        self.name = self.actor = ""
        self.pid = 0
        self.state = "up"
        self.spans = 0
        self.busy = 0.0
        self.ends = [0.0]  # of each row: until when it is taken
        # Calls that were sent here and have not ended, the oldest first.
        self.open: dict[tuple[bytes, int], tuple[float, int]] = {}


class TimelineReducer:
    """Feed it raw events with ``apply``; read ``snapshot``, ``since``, ``window`` and ``details``."""

    def __init__(self) -> None:
        self.lanes: list[Lane] = []
        self.functions: list[dict[str, Any]] = []
        self.bins = Bins()
        self.origin = 0.0
        self.last = 0.0
        self.skipped = self.forgotten = self.spans = self.failed = 0
        self._started = False
        self._lane_of: dict[bytes, Lane] = {}
        self._function_of: dict[str, int] = {}
        self._owners: list[bytes] = []
        self._owner_of: dict[bytes, int] = {}
        # Calls that have not ended: their function and when they were submitted.
        self._calls: dict[bytes, dict[int, tuple[int, float]]] = {}
        self._sent: dict[tuple[bytes, int], Lane] = {}
        self._chunks: deque[Array] = deque()
        self._fresh = bytearray()
        self._errors: dict[int, str] = {}
        self._sizes: dict[bytes, int] = {}
        self._copies: dict[int, bytes] = {}

    # --- input -----------------------------------------------------------------------------------------------------

    def apply(self, raws: Iterable[RawEvent]) -> None:
        """Take in raw events, oldest first."""
        for raw in raws:
            kind = raw[0]
            if kind == TASK_SUBMITTED:
                self._submitted(raw)
            elif kind == TASK_DISPATCHED:
                self._dispatched(raw)
            elif kind == TASK_FINISHED:
                self._finished(raw)
            elif kind == PROCESS:
                self._process(raw)
            elif kind == ACTOR:
                self._actor(raw)
            elif kind == OBJECT:
                self._object(raw)
        self._settle()

    def skip(self, events: int) -> None:
        """``events`` events were lost: what was under way may have ended meanwhile."""
        self.skipped += events
        self._calls.clear()
        self._sent.clear()
        for lane in self.lanes:
            lane.open.clear()

    def _began(self, time: float) -> None:
        self._started = True
        self.origin = self.last = time

    def _submitted(self, raw: RawEvent) -> None:
        _, time, owner, sequence, name, what, _, _, _, _ = raw
        if not self._started:
            self._began(time)
        function = self._function_of.get(name)
        if function is None:
            function = self._function(name, what)
        calls = self._calls.get(owner)
        if calls is None:
            calls = self._calls[owner] = {}
        calls[sequence] = (function, time)

    def _dispatched(self, raw: RawEvent) -> None:
        _, time, owner, sequence, process, _ = raw
        call = self._calls.get(owner, _NOTHING).get(sequence)
        if call is None:
            return
        lane = self._lane_of.get(process)
        if lane is None:
            lane = self._lane(process)
        key = (owner, sequence)
        before = self._sent.get(key)
        if before is not None and before is not lane:
            before.open.pop(key, None)
        self._sent[key] = lane
        lane.open[key] = (time, call[0])

    def _finished(self, raw: RawEvent) -> None:
        _, time, owner, sequence, state, started, duration, process, error = raw
        calls = self._calls.get(owner)
        call = None
        if calls is not None:
            call = calls.get(sequence) if state == "retried" else calls.pop(sequence, None)
        key = (owner, sequence)
        sent = self._sent.pop(key, None)
        opened = sent.open.pop(key, None) if sent is not None else None
        if call is None:
            call = (self._function(OTHER, "task"), 0.0)
        number = _NUMBER.get(state, DONE)
        if not process or not started:
            if sent is None or opened is None:
                return  # it never ran
            # Its process died under it, or it was taken back.
            started, duration, lane = opened[0], max(time - opened[0], 0.0), sent
            if state in ("failed", "retried"):
                number = CRASHED
        else:
            found = self._lane_of.get(process)
            lane = self._lane(process) if found is None else found
        self._span(lane, call, started, duration, number, owner, sequence, error)

    def _span(
        self,
        lane: Lane,
        call: tuple[int, float],
        started: float,
        duration: float,
        state: int,
        owner: bytes,
        sequence: int,
        error: str,
    ) -> None:
        if not self._started:
            self._began(started)
        function, submitted = call
        start = started - self.origin
        end = start + duration
        # Calls overlap on an actor with async methods or threads: each in the first row that is free.
        ends = lane.ends
        row = 0
        if ends[0] > start + 1e-6 and state != COPIED:
            row = next((i for i, taken in enumerate(ends) if taken <= start + 1e-6), len(ends))
            if row == len(ends):
                if row < MOST_ROWS:
                    ends.append(end)
                else:
                    row -= 1
        if end > ends[row]:
            ends[row] = end
        number = self._owner_of.get(owner)
        if number is None:
            number = self._owner_of[owner] = len(self._owners)
            self._owners.append(owner)
        waited = start + self.origin - submitted if submitted else -1.0
        self._fresh += _pack(
            start, duration, waited, lane.index, function, state, row, number & 0xFFFF, self.spans & 0xFFFFFFFF, sequence,
        )  # fmt: skip
        if error and state != DONE:
            self._errors[self.spans] = error
            if len(self._errors) > MOST_ERRORS:
                del self._errors[next(iter(self._errors))]
        self.spans += 1
        lane.spans += 1
        lane.busy += duration
        known = self.functions[function]
        known["spans"] += 1
        known["seconds"] += duration
        if state in BAD:
            known["failed"] += 1
            self.failed += 1
        if started + duration > self.last:
            self.last = started + duration

    def _process(self, raw: RawEvent) -> None:
        _, time, process, state, role, pid, node, _ = raw
        process = _key(process)
        lane = self._lane_of.get(process)
        if lane is None:
            if role == "driver":  # it runs no calls
                return
            lane = self._lane(process)
        if lane.kind == "other":
            return
        lane.pid, lane.node = pid, _hex(node)
        if lane.kind != "actor":
            lane.kind = "actor" if role == "actor" else "tasks"
        if state == "up":
            lane.state = "up"
        else:
            lane.state = "down"
            calls = self._calls
            for key, (since, function) in list(lane.open.items()):
                owner, sequence = key
                self._sent.pop(key, None)
                begun = calls.get(owner, _NOTHING).get(sequence, (function, 0.0))
                self._span(
                    lane, begun, since, max(time - since, 0.0), CRASHED, owner, sequence, "its process died"
                )
            lane.open.clear()

    def _actor(self, raw: RawEvent) -> None:
        _, _, _, class_name, name, _, _, process, _ = raw
        if not process:
            return
        process = _key(process)
        lane = self._lane_of.get(process)
        if lane is None:
            lane = self._lane(process)
        if lane.kind == "other":
            return
        lane.kind = "actor"
        lane.actor = plain(class_name)
        lane.name = plain(name or "")

    def _object(self, raw: RawEvent) -> None:
        _, time, oid, state, size, node = raw[:6]  # how it came to be is told for the table of objects
        oid = _key(oid)
        if state == "stored":
            self._sizes[oid] = size
            if len(self._sizes) > MOST_OBJECTS:
                del self._sizes[next(iter(self._sizes))]
        elif state == "copied":
            key = b"objects " + _key(node)
            lane = self._lane_of.get(key)
            if lane is None:
                lane = self._lane(key, "objects")
                lane.node = _hex(node)
            self._copies[self.spans] = oid
            if len(self._copies) > MOST_OBJECTS:
                del self._copies[next(iter(self._copies))]
            self._span(lane, (self._function(TRANSFER, "copy"), 0.0), time, 0.0, COPIED, oid[:8], 0, "")

    # --- names -----------------------------------------------------------------------------------------------------

    def _function(self, name: str, what: str) -> int:
        known = self._function_of.get(name)
        if known is not None:
            return known
        if len(self.functions) >= MOST_FUNCTIONS and name not in (OTHER, TRANSFER):
            return self._function(OTHER, "task")
        kind = what.removeprefix("actor_")
        shown = name + ".__init__" if kind == "creation" and not name.endswith(".__init__") else name
        self.functions.append({"name": plain(shown), "kind": kind, "spans": 0, "failed": 0, "seconds": 0.0})
        self._function_of[name] = len(self.functions) - 1
        return len(self.functions) - 1

    def _lane(self, process: bytes, kind: str = "tasks") -> Lane:
        if len(self.lanes) >= MOST_LANES:
            if self.lanes[-1].kind != "other":
                self.lanes.append(Lane(len(self.lanes), "other", ""))
            return self.lanes[-1]
        lane = Lane(len(self.lanes), kind, "" if kind == "objects" else _hex(process))
        self.lanes.append(lane)
        self._lane_of[process] = lane
        return lane

    # --- spans -----------------------------------------------------------------------------------------------------

    def _settle(self) -> None:
        """Spans of the last batch go into the bins; whole chunks of them are closed."""
        if not self._fresh:
            return
        spans = np.frombuffer(bytes(self._fresh), SPAN)
        self._fresh.clear()
        self.bins.add(spans)
        if self._chunks and len(self._chunks[-1]) + len(spans) <= CHUNK:
            self._chunks[-1] = np.concatenate((self._chunks[-1], spans))
        else:
            self._chunks.append(spans)
        while self.spans - self.forgotten > MOST_SPANS:
            self.forgotten += len(self._chunks.popleft())

    def since(self, number: int, most: int) -> tuple[Array, int]:
        """Spans from ``number`` on, at most the last ``most`` of them, and the number of the first of those."""
        first = max(number, self.spans - most, self.forgotten)
        found: list[Array] = []
        end = self.spans
        for chunk in reversed(self._chunks):
            if end <= first:
                break
            begin = end - len(chunk)
            found.append(chunk[max(first - begin, 0) :])
            end = begin
        return (np.concatenate(found[::-1]) if found else np.zeros(0, SPAN)), first

    def _within(self, begin: float, end: float) -> Iterator[Array]:
        for chunk in self._chunks:
            stop = chunk["start"] + chunk["duration"]
            inside = chunk[(chunk["start"] <= end) & (stop >= begin)]
            if len(inside):
                yield inside

    def window(self, begin: float, end: float, columns: int, most: int) -> tuple[Array | None, Array | None]:
        """What lies between two times: the spans themselves if they are few enough, else bins of a column each."""
        inside = list(self._within(begin, end))
        if sum(map(len, inside)) <= most:
            return (np.concatenate(inside) if inside else np.zeros(0, SPAN)), None
        bins = Bins(begin, (end - begin) / columns, columns, grows=False)
        for spans in inside:
            bins.add(spans)
        return None, bins.all()

    def details(self, number: int) -> dict[str, Any] | None:
        """All there is to say about one span."""
        if not self.forgotten <= number < self.spans:
            return None
        span = self.since(number, self.spans - number)[0][0]
        lane = self.lanes[int(span["lane"])]
        found: dict[str, Any] = {
            "number": number,
            "name": self.functions[int(span["function"])]["name"],
            "state": STATES[int(span["state"])],
            "start": float(span["start"]),
            "duration": float(span["duration"]),
            "waited": float(span["waited"]),
            "process": lane.process,
            "pid": lane.pid,
            "node": lane.node,
            "error": plain(self._errors.get(number, ""), LONGEST_ERROR),
        }
        copied = self._copies.get(number)
        if copied is not None:
            found |= {"object": copied.hex(), "size": self._sizes.get(copied, 0)}
        else:
            found["task"] = f"{_hex(self._owners[int(span['owner'])])}{int(span['sequence']):016x}"
        return found

    def every(self) -> Iterator[Array]:
        """All spans that are kept, in chunks."""
        return iter(self._chunks)

    # --- output ------------------------------------------------------------------------------------------------------

    @property
    def unfinished(self) -> int:
        """Calls that were sent to a process and have not ended."""
        return len(self._sent)

    def snapshot(self) -> State:
        """Lanes and functions as JSON-able values; the spans themselves go in bulk."""
        return {
            "lanes": {str(lane.index): self._lane_state(lane) for lane in self.lanes},
            "functions": {str(i): dict(function) for i, function in enumerate(self.functions)},
            "about": {
                "spans": self.spans,
                "failed": self.failed,
                "origin": self.origin,
                "last": max(self.last - self.origin, 0.0),
                "open": len(self._sent),
                "skipped": self.skipped,
                "forgotten": self.forgotten,
            },
        }

    def _lane_state(self, lane: Lane) -> dict[str, Any]:
        state: dict[str, Any] = {
            "kind": lane.kind,
            "name": lane.name,
            "actor": lane.actor,
            "pid": lane.pid,
            "node": lane.node,
            "process": lane.process,
            "state": lane.state,
            "spans": lane.spans,
            "busy": round(lane.busy, 6),
            "rows": len(lane.ends),
            "open": len(lane.open),
        }
        if lane.open:
            since, function = next(iter(lane.open.values()))
            # It began when it was sent here, or when the call before it ended.
            state |= {"since": max(since - self.origin, min(lane.ends)), "function": function}
        return state


_NOTHING: dict[int, tuple[int, float]] = {}


def _key(value: bytes | str) -> bytes:
    return value if isinstance(value, bytes) else bytes.fromhex(value)


def _hex(value: bytes | str) -> str:
    return value.hex() if isinstance(value, bytes) else value


assert SPAN.itemsize == struct.calcsize("<dffHHBBHIQ")
