"""Programs in places that are not as usual: no network, long or vanished directories."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap

import pytest

#: What all of them do: tasks, an actor, large objects.
WORK = """
import os, shutil, tempfile
import nbray as ray

@ray.remote
def where():
    return os.getcwd()

@ray.remote(max_retries=0)
def crash():
    os.kill(os.getpid(), 9)

@ray.remote
class Counter:
    def next(self):
        self.n = getattr(self, "n", 0) + 1
        return self.n

def work():
    assert ray.get([where.remote() for _ in range(3)], timeout=30)
    assert ray.get(Counter.remote().next.remote(), timeout=30) == 1
    assert ray.get(ray.put(bytes(1 << 20)), timeout=30) == bytes(1 << 20)

def crashes():
    try:
        ray.get(crash.remote(), timeout=30)
    except (ray.exceptions.WorkerCrashedError, ray.exceptions.TaskUnschedulableError):
        return True  # the latter where no executor can be started any more
"""


def run(program, prefix=(), **more):
    done = subprocess.run(
        [*prefix, sys.executable, "-c", WORK + textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        **more,
    )
    return done.returncode, done.stdout, done.stderr


def test_temporary_files_may_lie_deep(tmp_path):
    deep = tmp_path / ("a" * 60) / ("b" * 60)
    deep.mkdir(parents=True)
    program = """
        with ray.init(num_cpus=2):
            work()
    """
    assert run(program, env={**os.environ, "TMPDIR": str(deep)}) == (0, "", "")
    assert not os.listdir(deep)


def test_a_directory_that_goes_away_takes_no_tasks_along(tmp_path):
    """Executors that start later work in /, and say so."""
    program = """
        os.mkdir("here")
        os.chdir("here")
        ray.init(num_cpus=1)
        work()
        os.chdir("..")
        os.rmdir("here")
        assert crashes()
        assert ray.get(where.remote(), timeout=30) == "/"
        work()
        ray.shutdown()
    """
    code, out, err = run(program, cwd=tmp_path)
    assert (code, out) == (0, ""), err
    assert f"the directory {tmp_path}/here in which init() was called cannot be entered" in err
    assert "Traceback" not in err


def test_a_pool_starts_in_a_directory_that_is_no_longer_there(tmp_path):
    program = """
        os.mkdir("here")
        os.chdir("here")
        os.rmdir("../here")
        with ray.init(num_cpus=1):
            work()
    """
    assert run(program, cwd=tmp_path) == (0, "", "")


def test_calls_end_also_when_somebody_has_tidied_up_temporary_files(tmp_path):
    program = """
        ray.init(num_cpus=1)
        work()
        top = tempfile.gettempdir()
        while os.listdir(top):  # the pool adds and removes files of its own meanwhile
            for name in os.listdir(top):
                shutil.rmtree(os.path.join(top, name), ignore_errors=True)
        assert crashes()
    """
    code, out, err = run(program, env={**os.environ, "TMPDIR": str(tmp_path)})
    assert (code, out) == (0, ""), err


def test_without_a_network_nothing_is_said_of_it():
    prefix = ["unshare", "--net", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    if (
        not shutil.which("unshare")
        or subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode
    ):
        pytest.skip("no network namespace can be made here")
    program = """
        with ray.init(num_cpus=1):
            work()
    """
    assert run(program, prefix) == (0, "", "")
