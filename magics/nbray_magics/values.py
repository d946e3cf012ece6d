"""Readers of values, for ``grammar.Value.read``: text in, value out, or a ValueError that says what would be right."""

from __future__ import annotations

import math
from collections.abc import Callable
from keyword import iskeyword
from pathlib import Path


def whole(what: str, least: int = 1, most: float = math.inf) -> Callable[[str], int]:
    """A whole number of ``what``, at least ``least`` and at most ``most``."""

    def read(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = least - 1
        if number < least:
            raise ValueError(f"a whole number of {what}, at least {least}")
        if number > most:
            raise ValueError(f"a whole number of {what}, at most {most:,}")
        return number

    return read


def amount(what: str) -> Callable[[str], float]:
    """A number of ``what``, 0 or more, such as 0.5."""

    def read(text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = -1.0
        if not (number >= 0 and math.isfinite(number)):
            raise ValueError(f"a number of {what}, 0 or more")
        return int(number) if number.is_integer() else number

    return read


def positive(what: str) -> Callable[[str], float]:
    """A number of ``what``, over 0, such as 0.5."""

    def read(text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = 0.0
        if not (number > 0 and math.isfinite(number)):
            raise ValueError(f"a number of {what}, more than 0")
        return number

    return read


def name(text: str) -> str:
    """The name of a variable."""
    if not text.isidentifier() or iskeyword(text):
        raise ValueError("the name of a variable")
    return text


def quantity(text: str) -> tuple[str, float]:
    """``name=2``: a resource and how much of it."""
    key, equals, number = text.partition("=")
    key = key.strip()
    if key in _HAVE_OPTIONS:
        raise ValueError(f"resources of your own ({key}s are asked for with {_HAVE_OPTIONS[key]})")
    try:
        if not (equals and key):
            raise ValueError
        return key, amount("units")(number)
    except ValueError:
        raise ValueError("NAME=NUMBER") from None


_HAVE_OPTIONS = {"CPU": "--num-cpus", "GPU": "--num-gpus"}


def file_to_write(text: str) -> Path:
    """A file in a directory that is there: better said before a long measurement than after it."""
    path = Path(text).expanduser()
    if not path.parent.is_dir():
        raise ValueError(f"a file in a directory that exists (there is no {str(path.parent)!r})")
    if path.is_dir():
        raise ValueError("a file, and this is a directory")
    return path
