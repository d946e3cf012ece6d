"""``max_pending_calls``: how many unanswered calls of one process an actor takes."""

import pytest
from gates import Gate

import nbray
from nbray.exceptions import PendingCallsLimitExceeded

pytestmark = pytest.mark.usefixtures("pool")


@nbray.remote(max_pending_calls=3)
class Limited:
    def stand(self, gate):
        gate.wait()

    def ping(self):
        return "up"


def test_one_call_more_than_the_limit_is_refused_until_one_is_answered(tmp_path):
    gate = Gate(tmp_path)
    actor = Limited.remote()
    refs = [actor.stand.remote(gate) for _ in range(3)]
    with pytest.raises(PendingCallsLimitExceeded, match=r"Limited\.ping.*3"):
        actor.ping.remote()
    gate.open()
    nbray.get(refs)
    assert nbray.get(actor.ping.remote()) == "up"


def test_the_limit_counts_while_the_actor_is_being_made(tmp_path):
    gate = Gate(tmp_path)

    @nbray.remote(max_pending_calls=1)
    class Slow:
        def __init__(self):
            gate.wait()

        def ping(self):
            return "up"

    actor = Slow.remote()
    ref = actor.ping.remote()
    with pytest.raises(PendingCallsLimitExceeded):
        actor.ping.remote()
    gate.open()
    assert nbray.get(ref) == "up"


def test_another_process_has_a_limit_of_its_own(tmp_path):
    gate = Gate(tmp_path)
    actor = Limited.remote()
    refs = [actor.stand.remote(gate) for _ in range(3)]

    @nbray.remote(num_cpus=0)
    def elsewhere(handle, gate):
        refs = [handle.stand.remote(gate) for _ in range(3)]
        with pytest.raises(PendingCallsLimitExceeded):
            handle.ping.remote()
        gate.open()
        nbray.get(refs)
        return "done"

    assert nbray.get(elsewhere.remote(actor, gate)) == "done"
    nbray.get(refs)


@pytest.mark.parametrize("limit", [-1, 0, None])
def test_there_may_be_no_limit(limit, tmp_path):
    gate = Gate(tmp_path)
    actor = Limited.options(max_pending_calls=limit).remote()
    refs = [actor.stand.remote(gate), *[actor.ping.remote() for _ in range(100)]]
    gate.open()
    nbray.get(refs)


def test_the_limit_must_be_an_int():
    with pytest.raises(TypeError):
        Limited.options(max_pending_calls="3")
    with pytest.raises(ValueError):
        Limited.options(max_pending_calls=-2)
