"""The local pool: real scheduler, real node, executors that run nothing."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import psutil
import pytest
from cluster.drivers import CPU, TESTS, Driver
from gates import until, within

from nbray.cluster.pool import Pool


@pytest.fixture
def driver() -> Iterator[Driver]:
    with Driver() as driver:
        yield driver.local(CPU=2, GPU=1)


def test_a_lease_comes_with_the_address_of_a_living_executor(driver: Driver) -> None:
    lease, process = driver.lease()
    assert psutil.Process(driver.pid(process)).ppid() != os.getpid()
    driver.say("give", lease)
    assert driver.free()["CPU"] == 2


def test_an_idle_executor_serves_the_next_lease(driver: Driver) -> None:
    lease, process = driver.lease()
    driver.say("give", lease)
    again, same = driver.lease()
    assert (again, same) == (lease + 1, process)
    driver.say("give", again)


def test_a_killed_executor_is_reported_and_its_slot_is_free(driver: Driver) -> None:
    lease, process = driver.lease()
    driver.kill(process)
    _, lost, loss = driver.hear("lost")
    assert (lost, loss[0], loss[3]) == (lease, "signal", 9)
    assert driver.free()["CPU"] == 2


def test_what_the_pool_can_never_hold_is_refused(driver: Driver) -> None:
    driver.say("want", ((("CPU", 80_000),), (), ()), 1, None)
    assert "{CPU: 8}" in driver.hear("infeasible")[2]


def test_an_actor_lives_crashes_restarts_and_is_killed(driver: Driver) -> None:
    actor = b"actor-id-0000001"
    driver.say("actor_new", actor, CPU, b"", {"held": ((), (), ()), "max_restarts": 1})
    _, _, state, epoch, address, _ = driver.hear("actor")
    assert (state, epoch) == ("alive", 0)
    driver.kill(address[0])
    assert driver.hear("actor")[2:4] == ("restarting", 1)
    _, _, state, epoch, address, _ = driver.hear("actor")
    assert (state, epoch) == ("alive", 1)
    pid = driver.pid(address[0])
    driver.say("actor_kill", actor, True)
    assert driver.hear("actor")[2] == "dead"
    until(lambda: not psutil.pid_exists(pid), 10)


def test_a_retired_actor_leaves(driver: Driver) -> None:
    actor = b"actor-id-0000002"
    driver.say("actor_new", actor, CPU, b"", {"held": ((), (), ())})
    assert driver.hear("actor")[2] == "alive"
    driver.say("actor_drop", actor)
    _, _, state, _, _, reason = driver.hear("actor")
    assert (state, reason[0]) == ("dead", "dropped")


def test_an_init_that_fails_is_reported_with_its_failure(driver: Driver) -> None:
    driver.say("actor_new", b"actor-id-0000003", CPU, b"failure", {"max_restarts": 3})
    _, _, state, _, _, reason = driver.hear("actor")
    assert (state, reason[:2]) == ("dead", ("init", b"failure"))


def test_the_pool_listens_nowhere(driver: Driver) -> None:
    assert [c for c in psutil.Process().net_connections("tcp") if c.status == psutil.CONN_LISTEN] == []
    assert driver.pool.scheduler_address.startswith("inproc://")


def test_the_pool_leaves_the_process_as_it_found_it() -> None:
    path, callbacks = list(sys.path), list(gc.callbacks)
    level = logging.getLogger("distributed").level
    with Driver() as driver:
        driver.local()
        assert sys.path == path
        assert gc.callbacks == callbacks
        from distributed import default_client

        with pytest.raises(ValueError):
            default_client()
    assert logging.getLogger("distributed").level == level


def test_a_pool_closes_fast_and_again() -> None:
    def seconds() -> float:
        with Driver() as driver:
            driver.local()
            driver.lease()
            started = time.monotonic()
            driver.pool.close()
            took = time.monotonic() - started
            driver.pool.close()
            driver.say("want", CPU, 1, None)
        return took

    within(2.0, seconds)


def test_a_worker_that_takes_too_long_to_close_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    from distributed.batched import BatchedSend

    async def forever(*_: object) -> None:
        await asyncio.sleep(1000)

    monkeypatch.setattr(BatchedSend, "close", forever)
    monkeypatch.setattr(Pool.on_close, "__defaults__", (0.1,))
    with Driver() as driver:
        driver.local().lease()


def test_pools_come_and_go() -> None:
    for _ in range(3):
        with Driver() as driver:
            driver.local().lease()


def test_a_pool_starts_while_a_loop_runs_in_the_main_thread() -> None:
    """As in a notebook's kernel."""

    async def cell() -> int:
        with Driver() as driver:
            return driver.local().lease()[0]

    assert asyncio.run(cell()) == 1


def test_a_pool_that_cannot_start_leaves_nothing() -> None:
    with Driver() as driver:
        os.mkdir(driver.session)
        with open(f"{driver.session}/log", "w"):
            pass  # where a directory should be
        with pytest.raises(OSError):
            driver.local()


def test_the_pools_loop_runs_coroutines_for_others(driver: Driver) -> None:
    async def name() -> str:
        return threading.current_thread().name

    assert driver.pool.call(name()) == "nbray-pool"

    async def forever() -> None:
        await asyncio.sleep(1000)

    with pytest.raises(TimeoutError):
        driver.pool.call(forever(), timeout=0.01)


def test_importing_nbray_and_the_cluster_package_imports_no_dask() -> None:
    code = "import sys, nbray, nbray.cluster.local, nbray.cluster.existing; print({'dask', 'distributed'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_killed_driver_leaves_no_process_and_no_file() -> None:
    code = (
        f"import sys, time; sys.path.insert(0, {TESTS!r})\n"
        "from cluster.drivers import Driver\n"
        "driver = Driver().local()\n"
        "lease, process = driver.lease()\n"
        "print(driver.pid(process), driver.top, flush=True)\n"
        "time.sleep(1000)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    pid, top = child.stdout.readline().split()
    executor = psutil.Process(int(pid))
    child.kill()
    child.wait()
    child.stdout.close()
    executor.wait(5)
    deadline = time.monotonic() + 5
    while os.path.exists(f"{top}/s") and time.monotonic() < deadline:
        time.sleep(0.01)
    assert os.listdir(top) == []
    os.rmdir(top)


def test_importing_dask_leaves_yaml_as_it_was() -> None:
    code = "import yaml; ours = yaml.SafeLoader; import nbray.cluster.quiet; assert yaml.SafeLoader is ours"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
