"""Sides in one process, stepped by the test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from channel.support import World


@pytest.fixture(params=["unix", "tcp"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path, request.param == "tcp")
    yield made
    made.close()


@pytest.fixture
def local(tmp_path: Path) -> Iterator[World]:
    """The same, over Unix sockets only."""
    made = World(tmp_path, False)
    yield made
    made.close()
