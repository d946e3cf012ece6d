"""Folded lines as HTML."""

from __future__ import annotations

import re

from nbray_magics.routing_html import MOST_WORKERS, Line, block, coloured


def line(text: str, pid: int = 1, stream: int = 1) -> Line:
    return Line(("f", pid, f"(f pid={pid})"), stream, text)


def plain(html: str) -> str:
    return re.sub(r"<[^>]*>", "", html)


def test_each_worker_is_a_part_that_says_how_much_and_what_came_last():
    html = block([line("a"), line("b", 2), line("c"), line("", 2), line("oh", 2, stream=2)], first=True)
    assert html.count("<details") == 2
    assert plain(html).startswith("5 lines from 2 workers (1 to stderr)f pid 1 · 2 lines · ca\nc\n")
    assert 'data-pid="2" data-lines' not in html
    assert re.findall(r'data-lines="(\d)" data-pid="(\d)"', html) == [("2", "1"), ("3", "2")]
    assert re.search(r'<span class="nbray-stderr"[^>]*>oh\n</span>', html)


def test_many_workers_are_one_part_a_name_whose_lines_say_the_process():
    html = block([line(str(pid), pid) for pid in range(MOST_WORKERS + 1)], first=False)
    assert html.count("<details") == 1
    assert f"{MOST_WORKERS + 1} more lines from {MOST_WORKERS + 1} workers" in html
    assert f"{MOST_WORKERS + 1} processes" in html
    assert "(f pid=7) 7\n" in html


def test_colours_are_those_of_jupyter_and_everything_is_escaped():
    assert coloured("a<b") == "a&lt;b"
    assert (
        coloured("\x1b[31mred\x1b[0m &") == '<span class="ansi-red-fg" style="color:#e75c58">red</span> &amp;'
    )
    assert coloured("\x1b[1;4mx\x1b[22my") == (
        '<span style="font-weight:bold;text-decoration:underline">x</span>'
        '<span style="text-decoration:underline">y</span>'
    )
    assert "rgb(1,2,3)" in coloured("\x1b[38;2;1;2;3mx")
    assert "background-color:rgb(95,0,0)" in coloured("\x1b[48;5;52mx")
    assert "ansi-blue-intense-fg" in coloured("\x1b[94mx\x1b[39m")
    assert coloured("\x1b[999;38mx") == "x"
    assert "color:var(--jp-layout-color0,white)" in coloured("\x1b[7mx")
