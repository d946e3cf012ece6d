"""The bars of get, wait and progress."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from bars.support import Ref, Source, board

from nbray.bars import shown, waits
from nbray.bars.model import DONE, FAILED, INTERRUPTED, PAUSED, RUNNING
from nbray.bars.screen import LINES, NOTEBOOK, TERMINAL, Board, surroundings
from nbray.bars.waits import Tally, Wait


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    clock = Clock()
    monkeypatch.setattr(waits, "time", clock)
    monkeypatch.setattr(shown, "time", clock)
    monkeypatch.setattr(waits, "_loop", None)
    return clock


def wait(refs: list[Ref], needed: int | None = None, on: Board | None = None) -> Wait:
    return Wait(Source(), refs, len(refs) if needed is None else needed, 2.0, on or board()[0])


def test_a_get_of_many_shows_how_many_are_there(clock: Clock) -> None:
    on, screen = board()
    refs = [Ref() for _ in range(4)]
    look = wait(refs, on=on)
    look.look()
    refs[0].finish()
    clock.now += 1
    look.look()
    (bar,) = screen.shown
    assert [(each.done, each.total, each.label) for each in bar.bars] == [(0, 4, "f"), (1, 4, "f")]
    assert bar.bars[-1].elapsed == 3.0
    for ref in refs:
        ref.finish()
    look.close("done")
    assert bar.last is not None
    assert (bar.last.done, bar.last.state) == (4, DONE)


def test_a_first_picture_that_takes_long_does_not_delay_the_second(clock: Clock) -> None:
    on, screen = board()
    opened = screen.open

    def open_slowly(*what):
        clock.now += 0.5  # rich is imported
        return opened(*what)

    screen.open = open_slowly
    look = wait([Ref() for _ in range(4)], on=on)
    assert look.look() == waits.FRAME


def test_a_get_that_ends_at_the_first_failure_says_so() -> None:
    on, screen = board()
    refs = [Ref() for _ in range(4)]
    look = wait(refs, on=on)
    look.look()
    refs[0].finish(failed=True)
    look.close("done")
    last = screen.shown[0].last
    assert last is not None
    assert (last.failed, last.state) == (1, FAILED)


def test_an_interrupted_wait_leaves_a_bar_that_says_interrupted() -> None:
    on, screen = board()
    look = wait([Ref(), Ref()], on=on)
    look.look()
    look.close("interrupted")
    assert screen.shown[0].last is not None
    assert screen.shown[0].last.state == INTERRUPTED


def test_a_single_ref_has_no_bar_until_there_is_something_to_say(clock: Clock) -> None:
    on, screen = board()
    look = wait([Ref()], on=on)
    look.look()
    assert not screen.shown
    clock.now += 8
    look.look()
    assert screen.shown[0].bars[0].note == ("1 wait",)


def test_after_ten_seconds_without_progress_it_is_said_why(clock: Clock) -> None:
    on, screen = board()
    refs = [Ref(), Ref(), Ref()]
    look = wait(refs, on=on)
    for _ in range(7):
        clock.now += 1
        look.look()
    assert screen.shown[0].bars[-1].note == ()
    refs[0].finish()
    for _ in range(10):
        clock.now += 1
        look.look()
    assert screen.shown[0].bars[-1].note == ()
    clock.now += 1
    look.look()
    assert screen.shown[0].bars[-1].note == ("2 wait",)
    refs[1].finish()
    look.look()
    assert screen.shown[0].bars[-1].note == ()


def test_a_terminal_is_told_once(clock: Clock) -> None:
    on, screen = board(TERMINAL)
    look = wait([Ref()], on=on)
    for _ in range(100):
        clock.now += 1
        look.look()
    assert len(screen.said) == 1
    assert "1 wait" in screen.said[0]
    assert not screen.shown


def test_where_nobody_looks_nothing_is_asked(clock: Clock) -> None:
    on, screen = board(None)
    source = Source()
    look = Wait(source, [Ref(), Ref()], 2, 2.0, on)
    for _ in range(30):
        clock.now += 1
        look.look()
    look.close("done")
    assert source.asked == 0
    assert not screen.shown


def test_functions_are_told_apart() -> None:
    refs = [Ref("f"), Ref("g"), Ref("g")]
    tally = Tally(refs, ["f", "g", "g"], 0.0)
    refs[1].finish(failed=True)
    groups = tally.bar(1.0).groups
    assert [tuple(group) for group in groups] == [("g", 2, 1, 1), ("f", 1, 0, 0)]
    assert tally.bar(1.0).label == "g, f"


def test_a_loop_of_waits_has_one_bar_for_all_of_it() -> None:
    on, screen = board()
    refs = [Ref() for _ in range(5)]
    kept = list(refs)
    while refs:
        look = wait(refs, min(2, len(refs)), on)
        look.look()
        for ref in refs[:2]:
            ref.finish()
        look.look()
        look.close("done")
        refs = refs[2:]
    (bar,) = screen.shown
    assert [(each.done, each.state) for each in bar.bars] == [
        (0, RUNNING), (2, RUNNING), (2, PAUSED), (2, RUNNING), (4, RUNNING), (4, PAUSED), (4, RUNNING), (5, RUNNING),
    ]  # fmt: skip
    assert bar.last is not None
    assert (bar.last.done, bar.last.total, bar.last.state) == (5, 5, DONE)
    assert len(kept) == 5


def test_waits_of_a_loop_that_are_short_count_too(clock: Clock) -> None:
    on, screen = board()
    refs = [Ref() for _ in range(3)]
    after = []
    look = Wait(Source(), refs, 1, 2.0, on, follow=after.append)
    look.look()
    refs[0].finish()
    look.close("done")
    (waited,) = after
    clock.now += 1
    assert waited(refs[1:], 1)
    assert screen.shown[0].bars[-1].done == 2
    assert not waited(refs[2:], 1)
    assert screen.shown[0].last is not None
    assert screen.shown[0].last.done == 3


def test_what_came_in_a_loop_before_its_first_long_wait_counts_too(clock: Clock) -> None:
    on, screen = board()
    refs = [Ref()]
    look = Wait(Source(), refs, 1, 2.0, on, earlier=(10.0, 79))
    look.look()
    refs[0].finish()
    look.close("done")
    (bar,) = screen.shown
    assert (bar.bars[0].done, bar.bars[0].total, bar.bars[0].elapsed) == (79, 80, 12.0)
    assert bar.last is not None
    assert (bar.last.done, bar.last.total) == (80, 80)


def test_other_refs_begin_another_bar() -> None:
    on, screen = board()
    for _ in range(2):
        refs = [Ref(), Ref()]
        look = wait(refs, 1, on)
        look.look()
        refs[0].finish()
        look.close("done")
    assert len(screen.shown) == 2


@pytest.mark.parametrize(
    ("wish", "tty", "where"),
    [
        ("", True, TERMINAL),
        ("", False, None),
        ("0", True, None),
        ("1", False, LINES),
        ("1", True, TERMINAL),
        ("off", True, None),
    ],
)
def test_where_bars_show(monkeypatch: pytest.MonkeyPatch, wish: str, tty: bool, where: str | None) -> None:
    monkeypatch.setenv("NBRAY_PROGRESS", wish)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stderr.isatty", lambda: tty, raising=False)
    monkeypatch.setattr("nbray.bars.screen._shell", lambda: None)
    assert surroundings() == where


@pytest.mark.parametrize(
    ("wish", "asked", "where"),
    [("", True, NOTEBOOK), ("", False, None), ("1", False, NOTEBOOK), ("0", True, None)],
)
def test_a_kernel_that_a_program_runs_shows_none(
    monkeypatch: pytest.MonkeyPatch, wish: str, asked: bool, where: str | None
) -> None:
    class Kernel:
        def get_parent(self, channel: str) -> dict[str, object]:
            return {"content": {"allow_stdin": asked}}

    monkeypatch.setenv("NBRAY_PROGRESS", wish)
    monkeypatch.setattr("nbray.bars.screen._shell", lambda: type("Shell", (), {"kernel": Kernel()}))
    assert surroundings() == where
