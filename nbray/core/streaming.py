"""The items of one generator call on their way: the caller's side (``Stream``) and the executor's (``Outlet``). Pure.

Items are numbered from 0 in the order of ``yield``. Item ``i`` is object ``sequence + 1 + i``; ``sequence`` itself is the call,
and the ref that is ready at its end. So an item has the same id whenever the generator runs: a rerun after a crash yields them
anew from the start, and those that are here already are recognized by their numbers.

With a limit (``ahead``) the executor pauses when that many items are yielded and not taken. What was taken is told in absolute
numbers, so a message too much harms nobody; a rerun hears it again at its first item.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from nbray.core.ownership import Entry


class Stream:
    """A generator's items at its caller.

    Attributes:
        sequence: of the call.
        items: those that came and were not taken, and after them always one that has not come. The first one is the next to be
            taken.
        ahead: how many may be yielded and not taken; 0: any number.
        ended: no more items will come. Then the one that has not come is the end, and it is ready, so that whoever waits goes on.
        dropped: nobody will take any more.
        lineage: how large items are made again, once there are any; see ``core/lineage.py``.
        raised: it ended because the generator raised.
        end: what the call answers; ready when it ends, failed if it failed in whichever way.
        completed: as the user sees it: failed only if not the generator itself did.
    """

    __slots__ = (
        "sequence", "items", "ahead", "ended", "dropped", "raised", "end", "completed", "lineage",
        "_make", "_seen", "_told",
    )  # fmt: skip

    def __init__(self, sequence: int, ahead: int, make: Callable[[int], Entry]) -> None:
        """
        Args:
            make: makes the entry of a sequence number.
        """
        self.sequence = sequence
        self.ahead = ahead
        self.ended = self.dropped = self.raised = False
        self.lineage: Any = None
        self.end = Entry(make(sequence).owner_id, sequence)
        self.completed = make(sequence)
        self.items: deque[Entry] = deque((make(sequence + 1),))
        self._make = make
        self._seen = 0  # items that the present run has yielded
        self._told = 0  # how many are taken, as the present run knows

    # -- the user's side: one thread -------------------------------------------------------------------------------

    @property
    def next(self) -> Entry:
        """The item that will be taken next, ready or not; the end, if the stream is over."""
        return self.items[0]

    @property
    def taken(self) -> int:
        return self.items[0].sequence - self.sequence - 1

    @property
    def over(self) -> bool:
        """Ended, and all is taken."""
        return self.ended and len(self.items) == 1

    def take(self) -> None:
        """The first item, which must be ready and not the end, is taken. One step: an interrupt comes before or after it."""
        self.items.popleft()

    def untake(self, first: Entry) -> None:
        """It was not, if it was: ``first`` is the next one again."""
        if self.items[0] is not first:
            self.items.appendleft(first)

    # -- what comes: under the owner's lock ------------------------------------------------------------------------

    def came(self, index: int) -> Entry | None:
        """Item ``index`` came: its entry, to be made ready; None if it came before a crash already, or nobody wants it."""
        if index == 0:
            self._told = 0  # a new run: it knows of nothing that was taken
        self._seen = index + 1
        here = self.items[-1]
        if self.dropped or self.ended or here.sequence != self.sequence + 1 + index:
            return None
        # First the one behind it: who takes without the lock always finds one that has not come.
        self.items.append(self._make(here.sequence + 1))
        return here

    def finish(self, failed: bool) -> tuple[Entry | None, Entry]:
        """The call ended: the entry that takes the failure, if it failed, and the end. Make them ready, in this order."""
        last = None
        if failed and not self.dropped:
            last = self.items[-1]
            self.items.append(self._make(last.sequence + 1))
        self.ended = True
        return last, self.items[-1]

    @property
    def due(self) -> bool:
        """Whether the executor waits to hear how many are taken, or will soon. To be asked after each ``take`` and ``came``."""
        if not self.ahead or self.ended or self.dropped:
            return False
        return self.taken > self._told and self._seen - self._told >= (self.ahead + 1) // 2

    def told(self) -> int:
        """How many are taken. The executor is told."""
        self._told = self.taken
        return self._told

    def drop(self) -> bool:
        """Nobody will take any more; False if that is nothing new, or nothing is to come."""
        if self.dropped or self.ended:
            return False
        self.dropped = True
        while len(self.items) > 1:
            self.items.popleft()
        return True

    def validate(self) -> None:
        """Check the stream against itself; tests call it after every step."""
        *here, last = self.items
        assert all(entry.ready for entry in here)
        assert last.ready == self.ended
        numbers = [entry.sequence for entry in self.items]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


class Rerun:
    """Stands for the stream of a call that runs once more because items of it were lost: the lineage knows which.

    Attributes:
        late: items that were asked for when this run had passed them.
        closed: all have come, the generator need not go on.
    """

    __slots__ = ("sequence", "lineage", "late", "closed", "raised", "_seen")

    ahead, due, dropped = 0, False, False

    def __init__(self, sequence: int, lineage: Any) -> None:
        self.sequence = sequence
        self.lineage = lineage
        self.late: set[int] = set()
        self.closed = self.raised = False
        self._seen = 0

    def want(self, index: int) -> None:
        """One more item is to come."""
        if index < self._seen:
            self.late.add(index)

    def came(self, index: int) -> None:
        """Item ``index`` came, in an entry that there is already."""
        if index == 0:
            self.late.clear()  # a new run
        self._seen = index + 1

    def told(self) -> int:
        return self._seen


class Outlet:
    """A generator's items at the executor that runs it.

    Attributes:
        ahead: how many may be yielded and not taken; 0: any number.
        sent, taken: how many of the items.
        closed: nobody wants more.
        changed: called when ``taken`` or ``closed`` changes, on any thread, under the owner's lock.
    """

    __slots__ = ("ahead", "sent", "taken", "closed", "changed")

    def __init__(self, ahead: int = 0) -> None:
        self.ahead = ahead
        self.sent = 0
        self.taken = 0
        self.closed = False
        self.changed: Callable[[], None] | None = None

    @property
    def full(self) -> bool:
        """Whether the generator has to pause."""
        return self.ahead > 0 and self.sent - self.taken >= self.ahead and not self.closed

    def took(self, taken: int) -> None:
        """The caller has taken so many."""
        if taken > self.taken:
            self.taken = taken
            if self.changed is not None:
                self.changed()

    def close(self) -> None:
        """The caller wants no more."""
        if not self.closed:
            self.closed = True
            if self.changed is not None:
                self.changed()
