"""The cluster: nodes with what is in use, tasks, actors, and how the last two minutes went."""

from __future__ import annotations

from time import monotonic, sleep
from typing import Any

from IPython.core.getipython import get_ipython

from nbray.events import NODE_SAMPLED, Feed
from nbray_widgets.picture import nodes
from nbray_widgets.reducers.cluster import ClusterReducer
from nbray_widgets.reducers.delta import State
from nbray_widgets.shell import bundle
from nbray_widgets.tables import Table

#: Seconds that a terminal, which shows the picture only once, waits for the nodes' figures; and between two looks.
FIGURES, LOOK = 1.0, 0.02


class ClusterView(Table):
    """Nodes, CPUs in use, memory, object store, tasks and actors, live.

    Args:
        feed: the events to show, such as ``nbray.feed()``.

    Example:
        >>> nbray_widgets.ClusterView(nbray.feed())  # in a notebook cell
    """

    _esm, _css = bundle("cluster")

    def __init__(self, feed: Feed) -> None:
        self._cluster = ClusterReducer()
        self._shown: tuple[Any, ...] = ()
        super().__init__(feed, self._cluster)

    def html(self, state: State) -> str:
        """The picture as a table, without scripts."""
        return nodes.html(state, gone=self._feed.closed)

    def text(self, state: State) -> str:
        """The picture as lines, a node each."""
        return nodes.text(state, gone=self._feed.closed)

    def tick(self) -> bool:
        goes_on = super().tick()
        if goes_on:
            self._feed.watch(NODE_SAMPLED)
        return goes_on

    def redraw(self) -> None:
        """Figures change every second, and that alone is no new picture to save."""
        shown = nodes.lasting(self._state)
        if shown != self._shown or self._over:
            super().redraw()
            if self._drawn == self._revision:
                self._shown = shown

    def _ipython_display_(self) -> None:
        self._feed.watch(NODE_SAMPLED)
        if not hasattr(get_ipython(), "kernel"):
            self.read()
            deadline = monotonic() + FIGURES
            while self._cluster.unsampled and not self._feed.closed and monotonic() < deadline:
                sleep(LOOK)
                self.read()
        super()._ipython_display_()

    def __repr__(self) -> str:
        return f"<nbray cluster: {nodes.summary(self._state, gone=self._feed.closed)}>"
