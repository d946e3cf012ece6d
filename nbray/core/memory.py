"""Which executor is ended when a node runs out of memory, and how soon to look again. Pure: figures and times are arguments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

#: In this order they go: nobody needs an idle executor, a task can be run again, an actor has state.
IDLE, TASK, ACTOR = range(3)

#: Ending an executor that has less than this helps nobody.
_LEAST = 32 << 20
#: Those that have less than this share of what all executors have are spared while others have more.
_SHARE = 0.01
#: Seconds between two looks, and the bytes a second by which memory may fill up at worst.
_SOONEST, _LATEST, _RATE = 0.1, 1.0, 4 << 30


class Candidate(NamedTuple):
    """An executor that may be ended.

    Attributes:
        number: which executor of the node. pid: its process id.
        kind: ``IDLE``, ``TASK`` or ``ACTOR``.
        since: when it got its work; larger is newer.
        bytes: of memory that it alone has.
    """

    number: int
    pid: int
    kind: int
    since: float
    bytes: int


def choose(candidates: Sequence[Candidate]) -> Candidate | None:
    """The executor to end: of idle ones, then tasks, then actors, the newest that has a worthwhile amount of memory.

    None: nobody has as much as would help.
    """
    worth = [one for one in candidates if one.bytes >= _LEAST]
    if not worth:
        return None
    large = [one for one in worth if one.bytes >= _SHARE * sum(each.bytes for each in candidates)] or worth
    return max(large, key=lambda one: (-one.kind, one.since, one.number))


def pause(used: int, total: int, threshold: float) -> float:
    """Seconds until memory should be looked at again: longer, the farther it is from the threshold."""
    return min(max((threshold * total - used) / _RATE, _SOONEST), _LATEST)


def reason(
    chosen: Candidate, candidates: Sequence[Candidate], used: int, total: int, threshold: float
) -> str:
    """Why it was ended, in words for the error."""
    others = sorted((one for one in candidates if one is not chosen), key=lambda one: -one.bytes)[:3]
    what = ("was idle", "ran the newest task", "was the newest actor")[chosen.kind]
    text = (
        f"{used / total:.1%} of its {_gib(total)} were used (more than {threshold:.0%}), and the process, "
        f"with {_gib(chosen.bytes)} of its own, {what}"
    )
    if others:
        text += "; others: " + ", ".join(f"pid {one.pid} {_gib(one.bytes)}" for one in others)
    return text


def _gib(size: int) -> str:
    return f"{size / (1 << 30):.2f} GiB"
