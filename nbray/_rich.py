"""What notebooks show of refs and handles: a line of plain HTML, without a script and in the notebook's own theme."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable

_LONGEST = 300


def line(what: str, state: str, facts: Iterable[str] = ()) -> str:
    """``ObjectRef(...) ready · 8 MiB in shared memory · ...``. All of it is text, whatever it contains; "" is no fact."""
    told = "".join(f" · {html.escape(shown(fact))}" for fact in facts if fact)
    return f"<code>{html.escape(shown(what))}</code> <em>{html.escape(shown(state))}</em>{told}"


def shown(text: str) -> str:
    """On one line, without control characters, and not too long."""
    text = re.sub(r"\s+", " ", text.strip())
    text = text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
    return (
        text
        if text.isprintable()
        else "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    )


def size(count: float) -> str:
    """Bytes: ``950 B``, ``12.3 KiB``, ``1.5 GiB``."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.4g} {unit}"
        count /= 1024
    return f"{count:.4g} GiB"
