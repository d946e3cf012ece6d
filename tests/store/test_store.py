import fcntl
import gc
import os
import signal
import stat
import subprocess
import sys
import tempfile
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from nbray.exceptions import ObjectLostError, OutOfDiskError
from nbray.store import drafts, reuse
from nbray.store import store as store_module
from nbray.store.directory import furnish, remove_store
from nbray.store.segments import open_segment, path_of
from nbray.store.store import Store
from tests.store.support import SIZE, array, get, objects, oid, put, spilled, tiny_tmpfs, waiting


def inode(store, segment):
    return os.stat(path_of(store.directory, segment.name)).st_ino


@pytest.fixture
def directory(tmp_path):
    return str(tmp_path)


@pytest.fixture
def store(directory):
    store = Store(directory)
    yield store
    store.close()


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


def test_a_file_that_was_given_back_is_written_again_under_a_new_name(store):
    first = put(store, 1)
    used = inode(store, first)
    for number in range(2, 6):
        assert store.drop(first.name)
        second = put(store, number)
        assert inode(store, second) == used and second.name != first.name
        assert objects(store.directory) == [second.name] and waiting(store.directory) == []
        assert np.array_equal(get(store, second, number), array(number))
        first = second


def test_a_smaller_object_in_a_used_file_has_its_own_size(store):
    first = put(store, 1)
    store.drop(first.name)
    second = put(store, 2, SIZE * 2 // 3)
    assert second.size < first.size == os.stat(path_of(store.directory, second.name)).st_size
    assert np.array_equal(get(store, second, 2), array(2, SIZE * 2 // 3))


def test_files_that_are_too_short_or_far_too_long_are_left_alone(store):
    store.drop(put(store, 1).name)
    put(store, 2, SIZE * 2)
    put(store, 3, SIZE // 3)
    assert len(objects(store.directory)) == 2 and store.figures.waiting == 1


def test_the_file_with_the_least_to_spare_is_taken(store):
    segments_ = [put(store, number, size) for number, size in enumerate((SIZE * 3 // 2, SIZE, SIZE * 5 // 4))]
    fitting = inode(store, segments_[1])
    for segment in segments_:
        store.drop(segment.name)
    assert inode(store, put(store, 9, SIZE)) == fitting


def test_a_file_is_not_written_over_while_somebody_reads_it(store):
    first = put(store, 1)
    used = inode(store, first)
    held = get(store, first, 1)
    store.drop(first.name)
    second = put(store, 2)
    assert inode(store, second) != used
    assert np.array_equal(held, array(1))
    del held
    gc.collect()
    assert inode(store, put(store, 3)) == used


def test_a_readers_part_of_an_array_keeps_the_file_too(store):
    first = put(store, 1)
    part = get(store, first, 1)[50_000:50_010]
    gc.collect()
    store.drop(first.name)
    put(store, 2)
    assert part.tolist() == [1] * 10


def test_a_forked_child_keeps_what_it_inherited_when_the_parent_lets_go(store):
    first = put(store, 1)
    used = inode(store, first)
    held = [get(store, first, 1)]
    with forked(lambda: bool(np.array_equal(held[0], array(1)))):
        held.clear()
        gc.collect()
        store.drop(first.name)
        assert inode(store, put(store, 2)) != used
    assert inode(store, put(store, 3)) == used


def test_a_dead_readers_lock_goes_by_itself(store):
    first = put(store, 1)
    used = inode(store, first)
    script = (
        "import sys; from nbray.store.segments import open_segment\n"
        "held = open_segment(sys.argv[1], sys.argv[2], int(sys.argv[3]), eval(sys.argv[4]), bytes.fromhex(sys.argv[5]))\n"
        "print('held', flush=True); sys.stdin.read()"
    )
    arguments = [store.directory, first.name, str(first.size), repr(first.layout), oid(1).hex()]
    with subprocess.Popen(
        [sys.executable, "-c", script, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as reader:
        assert reader.stdout.readline() == b"held\n"
        store.drop(first.name)
        assert inode(store, put(store, 2)) != used
        reader.send_signal(signal.SIGKILL)
        reader.wait()
    assert inode(store, put(store, 3)) == used


def before_locking(monkeypatch, act):
    """Have ``act`` happen once, after the next reader has opened the file and before it has the lock."""
    real, pending = fcntl.flock, [act]

    def flock(fd, operation):
        if pending and operation & fcntl.LOCK_SH and operation & fcntl.LOCK_NB:
            pending.pop()()
        return real(fd, operation)

    monkeypatch.setattr(fcntl, "flock", flock)


def test_a_reader_who_opened_the_file_before_it_was_written_over_is_told_so(store, monkeypatch):
    first = put(store, 1)

    def written_over():
        store.drop(first.name)
        put(store, 2)

    before_locking(monkeypatch, written_over)
    with pytest.raises(ObjectLostError, match="given up"):
        get(store, first, 1)


def test_a_reader_who_had_opened_a_file_that_is_removed_is_told_so(store, monkeypatch):
    first = put(store, 1)

    def removed():
        store.drop(first.name)
        store.tidy()
        store.tidy()

    before_locking(monkeypatch, removed)
    with pytest.raises(ObjectLostError):
        get(store, first, 1)
    assert waiting(store.directory) == []


def test_a_reader_who_comes_while_the_file_is_written_over_does_not_wait(store, monkeypatch):
    first = put(store, 1)
    opened = os.open(path_of(store.directory, first.name), os.O_RDONLY)
    real = reuse._copy_into
    answers = []

    def copy(*arguments):
        real(*arguments)
        with pytest.raises(BlockingIOError):
            fcntl.flock(opened, fcntl.LOCK_SH | fcntl.LOCK_NB)
        with pytest.raises(ObjectLostError):
            get(store, first, 1)
        answers.append(objects(store.directory))

    monkeypatch.setattr(reuse, "_copy_into", copy)
    store.drop(first.name)
    second = put(store, 2)
    os.close(opened)
    assert answers == [[], []]  # once for the pickle, once for the array
    assert np.array_equal(get(store, second, 2), array(2))


def test_a_child_forked_while_a_file_is_written_over_keeps_nobody_from_it(store, monkeypatch):
    first = put(store, 1)
    used = inode(store, first)
    store.drop(first.name)
    real, children = reuse._copy_into, []

    def copy(*arguments):
        if not children:
            children.append(forked(lambda: True))
            children[0].__enter__()
        real(*arguments)

    monkeypatch.setattr(reuse, "_copy_into", copy)
    second = put(store, 2)
    assert np.array_equal(get(store, second, 2), array(2))
    gc.collect()
    store.drop(second.name)
    second = put(store, 3)
    assert inode(store, second) == used and np.array_equal(get(store, second, 3), array(3))
    children[0].__exit__(None, None, None)


def test_a_file_that_waits_is_taken_by_one_of_two_processes(store):
    other = Store(store.directory)
    used = inode(store, first := put(store, 1))
    store.drop(first.name)
    theirs = put(other, 2)
    assert inode(store, theirs) == used
    ours = put(store, 3)
    assert np.array_equal(get(store, theirs, 2), array(2)) and np.array_equal(get(store, ours, 3), array(3))
    other.close()


@pytest.mark.parametrize("mapped", [False, True])
def test_a_file_that_another_process_takes_between_look_and_lock_stays_that_ones(store, monkeypatch, mapped):
    other = Store(store.directory)
    store.drop(put(store, 1).name)
    if mapped:
        for writer in (store, other):
            writer.drop(put(writer, 1).name)
    real, theirs = fcntl.flock, []

    def flock(fd, operation):
        if operation & fcntl.LOCK_NB and not theirs:
            theirs.append(None)
            theirs[0] = put(other, 2)  # opens, locks, writes, renames and unlocks in between
        return real(fd, operation)

    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "flock", flock)
        ours = put(store, 3)
    assert np.array_equal(get(store, theirs[0], 2), array(2))
    assert np.array_equal(get(store, ours, 3), array(3))
    other.close()


def test_what_is_gone_cannot_be_dropped(store):
    first = put(store, 1)
    assert store.drop(first.name) and not store.drop(first.name)
    assert store.drop("never-there") is False
    with pytest.raises(ObjectLostError):
        store.drop("../outside")


def test_a_file_that_vanished_while_it_waited_is_passed_over(store):
    store.drop(put(store, 1).name)
    (entry,) = waiting(store.directory)
    os.unlink(f"{store.directory}/free/{entry}")
    assert np.array_equal(get(store, put(store, 2), 2), array(2))
    store.recount()
    assert store.figures.waiting == 0


def test_files_beyond_the_number_that_may_wait_go_at_once(directory):
    store = Store(directory, waiting=3)
    written = [put(store, number) for number in range(5)]
    kept = [get(store, written[4], 4)]
    for segment in written:
        assert store.drop(segment.name)
    assert objects(directory) == [] and len(waiting(directory)) == 3
    assert store.figures.used == 3 * written[0].size
    assert np.array_equal(kept[0], array(4))  # whoever reads it keeps it
    store.close()


def test_what_has_waited_for_a_whole_period_goes(store):
    first = put(store, 1)
    held = [get(store, put(store, 2), 2)]
    store.drop(first.name)
    assert store.tidy() is False and store.figures.waiting == 1
    assert store.tidy() is False and waiting(store.directory) == []
    assert store.figures.used == first.size  # of the other one
    assert np.array_equal(held[0], array(2))


def test_what_is_read_stays_until_nobody_reads_it(store):
    first = put(store, 1)
    held = [get(store, first, 1)]
    store.drop(first.name)
    for _ in range(3):
        store.tidy()
    assert store.figures.waiting == 1 and np.array_equal(held[0], array(1))
    held.clear()
    gc.collect()
    store.tidy()
    assert store.figures[1:] == (0, 0, 0)


def test_much_that_has_waited_goes_in_steps(store):
    written = [put(store, number) for number in range(4)]
    for segment in written:
        store.drop(segment.name)
    store.tidy()
    assert store.tidy(most=SIZE) is True and store.figures.waiting == 3
    assert store.tidy(most=10 * SIZE) is False and store.figures.waiting == 0


def test_the_memory_of_a_removed_file_is_free_though_writers_have_it_mapped(tmp_path):
    with tiny_tmpfs(str(tmp_path)) as directory:
        store, other = Store(directory), Store(directory)
        for writer in (store, other, store):
            store.drop(put(writer, 1, 3 << 19).name)
        store.tidy()
        store.tidy()
        assert os.statvfs(directory).f_bavail * os.statvfs(directory).f_frsize > 3 << 20
        other.close()
        store.close()


def test_descriptors_are_bounded_however_many_objects_are_written_into_used_files(directory):
    store = Store(directory, mapped=4)
    before = len(os.listdir("/proc/self/fd"))
    written = []
    for number in range(40):
        written.append(put(store, number))
        if number % 3:
            store.drop(written.pop(0).name)
    assert len(os.listdir("/proc/self/fd")) <= before + 8
    store.close()
    assert len(os.listdir("/proc/self/fd")) == before - 2


def test_a_forked_child_writes_files_too_and_does_not_touch_what_its_parent_has_mapped(store):
    first = put(store, 1)
    store.drop(first.name)
    first = put(store, 2)
    store.drop(first.name)

    def work():
        mine = put(store, 3)
        good = np.array_equal(get(store, mine, 3), array(3))
        gc.collect()
        store.drop(mine.name)
        return good

    with forked(work):
        pass
    second = put(store, 4)
    assert np.array_equal(get(store, second, 4), array(4))
    assert store.figures.used == second.size and store.figures.waiting == 0


def test_an_interrupt_in_the_middle_of_the_copy_leaves_nothing(store, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(store_module, "write_segment", interrupted)
        with pytest.raises(KeyboardInterrupt):
            put(store, 1)
    assert objects(store.directory) == [] and store.figures.used == 0
    used = inode(store, first := put(store, 1))
    store.drop(first.name)
    with monkeypatch.context() as patch:
        patch.setattr(reuse, "_copy_into", interrupted)
        with pytest.raises(KeyboardInterrupt):
            put(store, 2)
    assert objects(store.directory) == [] and store.figures.waiting == 1
    assert inode(store, put(store, 3)) == used


def test_large_copies_do_not_hold_the_gil_and_arrive_whole(store):
    for number in (1, 2, 3):
        segment = put(store, number, 5 << 20)
        assert np.array_equal(get(store, segment, number), array(number, 5 << 20))
        gc.collect()
        store.drop(segment.name)
    assert len(waiting(store.directory)) == 1


# --- full ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def small(directory, tmp_path_factory):
    """A store of 250,000 bytes."""
    furnish(directory, str(tmp_path_factory.mktemp("disk")), 250_000)
    store = Store(directory)
    yield store
    store.close()


def test_what_does_not_fit_into_memory_goes_to_disk_and_reads_as_ever(small):
    written = {number: put(small, number) for number in range(5)}
    assert len(objects(small.directory)) == 2 and len(spilled(small.directory)) == 3
    assert small.figures.used == 2 * written[0].size and small.figures.spilled == 3 * written[0].size
    for number, segment in written.items():
        value = get(small, segment, number)
        assert np.array_equal(value, array(number))
        value[:] = 1  # private there, too
        assert np.array_equal(get(small, segment, number), array(number))
    for segment in written.values():
        assert small.drop(segment.name)
    assert spilled(small.directory) == [] and small.figures.spilled == 0
    assert put(small, 9).name in objects(small.directory)


def test_an_object_larger_than_the_store_goes_to_disk_and_drives_nobody_out(small):
    first = put(small, 1)
    small.drop(first.name)
    huge = put(small, 2, 1_000_000)
    assert spilled(small.directory) == [huge.name] and small.figures.waiting == 1
    assert np.array_equal(get(small, huge, 2), array(2, 1_000_000))


def test_files_that_wait_make_room_and_count_until_then(small):
    for segment in [put(small, 1, 60_000), put(small, 2, 60_000), put(small, 3, 120_000)]:
        small.drop(segment.name)
    assert small.figures.used > 240_000 and small.figures.waiting == 3
    segment = put(small, 4, 55_000)  # into one of them: nobody has to go
    assert small.figures.used > 240_000 and small.figures.waiting == 2
    small.drop(segment.name)
    segment = put(small, 5, 249_000)
    assert objects(small.directory) == [segment.name]
    assert small.figures.used == segment.size and small.figures.waiting == 0


def test_files_that_wait_and_are_read_do_not_make_room(small):
    first = put(small, 1)
    held = [get(small, first, 1)]
    small.drop(first.name)
    second = put(small, 2, 200_000)
    assert spilled(small.directory) == [second.name]
    assert np.array_equal(held[0], array(1))


def test_where_neither_memory_nor_disk_has_room_the_error_has_the_sizes_and_a_free_helps(small, monkeypatch):
    class Usage:
        total, used, free = 1 << 20, 0, 150_000

    put(small, 1)
    second = put(small, 2)
    monkeypatch.setattr("shutil.disk_usage", lambda path: Usage)
    with pytest.raises(
        OutOfDiskError,
        match=r"0\.1 MiB does not fit: 0\.2 MiB .* store of 0\.2 MiB .* 0\.1 MiB of 1\.0 MiB are free, 5% of",
    ):
        put(small, 3)
    small.drop(second.name)
    assert np.array_equal(get(small, put(small, 4), 4), array(4))
    assert spilled(small.directory) == []


def test_a_file_system_that_is_fuller_than_the_account_knows_sends_objects_to_disk(
    tmp_path, tmp_path_factory, monkeypatch
):
    with tiny_tmpfs(str(tmp_path)) as directory:
        furnish(directory, str(tmp_path_factory.mktemp("disk")), 1 << 30)
        store = Store(directory)
        segments = [put(store, 1, 3 << 20)]
        segments.append(put(store, 2, 2 << 20))
        real = os.statvfs

        class Plenty:
            f_bavail, f_frsize = 1 << 30, 4096

        with monkeypatch.context() as patch:  # as if others had filled it after we looked
            patch.setattr(os, "statvfs", lambda path: Plenty if path == directory else real(path))
            segments.append(put(store, 3, 2 << 20))
            patch.setattr(drafts, "reserve", lambda *_: None)  # as where nothing can be set aside
            segments.append(put(store, 4, 2 << 20))
        assert objects(directory) == [segments[0].name] and len(spilled(directory)) == 3
        for number, segment in enumerate(segments, 1):
            assert np.array_equal(get(store, segment, number), array(number, segment.layout[1]))
        assert store.figures[1:3] == (segments[0].size, sum(segment.size for segment in segments[1:]))
        gc.collect()
        store.drop(segments[0].name)
        assert put(store, 5, 2 << 20).name in objects(directory)
        store.close()


def test_a_full_disk_is_a_typed_error_and_leaves_nothing(tmp_path, directory, monkeypatch):
    (tmp_path / "spill").mkdir()
    (tmp_path / "store").mkdir()
    with tiny_tmpfs(str(tmp_path / "spill")) as disk:
        furnish(str(tmp_path / "store"), disk, 1000)
        store = Store(str(tmp_path / "store"))
        first = put(store, 1, 3 << 20)
        with pytest.raises(OutOfDiskError, match=r"2\.0 MiB does not fit"):
            put(store, 2, 2 << 20)

        class Plenty:
            total, used, free = 1 << 30, 0, 1 << 30

        monkeypatch.setattr("shutil.disk_usage", lambda path: Plenty)
        with pytest.raises(OutOfDiskError):  # found when reserving
            put(store, 2, 2 << 20)
        assert spilled(store.directory) == [first.name] and store.figures.spilled == first.size
        store.drop(first.name)
        put(store, 2, 2 << 20)
        store.close()


def test_a_limit_on_files_is_a_typed_error(directory):
    script = """
import resource, sys
from nbray.exceptions import OutOfDiskError
from nbray.store.store import Store
store = Store(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))
for size in (600_000, 5_000_000):
    try:
        store.write(bytes(16), b"", [bytes(size)])
    except OutOfDiskError as error:
        print("refused")
store.write(bytes(16), b"", [bytes(1000)])
print(store.figures[1:])
"""
    done = subprocess.run(
        [sys.executable, "-c", script, directory], check=False, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.splitlines() == ["refused", "refused", "(1064, 0, 0)"], done.stderr
    assert len(objects(directory)) == 1 and spilled(directory) == []


def test_other_errors_of_writing_stay_what_they_are_and_leave_nothing(store, monkeypatch):
    def broken(*_):
        raise OSError(5, "broken")

    monkeypatch.setattr(os, "pwritev", broken)
    with pytest.raises(OSError, match="broken"):
        put(store, 1)
    assert objects(store.directory) == [] and store.figures.used == 0


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


def test_a_process_killed_while_it_writes_over_a_file_leaves_it_waiting(store):
    script = """
import sys
from nbray.store import reuse
from nbray.store.store import Store
def copy(*_):
    print("writing", flush=True)
    sys.stdin.read()
reuse._copy_into = copy
Store(sys.argv[1]).write(bytes(16), b"", [bytes(int(sys.argv[2]))])
"""
    first = put(store, 1)
    store.drop(first.name)
    with subprocess.Popen(
        [sys.executable, "-c", script, store.directory, str(SIZE)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as writer:
        assert writer.stdout.readline() == b"writing\n"
        second = put(store, 2)  # somebody has it: a new one
        writer.kill()
        writer.wait()
    assert store.figures.waiting == 1 and store.figures.used == first.size + second.size
    third = put(store, 3)
    assert store.figures.waiting == 0 and np.array_equal(get(store, third, 3), array(3))


def spared(store):
    """An object in a file that this process has mapped, given up where another may follow."""
    store.drop(put(store, 1).name)
    segment = put(store, 2)
    used = inode(store, segment)
    store.spare(segment.name)
    return segment, used


def test_a_spared_file_is_written_over_and_never_waits(store):
    segment, used = spared(store)
    assert store.figures.waiting == 0
    third = put(store, 3)
    assert inode(store, third) == used and np.array_equal(get(store, third, 3), array(3))
    assert store.figures.used == third.size and store.figures.waiting == 0
    with pytest.raises(ObjectLostError):
        get(store, segment, 2)
    store.drop_spared()
    assert np.array_equal(get(store, third, 3), array(3))


def test_a_spared_file_that_does_not_fit_or_is_read_waits_like_others(store):
    segment, used = spared(store)
    other = put(store, 3, SIZE // 4)
    assert store.figures.waiting == 1 and inode(store, other) != used
    fourth = put(store, 4)
    assert inode(store, fourth) == used
    held = get(store, fourth, 4)
    store.spare(fourth.name)
    fifth = put(store, 5)
    assert inode(store, fifth) != used and store.figures.waiting == 1
    assert np.array_equal(held, array(4))


def test_a_spared_file_over_which_nothing_is_written_waits_like_others(store):
    _, used = spared(store)
    store.drop_spared()
    store.drop_spared()
    assert objects(store.directory) == [] and store.figures.waiting == 1
    assert inode(store, put(store, 3)) == used


def test_a_file_that_this_process_has_never_written_over_is_not_spared(store):
    first = put(store, 1)
    store.spare(first.name)
    assert store.figures.waiting == 1


def test_room_for_a_larger_object_is_made_of_a_spared_file(small):
    store = small
    store.drop(put(store, 1, SIZE).name)
    segment = put(store, 2, SIZE)
    store.spare(segment.name)
    larger = store.figures.capacity - SIZE // 2
    put(store, 3, larger)
    assert spilled(store.directory) == [] and store.figures.waiting == 0


def test_an_interrupt_while_a_spared_file_is_written_over_leaves_it_waiting(store, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    _, used = spared(store)
    with monkeypatch.context() as patch:
        patch.setattr(reuse, "_copy_into", interrupted)
        with pytest.raises(KeyboardInterrupt):
            put(store, 3)
    assert objects(store.directory) == [] and store.figures.waiting == 1
    assert inode(store, put(store, 4)) == used


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
