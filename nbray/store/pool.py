"""Used files, written again: a used page takes a copy ten times as fast as a fresh one.

32 MiB: 17 ms into a new file, 6 ms into a used one at the first time, 3 ms from then on, because the pool keeps its
files mapped. Whom a file belongs to is decided by locks and names alone (``store/segments.py`` has the readers' half):

- A file is written over only under an exclusive lock, so while any reader, in any process, has it mapped, it stays as it is.
- Then it is renamed. A file that two pools were given has one old name, and one of them fails to rename it. A reader
  who comes with the old name finds nothing.
- A reader who had opened the file before is refused the lock while it is written, and finds another id in the header after.
- The lock's descriptor is not the mapping's. The mapping lives on, and its descriptor would keep the lock.
- A process may be forked at any moment, and the child holds the lock until it ends. So the writer turns it into a
  shared one before it closes: the child then keeps the file from being written over, but nobody from reading.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import sys
import threading
from collections.abc import Sequence
from typing import Any

from nbray.exceptions import ObjectStoreFullError
from nbray.store.segments import (
    HEADER_SIZE,
    Segment,
    header_of,
    layout_of,
    new_name,
    path_of,
    places,
    remove_segment,
    size_of,
    write_segment,
)

_TRIES = 4
_WITHOUT_GIL = 1 << 20
_POPULATE = getattr(mmap, "MAP_POPULATE", 0)


class _File:
    __slots__ = ("capacity", "mapping", "name")

    def __init__(self, name: str, capacity: int, mapping: mmap.mmap | None = None) -> None:
        self.name = name
        self.capacity = capacity
        self.mapping = mapping


class Pool:
    """The files of one process that wait to be written again. Thread-safe; a forked child starts with none.

    Args:
        directory: the store directory.
        most_bytes: bytes that waiting files have at most; the longest waiting go first, and longer files do not wait.
        most_files: files that wait at most, and files in use whose mapping is kept at most. A mapping takes a descriptor.
    """

    def __init__(self, directory: str, most_bytes: int = 1 << 30, most_files: int = 16) -> None:
        self.directory = directory
        self.most_bytes = most_bytes
        self.most_files = most_files
        self._lock = threading.Lock()
        self._forget()

    def _forget(self) -> None:
        self._pid = os.getpid()
        self._waiting: dict[str, _File] = {}  # oldest first
        self._in_use: dict[str, _File] = {}
        self._bytes = 0

    @property
    def waiting(self) -> tuple[int, int]:
        """Number and bytes of the files that wait."""
        with self._lock:
            return len(self._waiting), self._bytes

    def write(self, object_id: bytes, pickle: bytes, buffers: Sequence[Any]) -> Segment:
        """``write_segment``, into a used file if one of that size is there and nobody reads it."""
        self._check_fork()
        layout = layout_of(pickle, buffers)
        size = size_of(layout)
        for file in self._candidates(size):
            name = self._write_over(file, object_id, size, (pickle, *buffers), layout)
            if name:
                return Segment(name, size, layout)
        try:
            return write_segment(self.directory, object_id, pickle, buffers)
        except ObjectStoreFullError:
            if not self.trim(0):
                raise
        return write_segment(self.directory, object_id, pickle, buffers)

    def give_back(self, name: str) -> bool:
        """The object in that file was given up: the file waits to be written again, or goes.

        False if there is no such file any more. Any process's file may be given.
        """
        self._check_fork()
        try:
            capacity = os.stat(path_of(self.directory, name), follow_symlinks=False).st_size
        except FileNotFoundError:
            return False
        if capacity > self.most_bytes:
            self._in_use.pop(name, None)
            return remove_segment(self.directory, name)
        with self._lock:
            file = self._in_use.pop(name, None) or _File(name, capacity)
            if name not in self._waiting:
                self._waiting[name] = file
                self._bytes += file.capacity
        self.trim(self.most_bytes)
        return True

    def trim(self, most_bytes: int) -> int:
        """Remove the longest waiting files until the rest has at most that many bytes; returns how many went."""
        with self._lock:
            gone = []
            while self._waiting and (self._bytes > most_bytes or len(self._waiting) > self.most_files):
                gone.append(self._pop(next(iter(self._waiting))))
        for file in gone:
            remove_segment(self.directory, file.name)
        return len(gone)

    def close(self) -> None:
        """Remove all files that wait. Objects stay."""
        self.trim(0)
        with self._lock:
            self._in_use.clear()

    # -- writing over ----------------------------------------------------------------------------------------------

    def _check_fork(self) -> None:
        """The files that a forked child remembers are its parent's."""
        if self._pid != os.getpid():
            self._lock = threading.Lock()  # another thread of the parent may have held it
            self._forget()

    def _pop(self, name: str) -> _File:
        file = self._waiting.pop(name)
        self._bytes -= file.capacity
        return file

    def _candidates(self, size: int) -> list[_File]:
        """Files that are long enough but at most twice as long, those with the least to spare first."""
        if not self._waiting:
            return []
        with self._lock:
            fit = [file for file in self._waiting.values() if size <= file.capacity <= 2 * size]
        fit.sort(key=lambda file: file.capacity)
        return fit[:_TRIES]

    def _write_over(
        self, file: _File, object_id: bytes, size: int, parts: Sequence[Any], layout: tuple[int, ...]
    ) -> str:
        """The file's new name; "" if somebody reads it, or it is no longer ours to write to."""
        with self._lock:
            if self._waiting.get(file.name) is not file:
                return ""  # another thread took it
            self._pop(file.name)
        path = path_of(self.directory, file.name)
        try:
            fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
        except FileNotFoundError:
            return ""
        try:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                with self._lock:  # behind all others: it may be read for long
                    self._waiting[file.name] = file
                    self._bytes += file.capacity
                return ""
            name = new_name(object_id)
            try:
                os.rename(path, path_of(self.directory, name))
            except FileNotFoundError:
                return ""
            file.name = name
            try:
                self._copy(file, object_id, size, parts, layout)
            except BaseException:
                remove_segment(self.directory, name)
                raise
            fcntl.flock(fd, fcntl.LOCK_SH)
        finally:
            os.close(fd)
        with self._lock:
            self._in_use[name] = file
            if len(self._in_use) > self.most_files:
                del self._in_use[next(iter(self._in_use))]
        return name

    def _copy(
        self, file: _File, object_id: bytes, size: int, parts: Sequence[Any], layout: tuple[int, ...]
    ) -> None:
        mapping = file.mapping
        if mapping is None:
            mapping = file.mapping = self._map(file)
        # The id comes last: what a dead writer leaves behind is nobody's object.
        mapping[:HEADER_SIZE] = bytes(HEADER_SIZE)
        for part, (start, length) in zip(parts, places(layout), strict=True):
            _copy_into(mapping, start, length, part)
        header = header_of(object_id, size)
        mapping[: len(header)] = header

    def _map(self, file: _File) -> mmap.mmap:
        fd = os.open(path_of(self.directory, file.name), os.O_RDWR | os.O_NOFOLLOW)
        try:
            return mmap.mmap(fd, file.capacity, flags=mmap.MAP_SHARED | _POPULATE)
        finally:
            os.close(fd)


def _copy_into(mapping: mmap.mmap, start: int, length: int, part: Any) -> None:
    numpy = sys.modules.get("numpy")
    if length < _WITHOUT_GIL or numpy is None:
        mapping[start : start + length] = part
    else:  # NumPy releases the GIL while it copies
        target = numpy.frombuffer(mapping, numpy.uint8, length, start)
        numpy.copyto(target, numpy.frombuffer(part, numpy.uint8))
