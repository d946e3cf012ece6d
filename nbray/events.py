"""What happened: the one feed that views, progress, timeline, state API and traces read.

The runtime appends *raw* events (plain tuples, kind first: the per-call path cannot afford records) and readers get the frozen
records below. Times are seconds since the epoch (``time.time()``), durations are seconds, sizes bytes, ids hex strings.

    feed = Feed()
    cursor = 0
    records, cursor = feed.since(cursor)      # everything new, oldest first

There will be more kinds of events: a reader passes over those that it does not know.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from math import inf
from time import monotonic
from typing import Any, NamedTuple, TypeAlias

RawEvent: TypeAlias = tuple[Any, ...]

#: Classes of actors that nbray makes for its own purposes and kills soon: a sweep holds CPUs with them. `WithoutOwn` leaves them
#: out of whatever people look at.
OWN_ACTORS = frozenset(("CpusSetAside",))


class TaskSubmitted(NamedTuple):
    """A task, actor creation or actor method call was submitted by ``owner``.

    ``kind`` is "task", "actor_creation" or "actor_method"; ``actor`` the actor's id for the latter two, else "".
    ``dependencies`` are the ids of the objects that are its direct arguments; an object's id names its task, see
    ``returns`` (-1: a generator's items follow its own id, up to 2**32 - 1 of them). ``parent`` is the id of the task that
    submitted it, "" for the driver.
    """

    time: float
    task: str
    name: str
    kind: str
    actor: str
    parent: str
    dependencies: tuple[str, ...]
    returns: int


class TaskDispatched(NamedTuple):
    """The call was sent to an executor (it may queue there for a few milliseconds)."""

    time: float
    task: str
    process: str
    attempt: int


class TaskFinished(NamedTuple):
    """``state``: "done", "failed", "cancelled", or "retried" (it will be dispatched again)."""

    time: float
    task: str
    state: str
    started: float
    duration: float
    process: str
    error: str


class ProcessChanged(NamedTuple):
    """A process came up or went. ``state``: "up" or "down"; ``role``: "lane", "actor", or "driver"."""

    time: float
    process: str
    state: str
    role: str
    pid: int
    node: str
    reason: str


class ActorChanged(NamedTuple):
    """``state``: "pending", "alive", "restarting" or "dead"; ``reason`` says why for the last two."""

    time: float
    actor: str
    class_name: str
    name: str
    state: str
    epoch: int
    process: str
    reason: str


class ObjectChanged(NamedTuple):
    """A large object, beyond 100 KiB. ``state``: "stored" (in shared memory), "spilled" (on disk, where it stays, because the
    memory of the node's store was full), "copied" (to a further node) or "freed". It is lost when the last of its nodes goes.

    ``made`` says how it came to be: "put", "result", "arguments" (passed by value) or "function" (a large one), "" for a copy and
    for the end; ``by`` is the name of the function or method that returned or put it, "" for the driver's own code.
    """

    time: float
    object: str
    state: str
    size: int
    node: str
    made: str = ""
    by: str = ""


class NodeChanged(NamedTuple):
    """``state``: "up" or "down"; ``resources``: what the node has, e.g. ``{"CPU": 2.0}``; ``host``: its address, "" on the local
    pool.
    """

    time: float
    node: str
    state: str
    resources: dict[str, float]
    host: str = ""


class NodeSampled(NamedTuple):
    """What a node is doing, about once a second, while somebody reads it (see `Feed.watch`).

    ``cpu``: CPUs that are busy, as its machine or its control group counts them, with whatever else runs there; ``memory`` of
    ``memory_total``, ``store`` of ``store_total`` (the objects in shared memory) and ``spilled`` (on disk): bytes. ``used``: what
    of the node's resources is leased, e.g. ``{"CPU": 1.5}``.
    """

    time: float
    node: str
    cpu: float
    memory: int
    memory_total: int
    store: int
    store_total: int
    spilled: int
    used: dict[str, float]


class ObjectHeld(NamedTuple):
    """Which processes beside the owner (the first 16 digits of its id) have refs to a large object, as of now."""

    time: float
    object: str
    holders: tuple[str, ...]


class Printed(NamedTuple):
    """Whole lines that a task or actor printed, as they reached the driver.

    ``origin`` is the opaque id of the notebook cell that submitted the call, "" outside of notebooks; ``task`` the call's id, ""
    for what no call printed; ``name`` of the function, or of the actor (its class's, or what its ``__repr__`` says); ``stream`` 1
    for stdout, 2 for stderr.
    Who prints a lot is quoted only: a line that begins with "..." says how much was left out. Of old texts only the first lines
    are kept.
    """

    time: float
    origin: str
    task: str
    name: str
    stream: int
    text: str
    process: str
    pid: int
    node: str


Event: TypeAlias = (
    TaskSubmitted
    | TaskDispatched
    | TaskFinished
    | ProcessChanged
    | ActorChanged
    | ObjectChanged
    | NodeChanged
    | Printed
    | NodeSampled
    | ObjectHeld
)

# Raw events carry these numbers. Task and object ids are (owner id as bytes, sequence number) there, formatted only
# when somebody reads: most events of a busy run never are.
(
    TASK_SUBMITTED, TASK_DISPATCHED, TASK_FINISHED, PROCESS, ACTOR, OBJECT, NODE, PRINTED, NODE_SAMPLED, OBJECT_HELD,
) = range(10)  # fmt: skip

#: Characters of printed text that a feed keeps in all, and those of a text that is older than that.
TEXT_KEPT, TEXT_OLD = 1 << 24, 80
_TEXT = 6  # where it stands in the raw event

#: Seconds after which a reader's wish for events that are made for readers only is forgotten, and between two such wishes.
WATCHED, _RENEWED = 10.0, 3.0
#: Actors, processes and nodes that have ended, of which a late reader is told still.
_MOST_ENDED = 1_000


def _hex(value: Any) -> str:
    return value.hex() if isinstance(value, bytes) else value


def _object(owner: bytes, sequence: int) -> str:
    return owner.hex() + f"{sequence:016x}"


def record(raw: RawEvent) -> Event:
    """The frozen record of a raw event."""
    kind = raw[0]
    if kind == TASK_SUBMITTED:
        _, time, owner, sequence, name, what, actor, parent, dependencies, returns = raw
        return TaskSubmitted(
            time, _object(owner, sequence), name, what, _hex(actor), _hex(parent),
            tuple(_hex(d) for d in dependencies), returns,
        )  # fmt: skip
    if kind == TASK_DISPATCHED:
        _, time, owner, sequence, process, attempt = raw
        return TaskDispatched(time, _object(owner, sequence), _hex(process), attempt)
    if kind == TASK_FINISHED:
        _, time, owner, sequence, state, started, duration, process, error = raw
        return TaskFinished(time, _object(owner, sequence), state, started, duration, _hex(process), error)
    fields: list[Any] = [_hex(field) for field in raw[1:]]
    if kind == PROCESS:
        return ProcessChanged(*fields)
    if kind == ACTOR:
        return ActorChanged(*fields)
    if kind == OBJECT:
        return ObjectChanged(*fields)
    if kind == NODE:
        return NodeChanged(*fields)
    if kind == PRINTED:
        return Printed(*fields)
    if kind == NODE_SAMPLED:
        return NodeSampled(*fields)
    if kind == OBJECT_HELD:
        return ObjectHeld(fields[0], fields[1], tuple(_hex(holder) for holder in fields[2]))
    raise ValueError(f"unknown event kind {kind!r}")


class WithoutOwn:
    """What a reader who shows events to people wants to know: all but those of `OWN_ACTORS`, their calls and their processes.

    It remembers from batch to batch, so each reader has one, and gives it every batch.
    """

    def __init__(self) -> None:
        #: Ids of actors and processes, and (owner, sequence number) of calls, that have not ended.
        self._own: set[Any] = set()

    def of(self, raws: list[RawEvent]) -> list[RawEvent]:
        """The others of these events, in their order."""
        # That the pool is busy with somebody's tasks is the rule: a look at each event is all that it costs.
        if not self._own and not any(raw[0] == ACTOR and raw[3] in OWN_ACTORS for raw in raws):
            return raws
        return [raw for raw in raws if not self._is_own(raw)]

    def _is_own(self, raw: RawEvent) -> bool:
        own, kind = self._own, raw[0]
        if kind == ACTOR:
            if raw[3] not in OWN_ACTORS:
                return False
            own.add(raw[2])
            if raw[7]:
                own.add(raw[7])
            if raw[5] == "dead":
                own.discard(raw[2])
            return True
        if kind == TASK_SUBMITTED:
            if raw[6] not in own:
                return False
            own.add((raw[2], raw[3]))
            return True
        if kind == TASK_DISPATCHED:
            return (raw[2], raw[3]) in own
        if kind == TASK_FINISHED:
            found = (raw[2], raw[3]) in own
            if found and raw[4] != "retried":
                own.discard((raw[2], raw[3]))
            return found
        if kind == PROCESS:
            found = raw[2] in own
            if found and raw[3] == "down":
                own.discard(raw[2])
            return found
        return kind == PRINTED and raw[7] in own


class Feed:
    """A bounded log of raw events with any number of independent readers.

    ``append`` and ``extend`` may be called by any thread. Readers poll with a cursor, so a feed that nobody reads costs an
    append an event and nothing else. Of what was dropped, ``standing`` still tells what there is.

    Args:
        capacity: events kept at least; the oldest go when there are twice as many.
    """

    def __init__(self, capacity: int = 200_000) -> None:
        self.capacity = capacity
        self.closed = False
        self._log: list[RawEvent] = []
        self._dropped = 0
        self._standing: dict[tuple[int, Any], RawEvent] = {}
        self._ended: dict[tuple[int, Any], RawEvent] = {}
        self._wishes: dict[int, float] = {}
        #: Called with the kind of event that somebody wants to read; set by the runtime.
        self.on_watch: Callable[[int], None] = lambda kind: None
        # A reader between the two steps of ``trim`` would miss as many events as were dropped. Appending needs no lock.
        self._trimming = threading.Lock()
        self._texts: deque[tuple[int, RawEvent]] = deque()
        self._text_size = 0
        self.append = self._log.append

    def extend(self, raws: Iterable[RawEvent]) -> None:
        self._log.extend(raws)

    def append_text(self, raw: RawEvent) -> None:
        """Append a PRINTED event; once there is too much text, the oldest is cut down."""
        log, texts = self._log, self._texts
        with self._trimming:
            log.append(raw)
            index = len(log) - 1
            while log[index] is not raw:  # others append meanwhile
                index -= 1
            texts.append((self._dropped + index, raw))
            self._text_size += len(raw[_TEXT])
            while self._text_size > TEXT_KEPT:
                position, old = texts.popleft()
                self._text_size -= len(old[_TEXT])
                if position >= self._dropped and len(old[_TEXT]) > TEXT_OLD:
                    log[position - self._dropped] = (
                        *old[:_TEXT],
                        f"{old[_TEXT][:TEXT_OLD]}\n... the rest is not kept\n",
                        *old[_TEXT + 1 :],
                    )

    def trim(self) -> None:
        """Drop the oldest beyond the capacity. The runtime calls it now and then."""
        excess = len(self._log) - self.capacity
        if excess > self.capacity:
            with self._trimming:
                self._remember([raw for raw in self._log[:excess] if raw[0] > TASK_FINISHED])
                del self._log[:excess]
                self._dropped += excess

    def _remember(self, raws: Iterable[RawEvent]) -> None:
        standing, ended = self._standing, self._ended
        for raw in raws:
            kind = raw[0]
            if kind == OBJECT:
                if raw[3] == "freed":
                    standing.pop((OBJECT, raw[2]), None)
                    standing.pop((OBJECT_HELD, raw[2]), None)
                elif raw[3] != "copied":
                    standing[OBJECT, raw[2]] = raw
            elif kind == OBJECT_HELD:
                if (OBJECT, raw[2]) in standing:
                    standing[OBJECT_HELD, raw[2]] = raw
            elif kind in (PROCESS, ACTOR, NODE):
                key, state = (kind, raw[2]), raw[5 if kind == ACTOR else 3]
                standing.pop(key, None)
                if state not in ("down", "dead"):
                    standing[key] = raw
                    ended.pop(key, None)
                else:
                    ended[key] = raw
                    if len(ended) > _MOST_ENDED:
                        del ended[next(iter(ended))]

    def standing(self) -> list[RawEvent]:
        """For a reader who has missed events: what the dropped ones say of nodes, processes, actors and objects as they were when
        the oldest kept event came, and of the last that have ended.
        """
        with self._trimming:
            return [*self._ended.values(), *self._standing.values()]

    def watch(self, kind: int) -> None:
        """A reader wants events of a kind that is made for readers only, such as ``NODE_SAMPLED``. To be said at least every
        `WATCHED` seconds as long as that is so; more often costs nothing.
        """
        now = monotonic()
        if now - self._wishes.get(kind, -inf) > _RENEWED and not self.closed:
            self._wishes[kind] = now
            self.on_watch(kind)

    def close(self) -> None:
        """No more events will come: the pool is gone. Views finish what is there and keep it as their last picture."""
        self.closed = True

    @property
    def end(self) -> int:
        """The cursor that sees only what comes from now on."""
        return self._dropped + len(self._log)

    def raw_since(self, cursor: int, limit: int | None = None) -> tuple[list[RawEvent], int]:
        """Raw events from ``cursor`` on, oldest first, and the cursor for the next call."""
        with self._trimming:
            start = max(cursor - self._dropped, 0)
            stop = len(self._log) if limit is None else min(start + limit, len(self._log))
            return self._log[start:stop], self._dropped + stop

    def since(self, cursor: int, limit: int | None = None) -> tuple[list[Event], int]:
        """Records from ``cursor`` on, oldest first, and the cursor for the next call."""
        raws, cursor = self.raw_since(cursor, limit)
        return [record(raw) for raw in raws], cursor
