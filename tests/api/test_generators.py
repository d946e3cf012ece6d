"""Generators as tasks and as methods: items one by one, as they are yielded."""

import asyncio
import copy
import gc
import os
import pickle
import sys
import threading
import time

import numpy as np
import pytest
from gates import Gate, Marks, ctrl_c, until

import nbray
from nbray.exceptions import RayTaskError, SerializationError, TaskCancelledError

pytestmark = pytest.mark.usefixtures("pool")


@nbray.remote
def count(n):
    yield from range(n)


@nbray.remote
def add(a, b):
    return a + b


@nbray.remote
def steps(gate, marks, n):
    """Yields a number, passes the gate, and so on; a mark at each step and one at the end, however it ends."""
    try:
        for i in range(n):
            marks.mark("yielded")
            yield i
            gate.wait()
    finally:
        marks.mark("finally")


@nbray.remote
class Counter:
    def __init__(self):
        self.n = 0

    def up_to(self, n):
        for self.n in range(1, n + 1):
            yield self.n

    @nbray.method(num_returns=2)
    def two(self):
        yield 1
        yield 2

    def present(self):
        return self.n


@nbray.remote
class Async:
    def __init__(self):
        self.event = asyncio.Event()
        self.ended = []

    async def up_to(self, n):
        for i in range(n):
            await asyncio.sleep(0)
            yield i

    async def until_set(self, name="until_set"):
        try:
            yield "waits"
            await self.event.wait()
            yield "goes on"
        finally:
            self.ended.append(name)

    def plain(self, n):
        yield from range(n)

    async def set(self):
        self.event.set()

    async def endings(self):
        return self.ended

    async def fails(self):
        yield 1
        raise KeyError("async")


# --- items -------------------------------------------------------------------------------------------------------------


def test_the_rich_repr_tells_how_far_it_is():
    gen = count.remote(3)
    nbray.get(gen.completed())
    next(gen)
    assert "<em>ended</em> · items: 1 taken, 2 more there" in gen._repr_html_()
    list(gen)
    assert "<em>finished</em> · items: 3 taken" in gen._repr_html_()


def test_a_generator_function_streams_its_items():
    generator = count.remote(3)
    assert isinstance(generator, nbray.ObjectRefGenerator)
    assert [nbray.get(ref) for ref in generator] == [0, 1, 2]
    assert list(generator) == []


def test_an_empty_generator_has_no_items():
    assert list(count.remote(0)) == []


def test_an_item_is_there_before_the_next_is_made(tmp_path):
    gate, marks = Gate(tmp_path), Marks(tmp_path)
    generator = steps.remote(gate, marks, 2)
    assert nbray.get(next(generator)) == 0
    gate.until_came()
    assert marks.count("yielded") == 1
    assert not generator.next_ready()
    gate.open()
    assert nbray.get(next(generator)) == 1


def test_ten_thousand_items_come_in_order():
    assert nbray.get(list(count.remote(10_000))) == list(range(10_000))


def test_items_are_arguments_of_tasks_like_other_refs():
    assert nbray.get([add.remote(ref, 1) for ref in count.remote(5)]) == [1, 2, 3, 4, 5]


def test_each_item_names_the_call_that_made_it():
    generator = count.remote(3)
    refs = list(generator)
    assert len({ref.task_id() for ref in refs}) == 1
    assert len(set(refs)) == 3
    assert refs[0].task_id() == generator.completed().task_id()


def test_large_items_are_shared_and_freed_one_by_one():
    @nbray.remote
    def arrays(n):
        for i in range(n):
            yield np.full(1 << 18, i)

    freed = nbray.feed().end
    for i, ref in enumerate(arrays.remote(4)):
        array = nbray.get(ref)
        assert array[0] == array[-1] == i
    del ref, array

    def gone():
        nbray.put(0)  # collects
        events = nbray.feed().since(freed)[0]
        return sum(getattr(e, "state", "") == "freed" for e in events) >= 4

    until(gone)


def test_refs_inside_items_are_held():
    @nbray.remote
    def refs():
        for i in range(3):
            yield [nbray.put(np.full(50_000, i))]

    for i, ref in enumerate(list(refs.remote())):
        (inner,) = nbray.get(ref)
        assert nbray.get(inner)[0] == i


