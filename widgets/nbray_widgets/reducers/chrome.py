"""The spans of a timeline as a Chrome trace, for the button that saves one. Perfetto and chrome://tracing show it.

``nbray.timeline(FILE)`` writes the fuller one, with arrows from where calls
were submitted; this one holds what the picture holds.
"""

from __future__ import annotations

from typing import Any

from nbray_widgets.reducers.timeline import STATES, TimelineReducer


def trace(timeline: TimelineReducer) -> list[dict[str, Any]]:
    """A node is a process of the trace, a row of a lane a thread of it; times are microseconds since the origin."""
    nodes: dict[str, int] = {}
    rows: dict[tuple[int, int], tuple[int, int]] = {}
    records: list[dict[str, Any]] = []
    for spans in timeline.every():
        for span in spans:
            lane = timeline.lanes[int(span["lane"])]
            key = (lane.index, int(span["row"]))
            at = rows.get(key)
            if at is None:
                node = nodes.setdefault(lane.node, len(nodes) + 1)
                at = rows[key] = (node, len(rows) + 1)
                name = label(lane.kind, lane.name, lane.actor, lane.pid, lane.process)
                records.append(
                    {"ph": "M", "name": "thread_name", "pid": at[0], "tid": at[1], "args": {"name": name}}
                )
            state = STATES[int(span["state"])]
            records.append(
                {
                    "ph": "X",
                    "name": timeline.functions[int(span["function"])]["name"],
                    "cat": state,
                    "ts": round(float(span["start"]) * 1e6, 3),
                    "dur": round(float(span["duration"]) * 1e6, 3),
                    "pid": at[0],
                    "tid": at[1],
                    "args": {"state": state, "number": int(span["number"])},
                }
            )
    records += [
        {
            "ph": "M",
            "name": "process_name",
            "pid": number,
            "args": {"name": f"node {node[:8]}" if node else "unknown node"},
        }
        for node, number in nodes.items()
    ]
    return records


def label(kind: str, name: str, actor: str, pid: int, process: str) -> str:
    """What a lane is called, as the browser calls it too (``laneName`` in ``widgets/js/src/timeline/lanes.js``)."""
    if kind == "objects":
        return "objects copied"
    if kind == "other":
        return "other processes"
    what = (f"{actor} “{name}”" if name else actor or "actor") if kind == "actor" else "tasks"
    return f"{what} · pid {pid}" if pid else f"{what} · {process[:8]}"
