"""Which nodes a task or an actor may run on, by their labels: ``label_selector={"zone": "in(a,b)", "disk": "!slow"}``. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple, TypeAlias

#: Every node has this one; its value is the node's id.
NODE_ID = "ray.io/node-id"

_WORD = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?"
_VALUE = rf"(?:{_WORD})?"
_NAME = rf"(?:[a-z0-9](?:[a-z0-9.-]{{0,251}}[a-z0-9])?/)?{_WORD}"
_ONE_OF = r"in\((.*)\)"
_ALLOWED = "up to 63 letters, digits, '.', '_' and '-', the first and last a letter or a digit"


class Rule(NamedTuple):
    """``label`` has one of the values or, ``negated``, has none of them (which a node without the label does not, either)."""

    label: str
    negated: bool
    values: tuple[str, ...]


#: Rules that a node must all obey, sorted.
Selector: TypeAlias = "tuple[Rule, ...]"


def check_name(name: str) -> None:
    """
    Raises:
        ValueError: it cannot be the name of a label.
    """
    if not re.fullmatch(_NAME, name):
        raise ValueError(f"{name!r} cannot be the name of a label: {_ALLOWED}, perhaps after a 'domain/'")


def check_value(value: str) -> None:
    """
    Raises:
        ValueError: it cannot be the value of a label.
    """
    if not re.fullmatch(_VALUE, value):
        raise ValueError(f"{value!r} cannot be the value of a label: {_ALLOWED}")


def rule(label: str, condition: str) -> Rule:
    """What a text such as ``a``, ``!a``, ``in(a,b)`` or ``!in(a,b)`` says of a label.

    Raises:
        ValueError: it says nothing, or the label can be none.
    """
    check_name(label)
    text = condition.removeprefix("!")
    one_of = re.fullmatch(_ONE_OF, text)
    values = [value.strip() for value in one_of[1].split(",")] if one_of else [text]
    if (one_of and not all(values)) or not all(re.fullmatch(_VALUE, value) for value in values):
        raise ValueError(
            f"{condition!r} says nothing of label {label!r}: right are 'a', '!a', 'in(a,b)' and '!in(a,b)', where a and b have "
            f"{_ALLOWED}"
        )
    return Rule(label, condition != text, tuple(sorted(set(values))))


def matches(labels: Mapping[str, str], selector: Selector) -> bool:
    return all((labels.get(label) in values) != negated for label, negated, values in selector)


def told(selector: Selector) -> str:
    """``{disk: !slow, zone: in(a,b)}`` for an error's text."""
    each = (
        f"{label}: {'!' * negated}{values[0] if len(values) == 1 else 'in(' + ','.join(values) + ')'}"
        for label, negated, values in selector
    )
    return "{" + ", ".join(each) + "}"
