from __future__ import annotations

from html.parser import HTMLParser
from itertools import combinations, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from widgets_events import actor, finished, oid, ran, submitted

from nbray_widgets.picture import cluster, svg, words
from nbray_widgets.picture.layers import arranged, ranks
from nbray_widgets.reducers.task_graph import TaskGraphReducer

EVIL = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</title></svg><script>",
    "<lambda>",
    "a\x00b\x1b[31m\u202e",
    "&lt;b&gt;",
]


class Seen(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.names: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.names += [value for name, value in attrs if name == "data-name"]

    def handle_data(self, data):
        self.text += data


def picture(*raws) -> tuple[str, TaskGraphReducer]:
    reducer = TaskGraphReducer()
    reducer.apply(raws)
    state = reducer.snapshot()
    return svg.html(state, {key: reducer.tasks(int(key)) for key in state["groups"]}), reducer


@pytest.mark.parametrize("name", EVIL)
def test_names_and_errors_are_text_whatever_they_contain(name):
    key = oid(50)
    html, reducer = picture(
        submitted(0, name),
        finished(0, "failed", error=name),
        actor(key, name, name=name),
        submitted(1, f"{name}.go", kind="actor_method", actor=key),
    )
    seen = Seen(html)
    allowed = {
        "div",
        "style",
        "b",
        "span",
        "i",
        "svg",
        "g",
        "title",
        "rect",
        "text",
        "tspan",
        "path",
        "details",
    }
    allowed |= {"summary", "table", "thead", "tbody", "tr", "th", "td", "code", "p"}
    assert seen.tags <= allowed
    assert not {
        attribute for attribute in seen.attributes if attribute.startswith("on") or attribute == "src"
    }
    assert svg.plain(name) in seen.names
    assert not any(ord(c) < 32 for c in words.text(reducer.snapshot()).replace("\n", ""))


def test_the_still_picture_has_the_elements_of_the_live_one():
    html, _ = picture(*ran(0, "load"), submitted(1, "train", needs=[oid(0)]))
    assert 'class="nbray-view nbray-graph' in html
    assert 'data-name="load" data-done="1" data-running="0" data-waiting="0" data-failed="0"' in html
    assert "<script" not in html
    assert "http" not in html


def test_the_text_tells_counts_and_dependencies():
    _, reducer = picture(*ran(0, "load"), submitted(1, "train", needs=[oid(0)]))
    text = words.text(reducer.snapshot())
    assert "2 tasks: 1 done, 1 waiting" in text
    assert "train  ○ 1 waiting  ← load" in text


def test_nothing_yet_is_a_picture_too():
    html, reducer = picture()
    assert "No tasks yet" in html
    assert words.text(reducer.snapshot()) == "nbray task graph: no tasks yet"


names = st.sampled_from("abcdefgh")
graphs = st.tuples(st.sets(names, min_size=1), st.lists(st.tuples(names, names), max_size=15))


@settings(deadline=None)
@given(graphs)
def test_boxes_never_overlap_and_cycles_end(graph):
    nodes, edges = graph
    edges = [(a, b) for a, b in edges if a in nodes and b in nodes]
    boxes = arranged({node: (216, 66 if node < "d" else 140) for node in nodes}, edges)
    assert boxes.keys() == nodes
    for a, b in combinations(boxes.values(), 2):
        apart = a.x + a.width <= b.x or b.x + b.width <= a.x or a.y + a.height <= b.y or b.y + b.height <= a.y
        assert apart


@settings(deadline=None)
@given(graphs)
def test_without_a_cycle_every_arrow_points_to_the_right(graph):
    nodes, edges = graph
    edges = [(a, b) for a, b in edges if a in nodes and b in nodes and a < b]
    rank = ranks(nodes, edges)
    assert all(rank[a] < rank[b] for a, b in edges)


def test_a_long_chain_has_no_recursion():
    chain = [str(n) for n in range(5_000)]
    assert max(ranks(chain[::-1], pairwise(chain)).values()) == 4_999


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (999, "999"),
        (1_000, "1k"),
        (12_345, "12.3k"),
        (99_960, "100k"),
        (1_234_567, "1.2M"),
        (2e9, "2G"),
    ],
)
def test_large_counts_stay_short(number, text):
    assert svg.short(int(number)) == text


def test_the_status_names_nodes_cpus_tasks_and_actors():
    status = cluster.status(
        [
            {"NodeID": "ab" * 8, "Alive": True, "Resources": {"CPU": 2.0, "<b>": 1.0}},
            {"NodeID": "cd" * 8, "Alive": False, "Resources": {}},
        ],
        {"CPU": 2.0, "<b>": 1.0},
        {"CPU": 0.5},
        [*ran(0), actor(oid(5), "Board")],
    )
    assert cluster.line(status) == "1.5 of 2 CPUs in use on 1 node; tasks: 1 done; actors: 1 alive"
    html = cluster.html(status)
    assert 'data-nodes="1" data-cpus="2"' in html
    assert "<b>:" not in html and "<b> 1" not in html
    assert "down" in cluster.text(status)
