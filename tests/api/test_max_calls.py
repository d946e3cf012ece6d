"""A process leaves after ``max_calls`` of a function, and no call is lost or run twice for that."""

import os
import signal

import pytest
from gates import Gate, Marks, until
from leaks import census, leaks

import nbray
from nbray.exceptions import WorkerCrashedError


@pytest.fixture(scope="module", autouse=True)
def pool():
    before = census()
    nbray.init(num_cpus=2, num_gpus=1)
    yield
    nbray.shutdown()
    assert not leaks(before)


@nbray.remote
def pid(_=None):
    return os.getpid()


def lives(process):
    return os.path.exists(f"/proc/{process}")


def test_a_process_leaves_after_so_many_calls():
    pids = [nbray.get(pid.options(max_calls=2, num_cpus=2).remote()) for _ in range(5)]
    assert pids[0] == pids[1] != pids[2] == pids[3] != pids[4]
    until(lambda: not lives(pids[0]) and not lives(pids[2]))
    assert lives(pids[4])


def test_calls_that_are_queued_behind_the_last_one_run_elsewhere_once_each(tmp_path):
    marks = Marks(tmp_path)

    @nbray.remote(max_calls=3, max_retries=0)
    def short(n):
        marks.mark(f"ran{n}x")
        return n, os.getpid()

    refs = [short.remote(n) for n in range(60)]
    got = nbray.get(refs)
    assert [n for n, _ in got] == list(range(60))
    assert [marks.count(f"ran{n}x") for n in range(60)] == [1] * 60
    pids = [process for _, process in got]
    assert max(pids.count(process) for process in pids) <= 3
    until(lambda: sum(map(lives, set(pids))) <= 2)


def test_other_functions_are_not_counted_and_go_on_elsewhere():
    limited = pid.options(max_calls=1, max_retries=0)
    plain = pid.options(max_retries=0)
    first = nbray.get(plain.remote())
    assert nbray.get(plain.remote()) == first
    assert len(nbray.get([(limited if n % 3 else plain).remote() for n in range(60)])) == 60


def test_zero_is_no_limit():
    one = pid.options(num_cpus=2, max_calls=0)
    assert len({nbray.get(one.remote()) for _ in range(3)}) == 1


def test_a_task_on_a_gpu_has_a_process_of_its_own_unless_it_says_otherwise():
    on_gpu = pid.options(num_gpus=1)
    assert len({nbray.get(on_gpu.remote()) for _ in range(3)}) == 3
    together = on_gpu.options(max_calls=0)
    assert len({nbray.get(together.remote()) for _ in range(3)}) == 1


def test_a_large_result_outlives_its_process():
    @nbray.remote(max_calls=1)
    def large():
        return os.getpid(), b"x" * 10_000_000

    ref = large.remote()
    nbray.wait([ref])
    process = nbray.get(ref)[0]
    until(lambda: not lives(process))
    assert len(nbray.get(ref)[1]) == 10_000_000


def test_a_process_stays_as_long_as_somebody_needs_what_it_owns():
    @nbray.remote(max_calls=1)
    def owner():
        return os.getpid(), nbray.put("mine")

    process, inner = nbray.get(owner.remote())
    assert nbray.get(inner) == "mine"
    del inner
    until(lambda: not lives(process))


def test_a_last_call_that_raises_or_crashes_ends_as_any_other(tmp_path):
    marks = Marks(tmp_path)

    @nbray.remote(max_calls=1, max_retries=0)
    def bad(how):
        if how == "raise":
            raise KeyError(how)
        os._exit(0) if how == "exit" else os.kill(os.getpid(), signal.SIGKILL)

    @nbray.remote(max_calls=1, max_retries=1)
    def once():
        if marks.count() == 0:
            marks.mark()
            os.kill(os.getpid(), signal.SIGKILL)
        return "again"

    with pytest.raises(KeyError, match="raise"):
        nbray.get(bad.remote("raise"))
    with pytest.raises(WorkerCrashedError, match="SIGKILL"):
        nbray.get(bad.remote("kill"))
    with pytest.raises(WorkerCrashedError, match="exit code 0"):
        nbray.get(bad.remote("exit"))
    assert nbray.get(once.remote()) == "again"


def test_a_last_call_that_waits_for_others_goes_on(tmp_path):
    @nbray.remote(max_calls=1, num_cpus=2)
    def parent(n):
        return nbray.get(parent.remote(n - 1)) + 1 if n else 0

    assert nbray.get(parent.remote(3)) == 3


def test_a_last_call_may_be_cancelled(tmp_path):
    gate = Gate(tmp_path)

    @nbray.remote(max_calls=1)
    def stand():
        gate.wait()

    ref = stand.remote()
    gate.until_came()
    nbray.cancel(ref)
    with pytest.raises(nbray.exceptions.TaskCancelledError):
        nbray.get(ref)
    assert nbray.get(pid.options(num_cpus=2).remote())


def test_a_generator_counts_as_one_call():
    @nbray.remote(max_calls=1)
    def items():
        for _ in range(3):
            yield os.getpid()

    first, second = ([nbray.get(ref) for ref in items.remote()] for _ in range(2))
    assert len(set(first)) == len(set(second)) == 1
    assert first[0] != second[0]


@pytest.mark.parametrize(("value", "error"), [(-1, ValueError), (1.5, TypeError), (True, TypeError)])
def test_max_calls_is_a_whole_number(value, error):
    with pytest.raises(error, match="max_calls"):
        pid.options(max_calls=value)


def test_methods_of_actors_have_no_max_calls():
    with pytest.raises(ValueError, match="max_calls"):

        @nbray.remote(max_calls=1)
        class Never:
            pass
