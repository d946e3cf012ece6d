"""The bars of ``get``, ``wait`` and ``progress``: how many of the refs are there, and after a while without any, why."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import compress
from operator import attrgetter
from typing import Any, Protocol

from nbray.bars.model import DONE, FAILED, PAUSED, RUNNING, Bar, Group, Pace
from nbray.bars.screen import NOTEBOOK, Board, Shown, board, place
from nbray.exceptions import RayError

_ready, _failed = attrgetter("ready"), attrgetter("failed")

#: Seconds between two looks; more, if looking at so many refs takes longer than this share of the time.
FRAME, _SHARE = 0.1, 0.05
#: Seconds without progress until it is told why; between two such inquiries at first, and at most.
STUCK, _AGAIN, _SELDOM = 10.0, 4.0, 60.0
#: Refs whose functions are told apart.
_NAMED = 100_000


class Source(Protocol):
    """What knows the calls that make the refs."""

    def names_of(self, entries: Sequence[Any]) -> list[str]:
        """The functions' names, "" where they are not known."""

    def running_of(self, entries: Sequence[Any]) -> list[str]:
        """Those of their calls that run right now, a line each."""

    def explain(self, entries: Sequence[Any], done: Callable[[], bool] = ...) -> Any:
        """Why they are not ready, with ``lines``. Given up once ``done()``."""


class Tally:
    """How far some refs are.

    Args:
        done_before: refs that were there before these: a loop's.
        names: of the functions that make the refs, as ``Source.names_of`` gives them.
    """

    def __init__(
        self, entries: Sequence[Any], names: list[str], now: float, label: str = "", done_before: int = 0
    ) -> None:
        self._entries = entries
        self._names = names
        self._before = done_before
        self._began = now
        self._totals = Counter(names)
        self._label = label or _label(self._totals) or "refs"
        self._done = sum(map(_ready, entries)) + done_before
        self._pace = Pace(now, self._done)
        self.moved = now

    def bar(self, now: float, state: str = RUNNING, **more: Any) -> Bar:
        entries = self._entries
        flags = list(map(_ready, entries))
        done = sum(flags) + self._before
        if done != self._done:
            self._done, self.moved = done, now
        failures = list(map(_failed, entries))
        groups: tuple[Group, ...] = ()
        if len(self._totals) > 1:
            here = Counter(compress(self._names, flags))
            bad = Counter(compress(self._names, failures))
            groups = tuple(
                Group(name or "others", total, here[name], bad[name])
                for name, total in self._totals.most_common()
            )
        return Bar(
            self._label, done, len(entries) + self._before, sum(failures),
            elapsed=now - self._began, rate=self._pace.rate(now, done), groups=groups, state=state, **more,
        )  # fmt: skip

    def pending(self) -> list[Any]:
        return [entry for entry in self._entries if not entry.ready]


def _label(totals: Counter[str]) -> str:
    names = [name for name, _ in totals.most_common() if name]
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


class Stuck:
    """After ``STUCK`` seconds without progress: why."""

    def __init__(self, source: Source, on: Board) -> None:
        self._source = source
        self._board = on
        self._due = 0.0
        self._pause = _AGAIN
        self._note: tuple[str, ...] = ()

    def look(self, tally: Tally, now: float, done: Callable[[], bool]) -> tuple[str, ...]:
        """What to say of it: nothing, or the lines of a note."""
        if now - tally.moved < STUCK:
            self._note, self._due, self._pause = (), 0.0, _AGAIN
        elif now >= self._due and self._board.shows:
            try:
                self._note = tuple(self._source.explain(tally.pending(), done).lines)
            except RayError:  # the session ends
                return ()
            self._due = now + self._pause
            if self._board.shows != NOTEBOOK:  # there it is said once
                self._pause = min(self._pause * 2, _SELDOM)
            if not done():
                seconds = f"{now - tally.moved:.0f} s"
                self._board.say(
                    "\n  ".join([f"nbray: waiting, and nothing has come for {seconds}.", *self._note])
                )
        return self._note if self._board.shows == NOTEBOOK else ()


