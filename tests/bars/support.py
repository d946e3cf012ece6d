"""Bars that are noted instead of shown, and refs that become ready on demand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from nbray.bars.model import Bar
from nbray.bars.screen import NOTEBOOK, Board
from nbray.core.explaining import Explanation


class Noted:
    def __init__(self, screen: Screen, bar: Bar, origin: str) -> None:
        self.bars = [bar]
        self.origin = origin
        self.closed = False
        self.last: Bar | None = None
        screen.shown.append(self)

    def update(self, bar: Bar) -> None:
        assert not self.closed
        self.bars.append(bar)

    def pause(self, bar: Bar) -> None:
        self.bars.append(bar)

    def close(self, bar: Bar | None) -> None:
        assert not self.closed
        self.closed, self.last = True, bar


class Screen:
    def __init__(self) -> None:
        self.shown: list[Noted] = []
        self.said: list[str] = []

    def open(self, bar: Bar, origin: str) -> Noted:
        return Noted(self, bar, origin)

    def say(self, text: str) -> None:
        self.said.append(text)

    def aside(self) -> None: ...


def board(where: str | None = NOTEBOOK) -> tuple[Board, Screen]:
    found, screen = Board(lambda: where), Screen()
    found._screens = {NOTEBOOK: screen, "terminal": screen, "lines": screen}
    return found, screen


class Ref:
    def __init__(self, name: str = "f") -> None:
        self.name = name
        self.ready = self.failed = False

    def finish(self, failed: bool = False) -> None:
        self.ready, self.failed = True, failed


class Source:
    """What would know the calls."""

    def __init__(self) -> None:
        self.asked = 0
        self.running: list[str] = []

    def names_of(self, entries: Sequence[Ref]) -> list[str]:
        return [entry.name for entry in entries]

    def running_of(self, entries: Sequence[Ref]) -> list[str]:
        return self.running

    def explain(self, entries: Sequence[Ref], done: Callable[[], bool] = lambda: False) -> Any:
        self.asked += 1
        return Explanation((f"{len(entries)} wait",), False)
