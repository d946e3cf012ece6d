"""New files: counted and locked before they are written, on disk when memory is full, and named when they are whole.

A new file is called ``*.part`` and locked until then. A ``.part`` that nobody has locked is a dead writer's.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from contextlib import suppress

from nbray.exceptions import OutOfDiskError
from nbray.store.account import Account
from nbray.store.directory import DISK
from nbray.store.reuse import Reuse
from nbray.store.segments import path_of, path_on_disk, reserve, says_full

PART = ".part"
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
        self.path = f"{directory}/{os.urandom(12).hex()}{PART}"
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


class Drafts:
    """Thread-safe.

    Args:
        directory: the store's. account: of the store. reuse: the used files, which go when room is needed.
    """

    def __init__(self, directory: str, account: Account, reuse: Reuse) -> None:
        self._directory = directory
        self._disk = f"{directory}/{DISK}"
        self._account = account
        self._reuse = reuse

    def new(self, size: int) -> Draft:
        """A new file of that size, to be written and then published or discarded.

        Raises:
            OutOfDiskError: neither memory nor disk has room.
        """
        self._reuse.check_fork()
        with self._account:
            fits = self._fits(size)
            draft = self._begin(self._directory, size, False) if fits else None
        # Others use the file system, too, so it may be full though the account is not.
        return draft if draft is not None and self._reserved(draft) else self.on_disk(size)

    def publish(self, draft: Draft, name: str) -> None:
        """The draft is whole: from now on it has that name. If there is such a file, the new one takes its place."""
        path = path_on_disk(self._directory, name) if draft.on_disk else path_of(self._directory, name)
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

    def on_disk(self, size: int) -> Draft:
        """A new file where there is no room in memory.

        Raises:
            OutOfDiskError: the disk has none either.
        """
        usage = shutil.disk_usage(self._disk)
        if size <= usage.free - usage.total * _DISK_RESERVE:
            with self._account:
                draft = self._begin(self._disk, size, True)
            if draft is not None and self._reserved(draft):
                return draft
        raise self._out_of_disk(size)

    def _fits(self, size: int) -> bool:
        """Whether memory takes it; waiting files go for it. The account is held."""
        account = self._account
        if size > account.capacity:
            return False
        state = os.statvfs(self._directory)
        missing = max(account.used + size - account.capacity, size - state.f_bavail * state.f_frsize)
        return missing <= 0 or self._reuse.make_room(missing)

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


def _mib(size: int) -> str:
    return f"{size / (1 << 20):,.1f} MiB"
