"""What tasks and actors print, as a real driver's terminal gets it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap

PRELUDE = """
import ctypes, logging, os, signal, subprocess, sys, threading, time
import nbray
"""


def output(script: str, **env: str) -> tuple[list[str], list[str]]:
    """The lines of a driver's stdout and stderr; pids are N."""
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + textwrap.dedent(script)],
        capture_output=True,
        check=False,
        timeout=120,
        env={**os.environ, **env},
    )
    assert done.returncode == 0, done.stderr.decode()
    out, err = (re.sub(r"pid=\d+", "pid=N", stream.decode()) for stream in (done.stdout, done.stderr))
    return out.split("\n")[:-1], err.split("\n")[:-1]


def test_all_that_a_task_wrote_comes_in_order_before_its_result():
    out, err = output("""
        @nbray.remote
        def f(i):
            print("python", i)
            os.write(1, b"descriptor\\n")
            subprocess.run(["echo", "subprocess"])
            print("dunder", file=sys.__stdout__)
            sys.stdout.buffer.write(b"bytes\\n")
            ctypes.CDLL(None).printf(b"from C\\n")
            pid = os.fork()
            if not pid:
                print("fork")
                os._exit(0)
            os.waitpid(pid, 0)
            print("last")
        with nbray.init(num_cpus=1):
            for i in range(3):
                nbray.get(f.remote(i))
                print("driver")
    """)
    words = ["descriptor", "subprocess", "dunder", "bytes", "from C", "fork", "last"]
    wanted = []
    for i in range(3):
        wanted += [f"(f pid=N) {word}" for word in (f"python {i}", *words)] + ["driver"]
    assert (out, err) == (wanted, [])


def test_stdout_and_stderr_keep_their_order():
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + textwrap.dedent("""
            @nbray.remote
            def f():
                for i in range(200):
                    print("line", i, file=(sys.stdout, sys.stderr)[i % 2])
            with nbray.init(num_cpus=1):
                nbray.get(f.remote())
        """)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=True, timeout=120,
    )  # fmt: skip
    assert [int(line.split()[-1]) for line in done.stdout.decode().splitlines()] == list(range(200))


def test_ten_thousand_lines_before_a_kill_all_arrive_and_so_does_half_a_line():
    out, _ = output("""
        @nbray.remote(max_retries=0)
        def f():
            for i in range(10_000):
                print("line", i)
            os.write(1, b"half a line")
            os.kill(os.getpid(), signal.SIGKILL)
        with nbray.init(num_cpus=1):
            try:
                nbray.get(f.remote())
            except nbray.exceptions.WorkerCrashedError:
                print("crashed")
    """)
    assert [line.split(") ")[-1] for line in out] == [
        *(f"line {i}" for i in range(10_000)), "half a line", "crashed",
    ]  # fmt: skip


def test_the_error_of_a_crash_has_the_stderr_of_its_own_call_only():
    out, _ = output("""
        @nbray.remote(max_retries=0)
        def f(text, crash):
            print(text, file=sys.stderr)
            if crash:
                os._exit(3)
        with nbray.init(num_cpus=1):
            nbray.get(f.remote("earlier", False))
            try:
                nbray.get(f.remote("last words", True))
            except nbray.exceptions.WorkerCrashedError as error:
                print("last words" in str(error), "earlier" in str(error))
    """)
    assert out == ["True False"]


def test_lines_of_threads_and_tasks_never_mix_and_half_lines_wait_for_their_rest():
    out, _ = output("""
        @nbray.remote
        def f(mark):
            def talk(mark):
                for i in range(300):
                    print(mark, end="", flush=True)
                    print(mark * 20)
            threads = [threading.Thread(target=talk, args=(m,)) for m in mark]
            [t.start() for t in threads]; [t.join() for t in threads]
            print("end", end="")
        with nbray.init(num_cpus=2):
            nbray.get([f.remote("ab"), f.remote("cd")])
    """)
    lines = [line.removeprefix("(f pid=N) ") for line in out]
    assert sorted(lines) == sorted([mark * 21 for mark in "abcd" for _ in range(300)] + ["end"] * 2)


