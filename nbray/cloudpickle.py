"""cloudpickle by the name under which Ray's programs import it: ``import nbray.cloudpickle as pickle``.

A ref in what it pickles keeps its object until ``shutdown()``, and says so once: nobody can know when the bytes are read.
"""

from __future__ import annotations

from cloudpickle import (
    CloudPickler,
    dump,
    dumps,
    load,
    loads,
    register_pickle_by_value,
    unregister_pickle_by_value,
)

__all__ = [
    "CloudPickler",
    "dump",
    "dumps",
    "load",
    "loads",
    "register_pickle_by_value",
    "unregister_pickle_by_value",
]
