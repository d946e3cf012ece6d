"""Many spans as few bins: for each lane and each piece of time, how busy it was, with what, and how much failed.

A timeline of a million calls is at most ``COLUMNS`` bins a lane here, and taking in another batch of spans costs the same however
many there were before: when time runs out of columns, two become one.
"""

from __future__ import annotations

from typing import Any

import numpy as np

COLUMNS = 1_024
FIRST_WIDTH = 2.0**-10  # seconds: powers of two, so that folding is exact

#: As they go to the browser; ``start`` and ``duration`` in seconds, ``start`` since the timeline's origin.
BIN = np.dtype(
    [
        ("lane", "<u2"), ("function", "<u2"), ("column", "<u4"), ("busy", "<f4"), ("count", "<u4"), ("failed", "<u4"),
    ]
)  # fmt: skip

#: The states of spans that count as failed, see `reducers.timeline`.
BAD = (2, 5)

Array = Any  # numpy's own types say no more here, and need a checker that knows them


class Bins:
    """``add`` spans; ``changed`` and ``all`` give the bins that are not empty.

    Args:
        origin: where the first column begins, in the spans' own time.
        width: of a column, in seconds.
        columns: how many.
        grows: fold when spans end after the last column. Otherwise they are cut there.
    """

    def __init__(
        self,
        origin: float = 0.0,
        width: float = FIRST_WIDTH,
        columns: int = COLUMNS,
        *,
        grows: bool = True,
    ) -> None:
        self.origin = origin
        self.width = width
        self.columns = columns
        self._grows = grows
        self._lanes = 0
        self.folded = False  # since the last `changed`: then all bins are new ones
        self._make(0)

    def _make(self, lanes: int) -> None:
        shape = (lanes, self.columns)
        self._busy = np.zeros(shape, "f4")
        self._count = np.zeros(shape, "u4")
        self._failed = np.zeros(shape, "u4")
        self._function = np.zeros(shape, "u2")
        self._longest = np.full(shape, -1.0, "f4")  # the share of the call that gives a bin its colour
        self._dirty = np.zeros(shape, "?")

    def _room(self, lanes: int) -> None:
        have = len(self._busy)
        if lanes <= have:
            return
        old = (self._busy, self._count, self._failed, self._function, self._longest, self._dirty)
        self._make(max(lanes, 2 * have, 8))
        new = (self._busy, self._count, self._failed, self._function, self._longest, self._dirty)
        for into, before in zip(new, old, strict=True):
            into[:have] = before

    def _fold(self) -> None:
        half = self.columns // 2

        def summed(values: Array) -> Array:
            folded = np.zeros_like(values)
            folded[:, :half] = values[:, 0::2] + values[:, 1::2]
            return folded

        second = self._longest[:, 1::2] > self._longest[:, 0::2]
        function = np.zeros_like(self._function)
        function[:, :half] = np.where(second, self._function[:, 1::2], self._function[:, 0::2])
        longest = np.full_like(self._longest, -1.0)
        longest[:, :half] = np.maximum(self._longest[:, 1::2], self._longest[:, 0::2])
        self._function, self._longest = function, longest
        self._busy, self._count, self._failed = map(summed, (self._busy, self._count, self._failed))
        self.width *= 2
        self.folded = True

    def add(self, spans: Array) -> None:
        """Spans as a structured array with the fields start, duration, lane, function, state."""
        if not len(spans):
            return
        self._room(int(spans["lane"].max()) + 1)
        start = np.maximum(spans["start"] - self.origin, 0.0)
        end = np.maximum(spans["start"] + spans["duration"] - self.origin, start)
        if self._grows:
            while float(end.max()) >= self.columns * self.width:
                self._fold()
        first = np.minimum(start // self.width, self.columns - 1).astype("i8")
        last = np.minimum(end // self.width, self.columns - 1).astype("i8")
        # One entry for each bin that a span reaches into: mostly one.
        pieces = last - first + 1
        which = np.repeat(np.arange(len(spans)), pieces)
        column = np.arange(len(which)) - np.repeat(np.cumsum(pieces) - pieces, pieces) + first[which]
        share = np.minimum(end[which], (column + 1) * self.width) - np.maximum(
            start[which], column * self.width
        )
        share = np.maximum(share, 0.0).astype("f4")
        flat = spans["lane"][which].astype("i8") * self.columns + column
        np.add.at(self._busy.ravel(), flat, share)
        begins = spans["lane"].astype("i8") * self.columns + first
        np.add.at(self._count.ravel(), begins, 1)
        fails = spans["lane"].astype("i8") * self.columns + last  # where it failed, not where it began
        np.add.at(self._failed.ravel(), fails, np.isin(spans["state"], BAD).astype("u4"))
        order = np.argsort(share, kind="stable")
        flat, share, function = flat[order], share[order], spans["function"][which][order]
        longer = share >= self._longest.ravel()[flat]
        flat = flat[longer]
        self._longest.ravel()[flat] = share[longer]  # the last of equal places is the longest
        self._function.ravel()[flat] = function[longer]
        self._dirty.ravel()[flat] = True
        self._dirty.ravel()[begins] = True

    def _records(self, mask: Array) -> Array:
        lane, column = np.nonzero(mask)
        records = np.zeros(len(lane), BIN)
        records["lane"], records["column"] = lane, column
        records["function"] = self._function[lane, column]
        records["busy"] = self._busy[lane, column]
        records["count"] = self._count[lane, column]
        records["failed"] = self._failed[lane, column]
        return records

    def changed(self) -> Array:
        """Bins that changed since the last call; all of them if there was a fold meanwhile."""
        mask = self._longest >= 0 if self.folded else self._dirty
        records = self._records(mask)
        self._dirty[:] = False
        self.folded = False
        return records

    def all(self) -> Array:
        """All bins that are not empty."""
        return self._records(self._longest >= 0)
