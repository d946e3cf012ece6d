"""The task graph: functions and actor methods as groups, with live counts and the dependencies between them."""

from __future__ import annotations

from typing import Any

from nbray.events import Feed
from nbray_widgets.live import LiveView
from nbray_widgets.picture import still, words
from nbray_widgets.reducers.delta import State
from nbray_widgets.reducers.task_graph import TaskGraphReducer
from nbray_widgets.shell import Answer, bundle

MOST_DETAILED = 20
MOST_AT_ONCE = 10


class TaskGraph(LiveView):
    """A live picture of everything a feed tells about tasks and actors.

    Args:
        feed: the events to show, such as ``nbray.feed()``.

    Example:
        >>> nbray_widgets.TaskGraph(nbray.feed())  # in a notebook cell
    """

    _esm, _css = bundle("graph")

    def __init__(self, feed: Feed) -> None:
        self._graph = TaskGraphReducer()
        self._told_of: State = {}
        super().__init__(feed, self._graph)

    def html(self, state: State) -> str:
        """The picture as HTML with an image and a table, without scripts."""
        # The last picture cannot ask the kernel for single tasks, so it brings some along.
        details = {}
        if self._over:
            ended = [key for key, group in state["groups"].items() if group["done"] + group["failed"]]
            details = {key: self._graph.tasks(int(key)) for key in ended[:MOST_DETAILED]}
        return still.html(state, details, gone=self._feed.closed)

    def text(self, state: State) -> str:
        """The picture as lines, a group each."""
        return words.text(state, gone=self._feed.closed)

    def answer(self, request: dict[str, Any]) -> Answer | None:
        """Single tasks of the group that was clicked."""
        group = request.get("group")
        if request.get("op") != "tasks" or type(group) is not int:
            return None
        return {"op": "tasks", "group": group, "tasks": self._graph.tasks(group)}

    def unasked(self) -> list[Answer]:
        """Single tasks of the groups that changed since the last call."""
        groups = self._state["groups"]
        changed = [key for key, group in groups.items() if self._told_of.get(key) != group][:MOST_AT_ONCE]
        self._told_of.update((key, groups[key]) for key in changed)
        return [
            {"op": "tasks", "group": int(key), "tasks": self._graph.tasks(int(key)), "unasked": True}
            for key in changed
        ]

    def __repr__(self) -> str:
        return f"<nbray task graph: {words.summary(self._state)}>"
