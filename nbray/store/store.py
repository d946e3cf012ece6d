"""The files of a node's store, as one of its processes sees them: made, given up, written again, on disk when memory is full.

A used page takes a copy ten times as fast as a fresh one (32 MiB: 17 ms into a new file, 1.5 ms into a used one that is mapped
already). So a file whose object was given up *waits*: it goes to ``free/`` under a name that says its size, and any process
of the node writes its next object into it. The node agent removes what has waited for a second or two (``tidy``). Whom a
file belongs to is decided by locks and names alone; ``store/segments.py`` has the readers' half:

- Only who has the exclusive lock takes a file out of ``free/`` or cuts it, so while any reader, in any process, has it
  mapped, it stays as it is. It is renamed when the new object is whole: who is killed before leaves a file that waits.
- Its header is cleared first and written last. A reader who comes with the old name finds nothing; one who had opened the
  file before is refused the lock while it is written, and finds another id in the header after.
- A file that is removed is cut first if nobody reads it: other writers may have it mapped still, and its memory would stay.
- A new file is called ``*.part`` and locked until it is whole. A ``.part`` that nobody has locked is a dead writer's.
- A writer releases its lock explicitly, so a child that was forked meanwhile does not keep it. It reads nothing through it.
- A file that is given up just where its process writes another object of that size does not wait at all (``spare``): it is
  written over under its old name and then renamed, which saves a rename and the account's lock twice (20 of 95 us for 1 MiB).
  Who is killed meanwhile leaves a file with its own process' name, which the node agent removes.

Every file in memory is counted, also those that wait; when there is no room, waiting ones go, and then new objects go to disk.
"""

from __future__ import annotations

import fcntl
import itertools
import mmap
import os
import shutil
import stat
import sys
import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from typing import Any

from nbray.core.ids import COPY, PROCESS_ID_SIZE
from nbray.exceptions import OutOfDiskError
from nbray.store.account import Account, Figures
from nbray.store.directory import ACCOUNT, DISK, FREE, furnish
from nbray.store.segments import (
    HEADER_SIZE,
    Layout,
    Segment,
    header_of,
    layout_of,
    new_name,
    path_of,
    path_on_disk,
    places,
    reserve,
    says_full,
    size_of,
    write_segment,
)

_TRIES = 8
_MAPPED = 8
_WAITING = 64
_WITHOUT_GIL = 4 << 20
_POPULATE = getattr(mmap, "MAP_POPULATE", 0)
_NO_HEADER = bytes(HEADER_SIZE)
_PART = ".part"
#: As with Ray: so much of the disk stays free.
_DISK_RESERVE = 0.05


class Draft:
    """A new file that is being written. Counted and locked from the first moment on.

    Attributes:
        fd: open for writing.
        on_disk: it did not fit into memory.
    """

    __slots__ = ("path", "fd", "size", "on_disk")

    def __init__(self, directory: str, size: int, on_disk: bool) -> None:
        self.path = f"{directory}/{os.urandom(12).hex()}{_PART}"
        self.size = size
        self.on_disk = on_disk
        self.fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(self.fd, size)
        except BaseException:
            os.unlink(self.path)
            os.close(self.fd)
            raise

    def close(self) -> None:
        with suppress(OSError):
            fcntl.flock(self.fd, fcntl.LOCK_UN)
        os.close(self.fd)


class _Used:
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


