"""How actors end on purpose: ``exit_actor``, ``__ray_terminate__``, ``kill``, for each kind of actor."""

import asyncio
import io
import os
import sys
import threading

import psutil
import pytest
from gates import Gate, Marks

import nbray
from nbray.exceptions import ActorDiedError, ActorUnavailableError

pytestmark = pytest.mark.usefixtures("pool")


class Plain:
    def pid(self):
        return os.getpid()

    def stop(self):
        nbray.actor.exit_actor()

    def leave(self, status):
        sys.exit(status)

    def stop_from_a_thread(self):
        thread = threading.Thread(target=self._stop)
        thread.start()
        thread.join()
        return "stopped"

    def _stop(self):
        try:
            nbray.actor.exit_actor()
        except BaseException:
            pass

    def swallow(self):
        try:
            nbray.actor.exit_actor()
        except Exception:
            return "caught"

    def stand(self, gate):
        gate.wait()
        return "stood"

    def mark(self, marks):
        marks.mark()

    def at_exit(self, marks):
        import atexit

        atexit.register(marks.mark, "exit")


class Closing(Plain):
    """Leaves a mark before its process ends."""

    def __init__(self, marks):
        self.marks = marks

    def __ray_shutdown__(self):
        assert threading.current_thread() is threading.main_thread()
        self.marks.mark("shutdown")
        raise ValueError("told in the log, and no hindrance")


class AsyncClosing(Closing):
    async def pid(self):
        return os.getpid()

    async def __ray_shutdown__(self):
        await asyncio.sleep(0)
        self.marks.mark("shutdown")


class Async(Plain):
    async def pid(self):
        return os.getpid()

    async def stop(self):
        nbray.actor.exit_actor()

    async def leave(self, status):
        sys.exit(status)

    async def stand(self, gate):
        await asyncio.to_thread(gate.wait)
        return "stood"


KINDS = {
    "plain": (Plain, {}),
    "threaded": (Plain, {"max_concurrency": 2}),
    "async": (Async, {"max_concurrency": 2}),
}


@pytest.fixture(params=list(KINDS))
def make(request):
    cls, options = KINDS[request.param]
    return lambda **more: nbray.remote(cls).options(**options, **more).remote()


@pytest.fixture(params=["threaded", "async"])
def make_concurrent(request):
    cls, options = KINDS[request.param]
    return lambda **more: nbray.remote(cls).options(**options, **more).remote()


def process_of(actor):
    return psutil.Process(nbray.get(actor.pid.remote()))


def test_an_actor_that_exits_is_dead_on_purpose_and_its_process_gone(make):
    actor = make()
    process = process_of(actor)
    with pytest.raises(ActorDiedError, match="on purpose"):
        nbray.get(actor.stop.remote())
    process.wait(timeout=30)
    with pytest.raises(ActorDiedError, match="on purpose"):
        nbray.get(actor.pid.remote())


def test_an_actor_that_exits_is_not_restarted_though_it_might_be(make):
    actor = make(max_restarts=-1, max_task_retries=-1)
    process = process_of(actor)
    with pytest.raises(ActorDiedError, match="on purpose"):
        nbray.get(actor.stop.remote())
    process.wait(timeout=30)
    with pytest.raises(ActorDiedError, match="on purpose"):
        nbray.get(actor.pid.remote())


def test_sys_exit_without_an_error_is_an_end_on_purpose(make):
    actor = make(max_restarts=-1, max_task_retries=-1)
    process = process_of(actor)
    with pytest.raises(ActorDiedError, match="on purpose"):
        nbray.get(actor.leave.remote(0))
    process.wait(timeout=30)
    with pytest.raises(ActorDiedError, match="on purpose"):
        nbray.get(actor.pid.remote())


def test_sys_exit_with_an_error_is_a_crash(make):
    actor = make()
    process = process_of(actor)
    with pytest.raises(ActorDiedError, match="exit code 3"):
        nbray.get(actor.leave.remote(3))
    process.wait(timeout=30)


