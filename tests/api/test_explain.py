"""``explain``: what a ref waits for."""

import os
import signal

import pytest
from gates import Gate, until
from leaks import census, leaks

import nbray


@pytest.fixture(scope="module", autouse=True)
def one_cpu():
    before = census()
    nbray.init(num_cpus=1)
    yield
    nbray.shutdown()
    assert not leaks(before)


@pytest.fixture
def gate(tmp_path):
    gate = Gate(tmp_path)
    yield gate
    if not os.path.exists(f"{gate.path}/open"):
        gate.open()


@nbray.remote
def load(gate):
    gate.wait()
    return os.getpid()


def told(refs, *words):
    """Some states pass by on the way to the one that is meant."""
    until(lambda: all(word in str(nbray.explain(refs)) for word in words))
    return str(nbray.explain(refs))


def test_a_chain_of_tasks_is_followed_to_the_one_that_runs(gate):
    @nbray.remote
    def train(gate):
        return os.getpid(), nbray.get(load.remote(gate))

    ref = train.remote(gate)
    gate.until_came()
    text = told(ref, "waits in get", "->")
    gate.open()
    outer, inner = nbray.get(ref)
    assert text.startswith(f"train (on pid {outer}, waits in get for ")
    assert f"-> load (running on pid {inner} for " in text
    assert str(nbray.explain(ref)) == "Everything is there."


def test_an_argument_that_is_missing_is_followed(gate):
    @nbray.remote
    def use(value):
        return value

    ref = use.remote(load.remote(gate))
    gate.until_came()
    assert "use (has not started: an argument missing) -> load (running on pid" in told(ref, "running on")


def test_a_ref_that_came_from_elsewhere_is_followed_to_its_owner(gate):
    @nbray.remote
    def start(gate):
        return [load.remote(gate)]

    (ref,) = nbray.get(start.remote(gate))
    gate.until_came()
    assert told(ref, "load (running on pid")


def test_who_holds_the_cpu_is_named(gate):
    running = load.remote(gate)
    gate.until_came()
    refs = [load.remote(gate) for _ in range(3)]
    text = told(refs, "Held by")
    gate.open()
    pid = nbray.get(running)
    assert "load (has not started: waits for {CPU: 1}) (and 2 more like it)" in text
    assert f"CPU is missing: 1 asked, 0 of 1 free. Held by load (pid {pid}, for " in text
    nbray.get(refs)


@nbray.remote(num_cpus=0)
class Worker:
    def pid(self):
        return os.getpid()

    def wait(self, gate):
        gate.wait()

    def get(self, refs):
        return nbray.get(refs[0])

    def fit(self, gate):
        return nbray.get(load.remote(gate))


def test_a_method_in_its_actors_queue_is_behind_the_one_that_runs(gate):
    worker = Worker.remote()
    pid = nbray.get(worker.pid.remote())
    worker.wait.remote(gate)
    gate.until_came()
    ref = worker.pid.remote()
    text = told(ref, "behind")
    assert f"Worker.pid (in the queue of its actor, pid {pid}, behind Worker.wait)" in text
    assert f"-> Worker.wait (running on pid {pid} for" in text


def test_an_actor_that_waits_and_keeps_its_cpu_is_a_deadlock_that_is_told(gate):
    worker = Worker.options(num_cpus=1).remote()
    ref = worker.fit.remote(gate)
    text = told(ref, "never lent")
    assert "actor Worker" in text
    assert nbray.explain(ref).deadlock
    nbray.kill(worker)


def test_actors_that_wait_for_each_other_are_a_deadlock(gate):
    first, second = Worker.remote(), Worker.remote()

    @nbray.remote(num_cpus=0)
    class Caller:
        def call(self, others):
            return nbray.get(others[0].call.remote(others[1:]))

    first, second = Caller.remote(), Caller.remote()
    ref = first.call.remote([second, first, second])
    text = told(ref, "deadlock")
    assert "Caller.call" in text
    assert nbray.explain(ref).deadlock
    nbray.kill(first)
    nbray.kill(second)


def test_a_stopped_process_is_said_not_to_answer(gate):
    worker = Worker.remote()
    pid = nbray.get(worker.pid.remote())
    os.kill(pid, signal.SIGSTOP)
    try:
        text = str(nbray.explain(worker.pid.remote()))
    finally:
        os.kill(pid, signal.SIGCONT)
    assert f"pid {pid}, which has not answered" in text


def test_a_generators_next_item_is_explained(gate):
    @nbray.remote
    def items(gate):
        yield 1
        gate.wait()
        yield 2

    items = items.remote(gate)
    next(items)
    gate.until_came()
    assert "items (running on pid" in told(items, "running")


def test_what_async_methods_wait_for_is_what_they_have_submitted(gate):
    @nbray.remote(num_cpus=0)
    class Reader:
        async def read(self, gate):
            return await load.remote(gate)

    reader = Reader.remote()
    ref = reader.read.remote(gate)
    gate.until_came()
    assert "Reader.read (on pid" in told(ref, "-> load (running on pid")


@pytest.mark.parametrize("wrong", [1, "ref", [1], None], ids=repr)
def test_what_is_no_ref_is_refused_by_name(wrong):
    with pytest.raises(TypeError, match=r"explain\(\) takes an ObjectRef"):
        nbray.explain(wrong)
