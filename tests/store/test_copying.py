from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from nbray.store.copying import Copier

MIB = 1 << 20


@pytest.fixture
def copier(monkeypatch: pytest.MonkeyPatch) -> Iterator[Copier]:
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0, 1, 2}, raising=False)
    copier = Copier()
    yield copier
    copier.close()


def noise(length: int, seed: int = 0) -> bytes:
    return np.random.default_rng(seed).bytes(length)


@pytest.mark.parametrize("length", [0, 1, 4 * MIB - 1, 4 * MIB, 4 * MIB + 1, 9 * MIB - 1])
def test_every_byte_arrives_in_its_place_and_no_other_changes(copier: Copier, length: int) -> None:
    source, target = noise(length), bytearray(b"\xaa" * (length + 200))
    copier.copy(target, 100, memoryview(source))
    assert target == b"\xaa" * 100 + source + b"\xaa" * 100


def test_threads_that_copy_at_once_do_not_disturb_each_other(copier: Copier) -> None:
    sources = [noise(6 * MIB, seed) for seed in range(4)]
    targets = [bytearray(6 * MIB) for _ in sources]
    threads = [
        threading.Thread(target=copier.copy, args=(target, 0, source))
        for target, source in zip(targets, sources, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert targets == sources


def test_another_thread_helps(copier: Copier, monkeypatch: pytest.MonkeyPatch) -> None:
    met = threading.Barrier(2)
    who: set[int] = set()
    copyto = np.copyto

    def copy(*args: np.ndarray) -> None:
        if threading.get_ident() not in who:
            who.add(threading.get_ident())
            if len(who) <= 2:
                met.wait(30)
        copyto(*args)

    monkeypatch.setattr(np, "copyto", copy)
    copier.copy(bytearray(8 * MIB), 0, bytes(8 * MIB))
    assert len(who) >= 2


def test_who_interrupts_a_copy_gets_the_target_for_himself(
    copier: Copier, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, copyto = threading.get_ident(), np.copyto
    interrupted, copied = threading.Event(), []

    def copy(*args: np.ndarray) -> None:
        if threading.get_ident() == ours:
            interrupted.set()
            raise KeyboardInterrupt
        interrupted.wait(30)
        copyto(*args)
        copied.append(args)

    monkeypatch.setattr(np, "copyto", copy)
    with pytest.raises(KeyboardInterrupt):
        copier.copy(bytearray(8 * MIB), 0, bytes(8 * MIB))
    before = len(copied)
    copier.close()
    assert len(copied) == before, "somebody wrote after the copy had ended"


def test_where_no_thread_can_be_started_the_caller_copies_all(
    copier: Copier, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_thread(*args: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(ThreadPoolExecutor, "submit", no_thread)
    source, target = noise(5 * MIB), bytearray(5 * MIB)
    copier.copy(target, 0, source)
    assert target == source


def test_after_its_end_the_caller_copies_all(copier: Copier) -> None:
    copier.close()
    source, target = noise(5 * MIB), bytearray(5 * MIB)
    copier.copy(target, 0, source)
    assert target == source
