"""Which calls of one caller wait for the arguments of its earlier ones, and which pass."""

import asyncio
import threading

import pytest
from gates import Gate

import nbray

pytestmark = pytest.mark.usefixtures("pool")


class Plain:
    def __init__(self):
        self.seen = []

    def add(self, value):
        self.seen.append(value)
        return list(self.seen)


class Threaded:
    """Its ``wait`` ends when somebody calls ``send``."""

    def __init__(self):
        self.sent = threading.Event()

    def wait(self):
        return self.sent.wait(30)

    def send(self):
        self.sent.set()

    def take(self, value):
        return value


class Async:
    def __init__(self):
        self.sent = asyncio.Event()

    async def wait(self):
        return await self.sent.wait()

    async def send(self):
        self.sent.set()

    async def take(self, value):
        return value


@nbray.remote(num_cpus=0)
def wait_for(handle):
    return nbray.get(handle.wait.remote())


def late(gate):
    @nbray.remote(num_cpus=0)
    def late():
        gate.wait()
        return "late"

    return late.remote()


@pytest.mark.parametrize(
    "make",
    [
        nbray.remote(num_cpus=0)(Async).remote,
        nbray.remote(num_cpus=0, max_concurrency=2)(Threaded).remote,
    ],
    ids=["async", "threaded"],
)
def test_an_argument_may_come_of_a_later_call_of_an_actor_that_takes_several(make):
    actor = make()
    taken = actor.take.remote(wait_for.remote(actor))
    actor.send.remote()
    assert nbray.get(taken, timeout=30) is True


def test_calls_of_a_plain_actor_pass_if_it_is_asked_for(tmp_path):
    gate = Gate(tmp_path)
    actor = nbray.remote(num_cpus=0, allow_out_of_order_execution=True)(Plain).remote()
    first, second = actor.add.remote(late(gate)), actor.add.remote("second")
    assert nbray.get(second, timeout=30) == ["second"]
    gate.open()
    assert nbray.get(first) == ["second", "late"]


def test_calls_of_a_threaded_actor_keep_their_order_if_it_is_asked_for(tmp_path):
    gate = Gate(tmp_path)
    actor = (
        nbray.remote(num_cpus=0)(Plain)
        .options(max_concurrency=2, allow_out_of_order_execution=False)
        .remote()
    )
    first, second = actor.add.remote(late(gate)), actor.add.remote("second")
    assert nbray.wait([second], timeout=0.05) == ([], [second])
    gate.open()
    assert "late" in nbray.get(first)


def test_a_handle_from_elsewhere_lets_calls_pass_too():
    @nbray.remote(num_cpus=0)
    def call(handle):
        taken = handle.take.remote(wait_for.remote(handle))
        handle.send.remote()
        return nbray.get(taken, timeout=30)

    assert nbray.get(call.remote(nbray.remote(num_cpus=0)(Async).remote())) is True


def test_calls_of_an_async_actor_cannot_be_kept_in_order():
    with pytest.raises(ValueError, match=r"allow_out_of_order_execution.*async"):
        nbray.remote(allow_out_of_order_execution=False)(Async)


def test_a_killed_actor_answers_calls_whose_arguments_are_pending(tmp_path):
    gate = Gate(tmp_path)
    actor = nbray.remote(num_cpus=0)(Async).remote()
    taken = actor.take.remote(late(gate))
    nbray.kill(actor)
    with pytest.raises(nbray.exceptions.ActorDiedError):
        nbray.get(taken, timeout=30)
    gate.open()
