"""Used files: written again instead of made anew.

A used page takes a copy ten times as fast as a fresh one (32 MiB: 17 ms into a new file, 1.5 ms into a used one that is mapped
already). So a file whose object was given up *waits*: it goes to ``free/`` under a name that says its size, and any process
of the node writes its next object into it. The node agent removes what has waited for a second or two (``tidy``). Whom a
file belongs to is decided by locks and names alone; ``store/segments.py`` has the readers' half:

- Only who has the exclusive lock takes a file out of ``free/`` or cuts it, so while any reader, in any process, has it
  mapped, it stays as it is. It is renamed when the new object is whole: who is killed before leaves a file that waits.
- Its header is cleared first and written last. A reader who comes with the old name finds nothing; one who had opened the
  file before is refused the lock while it is written, and finds another id in the header after.
- A file that is removed is cut first if nobody reads it: other writers may have it mapped still, and its memory would stay.
- A writer releases its lock explicitly, so a child that was forked meanwhile does not keep it. It reads nothing through it.
- A file that is given up just where its process writes another object of that size does not wait at all (``spare``): it is
  written over under its old name and then renamed, which saves a rename and the account's lock twice (20 of 95 us for 1 MiB).
  Who is killed meanwhile leaves a file with its own process' name, which the node agent removes.
"""

from __future__ import annotations

import fcntl
import itertools
import mmap
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

from nbray.store.account import Account
from nbray.store.copying import Copier
from nbray.store.directory import FREE
from nbray.store.segments import HEADER_SIZE, Layout, header_of, path_of, places

_TRIES = 8
_POPULATE = getattr(mmap, "MAP_POPULATE", 0)
_NO_HEADER = bytes(HEADER_SIZE)


class Used:
    """A used file that this process has written to before: its lock's descriptor, its mapping, and what it was named last."""

    __slots__ = ("fd", "inode", "capacity", "mapping", "name")

    def __init__(self, fd: int, inode: int, capacity: int) -> None:
        self.fd = fd
        self.inode = inode
        self.capacity = capacity
        self.name = ""
        self.mapping = mmap.mmap(fd, capacity, flags=mmap.MAP_SHARED | _POPULATE)

    def close(self) -> None:
        with suppress(BufferError):  # an interrupt left a view of it: it goes with that
            self.mapping.close()
        os.close(self.fd)


