"""Why an executor went, as the owners of its calls are told (``Loss`` in ``core/messages.py``)."""

from __future__ import annotations

import os
import signal

from nbray.core.messages import Loss

_TAIL_BYTES = 4096
_TAIL_LINES = 30


def loss_of(
    status: int,
    pid: int,
    tail: str,
    *,
    killed: str | None = None,
    leaving: str | None = None,
    memory: bool = False,
) -> Loss:
    """
    Args:
        status: as ``waitpid`` gives it.
        tail: the end of its stderr.
        killed: why nbray sent it SIGKILL, None if it did not.
        leaving: why it said that it would leave, None if it did not.
        memory: it was killed because the node ran out of memory.
    """
    code = os.waitstatus_to_exitcode(status)
    if leaving is not None:
        return ("killed", leaving, pid, abs(code), "")
    # A crash that was faster than our SIGKILL remains a crash.
    if killed is not None and code == -signal.SIGKILL:
        return ("memory" if memory else "killed", killed, pid, signal.SIGKILL.value, "")
    if code < 0:
        return ("signal", _signal_name(-code), pid, -code, tail)
    return ("exit", f"exit code {code}", pid, code, tail)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # real-time signals have none
        return f"signal {number}"


def describe(loss: Loss) -> str:
    """The loss in words, for an error's text."""
    _, text, pid, _, tail = loss
    words = text if isinstance(text, str) else "its __init__ raised"
    return f"process {pid}: {words}" + (f"\n{tail}" if tail else "")


def tail_of(path: str, start: int = 0) -> str:
    """The last lines of a log, without control bytes (a terminal would obey them); "" if there is none.

    Args:
        start: so many bytes at the beginning do not count.
    """
    try:
        with open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(size - _TAIL_BYTES, start))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    clean = "".join(c for c in text if c in "\n\t" or c.isprintable())
    return "\n".join(clean.strip().splitlines()[-_TAIL_LINES:])
