"""``display(...)`` in a task or actor: what IPython would send to its front end goes the way of printed lines, as a line of JSON.

Executors have no IPython shell, and ``IPython.display.display`` without one prints. So its module gets other functions when user
code imports it; whoever never does pays for a look at each import and nothing else. Matplotlib's inline backend, which a kernel's
processes inherit through ``MPLBACKEND``, displays its figures by the same functions.
"""

from __future__ import annotations

import base64
import builtins
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any

#: The stream of OUTPUT for displays. A line of it: {"data": {...}, "metadata": {...}, "id": display id or "", "update": bool}, or
#: {"clear": wait}.
DISPLAY = 3
#: Characters of a display that are too many for a notebook.
_MOST = 8 << 20

#: A front end would look for the widget in the kernel, and say "model not found".
_WIDGET = "application/vnd.jupyter.widget-view+json"
_NO_WIDGETS = (
    "(widgets live in the notebook's kernel: one that a task makes cannot be shown; make it in a cell)"
)

_MODULE = "IPython.core.display_functions"


class Shown:
    """
    Args:
        emit: takes (stream, bytes that end with a newline).
    """

    def __init__(self, emit: Callable[[int, bytes], None]) -> None:
        self._emit = emit
        self._formatter: Any = None

    def install(self) -> None:
        """``display`` is there as it is in IPython, and IPython's own displays come here."""
        if not hasattr(builtins, "display"):
            builtins.display = _display  # type: ignore[attr-defined]
        module = sys.modules.get(_MODULE)
        if module is None:
            sys.meta_path.insert(0, _Finder(self.replace))
        else:
            self.replace(module)

    def replace(self, module: Any) -> None:
        module.publish_display_data = self.publish
        module.clear_output = self.clear

        def display(
            *objs: Any,
            include: Sequence[str] | None = None,
            exclude: Sequence[str] | None = None,
            metadata: Mapping[str, Any] | None = None,
            transient: Mapping[str, Any] | None = None,
            display_id: Any = None,
            raw: bool = False,
            clear: bool = False,
            **kwargs: Any,
        ) -> Any:
            """Display objects in the notebook cell that submitted this call. Arguments as IPython's."""
            if display_id is None and kwargs.get("update"):
                raise TypeError("display_id required for update_display")
            if display_id is True:
                display_id = module._new_id()
            if clear:
                self.clear(wait=True)
            transient = {**(transient or {}), **({"display_id": display_id} if display_id else {})}
            for each in objs:
                data, described = (each, {}) if raw else self._format(each, include, exclude)
                if data:
                    described = {**described, **(metadata or {})}
                    self.publish(data, described, transient=transient, **kwargs)
            return module.DisplayHandle(display_id) if display_id else None

        module.display = display

    def publish(
        self,
        data: Mapping[str, Any],
        metadata: Mapping[str, Any] | None = None,
        *,
        transient: Mapping[str, Any] | None = None,
        update: bool = False,
        **kwargs: Any,
    ) -> None:
        """IPython's ``publish_display_data``."""
        if _WIDGET in data:
            data = {mime: shown for mime, shown in data.items() if mime != _WIDGET}
            data["text/plain"] = f"{data.get('text/plain', 'a widget')}\n{_NO_WIDGETS}"
        said = {
            "data": data,
            "metadata": metadata or {},
            "id": (transient or {}).get("display_id") or "",
            "update": bool(update),
        }
        text = json.dumps(said, default=_plain)
        if len(text) > _MOST:
            what = str(data.get("text/plain", "a display"))[:200]
            note = f"{what}\n(not shown: {len(text) / 1e6:.1f} MB are too much for a notebook)"
            text = json.dumps({**said, "data": {"text/plain": note}, "metadata": {}})
        self._emit(DISPLAY, text.encode() + b"\n")

    def clear(self, wait: bool = False) -> None:
        """IPython's ``clear_output``: takes away what this call has displayed."""
        self._emit(DISPLAY, json.dumps({"clear": bool(wait)}).encode() + b"\n")

    def _format(self, each: Any, include: Any, exclude: Any) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        if self._formatter is None:
            formatter = importlib.import_module("IPython.core.formatters").DisplayFormatter()
            for format_, mime in (("png", "image/png"), ("jpeg", "image/jpeg"), ("svg", "image/svg+xml")):
                if format_ in _figure_formats():
                    formatter.formatters[mime].for_type_by_name(
                        "matplotlib.figure", "Figure", _figure(format_)
                    )
            self._formatter = formatter
        data, metadata = self._formatter.format(each, include=include, exclude=exclude)
        return data, metadata


def _figure_formats() -> frozenset[str]:
    config = sys.modules.get("matplotlib_inline.config")
    if config is None:
        return frozenset(("png",))
    return frozenset(config.InlineBackend.instance().figure_formats) or frozenset(("png",))


def _figure(format_: str) -> Callable[[Any], Any]:
    def draw(figure: Any) -> Any:
        tools = importlib.import_module("IPython.core.pylabtools")
        return tools.print_figure(figure, fmt=format_, base64=format_ != "svg")

    return draw


def _plain(value: Any) -> Any:
    """What JSON has no form for: images as the front ends want them, anything else as its text."""
    if isinstance(value, bytes | bytearray | memoryview):
        return base64.b64encode(value).decode()
    if isinstance(value, Mapping):
        return dict(value)
    return str(value)


def _display(*objs: Any, **kwargs: Any) -> Any:
    """Display objects in the notebook cell that submitted this call. Arguments as IPython's."""
    return importlib.import_module("IPython.display").display(*objs, **kwargs)


class _Finder(importlib.abc.MetaPathFinder):
    """Gives IPython's module its other functions right after it was run, and then goes."""

    def __init__(self, replace: Callable[[Any], None]) -> None:
        self._replace = replace

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != _MODULE:
            return None
        try:
            sys.meta_path.remove(self)
        except ValueError:  # another thread imports it as well
            pass
        spec = importlib.util.find_spec(name)
        if spec is None or spec.loader is None:
            return None
        loader = spec.loader
        run = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            run(module)
            self._replace(module)

        loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec
