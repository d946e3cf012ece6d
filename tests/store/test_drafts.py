"""New files: where they go when memory or disk is full, and what is left of those that are never whole."""

import gc
import os
import subprocess
import sys

import numpy as np
import pytest

from nbray.exceptions import OutOfDiskError
from nbray.store import drafts
from nbray.store.directory import furnish
from nbray.store.store import Store
from tests.store.support import array, get, objects, put, spilled, tiny_tmpfs


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
