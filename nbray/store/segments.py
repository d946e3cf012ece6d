"""Segments: a node's shared memory, one file an object in a private directory.

A file is a header, the pickle stream, and the out-of-band buffers on 64-byte boundaries:

    0  magic (8)   8  object id (16)   24  size (8, little-endian)   64  pickle   ...  buffers

A *layout* is the lengths ``(pickle, buffer, buffer, ...)``; the places follow from them. New files are written with
``pwritev``, never through a mapping, so a full file system is an error and not a SIGBUS (32 MiB into a fresh file: 20 ms, with
``posix_fallocate`` before it 17 ms, through a mapping 35 ms).

Readers map a file copy-on-write: arrays are writable, and nobody else sees it. Removing a file hurts no reader.

Used files are written again (``store/reuse.py``: fresh pages cost ten times as much as used ones), and this is why that is safe:
- A reader takes a shared flock before it maps the file and looks at the id in the header after. A writer needs an
  exclusive lock to write over a file, or to cut it. Neither ever waits: who cannot have the lock knows that the file is
  somebody else's.
- The mapping carries the lock: it keeps a duplicate of the descriptor, and the lock goes when the last duplicate is
  closed, at the latest when the process dies.
- A reader's lock is never released by LOCK_UN. A forked child shares the lock, and has the mapping too: if the parent took
  the lock away, the child's arrays would show the next object.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import struct
import time
import weakref
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import islice
from resource import RLIMIT_NOFILE, getrlimit
from typing import Any, NamedTuple, TypeAlias

from nbray.exceptions import ObjectLostError
from nbray.store.directory import ACCOUNT, DISK, FREE

Layout: TypeAlias = tuple[int, ...]
Places: TypeAlias = tuple[tuple[int, int], ...]

HEADER = struct.Struct("<8s16sQ")
HEADER_SIZE = 64
MAGIC = b"nbrayseg"
ALIGNMENT = 64
"""Buffers begin where vector instructions and cache lines like it."""

_PIECE = 1 << 30  # more than 2 GiB at once is an error on some systems
_FEW = 8
_VECTORS = 512  # IOV_MAX is 1,024
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.ENOMEM)
_ZEROS = bytes(ALIGNMENT)
#: Seconds between two looks at a file that a writer is about to let go of.
_LOOK = 0.0002
_NOT_SEGMENTS = (".", "..", ACCOUNT, FREE, DISK)

#: What is mapped to be read. Each goes when the last array or buffer in it does.
_mappings: set[weakref.ref[mmap.mmap]] = set()


class Segment(NamedTuple):
    """A written object.

    Attributes:
        name: its file in the store directory.
        size: bytes from the header to the end of the last buffer. The file may be longer.
        layout: lengths of the pickle and the buffers.
        on_disk: it did not fit into memory. It stays where it was written.
    """

    name: str
    size: int
    layout: Layout
    on_disk: bool = False


def layout_of(pickle: bytes, buffers: Sequence[Any]) -> Layout:
    """The lengths of the parts; buffers are flat views."""
    return (len(pickle), *[len(buffer) for buffer in buffers])


def size_of(layout: Layout) -> int:
    """Bytes a segment of this layout has."""
    parts = places(layout)
    return sum(parts[-1]) if parts else HEADER_SIZE


def places(layout: Layout) -> Places:
    """Offset and length of each part."""
    return _places_of_few(layout) if len(layout) <= _FEW else _places(layout)


def _places(layout: Layout) -> Places:
    parts = []
    end = HEADER_SIZE
    for length in layout:
        start = -(-end // ALIGNMENT) * ALIGNMENT
        parts.append((start, length))
        end = start + length
    return tuple(parts)


_places_of_few = lru_cache(64)(_places)  # a program's objects often have the same few layouts


def new_name(object_id: bytes) -> str:
    """A file name for the object that nobody can have used before or guess."""
    return f"{object_id.hex()}-{os.urandom(8).hex()}"


def path_of(directory: str, name: str) -> str:
    """The path of a segment in memory. Names come from peers: ``ObjectLostError`` if it would be something else."""
    if not name or "/" in name or name in _NOT_SEGMENTS:
        raise ObjectLostError(f"{name!r} is not the name of a segment")
    return f"{directory}/{name}"


def path_on_disk(directory: str, name: str) -> str:
    """The path of a segment that did not fit into memory."""
    return path_of(f"{directory}/{DISK}", name)


# --- writing -------------------------------------------------------------------------------------------------------


def write_segment(fd: int, object_id: bytes, pickle: bytes, buffers: Sequence[Any], layout: Layout) -> None:
    """Write an object into a new file.

    Args:
        object_id: 16 bytes.
        pickle: the pickle stream.
        buffers: flat, contiguous byte views.
        layout: of these.
    """
    _write_all(fd, _pieces(object_id, size_of(layout), pickle, buffers, layout))


def says_full(error: BaseException) -> bool:
    """Whether the file system or a limit on files is at its end."""
    return isinstance(error, OSError) and error.errno in _FULL


def reserve(fd: int, size: int) -> None:
    """Have the file system set ``size`` bytes aside, where it can."""
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(fd, 0, size)
        except OSError as error:
            if says_full(error):
                raise  # others: a file system that does not know how


def header_of(object_id: bytes, size: int) -> bytes:
    return HEADER.pack(MAGIC, object_id, size)


def _pieces(
    object_id: bytes, size: int, pickle: bytes, buffers: Sequence[Any], layout: Layout
) -> Iterator[memoryview]:
    """The file's bytes in order."""
    yield memoryview(header_of(object_id, size).ljust(HEADER_SIZE, b"\0"))
    end = HEADER_SIZE
    for part, (start, length) in zip((pickle, *buffers), places(layout), strict=True):
        if start > end:
            yield memoryview(_ZEROS)[: start - end]
        view = memoryview(part)
        for at in range(0, length, _PIECE):
            yield view[at : at + _PIECE]
        end = start + length


