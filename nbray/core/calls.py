"""Calls and the functions they call; tasks and actor methods alike."""

from __future__ import annotations

from typing import Any

from nbray.core.messages import WireValue
from nbray.core.ownership import Entry
from nbray.core.streaming import Rerun, Stream

#: A function whose slowest recent run took this much, in us, and ``_VARIES`` times its mean, is never queued behind others.
_LONG = 2_000.0
_VARIES = 5.0


class Function:
    """A pickled function or class, and how long its calls take.

    Attributes:
        number: names it on this owner's connections.
        blob: the pickle, sent once a connection.
        reloads: modules that have to be as new as here before it is unpickled (``owner/reloads.py``).
        mean, worst: of the durations that executors reported, in us; exponentially weighted, ``worst`` decays.
    """

    __slots__ = ("number", "name", "blob", "runs", "mean", "worst", "refs", "reloads")

    def __init__(self, number: int, name: str, blob: WireValue, refs: Any = ()) -> None:
        self.number = number
        self.name = name
        self.blob = blob
        self.refs = refs
        self.reloads: tuple[tuple[str, str], ...] = ()
        self.runs = 0
        self.mean = 0.0
        self.worst = 0.0

    def ran(self, duration: float) -> None:
        """One more call took ``duration`` us."""
        if self.runs:
            self.mean += (duration - self.mean) * 0.2
            worst = self.worst * 0.97
            self.worst = duration if duration > worst else worst
        else:
            # The first call in a process pays for imports and cold caches; later ones pull the mean down quickly.
            self.mean = self.worst = duration
        self.runs += 1

    @property
    def predictable(self) -> bool:
        """Whether its mean says how long the next call takes."""
        return self.runs > 0 and (self.worst < _LONG or self.worst < _VARIES * self.mean)


class Call:
    """One submitted call, from ``.remote()`` to its answer.

    Attributes:
        sequence: of the first return's entry; names the call between owner and executor.
        payload: wire value of ``(args, kwargs)``.
        slots: ``((position or name, entry), ...)``: arguments that are refs, to be filled in by value.
        entries: what it returns.
        keep: kept alive until the call ends: contained refs, the payload's segment, the actor's handle.
        retries: how often it may run again after a crash; -1 without end.
        memory_kills: how often its executor was ended because the node ran out of memory.
        missing: how many of its arguments are not ready yet.
        ended: answered, failed or cancelled.
        cancelled: not wanted any more. It ends when it is known to run no more.
        place: where it is: the queue of ready calls, a lane, an actor; None if it is nowhere (yet, or any more).
        priority: calls of a higher one go first.
        parent: the id of the task that submitted it, b"" for the driver.
        origin: the notebook cell from which it stems, "" for none.
        stream: where its items go, if it is a generator's.
        extra: what few calls have and the executor has to know (see CALLS in ``messages.py``), else None.
    """

    __slots__ = (
        "sequence", "function", "payload", "slots", "entries", "keep", "refs", "retries", "retry_exceptions",
        "missing", "ended", "cancelled", "place", "estimate", "attempt", "pool", "extra", "priority", "parent",
        "memory_kills", "stream", "origin",
    )  # fmt: skip

    def __init__(
        self,
        sequence: int,
        function: Function,
        payload: WireValue,
        slots: tuple[tuple[Any, Entry], ...],
        entries: list[Any],
        refs: tuple[Entry, ...],
        keep: Any,
        pool: Any,
        retries: int,
        retry_exceptions: Any,
    ) -> None:
        self.sequence = sequence
        self.function = function
        self.payload = payload
        self.slots = slots
        self.entries = entries
        self.refs = refs
        self.keep = keep
        self.pool = pool
        self.retries = retries
        self.retry_exceptions = retry_exceptions
        self.missing = 0
        self.ended = False
        self.cancelled = False
        self.place: Any = None
        self.estimate = 0.0
        self.attempt = 0
        self.memory_kills = 0
        self.extra: dict[str, Any] | None = None
        self.priority = 0
        self.parent = b""
        self.origin = ""
        self.stream: Stream | Rerun | None = None

    def charge(self) -> bool:
        """Spend one retry; False if there was none left."""
        if self.retries == 0:
            return False
        if self.retries > 0:
            self.retries -= 1
        self.attempt += 1
        return True

    def charge_memory(self, most: int) -> bool:
        """Its executor was ended for memory, which is not counted as a retry; False if that was so ``most`` times before."""
        if self.retries == 0 or self.memory_kills >= most:
            return False
        self.memory_kills += 1
        self.attempt += 1
        return True
