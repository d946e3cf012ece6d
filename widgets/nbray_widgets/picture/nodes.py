"""The cluster without scripts: what all have together, and a row a node."""

from __future__ import annotations

from html import escape
from typing import Any

from nbray_widgets.picture.rows import Column, Row, lines, table
from nbray_widgets.picture.words import STATES
from nbray_widgets.reducers.delta import State
from nbray_widgets.text import counted, size

ACTORS = ("alive", "pending", "restarting", "dead")


def up(state: State) -> list[Row]:
    return [node for node in state["nodes"].values() if node["up"]]


def cpus(state: State) -> float:
    return float(sum(node["cpus"] for node in up(state)))


def lasting(state: State) -> tuple[Any, ...]:
    """What of a picture is news: all but the figures that never stand still."""
    return (
        tuple((key, node["up"], node["lanes"], node["actors"]) for key, node in state["nodes"].items()),
        tuple(state["tasks"].values()),
        tuple(state["actors"].values()),
    )


def summary(state: State, *, gone: bool) -> str:
    """``1.5 of 2 CPUs in use on 1 node; tasks: 12 done; actors: 1 alive``."""
    tasks = ", ".join(f"{state['tasks'][name]:,} {name}" for name in STATES if state["tasks"][name])
    if gone:
        return f"the pool has ended; it had {cpus(state):g} CPUs on {counted(len(up(state)), 'node')}; tasks: {tasks or 'none'}"
    living = up(state)
    used = [node["used"] for node in living if node["used"] is not None]
    share = f"{sum(used):g} of {cpus(state):g} CPUs in use" if used else f"{cpus(state):g} CPUs"
    actors = ", ".join(f"{state['actors'][name]:,} {name}" for name in ACTORS if state["actors"][name])
    return (
        f"{share} on {counted(len(living), 'node')}; tasks: {tasks or 'none yet'}; actors: {actors or 'none'}"
    )


def _cpus(row: Row) -> str:
    if not row["up"] or row["used"] is None:
        return f"{row['cpus']:g}" if row["up"] else ""
    return f"{row['used']:g} of {row['cpus']:g}"


def _share(used: str, of: str) -> Any:
    def text(row: Row) -> str:
        if not row["up"]:
            return ""
        if row[used] is None:
            return size(row[of]) if row[of] else ""
        return f"{size(row[used])} of {size(row[of])}"

    return text


def _others(row: Row) -> str:
    return (
        ", ".join(f"{name} {used:g} of {total:g}" for name, (used, total) in row["others"].items())
        if row["up"]
        else ""
    )


COLUMNS = (
    Column("node", lambda row: row["id"][:8]),
    Column("host", lambda row: row["host"]),
    Column("state", lambda row: "ended" if row.get("ended") else "up" if row["up"] else "down"),
    Column("CPUs in use", _cpus, right=True),
    Column(
        "busy", lambda row: f"{row['busy']:.1f}" if row["up"] and row["busy"] is not None else "", right=True
    ),
    Column("memory", _share("memory", "memory_total"), right=True),
    Column("object store", _share("store", "store_total"), right=True),
    Column("on disk", lambda row: size(row["spilled"]) if row["up"] and row["spilled"] else "", right=True),
    Column("executors", lambda row: f"{row['lanes']}" if row["up"] and row["lanes"] else "", right=True),
    Column("actors", lambda row: f"{row['actors']}" if row["up"] and row["actors"] else "", right=True),
    Column("others", _others),
)


def _rows(state: State, *, gone: bool) -> list[Row]:
    rows = sorted(state["nodes"].values(), key=lambda node: node["number"])
    return [{**row, "ended": row["up"]} for row in rows] if gone else rows


def html(state: State, *, gone: bool) -> str:
    return (
        f'<div class="nbray-cluster nbray-still" data-nodes="{len(up(state))}" '
        f'data-cpus="{cpus(state):g}" role="group" aria-label="nbray cluster">'
        f"<p><b>Cluster</b>: {escape(summary(state, gone=gone))}</p>{table(_rows(state, gone=gone), COLUMNS)}</div>"
    )


def text(state: State, *, gone: bool) -> str:
    told = [f"nbray: {summary(state, gone=gone)}"]
    return "\n".join([*told, *(f"  {line}" for line in lines(_rows(state, gone=gone), COLUMNS))])