class Store:
    """Thread-safe. A forked child remembers nothing of what its parent had mapped.

    Args:
        directory: the store directory; what it has to have is made if it is not there.
        waiting: number of files that wait at most, in all processes together. The next ones go at once.
        mapped: number of used files that this process keeps mapped; each takes two descriptors.
    """

    def __init__(self, directory: str, waiting: int = _WAITING, mapped: int = _MAPPED) -> None:
        furnish(directory)
        self.directory = directory
        self._free = f"{directory}/{FREE}"
        self._disk = f"{directory}/{DISK}"
        self._account = Account.at(f"{directory}/{ACCOUNT}")
        self._most_waiting = waiting
        self._most_mapped = mapped
        self._seen: set[str] = set()
        self._closed = False
        self._forget()

    def _forget(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._mapped: dict[int, _Used] = {}  # by inode, the longest unused first
        self._last = ""
        self._spared = ""
        self._tags = itertools.count()
        self._tag = os.urandom(4).hex()

    @property
    def figures(self) -> Figures:
        """What the store of this node holds."""
        return self._account.figures

    # -- objects -----------------------------------------------------------------------------------------------------

    def write(self, object_id: bytes, pickle: bytes, buffers: Sequence[Any]) -> Segment:
        """Write an object: into a used file if one of that size waits, else into a new one, on disk if memory is full.

        Args:
            object_id: 16 bytes.
            pickle: the pickle stream.
            buffers: flat, contiguous byte views.

        Raises:
            OutOfDiskError: neither memory nor disk has room. Nothing was copied, nothing of it is left.
        """
        self._check_fork()
        layout = layout_of(pickle, buffers)
        size = size_of(layout)
        name = new_name(object_id)
        parts = (pickle, *buffers)
        if self._spared and self._write_over_spared(name, object_id, size, parts, layout):
            return Segment(name, size, layout)
        if self._account.waiting and self._write_over(name, object_id, size, parts, layout):
            return Segment(name, size, layout)
        draft = self.draft(size)
        while True:
            try:
                write_segment(draft.fd, object_id, pickle, buffers, layout)
                break
            except BaseException as error:
                self.discard(draft)
                if draft.on_disk or not says_full(error):
                    raise
            draft = self._on_disk(size)  # where nothing can be set aside, only writing tells
        self.publish(draft, name)
        return Segment(name, size, layout, draft.on_disk)

    def has(self, name: str) -> bool:
        """Whether there is such an object."""
        return os.path.exists(path_of(self.directory, name)) or os.path.exists(
            path_on_disk(self.directory, name)
        )

    def on_disk(self, name: str) -> bool:
        """Whether that object is on disk, because it did not fit into memory. A look at the file system, for who is curious."""
        return os.path.exists(path_on_disk(self.directory, name))

    def left_by(self, processes: Collection[bytes]) -> list[str]:
        """The names of the objects, and copies of objects, that are or were owned by those processes.

        Raises:
            ValueError: that is no process id.
        """
        for process in processes:
            if len(process) != PROCESS_ID_SIZE:
                raise ValueError(f"a process id has {PROCESS_ID_SIZE} bytes, not {len(process)}")
        owners = {process.hex() for process in processes}
        return [
            name
            for directory in (self.directory, self._disk)
            for name in os.listdir(directory)
            if name.removeprefix(COPY)[: 2 * PROCESS_ID_SIZE] in owners and not name.endswith(_PART)
        ]

    def drop(self, name: str) -> bool:
        """The object in that file was given up: the file waits to be written again, or goes. False if there is none."""
        self._check_fork()
        path = path_of(self.directory, name)
        try:
            found = os.stat(path, follow_symlinks=False)
        except FileNotFoundError:
            return self._drop_from_disk(name)
        with self._account:
            if self._account.waiting < self._most_waiting:
                entry = f"{found.st_size}.{found.st_ino}.{self._tag}{next(self._tags)}"
                try:
                    os.rename(path, f"{self._free}/{entry}")
                except FileNotFoundError:
                    return False
                self._account.waiting += 1
                self._last = entry
            elif _remove(path, read=True):
                self._account.used -= found.st_size
            else:
                return False
        return True

    def spare(self, name: str) -> None:
        """As ``drop``, where an object may be written next by the same thread: it may write over just this file.

        ``drop_spared`` must follow.
        """
        if self._spared or all(used.name != name for used in self._mapped.values()):
            self.drop(name)
        else:
            self._spared = name

    def drop_spared(self) -> None:
        """Nothing was written over the spared file, if there is one: it is given up like others."""
        name, self._spared = self._spared, ""
        if name:
            self.drop(name)

    def drop_all_of(self, object_id: bytes) -> None:
        """Nobody will ever be told the names of that object's files: their writer died after it had written them."""
        prefix = f"{object_id.hex()}-"
        for directory in (self.directory, self._disk):
            for name in os.listdir(directory):
                if name.startswith(prefix):
                    self.drop(name)

    def _drop_from_disk(self, name: str) -> bool:
        path = path_on_disk(self.directory, name)
        with self._account:
            try:
                size = os.stat(path, follow_symlinks=False).st_size
                os.unlink(path)
            except FileNotFoundError:
                return False
            self._account.spilled -= size
        return True

    # -- new files ---------------------------------------------------------------------------------------------------

    def draft(self, size: int) -> Draft:
        """A new file of that size, to be written and then published or discarded.

        Raises:
            OutOfDiskError: neither memory nor disk has room.
        """
        self._check_fork()
        with self._account:
            fits = self._fits(size)
            draft = self._begin(self.directory, size, False) if fits else None
        # Others use the file system, too, so it may be full though the account is not.
        return draft if draft is not None and self._reserved(draft) else self._on_disk(size)

    def publish(self, draft: Draft, name: str) -> None:
        """The draft is whole: from now on it has that name. If there is such a file, the new one takes its place."""
        path = path_on_disk(self.directory, name) if draft.on_disk else path_of(self.directory, name)
        try:
            with self._account:
                try:
                    replaced = os.stat(path, follow_symlinks=False).st_size
                except FileNotFoundError:
                    replaced = 0
                os.rename(draft.path, path)
                self._count(-replaced, draft.on_disk)
        except BaseException:
            self.discard(draft)
            raise
        draft.close()

    def discard(self, draft: Draft) -> None:
        """Nothing will come of it."""
        with self._account:
            os.ftruncate(draft.fd, 0)
            with suppress(FileNotFoundError):  # the node is being closed
                os.unlink(draft.path)
            self._count(-draft.size, draft.on_disk)
        draft.close()

    def _count(self, size: int, on_disk: bool) -> None:
        if on_disk:
            self._account.spilled += size
        else:
            self._account.used += size

    def _fits(self, size: int) -> bool:
        """Whether memory takes it; waiting files go for it, the longest waiting first. The account is held."""
        account = self._account
        if size > account.capacity:
            return False
        state = os.statvfs(self.directory)
        missing = max(account.used + size - account.capacity, size - state.f_bavail * state.f_frsize)
        if missing <= 0:
            return True
        for entry in self._waiting_files():
            if missing <= 0:
                break
            missing -= self._remove_waiting(entry)
        return missing <= 0

    def _on_disk(self, size: int) -> Draft:
        usage = shutil.disk_usage(self._disk)
        if size <= usage.free - usage.total * _DISK_RESERVE:
            with self._account:
                draft = self._begin(self._disk, size, True)
            if draft is not None and self._reserved(draft):
                return draft
        raise self._out_of_disk(size)

    def _begin(self, directory: str, size: int, on_disk: bool) -> Draft | None:
        """None if no file may be so large. The account is held."""
        try:
            draft = Draft(directory, size, on_disk)
        except OSError as error:
            if says_full(error):
                return None
            raise
        self._count(size, on_disk)
        return draft

    def _reserved(self, draft: Draft) -> bool:
        try:
            reserve(draft.fd, draft.size)
        except BaseException as error:
            self.discard(draft)
            if says_full(error):
                return False
            raise
        return True

    def _out_of_disk(self, size: int) -> OutOfDiskError:
        account, usage = self._account, shutil.disk_usage(self._disk)
        return OutOfDiskError(
            f"an object of {_mib(size)} does not fit: {_mib(account.used)} of the node's object store of "
            f"{_mib(account.capacity)} (object_store_memory) are in use, and of the disk at {os.path.realpath(self._disk)} "
            f"{_mib(usage.free)} of {_mib(usage.total)} are free, {_DISK_RESERVE:.0%} of which are not used"
        )

    # -- used files --------------------------------------------------------------------------------------------------

    def _waiting_files(self) -> list[str]:
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

    def _write_over(
        self, name: str, object_id: bytes, size: int, parts: Sequence[Any], layout: Layout
    ) -> bool:
        for entry in self._candidates(size):
            used = self._lock_waiting(entry)
            if used is None:
                continue
            try:
                _fill(used.mapping, object_id, size, parts, layout)
                with self._account:
                    os.rename(f"{self._free}/{entry}", path_of(self.directory, name))
                    self._account.waiting -= 1
                used.name = name
            finally:
                fcntl.flock(used.fd, fcntl.LOCK_UN)
                self._keep(used)
            return True
        return False

    def _write_over_spared(
        self, name: str, object_id: bytes, size: int, parts: Sequence[Any], layout: Layout
    ) -> bool:
        with self._lock:
            spared, self._spared = self._spared, ""
            used = next((used for used in self._mapped.values() if used.name == spared), None)
            if used is not None and size <= used.capacity <= 2 * size:
                del self._mapped[used.inode]
            else:
                used = None
        if used is None:
            self.drop(spared)
            return False
        try:
            fcntl.flock(used.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:  # somebody reads it
            self._keep(used)
            self.drop(spared)
            return False
        try:
            _fill(used.mapping, object_id, size, parts, layout)
            os.rename(path_of(self.directory, spared), path_of(self.directory, name))
            used.name = name
        finally:
            fcntl.flock(used.fd, fcntl.LOCK_UN)
            self._keep(used)
            if used.name != name:  # an interrupt, or the node is being closed
                self.drop(spared)
        return True

    def _lock_waiting(self, entry: str) -> _Used | None:
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
                used, fd = _Used(fd, inode, capacity), -1
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

    def _keep(self, used: _Used) -> None:
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

    def _remove_waiting(self, entry: str) -> int:
        """Remove a waiting file that nobody reads; answers its bytes, 0 if it stays. The account is held."""
        if not _remove(f"{self._free}/{entry}", read=False):
            return 0
        size = int(entry.partition(".")[0])
        self._account.waiting -= 1
        self._account.used -= size
        return size

    # -- upkeep ------------------------------------------------------------------------------------------------------

    def tidy(self, most: int = 128 << 20) -> bool:
        """Once a second or so, in one process of the node: files that have waited for a whole period go.

        Args:
            most: bytes after which it stops for now, and answers True: giving 1 GiB back takes 50 ms.
        """
        if not self._account.waiting:
            self._seen.clear()
            return False
        waiting = self._waiting_files()
        for entry in waiting:
            if entry in self._seen:
                with self._account:
                    most -= self._remove_waiting(entry)
                if most <= 0:
                    return True
        self._seen = set(waiting)
        return False

    def recount(self) -> None:
        """A process of the node was killed: what it had begun goes, and the account is what the files have."""
        account = self._account
        with account, suppress(FileNotFoundError):  # the node is being closed
            account.used = _bytes_in(self.directory) + _bytes_in(self._free)
            account.spilled = _bytes_in(self._disk)
            account.waiting = len(os.listdir(self._free))

    def close(self) -> None:
        """Let go of what this process has mapped. Files stay."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            mapped, self._mapped = self._mapped, {}
        for used in mapped.values():
            used.close()
        self._account.close()

    def _check_fork(self) -> None:
        """A child shares the descriptors' locks with its parent, so it must not use them."""
        if self._pid != os.getpid():
            for used in self._mapped.values():
                used.close()
            self._forget()


def _remove(path: str, *, read: bool) -> bool:
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


def _bytes_in(directory: str) -> int:
    """Bytes of the files there. Drafts that nobody writes any more go."""
    total = 0
    with os.scandir(directory) as entries:
        for entry in entries:
            found = entry.stat(follow_symlinks=False)
            if not stat.S_ISREG(found.st_mode) or entry.name == ACCOUNT:
                continue
            if not (entry.name.endswith(_PART) and _remove(entry.path, read=False)):
                total += found.st_size
    return total


def _fill(mapping: mmap.mmap, object_id: bytes, size: int, parts: Sequence[Any], layout: Layout) -> None:
    """Write an object over another: the header is cleared first and written last."""
    mapping[:HEADER_SIZE] = _NO_HEADER
    for part, (start, length) in zip(parts, places(layout), strict=True):
        _copy_into(mapping, start, length, part)
    header = header_of(object_id, size)
    mapping[: len(header)] = header


def _copy_into(mapping: mmap.mmap, start: int, length: int, part: Any) -> None:
    numpy = sys.modules.get("numpy")
    if length < _WITHOUT_GIL or numpy is None:
        mapping[start : start + length] = part
    else:  # NumPy releases the GIL while it copies
        target = numpy.frombuffer(mapping, numpy.uint8, length, start)
        numpy.copyto(target, numpy.frombuffer(part, numpy.uint8))


def _mib(size: int) -> str:
    return f"{size / (1 << 20):,.1f} MiB"
