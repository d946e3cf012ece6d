"""Ctrl-C between transitions, never inside one.

A ``KeyboardInterrupt`` may be raised between any two bytecodes of the main thread. While that thread holds the owner's lock, or
leads, the signal is only noted, the poll is ended, and the interrupt is raised at the end of the section.
Jupyter installs Python's own handler anew for each cell, so the main thread looks at each section's beginning whether ours stands
first, and ``install`` costs a look when nothing changed.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from nbray.exceptions import RaySystemError

_SIGINT = signal.SIGINT
_get_ident = threading.get_ident
_main = threading.main_thread
# signal.getsignal makes an enum of what this answers, at ten times the cost.
_getsignal = _signal.getsignal


@contextmanager
def put_off() -> Iterator[None]:
    """Ctrl-C that comes within the block is raised at its end. For imports: one that was interrupted in its middle cannot be had
    again, because what it had imported of itself stays half done."""
    handler = _getsignal(_SIGINT)
    if _get_ident() != _main().ident or handler is None:
        yield
        return
    came: list[int] = []
    signal.signal(_SIGINT, lambda number, frame: came.append(number))
    try:
        yield
    finally:
        signal.signal(_SIGINT, handler)
        if came:
            signal.raise_signal(_SIGINT)


class Interrupts:
    """
    Attributes:
        pending: Ctrl-C was pressed in a section that is not over yet.
        wake: ends the poll in which the main thread may be.
    """

    def __init__(self) -> None:
        self._main = _main().ident
        self._held = 0
        self.pending = False
        self.wake: Callable[[], None] = lambda: None
        self._previous: Any = None
        self._ours = self._handle
        self._delivering = False

    def install(self) -> None:
        """Stand before the present SIGINT handler. Only the main thread can; others need not."""
        if _get_ident() != self._main:
            return
        handler = _getsignal(signal.SIGINT)
        if handler is not self._ours and callable(handler):
            self._previous = handler
            signal.signal(signal.SIGINT, self._ours)

    def stand_before(self, handler: Callable[[int, FrameType | None], None]) -> None:
        """Stand first, and right before ``handler``, whatever user code has installed since. The main thread only."""
        if self._previous is not handler or _getsignal(_SIGINT) is not self._ours:
            self._previous = handler
            signal.signal(signal.SIGINT, self._ours)

    def uninstall(self) -> None:
        """Give the previous handler back."""
        if _get_ident() == self._main and _getsignal(signal.SIGINT) is self._ours:
            signal.signal(signal.SIGINT, self._previous)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._held:
            self.pending = True
            self.wake()
        else:
            self._pass_on(number, frame)

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        """To the handler that ours stands before.

        Who installs one later that calls the one before it calls us, and we stand before it again: a circle, which ends here.
        """
        if self._delivering:
            signal.default_int_handler(number, frame)
        self._delivering = True
        try:
            self._previous(number, frame)
        finally:
            self._delivering = False

    def enter(self) -> bool:
        """From here on interrupts wait; answers whether this thread must ``leave``."""
        if _get_ident() == self._main:
            if _getsignal(signal.SIGINT) is not self._ours:
                self.install()
            self._held += 1
            return True
        return False

    def leave(self) -> None:
        """Interrupts may come again; one that waited comes now."""
        self._held -= 1
        if self.pending and not self._held:
            self.deliver()

    @contextmanager
    def put_off(self) -> Iterator[None]:
        """Interrupts wait for the end of the block, where one that waited comes."""
        main = self.enter()
        try:
            yield
        finally:
            if main:
                self.leave()

    def deliver(self) -> None:
        """The interrupt that waited, to whoever handles SIGINT."""
        self.pending = False
        self._pass_on(signal.SIGINT, None)


class DeferringLock:
    """A lock whose holder is not interrupted. Not reentrant: a transition never starts another.

    User code can run inside one all the same: a ``__del__``, when the garbage collector strikes there. If it comes back to the
    lock it gets an error, where it would wait for itself for ever.
    """

    __slots__ = ("_lock", "_interrupts", "_main", "_holder")

    def __init__(self, interrupts: Interrupts) -> None:
        self._lock = threading.Lock()
        self._interrupts = interrupts
        self._main = _main().ident
        self._holder = 0

    @property
    def held_here(self) -> bool:
        """Whether this very thread holds it."""
        return self._holder == _get_ident()

    def __enter__(self) -> None:
        me = _get_ident()
        if me == self._holder:
            raise RaySystemError(
                "nbray was used by code that runs in the middle of its own bookkeeping, such as a __del__ that the "
                "garbage collector calls; let such code only note what is to be done"
            )
        if me == self._main:
            interrupts = self._interrupts
            if _getsignal(_SIGINT) is not interrupts._ours:
                interrupts.install()
            interrupts._held += 1
        self._lock.acquire()
        self._holder = me

    def __exit__(self, *_: object) -> None:
        self._holder = 0
        self._lock.release()
        if _get_ident() == self._main:
            interrupts = self._interrupts
            interrupts._held -= 1
            if interrupts.pending and not interrupts._held:
                interrupts.deliver()
