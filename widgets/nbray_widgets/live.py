"""What all live views share: reading the feed while somebody looks, sending what changed, leaving a last picture.

- A view reads the feed on a thread of its own, because the kernel's main thread is busy just while there is something
  to see. At most ten times a second, and not at all while no browser shows the view.
- The browser gets one whole state, then changes; whoever missed one asks for the whole state again.
- While a cell runs, the kernel cannot hear what the browser asks, so the likely answers are sent unasked: with "Run All" the
  browser may have missed the first changes, or not even told that it shows the view.
- The HTML beside the widget is renewed after each cell that changed the picture, and replaces the widget once the pool
  is gone: so a notebook that is saved, closed or exported shows the last picture, whether or not widget state is kept.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterable
from time import monotonic
from typing import Any, Protocol
from uuid import uuid4

import anywidget
import traitlets
from IPython import display as ipython_display
from IPython.core.getipython import get_ipython

from nbray.events import Feed, RawEvent
from nbray_widgets.reducers.delta import State, delta

display: Any = ipython_display.display  # IPython's has no types

INTERVAL = 0.1
UNASKED = 1.0
BATCH = 4_096
READING_TIME = 0.03  # seconds of each interval at most, so that a full feed cannot stall the kernel
SILENCE = 45.0  # a browser says that it is there every 15 s
MOST_DISPLAYS = 16


class Reducer(Protocol):
    """From events to the state of a view."""

    def apply(self, raws: Iterable[RawEvent], /) -> None: ...

    def skip(self, events: int, /) -> None: ...

    def snapshot(self) -> State: ...

    @property
    def unfinished(self) -> int: ...


class LiveView(anywidget.AnyWidget):
    """A widget over a feed. Subclasses give the reducer, ``html``, ``text`` and ``answer``."""

    picture = traitlets.Dict().tag(sync=True)

    def __init__(self, feed: Feed, reducer: Reducer) -> None:
        self._feed = feed
        self._reducer = reducer
        self._cursor = 0
        self._lock = threading.Lock()
        self._revision = 0
        self._state = _stated(reducer, 0, over=False)
        self._drawn = -1  # the revision that the HTML shows
        self._displays: list[str] = []
        self._viewers: set[str] = set()
        self._nobody = False
        self._quiet_since = monotonic()
        self._busy = False
        self._over = False
        self._told, self._told_revision = 0.0, 0
        super().__init__(picture=self._state)
        self.on_msg(self._heard)

    # --- for subclasses --------------------------------------------------------------------------------------------

    def html(self, state: State) -> str:
        """The picture without scripts."""
        raise NotImplementedError

    def text(self, state: State) -> str:
        """The picture as lines."""
        raise NotImplementedError

    def answer(self, request: dict[str, Any]) -> dict[str, Any] | None:
        """What the browser asked for beyond the state."""
        raise NotImplementedError

    def unasked(self) -> list[dict[str, Any]]:
        """Answers that changed since the last call, a bounded number."""
        raise NotImplementedError

    # --- reading ---------------------------------------------------------------------------------------------------

    def read(self, budget: float | None = None) -> State:
        """Take in what the feed has, for ``budget`` seconds at most, send what changed, and return the state."""
        with self._lock:
            self._take(budget)
            state = _stated(self._reducer, self._revision, over=self._over)
            change = delta(self._state, state)
            if change:
                self._revision += 1
                change.setdefault("about", {})["revision"] = state["about"]["revision"] = self._revision
                self._state = state
                # Only kept, not sent: a browser that comes later, or saves the notebook, gets it with the model.
                self._trait_values["picture"] = state
                self.send({"op": "change", "revision": self._revision, "change": change})
            return state

    def _take(self, budget: float | None) -> None:
        stop = None if budget is None else monotonic() + budget
        while self._feed.end > self._cursor:
            raws, cursor = self._feed.raw_since(self._cursor, BATCH)
            lost = cursor - len(raws) - self._cursor
            if lost > 0:
                self._reducer.skip(lost)
            self._reducer.apply(raws)
            self._cursor = cursor
            if stop is not None and monotonic() > stop:
                return

    def tick(self) -> bool:
        """One interval has passed. False: nobody looks any more, until the browser says otherwise."""
        if self._over or not self._watched():
            return False
        if self._feed.end > self._cursor:
            self.read(READING_TIME)
        elif not self._busy and self._drawn != self._revision and not self._reducer.unfinished:
            self._redraw()
        if self._busy and self._told_revision != self._revision and monotonic() - self._told > UNASKED:
            self._told, self._told_revision = monotonic(), self._revision
            self._send_whole()
            with self._lock:
                answers = self.unasked()
            for answer in answers:
                self.send(answer)
        if self._feed.closed and not self._busy:
            self.finish()
        return not self._over

    def _watched(self) -> bool:
        # While a cell runs, the browser's messages may have to wait for its end, so silence means nothing.
        return self._busy or (not self._nobody and monotonic() - self._quiet_since < SILENCE)

    def finish(self) -> None:
        """Read to the end and put the last picture in the place of the live view. More calls do nothing."""
        if self._over:
            return
        self._over = True
        self.read()
        self._redraw()
        _forget(self)

    # --- the browser -----------------------------------------------------------------------------------------------

    def _heard(self, _: Any, message: Any, buffers: Any) -> None:
        if not isinstance(message, dict):
            return
        op = message.get("op")
        if op == "close":
            self._viewers.discard(str(message.get("view")))
            self._nobody = not self._viewers
            return
        self._quiet_since = monotonic()
        if op in ("open", "here"):
            self._viewers.add(str(message.get("view")))
            self._nobody = False
            _watch(self)
        if op in ("open", "whole"):
            self._send_whole()
        elif op != "here":
            with self._lock:
                found = self.answer(message)
            if found is not None:
                self.send(found)

    def _send_whole(self) -> None:
        with self._lock:
            self.send({"op": "whole", "revision": self._revision, "state": self._state})

    # --- display ---------------------------------------------------------------------------------------------------

    def _bundle(self) -> dict[str, Any]:
        state = self.read()
        self._drawn = self._revision
        with self._lock:
            bundle: dict[str, Any] = {"text/plain": self.text(state), "text/html": self.html(state)}
        if not self._over:
            bundle["application/vnd.jupyter.widget-view+json"] = {
                "version_major": 2,
                "version_minor": 0,
                "model_id": self.model_id,
            }
        return bundle

    def _repr_mimebundle_(self, **_: Any) -> Any:
        return self._bundle(), {}

    def _ipython_display_(self) -> None:
        """Displayed under an id of its own, so that the HTML can follow."""
        bundle = self._bundle()
        shell = get_ipython()
        if shell is None or not hasattr(shell, "kernel"):
            print(bundle["text/plain"])
            return
        name = f"nbray-{uuid4().hex}"
        self._displays = [*self._displays[1 - MOST_DISPLAYS :], name]
        display(bundle, raw=True, display_id=name)
        if not self._over:
            self._quiet_since, self._nobody = monotonic(), False
            _follow_cells(self)
            _watch(self)

    def _redraw(self) -> None:
        if not self._displays:
            return
        bundle = self._bundle()
        for name in self._displays:
            display(bundle, raw=True, display_id=name, update=True)

    def _cell_begins(self, *_: Any) -> None:
        self._busy = True
        _watch(self)

    def _cell_ends(self, *_: Any) -> None:
        self._busy = False
        self._quiet_since = monotonic()
        if self._over:
            return
        if self._feed.closed:
            self.finish()
        elif not self._nobody:
            self.read()
            if self._drawn != self._revision:
                self._redraw()


def _stated(reducer: Reducer, revision: int, *, over: bool) -> State:
    state = reducer.snapshot()
    state["about"].update(over=over, revision=revision)
    return state


# --- one thread for all views ----------------------------------------------------------------------------------------

_watching: dict[int, LiveView] = {}
_following: dict[int, Callable[[], None]] = {}
_shown: weakref.WeakValueDictionary[int, LiveView] = weakref.WeakValueDictionary()
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


def _follow_cells(view: LiveView) -> None:
    shell = get_ipython()
    if shell is None or id(view) in _following:
        return
    shell.events.register("pre_run_cell", view._cell_begins)
    shell.events.register("post_run_cell", view._cell_ends)
    view._busy = True  # displayed from within a cell

    def leave() -> None:
        shell.events.unregister("pre_run_cell", view._cell_begins)
        shell.events.unregister("post_run_cell", view._cell_ends)

    _following[id(view)] = leave
    _shown[id(view)] = view


def _forget(view: LiveView) -> None:
    _watching.pop(id(view), None)
    leave = _following.pop(id(view), None)
    if leave is not None:
        leave()


def finish_all() -> None:
    """Every view shown in this process becomes its last picture."""
    for view in list(_shown.values()):
        view.finish()
