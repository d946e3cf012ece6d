"""The option ``priority`` of tasks, by the order in which they run on one CPU."""

import pytest
from gates import Gate

import nbray


@pytest.fixture
def one():
    """A pool of one CPU."""
    nbray.init(num_cpus=1)
    yield
    nbray.shutdown()


@nbray.remote
def stand(gate):
    gate.wait()


@nbray.remote
def append(path, what):
    with open(path, "a") as file:
        file.write(f"{what}\n")


def order(tmp_path, submit):
    """What ran in which order, of what was submitted while the CPU was taken."""
    gate = Gate(tmp_path)
    blocker = stand.remote(gate)
    gate.until_came()
    path = str(tmp_path / "order")
    refs = submit(path)
    gate.open()
    nbray.get([blocker, *refs])
    with open(path) as file:
        return file.read().split()


def test_the_highest_goes_first_and_equals_in_the_order_of_submission(one, tmp_path):
    def submit(path):
        return [
            append.options(priority=priority).remote(path, f"{priority}:{n}")
            for n, priority in enumerate([0, 2, -1, 0, 2, 1])
        ]

    assert order(tmp_path, submit) == ["2:1", "2:4", "1:5", "0:0", "0:3", "-1:2"]


def test_it_counts_between_shapes_too(one, tmp_path):
    def submit(path):
        return [
            append.options(num_cpus=cpus, priority=priority).remote(path, f"{priority}")
            for cpus, priority in [(0.6, 0), (0.9, 1), (0.8, 3), (0.7, 2)]
        ]

    assert order(tmp_path, submit) == ["3", "2", "1", "0"]


def test_a_later_task_of_a_higher_priority_raises_its_shape(one, tmp_path):
    def submit(path):
        low = [append.options(num_cpus=0.9).remote(path, "low") for _ in range(2)]
        mid = append.options(num_cpus=0.8, priority=1).remote(path, "mid")
        high = append.options(num_cpus=0.9, priority=2).remote(path, "high")
        return [*low, mid, high]

    ran = order(tmp_path, submit)
    assert ran[0] == "high"
    assert sorted(ran) == ["high", "low", "low", "mid"]


@pytest.mark.parametrize(("wrong", "error"), [("high", TypeError), (1.5, TypeError), (1 << 40, ValueError)])
def test_a_priority_is_an_int(wrong, error):
    with pytest.raises(error, match="priority"):
        append.options(priority=wrong)


def test_actors_have_no_priority():
    with pytest.raises(ValueError, match="priority"):
        nbray.remote(type("A", (), {})).options(priority=1)
