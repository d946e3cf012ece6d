"""What a node's store holds, known to all processes of the node: four numbers in a small file that all of them map.

They are changed under a record lock, which goes with its process, and only where a file is made, given up or removed:
writing a used file again changes none of the sums. What a killed process leaves wrong is found by counting the files
(``Store.recount``); the files are the truth, this is their sum.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
import threading
from typing import Any, NamedTuple

_NUMBERS = struct.Struct("<4Q")
_CAPACITY, _USED, _SPILLED, _WAITING = range(4)


class Figures(NamedTuple):
    """Attributes:
    capacity: bytes that the store may have in memory. used: bytes of files there, with those that wait.
    spilled: bytes of files on disk. waiting: number of files that wait to be written again.
    """

    capacity: int
    used: int
    spilled: int
    waiting: int


class Account:
    """Made by ``Account.at``, once a process and path: record locks belong to processes, and go when *any* descriptor of
    the file is closed.

    ``used``, ``spilled`` and ``waiting`` are written inside ``with account:`` only; reading needs no lock.
    """

    _open: dict[str, Account] = {}
    _opening = threading.Lock()

    def __init__(self, path: str) -> None:
        self._path = path
        self._users = 0
        self._lock = threading.Lock()
        self._fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
        self._mapping = mmap.mmap(self._fd, _NUMBERS.size)
        self._numbers: Any = memoryview(self._mapping).cast("Q")

    @staticmethod
    def create(path: str, capacity: int) -> None:
        """Make the file; nothing happens if it is there."""
        draft = f"{path}.{os.urandom(8).hex()}"
        fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        try:
            os.write(fd, _NUMBERS.pack(capacity, 0, 0, 0))
        finally:
            os.close(fd)
        try:
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            os.unlink(draft)

    @classmethod
    def at(cls, path: str) -> Account:
        """The account there; every ``at`` wants its ``close``.

        Raises:
            FileNotFoundError: there is none.
        """
        with cls._opening:
            account = cls._open.get(path)
            if account is None:
                account = cls._open[path] = Account(path)
            account._users += 1
            return account

    def close(self) -> None:
        with self._opening:
            self._users -= 1
            if not self._users:
                del self._open[self._path]
                self._numbers.release()
                self._mapping.close()
                os.close(self._fd)

    def __enter__(self) -> None:
        """Nobody else changes the numbers, in any process."""
        self._lock.acquire()
        try:
            fcntl.lockf(self._fd, fcntl.LOCK_EX)
        except BaseException:
            self._lock.release()
            raise

    def __exit__(self, *_: object) -> None:
        try:
            fcntl.lockf(self._fd, fcntl.LOCK_UN)
        finally:
            self._lock.release()

    @property
    def figures(self) -> Figures:
        return Figures(*self._numbers)

    @property
    def capacity(self) -> int:
        return int(self._numbers[_CAPACITY])

    @property
    def used(self) -> int:
        return int(self._numbers[_USED])

    @used.setter
    def used(self, n: int) -> None:
        self._numbers[_USED] = max(n, 0)

    @property
    def spilled(self) -> int:
        return int(self._numbers[_SPILLED])

    @spilled.setter
    def spilled(self, n: int) -> None:
        self._numbers[_SPILLED] = max(n, 0)

    @property
    def waiting(self) -> int:
        return int(self._numbers[_WAITING])

    @waiting.setter
    def waiting(self, n: int) -> None:
        self._numbers[_WAITING] = max(n, 0)

    @classmethod
    def _after_fork(cls) -> None:
        """Other threads of the parent may have held the locks. Record locks are not inherited."""
        cls._opening = threading.Lock()
        for account in cls._open.values():
            account._lock = threading.Lock()


os.register_at_fork(after_in_child=Account._after_fork)
