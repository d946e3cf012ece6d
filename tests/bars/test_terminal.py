"""Bars in a real terminal: programs on a pseudo-terminal, and what stands on it in the end."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from nbray.bars.model import Bar
from nbray.bars.terminal import Terminal

BEGIN = """
import os, time
import nbray as ray
from nbray.bars import waits
from nbray.owner import waiting
waiting.LONG = 0.3
ray.init(num_cpus=2)

@ray.remote
def load(seconds):
    time.sleep(seconds)
    return seconds
"""


class Screen:
    """What a terminal shows, as far as these programs use it."""

    _SEQUENCE = re.compile(r"\x1b\[([?0-9;]*)([A-Za-z])")

    def __init__(self) -> None:
        self.lines: list[list[str]] = [[]]
        self.row = self.column = 0

    def feed(self, text: str) -> None:
        at = 0
        while at < len(text):
            found = self._SEQUENCE.match(text, at)
            if found:
                self._obey(found[2], int(found[1]) if found[1].isdigit() else 1)
                at = found.end()
                continue
            self._put(text[at])
            at += 1

    def _obey(self, letter: str, number: int) -> None:
        if letter == "A":
            self.row = max(self.row - number, 0)
        elif letter == "K":
            self.lines[self.row] = []

    def _put(self, character: str) -> None:
        if character == "\r":
            self.column = 0
        elif character == "\n":
            self.row += 1
            if self.row == len(self.lines):
                self.lines.append([])
        else:
            line = self.lines[self.row]
            line += " " * (self.column + 1 - len(line))
            line[self.column] = character
            self.column += 1

    @property
    def text(self) -> str:
        return "\n".join("".join(line).rstrip() for line in self.lines).strip("\n")


def ctrl_c(terminal: int) -> None:
    os.write(terminal, b"\x03")


def run(
    program: str, when: str = "", then: Callable[[int], object] = ctrl_c, ends: int = 0, **environment: str
) -> tuple[str, str]:
    """Everything that was written, and what the screen shows at the end.

    Args:
        when, then: once that was written, that is called with the terminal's descriptor.
        ends: how the program is to end: its exit code, or minus a signal's number.
    """
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update({"TERM": "xterm-256color", "COLUMNS": "120", **environment})
        os.execv(sys.executable, [sys.executable, "-c", BEGIN + program])
    try:
        written = _read(terminal, when, then)
    finally:
        os.close(terminal)
        _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == ends, written
    screen = Screen()
    screen.feed(written)
    return written, screen.text


def _read(terminal: int, when: str, then: Callable[[int], object], limit: float = 60.0) -> str:
    written = b""
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        if not select.select([terminal], [], [], 0.5)[0]:
            continue
        try:
            data = os.read(terminal, 1 << 16)
        except OSError:  # the program has ended
            break
        if not data:
            break
        written += data
        if when and when.encode() in written:
            when = ""
            then(terminal)
    return written.decode()


def test_a_long_get_shows_a_bar_and_leaves_a_line() -> None:
    written, screen = run("ray.get([load.remote(0.2) for _ in range(6)]); print('done')")
    assert "%" in written  # a bar, as the line that is left has none
    assert re.fullmatch(r"load  6/6 · [\d.]+ s · [\d.]+/s\ndone", screen)


def test_a_short_get_shows_none() -> None:
    # On any machine shorter than what is long.
    written, _ = run("waiting.LONG = 60; ray.get([load.remote(0) for _ in range(6)]); print('done')")
    assert written.strip() == "done"


def test_what_tasks_print_stands_above_the_bar_and_whole() -> None:
    program = """
@ray.remote
def talk(n):
    time.sleep(0.2)
    print("line", n)
