"""Drivers on clusters that they did not start, and nodes as processes."""

from __future__ import annotations

import os
import platform
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress

import psutil
import pytest
from cluster.drivers import CPU, Driver

from nbray.cluster import existing
from nbray.cluster.existing import attach, secret_of
from nbray.core.ids import Address
from nbray.exceptions import RaySystemError
from nbray.testing import Cluster


@pytest.fixture(autouse=True)
def executors_that_run_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nbray.testing.ENTRY", "cluster.fake_lane:run")


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with Cluster() as cluster:
        yield cluster


def children_of(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


def test_a_node_serves_leases(cluster: Cluster) -> None:
    node = cluster.add_node(num_cpus=2, resources={"special": 1}, labels={"zone": "a"})
    with Driver() as driver:
        driver.attach(cluster.address)
        driver.say("resources", 1)
        ((id_, totals, _, labels, _, hostname),) = driver.hear("resources")[2]
        assert id_.hex() == node.node_id
        itself = {"node:127.0.0.1", "node:__internal_head__"}
        assert dict(totals).keys() == {"CPU", "special", "object_store_memory", *itself}
        assert (dict(totals)["CPU"], dict(totals)["special"]) == (20_000, 10_000)
        assert labels == (("zone", "a"), ("ray.io/node-id", node.node_id))
        assert hostname == platform.node()
        driver.say("want", CPU, 1, None)
        assert driver.hear("granted")[3][1] == id_


def test_nodes_listen_for_each_other_on_loopback(cluster: Cluster) -> None:
    cluster.add_node()
    with Driver() as driver:
        driver.attach(cluster.address)
        host, port = driver.hear("node")[4][3].rsplit(":", 1)
        assert host == "127.0.0.1"
        socket.create_connection((host, int(port)), timeout=5).close()


def test_leases_go_to_all_nodes(cluster: Cluster) -> None:
    nodes = {cluster.add_node(num_cpus=1).node_id for _ in range(2)}
    cluster.wait_for_nodes()
    with Driver() as driver:
        driver.attach(cluster.address)
        driver.say("want", CPU, 2, None)
        assert {driver.hear("granted")[3][1].hex() for _ in range(2)} == nodes


def test_a_killed_node_is_noticed_and_leaves_no_process(cluster: Cluster) -> None:
    node = cluster.add_node()
    with Driver() as driver:
        driver.attach(cluster.address)
        lease, _ = driver.lease()
        offspring = children_of(node.pid)
        assert offspring
        node.kill()
        _, lost, loss = driver.hear("lost")
        assert (lost, loss[0]) == (lease, "node")
        assert driver.hear("node")[1:3] == (bytes.fromhex(node.node_id), "down")
        assert psutil.wait_procs(offspring, timeout=5)[1] == []
        cluster.add_node()
        assert driver.lease()[0] > lease


def test_a_node_that_is_removed_ends_in_order(cluster: Cluster) -> None:
    node = cluster.add_node()
    offspring = children_of(node.pid)
    cluster.remove_node(node)
    assert node.process.returncode == 0
    assert psutil.wait_procs(offspring, timeout=5)[1] == []
    cluster.wait_for_nodes()


def test_drivers_share_a_cluster_and_its_secret(cluster: Cluster) -> None:
    cluster.add_node(num_cpus=2)
    with Driver() as first, Driver() as second:
        first.attach(cluster.address)
        second.attach(cluster.address)
        assert secret_of(cluster.address, b"another") == first.pool.node.config.secret
        first.lease()
        lease, process = second.lease()
        first.say("watch_process", second.process)
        second.pool.close()
        assert first.hear("processes_gone")[1] == (second.process,)
        assert first.free()["CPU"] == 1


def test_a_detached_actor_is_found_by_the_next_driver(cluster: Cluster) -> None:
    cluster.add_node()
    actor = b"actor-id-0000001"
    with Driver() as driver:
        driver.attach(cluster.address)
        options = {
            "held": ((), (), ()),
            "name": "keeper",
            "namespace": "n",
            "detached": True,
            "handle": b"handle",
        }
        driver.say("actor_new", actor, CPU, b"", options)
        driver.hear("actor")
    with Driver() as driver:
        driver.attach(cluster.address)
        driver.say("actor_named", 1, "keeper", "n")
        assert driver.hear("named") == ("named", 1, actor, b"handle")


def test_the_loss_of_the_scheduler_is_told() -> None:
    with Driver() as driver:
        with Cluster() as cluster:
            driver.attach(cluster.address)
            address = cluster.address
        assert address in driver.hear("pool_lost")[1]


def test_closing_a_driver_says_nothing_of_a_loss(cluster: Cluster) -> None:
    with Driver() as driver:
        driver.attach(cluster.address)
        driver.pool.close()
        assert driver.inbox.empty() or driver.inbox.get()[0] == "node"


def test_where_no_scheduler_answers_there_is_a_connection_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nbray.cluster.existing.CONNECT", 0.5)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ConnectionError, match=address):
            secret_of(address, b"")


def test_something_else_than_a_cluster_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="neither"):
        secret_of(42, b"")


