from __future__ import annotations

import re
from base64 import b64decode
from html.parser import HTMLParser
from itertools import combinations, pairwise
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from widgets_events import actor, finished, oid, ran, submitted

from nbray_widgets.picture import cluster, still, svg, words
from nbray_widgets.picture.layers import arranged, ranks
from nbray_widgets.reducers.task_graph import TaskGraphReducer
from nbray_widgets.text import plain

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


def picture(*raws, gone=False) -> tuple[str, TaskGraphReducer]:
    reducer = TaskGraphReducer()
    reducer.apply(raws)
    state = reducer.snapshot()
    details = {key: reducer.tasks(int(key)) for key in state["groups"]}
    return still.html(state, details, gone=gone), reducer


IMAGE = re.compile(r'src="data:image/svg\+xml;base64,([A-Za-z0-9+/=]+)"')
BOARD = oid(50)
CALL = submitted(1, "Board.add", kind="actor_method", actor=BOARD)


def drawn(html: str) -> str:
    (encoded,) = IMAGE.findall(html)
    return b64decode(encoded).decode()


def words_of(image: str) -> list[str]:
    texts = ElementTree.fromstring(image).iter("{http://www.w3.org/2000/svg}text")
    return ["".join(text.itertext()) for text in texts]


@pytest.mark.parametrize("name", EVIL)
def test_names_and_errors_are_text_whatever_they_contain(name):
    html, reducer = picture(
        submitted(0, name),
        finished(0, "failed", error=name),
        actor(BOARD, name, name=name),
        submitted(1, f"{name}.go", kind="actor_method", actor=BOARD),
    )
    seen = Seen(html)
    assert seen.tags <= {
        *("div", "p", "b", "img", "details", "summary", "ul", "li", "code"),
        *("table", "thead", "tbody", "tr", "th", "td"),
    }
    assert not {attribute for attribute in seen.attributes if attribute.startswith("on")}
    assert html.count("src=") - seen.text.count("src=") - sum(n.count("src=") for n in seen.names) == 1
    assert plain(name) in seen.names
    assert plain(name) in seen.text
    assert not any(ord(c) < 32 for c in words.text(reducer.snapshot()).replace("\n", ""))
    image = drawn(html)
    tags = {node.tag.rpartition("}")[2] for node in ElementTree.fromstring(image).iter()}
    assert tags <= {"svg", "style", "g", "rect", "path", "text", "tspan"}
    assert plain(name, 22) in words_of(image)


def test_the_still_picture_has_the_elements_of_the_live_one():
    html, _ = picture(*ran(0, "load"), submitted(1, "train", needs=[oid(0)]))
    assert 'class="nbray-graph' in html
    assert 'data-name="load" data-done="1" data-running="0" data-waiting="0" data-failed="0"' in html
    assert "<script" not in html


def test_the_picture_reads_well_where_styles_drawings_and_attributes_are_taken_out():
    html, _ = picture(*ran(0, "load"), submitted(1, "train", needs=[oid(0)]))
    assert "<svg" not in html and "<style" not in html
    assert 'alt="nbray task graph: 2 tasks: 1 done, 1 waiting' in html
    cells = re.findall(r"<t[dh](?: [^>]*)?>(.*?)</t[dh]>", html)
    assert cells[:6] == ["name", "✓ done", "○ waiting", "each took", "takes results of", "load"]
    assert cells[10:15] == ["train", "0", "1", "", "load"]


def test_the_image_needs_nothing_from_elsewhere_and_knows_the_dark():
    html, _ = picture(*ran(0, "load"), submitted(1, "train", needs=[oid(0)]))
    image = drawn(html)
    assert "http" not in image.replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert "url(" not in image and "var(" not in image and "href" not in image
    assert "@media(prefers-color-scheme:dark)" in image
    assert "http" not in IMAGE.sub("", html)


