"""Who is told that a process is gone."""

from __future__ import annotations

from nbray.core.census import Census


def test_watchers_are_told_once() -> None:
    census = Census()
    for process in (b"a", b"b", b"c"):
        census.born(process)
    assert census.watch(b"a", b"c")
    assert census.watch(b"b", b"c")
    assert census.watch(b"a", b"c")
    assert census.gone(b"c") == [b"a", b"b"]
    assert census.gone(b"c") == []


def test_an_unknown_process_is_gone() -> None:
    assert not Census().watch(b"a", b"b")


def test_the_dead_are_told_nothing() -> None:
    census = Census()
    census.born(b"a")
    census.born(b"b")
    census.watch(b"a", b"b")
    census.gone(b"a")
    assert census.gone(b"b") == []