class Loop:
    """``while refs: done, refs = wait(refs)``: one bar for all of the loop instead of one for each of its waits."""

    def __init__(
        self, entries: Sequence[Any], names: Sequence[str], began: float, cell: str, before: int = 0
    ) -> None:
        self.total = before + len(entries)
        self.began = began
        self.shown: Shown | None = None
        self._cell = cell
        self._names = {id(entry): name for entry, name in zip(entries, names, strict=False)}
        self._left = len(entries)
        self._drawn = 0.0

    def goes_on(self, entries: Sequence[Any], cell: str) -> bool:
        """Whether these refs are what an earlier wait has left."""
        names = self._names  # of identities only: the loop must not keep its refs alive
        fits = cell == self._cell and len(entries) <= self._left
        return fits and id(entries[0]) in names and id(entries[-1]) in names

    def left(self, entries: Sequence[Any]) -> None:
        self._left = len(entries)

    def waited(self, entries: Sequence[Any], ready: int) -> bool:
        """One of its waits was too short for a bar of its own; answers whether the loop goes on."""
        if self.shown is None or not self.goes_on(entries, place()):
            return False
        self.left(entries)
        done, now = self.total - len(entries) + ready, time.monotonic()
        label = _label(Counter(self._names.values())) or "refs"
        bar = Bar(label, done, self.total, elapsed=now - self.began, state=PAUSED)
        if done < self.total:
            if now - self._drawn > FRAME:
                self._drawn = now
                self.shown.pause(bar)
            return True
        self.shown.close(bar._replace(state=DONE))
        self.shown = None
        return False


_loop: Loop | None = None


class Wait:
    """Looks after one long ``get`` or ``wait``, on the waiting thread. See ``owner.Watch``.

    Args:
        needed: how many of ``entries`` are waited for.
        since: seconds for which it has lasted.
        follow: takes what is to be called after each further ``wait``, with its refs and how many are ready, while it is true.
        earlier: of the loop that this wait belongs to: for how many seconds it had lasted, and how many refs were there.
    """

    def __init__(
        self,
        source: Source,
        entries: Sequence[Any],
        needed: int,
        since: float,
        on: Board = board,
        follow: Callable[[Callable[[Sequence[Any], int], bool]], None] = lambda waited: None,
        earlier: tuple[float, int] = (0.0, 0),
    ) -> None:
        global _loop
        now = time.monotonic()
        self._board = on
        self._follow = follow
        self._entries = entries
        self._needed = needed
        self._loop: Loop | None = None
        self._shown: Shown | None = None
        names = source.names_of(entries) if len(entries) <= _NAMED else []
        began, before = now - since - earlier[0], earlier[1]
        cell = place()
        if _loop is not None and _loop.goes_on(entries, cell):
            self._loop = _loop
        elif needed < len(entries) or before:
            self._loop = _loop = Loop(entries, names, began, cell, before)
        if self._loop is not None:
            self._loop.left(entries)
            began, before = self._loop.began, self._loop.total - len(entries)
            self._shown = self._loop.shown
        self._tally = Tally(entries, names, began, done_before=before)
        self._tally.moved = now - since
        self._stuck = Stuck(source, on)

    def look(self) -> float:
        now = time.monotonic()
        bar = self._tally.bar(now)
        note = self._stuck.look(self._tally, now, self._enough)
        if (bar.total or 0) > 1 or note:
            bar = bar._replace(note=note)
            if self._shown is None:
                self._shown = self._board.open(bar)
                if self._loop is not None:
                    self._loop.shown = self._shown
                return FRAME  # the first picture imports what draws it, which is no measure for the next
            else:
                self._shown.update(bar)
        return max(FRAME, (time.monotonic() - now) / _SHARE)

    def _enough(self) -> bool:
        entries = self._entries
        if self._needed < len(entries):
            return bool(sum(map(_ready, entries)) >= self._needed)
        return all(map(_ready, entries)) or any(map(_failed, entries))

    def close(self, how: str) -> None:
        if self._shown is None:
            return
        bar = self._tally.bar(time.monotonic(), how)
        if self._loop is not None and how == DONE and bar.done < (bar.total or 0):
            self._shown.pause(bar._replace(state=PAUSED))
            self._follow(self._loop.waited)
            return
        if how == DONE and bar.failed and bar.done < (bar.total or 0):
            bar = bar._replace(state=FAILED)  # get does not wait for the rest
        if self._loop is not None:
            self._loop.shown = None
        self._shown.close(bar)
