"""Starting and ending a pool."""

from __future__ import annotations

import nbray
from nbray_magics.grammar import Option, Value, Verb
from nbray_magics.notebook import Notebook
from nbray_magics.values import whole
from nbray_magics.verbs.status import show_status


def init(notebook: Notebook, num_cpus: int | None = None) -> None:
    if not nbray.is_initialized():
        nbray.init(num_cpus=num_cpus)
    else:
        cpus = nbray.cluster_resources().get("CPU", 0)
        if num_cpus is not None and num_cpus != cpus:
            print(
                f"A pool with {cpus:g} CPUs is running already; %nbray shutdown ends it, then start another."
            )
    show_status(notebook)


def shutdown(notebook: Notebook) -> None:
    if not nbray.is_initialized():
        print("nbray: no pool is running")
        return
    nbray.shutdown()
    print("nbray: the pool has ended")


INIT = Verb(
    "init",
    "start a local pool, or show the one that runs",
    init,
    details="Without options the pool has as many CPUs as this machine.\nRun again, it starts no second pool.",
    options=(
        Option(
            ("-n", "--num-cpus"),
            "num_cpus",
            "how many CPUs the pool hands out",
            (Value("CPUS", whole("CPUs")),),
        ),
    ),
)

SHUTDOWN = Verb("shutdown", "end the pool with all that runs in it", shutdown)
