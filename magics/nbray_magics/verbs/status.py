"""What the pool has and does, now."""

from __future__ import annotations

from typing import Any

import nbray
from nbray.events import WithoutOwn
from nbray_magics.grammar import Verb
from nbray_magics.notebook import NO_POOL, Notebook


def status(notebook: Notebook) -> Any:
    if not nbray.is_initialized():
        print(f"nbray: {NO_POOL}")
        return None
    from nbray_widgets import ClusterView

    return notebook.view(ClusterView)


def status_line() -> str:
    if not nbray.is_initialized():
        return NO_POOL
    from nbray_widgets.picture import cluster

    return cluster.line(_status())


def show_status(notebook: Notebook) -> None:
    from nbray_widgets.picture import cluster

    found = _status()
    notebook.show({"text/plain": cluster.text(found), "text/html": cluster.html(found)})


def _status() -> dict[str, Any]:
    from nbray_widgets.picture import cluster

    told = WithoutOwn().of(nbray.feed().raw_since(0)[0])
    return cluster.status(nbray.nodes(), nbray.cluster_resources(), nbray.available_resources(), told)


STATUS = Verb(
    "status",
    "the live view of the cluster",
    status,
    details="Nodes, CPUs in use and busy, memory, object store, tasks and actors, and how the last two minutes went.",
)
