"""All sockets of one process: what they are waiting for, and who is told.

A reactor has no thread. Whoever leads (``channel/leader.py``), or an asyncio loop with ``add_reader(reactor.fileno())``, calls
``step``; everything else happens under ``lock``, which the owner shares, so state changes by messages and by calls of the
user's threads never interleave.
"""

from __future__ import annotations

import errno
import os
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from nbray.channel.connection import Connection
from nbray.channel.poller import READ, Waker, new_poller
from nbray.core.ids import Address
from nbray.wire.handshake import TIME_LIMIT

_BACKLOG = 4096
#: Connections that have not shown yet that they know the secret. A local attacker could hold more open than we have descriptors.
_MAX_STRANGERS = 256


class Reactor:
    """
    Args:
        address: what this process tells its peers of itself. Listening fills in the sockets.
        secret: the cluster's secret.
        lock: held during every callback.

    Attributes:
        on_accept: called with a new connection from outside, which has shown the secret, before its first message.
    """

    def __init__(self, address: Address, secret: bytes, lock: Any = None) -> None:
        self.address = address
        self.secret = secret
        self.lock = threading.RLock() if lock is None else lock
        self.poller = new_poller()
        self.waker = Waker()
        self.poller.register(self.waker.fd, READ)
        self.on_accept: Callable[[Connection], None] | None = None
        self._connections: dict[int, Connection] = {}
        self._listeners: dict[int, socket.socket] = {}
        self._strangers: dict[int, Connection] = {}
        self._ended: list[Connection] = []
        self._closed = False

    def fileno(self) -> int:
        return self.poller.fileno()

    def wake(self) -> None:
        """End the running ``step``, from any thread."""
        self.waker.wake()

    # -- listening and connecting ----------------------------------------------------------------------------------

    def listen_unix(self, path: str) -> None:
        """Accept peers on a Unix socket, readable by this user only."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.bind(path)
        os.chmod(path, 0o600)
        self._listen(sock)
        self.address = self.address._replace(unix=path)

    def listen_tcp(self, host: str) -> str:
        """Accept peers on a free TCP port of ``host``; answers "host:port"."""
        sock = socket.create_server((host, 0), backlog=_BACKLOG)
        self._listen(sock)
        where = f"{host}:{sock.getsockname()[1]}"
        self.address = self.address._replace(tcp=where)
        return where

    def _listen(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        sock.listen(_BACKLOG)
        self._listeners[sock.fileno()] = sock
        self.poller.register(sock.fileno(), READ)

    def connect(self, address: Address) -> Connection:
        """A connection to the process at ``address``, at once: messages queue until it is open.

        Unix within the node, TCP to others. If it cannot be opened, ``on_close`` tells, from a later step.
        """
        if address.unix and (address.node == self.address.node or not address.tcp):
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            target: Any = address.unix
        else:
            sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            host, _, port = address.tcp.rpartition(":")
            target = (host, int(port or 0))
        sock.setblocking(False)
        code = sock.connect_ex(target)
        connection = self._adopt(sock, connector=True, connecting=code != 0)
        if code not in (0, errno.EINPROGRESS):
            connection._fail(OSError(code, f"cannot connect to {target}: {os.strerror(code)}"))
        return connection

    def _adopt(self, sock: socket.socket, *, connector: bool, connecting: bool) -> Connection:
        self.poller.register(sock.fileno(), READ)
        connection = Connection(
            self, sock, connector=connector, connecting=connecting, deadline=time.monotonic() + TIME_LIMIT
        )
        self._connections[connection.fd] = connection
        self._strangers[connection.fd] = connection
        return connection

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                # Out of descriptors: the peer stays in the backlog; the next step tries again when one is free.
                if error.errno in (errno.EMFILE, errno.ENFILE, errno.ECONNABORTED):
                    return
                raise
            if len(self._strangers) >= _MAX_STRANGERS:
                sock.close()
                continue
            sock.setblocking(False)
            if sock.family == socket.AF_INET:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._adopt(sock, connector=False, connecting=False).context = _ACCEPTED

    # -- called by connections -------------------------------------------------------------------------------------

    def opened(self, connection: Connection) -> None:
        self._strangers.pop(connection.fd, None)
        if connection.context is _ACCEPTED:
            connection.context = None
            if self.on_accept is not None:
                self.on_accept(connection)

    def forget(self, connection: Connection) -> None:
        self._connections.pop(connection.fd, None)
        self._strangers.pop(connection.fd, None)
        try:
            self.poller.unregister(connection.fd)
        except OSError:
            pass

    def ended(self, connection: Connection) -> None:
        self._ended.append(connection)
        self.wake()

    # -- polling ---------------------------------------------------------------------------------------------------

    def step(self, timeout: float) -> int:
        """Wait up to ``timeout`` seconds (0: not at all) and serve what is ready; answers how many sockets were."""
        if self._strangers:
            timeout = min(timeout, 0.5)
        ready = self.poller.poll(timeout)
        if self._closed:
            return 0
        waker = self.waker.fd
        get = self._connections.get
        for fd, events in ready:
            if fd == waker:
                self.waker.clear()
                continue
            with self.lock:
                connection = get(fd)
                if connection is not None:
                    connection.ready(events)
                elif fd in self._listeners:
                    self._accept(self._listeners[fd])
        if self._ended or self._strangers:
            self._sweep()
        return len(ready)

    def _sweep(self) -> None:
        with self.lock:
            now = time.monotonic()
            for connection in [c for c in self._strangers.values() if c.deadline < now]:
                connection._fail(TimeoutError("the peer did not finish the handshake"))
            while self._ended:
                connection = self._ended.pop()
                if connection.on_close is not None:
                    connection.on_close(connection, connection.error)

    def close(self) -> None:
        """Close every socket; no callback is called any more."""
        with self.lock:
            if self._closed:
                return
            self._closed = True
            for connection in list(self._connections.values()):
                connection.close()
            for sock in self._listeners.values():
                sock.close()
            if self.address.unix:
                try:
                    os.unlink(self.address.unix)
                except OSError:
                    pass
            self._listeners.clear()
            self._ended.clear()
            self.poller.close()
            self.waker.close()


_ACCEPTED = object()
