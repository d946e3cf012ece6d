"""ipykernel 6.29, the oldest that nbray supports, in a directory of its own beside the newest in the environment."""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

VERSION = "6.29.5"
_PLACE = Path(__file__).parents[1] / "build" / f"ipykernel-{VERSION}"


@cache
def place() -> str:
    """Where it is, for ``PYTHONPATH``; installed at the first call. Skips the test if it cannot be had."""
    if not (_PLACE / "ipykernel").is_dir():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(_PLACE)]
        done = subprocess.run(
            [*command, f"ipykernel=={VERSION}"], capture_output=True, text=True, timeout=90, check=False
        )
        if done.returncode:
            pytest.skip(f"ipykernel {VERSION} cannot be installed: {done.stderr.strip().splitlines()[-1]}")
    return str(_PLACE)
