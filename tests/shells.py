"""An IPython in this process, without files, history or the user's settings."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config


@contextmanager
def shell(directory: Path) -> Iterator[InteractiveShell]:
    """``directory``: where IPython may make its profile."""
    config = Config()
    config.HistoryManager.enabled = False
    config.InteractiveShell.colors = "nocolor"
    try:
        yield InteractiveShell.instance(config=config, ipython_dir=str(directory))
    finally:
        InteractiveShell.clear_instance()
