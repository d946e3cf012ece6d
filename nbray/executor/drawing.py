"""What a generator yields for a fixed number of returns, ``num_returns=3``: all of it arrives with the answer.

What it yielded before it raised are values all the same, as in Ray: the refs after them have the error.
"""

from __future__ import annotations

from itertools import islice
from types import GeneratorType
from typing import Any


class Broken(Exception):
    """In the place of ``error``: some of the values were there before.

    Attributes:
        items: the values. error: what ended them.
    """

    def __init__(self, items: list[Any], error: Exception) -> None:
        self.items = items
        self.error = error


def draw(generator: GeneratorType[Any, Any, Any], returns: int, name: str) -> Any:
    """The first ``returns`` items, which are one or more: a list, or the only one. Then the generator is closed.

    Raises:
        Broken: it raised, or there were too few.
    """
    items: list[Any] = []
    try:
        items.extend(islice(generator, returns))  # what came before an error stays in the list
        if len(items) < returns:
            raise ValueError(f"{name} has num_returns={returns} but yielded {len(items)} values")
    except Exception as error:
        raise Broken(items, error) from None
    finally:
        generator.close()
    return items[0] if returns == 1 else items
