"""The values of a sweep, from text: ``chunk=1,10,100``, ``chunk=1:1000:log``, ``1,2,4``. Pure."""

from __future__ import annotations

import ast
import keyword
import re
from collections.abc import Callable, Iterable
from typing import Any

MOST = 100
FORMS = "1,10,100 or 1:5 or 0:100:25 or 1:1000:log or 1:1000:log7 or 0:1:lin5 or 1:64:x2"

_STEP = re.compile(r"(log|lin|x)?(.*)")


def over(text: str) -> tuple[str, list[Any]]:
    """A parameter and its values, from ``NAME=VALUES``.

    Example:
        >>> over("chunk=1:1000:log")
        ('chunk', [1, 10, 100, 1000])

    Raises:
        ValueError: it has another form, or the name cannot be a variable's.
    """
    name, equals, listed = text.partition("=")
    name = name.strip()
    if not equals:
        raise ValueError(f'takes NAME=VALUES, such as "chunk=1,10,100", not {text!r}')
    if not name.isidentifier() or keyword.iskeyword(name):
        raise ValueError(f"takes NAME=VALUES with the name of a variable, not {name!r}")
    if not listed.strip():
        raise ValueError(f"names no values for {name!r}, such as {name}=1,10,100")
    return name, values(listed)


def values(text: str) -> list[Any]:
    """Numbers, ranges and words, parted by commas; each value once.

    Raises:
        ValueError: nothing is there, or a range makes no sense or is too long.
    """
    found: list[Any] = []
    for part in _parts(text):
        found += _range(part) if _is_range(part) else [_value(part)]
    return checked(found, text)


def checked(found: Iterable[Any], what: object) -> list[Any]:
    """Each value once, in the order given.

    Raises:
        ValueError: there are none, or more than `MOST`.
    """
    unique: list[Any] = []
    for value in found:
        if not any(value is other or (type(value) is type(other) and value == other) for other in unique):
            unique.append(value)
    if not unique:
        raise ValueError(f"has no values in {what!r}; they are {FORMS}")
    if len(unique) > MOST:
        raise ValueError(f"has {len(unique)} values in {what!r}; {MOST} are the most")
    return unique


def workers(text: str) -> list[int]:
    """Numbers of workers.

    Raises:
        ValueError: one is not a whole number of at least 1.
    """
    return whole(values(text))


def whole(found: Iterable[Any]) -> list[int]:
    """The same numbers, if all are whole and at least 1.

    Raises:
        ValueError: one is not.
    """
    found = list(found)
    for value in found:
        if type(value) is not int or value < 1:
            raise ValueError(f"takes whole numbers of at least 1, such as 1,2,4, not {value!r}")
    return checked(found, found)


def _parts(text: str) -> list[str]:
    """At commas, but not at those inside of quotes and brackets."""
    parts = [""]
    depth, quote = 0, ""
    for character in text:
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character in "([{":
            depth += 1
        elif character in ")]}":
            depth -= 1
        if character == "," and not depth and not quote:
            parts.append("")
        else:
            parts[-1] += character
    parts = [part.strip() for part in parts]
    if len(parts) > 1 and not parts[-1]:
        parts.pop()  # a comma at the end
    if not all(parts):
        raise ValueError(f"has an empty value in {text!r}")
    return parts


def _value(text: str) -> Any:
    """A number or another literal of Python; else the word itself."""
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
    # A whole number in exponents is meant as one: range(1e6) is none.
    return int(value) if isinstance(value, float) and "e" in text.lower() and value.is_integer() else value


def _is_range(text: str) -> bool:
    bounds = text.split(":")
    return len(bounds) in (2, 3) and all(type(_value(bound.strip())) in (int, float) for bound in bounds[:2])


def _range(text: str) -> list[Any]:
    first, last, *rest = (part.strip() for part in text.split(":"))
    low, high = _value(first), _value(last)
    match = _STEP.fullmatch(rest[0] if rest else "1")
    assert match is not None
    kind, amount = match[1], _value(match[2]) if match[2] else None
    whole_numbers = type(low) is int and type(high) is int
    if amount is not None and type(amount) not in (int, float):
        raise ValueError(f"does not know the range {text!r}; ranges are {FORMS}")
    if kind in ("log", "x") and not 0 < low <= high:
        raise ValueError(
            f"cannot grow from {first} to {last} in {text!r}: both must be over 0, the lower first"
        )
    if kind == "x" or (kind == "log" and amount is None):
        return _grown(low, high, _over(amount or 10, 1, text), whole_numbers)
    if kind in ("log", "lin"):
        if type(amount) is not int or not 2 <= amount <= MOST:
            raise ValueError(f"wants how many values, 2 to {MOST}, after {kind!r} in {text!r}")
        return _spread(low, high, amount, whole_numbers, ratio=kind == "log")
    return _stepped(low, high, _over(amount if amount is not None else 1, 0, text), text)


def _over(amount: float, least: float, text: str) -> float:
    if amount <= least:
        raise ValueError(f"wants more than {least} after the second colon in {text!r}")
    return amount


def _grown(low: Any, high: Any, factor: float, whole_numbers: bool) -> list[Any]:
    found: list[Any] = []
    value = low
    while value < high and len(found) <= MOST:
        found.append(round(value) if whole_numbers else value)
        value = value * factor
    return [*found, high]


def _spread(low: Any, high: Any, count: int, whole_numbers: bool, *, ratio: bool) -> list[Any]:
    def between(share: float) -> float:
        return float(low * (high / low) ** share if ratio else low + (high - low) * share)

    inner = [between(index / (count - 1)) for index in range(1, count - 1)]
    # Fifteen digits: 0.30000000000000004 is nobody's value.
    tidy: Callable[[float], Any] = round if whole_numbers and ratio else lambda value: float(f"{value:.12g}")
    if whole_numbers and not ratio and all(value.is_integer() for value in map(tidy, inner)):
        tidy = round
    return [low, *map(tidy, inner), high]


def _stepped(low: Any, high: Any, step: Any, text: str) -> list[Any]:
    if high < low:
        raise ValueError(f"goes from {low} down to {high} in {text!r}; the lower bound comes first")
    count = int((high - low) / step + 1e-9) + 1
    if count > MOST:
        raise ValueError(f"has {count:,} values in {text!r}; {MOST} are the most, see {low}:{high}:log")
    if all(type(part) is int for part in (low, step)):
        return [low + index * step for index in range(count)]
    return [float(f"{low + index * step:.12g}") for index in range(count)]
