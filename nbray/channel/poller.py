"""Waiting for sockets: epoll where there is one, ``selectors`` elsewhere. The seam for macOS."""

from __future__ import annotations

import os
import select
import selectors
import threading
from typing import Protocol

READ, WRITE = 1, 4  # EPOLLIN, EPOLLOUT; errors and hang-ups are reported as READ


class Poller(Protocol):
    def register(self, fd: int, events: int) -> None: ...
    def modify(self, fd: int, events: int) -> None: ...
    def unregister(self, fd: int) -> None: ...
    def poll(self, timeout: float) -> list[tuple[int, int]]: ...
    def fileno(self) -> int: ...
    def close(self) -> None: ...


class _Selectors:
    """The same over ``selectors``: kqueue on macOS, which has a descriptor of its own as epoll does."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()

    @staticmethod
    def _mask(events: int) -> int:
        return (selectors.EVENT_READ if events & READ else 0) | (
            selectors.EVENT_WRITE if events & WRITE else 0
        )

    def register(self, fd: int, events: int) -> None:
        self._selector.register(fd, self._mask(events))

    def modify(self, fd: int, events: int) -> None:
        self._selector.modify(fd, self._mask(events))

    def unregister(self, fd: int) -> None:
        self._selector.unregister(fd)

    def poll(self, timeout: float) -> list[tuple[int, int]]:
        return [
            (
                key.fd,
                (READ if mask & selectors.EVENT_READ else 0) | (WRITE if mask & selectors.EVENT_WRITE else 0),
            )
            for key, mask in self._selector.select(None if timeout < 0 else timeout)
        ]

    def fileno(self) -> int:
        fileno: int = self._selector.fileno()
        return fileno

    def close(self) -> None:
        self._selector.close()


def new_poller() -> Poller:
    return select.epoll() if hasattr(select, "epoll") else _Selectors()


class Waker:
    """Ends a ``poll`` from another thread. ``fd`` becomes readable on ``wake`` until ``clear``.

    After ``close`` a ``wake`` does nothing: the number may by then be somebody's file. The lock is reentrant because signal
    handlers wake too.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._closed = False
        if hasattr(os, "eventfd"):
            self.fd = self._to = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        else:
            self.fd, self._to = os.pipe()
            os.set_blocking(self.fd, False)
            os.set_blocking(self._to, False)

    def wake(self) -> None:
        with self._lock:
            if self._closed:
                return
            try:
                os.write(self._to, b"\x01\0\0\0\0\0\0\0")
            except BlockingIOError:  # already awake a thousand times over
                pass

    def clear(self) -> None:
        with self._lock:
            if self._closed:
                return
            try:
                os.read(self.fd, 4096)
            except BlockingIOError:
                pass

    def close(self) -> None:
        with self._lock:
            self._closed = True
            os.close(self.fd)
            if self._to != self.fd:
                os.close(self._to)
