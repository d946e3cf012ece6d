"""What IPython calls for ``%load_ext`` and ``%unload_ext``. IPython itself is imported when it calls."""

from __future__ import annotations

from typing import Any


def load_ipython_extension(shell: Any) -> None:
    """``%load_ext nbray``. Again: nothing happens."""
    from nbray_magics.magics import load

    load(shell)


def unload_ipython_extension(shell: Any) -> None:
    """``%unload_ext nbray``: magics, completion and live views go. A pool goes on until ``nbray.shutdown``."""
    from nbray_magics.magics import unload

    unload(shell)
