"""Run a notebook without a browser and print its main results: ``python notebooks/run.py NOTEBOOK DIRECTORY``.

The main results are the outputs of the cells that carry the tag "result". The run notebook and its HTML go into DIRECTORY,
also when a cell fails: the error is then in them, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbconvert import HTMLExporter

CELL_SECONDS = 300
# The page must be readable without a network: nbconvert's own would load these scripts from elsewhere.
PAGE = "{% extends 'lab/index.html.j2' %}" + "".join(
    f"{{% block html_head_js_{script} %}}{{% endblock %}}" for script in ("requirejs", "mathjax", "mermaidjs")
)
_ANSI = re.compile(r"\x1b\[[0-9;]*m")


def text_of(output: dict[str, Any]) -> str:
    """What a terminal can show of one output, "" if nothing."""
    if output["output_type"] == "stream":
        text: str = output["text"]
    elif output["output_type"] == "error":
        text = "\n".join(output["traceback"])
    else:
        text = output["data"].get("text/plain", "")
    return _ANSI.sub("", text).strip("\n")


def results(notebook: nbformat.NotebookNode) -> list[str]:
    """The text of every cell tagged "result", in order."""
    tagged = [
        cell for cell in notebook.cells if "result" in cell.metadata.get("tags", ()) and "outputs" in cell
    ]
    texts = ["\n".join(filter(None, map(text_of, cell.outputs))) for cell in tagged]
    return [text for text in texts if text]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("notebook", type=Path)
    parser.add_argument("directory", type=Path)
    arguments = parser.parse_args()
    source: Path = arguments.notebook
    if not source.is_file():
        parser.error(f"there is no notebook {source}")
    arguments.directory.mkdir(parents=True, exist_ok=True)

    notebook = nbformat.read(source, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=CELL_SECONDS,
        kernel_name="python3",
        store_widget_state=False,  # live views leave a picture behind; widgets would need a script from elsewhere
        # At every start ipykernel warns that its loopback ports are not encrypted: as with any Jupyter, and no news here.
        extra_arguments=["--log-level=ERROR"],
        resources={"metadata": {"path": str(source.parent)}},
    )
    print(f"running {source} ...", flush=True)
    began = time.monotonic()
    error: CellExecutionError | None = None
    try:
        client.execute()
    except CellExecutionError as failure:
        error = failure
    took = time.monotonic() - began

    nbformat.write(notebook, arguments.directory / source.name)
    page = arguments.directory / f"{source.stem}.html"
    page.write_text(HTMLExporter(raw_template=PAGE).from_notebook_node(notebook)[0], encoding="utf-8")
    for text in results(notebook):
        print(f"\n{text}")
    if error is not None:
        print(
            f"\n{_ANSI.sub('', str(error))}\nA cell of {source} failed; what ran is in {page}",
            file=sys.stderr,
        )
        return 1
    print(f"\n{source} ran in {took:.1f} s; the whole of it: {page.resolve().as_uri()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
