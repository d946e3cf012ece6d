"""A Python that ends with work under way: silently, soon, with its own exit code, and with nothing left."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
import time

import psutil
import pytest
from gates import within

#: Seconds in which an interpreter ends, from its last line on.
LIMIT = 5.0

BEGIN = """
import atexit, os, sys, threading, time
import psutil
import nbray as ray

ray.init(num_cpus=2)

@ray.remote
def echo(value):
    return value

@ray.remote
def forever():
    while True:
        time.sleep(0.01)

@ray.remote
class Actor:
    def forever(self):
        time.sleep(1000)
    def echo(self, value):
        return value

assert ray.get(echo.remote(1)) == 1
actor, busy = Actor.remote(), Actor.remote()
assert ray.get(actor.echo.remote(1)) == 1
family = psutil.Process().children(recursive=True)
print(*[process.pid for process in family], flush=True)
"""

UNDER_WAY = """
refs = [forever.remote() for _ in range(5)] + [busy.forever.remote() for _ in range(5)]
refs += [echo.remote(ref) for ref in refs] + [ray.put(bytes(1 << 20))]
ray.wait(refs, num_returns=1, timeout=0.2)
"""

SAY_LAST = "print('last', flush=True)"

ENDS = {
    "the end of the program": ("", 0),
    "sys.exit": ("sys.exit(7)", 7),
    "an exit in a function": ("def f():\n    with open(os.devnull):\n        sys.exit(8)\nf()", 8),
    "refs in globals of a module": ("sys.modules['kept'] = refs", 0),
    "a shutdown before": ("ray.shutdown()", 0),
    "two shutdowns": ("ray.shutdown()\nray.shutdown()", 0),
    "a daemon thread in get": (
        "threading.Thread(target=ray.get, args=(refs,), daemon=True).start()\ntime.sleep(0.1)",
        0,
    ),
    "daemon threads that submit": (
        """
def submit():
    while True:
        ray.get(actor.echo.remote(1))
for _ in range(3):
    threading.Thread(target=submit, daemon=True).start()
time.sleep(0.1)
""",
        0,
    ),
    "an atexit handler that uses the pool": (
        "atexit.register(lambda: print('value', ray.get(actor.echo.remote(5)), flush=True))",
        0,
    ),
    "an object whose finalizer uses the pool": (
        """
class Last:
    def __del__(self):
        try:
            ray.put(1)
        except ray.exceptions.RayError:
            pass
