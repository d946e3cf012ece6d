"""The life of actors as their watchers see it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from nbray.core.directory import LONGEST, MEMORY, Acquire, ActorDirectory, Later, Retire, Vacate
from nbray.core.effects import Tell
from nbray.core.ids import ActorId, ProcessId

OWNER, CALLER = b"owner000", b"caller00"
ACTOR = b"actor-1"
SPEC: Any = ((("CPU", 10_000),), (), ())
NOTHING: Any = ((), (), ())
ADDRESS = (b"process0", b"node", "/socket", "")
CRASH: Any = ("signal", "SIGKILL", 7, 9, "tail")


class World:
    def __init__(self) -> None:
        self.machine = ActorDirectory()
        self.seen: list[Any] = []

    def new(self, actor: bytes = ACTOR, owner: bytes = OWNER, **options: Any) -> list[Any]:
        self.machine.new(owner, actor, SPEC, b"creation", options)
        return self.drain()

    def drain(self) -> list[Any]:
        effects = self.machine.drain()
        self.machine.validate()
        self.seen += effects
        return effects

    def states(self, watcher: bytes = OWNER, actor: bytes = ACTOR) -> list[tuple[str, int]]:
        self.drain()
        messages = [e.message for e in self.seen if isinstance(e, Tell) and e.to == watcher]
        return [(m[2], m[3]) for m in messages if m[0] == "actor" and m[1] == actor]

    def last(self, watcher: bytes = OWNER) -> Any:
        self.drain()
        return [e.message for e in self.seen if isinstance(e, Tell) and e.to == watcher][-1]


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def alive(world: World) -> World:
    world.new(max_restarts=1, held=NOTHING)
    world.machine.alive(ACTOR, 0, ADDRESS)
    world.drain()
    return world


def test_a_new_actor_asks_for_a_place(world: World) -> None:
    assert world.new(held=NOTHING) == [Acquire(ACTOR, 0, OWNER, SPEC, NOTHING)]


def test_without_a_held_spec_it_keeps_what_it_needs_to_start(world: World) -> None:
    assert world.new() == [Acquire(ACTOR, 0, OWNER, SPEC, SPEC)]


def test_its_owner_is_told_where_it_lives(alive: World) -> None:
    assert alive.last() == ("actor", ACTOR, "alive", 0, ADDRESS, None)


def test_a_watcher_gets_the_present_state_at_once_and_then_each_change(alive: World) -> None:
    alive.machine.watch(CALLER, ACTOR)
    assert alive.last(CALLER) == ("actor", ACTOR, "alive", 0, ADDRESS, None)
    alive.machine.exited(ACTOR, 0, CRASH)
    assert alive.last(CALLER) == ("actor", ACTOR, "restarting", 1, None, CRASH)


def test_an_unknown_actor_is_dead_because_it_was_dropped(world: World) -> None:
    world.machine.watch(CALLER, b"nobody")
    _, _, state, _, _, reason = world.last(CALLER)
    assert (state, reason[0]) == ("dead", "dropped")


def test_who_asks_late_still_learns_why_it_died(alive: World) -> None:
    alive.machine.kill(ACTOR, True)
    alive.machine.watch(CALLER, ACTOR)
    _, _, state, _, _, reason = alive.last(CALLER)
    assert (state, reason[0]) == ("dead", "killed")


def test_of_two_claims_the_first_has_the_name_and_both_are_told(world: World) -> None:
    world.machine.claim(OWNER, 1, ACTOR, "n", "s", b"first")
    world.machine.claim(CALLER, 2, b"actor-2", "n", "s", b"second")
    assert world.last(OWNER) == ("named", 1, ACTOR, b"first")
    assert world.last(CALLER) == ("named", 2, ACTOR, b"first")
    assert Acquire(ACTOR, 0, OWNER, SPEC, SPEC) in world.new(name="n", namespace="s")


def test_a_claim_that_is_given_up_frees_the_name(world: World) -> None:
    world.machine.claim(OWNER, 1, ACTOR, "n", "s", b"first")
    world.machine.drop(ACTOR)
    world.machine.named(CALLER, 2, "n", "s")
    assert world.last(CALLER) == ("named", 2, None, None)


def test_a_dropped_actor_has_no_name_while_it_finishes(world: World) -> None:
    world.new(name="n", namespace="s")
    world.machine.alive(ACTOR, 0, ADDRESS)
    world.machine.drop(ACTOR)
    world.machine.named(CALLER, 2, "n", "s")
    assert world.last(CALLER) == ("named", 2, None, None)


def test_a_crash_restarts_it_under_the_next_epoch(alive: World) -> None:
    alive.machine.exited(ACTOR, 0, CRASH)
    effects = alive.drain()
    assert Acquire(ACTOR, 1, OWNER, SPEC, NOTHING) in effects
    alive.machine.alive(ACTOR, 1, ADDRESS)
    assert alive.states() == [("alive", 0), ("restarting", 1), ("alive", 1)]


def test_without_restarts_left_it_dies_of_its_last_loss(alive: World) -> None:
    alive.machine.exited(ACTOR, 0, CRASH)
    alive.machine.alive(ACTOR, 1, ADDRESS)
    alive.machine.exited(ACTOR, 1, CRASH)
    assert alive.last() == ("actor", ACTOR, "dead", 1, None, CRASH)


def test_news_of_an_older_incarnation_are_refused(alive: World) -> None:
    alive.machine.exited(ACTOR, 0, CRASH)
    alive.drain()
    alive.machine.exited(ACTOR, 0, CRASH)
    alive.machine.alive(ACTOR, 0, ADDRESS)
    assert alive.drain() == []


def test_an_init_that_raised_is_not_repeated(world: World) -> None:
    world.new(max_restarts=-1)
    failure: Any = ("init", b"pickled failure", 7, 0, "")
    world.machine.exited(ACTOR, 0, failure)
    assert Vacate(ACTOR) in world.drain()
    assert world.last() == ("actor", ACTOR, "dead", 0, None, failure)


def test_leaving_on_purpose_is_final(world: World) -> None:
    world.new(max_restarts=-1)
    world.machine.alive(ACTOR, 0, ADDRESS)
    world.machine.exited(ACTOR, 0, ("killed", "exit_actor", 7, 0, ""))
    assert world.states() == [("alive", 0), ("dead", 0)]


def test_restarts_back_off_and_the_first_is_immediate(world: World) -> None:
    world.new(max_restarts=-1)
    delays = []
    for epoch in range(12):
        world.machine.exited(ACTOR, epoch, CRASH)
        effects = world.drain()
        later = [e for e in effects if isinstance(e, Later)]
        delays.append(later[0].seconds if later else 0.0)
        if later:
            assert not any(isinstance(e, Acquire) for e in effects)
            world.machine.later(later[0].event)
            effects = world.drain()
        assert any(isinstance(e, Acquire) for e in effects)
    assert delays[:4] == [0.0, 0.1, 0.2, 0.4]
    assert delays[-1] == LONGEST


def test_an_incarnation_that_lived_for_long_ends_the_backoff(world: World) -> None:
    world.new(max_restarts=-1)
    world.machine.exited(ACTOR, 0, CRASH)
    world.machine.alive(ACTOR, 1, ADDRESS)
    (stable,) = [e for e in world.drain() if isinstance(e, Later)]
    world.machine.later(stable.event)
    world.machine.exited(ACTOR, 1, CRASH)
    assert any(isinstance(e, Acquire) for e in world.drain())


def test_a_restart_that_was_planned_does_not_raise_the_dead(world: World) -> None:
    world.new(max_restarts=-1)
    for epoch in range(2):
        world.machine.exited(ACTOR, epoch, CRASH)
    (later,) = [e for e in world.drain() if isinstance(e, Later)]
    world.machine.kill(ACTOR, True)
    world.drain()
    world.machine.later(later.event)
    assert world.drain() == []


def test_kill_ends_process_and_actor(alive: World) -> None:
    alive.machine.kill(ACTOR, True)
    assert Vacate(ACTOR) in alive.drain()
    assert alive.states()[-1] == ("dead", 0)


def test_kill_with_restart_is_a_crash(alive: World) -> None:
    alive.machine.kill(ACTOR, False)
    effects = alive.drain()
    assert [type(e) for e in effects if not isinstance(e, Tell)] == [Vacate, Acquire]
    assert alive.states()[-1] == ("restarting", 1)


def test_a_dropped_actor_is_retired_and_not_restarted(alive: World) -> None:
    alive.machine.drop(ACTOR)
    assert alive.drain() == [Retire(ACTOR)]
    alive.machine.exited(ACTOR, 0, ("exit", "exit code 0", 7, 0, ""))
    _, _, state, _, _, reason = alive.last()
    assert (state, reason[0]) == ("dead", "dropped")


def test_a_dropped_actor_that_crashes_says_so(alive: World) -> None:
    alive.machine.drop(ACTOR)
    alive.machine.exited(ACTOR, 0, CRASH)
    assert alive.last() == ("actor", ACTOR, "dead", 0, None, CRASH)


def test_an_actor_dropped_before_it_lives_is_retired_once_it_does(world: World) -> None:
    world.new()
    world.machine.drop(ACTOR)
    assert world.drain() == []
    world.machine.alive(ACTOR, 0, ADDRESS)
    assert world.drain()[-1] == Retire(ACTOR)


def test_actors_die_with_their_creator(alive: World) -> None:
    alive.machine.watch(CALLER, ACTOR)
    alive.machine.process_gone(OWNER)
    effects = alive.drain()
    assert Vacate(ACTOR) in effects
    assert not any(isinstance(e, Tell) and e.to == OWNER for e in effects)
    _, _, state, _, _, reason = alive.last(CALLER)
    assert (state, reason[0]) == ("dead", "owner")


def test_detached_actors_outlive_their_creator_and_are_found_again(world: World) -> None:
    world.new(name="counter", namespace="n", detached=True, max_restarts=1, handle=b"handle")
    world.machine.alive(ACTOR, 0, ADDRESS)
    world.machine.drop(ACTOR)
    world.machine.process_gone(OWNER)
    assert not any(isinstance(e, Retire | Vacate) for e in world.drain())
    world.machine.named(CALLER, 5, "counter", "n")
    assert world.last(CALLER) == ("named", 5, ACTOR, b"handle")
    world.machine.exited(ACTOR, 0, CRASH)
    assert any(isinstance(e, Acquire) for e in world.drain())


def test_a_name_that_is_taken_kills_the_second(world: World) -> None:
    world.new(name="counter", namespace="n")
    world.new(b"actor-2", CALLER, name="counter", namespace="n")
    _, actor, state, _, _, reason = world.last(CALLER)
    assert (actor, state, reason[0]) == (b"actor-2", "dead", "name")
    assert "counter" in reason[1]
    world.machine.watch(OWNER, b"actor-2")
    assert world.last()[5][0] == "name"


def test_a_name_is_free_again_when_its_actor_dies(world: World) -> None:
    world.new(name="counter")
    world.machine.kill(ACTOR, True)
    world.machine.named(CALLER, 1, "counter", "")
    assert world.last(CALLER) == ("named", 1, None, None)
    assert any(isinstance(e, Acquire) for e in world.new(b"actor-2", name="counter"))


def test_the_same_name_in_another_namespace_is_another_actor(world: World) -> None:
    world.new(name="counter", namespace="a")
    assert any(isinstance(e, Acquire) for e in world.new(b"actor-2", name="counter", namespace="b"))


def test_a_creation_said_twice_counts_once(world: World) -> None:
    world.new()
    assert world.new() == []


def test_the_dead_are_remembered_within_bounds(world: World) -> None:
    for number in range(MEMORY + 5):
        world.machine.new(OWNER, number.to_bytes(4, "big"), SPEC, b"", {})
        world.machine.kill(number.to_bytes(4, "big"), True)
    world.drain()
    assert len(world.machine.records()) == MEMORY


class Lives(RuleBasedStateMachine):
    """Watchers see epochs that only grow, nothing after death, and one living actor a name."""

    def __init__(self) -> None:
        super().__init__()
        self.machine = ActorDirectory()
        self.count = 0
        self.actors: list[bytes] = []
        self.seen: dict[tuple[bytes, bytes], list[tuple[str, int]]] = {}
        self.waiting: set[tuple[bytes, int]] = set()
        self.later: list[Any] = []

    def settle(self) -> None:
        self.machine.validate()
        for effect in self.machine.drain():
            if isinstance(effect, Tell):
                _, actor, state, epoch, address, reason = effect.message
                history = self.seen.setdefault((effect.to, actor), [])
                assert not history or history[-1][1] <= epoch
                assert (address is not None) == (state == "alive")
                assert (reason is None) == (state in ("alive", "pending"))
                history.append((state, epoch))
            elif isinstance(effect, Acquire):
                self.waiting.add((effect.actor, effect.epoch))
            elif isinstance(effect, Later):
                self.later.append(effect.event)

    @rule(
        owner=st.sampled_from([OWNER, CALLER]),
        restarts=st.integers(-1, 2),
        name=st.sampled_from(["", "x", "y"]),
    )
    def new(self, owner: bytes, restarts: int, name: str) -> None:
        self.count += 1
        actor = b"actor" + self.count.to_bytes(2, "big")
        self.actors.append(actor)
        self.machine.new(owner, actor, SPEC, b"c", {"max_restarts": restarts, "name": name})
        self.settle()

    @precondition(lambda self: self.actors)
    @rule(
        data=st.data(),
        what=st.sampled_from(["alive", "exited", "init", "kill", "restart", "drop", "watch"]),
        epoch=st.integers(0, 3),
    )
    def event(self, data: Any, what: str, epoch: int) -> None:
        actor = data.draw(st.sampled_from(self.actors))
        if what == "alive" and (actor, epoch) in self.waiting:
            self.machine.alive(actor, epoch, ADDRESS)
        elif what == "exited":
            self.machine.exited(actor, epoch, CRASH)
        elif what == "init":
            self.machine.exited(actor, epoch, ("init", b"", 0, 0, ""))
        elif what in ("kill", "restart"):
            self.machine.kill(actor, what == "kill")
        elif what == "drop":
            self.machine.drop(actor)
        elif what == "watch":
            self.machine.watch(b"watcher0", actor)
        self.settle()

    @precondition(lambda self: self.later)
    @rule()
    def time_passes(self) -> None:
        self.machine.later(self.later.pop(0))
        self.settle()

    @rule(process=st.sampled_from([OWNER, CALLER, b"watcher0"]))
    def process_gone(self, process: bytes) -> None:
        self.machine.process_gone(process)
        self.settle()

    @invariant()
    def nothing_lives_after_death(self) -> None:
        for (watcher, _), history in self.seen.items():
            if watcher != b"watcher0":  # who may ask for the dead again
                assert all(state != "dead" for state, _ in history[:-1])


TestLives = Lives.TestCase
TestLives.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)


def test_an_actor_whose_handle_came_before_its_creators_word_is_expected() -> None:
    directory = ActorDirectory()
    directory.watch(ProcessId(b"watcher!"), ActorId(b"creator!" + bytes(8)), creator_lives=True)
    assert not directory.drain()
    directory.new(ProcessId(b"creator!"), ActorId(b"creator!" + bytes(8)), ((), (), ()), b"", {})
    directory.alive(ActorId(b"creator!" + bytes(8)), 0, ("address",))
    told = [effect.to for effect in directory.drain() if isinstance(effect, Tell)]
    assert set(told) == {b"watcher!", b"creator!"}


def test_an_expected_actor_is_dead_with_its_creator_or_when_it_is_given_up() -> None:
    directory = ActorDirectory()
    for end in (
        lambda: directory.process_gone(ProcessId(b"creator!")),
        lambda: directory.drop(ActorId(b"creator!" + bytes(8))),
    ):
        directory.watch(ProcessId(b"watcher!"), ActorId(b"creator!" + bytes(8)), creator_lives=True)
        end()
        told = [effect.message for effect in directory.drain() if effect.to == b"watcher!"]
        assert [message[2] for message in told] == ["dead"]


def test_an_actor_that_is_killed_before_it_is_announced_never_asks_for_a_place() -> None:
    directory = ActorDirectory()
    creator, actor = ProcessId(b"creator!"), ActorId(b"creator!" + bytes(8))
    directory.claim(creator, 1, actor, "n", "s", b"handle")
    directory.watch(ProcessId(b"watcher!"), actor, creator_lives=True)
    directory.drain()
    directory.kill(actor, False)  # it may restart: nothing to end yet
    assert not directory.drain()
    directory.kill(actor, True)
    told = {effect.to: effect.message for effect in directory.drain() if isinstance(effect, Tell)}
    assert {to: (message[2], message[5][0]) for to, message in told.items()} == {
        b"creator!": ("dead", "killed"),
        b"watcher!": ("dead", "killed"),
    }
    directory.new(creator, actor, ((), (), ()), b"", {"name": "n", "namespace": "s"})
    assert not directory.drain()
    directory.named(creator, 2, "n", "s")
    (told_name,) = directory.drain()
    assert told_name == Tell(creator, ("named", 2, None, None))
    directory.validate()
