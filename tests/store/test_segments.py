import errno
import gc
import os
import resource
import stat
import subprocess
import sys
import weakref
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbray.exceptions import ObjectLostError, ObjectStoreFullError
from nbray.store import segments
from nbray.store.segments import (
    ALIGNMENT,
    choose_store_dir,
    layout_of,
    new_name,
    open_segment,
    path_of,
    places,
    remove_segment,
    size_of,
    write_segment,
)
from nbray.wire.pickling import dump, load

ID = bytes(range(16))
OTHER = bytes(range(1, 17))


@pytest.fixture
def directory(tmp_path):
    return str(tmp_path)


def put(directory, value, object_id=ID):
    dumped = dump(value)
    return write_segment(directory, object_id, dumped.pickle, dumped.buffers)


def get(directory, segment, object_id=ID):
    return load(*open_segment(directory, *segment, object_id))


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=20))
@settings(max_examples=50, deadline=None)
def test_any_parts_come_back(tmp_path_factory, parts):
    directory = str(tmp_path_factory.mktemp("store"))
    segment = write_segment(directory, ID, parts[0], parts[1:])
    pickle, buffers = open_segment(directory, *segment, ID)
    assert [pickle, *map(bytes, buffers)] == parts
    assert os.stat(path_of(directory, segment.name)).st_size == segment.size


def test_the_layout_is_plain_numbers_and_gives_size_and_places():
    layout = layout_of(b"abc", [memoryview(bytes(100)), memoryview(b"")])
    assert layout == (3, 100, 0)
    assert list(places(layout)) == [(64, 3), (128, 100), (256, 0)]
    assert size_of(layout) == 256


def test_files_are_private_and_their_names_are_not_used_twice(directory):
    first, second = put(directory, 1), put(directory, 1)
    assert first.name != second.name and first.name.startswith(ID.hex())
    assert stat.S_IMODE(os.stat(path_of(directory, first.name)).st_mode) == 0o600


def test_values_with_arrays_come_back_aligned_writable_and_private(directory):
    value = {"a": np.arange(10_000.0), "b": [np.arange(5_000), "text"]}
    segment = put(directory, value)
    first, second = get(directory, segment), get(directory, segment)
    assert np.array_equal(first["a"], value["a"]) and first["b"][1] == "text"
    assert first["a"].ctypes.data % ALIGNMENT == 0 and first["b"][0].ctypes.data % ALIGNMENT == 0
    first["a"][:] = -1
    assert np.array_equal(second["a"], value["a"])
    assert np.array_equal(get(directory, segment)["a"], value["a"])


def test_large_bytes_come_back_as_bytes(directory):
    value = os.urandom(1 << 20)
    back = get(directory, put(directory, value))
    assert type(back) is bytes and back == value


def test_who_has_an_object_mapped_keeps_it_when_the_file_is_removed(directory):
    segment = put(directory, np.arange(1_000_000))
    back = get(directory, segment)
    assert remove_segment(directory, segment.name)
    assert not remove_segment(directory, segment.name)
    assert back.sum() == np.arange(1_000_000).sum()
    with pytest.raises(ObjectLostError, match="no longer"):
        get(directory, segment)


def test_the_mapping_goes_with_the_last_array(directory):
    back = get(directory, put(directory, [np.arange(10_000), np.arange(10_000)]))
    (mapping,) = [m for m in segments._mappings if m.size() > 160_000]
    gone = weakref.ref(mapping)
    del mapping
    back.pop()
    gc.collect()
    assert gone() is not None
    back.pop()
    gc.collect()
    assert gone() is None


def test_a_file_of_another_object_is_not_taken_for_this_one(directory):
    segment = put(directory, 1, OTHER)
    with pytest.raises(ObjectLostError, match="given up"):
        get(directory, segment)


@pytest.mark.parametrize("content", [b"", b"short", bytes(64)])
def test_a_file_that_is_no_segment_is_a_lost_object(directory, content):
    name = new_name(ID)
    with open(path_of(directory, name), "wb") as file:
        file.write(content)
    with pytest.raises(ObjectLostError):
        open_segment(directory, name, 65, (1,), ID)


def test_a_file_that_was_cut_is_a_lost_object_and_no_bus_error(directory):
    segment = put(directory, np.arange(100_000))
    os.truncate(path_of(directory, segment.name), 5_000)
    with pytest.raises(ObjectLostError):
        get(directory, segment)


def test_a_size_or_layout_of_another_object_is_refused(directory):
    name, size, layout = put(directory, 1)
    with pytest.raises(ObjectLostError, match="layout"):
        open_segment(directory, name, size + 1, layout, ID)
    with pytest.raises(ObjectLostError, match="shorter"):
        open_segment(directory, name, size_of((1000,)), (1000,), ID)
    with pytest.raises(ObjectLostError, match="size"):
        open_segment(directory, name, size_of((2,)), (2,), ID)


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "/etc/passwd", "a/b"])
def test_names_do_not_lead_out_of_the_directory(directory, name):
    with pytest.raises(ObjectLostError):
        open_segment(directory, name, 65, (1,), ID)
    with pytest.raises(ObjectLostError):
        remove_segment(directory, name)