last = Last()
""",
        0,
    ),
    "a thread that is joined at the end": (
        "thread = threading.Thread(target=lambda: print('value', ray.get(actor.echo.remote(5))))\n"
        "thread.start()",
        0,
    ),
}


@pytest.mark.parametrize("how", list(ENDS))
def test_the_interpreter_ends_silently_and_soon_with_work_under_way(how):
    within(LIMIT, lambda: seconds_of_ending(*ENDS[how]))


def seconds_of_ending(last, code):
    """How long it took from the last line on; everything else is asserted."""
    program = textwrap.dedent(BEGIN) + UNDER_WAY + SAY_LAST + "\n" + textwrap.dedent(last)
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    late = threading.Timer(30, process.kill)
    try:
        pids = [int(pid) for pid in process.stdout.readline().split()]
        family = [psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)]
        assert process.stdout.readline() == "last\n", process.stderr.read()
        began = time.monotonic()
        late.start()
        # Not communicate(): it would miss what readline() has read ahead.
        out, err = process.stdout.read(), process.stderr.read()
        process.wait()
        took = time.monotonic() - began
    finally:
        late.cancel()
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()
    assert (process.returncode, err) == (code, "")
    assert out == ("value 5\n" if "value" in last else "")
    assert not psutil.wait_procs(family, timeout=30)[1]
    return took


def run(program, timeout=60):
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def test_a_pool_that_is_started_ten_times_leaves_the_process_as_it_was():
    done = run(
        """
        import gc, os, threading, psutil
        import nbray as ray

        @ray.remote
        def echo(value): return value

        @ray.remote
        class Actor:
            def echo(self, value): return value

        def session():
            ray.init(num_cpus=2)
            actor = Actor.remote()
            large = ray.put(bytes(1 << 20))
            assert ray.get([echo.remote(i) for i in range(10)]) == list(range(10))
            assert ray.get(actor.echo.remote(large)) == bytes(1 << 20)
            ray.shutdown()

        def state():
            gc.collect()
            this = psutil.Process()
            return this.num_fds(), threading.active_count(), len(this.children(recursive=True))

        for _ in range(2):
            session()  # what is made once and kept is made now
        before, memory = state(), psutil.Process().memory_info().rss
        for _ in range(10):
            session()
        print(before == state(), before, state(), (psutil.Process().memory_info().rss - memory) >> 20)
        """,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")
    same, *_, grown = done.stdout.split()
    assert same == "True", done.stdout
    assert int(grown) < 15, "MiB in 10 sessions"


def test_a_fork_of_the_driver_refuses_refs_and_handles_and_ends_without_harm():
    done = run(
        """
        import os, sys
        import nbray as ray
        ray.init(num_cpus=1)

        @ray.remote
        def echo(value): return value

        @ray.remote
        class Actor:
            def echo(self, value): return value

        actor, ref = Actor.remote(), echo.remote(3)
        assert ray.get(actor.echo.remote(1)) == 1
        pid = os.fork()
        if not pid:
            for use in (
                lambda: ray.get(ref), lambda: ray.put(1), lambda: ray.wait([ref]), lambda: echo.remote(1),
                lambda: actor.echo.remote(1), lambda: Actor.remote(), lambda: ray.kill(actor), lambda: ray.init(),
            ):
                try:
                    use()
                    print("was not refused", flush=True)
                except ray.exceptions.RaySystemError as error:
                    assert "fork" in str(error), error
            ray.shutdown()
            print("child", flush=True)
            sys.exit(0)  # with atexit handlers and finalizers
        status = os.waitpid(pid, 0)[1]
        print(status, ray.get(ref), ray.get(actor.echo.remote(2)), ray.get(echo.remote(4)))
        """
    )
    assert (done.stdout, done.stderr, done.returncode) == ("child\n0 3 2 4\n", "", 0)


@pytest.fixture
def ray(pool):
    return pool


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing_works_inside_a_task_and_an_actor(ray, method):
    def squares():
        import multiprocessing

        with multiprocessing.get_context(method).Pool(2) as pool:
            return pool.map(abs, [-1, -2, -3])

    class Squares:
        def squares(self):
            return squares()

    assert ray.get(ray.remote(squares).remote(), timeout=60) == [1, 2, 3]
    assert ray.get(ray.remote(Squares).remote().squares.remote(), timeout=60) == [1, 2, 3]


def test_a_process_pool_works_inside_a_task(ray):
    @ray.remote
    def squares():
        from concurrent.futures import ProcessPoolExecutor

        with ProcessPoolExecutor(2) as pool:
            return list(pool.map(abs, [-1, -2]))

    assert ray.get(squares.remote(), timeout=60) == [1, 2]


def test_a_fork_in_a_task_refuses_to_use_the_pool_and_prints(ray, capfd):
    @ray.remote
    def forks(box):
        import os

        read, write = os.pipe()
        pid = os.fork()
        if not pid:
            try:
                ray.get(box[0])
                said = "not refused"
            except ray.exceptions.RaySystemError:
                said = "refused"
            print("from the child", flush=True)
            os.write(write, said.encode())
            os._exit(0)
        os.waitpid(pid, 0)
        os.close(write)
        with open(read, "rb") as pipe:
            return pipe.read().decode()

    assert ray.get(forks.remote([ray.put(bytes(5000))]), timeout=60) == "refused"
    assert ray.get(ray.remote(lambda: 1).remote()) == 1
