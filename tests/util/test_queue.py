"""Queue: one queue for tasks, actors and the driver."""

import asyncio
import pickle
import queue as standard

import pytest
from gates import Gate

import nbray
from nbray.exceptions import RayActorError
from nbray.util.queue import Empty, Full, Queue

pytestmark = pytest.mark.usefixtures("pool")


@nbray.remote
def produce(queue, count):
    for number in range(count):
        queue.put(number)


@nbray.remote
def consume(queue, count):
    return [queue.get() for _ in range(count)]


def test_items_come_out_in_the_order_in_which_they_went_in():
    queue = Queue()
    for item in ("a", None, [1]):
        queue.put(item)
    assert queue.size() == queue.qsize() == len(queue) == 3
    assert [queue.get(), queue.get(), queue.get()] == ["a", None, [1]]
    assert queue.empty()


def test_tasks_share_a_queue_and_a_full_one_holds_them_back():
    queue = Queue(maxsize=2)
    producer, consumer = produce.remote(queue, 50), consume.remote(queue, 50)
    assert nbray.get(consumer) == list(range(50))
    nbray.get(producer)


def test_a_full_queue_says_so():
    queue = Queue(maxsize=1)
    assert not queue.full()
    queue.put(1)
    assert queue.full()
    for put in (
        lambda: queue.put_nowait(2),
        lambda: queue.put(2, block=False),
        lambda: queue.put(2, timeout=0),
    ):
        with pytest.raises(Full):
            put()
    with pytest.raises(standard.Full):
        queue.put(2, timeout=0.01)
    assert queue.get() == 1
    assert queue.empty()


def test_an_empty_queue_says_so():
    queue = Queue()
    for get in (queue.get_nowait, lambda: queue.get(block=False), lambda: queue.get(timeout=0)):
        with pytest.raises(Empty):
            get()
    with pytest.raises(standard.Empty):
        queue.get(timeout=0.01)


def test_a_timeout_of_zero_takes_what_is_there():
    queue = Queue(maxsize=1)
    queue.put(1, timeout=0)
    assert queue.get(timeout=0) == 1


def test_negative_timeouts_are_refused():
    queue = Queue()
    with pytest.raises(ValueError, match="timeout"):
        queue.put(1, timeout=-1)
    with pytest.raises(ValueError, match="timeout"):
        queue.get(timeout=-1)


def test_batches_go_in_and_out_as_a_whole():
    queue = Queue(maxsize=3)
    queue.put_nowait_batch(iter([1, 2]))
    with pytest.raises(Full, match="2 more"):
        queue.put_nowait_batch([3, 4])
    with pytest.raises(Empty, match="cannot give 3"):
        queue.get_nowait_batch(3)
    assert queue.get_nowait_batch(2) == [1, 2]
    assert queue.get_nowait_batch(0) == []


def test_batches_are_checked():
    queue = Queue()
    with pytest.raises(TypeError, match="items"):
        queue.put_nowait_batch(3)
    with pytest.raises(TypeError, match="num_items"):
        queue.get_nowait_batch("1")
    with pytest.raises(ValueError, match="num_items"):
        queue.get_nowait_batch(-1)


def test_it_can_be_awaited():
    queue = Queue(maxsize=1)

    async def both():
        getter = asyncio.ensure_future(queue.get_async())
        await queue.put_async("item")
        assert await getter == "item"
        with pytest.raises(Empty):
            await queue.get_async(block=False)
        await queue.put_async(1)
        with pytest.raises(Full):
            await queue.put_async(2, timeout=0.01)

    asyncio.run(both())


@pytest.mark.filterwarnings("ignore:a ref was pickled outside")
def test_a_pickled_queue_is_the_same_queue():
    queue = Queue()
    queue.put(1)
    assert pickle.loads(pickle.dumps(queue)).get() == 1


def test_its_actor_has_the_options_that_were_given():
    queue = Queue(actor_options={"name": "my queue"})
    queue.put(1)
    assert nbray.get(nbray.get_actor("my queue").qsize.remote()) == 1
    assert "my queue" in nbray.util.list_named_actors()


@pytest.mark.parametrize("force", [False, True])
def test_who_waits_at_a_queue_that_is_shut_down_hears_of_it(tmp_path, force):
    gate = Gate(tmp_path)

    @nbray.remote(num_cpus=0)
    def wait_at(queue):
        gate.wait()
        queue.get()

    queue = Queue()
    waiting = wait_at.remote(queue)
    gate.until_came()
    gate.open()
    queue.shutdown(force=force)
    with pytest.raises(RayActorError):
        nbray.get(waiting)
    with pytest.raises(RayActorError):
        queue.size()
    queue.shutdown()


def test_a_shutdown_with_grace_takes_what_was_put_before():
    queue = Queue()
    refs = [queue.actor.put.remote(n, None) for n in range(100)]
    queue.shutdown()
    assert all(nbray.get(refs))
