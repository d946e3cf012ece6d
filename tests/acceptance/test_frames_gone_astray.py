"""Frames that come twice, late, not at all or in half, between a driver and its executors: nothing hangs, nothing runs twice
where it must not, and counts return to where they were."""

from __future__ import annotations

import gc
import os
import tempfile
import threading

import pytest
from frame_proxy import CUT, DROP, END, PASS, TWICE, FrameProxy
from gates import Gate, Marks, until
from raw_peer import RawPeer, call, function

import nbray
from nbray import _runtime
from nbray.core import messages as m
from nbray.core.ids import Address
from nbray.exceptions import ActorDiedError, RayActorError, WorkerCrashedError

pytestmark = pytest.mark.usefixtures("pool")

KINDS = {
    getattr(m, name): name for name in ("CALLS", "RESULT", "HOLD", "HOLD_OK", "RELEASE", "FETCH", "VALUE")
}


@pytest.fixture(scope="module")
def proxy(pool):
    """Between this process and all its executors, both ways."""
    owner = _runtime.current().owner
    with tempfile.TemporaryDirectory(prefix=f"nbray-{os.getpid()}-") as directory:
        made = FrameProxy(directory)
        connect = owner.reactor.connect
        owner.reactor.connect = lambda address: connect(address._replace(unix=made.front(address.unix)))
        made.stand_before(owner.address.unix)
        yield made
        nbray.shutdown()
        made.close()


@pytest.fixture(autouse=True)
def counts(proxy):
    proxy.script = lambda direction, message: PASS
    proxy.seen.clear()
    owner = _runtime.current().owner
    yield
    proxy.script = lambda direction, message: PASS
    assert nbray.get([echo.remote(i) for i in range(5)], timeout=30) == list(range(5))

    def nothing_is_counted():
        gc.collect()
        owner.collect()
        return not owner.holds and not owner.calls.under_way

    until(nothing_is_counted)
    owner.holds.validate()


@nbray.remote
def echo(value):
    return value


@nbray.remote
def count(marks, i):
    marks.mark(f"call{i}")
    return i


@nbray.remote
class Keeper:
    def __init__(self, marks=None):
        self.marks = marks
        self.kept = []

    def count(self, i):
        self.marks.mark(f"call{i}")
        return i

    def keep(self, box):
        self.kept += box
        return len(self.kept)

    def read(self):
        return [len(nbray.get(ref)) for ref in self.kept]

    def hand(self):
        return self.kept

    def drop(self):
        self.kept.clear()


def only(kinds, verdict, times=1_000_000):
    """A script that says ``verdict`` of the first frames of those kinds."""
    left = [times]

    def script(direction, message):
        if message[0] in kinds and left[0]:
            left[0] -= 1
            return verdict
        return PASS

    return script


def seen(proxy, *kinds):
    return sum(message[0] in kinds for _, message in proxy.seen)


# --- twice -------------------------------------------------------------------------------------------------------------


def test_every_frame_twice_is_as_every_frame_once(proxy, tmp_path):
    marks = Marks(tmp_path)
    proxy.script = lambda direction, message: TWICE
    assert nbray.get([count.remote(marks, i) for i in range(50)], timeout=30) == list(range(50))
    keeper = Keeper.remote(marks)
    assert nbray.get([keeper.count.remote(i) for i in range(50)], timeout=30) == list(range(50))
    assert all(marks.count(f"call{i}") == 2 for i in range(50)), "once as a task, once as a method"


@pytest.mark.parametrize("kind", [m.CALLS, m.RESULT], ids=KINDS.get)
def test_calls_and_answers_that_come_twice_run_and_count_once(proxy, tmp_path, kind):
    marks = Marks(tmp_path)
    proxy.script = only({kind}, TWICE)
    assert nbray.get([count.remote(marks, i) for i in range(20)], timeout=30) == list(range(20))
    assert seen(proxy, kind)
    assert [marks.count(f"call{i}") for i in range(20)] == [1] * 20