def test_refs_of_the_caller_come_home_inside_items():
    ref = nbray.put(np.arange(50_000))

    @nbray.remote
    def back(refs):
        yield refs
        yield refs

    (first,), (second,) = (nbray.get(item) for item in back.remote([ref]))
    assert first is second is ref


def test_a_task_iterates_over_the_generator_that_it_started():
    @nbray.remote
    def total(n):
        return sum(nbray.get(ref) for ref in count.remote(n))

    assert nbray.get(total.remote(100)) == 4950


def test_a_generator_hands_on_the_items_of_another():
    @nbray.remote
    def doubled(n):
        for ref in count.remote(n):
            yield 2 * nbray.get(ref)

    assert nbray.get(list(doubled.remote(5))) == [0, 2, 4, 6, 8]


def test_a_number_of_returns_takes_the_first_items():
    assert nbray.get(count.options(num_returns=2).remote(3)) == [0, 1]
    assert nbray.get(count.options(num_returns=1).remote(3)) == 0
    assert count.options(num_returns=0).remote(3) is None
    assert nbray.get(list(count.options(num_returns=2).options(num_returns="streaming").remote(2))) == [0, 1]


def test_fewer_items_than_returns_are_an_error():
    with pytest.raises(ValueError, match="num_returns=3"):
        nbray.get(count.options(num_returns=3).remote(2))


@nbray.remote
def breaks(n):
    """Items of both sizes, small and in shared memory, and refs; then an error."""
    for i in range(n):
        yield [i, np.full(50_000, i), [nbray.put(i)]][i % 3]
    raise KeyError("broken")


class Breaks:
    def sync(self, n):
        yield from range(n)
        raise KeyError("broken")


class AsyncBreaks(Breaks):
    async def other(self):
        """Makes the actor an asynchronous one."""


def test_what_a_generator_yielded_before_it_raised_is_there_and_the_other_returns_have_the_error():
    refs = breaks.options(num_returns=5).remote(3)
    assert nbray.get(refs[0]) == 0
    assert nbray.get(refs[1])[-1] == 1
    assert nbray.get(nbray.get(refs[2])[0]) == 2
    for ref in refs[3:]:
        with pytest.raises(KeyError, match="broken"):
            nbray.get(ref)
    short = count.options(num_returns=3).remote(1)
    assert nbray.get(short[0]) == 0
    with pytest.raises(ValueError, match="yielded 1 values"):
        nbray.get(short[1])


@pytest.mark.parametrize("cls", [Breaks, AsyncBreaks])
def test_what_a_method_yielded_before_it_raised_is_there(cls):
    first, second, third = nbray.remote(cls).remote().sync.options(num_returns=3).remote(2)
    assert nbray.get([first, second]) == [0, 1]
    with pytest.raises(KeyError, match="broken"):
        nbray.get(third)


@pytest.mark.parametrize("wanted", [True, [KeyError]])
def test_a_generator_that_is_tried_again_leaves_nothing_of_the_first_attempt(tmp_path, wanted):
    marks = Marks(tmp_path)

    @nbray.remote(num_returns=3, retry_exceptions=wanted, max_retries=1)
    def second_time():
        marks.mark("ran")
        yield np.full(50_000, marks.count("ran"))
        yield [nbray.put("inside")]
        if marks.count("ran") == 1:
            raise KeyError
        yield "end"

    first, second, third = second_time.remote()
    assert nbray.get(third) == "end"
    assert nbray.get(first)[0] == 2
    assert nbray.get(nbray.get(second)[0]) == "inside"
    del first, second, third
    whole = nbray.cluster_resources()["object_store_memory"]
    until(lambda: nbray.available_resources()["object_store_memory"] == whole)


def test_a_generator_with_a_number_of_returns_can_be_cancelled_while_it_yields(tmp_path):
    gate, marks = Gate(tmp_path), Marks(tmp_path)
    first, second = steps.options(num_returns=2).remote(gate, marks, 2)
    gate.until_came()
    nbray.cancel(first)
    with pytest.raises(TaskCancelledError, match="while it ran") as caught:
        nbray.get(second)
    assert isinstance(caught.value, RayTaskError), "it was interrupted"


