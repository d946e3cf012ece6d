"""The node agent's end of a template process: starts it, talks to it, notices its end."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Callable

from nbray.core.messages import Message
from nbray.executor import linux
from nbray.executor.boot import BE_TEMPLATE, PING, PONG, Boot
from nbray.executor.template import COMMAND, greeting
from nbray.wire.codec import Decoder, encode

#: Seconds between two looks whether the template has said something since it was asked for something.
_LOOK = 1.0
#: Looks after which one that stands still is ended: once it is up, and before, while it imports.
_PATIENCE, _START = 15, 60


class TemplateLink:
    """One template process.

    It is started at once, by any thread; frames may be sent before it is up. Messages come after ``attach``.

    A template that stands still starts nothing, and whoever waits for that would wait for ever. So it is asked whether it is
    there after each wish, and ended when it does not answer. Looks are counted and not seconds, because this process may have
    stood still as well, all the machine with it.

    Args:
        boot: number 0; the directory of ``boot.log_path`` must exist.
    """

    def __init__(self, boot: Boot) -> None:
        linux.start_method(sys.platform, 1)
        self.boot = boot
        self._decoder = Decoder()
        #: Inherited by every process that comes from this template, so that ``bury`` finds them.
        self._mark = ("NBRAY_TEMPLATE", secrets.token_hex(8))
        self._out = bytearray()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._look: asyncio.TimerHandle | None = None
        self._silent = 0
        self._patience = _START
        #: Why it was ended, if it was ended here.
        self.reason = ""
        self._on_message: Callable[[Message], None]
        self._on_gone: Callable[[], None]
        self._socket, theirs = socket.socketpair()
        try:
            log = os.open(boot.log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            with theirs, open(log, "wb") as file:
                # A session of its own: Ctrl-C in a terminal reaches the driver's process group only.
                self.process = subprocess.Popen(
                    [sys.executable, *COMMAND],
                    stdin=theirs.fileno(),
                    stdout=file,
                    stderr=file,
                    cwd=boot.cwd if os.path.isdir(boot.cwd) else "/",
                    env={**os.environ, self._mark[0]: self._mark[1]},
                    start_new_session=True,
                )
        except BaseException:
            self._socket.close()
            raise
        try:
            self._socket.sendall(greeting(BE_TEMPLATE, boot))
        except OSError:  # it did not even start; ``on_gone`` tells
            pass
        self._socket.setblocking(False)

    def attach(
        self,
        loop: asyncio.AbstractEventLoop,
        on_message: Callable[[Message], None],
        on_gone: Callable[[], None],
    ) -> None:
        """Serve the socket from ``loop``. ``on_gone`` is called once, when the template has ended or is about to."""
        self._loop = loop
        self._on_message = on_message
        self._on_gone = on_gone
        loop.add_reader(self._socket, self._readable)
        self._flush()
        self._watch()

    def send(self, *message: object) -> None:
        """Never blocks. Lost if the template is gone; ``on_gone`` tells."""
        self._out += encode(message)
        self._flush()
        self._watch()

    def _watch(self) -> None:
        if self._loop is not None and self._look is None:
            self._silent = 0
            self._look = self._loop.call_later(_LOOK, self._is_it_there)

    def _is_it_there(self) -> None:
        assert self._loop is not None
        self._silent += 1
        if self._silent == 1:
            self._out += encode((PING,))
            self._flush()
        if self._silent < self._patience:
            self._look = self._loop.call_later(_LOOK, self._is_it_there)
        else:
            self.reason = f"stood still for {self._silent * _LOOK:.0f} s and was ended"
            self.process.kill()  # the end of file follows

    def _heard(self) -> None:
        self._patience = _PATIENCE
        if self._look is not None:
            self._look.cancel()
            self._look = None

    def _flush(self) -> None:
        if self._loop is None:
            return
        try:
            while self._out:
                del self._out[: self._socket.send(self._out)]
        except BlockingIOError:
            self._loop.add_writer(self._socket, self._flush)
            return
        except OSError:  # the reader gets the end of file
            self._out.clear()
        self._loop.remove_writer(self._socket)

    def _readable(self) -> None:
        try:
            data = self._socket.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._heard()
            for message in self._decoder.feed(data):
                if message[0] != PONG:
                    self._on_message(message)
        else:
            self._detach()
            self._on_gone()

    def dismiss(self) -> None:
        """Tell it to end everything, remove the files and go; ``on_gone`` follows."""
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def bury(self) -> None:
        """End the process if it has not ended, and whatever came from it that it did not end itself."""
        self._detach()
        self.process.kill()
        linux.kill_strays(self.process.pid, "=".join(self._mark))
        self.process.wait()
        self._socket.close()

    def _detach(self) -> None:
        if self._look is not None:
            self._look.cancel()
            self._look = None
        if self._loop is not None and self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket)
            self._loop.remove_writer(self._socket)
