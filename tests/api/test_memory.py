"""Large objects: shared without a copy, private to write to, and gone with their last ref."""

import gc

import numpy as np
import psutil
import pytest
from gates import Gate, until

import nbray
from nbray import _runtime
from nbray.events import ObjectChanged

pytestmark = pytest.mark.usefixtures("pool")

LARGE = 1_000_000


@nbray.remote
def echo(value):
    return value


@nbray.remote
def ones(n=LARGE):
    return np.ones(n, dtype=np.uint8)


@nbray.remote
def total(array):
    return int(array.sum())


class Stored:
    """The large objects that the feed says are stored, from now on."""

    def __init__(self):
        self.cursor = nbray.feed().end
        self.alive = set()

    def now(self):
        gc.collect()
        records, self.cursor = nbray.feed().since(self.cursor)
        for record in records:
            if isinstance(record, ObjectChanged):
                if record.state == "stored":
                    self.alive.add(record.object)
                elif record.state in ("freed", "lost"):
                    self.alive.discard(record.object)
        return self.alive


def test_arrays_go_there_and_back():
    array = np.arange(LARGE)
    back = nbray.get(echo.remote(array))
    assert back.dtype == array.dtype
    assert np.array_equal(back, array)
    assert nbray.get(total.remote(ones.remote())) == LARGE
    assert nbray.get(total.remote(nbray.put(np.ones(LARGE, dtype=np.uint8)))) == LARGE


def test_what_get_gives_may_be_written_to_and_nobody_else_sees_it():
    ref = nbray.put(np.zeros(LARGE, dtype=np.uint8))
    first, second = nbray.get(ref), nbray.get(ref)
    first[:] = 7
    assert second.sum() == 0
    assert nbray.get(total.remote(ref)) == 0
    assert nbray.get(ref).sum() == 0


def test_a_task_may_write_to_its_argument_and_nobody_else_sees_it():
    @nbray.remote
    def scribble(array):
        array[:] = 9
        return int(array.sum())

    ref = nbray.put(np.zeros(LARGE, dtype=np.uint8))
    assert nbray.get([scribble.remote(ref) for _ in range(3)]) == [9 * LARGE] * 3
    assert nbray.get(ref).sum() == 0


def test_put_takes_a_snapshot_of_an_array():
    array = np.zeros(LARGE, dtype=np.uint8)
    ref = nbray.put(array)
    array[:] = 1
    assert nbray.get(ref).sum() == 0


def test_an_argument_is_an_array_as_it_was_at_the_call(tmp_path):
    gate = Gate(tmp_path)

    @nbray.remote
    def late(array):
        gate.wait()
        return int(array.sum())

    array = np.zeros(LARGE, dtype=np.uint8)
    ref = late.remote(array)
    gate.until_came()
    array[:] = 1
    gate.open()
    assert nbray.get(ref) == 0


def test_a_value_outlives_its_ref():
    ref = nbray.put(np.ones(LARGE, dtype=np.uint8))
    value = nbray.get(ref)
    del ref
    others = [nbray.put(np.zeros(LARGE, dtype=np.uint8)) for _ in range(5)]
    assert value.sum() == LARGE
    del others


