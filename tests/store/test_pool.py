import fcntl
import gc
import os
import signal
import subprocess
import sys
import tempfile
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from nbray.exceptions import ObjectLostError, ObjectStoreFullError
from nbray.store import pool as pool_module
from nbray.store import segments
from nbray.store.pool import Pool
from nbray.store.segments import open_segment, path_of
from nbray.wire.pickling import dump, load
from tests.store.test_segments import tiny_tmpfs

SIZE = 100_000


def oid(number):
    return number.to_bytes(16, "big")


def array(number, size=SIZE):
    return np.full(size, number % 251, np.uint8)


def put(pool, number, size=SIZE):
    dumped = dump(array(number, size))
    return pool.write(oid(number), dumped.pickle, dumped.buffers)


def get(directory, segment, number):
    return load(*open_segment(directory, *segment, oid(number)))


def inode(directory, segment):
    return os.stat(path_of(directory, segment.name)).st_ino


@pytest.fixture
def directory(tmp_path):
    return str(tmp_path)


@pytest.fixture
def pool(directory):
    pool = Pool(directory)
    yield pool
    pool.close()


@contextmanager
def forked(work):
    """A child that runs ``work`` once it is told to, at the end of the block, and has to succeed."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(writing)
            os.read(reading, 1)
            status = 0 if work() else 1
        finally:
            os._exit(status)
    os.close(reading)
    try:
        yield
    finally:
        os.close(writing)
        _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0


def test_a_file_that_was_given_back_is_written_again_under_a_new_name(directory, pool):
    first = put(pool, 1)
    used = inode(directory, first)
    for number in range(2, 6):
        assert pool.give_back(first.name)
        second = put(pool, number)
        assert inode(directory, second) == used and second.name != first.name
        assert os.listdir(directory) == [second.name]
        assert np.array_equal(get(directory, second, number), array(number))
        first = second


def test_a_smaller_object_in_a_used_file_has_its_own_size(directory, pool):
    first = put(pool, 1)
    pool.give_back(first.name)
    second = put(pool, 2, SIZE * 2 // 3)
    assert second.size < first.size == os.stat(path_of(directory, second.name)).st_size
    assert np.array_equal(get(directory, second, 2), array(2, SIZE * 2 // 3))


def test_files_that_are_too_short_or_far_too_long_are_left_alone(directory, pool):
    pool.give_back(put(pool, 1).name)
    put(pool, 2, SIZE * 2)
    put(pool, 3, SIZE // 3)
    assert len(os.listdir(directory)) == 3 and pool.waiting[0] == 1


def test_the_file_with_the_least_to_spare_is_taken(directory, pool):
    segments_ = [put(pool, number, size) for number, size in enumerate((SIZE * 3 // 2, SIZE, SIZE * 5 // 4))]
    fitting = inode(directory, segments_[1])
    for segment in segments_:
        pool.give_back(segment.name)
    assert inode(directory, put(pool, 9, SIZE)) == fitting


def test_a_file_is_not_written_over_while_somebody_reads_it(directory, pool):
    first = put(pool, 1)
    used = inode(directory, first)
    held = get(directory, first, 1)
    pool.give_back(first.name)
    second = put(pool, 2)
    assert inode(directory, second) != used
    assert np.array_equal(held, array(1))
    del held
    gc.collect()
    assert inode(directory, put(pool, 3)) == used


def test_a_readers_part_of_an_array_keeps_the_file_too(directory, pool):
    first = put(pool, 1)
    part = get(directory, first, 1)[50_000:50_010]
    gc.collect()
    pool.give_back(first.name)
    put(pool, 2)
    assert part.tolist() == [1] * 10


def test_a_forked_child_keeps_what_it_inherited_when_the_parent_lets_go(directory, pool):
    first = put(pool, 1)
    used = inode(directory, first)
    held = [get(directory, first, 1)]
    with forked(lambda: bool(np.array_equal(held[0], array(1)))):
        held.clear()
        gc.collect()
        pool.give_back(first.name)
        assert inode(directory, put(pool, 2)) != used
    assert inode(directory, put(pool, 3)) == used


def test_a_dead_readers_lock_goes_by_itself(directory, pool):
    first = put(pool, 1)
    used = inode(directory, first)
    script = (
        "import sys; from nbray.store.segments import open_segment\n"
        "held = open_segment(sys.argv[1], sys.argv[2], int(sys.argv[3]), eval(sys.argv[4]), bytes.fromhex(sys.argv[5]))\n"
        "print('held', flush=True); sys.stdin.read()"
    )
    arguments = [directory, first.name, str(first.size), repr(first.layout), oid(1).hex()]
    with subprocess.Popen(
        [sys.executable, "-c", script, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as reader:
        assert reader.stdout.readline() == b"held\n"
        pool.give_back(first.name)
        assert inode(directory, put(pool, 2)) != used
        reader.send_signal(signal.SIGKILL)
        reader.wait()
    assert inode(directory, put(pool, 3)) == used


def before_locking(monkeypatch, act):
    """Have ``act`` happen once, after the next reader has opened the file and before it has the lock."""
    real, pending = fcntl.flock, [act]

    def flock(fd, operation):
        if pending and operation & fcntl.LOCK_SH and operation & fcntl.LOCK_NB:
            pending.pop()()
        return real(fd, operation)

    monkeypatch.setattr(fcntl, "flock", flock)


def test_a_reader_who_opened_the_file_before_it_was_written_over_is_told_so(directory, pool, monkeypatch):
    first = put(pool, 1)
    pool.give_back(first.name)
    before_locking(monkeypatch, lambda: put(pool, 2))
    with pytest.raises(ObjectLostError, match="given up"):
        get(directory, first, 1)


def test_a_reader_who_comes_while_the_file_is_written_over_does_not_wait(directory, pool, monkeypatch):
    first = put(pool, 1)
    opened = os.open(path_of(directory, first.name), os.O_RDONLY)
    real = pool_module._copy_into
    answers = []

    def copy(*arguments):
        real(*arguments)
        for name, read in ((first.name, None), (os.listdir(directory)[0], opened)):
            if read is not None:
                with pytest.raises(BlockingIOError):
                    fcntl.flock(read, fcntl.LOCK_SH | fcntl.LOCK_NB)
            with pytest.raises(ObjectLostError):
                open_segment(directory, name, first.size, first.layout, oid(1))
            answers.append(name)

    monkeypatch.setattr(pool_module, "_copy_into", copy)
    pool.give_back(first.name)
    second = put(pool, 2)
    os.close(opened)
    assert len(answers) == 4  # twice for the pickle, twice for the array
    assert np.array_equal(get(directory, second, 2), array(2))


def test_a_child_forked_while_a_file_is_written_over_keeps_nobody_from_reading(directory, pool, monkeypatch):
    first = put(pool, 1)
    used = inode(directory, first)
    pool.give_back(first.name)
    real, children = pool_module._copy_into, []

    def copy(*arguments):
        if not children:
            children.append(forked(lambda: True))
            children[0].__enter__()
        real(*arguments)

    monkeypatch.setattr(pool_module, "_copy_into", copy)
    second = put(pool, 2)
    assert inode(directory, second) == used
    assert np.array_equal(get(directory, second, 2), array(2))
    pool.give_back(second.name)
    assert inode(directory, put(pool, 3)) != used  # the child has the lock still
    children[0].__exit__(None, None, None)
    assert inode(directory, put(pool, 4)) == used


def test_a_file_given_to_two_pools_is_written_over_by_one(directory, pool):
    other = Pool(directory)
    first = put(pool, 1)
    pool.give_back(first.name)
    other.give_back(first.name)
    second = put(pool, 2)
    third = put(other, 3)
    assert inode(directory, second) != inode(directory, third)
    assert np.array_equal(get(directory, second, 2), array(2))
    assert np.array_equal(get(directory, third, 3), array(3))
    assert other.waiting == (0, 0)


def test_a_file_that_another_pool_claims_between_open_and_lock_stays_that_ones(directory, pool, monkeypatch):
    other = Pool(directory)
    first = put(pool, 1)
    pool.give_back(first.name)
    other.give_back(first.name)
    real, theirs = fcntl.flock, []

    def flock(fd, operation):
        if not theirs:
            theirs.append(None)
            theirs[0] = put(other, 2)  # opens, locks, renames, writes and closes in between
        return real(fd, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    ours = put(pool, 3)
    assert np.array_equal(get(directory, theirs[0], 2), array(2))
    assert np.array_equal(get(directory, ours, 3), array(3))


def test_a_file_given_back_twice_waits_once(pool):
    first = put(pool, 1)
    assert pool.give_back(first.name) and pool.give_back(first.name)
    assert pool.waiting == (1, first.size)


def test_what_is_gone_cannot_be_given_back(pool):
    assert pool.give_back("never-there") is False
    with pytest.raises(ObjectLostError):
        pool.give_back("../outside")


def test_a_file_that_vanished_while_it_waited_is_passed_over(directory, pool):
    first = put(pool, 1)
    pool.give_back(first.name)
    os.unlink(path_of(directory, first.name))
    assert np.array_equal(get(directory, put(pool, 2), 2), array(2))
    assert pool.waiting == (0, 0)


def test_the_pool_is_bounded_in_files_and_bytes_and_the_oldest_go_first(directory):
    pool = Pool(directory, most_bytes=SIZE * 3, most_files=3)
    written = [put(pool, number, SIZE // 2) for number in range(5)]
    for segment in written:
        pool.give_back(segment.name)
    assert sorted(os.listdir(directory)) == sorted(segment.name for segment in written[2:])
    pool.give_back(put(pool, 9, SIZE * 2).name)
    assert pool.waiting[0] == 2
    pool.give_back(put(pool, 10, SIZE * 4).name)
    assert pool.waiting[0] == len(os.listdir(directory)) == 2


def test_descriptors_are_bounded_however_many_objects_are_written_into_used_files(directory):
    pool = Pool(directory, most_files=4)
    before = len(os.listdir("/proc/self/fd"))
    waiting = []
    for number in range(40):
        segment = put(pool, number)
        waiting.append(segment)
        if number % 3:
            pool.give_back(waiting.pop(0).name)
    assert len(os.listdir("/proc/self/fd")) <= before + 8
    pool.close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_forked_child_does_not_touch_its_parents_files(directory, pool):
    first = put(pool, 1)
    pool.give_back(first.name)

    def work():
        mine = put(pool, 2)
        pool.close()
        return pool.waiting == (0, 0) and inode(directory, mine) != used

    used = inode(directory, first)
    with forked(work):
        pass
    assert inode(directory, put(pool, 3)) == used


def test_an_interrupt_in_the_middle_of_the_copy_leaves_nothing(directory, pool, monkeypatch):
    pool.give_back(put(pool, 1).name)

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(pool_module, "_copy_into", interrupted)
    with pytest.raises(KeyboardInterrupt):
        put(pool, 2)
    assert os.listdir(directory) == [] and pool.waiting == (0, 0)


def test_waiting_files_make_room_when_the_file_system_is_full(tmp_path):
    with tiny_tmpfs(str(tmp_path)) as directory:
        pool = Pool(directory)
        pool.give_back(put(pool, 1, 3 << 19).name)
        pool.give_back(put(pool, 2, 1 << 19).name)
        segment = put(pool, 3, 3 << 20)
        assert os.listdir(directory) == [segment.name]
        with pytest.raises(ObjectStoreFullError):
            put(pool, 4, 3 << 20)


def test_large_copies_do_not_hold_the_gil_and_arrive_whole(directory, pool):
    for number in (1, 2, 3):
        segment = put(pool, number, 3 << 20)
        assert np.array_equal(get(directory, segment, number), array(number, 3 << 20))
        pool.give_back(segment.name)
    assert len(os.listdir(directory)) == 1


class ReadersNeverSeeAnotherObject(RuleBasedStateMachine):
    """Put, get, drop and free in any order: what a reader holds stays as it was, and what is stored can be read."""

    def __init__(self):
        super().__init__()
        self.directory = tempfile.mkdtemp(prefix="pool-test-")
        self.pool = Pool(self.directory, most_bytes=SIZE * 4, most_files=4)
        self.stored, self.held, self.number = {}, [], 0

    @rule(size=st.integers(5_000, SIZE))
    def put(self, size):
        self.number += 1
        self.stored[self.number] = (put(self.pool, self.number, size), size)

    @precondition(lambda self: self.stored)
    @rule(data=st.data())
    def get(self, data):
        number = data.draw(st.sampled_from(sorted(self.stored)))
        segment, size = self.stored[number]
        self.held.append((number, size, get(self.directory, segment, number)))

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def drop(self, data):
        self.held.pop(data.draw(st.integers(0, len(self.held) - 1)))

    @precondition(lambda self: self.stored)
    @rule(data=st.data())
    def free(self, data):
        number = data.draw(st.sampled_from(sorted(self.stored)))
        segment, _ = self.stored.pop(number)
        assert self.pool.give_back(segment.name)
        with pytest.raises(ObjectLostError):
            open_segment(self.directory, segment.name, segment.size, segment.layout, oid(0))

    @invariant()
    def all_is_as_it_was(self):
        for number, size, value in self.held:
            assert len(value) == size and (value == number % 251).all()
        for number, (segment, size) in self.stored.items():
            assert np.array_equal(get(self.directory, segment, number), array(number, size))
        assert len(os.listdir(self.directory)) == len(self.stored) + self.pool.waiting[0]

    def teardown(self):
        self.held.clear()
        self.pool.close()
        for segment, _ in self.stored.values():
            segments.remove_segment(self.directory, segment.name)
        os.rmdir(self.directory)


TestReadersNeverSeeAnotherObject = ReadersNeverSeeAnotherObject.TestCase
TestReadersNeverSeeAnotherObject.settings = settings(max_examples=15, stateful_step_count=30, deadline=None)
