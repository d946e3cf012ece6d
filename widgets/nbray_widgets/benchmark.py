"""The benchmark view: comparisons with peers as bars, sweeps as lines, timings; live while they are measured."""

from __future__ import annotations

import threading
from time import monotonic

from nbray_widgets.picture import bench_still, bench_words
from nbray_widgets.reducers.benchmark import Found, state_of
from nbray_widgets.reducers.delta import State
from nbray_widgets.shell import View, bundle

INTERVAL = 0.1
UNASKED = 1.0


class BenchmarkView(View):
    """A picture of what ``nbray.bench`` measures.

    Example:
        >>> view = nbray_widgets.BenchmarkView()
        >>> display(view)
        >>> nbray.bench.sweep(function, "chunk=1:1000:log", progress=view.update)
    """

    _esm, _css = bundle("benchmark")

    def __init__(self) -> None:
        self._found: Found | None = None
        self._shown_at = 0.0
        self._whole_at = 0.0
        self._timer: threading.Timer | None = None
        super().__init__(state_of(None))

    def update(self, found: Found) -> None:
        """Show what there is so far: at once if nothing was shown for a tenth of a second, else when that is over."""
        with self._lock:
            self._found = found
            if found.status != "running":
                self._stop()
                self._flush()
            elif self._timer is None:
                wait = self._shown_at + INTERVAL - monotonic()
                if wait <= 0:
                    self._flush()
                else:
                    self._timer = threading.Timer(wait, self._late)
                    self._timer.daemon = True
                    self._timer.start()

    def _late(self) -> None:
        with self._lock:
            if self._timer is not None:
                self._timer = None
                self._flush()

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _flush(self) -> None:
        self.show(state_of(self._found))
        self._shown_at = monotonic()
        # A browser that missed something cannot be heard before the cell ends.
        if (
            self._shown_at - self._whole_at > UNASKED
            or self._found is None
            or self._found.status != "running"
        ):
            self._whole_at = self._shown_at
            self._send_whole()

    def finish(self) -> None:
        with self._lock:
            self._stop()
        super().finish()

    def html(self, state: State) -> str:
        """The picture without scripts: an image, sentences and a table."""
        return bench_still.html(state)

    def text(self, state: State) -> str:
        """The table and the sentences as lines."""
        return bench_words.text(state)

    def __repr__(self) -> str:
        return f"<nbray benchmark view: {bench_words.summary(self._state)}>"
