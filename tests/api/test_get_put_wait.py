"""``get``, ``put``, ``wait`` and what refs can do."""

import asyncio
import concurrent.futures
import copy
import threading

import numpy as np
import pytest
from gates import Gate

import nbray
from nbray.exceptions import GetTimeoutError

pytestmark = pytest.mark.usefixtures("pool")


@nbray.remote
def echo(value):
    return value


@pytest.fixture
def pending(tmp_path):
    """A ref that is not ready before its gate opens."""
    gate = Gate(tmp_path)

    @nbray.remote
    def late():
        gate.wait()
        return "late"

    ref = late.remote()
    ref_and_gate = ref, gate
    yield ref_and_gate
    gate.open()
    nbray.get(ref)


# --- get -------------------------------------------------------------------------------------------------------------


def test_get_of_no_refs_gives_no_values():
    assert nbray.get([]) == []


def test_get_keeps_order_and_repetition():
    a, b = nbray.put("a"), nbray.put("b")
    assert nbray.get([b, a, b]) == ["b", "a", "b"]


@pytest.mark.parametrize("wrong", [1, None, "text", (), {}, object()])
def test_get_of_what_is_no_ref_and_no_list_is_a_value_error(wrong):
    with pytest.raises(ValueError, match="list of"):
        nbray.get(wrong)


def test_get_of_other_collections_of_refs_is_a_value_error():
    ref = nbray.put(1)
    for wrong in ((ref,), {ref}, {1: ref}, iter([ref])):
        with pytest.raises(ValueError, match="list of"):
            nbray.get(wrong)


@pytest.mark.parametrize("wrong", [1, None, "text", []])
def test_get_of_a_list_with_something_else_is_a_type_error_that_names_it(wrong):
    with pytest.raises(TypeError):
        nbray.get([nbray.put(1), wrong])


def test_the_time_out_of_get_is_a_keyword_only():
    with pytest.raises(TypeError):
        nbray.get(nbray.put(1), 1)


def test_get_with_time_out_zero_polls(pending):
    ref, _ = pending
    with pytest.raises(GetTimeoutError):
        nbray.get(ref, timeout=0)
    assert nbray.get(nbray.put(1), timeout=0) == 1


def test_a_time_out_is_a_timeout_error_and_the_ref_stays_valid(pending):
    ref, gate = pending
    with pytest.raises(TimeoutError) as caught:
        nbray.get([nbray.put(1), ref], timeout=0.05)
    assert isinstance(caught.value, GetTimeoutError)
    gate.open()
    assert nbray.get(ref) == "late"


def test_get_raises_the_first_failure_without_waiting_for_the_rest(pending):
    ref, _ = pending

    @nbray.remote
    def fail():
        raise KeyError("x")

    with pytest.raises(KeyError):
        nbray.get([ref, fail.remote()])


# --- put -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value", [None, 0, "text", b"bytes", [1, {"a": (2,)}], {1, 2}, float("inf"), b"x" * 300_000]
)
def test_what_is_put_comes_back(value):
    assert nbray.get(nbray.put(value)) == value


def test_put_takes_a_snapshot():
    value = {"a": [1]}
    ref = nbray.put(value)
    value["a"].append(2)
    assert nbray.get(ref) == {"a": [1]}


def test_put_of_a_ref_is_a_type_error_and_of_a_list_of_refs_is_not():
    ref = nbray.put(1)
    with pytest.raises(TypeError, match="list"):
        nbray.put(ref)
    (inner,) = nbray.get(nbray.put([ref]))
    assert inner == ref
    assert nbray.get(inner) == 1


def test_instances_of_local_classes_can_be_put():
    class Point:
        def __init__(self, x):
            self.x = x

    assert nbray.get(nbray.put(Point(3))).x == 3


# --- wait ------------------------------------------------------------------------------------------------------------


def test_wait_for_nothing_gives_nothing():
    assert nbray.wait([]) == ([], [])
    assert nbray.wait([], num_returns=3) == ([], [])


def test_wait_keeps_the_order_of_its_input_in_both_lists(pending):
    ref, _ = pending
    done = [nbray.put(i) for i in range(4)]
    mixed = [done[3], ref, done[1], done[2]]
    assert nbray.wait(mixed, num_returns=3) == ([done[3], done[1], done[2]], [ref])


def test_wait_gives_no_more_than_it_was_asked_for():
    refs = [nbray.put(i) for i in range(4)]
    assert nbray.wait(refs, num_returns=2) == (refs[:2], refs[2:])
    assert nbray.wait(refs) == (refs[:1], refs[1:])


def test_wait_gives_what_there_is_when_the_time_is_over(pending):
    ref, _ = pending
    done = nbray.put(1)
    assert nbray.wait([ref, done], num_returns=2, timeout=0) == ([done], [ref])
    assert nbray.wait([ref, done], num_returns=2, timeout=0.05) == ([done], [ref])
    assert nbray.wait([ref], timeout=0) == ([], [ref])


def test_wait_blocks_until_enough_are_ready(pending):
    ref, gate = pending
    done = nbray.put(1)
    opener = threading.Thread(target=lambda: (gate.until_came(), gate.open()))
    opener.start()
    assert nbray.wait([ref, done], num_returns=2) == ([ref, done], [])
    opener.join()


def test_failures_count_as_ready():
    @nbray.remote
    def fail():
        raise ValueError

    ref = fail.remote()
    assert nbray.wait([ref]) == ([ref], [])


def test_a_loop_over_wait_gets_each_result_once():
    refs = [echo.remote(i) for i in range(200)]
    seen = []
    while refs:
        (ref,), refs = nbray.wait(refs)
        seen.append(nbray.get(ref))
    assert sorted(seen) == list(range(200))


