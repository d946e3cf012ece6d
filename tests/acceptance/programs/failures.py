"""How failures of tasks and actors look to a program that catches them."""

import os

import ray
from ray.exceptions import (
    ActorDiedError,
    GetTimeoutError,
    RayActorError,
    RayError,
    RayTaskError,
    WorkerCrashedError,
)


class Odd(Exception):
    def __init__(self, code, text="odd"):
        super().__init__(code, text)
        self.code = code


@ray.remote
def fail(kind):
    raise Odd(3) if kind == "odd" else ValueError("bad value")


@ray.remote
def use(value):
    return value


@ray.remote(max_retries=0)
def crash():
    os._exit(7)


@ray.remote(max_retries=2, retry_exceptions=[ConnectionError])
def flaky(counter):
    if ray.get(counter.next.remote()) < 3:
        raise ConnectionError("not yet")
    return "at last"


@ray.remote
class Counter:
    def __init__(self, start=0):
        self.count = 1 // (1 - start)

    def next(self):
        self.count += 1
        return self.count - 1

    def die(self):
        os._exit(1)

    def fail(self):
        raise KeyError("nothing")


def caught(what, *kinds):
    try:
        what()
    except BaseException as error:
        return [kind.__name__ for kind in kinds if isinstance(error, kind)], error
    return "nothing"


ray.init(num_cpus=2)
kinds, error = caught(lambda: ray.get(fail.remote("value")), ValueError, RayTaskError, RayError, TypeError)
print("task", kinds, type(error.cause).__name__, str(error.cause), "bad value" in str(error))
kinds, error = caught(lambda: ray.get(fail.remote("odd")), Odd, RayTaskError)
print("own type", kinds, error.code, error.cause.args)
print("dependent", caught(lambda: ray.get(use.remote(fail.remote("value"))), ValueError, RayTaskError)[0])
print("crash", caught(lambda: ray.get(crash.remote()), WorkerCrashedError, RayTaskError, RayError)[0])
counter = Counter.remote()
print("retried", ray.get(flaky.remote(counter)), ray.get(counter.next.remote()))
print("method", caught(lambda: ray.get(counter.fail.remote()), KeyError, RayTaskError, RayActorError)[0])
print("goes on", ray.get(counter.next.remote()))
print("died", caught(lambda: ray.get(counter.die.remote()), ActorDiedError, RayActorError, RayTaskError)[0])
print("dead", caught(lambda: ray.get(counter.next.remote()), ActorDiedError, RayActorError)[0])
born = Counter.remote(1)
kinds, error = caught(lambda: ray.get(born.next.remote()), ActorDiedError, RayActorError, ZeroDivisionError)
print("born dead", kinds, "ZeroDivisionError" in str(error))
killed = Counter.remote()
ray.get(killed.next.remote())
ray.kill(killed)
print("killed", caught(lambda: ray.get(killed.next.remote()), ActorDiedError, RayActorError)[0])
never = Counter.options(resources={}).remote()
print("late", caught(lambda: ray.get(use.remote(fail.remote("value")), timeout=-1), ValueError)[0])
print("kinds", issubclass(GetTimeoutError, TimeoutError), issubclass(ActorDiedError, RayActorError))
print("called", caught(lambda: use(1), TypeError)[0], caught(lambda: Counter(), TypeError)[0])
print(
    "arguments",
    caught(lambda: use.remote(1, 2), TypeError)[0],
    caught(lambda: counter.nothing, AttributeError)[0],
)
print("options", caught(lambda: use.options(num_cpu=1), ValueError)[0])
print("put a ref", caught(lambda: ray.put(ray.put(1)), TypeError)[0])
print(
    "get", caught(lambda: ray.get(1), ValueError)[0], caught(lambda: ray.get([1]), ValueError, TypeError)[0]
)
refs = [ray.put(1), ray.put(2)]
print("wait", [caught(call, ValueError, TypeError)[0] for call in (
    lambda: ray.wait(refs[0]), lambda: ray.wait(refs, num_returns=3), lambda: ray.wait(refs + refs),
    lambda: ray.wait(refs, timeout=-1), lambda: ray.wait(refs, num_returns=0),
)])  # fmt: skip
print("twice", caught(lambda: ray.init(), RuntimeError)[0])
ray.shutdown()
