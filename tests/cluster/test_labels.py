"""Tasks and actors go where labels and nodes are asked for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from gates import Gate, until
from leaks import census, leaks

import nbray as ray
from nbray.exceptions import ActorUnschedulableError, TaskUnschedulableError
from nbray.testing import Cluster


@pytest.fixture(scope="module")
def nodes() -> Iterator[dict[str, str]]:
    """Of three nodes, what their ids are called here."""
    before = census()
    with Cluster() as cluster:
        added = {
            cluster.add_node(num_cpus=2, labels={"zone": "a", "disk": "fast"}).node_id: "a",
            cluster.add_node(num_cpus=2, labels={"zone": "b"}).node_id: "b",
            cluster.add_node(num_cpus=2).node_id: "bare",
        }
        ray.init(cluster.address)
        yield added
        ray.shutdown()
    assert not leaks(before)


@ray.remote
def where() -> str:
    return ray.get_runtime_context().get_node_id()


@ray.remote
class Somewhere:
    def where(self) -> str:
        return ray.get_runtime_context().get_node_id()


@pytest.mark.parametrize(
    ("selector", "allowed"),
    [
        ({"zone": "a"}, {"a"}),
        ({"zone": "!a"}, {"b", "bare"}),
        ({"zone": "in(a,b)"}, {"a", "b"}),
        ({"zone": "!in(a,b)"}, {"bare"}),
        ({"zone": "in(a,b)", "disk": "!fast"}, {"b"}),
        ({}, {"a", "b", "bare"}),
        (None, {"a", "b", "bare"}),
    ],
)
def test_tasks_and_actors_run_where_the_labels_are(
    nodes: dict[str, str], selector: dict[str, str] | None, allowed: set[str]
) -> None:
    refs = [where.options(label_selector=selector, num_cpus=0.5).remote() for _ in range(12)]
    assert {nodes[id_] for id_ in ray.get(refs)} <= allowed
    actors = [Somewhere.options(label_selector=selector).remote() for _ in range(3)]
    assert {nodes[id_] for id_ in ray.get([actor.where.remote() for actor in actors])} <= allowed


def test_a_node_can_be_meant_by_its_id(nodes: dict[str, str]) -> None:
    for id_ in nodes:
        assert ray.get(where.options(label_selector={"ray.io/node-id": id_}).remote()) == id_


def test_labels_are_told(nodes: dict[str, str]) -> None:
    told = {nodes[node["NodeID"]]: node["Labels"] for node in ray.nodes()}
    own = {name: labels.pop("ray.io/node-id") for name, labels in told.items()}
    assert told == {"a": {"zone": "a", "disk": "fast"}, "b": {"zone": "b"}, "bare": {}}
    assert own == {name: id_ for id_, name in nodes.items()}
    inside = ray.remote(lambda: ray.get_runtime_context().get_node_labels())
    assert ray.get(inside.options(label_selector={"zone": "b"}).remote())["zone"] == "b"
    assert ray.get_runtime_context().get_node_labels() == {}  # the driver is beside the cluster


def test_what_has_no_node_is_refused_in_words(nodes: dict[str, str]) -> None:
    text = r"asked for \{CPU: 1\} and labels \{zone: c\}.*\{CPU: 2, .*\} and labels \{disk: fast, zone: a\}"
    with pytest.raises(TaskUnschedulableError, match=text):
        ray.get(where.options(label_selector={"zone": "c"}).remote(), timeout=30)
    with pytest.raises(ActorUnschedulableError, match=r"labels \{zone: c\}"):
        ray.get(Somewhere.options(label_selector={"zone": "c"}).remote().where.remote(), timeout=30)
    # There are nodes with the label, and nodes with the room, but none with both.
    with pytest.raises(TaskUnschedulableError, match=r"asked for \{CPU: 3\} and labels \{zone: a\}"):
        ray.get(where.options(label_selector={"zone": "a"}, num_cpus=3).remote(), timeout=30)


def test_a_task_waits_for_its_node_beside_others_that_are_free(nodes: dict[str, str], tmp_path) -> None:
    @ray.remote(num_cpus=2, label_selector={"zone": "b"})
    def stand(gate: Gate) -> str:
        gate.wait()
        return ray.get_runtime_context().get_node_id()

    gate = Gate(tmp_path)
    first, second = stand.remote(gate), stand.remote(gate)
    gate.until_came()
    assert ray.get(where.options(label_selector={"zone": "!b"}).remote())
    assert ray.wait([first, second], timeout=0.1)[0] == []
    assert gate.came() == 1
    gate.open()
    assert [nodes[id_] for id_ in ray.get([first, second])] == ["b", "b"]


def test_a_lane_that_is_kept_elsewhere_does_not_stand_in_the_way(nodes: dict[str, str]) -> None:
    """What a lane of another node keeps is no use, and what one of this node keeps is given up."""
    plain = {nodes[id_] for id_ in ray.get([where.remote() for _ in range(12)])}
    assert plain
    got = ray.get(where.options(label_selector={"zone": "a"}, num_cpus=2).remote(), timeout=30)
    assert nodes[got] == "a"


def test_every_node_is_a_resource(nodes: dict[str, str]) -> None:
    address = {node["NodeManagerAddress"] for node in ray.nodes()}
    assert address == {"127.0.0.1"}
    until(lambda: ray.available_resources().get("node:127.0.0.1") == 3)
    inside = ray.remote(
        lambda: (ray.util.get_node_ip_address(), ray.get_runtime_context().get_assigned_resources())
    )
    for name in ("node:127.0.0.1", "node:__internal_head__"):
        assert ray.get(inside.options(num_cpus=0, resources={name: 0.001}).remote()) == (
            "127.0.0.1",
            {name: 0.001},
        )
    with pytest.raises(TaskUnschedulableError, match=r"node:10\.9\.9\.9: 0\.5.*node:127\.0\.0\.1: 1"):
        ray.get(inside.options(resources={"node:10.9.9.9": 0.5}).remote(), timeout=30)


@pytest.mark.parametrize(
    ("selector", "kind", "text"),
    [
        ("a", TypeError, "a dict of labels and conditions"),
        ({"zone": 1}, TypeError, "must be strings, got 'zone': 1"),
        ({"zone": "in(a"}, ValueError, "says nothing of label 'zone'"),
        ({"zo ne": "a"}, ValueError, "'zo ne' cannot be the name of a label"),
    ],
)
def test_a_wrong_selector_is_refused_at_the_call(nodes, selector, kind, text) -> None:
    for target in (where, Somewhere):
        with pytest.raises(kind, match=text):
            target.options(label_selector=selector).remote()


@pytest.mark.parametrize(
    ("labels", "kind"),
    [("a", TypeError), ({"zone": 1}, TypeError), ({"a b": "c"}, ValueError), ({"a": "-"}, ValueError)],
)
def test_wrong_labels_of_a_node_are_refused(nodes, labels, kind) -> None:
    with Cluster() as cluster, pytest.raises(kind, match="label"):
        cluster.add_node(labels=labels)
    with pytest.raises(kind, match="label"):
        ray.init(labels=labels, ignore_reinit_error=True)
