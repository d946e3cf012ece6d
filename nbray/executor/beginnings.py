"""Lines that user code has begun and not ended, such as the bar that another library draws over itself: how far they are.

The line itself is passed on when it is whole, with all that it was. Until then its present state is a report, as those of
``nbray.util.tqdm`` are: only the last one counts, and none is sent for a line that is whole within moments.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from nbray.executor.streams import Key, Lines
from nbray.owner.console import Author, shown

#: Seconds for which a line must have been begun, and between two looks.
YOUNG, EVERY = 0.3, 0.2
#: Characters of a line that are shown: its last ones, for they change.
_MOST = 300
#: Ids that wait for another line of the same cell and stream.
_SPARE = 100

_COLOUR = re.compile(r"\x1b\[[0-9;:]*m")


class _Told(NamedTuple):
    """Of a line the id of its bar, whose it is, when it began, and what it was."""

    bar: bytes
    author: Author
    since: float
    text: str


class Beginnings:
    """
    Args:
        streams: in which lines begin.
        author: whose line it is, from a key of theirs.
        put: takes the fields of a report.

    Attributes:
        told: what was reported last and is not over.
    """

    def __init__(
        self,
        streams: Iterable[Lines],
        author: Callable[[Key], Author],
        put: Callable[[tuple[Any, ...]], None],
    ) -> None:
        self._streams = tuple(streams)
        self._author = author
        self._put = put
        self.told: dict[tuple[Lines, Key], _Told] = {}
        # A cell has as many places as there are such lines at once, not as many as there ever were.
        self._spare: dict[tuple[Lines, str], list[bytes]] = {}
        self._looked = 0.0

    @property
    def due(self) -> bool:
        """There may be news."""
        return (
            bool(self.told) or any(stream.begun for stream in self._streams)
        ) and time.monotonic() - self._looked >= EVERY

    def tell(self) -> None:
        """Report what has changed. By one thread at a time."""
        now = self._looked = time.monotonic()
        for stream in self._streams:
            for key, (since, data) in list(stream.begun.items()):  # others go on printing
                if now - since < YOUNG:
                    continue
                text = _COLOUR.sub("", shown(data[-4 * _MOST :].decode("utf-8", "replace")))
                if len(text) > _MOST:
                    text = "…" + text[1 - _MOST :]
                told = self.told.get((stream, key))
                if told is None:
                    author = self._author(key)
                    spare = self._spare.get((stream, author[1]))
                    told = _Told(spare.pop() if spare else os.urandom(8), author, since, "")
                if text != told.text:
                    self._report(told, text)
                self.told[stream, key] = told._replace(since=since, text=text)
        for (stream, key), told in list(self.told.items()):
            begun = stream.begun.get(key)
            if begun is None or begun[0] != told.since:
                del self.told[stream, key]
                self._report(told, "")
                if len(self._spare) > _SPARE:
                    self._spare.clear()
                self._spare.setdefault((stream, told.author[1]), []).append(told.bar)

    def _report(self, told: _Told, text: str) -> None:
        """As ``Report`` in bars/reports.py has it."""
        name, origin, task, process = told.author
        label = f"({name} pid={os.getpid()}) {text}" if text else ""
        state = "running" if text else "paused"
        self._put((told.bar, origin, task, process, label, 0.0, None, "", 0, 0.0, False, state, True))
