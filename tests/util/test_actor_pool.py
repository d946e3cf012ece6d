"""ActorPool: one call an actor at a time, results in order or as they come."""

import pytest
from gates import Gate

import nbray
from nbray.exceptions import ActorDiedError

pytestmark = pytest.mark.usefixtures("pool")


@nbray.remote(num_cpus=0)
class Doubler:
    def double(self, value):
        return 2 * value

    def stand(self, gate, value):
        gate.wait()
        return value

    def fail(self, value):
        raise ValueError(value)

    def die(self, value):
        import os

        os._exit(1)

    @nbray.method(num_returns=2)
    def both(self, value):
        return value, -value


def double(actor, value):
    return actor.double.remote(value)


def actor_pool(count=2):
    return nbray.util.ActorPool([Doubler.remote() for _ in range(count)])


def test_map_gives_results_in_the_order_of_the_values():
    assert list(actor_pool().map(double, range(7))) == [0, 2, 4, 6, 8, 10, 12]


def test_map_unordered_gives_what_is_there_first(tmp_path):
    gate = Gate(tmp_path)
    first_waits = lambda actor, value: (
        actor.stand.remote(gate, value) if value == 0 else actor.double.remote(value)
    )
    results = actor_pool().map_unordered(first_waits, range(4))
    assert [next(results) for _ in range(3)] == [2, 4, 6]
    gate.open()
    assert list(results) == [0]


def test_what_is_submitted_while_all_are_busy_waits_for_one_to_be_free():
    pool = actor_pool(1)
    assert pool.has_free()
    assert not pool.has_next()
    pool.submit(double, 1)
    pool.submit(double, 2)
    assert not pool.has_free()
    assert pool.get_next() == 2
    assert not pool.has_free()
    assert pool.get_next() == 4
    assert pool.has_free()
    assert not pool.has_next()


def test_there_is_nothing_to_get_from_an_idle_pool():
    pool = actor_pool(1)
    with pytest.raises(StopIteration):
        pool.get_next()
    with pytest.raises(StopIteration):
        pool.get_next_unordered()


@pytest.mark.parametrize("way", ["get_next", "get_next_unordered"])
def test_a_result_that_is_late_is_a_timeout_and_stays(tmp_path, way):
    gate = Gate(tmp_path)
    pool = actor_pool(1)
    pool.submit(lambda actor, value: actor.stand.remote(gate, value), "late")
    with pytest.raises(TimeoutError):
        getattr(pool, way)(timeout=0)
    gate.open()
    assert getattr(pool, way)() == "late"


@pytest.mark.parametrize("way", ["get_next", "get_next_unordered"])
def test_a_late_result_can_be_given_up(tmp_path, way):
    gate = Gate(tmp_path)
    pool = actor_pool(1)
    pool.submit(lambda actor, value: actor.stand.remote(gate, value), "late")
    with pytest.raises(TimeoutError, match="ignored"):
        getattr(pool, way)(timeout=0, ignore_if_timedout=True)
    assert not pool.has_next()
    gate.open()
    pool.submit(double, 3)
    assert getattr(pool, way)() == 6


def test_in_order_is_over_once_later_results_were_fetched(tmp_path):
    gate = Gate(tmp_path)
    pool = actor_pool(2)
    pool.submit(lambda actor, value: actor.stand.remote(gate, value), 0)
    pool.submit(double, 1)
    assert pool.get_next_unordered() == 2
    with pytest.raises(ValueError, match="get_next_unordered"):
        pool.get_next()
    gate.open()
    assert pool.get_next_unordered() == 0


def test_a_failed_call_leaves_its_actor_in_the_pool():
    pool = actor_pool(1)
    pool.submit(lambda actor, value: actor.fail.remote(value), 1)
    with pytest.raises(ValueError):
        pool.get_next()
    assert list(pool.map(double, [1, 2])) == [2, 4]


def test_an_actor_that_died_is_left_out():
    pool = actor_pool(2)
    pool.submit(lambda actor, value: actor.die.remote(value), 1)
    with pytest.raises(ActorDiedError):
        pool.get_next()
    assert list(pool.map(double, range(4))) == [0, 2, 4, 6]
    assert pool.pop_idle() is not None
    assert pool.pop_idle() is None


def test_an_actor_whose_method_asked_a_dead_one_stays():
    class Asks:
        def ask(self, other):
            return nbray.get(other.__ray_ready__.remote())

    dead = nbray.remote(Asks).remote()
    nbray.kill(dead)
    pool = nbray.util.ActorPool([nbray.remote(Asks).remote()])
    pool.submit(lambda actor, other: actor.ask.remote(other), dead)
    with pytest.raises(ActorDiedError):
        pool.get_next()
    assert pool.has_free()


def test_a_submission_that_raises_leaves_its_actor_free():
    pool = actor_pool(1)
    with pytest.raises(AttributeError):
        pool.submit(lambda actor, value: actor.nothing.remote(value), 1)
    assert pool.has_free()


def test_map_drops_the_results_of_earlier_submissions():
    pool = actor_pool(1)
    for value in range(3):
        pool.submit(double, value)
    assert list(pool.map(double, [10])) == [20]


def test_calls_with_several_returns_count_as_one():
    pool = actor_pool(1)
    assert list(pool.map(lambda actor, value: actor.both.remote(value), [1, 2])) == [[1, -1], [2, -2]]
    assert list(pool.map_unordered(lambda actor, value: actor.both.remote(value), [3])) == [[3, -3]]


def test_actors_can_be_taken_out_and_added():
    pool = actor_pool(1)
    actor = pool.pop_idle()
    assert pool.pop_idle() is None
    pool.push(actor)
    with pytest.raises(ValueError, match="belongs"):
        pool.push(actor)
    pool.submit(double, 1)
    with pytest.raises(ValueError, match="belongs"):
        pool.push(actor)
    assert pool.get_next() == 2


def test_a_pushed_actor_takes_what_waits():
    pool = nbray.util.ActorPool([])
    pool.submit(double, 4)
    assert not pool.has_next()
    pool.push(Doubler.remote())
    assert pool.get_next() == 8