def test_an_actor_that_may_restart_does_so_after_sys_exit_with_an_error(make):
    actor = make(max_restarts=1)
    process = process_of(actor)
    with pytest.raises(ActorUnavailableError, match="exit code 1"):
        nbray.get(actor.leave.remote("no more"))
    process.wait(timeout=30)
    assert nbray.get(actor.__ray_ready__.remote())


def test_calls_queued_behind_the_exit_fail_unrun(tmp_path):
    gate, marks = Gate(tmp_path), Marks(tmp_path)
    actor = nbray.remote(Plain).remote()
    first = actor.stand.remote(gate)
    gate.until_came()
    stop, behind = actor.stop.remote(), [actor.mark.remote(marks) for _ in range(20)]
    gate.open()
    assert nbray.get(first) == "stood"
    for ref in [stop, *behind]:
        with pytest.raises(ActorDiedError):
            nbray.get(ref)
    assert marks.count() == 0


def test_calls_that_run_beside_the_exit_are_answered_and_queued_ones_do_not_start(make_concurrent, tmp_path):
    gate, marks = Gate(tmp_path), Marks(tmp_path)
    actor = make_concurrent()
    running = actor.stand.remote(gate)
    gate.until_came()
    stop = actor.stop.remote()
    behind = [actor.mark.remote(marks) for _ in range(5)]
    assert nbray.wait([stop], timeout=0.05)[0] == []  # the other call keeps the process
    gate.open()
    assert nbray.get(running) == "stood"
    for ref in [stop, *behind]:
        with pytest.raises(ActorDiedError, match="on purpose"):
            nbray.get(ref)
    assert marks.count() == 0


def test_atexit_handlers_run(make, tmp_path):
    marks = Marks(tmp_path)
    actor = make()
    process = process_of(actor)
    nbray.get(actor.at_exit.remote(marks))
    actor.stop.remote()
    process.wait(timeout=30)
    assert marks.count("exit") == 1


def drop(actors):
    actors.clear()


def terminate(actors):
    actors[0].__ray_terminate__.remote()


def stop(actors):
    actors[0].stop.remote()


def kill(actors):
    nbray.kill(actors[0])


@pytest.mark.parametrize(("end", "marked"), [(drop, 1), (terminate, 1), (stop, 1), (kill, 0)])
@pytest.mark.parametrize(
    ("cls", "options"), [(Closing, {}), (Closing, {"max_concurrency": 2}), (AsyncClosing, {})]
)
def test_an_actor_shuts_down_before_its_process_ends_unless_that_is_killed(
    end, marked, cls, options, tmp_path
):
    marks = Marks(tmp_path)
    actors = [nbray.remote(cls).options(**options).remote(marks)]
    process = process_of(actors[0])
    end(actors)
    process.wait(timeout=30)
    assert marks.count("shutdown") == marked


def test_except_exception_does_not_catch_the_exit():
    actor = nbray.remote(Plain).remote()
    with pytest.raises(ActorDiedError, match="on purpose"):
        nbray.get(actor.swallow.remote())


def test_a_thread_of_the_actor_may_end_it(make):
    actor = make()
    process = process_of(actor)
    assert nbray.get(actor.stop_from_a_thread.remote()) == "stopped"
    process.wait(timeout=30)
    with pytest.raises(ActorDiedError, match="on purpose"):
        nbray.get(actor.pid.remote())


def test_a_thread_that_ends_its_actor_prints_no_traceback():
    @nbray.remote
    class Host:
        def stop_from_a_thread(self):
            sys.stderr = io.StringIO()
            thread = threading.Thread(target=nbray.actor.exit_actor)
            thread.start()
            thread.join()
            return sys.stderr.getvalue()

    assert nbray.get(Host.remote().stop_from_a_thread.remote()) == ""


