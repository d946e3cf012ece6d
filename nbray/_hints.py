"""What errors add when they meet the mistakes that everybody makes. Only called when there is an error already."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any


def option_as_argument(text: str, given: Iterable[str], options: Iterable[str]) -> str:
    """For ``f.remote(1, num_cpus=2)``: the keyword is refused, and is the name of an option."""
    for name in set(given).intersection(options):
        if repr(name) in text:
            return f"; as an option: .options({name}=...).remote(...)"
    return ""


def class_is_new(class_name: str, method: str, parameters: str | None) -> str:
    """For a handle to an actor whose class was edited and whose cell has run again since.

    Args:
        parameters: those of the method that the actor has; None if it has no such method.
    """
    now: Any = vars(sys.modules["__main__"]).get(class_name)
    known = now._methods_now() if hasattr(type(now), "_methods_now") else {}
    if method not in known or known[method].signature.text == parameters:
        return ""
    return f"; {class_name} was defined anew since, and this actor is older: make a new one"


def no_ref(value: Any, *, nested: bool = False) -> str:
    """For ``get`` of what gives refs when it is called, and of lists that are ``nested`` in a list."""
    if callable(getattr(value, "remote", None)):
        return "; a call of it gives one: .remote(...)"
    if nested and isinstance(value, list | tuple):
        return "; get each of the lists, or put their refs into one list"
    return ""
