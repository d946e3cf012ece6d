"""A timeline as an image with tables, and as text. Every name passes ``escape``: it is text, whatever it contains."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable
from html import escape
from typing import Any

from nbray_widgets.picture.svg import DARK, LIGHT
from nbray_widgets.reducers.bins import BAD, Array
from nbray_widgets.reducers.chrome import label
from nbray_widgets.reducers.delta import State
from nbray_widgets.reducers.timeline import TimelineReducer
from nbray_widgets.text import counted, plain, seconds

#: Told apart by people who see some colours alike; red is left to what failed. The browser has the same.
COLOURS = (
    "#3b82d6", "#e69f00", "#1b9e77", "#a06cd5", "#56b4e9", "#b8860b",
    "#7fb069", "#cc79a7", "#5f7d95", "#d4a373", "#2a9d8f", "#8d99ae",
)  # fmt: skip
TRANSFER_COLOUR = "#8a8f98"
WIDTH, GUTTER, LANE, GAP, AXIS = 940, 200, 18, 5, 26
MOST_LANES = 40
MOST_FUNCTIONS = 20
LONGEST_LABEL = 27
BINS, MOST_SPANS = 370, 1_500
SPARK = " ▁▂▃▄▅▆▇█"
SPARKS = 40

LEFT = ' style="text-align:left;padding:2px 10px"'
RIGHT = ' style="text-align:right;padding:2px 10px"'


def colour(state: State, function: str | int) -> str:
    """The colour of a function: by the order in which they were first seen."""
    if state["functions"][str(function)]["kind"] == "copy":
        return TRANSFER_COLOUR
    return COLOURS[int(function) % len(COLOURS)]


def summary(state: State) -> str:
    """``1,204 spans in 3 lanes, 4 failed, 12.3 s``."""
    about = state["about"]
    if not about["spans"] and not about["open"]:
        return "nothing has run yet"
    parts = [f"{counted(about['spans'], 'span')} in {counted(len(state['lanes']), 'lane')}"]
    if about["open"]:
        parts.append(f"{about['open']:,} under way")
    if about["failed"]:
        parts.append(f"{about['failed']:,} failed")
    parts.append(seconds(about["last"]))
    if about["skipped"]:
        parts.append(f"{counted(about['skipped'], 'older event')} not seen")
    return ", ".join(parts)


def ordered(state: State) -> list[str]:
    """Ids of lanes from top to bottom: node by node, processes for tasks first, then actors, then objects that came."""
    ranks = {"tasks": 0, "actor": 1, "objects": 2, "other": 3}
    nodes: dict[str, int] = {}
    for lane in state["lanes"].values():
        nodes.setdefault(lane["node"], len(nodes))
    return sorted(
        state["lanes"],
        key=lambda i: (nodes[state["lanes"][i]["node"]], ranks[state["lanes"][i]["kind"]], int(i)),
    )


def name_of(lane: dict[str, Any]) -> str:
    """What a lane is called."""
    return label(lane["kind"], lane["name"], lane["actor"], lane["pid"], lane["process"])


def share(lane: dict[str, Any], state: State) -> float:
    """How much of the time the lane was busy."""
    busy: float = lane["busy"] / (max(state["about"]["last"], 1e-9) * lane["rows"])
    return min(busy, 1.0)


# --- text ---------------------------------------------------------------------------------------------------------------


def text(state: State, timeline: TimelineReducer) -> str:
    """Lines: how busy each lane was over time, and what ran."""
    lines = [f"nbray timeline: {summary(state)}"]
    if not state["about"]["spans"]:
        return lines[0]
    busy = _busy(state, timeline, SPARKS)
    shown = ordered(state)[:MOST_LANES]
    width = max(len(name_of(state["lanes"][i])) for i in shown)
    for i in shown:
        lane = state["lanes"][i]
        bars = "".join(SPARK[min(round(8 * part), 8)] for part in busy.get(int(i), [0.0] * SPARKS))
        lines.append(
            f"  {name_of(lane):<{width}}  {bars}  {share(lane, state):4.0%} busy, {counted(lane['spans'], 'span')}"
        )
    if len(state["lanes"]) > len(shown):
        lines.append(f"  and {counted(len(state['lanes']) - len(shown), 'lane')} more")
    lines += [f"  {line}" for line in _told(state)]
    return "\n".join(lines)


def _told(state: State) -> Iterable[str]:
    functions = sorted(state["functions"].values(), key=lambda f: -f["seconds"])
    for function in functions[:MOST_FUNCTIONS]:
        if function["spans"]:
            mean = seconds(function["seconds"] / function["spans"])
            failed = f", {function['failed']:,} failed" if function["failed"] else ""
            yield f"{function['name']}: {counted(function['spans'], 'span')}, {mean} each{failed}"


def _busy(state: State, timeline: TimelineReducer, columns: int) -> dict[int, list[float]]:
    _, bins = timeline.window(0.0, max(state["about"]["last"], 1e-6), columns, -1)
    width = max(state["about"]["last"], 1e-6) / columns
    busy: dict[int, list[float]] = {}
    for entry in bins if bins is not None else ():
        lane = int(entry["lane"])
        parts = busy.setdefault(lane, [0.0] * columns)
        parts[int(entry["column"])] = min(float(entry["busy"]) / width, 1.0)
    return busy


# --- HTML ---------------------------------------------------------------------------------------------------------------


def html(state: State, timeline: TimelineReducer) -> str:
    """An image, and tables of lanes and functions, without scripts."""
    drawn = drawing(state, timeline) if state["about"]["spans"] else None
    image = ""
    if drawn is not None:
        svg, height = drawn
        image = (
            f'<p><img src="data:image/svg+xml;base64,{b64encode(svg.encode()).decode()}" '
            f'alt="nbray timeline: {escape(summary(state))}" width="{WIDTH}" height="{height}" '
            'style="max-width:100%;height:auto"></p>'
        )
    count = state["about"]["spans"]
    return (
        f'<div class="nbray-timeline nbray-still" role="group" aria-label="nbray timeline" data-spans="{count}">'
        f"<p><b>Timeline</b>: {escape(summary(state))}</p>{image}{_tables(state)}</div>"
    )


def _tables(state: State) -> str:
    if not state["about"]["spans"]:
        return ""
    functions = sorted(state["functions"].items(), key=lambda item: -item[1]["seconds"])[:MOST_FUNCTIONS]
    legend = "".join(
        f'<tr><td{LEFT}><span style="color:{colour(state, key)}">■</span> {escape(function["name"])}</td>'
        f"<td{RIGHT}>{function['spans']:,}</td><td{RIGHT}>{function['failed'] or ''}</td>"
        f"<td{RIGHT}>{seconds(function['seconds'] / function['spans'])}</td><td{RIGHT}>{seconds(function['seconds'])}</td></tr>"
        for key, function in functions
        if function["spans"]
    )
    lanes = "".join(
        f"<tr><td{LEFT}>{escape(name_of(lane))}</td><td{RIGHT}>{lane['spans']:,}</td>"
        f"<td{RIGHT}>{share(lane, state):.0%}</td></tr>"
        for lane in (state["lanes"][i] for i in ordered(state)[:MOST_LANES])
    )
    return (
        f"<table><thead><tr><th{LEFT}>function</th><th{RIGHT}>spans</th><th{RIGHT}>failed</th><th{RIGHT}>each took</th>"
        f"<th{RIGHT}>together</th></tr></thead><tbody>{legend}</tbody></table>"
        f"<details><summary>lanes</summary><table><thead><tr><th{LEFT}>process</th><th{RIGHT}>spans</th><th{RIGHT}>busy</th></tr>"
        f"</thead><tbody>{lanes}</tbody></table></details>"
    )


def _rules(colours: dict[str, str]) -> str:
    return (
        f".page{{fill:{colours['page']}}}text{{fill:{colours['text']}}}.faint{{fill:{colours['faint']}}}"
        f".track{{fill:{colours['track']}}}.grid{{stroke:{colours['line']}}}.bad{{fill:#e5484d}}"
    )


def drawing(state: State, timeline: TimelineReducer) -> tuple[str, int] | None:
    """The SVG and its height in pixels."""
    lanes = ordered(state)[:MOST_LANES]
    if not lanes:
        return None
    last = max(state["about"]["last"], 1e-6)
    place: dict[int, float] = {int(i): AXIS + n * (LANE + GAP) for n, i in enumerate(lanes)}
    more = len(state["lanes"]) - len(lanes)
    height = AXIS + len(lanes) * (LANE + GAP) + 8 + (16 if more else 0)
    scale = (WIDTH - GUTTER - 12) / last
    spans, bins = timeline.window(0.0, last, BINS, MOST_SPANS)
    shapes = [_axis(last, scale, height), *(_lane(state["lanes"][i], place[int(i)]) for i in lanes)]
    if spans is not None:
        shapes += [_span(state, span, place, scale) for span in spans if int(span["lane"]) in place]
    elif bins is not None:
        shapes += [
            _bin(state, each, place, last / BINS, scale) for each in bins if int(each["lane"]) in place
        ]
    if more:
        shapes.append(
            f'<text class="faint" x="12" y="{height - 8}">and {escape(counted(more, "lane"))} more</text>'
        )
    style = (
        "text{font:12px system-ui,sans-serif;font-variant-numeric:tabular-nums}.axis{font-size:10.5px;text-anchor:middle}"
        + _rules(LIGHT)
        + "@media(prefers-color-scheme:dark){"
        + _rules(DARK)
        + "}"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}">'
        f'<style>{style}</style><rect class="page" width="{WIDTH}" height="{height}" rx="8"/>{"".join(shapes)}</svg>',
        height,
    )


def ticks(last: float, most: int = 7) -> list[float]:
    """Round times from 0 to ``last``, at most ``most`` and one."""
    step = 10.0**-9
    while last / step > most:
        digit = f"{step:.0e}"[0]
        step *= 2.5 if digit == "2" else 2
    return [i * step for i in range(int(last / step) + 1)]


def _axis(last: float, scale: float, height: int) -> str:
    return "".join(
        f'<path class="grid" d="M{GUTTER + t * scale:.1f} {AXIS - 6}V{height - 6}"/>'
        f'<text class="axis faint" x="{GUTTER + t * scale:.1f}" y="14">{seconds(t) if t else "0"}</text>'
        for t in ticks(last)
    )


def _lane(lane: dict[str, Any], y: float) -> str:
    return (
        f'<text x="12" y="{y + 13}">{escape(plain(name_of(lane), LONGEST_LABEL))}</text>'
        f'<rect class="track" x="{GUTTER}" y="{y}" width="{WIDTH - GUTTER - 12}" height="{LANE}" rx="3"/>'
    )


def _span(state: State, span: Array, place: dict[int, float], scale: float) -> str:
    lane = state["lanes"][str(int(span["lane"]))]
    rows = lane["rows"]
    y = place[int(span["lane"])] + LANE * int(span["row"]) / rows
    x = GUTTER + max(float(span["start"]), 0.0) * scale
    width = max(float(span["duration"]) * scale, 1.0)
    shape = (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{LANE / rows:.1f}" rx="{1.5 if width > 4 else 0}" '
        f'fill="{colour(state, int(span["function"]))}"/>'
    )
    if int(span["state"]) in BAD:
        shape += f'<rect class="bad" x="{x:.1f}" y="{y + LANE / rows - 4:.1f}" width="{max(width, 3):.1f}" height="4"/>'
    return shape


def _bin(state: State, each: Array, place: dict[int, float], width: float, scale: float) -> str:
    rows = state["lanes"][str(int(each["lane"]))]["rows"]
    part = min(float(each["busy"]) / (width * rows), 1.0)
    tall = max(LANE * part, 2.0)
    y = place[int(each["lane"])]
    x = GUTTER + int(each["column"]) * width * scale
    shape = (
        f'<rect x="{x:.1f}" y="{y + LANE - tall:.1f}" width="{width * scale + 0.3:.1f}" height="{tall:.1f}" '
        f'fill="{colour(state, int(each["function"]))}"/>'
    )
    if each["failed"]:
        shape += f'<rect class="bad" x="{x:.1f}" y="{y + LANE - 4}" width="{max(width * scale, 2):.1f}" height="4"/>'
    return shape
