"""Which group the objects of one owner came from, in bounded memory.

Owners number their objects as they make them, so a loop over some functions gives each of them sequence numbers at a constant
distance: one run here, however many tasks it is. A run costs 28 bytes.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from typing import Generic, TypeVar

Source = TypeVar("Source")

MOST_RUNS = 200_000
# Threads of one owner report their submissions slightly out of order, so runs of one source may overlap a little.
NEIGHBOURS = 4


class _Runs:
    """Sorted arithmetic runs: ``start, start + step, ... last``, each number followed by ``width - 1`` more."""

    __slots__ = ("lasts", "starts", "steps", "widths")

    def __init__(self) -> None:
        self.starts = array("Q")
        self.lasts = array("Q")
        self.steps = array("Q")
        self.widths = array("I")

    def add(self, sequence: int, width: int) -> bool:
        """True if that took a new run."""
        lasts = self.lasts
        if lasts and self.widths[-1] == width:
            distance = sequence - lasts[-1]
            if distance == self.steps[-1]:
                lasts[-1] = sequence
                return False
            if not self.steps[-1] and distance > 0:
                self.steps[-1] = distance
                lasts[-1] = sequence
                return False
        at = bisect_right(self.starts, sequence)
        self.starts.insert(at, sequence)
        lasts.insert(at, sequence)
        self.steps.insert(at, 0)
        self.widths.insert(at, width)
        return True

    def has(self, sequence: int) -> bool:
        at = bisect_right(self.starts, sequence) - 1
        for i in range(at, max(at - NEIGHBOURS, -1), -1):
            step, width = self.steps[i], self.widths[i]
            away = sequence - self.starts[i]
            if sequence < self.lasts[i] + width and (away % step if step else away) < width:
                return True
        return False

    def forget(self) -> int:
        """Drop the older half; how many runs that was."""
        half = len(self.starts) // 2
        for column in (self.starts, self.lasts, self.steps, self.widths):
            del column[:half]
        return half


class Origins(Generic[Source]):
    """Sequence numbers with their sources; the oldest are forgotten beyond ``limit`` runs."""

    __slots__ = ("_count", "_limit", "_runs")

    def __init__(self, limit: int = MOST_RUNS) -> None:
        self._limit = limit
        self._runs: dict[Source, _Runs] = {}
        self._count = 0

    def __len__(self) -> int:
        """How many runs are kept."""
        return self._count

    def add(self, sequence: int, count: int, source: Source) -> None:
        """Objects ``sequence`` .. ``sequence + count - 1`` come from ``source``."""
        runs = self._runs.get(source)
        if runs is None:
            runs = self._runs[source] = _Runs()
        if runs.add(sequence, count):
            self._count += 1
            if self._count > self._limit:
                self._count -= sum(each.forget() for each in self._runs.values())

    def find(self, sequence: int, likely: Source | None = None) -> Source | None:
        """The source of an object; None for a put, or for one too old to be remembered. ``likely`` is tried first."""
        if likely is not None:
            runs = self._runs.get(likely)
            if runs is not None and runs.has(sequence):
                return likely
        for source, runs in self._runs.items():
            if runs.has(sequence):
                return source
        return None