def test_links_are_not_followed(directory, tmp_path_factory):
    segment = put(directory, 1)
    os.symlink(path_of(directory, segment.name), path_of(directory, "link"))
    with pytest.raises(OSError) as refused:
        open_segment(directory, "link", segment.size, segment.layout, ID)
    assert refused.value.errno == errno.ELOOP


def test_many_buffers_and_writes_that_end_early_are_written_whole(directory, monkeypatch):
    monkeypatch.setattr(segments, "_PIECE", 1000)
    real = os.pwritev

    def some(fd, pieces, offset):
        pieces = [pieces[0][: max(1, len(pieces[0]) * 2 // 3)]] if offset % 3 else pieces[:7]
        return real(fd, pieces, offset)

    monkeypatch.setattr(os, "pwritev", some)
    buffers = [os.urandom(n) for n in range(0, 3_000, 7)]
    segment = write_segment(directory, ID, b"p", buffers)
    assert list(map(bytes, open_segment(directory, *segment, ID)[1])) == buffers


def test_a_process_with_many_mappings_gets_copies_that_need_no_descriptor(directory):
    segment = put(directory, np.arange(10_000))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
    try:
        held = [get(directory, segment) for _ in range(100)]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    held[-1][0] = 5
    assert held[0][0] == 0 and all(np.array_equal(a[1:], held[0][1:]) for a in held)


# --- full ----------------------------------------------------------------------------------------------------------


def in_a_child(script, directory):
    """Run ``script`` with ``directory`` in a process of its own, for limits that cannot be taken back."""
    done = subprocess.run(
        [sys.executable, "-c", script, directory], check=False, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_an_object_beyond_the_limit_of_files_is_refused_and_nothing_is_left(directory):
    script = """
import os, resource, sys
from nbray.exceptions import ObjectStoreFullError
from nbray.store.segments import write_segment
directory = sys.argv[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))
for size in (600_000, 5_000_000):
    try:
        write_segment(directory, bytes(16), b"", [bytes(size)])
    except ObjectStoreFullError as error:
        print(error)
print(os.listdir(directory), write_segment(directory, bytes(16), b"", [bytes(1000)]).size)
"""
    first, second, rest = in_a_child(script, directory).splitlines()
    assert "0.6 MiB does not fit" in first and "4.8 MiB does not fit" in second
    assert rest == "[] 1064"


@contextmanager
def tiny_tmpfs(path):
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m,mode=700", "nbray-test", path],
        check=False,
        capture_output=True,
    )
    if mounted.returncode:
        pytest.skip("may not mount a file system")
    try:
        yield path
    finally:
        subprocess.run(["umount", path], check=True)


def test_a_full_file_system_refuses_and_works_again_after_a_free(tmp_path, monkeypatch):
    with tiny_tmpfs(str(tmp_path)) as directory:
        kept = put(directory, bytes(3 << 20))
        with pytest.raises(
            ObjectStoreFullError, match=r"2\.0 MiB does not fit: 1\.0 MiB of 4\.0 MiB are free"
        ):
            put(directory, bytes(2 << 20))
        monkeypatch.setattr(
            segments, "refuse_if_full", lambda *_: None
        )  # as if others had filled it meanwhile
        with pytest.raises(ObjectStoreFullError):
            put(directory, bytes(2 << 20))
        monkeypatch.setattr(segments, "reserve", lambda *_: None)  # as where nothing can be set aside
        with pytest.raises(ObjectStoreFullError):
            put(directory, bytes(2 << 20))
        assert os.listdir(directory) == [kept.name]
        assert get(directory, kept) == bytes(3 << 20)
        remove_segment(directory, kept.name)
        assert get(directory, put(directory, bytes(2 << 20))) == bytes(2 << 20)


def test_other_errors_of_writing_stay_what_they_are_and_leave_nothing(directory, monkeypatch):
    def broken(*_):
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(os, "pwritev", broken)
    with pytest.raises(OSError, match="broken"):
        put(directory, 1)
    assert os.listdir(directory) == []


# --- where ---------------------------------------------------------------------------------------------------------


def test_the_store_is_a_private_directory_in_memory_where_there_is_room():
    directory = choose_store_dir("store-test-", minimum=1)
    try:
        assert stat.S_IMODE(os.stat(directory).st_mode) == 0o700
        assert directory.startswith("/dev/shm/store-test-") or not os.path.isdir("/dev/shm")
    finally:
        os.rmdir(directory)


def test_the_store_is_a_temporary_directory_where_shared_memory_is_too_small(directory, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", directory)
    assert choose_store_dir("store-test-", minimum=1 << 60).startswith(directory)


def test_a_mapping_holds_one_descriptor_as_long_as_it_lives(directory):
    """The lock of a reader lives in the descriptor that the mapping keeps; see the head of segments.py."""
    segment = put(directory, np.arange(10_000))
    before = len(os.listdir("/proc/self/fd"))
    back = get(directory, segment)
    assert len(os.listdir("/proc/self/fd")) == before + 1
    del back
    assert len(os.listdir("/proc/self/fd")) == before
