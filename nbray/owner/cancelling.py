"""The owner's side of cancelling: what becomes of a call that is not wanted any more, wherever it is.

What has not been sent ends here and now. What has, may have started: its executor is told, and its answer decides. If there is no
answer within ``REACTION``, whoever waits for the value gets a TaskCancelledError all the same, and the late answer is dropped.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from nbray.channel.connection import Connection
from nbray.core import messages as m
from nbray.core.calls import Call
from nbray.core.ids import call_of, owner_of, sequence_of
from nbray.core.lanes import Lane, Pool
from nbray.core.messages import Message
from nbray.core.ownership import Entry
from nbray.core.ready import Ready
from nbray.exceptions import TaskCancelledError
from nbray.wire.errors import dump_error

if TYPE_CHECKING:
    from nbray.owner.owner import Owner

#: Seconds that an interrupted call has to answer; with ``force``, those that its process has to end.
REACTION = 1.0

_NEVER = " before it ran"


class Cancelling:
    """Under the owner's lock throughout, but for ``cancel``, which takes it."""

    def __init__(self, owner: Owner) -> None:
        self.owner = owner
        self._how: dict[
            Call, tuple[bool, bool]
        ] = {}  # (force, recursive) of those that are not cancelled as usual
        self._told: dict[Call, tuple[float, bool]] = {}  # when its executor was told, and whether with force

    def cancel(self, entry: Entry, force: bool, recursive: bool) -> None:
        """Cancel the call that makes this object.

        Raises:
            ValueError: force, and it is a call of an actor's method.
        """
        owner = self.owner
        with owner.lock:
            if entry.owner is not None:
                if not entry.ready:
                    owner.peers.tell(entry.owner, (m.CANCEL_OBJECT, entry.id, force, recursive))
                return
            call = self._call_of(entry.sequence)
            if call is None:
                return
            if force and type(call.pool) is not Pool:
                raise ValueError(
                    "force=True is not supported for calls of actors' methods; nbray.kill(actor) ends the actor"
                )
            self._cancel(call, force, recursive)
            owner.carry_out()
            if call.ended:
                owner.reactor.wake()  # another thread may wait for it

    def of_sequences(self, sequences: Iterable[int]) -> None:
        """Cancel calls of this process by their numbers, with what they have submitted. Takes the lock."""
        owner = self.owner
        with owner.lock:
            for sequence in sequences:
                call = self._call_of(sequence)
                if call is not None:
                    self._cancel(call, False, True)
            owner.carry_out()
            owner.reactor.wake()

    def asked(self, connection: Connection, message: Message) -> None:
        """CANCEL_OBJECT: a process that has a ref of ours. Of actors' calls it cannot know that force is not for them."""
        _, oid, force, recursive = message
        if owner_of(oid) == self.owner.process and (call := self._call_of(sequence_of(oid))) is not None:
            self._cancel(call, force and type(call.pool) is Pool, recursive)
            self.owner.carry_out()

    def children(self, parent: bytes, force: bool) -> None:
        """Cancel what the task ``parent`` has submitted from this process, and what that has submitted in its turn."""
        for call in [call for call in self.owner.calls.under_way.values() if call.parent == parent]:
            self._cancel(call, force and type(call.pool) is Pool, True)
        self.owner.carry_out()

    def _call_of(self, sequence: int) -> Call | None:
        return self.owner.calls.under_way.get(call_of(sequence))

    def _cancel(self, call: Call, force: bool, recursive: bool) -> None:
        if call.ended:
            return
        if call.cancelled:
            if force and call in self._told and not self._told[call][1]:
                self.tell(call.place, call, force, recursive)
            return
        if force or not recursive:
            self._how[call] = force, recursive
        if type(call.pool) is Pool:
            self.owner.tasks.lanes.cancel(call)
        else:
            call.pool.machine.cancel(call)

    # -- effects ---------------------------------------------------------------------------------------------------

    def ended(self, call: Call) -> None:
        """It cannot run any more."""
        self.answered(call)
        never = not call.attempt and (call.missing > 0 or type(call.place) is Ready)
        error = _error(call.function.name, _NEVER if never else "")
        self.owner.calls.fail(call, error, "cancelled")

    def interrupt(self, place: Any, call: Call) -> None:
        """It was sent to that lane or actor."""
        self.tell(place, call, *self._how.get(call, (False, True)))

    def tell(self, place: Any, call: Call, force: bool, recursive: bool) -> None:
        self._told[call] = (time.monotonic(), force)
        place.peer.send((m.CANCEL, call.sequence, force, recursive))

    def answered(self, call: Call) -> None:
        """An answer of any kind has come."""
        self._how.pop(call, None)
        self._told.pop(call, None)

    def error(self, call: Call) -> Any:
        """The failure of a call that its executor has taken out of its queue."""
        return _error(call.function.name, "" if call.attempt else _NEVER)

    def tick(self, now: float) -> None:
        """Who waits for what does not react gets an error; a process that force has not ended is killed from outside."""
        self._how = {call: how for call, how in self._how.items() if not call.ended}
        for call, (since, force) in list(self._told.items()):
            if call.ended or call.place is None:
                self.answered(call)
            elif now - since >= REACTION:
                self.answered(call)
                place = call.place
                self.owner.calls.fail(
                    call, _error(call.function.name, ", and has not stopped yet"), "cancelled"
                )
                if force and type(place) is Lane and not place.gone and place.running is call:
                    self.owner.tasks.abandon(place)


@lru_cache(maxsize=256)
def _error(name: str, when: str) -> tuple[int, bytes]:
    text = f"{name} was cancelled{when}"
    return m.ERROR, dump_error(TaskCancelledError(error_message=text), name, os.getpid(), "")
