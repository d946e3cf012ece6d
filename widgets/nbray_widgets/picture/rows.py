"""Tables as plain HTML and as text, for notebooks that are closed, exported or shown where no scripts run.

Every cell passes ``escape``: it is text, whatever it contains. Inline styles only: code hosts take style sheets out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from html import escape
from typing import Any, NamedTuple, TypeAlias

Row: TypeAlias = dict[str, Any]

LEFT = ' style="text-align:left;padding:2px 10px;vertical-align:top"'
RIGHT = ' style="text-align:right;padding:2px 10px;vertical-align:top;white-space:nowrap"'
WIDEST = 60


class Column(NamedTuple):
    """``text`` makes what is shown of a row; a column in which nothing is shown is left out."""

    label: str
    text: Callable[[Row], str]
    right: bool = False


def table(rows: Iterable[Row], columns: Sequence[Column]) -> str:
    """An HTML table; "" without rows."""
    cells, columns = _cells(rows, columns)
    if not cells:
        return ""
    styles = [RIGHT if column.right else LEFT for column in columns]
    head = "".join(
        f"<th{style}>{escape(column.label)}</th>" for column, style in zip(columns, styles, strict=True)
    )
    body = "".join(
        "<tr>"
        + "".join(f"<td{style}>{escape(text)}</td>" for text, style in zip(row, styles, strict=True))
        + "</tr>"
        for row in cells
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def lines(rows: Iterable[Row], columns: Sequence[Column]) -> list[str]:
    """The same as lines of text, a heading first; none without rows."""
    cells, columns = _cells(rows, columns)
    if not cells:
        return []
    shown = [[column.label for column in columns], *([_cut(text) for text in row] for row in cells)]
    widths = [max(len(row[i]) for row in shown) for i in range(len(columns))]
    return [
        "  ".join(
            f"{text:>{width}}" if column.right else f"{text:<{width}}"
            for text, width, column in zip(row, widths, columns, strict=True)
        ).rstrip()
        for row in shown
    ]


def _cells(rows: Iterable[Row], columns: Sequence[Column]) -> tuple[list[list[str]], list[Column]]:
    cells = [[column.text(row) for column in columns] for row in rows]
    kept = [i for i in range(len(columns)) if any(row[i] for row in cells)]
    return [[row[i] for i in kept] for row in cells], [columns[i] for i in kept]


def _cut(text: str) -> str:
    return text if len(text) <= WIDEST else f"{text[: WIDEST - 1]}…"
