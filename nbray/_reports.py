"""The way of a bar's reports from where the work is done to where they are shown."""

from __future__ import annotations

import os
from typing import Any

from nbray import _runtime


def identity() -> tuple[str, bytes, bytes, str]:
    """(notebook cell, task id, process id, name of the running function) of what the calling thread does."""
    runtime = _runtime.current_or_none()
    executor = runtime.executor if runtime is not None else None
    if executor is None:
        return "", b"", b"", ""
    call = executor.current
    if call is None:
        return executor.upstream.origin, b"", executor.owner.process, executor.class_name
    return call.origin, bytes(call.task_id), executor.owner.process, call.name


def report(fields: tuple[Any, ...], now: bool = False) -> None:
    """A bar's state, as ``bars.reports.Report`` has it: shown here in a driver, sent on in an executor.

    ``now``: it does not wait for others that may come within a tenth of a second.
    """
    runtime = _runtime.current_or_none()
    if runtime is not None and runtime.pid != os.getpid():
        return  # a fork: its parent's sockets are not its own
    if runtime is None or runtime.executor is None:
        from nbray.bars.reports import desk

        desk.take([fields])
        desk.draw()
    else:
        runtime.executor.upstream.report(fields, now)


def watch(bar: Any) -> None:
    """From here on an executor lets that bar ``tell_news`` now and then, as long as it is there."""
    runtime = _runtime.current_or_none()
    if runtime is not None and runtime.executor is not None:
        runtime.executor.upstream.bars.add(bar)
