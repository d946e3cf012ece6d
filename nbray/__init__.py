"""nbray: Ray's programming model at home in Jupyter and on Dask."""

from __future__ import annotations

import importlib
from typing import Any

from nbray import actor, exceptions
from nbray._actor_handle import get_actor, method
from nbray._api import cancel, explain, get, kill, put, wait
from nbray._as_ray import as_ray
from nbray._dynamic import DynamicObjectRefGenerator
from nbray._generator import ObjectRefGenerator
from nbray._object_ref import ObjectRef
from nbray._progress import progress
from nbray._remote_function import remote
from nbray._session import (
    adapt,
    available_resources,
    cluster_resources,
    feed,
    init,
    is_initialized,
    nodes,
    scale,
    shutdown,
    timeline,
)
from nbray.runtime_context import get_gpu_ids, get_runtime_context

__version__ = "0.1.0"
ObjectID = ObjectRef  # Ray's old name, which libraries still use

__all__ = [
    "DynamicObjectRefGenerator",
    "ObjectID",
    "ObjectRef",
    "ObjectRefGenerator",
    "actor",
    "adapt",
    "as_ray",
    "available_resources",
    "cancel",
    "cluster_resources",
    "exceptions",
    "explain",
    "feed",
    "get",
    "get_actor",
    "get_gpu_ids",
    "get_runtime_context",
    "init",
    "is_initialized",
    "kill",
    "method",
    "nodes",
    "progress",
    "put",
    "remote",
    "scale",
    "shutdown",
    "timeline",
    "wait",
]


#: Modules that are imported when they are first used: most programs do without.
_MODULES = frozenset(("_raylet", "cloudpickle", "experimental", "output", "remote_function", "types", "util"))


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"nbray.{name}")
    raise AttributeError(
        f"module 'nbray' has no attribute {name!r}; its README lists which of Ray's names it has", name=name
    )


def load_ipython_extension(ipython: Any) -> None:
    """``%load_ext nbray``."""
    importlib.import_module("nbray_magics").load_ipython_extension(ipython)


def unload_ipython_extension(ipython: Any) -> None:
    """``%unload_ext nbray``."""
    importlib.import_module("nbray_magics").unload_ipython_extension(ipython)