def test_an_actor_may_exit_in_its_constructor():
    @nbray.remote(max_restarts=3)
    class Shy:
        def __init__(self):
            nbray.actor.exit_actor()

        def ping(self):
            pass

    with pytest.raises(ActorDiedError, match="on purpose"):
        nbray.get(Shy.remote().ping.remote())


def test_only_actors_can_exit():
    with pytest.raises(TypeError, match="actor only"):
        nbray.actor.exit_actor()

    @nbray.remote
    def task():
        nbray.actor.exit_actor()

    with pytest.raises(TypeError, match="actor only"):
        nbray.get(task.remote())


def test_terminate_finishes_what_was_queued_before_it(tmp_path):
    marks = Marks(tmp_path)
    actor = nbray.remote(Plain).options(max_restarts=2).remote()
    process = process_of(actor)
    refs = [actor.mark.remote(marks) for _ in range(20)]
    end = actor.__ray_terminate__.remote()
    after = actor.mark.remote(marks)
    assert nbray.get(refs) == [None] * 20
    for ref in (end, after):
        with pytest.raises(ActorDiedError, match="on purpose"):
            nbray.get(ref)
    process.wait(timeout=30)
    assert marks.count() == 20


def test_terminate_ends_every_kind_of_actor(make):
    actor = make()
    process = process_of(actor)
    actor.__ray_terminate__.remote()
    process.wait(timeout=30)


def test_ready_answers_once_the_actor_is_up(make):
    assert nbray.get(make().__ray_ready__.remote()) is True


def test_a_function_can_be_called_with_the_instance(make):
    actor = make()
    assert nbray.get(
        actor.__ray_call__.remote(lambda self, x, y=0: (type(self).__name__, x + y), 1, y=2)
    ) in (
        ("Plain", 3),
        ("Async", 3),
    )


def test_such_a_call_has_options_too(make):
    call = make().__ray_call__.options(num_returns=2, name="both")
    assert nbray.get(call.remote(lambda self: ("one", "two"))) == ["one", "two"]


def test_a_class_may_define_these_itself():
    @nbray.remote
    class Own:
        def __ray_ready__(self):
            return "own"

    assert nbray.get(Own.remote().__ray_ready__.remote()) == "own"


def test_kill_ends_running_and_queued_calls_of_every_kind(make, tmp_path):
    gate = Gate(tmp_path)
    actor = make()
    process = process_of(actor)
    refs = [actor.stand.remote(gate) for _ in range(4)]
    gate.until_came()
    nbray.kill(actor)
    for ref in refs:
        with pytest.raises(ActorDiedError, match="kill"):
            nbray.get(ref)
    process.wait(timeout=30)


class Made:
    """Leaves a mark when it is made."""

    def __init__(self, marks, argument):
        marks.mark("made")

    def answer(self):
        return "answer"


def kill_here(actor):
    nbray.kill(actor)


def kill_in_a_task(actor):
    nbray.get(nbray.remote(num_cpus=0)(kill_here).remote(actor))


@pytest.mark.parametrize("kill", [kill_here, kill_in_a_task])
def test_an_actor_killed_while_its_arguments_are_pending_is_never_made(kill, tmp_path):
    gate, marks = Gate(tmp_path), Marks(tmp_path)

    @nbray.remote(num_cpus=0)
    def late():
        gate.wait()

    make = nbray.remote(num_cpus=0)(Made).options(name="unmade").remote
    argument = late.remote()
    actor = make(marks, argument)
    answer = actor.answer.remote()
    kill(actor)
    for ref in (answer, actor.answer.remote()):
        with pytest.raises(ActorDiedError, match="kill"):
            nbray.get(ref)
    with pytest.raises(ValueError):
        nbray.get_actor("unmade")
    other = make(marks, argument)
    gate.open()
    assert nbray.get(other.answer.remote()) == "answer"
    assert marks.count("made") == 1


def test_a_kill_of_a_dead_actor_is_nothing(make):
    actor = make()
    nbray.kill(actor)
    nbray.kill(actor)
    with pytest.raises(ActorDiedError):
        nbray.get(actor.pid.remote())
