"""Sweeps and timings of a real pool. They assert what was run and counted, never how fast."""

from __future__ import annotations

import os

import pytest
from gates import until

import nbray
from nbray.bench import sweep, timing
from nbray.bench.splits import limits, runs


@nbray.remote
def total(numbers):
    return sum(numbers)


@nbray.remote
def pid():
    import os

    return os.getpid()


def split(chunk):
    refs = [total.remote(range(start, start + chunk)) for start in range(0, 8, chunk)]
    assert sum(nbray.get(refs)) == 28


def test_a_sweep_counts_the_tasks_of_each_setting(pool):
    found = sweep(split, "chunk=1,4,8", workers=[1, 2], rounds=2, serial=lambda: sum(range(8)))
    assert [(row.setting["chunk"], row.workers) for row in found.rows] == [
        (1, 1), (4, 1), (8, 1), (1, 2), (4, 2), (8, 2)
    ]  # fmt: skip
    assert [row.account.tasks for row in found.rows] == [8, 2, 1] * 2
    assert all(len(row.runs) == 2 for row in found.rows)
    assert len(found.serial_samples) == 2
    assert found.status == "done"
    for row in found.rows:
        account = row.account
        parts = account.busy + account.scheduling + account.transfer + account.dependencies + account.too_few
        assert parts + account.own == pytest.approx(account.wall * row.workers)
        assert account.busy > 0
        assert account.lost == 0


def test_a_limit_leaves_as_many_cpus_as_asked_for_and_gives_the_others_back(pool):
    @nbray.remote
    class Kept:
        def __init__(self):
            self.value = 1

        def add(self):
            self.value += 1
            return self.value

    kept = Kept.remote()
    assert nbray.get(kept.add.remote()) == 2
    with limits.limited_to(1):
        assert len(set(nbray.get([pid.remote() for _ in range(20)]))) == 1
    assert nbray.get(kept.add.remote()) == 3  # what lives in the pool lives on
    with limits.limited_to(0):
        pass
    assert nbray.get([total.options(num_cpus=2).remote([1, 2])]) == [3]


def test_a_function_gets_the_number_of_workers_if_it_asks_for_it(pool):
    seen = []
    sweep(lambda workers: seen.append(workers), workers="1,2", rounds=1)
    assert seen == [1, 1, 2, 2]


def test_far_more_workers_than_cpus_are_refused(pool):
    with pytest.raises(ValueError, match="1000 workers are more than the pool's 2 CPUs"):
        sweep(split, "chunk=1", workers=[1000])


def test_a_local_pool_is_larger_as_long_as_more_workers_are_measured(pool):
    seen = []
    sweep(lambda workers: seen.append(nbray.cluster_resources()["CPU"]), workers=[3], rounds=1)
    assert seen == [3, 3]
    assert nbray.cluster_resources()["CPU"] == 2


def test_a_pool_in_use_is_no_place_to_measure(pool, monkeypatch):
    monkeypatch.setattr(limits, "PATIENCE", 0.2)

    class Holds:
        def ready(self):
            pass

    holds = nbray.remote(num_cpus=1)(Holds).remote()
    nbray.get(holds.ready.remote())
    with pytest.raises(RuntimeError, match="the pool is in use: 2 of its CPUs are needed, free is 1;"):
        sweep(split, "chunk=1,2")
    nbray.kill(holds)


@nbray.remote
class Worker:
    def work(self):
        return sum(range(100_000))


def test_actors_that_were_there_before_are_not_limited_and_the_sweep_says_so(pool):
    old = [Worker.remote() for _ in range(2)]

    def with_old():
        nbray.get([actor.work.remote() for actor in old])

    def with_new(workers):
        nbray.get([actor.work.remote() for actor in [Worker.remote() for _ in range(workers)]])

    def with_a_counter():
        nbray.get([old[0].work.remote(), *[heavy.remote() for _ in range(2)]])

    @nbray.remote
    def heavy():
        return [sum(range(1_000_000)) for _ in range(5)]

    said = "Actors that were made before the sweep (2) do some of the work"
    assert said in str(sweep(with_old, workers=[1, 2], rounds=1))
    assert "made before the sweep" not in str(sweep(with_new, workers=[1, 2], rounds=1))
    assert "made before the sweep" not in str(sweep(with_a_counter, workers=[1, 2], rounds=1))


def test_a_cell_that_waits_for_cpus_that_the_sweep_holds_is_told_so(pool, monkeypatch):
    monkeypatch.setattr(runs, "SILENCE", 0.2)
    said = []

    def with_too_many():
        actors = [Worker.options(num_cpus=1).remote() for _ in range(2)]
        refs = [actor.work.remote() for actor in actors]
        until(lambda: any("CPU is missing" in text for text in said), 30)
        nbray.get(refs, timeout=0)

    with pytest.raises(nbray.exceptions.GetTimeoutError):
        sweep(with_too_many, workers=[1], rounds=1, progress=lambda found: said.append(found.now))
    told = next(text for text in said if "CPU is missing" in text)
    assert (
        "1 worker: nothing ends: Worker.work (its actor has no place yet): CPU is missing: 1 asked, 0 of 2 free"
        in told
    )
    assert "this sweep, pid" in told
    assert "CpusSetAside" not in told


def test_tasks_that_the_code_does_not_wait_for_are_waited_for(pool):
    kept = []
    found = timing(lambda: kept.extend(total.remote([i]) for i in range(50)), rounds=1)
    assert found.account.tasks == 50
    ready, _ = nbray.wait(kept, num_returns=50, timeout=0)
    assert len(ready) == 50


def test_what_is_measured_shows_no_bars_of_its_own_and_the_wish_of_the_user_stays(pool, monkeypatch):
    seen = []
    for wish in ("1", None):
        if wish is None:
            monkeypatch.delenv("NBRAY_PROGRESS")
        else:
            monkeypatch.setenv("NBRAY_PROGRESS", wish)
        timing(lambda: seen.append(os.environ["NBRAY_PROGRESS"]), rounds=1)
        assert os.environ.get("NBRAY_PROGRESS") == wish
    assert seen == ["0", "0"]


def test_the_codes_own_errors_come_out(pool):
    with pytest.raises(ZeroDivisionError):
        timing(lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        sweep(lambda chunk: 1 / 0, "chunk=1,2")


def test_calls_of_actors_and_nested_tasks_are_in_the_account(pool):
    @nbray.remote
    class Counter:
        def add(self):
            return 1

    @nbray.remote
    def outer():
        return nbray.get([total.remote([i]) for i in range(3)])

    counter = Counter.remote()

    def code():
        nbray.get([counter.add.remote() for _ in range(5)])
        nbray.get(outer.remote())

    account = timing(code, rounds=1).account
    assert (account.tasks, account.nested) == (9, 3)
    assert account.busy > 0
