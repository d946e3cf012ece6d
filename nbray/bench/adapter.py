"""What a peer that does not have Ray's verbs needs to get them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

# Cases that a peer does in a better way of its own than through the verbs; each as in `cases`.
Native: TypeAlias = dict[str, Callable[[Any], Iterator[Callable[[], object]]]]


class NotApplicable(Exception):
    """The peer has no such thing; the text says what."""


class Function:
    """``remote(f)``: an object with ``.remote(*args)``."""

    def __init__(self, submit: Callable[..., Any], function: Callable[..., Any]) -> None:
        self._submit = submit
        self._function = function

    def remote(self, *args: Any) -> Any:
        return self._submit(self._function, *args)


class Adapter:
    """Ray's verbs over `submit`, as far as functions that take plain values go. Subclasses add what their peer has."""

    future: type = type(None)  # what `submit` gives; it has ``result()``

    def submit(self, function: Callable[..., Any], *args: Any) -> Any:
        raise NotApplicable("no tasks")

    def shutdown(self) -> None:
        """End the peer's processes."""

    def remote(self, *positional: Any, **options: Any) -> Any:
        if options:  # the cases give options to actors only
            raise NotApplicable("no actors")
        (function,) = positional
        if "<locals>" in function.__qualname__:  # the only closure is the one that submits in its turn
            raise NotApplicable("tasks cannot submit tasks")
        return Function(self._checked, function)

    def _checked(self, function: Callable[..., Any], *args: Any) -> Any:
        if any(isinstance(arg, self.future) for arg in args):
            raise NotApplicable("no dependencies between tasks")
        return self.submit(function, *args)

    def get(self, refs: Any) -> Any:
        return [ref.result() for ref in refs] if isinstance(refs, list) else refs.result()

    def put(self, value: Any) -> Any:
        raise NotApplicable("no objects")

    def wait(self, refs: list[Any]) -> tuple[list[Any], list[Any]]:
        raise NotApplicable("no wait")
