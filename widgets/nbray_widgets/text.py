"""Names and numbers as they are shown. Names come from user code and may contain anything."""

from __future__ import annotations

LONGEST_NAME = 120
LONGEST_ERROR = 400


def plain(text: str, longest: int = LONGEST_NAME) -> str:
    """``text`` on one line, without control or direction characters, cut to ``longest`` characters."""
    if len(text) > longest:
        text = text[: longest - 1] + "…"
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() else " " if c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text
    )


def seconds(value: float) -> str:
    """A duration in two or three significant digits: ``340 µs``, ``12 ms``, ``3.2 s``, ``4 min 10 s``."""
    if value < 0.0009995:
        return f"{value * 1e6:.0f} µs"
    if value < 0.9995:
        return f"{value * 1e3:.{1 if value < 0.00995 else 0}f} ms"
    if value < 59.95:
        return f"{value:.{2 if value < 9.995 else 1}f} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes} min {rest} s"


def counted(number: int, noun: str) -> str:
    """``1 task``, ``12,000 tasks``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
