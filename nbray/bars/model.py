"""What a bar shows, and how it reads as text and as HTML. Pure: the time comes in as a number."""

from __future__ import annotations

import html
from collections import deque
from typing import NamedTuple

#: How a bar ends. Until then it is RUNNING.
RUNNING, DONE, INTERRUPTED, FAILED, TIMED_OUT, CRASHED, ENDED, PAUSED = (
    "running", "done", "interrupted", "failed", "timed out", "crashed", "ended", "paused",
)  # fmt: skip

#: Seconds over which the rate is taken.
_WINDOW = 10.0
#: Characters of a name and of a line of a note; groups and running calls that are shown one by one.
_NAME, _NOTE, _ROWS = 60, 300, 12
_EIGHTHS = " ▏▎▍▌▋▊▉█"


class Group(NamedTuple):
    """The calls of one function among those that are waited for."""

    name: str
    total: int
    done: int
    failed: int


class Bar(NamedTuple):
    """
    Attributes:
        label: of what; user code's, so it may contain anything.
        done, total: of ``unit``; total None: nobody knows. failed: of the done ones.
        elapsed: seconds since it began. rate: done a second at the moment, None if that is not known yet.
        groups: by function, if there are several. running: what runs right now. detailed: both are shown line by line.
        note: why nothing happens.
        state: RUNNING, or how it ended.
        depth: bars that are inside others stand further right.
        bare: the label is all there is: a line that user code has begun.
    """

    label: str
    done: float
    total: float | None
    failed: int = 0
    unit: str = ""
    elapsed: float = 0.0
    rate: float | None = None
    groups: tuple[Group, ...] = ()
    running: tuple[str, ...] = ()
    note: tuple[str, ...] = ()
    state: str = RUNNING
    depth: int = 0
    detailed: bool = False
    bare: bool = False

    @property
    def share(self) -> float | None:
        """From 0 to 1; None if the total is not known."""
        return None if not self.total else min(max(self.done / self.total, 0.0), 1.0)

    @property
    def left(self) -> float | None:
        """Seconds until it is done, if it goes on like this."""
        if self.total is None or not self.rate or self.state != RUNNING or self.done >= self.total:
            return None
        return (self.total - self.done) / self.rate


class Pace:
    """How fast something goes at the moment."""

    def __init__(self, now: float, done: float = 0.0) -> None:
        self._seen: deque[tuple[float, float]] = deque(((now, done),))

    def rate(self, now: float, done: float) -> float | None:
        """Done a second, over the last seconds; None before there is anything to tell."""
        seen = self._seen
        if now - seen[-1][0] >= 0.05 or len(seen) == 1:
            seen.append((now, done))
        while len(seen) > 2 and now - seen[1][0] >= _WINDOW:
            seen.popleft()
        since, before = seen[0]
        if now - since <= 0 or done <= before:
            return None
        return (done - before) / (now - since)


class Part(NamedTuple):
    """A piece of a bar's line. ``kind``: "label", "bar", "count", "failed", "state" or "" (how fast, how long)."""

    text: str
    kind: str


def parts(bar: Bar, width: int = 24) -> list[Part]:
    """The pieces of the line, from left to right; between all but the first three there is a dot.

    Args:
        width: of the bar itself, in characters; 0: none.
    """
    if bar.bare:
        return [Part(plain(bar.label, _NOTE + _NAME), "")]
    found = [Part("  " * bar.depth + (plain(bar.label) or "working"), "label")]
    share = bar.share
    if bar.state == RUNNING and width and share is not None:
        found.append(Part(f"{int(share * 100):3d}% {blocks(share, width)}", "bar"))
    unit = f" {plain(bar.unit)}" if bar.unit else ""
    total = f"/{number(bar.total)}" if bar.total is not None else ""
    found.append(Part(f"{number(bar.done)}{total}{unit}", "count"))
    if bar.failed:
        found.append(Part(f"{bar.failed:,} failed", "failed"))
    if bar.state not in (RUNNING, DONE, PAUSED) and not (bar.state == FAILED and bar.failed):
        found.append(Part(bar.state, "state"))
    if bar.state == RUNNING:
        if bar.rate is not None:
            found.append(Part(speed(bar.rate, plain(bar.unit)), ""))
        if bar.left is not None:
            found.append(Part(f"{clock(bar.left)} left", ""))
        else:
            found.append(Part(clock(bar.elapsed), ""))
    else:
        found.append(Part(took(bar.elapsed), ""))
        if bar.state == DONE and bar.elapsed > 0 and bar.done > 1:
            found.append(Part(speed(bar.done / bar.elapsed, plain(bar.unit)), ""))
    return found


def line(bar: Bar, width: int = 24) -> str:
    """The bar as one line of text."""
    first, *others = parts(bar, width)
    if not others:
        return first.text
    texts = [part.text for part in others]
    bars = texts.pop(0) + " " if others[0].kind == "bar" else ""
    return f"{first.text}  {bars}{' · '.join(texts)}"


