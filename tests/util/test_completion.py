"""Results as they come."""

import itertools

import pytest
from gates import Gate

import nbray
from nbray.util import as_completed, map_unordered

pytestmark = pytest.mark.usefixtures("pool")


@nbray.remote
def same(value):
    return value


@nbray.remote
def stand(gate):
    gate.wait()
    return "late"


def test_values_come_as_they_are_ready(tmp_path):
    gate = Gate(tmp_path)
    late = stand.remote(gate)
    values = as_completed([late, *(same.remote(n) for n in range(3))], chunk_size=1)
    assert sorted(next(values) for _ in range(3)) == [0, 1, 2]
    gate.open()
    assert list(values) == ["late"]


def test_refs_can_be_had_instead():
    refs = [same.remote(n) for n in range(25)]
    assert set(as_completed(refs, yield_obj_refs=True)) == set(refs)
    assert sorted(as_completed(refs)) == list(range(25))


def test_a_failure_is_raised():
    with pytest.raises(ZeroDivisionError):
        list(as_completed([nbray.remote(lambda: 1 / 0).remote()]))


def test_a_function_runs_on_every_item():
    assert sorted(map_unordered(same, range(30), chunk_size=3, backpressure_size=7)) == list(range(30))
    assert sorted(map_unordered(same, range(5), backpressure_size=None)) == list(range(5))
    refs = list(map_unordered(same, range(5), yield_obj_refs=True))
    assert sorted(nbray.get(refs)) == list(range(5))


def test_no_more_items_are_taken_than_may_be_under_way(tmp_path):
    gate, taken = Gate(tmp_path), []

    def items():
        for number in itertools.count():
            taken.append(number)
            yield gate

    gate.open()
    results = map_unordered(stand, items(), backpressure_size=3, chunk_size=1)
    next(results)
    assert len(taken) == 3
    next(results)
    assert len(taken) <= 4


@pytest.mark.parametrize("wrong", [{"chunk_size": 0}, {"num_returns": 1}])
def test_wrong_sizes_are_refused(wrong):
    with pytest.raises(ValueError, match="chunk_size"):
        list(as_completed([], **wrong))
    with pytest.raises(ValueError, match="chunk_size"):
        list(map_unordered(same, [], **wrong))
    with pytest.raises(ValueError, match="backpressure_size"):
        list(map_unordered(same, [], backpressure_size=0))
