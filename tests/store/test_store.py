"""The account that all processes of a node share, and readers against a model of the store."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from nbray.exceptions import ObjectLostError
from nbray.store.directory import furnish, remove_store
from nbray.store.segments import open_segment
from nbray.store.store import Store
from tests.store.support import SIZE, array, get, objects, oid, put, spilled, waiting

# --- the account ---------------------------------------------------------------------------------------------------


def test_all_processes_of_a_node_have_one_account(small):
    script = """
import sys
from nbray.store.store import Store
store = Store(sys.argv[1])
print(store.figures.used)
segment = store.write(bytes(16), b"", [bytes(100_000)])
store.drop(segment.name)
print(store.figures.waiting)
"""
    first = put(small, 1)
    done = subprocess.run(
        [sys.executable, "-c", script, small.directory],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.split() == [str(first.size), "1"]
    assert small.figures.used == first.size + 100_064 and small.figures.waiting == 1


def test_threads_and_processes_that_write_at_once_count_everything(directory):
    """Four processes and a Store each in two threads: the sums are those of the files in the end."""
    script = """
import sys, threading
from nbray.store.store import Store
store = Store(sys.argv[1])
def work(seed):
    held = []
    for n in range(60):
        held.append(store.write(seed.to_bytes(16, "big"), b"", [bytes(1000 + 500 * ((n * seed) % 7))]))
        if n % 3:
            store.drop(held.pop(n % len(held)).name)
    threads.append(held)
threads = []
both = [threading.Thread(target=work, args=(seed,)) for seed in (1, 2)]
for t in both: t.start()
for t in both: t.join()
assert len(threads) == 2
"""
    furnish(directory, capacity=60_000)
    workers = [subprocess.Popen([sys.executable, "-c", script, directory]) for _ in range(4)]
    assert [worker.wait() for worker in workers] == [0] * 4
    store = Store(directory)
    before = store.figures
    assert before.used <= 60_000 and before.spilled > 0
    store.recount()
    assert store.figures == before
    store.close()


def test_a_process_killed_in_the_middle_of_a_write_leaves_no_file_and_no_account(small):
    script = """
import sys
from nbray.store import store as module
def write(*_):
    print("writing", flush=True)
    sys.stdin.read()
module.write_segment = write
module.Store(sys.argv[1]).write(bytes(16), b"", [bytes(int(sys.argv[2]))])
"""
    alive = put(small, 1)
    for size in (100_000, 300_000):
        with subprocess.Popen(
            [sys.executable, "-c", script, small.directory, str(size)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as writer:
            assert writer.stdout.readline() == b"writing\n"
            small.recount()  # it lives: what it writes stays
            assert small.figures.used + small.figures.spilled > alive.size + size
            writer.kill()
            writer.wait()
        small.recount()
        assert small.figures[1:] == (alive.size, 0, 0)
        assert objects(small.directory) == [alive.name] and spilled(small.directory) == []


def test_files_are_private(small):
    for size in (SIZE, 1_000_000):
        put(small, 1, size)
    for directory in (small.directory, f"{small.directory}/disk"):
        for name in objects(directory):
            assert stat.S_IMODE(os.stat(f"{directory}/{name}").st_mode) == 0o600


def test_stores_of_one_process_share_the_descriptors_of_the_account(directory):
    before = len(os.listdir("/proc/self/fd"))
    stores = [Store(directory) for _ in range(3)]
    assert len(os.listdir("/proc/self/fd")) == before + 2
    for store in stores:
        store.close()
        store.close()
    assert len(os.listdir("/proc/self/fd")) == before


class ReadersNeverSeeAnotherObject(RuleBasedStateMachine):
    """Put, get, drop and free in any order: what a reader holds stays as it was, and what is stored can be read."""

    def __init__(self):
        super().__init__()
        self.directory = tempfile.mkdtemp(prefix="store-test-")
        furnish(self.directory, capacity=SIZE * 6)
        self.store = Store(self.directory, waiting=4)
        self.stored, self.held, self.number = {}, [], 0

    @rule(size=st.integers(5_000, SIZE))
    def put(self, size):
        self.number += 1
        self.stored[self.number] = (put(self.store, self.number, size), size)

    @precondition(lambda self: self.stored)
    @rule(data=st.data())
    def get(self, data):
        number = data.draw(st.sampled_from(sorted(self.stored)))
        segment, size = self.stored[number]
        self.held.append((number, size, get(self.store, segment, number)))

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def drop(self, data):
        self.held.pop(data.draw(st.integers(0, len(self.held) - 1)))

    @precondition(lambda self: self.stored)
    @rule(data=st.data())
    def free(self, data):
        number = data.draw(st.sampled_from(sorted(self.stored)))
        segment, _ = self.stored.pop(number)
        assert self.store.drop(segment.name)
        with pytest.raises(ObjectLostError):
            open_segment(self.directory, segment.name, segment.size, segment.layout, oid(0))

    @precondition(lambda self: self.stored)
    @rule(data=st.data(), size=st.integers(5_000, SIZE))
    def free_and_put(self, data, size):
        segment, _ = self.stored.pop(data.draw(st.sampled_from(sorted(self.stored))))
        self.store.spare(segment.name)
        self.put(size)
        self.store.drop_spared()

    @invariant()
    def all_is_as_it_was(self):
        for number, size, value in self.held:
            assert len(value) == size and (value == number % 251).all()
        for number, (segment, size) in self.stored.items():
            assert np.array_equal(get(self.store, segment, number), array(number, size))
        files = len(objects(self.directory)) + len(spilled(self.directory))
        assert files == len(self.stored) and len(waiting(self.directory)) == self.store.figures.waiting
        figures = self.store.figures
        assert figures.used <= figures.capacity
        self.store.recount()
        assert self.store.figures == figures

    @rule()
    def tidy(self):
        self.store.tidy()

    def teardown(self):
        self.held.clear()
        self.store.close()
        remove_store(self.directory)


TestReadersNeverSeeAnotherObject = ReadersNeverSeeAnotherObject.TestCase
TestReadersNeverSeeAnotherObject.settings = settings(max_examples=15, stateful_step_count=30, deadline=None)
