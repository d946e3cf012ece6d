"""What ran when and where, as a file."""

from __future__ import annotations

from pathlib import Path

import nbray
from nbray_magics.grammar import Argument, Value, Verb
from nbray_magics.notebook import Notebook
from nbray_magics.values import file_to_write


def trace(notebook: Notebook, file: Path) -> None:
    notebook.needs_pool()
    nbray.timeline(str(file))
    size = file.stat().st_size / 1024
    print(f"nbray: wrote {file} ({size:,.0f} KiB); https://ui.perfetto.dev and chrome://tracing open it")


TRACE = Verb(
    "trace",
    "write what ran when and where, as a Chrome trace",
    trace,
    arguments=(
        Argument(
            "file", "where to write it, for instance trace.json", Value("FILE", file_to_write), required=True
        ),
    ),
)
