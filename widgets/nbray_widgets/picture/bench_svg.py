"""Sweeps as lines, comparisons as bars, and where the CPUs' time went, as standalone SVG for an ``<img>``: see ``svg``."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from html import escape
from math import ceil, floor, log10
from string import Template
from typing import Any

from nbray.bench.words import figure, percent, seconds
from nbray_widgets.picture.svg import DARK, LIGHT
from nbray_widgets.reducers.delta import State
from nbray_widgets.text import plain

WIDTH = 720
LEFT, RIGHT, TOP, BOTTOM = 66, 16, 16, 44
PLOT = 250
BAR = 16
LINES = ("#2f7de1", "#22a06b", "#8e5bd6", "#c98a1b", "#e5484d", "#0d9aa8")
#: In the order of `nbray.bench.splits.account.PARTS`.
PARTS = ("#22a06b", "#c98a1b", "#8e5bd6", "#0d9aa8", "#a9b0b8", "#d9622b")
LOG_FROM = 12.0  # times that lie so far apart are drawn at even ratios
MOST_BARS = 60

_RULES = Template(
    ".page{fill:$page}text{fill:$text}.faint{fill:$faint}.grid{stroke:$track}.axis{stroke:$line}.track{fill:$track}"
    ".ring{stroke:$text}.halo{stroke:$page}"
)


@cache
def _style() -> str:
    return (
        "text{font:12px system-ui,sans-serif;font-variant-numeric:tabular-nums}.small{font-size:11px}"
        ".end{text-anchor:end}.mid{text-anchor:middle}.bold{font-weight:600}.line{fill:none;stroke-width:2}"
        ".ideal{fill:none;stroke-width:1.5;stroke-dasharray:2 5;stroke-linecap:round}.spread{stroke-width:1.5}"
        ".ring{fill:none;stroke-width:1.5}.halo{paint-order:stroke;stroke-width:4px}"
        + _RULES.substitute(LIGHT)
        + "@media(prefers-color-scheme:dark){"
        + _RULES.substitute(DARK)
        + "}"
    )


def _image(height: float, shapes: list[str]) -> tuple[str, int, int]:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}" height="{height:.0f}">'
        f'<style>{_style()}</style><rect class="page" width="{WIDTH}" height="{height:.0f}" rx="8"/>{"".join(shapes)}</svg>',
        WIDTH,
        round(height),
    )


def _text(x: float, y: float, text: str, kind: str = "") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'


def drawing(state: State) -> tuple[str, int, int] | None:
    """The SVG with its width and height in pixels; None while there is nothing to draw."""
    if not any("median" in row for row in state["rows"].values()):
        return None
    kind = state["about"]["kind"]
    if kind == "bench":
        return _image(*_bars(state))
    shapes, height = _plot(state) if kind == "sweep" else ([], 8.0)
    more, height = _anatomy(state, height)
    return _image(height, [*shapes, *more])


# --- lines -------------------------------------------------------------------------------------------------------------


def scale(low: float, high: float, start: float, end: float, *, log: bool) -> Callable[[float], float]:
    """From values to pixels."""
    if log:
        low, high = log10(low), log10(high)
    span = high - low or 1.0

    def place(value: float) -> float:
        return start + (end - start) * ((log10(value) if log else value) - low) / span

    return place


def ticks(low: float, high: float, *, log: bool) -> list[float]:
    """Round values on an axis, about five."""
    if log:
        powers = range(floor(log10(low)), ceil(log10(high)) + 1)
        factors = (1, 2, 5) if len(powers) < 4 else (1,)
        return [v for power in powers for f in factors if low <= (v := f * 10.0**power) <= high]
    rough = (high - low) / 5 or 1.0
    unit = 10.0 ** floor(log10(rough))
    step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= rough * 0.8)
    return [step * index for index in range(ceil(low / step), floor(high / step) + 1)]


def _plot(state: State) -> tuple[list[str], float]:
    about, series = state["about"], state["series"]
    rows = list(state["rows"].values())
    lowest = min(row["low"] for row in rows)
    highest = max(row["high"] for row in rows)
    ideals = [entry["ideal"] for entry in series.values() if entry["ideal"]]
    log = lowest > 0 and highest / lowest >= LOG_FROM
    low, high = (min([lowest, *ideals]) / 1.15, highest * 1.15) if log else (0.0, highest * 1.06)
    y = scale(low, high, TOP + PLOT, TOP, log=log)
    marks = about["x"]["ticks"]
    at_even_ratios = about["x"]["scale"] == "log"
    x = scale(marks[0][0], marks[-1][0], LEFT + 24, WIDTH - RIGHT - 24, log=at_even_ratios)
    shapes = [
        f'<path class="grid" d="M{LEFT} {y(tick):.1f}H{WIDTH - RIGHT}"/>'
        + _text(LEFT - 8, y(tick) + 4, seconds(tick), "small faint end")
        for tick in ticks(low, high, log=log)
    ]
    shapes.append(f'<path class="axis" d="M{LEFT} {TOP + PLOT}H{WIDTH - RIGHT}"/>')
    right = 0.0
    for value, label in marks:
        place, half = x(value), 3.4 * len(label)
        if place - half > right:
            shapes.append(_text(place, TOP + PLOT + 17, label, "small faint mid"))
            right = place + half + 6
    shapes.append(_text((LEFT + WIDTH - RIGHT) / 2, TOP + PLOT + 36, about["x"]["name"], "mid"))
    for number, (key, entry) in enumerate(series.items()):
        line = sorted((row for row in rows if row["series"] == key), key=lambda row: row["x"])
        shapes += _line(line, entry, LINES[number % len(LINES)], x, y, low)
    return [*shapes, *_legend(series)], TOP + PLOT + BOTTOM + 22.0 * ceil(len(series) / 4) + 6


def _line(
    line: list[dict[str, Any]],
    entry: dict[str, Any],
    colour: str,
    x: Callable[[float], float],
    y: Callable[[float], float],
    low: float,
) -> list[str]:
    shapes = []
    if entry["ideal"] and entry["ideal"] > low:
        shapes.append(
            f'<path class="ideal" stroke="{colour}" d="M{LEFT} {y(entry["ideal"]):.1f}H{WIDTH - RIGHT}"/>'
        )
    points = [(x(row["x"]), y(row["median"])) for row in line]
    if len(points) > 1:
        path = "L".join(f"{px:.1f} {py:.1f}" for px, py in points)
        shapes.append(f'<path class="line" stroke="{colour}" d="M{path}"/>')
    for row, (px, py) in zip(line, points, strict=True):
        shapes.append(
            f'<path class="spread" stroke="{colour}" d="M{px:.1f} {y(row["low"]):.1f}V{y(row["high"]):.1f}"/>'
            f'<circle fill="{colour}" cx="{px:.1f}" cy="{py:.1f}" r="3.5"/>'
        )
        if row["best"]:
            shapes.append(f'<circle class="ring" cx="{px:.1f}" cy="{py:.1f}" r="8"/>')
            shapes.append(_text(px, py - 13, "best", "small bold mid halo"))
    return shapes


def _legend(series: dict[str, Any]) -> list[str]:
    shapes = []
    for number, entry in enumerate(series.values()):
        left = LEFT + number % 4 * 160
        top = TOP + PLOT + BOTTOM + 12 + 22 * (number // 4)
        colour = LINES[number % len(LINES)]
        shapes.append(f'<path stroke="{colour}" stroke-width="3" d="M{left} {top - 4}h18"/>')
        shapes.append(_text(left + 24, top, plain(entry["label"], 20), "small"))
    if any(entry["ideal"] for entry in series.values()):
        shapes.append(_text(WIDTH - RIGHT, TOP + PLOT + 36, "dotted: serial / workers", "small faint end"))
    return shapes


# --- where the time went -----------------------------------------------------------------------------------------------


def _anatomy(state: State, top: float) -> tuple[list[str], float]:
    """A bar a row: the CPUs' time by what it went into."""
    rows = list(state["rows"].values())
    if state["about"]["kind"] == "sweep":
        best = next((row["series"] for row in rows if row["best"]), None)
        rows = sorted((row for row in rows if row["series"] == best), key=lambda row: row["x"])
    elif any(row["best"] for row in rows):
        rows = [row for row in rows if row["best"]]
    rows = [row for row in rows if row["shares"]][:MOST_BARS]
    if not rows:
        return [], top
    left, right = 200.0, WIDTH - RIGHT - 64.0
    shapes = [_text(16, top + 18, "Where the CPUs' time went", "bold")]
    y = top + 34
    for row in rows:
        shapes.append(
            _text(left - 10, y + BAR - 4, plain(row["label"], 30), "small end" + " bold" * row["best"])
        )
        x = left
        for share, colour in zip(row["shares"], PARTS, strict=True):
            width = share * (right - left)
            if width >= 0.3:
                shapes.append(
                    f'<rect fill="{colour}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{BAR}"/>'
                )
            x += width
        shapes.append(
            _text(WIDTH - RIGHT, y + BAR - 4, f"{percent(row['shares'][0])} busy", "small faint end")
        )
        y += BAR + 6
    named = [(colour, name) for i, (colour, name) in enumerate(zip(PARTS, state["about"]["parts"], strict=True))
             if any(row["shares"][i] >= 0.005 for row in rows)]  # fmt: skip
    x, y = 16.0, y + 16
    for colour, name in named:
        width = 30 + 6.6 * len(name)
        if x + width > WIDTH - RIGHT:
            x, y = 16.0, y + 20
        shapes.append(f'<rect fill="{colour}" x="{x:.1f}" y="{y - 9:.1f}" width="10" height="10" rx="2"/>')
        shapes.append(_text(x + 15, y, name, "small"))
        x += width
    return shapes, y + 14


