"""Actors whose processes die: restarts, retries of their calls, and an answer to every call."""

import os
import signal

import psutil
import pytest
from gates import Gate, Marks, until

import nbray
from nbray.exceptions import ActorDiedError, ActorUnavailableError, RayActorError

pytestmark = pytest.mark.usefixtures("pool")


@nbray.remote
class Worker:
    def __init__(self, marks=None):
        self.n = 0
        self.marks = marks
        if marks is not None:
            marks.mark("init")

    def inc(self):
        self.n += 1
        return self.n

    def pid(self):
        return os.getpid()

    def die(self):
        if self.marks is not None:
            self.marks.mark("die")
        os._exit(1)

    def die_once(self):
        self.marks.mark("once")
        if self.marks.count("once") < 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return "survived"

    def reconstructed(self):
        return nbray.get_runtime_context().was_current_actor_reconstructed

    def stand(self, gate):
        gate.wait()


def kill(worker):
    pid = nbray.get(worker.pid.remote(), timeout=30)
    os.kill(pid, signal.SIGKILL)
    return pid


def test_without_restarts_the_first_crash_is_the_end():
    worker = Worker.remote()
    kill(worker)
    for _ in range(2):
        with pytest.raises(ActorDiedError):
            nbray.get(worker.inc.remote(), timeout=10)


def test_a_restarted_actor_runs_its_constructor_again_and_has_a_new_process(tmp_path):
    marks = Marks(tmp_path)
    worker = Worker.options(max_restarts=1).remote(marks)
    nbray.get([worker.inc.remote() for _ in range(3)])
    assert not nbray.get(worker.reconstructed.remote())
    first = kill(worker)

    def lives():
        try:
            return nbray.get(worker.pid.remote(), timeout=30) != first
        except ActorUnavailableError:
            return False

    until(lives)
    assert nbray.get(worker.inc.remote(), timeout=30) == 1
    assert nbray.get(worker.reconstructed.remote())
    assert marks.count("init") == 2
    kill(worker)
    with pytest.raises(ActorDiedError):
        for _ in range(100):
            try:
                nbray.get(worker.inc.remote(), timeout=10)
            except ActorUnavailableError:
                continue
    assert marks.count("init") == 2


def test_a_call_under_way_at_a_crash_fails_as_unavailable_if_the_actor_restarts(tmp_path):
    marks = Marks(tmp_path)
    worker = Worker.options(max_restarts=1).remote(marks)
    with pytest.raises(ActorUnavailableError) as caught:
        nbray.get(worker.die.remote(), timeout=30)
    assert isinstance(caught.value, RayActorError)
    assert marks.count("die") == 1
    assert nbray.get(worker.inc.remote(), timeout=30) == 1


def test_a_call_is_run_at_most_once_unless_retries_are_allowed(tmp_path):
    marks = Marks(tmp_path)
    worker = Worker.options(max_restarts=-1).remote(marks)
    with pytest.raises(ActorUnavailableError):
        nbray.get(worker.die_once.remote(), timeout=30)
    assert marks.count("once") == 1


def test_calls_are_retried_as_often_as_allowed(tmp_path):
    marks = Marks(tmp_path)
    worker = Worker.options(max_restarts=-1, max_task_retries=1).remote(marks)
    assert nbray.get(worker.die_once.remote(), timeout=30) == "survived"
    with pytest.raises(RayActorError):
        nbray.get(worker.die.remote(), timeout=30)
    assert marks.count("die") == 2


def test_retries_of_one_call_may_be_chosen_at_the_call(tmp_path):
    marks = Marks(tmp_path)
    worker = Worker.options(max_restarts=-1).remote(marks)
    ref = worker.die_once.options(max_task_retries=3).remote()
    assert nbray.get(ref, timeout=30) == "survived"


