"""A benchmark's state as text: for terminals and for readers that show no HTML."""

from __future__ import annotations

from typing import Any

from nbray.bench.words import aligned
from nbray_widgets.reducers.delta import State


def summary(state: State) -> str:
    """``How to split the work: 12 of 30 measurements, now chunk=10 with 2 workers``."""
    about = state["about"]
    told = f"{about['heading']}"
    if about["status"] == "done":
        return told
    if about["status"] in ("running", "waiting"):
        now = f", now {about['now']}" if about["now"] else ""
        return f"{told}: {_progress(about)}{now}"
    return f"{told}: {about['status']}, {_progress(about)}"


def _progress(about: dict[str, Any]) -> str:
    if not about["done"]:
        return "nothing measured yet"
    return (
        f"{about['done']} of {about['total']} measurements"
        if about["total"]
        else f"{about['done']} measurements"
    )


def grid(state: State) -> list[list[str]]:
    """Header and rows, the best marked."""
    columns = [column["name"] for column in state["columns"].values()]
    mark = columns.index("time") if state["about"]["kind"] == "sweep" else -1
    lines = [columns]
    for row in state["rows"].values():
        cells = [text for text, _ in row["cells"]]
        if row.get("best") and mark >= 0:
            cells[mark] += " ← best"
        lines.append(cells)
    return lines


def text(state: State) -> str:
    """The picture as lines."""
    lines = [summary(state)]
    if state["rows"]:
        lines.append(aligned(grid(state)))
    return "\n".join([*lines, *state["said"].values()])
