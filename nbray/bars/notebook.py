"""Bars in a notebook: HTML under the cell to which they belong, changed in place, without a widget."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from nbray.bars.model import Bar, as_html, text
from nbray.bars.screen import Shown
from nbray.owner.origin import cause


def to_the_cell_that_runs(origin: str, data: dict[str, Any], display_id: str, update: bool) -> bool:
    """Nobody knows other cells."""
    return False


#: Publishes (origin, data, display id, update) under the cell of that origin; False if it cannot: then the cell that runs has it.
publish_under: Callable[[str, dict[str, Any], str, bool], bool] = to_the_cell_that_runs


class Notebook:
    def open(self, bar: Bar, origin: str) -> Shown:
        return _Display(bar, origin)

    def say(self, text: str) -> None:
        """What is to be said stands in the bar's own note."""

    def aside(self) -> None:
        """Each output has its own place."""


class _Display:
    def __init__(self, bar: Bar, origin: str) -> None:
        self._id = os.urandom(8).hex()
        self._origin = origin or cause.get()[1]
        self._last = ""
        self._publish(bar, update=False)

    def update(self, bar: Bar) -> None:
        self._publish(bar, update=True)

    def pause(self, bar: Bar) -> None:
        self._publish(bar, update=True)

    def close(self, bar: Bar | None) -> None:
        if bar is not None:
            self._publish(bar, update=True)
        else:
            self._send({"text/plain": "", "text/html": ""}, update=True)

    def _publish(self, bar: Bar, update: bool) -> None:
        data = {"text/plain": text(bar), "text/html": as_html(bar)}
        if data["text/html"] != self._last or not update:
            self._last = data["text/html"]
            self._send(data, update)

    def _send(self, data: dict[str, Any], update: bool) -> None:
        if self._origin and publish_under(self._origin, data, self._id, update):
            return
        from IPython.display import publish_display_data

        publish: Any = publish_display_data
        publish(data=data, metadata={}, transient={"display_id": self._id}, update=update)
