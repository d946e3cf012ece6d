"""Run tutorials and keep their outputs in them: ``python notebooks/save.py [NOTEBOOK ...]``, without names all of them.

What is saved is what one run printed and drew, without what is different in every run and says nothing: times of execution,
widgets whose model lives in a kernel that is gone, the kernel's temporary directory. The picture of the cell tagged "cover" goes
to docs/tutorials, for the index. A notebook in which a cell fails is left as it was.
"""

from __future__ import annotations

import argparse
import base64
import re
import sys
import time
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
COVERS = ROOT / "docs" / "tutorials"
CELL_SECONDS = 300
WIDGET = "application/vnd.jupyter.widget-view+json"
METADATA = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {"file_extension": ".py", "mimetype": "text/x-python", "name": "python"},
}
#: Files of cells are in a directory of the kernel's own, /tmp/ipykernel_4711/1234.py.
_CELL_FILE = re.compile(r"/[^\s\"'<>]*?/ipykernel_\d+/(\d+\.py)")
_STILL = re.compile(r'src="data:image/svg\+xml;base64,([^"]+)"')
_KEPT = ("tags", "jupyter")


def tidy(notebook: nbformat.NotebookNode) -> None:
    """Leave what a reader sees."""
    notebook.metadata = nbformat.from_dict(METADATA)
    for cell in notebook.cells:
        cell.metadata = nbformat.from_dict({k: v for k, v in cell.metadata.items() if k in _KEPT})
        if cell.cell_type == "code":
            cell.outputs = _joined([tidied for output in cell.outputs if _says(tidied := _tidied(output))])


def _nobodys(text: str) -> str:
    """The text without directories of this machine."""
    return _CELL_FILE.sub(r"<cell \1>", text).replace(f"{ROOT}/", "")


def _tidied(output: Any) -> Any:
    if output.output_type == "stream":
        output.text = _nobodys(output.text)
    elif output.output_type == "error":
        output.traceback = [_nobodys(line) for line in output.traceback]
        output.evalue = _nobodys(output.evalue)
    else:
        output.data.pop(WIDGET, None)
        output.metadata = nbformat.from_dict({})
    return output


def _says(output: Any) -> bool:
    """A view's place for its widget is empty without it; the picture beside it is an output of its own."""
    return "data" not in output or any(output.data.values())


def _joined(outputs: list[Any]) -> list[Any]:
    """Pieces of one stream that came one after the other are one; where a kernel cuts them is chance."""
    joined: list[Any] = []
    for output in outputs:
        last = joined[-1] if joined else None
        if (
            last is not None
            and output.output_type == "stream" == last.output_type
            and output.name == last.name
        ):
            last.text += output.text
        else:
            joined.append(output)
    return joined


def cover(notebook: nbformat.NotebookNode) -> tuple[str, bytes] | None:
    """The last picture of the cell tagged "cover", with the ending that its file should have."""
    for cell in notebook.cells:
        if "cover" not in cell.metadata.get("tags", ()):
            continue
        for output in reversed(cell.outputs):
            data = output.get("data", {})
            if "image/png" in data:
                return ".png", base64.b64decode(data["image/png"])
            still = _STILL.search(data.get("text/html", ""))
            if still:
                return ".svg", base64.b64decode(still[1])
    return None


def save(path: Path) -> str:
    """Run the notebook and write it back; answers what went wrong, "" if nothing."""
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=CELL_SECONDS,
        kernel_name="python3",
        store_widget_state=False,
        record_timing=False,
        extra_arguments=["--log-level=ERROR"],
        resources={"metadata": {"path": str(path.parent)}},
    )
    try:
        client.execute()
    except CellExecutionError as failure:
        return str(failure)
    tidy(notebook)
    nbformat.write(notebook, path)
    picture = cover(notebook)
    if picture is not None:
        COVERS.mkdir(parents=True, exist_ok=True)
        for old in COVERS.glob(f"{path.stem}.*"):
            old.unlink()
        (COVERS / f"{path.stem}{picture[0]}").write_bytes(picture[1])
    return ""


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("notebooks", type=Path, nargs="*", metavar="NOTEBOOK")
    paths = parser.parse_args().notebooks or sorted(HERE.glob("[0-9]*.ipynb"))
    failures = 0
    for path in paths:
        began = time.monotonic()
        failure = save(path)
        failures += bool(failure)
        print(f"{path.name}: {failure or f'{time.monotonic() - began:.1f} s'}", flush=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
