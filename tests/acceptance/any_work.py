"""What runs in the executors of ``test_any_order``: there each of them would import Hypothesis, and take seconds to start."""

from __future__ import annotations

import nbray as ray


@ray.remote(max_retries=-1)
def add(a, b):
    return a + b


@ray.remote(max_retries=-1)
def total(boxes):
    return sum(map(len, ray.get(boxes)))


@ray.remote(max_retries=-1)
def refuse(number):
    raise KeyError(number)


@ray.remote(max_restarts=-1, max_task_retries=-1)
class Register:
    """Keeps nothing that a restart would lose."""

    def echo(self, value):
        return value


@ray.remote
class Counter:
    def __init__(self):
        self.count = 0

    def next(self):
        self.count += 1
        return self.count


@ray.remote(max_retries=-1)
def echo_size(size):
    return str(size).encode()
