"""Environment variables that tasks and actors are given, and hand on."""

import json
import os

import pytest

import nbray
from nbray.testing import Cluster

NAMES = ("OF_SESSION", "OF_PARENT", "OF_CHILD")


@pytest.fixture(params=["a pool of our own", "a cluster"])
def session(request):
    variables = {"env_vars": {"OF_SESSION": "1"}}
    if request.param == "a cluster":
        with Cluster() as cluster:
            cluster.add_node(num_cpus=2)
            with nbray.init(cluster.address, runtime_env=variables):
                yield
    else:
        with nbray.init(num_cpus=2, runtime_env=variables):
            yield


@nbray.remote
def look():
    return {name: os.environ[name] for name in NAMES if name in os.environ}


@nbray.remote
class Looks:
    def look(self):
        return nbray.get(look.remote())

    def itself(self):
        return {name: os.environ[name] for name in NAMES if name in os.environ}


def env(**variables):
    return {"env_vars": variables}


def test_all_have_what_the_session_has_and_hand_on_what_they_have_themselves(session):
    @nbray.remote(runtime_env=env(OF_PARENT="2"))
    def parent():
        looks = Looks.remote()
        return [
            look.remote(),
            look.options(runtime_env=env(OF_CHILD="3")).remote(),
            look.options(runtime_env=env(OF_PARENT="other")).remote(),
            looks.itself.remote(),
            looks.look.remote(),
        ]

    own, child, other, actor, of_actor = map(nbray.get, nbray.get(parent.remote()))
    handed_on = {"OF_SESSION": "1", "OF_PARENT": "2"}
    assert own == actor == of_actor == handed_on
    assert child == {**handed_on, "OF_CHILD": "3"}
    assert other == {"OF_SESSION": "1", "OF_PARENT": "other"}
    assert nbray.get(look.remote()) == {"OF_SESSION": "1"}
    assert "OF_SESSION" not in os.environ


def test_an_actor_hands_on_what_it_has(session):
    looks = Looks.options(runtime_env=env(OF_PARENT="2")).remote()
    assert (
        nbray.get([looks.itself.remote(), looks.look.remote()]) == [{"OF_SESSION": "1", "OF_PARENT": "2"}] * 2
    )


def test_the_runtime_context_tells_it(session):
    @nbray.remote
    def told():
        context = nbray.get_runtime_context()
        return context.runtime_env, json.loads(context.get_runtime_env_string())

    nested = nbray.remote(runtime_env=env(OF_PARENT="2"))(lambda: nbray.get(told.remote()))
    assert nbray.get_runtime_context().runtime_env == env(OF_SESSION="1")
    assert nbray.get(told.remote()) == (env(OF_SESSION="1"),) * 2
    assert nbray.get(nested.remote()) == (env(OF_SESSION="1", OF_PARENT="2"),) * 2


def test_where_nothing_is_given_nothing_is_told():
    with nbray.init(num_cpus=1):
        assert nbray.get_runtime_context().runtime_env == {}
        assert (
            nbray.get(nbray.remote(lambda: nbray.get_runtime_context().get_runtime_env_string()).remote())
            == "{}"
        )
