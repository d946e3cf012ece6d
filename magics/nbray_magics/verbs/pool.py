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


def init(notebook: Notebook, **given: Any) -> None:
    if nbray.is_initialized():
        _say_what_differs(notebook, given)
    else:
        _start(notebook, given)
        notebook.started = (nbray.feed(), given)
    show_status(notebook)


#: Options of which only one can be given, each with those that say the same in another way or of another kind of pool.
_EXCLUDES = {
    "address": ("num_cpus", "num_gpus", "ssh"),
    "ssh": ("num_cpus", "num_gpus", "adapt"),
    "adapt": ("num_cpus",),
}
_FLAGS = {"num_cpus": "-n", "num_gpus": "--gpus", "ssh": "--ssh", "address": "--address", "adapt": "--adapt"}
_WHY = {
    "address": "--address attaches to a cluster that has its nodes already",
    "ssh": "--ssh starts a pool that has the CPUs of its hosts",
    "adapt": "--adapt MIN MAX lets the number of CPUs change",
}


def _start(notebook: Notebook, given: dict[str, Any]) -> None:
    for key, others in _EXCLUDES.items():
        wrong = [_FLAGS[other] for other in others if other in given]
        if key in given and wrong:
            raise NbrayUsageError(f"{_WHY[key]}: leave {' and '.join(wrong)} out")
    arguments = dict(given)
    least, most = arguments.pop("adapt", (0, 0))
    if least > most:
        raise NbrayUsageError(f"--adapt MIN MAX: {least} is more than {most}")
    if "ssh" in given:
        arguments["address"] = f"ssh://{arguments.pop('ssh')}"
    elif "address" in given:
        arguments["address"] = _cluster(notebook, given["address"])
        if most and isinstance(arguments["address"], str):
            raise NbrayUsageError(
                "--adapt has Dask start and end workers, which takes the cluster and not its address: --address NAME, where "
                f"NAME is the variable with the Dask cluster of {given['address']}"
            )
    elif most:
        arguments["num_cpus"] = least
    nbray.init(**arguments)
    if most:
        nbray.adapt(least, most)


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


def _say_what_differs(notebook: Notebook, given: dict[str, Any]) -> None:
    if not given or notebook.started == (nbray.feed(), given):
        return
    have = nbray.cluster_resources()
    attached = nbray.init(ignore_reinit_error=True).address_info["address"]
    there = {
        "num_cpus": have.get("CPU", 0),
        "num_gpus": have.get("GPU", 0),
        "address": _bare(attached),
    }
    differs = [
        f"{_FLAGS[key]} {_shown(value)}"
        for key, value in given.items()
        if there.get(key) != (_bare(value) if key == "address" else value)
    ]
    if differs:
        where = f"attached to {attached}" if attached else f"with {have.get('CPU', 0):g} CPUs"
        scales = " %nbray scale N changes its CPUs," if "num_cpus" in given and not attached else ""
        print(
            f"nbray: a pool {where} is running already, and goes on without {' and '.join(differs)};{scales} "
            "%nbray shutdown ends it",
            file=sys.stderr,
        )


def _bare(address: str) -> str:
    """Without ``tcp://``."""
    return address.rpartition("://")[2]


def _shown(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def clusters(notebook: Notebook) -> Iterable[str]:
    """Variables with a Dask client or cluster."""
    return [name for name, value in variables_of(notebook) if _is_dasks(value)]


# --- scale, shutdown -------------------------------------------------------------------------------------------------


def scale(notebook: Notebook, n: float) -> None:
    notebook.needs_pool()
    nbray.scale(n)
    notebook.started = None
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
    details="Without options the pool has as many CPUs as this machine.\nRun again, it starts no second pool.\n"
    "Hosts of --ssh need the same nbray and Python at the same path (or NBRAY_SSH_PYTHON names it). Between them Dask's\n"
    "connections are not encrypted: use a network that you trust.",
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
            ("--ssh",),
            "ssh",
            "start a pool on these hosts over SSH, as [user@]host[:port] with commas between; keys as for ssh",
            (Value("HOSTS"),),
        ),
        Option(
            ("--adapt",),
            "adapt",
            "have as many CPUs as the work needs, between two bounds; of an attached Dask cluster, as many workers",
            (Value("MIN", whole("CPUs", 0)), Value("MAX", whole("CPUs"))),
        ),
    ),
    examples=(
        "%nbray init -n 4",
        "%nbray init --adapt 1 8",
        "%nbray init --ssh node1,node2",
        "%nbray init --address tcp://127.0.0.1:8786",
    ),
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