def _write_all(fd: int, pieces: Iterator[memoryview]) -> None:
    offset = 0
    pending: list[memoryview] = []
    while pending or (pending := list(islice(pieces, _VECTORS))):
        written = os.pwritev(fd, pending, offset)
        offset += written
        # A write may end early (a signal, 2 GiB): go on in the middle of the piece it ended in.
        done = 0
        while done < len(pending) and written >= len(pending[done]):
            written -= len(pending[done])
            done += 1
        del pending[:done]
        if written:
            pending[0] = pending[0][written:]


# --- reading -------------------------------------------------------------------------------------------------------


def open_segment(
    directory: str, name: str, size: int, layout: Layout, object_id: bytes
) -> tuple[bytes, list[memoryview]]:
    """The pickle and the buffers of an object, for ``wire.pickling.load``.

    The buffers are private and writable; their memory is mapped for as long as something uses one of them. A process that has
    half of its descriptors in mappings gets a copy instead, which needs no descriptor.

    Raises:
        ObjectLostError: the file is gone, or is another object's by now.
    """
    parts = places(layout)
    if sum(parts[-1]) != size:
        raise ObjectLostError(f"object {object_id.hex()}: its size is not that of its layout")
    # The pickle is read and not looked at in the mapping: that would cost a page fault, as much as the mapping itself.
    fd, stored, head = open_locked(directory, name, object_id, HEADER_SIZE + layout[0])
    try:
        if stored != size:
            raise ObjectLostError(f"object {object_id.hex()} does not have the size it should have")
        if len(parts) == 1:
            return head[HEADER_SIZE:], []
        if len(_mappings) < getrlimit(RLIMIT_NOFILE)[0] // 2:
            mapping = mmap.mmap(fd, size, access=mmap.ACCESS_COPY)
            _mappings.add(weakref.ref(mapping, _mappings.discard))
            view = memoryview(mapping)
        else:
            view = memoryview(_read(fd, size))
    finally:
        os.close(fd)
    return head[HEADER_SIZE:], [view[start : start + length] for start, length in parts[1:]]


def open_locked(
    directory: str, name: str, object_id: bytes, read: int = HEADER_SIZE
) -> tuple[int, int, bytes]:
    """A descriptor of the object's file, the object's size (the file may be longer), and the first ``read`` bytes.

    Nobody writes over the file while the descriptor, a duplicate, or a mapping made of it is open.

    Raises:
        ObjectLostError: the file is gone, or another object's by now, or cut short.
    """
    path = path_of(directory, name)
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        path = path_on_disk(directory, name)
        try:
            fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        except FileNotFoundError:
            raise ObjectLostError(f"object {object_id.hex()} is no longer in {directory}") from None
    try:
        intact = _lock_to_read(fd, path)
        if intact:
            head = _read_head(fd, read)
            magic, found, size = HEADER.unpack_from(head)
            intact = magic == MAGIC and found == object_id and size <= os.fstat(fd).st_size
    except struct.error:
        intact = False
    except BaseException:
        os.close(fd)
        raise
    if not intact:
        os.close(fd)
        raise ObjectLostError(f"object {object_id.hex()} was given up, its memory holds something else")
    return fd, size, head


def _lock_to_read(fd: int, path: str) -> bool:
    """Take the shared lock; False if a writer has the file, so that its object was given up before.

    But a writer may also have come too late for a file that waited: it had opened that before another made this object of it,
    and now looks and lets go. Then the object has its name still, which whoever gives it up takes away first.
    """
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            try:
                if not os.path.samestat(os.stat(path, follow_symlinks=False), os.fstat(fd)):
                    return False
            except FileNotFoundError:
                return False
            time.sleep(_LOOK)


def _read_head(fd: int, length: int) -> bytes:
    head = os.pread(fd, length, 0)
    return head if len(head) == length else bytes(_read(fd, length))


def _read(fd: int, size: int) -> bytearray:
    """The first ``size`` bytes, whatever a single read gives at most."""
    copy = bytearray(size)
    view = memoryview(copy)
    done = 0
    while done < size:
        read = os.preadv(fd, [view[done : done + _PIECE]], done)
        if not read:
            raise ObjectLostError("a segment is shorter than it should be")
        done += read
    return copy
