"""The caller's side of generators: items that come, are taken, or that nobody wants any more."""

from __future__ import annotations

import pickle
from functools import partial
from typing import TYPE_CHECKING

from nbray.channel.connection import Connection
from nbray.core import messages as m
from nbray.core.calls import Call
from nbray.core.messages import Message
from nbray.core.ownership import Entry
from nbray.core.streaming import Rerun, Stream
from nbray.exceptions import TaskCancelledError
from nbray.owner.guards import DROP_STREAM
from nbray.wire.errors import dump_error

if TYPE_CHECKING:
    from nbray.owner.owner import Owner

_NONE = pickle.dumps(None, 5)


class Streams:
    """Under the owner's lock, but for ``open``, ``wait``, ``take``, ``dropped`` and ``close_now``."""

    def __init__(self, owner: Owner) -> None:
        self.owner = owner

    def open(self, ahead: int) -> Stream:
        """The stream of a call that is about to be submitted."""
        owner = self.owner
        stream = Stream(next(owner.stream_sequences), ahead, partial(owner.entry_type, owner.process))
        stream.end.when_ready(partial(self._ended, stream))
        return stream

    def join(self, call: Call, stream: Stream) -> None:
        """The call's items are those of the stream."""
        call.stream = stream
        if stream.ahead:
            call.extra = {**(call.extra or {}), "ahead": stream.ahead}

    # -- the user's side -------------------------------------------------------------------------------------------

    def wait(self, stream: Stream) -> None:
        """Until the next item is here, or the end.

        Raises:
            RaySystemError: the session ended.
        """
        __tracebackhide__ = True
        first = stream.next
        if not first.ready:
            owner = self.owner
            owner.waiting.check_open()
            owner.interrupts.install()
            if not owner.waiting.wait_for(lambda: first.ready, None, (first,), 1):
                owner.waiting.check_open()

    def take(self, stream: Stream) -> Entry | None:
        """The next item, which is here; None at the end. After an interrupt it is still the next one."""
        if stream.dropped or stream.over:
            return None
        first = stream.next
        try:
            stream.take()
            if stream.due:
                if self.owner.garbage:  # others dropped before: they must not start when this one goes on
                    self.owner.collect()
                with self.owner.lock:
                    self._tell(stream)
            return first
        except BaseException:
            stream.untake(first)
            raise

    def dropped(self, stream: Stream) -> None:
        """The user has let go of the generator. May be called anywhere, by ``__del__``."""
        if not stream.ended and not stream.dropped:
            self.owner.garbage.append((DROP_STREAM, stream))
            self.owner.lead.nudge()

    def close_now(self, stream: Stream) -> None:
        with self.owner.lock:
            if not self.owner.closed:
                self.close(stream)
                self.owner.carry_out()

    # -- what comes ------------------------------------------------------------------------------------------------

    def item(self, connection: Connection, message: Message) -> None:
        """ITEM: a generator has yielded."""
        _, sequence, index, value = message
        owner = self.owner
        call = owner.calls.under_way.get(sequence)
        # What an executor says that was given up already counts for nothing: the call may run elsewhere.
        stream = call.stream if call is not None and _peer(call) is connection else None
        entry = stream.came(index) if stream is not None else None
        if entry is None and stream is not None and stream.lineage is not None:
            entry = owner.lineages.item_again(stream.lineage, index)
        if entry is None:
            owner.passing.import_value(value, own=True)  # and dropped, which gives back holds and files
        else:
            owner.completions += 1
            if type(value) is bytes:
                owner.complete(entry, value)
            else:
                value, guard = owner.passing.import_value(value, own=True)
                if guard is not None and guard.contained:
                    owner.inheritance.expect(guard.contained, connection.context.process)
                owner.complete(entry, value, guard)
                if value[0] == m.SHARED and call is not None:
                    owner.lineages.keep_item(call, entry)
        if stream is not None and stream.due:
            self._tell(stream)
        elif type(stream) is Rerun and not stream.lineage.wanted and not stream.closed:
            stream.closed = True  # the executor answers that it is done, as at the generator's end
            connection.send((m.CLOSE, sequence))

    def _tell(self, stream: Stream | Rerun) -> None:
        call = self.owner.calls.under_way.get(stream.sequence)
        peer = _peer(call) if call is not None else None
        if peer is not None:
            peer.send((m.TAKEN, stream.sequence, stream.told()))

    def _ended(self, stream: Stream, end: Entry) -> None:
        """The call has ended, in whichever way."""
        complete = self.owner.complete
        value = end.value
        assert value is not None
        last, over = stream.finish(end.failed)
        if last is not None:
            complete(last, value)
        complete(over, _NONE)
        failed = end.failed and not stream.raised and not stream.dropped
        complete(stream.completed, value if failed else _NONE)
        if stream.lineage is not None:
            self.owner.lineages.stream_ended(stream.lineage)

    def close(self, stream: Stream) -> None:
        """Nobody wants more of it: the generator ends, or never starts. The caller carries out the effects."""
        owner = self.owner
        call = owner.calls.under_way.get(stream.sequence)
        if not stream.drop() or call is None:
            return
        peer = _peer(call)
        if peer is not None:
            owner.actors.flush()  # CLOSE must not overtake the call
            peer.send((m.CLOSE, stream.sequence))
        error = TaskCancelledError(error_message=f"the generator of {call.function.name} was closed")
        # For its executor it goes on until it answers; here it has ended, so nothing runs it again after a crash.
        owner.calls.fail(call, (m.ERROR, dump_error(error, call.function.name, 0, "")), "cancelled")


def _peer(call: Call) -> Connection | None:
    """The connection on which a call was sent; None while it waits here."""
    peer: Connection | None = getattr(call.place, "peer", None)
    return peer
