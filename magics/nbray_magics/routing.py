"""Output of tasks and actors under the cell that submitted them, in an ipykernel of the 6 or 7 series.

The header of the request that runs a cell is kept when the cell begins; the cell's name travels with each call
(``nbray.output``), and what comes back with that name is published under the header, whichever cell runs by then and on
whichever thread. Front ends go on listening for a cell that has ended. Nothing here uses the kernel's own "current parent", which
belongs to what runs now.
"""

from __future__ import annotations

import io
import logging
import sys
import threading
from collections import OrderedDict
from time import monotonic
from typing import Any
from uuid import uuid4

from IPython.core.displaypub import CapturingDisplayPublisher
from IPython.core.getipython import get_ipython

from nbray import output
from nbray.bars import notebook
from nbray.output import Output
from nbray_magics import frames
from nbray_magics.routing_cell import Cell, drained

logger = logging.getLogger("nbray.routing")

#: Cells whose headers are kept.
MOST_CELLS = 10_000
#: Messages a second, of 1,000 at which jupyter_server begins to throw away.
RATE = 300.0

_router: Router | None = None


def install() -> None:
    """Route what this kernel's tasks print. Idempotent, and without effect outside of a kernel."""
    global _router
    shell = get_ipython()
    kernel = getattr(shell, "kernel", None)
    if _router is None and kernel is not None and hasattr(kernel, "iopub_socket"):
        _router = Router(shell, kernel)
        frames.hide(shell)


def uninstall() -> None:
    """Output goes to the terminal again, which in a kernel is the cell that runs. Idempotent."""
    global _router
    router, _router = _router, None
    if router is not None:
        router.close()
        frames.show(router.shell)


class _Published(Cell):
    """A cell and the header under which its output is published."""

    def __init__(self, header: dict[str, Any]) -> None:
        super().__init__()
        self.header = header


class Router:
    """
    Args:
        shell: IPython's, whose events say when a cell begins and ends. kernel: ipykernel's, which publishes.
    """

    def __init__(self, shell: Any, kernel: Any) -> None:
        self.shell, self._kernel = shell, kernel
        self._session = uuid4().hex[:8]
        self._cells: OrderedDict[str, _Published] = OrderedDict()
        self._names: dict[str, str] = {}
        self._begun = 0
        self._running = ""
        self._lock = threading.RLock()
        self._wake = threading.Condition(self._lock)
        self._pending: dict[_Published, None] = {}
        self._thread: threading.Thread | None = None
        self._credit, self._credited = RATE, monotonic()
        shell.events.register("pre_execute", self.began)
        shell.events.register("post_execute", self.ended)
        self.began()  # the cell that installs this runs already
        output.route(self.take)
        notebook.publish_under = self.display

    def close(self) -> None:
        output.unroute()
        notebook.publish_under = notebook.to_the_cell_that_runs
        for event, callback in (("pre_execute", self.began), ("post_execute", self.ended)):
            try:
                self.shell.events.unregister(event, callback)
            except ValueError:  # somebody has reset them
                pass
        self._publish(whatever=True)

    # -- cells -----------------------------------------------------------------------------------------------------

    def began(self) -> None:
        """A cell begins: what it submits is its own."""
        header = (self._kernel.get_parent() or {}).get("header") or {}
        request = header.get("msg_id")
        if request is None:
            return
        with self._lock:
            name = self._names.get(request)
            if name is None:
                self._begun += 1
                name = self._names[request] = f"{self._session}.{self._begun}"
                self._cells[name] = _Published(dict(header))
                if len(self._cells) > MOST_CELLS:
                    _, gone = self._cells.popitem(last=False)
                    self._names.pop(gone.header["msg_id"], None)
        self._running = name
        output.enter(name)

    def ended(self) -> None:
        """A cell ends: what has come for it is published now, so that it is in the notebook that an executor saves."""
        self._running = ""
        try:
            with self._lock:
                while self._pending:
                    self._publish(whatever=True)
                    if self._pending:
                        self._wake.wait(0.05)
        except KeyboardInterrupt:
            self._start()  # the prompt is wanted back; the rest comes on its own

    def display(self, origin: str, data: dict[str, Any], display_id: str, update: bool) -> bool:
        """A display under a cell, or its new state; False if that cell is not known (any more). Any thread."""
        with self._lock:
            cell = self._cells.get(origin)
        if cell is None:
            return False
        if not update:
            _flush()
        content = {"data": data, "metadata": {}, "transient": {"display_id": display_id}}
        self._send("update_display_data" if update else "display_data", content, cell.header)
        return True

    # -- output ----------------------------------------------------------------------------------------------------

    def take(self, out: Output) -> None:
        """The sink. Any thread."""
        if self._captured(out):
            return
        with self._lock:
            cell = self._cells.get(out.origin)
            if cell is None:  # it stems from no cell: the latest is the best place that there is
                if not self._cells:
                    return
                cell = next(reversed(self._cells.values()))
            cell.add(out)
            self._pending[cell] = None
        self._publish()

    def _captured(self, out: Output) -> bool:
        """Gives it to ``%%capture`` where that is around the cell that runs; False: to the front end, please."""
        if out.origin != self._running:
            return False
        if out.stream != output.DISPLAY:
            stream = sys.stdout if out.stream == 1 else sys.stderr
            if not isinstance(stream, io.StringIO):
                return False
            lines = out.text.removesuffix("\n").split("\n")
            stream.write("".join([f"{out.prefix} {output.clean(line)}\n" for line in lines]))
            return True
        publisher = self.shell.display_pub
        if not isinstance(publisher, CapturingDisplayPublisher):
            return False
        publish: Any = publisher.publish  # IPython's has no types
        for each in output.displays(out.text):
            if "clear" not in each:
                transient = {"display_id": each["id"]} if each["id"] else {}
                publish(each["data"], each["metadata"], transient=transient, update=each["update"])
        return True

    def _publish(self, whatever: bool = False) -> None:
        """Publish what is due. ``whatever``: blocks that grow, too, due or not."""
        _flush()
        with self._lock:
            now = monotonic()
            self._credit = min(self._credit + (now - self._credited) * RATE, RATE)
            self._credited = now
            for cell in list(self._pending):
                cell.renew(now, whatever)
                if self._credit >= 1.0:
                    for kind, content in drained(cell):
                        self._send(kind, content, cell.header)
                        self._credit -= 1.0
                        if self._credit < 1.0:
                            cell.messages.popleft()
                            break
                if not cell.messages and cell.due is None:
                    del self._pending[cell]
            if self._pending:
                self._start()

    def _send(self, kind: str, content: dict[str, Any], header: dict[str, Any]) -> None:
        kernel = self._kernel
        topic = f"stream.{content['name']}" if kind == "stream" else kind
        try:
            kernel.session.send(kernel.iopub_socket, kind, content, parent=header, ident=topic.encode())
        except Exception:  # the kernel ends, or a display holds what JSON has no form for
            logger.debug("output of a task could not be published", exc_info=True)

    # -- what is due later ---------------------------------------------------------------------------------------------

    def _start(self) -> None:
        """A thread as long as something waits to be published."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._later, name="nbray-output", daemon=True)
                self._thread.start()
            else:
                self._wake.notify_all()

    def _later(self) -> None:
        while True:
            with self._lock:
                if not self._pending:
                    self._thread = None
                    return
                now = monotonic()
                due = min(now + 0.05 if cell.messages else cell.due or now for cell in self._pending)
                if due > now:
                    self._wake.wait(due - now)
            self._publish()


def _flush() -> None:
    """What the cell has printed before stands before."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:  # a stand-in of the user's
            pass
