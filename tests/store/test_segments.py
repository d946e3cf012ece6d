import errno
import fcntl
import gc
import os
import resource
import weakref

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbray.exceptions import ObjectLostError
from nbray.store import segments
from nbray.store.segments import (
    ALIGNMENT,
    Segment,
    layout_of,
    new_name,
    open_segment,
    path_of,
    places,
    size_of,
    write_segment,
)
from nbray.wire.pickling import dump, load

ID = bytes(range(16))
OTHER = bytes(range(1, 17))


@pytest.fixture
def directory(tmp_path):
    return str(tmp_path)


def write(directory, object_id, pickle, buffers):
    """A segment in a new file."""
    layout = layout_of(pickle, buffers)
    name = new_name(object_id)
    fd = os.open(path_of(directory, name), os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        write_segment(fd, object_id, pickle, buffers, layout)
    finally:
        os.close(fd)
    return Segment(name, size_of(layout), layout)


def put(directory, value, object_id=ID):
    dumped = dump(value)
    return write(directory, object_id, dumped.pickle, dumped.buffers)


def get(directory, segment, object_id=ID):
    return load(*open_segment(directory, *segment[:3], object_id))


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=20))
@settings(max_examples=50, deadline=None)
def test_any_parts_come_back(tmp_path_factory, parts):
    directory = str(tmp_path_factory.mktemp("store"))
    segment = write(directory, ID, parts[0], parts[1:])
    pickle, buffers = open_segment(directory, *segment[:3], ID)
    assert [pickle, *map(bytes, buffers)] == parts
    assert os.stat(path_of(directory, segment.name)).st_size == segment.size


def test_the_layout_is_plain_numbers_and_gives_size_and_places():
    layout = layout_of(b"abc", [memoryview(bytes(100)), memoryview(b"")])
    assert layout == (3, 100, 0)
    assert list(places(layout)) == [(64, 3), (128, 100), (256, 0)]
    assert size_of(layout) == 256


def test_names_are_not_used_twice(directory):
    first, second = put(directory, 1), put(directory, 1)
    assert first.name != second.name and first.name.startswith(ID.hex())


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
    os.unlink(path_of(directory, segment.name))
    assert back.sum() == np.arange(1_000_000).sum()
    with pytest.raises(ObjectLostError, match="no longer"):
        get(directory, segment)


def test_the_mapping_goes_with_the_last_array(directory):
    back = get(directory, put(directory, [np.arange(10_000), np.arange(10_000)]))
    mapped = [ref() for ref in segments._mappings]
    (mapping,) = [m for m in mapped if m is not None and m.size() > 160_000]
    mapped.clear()
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
    name, size, layout, _ = put(directory, 1)
    with pytest.raises(ObjectLostError, match="layout"):
        open_segment(directory, name, size + 1, layout, ID)
    with pytest.raises(ObjectLostError, match="shorter"):
        open_segment(directory, name, size_of((1000,)), (1000,), ID)
    with pytest.raises(ObjectLostError, match="size"):
        open_segment(directory, name, size_of((2,)), (2,), ID)


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "/etc/passwd", "a/b", "account", "free", "disk"])
def test_names_do_not_lead_out_of_the_directory(directory, name):
    with pytest.raises(ObjectLostError, match="not the name"):
        open_segment(directory, name, 65, (1,), ID)


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
    segment = write(directory, ID, b"p", buffers)
    assert list(map(bytes, open_segment(directory, *segment[:3], ID)[1])) == buffers


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


def test_a_mapping_holds_one_descriptor_as_long_as_it_lives(directory):
    """The lock of a reader lives in the descriptor that the mapping keeps; see the head of segments.py."""
    segment = put(directory, np.arange(10_000))
    before = len(os.listdir("/proc/self/fd"))
    back = get(directory, segment)
    assert len(os.listdir("/proc/self/fd")) == before + 1
    del back
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_reader_waits_for_a_writer_who_only_looks(directory, monkeypatch):
    """It had opened a waiting file, of which another then made an object: it locks it, sees that it came too late, lets go."""
    segment = put(directory, np.arange(10_000))
    late = os.open(path_of(directory, segment.name), os.O_RDWR)
    fcntl.flock(late, fcntl.LOCK_EX)
    looks = []
    monkeypatch.setattr(segments.time, "sleep", lambda _: (looks.append(1), fcntl.flock(late, fcntl.LOCK_UN)))
    assert get(directory, segment)[-1] == 9_999
    assert looks
    os.close(late)


def test_a_reader_does_not_wait_for_a_writer_who_has_the_file(directory):
    segment = put(directory, np.arange(10_000))
    path = path_of(directory, segment.name)
    writer = os.open(path, os.O_RDWR)
    fcntl.flock(writer, fcntl.LOCK_EX)
    reader = os.open(path, os.O_RDONLY)
    os.rename(path, path + ".given-up")
    assert not segments._lock_to_read(reader, path)
    os.close(reader)
    os.close(writer)
