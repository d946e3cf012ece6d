"""Modules that were edited and loaded again in a driver, by ``%autoreload`` or ``importlib.reload``, in the processes that have
them.

A reload is looked for when a function is pickled, which in IPython happens once a cell: ``importlib.reload`` gives a module a new
``__spec__``; autoreload, which may patch a module in place, keeps the time of the file that it has. The names of such modules
travel with the function, each with a stamp of its last reload, and whoever gets a stamp that is new to it loads the module again
before it unpickles the function. An actor keeps the code with which it was made.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
import sysconfig
import threading
from collections.abc import Mapping
from types import ModuleType
from typing import Any, TypeAlias

logger = logging.getLogger("nbray.reloads")

#: (name, stamp of the last reload), sorted.
Stamps: TypeAlias = "tuple[tuple[str, str], ...]"

_LASTING = tuple(
    {sysconfig.get_path(name) + os.sep for name in ("stdlib", "platstdlib", "purelib", "platlib")}
)


class Reloaded:
    """The driver's side."""

    def __init__(self) -> None:
        self._seen = 0
        #: By name: the spec, and when the file was written that the driver has.
        self._versions: dict[str, tuple[Any, float]] = {}
        self._stamps: dict[str, str] = {}
        self.look()

    def look(self) -> Stamps:
        """The modules that were loaded again since this was made."""
        times = _autoreloaded()
        if len(sys.modules) != self._seen:
            self._seen = len(sys.modules)
            for name, module in list(sys.modules.items()):
                if name not in self._versions and _is_users(module):
                    self._versions[name] = (module.__spec__, _written(module))
        for name, version in self._versions.items():
            loaded: Any = sys.modules.get(name)
            if not isinstance(loaded, ModuleType):
                continue
            spec, written = version
            now = (loaded.__spec__, times.get(name, written))
            if now[0] is not spec or now[1] != written:
                self._versions[name] = now
                self._stamps[name] = os.urandom(6).hex()
        return tuple(sorted(self._stamps.items()))


def _autoreloaded() -> Mapping[str, float]:
    """By module: when the file was written from which ``%autoreload`` has it."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    magics = shell.magics_manager.registry.get("AutoreloadMagics") if shell is not None else None
    times = getattr(getattr(magics, "_reloader", None), "modules_mtimes", None)
    return times if isinstance(times, Mapping) else {}


def _written(module: ModuleType) -> float:
    try:
        return os.stat(module.__file__ or "").st_mtime
    except OSError:
        return 0.0


def _is_users(module: Any) -> bool:
    """Whether it comes from a file that somebody may be editing."""
    file = getattr(module, "__file__", None)
    return (
        isinstance(module, ModuleType)
        and isinstance(file, str)
        and module.__spec__ is not None
        and not file.startswith(_LASTING)
    )


class Reloading:
    """The side of an executor.

    Attributes:
        known: what was heard last, for functions that this process submits.
    """

    def __init__(self) -> None:
        self.known: Stamps = ()
        self._applied: dict[str, str] = {}
        self._old: dict[Any, Any] = {}
        self._lock = threading.Lock()

    def apply(self, stamps: Stamps) -> None:
        """Load again what this process has from before. A module that fails stays as it was: in the driver, that was said."""
        if stamps == self.known:
            return
        with self._lock:
            for name, stamp in stamps:
                if self._applied.get(name) == stamp:
                    continue
                self._applied[name] = stamp
                module = sys.modules.get(name)
                if module is not None:
                    importlib.invalidate_caches()
                    self._reload(module)
            self.known = tuple(stamps)

    def _reload(self, module: ModuleType) -> None:
        """As autoreload does, so that functions and classes that others hold become the new ones."""
        try:
            again = importlib.import_module("IPython.extensions.autoreload").superreload
        except (ImportError, AttributeError):
            again = None
        try:
            if again is None:
                importlib.reload(module)
            else:
                again(module, importlib.reload, self._old)
        except Exception:
            logger.debug("module %s cannot be loaded again", module.__name__, exc_info=True)
