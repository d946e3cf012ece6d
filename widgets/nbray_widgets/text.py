"""Names and numbers as they are shown. Names come from user code and may contain anything."""

from __future__ import annotations

import re

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


def size(value: float) -> str:
    """Bytes: ``950 B``, ``12.3 KiB``, ``1.5 GiB``."""
    unit = 0
    while value >= 1023.5 and unit < 5:
        value, unit = value / 1024, unit + 1
    number = f"{value:.{0 if unit == 0 or value >= 99.95 else 1}f}".removesuffix(".0")
    return f"{number} {('B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB')[unit]}"


def age(value: float) -> str:
    """How long ago, in one or two units: ``0 s``, ``4 min``, ``2 h 5 min``, ``3 d 4 h``."""
    whole = max(int(value), 0)
    for unit, name, less, lesser in ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "min")):
        if whole >= unit:
            many, rest = divmod(whole, unit)
            return f"{many} {name} {rest // less} {lesser}"
    return f"{whole // 60} min" if whole >= 60 else f"{whole} s"


_COLOURS = re.compile(r"\x1b\[[0-9;:]*m")


def visible(line: str, longest: int = LONGEST_NAME) -> str:
    """A printed line: tabs stay, colours go, a progress bar that drew over itself is its last state, and other control characters
    are written out, such as ``\\x07``.
    """
    line = line.rstrip("\r")
    if "\r" in line:
        line = line.rpartition("\r")[2]
    if not line.isprintable():
        line = _COLOURS.sub("", line)
    if len(line) > longest:
        line = line[: longest - 1] + "…"
    if line.isprintable():
        return line
    return "".join(
        c if c.isprintable() or c == "\t" else c.encode("unicode_escape").decode("ascii") for c in line
    )
