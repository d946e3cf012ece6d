"""Where bars show: a terminal, a notebook's cell, or nowhere. One board a process has all that are open."""

from __future__ import annotations

import os
import re
import sys
import threading
from collections.abc import Callable
from typing import Any, Protocol

from nbray.bars.model import RUNNING, Bar

VARIABLE = "NBRAY_PROGRESS"

_NUMBERS = re.compile(r"\d+")

TERMINAL, NOTEBOOK, LINES = "terminal", "notebook", "lines"


class Shown(Protocol):
    """One bar on a screen."""

    def update(self, bar: Bar) -> None: ...
    def pause(self, bar: Bar) -> None:
        """It may go on later, with an ``update``, or never."""

    def close(self, bar: Bar | None) -> None:
        """It is over: what stays. None: nothing."""


class Screen(Protocol):
    def open(self, bar: Bar, origin: str) -> Shown: ...
    def say(self, text: str) -> None:
        """Lines that stay."""

    def aside(self) -> None:
        """Something else will be written there."""


def surroundings() -> str | None:
    """Where bars show now: TERMINAL, NOTEBOOK, LINES (one now and then, because ``NBRAY_PROGRESS=1``), or None: nowhere.

    A kernel that is run by a program (nbclient, nbval, papermill) is told that nobody can be asked for input: no bars there.
    """
    wish = os.environ.get(VARIABLE, "").strip().lower()
    if wish in ("0", "off", "no", "false"):
        return None
    forced = wish in ("1", "on", "yes", "true")
    kernel = getattr(_shell(), "kernel", None)
    if kernel is not None:
        return NOTEBOOK if forced or _somebody_is_there(kernel) else None
    stream: Any = sys.stderr
    try:
        if stream is not None and stream.isatty() and os.environ.get("TERM") != "dumb":
            return TERMINAL
    except (AttributeError, ValueError):  # a stand-in, a closed stream
        pass
    return LINES if forced and stream is not None else None


def _shell() -> Any:
    """IPython's shell, if this process has one; it is not imported for that."""
    ipython = sys.modules.get("IPython")
    return ipython.get_ipython() if ipython is not None and hasattr(ipython, "get_ipython") else None


def place() -> str:
    """The notebook cell that runs, "" elsewhere."""
    kernel = getattr(_shell(), "kernel", None)
    try:
        found: str = kernel.get_parent("shell")["header"]["msg_id"] if kernel is not None else ""
    except Exception:  # another kind of kernel, or one that runs no cell
        return ""
    return found


def _somebody_is_there(kernel: Any) -> bool:
    try:
        request = kernel.get_parent("shell")
    except Exception:  # another kind of kernel
        return True
    return bool(request.get("content", {}).get("allow_stdin", True))


class Board:
    """All bars of a process. Any thread; not under the owner's lock.

    Args:
        find: says where bars show, as ``surroundings``.
    """

    def __init__(self, find: Callable[[], str | None] = surroundings) -> None:
        self._find = find
        self._screens: dict[str, Screen] = {}
        self._said: set[str] = set()
        self.lock = threading.RLock()

    @property
    def shows(self) -> str | None:
        """Where a bar would be seen now; None: nowhere."""
        return self._find()

    def open(self, bar: Bar, origin: str = "") -> Shown | None:
        """Show a bar; None where none are shown.

        Args:
            origin: the notebook cell to which it belongs, "": the one that runs.
        """
        with self.lock:
            screen = self._screen()
            return None if screen is None else _Guarded(self, screen.open(bar, origin))

    def say(self, text: str) -> None:
        """Lines that stay; not again what differs in its numbers only."""
        with self.lock:
            screen = self._screen()
            pattern = _NUMBERS.sub("", text)
            if screen is not None and pattern not in self._said:
                self._said.add(pattern)
                screen.say(text)

    def aside(self) -> None:
        """Something will be written to the terminal: bars make room and come back at their next update."""
        screen = self._screens.get(TERMINAL)
        if screen is not None:
            with self.lock:
                screen.aside()

    def _screen(self) -> Screen | None:
        where = self._find()
        if where is None:
            return None
        screen = self._screens.get(where)
        if screen is None:
            screen = self._screens[where] = _make(where)
        return screen


class _Guarded:
    """A bar whose screen is used by one thread at a time, and whose failures are nobody's business."""

    def __init__(self, board: Board, shown: Shown) -> None:
        self._board = board
        self._shown = shown

    def update(self, bar: Bar) -> None:
        with self._board.lock:
            try:
                self._shown.update(bar)
            except (OSError, ValueError):  # a terminal that is gone, a closed stream
                pass

    def pause(self, bar: Bar) -> None:
        with self._board.lock:
            try:
                self._shown.pause(bar)
            except (OSError, ValueError):
                pass

    def close(self, bar: Bar | None) -> None:
        with self._board.lock:
            try:
                self._shown.close(bar)
            except (OSError, ValueError):
                pass


def _make(where: str) -> Screen:
    if where == TERMINAL:
        from nbray.bars.terminal import Terminal

        return Terminal()
    if where == NOTEBOOK:
        from nbray.bars.notebook import Notebook

        return Notebook()
    return Lines()


class Lines:
    """No terminal, but bars are wanted: a line now and then."""

    def open(self, bar: Bar, origin: str) -> Shown:
        return _Line()

    def say(self, text: str) -> None:
        _write(text + "\n")

    def aside(self) -> None:
        """Lines stand wherever they stand."""


class _Line:
    #: Seconds between two lines of a bar.
    EVERY = 5.0

    def __init__(self) -> None:
        self._due = 0.0

    def update(self, bar: Bar) -> None:
        from nbray.bars.model import text

        if bar.bare:  # it comes when it is whole
            return
        if bar.elapsed >= self._due or bar.state != RUNNING:
            self._due = bar.elapsed + self.EVERY
            _write(text(bar) + "\n")

    def pause(self, bar: Bar) -> None:
        """The next line says more."""

    def close(self, bar: Bar | None) -> None:
        if bar is not None:
            self.update(bar)


def _write(text: str) -> None:
    stream = sys.stderr
    if stream is not None:
        stream.write(text)
        stream.flush()


#: Of this process.
board = Board()
