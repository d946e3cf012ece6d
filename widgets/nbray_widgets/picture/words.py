"""A task graph state as text: for terminals and for readers that show no HTML."""

from __future__ import annotations

from typing import Any

from nbray_widgets.reducers.delta import State
from nbray_widgets.text import counted, seconds

STATES = ("done", "running", "waiting", "failed", "cancelled")
SIGNS = {"done": "✓", "running": "▸", "waiting": "○", "failed": "✕", "cancelled": "⊘"}


def total(entry: dict[str, Any]) -> int:
    return sum(entry[state] for state in STATES)


def totals(state: State) -> dict[str, int]:
    """Counts by state over all groups."""
    return {name: sum(group[name] for group in state["groups"].values()) for name in STATES}


def living(actor: dict[str, Any], *, gone: bool) -> int:
    """How many of a class's actors there are. ``gone``: the pool is gone, and they with it, told or not."""
    return 0 if gone else sum(actor[name] for name in ("alive", "pending", "restarting"))


def fates(actor: dict[str, Any], *, gone: bool) -> str:
    """``1 alive, 2 dead, queue 3``; once the pool is gone ``3 ended``."""
    counts = {name: actor[name] for name in ("alive", "pending", "restarting", "dead")}
    if gone:
        counts = {"ended": sum(counts.values())}
    told = ", ".join(f"{count:,} {name}" for name, count in counts.items() if count) or "unknown"
    return f"{told}, queue {actor['queue']:,}" if living(actor, gone=gone) else told


def needs(state: State) -> dict[str, list[str]]:
    """Group id to the names of the groups whose results it takes."""
    groups = state["groups"]
    found: dict[str, list[str]] = {key: [] for key in groups}
    for edge in state["edges"]:
        source, target, kind = edge.split(">")
        if kind == "data" and source != target:
            found[target].append(groups[source]["name"])
    return found


def summary(state: State) -> str:
    """``1,204 tasks: 1,180 done, 4 running, 20 waiting, 12.3 s``."""
    counts = totals(state)
    tasks = sum(counts.values())
    if not tasks:
        return "no tasks yet"
    parts = [f"{counts[name]:,} {name}" for name in STATES if counts[name]]
    elapsed = state["about"]["last"] - state["about"]["first"]
    if elapsed > 0:
        parts.append(seconds(elapsed))
    if state["about"]["skipped"]:
        parts.append(f"{counted(state['about']['skipped'], 'older event')} not seen")
    return f"{counted(tasks, 'task')}: " + ", ".join(parts)


def text(state: State, *, gone: bool = False) -> str:
    """The picture as lines: one a group, with what it needs. ``gone``: there is no pool any more."""
    groups = state["groups"]
    taken = needs(state)
    lines = [f"nbray task graph: {summary(state)}"]
    width = max((len(group["name"]) for group in groups.values()), default=0)
    for key, group in groups.items():
        counts = "  ".join(f"{SIGNS[name]} {group[name]:,} {name}" for name in STATES if group[name])
        mean = f"  ({seconds(group['mean'])} each)" if group["done"] + group["failed"] else ""
        after = f"  ← {', '.join(taken[key])}" if taken[key] else ""
        lines.append(f"  {group['name']:<{width}}  {counts}{mean}{after}")
    lines += [f"  actor {actor['name']}: {fates(actor, gone=gone)}" for actor in state["actors"].values()]
    return "\n".join(lines)
