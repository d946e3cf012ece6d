"""A node's store directory: where it is, how large it may get, what is in it.

account    what it holds (``store/account.py``)
free/      files that wait to be written again
disk       a link to the directory for objects that do not fit into memory
...        the objects, see ``store/segments.py``
"""

from __future__ import annotations

import os
import shutil
import tempfile

from nbray.machine import MemoryFigures
from nbray.store.account import Account

ACCOUNT, FREE, DISK = "account", "free", "disk"

_SHARED_MEMORY = "/dev/shm"
#: A default store in /dev/shm has this much room at least (a container's /dev/shm is often 64 MiB).
_LEAST = 256 << 20
#: As with Ray: of the memory that this process may use. And of what is free on the file system of the store.
_OF_MEMORY, _OF_FREE = 0.3, 0.5


def make_store(prefix: str, spill_dir: str, capacity: int | None = None) -> str:
    """Make a fresh private directory (0700) for a node's objects, in memory if possible, and return its path.

    Args:
        prefix: the beginning of its name.
        spill_dir: directory for objects that do not fit, on disk; made if it is not there, removed with the store.
        capacity: bytes that objects may have in memory; None: 30 % of the memory there is, at most half of what is free.
            Where /dev/shm does not have that much, the store is made where temporary files go.
    """
    free = _free(_SHARED_MEMORY) if os.access(_SHARED_MEMORY, os.W_OK | os.X_OK) else 0
    where = _SHARED_MEMORY if free >= (capacity or _LEAST) else None
    directory = tempfile.mkdtemp(prefix=prefix, dir=where)
    os.makedirs(spill_dir, mode=0o700, exist_ok=True)
    furnish(directory, spill_dir, capacity)
    return directory


def furnish(directory: str, spill_dir: str | None = None, capacity: int | None = None) -> None:
    """Make what a store directory has to have; what is there stays.

    Args:
        spill_dir, capacity: as for ``make_store``; without a spill directory it is inside.
    """
    if os.path.exists(f"{directory}/{ACCOUNT}"):
        return
    os.makedirs(directory, mode=0o700, exist_ok=True)
    os.makedirs(f"{directory}/{FREE}", mode=0o700, exist_ok=True)
    disk = f"{directory}/{DISK}"
    if spill_dir is None:
        os.makedirs(disk, mode=0o700, exist_ok=True)
    else:
        os.symlink(os.path.abspath(spill_dir), disk)
    if capacity is None:
        capacity = int(min(_OF_MEMORY * MemoryFigures().total(), _OF_FREE * _free(directory)))
    Account.create(f"{directory}/{ACCOUNT}", capacity)


def remove_store(directory: str) -> None:
    """Remove a store directory and its spill directory, as far as they are there."""
    shutil.rmtree(os.path.realpath(f"{directory}/{DISK}"), ignore_errors=True)
    shutil.rmtree(directory, ignore_errors=True)


def _free(directory: str) -> int:
    return shutil.disk_usage(directory).free
