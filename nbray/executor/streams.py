"""What user code prints, line by line, to whoever submitted the call."""

from __future__ import annotations

import io
from collections.abc import Callable


class Lines(io.TextIOBase):
    """A text stream that hands over whole lines; ``flush`` hands over what there is.

    Args:
        number: 1 for stdout, 2 for stderr.
        emit: takes (number, text).
    """

    encoding = "utf-8"
    errors = "replace"

    def __init__(self, number: int, emit: Callable[[int, str], None]) -> None:
        self._number = number
        self._emit = emit
        self.pending = ""

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        self.pending += text
        if "\n" in text:
            lines, _, self.pending = self.pending.rpartition("\n")
            self._emit(self._number, lines + "\n")
        return len(text)

    def flush(self) -> None:
        if self.pending:
            text, self.pending = self.pending, ""
            self._emit(self._number, text)

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._number
