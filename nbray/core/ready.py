"""The queue of an owner's calls that only wait for a lane: the highest priority first, and in order within one.

Nothing is searched for. A call that is withdrawn stays where it is, without a claim to its place (``call.place``), until it comes
to the head or the queue is mostly made of such; so withdrawing all of n calls costs n steps.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

from nbray.core.calls import Call

#: Withdrawn calls that may lie in a queue, however few others there are.
_DEAD = 64


class Ready:
    """
    Attributes:
        live: how many calls are in it.
    """

    __slots__ = ("live", "_first", "_priority", "_others", "_dead")

    def __init__(self) -> None:
        self.live = 0
        self._first: deque[Call] = deque()  # of the highest priority; most queues never have another
        self._priority = 0
        self._others: dict[int, deque[Call]] = {}
        self._dead = 0

    def __bool__(self) -> bool:
        return self.live > 0

    def __len__(self) -> int:
        return self.live

    def __iter__(self) -> Iterator[Call]:
        """In the order in which they go."""
        levels = {self._priority: self._first, **self._others}
        for priority in sorted(levels, reverse=True):
            yield from [call for call in levels[priority] if call.place is self]

    def append(self, call: Call) -> None:
        call.place = self
        self.live += 1
        if call.priority == self._priority:
            self._first.append(call)
        else:
            self._level(call.priority).append(call)

    def extendleft(self, calls: Iterable[Call]) -> None:
        """Calls that have been here before: in front of those of their priority, the last of ``calls`` first."""
        for call in calls:
            call.place = self
            self.live += 1
            (self._first if call.priority == self._priority else self._level(call.priority)).appendleft(call)

    def _level(self, priority: int) -> deque[Call]:
        if priority < self._priority:
            return self._others.setdefault(priority, deque())
        if self._first:
            self._others[self._priority] = self._first
        self._priority, self._first = priority, deque()
        return self._first

    def head(self) -> Call | None:
        """Who is next; None if the queue is empty."""
        while True:
            first = self._first
            while first:
                call = first[0]
                if not call.ended:
                    return call
                first.popleft()
                if call.place is self:  # it ended where it was
                    call.place = None
                    self.live -= 1
                else:
                    self._dead -= 1
            if not self._others:
                return None
            self._priority = max(self._others)
            self._first = self._others.pop(self._priority)

    def take(self) -> None:
        """Take out what ``head`` has answered."""
        self._first.popleft().place = None
        self.live -= 1

    def withdraw(self, call: Call) -> None:
        """A call in the queue has ended."""
        call.place = None
        self.live -= 1
        self._dead += 1
        if self._dead > _DEAD and self._dead > self.live:
            self._dead = 0
            self._first = deque(call for call in self._first if call.place is self)
            for priority, level in list(self._others.items()):
                self._others[priority] = deque(call for call in level if call.place is self)

    def clear(self) -> None:
        for call in self:
            call.place = None
        self.live = self._dead = 0
        self._first.clear()
        self._others.clear()
