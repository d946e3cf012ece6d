"""multiprocessing.Pool on actors."""

import itertools
import multiprocessing
import os
import threading

import psutil
import pytest
from gates import Gate, until

import nbray
from nbray.exceptions import ActorDiedError, RayActorError
from nbray.util.multiprocessing import Pool

pytestmark = pytest.mark.usefixtures("pool")


@pytest.fixture(scope="module")
def workers(pool):
    with Pool(2) as opened:
        yield opened
    opened.join()


def picky(value):
    if value in (3, 5):
        raise ValueError(value)
    return value


by_value = lambda function: lambda *args: function(*args)  # this module is not importable elsewhere


class TestCalls:
    def test_apply_passes_arguments_of_both_kinds(self, workers):
        assert workers.apply(dict, ([("a", 1)],), {"b": 2}) == {"a": 1, "b": 2}
        assert workers.apply_async(pow, (2, 5)).get() == 32
        assert workers.apply(list) == []

    @pytest.mark.parametrize("chunksize", [None, 1, 3, 100])
    def test_map_gives_results_in_order(self, workers, chunksize):
        assert workers.map(lambda x: x * x, range(10), chunksize) == [x * x for x in range(10)]
        assert workers.map_async(abs, iter([-1, 2]), chunksize).get() == [1, 2]

    def test_starmap_unpacks_its_items(self, workers):
        assert workers.starmap(pow, [(2, 3), (3, 2)]) == [8, 9]
        assert workers.starmap_async(pow, [(2, 3), [3, 2]], chunksize=1).get() == [8, 9]

    def test_of_nothing_there_are_no_results(self, workers):
        assert workers.map(abs, []) == []
        assert list(workers.imap(abs, [])) == []

    def test_the_processes_are_others_than_this_one(self, workers):
        pids = set(workers.map(lambda _: os.getpid(), range(40), 1))
        assert 1 <= len(pids) <= 2
        assert os.getpid() not in pids

    def test_a_slow_chunk_holds_up_nothing_but_itself(self, workers, tmp_path):
        gate = Gate(tmp_path)
        slow = workers.apply_async(gate.wait)
        gate.until_came()
        assert workers.map(abs, range(20), 1) == list(range(20))
        assert not slow.ready()
        gate.open()
        slow.get()

    @pytest.mark.parametrize("chunksize", [0, -1])
    def test_chunks_have_items(self, workers, chunksize):
        with pytest.raises(ValueError, match="chunksize"):
            workers.map(abs, [1], chunksize)
        with pytest.raises(ValueError, match="chunksize"):
            workers.imap(abs, [1], chunksize)


class TestErrors:
    def test_an_exception_is_raised_as_it_was_with_where_it_came_from(self, workers):
        with pytest.raises(ValueError) as raised:
            workers.map(by_value(picky), range(8), 1)
        assert raised.value.args == (3,)
        assert type(raised.value) is ValueError
        assert "in picky" in str(raised.value.__cause__)

    def test_an_exception_that_cannot_be_pickled_is_told_in_words(self, workers):
        def fail():
            error = ValueError("odd")
            error.lock = threading.Lock()
            raise error

        with pytest.raises(RuntimeError, match="ValueError: odd"):
            workers.apply(fail)

    def test_arguments_and_results_that_cannot_be_pickled_fail_their_call_only(self, workers):
        with pytest.raises(TypeError, match="lock"):
            workers.apply(id, (threading.Lock(),))
        with pytest.raises(TypeError, match="lock"):
            workers.apply(threading.Lock)
        assert workers.apply(abs, (-1,)) == 1

    def test_a_process_that_died_is_replaced(self, workers):
        with pytest.raises(ActorDiedError):
            workers.apply(os._exit, (1,))
        assert workers.map(abs, range(10), 1) == list(range(10))


class TestAsyncResults:
    def test_a_result_is_not_ready_before_it_is_there(self, workers, tmp_path):
        gate = Gate(tmp_path)
        result = workers.apply_async(gate.wait)
        with pytest.raises(multiprocessing.TimeoutError):
            result.get(timeout=0.01)
        assert not result.ready()
        with pytest.raises(ValueError, match="not ready"):
            result.successful()
        gate.open()
        result.wait()
        assert result.ready()
        assert result.successful()

    def test_the_timeout_is_that_of_multiprocessing(self):
        assert nbray.util.multiprocessing.TimeoutError is multiprocessing.TimeoutError

    def test_callbacks_get_the_result_before_it_is_ready(self, workers):
        got = []
        result = workers.apply_async(abs, (-1,), callback=got.append, error_callback=got.append)
        result.wait()
        assert got == [1]
        workers.map_async(abs, [-1, -2], callback=got.append).wait()
        assert got == [1, [1, 2]]

    def test_error_callbacks_get_the_exception(self, workers):
        got = []
        result = workers.map_async(
            by_value(picky), range(8), 1, callback=got.append, error_callback=got.append
        )
        result.wait()
        assert not result.successful()
        assert [repr(error) for error in got] == ["ValueError(3)"]

    def test_a_callback_that_raises_harms_nobody(self, workers, caplog):
        result = workers.apply_async(abs, (-1,), callback=lambda value: 1 / 0)
        assert result.get() == 1
        assert "callback" in caplog.text
        assert workers.apply(abs, (-2,)) == 2


