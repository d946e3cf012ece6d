"""A proxy between two peers that understands frames: it passes them on, drops, doubles, delays or cuts them, as a script says."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from typing import Any

from nbray.wire.codec import NUMBERED_HEADER_SIZE, decode_body

#: Bytes of the handshake each way, greeting and proof; what comes after are frames.
HANDSHAKE = (40, 32)

#: What a script can say of a frame. An ``Event``: pass it on when that is set, and what comes behind it after it.
#: DROP: the frame is lost, which the next one shows. CUT, END: the connection ends, in the middle of the frame or before it.
PASS, DROP, TWICE, CUT, END = "pass", "drop", "twice", "cut", "end"

#: ("to" or "from" the listening side, message) -> what to do.
Script = Callable[[str, Any], Any]


class FrameProxy:
    """Listens in front of peers.

    Attributes:
        script: what to do with each frame; may be replaced at any time.
        seen: (direction, message) of all frames that came by.
    """

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self.script: Script = lambda direction, message: PASS
        self.seen: list[tuple[str, Any]] = []
        self._fronts: dict[str, str] = {}
        self._listeners: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._open: list[socket.socket] = []

    def front(self, path: str) -> str:
        """Where to connect to reach, through this proxy, the peer that listens at ``path``."""
        if path not in self._fronts:
            front = self._fronts[path] = f"{self.directory}/p{len(self._fronts)}"
            self._listen(front, path)
        return self._fronts[path]

    def stand_before(self, path: str) -> None:
        """From here on, who connects to ``path`` reaches the peer that listens there through this proxy."""
        os.rename(path, f"{path}.real")
        self._listen(path, f"{path}.real")

    def _listen(self, path: str, target: str) -> None:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        listener.listen(100)
        self._listeners.append(listener)
        self._start(self._accept, listener, target)

    def _start(self, target: Any, *args: Any) -> None:
        thread = threading.Thread(target=target, args=args, name="frame-proxy")
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket, target: str) -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            far = socket.socket(socket.AF_UNIX)
            try:
                far.connect(target)
            except OSError:
                near.close()
                far.close()
                continue
            self._open += [near, far]
            self._start(self._pump, near, far, "to")
            self._start(self._pump, far, near, "from")

    def _pump(self, source: socket.socket, sink: socket.socket, direction: str) -> None:
        try:
            for part in HANDSHAKE:
                sink.sendall(_exactly(source, part))
            while True:
                header = _exactly(source, NUMBERED_HEADER_SIZE)
                body = _exactly(source, int.from_bytes(header[:4], "little"))
                self._forward(sink, direction, header + body, decode_body(body))
        except (EOFError, OSError):
            _end(source)
            _end(sink)

    def _forward(self, sink: socket.socket, direction: str, frame: bytes, message: Any) -> None:
        self.seen.append((direction, message))
        verdict = self.script(direction, message)
        if isinstance(verdict, threading.Event):
            assert verdict.wait(30), "nobody let the frame go"
            verdict = PASS
        if verdict == CUT:
            sink.sendall(frame[: len(frame) // 2])
        if verdict in (CUT, END):
            raise EOFError
        if verdict != DROP:
            sink.sendall(frame)
        if verdict == TWICE:
            sink.sendall(frame)

    def close(self) -> None:
        for sock in [*self._listeners, *self._open]:
            _end(sock)
        for thread in self._threads:
            thread.join(10)
        for sock in [*self._listeners, *self._open]:
            sock.close()


def _end(sock: socket.socket) -> None:
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass


def _exactly(sock: socket.socket, size: int) -> bytes:
    pieces = []
    while size:
        piece = sock.recv(min(size, 1 << 20))
        if not piece:
            raise EOFError
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)
