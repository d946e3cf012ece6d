"""Entries, and the rule that keeps a ref alive between processes."""

from __future__ import annotations

import itertools
from collections import Counter, deque
from itertools import pairwise
from typing import Any
from weakref import WeakValueDictionary

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from nbray.core.ids import Address, ProcessId, object_id, owner_of, sequence_of
from nbray.core.messages import ERROR, INLINE, SHARED
from nbray.core.ownership import Completer, Entry, Holds, pending, refs_in, with_refs

complete = Completer()

ME = ProcessId(b"process0")
A, B = b"holder-a", b"holder-b"


def entry(sequence: int = 1) -> Entry:
    return Entry(ME, sequence)


# -- entries -----------------------------------------------------------------------------------------------------------


def test_an_entry_is_pending_until_its_value_comes() -> None:
    made, other = entry(), entry(2)
    assert pending([made, other]) == [made, other]
    complete(made, b"value")
    assert pending([made, other]) == [other]
    assert made.ready
    assert not made.failed
    assert made.value == b"value"


def test_a_failure_makes_an_entry_ready_and_failed() -> None:
    made = entry()
    complete(made, (ERROR, b"pickle"))
    assert made.ready
    assert made.failed


def test_whoever_waits_is_called_once_in_order() -> None:
    made = entry()
    seen: list[int] = []
    made.when_ready(lambda e: seen.append(1))
    made.when_ready(lambda e: seen.append(2))
    complete(made, b"")
    complete(made, b"late")
    assert seen == [1, 2]
    assert made.callbacks is None


def test_a_callback_sees_the_value() -> None:
    made = entry()
    seen: list[Any] = []
    made.when_ready(lambda e: seen.append((e.ready, e.value)))
    complete(made, b"value")
    assert seen == [(True, b"value")]


def test_a_second_completion_is_ignored_with_its_guard() -> None:
    made = entry()
    complete(made, b"first", "guard")
    complete(made, (ERROR, b"late"), "other")
    assert (made.value, made.failed, made.guard) == (b"first", False, "guard")


def test_a_failure_passes_down_a_chain_longer_than_the_stack() -> None:
    chain = [entry() for _ in range(5_000)]
    for cause, effect in pairwise(chain):
        cause.when_ready(lambda e, effect=effect: complete(effect, e.value))
    complete(chain[0], (ERROR, b"pickle"))
    assert all(each.failed for each in chain)


def test_ids_name_the_owner_and_the_sequence_number() -> None:
    assert owner_of(entry(7).id) == ME
    assert sequence_of(entry(7).id) == 7
    assert entry(7).id == object_id(ME, 7)


REF = (b"i" * 16, Address(ME, b"", "", ""), None)


@pytest.mark.parametrize(
    "value",
    [
        (ERROR, b"pickle", (REF,)),
        (INLINE, b"pickle", (b"buffer",), (REF,)),
        (SHARED, b"o" * 16, b"node", "name", 10, (1, 2), ("serve",), (REF,)),
    ],
)
def test_refs_in_a_value_can_be_read_and_rewritten(value: Any) -> None:
    assert refs_in(value) == (REF,)
    bare = with_refs(value, ())
    assert refs_in(bare) == ()
    assert with_refs(bare, (REF,)) == value


@pytest.mark.parametrize("value", [b"pickle", (ERROR, b"pickle")])
def test_a_plain_value_and_most_failures_contain_no_refs(value: Any) -> None:
    assert refs_in(value) == ()
    assert with_refs(value, ()) == value


# -- holds -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def holds() -> Holds:
    return Holds()


def test_an_entry_in_the_table_is_alive(holds: Holds) -> None:
    alive = WeakValueDictionary({1: entry()})
    held = entry()
    alive[1] = held
    holds.add(held, A)
    del held
    assert alive[1] is holds.entry(1)
    holds.release(1, A, 1)
    assert 1 not in alive
    assert len(holds) == 0


def test_holds_are_counted(holds: Holds) -> None:
    held = entry()
    holds.add(held, A)
    holds.add(held, A, 2)
    holds.release(1, A, 2)
    assert holds.holders(1) == {A: 1}
    holds.release(1, A, 1)
    assert holds.entry(1) is None
    holds.validate()