def test_every_queued_call_is_answered_at_the_end(tmp_path):
    gate = Gate(tmp_path)
    worker = Worker.remote()
    pid = nbray.get(worker.pid.remote())
    refs = [worker.stand.remote(gate)] + [worker.inc.remote() for _ in range(500)]
    gate.until_came()
    os.kill(pid, signal.SIGKILL)
    for ref in refs:
        with pytest.raises(ActorDiedError):
            nbray.get(ref, timeout=30)


def test_retried_calls_keep_their_order(tmp_path):
    marks = Marks(tmp_path)

    @nbray.remote(max_restarts=-1, max_task_retries=-1)
    class Log:
        def __init__(self):
            self.seen = []

        def add(self, i):
            if i == 20 and marks.count("crash") == 0:
                marks.mark("crash")
                os._exit(1)
            self.seen.append(i)
            return i

        def all(self):
            return self.seen

    log = Log.remote()
    refs = [log.add.remote(i) for i in range(50)]
    assert nbray.get(refs, timeout=60) == list(range(50))
    seen = nbray.get(log.all.remote(), timeout=30)
    assert seen == sorted(seen)
    assert seen[-1] == 49


def test_kill_with_restart_restarts():
    worker = Worker.options(max_restarts=1).remote()
    first = nbray.get(worker.pid.remote())
    nbray.kill(worker, no_restart=False)

    def again():
        try:
            return nbray.get(worker.pid.remote(), timeout=30) != first
        except ActorUnavailableError:
            return False

    until(again)


def test_kill_without_restart_is_the_end_also_of_restartable_actors():
    worker = Worker.options(max_restarts=-1).remote()
    nbray.get(worker.pid.remote())
    nbray.kill(worker)
    with pytest.raises(ActorDiedError):
        nbray.get(worker.inc.remote(), timeout=10)


def test_an_actor_dies_with_the_process_that_created_it(tmp_path):
    @nbray.remote
    class Parent:
        def make(self):
            self.child = Worker.remote()
            return [self.child]

        def pid(self):
            return os.getpid()

    parent = Parent.remote()
    (child,) = nbray.get(parent.make.remote())
    pid = nbray.get(child.pid.remote())
    kill(parent)
    with pytest.raises(RayActorError):
        for _ in range(1000):
            nbray.get(child.inc.remote(), timeout=10)
    try:
        psutil.Process(pid).wait(timeout=10)
    except psutil.NoSuchProcess:
        pass


def test_callers_other_than_the_creator_hear_of_a_death_too():
    @nbray.remote
    class Caller:
        def __init__(self, handle):
            self.handle = handle

        def ask(self):
            try:
                return nbray.get(self.handle.inc.remote(), timeout=10)
            except ActorDiedError:
                return "dead"

    worker = Worker.remote()
    caller = Caller.remote(worker)
    assert nbray.get(caller.ask.remote()) == 1
    kill(worker)
    until(lambda: nbray.get(caller.ask.remote()) == "dead")


def test_a_crash_in_the_constructor_is_retried_with_restarts(tmp_path):
    marks = Marks(tmp_path)

    @nbray.remote(max_restarts=2)
    class Fragile:
        def __init__(self):
            marks.mark("init")
            if marks.count("init") < 2:
                os._exit(1)

        def ping(self):
            return "up"

    fragile = Fragile.remote()

    def up():
        try:
            return nbray.get(fragile.ping.remote(), timeout=30) == "up"
        except ActorUnavailableError:
            return False

    until(up)
    assert marks.count("init") == 2


def test_an_async_actor_that_dies_answers_all_calls_under_way():
    import asyncio

    @nbray.remote
    class Async:
        async def stand(self):
            await asyncio.Event().wait()

        async def die(self):
            os._exit(1)

    actor = Async.remote()
    refs = [actor.stand.remote() for _ in range(20)] + [actor.die.remote()]
    for ref in refs:
        with pytest.raises(ActorDiedError):
            nbray.get(ref, timeout=30)