def test_an_ended_actor_has_no_queue():
    html, reducer = picture(actor(BOARD, "Board"), CALL)
    assert "actor Board: 1 alive, queue 1" in words.text(reducer.snapshot())
    assert {"Board", "queue 1"} <= set(words_of(drawn(html)))
    html, reducer = picture(actor(BOARD, "Board"), CALL, actor(BOARD, "Board", "dead"))
    assert words.text(reducer.snapshot()).endswith("actor Board: 1 dead")
    assert "Board (ended)" in words_of(drawn(html))
    assert "queue" not in html + drawn(html).partition("</style>")[2]


def test_no_actor_outlives_its_pool():
    html, reducer = picture(actor(BOARD, "Board"), CALL, gone=True)
    assert "alive" not in html
    assert "actor Board: 1 ended<" in html
    assert words.text(reducer.snapshot(), gone=True).endswith("actor Board: 1 ended")
    assert "Board (ended)" in words_of(drawn(html))


@pytest.mark.parametrize("many", [1, 3, 2_000])
def test_an_actors_name_leaves_room_for_what_stands_beside_it(many):
    keys = [oid(100 + n) for n in range(many)]
    calls = (submitted(n, f"{'B' * 30}.add", kind="actor_method", actor=key) for n, key in enumerate(keys))
    html, _ = picture(*(actor(key, "B" * 30) for key in keys), *calls)
    name = next(text for text in words_of(drawn(html)) if text.startswith("BB"))
    assert len(name) + len(f"queue {svg.short(many)}") <= svg.ACTOR_LABEL


def test_the_text_tells_counts_and_dependencies():
    _, reducer = picture(*ran(0, "load"), submitted(1, "train", needs=[oid(0)]))
    text = words.text(reducer.snapshot())
    assert "2 tasks: 1 done, 1 waiting" in text
    assert "train  ○ 1 waiting  ← load" in text


def test_nothing_yet_is_a_picture_too():
    html, reducer = picture()
    assert "no tasks yet" in html and "<img" not in html and "<table" not in html
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


def test_a_cycle_begins_where_something_leads_into_it():
    edges = [("smooth", "vote"), ("vote", "mix"), ("mix", "vote"), ("smooth", "paint"), ("mix", "paint")]
    for nodes in (("smooth", "vote", "mix", "paint"), ("mix", "paint", "vote", "smooth")):
        assert ranks(nodes, edges) == {"smooth": 0, "vote": 1, "mix": 2, "paint": 3}


@settings(deadline=None)
@given(graphs)
def test_without_a_cycle_every_arrow_points_to_the_right(graph):
    nodes, edges = graph
    edges = [(a, b) for a, b in edges if a in nodes and b in nodes and a < b]
    rank = ranks(nodes, edges)
    assert all(rank[a] < rank[b] for a, b in edges)


def test_an_arrow_back_runs_from_left_side_to_right_side_and_a_long_one_stays_within_the_picture():
    html, _ = picture(
        submitted(0, "smooth"),
        submitted(1, "vote", needs=[oid(0)]),
        submitted(2, "mix", needs=[oid(1)]),
        submitted(3, "vote", needs=[oid(2)]),
        submitted(4, "paint", needs=[oid(0), oid(2)]),
    )
    image = ElementTree.fromstring(drawn(html))
    starts_and_ends = []
    lowest = 0.0
    for arrow in image.iter("{http://www.w3.org/2000/svg}path"):
        if arrow.get("class") == "arrow":
            numbers = [float(n) for n in re.findall(r"-?[\d.]+", arrow.get("d", ""))]
            starts_and_ends.append((numbers[0], numbers[-2]))
            lowest = max(lowest, (numbers[1] + 3 * numbers[3] + 3 * numbers[5] + numbers[7]) / 8)
    width, height = float(image.get("width", 0)), float(image.get("height", 0))
    assert all(0 < x < width for ends in starts_and_ends for x in ends)
    assert [start > end for start, end in starts_and_ends].count(True) == 1  # from mix to vote
    assert 0 < lowest < height


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
    assert "<style" not in html and "class=" not in html.replace('class="nbray-cluster"', "")
    assert "<li>CPU: 1.5 of 2 in use</li><li>&lt;b&gt;: 1 of 1 in use</li>" in html
    assert "down" in cluster.text(status)
