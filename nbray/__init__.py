"""nbray: Ray's programming model at home in Jupyter and on Dask."""

from __future__ import annotations

import importlib
from typing import Any

from nbray import actor, exceptions
from nbray._actor_handle import get_actor, method
from nbray._api import (
    available_resources,
    cancel,
    cluster_resources,
    feed,
    get,
    init,
    is_initialized,
    kill,
    nodes,
    put,
    shutdown,
    timeline,
    wait,
)
from nbray._object_ref import ObjectRef
from nbray._remote_function import remote
from nbray.runtime_context import get_runtime_context

__version__ = "0.1.0"

__all__ = [
    "ObjectRef",
    "actor",
    "available_resources",
    "cancel",
    "cluster_resources",
    "exceptions",
    "feed",
    "get",
    "get_actor",
    "get_runtime_context",
    "init",
    "is_initialized",
    "kill",
    "method",
    "nodes",
    "put",
    "remote",
    "shutdown",
    "timeline",
    "wait",
]


def __getattr__(name: str) -> Any:
    if name == "util":  # most programs do without, and an import of nbray should cost them nothing more
        return importlib.import_module("nbray.util")
    raise AttributeError(f"module 'nbray' has no attribute {name!r}")


def load_ipython_extension(ipython: Any) -> None:
    """``%load_ext nbray``."""
    importlib.import_module("nbray_magics").load_ipython_extension(ipython)


def unload_ipython_extension(ipython: Any) -> None:
    """``%unload_ext nbray``."""
    importlib.import_module("nbray_magics").unload_ipython_extension(ipython)
