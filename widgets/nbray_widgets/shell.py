"""What all views share: a state in the browser, and a picture of it in the notebook that outlives browser and kernel.

- The browser gets one whole state, then changes; whoever missed one asks for the whole state again. The synced trait is only a
  snapshot for views that come late, and for the widget state that is saved with a notebook: a browser saves what it has, an
  executor without one (nbclient, nbconvert) what the kernel has synced, which it does with each still.
- A view is displayed as two outputs, the widget and a *still*: HTML without scripts, and text. The still is renewed after each
  cell that changed the picture. The widget takes the still out of the page for as long as it lives itself
  (``widgets/js/src/shell/still.js``), so there is one picture at any time: while the widget loads, after a restart, in a
  saved, closed, exported or untrusted notebook it is the still. Renewing the widget's own output would make JupyterLab
  build the widget anew after each cell, and forget what was zoomed and opened; and a JupyterLab that reopens a notebook
  without widget state (the default) shows an error in the place of the whole output, fall-backs included.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from importlib.resources import files
from typing import Any, TypeAlias
from uuid import uuid4

import anywidget
import traitlets
from IPython import display as ipython_display
from IPython.core.getipython import get_ipython

from nbray_widgets.picture.frame import frame
from nbray_widgets.reducers.delta import State, delta

display: Any = ipython_display.display  # IPython's has no types

WIDGET = "application/vnd.jupyter.widget-view+json"
MOST_DISPLAYS = 16

Answer: TypeAlias = "dict[str, Any] | tuple[dict[str, Any], list[Any]]"


def bundle(name: str) -> tuple[str, str]:
    """The JavaScript and the style sheet of ``widgets/js/src/NAME.js`` as built: ``_esm, _css = bundle("graph")``."""
    static = files("nbray_widgets") / "static"
    return (static / f"{name}.js").read_text("utf-8"), (static / f"{name}.css").read_text("utf-8")


class View(anywidget.AnyWidget):
    """A state, shown. Subclasses set ``_esm, _css = bundle(name)`` and give ``html`` and ``text``.

    Args:
        state: the first state: a dict of tables, see ``reducers.delta``. The table ``about`` is there in any case and holds
            what the shell itself tells the browser.
    """

    picture = traitlets.Dict().tag(sync=True)

    def __init__(self, state: State) -> None:
        self._lock = threading.RLock()
        self._revision = 0
        self._token = uuid4().hex[:12]  # by which the widget finds its still
        self._over = False
        self._busy = False
        self._drawn = -1  # the revision that the still shows
        self._displays: list[str] = []
        self._viewers: set[str] = set()
        self._state = self._numbered(state)
        super().__init__(picture=self._state)
        self.on_msg(self._heard)

    # --- for subclasses --------------------------------------------------------------------------------------------

    def html(self, state: State) -> str:
        """The picture without scripts."""
        raise NotImplementedError

    def text(self, state: State) -> str:
        """The picture as lines."""
        raise NotImplementedError

    def answer(self, request: dict[str, Any]) -> Answer | None:
        """What the browser asked for beyond the state: a message, or a message and its buffers."""
        return None

    def keep(self) -> None:
        """Sync what the saved state of the widget shall have."""
        with self._lock:
            self.send_state("picture")

    def latest(self) -> State:
        """The state now, for a display."""
        return self._state

    def wanted(self) -> None:
        """Some browser shows the view, or is about to."""

    def unwanted(self, *, hidden: bool) -> None:
        """The last browser has left, or its page is ``hidden`` and may come back at any time."""

    # --- the state ---------------------------------------------------------------------------------------------------

    def show(self, state: State) -> None:
        """Make ``state`` the picture, and send browsers what changed."""
        with self._lock:
            state = self._numbered(state)
            change = delta(self._state, state)
            if change:
                self._revision += 1
                change.setdefault("about", {})["revision"] = state["about"]["revision"] = self._revision
                self._state = state
                # Only kept, not sent: a browser that comes later, or saves the notebook, gets it with the model.
                self._trait_values["picture"] = state
                self.send({"op": "change", "revision": self._revision, "change": change})

    def _numbered(self, state: State) -> State:
        state.setdefault("about", {}).update(over=self._over, revision=self._revision, token=self._token)
        return state

    def _heard(self, _: Any, message: Any, buffers: Any) -> None:
        if not isinstance(message, dict):
            return
        op = message.get("op")
        if op in ("close", "hide"):
            self._viewers.discard(str(message.get("view")))
            if not self._viewers:
                self.unwanted(hidden=op == "hide")
            return
        if op in ("open", "here"):
            self._viewers.add(str(message.get("view")))
        self.wanted()
        if op in ("open", "whole"):
            self._send_whole()
        elif op != "here":
            with self._lock:
                found = self.answer(message)
            if found is not None:
                self.tell(found)

    def tell(self, answer: Answer) -> None:
        """Send browsers a message of the view's own."""
        if isinstance(answer, tuple):
            self.send(*answer)
        else:
            self.send(answer)

    def _send_whole(self) -> None:
        with self._lock:
            self.send({"op": "whole", "revision": self._revision, "state": self._state})

    # --- display ---------------------------------------------------------------------------------------------------

    def _still(self) -> dict[str, Any]:
        state = self.latest()
        with self._lock:
            self._drawn = self._revision
            return {"text/plain": self.text(state), "text/html": frame(self.html(state), self._token)}

    def _live(self) -> dict[str, Any]:
        return {"version_major": 2, "version_minor": 0, "model_id": self.model_id}

    def _repr_mimebundle_(self, **_: Any) -> Any:
        return {**self._still(), WIDGET: self._live()}, {}

    def _ipython_display_(self) -> None:
        shell = get_ipython()
        if shell is None or not hasattr(shell, "kernel"):
            print(self.text(self.latest()))
            return
        still, name = self._still(), f"nbray-{uuid4().hex}"
        self._displays = [*self._displays[1 - MOST_DISPLAYS :], name]
        # Without a word of its own: where no widgets are shown, the still alone speaks.
        display({WIDGET: self._live(), "text/html": "", "text/plain": ""}, raw=True)
        display(still, raw=True, display_id=name)
        self.keep()
        if not self._over:
            _follow_cells(self)
            self.wanted()

    def redraw(self) -> None:
        """Renew the still where it is out of date."""
        if not self._displays or self._drawn == self._revision:
            return
        still = self._still()
        for name in self._displays:
            display(still, raw=True, display_id=name, update=True)
        self.keep()

    def finish(self) -> None:
        """Leave the last picture. The widget stays usable while its kernel lives. More calls do nothing."""
        if self._over:
            return
        self._over = True
        self.show({table: dict(entries) for table, entries in self.latest().items()})
        self.redraw()
        _forget(self)

    def cell_begins(self, *_: Any) -> None:
        self._busy = True

    def cell_ends(self, *_: Any) -> None:
        self._busy = False
        self.redraw()


_following: dict[int, Callable[[], None]] = {}
_shown: weakref.WeakValueDictionary[int, View] = weakref.WeakValueDictionary()


def _follow_cells(view: View) -> None:
    shell = get_ipython()
    if shell is None or id(view) in _following:
        return
    begins, ends = view.cell_begins, view.cell_ends
    shell.events.register("pre_run_cell", begins)
    shell.events.register("post_run_cell", ends)
    view._busy = True  # displayed from within a cell

    def leave() -> None:
        shell.events.unregister("pre_run_cell", begins)
        shell.events.unregister("post_run_cell", ends)

    _following[id(view)] = leave
    _shown[id(view)] = view


def _forget(view: View) -> None:
    leave = _following.pop(id(view), None)
    if leave is not None:
        leave()


def finish_all() -> None:
    """Every view shown in this process leaves its last picture."""
    for view in list(_shown.values()):
        view.finish()
