"""Whether processes and calls have ended. Apart from the gates, which are imported where tasks run."""

from __future__ import annotations

import threading

import psutil

from nbray import _runtime


def until_a_call_ends(over: threading.Event) -> None:
    """Return once a call has ended since, or ``over`` is set: who kills faster than anything can start only sees that nothing
    does."""
    owner = _runtime.current().owner
    seen = owner.completions
    while owner.completions == seen and not over.wait(0.002):
        pass


def has_ended(pid: int) -> bool:
    """Whether there is no such process, or one that only waits for its parent to take note of its end."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
