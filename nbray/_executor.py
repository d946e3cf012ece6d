"""What a node's template imports and its forks run: the executor with the public API on top.

All that an executor needs is imported here, once a node: a fork then takes a millisecond instead of fifty.
"""

from __future__ import annotations

import asyncio  # noqa: F401 (async actors)
from typing import NoReturn

import nbray  # noqa: F401 (what user code imports first)
from nbray import _as_ray, _runtime
from nbray.executor import actor_host, main  # noqa: F401
from nbray.executor.boot import Boot


def run(boot: Boot) -> NoReturn:
    """Be an executor until the end of the process."""
    _as_ray.install()
    main.run(boot, _runtime.entry_type(), _runtime.become_executor)