class TestIterators:
    def test_imap_gives_results_in_order(self, workers):
        assert list(workers.imap(abs, range(-5, 0))) == [5, 4, 3, 2, 1]
        assert list(workers.imap(abs, range(-5, 0), chunksize=None)) == [5, 4, 3, 2, 1]
        assert list(workers.imap(abs, iter(range(-5, 0)), 2)) == [5, 4, 3, 2, 1]

    def test_imap_unordered_gives_what_is_there_first(self, workers, tmp_path):
        gate = Gate(tmp_path)
        results = workers.imap_unordered(lambda n: gate.wait() if n == 0 else n, range(4))
        assert [next(results) for _ in range(3)] == [1, 2, 3]
        gate.open()
        assert list(results) == [None]

    def test_arguments_may_be_endless(self, workers):
        for imap in (workers.imap, workers.imap_unordered):
            taken = itertools.islice(imap(abs, itertools.count(), chunksize=2), 20)
            assert min(taken) == 0

    def test_a_failed_item_is_raised_in_its_turn_and_others_follow(self, workers):
        results = workers.imap(by_value(picky), range(2, 5))
        assert next(results) == 2
        with pytest.raises(ValueError):
            next(results)
        assert list(results) == [4]

    def test_next_has_a_timeout(self, workers, tmp_path):
        gate = Gate(tmp_path)
        results = workers.imap(lambda _: gate.wait(), [1])
        with pytest.raises(multiprocessing.TimeoutError):
            results.next(timeout=0.01)
        gate.open()
        assert results.next() is None
        with pytest.raises(StopIteration):
            results.next()


class TestProcesses:
    def test_the_initializer_runs_in_each_first(self):
        def initialize(value):
            os.environ["NBRAY_TEST_POOL"] = value

        with Pool(2, initialize, ("set",)) as pool:
            assert pool.map(lambda _: os.environ["NBRAY_TEST_POOL"], range(4), 1) == ["set"] * 4
        pool.join()

    def test_an_initializer_that_raises_is_an_error_at_once(self):
        with pytest.raises(RayActorError, match="division"):
            Pool(1, lambda: 1 / 0)

    def test_a_process_leaves_after_so_many_chunks(self):
        with Pool(1, maxtasksperchild=2) as pool:
            pids = pool.map(lambda _: os.getpid(), range(6), 1)
        pool.join()
        assert pids[0] == pids[1] != pids[2] == pids[3] != pids[4] == pids[5]

    def test_they_have_the_options_that_were_given(self):
        with Pool(1, ray_remote_args={"runtime_env": {"env_vars": {"POOLED": "yes"}}}) as pool:
            assert pool.apply(os.getenv, ("POOLED",)) == "yes"
        pool.join()

    def test_there_are_not_more_than_cpus(self):
        with pytest.raises(ValueError, match="3 processes"):
            Pool(3)

    @pytest.mark.parametrize("count", [0, -1])
    def test_their_number_is_positive(self, count):
        with pytest.raises(ValueError, match="processes"):
            Pool(count)
        with pytest.raises(ValueError, match="maxtasksperchild"):
            Pool(1, maxtasksperchild=count)

    def test_a_context_is_ignored_with_a_word(self, caplog):
        with Pool(1, context=object()) as pool:
            assert pool.apply(abs, (-1,)) == 1
        pool.join()
        assert "context" in caplog.text


class TestTheEnd:
    def test_a_closed_pool_finishes_what_it_has_and_takes_no_more(self):
        pool = Pool(2)
        pid = pool.apply(os.getpid)
        result = pool.map_async(abs, range(50), 1)
        pool.close()
        for refused in (pool.map, pool.imap, pool.imap_unordered, pool.starmap, pool.map_async):
            with pytest.raises(ValueError, match="not running"):
                refused(abs, [1])
        with pytest.raises(ValueError, match="not running"):
            pool.__enter__()
        pool.join()
        assert result.get() == list(range(50))
        until(lambda: not psutil.pid_exists(pid))

    def test_only_a_closed_pool_can_be_joined(self):
        with Pool(1) as pool, pytest.raises(ValueError, match="still running"):
            pool.join()
        pool.join()

    def test_terminating_fails_what_is_under_way_and_what_waits(self, tmp_path):
        gate = Gate(tmp_path)
        pool = Pool(1)
        under_way, waiting = pool.apply_async(gate.wait), pool.apply_async(abs, (1,))
        gate.until_came()
        pool.terminate()
        pool.join()
        for result in (under_way, waiting):
            with pytest.raises(ActorDiedError):
                result.get()

    def test_a_forgotten_pool_goes(self):
        before = threading.active_count()
        assert Pool(1).map_async(abs, [-1]).get() == [1]
        until(lambda: threading.active_count() == before)