def test_many_arrays_are_many_values():
    refs = [nbray.put(np.full(LARGE // 4, i, dtype=np.uint8)) for i in range(20)]
    assert [int(array[0]) for array in nbray.get(refs)] == list(range(20))
    assert [int(array[-1]) for array in nbray.get(refs)] == list(range(20))


def test_large_values_of_all_kinds_come_back():
    for value in (
        b"x" * LARGE,
        "y" * LARGE,
        bytearray(LARGE),
        list(range(100_000)),
        {"a": np.ones(LARGE), "b": b"z" * LARGE},
    ):
        back = nbray.get(echo.remote(value))
        assert type(back) is type(value)
        if isinstance(value, dict):
            assert np.array_equal(back["a"], value["a"])
            assert back["b"] == value["b"]
        else:
            assert back == value


def test_the_memory_of_a_dropped_put_comes_back():
    stored = Stored()
    ref = nbray.put(np.ones(LARGE, dtype=np.uint8))
    assert ref.hex() in stored.now()
    del ref
    until(lambda: not stored.now())


def test_the_memory_of_a_dropped_result_comes_back():
    stored = Stored()
    ref = ones.remote()
    nbray.get(ref)
    until(lambda: len(stored.now()) == 1)
    del ref
    until(lambda: not stored.now())


def test_the_memory_of_a_large_argument_comes_back_after_the_call():
    stored = Stored()
    assert nbray.get(total.remote(np.ones(LARGE, dtype=np.uint8))) == LARGE
    until(lambda: not stored.now())


def test_a_result_nobody_waits_for_is_freed():
    stored = Stored()
    ones.remote()
    nbray.get([echo.remote(1) for _ in range(4)])
    until(lambda: not stored.now())


def test_a_ref_inside_a_value_keeps_it_alive():
    stored = Stored()
    inner = nbray.put(np.ones(LARGE, dtype=np.uint8))
    outer = nbray.put([inner])
    del inner
    gc.collect()
    (inner,) = nbray.get(outer)
    assert nbray.get(inner).sum() == LARGE
    del inner
    assert nbray.get(nbray.get(outer)[0]).sum() == LARGE
    del outer
    until(lambda: not stored.now())


def test_a_ref_that_an_actor_keeps_is_alive_until_it_lets_go():
    @nbray.remote
    class Keeper:
        def keep(self, refs):
            self.refs = refs

        def use(self):
            return int(nbray.get(self.refs[0]).sum())

        def drop(self):
            self.refs = None

    stored, keeper = Stored(), Keeper.remote()
    ref = nbray.put(np.ones(LARGE, dtype=np.uint8))
    nbray.get(keeper.keep.remote([ref]))
    del ref
    gc.collect()
    assert nbray.get(keeper.use.remote()) == LARGE
    assert len(stored.now()) == 1
    nbray.get(keeper.drop.remote())
    until(lambda: not stored.now())


def test_what_a_dead_actor_kept_is_freed():
    @nbray.remote
    class Keeper:
        def keep(self, refs):
            self.refs = refs

    stored, keeper = Stored(), Keeper.remote()
    ref = nbray.put(np.ones(LARGE, dtype=np.uint8))
    nbray.get(keeper.keep.remote([ref]))
    del ref
    assert len(stored.now()) == 1
    nbray.kill(keeper)
    until(lambda: not stored.now())


def test_a_put_in_a_task_lives_as_long_as_its_ref_here():
    @nbray.remote
    def make():
        return [nbray.put(np.ones(LARGE, dtype=np.uint8))]

    refs = nbray.get(make.remote())
    nbray.get([echo.remote(i) for i in range(10)])
    assert nbray.get(refs[0]).sum() == LARGE


def test_a_failed_task_does_not_keep_its_arguments_alive():
    @nbray.remote
    def fail(array):
        local = array  # noqa: F841
        raise ValueError

    stored = Stored()
    ref = fail.remote(np.ones(LARGE, dtype=np.uint8))
    with pytest.raises(ValueError):
        nbray.get(ref)
    until(lambda: not stored.now())


def test_a_loop_over_large_objects_needs_the_memory_of_a_few():
    store = _runtime.current().owner.values.store
    most = 0
    for _ in range(100):
        nbray.get(total.remote(ones.remote(10 * LARGE)))
        most = max(most, store.figures.used)
    assert most < 100 * LARGE  # all together would be 1,000
    store.recount()
    assert store.figures.used < 100 * LARGE


def test_a_hundred_thousand_refs_can_be_held_and_dropped():
    process = psutil.Process()
    refs = [nbray.put(i) for i in range(100_000)]
    assert nbray.get(refs[::10_000]) == list(range(0, 100_000, 10_000))
    assert len(nbray.wait(refs, num_returns=len(refs))[0]) == 100_000
    rss = process.memory_info().rss
    del refs
    gc.collect()
    assert process.memory_info().rss <= rss


def test_a_reader_keeps_its_view_when_the_writer_reuses_memory():
    ref = nbray.put(np.full(LARGE, 1, dtype=np.uint8))
    view = nbray.get(ref)
    del ref
    for i in range(2, 12):
        other = nbray.put(np.full(LARGE, i, dtype=np.uint8))
        assert nbray.get(total.remote(other)) == i * LARGE
        del other
        assert view.sum() == LARGE
