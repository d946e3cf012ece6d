from __future__ import annotations

import threading

from hypothesis import given, settings
from hypothesis import strategies as st
from widgets_events import (
    LANE,
    actor,
    dispatched,
    finished,
    oid,
    process_down,
    process_up,
    ran,
    submitted,
)

from nbray import events
from nbray.events import (
    ACTOR,
    NODE,
    NODE_SAMPLED,
    OBJECT,
    OBJECT_HELD,
    PRINTED,
    PROCESS,
    TEXT_KEPT,
    TEXT_OLD,
    Feed,
    Printed,
    TaskDispatched,
    TaskFinished,
    TaskSubmitted,
    WithoutOwn,
)


def test_records_are_raw_events_made_readable():
    feed = Feed()
    feed.extend(
        [submitted(1, needs=[b"driver-1" + bytes(8)]), dispatched(1), finished(1, "failed", error="no")]
    )
    (first, second, third), cursor = feed.since(0)
    assert isinstance(first, TaskSubmitted)
    assert first.task == b"driver-1".hex() + "0" * 15 + "1"
    assert first.dependencies == (b"driver-1".hex() + "0" * 16,)
    assert isinstance(second, TaskDispatched)
    assert isinstance(third, TaskFinished)
    assert (third.state, third.error) == ("failed", "no")
    assert feed.since(cursor) == ([], cursor)


@settings(deadline=None)
@given(st.lists(st.integers(1, 30)), st.integers(1, 20))
def test_a_reader_that_keeps_up_sees_everything_once_and_in_order(batches, limit):
    feed, seen, cursor, sent = Feed(capacity=10), [], 0, 0
    for size in batches:
        feed.extend(submitted(sent + i) for i in range(size))
        sent += size
        while feed.end > cursor:
            raws, cursor = feed.raw_since(cursor, limit)
            seen += [raw[3] for raw in raws]
        feed.trim()
    assert seen == list(range(sent))


def test_a_late_reader_gets_the_newest_and_can_tell_how_many_it_missed():
    feed = Feed(capacity=10)
    for i in range(25):
        feed.append(submitted(i))
    feed.trim()
    raws, cursor = feed.raw_since(0)
    assert [raw[3] for raw in raws] == list(range(15, 25))
    assert cursor - len(raws) == 15


def test_a_reader_amid_a_trim_misses_nothing():
    feed = Feed(capacity=10)
    got: list[list] = []
    reader = threading.Thread(target=lambda: got.append(feed.raw_since(20)[0]))

    class Slow(list):
        def __delitem__(self, key):
            super().__delitem__(key)
            reader.start()  # the first step of the trim is done, the second is not
            reader.join(0.2)

    feed._log = Slow(submitted(i) for i in range(25))
    feed.trim()
    reader.join()
    assert [raw[3] for raw in got[0]] == list(range(20, 25))


def test_a_late_reader_is_told_what_stands_of_what_was_dropped():
    feed = Feed(capacity=2)
    feed.extend(
        [
            (NODE, 1.0, b"node-one", "up", {"CPU": 2.0}, ""),
            (NODE, 1.0, b"node-two", "up", {"CPU": 2.0}, ""),
            (PROCESS, 2.0, b"executor", "up", "lane", 7, b"node-one", ""),
            (OBJECT, 3.0, oid(1), "stored", 1 << 20, b"node-one", "put", ""),
            (OBJECT, 3.0, oid(2), "spilled", 1 << 20, b"node-one", "result", "f"),
            (OBJECT_HELD, 3.5, oid(2), (b"executor",)),
            (OBJECT, 4.0, oid(1), "freed", 1 << 20, b"node-one", "", ""),
            (NODE, 5.0, b"node-two", "down", {}, ""),
            actor(oid(9), "Board", "dead", reason="killed"),
            submitted(0),
            submitted(1),
        ]
    )
    assert feed.standing() == []
    feed.trim()
    assert [raw[3] for raw in feed.raw_since(0)[0]] == [0, 1]
    told = [(raw[0], raw[2]) for raw in feed.standing()]
    assert sorted(told) == [
        (PROCESS, b"executor"),
        (ACTOR, oid(9)),
        (OBJECT, oid(2)),
        (NODE, b"node-one"),
        (NODE, b"node-two"),
        (OBJECT_HELD, oid(2)),
    ]


