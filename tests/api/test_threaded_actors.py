"""Actors with ``max_concurrency`` and no async methods: calls on threads of the actor's process."""

import os
import threading

import psutil
import pytest
from gates import Gate, Marks, until

import nbray
from nbray.exceptions import ActorDiedError

pytestmark = pytest.mark.usefixtures("pool")


@nbray.remote
def echo(value):
    return value


@nbray.remote(max_concurrency=4)
class Threaded:
    def __init__(self):
        self.born = threading.current_thread()
        self.most = self.now = 0
        self.lock = threading.Lock()
        self.order = []

    def made_on_main(self):
        return self.born is threading.main_thread()

    def runs_on_main(self):
        return threading.current_thread() is threading.main_thread()

    def stand(self, gate):
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
        gate.wait()
        with self.lock:
            self.now -= 1
        return self.most

    def note(self, i):
        self.order.append(i)

    def noted(self):
        return self.order

    def fail(self, i):
        raise KeyError(i)

    def task_id(self, gate=None):
        if gate is not None:
            gate.wait()
        return nbray.get_runtime_context().get_task_id()

    def fetch(self, i):
        return nbray.get(echo.options(num_cpus=0).remote(i))

    def pid(self):
        return os.getpid()

    def die(self):
        os._exit(3)


def test_as_many_calls_run_at_a_time_as_max_concurrency_says(tmp_path):
    gate = Gate(tmp_path)
    actor = Threaded.remote()
    refs = [actor.stand.remote(gate) for _ in range(12)]
    gate.until_came(4)
    assert nbray.wait(refs, timeout=0.05)[0] == []
    assert gate.came() == 4
    gate.open()
    assert max(nbray.get(refs)) == 4


def test_the_constructor_runs_on_the_main_thread_and_calls_do_not():
    actor = Threaded.remote()
    assert nbray.get([actor.made_on_main.remote(), actor.runs_on_main.remote()]) == [True, False]


def test_calls_of_one_caller_start_in_order():
    class One:
        def __init__(self):
            self.seen = []

        def add(self, i):
            self.seen.append(i)

        def all(self):
            return self.seen

    # One thread for the calls, so that what starts first also notes first; another group for the question.
    actor = nbray.remote(concurrency_groups={"ask": 1})(One).remote()
    for i in range(2000):
        actor.add.remote(i)
    nbray.get(actor.add.remote(2000))
    asked = actor.all.options(concurrency_group="ask").remote()
    assert nbray.get(asked) == list(range(2001))


def test_a_call_that_lasts_does_not_keep_the_answers_of_others(tmp_path):
    gate = Gate(tmp_path)
    actor = Threaded.options(max_concurrency=2).remote()
    refs = []
    for _ in range(4):
        refs += [actor.note.remote(1) for _ in range(20)]
    late = [actor.stand.remote(gate) for _ in range(2)]
    behind = [actor.note.remote(2) for _ in range(20)]
    assert nbray.get(refs) == [None] * 80  # though both threads now stand, with calls queued behind
    assert nbray.wait(behind, timeout=0)[0] == []
    gate.open()
    nbray.get(late + behind)


def test_errors_and_task_ids_are_those_of_the_call(tmp_path):
    gate = Gate(tmp_path)
    actor = Threaded.remote()
    refs = [actor.task_id.remote(gate) for _ in range(4)]
    gate.until_came(4)
    gate.open()
    assert nbray.get(refs) == [ref.task_id().hex() for ref in refs]
    for i, ref in enumerate([actor.fail.remote(i) for i in range(8)]):
        with pytest.raises(KeyError, match=str(i)):
            nbray.get(ref)


def test_calls_may_get_submit_and_wait_from_many_threads():
    actor = Threaded.options(max_concurrency=8).remote()
    assert nbray.get([actor.fetch.remote(i) for i in range(200)]) == list(range(200))


def test_a_thousand_calls_at_once_are_all_answered():
    actor = Threaded.options(max_concurrency=16).remote()
    nbray.get([actor.note.remote(i) for i in range(1000)])
    assert sorted(nbray.get(actor.noted.remote())) == list(range(1000))


def test_the_process_leaves_when_the_last_handle_is_gone_and_its_threads_are_done(tmp_path):
    gate, marks = Gate(tmp_path), Marks(tmp_path)

    @nbray.remote(max_concurrency=2)
    class Worker:
        def pid(self):
            return os.getpid()

        def work(self):
            gate.wait()
            marks.mark()

    worker = Worker.remote()
    process = psutil.Process(nbray.get(worker.pid.remote()))
    for _ in range(5):
        worker.work.remote()
    del worker
    gate.until_came(2)
    assert process.is_running()
    gate.open()
    process.wait(timeout=30)
    assert marks.count() == 5


def test_when_the_process_dies_all_calls_under_way_and_queued_are_answered(tmp_path):
    gate = Gate(tmp_path)
    actor = Threaded.remote()
    refs = [actor.stand.remote(gate) for _ in range(3)]
    gate.until_came(3)
    refs += [actor.die.remote(), *[actor.note.remote(i) for i in range(5)]]
    for ref in refs:
        with pytest.raises(ActorDiedError):
            nbray.get(ref, timeout=30)


def test_a_threaded_actor_is_restarted_and_threaded_again(tmp_path):
    gate = Gate(tmp_path)
    actor = Threaded.options(max_restarts=1).remote()
    pid = nbray.get(actor.pid.remote())
    nbray.kill(actor, no_restart=False)

    def elsewhere():
        try:
            return nbray.get(actor.pid.remote()) != pid
        except nbray.exceptions.ActorUnavailableError:
            return False

    until(elsewhere)
    refs = [actor.stand.remote(gate) for _ in range(4)]
    gate.until_came(4)
    gate.open()
    assert max(nbray.get(refs)) == 4


def test_prints_of_a_threaded_actor_come_as_whole_lines(capfd, tmp_path):
    @nbray.remote(max_concurrency=8)
    class Talker:
        def say(self, i):
            print(f"line {i} " + "x" * 50)

    talker = Talker.remote()
    nbray.get([talker.say.remote(i) for i in range(100)])
    out = ""

    def all_there():
        nonlocal out
        out += capfd.readouterr().out
        return out.count("x" * 50) == 100

    until(all_there)
    lines = [line for line in out.splitlines() if "line " in line]
    assert len(lines) == 100
    assert all(line.count("line ") == 1 for line in lines)
