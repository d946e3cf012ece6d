"""Views of a feed: reading it while somebody looks, at most ten times a second, and not at all while no browser shows the view.

- A thread of its own reads, because the kernel's main thread is busy just while there is something to see.
- While a cell runs, the kernel cannot hear what the browser asks, so the likely answers are sent unasked: with "Run All" the
  browser may have missed the first changes, or not even told that it shows the view.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from time import monotonic, thread_time
from typing import Any, Protocol

from nbray.events import Feed, RawEvent, WithoutOwn
from nbray_widgets.reducers.delta import State
from nbray_widgets.shell import Answer, View

INTERVAL = 0.1
UNASKED = 1.0
RARELY = 30.0
BATCH = 1_024
READING_TIME = 0.03  # CPU seconds of each interval at most, so that a full feed cannot stall the kernel
# While a cell runs, every moment with the GIL is taken from it: so much of the time may all views together take, all included.
# What they cannot read then, they read after it. Of a cell that submits faster than that, for longer than the feed reaches back,
# they miss the oldest events, and say how many: a view is there to look at the work, not to slow it down.
SHARE = 0.025
READING_TIME_BUSY = 0.003
SILENCE = 45.0  # a browser says that it is there every 15 s


class Reducer(Protocol):
    """From events to the state of a view."""

    def apply(self, raws: Iterable[RawEvent], /) -> None: ...

    def skip(self, events: int, /) -> None: ...

    def snapshot(self) -> State: ...

    @property
    def unfinished(self) -> int: ...


class LiveView(View):
    """A view of what a reducer makes of a feed."""

    def __init__(self, feed: Feed, reducer: Reducer) -> None:
        self._feed = feed
        self._reducer = reducer
        self._cursor = 0
        self._others = WithoutOwn()
        self._nobody = False
        self._quiet_since = monotonic()
        self._told, self._told_revision = 0.0, 0
        self._whole_at, self._pause = 0.0, UNASKED
        self._due = 0.0
        super().__init__(reducer.snapshot())

    # --- for subclasses --------------------------------------------------------------------------------------------

    def unasked(self) -> list[Answer]:
        """Answers that changed since the last call, a bounded number."""
        return []

    # --- reading ---------------------------------------------------------------------------------------------------

    def read(self, budget: float | None = None) -> State:
        """Take in what the feed has, for ``budget`` seconds at most, send what changed, and return the state."""
        with self._lock:
            self._take(budget)
            self.show(self._reducer.snapshot())
            return self._state

    def latest(self) -> State:
        return self.read()

    def _take(self, budget: float | None) -> None:
        stop = None if budget is None else thread_time() + budget
        while self._feed.end > self._cursor:
            raws, cursor = self._feed.raw_since(self._cursor, BATCH)
            lost = cursor - len(raws) - self._cursor
            if lost > 0:
                self._reducer.skip(lost)
                self._reducer.apply(self._others.of(self._feed.standing()))
            self._reducer.apply(self._others.of(raws))
            self._cursor = cursor
            if stop is not None and thread_time() > stop:
                return

    def tick(self) -> bool:
        """One interval has passed. False: nobody looks any more, until the browser says otherwise."""
        if self._over or not self._watched():
            return False
        if self._busy and monotonic() < self._due:
            return True
        began = thread_time()
        self._tick(READING_TIME_BUSY if self._busy else READING_TIME)
        self._due = monotonic() + max(len(_watching), 1) * (thread_time() - began) / SHARE
        return not self._over

    def _tick(self, budget: float) -> None:
        if self._feed.end > self._cursor:
            self.read(budget)
        elif not self._busy and not self._reducer.unfinished:
            self.redraw()
        if self._busy and self._told_revision != self._revision and monotonic() - self._told > UNASKED:
            self._told, self._told_revision = monotonic(), self._revision
            if self._told > self._whole_at:
                # A page that was just made misses messages until its script is loaded; later it misses none.
                self._whole_at = self._told + self._pause
                self._pause = min(2 * self._pause, RARELY)
                self._send_whole()
            with self._lock:
                answers = self.unasked()
            for answer in answers:
                self.tell(answer)
        if self._feed.closed and not self._busy:
            self.finish()

    def _watched(self) -> bool:
        # While a cell runs, the browser's messages have to wait for its end, so silence means nothing.
        return not self._nobody and (self._busy or monotonic() - self._quiet_since < SILENCE)

    def wanted(self) -> None:
        self._quiet_since, self._nobody = monotonic(), False
        _watch(self)

    def unwanted(self, *, hidden: bool) -> None:
        # A page that is hidden while a cell runs could not say that it is back.
        self._nobody = not hidden
        self._quiet_since -= SILENCE

    def cell_begins(self, *_: Any) -> None:
        self._busy = True
        self._whole_at, self._pause = 0.0, UNASKED
        if not self._nobody:
            _watch(self)

    def cell_ends(self, *_: Any) -> None:
        self._busy = False
        self._quiet_since = monotonic()
        if self._over:
            return
        if self._feed.closed:
            self.finish()
        elif not self._nobody:
            self.read()
            self.redraw()


# --- one thread for all views ----------------------------------------------------------------------------------------

_watching: dict[int, LiveView] = {}
_guard = threading.Lock()
_thread: threading.Thread | None = None


def _watch(view: LiveView) -> None:
    """Tick ``view`` from now on; the thread lives only while there is a view to tick."""
    global _thread
    if view._over or not view._displays:
        return
    with _guard:
        _watching[id(view)] = view
        if _thread is None:
            _thread = threading.Thread(target=_ticks, name="nbray-views", daemon=True)
            _thread.start()


def _ticks() -> None:
    global _thread
    pause = threading.Event()
    while True:
        pause.wait(INTERVAL)
        for key, view in list(_watching.items()):
            if not view.tick():
                with _guard:
                    _watching.pop(key, None)
        with _guard:
            if not _watching:
                _thread = None
                return
