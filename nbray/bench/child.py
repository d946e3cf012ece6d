"""The measuring side, run as a file by the peer's interpreter: ``python -P child.py JOB``, JOB being JSON.

    {"peer": "ray", "cpus": 2, "seconds": 1.0, "cases": ["tasks_sync", ...]}

Reports are lines that start with `MARK`, the rest of the line is JSON: first the peer's version, then for each case that it
begins and how it ended ("rate", "error" or "absent"), last that all is done. Any other line is somebody's noise.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import json
import platform
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

MARK = "@nbray-bench "


def report(**fields: Any) -> None:
    """One write, on a line of its own whatever others have written meanwhile."""
    print(f"\n{MARK}{json.dumps(fields)}", flush=True)


def load() -> tuple[Any, Any, Any]:
    """The modules cases, measure and peers, in an interpreter that need not have nbray.

    They go under a name of their own. What the peers pickle moves to ``__main__``: no other process could import it.
    """
    here = Path(__file__).parent
    spec = importlib.util.spec_from_file_location(
        "nbray_bench", here / "__init__.py", submodule_search_locations=[str(here)]
    )
    assert spec is not None and spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    sys.modules["nbray_bench"] = package
    spec.loader.exec_module(package)
    cases, measure, peers = (
        importlib.import_module(f"nbray_bench.{name}") for name in ("cases", "measure", "peers")
    )
    for work in cases.WORK:
        for part in (work, *filter(callable, vars(work).values())):  # a class and its methods
            part.__module__ = "__main__"
        setattr(sys.modules["__main__"], work.__name__, work)
    return cases, measure, peers


def version_of(module: str) -> str:
    """The distribution's version, Python's own for what comes with it."""
    try:
        return importlib.metadata.version(module)
    except importlib.metadata.PackageNotFoundError:
        return platform.python_version()


def main(job: dict[str, Any]) -> None:
    cases, measure, peers = load()
    peer = peers.PEERS[job["peer"]]
    api = peer.start(job["cpus"])
    report(version=version_of(peer.module), python=platform.python_version())
    for name in job["cases"]:
        report(begins=name)
        case = cases.CASES[name]
        try:
            with closing(peer.native.get(name, case.prepare)(api)) as prepared:
                rate = measure.steps_per_second(next(prepared), job["seconds"]) * case.amount
        except peers.NotApplicable as reason:
            report(ends=name, absent=str(reason))
        except Exception as error:
            report(ends=name, error=f"{type(error).__name__}: {error}"[:1000])
        else:
            report(ends=name, rate=rate)
    api.shutdown()
    report(done=True)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
