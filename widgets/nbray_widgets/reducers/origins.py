"""Which group the objects of one owner came from, in bounded memory.

Owners number their objects in the order of submission, so a loop that submits a million tasks of one function makes
one range here, not a million entries.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Generic, TypeVar

Source = TypeVar("Source")


class Origins(Generic[Source]):
    """Ranges of sequence numbers, each with its source; the oldest ranges go beyond ``limit``."""

    __slots__ = ("_ends", "_limit", "_sources", "_starts")

    def __init__(self, limit: int = 20_000) -> None:
        self._limit = limit
        self._starts: list[int] = []
        self._ends: list[int] = []
        self._sources: list[Source] = []

    def __len__(self) -> int:
        return len(self._starts)

    def add(self, sequence: int, count: int, source: Source) -> None:
        """Objects ``sequence`` .. ``sequence + count - 1`` come from ``source``."""
        ends = self._ends
        if ends and sequence == ends[-1] and self._sources[-1] is source:
            ends[-1] = sequence + count
            return
        # Threads of one owner may report their submissions slightly out of order.
        at = len(ends) if not ends or sequence >= ends[-1] else bisect_right(self._starts, sequence)
        self._starts.insert(at, sequence)
        ends.insert(at, sequence + count)
        self._sources.insert(at, source)
        if len(ends) > 2 * self._limit:
            del self._starts[: self._limit], ends[: self._limit], self._sources[: self._limit]

    def find(self, sequence: int) -> Source | None:
        """The source of an object; None for a put, or for one that is too old to be remembered."""
        at = bisect_right(self._starts, sequence) - 1
        if at >= 0 and sequence < self._ends[at]:
            return self._sources[at]
        return None
