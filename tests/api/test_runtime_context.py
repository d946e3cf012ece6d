"""What a task or an actor can find out about itself."""

import asyncio

import pytest
from leaks import census, leaks

import nbray
from nbray.events import TaskSubmitted


@pytest.fixture(scope="module", autouse=True)
def pool():
    before = census()
    nbray.init(num_cpus=2, num_gpus=2, resources={"x": 1})
    yield
    nbray.shutdown()
    assert not leaks(before)


@nbray.remote
def names():
    context = nbray.get_runtime_context()
    return context.get_task_name(), context.get_task_function_name()


@nbray.remote
def assigned():
    return nbray.get_runtime_context().get_assigned_resources()


@nbray.remote
class Self:
    def __init__(self):
        self.at_first = self.names()

    def names(self):
        context = nbray.get_runtime_context()
        return context.get_task_name(), context.get_task_function_name()

    def born(self):
        return self.at_first

    def assigned(self):
        return nbray.get_runtime_context().get_assigned_resources()

    def me(self):
        return nbray.get_runtime_context().current_actor

    def call_myself(self):
        return nbray.get_runtime_context().current_actor.names.remote()


HERE = __name__


# --- names ---------------------------------------------------------------------------------------------------------
def test_a_task_knows_its_name_and_its_function():
    assert nbray.get(names.remote()) == ("names", f"{HERE}.names")


def test_a_name_that_was_given_to_a_task_is_its_name():
    assert nbray.get(names.options(name="mine").remote()) == ("mine", f"{HERE}.names")


def test_a_method_knows_its_name_and_its_function():
    actor = Self.remote()
    assert nbray.get(actor.names.remote()) == ("Self.names", f"{HERE}.Self.names")
    assert nbray.get(actor.names.options(name="mine").remote()) == ("mine", f"{HERE}.Self.names")


def test_a_constructor_knows_its_name():
    assert nbray.get(Self.remote().born.remote()) == ("Self.__init__", f"{HERE}.Self.__init__")


def test_async_methods_that_run_at_a_time_know_their_own_names():
    @nbray.remote
    class Both:
        def __init__(self):
            self.second = asyncio.Event()

        async def names(self, last):
            self.second.set() if last else await self.second.wait()
            return nbray.get_runtime_context().get_task_name()

    both = Both.remote()
    refs = [both.names.options(name=name).remote(name == "b") for name in ("a", "b")]
    assert nbray.get(refs) == ["a", "b"]


def test_a_generator_knows_its_name():
    @nbray.remote
    def items():
        yield nbray.get_runtime_context().get_task_name()

    assert [nbray.get(ref) for ref in items.options(name="stream").remote()] == ["stream"]


def test_a_name_that_was_given_to_a_methods_call_is_shown_in_the_feed():
    actor = Self.remote()
    seen = nbray.feed().end
    nbray.get(actor.names.options(name="shown").remote())
    told, _ = nbray.feed().since(seen)
    assert [event.name for event in told if isinstance(event, TaskSubmitted)] == ["shown"]


def test_a_driver_runs_no_task():
    context = nbray.get_runtime_context()
    assert context.get_task_name() is None
    assert context.get_task_function_name() is None


# --- resources -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("options", "has"),
    [
        ({}, {"CPU": 1.0}),
        ({"num_cpus": 0}, {}),
        ({"num_cpus": 0.5, "resources": {"x": 0.25}}, {"CPU": 0.5, "x": 0.25}),
        ({"num_cpus": 0, "num_gpus": 1}, {"GPU": 1.0}),
    ],
)
def test_a_task_knows_what_it_has(options, has):
    assert nbray.get(assigned.options(**options).remote()) == has


def test_an_executor_that_serves_another_lease_knows_what_that_has():
    assert nbray.get(assigned.remote()) == {"CPU": 1.0}
    assert nbray.get(assigned.options(num_cpus=0.5).remote()) == {"CPU": 0.5}
    assert nbray.get(assigned.remote()) == {"CPU": 1.0}


def test_an_actor_knows_what_it_keeps():
    assert nbray.get(Self.remote().assigned.remote()) == {}
    assert nbray.get(Self.options(num_cpus=1, num_gpus=0.5).remote().assigned.remote()) == {
        "CPU": 1.0,
        "GPU": 0.5,
    }


def test_a_driver_has_no_resources_of_its_own():
    with pytest.raises(AssertionError, match="for tasks and actors"):
        nbray.get_runtime_context().get_assigned_resources()


def test_accelerator_ids_are_those_of_the_gpus_as_strings():
    @nbray.remote(num_gpus=2)
    def look():
        return nbray.get_runtime_context().get_accelerator_ids()

    assert nbray.get(look.remote()) == {"GPU": ["0", "1"]}
    assert nbray.get_runtime_context().get_accelerator_ids() == {"GPU": []}


# --- the actor itself ----------------------------------------------------------------------------------------------
def test_an_actor_has_a_handle_to_itself():
    actor = Self.remote()
    assert nbray.get(actor.me.remote()) == actor


def test_an_actor_calls_itself():
    actor = Self.remote()
    assert nbray.get(nbray.get(actor.call_myself.remote())) == ("Self.names", f"{HERE}.Self.names")


def test_a_restarted_actor_has_a_handle_to_itself():
    actor = Self.options(max_restarts=1, max_task_retries=-1).remote()
    nbray.get(actor.names.remote())
    nbray.kill(actor, no_restart=False)
    assert nbray.get(actor.me.remote()) == actor


def test_a_handle_that_an_actor_gave_out_keeps_it_alive():
    actor = Self.remote()
    other = nbray.get(actor.me.remote())
    del actor
    assert nbray.get(other.names.remote())[0] == "Self.names"


def test_what_is_no_actor_has_no_handle_to_itself():
    @nbray.remote
    def ask():
        return nbray.get_runtime_context().current_actor

    with pytest.raises(RuntimeError, match="current_actor is for actors"):
        nbray.get_runtime_context().current_actor
    with pytest.raises(RuntimeError, match="current_actor is for actors"):
        nbray.get(ask.remote())
