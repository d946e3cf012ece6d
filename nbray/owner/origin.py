"""On whose behalf a thread acts: the task that it runs, and the notebook cell from which all of that stems.

A context variable says it, so asyncio tasks and what goes through ``asyncio.to_thread`` know it by themselves. A new thread
begins with an empty context, so ``follow`` gives it what its starter had.
"""

from __future__ import annotations

import threading
from contextvars import ContextVar
from typing import Any

#: In a driver: (b"", the notebook cell or ""). Read once a call that is submitted.
cause: ContextVar[tuple[bytes, str]] = ContextVar("nbray_cause", default=(b"", ""))

_followed: list[ContextVar[Any]] = []
_start: Any = None


def follow(variable: ContextVar[Any]) -> None:
    """Threads that are started from here on have that variable as their starter has it. Idempotent."""
    global _start
    if variable not in _followed:
        _followed.append(variable)
    if _start is None:
        _start = threading.Thread.start
        threading.Thread.start = _start_following  # type: ignore[method-assign]


def unfollow(variable: ContextVar[Any]) -> None:
    """No more. Threads that run already keep it."""
    global _start
    if variable in _followed:
        _followed.remove(variable)
    # Who has put a method of his own over ours calls ours, so it stays and does nothing.
    if not _followed and _start is not None and threading.Thread.start is _start_following:
        threading.Thread.start = _start  # type: ignore[method-assign]
        _start = None


def _start_following(self: threading.Thread) -> None:
    start = _start or _plain_start
    values = [(variable, value) for variable in _followed if (value := variable.get(None)) is not None]
    own = self.__dict__.get("run")
    if not values or self.ident is not None or self.name.startswith("nbray-"):  # our own act for many
        start(self)
        return
    run = self.run

    def with_values() -> None:
        _restore(self, own)
        for variable, value in values:
            variable.set(value)
        run()

    self.run = with_values  # type: ignore[method-assign]
    try:
        start(self)
    except BaseException:
        _restore(self, own)
        raise


_plain_start = threading.Thread.start


def _restore(thread: threading.Thread, own: Any) -> None:
    if own is None:
        thread.__dict__.pop("run", None)
    else:
        thread.run = own  # type: ignore[method-assign]
