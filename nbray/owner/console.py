"""Where lines of tasks and actors come out: in the driver its terminal, in an executor the way up to its caller.

Nothing here is under the owner's lock: the streams may be user code, and a terminal may be stopped. While it is, nobody here
reads on, the sockets fill, and whoever prints much waits, as it would on a pipe.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Any, TextIO

logger = logging.getLogger("nbray.console")

#: Who printed: (name, notebook cell from which the call stems, task id or b"", process id).
Author = tuple[str, str, bytes, bytes]

#: (author, stream as in OUTPUT, text, pid, node id)
Output = tuple[Author, int, str, int, bytes]

#: Somebody of whom nothing is known.
NOBODY: Author = ("executor", "", b"", b"")

#: Control characters that a terminal would obey. Tabs and colours (SGR) stay.
_CONTROL = re.compile(r"(\x1b\[[0-9;:]*m)|[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]")


#: Of so many processes it is known how far their output has come.
_PROCESSES = 4096


class Console:
    """
    Args:
        node: of this process; lines from other nodes say which.

    Attributes:
        queue: what is not yet written; its first while it is being written.
        output: takes the fields of ``Output``; None: lines are dropped.
        before: called before lines are written, where something else may have to make room.
        heard: takes them as well, under the owner's lock, in the order of arrival.
    """

    def __init__(self, node: bytes) -> None:
        self.queue: deque[Output] = deque()
        self.output: Callable[[Author, int, str, int, bytes], None] | None = self.show
        self.before: Callable[[], None] = _nothing
        self.heard: Callable[[Author, int, str, int, bytes], None] | None = None
        self._node = node
        self._lock = threading.RLock()
        self._writing = False
        self._ends: OrderedDict[tuple[int, bytes, int], int] = OrderedDict()
        self._names: OrderedDict[tuple[int, bytes], str] = OrderedDict()
        self._gone: OrderedDict[tuple[int, bytes], Author] = OrderedDict()

    def add(self, who: Author, stream: int, text: str, pid: int, node: bytes, end: int = 0) -> None:
        """Under the owner's lock, in the order of arrival, before the result of the call that printed it is taken in."""
        if end:
            self._ends[pid, node, stream] = end
            self._names[pid, node] = who[0]
            for known in (self._ends, self._names):
                if len(known) > _PROCESSES:
                    known.popitem(last=False)
        if self.heard is not None:
            self.heard(who, stream, text, pid, node)
        if self.output is not None:
            self.queue.append((who, stream, text, pid, node))

    def gone(self, pid: int, node: bytes, author: Author) -> None:
        """A process has left; what it printed last is that author's."""
        self._gone[pid, node] = author
        if len(self._gone) > _PROCESSES:
            self._gone.popitem(last=False)

    def name_of(self, pid: int, node: bytes) -> str:
        """Under which name a process printed last; "" if it has not."""
        return self._names.get((pid, node), "")

    def last_of(self, pid: int, node: bytes) -> Author:
        return self._gone.get((pid, node), NOBODY)

    def add_rest(
        self,
        stream: int,
        start: int,
        missing: int,
        data: bytes,
        pid: int,
        node: bytes,
        author: Author = NOBODY,
    ) -> None:
        """What a process that was killed had not settled; the first of it may have come before it died."""
        come = max(self._ends.pop((pid, node, stream), 0) - start, 0)
        text = data[come:].decode("utf-8", "backslashreplace")
        if missing:
            text = f"... {missing} bytes that came too late for a dead process are left out\n{text}"
        if text:
            self.add(author, stream, text, pid, node)

    def write_out(self) -> None:
        """Everything that came is written when this returns, by whichever thread. No lock held."""
        with self._lock:
            if self._writing:  # called by what takes the lines
                return
            self._writing = True
            try:
                self.before()
                while self.queue:
                    try:
                        if self.output is not None:
                            self.output(*self.queue[0])
                    except (OSError, ValueError):  # a pipe that nobody reads any more, a closed stream
                        pass
                    except Exception:
                        logger.exception("a line of a task could not be shown")
                    finally:
                        self.queue.popleft()
            finally:
                self._writing = False

    def prefix(self, who: Author, pid: int, node: bytes) -> str:
        """What stands before each line of a process."""
        where = f", node={node.hex()[:8]}" if node and node != self._node else ""
        return f"({clean(who[0])} pid={pid}{where})"

    def show(self, who: Author, stream: int, text: str, pid: int, node: bytes) -> None:
        """To the terminal: a prefix a line; of a display its text."""
        out = sys.stderr if stream == 2 else sys.stdout
        if out is None:  # pythonw, a daemon
            return
        if stream == 3:
            shows = [each["data"].get("text/plain", "a display") for each in displays(text) if "data" in each]
            text = "".join([f"{show}\n" for show in shows])
            if not text:
                return
        prefix = self.prefix(who, pid, node)
        if _colours(out):
            prefix = f"\x1b[36m{prefix}\x1b[0m"
        lines = text.removesuffix("\n").split("\n")
        out.write("".join([f"{prefix} {shown(line)}\n" for line in lines]))
        out.flush()


def displays(text: str) -> list[dict[str, Any]]:
    """What ``executor/shown.py`` has put into lines. Those that cannot be read are left out."""
    found = []
    for line in text.split("\n"):
        try:
            each = json.loads(line)
        except ValueError:  # the half of one, by a process that died in the middle
            continue
        if isinstance(each, dict) and (isinstance(each.get("data"), dict) or "clear" in each):
            found.append(each)
    return found


def _nothing() -> None:
    """Nobody has to make room."""


def shown(line: str) -> str:
    """A line as a terminal may have it: of a progress bar that drew over itself its last state, control characters escaped."""
    line = line.rstrip("\r")
    if "\r" in line:
        line = line.rpartition("\r")[2]
    return clean(line)


def clean(text: str) -> str:
    """Control characters escaped, but for tabs and colours."""
    return text if text.isprintable() else _CONTROL.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    colour = found[1]
    return colour if colour is not None else found[0].encode("unicode_escape").decode()


def _colours(out: TextIO) -> bool:
    try:
        return out.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    except (AttributeError, ValueError):  # a stand-in, a closed stream
        return False
