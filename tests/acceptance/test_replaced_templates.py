"""A template that stands still for good: nothing can be started, until it is replaced."""

from __future__ import annotations

import signal

import psutil
import pytest

import nbray as ray
from nbray import _runtime
from nbray.exceptions import ActorDiedError
from nbray.executor import template_link


@ray.remote
def echo(value):
    return value


@ray.remote
class Actor:
    def echo(self, value):
        return value


@pytest.fixture
def own_pool(monkeypatch):
    monkeypatch.setattr(template_link, "_LOOK", 0.25)
    monkeypatch.setattr(template_link, "_START", 1 << 30)
    with ray.init(num_cpus=2):
        yield


def test_it_is_replaced_once_it_is_needed_and_whoever_waits_for_it_hears_why(own_pool):
    assert ray.get(echo.remote(1), timeout=30) == 1
    template = _runtime.current().pool.node._processes._link.process
    template.send_signal(signal.SIGSTOP)
    assert ray.get(echo.remote(2), timeout=30) == 2
    with pytest.raises(ActorDiedError, match="template process stood still for"):
        ray.get(Actor.remote().echo.remote(3), timeout=30)
    assert ray.get(Actor.remote().echo.remote(4), timeout=30) == 4
    assert ray.get(echo.remote(5), timeout=30) == 5
    assert not psutil.pid_exists(template.pid)


def test_tasks_that_it_had_not_started_run_on_the_next_one(own_pool):
    assert ray.get(echo.remote(1), timeout=30) == 1
    _runtime.current().pool.node._processes._link.process.send_signal(signal.SIGSTOP)
    other = echo.options(
        max_retries=0, runtime_env={"env_vars": {"NOBODY": "has this"}}
    )  # in processes of its own
    refs = [other.remote(i) for i in range(20)]
    assert ray.get(refs, timeout=30) == list(range(20))
