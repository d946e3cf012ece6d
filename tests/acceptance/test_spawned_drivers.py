"""A driver that multiprocessing has started: its ``__main__`` has another name there, which no executor can import."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import multiprocessing, os, sys
import nbray as ray

class Thing:
    def __init__(self, value): self.value = value

def helper(thing):
    return Thing(thing.value + 1)

@ray.remote
def work(thing):
    return helper(thing)

@ray.remote
class Keeper:
    def keep(self, thing): self.thing = helper(thing); return self.thing

def driver(channel):
    with ray.init(num_cpus=1):
        results = ray.get([work.remote(Thing(1)), Keeper.remote().keep.remote(ray.put(Thing(2)))])
        channel.send([isinstance(result, Thing) and result.value for result in results])

if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    ours, theirs = context.Pipe()
    process = context.Process(target=driver, args=(theirs,))
    process.start()
    theirs.close()
    print(ours.recv())
    process.join()
    sys.exit(process.exitcode)
"""


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_functions_and_classes_of_its_main_module_travel_by_value(tmp_path, method):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, str(program), method], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "[2, 3]\n", "")
