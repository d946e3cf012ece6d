"""``sys.stdout``, ``sys.stderr`` and ``sys.stdin`` of an executor: whole lines go to the descriptors that C code writes to."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable
from typing import Any, TypeAlias

from nbray.executor.running import Current, current

#: Whose beginning of a line: a thread's, in a call.
Key: TypeAlias = tuple[int, Current | None]

#: Characters after which the beginning of a line over which a progress bar drew itself again is forgotten.
_LONG = 1 << 16
_NOTHING = (0.0, b"")


class Lines(io.TextIOBase):
    """A text stream that hands over whole lines. Each thread and each call has its own beginning of a line.

    Half a line waits for its rest, or for the end of the call. Meanwhile ``begun`` has it, for whoever shows how far it is.

    Args:
        number: 1 for stdout, 2 for stderr.
        emit: takes (number, bytes that end with a newline). Never under a lock of ours.

    Attributes:
        begun: the beginnings of lines, each with the time since when there has been one.
        on_flush: called when user code wants the beginning of a line to be seen: by ``flush`` or a carriage return at its end.
    """

    encoding = "utf-8"
    errors = "backslashreplace"
    line_buffering = True
    mode = "w"

    def __init__(self, number: int, emit: Callable[[int, bytes], None]) -> None:
        self._number = number
        self._emit = emit
        self.begun: dict[Key, tuple[float, bytes]] = {}
        self.on_flush: Callable[[], None] | None = None
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
        since, begun = self.begun.pop(key, _NOTHING)
        lines, newline, rest = (begun + data).rpartition(b"\n")
        if rest:
            if len(rest) > _LONG and b"\r" in rest.rstrip(b"\r"):
                body = rest.rstrip(b"\r")
                rest = body.rpartition(b"\r")[2] + rest[len(body) :]
            self.begun[key] = (since if begun and not newline else time.monotonic(), rest)
        if newline:
            self._emit(self._number, lines + newline)
        if rest.endswith(b"\r"):
            self.flush()

    def flush(self) -> None:
        """Whole lines are on their way; of a beginning it is looked at how long it has been there."""
        if self.begun and self.on_flush is not None:
            self.on_flush()

    def end(self, call: Current | None = None) -> None:
        """The call is over: what it, or a thread without a call, began is a line. None: all are."""
        for key in list(self.begun):
            if call is None or key[1] is call or key[1] is None:
                begun = self.begun.pop(key, _NOTHING)[1]
                if begun:
                    self._emit(self._number, begun + b"\n")

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
        # What getpass tried before, and has failed with, tells nobody more.
        raise EOFError(
            "tasks and actors have no keyboard: call input() in the driver and pass the answer on"
        ) from None

    def __next__(self) -> str:  # type: ignore[override]
        raise StopIteration
