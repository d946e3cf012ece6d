"""What a process knows of objects (entries), and who else has a ref to those it owns (holds).

An entry is owned where it was created. Its local life is CPython's reference count: public refs, pending calls and values that
contain it refer to the entry itself. ``guard`` is whatever must be undone at the end (a segment's file, a hold at another
owner) and acts by its own ``__del__``, so the many entries with a small value need none.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias

from nbray.core.ids import Address, ObjectId, ProcessId, object_id
from nbray.core.messages import ERROR, INLINE, SHARED, WireValue


class Entry:
    """One object, as one process sees it. There is one entry an object and process, so identity is equality.

    Attributes:
        owner_id: the owner's process id; with ``sequence`` it makes the object's id.
        owner: None if this process owns it, else the owner's address.
        ready: the value is there (or the failure). ``wait`` passes over this attribute in C.
        failed: ready, and the value is a failure.
        value: a wire value once ready (see ``core/messages.py``), before that None.
        callbacks: called with the entry, under the owner's lock, when it becomes ready; None if there are none.
        guard: kept alive as long as the entry.
    """

    __slots__ = (
        "sequence",
        "owner_id",
        "owner",
        "ready",
        "failed",
        "value",
        "callbacks",
        "guard",
        "__weakref__",
    )

    def __init__(self, owner_id: ProcessId, sequence: int, owner: Address | None = None) -> None:
        self.sequence = sequence
        self.owner_id = owner_id
        self.owner = owner
        self.ready = False
        self.failed = False
        self.value: WireValue | None = None
        self.callbacks: list[Callable[[Entry], None]] | None = None
        self.guard: Any = None

    @property
    def id(self) -> ObjectId:
        return object_id(self.owner_id, self.sequence)

    def when_ready(self, callback: Callable[[Entry], None]) -> None:
        """Call ``callback(entry)`` once it is ready; it must not be ready yet."""
        if self.callbacks is None:
            self.callbacks = [callback]
        else:
            self.callbacks.append(callback)


class Completer:
    """Makes entries ready. A callback may make others ready in its turn; those callbacks wait until the running one has
    returned, so a failure passes down a chain of any length without recursion.
    """

    __slots__ = ("_running", "_todo")

    def __init__(self) -> None:
        self._todo: deque[tuple[Callable[[Entry], None], Entry]] = deque()
        self._running = False

    def __call__(self, entry: Entry, value: WireValue, guard: Any = None) -> None:
        """The entry's value is there. A second completion (a late duplicate) is ignored."""
        if entry.ready:
            return
        entry.value = value
        if guard is not None:
            entry.guard = guard
        entry.failed = type(value) is tuple and value[0] == ERROR
        entry.ready = True
        callbacks = entry.callbacks
        if callbacks is None:
            return
        entry.callbacks = None
        todo = self._todo
        todo.extend([(callback, entry) for callback in callbacks])
        if not self._running:
            self._running = True
            try:
                while todo:
                    callback, ready = todo.popleft()
                    callback(ready)
            finally:
                self._running = False


def refs_in(value: WireValue) -> tuple[Any, ...]:
    """The wire refs that a value contains; of a failure inside a process the entries themselves."""
    if type(value) is tuple:
        if value[0] == INLINE:
            return value[3]  # type: ignore[no-any-return]
        if value[0] == SHARED:
            return value[7]  # type: ignore[no-any-return]
        if value[0] == ERROR and len(value) > 2:
            return value[2]  # type: ignore[no-any-return]
    return ()


def with_refs(value: WireValue, refs: tuple[Any, ...]) -> WireValue:
    """The same value with its contained refs written anew, for another receiver."""
    if type(value) is tuple:
        if value[0] == INLINE:
            return (INLINE, value[1], value[2], refs)
        if value[0] == SHARED:
            return (*value[:7], refs, *value[8:])
        if value[0] == ERROR:
            return (ERROR, value[1], refs) if refs else (ERROR, value[1])
    return value


#: A process, or (giver, receiver): a ref that ``giver`` passes on to ``receiver``, who has not claimed it yet.
Holder: TypeAlias = "bytes | tuple[bytes, bytes]"


