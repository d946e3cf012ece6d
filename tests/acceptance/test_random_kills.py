"""kill -9 of executors at random while tasks, nested tasks and actor calls run: every one of them gives its value."""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Iterator

import psutil
from ends import until_a_call_ends

import nbray as ray


@contextlib.contextmanager
def killing(seconds_between: float, seed: int, most: int) -> Iterator[list[int]]:
    """Kills an executor now and then, the template excepted, and not before a call has ended since the last one. Yields the pids
    killed so far, ``most`` at the end."""
    killed: list[int] = []
    over = threading.Event()
    chance = random.Random(seed)
    driver = psutil.Process()
    templates = driver.children()

    def kill() -> None:
        while len(killed) < most and not over.wait(chance.uniform(0, 2 * seconds_between)):
            executors = [p for p in driver.children(recursive=True) if p not in templates]
            if executors:
                victim = chance.choice(executors)
                with contextlib.suppress(psutil.NoSuchProcess):
                    victim.kill()
                    killed.append(victim.pid)
                    until_a_call_ends(over)

    thread = threading.Thread(target=kill, name="killer")
    thread.start()
    try:
        yield killed
    finally:
        over.set()
        thread.join()


def test_no_task_is_lost_while_executors_are_killed_at_random(pool):
    @ray.remote(max_retries=-1)
    def leaf(i: int) -> int:
        return sum(range(20_000)) * 0 + i

    @ray.remote(max_retries=-1)
    def tree(i: int) -> int:
        return i + sum(ray.get([leaf.remote(j) for j in range(5)]))

    @ray.remote(max_restarts=-1, max_task_retries=-1)
    class Echo:
        def say(self, i: int) -> int:
            return i

    echo = Echo.remote()
    with killing(0.03, seed=1, most=40) as killed:
        while len(killed) < 40:
            flat = [leaf.remote(i) for i in range(40)]
            nested = [tree.remote(i) for i in range(4)]
            said = [echo.say.remote(i) for i in range(40)]
            assert ray.get(flat, timeout=60) == list(range(40))
            assert ray.get(nested, timeout=60) == [10 + i for i in range(4)]
            assert ray.get(said, timeout=60) == list(range(40))
    assert ray.get(leaf.remote(7), timeout=60) == 7


def test_large_results_survive_the_executors_that_made_them(pool):
    @ray.remote(max_retries=-1)
    def block(i: int) -> bytes:
        return bytes([i]) * (1 << 18)

    refs = [block.remote(i) for i in range(8)]
    ray.wait(refs, num_returns=8)
    for process in psutil.Process().children(recursive=True):
        if process not in psutil.Process().children():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
    assert [value[0] for value in ray.get(refs)] == list(range(8))
