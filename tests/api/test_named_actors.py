"""Names of actors: one living actor a name and namespace, whoever asks."""

import os

import pytest
from gates import Gate, until

import nbray
from nbray.exceptions import ActorAlreadyExistsError, ActorDiedError

pytestmark = pytest.mark.usefixtures("pool")


@nbray.remote(num_cpus=0)
class Named:
    def __init__(self, value=None):
        self.value = value

    def pid(self):
        return os.getpid()

    def get(self):
        return self.value

    def name(self):
        return nbray.get_runtime_context().get_actor_name()


def test_a_taken_name_is_an_error_where_the_actor_is_created():
    first = Named.options(name="taken").remote()
    with pytest.raises(ActorAlreadyExistsError, match="'taken'"):
        Named.options(name="taken").remote()
    assert issubclass(ActorAlreadyExistsError, ValueError)
    assert nbray.get_actor("taken") == first


def test_a_name_taken_by_another_process_is_the_same_error():
    @nbray.remote(num_cpus=0)
    def create():
        try:
            Named.options(name="elsewhere").remote()
        except ActorAlreadyExistsError:
            return "refused"

    keep = Named.options(name="elsewhere").remote()
    assert nbray.get(create.remote()) == "refused"
    assert nbray.get(keep.get.remote()) is None


def test_many_processes_at_once_get_the_same_actor(tmp_path):
    gate = Gate(tmp_path)

    @nbray.remote(num_cpus=0)
    def find(gate):
        gate.wait()
        handle = Named.options(name="shared", get_if_exists=True, lifetime="detached").remote()
        return nbray.get(handle.pid.remote())

    refs = [find.remote(gate) for _ in range(4)]
    gate.until_came(4)
    gate.open()
    assert len(set(nbray.get(refs))) == 1
    nbray.kill(nbray.get_actor("shared"))


def test_get_if_exists_creates_the_first_and_finds_it_then():
    first = Named.options(name="once", get_if_exists=True).remote(1)
    again = Named.options(name="once", get_if_exists=True).remote(2)
    assert again == first
    assert nbray.get(again.get.remote()) == 1


def test_namespaces_keep_names_apart():
    here = Named.options(name="same").remote("here")
    there = Named.options(name="same", namespace="there").remote("there")
    assert here != there
    assert nbray.get(nbray.get_actor("same").get.remote()) == "here"
    assert nbray.get(nbray.get_actor("same", namespace="there").get.remote()) == "there"


def test_a_name_counts_while_the_constructors_arguments_are_pending(tmp_path):
    gate = Gate(tmp_path)

    @nbray.remote(num_cpus=0)
    def late():
        gate.wait()
        return "late"

    actor = Named.options(name="pending").remote(late.remote())
    found = nbray.get_actor("pending")
    assert found == actor
    with pytest.raises(ActorAlreadyExistsError):
        Named.options(name="pending").remote()
    gate.open()
    assert nbray.get(found.get.remote()) == "late"


def test_a_name_is_free_again_after_a_kill_and_after_the_last_handle():
    first = Named.options(name="again").remote()
    nbray.kill(first)
    second = Named.options(name="again").remote(2)
    assert nbray.get(second.get.remote()) == 2
    del second

    def free():
        try:
            nbray.get_actor("again")
        except ValueError:
            return True
        return False

    until(free)
    third = Named.options(name="again").remote(3)
    assert nbray.get(third.get.remote()) == 3


def test_a_name_is_not_taken_by_an_actor_that_could_not_be_made():
    with pytest.raises(TypeError):
        Named.options(name="broken").remote(i for i in ())
    keep = Named.options(name="broken").remote(1)
    assert nbray.get(keep.get.remote()) == 1


def test_a_detached_actor_of_a_local_pool_lives_without_handles():
    pid = nbray.get(Named.options(name="alone", lifetime="detached").remote().pid.remote())
    assert nbray.get(nbray.get_actor("alone").pid.remote()) == pid
    handle = nbray.get_actor("alone")
    nbray.kill(handle)
    with pytest.raises(ActorDiedError):
        nbray.get(handle.pid.remote())


def test_an_actor_knows_its_name_and_others_have_none():
    @nbray.remote(num_cpus=0)
    def task():
        return nbray.get_runtime_context().get_actor_name()

    named, nameless = Named.options(name="known").remote(), Named.remote()
    assert nbray.get([named.name.remote(), nameless.name.remote(), task.remote()]) == ["known", "", None]
    assert nbray.get_runtime_context().get_actor_name() is None


@pytest.mark.parametrize(("name", "error"), [(None, ValueError), ("", ValueError), (3, TypeError)])
def test_an_actor_is_found_by_a_name_only(name, error):
    with pytest.raises(error, match="name"):
        nbray.get_actor(name)
