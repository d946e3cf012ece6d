"""What the pool has and does, now."""

from __future__ import annotations

from typing import Any

import nbray
from nbray_magics.grammar import Verb
from nbray_magics.notebook import NO_POOL, Notebook


def status(notebook: Notebook) -> None:
    if not nbray.is_initialized():
        print(f"nbray: {NO_POOL}")
    else:
        show_status(notebook)


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

    return cluster.status(
        nbray.nodes(), nbray.cluster_resources(), nbray.available_resources(), nbray.feed().raw_since(0)[0]
    )


STATUS = Verb("status", "nodes, CPUs, tasks and actors now", status)
