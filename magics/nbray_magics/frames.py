"""IPython's tracebacks without nbray's own frames: the lines that a user can change, and the error.

It concerns what a notebook shows. The exceptions themselves, and tracebacks in scripts and tests, are whole.
"""

from __future__ import annotations

import os
from types import TracebackType
from typing import Any

import nbray

_OURS = tuple(
    os.path.dirname(os.path.abspath(file)) + os.sep for file in (nbray.__file__, __file__) if file is not None
)
#: What nbray runs on: hidden below our own frames, and nowhere else.
_BELOW = tuple(
    f"{os.sep}{package}{os.sep}" for package in ("distributed", "dask", "tornado", "asyncio", "concurrent")
)
_HOOK = "get_records"


def hide(shell: Any) -> None:
    """Leave our frames out of that shell's tracebacks. Idempotent."""
    formatter = shell.InteractiveTB
    records = getattr(formatter, _HOOK, None)
    if records is None or _HOOK in vars(formatter):
        return

    def of_the_user(etb: TracebackType, context: int, tb_offset: int) -> Any:
        return records(users(etb, tb_offset), context, tb_offset)

    setattr(formatter, _HOOK, of_the_user)


def show(shell: Any) -> None:
    """As it was."""
    vars(shell.InteractiveTB).pop(_HOOK, None)


def users(traceback: TracebackType, offset: int = 0) -> TracebackType:
    """The traceback without our frames, and without what we called for our own purposes; itself if nothing else would be left.

    Args:
        offset: the first so many frames stay; IPython leaves them out.
    """
    kept: list[TracebackType] = []
    step: TracebackType | None = traceback
    below = False
    number = 0
    while step is not None:
        file = step.tb_frame.f_code.co_filename
        below = file.startswith(_OURS) or (
            below and (any(part in file for part in _BELOW) or file.startswith("<frozen"))
        )
        if not below or number < offset:
            kept.append(step)
        step = step.tb_next
        number += 1
    if len(kept) <= offset or len(kept) == number:
        return traceback
    found = None
    for each in reversed(kept):
        found = TracebackType(found, each.tb_frame, each.tb_lasti, each.tb_lineno)
    return found or traceback
