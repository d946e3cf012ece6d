"""Programs written for Ray print on nbray what they print on Ray.

What they print on Ray 2.60 lies beside them (``PROGRAM.out``, without the lines of its logs). They run unchanged:
``python -m nbray.as_ray PROGRAM``.
"""

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAMS = sorted((Path(__file__).parent / "programs").glob("*.py"))


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.stem)
def test_it_prints_what_it_prints_on_ray(program):
    finished = subprocess.run(
        [sys.executable, "-m", "nbray.as_ray", str(program)],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert finished.stdout == program.with_suffix(".out").read_text(encoding="utf-8"), finished.stderr
    assert finished.returncode == 0
