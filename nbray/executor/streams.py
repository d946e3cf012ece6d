"""``sys.stdout``, ``sys.stderr`` and ``sys.stdin`` of an executor: whole lines go to the descriptors that C code writes to."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from typing import Any

from nbray.executor.running import Current, current

#: Characters after which the beginning of a line over which a progress bar drew itself again is forgotten.
_LONG = 1 << 16


class Lines(io.TextIOBase):
    """A text stream that hands over whole lines. Each thread and each call has its own beginning of a line.

    ``flush`` does nothing: half a line is shown when its rest comes, or at the end of the call.

    Args:
        number: 1 for stdout, 2 for stderr.
        emit: takes (number, bytes that end with a newline). Never under a lock of ours.
    """

    encoding = "utf-8"
    errors = "backslashreplace"
    line_buffering = True
    mode = "w"

    def __init__(self, number: int, emit: Callable[[int, bytes], None]) -> None:
        self._number = number
        self._emit = emit
        self._begun: dict[tuple[int, Current | None], bytes] = {}
        self.buffer = Bytes(self)
        self.name = "<stdout>" if number == 1 else "<stderr>"

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        self.take(text.encode("utf-8", "backslashreplace"))
        return len(text)

    def take(self, data: bytes) -> None:
        """The bytes of ``write``, or of ``buffer.write``."""
        key = (threading.get_ident(), current())
        begun = self._begun.pop(key, b"")
        lines, newline, rest = (begun + data).rpartition(b"\n")
        if rest:
            if len(rest) > _LONG and b"\r" in rest.rstrip(b"\r"):
                body = rest.rstrip(b"\r")
                rest = body.rpartition(b"\r")[2] + rest[len(body) :]
            self._begun[key] = rest
        if newline:
            self._emit(self._number, lines + newline)

    def end(self, call: Current | None = None) -> None:
        """The call is over: what it, or a thread without a call, began is a line. None: all are."""
        for key in list(self._begun):
            if call is None or key[1] is call or key[1] is None:
                begun = self._begun.pop(key, b"")
                if begun:
                    self._emit(self._number, begun + b"\n")

    @property
    def begun(self) -> bool:
        return bool(self._begun)

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._number

    def isatty(self) -> bool:
        return False

    def reconfigure(self, **options: Any) -> None:
        """Accepted and without effect: it is UTF-8, by lines."""

    def close(self) -> None:
        """Without effect: the process goes on, and with it what others print."""


class Bytes(io.RawIOBase):
    """``buffer`` of a text stream."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines
        self.raw = self

    def write(self, data: Any) -> int:
        copy = bytes(data)
        self._lines.take(copy)
        return len(copy)

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._lines.fileno()

    def close(self) -> None:
        """Without effect, as for the text stream."""


class NoInput(io.TextIOBase):
    """Nobody types into a task: empty for who reads, an error with a reason for who asks."""

    encoding = "utf-8"
    errors = "strict"
    name = "<stdin>"

    def readable(self) -> bool:
        return True

    def fileno(self) -> int:
        return 0

    def read(self, size: int | None = -1) -> str:
        return ""

    def readline(self, size: int = -1) -> str:  # type: ignore[override]
        raise EOFError("tasks and actors have no keyboard: call input() in the driver and pass the answer on")

    def __next__(self) -> str:  # type: ignore[override]
        raise StopIteration
