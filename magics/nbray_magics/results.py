"""How IPython shows what ``nbray.bench`` has measured when it is the value of a cell: as the picture."""

from __future__ import annotations

from typing import Any

KINDS = (
    ("nbray.bench.comparison", "Comparison"),
    ("nbray.bench.splits.result", "Sweep"),
    ("nbray.bench.splits.timings", "Timing"),
)


class Results:
    """The formatter for results, in one shell, until ``forget``. By name: nothing is imported before there is a result.

    Attributes:
        shown: a result whose picture stands under the running cell already, and needs no second one.
    """

    def __init__(self, shell: Any) -> None:
        self.shown: Any = None
        self._shell = shell
        self._formatter = shell.display_formatter.ipython_display_formatter
        for module, name in KINDS:
            self._formatter.for_type_by_name(module, name, self._show)

    def _show(self, found: Any) -> None:
        if found is self.shown:
            self.shown = None
        elif not hasattr(self._shell, "kernel"):
            print(repr(found))
        else:
            from IPython import display

            from nbray_widgets import BenchmarkView

            view = BenchmarkView()
            view.update(found)
            show: Any = display.display  # IPython's has no types
            show(view)
            view.finish()

    def forget(self) -> None:
        for module, name in KINDS:
            self._formatter.pop(f"{module}.{name}", None)