def test_a_wish_to_watch_is_passed_on_now_and_then_until_the_feed_closes(monkeypatch):
    feed, wishes, now = Feed(), [], 100.0
    monkeypatch.setattr(events, "monotonic", lambda: now)
    feed.on_watch = wishes.append
    for _ in range(70):
        feed.watch(NODE_SAMPLED)
        now += 0.1
    assert wishes == [NODE_SAMPLED] * 3
    feed.close()
    now += 100
    feed.watch(NODE_SAMPLED)
    assert len(wishes) == 3


HOLDER = b"set-side"
OWN = [
    (ACTOR, 10.0, oid(9), "CpusSetAside", "", "pending", 0, b"", ""),
    submitted(1, "CpusSetAside.ready", kind="actor_method", actor=oid(9)),
    (ACTOR, 10.0, oid(9), "CpusSetAside", "", "alive", 0, HOLDER, ""),
    dispatched(1),
    process_up(HOLDER, "actor"),
    finished(1),
    (ACTOR, 10.0, oid(9), "CpusSetAside", "", "dead", 0, b"", "killed"),
    process_down(HOLDER),
]
OTHERS = [
    process_up(LANE),
    *ran(2),
    actor(oid(8), "Board"),
    *ran(3, "Board.ready", kind="actor_method", actor=oid(8)),
    *ran(1, owner=b"another1"),
    (OBJECT, 3.0, oid(2), "stored", 1 << 20, b"node-one", "put", ""),
    (OBJECT_HELD, 3.5, oid(2), (LANE,)),
    (NODE, 1.0, b"node-one", "up", {"CPU": 2.0}, ""),
    process_down(LANE),
]


@settings(deadline=None)
@given(st.randoms(), st.integers(1, 6))
def test_people_see_nothing_of_the_actors_that_nbray_makes_for_itself_and_all_of_the_others(chance, size):
    own, others, mixed = list(OWN), list(OTHERS), []
    while own or others:
        mixed.append((own if not others or (own and chance.random() < 0.5) else others).pop(0))
    reader = WithoutOwn()
    seen = [raw for first in range(0, len(mixed), size) for raw in reader.of(mixed[first : first + size])]
    assert seen == OTHERS
    assert reader.of(OTHERS) is OTHERS  # they are over, and cost no more than a look


def test_a_closed_feed_can_still_be_read():
    feed = Feed()
    feed.append(submitted(0))
    feed.close()
    assert feed.closed
    assert len(feed.since(0)[0]) == 1


def printed(text: str) -> tuple:
    return (PRINTED, 1.0, "cell", b"task", "f", 1, text, b"process", 7, b"node")


def test_printed_text_is_bounded_and_the_newest_is_whole():
    feed = Feed()
    size = TEXT_KEPT // 4
    for letter in "abcdef":
        feed.append(submitted(1))
        feed.append_text(printed(letter * size))
    texts = [record.text for record in feed.since(0)[0] if isinstance(record, Printed)]
    assert [text[0] for text in texts] == list("abcdef")
    assert [len(text) == size for text in texts] == [False, False, True, True, True, True]
    assert texts[0] == "a" * TEXT_OLD + "\n... the rest is not kept\n"


def test_printed_text_that_was_trimmed_away_is_no_matter():
    feed = Feed(capacity=1)
    for letter in "abcdefgh":
        feed.append_text(printed(letter * (TEXT_KEPT // 4)))
        feed.trim()
    texts = [record.text for record in feed.since(0)[0]]
    assert texts[-1][0] == "h"
    assert sum(map(len, texts)) <= TEXT_KEPT + 1000
