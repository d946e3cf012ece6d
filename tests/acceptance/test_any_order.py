"""Anything in any order, with executors killed in between, against a sequential model of what it must come to."""

from __future__ import annotations

import contextlib

import psutil
import pytest
from acceptance.any_work import Counter, Register, add, echo_size, refuse, total
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

import nbray as ray
from nbray import _runtime
from nbray.exceptions import ActorDiedError

#: Seconds in which any ref must be answered.
BOUND = 30


class Failed:
    """The model of a ref that fails with a ``KeyError`` of that number."""

    def __init__(self, number):
        self.number = number


class AnyOrder(RuleBasedStateMachine):
    refs = Bundle("refs")  # (ref, what it must be)
    counters = Bundle("counters")  # [handle, calls that were answered, killed]

    @rule(target=refs, size=st.sampled_from([1, 5_000, 200_000]), fill=st.integers(0, 255))
    def put(self, size, fill):
        value = bytes([fill]) * size
        return ray.put(value), value

    @rule(target=refs, one=refs, other=refs)
    def submit(self, one, other):
        (first, is_), (second, and_) = one, other
        for expected in (is_, and_):
            if isinstance(expected, Failed):
                # Either may come first; both are the same to the model if it picks the one that is there.
                return add.remote(first, b"") if expected is is_ else add.remote(b"", second), expected
        return add.remote(first, second), is_ + and_

    @rule(target=refs, number=st.integers(0, 9))
    def fail(self, number):
        return refuse.remote(number), Failed(number)

    @rule(target=refs, some=st.lists(refs, max_size=4))
    def nest(self, some):
        fine = [(ref, value) for ref, value in some if not isinstance(value, Failed)]
        size = sum(len(value) for _, value in fine)
        ref = total.remote([ref for ref, _ in fine])
        return add.remote(b"", echo_size.remote(ref)), str(size).encode()

    @rule(target=refs, one=refs)
    def through_an_actor(self, one):
        ref, value = one
        return self.register.echo.remote(ref), value

    @rule(one=refs)
    def get(self, one):
        check(*one)

    @rule(some=st.lists(refs, min_size=1, max_size=5, unique_by=lambda one: id(one[0])), data=st.data())
    def wait(self, some, data):
        refs = [ref for ref, _ in some]
        wanted = data.draw(st.integers(1, len(refs)))
        ready, rest = ray.wait(refs, num_returns=wanted, timeout=BOUND)
        assert len(ready) == wanted
        assert set(ready) | set(rest) == set(refs)

    @rule(one=consumes(refs))
    def drop(self, one):
        del one

    @rule(target=counters)
    def actor(self):
        return [Counter.remote(), 0, False]

    @rule(counter=counters)
    def count(self, counter):
        handle, count, killed = counter
        try:
            assert ray.get(handle.next.remote(), timeout=BOUND) == count + 1
            counter[1] += 1
        except ActorDiedError:
            assert killed or self.kills
        else:
            assert not killed

    @rule(counter=counters)
    def kill(self, counter):
        ray.kill(counter[0])
        counter[2] = True
        with contextlib.suppress(ActorDiedError):
            ray.get(counter[0].next.remote(), timeout=BOUND)
            raise AssertionError("it answers after its death")

    @rule(counter=consumes(counters))
    def let_go(self, counter):
        del counter

    @rule(target=refs, which=st.integers(0, 9))
    def kill_an_executor(self, which):
        (template,) = psutil.Process().children()
        executors = template.children()
        if executors:
            with contextlib.suppress(psutil.NoSuchProcess):
                executors[which % len(executors)].kill()
            self.kills += 1
        return multiple()

    def __init__(self):
        super().__init__()
        self.kills = 0
        self.register = Register.remote()

    @invariant()
    def counts_are_sound(self):
        owner = _runtime.current().owner
        with owner.lock:
            owner.holds.validate()
            owner.tasks.lanes.validate()

    def teardown(self):
        assert ray.get(add.remote(1, 2), timeout=BOUND) == 3


def check(ref, expected):
    if isinstance(expected, Failed):
        with pytest.raises(KeyError) as caught:
            ray.get(ref, timeout=BOUND)
        assert caught.value.args == (expected.number,)
    else:
        assert ray.get(ref, timeout=BOUND) == expected


def test_any_order_of_operations_and_deaths_comes_to_what_the_model_says(pool):
    AnyOrder.TestCase.settings = settings(
        max_examples=6,
        stateful_step_count=20,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    AnyOrder.TestCase().runTest()
