"""What comes and goes leaves nothing: not in Dask's books, not in ours."""

import gc
import threading

import pytest
from gates import until

import nbray
from nbray import _runtime

pytestmark = pytest.mark.usefixtures("pool")


@nbray.remote(num_cpus=0)
class Passing:
    def ping(self):
        return "pong"


def of_dask():
    """How many of those there are that Dask keeps for its statistics."""
    gc.collect()
    return sum(type(thing).__name__ in ("TaskGroup", "Span") for thing in gc.get_objects())


def come_and_go(kill):
    actor = Passing.remote()
    nbray.get(actor.ping.remote())
    if kill:
        nbray.kill(actor)
        with pytest.raises(nbray.exceptions.ActorDiedError):
            nbray.get(actor.ping.remote())


def test_leases_that_end_leave_nothing_in_dasks_books():
    for turn in range(3):
        come_and_go(kill=turn % 2)
    before = of_dask()
    for turn in range(20):
        come_and_go(kill=turn % 2)
    assert of_dask() <= before + 2


def test_actors_that_are_dead_are_not_watched():
    actors = _runtime.current().owner.actors
    for turn in range(6):
        come_and_go(kill=turn % 2)
    until(lambda: not actors._limbo and not actors.machines)


def test_results_of_which_one_cannot_be_sent_leave_nothing():
    store = _runtime.current().owner.values.store

    @nbray.remote(num_returns=3)
    def three():
        return [nbray.put(bytes(1 << 20))], bytes(1 << 20), threading.Lock()

    refs = three.remote()
    for ref in refs:
        with pytest.raises(TypeError, match="lock"):
            nbray.get(ref)
    del refs, ref
    until(lambda: store.figures.used == store.figures.spilled == 0)
