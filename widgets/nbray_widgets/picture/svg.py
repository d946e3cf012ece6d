"""A task graph state as HTML with an inline SVG and without scripts. It wears the same style sheet as the live view.

Every name passes ``escape``: it is text, whatever it contains.
"""

from __future__ import annotations

from functools import cache
from html import escape
from importlib.resources import files
from math import log10
from typing import Any

from nbray_widgets.picture.layers import Box, arranged
from nbray_widgets.picture.words import SIGNS, STATES, summary, total, totals
from nbray_widgets.reducers.delta import State
from nbray_widgets.text import plain, seconds

WIDTH = 216
ROW = 66
HEADER = 34
ACTOR_ROW = 52
LONGEST_LABEL = 22


@cache
def style() -> str:
    return (files("nbray_widgets") / "static" / "graph.css").read_text("utf-8")


def short(number: int) -> str:
    """At most five characters: ``950``, ``12.3k``, ``1.2M``."""
    for size, unit in ((1_000_000_000, "G"), (1_000_000, "M"), (1_000, "k")):
        if number >= size:
            value = number / size
            return f"{value:.0f}{unit}" if value >= 99.95 else f"{value:.1f}".rstrip("0").rstrip(".") + unit
    return str(number)


def html(state: State, details: dict[str, Any] | None = None) -> str:
    """The picture; ``details``: group id to ``TaskGraphReducer.tasks`` of it, shown on demand below."""
    return (
        f'<div class="nbray-view nbray-graph nbray-still" role="group" aria-label="nbray task graph">'
        f"<style>{style()}</style>{_header(state)}"
        f'<div class="nbray-canvas">{_svg(state)}</div>{_details(state, details or {})}</div>'
    )


def _header(state: State) -> str:
    counts = totals(state)
    legend = "".join(
        f'<span class="nbray-total nbray-{name}"><i aria-hidden="true">{SIGNS[name]}</i> {counts[name]:,} {name}</span>'
        for name in STATES
        if counts[name] or name in ("done", "running", "waiting")
    )
    took = state["about"]["last"] - state["about"]["first"]
    if took > 0:
        legend += f'<span class="nbray-elapsed">{seconds(took)}</span>'
    return f'<div class="nbray-head" title="{escape(summary(state))}"><b>Task graph</b>{legend}</div>'


def _svg(state: State) -> str:
    groups, actors = state["groups"], state["actors"]
    rows: dict[str, list[str]] = {}
    for key, group in groups.items():
        rows.setdefault(f"g{key}" if group["actor"] is None else f"a{group['actor']}", []).append(key)
    for key in actors:
        rows.setdefault(f"a{key}", [])
    node_of = {key: node for node, keys in rows.items() for key in keys}
    sizes = {
        node: (float(WIDTH), float(HEADER + ACTOR_ROW * len(keys) + 6 if node[0] == "a" else ROW))
        for node, keys in rows.items()
    }
    edges = [(*key.split(">"), count) for key, count in state["edges"].items()]
    boxes = arranged(sizes, [(node_of[a], node_of[b]) for a, b, _, _ in edges])
    if not boxes:
        return '<p class="nbray-empty">No tasks yet.</p>'
    width = max(box.x + box.width for box in boxes.values()) + 10
    height = max(box.y + box.height for box in boxes.values()) + 10
    middles: dict[str, float] = {}
    shapes: list[str] = []
    for node, keys in rows.items():
        box = boxes[node]
        if node[0] == "a":
            shapes.append(_actor(actors[node[1:]], box))
            for i, key in enumerate(keys):
                y = box.y + HEADER + ACTOR_ROW * i
                middles[key] = y + ACTOR_ROW / 2
                shapes.append(_group(groups[key], Box(box.x, y, WIDTH, ACTOR_ROW), framed=False))
        else:
            middles[keys[0]] = box.y + box.height / 2
            shapes.append(_group(groups[keys[0]], box, framed=True))
    arrows = [
        _edge(
            boxes[node_of[a]],
            middles[a],
            boxes[node_of[b]],
            middles[b],
            kind,
            count,
            node_of[a] == node_of[b],
        )
        for a, b, kind, count in edges
    ]
    return (
        f'<svg class="nbray-svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}" '
        f'role="img" aria-label="{escape(summary(state))}">{"".join(arrows)}{"".join(shapes)}</svg>'
    )