def text(bar: Bar) -> str:
    """The bar as text, for where there is no HTML."""
    return "\n".join([line(bar), *(f"  {plain(each, _NOTE)}" for each in [*detail(bar), *bar.note])])


def detail(bar: Bar) -> list[str]:
    """Lines below the bar: functions with their counts, and what runs."""
    lines: list[str] = []
    if not bar.detailed or bar.state != RUNNING:
        return lines
    if len(bar.groups) > 1:
        for group in bar.groups[:_ROWS]:
            failed = f", {group.failed:,} failed" if group.failed else ""
            lines.append(f"{plain(group.name)}: {group.done:,} of {group.total:,}{failed}")
        if len(bar.groups) > _ROWS:
            lines.append(f"and {len(bar.groups) - _ROWS} other functions")
    lines += [f"running: {plain(each)}" for each in bar.running[:_ROWS]]
    if len(bar.running) > _ROWS:
        lines.append(f"and {len(bar.running) - _ROWS} more are running")
    return lines


_RED = "var(--jp-error-color1, #c62828)"
_BLUE = {RUNNING: "var(--jp-brand-color1, #1976d2)", DONE: "var(--jp-success-color1, #388e3c)"}

_BEGUN = "margin:0;padding-left:8px;font-size:var(--jp-code-font-size, 13px);white-space:pre-wrap;overflow-wrap:anywhere"


def as_html(bar: Bar) -> str:
    """The bar for a notebook: no script, the notebook's own theme, readable where styles are stripped."""
    escape = html.escape
    if bar.bare:
        text = escape(parts(bar)[0].text)
        return f'<pre class="nbray-begun" style="{_BEGUN}">{text}</pre>' if text else ""
    first, *others = parts(bar, 0)
    cells = [
        f'<span style="color:{_RED}">{escape(part.text)}</span>'
        if part.kind in ("failed", "state")
        else f"<span>{escape(part.text)}</span>"
        for part in others
    ]
    track = ""
    share = bar.share
    if bar.state == RUNNING and share is not None:
        failed = bar.failed / bar.total if bar.total else 0.0
        track = (
            '<span role="progressbar" aria-valuemin="0" aria-valuemax="100" '
            f'aria-valuenow="{int(share * 100)}" style="display:inline-block;width:12em;max-width:40%;height:.6em;'
            "border-radius:.3em;overflow:hidden;vertical-align:middle;margin-right:.7em;"
            'background:var(--jp-border-color2, rgba(128,128,128,.3))">'
            f'<span style="display:inline-block;height:100%;vertical-align:top;width:{(share - failed) * 100:.1f}%;'
            f'background:{_BLUE[RUNNING]}"></span>'
            f'<span style="display:inline-block;height:100%;vertical-align:top;width:{failed * 100:.1f}%;'
            f'background:{_RED}"></span></span>'
        )
        track += f'<span style="min-width:3em;display:inline-block">{int(share * 100)}%</span>'
    label = (
        f'<span style="font-weight:600;margin-right:.7em;padding-left:{bar.depth}em">'
        f"{escape(first.text.strip())}</span>"
    )
    body = label + track + ' <span style="opacity:.5">·</span> '.join(cells)
    note = "".join(
        f'<div style="margin-left:1em;opacity:.8">{escape(plain(each, _NOTE))}</div>'
        for each in [*detail(bar), *bar.note]
    )
    return (
        f'<div class="nbray-progress" data-state="{escape(bar.state)}" data-done="{number(bar.done, "")}" '
        f'data-total="{"" if bar.total is None else number(bar.total, "")}" data-failed="{bar.failed}" '
        'style="font-size:var(--jp-code-font-size, 13px);line-height:1.5;font-variant-numeric:tabular-nums">'
        f"{body}{note}</div>"
    )


def blocks(share: float, width: int) -> str:
    """A bar of so many characters, in eighths of one."""
    eighths = int(share * width * 8)
    full, rest = divmod(eighths, 8)
    return ("█" * full + (_EIGHTHS[rest] if rest else "")).ljust(width)


def plain(text: str, longest: int = _NAME) -> str:
    """A name on one line, without control or direction characters, and not longer than that."""
    if len(text) > longest:
        text = text[: longest - 1] + "…"
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() else " " if c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text
    )


def number(value: float, comma: str = ",") -> str:
    """``12,000``; of what is no whole number three digits."""
    if value == int(value):
        return f"{int(value):{comma}}"
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:{comma}.0f}"


def speed(rate: float, unit: str = "") -> str:
    """``12.3/s``, or for what is slow ``4.2 s each``."""
    unit = f" {unit}" if unit else ""
    if rate < 0.2:
        return f"{took(1 / rate)} each"
    return f"{rate:,.0f}{unit}/s" if rate >= 100 else f"{rate:.3g}{unit}/s"


def clock(seconds: float) -> str:
    """``0:07``, ``1:02:03``."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"


def took(seconds: float) -> str:
    """``3.2 s``, ``4 min 10 s``."""
    if seconds < 59.95:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