def test_streaming_is_for_generator_functions():
    with pytest.raises(ValueError, match="yield"):
        nbray.remote(num_returns="streaming")(lambda: 1)
    with pytest.raises(ValueError, match="yield"):
        add.options(num_returns="streaming")
    with pytest.raises(ValueError, match="yield"):
        nbray.method(num_returns="streaming")(lambda self: 1)
    with pytest.raises(ValueError, match="yield"):
        add.options(num_returns="dynamic")
    with pytest.raises(ValueError, match="have 'streaming'"):
        nbray.method(num_returns="dynamic")(lambda self: 1)


# --- Ray's older kind -------------------------------------------------------------------------------------------------


@nbray.remote(num_returns="dynamic")
def all_at_once(n, fails=False):
    for i in range(n):
        yield np.full(50_000, i)
    if fails:
        raise ValueError("after all items")


@nbray.remote
def sums(refs):
    return [int(nbray.get(ref)[0]) for ref in refs]


def test_a_dynamic_generator_is_one_ref_to_the_refs_of_all_items():
    ref = all_at_once.remote(3)
    items = nbray.get(ref)
    assert isinstance(ref, nbray.ObjectRef) and isinstance(items, nbray.DynamicObjectRefGenerator)
    assert len(items) == 3
    assert [int(nbray.get(item)[0]) for item in items] == [0, 1, 2]
    assert len(items) == 0, "each is given once"
    assert nbray.get(sums.remote(ref)) == [0, 1, 2]
    assert nbray.get(sums.remote(all_at_once.options(name="again").remote(2))) == [0, 1]
    assert len(list(all_at_once.options(num_returns="streaming").remote(2))) == 2


def test_what_a_dynamic_generator_raises_is_its_last_item():
    *items, last = nbray.get(all_at_once.remote(2, fails=True))
    assert [int(nbray.get(item)[0]) for item in items] == [0, 1]
    with pytest.raises(ValueError, match="after all items") as failure:
        nbray.get(last)
    assert isinstance(failure.value, RayTaskError) and failure.value.function_name == "all_at_once"


def test_a_dynamic_generator_whose_exceptions_are_retried_runs_again(tmp_path):
    marks = Marks(tmp_path)

    @nbray.remote(num_returns="dynamic", retry_exceptions=True)
    def second_time():
        marks.mark()
        yield 1
        if marks.count() == 1:
            raise ValueError
        yield 2

    assert nbray.get(list(nbray.get(second_time.remote()))) == [1, 2]


def test_a_dynamic_generator_can_be_handed_to_a_task_that_calls_it():
    @nbray.remote
    def calls(function):
        return len(nbray.get(function.remote(4)))

    assert nbray.get(calls.remote(all_at_once)) == 4


# --- failures ----------------------------------------------------------------------------------------------------------


@nbray.remote
def fails_after(n):
    yield from range(n)
    raise KeyError("after all")


def test_what_a_generator_raises_is_its_last_item():
    generator = fails_after.remote(2)
    first, second, last = generator
    assert nbray.get([first, second]) == [0, 1]
    with pytest.raises(KeyError) as caught:
        nbray.get(last)
    assert isinstance(caught.value, RayTaskError)
    assert generator.is_finished()
    assert nbray.get(generator.completed()) is None  # the generator raised, the call did not fail


def test_an_item_that_cannot_be_pickled_ends_the_generator(tmp_path):
    marks = Marks(tmp_path)

    @nbray.remote
    def locks():
        try:
            yield 1
            yield threading.Lock()
            yield 2
        finally:
            marks.mark()

    first, last = locks.remote()
    assert nbray.get(first) == 1
    with pytest.raises(SerializationError, match="item 1 of"):
        nbray.get(last)
    assert marks.count() == 1


def test_a_failed_argument_is_the_only_item():
    @nbray.remote
    def fail():
        raise KeyError("argument")

    generator = count.remote(fail.remote())
    (only,) = generator
    with pytest.raises(KeyError, match="argument"):
        nbray.get(only)
    with pytest.raises(KeyError, match="argument"):
        nbray.get(generator.completed())


def test_exceptions_are_retried_without_giving_an_item_twice(tmp_path):
    marks = Marks(tmp_path)

    @nbray.remote(retry_exceptions=[KeyError], max_retries=2)
    def third_time():
        marks.mark()
        for i in range(4):
            if i == 1 + marks.count():
                raise KeyError(i)
            yield i

    assert nbray.get(list(third_time.remote())) == [0, 1, 2, 3]
    assert marks.count() == 3


