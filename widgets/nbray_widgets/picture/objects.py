"""The table of large objects without scripts."""

from __future__ import annotations

from html import escape

from nbray_widgets.picture.rows import Column, Row, lines, table
from nbray_widgets.reducers.delta import State
from nbray_widgets.text import age, counted, size

MOST = 50


def _place(row: Row) -> str:
    return {"memory": "in memory", "disk": "on disk", "lost": "lost"}[row["place"]]


def _columns(now: float) -> tuple[Column, ...]:
    return (
        Column("size", lambda row: size(row["size"]), right=True),
        Column("made", lambda row: row["made"]),
        Column("where", _place),
        Column("nodes", lambda row: ", ".join(row["nodes"])),
        Column("owner", lambda row: row["owner"]),
        Column("others who hold it", lambda row: ", ".join(row["holders"])),
        Column("age", lambda row: age(now - row["time"]), right=True),
        Column("id", lambda row: row["id"]),
    )


def summary(state: State) -> str:
    """``12 objects: 1.2 GiB in memory, 40 MiB on disk``."""
    totals = state["totals"]
    if not totals["count"]:
        return "none; smaller values than 100 KiB stay with their owners"
    told = [
        f"{size(totals[place])} {words}"
        for place, words in (("memory", "in memory"), ("disk", "on disk"), ("lost", "lost with their nodes"))
        if totals[place]
    ]
    return f"{counted(totals['count'], 'object')}: {', '.join(told)}"


def _rows(state: State) -> list[Row]:
    rows = [{**row, "id": key[:8] + "…" + key[-8:]} for key, row in state["objects"].items()]
    return sorted(rows, key=lambda row: (-row["size"], row["time"]))[:MOST]


def _more(state: State) -> str:
    hidden = state["totals"]["count"] - min(len(state["objects"]), MOST)
    return f"{counted(hidden, 'smaller object')}" if hidden > 0 else ""


def html(state: State, now: float) -> str:
    more = _more(state)
    return (
        '<div class="nbray-objects nbray-still" role="group" aria-label="nbray objects">'
        f"<p><b>Large objects</b>: {escape(summary(state))}</p>"
        f"{table(_rows(state), _columns(now))}{f'<p>{escape(more)}</p>' if more else ''}</div>"
    )


def text(state: State, now: float) -> str:
    told = [f"nbray objects: {summary(state)}"]
    told += [f"  {line}" for line in lines(_rows(state), _columns(now))]
    return "\n".join([*told, *([f"  {more}"] if (more := _more(state)) else [])])
