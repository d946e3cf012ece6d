"""The timeline: a lane per process, what ran there and when."""

from __future__ import annotations

import json
from typing import Any

import traitlets

from nbray.events import Feed
from nbray_widgets.live import LiveView
from nbray_widgets.picture import timeline as picture
from nbray_widgets.reducers import chrome
from nbray_widgets.reducers.delta import State
from nbray_widgets.reducers.timeline import TimelineReducer
from nbray_widgets.shell import Answer, bundle

#: Spans that go to the browser one by one with an update; of more, it sees the bins until it asks.
AT_ONCE = 1_000
#: Spans that a browser which comes late gets, and that a zoomed part may have before it is shown as bins.
MOST = 4_000
COLUMNS = (16, 4_096)
#: Bins that the saved state has at most: they are synced after each cell that has added spans.
MOST_BINS = 12_000


class Timeline(LiveView):
    """A live picture of when each process ran what.

    Args:
        feed: the events to show, such as ``nbray.feed()``.

    Example:
        >>> nbray_widgets.Timeline(nbray.feed())  # in a notebook cell
    """

    _esm, _css = bundle("timeline")

    #: The last message with spans, for a saved notebook: its browser has no kernel to ask.
    kept = traitlets.Dict().tag(sync=True)

    def __init__(self, feed: Feed) -> None:
        self._timeline = TimelineReducer()
        self._sent = 0
        self._serial = 0
        super().__init__(feed, self._timeline)

    def html(self, state: State) -> str:
        """The picture as HTML with an image and tables, without scripts."""
        return picture.html(state, self._timeline)

    def text(self, state: State) -> str:
        """The picture as lines, a lane each."""
        return picture.text(state, self._timeline)

    def read(self, budget: float | None = None) -> State:
        with self._lock:
            before = self._timeline.spans
            state = super().read(budget)
            if self._timeline.spans != before:
                self.tell(self._bulk(AT_ONCE))
            return state

    def _send_whole(self) -> None:
        with self._lock:
            super()._send_whole()
            self.tell(self._bulk(MOST, whole=True))

    def keep(self) -> None:
        timeline = self._timeline
        with self._lock:
            spans, first = timeline.since(0, MOST)
            bins, width = timeline.bins.all(), timeline.bins.width
            if not first:  # the spans tell all
                bins = bins[:0]
            elif len(bins) > MOST_BINS:
                end, columns = (
                    timeline.last - timeline.origin,
                    max(MOST_BINS // len(timeline.lanes), COLUMNS[0]),
                )
                _, coarser = timeline.window(0.0, end, columns, 0)
                bins, width = bins if coarser is None else coarser, end / columns
            told = {"op": "bulk", "serial": 0, "first": first, "width": width, "whole": True}
            self._trait_values["kept"] = {"told": told, "buffers": [spans.tobytes(), bins.tobytes()]}
            self.send_state(("picture", "kept"))

    def _bulk(self, most: int, *, whole: bool = False) -> Answer:
        """New spans, and the bins that they changed. ``whole``: all bins, for who has none yet."""
        timeline = self._timeline
        spans, first = timeline.since(0 if whole else self._sent, most)
        self._sent = timeline.spans
        folded = timeline.bins.folded
        bins = timeline.bins.all() if whole else timeline.bins.changed()
        self._serial += not whole
        told = {
            "op": "bulk",
            "serial": self._serial,
            "first": first,
            "width": timeline.bins.width,
            "whole": whole or folded,
        }
        return told, [spans.tobytes(), bins.tobytes()]

    def answer(self, request: dict[str, Any]) -> Answer | None:
        """A zoomed part, one span, or a trace to save."""
        match request:
            case {"op": "window", "begin": float() | int() as begin, "end": float() | int() as end}:
                columns = request.get("columns")
                if type(columns) is not int or not begin < end:
                    return None
                columns = min(max(columns, COLUMNS[0]), COLUMNS[1])
                spans, bins = self._timeline.window(begin, end, columns, MOST)
                told = {"op": "window", "begin": begin, "end": end, "width": (end - begin) / columns}
                told["exact"] = spans is not None
                found = bins if spans is None else spans
                assert found is not None
                return told, [found.tobytes()]
            case {"op": "span", "number": int() as number}:
                details = self._timeline.details(number)
                return None if details is None else {"op": "span", **details}
            case {"op": "trace"}:
                self._take(None)
                return {"op": "trace"}, [json.dumps({"traceEvents": chrome.trace(self._timeline)}).encode()]
        return None

    def __repr__(self) -> str:
        return f"<nbray timeline: {picture.summary(self._state)}>"
