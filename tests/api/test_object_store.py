"""How much the store takes, what goes to disk, and what is said when there is no room at all."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from gates import until

import nbray
from nbray import _runtime
from nbray.testing import crash_point

MIB = 1 << 20


@pytest.fixture(scope="module")
def small():
    """A pool with a store of 8 MiB."""
    nbray.init(num_cpus=2, object_store_memory=8 * MIB)
    yield _runtime.current().owner.values.store
    nbray.shutdown()


@nbray.remote
def ones(n):
    return np.ones(n, np.uint8)


@nbray.remote
def total(array):
    return int(array.sum())


def nothing_stored(store):
    gc.collect()
    _runtime.current().owner.flush()
    return store.figures[1:] == (0, 0, 0)


def test_puts_and_results_beyond_the_store_are_on_disk_and_come_back(small):
    refs = [nbray.put(np.full(3 * MIB, i, np.uint8)) for i in range(4)] + [
        ones.remote(3 * MIB) for _ in range(4)
    ]
    nbray.wait(refs, num_returns=8)
    assert small.figures.used <= 8 * MIB and small.figures.spilled >= 6 * 3 * MIB
    assert [int(a[0]) for a in nbray.get(refs)] == [0, 1, 2, 3, 1, 1, 1, 1]
    assert nbray.get([total.remote(ref) for ref in refs]) == [i * 3 * MIB for i in (0, 1, 2, 3, 1, 1, 1, 1)]
    del refs
    until(lambda: nothing_stored(small))


def test_an_object_larger_than_the_store_goes_to_disk(small):
    ref = nbray.put(np.ones(20 * MIB, np.uint8))
    assert nbray.get(total.remote(ref)) == 20 * MIB
    assert nbray.get(total.remote(np.ones(20 * MIB, np.uint8))) == 20 * MIB
    assert nbray.get(total.remote(ones.remote(20 * MIB))) == 20 * MIB
    del ref
    until(lambda: nothing_stored(small))


def test_much_more_than_the_store_goes_through_it(small):
    for i in range(100):
        assert nbray.get(total.remote(np.full(MIB, i % 7, np.uint8))) == i % 7 * MIB
    assert small.figures.spilled == 0
    until(lambda: nothing_stored(small))


def test_where_the_disk_is_full_too_the_error_says_so_and_a_free_helps(small, monkeypatch):
    class Usage:
        total, used, free = 100 * MIB, 0, 6 * MIB

    refs = [nbray.put(np.ones(3 * MIB, np.uint8)) for _ in range(2)]
    with monkeypatch.context() as patch:
        patch.setattr("shutil.disk_usage", lambda path: Usage)
        with pytest.raises(
            nbray.exceptions.OutOfDiskError, match=r"3\.0 MiB does not fit.*object_store_memory"
        ):
            nbray.put(np.ones(3 * MIB, np.uint8))
        with pytest.raises(nbray.exceptions.ObjectStoreFullError):
            total.remote(np.ones(3 * MIB, np.uint8))
        del refs[0]
        refs.append(nbray.put(np.ones(3 * MIB, np.uint8)))
    assert nbray.get(total.remote(refs[1])) == 3 * MIB
    assert small.figures.spilled == 0
    refs.clear()
    until(lambda: nothing_stored(small))


def test_a_task_whose_result_fits_nowhere_fails_and_its_process_lives(small):
    @nbray.remote
    def fails(n):
        import shutil

        class Usage:
            total, used, free = 100_000_000, 0, 0

        real, shutil.disk_usage = shutil.disk_usage, lambda path: Usage
        try:
            nbray.put(np.ones(n, np.uint8))
        finally:
            shutil.disk_usage = real

    with pytest.raises(nbray.exceptions.OutOfDiskError):
        nbray.get(fails.remote(20 * MIB))
    assert nbray.get(total.remote(ones.remote(20 * MIB))) == 20 * MIB
    until(lambda: nothing_stored(small))


def test_an_executor_killed_amid_a_write_leaves_nothing_in_the_store(small):
    @nbray.remote(max_retries=0)
    def dies():
        from nbray.store import store as module

        def die(*_):
            os.kill(os.getpid(), 9)

        module.write_segment = die
        return np.ones(3 * MIB, np.uint8)

    with pytest.raises(nbray.exceptions.WorkerCrashedError):
        nbray.get(dies.remote())
    until(lambda: nothing_stored(small))


@pytest.mark.parametrize("size", [3 * MIB, 20 * MIB])
def test_an_executor_killed_before_its_answer_leaves_nothing_in_the_store(small, tmp_path, size):
    die = {"env_vars": crash_point("before_reply", marker=tmp_path / "died")}
    ref = ones.options(max_retries=1, runtime_env=die).remote(size)
    assert nbray.get(total.remote(ref)) == size
    assert (tmp_path / "died").exists()
    del ref
    until(lambda: nothing_stored(small))


def test_the_store_is_a_resource_of_the_node(small):
    assert nbray.cluster_resources()["object_store_memory"] == 8 * MIB
    assert nbray.nodes()[0]["Resources"]["object_store_memory"] == 8 * MIB
    ref = nbray.put(np.ones(3 * MIB, np.uint8))
    assert 4 * MIB < nbray.available_resources()["object_store_memory"] < 5 * MIB + 1
    del ref
    until(lambda: nothing_stored(small))
    assert nbray.available_resources()["object_store_memory"] == 8 * MIB


@pytest.mark.parametrize(
    ("value", "error", "words"),
    [
        (0, ValueError, "more than 0"),
        (-5, ValueError, "more than 0 bytes, got -5"),
        ("1GB", TypeError, "whole number of bytes, not str"),
        (1.5, TypeError, "whole number"),
        (True, TypeError, "whole number"),
    ],
)
def test_its_size_is_a_number_of_bytes(value, error, words):
    with pytest.raises(error, match=words):
        nbray.init(object_store_memory=value, ignore_reinit_error=True)


def test_its_size_is_not_for_a_cluster_that_is_attached_to():
    with pytest.raises(ValueError, match="attach"):
        nbray.init("tcp://127.0.0.1:1", object_store_memory=1 << 30, ignore_reinit_error=True)


def script(body: str, *arguments: str, prepare: str = "") -> str:
    """Run a program with a session of its own; answers what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(prepare) + textwrap.dedent(body), *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    return done.stdout


