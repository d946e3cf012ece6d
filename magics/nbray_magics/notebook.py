"""What a verb may use of the notebook that it runs in. Verbs know this, and not IPython."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any, TypeVar

import nbray
from nbray_magics.grammar import NbrayUsageError
from nbray_magics.results import Results

View = TypeVar("View")

NO_POOL = "no pool is running; %nbray init -n 4 starts one with 4 CPUs"


class Notebook:
    """The running IPython and the views that were opened in it.

    Attributes:
        shell: IPython's shell.
        magic: the line of the magic that runs, with its name.
        started: the feed of the pool that ``init`` has started, and with which options.
        results: how values of ``nbray.bench`` are shown in it.
    """

    def __init__(self, shell: Any) -> None:
        self.shell = shell
        self.magic = ""
        self.started: tuple[Any, dict[str, Any]] | None = None
        self.results = Results(shell)
        self._views: dict[tuple[Any, ...], Any] = {}
        self._feed: Any = None

    @property
    def names(self) -> dict[str, Any]:
        """The user's variables."""
        names: dict[str, Any] = self.shell.user_ns
        return names

    @property
    def count(self) -> int:
        """The number of the cell that runs, as its prompt shows it (IPython counts on before a cell runs, or after)."""
        number: int = self.shell.displayhook.prompt_count
        return number

    def needs_pool(self) -> None:
        """For verbs that make no sense without one.

        Raises:
            NbrayUsageError: no pool is running.
        """
        if not nbray.is_initialized():
            raise NbrayUsageError(NO_POOL)

    def view(self, kind: type[View], *args: Any) -> View:
        """The view of that class over the running pool's events; asked again, the same one.

        Args:
            kind: a class of ``nbray_widgets``. args: what it takes after the feed.

        Raises:
            NbrayUsageError: no pool is running.
        """
        self.needs_pool()
        feed = nbray.feed()
        if feed is not self._feed:
            self._feed = feed
            self._views.clear()
        view = self._views.get((kind, args))
        if view is None:
            view = self._views[kind, args] = kind(feed, *args)  # type: ignore[call-arg]
        found: View = view
        return found

    def show(self, bundle: dict[str, str]) -> None:
        """Display something by MIME type, with a ``text/plain`` at least."""
        from IPython import display

        publish: Any = display.display  # IPython's has no types
        publish(bundle, raw=True)

    def close(self) -> None:
        """Every live view becomes its last picture."""
        widgets = sys.modules.get("nbray_widgets")
        if widgets is not None:
            widgets.finish_all()
        self.results.forget()
        self._views.clear()


# --- what Tab offers for values ---------------------------------------------------------------------------------------


def actors(notebook: Notebook) -> Iterable[str]:
    """Names of actors, and variables with handles. Starts no pool."""
    if not nbray.is_initialized():
        return []
    from nbray.actor import ActorHandle

    handles = [name for name, value in variables_of(notebook) if isinstance(value, ActorHandle)]
    return sorted({*nbray.util.list_named_actors(), *handles})


def variables(notebook: Notebook) -> Iterable[str]:
    """Names that the user has given to something."""
    return sorted(name for name, _ in variables_of(notebook))


def nodes(notebook: Notebook) -> Iterable[str]:
    """Ids of nodes."""
    return [str(node["NodeID"]) for node in nbray.nodes()] if nbray.is_initialized() else []


def variables_of(notebook: Notebook) -> list[tuple[str, Any]]:
    """Name and value, without IPython's own."""
    hidden = getattr(notebook.shell, "user_ns_hidden", {})
    return [
        (name, value)
        for name, value in list(notebook.names.items())
        if not name.startswith("_") and not (name in hidden and hidden[name] is value)
    ]
