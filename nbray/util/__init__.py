"""What stands on nbray's public API, under the names of ``ray.util``.

``nbray.util`` is imported when it is first used, and so are its modules ``queue``, ``multiprocessing`` and ``joblib``.
"""

from __future__ import annotations

import importlib
from typing import Any

from nbray._serializers import deregister_serializer, register_serializer
from nbray._session import list_named_actors
from nbray.util.actor_pool import ActorPool
from nbray.util.check_serialize import inspect_serializability
from nbray.util.completion import as_completed, map_unordered
from nbray.util.node_address import get_node_ip_address
from nbray.util.progress_bar import tqdm

__all__ = [
    "ActorPool",
    "as_completed",
    "deregister_serializer",
    "get_node_ip_address",
    "inspect_serializability",
    "list_named_actors",
    "map_unordered",
    "register_serializer",
    "tqdm",
]

_MODULES = frozenset(("joblib", "multiprocessing", "queue"))


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"nbray.util.{name}")
    raise AttributeError(
        f"module 'nbray.util' has no attribute {name!r}; nbray's README lists which of Ray's names it has",
        name=name,
    )
