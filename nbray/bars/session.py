"""A driver's bars. What draws them is imported when the first one shows: most programs never have any."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from nbray.core.ownership import Entry
from nbray.owner import waiting
from nbray.owner.owner import Owner
from nbray.owner.waiting import Watch


def serve(owner: Owner) -> None:
    """From here on, long waits of this driver show bars, and so do tasks that report how far they are."""
    owner.waiting.on_long = partial(_watch, owner)
    owner.reported = partial(_reported, owner)


def end(owner: Owner) -> None:
    """The session is over."""
    if owner.on_flush is not None:
        from nbray.bars.reports import desk

        owner.on_flush = None
        desk.close()


def _watch(owner: Owner, entries: Sequence[Entry], needed: int) -> Watch:
    """A ``get`` or ``wait`` takes long."""
    from nbray.bars.screen import board
    from nbray.bars.waits import Wait

    owner.console.before = board.aside

    def follow(waited: Callable[[Sequence[Entry], int], bool]) -> None:
        owner.waiting.after_wait = waited

    loop = owner.waiting.loop
    earlier = (time.monotonic() - waiting.LONG - loop[0], loop[1] - len(entries)) if loop else (0.0, 0)
    return Wait(owner.inquiry, entries, needed, waiting.LONG, follow=follow, earlier=earlier)


def _reported(owner: Owner, reports: list[Any]) -> None:
    """Tasks tell how far they are. Under the lock: what is new is drawn before the next poll, without it."""
    from nbray.bars.reports import desk
    from nbray.bars.screen import board

    desk.take(reports, owner.feed)
    owner.console.before = board.aside
    owner.on_flush = partial(_draw, owner)


def _draw(owner: Owner) -> None:
    from nbray.bars.reports import desk

    desk.draw()
    with owner.lock:  # under which reports come
        if not desk.busy:
            owner.on_flush = None
