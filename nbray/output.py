"""Where what tasks and actors print and display comes out.

In a terminal each line gets a prefix, ``(name pid=123)``. A notebook kernel says instead which cell runs, and takes the output:

    nbray.output.route(sink)            # sink(output) is called with each Output, in order, by any thread
    nbray.output.enter("cell-7")        # what is submitted from here on stems from that cell

``nbray_magics.routing`` does so for ipykernel: ``%load_ext nbray`` installs it, and ``nbray.init`` in a kernel.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from nbray import _runtime
from nbray.owner import console
from nbray.owner.origin import cause, follow, unfollow

if TYPE_CHECKING:
    from nbray.owner.console import Author

__all__ = ["DISPLAY", "Output", "clean", "displays", "enter", "route", "unroute"]

#: The stream of displays, beside 1 for stdout and 2 for stderr.
DISPLAY = 3


class Output(NamedTuple):
    """Whole lines of one task or actor.

    Attributes:
        origin: what ``enter`` was given where the call was submitted, or the call from which that stems; "" for none.
        task: id of the call that printed, "" if none did. name: of the function, or of the actor (its class's, or
            what its ``__repr__`` says).
        stream: 1, 2, or ``DISPLAY``; then ``displays`` reads the text.
        prefix: what a terminal shows before each line.
        process: id of the executor. pid: its pid. node: id of its node.
    """

    origin: str
    task: str
    name: str
    stream: int
    text: str
    prefix: str
    process: str
    pid: int
    node: str


def route(sink: Callable[[Output], None]) -> None:
    """Give output to ``sink``, in this session and in later ones. It must not wait long: results wait behind it.

    Threads that are started from here on submit for the cell for which their starter does.

    Example:
        >>> lines = []
        >>> nbray.output.route(lambda output: lines.append(output.text))
    """

    def take(prefix: str, who: Author, stream: int, text: str, pid: int, node: bytes) -> None:
        name, origin, task, process = who
        sink(Output(origin, task.hex(), name, stream, text, prefix, process.hex(), pid, node.hex()))

    follow(cause)
    _runtime.route(take)


def unroute() -> None:
    """Output goes to the terminal again."""
    _runtime.route(None)
    unfollow(cause)
    cause.set((b"", ""))


def enter(origin: str) -> None:
    """What this thread, or asyncio task, submits from here on stems from that cell: ``origin``, an opaque id."""
    cause.set((b"", origin))


def displays(text: str) -> list[dict[str, Any]]:
    """The displays in the text of an output: each has ``data`` and ``metadata`` by MIME type, ``id`` (a display id or "") and
    ``update`` (whether it replaces that), or ``clear`` alone: what the call has displayed so far goes."""
    return console.displays(text)


def clean(line: str) -> str:
    """A line as a reader may have it: of a progress bar that drew over itself its last state, control characters escaped but for
    tabs and colours."""
    return console.shown(line)
