"""Tables of what there is: actors, large objects, printed lines."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

import nbray
from nbray.events import PRINTED, TASK_SUBMITTED, WithoutOwn
from nbray_magics.grammar import Argument, Value, Verb
from nbray_magics.notebook import Notebook


def actors(notebook: Notebook) -> Any:
    notebook.needs_pool()
    from nbray_widgets import ActorTable

    return notebook.view(ActorTable)


def objects(notebook: Notebook) -> Any:
    notebook.needs_pool()
    from nbray_widgets import ObjectTable

    return notebook.view(ObjectTable)


def logs(notebook: Notebook, name: str | None = None) -> Any:
    notebook.needs_pool()
    from nbray_widgets import LogTable

    if name is None:
        return notebook.view(LogTable)
    known = seen(notebook)
    if name not in known and not name.isdigit():
        near = get_close_matches(name, known, n=1, cutoff=0.6)
        hint = f"did you mean {near[0]!r}?" if near else "its lines appear here once it has."
        print(f"nbray: nothing called {name!r} has run yet; {hint}")
    return notebook.view(LogTable, name)


def seen(notebook: Notebook) -> list[str]:
    """Names of functions and actors that were called or have printed. Starts no pool."""
    return sorted(_seen()) if nbray.is_initialized() else []


def _seen() -> Iterable[str]:
    raws = WithoutOwn().of(nbray.feed().raw_since(0)[0])
    names = {(raw[4], raw[5]) for raw in raws if raw[0] == TASK_SUBMITTED}
    functions = {name if what == "task" else name.rpartition(".")[0] or name for name, what in names}
    printed = {raw[4] for raw in raws if raw[0] == PRINTED}
    # A name with blanks or signs in it would have to be quoted, and Tab offers words.
    return (
        name
        for name in {*functions, *printed, *nbray.util.list_named_actors()}
        if name.isprintable() and not set(name) & set(" '\"\\")
    )


ACTORS = Verb(
    "actors",
    "the live table of actors",
    actors,
    details="State, what it runs, queue, calls done and failed, restarts, process and node of each; and why one died.",
)

OBJECTS = Verb(
    "objects",
    "the live table of large objects",
    objects,
    details="The largest values beyond 100 KiB: in shared memory or on disk, on which nodes, who owns and who holds them,\n"
    "what made them and when. Smaller values stay with their owners.",
)

LOGS = Verb(
    "logs",
    "what tasks and actors print, live",
    logs,
    details="The newest line is the last one. Filters by name, stream and words are above the lines.",
    arguments=(
        Argument(
            "name", "only lines of that function, actor, class of actors, or pid", Value("NAME", offer=seen)
        ),
    ),
    examples=("%nbray logs", "%nbray logs Board"),
)
