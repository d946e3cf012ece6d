"""The tables and the cluster as views: stills, text, what they send and when they ask for figures."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
import shells
from widgets_events import (
    DRIVER,
    LANE,
    actor,
    dispatched,
    node,
    oid,
    printed,
    process_up,
    ran,
    sampled,
    stored,
    submitted,
)

from nbray.events import NODE_SAMPLED, Feed
from nbray_widgets import ActorTable, ClusterView, LogTable, ObjectTable, finish_all, tables
from nbray_widgets.reducers.delta import applied

KEY = oid(900)
EVIL = ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "a\x00b\x1b[31m\u202e", "&lt;b&gt;"]
VIEWS = {"actors": ActorTable, "objects": ObjectTable, "logs": LogTable, "cluster": ClusterView}


def filled(name="Board", text="hello"):
    feed = Feed()
    feed.extend(
        [
            node(host="127.0.0.1"),
            process_up(DRIVER, "driver"),
            process_up(LANE, "actor", 77),
            actor(KEY, name, name=name, reason=name),
            *ran(0, name),
            submitted(1, f"{name}.go", kind="actor_method", actor=KEY),
            dispatched(1),
            stored(oid(5), 3 << 20, by=name),
            stored(oid(6), 2 << 20, state="spilled", made="put", by=name),
            printed(f"{text}\n{name}\n", name),
            sampled(spilled=2 << 20),
        ]
    )
    return feed


class Seen(HTMLParser):
    def __init__(self, html):
        super().__init__()
        self.tags, self.attributes, self.text, self.root = set(), set(), "", {}
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.root = self.root or dict(attrs)
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data):
        self.text += data


@pytest.mark.parametrize("name", EVIL)
@pytest.mark.parametrize("kind", VIEWS.values())
def test_names_and_lines_are_text_in_a_still_whatever_they_contain(kind, name):
    view = kind(filled(name, name))
    html, text = view.html(view.read()), view.text(view.read())
    seen = Seen(html)
    assert seen.tags <= {"div", "p", "b", "table", "thead", "tbody", "tr", "th", "td", "pre", "span"}
    assert (
        not {attribute for attribute in seen.attributes if attribute.startswith("on")}
        | {"src", "href"} & seen.attributes
    )
    for shown in (seen.text, text):
        assert not any(ord(c) < 32 or c == "\u202e" for c in shown.replace("\n", ""))


@pytest.mark.parametrize(("name", "kind"), VIEWS.items())
def test_the_still_has_the_root_of_the_live_view_and_stays_when_the_pool_has_ended(name, kind):
    feed = filled()
    view = kind(feed)
    live = Seen(view.html(view.read()))
    feed.close()
    ended = Seen(view.html(view.read()))
    for seen in (live, ended):
        assert f"nbray-{name}" in seen.root["class"].split()
        if name == "cluster":
            assert (seen.root["data-nodes"], seen.root["data-cpus"]) == ("1", "2")
    assert ("ended" in ended.text) == (name in ("actors", "cluster"))


def test_texts_for_terminals_are_tables():
    def lines(kind):
        view = kind(filled())
        return [line.split() for line in view.text(view.read()).split("\n")]

    assert lines(ActorTable)[2][:8] == ["Board", "Board", "alive", "go", "1", "0", "1", "77"]
    assert [line[:6] for line in lines(ObjectTable)[2:]] == [
        ["3", "MiB", "result", "of", "Board", "in"],
        ["2", "MiB", "put", "by", "Board", "on"],
    ]
    assert [line[-1] for line in lines(LogTable)[1:]] == ["hello", "Board"]
    assert "1 of 2 CPUs in use on 1 node; tasks: 1 done, 1 running; actors: 1 alive" in " ".join(
        lines(ClusterView)[0]
    )
    assert " ".join(lines(ClusterView)[2][1:]).startswith(
        "127.0.0.1 up 1 of 2 1.5 4 GiB of 8 GiB 1 MiB of 2 GiB 2 MiB"
    )


@pytest.mark.parametrize("kind", VIEWS.values())
def test_nothing_yet_is_a_picture_too(kind):
    view = kind(Feed())
    assert view.html(view.read()) and view.text(view.read())
    assert repr(view).startswith("<nbray ")


@pytest.mark.parametrize("kind", VIEWS.values())
def test_changes_replayed_give_the_state(kind, monkeypatch):
    sent = []
    monkeypatch.setattr(kind, "send", lambda self, content, buffers=None: sent.append(content))
    whole, feed = filled(), Feed()
    view = kind(feed)
    state = view.picture
    for raw in whole.raw_since(0)[0]:
        feed.append(raw)
        view.read()
    for message in sent:
        state = applied(state, message["change"])
    assert state == view.picture


@pytest.fixture
def shell(monkeypatch, tmp_path):
    with shells.shell(tmp_path) as shell:
        shell.kernel = object()
        shell.published = []
        monkeypatch.setattr(
            shell.display_pub, "publish", lambda data, *_, update=False, **__: shell.published.append(update)
        )
        yield shell
        finish_all()


def test_only_a_cluster_that_is_looked_at_asks_for_figures(shell):
    feed, wishes = filled(), []
    feed.on_watch = wishes.append
    ActorTable(feed)._ipython_display_()
    view = ClusterView(feed)
    assert wishes == []
    view._ipython_display_()
    assert wishes == [NODE_SAMPLED]
    feed._wishes.clear()
    assert view.tick()
    assert wishes == [NODE_SAMPLED] * 2
    view.unwanted(hidden=False)
    feed._wishes.clear()
    assert not view.tick()
    assert len(wishes) == 2


def test_figures_alone_are_no_reason_for_a_new_still(shell, monkeypatch):
    monkeypatch.setattr(tables, "STILL", 0.0)
    feed = Feed()
    feed.extend([node(), process_up(DRIVER, "driver"), sampled()])
    view = ClusterView(feed)
    view._ipython_display_()
    view.cell_ends()
    view.tick()
    count = len(shell.published)
    for second in range(20, 25):
        feed.append(sampled(time=float(second)))
        view.tick()
        view.tick()
    assert len(shell.published) == count
    feed.extend(ran(0))
    view.tick()
    view.tick()
    assert shell.published[count:] == [True]


def test_what_is_printed_in_the_background_renews_the_still_now_and_then_only(shell, monkeypatch):
    now = 100.0
    monkeypatch.setattr(tables, "monotonic", lambda: now)
    feed = Feed()
    view = LogTable(feed)
    view._ipython_display_()
    view.cell_ends()
    shell.published.clear()
    for _ in range(100):
        feed.append(printed("more\n"))
        view.tick()
        view.tick()
        now += 0.1
    assert 3 <= len(shell.published) <= 6


def test_a_terminal_waits_a_moment_for_the_figures(capsys):
    feed = Feed()
    feed.extend([node(), process_up(DRIVER, "driver")])
    feed.on_watch = lambda kind: feed.append(sampled(time=12.0))
    ClusterView(feed)._ipython_display_()
    assert "1 of 2 CPUs in use" in capsys.readouterr().out
