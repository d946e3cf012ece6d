"""Stores of one process."""

from __future__ import annotations

import pytest

from nbray.store.directory import furnish
from nbray.store.store import Store


@pytest.fixture
def directory(tmp_path):
    return str(tmp_path)


@pytest.fixture
def store(directory):
    store = Store(directory)
    yield store
    store.close()


@pytest.fixture
def small(directory, tmp_path_factory):
    """A store of 250,000 bytes."""
    furnish(directory, str(tmp_path_factory.mktemp("disk")), 250_000)
    store = Store(directory)
    yield store
    store.close()
