"""The bar of ``nbray.progress``: there from the start, with what runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from nbray.bars.model import RUNNING, Bar, Pace
from nbray.bars.screen import Board, Shown, board
from nbray.bars.waits import FRAME, Source, Stuck, Tally

#: Of so many refs at most it is looked up what runs.
_LOOKED_UP = 10_000


class Progress:
    """
    Args:
        label: "": the functions' names.
        items: says how many items have come, where the refs are those of generators' ends: their total nobody knows.
    """

    def __init__(
        self,
        source: Source,
        entries: Sequence[Any],
        label: str,
        items: Callable[[], int] | None = None,
        on: Board = board,
    ) -> None:
        now = time.monotonic()
        self._source = source
        self._entries = entries
        self._items = items
        self._tally = Tally(entries, source.names_of(entries), now, label)
        self._pace = Pace(now)
        self._count = 0
        self._stuck = Stuck(source, on)
        self._drawn = now
        self._shown: Shown | None = on.open(self._bar(now, RUNNING))

    @property
    def due(self) -> bool:
        """It was not drawn for a while."""
        return time.monotonic() - self._drawn >= FRAME

    def _bar(self, now: float, state: str, note: tuple[str, ...] = ()) -> Bar:
        running: tuple[str, ...] = ()
        if state == RUNNING and len(self._entries) <= _LOOKED_UP:
            running = tuple(self._source.running_of(self._tally.pending()))
        bar = self._tally.bar(now, state, note=note, running=running, detailed=True)
        if self._items is not None:
            count = self._items()
            if count != self._count:
                self._count, self._tally.moved = count, now
            bar = bar._replace(
                done=count, total=None, unit="items", groups=(), rate=self._pace.rate(now, count)
            )
        return bar

    def look(self, done: Callable[[], bool]) -> float:
        """Draw it; answers the seconds until the next time."""
        if self._shown is None:
            return 1.0
        now = time.monotonic()
        note = self._stuck.look(self._tally, now, done)
        self._shown.update(self._bar(now, RUNNING, note))
        self._drawn = time.monotonic()
        return max(FRAME, (time.monotonic() - now) * 20)

    def close(self, how: str) -> None:
        if self._shown is not None:
            self._shown.close(self._bar(time.monotonic(), how))
