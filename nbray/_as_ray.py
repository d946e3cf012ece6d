"""nbray under the name ``ray``, for programs that are not to be changed.

``import ray.util.queue`` gives the very module ``nbray.util.queue``, here and in executors. What nbray lacks is an ImportError or
an AttributeError that names it. Executors are told by an environment variable: it reaches them on every kind of pool.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import CodeType, ModuleType
from typing import Any

from nbray import _runtime

_VARIABLE = "NBRAY_AS_RAY"
#: What ``ray.__version__`` says: libraries ask it for what Ray can. It is the one that nbray is compared with.
RAY_VERSION = "2.60.0"


def as_ray() -> None:
    """From now on ``import ray`` gives nbray, in this process and in the executors of sessions that start later.

    ``python -m nbray.as_ray SCRIPT ARGUMENTS...`` runs a script that way. ``__version__`` is then that of the Ray whose API this
    is, for libraries that ask for it; ``importlib.metadata.version("nbray")`` tells nbray's own.

    Raises:
        RuntimeError: Ray itself has been imported, or a session runs, whose executors would not know.

    Example:
        >>> nbray.as_ray()
        >>> import ray
        >>> ray.init()
    """
    if "ray" in sys.modules and sys.modules["ray"] is not sys.modules["nbray"]:
        raise RuntimeError("Ray itself is imported already; call nbray.as_ray() before anything imports it")
    if _runtime.current_or_none() is not None and not os.environ.get(_VARIABLE):
        raise RuntimeError(
            "a session runs, whose executors would not know; call nbray.as_ray() before init()"
        )
    os.environ[_VARIABLE] = "1"
    install()


def environment() -> dict[str, str]:
    """What executors have to have in their environment."""
    return {_VARIABLE: "1"} if os.environ.get(_VARIABLE) else {}


def without(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that are the user's."""
    return {name: value for name, value in environment.items() if name != _VARIABLE}


def install() -> None:
    """Have imports of ``ray`` answered here, as long as the environment says so."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


def run(script: str, arguments: Sequence[str]) -> None:
    """Run a script as ``python SCRIPT ARGUMENTS...`` would, with nbray as Ray."""
    as_ray()
    script = os.path.abspath(script)
    os.environ[_VARIABLE] = script
    code = _compiled(script)
    sys.argv[:] = [script, *arguments]
    sys.path[0] = os.path.dirname(script)
    # The script *is* __main__: what it defines is pickled as such, and tracebacks show its lines. By its spec, processes that
    # multiprocessing spawns come to ``run_again``.
    main = sys.modules["__main__"].__dict__
    spec = main["__spec__"]
    main.clear()
    main.update(
        __name__="__main__", __file__=script, __builtins__=__builtins__, __spec__=spec, __package__=None
    )
    exec(code, main)


def run_again(names: dict[str, Any]) -> None:
    """In a process that multiprocessing has spawned: run the script for what it defines, but not as ``__main__``."""
    script = os.environ[_VARIABLE]
    install()
    names.update(__file__=script, __package__=None)
    exec(_compiled(script), names)


def _compiled(script: str) -> CodeType:
    import io

    with io.open_code(script) as file:
        return compile(file.read(), script, "exec")


class _Finder(MetaPathFinder, Loader):
    def find_spec(self, fullname: str, path: Any, target: Any = None) -> ModuleSpec | None:
        if fullname != "ray" and not fullname.startswith("ray."):
            return None
        if not os.environ.get(_VARIABLE):
            return None
        return ModuleSpec(fullname, self, is_package=True)

    def exec_module(self, module: ModuleType) -> None:
        name = module.__name__
        try:
            # The importer goes on with what is in sys.modules afterwards: nbray's module, with its own name and spec.
            found = sys.modules[name] = importlib.import_module(f"nb{name}")
            if name == "ray":
                found.__dict__["__version__"] = RAY_VERSION
        except ModuleNotFoundError as error:
            if error.name is not None and f"nb{name}".startswith(error.name):
                raise ModuleNotFoundError(
                    f"nbray has no {name!r}; its README lists which of Ray's names it has", name=name
                ) from None
            raise
