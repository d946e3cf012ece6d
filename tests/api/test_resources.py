"""Resources are honoured: never more at a time than there is."""

import pytest
from gates import Gate, Marks, until
from leaks import census, leaks

import nbray


@pytest.fixture(scope="module", autouse=True)
def two_cpus_and_four_x():
    before = census()
    nbray.init(num_cpus=2, resources={"x": 4, "fine": 0.001})
    yield
    nbray.shutdown()
    assert not leaks(before)


@nbray.remote
def stand(gate):
    gate.wait()
    return "done"


@nbray.remote
def echo(value):
    return value


@pytest.mark.parametrize(
    ("options", "at_once"),
    [
        ({}, 2),
        ({"num_cpus": 2}, 1),
        ({"num_cpus": 0.5}, 4),
        ({"num_cpus": 0, "resources": {"x": 2}}, 2),
        ({"num_cpus": 0, "resources": {"x": 1.5}}, 2),
        ({"num_cpus": 0, "resources": {"fine": 0.0005}}, 2),
        ({"num_cpus": 1, "resources": {"x": 4}}, 1),
    ],
)
def test_as_many_run_at_a_time_as_there_is_room_for(tmp_path, options, at_once):
    gate, marks = Gate(tmp_path), Marks(tmp_path)

    @nbray.remote
    def counted():
        marks.mark("in")
        gate.wait()
        most = marks.count("in") - marks.count("out")
        marks.mark("out")
        return most

    refs = [counted.options(**options).remote() for _ in range(2 * at_once)]
    gate.until_came(at_once)
    ready, _ = nbray.wait(refs, timeout=0.1)
    assert not ready
    assert gate.came() == at_once
    gate.open()
    assert max(nbray.get(refs)) <= at_once


def test_tasks_that_need_no_cpu_run_beside_a_full_pool(tmp_path):
    gate = Gate(tmp_path)
    full = [stand.remote(gate) for _ in range(2)]
    gate.until_came(2)
    assert nbray.get(echo.options(num_cpus=0).remote("beside")) == "beside"
    gate.open()
    assert nbray.get(full) == ["done"] * 2


def test_an_actor_keeps_what_it_asked_for_until_it_ends(tmp_path):
    @nbray.remote(num_cpus=0, resources={"x": 3})
    class Holder:
        def ping(self):
            return "up"

    until(lambda: nbray.available_resources().get("x") == 4)
    holder = Holder.remote()
    assert nbray.get(holder.ping.remote()) == "up"
    assert nbray.available_resources()["x"] == 1
    waiting = echo.options(num_cpus=0, resources={"x": 2}).remote("after")
    assert nbray.wait([waiting], timeout=0.1)[0] == []
    del holder
    assert nbray.get(waiting) == "after"
    until(lambda: nbray.available_resources().get("x") == 4)


def test_actors_without_demands_do_not_use_up_the_cpus():
    @nbray.remote
    class Light:
        def ping(self):
            return 1

    actors = [Light.remote() for _ in range(8)]
    assert sum(nbray.get([actor.ping.remote() for actor in actors])) == 8


def test_an_actor_with_cpus_waits_for_them(tmp_path):
    @nbray.remote(num_cpus=2)
    class Whole:
        def ping(self):
            return "up"

    gate = Gate(tmp_path)
    running = stand.remote(gate)
    gate.until_came()
    ref = Whole.remote().ping.remote()
    assert nbray.wait([ref], timeout=0.1)[0] == []
    gate.open()
    assert nbray.get([running, ref]) == ["done", "up"]


def test_what_is_there_and_what_is_free_is_told_by_name(tmp_path):
    total = nbray.cluster_resources()
    assert (total["CPU"], total["x"]) == (2, 4)
    gate = Gate(tmp_path)
    running = [stand.remote(gate) for _ in range(2)]
    gate.until_came(2)
    until(lambda: "CPU" not in nbray.available_resources())  # exhausted: absent
    gate.open()
    nbray.get(running)
    until(lambda: nbray.available_resources().get("CPU") == 2)


def test_what_a_finished_task_had_is_available_at_once():
    for _ in range(5):
        nbray.get([echo.remote(1), echo.options(num_cpus=0.5).remote(2)])
        assert nbray.available_resources()["CPU"] == 2


def test_nodes_tell_their_resources():
    (node,) = nbray.nodes()
    assert node["Alive"] is True
    assert node["NodeID"] == nbray.get_runtime_context().get_node_id()
    assert node["Resources"]["CPU"] == 2
    assert node["NodeManagerAddress"] == "127.0.0.1"


def test_requests_that_never_fit_do_not_hold_up_others():
    from nbray.exceptions import TaskUnschedulableError

    bad = [echo.options(num_cpus=3).remote(i) for i in range(3)]
    assert nbray.get([echo.remote(i) for i in range(10)]) == list(range(10))
    for ref in bad:
        with pytest.raises(TaskUnschedulableError):
            nbray.get(ref, timeout=30)


def test_dependents_of_an_infeasible_task_fail_too():
    from nbray.exceptions import TaskUnschedulableError

    with pytest.raises(TaskUnschedulableError):
        nbray.get(echo.remote(echo.options(num_cpus=3).remote(1)), timeout=30)


def test_a_small_task_does_not_starve_a_large_one(tmp_path):
    gate = Gate(tmp_path)
    first = stand.remote(gate)
    gate.until_came()
    large = echo.options(num_cpus=2).remote("large")
    small = [echo.remote(i) for i in range(50)]
    gate.open()
    assert nbray.get(large) == "large"
    assert nbray.get(small) == list(range(50))
    assert nbray.get(first) == "done"
