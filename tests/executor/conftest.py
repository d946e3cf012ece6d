from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from executor.support import NodeDirs


@pytest.fixture
def dirs() -> Iterator[NodeDirs]:
    """Not below ``tmp_path``: a Unix socket's path must be short. With our pid, so that a leak in it is nobody else's."""
    top = Path(tempfile.mkdtemp(prefix=f"nbray-{os.getpid()}-"))
    made = NodeDirs(top / "session", top / "store")
    (made.session / "log").mkdir(parents=True)
    made.store.mkdir()
    yield made
    shutil.rmtree(top)
