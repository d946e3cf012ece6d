"""How fast nbray is, side by side with its peers: ``python -m nbray.bench --help``.

The parent (`__main__`, `conductor`) starts one fresh interpreter a peer and round (`child`), in turn, so that the noise of the
machine falls on all alike. `cases` says what is measured, once for all peers; `peers` gives every peer the few verbs of
Ray that the cases use. `measure`, `stats` and `report` are pure.

How fast your own code is: ``nbray.bench.timing(function)``, and ``nbray.bench.sweep(function, "chunk=1:1000:log")`` for how to
split its work (`splits`).

A peer may live in an interpreter that has no nbray, so `child` loads these modules under the name ``nbray_bench``: `cases`,
`measure`, `peers` and the adapters import nothing but the standard library and one another at their top.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .comparison import compare
    from .splits.sweeping import sweep
    from .splits.timings import timing

__all__ = ["compare", "sweep", "timing"]

_MODULES = {"compare": "comparison", "sweep": "splits.sweeping", "timing": "splits.timings"}


def __getattr__(name: str) -> Any:
    # Not before somebody asks: `child` loads this file where there is no nbray.
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