@pytest.mark.parametrize("kind", [m.HOLD, m.HOLD_OK, m.RELEASE, m.FETCH, m.VALUE], ids=KINDS.get)
def test_holds_that_are_told_twice_count_once(proxy, kind):
    proxy.script = only({kind}, TWICE)
    first, second = Keeper.remote(), Keeper.remote()
    data = nbray.put(bytes(10_000))
    assert nbray.get(first.keep.remote([data]), timeout=30) == 1
    handed = nbray.get(first.hand.remote(), timeout=30)
    assert nbray.get(second.keep.remote(handed), timeout=30) == 1
    del data, handed
    gc.collect()
    nbray.get(first.drop.remote(), timeout=30)
    # The second one's hold is still counted.
    assert nbray.get(second.read.remote(), timeout=30) == [10_000]
    assert nbray.get(first.read.remote(), timeout=30) == []


# --- late --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [m.CALLS, m.RESULT], ids=KINDS.get)
def test_delayed_frames_keep_their_order(proxy, tmp_path, kind):
    marks, go = Marks(tmp_path), threading.Event()
    keeper = Keeper.remote(marks)
    assert nbray.get(keeper.read.remote(), timeout=30) == []
    proxy.script = only({kind}, go, times=1)
    refs = [keeper.count.remote(i) for i in range(100)]
    assert not nbray.wait([refs[-1]], timeout=0.05)[0]
    go.set()
    assert nbray.get(refs, timeout=30) == list(range(100))
    order = [message[1] for direction, message in proxy.seen if message[0] == m.RESULT]
    assert order == sorted(order)


def test_a_value_whose_hold_is_told_late_is_there_all_the_same(proxy):
    go = threading.Event()
    keeper = Keeper.remote()
    proxy.script = only({m.HOLD}, go, times=1)
    refs = [keeper.keep.remote([nbray.put(bytes(10_000))])]
    gc.collect()
    threading.Timer(0.1, go.set).start()
    assert nbray.get(refs, timeout=30) == [1]
    assert nbray.get(keeper.read.remote(), timeout=30) == [10_000]


# --- not at all, and in half -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verdict", [END, CUT])
@pytest.mark.parametrize("kind", [m.CALLS, m.RESULT], ids=KINDS.get)
def test_a_task_whose_frame_is_lost_is_run_again_or_fails_as_it_may(proxy, tmp_path, kind, verdict):
    marks = Marks(tmp_path)
    proxy.script = only({kind}, verdict, times=1)
    refs = [count.remote(marks, i) for i in range(10)]
    assert nbray.get(refs, timeout=60) == list(range(10))
    assert all(marks.count(f"call{i}") in (1, 2) for i in range(10))
    proxy.script = only({kind}, verdict, times=1)
    refs = [count.options(max_retries=0).remote(marks, i) for i in range(10, 20)]
    lost = 0
    for i, ref in enumerate(refs, 10):
        try:
            assert nbray.get(ref, timeout=60) == i
        except WorkerCrashedError:
            lost += 1
    assert lost < 10
    assert all(marks.count(f"call{i}") <= 1 for i in range(10, 20))


@pytest.mark.parametrize("verdict", [END, CUT])
@pytest.mark.parametrize("kind", [m.CALLS, m.RESULT], ids=KINDS.get)
def test_a_call_to_an_actor_whose_frame_is_lost_runs_at_most_once(proxy, tmp_path, kind, verdict):
    marks = Marks(tmp_path)
    keeper = Keeper.remote(marks)
    assert nbray.get(keeper.read.remote(), timeout=30) == []
    proxy.script = only({kind}, verdict, times=1)
    refs = [keeper.count.remote(i) for i in range(10)]
    for i, ref in enumerate(refs):
        try:
            assert nbray.get(ref, timeout=60) == i
        except RayActorError:
            pass
    assert all(marks.count(f"call{i}") <= 1 for i in range(10))
    # Only the connection broke: the actor is there.
    until(lambda: alive(keeper))