def test_what_a_terminal_would_obey_is_shown_but_for_colours_and_a_progress_bar_is_its_last_state():
    out, err = output("""
        @nbray.remote
        def f():
            print("\\x1b[31mred\\x1b[0m\\tbell\\a\\x1b[2J")
            for i in range(101):
                print(f"\\r{i}%", end="", file=sys.stderr, flush=True)
            os.write(1, b"\\xff\\n")
            print("\\ud800")
        with nbray.init(num_cpus=1):
            nbray.get(f.remote())
    """)
    prefix = "(f pid=N) "
    assert out == [prefix + line for line in ("\x1b[31mred\x1b[0m\tbell\\x07\\x1b[2J", "\\xff", "\\ud800")]
    assert err == [prefix + "100%"]


def test_a_line_of_ten_megabytes_is_one_line():
    out, _ = output("""
        @nbray.remote
        def f():
            print("x" * 10_000_000)
            os.write(1, b"y\\n")
        with nbray.init(num_cpus=1):
            nbray.get(f.remote())
    """)
    assert [len(line) for line in out] == [10_000_000 + len("(f pid=N) "), len("(f pid=N) y")]


def test_an_actor_is_named_by_its_class_from_init_on():
    out, err = output("""
        @nbray.remote
        class Counter:
            def __init__(self):
                print("init")
            def m(self):
                logging.warning("warned")
                thread = threading.Thread(target=lambda: 1 / 0)
                thread.start()
                thread.join()
                try:
                    input()
                except EOFError as error:
                    print(error)
        with nbray.init(num_cpus=1):
            counter = Counter.remote()
            nbray.get(counter.m.remote())
    """)
    assert out[0] == "(Counter pid=N) init" and "no keyboard" in out[1]
    assert "(Counter pid=N) WARNING:root:warned" in err
    assert "(Counter pid=N) ZeroDivisionError: division by zero" in err


def test_an_actor_whose_class_defines_a_repr_is_named_by_it_once_it_is_made():
    out, _ = output("""
        @nbray.remote
        class Model:
            def __init__(self, key):
                print("made")
                self.key = key
            def __repr__(self):
                return f"Model({self.key})"
            def say(self):
                print("hello")
            def end(self):
                os.write(1, b"last words")
                os._exit(1)
        @nbray.remote
        class Odd(dict):
            def __repr__(self):
                return 1 / 0
            def say(self):
                print("odd")
        @nbray.remote
        class Long(dict):
            def __repr__(self):
                return "x" * 100
            def say(self):
                print("long")
        @nbray.remote
        class Bare(dict):
            def say(self):
                print("bare")
        with nbray.init(num_cpus=1):
            model = Model.remote("en")
            nbray.get(model.say.remote())
            nbray.wait([model.end.remote()])
            for kind in (Odd, Long, Bare):
                nbray.get(kind.remote({}).say.remote())
    """)
    assert out == [
        "(Model pid=N) made",
        "(Model(en) pid=N) hello",
        "(Model(en) pid=N) last words",
        "(Odd pid=N) odd",
        f"({'x' * 60}... pid=N) long",
        "(Bare pid=N) bare",
    ]


def test_a_driver_that_wants_no_output_gets_none():
    script = """
        @nbray.remote
        def f():
            print("line")
            os.write(2, b"line\\n")
        with nbray.init(num_cpus=1, log_to_driver=False):
            nbray.get(f.remote())
    """
    assert output(script) == ([], [])


def test_lines_of_nested_tasks_come_before_the_outer_result():
    out, _ = output("""
        @nbray.remote
        def inner(i):
            print("inner", i)
        @nbray.remote
        def outer():
            for i in range(5):
                nbray.get(inner.remote(i))
        with nbray.init(num_cpus=2):
            nbray.get(outer.remote())
            print("driver")
    """)
    assert out == [*(f"(inner pid=N) inner {i}" for i in range(5)), "driver"]


def test_the_name_of_a_call_stands_before_its_lines_and_not_before_an_actors():
    out, err = output("""
        @nbray.remote
        def f():
            print("task")
        @nbray.remote
        class A:
            def f(self):
                print("method")
        with nbray.init(num_cpus=1):
            nbray.get(f.options(name="load").remote())
            nbray.get(f.remote())
            nbray.get(A.remote().f.options(name="step").remote())
    """)
    assert (out, err) == (["(load pid=N) task", "(f pid=N) task", "(A pid=N) method"], [])
