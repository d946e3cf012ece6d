"""Segments on their way between nodes: PULL and CHUNK messages in, messages out, and files at both ends.

The receiver asks for ranges and keeps a *window* of them under way, so there are no acknowledgements, and a slow receiver is
sent no more than it asked for. The sender answers each PULL with one CHUNK and knows nothing that it could not learn again
from the next PULL.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Hashable

from nbray.core.messages import CHUNK, PULL, Message
from nbray.exceptions import ObjectLostError, ProtocolError
from nbray.store.drafts import Draft
from nbray.store.segments import open_locked
from nbray.store.store import Store

CHUNK_SIZE = 1 << 20
WINDOW = 8


class Outgoing:
    """One object on its way out.

    The segment stays mapped and locked until this is dropped: it can be removed meanwhile, but not written over.

    Args:
        message: the first PULL.
        directory: the store directory.

    Attributes:
        finished: the last byte was sent, or there is no such object. It can be dropped, whatever still comes.
    """

    def __init__(self, message: Message, directory: str) -> None:
        self.finished = False
        self._mapping: mmap.mmap | None = None
        _, _, object_id, name, _, _ = message
        try:
            fd, size, _ = open_locked(directory, name, object_id)
        except (ObjectLostError, OSError):
            return
        try:
            self._mapping = mmap.mmap(fd, size, access=mmap.ACCESS_READ)
        finally:
            os.close(fd)

    def receive(self, message: Message) -> list[Message]:
        """The CHUNK that answers a PULL: the range as far as there is one, 1 MiB at most; total -1 if the object is gone."""
        _, request, _, _, offset, length = message
        if self._mapping is None:
            self.finished = True
            return [(CHUNK, request, offset, b"", -1)]
        total = len(self._mapping)
        data = self._mapping[offset : offset + min(length, CHUNK_SIZE)]
        if offset + len(data) >= total:
            self.finished = True
        return [(CHUNK, request, offset, data, total)]


class Incoming:
    """One object on its way into this node's store.

    Args:
        request: number that ties the messages together.
        object_id: 16 bytes.
        name: the segment at the sender.
        store: of this node.
        target: the name it gets here when the last byte is there. If several processes of a node pull the same object,
            each brings its own, and the last to finish replaces the others.
        chunk: bytes asked for at a time. window: ranges under way at most.

    Attributes:
        finished: nothing more will happen: all is there under its name, or there is an ``error``.
        error: why the object did not come, else None.
    """

    def __init__(
        self,
        request: int,
        object_id: bytes,
        name: str,
        store: Store,
        target: str,
        chunk: int = CHUNK_SIZE,
        window: int = WINDOW,
    ) -> None:
        self.request = request
        self.object_id = object_id
        self.target = target
        self.finished = False
        self.error: Exception | None = None
        self.context: Hashable = None
        self._name = name
        self._store = store
        self._chunk = chunk
        self._window = window
        self._total = -1  # until the first chunk says
        self._next = 0
        self._missing: dict[int, int] = {}  # offset -> bytes, of the ranges under way
        self._draft: Draft | None = None

    def start(self) -> list[Message]:
        """The first ask."""
        return self._ask(0, self._chunk)

    def receive(self, message: Message) -> list[Message]:
        """Take a CHUNK; returns what to ask for next. Never raises: what goes wrong is the ``error``.

        Late and repeated chunks change nothing.
        """
        if self.finished:
            return []
        try:
            return self._take(message)
        except Exception as error:
            self.fail(error)
            return []

    def fail(self, error: Exception) -> None:
        """It will not come, for that reason. Nothing happens if it is there already."""
        if not self.finished:
            self.error = error
            self.abandon()

    def abandon(self) -> None:
        """Stop, and leave nothing unfinished behind."""
        self.finished = True
        self._missing.clear()
        draft, self._draft = self._draft, None
        if draft is not None:
            self._store.drafts.discard(draft)

    def _take(self, message: Message) -> list[Message]:
        _, _, offset, data, total = message
        expected = self._missing.get(offset)
        if total < 0 or (self._total >= 0 and total != self._total):
            raise ObjectLostError(f"object {self.object_id.hex()} is gone where it was")
        if expected is None:
            return []
        if self._total < 0:
            self._begin(total)
            expected = self._missing[offset] = min(expected, total)
        if not data or len(data) > expected:
            raise ProtocolError(f"{len(data)} bytes of a segment came where {expected} were due")
        self._write(data, offset)
        del self._missing[offset]
        if len(data) < expected:  # the sender sends less at a time
            return self._ask(offset + len(data), expected - len(data))
        messages: list[Message] = []
        while len(self._missing) < self._window and self._next < self._total:
            messages += self._ask(self._next, min(self._chunk, self._total - self._next))
        if not self._missing:
            self._arrive()
        return messages

    def _ask(self, offset: int, length: int) -> list[Message]:
        self._missing[offset] = length
        self._next = max(self._next, offset + length)
        return [(PULL, self.request, self.object_id, self._name, offset, length)]

    def _begin(self, total: int) -> None:
        self._draft = self._store.drafts.new(total)
        self._total = total

    def _write(self, data: bytes, offset: int) -> None:
        assert self._draft is not None
        view = memoryview(data)
        while view:
            written = os.pwrite(self._draft.fd, view, offset)
            view, offset = view[written:], offset + written

    def _arrive(self) -> None:
        draft, self._draft = self._draft, None
        assert draft is not None
        self._store.drafts.publish(draft, self.target)
        self.finished = True


class Pulls:
    """The transfers into one process. An object that several threads want at once travels once.

    Who wants an object calls ``want``, waits until the ``Incoming`` it got is finished, and calls ``leave``.
    Not thread-safe: callers hold their lock.

    Args:
        store: of this node.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._requests = 0
        self._by_request: dict[int, Incoming] = {}
        self._by_object: dict[bytes, Incoming] = {}
        self._wanted: dict[Incoming, int] = {}

    def want(
        self, source: Hashable, object_id: bytes, name: str, target: str
    ) -> tuple[Incoming, list[Message]]:
        """The transfer of an object, and what to send to ``source`` for it: nothing if it is on its way already."""
        incoming = self._by_object.get(object_id)
        if incoming is not None and not incoming.finished:
            self._wanted[incoming] += 1
            return incoming, []
        self._requests += 1
        incoming = Incoming(self._requests, object_id, name, self._store, target)
        incoming.context = source
        self._by_request[incoming.request] = incoming
        self._by_object[object_id] = incoming
        self._wanted[incoming] = 1
        return incoming, incoming.start()

    def receive(self, message: Message) -> tuple[Incoming | None, list[Message]]:
        """Take a CHUNK: the transfer it is of, if somebody waits for that, and what to send to its source."""
        incoming = self._by_request.get(message[1])
        return (incoming, incoming.receive(message)) if incoming is not None else (None, [])

    def lost(self, source: Hashable, error: Exception) -> None:
        """The connection to ``source`` is gone, and with it what was on its way from there."""
        for incoming in self._by_request.values():
            if incoming.context == source:
                incoming.fail(error)

    def leave(self, incoming: Incoming) -> None:
        """One waits less. With the last one the transfer ends, finished or not."""
        self._wanted[incoming] -= 1
        if not self._wanted[incoming]:
            del self._wanted[incoming], self._by_request[incoming.request]
            if self._by_object[incoming.object_id] is incoming:
                del self._by_object[incoming.object_id]
            incoming.abandon()
