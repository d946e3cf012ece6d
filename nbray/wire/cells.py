"""Files that are cells of a notebook, called as IPython calls them."""

from __future__ import annotations

import re
import sys

_FRAME = re.compile(r'File "([^"\n]+)", line (\d+)')


def name_of(file: str) -> str | None:
    """``Cell In[3]``; None for other files, and where there is no IPython."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if shell is None:
        return None
    try:
        words = shell.compile.format_code_name(file)
    except Exception:  # an older IPython, a shell of somebody's own
        return None
    return None if words is None else " ".join(words)


def place(file: str, line: int) -> str:
    """``Cell In[3], line 5``, or ``file.py:5``."""
    cell = name_of(file)
    return f"{file}:{line}" if cell is None else f"{cell}, line {line}"


def in_cells(traceback: str) -> str:
    """``File "/tmp/ipykernel_7/12.py", line 3`` as ``Cell In[4], line 3``."""

    def renamed(match: re.Match[str]) -> str:
        cell = name_of(match[1])
        return match[0] if cell is None else f"{cell}, line {match[2]}"

    return _FRAME.sub(renamed, traceback)
