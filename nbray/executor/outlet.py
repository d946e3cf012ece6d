"""What a process has written to its descriptors 1 and 2 and what it displayed, and how much of it has been passed on.

All are files of the node's session directory. So a write never blocks, costs a microsecond whoever does it (Python, C, a
subprocess), and survives the process: the node agent finds with ``rest_of`` what was not passed on. The positions are in a
mapped file, which survives as well. What has been passed on gives its disk space back.

User code may close the descriptors, or put something else in their place; after a task they are the files again (``restore``).
So that a look at a size tells a file from /dev/null, none is empty.
"""

from __future__ import annotations

import mmap
import os
import struct
import threading
from collections import deque
from typing import Any, NamedTuple

from nbray.executor import linux

_POSITIONS, _ANSWERED = struct.Struct("<QQQQ"), struct.Struct("<Q")
#: Of the files of streams 1, 2 and 3 (only once something is displayed, see ``shown.py``), and of the positions.
STREAMS = (".out", ".err", ".shown")
_SENT = ".sent"
SUFFIXES = (*STREAMS, _SENT)
#: Bytes of one message, and of a line that is not cut.
_PIECE, _LINE = 1 << 16, 1 << 24
#: Bytes that stay on disk: the end of stderr goes into the error of a crash.
_KEEP, _DIG = 1 << 16, 1 << 22
#: Bytes of each stream that a dead process' owner still gets.
_REST = 1 << 20

_lseek, _END = os.lseek, os.SEEK_END


class Piece(NamedTuple):
    """Whole lines of one stream, by one call or by none."""

    stream: int
    end: int
    text: str
    by: Any


