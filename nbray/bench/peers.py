"""The peers, each behind Ray's verbs. A peer itself is imported only in the interpreter that measures it.

nbray and Ray have the verbs, the others get them from adapters, as far as they can do the same thing. Where a peer has a
better way of its own for a case, ``native`` has it, so that each shows what it can.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from . import dask_peer, pools, xoscar_peer
from .adapter import Native, NotApplicable

__all__ = ["PEERS", "NotApplicable", "Peer"]


@dataclass(frozen=True)
class Peer:
    """``module`` must be importable for the peer to count as installed; ``start(cpus)`` gives the object with the verbs.

    ``cold`` is the program of the case "cold", with ``{cpus}`` to be filled in: it prints "ready" once it has its first
    result. "" where the peer has no tasks.
    """

    module: str
    start: Callable[[int], Any]
    cold: str
    native: Native = field(default_factory=dict)


_COLD_RAY = """
import {module} as ray
ray.init({arguments})
@ray.remote
def first(): return 1
assert ray.get(first.remote()) == 1
print("ready", flush=True)
ray.shutdown()
"""


def _with_rays_verbs(module: str, **options: Any) -> Peer:
    def start(cpus: int) -> Any:
        ray = importlib.import_module(module)
        ray.init(num_cpus=cpus, **options)
        return ray

    arguments = ", ".join(["num_cpus={cpus}", *(f"{name}={value!r}" for name, value in options.items())])
    return Peer(module, start, _COLD_RAY.replace("{module}", module).replace("{arguments}", arguments))


PEERS: dict[str, Peer] = {
    "nbray": _with_rays_verbs("nbray"),
    "ray": _with_rays_verbs(
        "ray", address="local", include_dashboard=False, logging_level="ERROR", log_to_driver=False
    ),
    "dask": Peer("distributed", dask_peer.Dask, dask_peer.COLD, dask_peer.NATIVE),
    "processes": Peer("concurrent.futures", pools.Processes, pools.COLD_PROCESSES, pools.FUTURES),
    "mp": Peer("multiprocessing", pools.Multiprocessing, pools.COLD_MULTIPROCESSING, pools.MAPS),
    "loky": Peer("loky", pools.Loky, pools.COLD_LOKY, pools.FUTURES),
    "xoscar": Peer("xoscar", xoscar_peer.Xoscar, "", xoscar_peer.NATIVE),
    "ipyparallel": Peer("ipyparallel", pools.Ipyparallel, pools.COLD_IPYPARALLEL),
}
