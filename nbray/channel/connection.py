"""One framed connection to a peer."""

from __future__ import annotations

import fcntl
import logging
import math
import os
import socket
import struct
import sys
from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import TYPE_CHECKING, Any

from nbray.channel.poller import READ, WRITE
from nbray.core.ids import Address
from nbray.core.messages import Message
from nbray.exceptions import ProtocolError
from nbray.wire.codec import Decoder, encode_numbered
from nbray.wire.handshake import Handshake

if TYPE_CHECKING:
    from nbray.channel.reactor import Reactor

logger = logging.getLogger("nbray.channel")

_RECEIVE_SIZE = 1 << 16
#: Frames handed to the system in one call.
_GATHER = 64

#: Linux: how many bytes TCP has not transmitted yet.
_SIOCOUTQNSD = 0x894B

#: The first frame each way: (HELLO, address, pid). Not one of core's messages: it belongs to the connection itself.
HELLO = 0


class Connection:
    """Messages to and from one peer, in order.

    All methods must be called with the reactor's lock held, as the callbacks are. ``send`` never blocks: what the socket
    does not take waits in memory. Before the handshake is done messages queue.

    A peer that takes no more may have sent much before it died, and all of that counts: when sending fails, the connection
    stays until what has come is read. An executor's results tell which of its calls have run.

    Attributes:
        peer: the other side's address once it has said hello, else None; pid: its process id, likewise.
        on_open: called with the connection when the hello has come.
        on_message: called with (connection, message).
        on_close: called once with (connection, error or None), from a later step of the reactor, never from ``send``.
        opened: messages may have reached the peer; False means that none can have.
        context: whatever the user of the connection wants to find here again.
    """

    __slots__ = (
        "_reactor", "_promptness", "_socket", "_tcp", "fd", "_decoder", "_number", "_handshake", "_early", "_out", "_writing",
        "_connecting", "_mute",
        "peer", "pid", "on_message", "on_close", "on_open", "context", "open", "opened", "closed", "deadline",
        "error",
    )  # fmt: skip

    def __init__(
        self,
        reactor: Reactor,
        sock: socket.socket,
        *,
        connector: bool,
        connecting: bool = False,
        deadline: float = math.inf,
    ) -> None:
        self._reactor = reactor
        self._promptness = reactor.promptness
        self._socket = sock
        self.fd = sock.fileno()
        self._tcp = sock.family == socket.AF_INET
        self._decoder = Decoder(numbered=True)
        self._number = 0  # of the last frame sent; the hello has 0
        self._handshake: Handshake | None = Handshake(reactor.secret, connector=connector)
        self._early: list[bytes] = []
        self._out: deque[bytes | memoryview] = deque()
        self._writing = False
        self._connecting = connecting
        self._mute = False
        self.peer: Address | None = None
        self.pid = 0
        self.on_open: Callable[[Connection], None] | None = None
        self.on_message: Callable[[Connection, Message], None] | None = None
        self.on_close: Callable[[Connection, BaseException | None], None] | None = None
        self.context: Any = None
        self.open = self.opened = False
        self.closed = False
        self.deadline = deadline
        self.error: BaseException | None = None
        self._write(self._handshake.start())

    def __repr__(self) -> str:
        state = "closed" if self.closed else "open" if self.open else "opening"
        return f"<Connection {state} to {self.peer.process.hex() if self.peer else '?'}>"

    # -- sending ---------------------------------------------------------------------------------------------------

    def send(self, message: Message, *more: Message) -> None:
        """Queue messages; as much as the socket takes leaves at once. Silently dropped once closed (``on_close`` tells)."""
        frame = self._frame(message) if not more else b"".join(map(self._frame, (message, *more)))
        if self.open:
            self._promptness.asked = True
            if self._out:
                self._out.append(frame)
                return
            try:
                sent = self._socket.send(frame)
            except BlockingIOError:
                sent = 0
            except OSError as error:
                self._cannot_send(error)
                return
            if sent != len(frame):
                self._out.append(memoryview(frame)[sent:])
                self._want_write(True)
        elif not self.closed and not self._mute:
            self._early.append(frame)

    def _frame(self, message: Message) -> bytes:
        number = self._number = self._number + 1
        return encode_numbered(message, number)

    def _write(self, data: bytes) -> None:
        self._out.append(data)
        if not self._connecting:
            self._flush()
        else:
            self._want_write(True)

    def _flush(self) -> None:
        out = self._out
        try:
            while out:
                # Views, not copies: of a long frame the socket takes little at a time.
                sent = self._socket.sendmsg(list(islice(out, _GATHER)))
                while sent:
                    first = out[0]
                    if sent < len(first):
                        out[0] = memoryview(first)[sent:]
                        break
                    sent -= len(first)
                    out.popleft()
        except BlockingIOError:
            pass
        except OSError as error:
            self._cannot_send(error)
            return
        self._want_write(bool(out))

    def _cannot_send(self, error: OSError) -> None:
        """The peer is gone, or going: the next read tells, after the last of what it had sent."""
        self.error = error
        self.open = False
        self._mute = True
        self._out.clear()
        self._early.clear()
        self._want_write(False)

    def _want_write(self, wanted: bool) -> None:
        if wanted != self._writing and not self.closed:
            self._writing = wanted
            self._reactor.poller.modify(self.fd, READ | WRITE if wanted else READ)

    @property
    def undelivered(self) -> bool:
        """Whether something that was sent would be lost if this process died now.

        What a Unix socket took lies with the receiver. TCP keeps it here until the receiver has room, and a process that dies
        with unread data in its socket resets the connection, which throws that away.
        """
        return bool(self._out) or (self._tcp and _waiting_bytes(self._socket) > 0)

    @property
    def behind(self) -> int:
        """How many frames wait for the socket."""
        return len(self._out)

    @property
    def unsent(self) -> int:
        """Bytes that wait for the socket. Producers of bulk data pause on it."""
        return sum(map(len, self._out))

    # -- receiving -------------------------------------------------------------------------------------------------

    def ready(self, events: int) -> None:
        """The poller says that something can be done. Called by the reactor only."""
        if self.closed:
            return
        if self._connecting:
            code = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code:
                self._fail(OSError(code, "connect failed"))
                return
            self._connecting = False
            self._reactor.reached(self)
        if events & WRITE:
            self._flush()
        if events & ~WRITE:
            self._read()

    def drain(self) -> None:
        """Serve at once what has come, as far as it is here: a peer that is known to be dead may have said much before."""
        while not self.closed and not self._connecting and self._read():
            pass

    def _read(self) -> bool:
        try:
            data = self._socket.recv(_RECEIVE_SIZE)
        except BlockingIOError:
            return False
        except OSError as error:
            self._fail(error)
            return False
        if not data:
            self._fail(self.error)
            return False
        try:
            self._received(data)
        except ProtocolError as error:
            self._fail(error)
        except Exception as error:
            # A defect, or a peer that breaks the rules in a new way. Whoever polls must live on, and it is not their affair.
            logger.exception("%r could not be served", self)
            self._fail(error)
        return True

    def _received(self, data: bytes) -> None:
        handshake = self._handshake
        if handshake is not None:
            answer, data = handshake.receive(data)
            if answer:
                self._write(answer)
            if not handshake.done:
                return
            self._handshake = None
            self._reactor.opened(self)
            self.open = not self._mute
            self.opened = True
            early, self._early = self._early, []
            hello = encode_numbered((HELLO, tuple(self._reactor.address), os.getpid()), 0)
            self._write(hello + b"".join(early))
            if not data:
                return
        for message in self._decoder.feed(data):
            if self.peer is not None:
                if self.on_message is not None and not self.closed:
                    self.on_message(self, message)
            else:
                self._hello(message)

    def _hello(self, message: Message) -> None:
        try:
            kind, (process, node, unix, tcp), pid = message
            valid = (
                kind == HELLO
                and type(process) is bytes
                and type(node) is bytes
                and type(unix) is str
                and type(tcp) is str
                and type(pid) is int
            )
        except (ValueError, TypeError):
            valid = False
        if not valid:
            raise ProtocolError("the first frame must be a hello")
        self.peer, self.pid = Address(process, node, unix, tcp), pid
        if self.on_open is not None:
            self.on_open(self)

    # -- the end ---------------------------------------------------------------------------------------------------

    def _fail(self, error: BaseException | None) -> None:
        if not self.closed:
            self.error = error
            self._shut()
            self._reactor.ended(self)

    def close(self) -> None:
        """Close now; ``on_close`` is not called."""
        if not self.closed:
            self._shut()

    def _shut(self) -> None:
        self.closed = True
        self.open = False
        self._reactor.forget(self)
        self._socket.close()
        self._out.clear()
        self._early.clear()


def _waiting_bytes(sock: socket.socket) -> int:
    if sys.platform != "linux":
        return 0
    try:
        (waiting,) = struct.unpack("i", fcntl.ioctl(sock, _SIOCOUTQNSD, b"\0" * 4))
    except OSError:  # closed
        return 0
    return int(waiting)