ray.get([talk.remote(n) for n in range(8)])
"""
    _, screen = run(program)
    lines = screen.splitlines()
    assert sorted(re.sub(r"pid=\d+", "pid", line) for line in lines[:-1]) == [
        f"(talk pid) line {n}" for n in range(8)
    ]
    assert lines[-1].startswith("talk  8/8 · ")


def test_ctrl_c_leaves_a_bar_that_says_interrupted() -> None:
    _, screen = run("ray.get([load.remote(30), load.remote(30)])", when="0/2", ends=-signal.SIGINT)
    assert re.search(r"^load  0/2 · interrupted · [\d.]+ s$", screen, re.MULTILINE)
    assert "KeyboardInterrupt" in screen
    assert "run on" not in screen, "with a program its tasks end"


def test_a_wait_in_which_nothing_happens_is_explained_once(tmp_path: Path) -> None:
    program = f"""
waits.STUCK = 0.5
runs, told = {str(tmp_path / "runs")!r}, {str(tmp_path / "told")!r}
@ray.remote
def load():
    open(runs, "x").close()
    while not os.path.exists(told):
        time.sleep(0.01)
    time.sleep(1.5)  # it could be told again
@ray.remote
def train():
    return ray.get(load.remote())
ref = train.remote()
while not os.path.exists(runs):
    time.sleep(0.01)
ray.get(ref)
"""
    _, screen = run(program, "running on pid", lambda _: (tmp_path / "told").touch())
    lines = screen.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("nbray: waiting, and nothing has come for")
    assert re.search(
        r"train \(on pid \d+, waits in get for \d+ s\) -> load \(running on pid \d+ for", lines[1]
    )


def test_bars_of_tasks_show_several_at_once_and_leave_their_last_lines() -> None:
    program = """
from nbray.util import tqdm
@ray.remote(max_retries=0)
def work(n, dies):
    for i in tqdm(range(n), desc="rows"):
        time.sleep(0.3)
        if dies and i == 2:
            os._exit(1)
refs = [work.remote(5, False), work.remote(6, True)]
ray.wait(refs, num_returns=2)
time.sleep(1.2)
"""
    _, screen = run(program)
    assert re.search(r"^work: rows \(pid \d+\)  5/5 · ", screen, re.MULTILINE)
    assert re.search(r"^work: rows \(pid \d+\)  [12]/6 · crashed · ", screen, re.MULTILINE)


def test_progress_shows_at_once() -> None:
    program = """
@ray.remote
def fail():
    raise ValueError
ray.progress([load.remote(0.1), fail.remote(), fail.remote()], desc="both\\x1b[31m")
"""
    written, screen = run(program)
    bar, *why = screen.splitlines()
    assert re.fullmatch(r"both\ufffd\[31m  3/3 · 2 failed · [\d.]+ s · [\d.]+/s", bar)
    assert [line for line in why if "ValueError" in line] == why[-2:-1], "both failed alike: it is told once"
    assert "\x1b[1;31m2 failed" in written  # red


def test_bars_can_be_turned_off() -> None:
    written, _ = run("ray.get([load.remote(0.4), load.remote(0.4)])", NBRAY_PROGRESS="0")
    assert written == ""


def test_the_cursor_is_there_again() -> None:
    written, _ = run("ray.get([load.remote(0.4), load.remote(0.4)])")
    assert written.rindex("\x1b[?25h") > written.rindex("\x1b[?25l")


def test_very_many_bars_are_counted_below_the_first() -> None:
    terminal = Terminal()
    console: Callable[[], Console] = lambda: Console(record=True, force_terminal=True, width=80)
    terminal._console = found = console()
    terminal._fresh = lambda: found
    rows = [terminal.open(Bar(f"bar {n}", n, 20), "") for n in range(20)]
    terminal.draw(True)
    told = found.export_text()
    for row in rows:
        row.close(None)
    assert "bar 11" in told
    assert "bar 12" not in told
    assert "... and 8 more bars" in told


def test_sigint_has_its_default_way_for_these_tests() -> None:
    assert signal.getsignal(signal.SIGINT) is not signal.SIG_IGN
