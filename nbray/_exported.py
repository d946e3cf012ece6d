"""A remote function or class as the present session knows it: when it is pickled, and when anew."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable
from typing import Any


def _shell() -> Any:
    """IPython's shell if this process has one."""
    ipython = sys.modules.get("IPython")
    return ipython.get_ipython() if ipython is not None else None


class Exported:
    """Pickled at the first call in each session and, in IPython, at the first in each cell: a cell that defined a helper or a
    global anew changes what the function does, and the copies out there have to follow.
    """

    __slots__ = ("target", "name", "_runtime", "_cell", "_shell", "_handle")

    def __init__(self, target: Callable[..., Any], name: str) -> None:
        self.target = target
        self.name = name
        self._runtime: Callable[[], Any] = _never
        self._shell: Any = None
        self._cell = 0
        self._handle: Any = None

    def handle(self, runtime: Any) -> Any:
        """What ``runtime.function`` made of it.

        Raises:
            SerializationError: it cannot be pickled; the text names what it captured.
        """
        if self._runtime() is runtime and (self._shell is None or self._shell.execution_count == self._cell):
            return self._handle
        shell = _shell()
        cell = 0 if shell is None else shell.execution_count
        # Last what is looked at first: another thread in between finds the handle there.
        handle = self._handle = runtime.function(self.target, self.name)
        self._shell, self._cell, self._runtime = shell, cell, weakref.ref(runtime)
        return handle


def _never() -> None:
    return None


def short_name(target: Any) -> str:
    """How views and errors call a function or class: without the functions around its definition."""
    qualified: str = target.__qualname__
    return qualified.rpartition("<locals>.")[2]


def missing(owner: object, name: str) -> AttributeError:
    """For a name that a remote function, a class or a method has not."""
    hint = "; nbray has none of Ray's graphs of calls yet: use .remote()" if name == "bind" else ""
    return AttributeError(
        f"{type(owner).__name__!r} object has no attribute {name!r}{hint}",
        name=name,
        obj=None if hint else owner,
    )
