"""All sockets of one process: what they are waiting for, and who is told.

A reactor has no thread. Whoever leads (``channel/leader.py``), or an asyncio loop with ``add_reader(reactor.fileno())``, calls
``step``; everything else happens under ``lock``, which the owner shares, so state changes by messages and by calls of the
user's threads never interleave.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from nbray.channel.connection import Connection
from nbray.channel.poller import READ, Waker, new_poller
from nbray.channel.promptness import LOOK, Promptness
from nbray.core.ids import Address
from nbray.machine import cpu_count
from nbray.wire.handshake import TIME_LIMIT

logger = logging.getLogger("nbray.channel")

_BACKLOG = 4096
#: Seconds for a TCP connection to be there. Then the peer's system has answered, and its process may take its time: a notebook
#: cell can hold the GIL for long. That it died shows at once.
_REACH_LIMIT = 15.0
#: Seconds for the handshake of who could open a Unix socket that is this user's only: busy, rather than hostile.
_LOCAL_LIMIT = 60.0
#: Connections that have not shown yet that they know the secret. A local attacker could hold more open than we have descriptors.
_MAX_STRANGERS = 256

_yield_cpu: Callable[[], Any] = getattr(os, "sched_yield", lambda: time.sleep(0))


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
        self.promptness = Promptness()
        self._alone = cpu_count() == 1  # then whoever looks keeps the one who is to answer from doing so
        self.poller.register(self.waker.fd, READ)
        self.on_accept: Callable[[Connection], None] | None = None
        self._connections: dict[int, Connection] = {}
        self._listeners: dict[int, socket.socket] = {}
        self._strangers: dict[int, Connection] = {}  # accepted, and have not shown the secret yet
        self._reaching: dict[int, Connection] = {}  # of ours, on their way
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

        Raises:
            OSError: this process is out of descriptors.
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
        try:
            code = sock.connect_ex(target)
            problem = OSError(code, f"cannot connect to {target}: {os.strerror(code)}")
        except OSError as error:  # no such host, a path that is too long
            code, problem = -1, error
        self.poller.register(sock.fileno(), READ)
        connection = Connection(
            self, sock, connector=True, connecting=code != 0, deadline=time.monotonic() + _REACH_LIMIT
        )
        self._connections[connection.fd] = connection
        if code == errno.EINPROGRESS:
            self._reaching[connection.fd] = connection
        elif code:
            connection._fail(problem)
        return connection

    def _accept(self, listener: socket.socket) -> bool:
        """Take in who waits; False if somebody has to wait on, until there are descriptors or fewer strangers."""
        while len(self._strangers) < _MAX_STRANGERS:
            try:
                sock, _ = listener.accept()
            except BlockingIOError:
                return True
            except OSError as error:
                if error.errno == errno.ECONNABORTED:
                    continue
                return False
            sock.setblocking(False)
            limit = _LOCAL_LIMIT
            if sock.family == socket.AF_INET:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                limit = TIME_LIMIT
            self.poller.register(sock.fileno(), READ)
            connection = Connection(self, sock, connector=False, deadline=time.monotonic() + limit)
            self._connections[connection.fd] = self._strangers[connection.fd] = connection
        return False

    def connections(self) -> list[Connection]:
        """All that are not closed."""
        return list(self._connections.values())

    # -- called by connections -------------------------------------------------------------------------------------

    def reached(self, connection: Connection) -> None:
        self._reaching.pop(connection.fd, None)

    def opened(self, connection: Connection) -> None:
        if self._strangers.pop(connection.fd, None) is not None and self.on_accept is not None:
            self.on_accept(connection)

    def forget(self, connection: Connection) -> None:
        self._connections.pop(connection.fd, None)
        self._strangers.pop(connection.fd, None)
        self._reaching.pop(connection.fd, None)
        try:
            self.poller.unregister(connection.fd)
        except OSError:
            pass

    def ended(self, connection: Connection) -> None:
        self._ended.append(connection)
        self.wake()

    # -- polling ---------------------------------------------------------------------------------------------------

    def step(self, timeout: float, eager: bool = False) -> int:
        """Wait up to ``timeout`` seconds (0: not at all) and serve what is ready; answers how many sockets were.

        Args:
            eager: this thread has nothing else to do, and may spend CPU time to have an answer sooner (``promptness.py``).
        """
        if self._strangers or self._reaching:
            timeout = min(timeout, 0.5)
        try:
            ready = self._poll_eagerly(timeout) if eager else self.poller.poll(timeout)
        except (ValueError, OSError):
            if not self._closed:
                raise
        if self._closed:
            return 0
        full = False
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
                    full |= not self._accept(self._listeners[fd])
        if self._ended or self._strangers or self._reaching:
            self._sweep()
        if full:
            time.sleep(0.001)  # the listener stays readable: without a pause we would look at it all the time
        return len(ready)

    def _poll_eagerly(self, timeout: float) -> list[tuple[int, int]]:
        poll, clock, promptness = self.poller.poll, time.perf_counter, self.promptness
        began = clock()
        looks = promptness.expected and not self._alone
        if looks:
            until = began + min(LOOK, timeout)
            while not (ready := poll(0)) and clock() < until:
                _yield_cpu()
            ready = ready or poll(timeout)
        else:
            ready = poll(timeout)
        promptness.waited(clock() - began, looks)
        return ready

    def _sweep(self) -> None:
        with self.lock:
            now = time.monotonic()
            for connection in [c for c in self._strangers.values() if c.deadline < now]:
                connection._fail(TimeoutError("the peer did not finish the handshake"))
            for connection in [c for c in self._reaching.values() if c.deadline < now]:
                connection._fail(TimeoutError("the peer could not be reached"))
            ended, self._ended = self._ended, []
            for connection in ended:
                if connection.on_close is not None:
                    try:
                        connection.on_close(connection, connection.error)
                    except Exception:  # a defect, and the others must hear of their ends all the same
                        logger.exception("the end of %r could not be served", connection)

    def disown(self) -> None:
        """This process is a fork of the one whose sockets these are: from here on it reads from none of them.

        They stay open, because to close them would take them out of the poller, which is the other's, too.
        """
        self._closed = True

    def close(self) -> None:
        """Close every socket; no callback is called any more. A poll under way may not notice: end it first."""
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
