"""Figures of a remote cell, shown as in the notebook: without ``plt.show()``, under the cell.

A kernel's processes inherit matplotlib's inline backend, whose ``show`` displays. In a kernel it also shows, at the end of a
cell, what is open; here only what this cell has opened: others may draw in the same process.
"""

from __future__ import annotations

import importlib
import sys
from types import TracebackType
from typing import Any

_INLINE = "inline"  # module://matplotlib_inline.backend_inline, or "inline"


class Figures:
    """Around a cell, in the executor. What it has opened and not shown is shown at its end, and closed.

    Attributes:
        value: of the cell's last expression. The notebook shows it; if it is a figure, it is only closed.
    """

    def __init__(self) -> None:
        self.value: Any = None
        self._before = set(_open())

    def __enter__(self) -> Figures:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pyplot: Any = sys.modules.get("matplotlib.pyplot")
        if pyplot is None or _INLINE not in pyplot.get_backend():
            return
        from IPython import display

        show: Any = display.display  # IPython's has no types
        for number in _open():
            if number not in self._before:
                figure = pyplot.figure(number)
                if figure is not self.value:
                    show(figure)
                pyplot.close(figure)


def _open() -> list[int]:
    pyplot: Any = sys.modules.get("matplotlib.pyplot")
    return [] if pyplot is None else list(pyplot.get_fignums())


def show_figures_here(value: Any) -> None:
    """In the kernel: a figure that came from elsewhere is a picture there only once the inline backend is loaded."""
    if (
        type(value).__module__.startswith("matplotlib.")
        and "matplotlib_inline.backend_inline" not in sys.modules
    ):
        importlib.import_module("matplotlib_inline.backend_inline")