def test_a_new_copy_on_its_way_survives_the_release_of_the_earlier_ones(holds: Holds) -> None:
    held = entry()
    holds.add(held, A)  # A has it, drops it, and its RELEASE is on its way when
    holds.add(held, A)  # the owner sends it once more.
    holds.release(1, A, 1)
    assert holds.holders(1) == {A: 1}


def test_each_holder_counts_for_itself(holds: Holds) -> None:
    held = entry()
    holds.add(held, A)
    holds.add(held, B)
    holds.release(1, A, 1)
    assert holds.holders(1) == {B: 1}
    assert not holds.has(A)
    assert holds.has(B)


def test_all_holds_of_a_process_go_with_it(holds: Holds) -> None:
    entries = [entry(n) for n in range(3)]
    for held in entries:
        holds.add(held, A, 3)
    holds.add(entries[0], B)
    holds.holder_gone(A)
    holds.validate()
    assert list(holds.entries()) == [entries[0]]
    assert not holds.has(A)


def test_what_the_dead_give_back_late_is_ignored(holds: Holds) -> None:
    holds.add(entry(), A)
    holds.add(entry(), B)
    holds.holder_gone(A)
    holds.release(1, A, 1)
    holds.release(99, A, 1)
    holds.holder_gone(A)
    assert holds.holders(1) == {B: 1}


def test_a_ref_that_is_passed_on_counts_for_its_way_and_then_for_its_receiver(holds: Holds) -> None:
    holds.add(entry(), (A, B))
    assert not holds.has(B)
    assert holds.in_transit(A) == [B]
    holds.claim(1, A, B)
    assert holds.holders(1) == {B: 1}
    assert holds.in_transit(A) == []


def test_a_claim_of_what_is_not_on_its_way_counts_nothing(holds: Holds) -> None:
    holds.add(entry(), (A, B))
    holds.claim(1, B, A)
    holds.claim(2, A, B)
    holds.claim(1, A, B)
    holds.claim(1, A, B)
    assert holds.holders(1) == {B: 1}
    holds.validate()


def test_what_the_dead_had_passed_on_stays_until_the_receiver_says_that_it_never_came(holds: Holds) -> None:
    holds.add(entry(1), (A, B))
    holds.add(entry(2), (A, B), 2)
    holds.holder_gone(A)
    assert len(holds) == 2
    holds.claim(2, A, B)
    holds.never_came(A, B)
    assert holds.entry(1) is None
    assert holds.holders(2) == {B: 1}
    holds.validate()


def test_what_is_on_its_way_to_the_dead_goes(holds: Holds) -> None:
    holds.add(entry(), (A, B))
    holds.holder_gone(B)
    assert len(holds) == 0
    holds.claim(1, A, B)
    assert len(holds) == 0
    holds.validate()


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("add"), st.integers(0, 3), st.sampled_from([A, B]), st.integers(1, 3)),
            st.tuples(st.just("release"), st.integers(0, 3), st.sampled_from([A, B]), st.integers(1, 3)),
            st.tuples(st.just("gone"), st.just(0), st.sampled_from([A, B]), st.just(0)),
        )
    )
)
def test_the_table_counts_as_a_counter_does(steps: list[tuple[str, int, bytes, int]]) -> None:
    holds, entries = Holds(), [entry(n) for n in range(4)]
    counts: Counter[tuple[int, bytes]] = Counter()
    for what, sequence, holder, n in steps:
        if what == "add":
            holds.add(entries[sequence], holder, n)
            counts[sequence, holder] += n
        elif what == "release":
            holds.release(sequence, holder, n)
            counts[sequence, holder] = max(0, counts[sequence, holder] - n)
        else:
            holds.holder_gone(holder)
            counts.update({key: -n for key, n in counts.items() if key[1] == holder})
        holds.validate()
        for sequence in range(4):
            assert holds.holders(sequence) == {h: n for (s, h), n in counts.items() if s == sequence and n}
    assert len(holds) == len({s for (s, _), n in counts.items() if n})


# -- the rule between processes ------------------------------------------------------------------------------------------


