"""The live timeline."""

from __future__ import annotations

from typing import Any

from nbray_magics.grammar import Verb
from nbray_magics.notebook import Notebook


def timeline(notebook: Notebook) -> Any:
    notebook.needs_pool()
    from nbray_widgets import Timeline

    return notebook.view(Timeline)


TIMELINE = Verb(
    "timeline",
    "the live timeline: what each process runs, and when",
    timeline,
    details="A lane per process, a span per call, coloured by function. The wheel zooms, dragging moves, a click on a span\n"
    "tells all about it; the legend leaves functions out. It can be saved as a picture and as a Chrome trace.",
)
