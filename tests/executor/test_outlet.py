"""What a process prints is told by whom, also when its threads print at once."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from nbray.executor.outlet import SUFFIXES, Outlet


@pytest.fixture
def outlet(tmp_path: Path) -> Iterator[Outlet]:
    """One whose descriptors 1 and 2 are files of the test."""
    path = str(tmp_path / "log")
    fds = [os.open(path + suffix, os.O_WRONLY | os.O_CREAT | os.O_APPEND) for suffix in SUFFIXES[:2]]
    made = Outlet(path)
    made._writing[:] = fds
    yield made
    for fd in {*fds, *made._files, *made._holes}:
        os.close(fd)
    made._sent.close()


class Watched:
    """A lock that says when a second thread wants it."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.wanted = threading.Event()

    def __enter__(self) -> None:
        if not self.lock.acquire(blocking=False):
            self.wanted.set()
            self.lock.acquire()

    def __exit__(self, *_: object) -> None:
        self.lock.release()


def test_threads_that_print_at_once_are_not_taken_for_each_other(
    outlet: Outlet, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = outlet._order = Watched()  # type: ignore[assignment]
    second = threading.Thread(target=lambda: outlet.print(1, b"second\n", "b", "nobody"))
    write = os.write

    def slow(fd: int, data: bytes) -> int:
        written = write(fd, data)
        if data == b"first\n":
            second.start()
            while second.is_alive() and not order.wanted.is_set():
                second.join(0.01)
        return written

    monkeypatch.setattr(os, "write", slow)
    outlet.print(1, b"first\n", "a", "nobody")
    second.join()
    pieces = []
    while (piece := outlet.next(True)) is not None:
        outlet.passed(piece)
        pieces.append((piece.by, piece.text))
    assert pieces == [("a", "first\n"), ("b", "second\n")]


def test_descriptors_that_user_code_closed_or_redirected_are_the_files_again(outlet: Outlet) -> None:
    assert outlet.at_rest()
    out, err = outlet._writing[:2]
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, out)
    assert not outlet.at_rest()
    outlet.restore()
    assert outlet.at_rest()
    os.close(err)
    assert not outlet.at_rest()
    outlet.restore()
    assert outlet.at_rest()
    os.close(nothing)
    outlet.write(1, b"out\n", "a")
    outlet.write(2, b"err\n", "a")
    assert [outlet.next(last=True).text for _ in (1,)] == ["out\n"]  # type: ignore[union-attr]


def test_a_file_that_got_the_number_of_a_closed_descriptor_keeps_it(outlet: Outlet, tmp_path: Path) -> None:
    number = outlet._writing[0]
    os.close(number)
    with open(tmp_path / "of the user", "w") as file:
        assert file.fileno() == number
        outlet.restore()
        outlet.write(1, b"line\n", "a")
        file.write("theirs")
        outlet._writing[0] = os.dup(outlet._writing[0])
        file.flush()
        assert outlet.next(last=True).text == "line\n"  # type: ignore[union-attr]
    assert (tmp_path / "of the user").read_text() == "theirs"
    os.dup2(outlet._writing[0], number)
    os.close(outlet._writing[0])
