"""``nbray.progress``: waiting for refs under a bar."""

import pytest
from bars.support import board
from gates import Gate, ctrl_c

import nbray
from nbray.bars import shown, waits
from nbray.bars.model import DONE, INTERRUPTED
from nbray.owner import waiting


@pytest.fixture(scope="module", autouse=True)
def two_cpus(pool):
    return pool


@pytest.fixture
def screen(monkeypatch):
    on, screen = board()
    monkeypatch.setattr(shown.Progress.__init__, "__defaults__", (None, on))
    return screen


@nbray.remote
def echo(value):
    return value


@nbray.remote
def fail():
    raise ValueError("no")


@nbray.remote
def numbers(n):
    yield from range(n)


def test_it_answers_the_refs_when_all_are_there(screen):
    refs = [echo.remote(n) for n in range(5)]
    assert nbray.get(nbray.progress(refs)) == [0, 1, 2, 3, 4]
    (bar,) = screen.shown
    assert (bar.last.done, bar.last.total, bar.last.state, bar.last.label) == (5, 5, DONE, "echo")


def test_refs_that_are_there_already_are_named_too(screen):
    refs = [echo.remote(1), fail.remote()]
    nbray.wait(refs, num_returns=2)
    nbray.progress([*refs, nbray.put(1)])
    groups = [tuple(group) for group in screen.shown[0].last.groups]
    assert groups == [("echo", 1, 1, 0), ("fail", 1, 1, 1), ("others", 1, 1, 0)]


def test_failures_are_counted_and_not_raised(screen):
    refs = [echo.remote(1), fail.remote(), fail.remote()]
    nbray.progress(refs)
    assert all(ref.ready for ref in refs)
    assert screen.shown[0].last.failed == 2
    with pytest.raises(ValueError):
        nbray.get(refs)


def test_nested_refs_are_found(screen):
    nested = {"a": [echo.remote(1), (echo.remote(2), {echo.remote(3)})], "b": echo.remote(4)}
    assert sorted(nbray.get(nbray.progress(nested))) == [1, 2, 3, 4]
    assert nbray.get(nbray.progress(echo.remote(5))) == [5]
    assert nbray.progress([]) == []


def test_a_ref_that_is_there_twice_counts_once(screen):
    ref = echo.remote(1)
    assert nbray.progress([ref, [ref]]) == [ref]
    assert screen.shown[0].last.total == 1


def test_the_items_of_a_generator_are_counted(screen):
    items = numbers.remote(7)
    nbray.progress(items, desc="numbers")
    assert (screen.shown[0].last.done, screen.shown[0].last.total) == (7, None)
    assert [nbray.get(ref) for ref in items] == list(range(7))


def test_refs_as_they_are_done(screen, tmp_path):
    gate = Gate(tmp_path)

    @nbray.remote
    def wait(gate):
        gate.wait()
        return "late"

    late, soon = wait.remote(gate), echo.remote("soon")
    found = nbray.progress([late, soon], as_completed=True)
    assert next(found) is soon
    gate.open()
    assert list(found) == [late]
    assert screen.shown[0].last.state == DONE


def test_items_of_generators_come_among_them(screen):
    refs = [numbers.remote(3), echo.remote("x")]
    values = [nbray.get(ref) for ref in nbray.progress(refs, as_completed=True)]
    assert sorted(map(str, values)) == ["0", "1", "2", "x"]


def test_an_iteration_that_is_left_early_ends_its_bar(screen):
    for _ in nbray.progress([echo.remote(1), echo.remote(2)], as_completed=True):
        break
    assert screen.shown[0].closed


def test_a_generator_that_waits_for_its_items_to_be_taken_is_refused(screen):
    items = numbers.options(_generator_backpressure_num_objects=1).remote(3)
    with pytest.raises(ValueError, match="as_completed=True"):
        nbray.progress(items)
    assert len(list(nbray.progress(items, as_completed=True))) == 3


@pytest.mark.parametrize(
    "wrong", [1, "refs", [1], {"a": None}, iter([])], ids=lambda wrong: type(wrong).__name__
)
def test_what_is_no_ref_is_refused_by_name(wrong):
    with pytest.raises(TypeError, match=r"progress\(\) takes refs"):
        nbray.progress(wrong)


def test_an_interrupt_leaves_a_bar_that_says_so_and_the_task_alone(screen, tmp_path):
    gate = Gate(tmp_path)

    @nbray.remote
    def wait(gate):
        gate.wait()
        return "done"

    ref = wait.remote(gate)
    gate.until_came()
    with pytest.raises(KeyboardInterrupt), ctrl_c(once=lambda: screen.shown):
        nbray.progress(ref)
    assert screen.shown[0].last.state == INTERRUPTED
    gate.open()
    assert nbray.get(ref) == "done"


def test_what_it_answers_shows_nothing_in_a_notebook():
    assert nbray.progress([echo.remote(1)])._ipython_display_() is None


def test_the_bar_of_a_loop_of_waits_counts_from_the_first_wait_on(monkeypatch, tmp_path):
    gate, (on, screen) = Gate(tmp_path), board()
    opens = screen.open

    def seen(bar, origin):
        gate.open()
        return opens(bar, origin)

    monkeypatch.setattr(screen, "open", seen)
    monkeypatch.setattr(waits.Wait.__init__, "__defaults__", (on, *waits.Wait.__init__.__defaults__[1:]))

    @nbray.remote
    def wait(gate):
        gate.wait()

    soon = [echo.remote(n) for n in range(4)]
    nbray.wait(soon, num_returns=4)
    refs = [*soon, wait.remote(gate)]
    monkeypatch.setattr(waiting, "LONG", 0.01)  # none of the others is waited for
    while refs:
        _, refs = nbray.wait(refs)
    assert (screen.shown[0].bars[0].done, screen.shown[0].bars[0].total) == (4, 5)
    assert (screen.shown[0].last.done, screen.shown[0].last.total) == (5, 5)


def test_without_anybody_to_see_it_it_just_waits(monkeypatch, capfd):
    monkeypatch.setenv("NBRAY_PROGRESS", "0")
    assert nbray.get(nbray.progress([echo.remote(1)])) == [1]
    assert capfd.readouterr().err == ""


def test_forced_bars_are_lines(monkeypatch, capfd):
    monkeypatch.setenv("NBRAY_PROGRESS", "1")
    nbray.progress([echo.remote(1), echo.remote(2)])
    assert "echo  2/2 · " in capfd.readouterr().err
