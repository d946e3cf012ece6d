"""``nbray.util.tqdm``: bars of code that runs somewhere else."""

from __future__ import annotations

import os
import threading

import pytest
from bars.support import board
from gates import until

import nbray
from nbray.bars import reports
from nbray.bars.model import CRASHED, DONE, ENDED, FAILED, RUNNING
from nbray.bars.reports import Desk
from nbray.util import tqdm


@pytest.fixture
def screen(monkeypatch):
    """What the driver shows."""
    on, screen = board()
    monkeypatch.setattr(reports, "desk", Desk(on))
    return screen


@pytest.fixture(autouse=True)
def tests_can_be_imported(monkeypatch):
    """What a task's function is pickled by reference for must be found by its process."""


def labels(screen):
    return [bar.bars[0].label for bar in screen.shown]


def ended(screen, count=1):
    until(lambda: sum(bar.closed for bar in screen.shown) >= count)
    return [(bar.last.label, bar.last.done, bar.last.state) for bar in screen.shown if bar.last is not None]


# -- in the driver ------------------------------------------------------------------------------------------------------
def test_it_iterates_like_the_iterable(screen):
    assert list(tqdm(range(5), desc="five")) == [0, 1, 2, 3, 4]
    (bar,) = screen.shown
    assert (bar.bars[0].total, bar.bars[0].label) == (5, "five")
    assert bar.last is not None
    assert (bar.last.done, bar.last.state) == (5, DONE)


def test_an_iterable_of_unknown_length_has_no_total(screen):
    assert len(list(tqdm(iter("abc")))) == 3
    assert screen.shown[0].bars[0].total is None
    assert screen.shown[0].last.done == 3
    assert screen.shown[0].last.state == DONE


def test_counting_by_hand(screen):
    with tqdm(total=10, desc="by hand", unit="rows") as bar:
        bar.update()
        bar.update(4)
        bar.update(-1)
        assert bar.n == 4
        bar.refresh()
        assert bar.format_dict["n"] == 4
        assert len(bar) == 10
    assert screen.shown[0].last.done == 4
    assert screen.shown[0].last.state == ENDED
    assert screen.shown[0].last.unit == "rows"


def test_descriptions_and_values_stand_before_the_bar(screen):
    bar = tqdm(total=2, mininterval=0)
    bar.set_description("epoch 1", refresh=False)
    bar.set_postfix(loss=0.12345, step=3, refresh=False)
    bar.refresh()
    bar.close()
    assert screen.shown[0].last.label == "epoch 1 loss=0.123, step=3"


def test_an_exception_in_the_block_is_seen_at_the_bar(screen):
    with pytest.raises(KeyError), tqdm(total=10) as bar:
        bar.update(3)
        raise KeyError("x")
    assert screen.shown[0].last.state == FAILED


def test_a_loop_that_is_left_early_ends_its_bar(screen):
    for n in tqdm(range(10)):
        if n == 3:
            break
    until(lambda: screen.shown[0].closed)
    assert screen.shown[0].last.state == ENDED


def test_bars_inside_others_are_indented_and_go(screen):
    for _ in tqdm(range(2), desc="outer"):
        for _ in tqdm(range(2), desc="inner", leave=False):
            pass
    assert [bar.bars[0].depth for bar in screen.shown] == [0, 1, 1]
    assert [bar.last is None for bar in screen.shown] == [False, True, True]


def test_reset_begins_anew(screen):
    bar = tqdm(total=10, initial=2)
    bar.update(5)
    bar.reset(total=20)
    assert (bar.n, bar.total) == (2, 20)
    bar.close()
    bar.close()
    assert len(screen.shown) == 1