# --- bars --------------------------------------------------------------------------------------------------------------


def _bars(state: State) -> tuple[float, list[str]]:
    """A block a case, a bar a peer with its spread; the longest bar of a block fills it."""
    peers = list(state["series"])
    left, right = 110.0, WIDTH - RIGHT - 210.0
    shapes: list[str] = []
    y = 10.0
    for name, case in state["cases"].items():
        rows = [row for row in state["rows"].values() if row["case"] == name]
        if not rows:
            continue
        less = "s, less is better" if case["lower"] else case["unit"]
        shapes.append(_text(16, y + 14, f"{case['title']} ({less})", "bold"))
        y += 22
        longest = max((row["high"] for row in rows if "high" in row), default=1.0)
        for row in rows:
            shapes.append(_text(left - 8, y + 12, plain(row["series"], 14), "small end"))
            shapes += _bar(row, LINES[peers.index(row["series"]) % len(LINES)], y, left, right, longest)
            y += BAR + 3
        y += 8
    return y + 4, shapes


def _bar(row: dict[str, Any], colour: str, y: float, left: float, right: float, longest: float) -> list[str]:
    if "median" not in row:
        return [_text(left, y + 12, plain(row["note"], 70), "small faint")]
    x = scale(0.0, longest, left, right, log=False)
    said = figure(row["median"]) + (f"  nbray {figure(row['ratio'])}×" if row["ratio"] is not None else "")
    width = max(x(row["median"]) - left, 1.0)
    return [
        f'<rect fill="{colour}" x="{left}" y="{y:.1f}" width="{width:.1f}" height="{BAR - 3}" rx="2"/>',
        f'<path class="axis" stroke-width="1.5" d="M{x(row["low"]):.1f} {y + 6.5:.1f}H{x(row["high"]):.1f}"/>',
        _text(max(x(row["high"]), left) + 8, y + 11, said, "small"),
    ]