class Holds:
    """The owner's table of which process holds how many counts of which of its entries.

    Counts, not flags: while a holder gives back what it had, a new copy may be on its way to it, and that one is counted already.
    An entry in the table is alive.

    A ref that a third process passes on is counted for its way until the receiver claims it. If the giver dies, nobody but the
    receiver knows whether it has come: ``in_transit`` says whom to ask, and what has not been claimed when the receiver has
    read the giver's last word never came (``never_came``).
    """

    def __init__(self) -> None:
        #: Sequence numbers of objects whose holders have changed; whoever tells of it takes them out.
        self.changed: set[int] = set()
        self._entries: dict[int, Entry] = {}
        self._counts: dict[int, dict[Holder, int]] = {}
        self._by_holder: dict[Holder, set[int]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def entry(self, sequence: int) -> Entry | None:
        return self._entries.get(sequence)

    def entries(self) -> Iterator[Entry]:
        return iter(self._entries.values())

    def holders(self, sequence: int) -> dict[Holder, int]:
        """Counts by holder, for the objects view and for tests."""
        return dict(self._counts.get(sequence, ()))

    def has(self, holder: bytes) -> bool:
        return holder in self._by_holder

    def add(self, entry: Entry, holder: Holder, n: int = 1) -> None:
        sequence = entry.sequence
        counts = self._counts.get(sequence)
        if counts is None:
            counts = self._counts[sequence] = {}
            self._entries[sequence] = entry
        if holder not in counts:
            self.changed.add(sequence)
        counts[holder] = counts.get(holder, 0) + n
        self._by_holder.setdefault(holder, set()).add(sequence)

    def release(self, sequence: int, holder: Holder, n: int) -> None:
        """``holder`` gives back ``n`` counts. More than it has (after it was declared dead) is ignored."""
        counts = self._counts.get(sequence)
        if counts is None or holder not in counts:
            return
        counts[holder] -= n
        if counts[holder] <= 0:
            self._remove(sequence, holder)

    def claim(self, sequence: int, giver: bytes, receiver: bytes) -> None:
        """A ref that ``giver`` passed on has come: it is the receiver's. Ignored if none is on its way (any more)."""
        counts = self._counts.get(sequence)
        if counts is not None and (giver, receiver) in counts:
            self.add(self._entries[sequence], receiver)
            self.release(sequence, (giver, receiver), 1)

    def in_transit(self, giver: bytes) -> list[bytes]:
        """To whom ``giver`` passes refs on that have not been claimed."""
        return [key[1] for key in self._by_holder if type(key) is tuple and key[0] == giver]

    def never_came(self, giver: bytes, receiver: bytes) -> None:
        """All that ``giver`` ever sent to ``receiver`` has been read: what is not claimed now never will be."""
        self._all_gone((giver, receiver))

    def holder_gone(self, holder: bytes) -> None:
        """A process died: all its holds go, and those on their way to it."""
        self._all_gone(holder)
        for key in [key for key in self._by_holder if type(key) is tuple and key[1] == holder]:
            self._all_gone(key)

    def _all_gone(self, holder: Holder) -> None:
        for sequence in list(self._by_holder.get(holder, ())):
            self._remove(sequence, holder)

    def _remove(self, sequence: int, holder: Holder) -> None:
        counts = self._counts[sequence]
        del counts[holder]
        self.changed.add(sequence)
        of_holder = self._by_holder[holder]
        of_holder.discard(sequence)
        if not of_holder:
            del self._by_holder[holder]
        if not counts:
            del self._counts[sequence]
            del self._entries[sequence]

    def validate(self) -> None:
        """Check the table against itself; tests call it after every step."""
        assert self._entries.keys() == self._counts.keys()
        pairs = {(s, h) for s, counts in self._counts.items() for h in counts}
        assert pairs == {(s, h) for h, sequences in self._by_holder.items() for s in sequences}
        assert all(n > 0 for counts in self._counts.values() for n in counts.values())
        assert all(self._counts.values()) and all(self._by_holder.values())


def pending(entries: Iterable[Entry]) -> list[Entry]:
    return [entry for entry in entries if not entry.ready]
