"""The life of a view without a browser: what it reads, sends and leaves behind."""

from __future__ import annotations

import threading

import pytest
import shells
from widgets_events import dispatched, finished, oid, ran, submitted

from nbray.events import Feed
from nbray_widgets import TaskGraph, finish_all, live
from nbray_widgets.reducers.delta import applied
from nbray_widgets.shell import View

WIDGET = "application/vnd.jupyter.widget-view+json"


@pytest.fixture
def sent(monkeypatch):
    messages = []
    monkeypatch.setattr(TaskGraph, "send", lambda self, content, buffers=None: messages.append(content))
    return messages


@pytest.fixture
def shell(monkeypatch, tmp_path):
    """An IPython that passes for a notebook's; ``published`` are its displays."""
    with shells.shell(tmp_path) as shell:
        shell.kernel = object()
        shell.published = []

        def publish(data, metadata=None, *, transient=None, update=False, **_):
            shell.published.append(((transient or {}).get("display_id"), update, data))

        monkeypatch.setattr(shell.display_pub, "publish", publish)
        yield shell
        finish_all()


def hear(target, /, **message):
    target._handle_msg({"content": {"data": {"method": "custom", "content": message}}, "buffers": []})


def test_changes_replayed_give_the_state(sent):
    feed = Feed()
    view = TaskGraph(feed)
    state, revision = view.picture, 0
    for i in range(30):
        feed.extend(ran(i, f"f{i % 3}", needs=[oid(i - 1)] if i else []))
        view.read()
    for message in sent:
        assert message["op"] == "change"
        assert message["revision"] == revision + 1
        state, revision = applied(state, message["change"]), message["revision"]
    assert state == view.picture
    assert state["groups"]["0"]["done"] == 10


def test_nothing_new_sends_nothing(sent):
    feed = Feed()
    feed.extend(ran(0))
    view = TaskGraph(feed)
    view.read()
    sent.clear()
    view.read()
    assert sent == []


def test_a_browser_that_comes_late_gets_the_whole_state(sent):
    feed = Feed()
    feed.extend(ran(0))
    view = TaskGraph(feed)
    view.read()
    sent.clear()
    hear(view, op="open", view="v1")
    assert sent == [{"op": "whole", "revision": 1, "state": view.picture}]
    assert view.get_state()["picture"]["groups"]["0"]["done"] == 1


def test_a_click_is_answered_with_single_tasks(sent):
    feed = Feed()
    feed.extend([submitted(0), dispatched(0), finished(0, "failed", error="ValueError: no")])
    view = TaskGraph(feed)
    view.read()
    sent.clear()
    hear(view, op="tasks", group=0)
    assert sent[0]["tasks"]["failed"][0]["error"] == "ValueError: no"


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"op": "tasks"},
        {"op": "tasks", "group": "0"},
        {"op": "tasks", "group": True},
        {"op": ["x"]},
        {"view": None},
    ],
)
def test_messages_that_make_no_sense_are_ignored(sent, message):
    view = TaskGraph(Feed())
    hear(view, **message)
    assert sent == []


def test_what_the_feed_dropped_is_told(sent):
    feed = Feed(capacity=10)
    view = TaskGraph(feed)
    feed.extend(submitted(i) for i in range(5))
    view.read()
    for i in range(5, 40):
        feed.append(submitted(i))
    feed.trim()
    assert view.read()["about"]["skipped"] == 25


def test_a_full_feed_is_read_in_slices(sent):
    feed = Feed()
    feed.extend(submitted(i) for i in range(3 * live.BATCH))
    view = TaskGraph(feed)
    assert view.read(budget=0)["groups"]["0"]["waiting"] == live.BATCH
    assert view.read()["groups"]["0"]["waiting"] == 3 * live.BATCH


def test_in_a_terminal_it_is_text(capsys, sent):
    feed = Feed()
    feed.extend(ran(0, "load"))
    TaskGraph(feed)._ipython_display_()
    assert "load  ✓ 1 done" in capsys.readouterr().out


def test_a_display_is_the_widget_and_beside_it_the_picture_without_scripts(shell, sent):
    feed = Feed()
    feed.extend(ran(0, "load"))
    view = TaskGraph(feed)
    view._ipython_display_()
    (_, _, live), (name, update, still) = shell.published
    assert live == {WIDGET: view._live(), "text/html": "", "text/plain": ""}
    assert live[WIDGET]["model_id"] == view.model_id
    assert name and not update
    assert still.keys() == {"text/html", "text/plain"}
    # The browser's half finds it by this class.
    assert f'class="nbray-of-{view.picture["about"]["token"]}"' in still["text/html"]


def test_asked_for_its_mime_types_it_has_all_three(sent):
    feed = Feed()
    feed.extend(ran(0, "load"))
    data, _ = TaskGraph(feed)._repr_mimebundle_()
    assert data.keys() == {WIDGET, "text/html", "text/plain"}
    assert 'data-name="load"' in data["text/html"]


def test_after_a_cell_that_changed_it_the_picture_follows(shell, sent):
    feed = Feed()
    view = TaskGraph(feed)
    view._ipython_display_()
    name = shell.published[1][0]
    shell.events.trigger("post_run_cell", None)
    assert len(shell.published) == 2  # nothing happened
    shell.events.trigger("pre_run_cell", None)
    feed.extend(ran(0, "load"))
    shell.events.trigger("post_run_cell", None)
    assert [(display, update) for display, update, _ in shell.published[2:]] == [(name, True)]
    assert 'data-name="load"' in shell.published[2][2]["text/html"]


