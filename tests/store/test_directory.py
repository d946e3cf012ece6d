"""Where the store is, and how large."""

import os
import shutil
import stat

import pytest

from nbray.store import directory as module
from nbray.store.directory import furnish, make_store, remove_store
from nbray.store.store import Store
from tests.store.support import objects, put, spilled


@pytest.fixture
def made(tmp_path, monkeypatch):
    """``make_store``, where /dev/shm and the place of temporary files are directories of the test."""
    shared, temporary = tmp_path / "shm", tmp_path / "tmp"
    shared.mkdir()
    temporary.mkdir()
    monkeypatch.setattr(module, "_SHARED_MEMORY", str(shared))
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    return lambda capacity=None: make_store("store-test-", str(tmp_path / "spill"), capacity)


def free(monkeypatch, **bytes_free):
    """As if so much were free in the directories of that name."""

    class Usage:
        total = used = 1 << 40

    real = shutil.disk_usage

    def usage(path):
        found = Usage()
        for part in str(path).split("/"):
            if part in bytes_free:
                found.free = bytes_free[part]
                return found
        return real(path)

    monkeypatch.setattr("shutil.disk_usage", usage)


def capacity_of(directory):
    store = Store(directory)
    try:
        return store.figures.capacity
    finally:
        store.close()


def test_the_store_is_private_and_in_memory_where_there_is_room(made, tmp_path):
    directory = made()
    assert directory.startswith(str(tmp_path / "shm" / "store-test-"))
    for each in (directory, tmp_path / "spill", f"{directory}/free"):
        assert stat.S_IMODE(os.stat(each).st_mode) == 0o700
    assert stat.S_IMODE(os.stat(f"{directory}/account").st_mode) == 0o600


def test_the_store_is_where_temporary_files_go_if_shared_memory_is_small(made, tmp_path, monkeypatch):
    free(monkeypatch, shm=64 << 20)
    assert made().startswith(str(tmp_path / "tmp"))
    assert made(32 << 20).startswith(str(tmp_path / "shm"))  # that fits
    assert made(65 << 20).startswith(str(tmp_path / "tmp"))


def test_its_size_is_a_share_of_memory_and_at_most_half_of_what_is_free(made, monkeypatch):
    class Figures:
        def total(self):
            return 10 << 30

    monkeypatch.setattr(module, "MemoryFigures", Figures)
    free(monkeypatch, shm=20 << 30)
    assert capacity_of(made()) == int(0.3 * (10 << 30))
    free(monkeypatch, shm=1 << 30)
    assert capacity_of(made()) == 1 << 29
    assert capacity_of(made(12345)) == 12345


def test_furnishing_again_changes_nothing(tmp_path):
    directory = str(tmp_path / "store")
    furnish(directory, capacity=100)
    furnish(directory, capacity=200)
    assert capacity_of(directory) == 100


def test_removing_takes_the_spilled_objects_along(made, tmp_path):
    directory = made(1000)
    store = Store(directory)
    put(store, 1)
    assert objects(directory) == [] and len(spilled(directory)) == 1
    store.close()
    remove_store(directory)
    remove_store(directory)
    assert not os.path.exists(directory) and not (tmp_path / "spill").exists()
