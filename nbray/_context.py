"""What ``init`` answers."""

from __future__ import annotations

import html
import platform
import weakref
from collections.abc import Iterator, Mapping
from typing import Any

from nbray import _runtime


class Context(Mapping[str, Any]):
    """A session, as ``init`` answers it. ``with init():`` ends the session with the block.

    Attributes:
        dashboard_url: "": there is none.
        python_version: of this process.
        address_info: ``{"node_id": ..., "namespace": ..., "address": ...}``; its items are the context's items too. The
            address is that of the scheduler that was attached to, "" for a pool of our own.
    """

    def __init__(self, runtime: _runtime.Runtime) -> None:
        self._runtime = weakref.ref(runtime)
        self.dashboard_url = ""
        self.python_version = platform.python_version()
        facts = runtime.context()
        pool = runtime.pool
        self.address_info: dict[str, Any] = {
            "node_id": facts["node_id"],
            "namespace": facts["namespace"],
            "address": pool.scheduler_address if pool is not None and not pool.own else "",
        }

    def __getitem__(self, name: str) -> Any:
        return self.address_info[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.address_info)

    def __len__(self) -> int:
        return len(self.address_info)

    # Two sessions are not equal because they are called the same.
    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def __enter__(self) -> Context:
        return self

    def __exit__(self, *_: object) -> None:
        self.disconnect()

    def disconnect(self) -> None:
        """End the session, unless it has ended and there is another by now."""
        runtime = self._runtime()
        if runtime is not None and runtime is _runtime.current_or_none():
            _runtime.shutdown()

    def _facts(self) -> dict[str, str]:
        runtime = self._runtime()
        if runtime is None or runtime is not _runtime.current_or_none():
            return {"state": "ended"}
        have = runtime.cluster_resources()
        facts = {"state": "running", "nodes": str(len(runtime.nodes())), "CPUs": f"{have.get('CPU', 0.0):g}"}
        if have.get("GPU"):
            facts["GPUs"] = f"{have['GPU']:g}"
        if have.get("memory"):
            facts["memory"] = f"{have['memory'] / 2**30:.1f} GiB"
        if have.get("object_store_memory"):
            facts["object store"] = f"{have['object_store_memory'] / 2**30:.1f} GiB"
        if self.address_info["address"]:
            facts["scheduler"] = self.address_info["address"]
        facts["namespace"] = self.address_info["namespace"]
        return facts

    def __repr__(self) -> str:
        told = (f"{name.replace(' ', '_')}={value}" for name, value in self._facts().items())
        return f"nbray.Context({', '.join(told)})"

    def _repr_html_(self) -> str:
        """For notebooks; no script, and the notebook's own theme."""
        rows = "".join(
            f"<tr><th style='text-align:left'>{html.escape(name)}</th>"
            f"<td style='text-align:left'>{html.escape(value)}</td></tr>"
            for name, value in self._facts().items()
        )
        return f"<div><strong>nbray</strong><table>{rows}</table></div>"
