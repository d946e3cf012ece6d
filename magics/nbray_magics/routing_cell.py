"""What a notebook shows of the output that belongs to one of its cells. Pure: outputs in, Jupyter messages out.

The first lines come as they would from the cell itself, as streams, each with its process. What is more is folded: a block with a
part for each worker, renewed while it grows, closed when it is large and followed by another. So no line is lost or sent
often, and however many there are, the browser lays out their summaries only.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

from nbray import output
from nbray.output import DISPLAY, Output
from nbray_magics import routing_html
from nbray_magics.routing_html import Line

#: Lines and characters of a cell that are not folded.
PLAIN_LINES, PLAIN_CHARACTERS = 40, 10_000
#: Lines and characters of a block.
BLOCK_LINES, BLOCK_CHARACTERS = 2_000, 100_000
#: Seconds between two renewals of a block: at least, and for a character that it has.
RENEWAL, RENEWAL_CHARACTER = 0.5, 1 / 100_000
#: Of so many calls it is known what they have displayed.
_MOST_CALLS = 1_000

_STREAMS = {1: "stdout", 2: "stderr"}

#: Type and content of a Jupyter message.
Message = tuple[str, dict[str, Any]]


class Block:
    def __init__(self, first: bool) -> None:
        self.name = f"nbray-output-{uuid4().hex}"
        self.first = first
        self.lines: list[Line] = []
        self.characters = 0
        self.shown = False
        self.changed = False
        self.renewal = 0.0

    def add(self, line: Line) -> None:
        self.lines.append(line)
        self.characters += len(line.text)
        self.changed = True

    @property
    def full(self) -> bool:
        return len(self.lines) >= BLOCK_LINES or self.characters >= BLOCK_CHARACTERS

    def message(self) -> Message:
        data = {
            "text/html": routing_html.block(self.lines, self.first),
            "text/plain": "\n".join([f"{line.worker[2]} {line.text}" for line in self.lines]),
        }
        kind = "update_display_data" if self.shown else "display_data"
        self.shown, self.changed = True, False
        return kind, {"data": data, "metadata": {}, "transient": {"display_id": self.name}}


class Cell:
    """
    Attributes:
        messages: to be sent, in this order.
        due: when a block is to be renewed, on the clock of ``renew``; None if none is.
    """

    def __init__(self) -> None:
        self.messages: deque[Message] = deque()
        self._lines = self._characters = 0
        self._block: Block | None = None
        self._displayed: OrderedDict[str, list[str]] = OrderedDict()
        self._cleared: dict[str, list[str]] = {}

    def add(self, out: Output) -> None:
        if out.stream == DISPLAY:
            for each in output.displays(out.text):
                if "clear" in each:
                    self._cleared[out.task] = self._displayed.pop(out.task, [])
                else:
                    self._display(each, out.task)
            return
        lines = out.text.removesuffix("\n").split("\n")
        plain = []
        position = 0
        while position < len(lines) and self._block is None and self._lines < PLAIN_LINES:
            line = output.clean(lines[position])
            if self._characters + len(line) > PLAIN_CHARACTERS:
                break
            self._lines += 1
            self._characters += len(line)
            plain.append(f"{out.prefix} {line}\n")
            position += 1
        if plain:
            self._stream(_STREAMS[out.stream], "".join(plain))
        worker = (out.name, out.pid, out.prefix)
        for line in lines[position:]:
            if self._block is None:
                self._block = Block(first=not self._lines)
                self._lines = PLAIN_LINES  # and what follows is folded, too
            self._block.add(Line(worker, out.stream, output.clean(line)))
            if self._block.full:
                self._seal()

    def renew(self, now: float, whatever: bool = False) -> None:
        """Messages for what has changed and is due; ``whatever``: due or not."""
        block = self._block
        if block is not None and block.changed and (whatever or now >= block.renewal):
            self.messages.append(block.message())
            block.renewal = now + max(RENEWAL, block.characters * RENEWAL_CHARACTER)

    @property
    def due(self) -> float | None:
        block = self._block
        return block.renewal if block is not None and block.changed else None

    def _seal(self) -> None:
        block, self._block = self._block, None
        if block is not None and block.changed:
            self.messages.append(block.message())

    def _stream(self, name: str, text: str) -> None:
        if self.messages:
            kind, content = self.messages[-1]
            if (
                kind == "stream" and content["name"] == name and len(self.messages) > 1
            ):  # the first may be on its way
                content["text"] += text
                return
        self.messages.append(("stream", {"name": name, "text": text}))

    def _display(self, each: dict[str, Any], task: str) -> None:
        self._seal()
        kind, name = ("update_display_data" if each["update"] else "display_data"), each["id"]
        if kind == "display_data" and not name:
            place = self._cleared.get(task)
            if place:
                kind, name = "update_display_data", place.pop(0)
            else:
                name = uuid4().hex
            shown = self._displayed.setdefault(task, [])
            shown.append(name)
            if len(self._displayed) > _MOST_CALLS:
                gone, _ = self._displayed.popitem(last=False)
                self._cleared.pop(gone, None)
        content = {"data": each["data"], "metadata": each["metadata"], "transient": {"display_id": name}}
        self.messages.append((kind, content))


def drained(cell: Cell) -> Iterator[Message]:
    """The messages; each is gone from the cell once the next is asked for, so an interrupt loses none."""
    while cell.messages:
        yield cell.messages[0]
        cell.messages.popleft()