class Borrowed:
    """One object at a process that does not own it: how many counts at the owner, how many uses here."""

    def __init__(self) -> None:
        self.count = 0
        self.uses = 0


class Process:
    def __init__(self, id: bytes) -> None:
        self.id = ProcessId(id)
        self.alive = True
        self.holds = Holds()
        self.canonical: WeakValueDictionary[bytes, Entry] = WeakValueDictionary()
        self.own: dict[bytes, tuple[Entry, int]] = {}  # what is in use here, and how often
        self.borrowed: dict[bytes, Borrowed] = {}
        self.user: Counter[bytes] = Counter()  # uses that the user's code may end
        self.asking: dict[int, tuple[bytes, Any]] = {}  # request: (owner, what to do when it is acknowledged)
        self.calls: dict[int, tuple[bytes, bytes]] = {}  # sent: (callee, object)
        self.owed: list[tuple[bytes, int]] = []  # results not sent yet: (caller, call)
        self.ended: set[bytes] = set()  # whose last word was read
        self.unsettled: set[tuple[bytes, bytes]] = set()  # (who asks, giver)


class RefsBetweenProcesses(RuleBasedStateMachine):
    """Three processes pass refs by the rule of core/DESIGN.md, "Holds". Messages between two of them keep their order, those of
    different pairs do not. What a process has sent before its death still arrives."""

    IDS = (b"process0", b"process1", b"process2")
    WHO = st.sampled_from(IDS)
    ANY = st.integers(0, 1_000)

    def __init__(self) -> None:
        super().__init__()
        self.processes = {name: Process(name) for name in self.IDS}
        self.wires: dict[tuple[bytes, bytes], deque[tuple[Any, ...]]] = {
            pair: deque() for pair in itertools.product((*self.IDS, b"placement"), self.IDS)
        }
        self.numbers = itertools.count(1)
        self.objects: list[bytes] = []
        # A sender that dies in the middle of passing a ref on gives no promise for that one.
        self.in_doubt: set[bytes] = set()

    # what a process does

    def send(self, source: bytes, to: bytes, *message: Any) -> None:
        if self.processes[to].alive:
            self.wires[source, to].append(message)

    def use(self, process: Process, oid: bytes) -> None:
        if owner_of(oid) == process.id:
            held, uses = process.own.get(oid) or (process.canonical.get(oid), 0)
            assert held is not None, "a ref came back to its owner, who had let it go"
            process.own[oid] = held, uses + 1
        else:
            process.borrowed.setdefault(oid, Borrowed()).uses += 1

    def unuse(self, process: Process, oid: bytes) -> None:
        if owner_of(oid) == process.id:
            held, uses = process.own.pop(oid)
            if uses > 1:
                process.own[oid] = held, uses - 1
            return
        borrowed = process.borrowed[oid]
        borrowed.uses -= 1
        if not borrowed.uses:
            del process.borrowed[oid]
            self.send(process.id, owner_of(oid), "release", oid, borrowed.count)

    def ask_hold(self, process: Process, oid: bytes, holder: bytes, then: Any) -> None:
        self.use(process, oid)
        owner = owner_of(oid)
        request = next(self.numbers)
        process.asking[request] = owner, (oid, then)
        if self.processes[owner].alive:
            self.send(process.id, owner, "hold", request, oid, holder)
        else:
            self.acknowledged(process, request)

    def acknowledged(self, process: Process, request: int) -> None:
        if request in process.asking:
            _, (oid, then) = process.asking.pop(request)
            if then is not None:
                then()
            self.unuse(process, oid)
            self.answer(process)

    def answer(self, process: Process) -> None:
        """Results go only when all that was asked for is acknowledged."""
        if not process.asking:
            owed, process.owed = process.owed, []
            for caller, call in owed:
                self.send(process.id, caller, "result", call)

    def receive(self, process: Process, source: bytes, oid: bytes, held: bool, call: int | None) -> None:
        if owner_of(oid) == process.id and oid in self.in_doubt and oid not in process.canonical:
            return
        self.use(process, oid)
        process.user[oid] += 1
        if owner_of(oid) == process.id and held:
            process.holds.release(sequence_of(oid), (source, process.id), 1)
        if owner_of(oid) != process.id:
            borrowed = process.borrowed[oid]
            if held:
                borrowed.count += 1
                if owner_of(oid) != source:
                    self.send(process.id, owner_of(oid), "claim", oid, source)
            elif not borrowed.count:
                borrowed.count = 1
                self.ask_hold(process, oid, process.id, None)
        if call is not None:
            process.owed.append((source, call))
            self.answer(process)

    def settle(self, process: Process) -> None:
        for asker, giver in list(process.unsettled):
            if giver in process.ended:
                process.unsettled.discard((asker, giver))
                if asker == process.id:
                    process.holds.never_came(giver, asker)
                else:
                    self.send(process.id, asker, "settled", giver)

    # rules

    @rule(who=WHO)
    def create(self, who: bytes) -> None:
        process = self.processes[who]
        if process.alive:
            made = Entry(process.id, next(self.numbers))
            process.canonical[made.id] = made
            process.own[made.id] = made, 1
            process.user[made.id] += 1
            self.objects.append(made.id)

    @rule(who=WHO, n=ANY)
    def drop(self, who: bytes, n: int) -> None:
        process = self.processes[who]
        mine = sorted(process.user.elements())
        if mine:
            oid = mine[n % len(mine)]
            process.user[oid] -= 1
            self.unuse(process, oid)

    @rule(who=WHO)
    def drop_all(self, who: bytes) -> None:
        while self.processes[who].user.total():
            self.drop(who, 0)

    @rule(who=WHO, to=WHO, n=ANY, as_argument=st.booleans())
    def pass_on(self, who: bytes, to: bytes, n: int, as_argument: bool) -> None:
        process = self.processes[who]
        mine = sorted(process.user.elements())
        if who == to or not mine or not self.processes[to].alive:
            return
        oid = mine[n % len(mine)]
        if owner_of(oid) == who:
            process.holds.add(process.own[oid][0], to)
            self.send(who, to, "ref", oid, True, None)
        elif as_argument:
            # Ours keeps it alive until the callee has answered, which it does when it has a hold of its own.
            call = next(self.numbers)
            self.use(process, oid)
            process.calls[call] = to, oid
            self.send(who, to, "ref", oid, False, call)
        else:
            self.ask_hold(process, oid, to, lambda: self.send(who, to, "ref", oid, True, None))

    @precondition(lambda self: any(self.wires.values()))
    @rule(n=ANY)
    def deliver(self, n: int) -> None:
        busy = [pair for pair, wire in self.wires.items() if wire]
        self.delivered(*busy[n % len(busy)])

    def delivered(self, source: bytes, to: bytes) -> None:
        wire, process = self.wires[source, to], self.processes[to]
        if not wire or not process.alive:
            return
        what, *fields = wire.popleft()
        if what == "ref":
            oid, held, call = fields
            self.receive(process, source, oid, held, call)
        elif what == "hold":
            request, oid, holder = fields
            held_entry = process.holds.entry(sequence_of(oid)) or process.canonical.get(oid)
            if held_entry is not None:
                process.holds.add(held_entry, holder if holder == source else (source, holder))
                if not self.processes[holder].alive:
                    self.send(b"placement", to, "gone", holder)
            self.send(to, source, "hold_ok", request)
        elif what == "hold_ok":
            self.acknowledged(process, fields[0])
        elif what == "claim":
            process.holds.claim(sequence_of(fields[0]), fields[1], source)
        elif what == "settle":
            process.unsettled.add((source, fields[0]))
            self.settle(process)
        elif what == "settled":
            process.holds.never_came(fields[0], source)
        elif what == "release":
            process.holds.release(sequence_of(fields[0]), source, fields[1])
        elif what == "result":
            if fields[0] in process.calls:
                _, oid = process.calls.pop(fields[0])
                self.unuse(process, oid)
        else:
            assert what in ("eof", "gone")
            gone = source if what == "eof" else fields[0]
            if what == "eof":
                process.ended.add(gone)
                if process.holds.in_transit(gone):
                    self.send(b"placement", to, "gone", gone)
            else:
                for receiver in process.holds.in_transit(gone):
                    if receiver == to:
                        process.unsettled.add((to, gone))
                    else:
                        self.send(to, receiver, "settle", gone)
            process.holds.holder_gone(gone)
            self.settle(process)
            for call, (callee, oid) in list(process.calls.items()):
                if callee == gone:
                    del process.calls[call]
                    self.unuse(process, oid)
            for request, (owner, _) in list(process.asking.items()):
                if owner == gone:
                    self.acknowledged(process, request)

    @precondition(lambda self: sum(p.alive for p in self.processes.values()) > 1)
    @rule(who=WHO, sure=st.integers(0, 4))
    def die(self, who: bytes, sure: int) -> None:
        process = self.processes[who]
        if sure or not process.alive:
            return
        process.alive = False
        self.in_doubt |= {oid for _, oid in process.calls.values()}
        # Placement may tell of its death before what it sent has arrived.
        sent = [message for pair, wire in self.wires.items() if pair[0] == who for message in wire]
        self.in_doubt |= {message[1] for message in sent if message[0] == "ref" and not message[2]}
        process.own.clear()
        process.user.clear()
        process.borrowed.clear()
        process.asking.clear()
        process.calls.clear()
        process.holds = Holds()
        for other in self.processes.values():
            self.wires[other.id, who].clear()
            if other.alive:
                self.wires[who, other.id].append(("eof",))
                if other.holds.has(who) or other.holds.in_transit(who):
                    self.send(b"placement", other.id, "gone", who)

    # laws

    def needed(self) -> set[bytes]:
        """What somebody alive has, or will receive."""
        found: set[bytes] = set()
        for process in self.processes.values():
            if process.alive:
                found |= process.own.keys() | process.borrowed.keys()
        for (_, to), wire in self.wires.items():
            if self.processes[to].alive:
                found |= {message[1] for message in wire if message[0] == "ref"}
        return found

    @invariant()
    def nothing_is_freed_while_somebody_has_or_will_receive_it(self) -> None:
        for oid in self.needed() - self.in_doubt:
            owner = self.processes[owner_of(oid)]
            assert not owner.alive or oid in owner.canonical

    @invariant()
    def tables_are_consistent(self) -> None:
        for process in self.processes.values():
            process.holds.validate()

    def teardown(self) -> None:
        """When all has arrived and nobody has a ref, nothing is left."""
        for process in self.processes.values():
            self.drop_all(process.id)
        while any(wire for (_, to), wire in self.wires.items() if self.processes[to].alive):
            for source, to in self.wires:
                self.delivered(source, to)
                self.nothing_is_freed_while_somebody_has_or_will_receive_it()
                self.drop_all(to)
        for process in self.processes.values():
            if process.alive:
                assert not process.asking
                assert not process.borrowed
                assert not process.own
                left = {oid for oid in process.canonical if oid not in self.in_doubt}
                assert not left, "an object that nobody has was not freed"
                assert left or len(process.holds) <= len(self.in_doubt)


TestRefsBetweenProcesses = RefsBetweenProcesses.TestCase
TestRefsBetweenProcesses.settings = settings(max_examples=100, stateful_step_count=50, deadline=None)


@pytest.mark.parametrize("receiver", [0, 2], ids=["the owner", "a third process"])
@pytest.mark.parametrize("heard", [0, 1, 2, 3], ids=["unheard", "held", "sent", "received"])
def test_a_giver_that_dies_on_the_way_leaves_nothing(receiver: int, heard: int) -> None:
    world = RefsBetweenProcesses()
    owner, giver, to = world.IDS[0], world.IDS[1], world.IDS[receiver]
    world.create(owner)
    world.pass_on(owner, giver, 0, False)
    world.delivered(owner, giver)
    world.pass_on(giver, to, 0, False)
    for pair in [(giver, owner), (owner, giver), (giver, to)][:heard]:
        world.delivered(*pair)
    world.die(giver, 0)
    world.in_doubt.clear()
    for source in (giver, b"placement"):  # the owner hears of it before the receiver does
        while world.wires[source, owner]:
            world.delivered(source, owner)
    world.nothing_is_freed_while_somebody_has_or_will_receive_it()
    world.teardown()
    assert all(not process.holds for process in world.processes.values() if process.alive)
