"""Bars at the bottom of a terminal, on stderr; what is written meanwhile stands above them."""

from __future__ import annotations

import sys
import time

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from nbray.bars.model import RUNNING, Bar, parts, plain
from nbray.bars.screen import Shown

_STYLES = {"label": "bold", "bar": "cyan", "count": "", "failed": "bold red", "state": "bold red", "": "dim"}
#: Bars at a time; the others are counted.
_MOST = 12
#: Seconds between two pictures.
_FRAME = 0.08


class Terminal:
    """All bars of a terminal are one picture: drawn anew, and wiped before anything else is written."""

    def __init__(self) -> None:
        self._bars: dict[_Row, Bar] = {}
        self._live: Live | None = None
        self._console = Console(stderr=True)
        self._rows: list[Text] = []
        self._drawn = 0.0

    def open(self, bar: Bar, origin: str) -> Shown:
        row = _Row(self)
        self._bars[row] = bar
        self.draw(True)
        return row

    def say(self, text: str) -> None:
        self.aside()
        self._fresh().out(text, highlight=False)
        self.draw(True)

    def aside(self) -> None:
        if self._live is not None:
            live, self._live = self._live, None
            live.stop()

    def put(self, row: _Row, bar: Bar) -> None:
        self._bars[row] = bar
        self.draw(False)

    def drop(self, row: _Row, bar: Bar | None) -> None:
        """What stays of it goes above the others."""
        self._bars.pop(row, None)
        if bar is not None:
            self.aside()
            self._fresh().print(_text(bar), no_wrap=True, overflow="ellipsis")
        self.draw(True)

    def draw(self, now: bool) -> None:
        if not self._bars:
            self.aside()
            return
        if not now and self._live is not None and time.monotonic() - self._drawn < _FRAME:
            return
        rows = [_text(bar) for bar in list(self._bars.values())[:_MOST]]
        if len(self._bars) > _MOST:
            rows.append(Text(f"... and {len(self._bars) - _MOST} more bars", "dim"))
        if self._live is None:
            self._live = Live(
                Group(*rows),
                console=self._fresh(),
                auto_refresh=False,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
                vertical_overflow="crop",
            )
            self._live.start(refresh=True)
        elif rows != self._rows:
            self._live.update(Group(*rows), refresh=True)
        self._rows, self._drawn = rows, time.monotonic()

    def _fresh(self) -> Console:
        """The console of what is ``sys.stderr`` now: programs and tests put others in its place."""
        if self._live is None and self._console.file is not sys.stderr:
            self._console = Console(stderr=True)
        return self._console


class _Row:
    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal

    def update(self, bar: Bar) -> None:
        self._terminal.put(self, bar)

    def pause(self, bar: Bar) -> None:
        self._terminal.drop(self, None)

    def close(self, bar: Bar | None) -> None:
        self._terminal.drop(self, bar)


def _text(bar: Bar) -> Text:
    first, *others = parts(bar)
    found = Text(no_wrap=True, overflow="ellipsis")
    found.append(first.text, _STYLES[first.kind])
    if not others:
        return found
    found.append("  ")
    dot = ""
    for part in others:
        found.append(dot, "dim")
        found.append(part.text, _STYLES[part.kind])
        dot = " " if part.kind == "bar" else " · "
    if bar.state == RUNNING and bar.running:
        found.append(f" · {plain(bar.running[0])}", "dim")
        if len(bar.running) > 1:
            found.append(f" and {len(bar.running) - 1} more", "dim")
    return found
