"""Failures that nobody asks for: told when the last ref to such a result is gone. A call by itself, ``f.remote()``, would else
fail without a word.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from nbray.core.calls import Call
from nbray.core.ids import object_id
from nbray.core.ownership import Entry
from nbray.owner.console import Author
from nbray.owner.guards import DROP_FAILURE, Garbage, Guard
from nbray.wire.errors import read_error

if TYPE_CHECKING:
    from nbray.owner.owner import Owner

#: So many failures are remembered as told.
_TOLD = 1000


class Failed:
    """What a call came to, as long as nobody has seen it. What its refs, and those of all that failed with it, have in common."""

    __slots__ = ("_garbage", "author", "error")

    def __init__(self, garbage: Garbage, author: Author, error: bytes) -> None:
        self._garbage = garbage
        self.author = author
        self.error: bytes | None = error

    def __del__(self) -> None:
        if self.error is not None:
            self._garbage.append((DROP_FAILURE, self.author, self.error))


class Unasked:
    """Under the owner's lock, but for ``seen``."""

    def __init__(self, owner: Owner) -> None:
        self.owner = owner
        self._told: OrderedDict[tuple[str, str, str], None] = OrderedDict()

    def guard(self, call: Call, error: Any, process: bytes = b"") -> Guard | None:
        """For the entries of a call that failed by itself, in that process; None if others see what came of it."""
        owner = self.owner
        if call.stream is not None or any(
            entry.guard is not None or owner.holds.entry(entry.sequence) is not None for entry in call.entries
        ):
            return None
        task = object_id(owner.process, call.sequence)
        return self.failure((call.function.name, call.origin, task, process), error[1])

    def failure(self, author: Author, error: bytes) -> Guard:
        """Of several entries, that failure. If no entry has it, it is told."""
        guard = Guard()
        guard.failed = Failed(self.owner.garbage, author, error)
        return guard

    def seen(self, entries: Iterable[Entry]) -> None:
        """Somebody asks for these: what failed among them, and what will, need not be told."""
        for entry in entries:
            if entry.failed:
                _seen(entry)
            elif not entry.ready:
                with self.owner.lock:
                    if entry.ready:
                        _seen(entry)
                    else:
                        entry.when_ready(_seen)

    def tell(self, author: Author, error: bytes) -> None:
        """The last ref to a failure is gone. Once for those that read alike: a thousand calls fail for one reason."""
        text, pid, node = read_error(error)
        key = (author[0], author[1], text.rstrip().rpartition("\n")[2])
        if key in self._told:
            return
        self._told[key] = None
        if len(self._told) > _TOLD:
            self._told.popitem(last=False)
        last = "Nobody has asked for this result, so its error is shown here, once."
        self.owner.console.add(author, 2, f"{text.rstrip()}\n{last}\n", pid, node)


def _seen(entry: Entry) -> None:
    if entry.guard is not None:
        see(entry.guard)


def see(guard: Guard) -> None:
    """Its failure need not be told. So it is with generators: who goes on with one sees it, who does not has had enough."""
    if guard.failed is not None:
        guard.failed.error = guard.failed = None


def guard_of(entry: Entry) -> Guard | None:
    """For what fails because that entry has."""
    guard: Guard | None = entry.guard
    return guard if guard is not None and guard.failed is not None else None