def test_three_thousand_large_refs_need_no_thousand_descriptors():
    out = script(
        """
        import resource
        resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024))
        import numpy as np, nbray, os
        nbray.init(num_cpus=2)

        @nbray.remote
        def make(i):
            return np.full(110_000, i % 251, np.uint8)

        @nbray.remote
        def first(*arrays):
            return [int(a[-1]) for a in arrays]

        refs = [nbray.put(np.full(110_000, i % 251, np.uint8)) for i in range(1500)]
        refs += [make.remote(i) for i in range(1500, 3000)]
        values = nbray.get(refs)
        assert [int(a[-1]) for a in values] == [i % 251 for i in range(3000)]
        for value in values[::300]:
            value[:] = 255
        assert nbray.get(first.remote(*refs[:700])) == [i % 251 for i in range(700)]
        assert len(os.listdir("/proc/self/fd")) < 900
        del values
        assert [int(a[0]) for a in nbray.get(refs)] == [i % 251 for i in range(3000)]
        print("good")
        """
    )
    assert out == "good\n"


TRAFFIC = """
    import numpy as np, nbray
    MIB = 1 << 20

    @nbray.remote
    def double(array):
        return array * 2

    @nbray.remote
    class Keeper:
        def __init__(self):
            self.kept = []

        def keep(self, refs):
            self.kept += refs

        def sum(self):
            return sum(int(nbray.get(ref)[0]) for ref in self.kept)

    nbray.init(num_cpus=2, object_store_memory=64 * MIB)
    keeper = Keeper.remote()
    held = []
    for i in range(60):
        ref = double.remote(np.full(4 * MIB, i, np.uint8))
        if i % 3 == 0:
            held.append(ref)
            nbray.get(keeper.keep.remote([nbray.put(np.full(2 * MIB, i, np.uint8))]))
        assert nbray.get(ref)[-1] == 2 * i
        del ref
    assert [int(nbray.get(ref)[7]) for ref in held] == [2 * i for i in range(0, 60, 3)]
    assert nbray.get(keeper.sum.remote()) == sum(range(0, 60, 3))
    from nbray import _runtime
    figures = _runtime.current().owner.values.store.figures
    assert figures.used <= 64 * MIB < figures.used + figures.spilled, figures
    print("good")
"""


def test_six_times_the_traffic_and_twice_the_objects_of_a_store_of_64_mib():
    assert script(TRAFFIC) == "good\n"


def test_the_same_with_a_file_system_of_64_mib_as_in_a_container(tmp_path):
    """The account allows 64 MiB, and the file system has less than that: it tells when it is full."""
    from tests.store.support import tiny_tmpfs

    with tiny_tmpfs(str(tmp_path), "64m"):
        out = script(
            TRAFFIC,
            str(tmp_path),
            prepare="""
            import sys
            from nbray.store import directory
            directory._SHARED_MEMORY = sys.argv[1]
            directory._LEAST = 0
            directory._free = lambda path: 1 << 40
            """,
        )
        assert out == "good\n"
        assert os.listdir(tmp_path) == []
