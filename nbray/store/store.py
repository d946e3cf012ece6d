"""The files of a node's store, as one of its processes sees them: made, given up, written again, on disk when memory is full.

Every file in memory is counted, also those that wait to be written again (``reuse.py``); when there is no room, waiting ones go,
and then new objects go to disk (``drafts.py``).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import Any

from nbray.core.ids import COPY, PROCESS_ID_SIZE
from nbray.store.account import Account, Figures
from nbray.store.directory import ACCOUNT, DISK, FREE, furnish
from nbray.store.drafts import PART, Drafts
from nbray.store.reuse import Reuse, remove
from nbray.store.segments import (
    Layout,
    Segment,
    layout_of,
    new_name,
    path_of,
    path_on_disk,
    says_full,
    size_of,
    write_segment,
)

_MAPPED = 8
_WAITING = 64


class Store:
    """Thread-safe. A forked child remembers nothing of what its parent had mapped.

    Args:
        directory: the store directory; what it has to have is made if it is not there.
        waiting: number of files that wait at most, in all processes together. The next ones go at once.
        mapped: number of used files that this process keeps mapped; each takes two descriptors.

    Attributes:
        drafts: new files, for who writes them piece by piece.
    """

    def __init__(self, directory: str, waiting: int = _WAITING, mapped: int = _MAPPED) -> None:
        furnish(directory)
        self.directory = directory
        self._free = f"{directory}/{FREE}"
        self._disk = f"{directory}/{DISK}"
        self._account = Account.at(f"{directory}/{ACCOUNT}")
        self._closed = False
        self._reuse = Reuse(directory, self._account, waiting, mapped)
        self.drafts = Drafts(directory, self._account, self._reuse)

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
        self._reuse.check_fork()
        layout = layout_of(pickle, buffers)
        size = size_of(layout)
        name = new_name(object_id)
        parts = (pickle, *buffers)
        if self._reuse.spared and self._write_over_spared(name, object_id, size, parts, layout):
            return Segment(name, size, layout)
        if self._account.waiting and self._reuse.write_over(name, object_id, size, parts, layout):
            return Segment(name, size, layout)
        draft = self.drafts.new(size)
        while True:
            try:
                write_segment(draft.fd, object_id, pickle, buffers, layout)
                break
            except BaseException as error:
                self.drafts.discard(draft)
                if draft.on_disk or not says_full(error):
                    raise
            draft = self.drafts.on_disk(size)  # where nothing can be set aside, only writing tells
        self.drafts.publish(draft, name)
        return Segment(name, size, layout, draft.on_disk)

    def _write_over_spared(
        self, name: str, object_id: bytes, size: int, parts: Sequence[Any], layout: Layout
    ) -> bool:
        spared, done = self._reuse.spared, False
        try:
            done = self._reuse.write_over_spared(name, object_id, size, parts, layout)
        finally:
            if not done:  # it did not fit, or an interrupt
                self.drop(spared)
        return done

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
            if name.removeprefix(COPY)[: 2 * PROCESS_ID_SIZE] in owners and not name.endswith(PART)
        ]

    def drop(self, name: str) -> bool:
        """The object in that file was given up: the file waits to be written again, or goes. False if there is none."""
        self._reuse.check_fork()
        path = path_of(self.directory, name)
        try:
            found = os.stat(path, follow_symlinks=False)
        except FileNotFoundError:
            return self._drop_from_disk(name)
        return self._reuse.take(path, found)

    def spare(self, name: str) -> None:
        """As ``drop``, where an object may be written next by the same thread: it may write over just this file.

        ``drop_spared`` must follow.
        """
        if not self._reuse.spare(name):
            self.drop(name)

    def drop_spared(self) -> None:
        """Nothing was written over the spared file, if there is one: it is given up like others."""
        name, self._reuse.spared = self._reuse.spared, ""
        if name:
            self.drop(name)

    def drop_all_of(self, object_id: bytes) -> None:
        """Nobody will ever be told the names of that object's files: their writer died after it had written them."""
        prefix = f"{object_id.hex()}-"
        for directory in (self.directory, self._disk):
            try:
                names = os.listdir(directory)
            except FileNotFoundError:  # somebody has tidied up /tmp: there is nothing to be dropped
                continue
            for name in names:
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

    # -- upkeep ------------------------------------------------------------------------------------------------------

    def tidy(self, most: int = 128 << 20) -> bool:
        """Once a second or so, in one process of the node: files that have waited for a whole period go.

        Args:
            most: bytes after which it stops for now, and answers True: giving 1 GiB back takes 50 ms.
        """
        return self._reuse.tidy(most)

    def recount(self) -> None:
        """A process of the node was killed: what it had begun goes, and the account is what the files have."""
        account = self._account
        with account, suppress(FileNotFoundError):  # the node is being closed
            account.used = _bytes_in(self.directory) + _bytes_in(self._free)
            account.spilled = _bytes_in(self._disk)
            account.waiting = len(os.listdir(self._free))

    def close(self) -> None:
        """Let go of what this process has mapped. Files stay."""
        if not self._closed:
            self._closed = True
            self._reuse.close()
            self._account.close()


def _bytes_in(directory: str) -> int:
    """Bytes of the files there. Drafts that nobody writes any more go."""
    total = 0
    with os.scandir(directory) as entries:
        for entry in entries:
            found = entry.stat(follow_symlinks=False)
            if not stat.S_ISREG(found.st_mode) or entry.name == ACCOUNT:
                continue
            if not (entry.name.endswith(PART) and remove(entry.path, read=False)):
                total += found.st_size
    return total
