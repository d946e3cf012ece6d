"""The last picture of a benchmark: an image, sentences, and a table. See ``still`` for what may survive in a notebook.

Every name passes ``escape``: it is text, whatever it contains.
"""

from __future__ import annotations

from base64 import b64encode
from html import escape

from nbray_widgets.picture.bench_svg import drawing
from nbray_widgets.picture.bench_words import grid, summary
from nbray_widgets.picture.still import LEFT, RIGHT
from nbray_widgets.reducers.delta import State

OPEN_UP_TO = 30  # rows


def html(state: State) -> str:
    """The picture as plain HTML."""
    about = state["about"]
    counts = (
        f'data-cases="{about.get("cases", 0)}" data-done="{about["done"]}" data-status="{about["status"]}"'
    )
    return (
        f'<div class="nbray-bench nbray-still" role="group" aria-label="nbray benchmark" {counts}>'
        f"<p><b>{escape(about['heading'])}</b>{escape(summary(state)[len(about['heading']) :])}</p>"
        f"{_said(state)}{_image(state)}{_table(state)}</div>"
    )


def _said(state: State) -> str:
    said = list(state["said"].values())
    if not said:
        return ""
    rest = "".join(f"<li>{escape(sentence)}</li>" for sentence in said[1:])
    return f"<p><b>{escape(said[0])}</b></p>" + (f"<ul>{rest}</ul>" if rest else "")


def _image(state: State) -> str:
    drawn = drawing(state)
    if drawn is None:
        return ""
    svg, width, height = drawn
    said = next(iter(state["said"].values()), summary(state))
    return (
        f'<p><img src="data:image/svg+xml;base64,{b64encode(svg.encode()).decode()}" alt="{escape(said)}" '
        f'width="{width}" height="{height}" style="max-width:100%;height:auto"></p>'
    )


def _table(state: State) -> str:
    if not state["rows"]:
        return ""
    head, *lines = grid(state)
    sides = [LEFT if column["text"] else RIGHT for column in state["columns"].values()]
    heads = "".join(f"<th{side}>{escape(name)}</th>" for side, name in zip(sides, head, strict=True))
    rows = "".join(
        "<tr>"
        + "".join(f"<td{side}>{escape(cell)}</td>" for side, cell in zip(sides, line, strict=True))
        + "</tr>"
        for line in lines
    )
    return (
        f"<details{' open' if len(lines) <= OPEN_UP_TO else ''}><summary>all figures</summary>"
        f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></details>"
    )
