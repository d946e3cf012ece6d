"""A task graph state as a standalone SVG, for an ``<img>``: it brings its style along and refers to nothing outside.

Inside an image neither the page's style sheets nor its theme can be seen, so the drawing has a background of its own and
asks ``prefers-color-scheme``. The colours are written out, not variables: converters to PDF know no ``var()``.

Every name passes ``escape``: it is text, whatever it contains.
"""

from __future__ import annotations

from functools import cache
from html import escape
from math import log10
from string import Template
from typing import Any

from nbray_widgets.picture.layers import Box, arranged
from nbray_widgets.picture.words import SIGNS, STATES, living, total
from nbray_widgets.reducers.delta import State
from nbray_widgets.text import plain, seconds

WIDTH = 216
ROW = 66
HEADER = 34
ACTOR_ROW = 52
LONGEST_LABEL = 22
ACTOR_LABEL = 20  # characters between an actor's badge and its right edge, the queue among them

RULES = Template(
    ".page{fill:$page}text{fill:$text}.name{font-weight:600}.count,.mean,.edges,.waits{fill:$faint}"
    ".card{fill:$card;stroke:$line}.is-running>.card{stroke:$running}.is-failed>.card{stroke:$failed}"
    ".actor>.card{stroke:$actor}.badge{fill:$actor}.queue{fill:$actor_text}.track{fill:$track}"
    ".arrow{stroke:$arrow}.tip{fill:$arrow}.edges{stroke:$page}"
    ".bar.done{fill:$done}.bar.running{fill:$running}.bar.waiting{fill:$waiting}.bar.failed{fill:$failed}"
    ".bar.cancelled{fill:$cancelled}tspan.done{fill:$done_text}tspan.running{fill:$running_text}"
    "tspan.waiting{fill:$faint}tspan.failed{fill:$failed_text}tspan.cancelled{fill:$cancelled_text}"
)
BARS = {
    "done": "#22a06b",
    "running": "#2f7de1",
    "failed": "#e5484d",
    "cancelled": "#c98a1b",
    "actor": "#8e5bd6",
}
LIGHT = {
    "page": "#ffffff",
    "text": "#1f2328",
    "faint": "#636c76",
    "line": "#d8dde3",
    "arrow": "#a0a8b1",
    "card": "#f9fafb",
    "track": "#e9ecef",
    "waiting": "#a9b0b8",
    "done_text": "#177a50",
    "running_text": "#2467c2",
    "failed_text": "#c4383d",
    "cancelled_text": "#8f6310",
    "actor_text": "#7442bd",
}
DARK = {
    "page": "#16191d",
    "text": "#e6e8ea",
    "faint": "#9aa4ae",
    "line": "#3a4048",
    "arrow": "#6b7480",
    "card": "#1d2125",
    "track": "#2b3036",
    "waiting": "#67707a",
    "done_text": "#4cc38a",
    "running_text": "#70a8f0",
    "failed_text": "#f2777b",
    "cancelled_text": "#e0aa4a",
    "actor_text": "#b894ec",
}


@cache
def style() -> str:
    return (
        "text{font:13px system-ui,sans-serif;font-variant-numeric:tabular-nums}"
        ".states,.mean,.queue{font-size:11px}.count,.mean,.queue{text-anchor:end}"
        ".edges{font-size:10.5px;text-anchor:middle;stroke-width:4px;paint-order:stroke}"
        ".card{stroke-width:1.2}.actor>.card{stroke-width:1.6}.ended>.card{stroke-dasharray:5 4}"
        ".arrow{fill:none;stroke-linecap:round}.calls>.arrow{stroke-dasharray:2 5}"
        + RULES.substitute(BARS | LIGHT)
        + "@media(prefers-color-scheme:dark){"
        + RULES.substitute(BARS | DARK)
        + "}"
    )


def short(number: int) -> str:
    """At most five characters: ``950``, ``12.3k``, ``1.2M``."""
    for size, unit in ((1_000_000_000, "G"), (1_000_000, "M"), (1_000, "k")):
        if number >= size:
            value = number / size
            return f"{value:.0f}{unit}" if value >= 99.95 else f"{value:.1f}".rstrip("0").rstrip(".") + unit
    return str(number)


def drawing(state: State, *, gone: bool = False) -> tuple[str, int, int] | None:
    """The SVG with its width and height in pixels; None while there is nothing to draw. ``gone``: no pool any more."""
    groups, actors = state["groups"], state["actors"]
    rows: dict[str, list[str]] = {}
    for key, group in groups.items():
        rows.setdefault(f"g{key}" if group["actor"] is None else f"a{group['actor']}", []).append(key)
    for key in actors:
        rows.setdefault(f"a{key}", [])
    node_of = {key: node for node, keys in rows.items() for key in keys}
    sizes = {
        node: (float(WIDTH), float(HEADER + ACTOR_ROW * len(keys) + 12 if node[0] == "a" else ROW))
        for node, keys in rows.items()
    }
    edges = [(*key.split(">"), count) for key, count in state["edges"].items()]
    boxes = arranged(sizes, [(node_of[a], node_of[b]) for a, b, _, _ in edges])
    if not boxes:
        return None
    width = round(max(box.x + box.width for box in boxes.values())) + 10
    middles: dict[str, float] = {}
    shapes: list[str] = []
    for node, keys in rows.items():
        box = boxes[node]
        if node[0] == "a":
            shapes.append(_actor(actors[node[1:]], box, gone=gone))
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
    lowest = [box.y + box.height for box in boxes.values()]
    for a, b, _, _ in edges:
        sag = _sag(boxes[node_of[a]], boxes[node_of[b]])
        if sag:
            lowest.append((middles[a] + middles[b]) / 2 + sag * 0.75 + 10)
    height = round(max(lowest)) + 10
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">'
        f"<style>{style()}</style>"
        f'<rect class="page" width="{width}" height="{height}" rx="8"/>{"".join(arrows)}{"".join(shapes)}</svg>',
        width,
        height,
    )


