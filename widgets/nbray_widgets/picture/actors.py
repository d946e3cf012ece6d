"""The table of actors without scripts."""

from __future__ import annotations

from html import escape

from nbray_widgets.picture.rows import Column, Row, lines, table
from nbray_widgets.reducers.delta import State
from nbray_widgets.text import counted

MOST = 100


def _doing(row: Row) -> str:
    more = f" and {row['running'] - 1:,} more" if row["running"] > 1 else ""
    return f"{row['method']}{more}" if row["method"] else ""


COLUMNS = (
    Column("class", lambda row: row["class"]),
    Column("name", lambda row: row["name"]),
    Column("state", lambda row: row["state"]),
    Column("runs", _doing),
    Column("queue", lambda row: f"{row['queue']:,}", right=True),
    Column("done", lambda row: f"{row['done']:,}", right=True),
    Column("failed", lambda row: f"{row['failed']:,}" if row["failed"] else "", right=True),
    Column("restarts", lambda row: f"{row['restarts']:,}" if row["restarts"] else "", right=True),
    Column("pid", lambda row: str(row["pid"] or ""), right=True),
    Column("node", lambda row: row["node"]),
    Column("why", lambda row: row["reason"]),
)


def summary(state: State, *, gone: bool) -> str:
    """``3 alive, 1 dead; 12 calls wait or run``."""
    totals = state["totals"]
    if gone:
        return f"{counted(sum(totals[name] for name in ('alive', 'pending', 'restarting', 'dead')), 'actor')}, all ended"
    told = ", ".join(
        f"{totals[name]:,} {name}" for name in ("alive", "pending", "restarting", "dead") if totals[name]
    )
    calls = totals["queue"]
    return (told or "no actors yet") + (
        f"; {counted(calls, 'call')} wait{'s' * (calls == 1)} or run{'s' * (calls == 1)}" if calls else ""
    )


def _rows(state: State, *, gone: bool) -> list[Row]:
    rows = sorted(state["actors"].values(), key=lambda row: (row["state"] == "dead", row["number"]))[:MOST]
    if gone:  # nobody tells of an actor's end once its pool has ended
        rows = [
            row
            if row["state"] == "dead"
            else {**row, "state": "ended", "queue": 0, "method": "", "reason": ""}
            for row in rows
        ]
    return rows


def _more(state: State) -> str:
    hidden = state["about"]["hidden"] + max(len(state["actors"]) - MOST, 0)
    return f"{counted(hidden, 'actor')} more" if hidden > 0 else ""


def html(state: State, *, gone: bool) -> str:
    more = _more(state)
    return (
        '<div class="nbray-actors nbray-still" role="group" aria-label="nbray actors">'
        f"<p><b>Actors</b>: {escape(summary(state, gone=gone))}</p>{table(_rows(state, gone=gone), COLUMNS)}"
        f"{f'<p>{escape(more)}</p>' if more else ''}</div>"
    )


def text(state: State, *, gone: bool) -> str:
    told = [f"nbray actors: {summary(state, gone=gone)}"]
    told += [f"  {line}" for line in lines(_rows(state, gone=gone), COLUMNS)]
    return "\n".join([*told, *([f"  {more}"] if (more := _more(state)) else [])])