class Reuse:
    """Thread-safe. A forked child remembers nothing of what its parent had mapped.

    Args:
        directory: the store's. account: of the store.
        waiting: number of files that wait at most, in all processes together. The next ones go at once.
        mapped: number of used files that this process keeps mapped; each takes two descriptors.

    Attributes:
        spared: the name of an object that is given up, and may be written over at once.
    """

    def __init__(self, directory: str, account: Account, waiting: int, mapped: int) -> None:
        self._directory = directory
        self._free = f"{directory}/{FREE}"
        self._account = account
        self._most_waiting = waiting
        self._most_mapped = mapped
        self._seen: set[str] = set()
        self._closed = False
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._copier = Copier()
        self._mapped: dict[int, Used] = {}  # by inode, the longest unused first
        self._last = ""
        self.spared = ""
        self._tags = itertools.count()
        self._tag = os.urandom(4).hex()

    def check_fork(self) -> None:
        """A child shares the descriptors' locks with its parent, so it must not use them."""
        if self._pid != os.getpid():
            for used in self._mapped.values():
                used.close()
            self._begin()

    # -- giving up ---------------------------------------------------------------------------------------------------

    def take(self, path: str, found: os.stat_result) -> bool:
        """An object's file is to wait, or to go if too many wait; False if it is gone."""
        with self._account:
            if self._account.waiting < self._most_waiting:
                entry = f"{found.st_size}.{found.st_ino}.{self._tag}{next(self._tags)}"
                try:
                    os.rename(path, f"{self._free}/{entry}")
                except FileNotFoundError:
                    return False
                self._account.waiting += 1
                self._last = entry
            elif remove(path, read=True):
                self._account.used -= found.st_size
            else:
                return False
        return True

    def spare(self, name: str) -> bool:
        """That object's file may be written over at once; False: it cannot, or another one is spared."""
        with self._lock:
            if self.spared or self._mapped_as(name) is None:
                return False
            self.spared = name
        return True

    def _mapped_as(self, name: str) -> Used | None:
        """The lock is held."""
        for used in reversed(self._mapped.values()):  # mostly the last one
            if used.name == name:
                return used
        return None

    # -- writing over ------------------------------------------------------------------------------------------------

    def _waiting(self) -> list[str]:
        """The longest waiting first, as far as one process gave them."""
        try:
            return sorted(os.listdir(self._free), key=lambda entry: (len(entry), entry))
        except FileNotFoundError:  # the node is being closed
            return []

    def _candidates(self, size: int) -> Iterator[str]:
        """Files that are long enough but at most twice as long, those with the least to spare first.

        But first of all the last one that this process gave up, if it is just right: its pages are in the processor's cache.
        """
        last = self._last
        if last and int(last.partition(".")[0]) == size:
            yield last
        fit = []
        for entry in os.listdir(self._free):
            capacity = int(entry.partition(".")[0])
            if size <= capacity <= 2 * size:
                fit.append((capacity, len(entry), entry))
        fit.sort()
        for _, _, entry in fit[:_TRIES]:
            yield entry

    def write_over(
        self, name: str, object_id: bytes, size: int, parts: Sequence[Any], layout: Layout
    ) -> bool:
        """Write the object over a waiting file of about that size; False if there is none."""
        for entry in self._candidates(size):
            used = self._lock_waiting(entry)
            if used is None:
                continue
            try:
                self._fill(used.mapping, object_id, size, parts, layout)
                with self._account:
                    os.rename(f"{self._free}/{entry}", path_of(self._directory, name))
                    self._account.waiting -= 1
                used.name = name
            finally:
                fcntl.flock(used.fd, fcntl.LOCK_UN)
                self._keep(used)
            return True
        return False

    def write_over_spared(
        self, name: str, object_id: bytes, size: int, parts: Sequence[Any], layout: Layout
    ) -> bool:
        """Write the object over the spared file, which is none any more; False: that one is to be given up like others."""
        with self._lock:
            spared, self.spared = self.spared, ""
            used = self._mapped_as(spared)
            if used is None or not size <= used.capacity <= 2 * size:
                return False
            del self._mapped[used.inode]
        try:
            fcntl.flock(used.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:  # somebody reads it
            self._keep(used)
            return False
        try:
            self._fill(used.mapping, object_id, size, parts, layout)
            os.rename(path_of(self._directory, spared), path_of(self._directory, name))
            used.name = name
        finally:
            fcntl.flock(used.fd, fcntl.LOCK_UN)
            self._keep(used)
        return True

    def _lock_waiting(self, entry: str) -> Used | None:
        """The file, which nobody else will touch until it is unlocked; None if somebody reads it, or took it."""
        capacity, inode = map(int, entry.split(".")[:2])
        path = f"{self._free}/{entry}"
        with self._lock:
            used = self._mapped.pop(inode, None)
        fd = -1
        try:
            if used is None:
                fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
            fcntl.flock(used.fd if used is not None else fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.stat(path, follow_symlinks=False)  # it was there when we looked; with the lock it stays
            if used is None:
                used, fd = Used(fd, inode, capacity), -1
            return used
        except (BlockingIOError, FileNotFoundError) as error:
            if used is not None:
                if not isinstance(error, BlockingIOError):
                    fcntl.flock(used.fd, fcntl.LOCK_UN)
                self._keep(used)
            return None
        finally:
            if fd >= 0:
                os.close(fd)

    def _keep(self, used: Used) -> None:
        with self._lock:
            last = None
            if not self._closed and used.inode not in self._mapped:
                self._mapped[used.inode] = used
                if len(self._mapped) > self._most_mapped:
                    last = self._mapped.pop(next(iter(self._mapped)))
            else:
                last = used
        if last is not None:
            last.close()

    def _remove(self, entry: str) -> int:
        """Remove a waiting file that nobody reads; answers its bytes, 0 if it stays. The account is held."""
        if not remove(f"{self._free}/{entry}", read=False):
            return 0
        size = int(entry.partition(".")[0])
        self._account.waiting -= 1
        self._account.used -= size
        return size

    def _fill(
        self, mapping: mmap.mmap, object_id: bytes, size: int, parts: Sequence[Any], layout: Layout
    ) -> None:
        """Write an object over another: the header is cleared first and written last."""
        mapping[:HEADER_SIZE] = _NO_HEADER
        for part, (start, _) in zip(parts, places(layout), strict=True):
            self._copier.copy(mapping, start, part)
        header = header_of(object_id, size)
        mapping[: len(header)] = header

    # -- giving memory back ------------------------------------------------------------------------------------------

    def make_room(self, missing: int) -> bool:
        """Remove waiting files, the longest waiting first, until they had so many bytes. The account is held."""
        for entry in self._waiting():
            if missing <= 0:
                break
            missing -= self._remove(entry)
        return missing <= 0

    def tidy(self, most: int) -> bool:
        """See ``Store.tidy``."""
        if not self._account.waiting:
            self._seen.clear()
            return False
        waiting = self._waiting()
        for entry in waiting:
            if entry in self._seen:
                with self._account:
                    most -= self._remove(entry)
                if most <= 0:
                    return True
        self._seen = set(waiting)
        return False

    def close(self) -> None:
        """Let go of what this process has mapped."""
        with self._lock:
            self._closed = True
            mapped, self._mapped = self._mapped, {}
        self._copier.close()
        for used in mapped.values():
            used.close()


def remove(path: str, *, read: bool) -> bool:
    """Unlink a file and give its memory back at once; False if it is gone, or somebody reads it and that is not all right."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    try:
        cut = True
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not read:
                return False
            cut = False  # with its last reader
        try:
            os.unlink(path)
        except FileNotFoundError:
            return False
        if cut:
            os.ftruncate(fd, 0)
        return True
    finally:
        os.close(fd)