def _group(group: dict[str, Any], box: Box, *, framed: bool) -> str:
    name = group["name"]
    label = plain(name.rpartition(".")[2] if group["actor"] is not None else name, LONGEST_LABEL)
    classes = "group" + " is-failed" * bool(group["failed"]) + " is-running" * bool(group["running"])
    inner = box.width - 28
    everything = total(group)
    bars: list[str] = []
    end = 0
    for state in ("done", "failed", "cancelled", "running", "waiting"):
        end += group[state]
        if group[state]:  # each from the left, the longest lowest: so all have round ends
            width = max(inner * end / everything, 4)
            bars.append(f'<rect class="bar {state}" x="14" y="30" width="{width:.1f}" height="6" rx="3"/>')
    counts = "  ".join(
        f'<tspan class="{state}" dx="{0 if i == 0 else 8}">{SIGNS[state]} {short(group[state])}</tspan>'
        for i, state in enumerate(s for s in STATES if group[s])
    )
    mean = seconds(group["mean"]) if group["done"] + group["failed"] else ""
    frame = f'<rect class="card" width="{box.width:.0f}" height="{box.height:.0f}" rx="9"/>' if framed else ""
    return (
        f'<g class="{classes}" transform="translate({box.x:.1f},{box.y:.1f})">'
        f'{frame}<text class="name" x="14" y="21">{escape(label)}</text>'
        f'<text class="count" x="{box.width - 14:.0f}" y="21">{short(everything)}</text>'
        f'<rect class="track" x="14" y="30" width="{inner:.0f}" height="6" rx="3"/>{"".join(reversed(bars))}'
        f'<text class="states" x="14" y="52">{counts}</text>'
        f'<text class="mean" x="{box.width - 14:.0f}" y="52">{mean}</text></g>'
    )


def _actor(actor: dict[str, Any], box: Box, *, gone: bool) -> str:
    alive = living(actor, gone=gone)
    many = f" ×{short(alive)}" if alive > 1 else "" if alive else " (ended)"
    queue = f"queue {short(actor['queue'])}" if alive and actor["queue"] else ""
    name = plain(actor["name"], ACTOR_LABEL - len(many) - len(queue))
    return (
        f'<g class="actor{"" if alive else " ended"}" transform="translate({box.x:.1f},{box.y:.1f})">'
        f'<rect class="card" width="{box.width:.0f}" height="{box.height:.0f}" rx="18"/>'
        f'<path class="badge" d="M14 17l5-8.6h10l5 8.6-5 8.6H19z"/>'
        f'<text class="name" x="42" y="22">{escape(name)}{many}</text>'
        + (f'<text class="queue" x="{box.width - 16:.0f}" y="22">{queue}</text>' if queue else "")
        + "</g>"
    )


def _sag(a: Box, b: Box) -> float:
    """Over more than one column an arrow passes below what stands between."""
    return 110.0 if abs(b.x - a.x) > 2 * WIDTH else 0.0


def _edge(a: Box, ay: float, b: Box, by: float, kind: str, count: int, same: bool) -> str:
    thickness = 1.2 + min(log10(count) * 0.7, 2.8)
    if same:  # a node that needs itself, or methods of one actor: an arc on the right
        x = a.x + a.width
        path = f"M{x:.1f} {ay - 8:.1f}C{x + 34:.1f} {ay - 18:.1f} {x + 34:.1f} {by + 18:.1f} {x + 5:.1f} {by + 8:.1f}"
        tip, at = (
            f"M{x + 9:.1f} {by + 4.5:.1f}l-8 2.5l7 5z",
            (x + 24, (ay + by) / 2) if ay != by else (x + 20, ay - 15),
        )
    else:
        back = b.x < a.x  # from left side to right side, beside the arrow there
        x1, x2 = (a.x, b.x + b.width + 6) if back else (a.x + a.width, b.x - 6)
        sign, shift = (-1, 10) if back else (1, 0)
        y1, y2 = ay + shift, by + shift
        bend = sign * max(abs(x2 - x1) / 2, 44)
        sag = _sag(a, b)
        path = f"M{x1:.1f} {y1:.1f}C{x1 + bend:.1f} {y1 + sag:.1f} {x2 - bend:.1f} {y2 + sag:.1f} {x2:.1f} {y2:.1f}"
        tip = f"M{x2 + 6 * sign:.1f} {y2:.1f}l{-8 * sign} -4v8z"
        at = (x1 + x2) / 2, (y1 + y2) / 2 + sag * 0.75 + (18 if back else 0)
    label = (
        f'<text class="edges" x="{at[0]:.1f}" y="{at[1] - 5:.1f}">{short(count)}</text>' if count > 1 else ""
    )
    return (
        f'<g class="{kind}"><path class="arrow" d="{path}" stroke-width="{thickness:.1f}"/>'
        f'<path class="tip" d="{tip}"/>{label}</g>'
    )