def test_once_the_pool_is_gone_it_leaves_the_last_picture(shell, sent):
    feed = Feed()
    view = TaskGraph(feed)
    view._ipython_display_()
    feed.extend(ran(0, "load"))
    feed.close()
    shell.events.trigger("post_run_cell", None)
    display, update, still = shell.published[-1]
    assert (display, update) == (shell.published[1][0], True)
    assert still.keys() == {"text/html", "text/plain"}
    assert "failed and slowest tasks" in still["text/html"]
    assert view.picture["about"]["over"]
    count = len(shell.published)
    shell.events.trigger("post_run_cell", None)
    assert len(shell.published) == count


def test_a_view_that_was_closed_reads_nothing_while_cells_run(shell, sent):
    feed = Feed()
    view = TaskGraph(feed)
    view._ipython_display_()
    hear(view, op="open", view="v1")
    shell.events.trigger("post_run_cell", None)
    hear(view, op="close", view="v1")
    shell.events.trigger("pre_run_cell", None)
    feed.extend(ran(0))
    assert not view.tick()
    assert view._cursor == 0


def test_a_view_whose_page_is_hidden_reads_on_while_a_cell_runs(shell, sent):
    feed = Feed()
    view = TaskGraph(feed)
    view._ipython_display_()
    hear(view, op="open", view="v1")
    hear(view, op="hide", view="v1")
    feed.extend(ran(0))
    assert view.tick()  # the cell that displays it goes on, and could not hear that the page is back
    shell.events.trigger("post_run_cell", None)
    hear(view, op="hide", view="v1")
    assert not view.tick()


def test_a_view_may_have_a_state_of_its_own_and_no_feed(shell, monkeypatch):
    class Tally(View):
        def html(self, state):
            return f"<p>{state['counts']['n']}</p>"

        def text(self, state):
            return f"n is {state['counts']['n']}"

    messages = []
    monkeypatch.setattr(Tally, "send", lambda self, content, buffers=None: messages.append(content))
    view = Tally({"counts": {"n": 0}})
    view._ipython_display_()
    shell.events.trigger("pre_run_cell", None)
    view.show({"counts": {"n": 1}})
    assert messages == [
        {"op": "change", "revision": 1, "change": {"counts": {"n": 1}, "about": {"revision": 1}}}
    ]
    shell.events.trigger("post_run_cell", None)
    assert shell.published[-1][2]["text/plain"] == "n is 1"
    hear(view, op="open", view="v1")
    assert messages[-1]["state"]["counts"] == {"n": 1}


def test_unloading_ends_all_views_and_their_hooks(shell, sent):
    hooks = len(shell.events.callbacks["post_run_cell"])
    for _ in range(3):
        TaskGraph(Feed())._ipython_display_()
    assert len(shell.events.callbacks["post_run_cell"]) == hooks + 3
    finish_all()
    assert len(shell.events.callbacks["post_run_cell"]) == hooks


def test_the_thread_lives_only_while_somebody_looks(shell, sent):
    feed = Feed()
    view = TaskGraph(feed)
    assert live._thread is None
    view._ipython_display_()
    hear(view, op="open", view="v1")
    shell.events.trigger("post_run_cell", None)
    thread = live._thread
    assert thread is not None and thread.daemon
    hear(view, op="close", view="v1")
    thread.join(10)
    assert not thread.is_alive()
    hear(view, op="here", view="v1")
    assert live._thread is not None
    hear(view, op="close", view="v1")


def test_while_a_cell_runs_the_thread_sends_what_changes_and_what_may_be_asked(shell, monkeypatch):
    told = threading.Event()
    kinds = set()

    def send(self, content, buffers=None):
        kinds.add(content["op"])
        if {"change", "tasks"} <= kinds:
            told.set()

    monkeypatch.setattr(TaskGraph, "send", send)
    feed = Feed()
    view = TaskGraph(feed)
    view._ipython_display_()  # from within a cell that goes on
    hear(view, op="open", view="v1")
    feed.extend(ran(0))
    assert told.wait(10)


def test_while_a_cell_runs_a_view_waits_its_turn_and_says_what_it_has_missed_by_that(shell, sent):
    feed = Feed(capacity=5)
    view = TaskGraph(feed)
    view._ipython_display_()  # from within a cell that goes on
    view._due = float("inf")
    feed.append(submitted(0))
    assert view.tick()
    assert view._cursor == 0
    feed.extend(submitted(i) for i in range(1, 12))
    feed.trim()
    assert view.tick()
    assert view._cursor == 0
    shell.events.trigger("post_run_cell", None)
    assert view._cursor == 12
    assert view.picture["about"]["skipped"] == 7


def test_the_more_views_there_are_the_less_often_each_has_its_turn(shell, sent, monkeypatch):
    def waits(others):
        monkeypatch.setattr(live, "_watching", dict.fromkeys(range(others + 1)))
        monkeypatch.setattr(live, "monotonic", lambda: 100.0)
        clock = iter((1.0, 1.001))
        monkeypatch.setattr(live, "thread_time", lambda: next(clock))
        view = TaskGraph(Feed())
        view._displays, view._busy = ["one"], True
        view._tick = lambda budget: None
        assert view.tick()
        return view._due - 100.0

    alone = waits(0)
    assert alone == pytest.approx(0.001 / live.SHARE)
    assert waits(2) == pytest.approx(3 * alone)


def test_when_no_cell_runs_a_view_waits_for_nothing(shell, sent):
    feed = Feed()
    view = TaskGraph(feed)
    view._ipython_display_()
    shell.events.trigger("post_run_cell", None)
    view._due = float("inf")
    feed.append(submitted(0))
    assert view.tick()
    assert view._cursor == 1
