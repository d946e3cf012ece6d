"""What ``ray.experimental.tqdm_ray`` has: ``nbray.util.tqdm``, and a ``print`` for code that shows bars."""

from __future__ import annotations

from typing import Any

from nbray.util.progress_bar import tqdm

__all__ = ["safe_print", "tqdm"]


def safe_print(*args: Any, **kwargs: Any) -> None:
    """``print``: what tasks and drivers print stands above the bars anyway."""
    print(*args, **kwargs)
