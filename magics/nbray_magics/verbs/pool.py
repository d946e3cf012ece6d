"""Starting, changing and ending a pool."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

import nbray
from nbray_magics.grammar import Argument, NbrayUsageError, Option, Value, Verb
from nbray_magics.notebook import Notebook, variables_of
from nbray_magics.values import amount, whole
from nbray_magics.verbs.status import show_status

# --- init ------------------------------------------------------------------------------------------------------------


def init(notebook: Notebook, adapt: tuple[int, int] | None = None, **given: Any) -> None:
    if nbray.is_initialized():
        _say_what_differs(notebook, given, adapt)
    else:
        arguments = _arguments(notebook, given, adapt)
        nbray.init(**arguments)
        if adapt is not None:
            nbray.adapt(*adapt)
            notebook.adapted = (nbray.feed(), adapt)
    show_status(notebook)


def _arguments(notebook: Notebook, given: dict[str, Any], adapt: tuple[int, int] | None) -> dict[str, Any]:
    """For ``nbray.init``."""
    if adapt is not None and adapt[0] > adapt[1]:
        raise NbrayUsageError(f"--adapt MIN MAX: {adapt[0]} is more than {adapt[1]}")
    if "address" not in given:
        if adapt is not None and "num_cpus" in given:
            raise NbrayUsageError(
                "-n CPUS fixes the number of CPUs, --adapt MIN MAX lets it change: use one of them"
            )
        return given if adapt is None else {**given, "num_cpus": adapt[0]}
    more = [flag for key, flag in (("num_cpus", "-n"), ("num_gpus", "--gpus")) if key in given]
    if more:
        raise NbrayUsageError(
            f"--address attaches to a cluster, which has its CPUs and GPUs already: leave {' and '.join(more)} out"
        )
    cluster = _cluster(notebook, given["address"])
    if adapt is not None and isinstance(cluster, str):
        raise NbrayUsageError(
            f"--adapt has Dask start and end workers, which takes the cluster and not its address: --address NAME, where NAME is "
            f"the variable with the Dask cluster of {cluster}"
        )
    return {"address": cluster}


def _cluster(notebook: Notebook, address: str) -> Any:
    """An address, or the Dask client or cluster that a variable holds."""
    if address.isidentifier() and address != "auto":
        found = notebook.names.get(address)
        if found is None or not _is_dasks(found):
            raise NbrayUsageError(
                f"--address takes a scheduler's address such as tcp://127.0.0.1:8786, or a variable with a Dask client or "
                f"cluster; {address!r} is neither"
            )
        return found
    return address


def _is_dasks(value: object) -> bool:
    if "distributed" not in sys.modules:
        return False
    from distributed import Client
    from distributed.deploy.cluster import Cluster

    return isinstance(value, Client | Cluster)


def _say_what_differs(notebook: Notebook, given: dict[str, Any], adapt: tuple[int, int] | None) -> None:
    have = nbray.cluster_resources()
    attached = nbray.init(ignore_reinit_error=True).address_info["address"]
    differs = []
    for key, flag, name in (("num_cpus", "-n", "CPU"), ("num_gpus", "--gpus", "GPU")):
        if key in given and given[key] != have.get(name, 0):
            differs.append(f"{flag} {given[key]:g}")
    if adapt is not None and notebook.adapted != (nbray.feed(), adapt):
        differs.append(f"--adapt {adapt[0]} {adapt[1]}")
    same = (attached, attached.partition("://")[2])
    if "address" in given and given["address"] not in same and given["address"] not in clusters(notebook):
        differs.append(f"--address {given['address']}")
    if differs:
        where = f"attached to {attached}" if attached else f"with {have.get('CPU', 0):g} CPUs"
        scales = " %nbray scale N changes its CPUs," if "num_cpus" in given and not attached else ""
        print(
            f"nbray: a pool {where} is running already, and goes on without {' and '.join(differs)};{scales} "
            "%nbray shutdown ends it",
            file=sys.stderr,
        )


def clusters(notebook: Notebook) -> Iterable[str]:
    """Variables with a Dask client or cluster."""
    return [name for name, value in variables_of(notebook) if _is_dasks(value)]


# --- scale, shutdown -------------------------------------------------------------------------------------------------


def scale(notebook: Notebook, n: float) -> None:
    notebook.needs_pool()
    nbray.scale(n)
    notebook.adapted = None
    if nbray.init(ignore_reinit_error=True).address_info["address"]:
        print(f"nbray: the Dask cluster is asked for {n:g} workers")
    else:
        print(f"nbray: the pool has {nbray.cluster_resources()['CPU']:g} CPUs now")


def shutdown(notebook: Notebook) -> None:
    if not nbray.is_initialized():
        print("nbray: no pool is running")
        return
    nbray.shutdown()
    print("nbray: the pool has ended")


INIT = Verb(
    "init",
    "start a local pool or attach to a cluster, or show the one that runs",
    init,
    details="Without options the pool has as many CPUs as this machine.\nRun again, it starts no second pool.",
    options=(
        Option(
            ("-n", "--num-cpus"),
            "num_cpus",
            "how many CPUs the pool hands out",
            (Value("CPUS", whole("CPUs")),),
        ),
        Option(
            ("--gpus", "--num-gpus"),
            "num_gpus",
            "how many GPUs the pool hands out",
            (Value("N", amount("GPUs")),),
        ),
        Option(
            ("--address",),
            "address",
            "attach to a Dask cluster: its scheduler's address, or a variable with a Dask client or cluster",
            (Value("ADDR", offer=clusters),),
        ),
        Option(
            ("--adapt",),
            "adapt",
            "have as many CPUs as the work needs, between two bounds; of an attached Dask cluster, as many workers",
            (Value("MIN", whole("CPUs", 0)), Value("MAX", whole("CPUs"))),
        ),
    ),
    examples=("%nbray init -n 4", "%nbray init --adapt 1 8", "%nbray init --address tcp://127.0.0.1:8786"),
)

SCALE = Verb(
    "scale",
    "change the number of CPUs of the running pool",
    scale,
    details="What runs goes on; with fewer CPUs than are in use, tasks that end are not followed by others.\n"
    "Of a Dask cluster that was attached to as an object it is the number of workers.",
    arguments=(
        Argument(
            "n", "CPUs, or workers of an attached Dask cluster", Value("N", whole("CPUs")), required=True
        ),
    ),
)

SHUTDOWN = Verb("shutdown", "end the pool with all that runs in it", shutdown)