class Outlet:
    """
    Args:
        path: of the files, without their suffixes. Those of streams 1 and 2 exist.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._files = [os.open(path + suffix, os.O_RDONLY) for suffix in STREAMS[:2]]
        self._holes = [os.open(path + suffix, os.O_WRONLY | os.O_APPEND) for suffix in STREAMS[:2]]
        self._writing = [1, 2]
        sent = os.open(path + _SENT, os.O_RDWR | os.O_CREAT, 0o600)
        os.ftruncate(sent, _POSITIONS.size)
        self._sent = mmap.mmap(sent, _POSITIONS.size)
        os.close(sent)
        self.positions = [0 if os.fstat(file).st_size else os.write(file, b"\n") for file in self._holes]
        self._dug = [0, 0]
        self._known = list(self.positions)
        self._answered = 0
        self._adding = threading.Lock()
        self._order = threading.RLock()  # a finalizer may print in the middle of a print
        #: Who wrote up to where: (0, 1 or 2, end, by), in the order of writing.
        self._spans: deque[tuple[int, int, Any]] = deque()
        self.settle()

    def _add_stream(self) -> None:
        """The third file: most processes never have one."""
        with self._adding:
            if len(self._writing) == 2:
                path = self._path + STREAMS[2]
                self._writing.append(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600))
                self._holes.append(self._writing[2])
                for positions in (self.positions, self._dug, self._known):
                    positions.append(0)
                self._files.append(os.open(path, os.O_RDONLY))

    def sizes(self) -> list[int]:
        return [os.lseek(file, 0, os.SEEK_END) for file in self._files]

    def has_news(self) -> bool:
        """Whether something was not yet passed on."""
        files, positions = self._files, self.positions
        return (
            _lseek(files[0], 0, _END) != positions[0]
            or _lseek(files[1], 0, _END) != positions[1]
            or (len(files) == 3 and _lseek(files[2], 0, _END) != positions[2])
        )

    def at_rest(self) -> bool:
        """Whether all was passed on, and the descriptors are our files. Asked at each task's answer, so it makes no list."""
        positions, writing, files = self.positions, self._writing, self._files
        try:
            return (
                _lseek(writing[0], 0, _END) == positions[0]
                and _lseek(writing[1], 0, _END) == positions[1]
                and (len(files) == 2 or _lseek(files[2], 0, _END) == positions[2])
            )
        except OSError:  # closed, or a pipe
            return False

    def restore(self) -> None:
        """The descriptors that a task closed or redirected are the files again.

        If it closed one, some file that was opened next, here or by user code, may have got its number. It keeps it: who uses
        it would write, or read, elsewhere. Files that are opened are not inherited, what ``dup2`` puts in a place is.
        """
        for index, number in enumerate(self._writing[:2]):
            file = self._holes[index]
            try:
                if os.path.sameopenfile(number, file):
                    continue
                taken = not os.get_inheritable(number)
            except OSError:
                taken = False
            if taken:
                self._writing[index] = file
            else:
                os.dup2(file, number)

    def behind(self) -> int:
        """Bytes that were not yet passed on."""
        return sum(self.sizes()) - sum(self.positions)

    def note_others(self, by: Any) -> None:
        """What C code or a subprocess has written until now comes before what is written next, on the other stream too."""
        sizes = self.sizes()
        for index in (0, 1):  # nobody else writes to the third
            if sizes[index] > self._known[index]:
                self._known[index] = sizes[index]
                self._spans.append((index, sizes[index], by))

    def print(self, stream: int, data: bytes, by: Any, others: Any) -> None:
        """``note_others`` and ``write``, one thread at a time: a write and the look at where it ended belong together.

        Otherwise two threads that print at once could find the end of the later write both, and the lines of one would pass for
        the other's.
        """
        with self._order:
            self.note_others(others)
            self.write(stream, data, by)

    def write(self, stream: int, data: bytes, by: Any) -> None:
        """Whole lines by ``by``, after whatever is in the file. ``stream``: 1, 2 or 3."""
        if stream == 3:
            self._add_stream()
        to = self._writing[stream - 1]
        while data:
            written = os.write(to, data)
            data = data[written:]
        try:
            # The description's own position: after an appending write, the end of just that write.
            end = self._known[stream - 1] = os.lseek(to, 0, os.SEEK_CUR)
            self._spans.append((stream - 1, end, by))
        except OSError:  # user code has put a pipe in its place
            pass

    def answered(self) -> None:
        """What was printed until now is the business of calls that are over."""
        if self._answered == self.positions[1]:
            return
        self._answered = self.positions[1]
        _ANSWERED.pack_into(self._sent, _POSITIONS.size - _ANSWERED.size, self._answered)

    def next(self, last: bool) -> Piece | None:
        """What to pass on next, in the order of writing as far as it is known; None if there are only beginnings of lines.

        Args:
            last: those, too.
        """
        with self._order:
            sizes, positions, spans = self.sizes(), self.positions, self._spans
            while spans:
                index, end, by = spans[0]
                if positions[index] < end <= sizes[index]:
                    for other, further, who in spans:
                        if other != index or who is not by:
                            break
                        if further <= sizes[index]:
                            end = max(end, further)
                    piece = self._piece(index, end, True, by)
                    assert piece is not None
                    return piece
                spans.popleft()
            for index in range(len(sizes)):
                if positions[index] < sizes[index]:
                    piece = self._piece(index, sizes[index], last, None)
                    if piece is not None:
                        return piece
            return None

    def _piece(self, index: int, end: int, last: bool, by: Any) -> Piece | None:
        start = self.positions[index]
        size = _PIECE
        while True:
            data = os.pread(self._files[index], min(end - start, size), start)
            whole = len(data) >= end - start or not data
            if whole and last:
                break
            newline = data.rfind(b"\n") + 1
            if newline:
                data = data[:newline]
                break
            if whole:
                return None
            if size >= _LINE:
                break
            size *= 4
        return Piece(index + 1, start + len(data), data.decode("utf-8", "backslashreplace"), by)

    def passed(self, piece: Piece) -> None:
        """It is on its way, but this process may still die with a part of it."""
        self.positions[piece.stream - 1] = piece.end

    def settle(self) -> None:
        """The system has all that was passed on, and delivers it whatever becomes of this process."""
        positions = self.positions
        shown = positions[2] if len(positions) > 2 else 0
        _POSITIONS.pack_into(self._sent, 0, positions[0], positions[1], shown, self._answered)
        for index, end in enumerate(positions):
            if end - self._dug[index] > _DIG:
                linux.give_back(self._holes[index], end - _KEEP)
                self._dug[index] = end


def _positions_of(path: str) -> tuple[int, ...]:
    try:
        with open(path + _SENT, "rb") as file:
            return _POSITIONS.unpack(file.read(_POSITIONS.size))
    except (OSError, struct.error):  # it never came so far
        return (0, 0, 0, 0)


def answered_of(path: str) -> int:
    """Where stderr stood when the process of that outlet last answered a call."""
    return _positions_of(path)[3]


class Rest(NamedTuple):
    """What a dead process wrote to a stream and had not settled: its bytes from ``start`` on, without ``missing`` before them."""

    stream: int
    start: int
    missing: int
    data: bytes


def rest_of(path: str) -> list[Rest]:
    """What the process of that outlet, which is dead, has not passed on for sure; a part of it may have come over."""
    rest = []
    for index, position in enumerate(_positions_of(path)[:3]):
        try:
            with open(path + STREAMS[index], "rb") as file:
                missing = max(file.seek(0, os.SEEK_END) - position - _REST, 0)
                file.seek(position + missing)
                data = file.read(_REST)
        except OSError:
            continue
        if data:
            rest.append(Rest(index + 1, position + missing, missing, data))
    return rest
