"""Actors, large objects and printed lines as tables that live."""

from __future__ import annotations

from time import monotonic, time

from nbray.events import Feed
from nbray_widgets.live import LiveView
from nbray_widgets.picture import actors, logs, objects
from nbray_widgets.reducers.actor_table import ActorReducer
from nbray_widgets.reducers.delta import State
from nbray_widgets.reducers.log_table import LogReducer
from nbray_widgets.reducers.object_table import ObjectReducer
from nbray_widgets.shell import bundle

#: Seconds between two stills at least while no cell runs: what goes on in the background may change the picture all the time.
STILL = 2.0


class Table(LiveView):
    """A view whose picture may change without a cell that runs."""

    _drawn_at = 0.0

    def redraw(self) -> None:
        if self._over or monotonic() - self._drawn_at > STILL:
            self._drawn_at = monotonic()
            super().redraw()

    def cell_ends(self, *_: object) -> None:
        self._drawn_at = 0.0
        super().cell_ends()


class ActorTable(Table):
    """The actors: class, name, state, what they run, queue, calls done and failed, restarts, why one died.

    Args:
        feed: the events to show, such as ``nbray.feed()``.

    Example:
        >>> nbray_widgets.ActorTable(nbray.feed())  # in a notebook cell
    """

    _esm, _css = bundle("actors")

    def __init__(self, feed: Feed) -> None:
        super().__init__(feed, ActorReducer())

    def html(self, state: State) -> str:
        """The table without scripts."""
        return actors.html(state, gone=self._feed.closed)

    def text(self, state: State) -> str:
        """The table as lines."""
        return actors.text(state, gone=self._feed.closed)

    def __repr__(self) -> str:
        return f"<nbray actors: {actors.summary(self._state, gone=self._feed.closed)}>"


class ObjectTable(Table):
    """The largest objects: where they lie, in memory or on disk, what made them, who holds them, how old they are.

    Args:
        feed: the events to show, such as ``nbray.feed()``.

    Example:
        >>> nbray_widgets.ObjectTable(nbray.feed())  # in a notebook cell
    """

    _esm, _css = bundle("objects")

    def __init__(self, feed: Feed) -> None:
        super().__init__(feed, ObjectReducer())

    def html(self, state: State) -> str:
        """The table without scripts."""
        return objects.html(state, self._now(state))

    def text(self, state: State) -> str:
        """The table as lines."""
        return objects.text(state, self._now(state))

    def _now(self, state: State) -> float:
        return float(state["about"]["last"]) if self._feed.closed else time()

    def __repr__(self) -> str:
        return f"<nbray objects: {objects.summary(self._state)}>"


class LogTable(Table):
    """What tasks and actors print, the newest line last.

    Args:
        feed: the events to show, such as ``nbray.feed()``.
        name: of a function, an actor's class or an actor, or a pid: only lines of that. None: of all.

    Example:
        >>> nbray_widgets.LogTable(nbray.feed(), "Board")  # in a notebook cell
    """

    _esm, _css = bundle("logs")

    def __init__(self, feed: Feed, name: str | None = None) -> None:
        super().__init__(feed, LogReducer(name))

    def html(self, state: State) -> str:
        """The lines without scripts."""
        return logs.html(state)

    def text(self, state: State) -> str:
        """The lines as text."""
        return logs.text(state)

    def __repr__(self) -> str:
        return f"<nbray logs: {logs.summary(self._state)}>"
