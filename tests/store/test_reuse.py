"""Used files: who writes over them, and who must not."""

import fcntl
import gc
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from nbray.exceptions import ObjectLostError
from nbray.store import store as store_module
from nbray.store.copying import Copier
from nbray.store.segments import path_of
from nbray.store.store import Store
from tests.store.support import (
    SIZE,
    array,
    forked,
    get,
    inode,
    objects,
    oid,
    put,
    spilled,
    tiny_tmpfs,
    waiting,
)


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
    real = Copier.copy
    answers = []

    def copy(*arguments):
        real(*arguments)
        with pytest.raises(BlockingIOError):
            fcntl.flock(opened, fcntl.LOCK_SH | fcntl.LOCK_NB)
        with pytest.raises(ObjectLostError):
            get(store, first, 1)
        answers.append(objects(store.directory))

    monkeypatch.setattr(Copier, "copy", copy)
    store.drop(first.name)
    second = put(store, 2)
    os.close(opened)
    assert answers == [[], []]  # once for the pickle, once for the array
    assert np.array_equal(get(store, second, 2), array(2))


def test_a_child_forked_while_a_file_is_written_over_keeps_nobody_from_it(store, monkeypatch):
    first = put(store, 1)
    used = inode(store, first)
    store.drop(first.name)
    real, children = Copier.copy, []

    def copy(*arguments):
        if not children:
            children.append(forked(lambda: True))
            children[0].__enter__()
        real(*arguments)

    monkeypatch.setattr(Copier, "copy", copy)
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
        patch.setattr(Copier, "copy", interrupted)
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


def test_a_process_killed_while_it_writes_over_a_file_leaves_it_waiting(store):
    script = """
import sys
from nbray.store.copying import Copier
from nbray.store.store import Store
def copy(*_):
    print("writing", flush=True)
    sys.stdin.read()
Copier.copy = copy
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
        patch.setattr(Copier, "copy", interrupted)
        with pytest.raises(KeyboardInterrupt):
            put(store, 3)
    assert objects(store.directory) == [] and store.figures.waiting == 1
    assert inode(store, put(store, 4)) == used