def test_updates_of_several_threads_are_all_counted(screen):
    bar = tqdm(total=4000)
    threads = [threading.Thread(target=lambda: [bar.update() for _ in range(1000)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    bar.close()
    assert screen.shown[0].last.done == 4000


def test_a_disabled_bar_counts_nothing_and_shows_nothing(screen):
    assert list(tqdm(range(3), disable=True)) == [0, 1, 2]
    assert not screen.shown


def test_arguments_about_looks_are_taken_and_typos_are_not(screen):
    tqdm(total=1, ascii=True, ncols=80, position=1, dynamic_ncols=True, flush_interval_s=1).close()
    with pytest.raises(TypeError, match=r"no argument 'totl'; did you mean 'total'\?"):
        tqdm(totl=1)


def test_a_bar_without_an_iterable_says_how_to_count(screen):
    with pytest.raises(TypeError, match="call update"):
        list(tqdm(total=3))


def test_write_prints(capsys):
    tqdm.write("hello")
    assert capsys.readouterr().out == "hello\n"


# -- in tasks and actors ------------------------------------------------------------------------------------------------
@nbray.remote
def count(n, desc=""):
    for _ in nbray.util.tqdm(range(n), desc=desc):
        pass
    return os.getpid()


def test_the_bar_of_a_task_shows_in_the_driver_and_is_over_before_its_result(pool, screen):
    pid = nbray.get(count.remote(7, "things"))
    assert ended(screen) == [(f"count: things (pid {pid})", 7, DONE)]


def test_bars_of_several_tasks_show_at_once(pool, screen, tmp_path):
    @nbray.remote
    def slow(gate, n):
        with nbray.util.tqdm(total=n) as bar:
            bar.update(n)
            bar.refresh()
            gate.wait()

    from gates import Gate

    gate = Gate(tmp_path)
    refs = [slow.remote(gate, n) for n in (3, 4)]
    gate.until_came(2)
    until(lambda: nbray.wait(refs, timeout=0.05) and len(screen.shown) == 2)
    assert not any(bar.closed for bar in screen.shown)
    gate.open()
    nbray.get(refs)
    assert sorted(done for _, done, _ in ended(screen, 2)) == [3, 4]


def test_what_was_counted_shows_while_the_next_item_takes_long(pool, screen, tmp_path):
    from gates import Gate

    gate = Gate(tmp_path)

    @nbray.remote
    def slow(gate):
        for n in nbray.util.tqdm(range(10)):
            if n == 7:
                gate.wait()

    ref = slow.remote(gate)
    gate.until_came()
    until(lambda: nbray.wait([ref], timeout=0.05) and screen.shown and screen.shown[0].bars[-1].done == 7)
    gate.open()
    nbray.get(ref)


def test_the_bar_of_a_task_of_a_task_gets_through(pool, screen):
    @nbray.remote
    def parent():
        return nbray.get(count.remote(5))

    pid = nbray.get(parent.remote())
    assert ended(screen) == [(f"count (pid {pid})", 5, DONE)]


def test_an_actors_bar(pool, screen):
    @nbray.remote
    class Trainer:
        def fit(self, n):
            for _ in nbray.util.tqdm(range(n), desc="epochs"):
                pass
            return os.getpid()

    pid = nbray.get(Trainer.remote().fit.remote(3))
    assert ended(screen) == [(f"Trainer.fit: epochs (pid {pid})", 3, DONE)]


def test_a_bar_that_a_failed_task_leaves_open_ends_as_failed(pool, screen):
    kept = []

    @nbray.remote
    def fails():
        bar = nbray.util.tqdm(total=5)
        bar.update(2)
        bar.refresh()
        kept.append(bar)
        raise ValueError("x")

    with pytest.raises(ValueError):
        nbray.get(fails.remote())
    until(lambda: nbray.get(count.remote(1)) and screen.shown[0].closed)
    assert screen.shown[0].last.state == FAILED
    assert screen.shown[0].last.done == 2


def test_the_bar_of_a_process_that_dies_ends_as_crashed(pool, screen):
    @nbray.remote(max_retries=0)
    def dies():
        bar = nbray.util.tqdm(total=5)
        bar.update(2)
        bar.refresh()
        os._exit(1)

    with pytest.raises(nbray.exceptions.WorkerCrashedError):
        nbray.get(dies.remote())
    assert ended(screen)[0][1:] == (2, CRASHED)


def test_a_fork_of_user_code_reports_nothing(pool, screen):
    @nbray.remote
    def forks():
        bar = nbray.util.tqdm(total=5, mininterval=0)
        child = os.fork()
        if child == 0:
            bar.update(5)
            bar.close()
            os._exit(0)
        os.waitpid(child, 0)
        bar.update(1)
        bar.close()

    nbray.get(forks.remote())
    assert [done for _, done, _ in ended(screen)] == [1]


def test_names_are_text(pool, screen):
    nbray.get(count.remote(1, "\x1b[31m<b>"))
    ended(screen)
    assert "<b>" in screen.shown[0].last.label  # whoever draws it escapes it
    assert screen.shown[0].bars[0].state in (RUNNING, DONE)
