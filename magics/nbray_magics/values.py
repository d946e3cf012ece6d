"""Readers of values, for ``grammar.Value.read``: text in, value out, or a ValueError that says what would be right."""

from __future__ import annotations

import math
from collections.abc import Callable
from keyword import iskeyword


def whole(what: str, least: int = 1) -> Callable[[str], int]:
    """A whole number of ``what``, at least ``least``."""

    def read(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = least - 1
        if number < least:
            raise ValueError(f"a whole number of {what}, at least {least}")
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
    try:
        if not (equals and key.strip()):
            raise ValueError
        return key.strip(), amount("units")(number)
    except ValueError:
        raise ValueError("NAME=NUMBER") from None
