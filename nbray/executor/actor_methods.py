"""What every actor answers besides the methods of its class (names as in Ray), how one ends itself, and which are async."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any


class ActorExit(BaseException):
    """Unwinds the call that ended its actor. No ``Exception``: user code should not catch it by accident."""


def __ray_ready__(self: Any) -> bool:
    """True, once the actor is up."""
    return True


def __ray_terminate__(self: Any) -> None:
    """End the actor once the calls before this one are done (of an async or threaded actor: those that it has got).

    Its own ref fails with ``ActorDiedError``.
    """
    raise ActorExit


def __ray_call__(self: Any, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """``fn(instance, *args, **kwargs)`` in the actor."""
    return fn(self, *args, **kwargs)


ACTOR_METHODS: dict[str, Callable[..., Any]] = {
    function.__name__: function for function in (__ray_ready__, __ray_terminate__, __ray_call__)
}


#: What makes a method of a function without being one.
WRAPPERS = (functools.partialmethod, functools.singledispatchmethod)


def implementation(member: Any) -> Any:
    """The function behind what a class has by a name, as ``inspect.getattr_static`` gives it."""
    while True:
        inner = member.func if isinstance(member, WRAPPERS) else getattr(member, "__func__", member)
        if inner is member:
            return member
        member = inner


def is_async(cls: Any) -> bool:
    """Whether a class has any ``async def`` method, static and class methods included, and so gets an event loop."""
    for name in dir(cls):
        function = implementation(inspect.getattr_static(cls, name, None))
        if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
            return True
    return False
