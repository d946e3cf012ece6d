import threading

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from nbray.exceptions import ObjectStoreFullError
from nbray.store.accounting import Store

IDS = st.integers(0, 5).map(lambda n: bytes([n]))


class TheStoreCounts(RuleBasedStateMachine):
    """Against a dictionary: never over capacity, nothing changed by a refusal, every byte given back."""

    def __init__(self):
        super().__init__()
        self.store = Store(capacity=100)
        self.model = {}

    @rule(object_id=IDS, size=st.integers(0, 120))
    def reserve(self, object_id, size):
        others = sum(self.model.values()) - self.model.get(object_id, 0)
        if others + size > 100:
            with pytest.raises(ObjectStoreFullError):
                self.store.reserve(object_id, size)
        else:
            self.store.reserve(object_id, size)
            self.model[object_id] = size

    @rule(object_id=IDS)
    def release(self, object_id):
        assert self.store.release(object_id) == self.model.pop(object_id, 0)

    @invariant()
    def same_as_the_model(self):
        assert self.store.used == sum(self.model.values()) == 100 - self.store.available
        assert self.store.count == len(self.model)
        assert all(object_id in self.store for object_id in self.model)


TestTheStoreCounts = TheStoreCounts.TestCase


def test_a_refusal_says_what_there_is():
    store = Store(capacity=1000)
    store.reserve(b"a", 900)
    with pytest.raises(
        ObjectStoreFullError, match=r"200 bytes does not fit: 1 objects have 900 of 1,000 bytes"
    ):
        store.reserve(b"b", 200)


def test_threads_together_never_get_more_than_the_capacity():
    store = Store(capacity=500)
    got = []

    def take(worker):
        for number in range(100):
            try:
                store.reserve(bytes([worker, number]), 10)
            except ObjectStoreFullError:
                continue
            got.append((worker, number))

    threads = [threading.Thread(target=take, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 50 and store.used == 500
    for worker, number in got:
        store.release(bytes([worker, number]))
    assert store.used == store.count == 0