# --- waiting -----------------------------------------------------------------------------------------------------------


def test_completed_is_ready_at_the_end(tmp_path):
    gate, marks = Gate(tmp_path), Marks(tmp_path)
    generator = steps.remote(gate, marks, 1)
    gate.until_came()
    assert nbray.wait([generator.completed()], timeout=0) == ([], [generator.completed()])
    gate.open()
    assert nbray.get(generator.completed()) is None
    assert not generator.is_finished()  # one item is still to be taken
    assert generator.next_ready()
    next(generator)
    assert generator.is_finished()
    assert not generator.next_ready()


def test_wait_says_which_generator_has_an_item(tmp_path):
    gate, marks = Gate(tmp_path), Marks(tmp_path)
    stuck = steps.remote(gate, marks, 2)
    next(stuck)
    ref = nbray.put(1)
    quick = count.remote(1)
    assert nbray.wait([stuck, quick], timeout=30) == ([quick], [stuck])
    assert nbray.wait([stuck, ref, quick], num_returns=3, timeout=0) == ([ref, quick], [stuck])
    gate.open()
    assert nbray.wait([stuck], timeout=30) == ([stuck], [])
    list(stuck), list(quick)
    assert nbray.wait([quick, stuck], num_returns=2, timeout=30) == ([quick, stuck], [])  # the end, too
    with pytest.raises(ValueError, match="duplicates"):
        nbray.wait([quick, quick])


def test_get_of_a_generator_is_the_generator():
    generator = count.remote(1)
    assert nbray.get(generator) is generator
    with pytest.raises(TypeError, match="ObjectRefs"):
        nbray.get([generator])


def test_a_generator_cannot_be_pickled_put_or_passed():
    generator = count.remote(1)
    for way in (pickle.dumps, nbray.put, count.remote, lambda g: add.remote([g], 1)):
        with pytest.raises(TypeError, match="Pass the refs"):
            way(generator)
    assert copy.deepcopy(generator) is generator
    assert nbray.get(next(generator)) == 0


def test_ctrl_c_in_next_loses_no_item(tmp_path):
    gate, marks = Gate(tmp_path), Marks(tmp_path)
    generator = steps.remote(gate, marks, 2)
    assert nbray.get(next(generator)) == 0
    gate.until_came()
    with pytest.raises(KeyboardInterrupt), ctrl_c():
        next(generator)
    gate.open()
    assert nbray.get(list(generator)) == [1]


def test_async_for_gives_the_items():
    async def consume(generator):
        return [await ref async for ref in generator]

    assert asyncio.run(consume(count.remote(5))) == [0, 1, 2, 3, 4]


def test_a_cancelled_anext_takes_nothing(tmp_path):
    gate, marks = Gate(tmp_path), Marks(tmp_path)
    generator = steps.remote(gate, marks, 2)
    assert nbray.get(next(generator)) == 0

    async def consume():
        waiting = asyncio.ensure_future(anext(generator))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        gate.open()
        return [await ref async for ref in generator]

    assert asyncio.run(consume()) == [1]


# --- backpressure ------------------------------------------------------------------------------------------------------


@nbray.remote(_generator_backpressure_num_objects=2)
def marked(marks, n):
    for i in range(n):
        marks.mark()
        yield i


def test_a_generator_pauses_when_so_many_items_are_not_taken(tmp_path):
    marks = Marks(tmp_path)
    generator = marked.remote(marks, 10)
    for taken in range(1, 9):
        next(generator)
        until(lambda taken=taken: marks.count() == taken + 2)
        assert nbray.get(add.remote(1, 1)) == 2  # its executor had time to go on, had it wanted to
        assert marks.count() == taken + 2
    assert nbray.get(list(generator)) == [8, 9]


def test_a_limit_of_one_makes_an_item_at_a_time(tmp_path):
    marks = Marks(tmp_path)
    generator = marked.options(_generator_backpressure_num_objects=1).remote(marks, 3)
    assert nbray.get(list(generator)) == [0, 1, 2]
    assert marks.count() == 3


