"""Tasks that submit tasks: they lend their CPU while they wait."""

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from gates import Gate, Marks, until
from leaks import census, leaks

import nbray


@pytest.fixture(scope="module", autouse=True)
def one_cpu():
    before = census()
    nbray.init(num_cpus=1)
    yield
    nbray.shutdown()
    assert not leaks(before)


@nbray.remote
def echo(value):
    return value


def test_recursion_64_deep_finishes_on_one_cpu():
    @nbray.remote
    def down(n):
        return 0 if n == 0 else 1 + nbray.get(down.remote(n - 1))

    assert nbray.get(down.remote(64)) == 64


def test_a_task_that_waits_for_many_of_its_own_finishes():
    @nbray.remote
    def fan(n):
        return sum(nbray.get([echo.remote(i) for i in range(n)]))

    assert nbray.get(fan.remote(100)) == 4950


def test_a_tree_of_tasks_finishes():
    @nbray.remote
    def tree(depth):
        return 1 if depth == 0 else sum(nbray.get([tree.remote(depth - 1) for _ in range(2)]))

    assert nbray.get(tree.remote(4)) == 16


def test_a_task_whose_threads_wait_lends_its_cpu():
    @nbray.remote
    def fan(n):
        with ThreadPoolExecutor(n) as threads:
            return sum(threads.map(lambda i: nbray.get(echo.remote(i)), range(2 * n)))

    assert nbray.get(fan.remote(4), timeout=30) == 28
    assert nbray.get([fan.remote(2), fan.remote(2)], timeout=30) == [6, 6]


def test_a_task_that_is_at_work_keeps_its_cpu_while_a_thread_of_it_waits():
    @nbray.remote
    def works():
        ref = echo.remote(1)
        with ThreadPoolExecutor(1) as thread:
            value = thread.submit(nbray.get, ref)
            end = time.thread_time() + 0.3
            while time.thread_time() < end:
                pass
            early = value.done()
            return early, value.result()

    assert nbray.get(works.remote(), timeout=30) == (False, 1)


def test_a_thread_that_outlives_its_task_leaves_the_lease_alone(tmp_path):
    gate = Gate(tmp_path)

    @nbray.remote
    def leaves_behind(refs):
        threading.Thread(target=nbray.get, args=(refs,), daemon=True).start()
        return nbray.get(echo.remote(1))

    ref = nbray.remote(num_cpus=0)(lambda: gate.wait()).remote()
    assert nbray.get(leaves_behind.remote([ref]), timeout=30) == 1
    gate.until_came()
    assert nbray.get([echo.remote(i) for i in range(20)], timeout=30) == list(range(20))
    gate.open()
    nbray.get(ref, timeout=30)
    until(lambda: nbray.available_resources().get("CPU") == 1)  # what is used up is not named


AWAITING = {
    "await": lambda: asyncio.run(_sum([echo.remote(1)])),
    "gather": lambda: asyncio.run(_sum([echo.remote(i) for i in range(4)])),
    "future": lambda: echo.remote(1).future().result(),
    "async for": lambda: asyncio.run(_sum_of_items()),
}


async def _sum(refs):
    return sum(await asyncio.gather(*refs))


async def _sum_of_items():
    @nbray.remote
    def items():
        yield from (1, 2)

    return sum([await ref async for ref in items.remote()])


@pytest.mark.parametrize("how", AWAITING)
def test_a_task_that_awaits_its_own_lends_its_cpu(how):
    @nbray.remote
    def waits():
        return AWAITING[how]()

    assert nbray.get([waits.remote(), waits.remote()], timeout=30)


def test_a_future_that_outlives_its_task_leaves_the_lease_alone(tmp_path):
    gate = Gate(tmp_path)

    @nbray.remote
    def leaves_behind(refs):
        refs[0].future()
        return echo.remote(1).future().result()

    ref = nbray.remote(num_cpus=0)(lambda: gate.wait()).remote()
    assert nbray.get(leaves_behind.remote([ref]), timeout=30) == 1
    gate.until_came()
    assert nbray.get([echo.remote(i) for i in range(20)], timeout=30) == list(range(20))
    gate.open()
    nbray.get(ref, timeout=30)
    until(lambda: nbray.available_resources().get("CPU") == 1)  # what is used up is not named


def test_wait_lends_too():
    @nbray.remote
    def first_of(n):
        refs = [echo.remote(i) for i in range(n)]
        done, others = nbray.wait(refs, num_returns=n)
        return len(done), len(others)

    assert nbray.get(first_of.remote(10)) == (10, 0)


def test_what_was_queued_behind_a_task_that_waits_goes_on():
    @nbray.remote
    def patient(refs):
        return nbray.get(refs[0])

    blocker = patient.remote([echo.remote(echo.remote(1))])
    assert nbray.get([echo.remote(i) for i in range(20)]) == list(range(20))
    assert nbray.get(blocker) == 1


def test_a_ref_made_by_a_task_may_be_its_result():
    @nbray.remote
    def make():
        return [nbray.put("put inside"), echo.remote("task inside")]

    assert nbray.get(nbray.get(make.remote())) == ["put inside", "task inside"]


def test_a_pending_ref_made_by_a_task_may_be_its_result(tmp_path):
    gate = Gate(tmp_path)

    @nbray.remote
    def late():
        gate.wait()
        return "late"

    @nbray.remote
    def make():
        return [late.remote()]

    (ref,) = nbray.get(make.remote())
    gate.open()
    assert nbray.get(ref) == "late"


def test_refs_go_three_deep_and_back():
    @nbray.remote
    def wrap(refs, depth):
        return refs if depth == 0 else [wrap.remote(refs, depth - 1)]

    result = nbray.get(wrap.remote([nbray.put("core")], 3))
    for _ in range(3):
        result = nbray.get(result[0])
    assert nbray.get(result[0]) == "core"


def test_a_task_outlives_the_one_that_submitted_it(tmp_path):
    gate, marks = Gate(tmp_path), Marks(tmp_path)

    @nbray.remote
    def child():
        gate.wait()
        marks.mark()

    @nbray.remote
    def parent():
        child.options(num_returns=0).remote()

    nbray.get(parent.remote())
    gate.open()
    until(lambda: marks.count() == 1)


def test_a_borrowed_ref_becomes_ready_without_being_fetched(tmp_path):
    @nbray.remote
    def waits(refs):
        return [len(part) for part in nbray.wait(refs, fetch_local=False)]

    assert nbray.get(waits.remote([nbray.put(b"x" * 200_000)])) == [1, 0]
