"""The live task graph."""

from __future__ import annotations

from typing import Any

from nbray_magics.grammar import Verb
from nbray_magics.notebook import Notebook


def graph(notebook: Notebook) -> Any:
    notebook.needs_pool()
    from nbray_widgets import TaskGraph

    return notebook.view(TaskGraph)


GRAPH = Verb(
    "graph",
    "the live task graph",
    graph,
    details="Functions and actor methods with what waits, runs, is done or failed, and what depends on what.\n"
    "A click, or Enter, on one of them shows its single tasks.",
)
