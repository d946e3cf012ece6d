"""Figures as they are written."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .stats import Summary


def figure(value: float) -> str:
    """Three significant digits, thousands parted: 0.0123, 4.56, 12,300."""
    if value == 0:
        return "0"
    rounded = float(f"{value:.3g}")
    if rounded >= 100:
        return f"{rounded:,.0f}"
    digits = 2
    while digits < 6 and abs(rounded) < 10 ** (1 - digits) * 10:
        digits += 1
    return f"{rounded:.{digits}f}".rstrip("0").rstrip(".")


def seconds(value: float) -> str:
    """A duration in three significant digits: 12.3 µs, 4.56 ms, 7.89 s, 120 s."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if value >= 0.9995 * size:
            return f"{figure(value / size)} {unit}"
    return f"{figure(value / 1e-6)} µs" if value else "0 s"


def spread(summary: Summary) -> str:
    """The median, and in brackets the lowest and the highest: ``0.51 s (0.5–0.53)``."""
    if summary.samples < 2:
        return seconds(summary.median)
    unit = seconds(summary.median).rpartition(" ")[2]
    size = {"s": 1.0, "ms": 1e-3, "µs": 1e-6}[unit]
    return f"{seconds(summary.median)} ({figure(summary.low / size)}–{figure(summary.high / size)})"


def percent(share: float) -> str:
    """A share of 1: 96 %; under 1 % with a digit more."""
    return f"{100 * share:.1f} %" if 0 < share < 0.00995 else f"{100 * share:.0f} %"


def counted(number: int, noun: str) -> str:
    """``1 task``, ``1,204 tasks``; nouns that end in s stay as they are."""
    return f"{number:,} {noun}{'' if number == 1 or noun.endswith('s') else 's'}"


def setting(values: Mapping[str, Any]) -> str:
    """``chunk=10, kind=gzip``."""
    return ", ".join(f"{name}={shown(value)}" for name, value in values.items())


def shown(value: Any) -> str:
    """A value of a sweep, as short as it goes."""
    text = value if isinstance(value, str) else repr(value)
    text = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    return text if len(text) <= 40 else text[:39] + "…"


def aligned(grid: list[list[str]]) -> str:
    """A table for a terminal: the first line is its head."""
    widths = [max(map(len, column)) for column in zip(*grid, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in grid
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def piped(grid: list[list[str]], texts: int) -> str:
    """The same in Markdown, the first ``texts`` columns to the left, the others to the right."""
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in grid]
    lines.insert(1, "|" + "|".join("---" if index < texts else "---:" for index in range(len(grid[0]))) + "|")
    return "\n".join(lines)


def written(text: str, path: str | os.PathLike[str] | None) -> str:
    """The same text, written to a file if there is one."""
    if path is not None:
        Path(path).write_text(text, encoding="utf-8")
    return text