def test_paused_generators_leave_their_cpus_to_others(tmp_path):
    generators = [marked.remote(Marks(tmp_path, f"m{i}"), 5) for i in range(4)]
    until(lambda: all(len(os.listdir(tmp_path / f"m{i}")) == 2 for i in range(4)))
    assert nbray.get(add.remote(1, 1)) == 2
    assert [nbray.get(list(generator)) for generator in generators] == [[0, 1, 2, 3, 4]] * 4


# --- abandoning --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["drop", "close"])
def test_an_abandoned_generator_is_closed_at_its_next_yield(tmp_path, how):
    gate, marks = Gate(tmp_path), Marks(tmp_path)
    generator = steps.remote(gate, marks, sys.maxsize)
    ref = next(generator)
    gate.until_came()
    if how == "close":
        generator.close()
        assert generator.is_finished()
        assert list(generator) == []
    del generator
    gate.open()
    until(lambda: marks.count("finally") == 1)
    assert nbray.get(ref) == 0


def test_an_abandoned_generator_that_is_paused_is_closed_at_once(tmp_path):
    marks = Marks(tmp_path)

    @nbray.remote(_generator_backpressure_num_objects=1)
    def patient():
        try:
            yield 1
            yield 2
        finally:
            marks.mark()

    generator = patient.remote()
    ref = next(generator)
    until(generator.next_ready)
    del generator
    until(lambda: marks.count() == 1)
    assert nbray.get(ref) == 1


def test_a_generator_that_has_not_started_never_starts(tmp_path):
    gate, marks = Gate(tmp_path), Marks(tmp_path)

    @nbray.remote(num_cpus=2)
    def hold():
        gate.wait()

    held = hold.remote()
    gate.until_came()
    generator = marked.remote(marks, 3)
    completed = generator.completed()
    generator.close()
    assert nbray.get(completed, timeout=30) is None
    gate.open()
    nbray.get(held)
    assert nbray.get([add.remote(i, 0) for i in range(20)]) == list(range(20))
    assert marks.count() == 0


def test_items_that_nobody_took_are_freed(tmp_path):
    gate = Gate(tmp_path)

    @nbray.remote
    def arrays():
        for _ in range(3):
            yield np.zeros(1 << 18)
        gate.wait()
        yield np.zeros(1 << 18)

    cursor = nbray.feed().end
    generator = arrays.remote()
    gate.until_came()
    until(generator.next_ready)
    del generator
    gate.open()

    def freed():
        nbray.get(add.remote(1, 1))
        events = nbray.feed().since(cursor)[0]
        states = [e.state for e in events if type(e).__name__ == "ObjectChanged"]
        return states.count("freed") >= 3 and states.count("freed") >= states.count("stored")

    until(freed)


def test_a_generator_in_a_cycle_is_abandoned_when_that_is_collected(tmp_path):
    marks = Marks(tmp_path)

    @nbray.remote(_generator_backpressure_num_objects=1)
    def patient():
        try:
            yield 1
            yield 2
        finally:
            marks.mark()

    cycle = [patient.remote()]
    cycle.append(cycle)
    next(cycle[0])
    del cycle
    gc.collect()
    until(lambda: marks.count() == 1)


def test_closing_twice_or_after_the_end_is_nothing():
    generator = count.remote(2)
    assert nbray.get(list(generator)) == [0, 1]
    generator.close()
    generator.close()
    early = count.remote(2)
    early.close()
    early.close()
    assert nbray.get(early.completed()) is None


# --- cancelling --------------------------------------------------------------------------------------------------------


def test_a_cancelled_generator_is_interrupted_and_its_last_item_says_so(tmp_path):
    marks = Marks(tmp_path)

    @nbray.remote
    def sleeps():
        try:
            yield 1
            time.sleep(1000)
        finally:
            marks.mark()

    generator = sleeps.remote()
    first = next(generator)
    nbray.cancel(generator)
    (last,) = generator
    assert nbray.get(first) == 1
    for ref in (last, generator.completed()):
        with pytest.raises(TaskCancelledError):
            nbray.get(ref)
    until(lambda: marks.count() == 1)


def test_a_paused_generator_can_be_cancelled(tmp_path):
    marks = Marks(tmp_path)
    generator = marked.remote(marks, 10)
    until(lambda: marks.count() == 2)
    nbray.cancel(generator)
    *items, last = generator
    assert nbray.get(items) == list(range(len(items)))
    with pytest.raises(TaskCancelledError):
        nbray.get(last)