def test_a_frame_that_is_missing_is_noticed_at_the_next_one(proxy, tmp_path):
    marks = Marks(tmp_path)
    keeper = Keeper.options(max_task_retries=1).remote(marks)
    assert nbray.get(keeper.read.remote(), timeout=30) == []
    proxy.script = only({m.CALLS}, DROP, times=1)
    lost = keeper.count.remote(0)
    nbray.wait([lost], timeout=0.05)
    assert nbray.get([lost, keeper.count.remote(1)], timeout=30) == [0, 1]
    assert marks.count("call0") == 1


def alive(keeper):
    try:
        return nbray.get(keeper.read.remote(), timeout=30) == []
    except ActorDiedError:
        raise
    except RayActorError:
        return False


@pytest.mark.parametrize("verdict", [END, CUT])
@pytest.mark.parametrize("kind", [m.HOLD, m.HOLD_OK, m.FETCH, m.VALUE], ids=KINDS.get)
def test_a_borrower_whose_frame_is_lost_is_answered(proxy, kind, verdict):
    proxy.script = only({kind}, verdict, times=1)
    keeper = Keeper.remote()
    late = echo.remote(nbray.put(bytes(10_000)))
    refs = [keeper.keep.remote([late]), keeper.read.remote(), keeper.drop.remote()]
    for ref in refs:
        try:
            nbray.get(ref, timeout=60)
        except nbray.exceptions.GetTimeoutError:
            raise
        except nbray.exceptions.RayError:
            pass


# --- stale -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def peer(tmp_path):
    config = _runtime.current().pool.node.config
    made = RawPeer(config.secret, config.node_id, str(tmp_path / "p"))
    yield made
    made.reactor.close()


def test_calls_under_a_lease_that_is_over_do_not_run(proxy, peer, tmp_path):
    marks, gate = Marks(tmp_path), Gate(tmp_path)

    @nbray.remote(num_cpus=2)
    def where():
        context = nbray.get_runtime_context()
        gate.wait()
        return context.get_worker_id()

    ref = where.remote()
    gate.until_came()
    ((lease, lane),) = _runtime.current().owner.tasks._lane_of.items()
    until(lambda: lane.peer.peer is not None)  # the call may run before the executor's hello is read here
    stale = peer.connect(lane.peer.peer)
    stale.send((m.ATTACH, lease - 1, b"job", "namespace"))
    stale.send(function(1, marks.mark))
    stale.send((m.CALLS, [call(1, 1, "stale")]))
    peer.until(lambda: bool(peer.ended))
    gate.open()
    nbray.get(ref, timeout=30)
    assert marks.count("stale") == 0
    assert peer.answers() == {}


def test_calls_to_an_epoch_that_is_over_do_not_run(proxy, peer, tmp_path):
    marks = Marks(tmp_path)
    keeper = Keeper.options(max_restarts=1).remote(marks)
    assert nbray.get(keeper.count.remote(0), timeout=30) == 0
    nbray.kill(keeper, no_restart=False)
    until(lambda: alive_again(keeper))
    machine = _runtime.current().owner.actors.machines[keeper._nbray_actor.id]
    assert machine.epoch == 1
    for actor_id, epoch in ((machine.actor_id, 0), (machine.actor_id, 2), (bytes(16), 1)):
        stale = peer.connect(Address(*machine.address))
        stale.send((m.ATTACH_ACTOR, actor_id, epoch))
        stale.send((m.CALLS, [call(1, "count", 77)]))
        peer.until(lambda stale=stale: stale in peer.ended)
    assert nbray.get(keeper.count.remote(1), timeout=30) == 1
    assert marks.count("call77") == 0


def alive_again(keeper):
    try:
        return nbray.get(keeper.read.remote(), timeout=30) == []
    except nbray.exceptions.ActorUnavailableError:
        return False


def test_in_the_end_all_cpus_are_free(proxy):
    until(lambda: nbray.available_resources().get("CPU") == 2)