def test_wait_for_a_single_ref_is_a_type_error():
    with pytest.raises(TypeError, match="list"):
        nbray.wait(nbray.put(1))


@pytest.mark.parametrize("wrong", [1, None, (), set(), "text"])
def test_wait_for_what_is_no_list_is_a_type_error(wrong):
    with pytest.raises(TypeError, match="list"):
        nbray.wait(wrong)


@pytest.mark.parametrize("wrong", [1, None, []])
def test_wait_for_a_list_with_something_else_is_a_type_error(wrong):
    with pytest.raises(TypeError):
        nbray.wait([nbray.put(1), wrong])


def test_duplicates_in_wait_are_a_value_error():
    ref = nbray.put(1)
    with pytest.raises(ValueError):
        nbray.wait([ref, nbray.put(2), ref])


@pytest.mark.parametrize("count", [0, -1, 3])
def test_a_count_out_of_range_is_a_value_error(count):
    with pytest.raises(ValueError, match=r"num_returns|number"):
        nbray.wait([nbray.put(1), nbray.put(2)], num_returns=count)


def test_a_negative_time_out_of_wait_is_a_value_error():
    with pytest.raises(ValueError, match="timeout"):
        nbray.wait([nbray.put(1)], timeout=-1)


def test_the_options_of_wait_are_keywords_only():
    with pytest.raises(TypeError):
        nbray.wait([nbray.put(1)], 1)


# --- refs ------------------------------------------------------------------------------------------------------------


def test_equal_refs_hash_alike_and_others_differ():
    ref = nbray.put(1)
    (other,) = nbray.get(nbray.put([ref]))
    assert other == ref
    assert hash(other) == hash(ref)
    assert len({ref, other, nbray.put(1)}) == 2


def test_a_ref_shows_its_id():
    ref = nbray.put(1)
    assert repr(ref) == str(ref) == f"ObjectRef({ref.hex()})"
    assert bytes.fromhex(ref.hex()) == ref.binary()
    assert ref.task_id().hex() in repr(ref.task_id())


def test_copies_of_a_ref_are_the_ref():
    ref = nbray.put(1)
    assert copy.copy(ref) == ref
    assert copy.deepcopy([ref]) == [ref]


def test_the_rich_repr_tells_the_live_state(pending):
    ref, gate = pending
    assert "<em>pending</em> · result of " in ref._repr_html_()
    gate.open()
    nbray.get(ref)
    assert "<em>ready</em>" in ref._repr_html_() and "owned by this process" in ref._repr_html_()
    assert "976.7 KiB in shared memory · node " in nbray.put(b"x" * 1_000_000)._repr_html_()

    @nbray.remote
    def fail():
        raise ValueError("<script>\x07")

    failed = fail.remote()
    nbray.wait([failed])
    assert "<em>failed</em> · ValueError: &lt;script&gt;\ufffd" in failed._repr_html_()


def test_a_ref_can_be_awaited():
    async def main():
        first = echo.remote(1)
        values = await asyncio.gather(*[echo.remote(i) for i in range(20)])
        return await first, await first, await nbray.put(3), values

    assert asyncio.run(main()) == (1, 1, 3, list(range(20)))


def test_awaiting_a_failed_ref_raises():
    @nbray.remote
    def fail():
        raise ValueError("x")

    async def main():
        await fail.remote()

    with pytest.raises(ValueError, match="x"):
        asyncio.run(main())


def test_a_cancelled_waiter_leaves_the_task_alone(pending):
    ref, gate = pending

    async def main():
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(_of(ref), 0.05)

    async def _of(ref):
        return await ref

    asyncio.run(main())
    gate.open()
    assert nbray.get(ref) == "late"


def test_a_ref_gives_a_future_of_the_running_loop():
    @nbray.remote
    def fail():
        raise ValueError("no")

    async def main():
        future = echo.remote(1).as_future()
        assert asyncio.isfuture(future)
        with pytest.raises(ValueError):
            await fail.remote().as_future()
        return await future

    assert asyncio.run(main()) == 1


def test_a_ref_gives_a_future():
    future = echo.remote(1).future()
    assert isinstance(future, concurrent.futures.Future)
    assert future.result(timeout=30) == 1

    @nbray.remote
    def fail():
        raise ValueError("x")

    with pytest.raises(ValueError, match="x"):
        fail.remote().future().result(timeout=30)


def test_futures_of_many_refs_complete():
    futures = [echo.remote(i).future() for i in range(50)]
    done = concurrent.futures.as_completed(futures, timeout=30)
    assert sorted(future.result() for future in done) == list(range(50))


def test_a_future_may_be_cancelled_before_its_value(pending):
    ref, gate = pending
    future = ref.future()
    assert future.cancel()
    gate.open()
    assert nbray.get(ref) == "late"


def test_numbers_need_not_be_of_pythons_own_types():
    refs = [nbray.put(i) for i in range(3)]
    assert nbray.wait(refs, num_returns=np.int64(2), timeout=np.float32(5)) == (refs[:2], refs[2:])
    assert nbray.wait(refs, num_returns=len(refs) / 2, timeout=5) == (refs[:1], refs[1:])
    assert nbray.get(refs, timeout=np.int32(5)) == [0, 1, 2]


@pytest.mark.parametrize("wrong", [{"num_returns": "1"}, {"timeout": "1"}, {"num_returns": None}])
def test_what_is_no_number_is_named(wrong):
    (name,) = wrong
    with pytest.raises(TypeError, match=name):
        nbray.wait([nbray.put(1)], **wrong)
