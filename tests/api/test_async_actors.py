"""Actors with ``async def`` methods: many calls at a time in one process."""

import asyncio
import os

import pytest
from gates import Gate

import nbray

pytestmark = pytest.mark.usefixtures("pool")


@nbray.remote
def echo(value):
    return value


@nbray.remote
class Signal:
    def __init__(self):
        self.event = asyncio.Event()
        self.waiting = 0
        self.most = 0

    async def wait(self):
        self.waiting += 1
        self.most = max(self.most, self.waiting)
        await self.event.wait()
        self.waiting -= 1
        return self.most

    async def send(self):
        self.event.set()

    async def count(self):
        return self.waiting

    def plain(self, x):
        return x

    async def fail(self):
        await asyncio.sleep(0)
        raise KeyError("async")

    async def pid(self):
        return os.getpid()


def waiting(signal, n):
    while nbray.get(signal.count.remote()) < n:
        pass


def test_calls_interleave():
    signal = Signal.remote()
    refs = [signal.wait.remote() for _ in range(100)]
    waiting(signal, 100)
    nbray.get(signal.send.remote())
    assert set(nbray.get(refs)) == {100}


def test_plain_methods_run_on_the_loop_too():
    signal = Signal.remote()
    assert nbray.get([signal.plain.remote(1), signal.pid.remote()])[0] == 1


def test_an_error_in_a_coroutine_is_of_both_types():
    signal = Signal.remote()
    with pytest.raises(KeyError, match="async"):
        nbray.get(signal.fail.remote())
    assert nbray.get(signal.plain.remote(1)) == 1


def test_max_concurrency_bounds_calls_under_way():
    @nbray.remote(max_concurrency=2)
    class Bounded:
        def __init__(self):
            self.running = self.most = 0

        async def run(self):
            self.running += 1
            self.most = max(self.most, self.running)
            for _ in range(5):
                await asyncio.sleep(0)
            self.running -= 1
            return self.most

    bounded = Bounded.remote()
    assert max(nbray.get([bounded.run.remote() for _ in range(20)])) == 2


def test_async_methods_may_await_refs_and_submit():
    @nbray.remote
    class Relay:
        async def one(self, refs):
            return await refs[0]

        async def many(self, n):
            return await asyncio.gather(*[echo.remote(i) for i in range(n)])

        async def failing(self):
            try:
                await nbray.remote(lambda: 1 / 0).remote()
            except ZeroDivisionError:
                return "caught"

    relay = Relay.remote()
    assert nbray.get(relay.one.remote([echo.remote(3)])) == 3
    assert nbray.get(relay.many.remote(20)) == list(range(20))
    assert nbray.get(relay.failing.remote()) == "caught"


def test_the_loop_goes_on_while_a_ref_is_awaited(tmp_path):
    gate = Gate(tmp_path)

    @nbray.remote
    def late():
        gate.wait()
        return "late"

    @nbray.remote
    class Relay:
        async def one(self, refs):
            return await refs[0]

        async def ping(self):
            return "pong"

    relay = Relay.remote()
    ref = relay.one.remote([late.remote()])
    assert nbray.get(relay.ping.remote()) == "pong"
    gate.open()
    assert nbray.get(ref) == "late"


def test_async_actors_call_each_other():
    @nbray.remote
    class Player:
        async def play(self, other, n):
            return n if n == 0 else await other[0].play.remote([nbray.get_actor("ping")], n - 1)

    ping = Player.options(name="ping").remote()
    assert nbray.get(ping.play.remote([ping], 5)) == 0


def test_background_work_of_an_async_actor_goes_on_between_calls():
    @nbray.remote
    class Ticker:
        def __init__(self):
            self.ticks = 0

        async def start(self):
            self.task = asyncio.create_task(self.run())

        async def run(self):
            while True:
                self.ticks += 1
                await asyncio.sleep(0.001)

        async def seen(self):
            return self.ticks

    ticker = Ticker.remote()
    nbray.get(ticker.start.remote())
    first = nbray.get(ticker.seen.remote())
    while nbray.get(ticker.seen.remote()) <= first:
        pass


def test_several_returns_of_an_async_method():
    @nbray.remote
    class Two:
        @nbray.method(num_returns=2)
        async def two(self):
            return 1, 2

    assert nbray.get(Two.remote().two.remote()) == [1, 2]


def test_killing_an_async_actor_answers_all_its_calls():
    signal = Signal.remote()
    refs = [signal.wait.remote() for _ in range(10)]
    waiting(signal, 10)
    nbray.kill(signal)
    for ref in refs:
        with pytest.raises(nbray.exceptions.ActorDiedError):
            nbray.get(ref)


def test_static_and_class_methods_may_be_the_only_async_ones():
    @nbray.remote
    class Static:
        @staticmethod
        async def plus(x):
            return x + 1

    @nbray.remote
    class OfClass:
        step = 2

        @classmethod
        async def plus(cls, x):
            return x + cls.step

    both = Static.remote(), OfClass.remote()
    assert nbray.get([actor.plus.remote(1) for actor in both]) == [2, 3]


# --- constructors -----------------------------------------------------------------------------------------------------


def test_a_constructor_may_start_asyncio_tasks_in_the_loop_of_the_methods():
    @nbray.remote
    class Ticks:
        def __init__(self):
            self.loop = asyncio.get_running_loop()
            self.ticked = asyncio.Event()
            self.ticking = asyncio.create_task(self.tick())

        async def tick(self):
            await asyncio.sleep(0)
            self.ticked.set()

        async def wait(self):
            await self.ticked.wait()
            return asyncio.get_running_loop() is self.loop

    assert nbray.get(Ticks.remote().wait.remote(), timeout=30)


def test_a_constructor_may_be_async():
    @nbray.remote
    class Slow:
        async def __init__(self, ref, *, more):
            self.value = await ref[0] + more

        def get(self):
            return self.value

    assert nbray.get(Slow.remote([nbray.put(1)], more=2).get.remote(), timeout=30) == 3
    with pytest.raises(TypeError, match="more"):
        Slow.remote([])


def test_that_an_asyncio_task_was_cancelled_reaches_the_caller_as_an_exception():
    @nbray.remote
    class Careless:
        async def work(self):
            task = asyncio.create_task(asyncio.sleep(600))
            task.cancel()
            await task

        async def answer(self):
            return "answer"

    actor = Careless.remote()
    with pytest.raises(nbray.exceptions.TaskCancelledError, match="awaited was cancelled") as caught:
        nbray.get(actor.work.remote(), timeout=30)
    assert isinstance(caught.value, nbray.exceptions.RayTaskError)
    assert "await task" in str(caught.value)
    assert nbray.get(actor.answer.remote()) == "answer"


@pytest.mark.parametrize("kind", ["plain", "async"])
def test_what_the_constructor_of_an_async_actor_raises_is_told_without_asyncios_frames(kind):
    class Plain:
        def __init__(self):
            raise ValueError("no such file")

        async def get(self):
            pass

    class Async(Plain):
        async def __init__(self):
            raise ValueError("no such file")

    actor = nbray.remote({"plain": Plain, "async": Async}[kind]).remote()
    with pytest.raises(nbray.exceptions.ActorDiedError, match="no such file") as caught:
        nbray.get(actor.get.remote(), timeout=30)
    assert "in __init__" in str(caught.value) and "asyncio" not in str(caught.value)