def test_a_cancelled_async_generator_ends_where_it_waits():
    actor = Async.remote()
    generator = actor.until_set.remote("cancelled")
    next(generator)
    nbray.cancel(generator)
    (last,) = generator
    with pytest.raises(TaskCancelledError):
        nbray.get(last)
    until(lambda: nbray.get(actor.endings.remote()) == ["cancelled"])


# --- actors ------------------------------------------------------------------------------------------------------------


def test_a_generator_method_streams():
    counter = Counter.remote()
    assert nbray.get(list(counter.up_to.remote(3))) == [1, 2, 3]
    assert nbray.get(counter.two.remote()) == [1, 2]


def test_an_actor_runs_the_whole_generator_before_its_next_call():
    counter = Counter.remote()
    generator = counter.up_to.options(_generator_backpressure_num_objects=2).remote(5)
    after = counter.present.remote()
    next(generator)
    assert nbray.wait([after], timeout=0.05) == ([], [after])
    list(generator)
    assert nbray.get(after) == 5


def test_an_abandoned_generator_method_lets_the_next_call_run():
    counter = Counter.remote()
    generator = counter.up_to.options(_generator_backpressure_num_objects=2).remote(1000)
    after = counter.present.remote()
    next(generator)
    del generator
    assert nbray.get(after) <= 4


def test_a_generator_method_that_waits_in_the_actors_queue_never_starts(tmp_path):
    counter = Counter.remote()
    first = counter.up_to.options(_generator_backpressure_num_objects=1).remote(2)
    next(first)
    queued = [counter.up_to.remote(100) for _ in range(200)]
    del queued
    after = counter.present.remote()
    assert nbray.get(list(first)) == [2]
    assert nbray.get(after) == 2


def test_an_actor_dies_only_after_the_generators_of_its_last_handle(tmp_path):
    generator = Counter.remote().up_to.remote(3)
    gc.collect()
    assert nbray.get(list(generator)) == [1, 2, 3]


def test_async_generators_stream_while_other_calls_run():
    actor = Async.remote()
    waits = actor.until_set.remote()
    assert nbray.get(next(waits)) == "waits"
    assert nbray.get(list(actor.up_to.remote(3))) == [0, 1, 2]
    assert nbray.get(list(actor.plain.remote(3))) == [0, 1, 2]
    nbray.get(actor.set.remote())
    assert nbray.get(list(waits)) == ["goes on"]
    assert nbray.get(actor.endings.remote()) == ["until_set"]


def test_what_an_async_generator_raises_is_its_last_item():
    first, last = Async.remote().fails.remote()
    assert nbray.get(first) == 1
    with pytest.raises(KeyError, match="async"):
        nbray.get(last)


@pytest.mark.parametrize("method", ["up_to", "plain"])
def test_async_actors_respect_backpressure(method):
    actor = Async.remote()
    generator = getattr(actor, method).options(_generator_backpressure_num_objects=2).remote(50)
    assert nbray.get(list(generator)) == list(range(50))


def test_an_abandoned_async_generator_is_cancelled_where_it_waits():
    actor = Async.remote()
    generator = actor.until_set.remote("cancelled")
    next(generator)
    del generator
    until(lambda: nbray.get(actor.endings.remote()) == ["cancelled"])
    paused = actor.until_set.options(_generator_backpressure_num_objects=1).remote("paused")
    until(paused.next_ready)
    paused.close()
    until(lambda: nbray.get(actor.endings.remote()) == ["cancelled", "paused"])


def test_threads_of_an_actor_stream_side_by_side():
    counter = Counter.options(max_concurrency=3).remote()
    paused = counter.up_to.options(_generator_backpressure_num_objects=1).remote(3)
    assert nbray.get(next(paused)) == 1
    assert len(nbray.get(list(counter.up_to.remote(100)))) == 100
    assert nbray.get(counter.present.remote()) >= 1
    assert len(list(paused)) == 2


def test_consumers_in_an_async_actor_await_items():
    @nbray.remote
    class Consumer:
        async def total(self, n):
            return sum([await ref async for ref in count.remote(n)])

    assert nbray.get(Consumer.remote().total.remote(10)) == 45
