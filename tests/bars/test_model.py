"""What bars show."""

from __future__ import annotations

import pytest

from nbray.bars.model import (
    CRASHED,
    DONE,
    FAILED,
    INTERRUPTED,
    Bar,
    Group,
    Pace,
    as_html,
    blocks,
    clock,
    line,
    number,
    plain,
    speed,
    text,
    took,
)


def test_a_bar_on_its_way() -> None:
    bar = Bar("train", 25, 100, elapsed=10, rate=2.5)
    assert line(bar, 8) == "train   25% ██       25/100 · 2.5/s · 0:30 left"


def test_failures_are_counted() -> None:
    assert "25/100 · 3 failed" in line(Bar("train", 25, 100, failed=3))


def test_without_a_total_there_is_a_count_and_a_clock() -> None:
    assert line(Bar("rows", 12_000, None, unit="rows", elapsed=75)) == "rows  12,000 rows · 1:15"


def test_a_bar_that_is_done_is_one_short_line() -> None:
    assert line(Bar("train", 100, 100, elapsed=8, state=DONE)) == "train  100/100 · 8.0 s · 12.5/s"


@pytest.mark.parametrize("state", [INTERRUPTED, CRASHED])
def test_the_last_line_says_how_it_ended_otherwise(state: str) -> None:
    assert line(Bar("train", 5, 100, elapsed=8, state=state)) == f"train  5/100 · {state} · 8.0 s"


def test_what_failed_is_not_said_twice() -> None:
    assert line(Bar("f", 5, 9, 2, elapsed=8, state=FAILED)) == "f  5/9 · 2 failed · 8.0 s"
    assert line(Bar("f", 5, 9, elapsed=8, state=FAILED)) == "f  5/9 · failed · 8.0 s"


def test_more_than_the_total_fills_the_bar_and_no_more() -> None:
    assert "100% ████ " in line(Bar("f", 12, 10), 4)


def test_functions_and_what_runs_are_told_while_it_runs() -> None:
    bar = Bar(
        "f, g",
        1,
        4,
        groups=(Group("f", 2, 1, 1), Group("g", 2, 0, 0)),
        running=("g on pid 1",),
        detailed=True,
    )
    assert text(bar).splitlines()[1:] == ["  f: 1 of 2, 1 failed", "  g: 0 of 2", "  running: g on pid 1"]
    assert text(bar._replace(state=DONE)).count("\n") == 0


def test_of_very_many_functions_the_first_are_told() -> None:
    groups = tuple(Group(f"f{n}", 1, 0, 0) for n in range(30))
    running = tuple(f"f on pid {n}" for n in range(30))
    told = text(Bar("f", 0, 30, groups=groups, running=running, detailed=True))
    assert "and 18 other functions" in told
    assert "and 18 more are running" in told


def test_names_are_text_and_on_one_line() -> None:
    bar = Bar("<b>x</b>\x1b[31m\n\u202e", 1, 2, note=("<script>", "a\x07b"), unit="<i>")
    html = as_html(bar)
    assert "&lt;b&gt;x&lt;/b&gt;" in html
    assert "&lt;script&gt;" in html
    for wrong in ("<b>", "<script>", "<i>", "\x1b", "\x07", "\n", "\u202e"):
        assert wrong not in html
    assert "\x1b" not in text(bar)
    assert len(line(Bar("x" * 1000, 1, 2))) < 200


def test_the_html_says_the_figures_in_attributes_and_without_script() -> None:
    html = as_html(Bar("f", 25, 100, failed=5))
    assert 'class="nbray-progress"' in html
    assert 'data-state="running" data-done="25" data-total="100" data-failed="5"' in html
    assert 'role="progressbar"' in html
    assert "width:20.0%" in html  # those that are done and have not failed
    assert "width:5.0%" in html
    assert "progressbar" not in as_html(Bar("f", 25, 100, state=DONE))


def test_a_line_that_is_being_written_is_only_text() -> None:
    bar = Bar("(f pid=7) <b>10 %</b>", 0, None, bare=True)
    assert text(bar) == "(f pid=7) <b>10 %</b>"
    assert "&lt;b&gt;10 %" in as_html(bar)
    assert as_html(bar._replace(label="")) == text(bar._replace(label="")) == ""


def test_the_rate_is_that_of_the_last_seconds() -> None:
    pace = Pace(0.0)
    assert pace.rate(0.0, 0) is None
    assert pace.rate(1.0, 0) is None
    assert pace.rate(2.0, 4) == 2.0
    for second in range(3, 40):
        rate = pace.rate(second, 4 + 10 * (second - 2))
    assert rate == pytest.approx(10.0, rel=0.05)


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (clock(7), "0:07"),
        (clock(3723), "1:02:03"),
        (took(3.21), "3.2 s"),
        (took(42), "42 s"),
        (took(250), "4 min 10 s"),
        (took(7260), "2 h 1 min"),
        (speed(12.34), "12.3/s"),
        (speed(1234, "rows"), "1,234 rows/s"),
        (speed(0.1), "10 s each"),
        (number(12000), "12,000"),
        (number(0.5), "0.5"),
        (blocks(0.5, 4), "██  "),
        (blocks(1, 2), "██"),
        (plain("a\tb"), "a b"),
    ],
)
def test_figures_are_short(told: str, words: str) -> None:
    assert told == words
