"""One generator's items between executor and caller, as machines."""

from collections import deque

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from nbray.core.ids import FIRST_STREAM, STREAM_STRIDE, STRIDE, ProcessId, call_of, object_id
from nbray.core.ownership import Completer, Entry
from nbray.core.streaming import Outlet, Stream

OWNER = ProcessId(b"ownerown")
complete = Completer()


def opened(ahead: int = 0) -> Stream:
    return Stream(FIRST_STREAM, ahead, lambda sequence: Entry(OWNER, sequence))


def come(stream: Stream, index: int, value: bytes = b"") -> bool:
    entry = stream.came(index)
    if entry is not None:
        complete(entry, value or b"%d" % index)
    stream.validate()
    return entry is not None


def end(stream: Stream, failed: bool = False) -> None:
    last, over = stream.finish(failed)
    if last is not None:
        complete(last, b"failure")
    complete(over, b"end")
    stream.validate()


def take(stream: Stream) -> bytes:
    first = stream.next
    assert first.ready and not stream.over
    stream.take()
    stream.validate()
    return first.value


def test_items_are_taken_in_order_and_have_consecutive_ids():
    stream = opened()
    for index in range(3):
        come(stream, index)
    assert [entry.sequence for entry in stream.items] == [FIRST_STREAM + 1 + i for i in range(4)]
    assert [take(stream) for _ in range(3)] == [b"0", b"1", b"2"]
    assert not stream.next.ready


def test_a_stream_is_over_when_it_has_ended_and_all_is_taken():
    stream = opened()
    come(stream, 0)
    end(stream)
    assert not stream.over
    take(stream)
    assert stream.over
    assert stream.next.ready  # whoever waited for one more goes on


def test_a_failure_is_the_last_item():
    stream = opened()
    come(stream, 0)
    end(stream, failed=True)
    assert [take(stream), take(stream)] == [b"0", b"failure"]
    assert stream.over


def test_a_rerun_gives_only_what_had_not_come():
    stream = opened()
    come(stream, 0), come(stream, 1)
    take(stream)
    assert [come(stream, index, b"again") for index in range(3)] == [False, False, True]
    assert [take(stream), take(stream)] == [b"1", b"again"]


def test_what_was_not_taken_after_all_is_next_again():
    stream = opened()
    come(stream, 0)
    first = stream.next
    stream.take()
    stream.untake(first)
    stream.untake(first)
    assert take(stream) == b"0"
    assert stream.taken == 1


def test_nobody_wants_what_comes_after_a_drop():
    stream = opened()
    come(stream, 0)
    assert stream.drop()
    assert not stream.drop()
    assert not come(stream, 1)
    end(stream, failed=True)
    assert len(stream.items) == 1


def test_a_drop_after_the_end_is_nothing_new():
    stream = opened()
    end(stream)
    assert not stream.drop()


def test_without_a_limit_nothing_is_told():
    stream = opened()
    come(stream, 0), take(stream)
    assert not stream.due


def test_an_executor_that_may_be_waiting_is_told():
    stream = opened(ahead=1)
    come(stream, 0)
    assert not stream.due
    take(stream)
    assert stream.due
    assert stream.told() == 1
    assert not stream.due


def test_far_from_the_limit_nothing_is_told():
    stream = opened(ahead=10)
    come(stream, 0), take(stream)
    assert not stream.due


def test_a_rerun_hears_again_how_many_are_taken():
    stream = opened(ahead=2)
    for index in range(3):
        come(stream, index)
        take(stream)
        if stream.due:
            stream.told()
    assert not stream.due
    come(stream, 0)
    assert stream.due
    assert stream.told() == 3


def test_a_full_outlet_goes_on_when_one_is_taken():
    outlet = Outlet(ahead=2)
    outlet.sent = 2
    assert outlet.full
    outlet.took(1)
    assert not outlet.full


def test_a_closed_outlet_is_never_full():
    outlet = Outlet(ahead=1)
    outlet.sent = 1
    outlet.close()
    assert not outlet.full


def test_an_outlet_without_a_limit_is_never_full():
    outlet = Outlet()
    outlet.sent = 1 << 20
    assert not outlet.full


def test_who_waits_at_an_outlet_hears_each_change_once():
    outlet, heard = Outlet(ahead=1), []
    outlet.changed = lambda: heard.append((outlet.taken, outlet.closed))
    outlet.took(2), outlet.took(1), outlet.close(), outlet.close()
    assert heard == [(2, False), (2, True)]


@pytest.mark.parametrize("call", [STRIDE, 77 * STRIDE, FIRST_STREAM, FIRST_STREAM + 5 * STREAM_STRIDE])
def test_every_object_names_its_call(call):
    width = STREAM_STRIDE if call >= FIRST_STREAM else STRIDE
    assert {call_of(call + i) for i in (0, 1, width - 1)} == {call}
    assert call_of(call + width) == call + width
    assert len(object_id(OWNER, call)) == 16


class OneStream(RuleBasedStateMachine):
    """A caller and an executor over a connection in order, with crashes in which everything on the way is lost."""

    def __init__(self) -> None:
        super().__init__()
        self.length = self.ahead = 0
        self.stream: Stream = opened()
        self.outlet = Outlet()
        self.down: deque = deque()  # to the caller
        self.up: deque = deque()  # to the executor
        self.given: list[bytes] = []

    @initialize(ahead=st.integers(0, 4), length=st.integers(0, 8))
    def begin(self, ahead: int, length: int) -> None:
        self.ahead, self.length = ahead, length
        self.stream, self.outlet = opened(ahead), Outlet(ahead)

    @property
    def pauses(self) -> bool:
        return self.outlet.full or self.outlet.sent > self.length

    @precondition(lambda self: not self.pauses)
    @rule()
    def executor_goes_on(self) -> None:
        self.down.append(self.outlet.sent)
        self.outlet.sent += 1

    @precondition(lambda self: self.down)
    @rule()
    def caller_reads(self) -> None:
        index = self.down.popleft()
        if index < self.length:
            come(self.stream, index)
        elif not self.stream.ended:
            end(self.stream)
        self.tell()

    @precondition(lambda self: self.up)
    @rule()
    def executor_reads(self) -> None:
        self.outlet.took(self.up.popleft())

    @precondition(lambda self: self.stream.next.ready and not self.stream.over)
    @rule()
    def caller_takes(self) -> None:
        self.given.append(take(self.stream))
        self.tell()

    @rule()
    def crash(self) -> None:
        if self.stream.ended:
            return
        self.down.clear(), self.up.clear()
        self.outlet = Outlet(self.ahead)

    def tell(self) -> None:
        if self.stream.due:
            self.up.append(self.stream.told())

    @invariant()
    def each_item_is_given_once_and_in_order(self) -> None:
        assert self.given == [b"%d" % i for i in range(len(self.given))]

    @invariant()
    def no_more_than_the_limit_is_yielded_and_not_taken(self) -> None:
        if self.ahead:
            assert min(self.outlet.sent, self.length) <= len(self.given) + self.ahead

    @invariant()
    def nobody_waits_for_the_other_for_ever(self) -> None:
        if not self.down and not self.up and not self.stream.next.ready:
            assert not self.pauses


OneStream.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestOneStream = OneStream.TestCase
