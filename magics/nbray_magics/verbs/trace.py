"""What ran when and where, as a file."""

from __future__ import annotations

import os

import nbray
from nbray_magics.grammar import Argument, Value, Verb
from nbray_magics.notebook import Notebook


def trace(notebook: Notebook, file: str) -> None:
    notebook.needs_pool()
    path = os.path.expanduser(file)
    nbray.timeline(path)
    size = os.path.getsize(path) / 1024
    print(f"nbray: wrote {path} ({size:,.0f} KiB); https://ui.perfetto.dev and chrome://tracing open it")


TRACE = Verb(
    "trace",
    "write what ran when and where, as a Chrome trace",
    trace,
    arguments=(Argument("file", "where to write it, for instance trace.json", Value("FILE"), required=True),),
)
