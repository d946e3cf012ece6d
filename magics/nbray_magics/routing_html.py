"""Lines of workers as HTML: escaped, with their colours, a block a worker that opens and closes without a script."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape
from typing import NamedTuple

#: More workers than this are one block a name, with the process before each line.
MOST_WORKERS = 24

_SGR = re.compile(r"\x1b\[([0-9;:]*)m")
_NAMES = ("black", "red", "green", "yellow", "blue", "magenta", "cyan", "white")
# As Jupyter draws them, whose own rules are for its own streams. Normal, then intense.
_COLOURS = (
    "#3e424d", "#e75c58", "#00a250", "#ddb62b", "#208ffb", "#d160c4", "#60c6c8", "#c5c1b4",
    "#282c36", "#b22b31", "#007427", "#b27d12", "#0065ca", "#a03196", "#258f8f", "#a1a6b2",
)  # fmt: skip
_MANNERS = {1: "bold", 3: "italic", 4: "underline", 7: "inverse"}
_STYLES = {
    "bold": "font-weight:bold",
    "italic": "font-style:italic",
    "underline": "text-decoration:underline",
}
_PRE = (
    "margin:0;font-size:var(--jp-code-font-size,13px);line-height:1.3;"
    "max-height:24em;overflow:auto;white-space:pre-wrap;overflow-wrap:anywhere"
)
_SUMMARY = "cursor:pointer;white-space:nowrap;overflow:hidden;text-overflow:ellipsis"
_ERROR = "display:block;background:var(--jp-rendermime-error-background,rgba(255,90,90,.18))"
_PREVIEW = 160


class Line(NamedTuple):
    """``stream`` is 1 or 2; ``worker`` is (name, pid, prefix)."""

    worker: tuple[str, int, str]
    stream: int
    text: str


def block(lines: Sequence[Line], first: bool) -> str:
    """All those lines, folded. ``first``: the cell has none before them."""
    workers = list(dict.fromkeys(line.worker for line in lines))
    by_name = len(workers) > MOST_WORKERS
    parts: dict[tuple[str, ...], list[Line]] = {}
    for line in lines:
        name, pid, _ = line.worker
        parts.setdefault((name,) if by_name else (name, str(pid)), []).append(line)
    errors = sum(line.stream == 2 for line in lines)
    head = [counted(len(lines), "line" if first else "more line"), f"from {counted(len(workers), 'worker')}"]
    if errors:
        head.append(f"({errors:,} to stderr)")
    return (
        f'<div class="nbray-output" data-lines="{len(lines)}" data-workers="{len(workers)}">'
        f'<div style="opacity:.75">{" ".join(head)}</div>'
        + "".join([_part(key, part) for key, part in parts.items()])
        + "</div>"
    )


def counted(n: int, what: str) -> str:
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def _part(key: tuple[str, ...], lines: Sequence[Line]) -> str:
    name, *pid = key
    whose = f" pid {pid[0]}" if pid else f" {counted(len({line.worker for line in lines}), 'process')}"
    whose = whose.replace("processs", "processes")
    last = _SGR.sub("", next((line.text for line in reversed(lines) if line.text.strip()), ""))[:_PREVIEW]
    data = f'data-name="{escape(name)}" data-lines="{len(lines)}"'
    if pid:
        data += f' data-pid="{pid[0]}"'
    return (
        f'<details class="nbray-worker" {data}><summary style="{_SUMMARY}"><b>{escape(name)}</b>{whose} · '
        f'{counted(len(lines), "line")} · <code style="opacity:.75">{escape(last)}</code></summary>'
        f'<pre style="{_PRE}">{_runs(lines, prefixed=not pid)}</pre></details>'
    )


def _runs(lines: Iterable[Line], prefixed: bool) -> str:
    """Lines that follow each other on the same stream together: colours go on over the end of a line."""
    runs: list[tuple[int, list[str]]] = []
    for line in lines:
        text = f"{line.worker[2]} {line.text}" if prefixed else line.text
        if runs and runs[-1][0] == line.stream:
            runs[-1][1].append(text)
        else:
            runs.append((line.stream, [text]))
    found = []
    for stream, texts in runs:
        html = coloured("\n".join(texts))
        found.append(
            f'<span class="nbray-stderr" style="{_ERROR}">{html}\n</span>' if stream == 2 else f"{html}\n"
        )
    return "".join(found)


def coloured(text: str) -> str:
    """Escaped text whose ANSI colours are spans, with the classes that Jupyter's own have."""
    pen = _Pen()
    found = []
    end = 0
    for sgr in _SGR.finditer(text):
        found.append(pen.draw(text[end : sgr.start()]))
        pen.obey([int(each) if each.isdigit() else 0 for each in re.split("[;:]", sgr[1])])
        end = sgr.end()
    found.append(pen.draw(text[end:]))
    return "".join(found)


class _Pen:
    def __init__(self) -> None:
        self._colours: dict[str, int | tuple[int, ...]] = {}
        self._manner: set[str] = set()

    def draw(self, text: str) -> str:
        if not text:
            return ""
        if not self._colours and not self._manner:
            return escape(text)
        classes, styles = [], []
        front, back = self._colours.get("fg"), self._colours.get("bg")
        if "inverse" in self._manner:
            front, back = back, front
            if front is None:
                styles.append("color:var(--jp-layout-color0,white)")
            if back is None:
                styles.append("background-color:var(--jp-content-font-color1,black)")
        for what, style, colour in (("fg", "color", front), ("bg", "background-color", back)):
            if isinstance(colour, int):
                classes.append(f"ansi-{_NAMES[colour % 8]}{'-intense' if colour > 7 else ''}-{what}")
                styles.append(f"{style}:{_COLOURS[colour]}")
            elif colour is not None:
                styles.append(f"{style}:rgb({','.join(map(str, colour))})")
        styles += [style for manner, style in _STYLES.items() if manner in self._manner]
        attributes = f' class="{" ".join(classes)}"' if classes else ""
        if styles:
            attributes += f' style="{";".join(styles)}"'
        return f"<span{attributes}>{escape(text)}</span>"

    def obey(self, codes: list[int]) -> None:
        while codes:
            code = codes.pop(0)
            if code == 0:
                self._colours.clear()
                self._manner.clear()
            elif code in _MANNERS:
                self._manner.add(_MANNERS[code])
            elif code in (21, 22, 23, 24, 27):
                self._manner.discard(_MANNERS[1 if code < 23 else code - 20])
            elif 30 <= code <= 37 or 40 <= code <= 47:
                self._colours["fg" if code < 40 else "bg"] = code % 10
            elif 90 <= code <= 97 or 100 <= code <= 107:
                self._colours["fg" if code < 100 else "bg"] = code % 10 + 8
            elif code in (39, 49):
                self._colours.pop("fg" if code == 39 else "bg", None)
            elif code in (38, 48):
                colour = _extended(codes)
                if colour is not None:
                    self._colours["fg" if code == 38 else "bg"] = colour


def _extended(codes: list[int]) -> int | tuple[int, ...] | None:
    """One of 256 colours, or red, green and blue; takes its numbers away."""
    kind = codes.pop(0) if codes else 0
    if kind == 2 and len(codes) >= 3:
        return tuple(min(codes.pop(0), 255) for _ in range(3))
    if kind == 5 and codes:
        number = min(codes.pop(0), 255)
        if number < 16:
            return number
        if number >= 232:
            return (8 + 10 * (number - 232),) * 3
        steps = (0, 95, 135, 175, 215, 255)
        number -= 16
        return (steps[number // 36], steps[number // 6 % 6], steps[number % 6])
    return None