def _group(group: dict[str, Any], box: Box, *, framed: bool) -> str:
    name = group["name"]
    label = plain(name.rpartition(".")[2] if group["actor"] is not None else name, LONGEST_LABEL)
    attributes = "".join(f' data-{state}="{group[state]}"' for state in STATES)
    classes = "nbray-group" + " nbray-method" * (not framed)
    classes += " nbray-is-failed" * bool(group["failed"]) + " nbray-is-running" * bool(group["running"])
    inner = box.width - 28
    everything = total(group)
    bars: list[str] = []
    end = 0
    for state in ("done", "failed", "cancelled", "running", "waiting"):
        end += group[state]
        if group[state]:  # each from the left, the longest lowest: so all have round ends
            width = max(inner * end / everything, 4)
            bars.append(
                f'<rect class="nbray-bar nbray-{state}" x="14" y="30" width="{width:.1f}" height="6" rx="3"/>'
            )
    counts = "  ".join(
        f'<tspan class="nbray-{state}" dx="{0 if i == 0 else 8}">{SIGNS[state]} {short(group[state])}</tspan>'
        for i, state in enumerate(s for s in STATES if group[s])
    )
    mean = seconds(group["mean"]) if group["done"] + group["failed"] else ""
    frame = (
        f'<rect class="nbray-card" width="{box.width:.0f}" height="{box.height:.0f}" rx="9"/>'
        if framed
        else ""
    )
    return (
        f'<g class="{classes}" data-name="{escape(name)}"{attributes} transform="translate({box.x:.1f},{box.y:.1f})">'
        f"<title>{escape(name)}</title>{frame}"
        f'<text class="nbray-name" x="14" y="21">{escape(label)}</text>'
        f'<text class="nbray-count" x="{box.width - 14:.0f}" y="21">{short(everything)}</text>'
        f'<rect class="nbray-track" x="14" y="30" width="{inner:.0f}" height="6" rx="3"/>{"".join(reversed(bars))}'
        f'<text class="nbray-states" x="14" y="52">{counts}</text>'
        f'<text class="nbray-mean" x="{box.width - 14:.0f}" y="52">{mean}</text></g>'
    )


def _actor(actor: dict[str, Any], box: Box) -> str:
    living = actor["alive"] + actor["pending"] + actor["restarting"]
    many = f" ×{short(living)}" if living > 1 else "" if living else " (ended)"
    return (
        f'<g class="nbray-actor" data-name="{escape(actor["name"])}" data-queue="{actor["queue"]}" '
        f'data-alive="{actor["alive"]}" data-dead="{actor["dead"]}" transform="translate({box.x:.1f},{box.y:.1f})">'
        f"<title>{escape(actor['name'])}</title>"
        f'<rect class="nbray-card" width="{box.width:.0f}" height="{box.height:.0f}" rx="18"/>'
        f'<path class="nbray-badge" d="M14 17l5-8.6h10l5 8.6-5 8.6H19z"/>'
        f'<text class="nbray-name" x="42" y="22">{escape(plain(actor["name"], LONGEST_LABEL - 6))}{many}</text>'
        f'<text class="nbray-queue" x="{box.width - 16:.0f}" y="22">queue {short(actor["queue"])}</text></g>'
    )


def _edge(a: Box, ay: float, b: Box, by: float, kind: str, count: int, same: bool) -> str:
    thickness = 1.2 + min(log10(count) * 0.7, 2.8)
    if same:  # a node that needs itself, or methods of one actor: an arc on the right
        x = a.x + a.width
        path = f"M{x:.1f} {ay - 8:.1f}C{x + 34:.1f} {ay - 18:.1f} {x + 34:.1f} {by + 18:.1f} {x + 5:.1f} {by + 8:.1f}"
        tip, at = f"M{x + 9:.1f} {by + 4.5:.1f}l-8 2.5l7 5z", (x + 24, (ay + by) / 2)
    else:
        x1, x2 = a.x + a.width, b.x - 6
        bend = max((x2 - x1) / 2, 44)
        # Over more than one column the arrow passes below what stands between.
        sag = 110.0 if x2 - x1 > WIDTH else 0.0
        path = f"M{x1:.1f} {ay:.1f}C{x1 + bend:.1f} {ay + sag:.1f} {x2 - bend:.1f} {by + sag:.1f} {x2:.1f} {by:.1f}"
        tip, at = f"M{b.x:.1f} {by:.1f}l-8 -4v8z", ((x1 + x2) / 2, (ay + by) / 2 + sag * 0.75)
    label = (
        f'<text class="nbray-edge-count" x="{at[0]:.1f}" y="{at[1] - 5:.1f}">{short(count)}</text>'
        if count > 1
        else ""
    )
    return (
        f'<g class="nbray-edge nbray-{kind}"><path class="nbray-line" d="{path}" stroke-width="{thickness:.1f}"/>'
        f'<path class="nbray-tip" d="{tip}"/>{label}</g>'
    )


def _details(state: State, details: dict[str, Any]) -> str:
    rows = "".join(
        f'<tr class="nbray-{task["state"]}"><td>{escape(state["groups"][key]["name"])}</td>'
        f'<td class="nbray-state">{task["state"]}</td><td class="nbray-number">{seconds(task["duration"])}</td>'
        f'<td class="nbray-process"><code>{escape(task["process"][:8])}</code></td>'
        f'<td class="nbray-error">{escape(task["error"])}</td></tr>'
        for key, found in details.items()
        for task in {task["task"]: task for task in found["failed"][:5] + found["slowest"][:5]}.values()
    )
    if not rows:
        return ""
    return (
        '<details class="nbray-panel"><summary>failed and slowest tasks</summary><div class="nbray-scroll">'
        '<table class="nbray-tasks"><thead><tr><th>name</th><th>state</th><th>time</th>'
        '<th class="nbray-process">process</th><th>error</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div></details>"
    )
