"""The cluster at one moment, as a line, as text and as HTML."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Any, TypeAlias

from nbray.events import RawEvent
from nbray_widgets.picture.words import STATES, totals
from nbray_widgets.reducers.task_graph import TaskGraphReducer
from nbray_widgets.text import counted, plain

Status: TypeAlias = dict[str, Any]

BYTES = ("memory", "object_store_memory")  # resources that are counted in bytes, and in no meter


def status(
    nodes: list[dict[str, Any]],
    resources: dict[str, float],
    available: dict[str, float],
    events: Iterable[RawEvent],
) -> Status:
    """What there is to say, from what the public API returns and the events of the feed."""
    reducer = TaskGraphReducer()
    reducer.apply(events)
    state = reducer.snapshot()
    alive = [node for node in nodes if node.get("Alive")]
    return {
        "nodes": [
            {
                "id": str(node["NodeID"]),
                "alive": bool(node.get("Alive")),
                "resources": dict(node.get("Resources", {})),
            }
            for node in nodes
        ],
        "alive": len(alive),
        "cpus": resources.get("CPU", 0.0),
        "used": {
            name: (max(total - available.get(name, 0.0), 0.0), total)
            for name, total in resources.items()
            if not name.startswith("node:") and name not in BYTES
        },
        "tasks": totals(state),
        "actors": {
            name: sum(actor[name] for actor in state["actors"].values())
            for name in ("alive", "pending", "restarting", "dead")
        },
    }


def _tasks(status: Status) -> str:
    return (
        ", ".join(f"{status['tasks'][name]:,} {name}" for name in STATES if status["tasks"][name])
        or "none yet"
    )


def _actors(status: Status) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in status["actors"].items() if count) or "none"


def _amounts(resources: dict[str, float]) -> str:
    return ", ".join(
        f"{plain(name)} {amount / 2**30:.1f} GiB" if name in BYTES else f"{plain(name)} {amount:g}"
        for name, amount in resources.items()
        if not name.startswith("node:")
    )


def line(status: Status) -> str:
    """``1.5 of 2 CPUs in use on 1 node; tasks: 12 done; actors: none``."""
    used, total = status["used"].get("CPU", (0.0, 0.0))
    return (
        f"{used:g} of {total:g} CPUs in use on {counted(status['alive'], 'node')}; "
        f"tasks: {_tasks(status)}; actors: {_actors(status)}"
    )


def text(status: Status) -> str:
    """Some lines for a terminal."""
    lines = [f"nbray: {line(status)}"]
    lines += [
        f"  {plain(name)}: {used:g} of {total:g} in use" for name, (used, total) in status["used"].items()
    ]
    for node in status["nodes"]:
        up = "up" if node["alive"] else "down"
        lines.append(f"  node {plain(node['id'])[:12]} ({up}): {_amounts(node['resources'])}")
    return "\n".join(lines)


def html(status: Status) -> str:
    """A small card of plain tags: it reads the same where scripts and style sheets are taken out."""
    left = ' style="text-align:left;padding:2px 10px"'
    meters = "".join(
        f"<li>{escape(plain(name))}: {used:g} of {total:g} in use</li>"
        for name, (used, total) in status["used"].items()
    )
    nodes = "".join(
        f"<tr><td{left}><code>{escape(plain(node['id'])[:12])}</code></td>"
        f"<td{left}>{'up' if node['alive'] else 'down'}</td>"
        f"<td{left}>{escape(_amounts(node['resources']))}</td></tr>"
        for node in status["nodes"]
    )
    return (
        f'<div class="nbray-cluster" data-nodes="{status["alive"]}" data-cpus="{status["cpus"]:g}">'
        f"<p><b>nbray</b>: {escape(counted(status['alive'], 'node'))}; tasks: {escape(_tasks(status))}; "
        f"actors: {escape(_actors(status))}</p>"
        f"{f'<ul>{meters}</ul>' if meters else ''}"
        f"<table><thead><tr><th{left}>node</th><th{left}>state</th><th{left}>resources</th></tr></thead>"
        f"<tbody>{nodes}</tbody></table></div>"
    )