def test_another_version_is_refused_with_the_table_of_who_has_what(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nbray.cluster.existing.version", lambda name: "0.0.1")
    with pytest.raises(RaySystemError, match=r"nbray +here 0\.0\.1"):
        secret_of(cluster.address, b"")


def test_another_secret_is_refused(cluster: Cluster) -> None:
    with Driver() as driver:
        config = driver.config(b"not the secret")
        address = Address(driver.process, config.node_id, "", "")
        with pytest.raises(RaySystemError, match="secret"):
            attach(cluster.address, address, config, driver.inbox.put)


def test_a_node_process_shows_no_secret(cluster: Cluster) -> None:
    node = cluster.add_node()
    secret = cluster._secret.hex()
    for process in [psutil.Process(node.pid), *children_of(node.pid)]:
        assert secret not in " ".join(process.cmdline())
        assert secret not in " ".join(process.environ().values())


def test_a_node_whose_starter_dies_ends() -> None:
    code = (
        "import time\n"
        "from nbray.testing import Cluster\n"
        "node = Cluster().add_node()\n"
        "print(node.pid, flush=True)\n"
        "time.sleep(1000)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    node = psutil.Process(int(child.stdout.readline()))
    family = [node, *node.children(recursive=True)]
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    child.stdout.close()
    assert psutil.wait_procs(family, timeout=5)[1] == []


def test_dask_workers_that_were_there_become_nodes_and_stay() -> None:
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=2,
        threads_per_worker=2,
        processes=False,
        dashboard_address="127.0.0.1:0",
        silence_logs=False,
    ) as dask:
        for _ in range(2):
            with Driver() as driver:
                driver.attach(dask)
                assert driver.free()["CPU"] == 4
                driver.say("want", CPU, 4, None)
                nodes = [driver.hear("granted")[3][1] for _ in range(4)]
                assert len(set(nodes)) == 2


def test_a_worker_that_joins_late_becomes_a_node(cluster: Cluster) -> None:
    with Driver() as driver:
        driver.attach(cluster.address)
        driver.say("want", CPU, 1, None)
        cluster.add_node()
        assert driver.hear("granted")


def test_a_cluster_can_start_with_a_head() -> None:
    with Cluster(initialize_head=True, head_node_args={"num_cpus": 3}) as cluster, Driver() as driver:
        driver.attach(cluster.address)
        assert driver.free()["CPU"] == 3
    cluster.shutdown()


def test_a_node_that_cannot_start_is_an_error(cluster: Cluster, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RuntimeError, match="did not start"):
        cluster.add_node(resources={"CPU": "many"})  # type: ignore[dict-item]
    assert "Traceback" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("says", "told"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "something else"),
        (b"", "no Dask scheduler answers"),
        (None, "it says nothing"),
    ],
)
def test_what_listens_at_the_address_and_is_no_scheduler_is_a_connection_error(
    says: bytes | None, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(existing, "CONNECT", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    kept.append(connection)
                    if says is not None:
                        connection.sendall(says)
                        connection.close()

        kept: list[socket.socket] = []
        thread = threading.Thread(target=answer)
        thread.start()
        host, port = listener.getsockname()
        try:
            with pytest.raises(
                ConnectionError, match=f"no Dask scheduler answers at {host}:{port}: "
            ) as failure:
                secret_of(f"{host}:{port}", b"secret")
            assert told in str(failure.value)
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
            for connection in kept:
                connection.close()
