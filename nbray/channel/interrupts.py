"""Ctrl-C between transitions, never inside one.

A ``KeyboardInterrupt`` may be raised between any two bytecodes of the main thread. While that thread holds the owner's lock, or
leads, the signal is only noted, the poll is ended, and the interrupt is raised at the end of the section.
Jupyter installs Python's own handler anew for each cell, so ``install`` is called often and costs a look when nothing changed.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

_get_ident = threading.get_ident
_main = threading.main_thread


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

    def install(self) -> None:
        """Stand before the present SIGINT handler. Only the main thread can; others need not."""
        if _get_ident() != self._main:
            return
        handler = signal.getsignal(signal.SIGINT)
        if handler != self._handle and callable(handler):
            self._previous = handler
            signal.signal(signal.SIGINT, self._handle)

    def uninstall(self) -> None:
        """Give the previous handler back."""
        if _get_ident() == self._main and signal.getsignal(signal.SIGINT) == self._handle:
            signal.signal(signal.SIGINT, self._previous)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._held:
            self.pending = True
            self.wake()
        else:
            self._previous(number, frame)

    def enter(self) -> bool:
        """From here on interrupts wait; answers whether this thread must ``leave``."""
        if _get_ident() == self._main:
            self._held += 1
            return True
        return False

    def leave(self) -> None:
        """Interrupts may come again; one that waited comes now."""
        self._held -= 1
        if self.pending and not self._held:
            self.deliver()

    def deliver(self) -> None:
        """The interrupt that waited, to whoever handles SIGINT."""
        self.pending = False
        self._previous(signal.SIGINT, None)


class DeferringLock:
    """A lock whose holder is not interrupted. Not reentrant: a transition never starts another."""

    __slots__ = ("_lock", "_interrupts", "_main")

    def __init__(self, interrupts: Interrupts) -> None:
        self._lock = threading.Lock()
        self._interrupts = interrupts
        self._main = _main().ident

    def __enter__(self) -> None:
        if _get_ident() == self._main:
            self._interrupts._held += 1
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()
        if _get_ident() == self._main:
            interrupts = self._interrupts
            interrupts._held -= 1
            if interrupts.pending and not interrupts._held:
                interrupts.deliver()
