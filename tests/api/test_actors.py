"""Actors: a process each, calls in order, handles anywhere."""

import abc
import inspect
import os
import pickle
import signal

import psutil
import pytest
from gates import Gate, Marks, until

import nbray
from nbray.exceptions import ActorAlreadyExistsError, ActorDiedError, RayActorError, RayTaskError

pytestmark = pytest.mark.usefixtures("pool")


@nbray.remote
class Counter:
    """Counts."""

    def __init__(self, start=0):
        self.n = start

    def inc(self, by=1):
        """Counts on."""
        self.n += by
        return self.n

    def pid(self):
        return os.getpid()

    def fail(self):
        raise ValueError("bad")

    def die(self):
        os._exit(3)

    @nbray.method(num_returns=2)
    def both(self):
        return 1, 2

    @staticmethod
    def static(x):
        return x

    @classmethod
    def of_class(cls, x):
        return x

    def _private(self):
        return "private"


@nbray.remote
class Log:
    def __init__(self):
        self.seen = []

    def add(self, value):
        self.seen.append(value)

    def all(self):
        return self.seen


@nbray.remote
def echo(value):
    return value


def gone(pid):
    """Wait for a process to end."""
    try:
        psutil.Process(pid).wait(timeout=30)
    except psutil.NoSuchProcess:
        pass
    return True


def test_an_actor_keeps_state_between_calls():
    counter = Counter.remote(10)
    assert nbray.get([counter.inc.remote() for _ in range(3)]) == [11, 12, 13]
    assert nbray.get(counter.inc.remote(by=7)) == 20


def test_each_actor_has_a_process_of_its_own_for_its_whole_life():
    actors = [Counter.remote() for _ in range(3)]
    pids = nbray.get([actor.pid.remote() for actor in actors])
    assert len({*pids, os.getpid()}) == 4
    assert nbray.get([actor.pid.remote() for actor in actors]) == pids


def test_creation_is_asynchronous(tmp_path):
    gate = Gate(tmp_path)

    @nbray.remote
    class Slow:
        def __init__(self):
            gate.wait()

        def ping(self):
            return "up"

    slow = Slow.remote()
    ref = slow.ping.remote()
    assert nbray.wait([ref], timeout=0) == ([], [ref])
    gate.open()
    assert nbray.get(ref) == "up"


def test_constructor_arguments_may_be_refs_and_pending(tmp_path):
    gate = Gate(tmp_path)

    @nbray.remote
    def late():
        gate.wait()
        return 5

    counter = Counter.remote(late.remote())
    ref = counter.inc.remote()
    gate.open()
    assert nbray.get(ref) == 6


def test_ten_thousand_calls_run_in_order():
    log = Log.remote()
    for i in range(10_000):
        log.add.remote(i)
    assert nbray.get(log.all.remote()) == list(range(10_000))


def test_calls_run_in_order_also_while_an_earlier_argument_is_pending(tmp_path):
    gate = Gate(tmp_path)

    @nbray.remote
    def late():
        gate.wait()
        return "late"

    log = Log.remote()
    log.add.remote("first")
    log.add.remote(late.remote())
    last = log.add.remote("last")
    assert nbray.wait([last], timeout=0.05) == ([], [last])
    gate.open()
    assert nbray.get(log.all.remote()) == ["first", "late", "last"]


def test_other_callers_pass_a_caller_that_waits_for_an_argument(tmp_path):
    gate = Gate(tmp_path)

    @nbray.remote
    def late():
        gate.wait()
        return "late"

    @nbray.remote
    def other(log):
        nbray.get(log.add.remote("other"))

    log = Log.remote()
    log.add.remote(late.remote())
    nbray.get(other.options(num_cpus=0).remote(log))
    gate.open()
    assert nbray.get(log.all.remote()) == ["other", "late"]


def test_a_call_whose_argument_failed_releases_the_next():
    @nbray.remote
    def fail():
        raise KeyError("argument")

    log = Log.remote()
    failed = log.add.remote(fail.remote())
    log.add.remote("next")
    assert nbray.get(log.all.remote()) == ["next"]
    with pytest.raises(KeyError, match="argument"):
        nbray.get(failed)


def test_an_error_in_a_method_is_of_both_types_and_the_actor_lives():
    counter = Counter.remote()
    with pytest.raises(ValueError, match="bad") as caught:
        nbray.get(counter.fail.remote())
    assert isinstance(caught.value, RayTaskError)
    assert "Counter.fail" in str(caught.value)
    assert nbray.get(counter.inc.remote()) == 1


def test_methods_may_have_several_returns():
    counter = Counter.remote()
    assert nbray.get(counter.both.remote()) == [1, 2]
    assert nbray.get(counter.both.options(num_returns=1).remote()) == (1, 2)
    assert counter.inc.options(num_returns=0).remote() is None
    assert nbray.get(counter.inc.remote()) == 2


def test_inherited_static_class_and_private_methods_can_be_called():
    class Base:
        def base(self):
            return "base"

        def __call__(self):
            return "called"

    @nbray.remote
    class Derived(Base):
        def m(self):
            return self.base()

    derived, counter = Derived.remote(), Counter.remote()
    assert nbray.get([derived.m.remote(), derived.base.remote()]) == ["base", "base"]
    assert nbray.get(derived.__call__.remote()) == "called"
    refs = [counter.static.remote(3), counter.of_class.remote(4), counter._private.remote()]
    assert nbray.get(refs) == [3, 4, "private"]


# --- handles -----------------------------------------------------------------------------------------------------------


def test_calling_a_method_directly_says_what_to_do():
    counter = Counter.remote()
    with pytest.raises(TypeError, match=r"inc\.remote\(\)"):
        counter.inc()


def test_an_unknown_method_names_the_nearest():
    counter = Counter.remote()
    with pytest.raises(AttributeError, match=r"'incr'.*'inc'"):
        counter.incr
    assert not hasattr(counter, "n")


def test_wrong_arguments_of_a_method_fail_at_the_call():
    counter = Counter.remote()
    with pytest.raises(TypeError, match="positional argument"):
        counter.inc.remote(1, 2)
    with pytest.raises(TypeError, match="unexpected keyword argument 'z'"):
        counter.inc.remote(z=1)
    with pytest.raises(TypeError, match="missing 1 required"):
        counter.static.remote()
    assert nbray.get(counter.inc.remote()) == 1


def test_unknown_options_of_a_call_are_refused():
    counter = Counter.remote()
    with pytest.raises((ValueError, TypeError), match="num_return"):
        counter.inc.options(num_return=2).remote()


def test_a_handle_lists_and_describes_its_methods():
    counter = Counter.remote()
    assert set(dir(counter)) >= {"inc", "pid", "both", "static"}
    assert repr(counter).startswith("Actor(Counter, ")
    assert counter.inc.__doc__ == "Counts on."
    assert str(inspect.signature(counter.inc)) == str(inspect.signature(counter.inc.remote)) == "(by=1)"
    assert "Counter.inc" in repr(counter.inc)


def test_the_rich_repr_of_a_handle_tells_state_process_and_methods():
    counter = Counter.remote()
    pid = nbray.get(counter.pid.remote())
    shown = counter._repr_html_()
    assert shown.startswith("<code>Actor(Counter, ") and "<em>alive</em>" in shown
    assert f"pid {pid}, node " in shown and "inc" in shown.partition("methods: ")[2]


def test_a_handle_goes_into_tasks_actors_closures_and_values():
    counter = Counter.remote()

    @nbray.remote
    def argument(handle):
        return nbray.get(handle.inc.remote())

    @nbray.remote
    def nested(values):
        return nbray.get(values["deep"][0].inc.remote())

    @nbray.remote
    def closure():
        return nbray.get(counter.inc.remote())

    @nbray.remote
    class Friend:
        def __init__(self, handle):
            self.handle = handle

        def call(self):
            return nbray.get(self.handle.inc.remote())

    assert nbray.get(argument.remote(counter)) == 1
    assert nbray.get(nested.remote({"deep": [counter]})) == 2
    assert nbray.get(closure.remote()) == 3
    assert nbray.get(Friend.remote(counter).call.remote()) == 4
    assert nbray.get(argument.remote(nbray.put(counter))) == 5
    (back,) = nbray.get(nbray.put([counter]))
    assert back == counter
    assert hash(back) == hash(counter)
    assert nbray.get(back.inc.remote()) == 6


def test_a_handle_made_in_a_task_works_here():
    @nbray.remote
    def make():
        counter = Counter.remote(5)
        nbray.get(counter.inc.remote())
        return counter

    counter = nbray.get(make.remote())
    assert nbray.get(counter.inc.remote()) == 7
    assert dir(counter) == dir(Counter.remote())
    with pytest.raises(TypeError, match="positional argument"):
        counter.inc.remote(1, 2)


def test_actors_call_actors_and_create_them():
    @nbray.remote
    class Parent:
        def __init__(self):
            self.children = [Counter.remote(i) for i in range(2)]

        def total(self):
            return sum(nbray.get([child.inc.remote() for child in self.children]))

        def give(self):
            return self.children

    parent = Parent.remote()
    assert nbray.get(parent.total.remote()) == 3
    children = nbray.get(parent.give.remote())
    assert nbray.get([child.inc.remote() for child in children]) == [2, 3]


def test_an_actor_may_pass_a_handle_to_itself_on():
    @nbray.remote
    class Recursive:
        def double(self, x):
            return 2 * x

    first, second = Recursive.remote(), Counter.remote()

    @nbray.remote
    def relay(handle, x):
        return nbray.get(handle.double.remote(x))

    assert nbray.get(relay.remote(first, nbray.get(second.inc.remote()))) == 2


def test_the_last_handle_dropped_ends_the_process_after_queued_work(tmp_path):
    marks, gate = Marks(tmp_path), Gate(tmp_path)

    @nbray.remote
    class Worker:
        def pid(self):
            return os.getpid()

        def work(self):
            gate.wait()
            marks.mark()

    worker = Worker.remote()
    pid = nbray.get(worker.pid.remote())
    for _ in range(3):
        worker.work.remote()
    del worker
    gate.until_came()
    assert psutil.pid_exists(pid)
    gate.open()
    assert gone(pid)
    assert marks.count() == 3


def test_a_handle_elsewhere_keeps_the_actor_alive():
    keeper = Log.remote()
    counter = Counter.remote()
    pid = nbray.get(counter.pid.remote())
    nbray.get(keeper.add.remote([counter]))
    del counter
    ((counter,),) = nbray.get(keeper.all.remote())
    assert nbray.get(counter.pid.remote()) == pid
    del counter
    assert psutil.pid_exists(pid)
    nbray.kill(keeper)
    assert gone(pid)


def test_a_method_object_keeps_the_actor_alive():
    inc = Counter.remote().inc
    assert nbray.get([inc.remote(), inc.remote()]) == [1, 2]


def test_an_actor_without_a_kept_handle_still_answers():
    assert nbray.get(Counter.remote(1).inc.remote()) == 2


def test_a_handle_pickled_by_hand_works_and_warns_once():
    counter = Counter.remote()
    with pytest.warns(RuntimeWarning, match="pickled outside"):
        data = pickle.dumps(counter)
    pickle.dumps(counter)
    assert pickle.loads(data) == counter


# --- names -------------------------------------------------------------------------------------------------------------


def test_an_actor_is_found_by_its_name():
    counter = Counter.options(name="found").remote(3)
    again = nbray.get_actor("found")
    assert again == counter
    assert nbray.get(again.inc.remote()) == 4
    with pytest.raises(AttributeError):
        again.nonsense

    @nbray.remote
    def look():
        return nbray.get(nbray.get_actor("found").inc.remote())

    assert nbray.get(look.remote()) == 5


def test_a_name_that_nobody_has_is_a_value_error():
    with pytest.raises(ValueError, match="nobody"):
        nbray.get_actor("nobody")
    with pytest.raises(ValueError):
        nbray.get_actor("")


def test_a_name_is_had_once_a_namespace():
    one = Counter.options(name="once").remote()
    with pytest.raises(ActorAlreadyExistsError, match="once"):
        Counter.options(name="once").remote()
    with pytest.raises(ValueError):
        Counter.options(name="once").remote()
    assert Counter.options(name="once", get_if_exists=True).remote() == one
    other = Counter.options(name="once", namespace="elsewhere").remote()
    assert other != one
    assert nbray.get_actor("once", namespace="elsewhere") == other
    with pytest.raises(ValueError):
        nbray.get_actor("once", namespace="nowhere")


def test_get_if_exists_creates_what_does_not_exist():
    made = Counter.options(name="made", get_if_exists=True).remote(1)
    assert nbray.get(made.inc.remote()) == 2


def test_a_name_is_free_again_after_the_actor():
    first = Counter.options(name="free").remote()
    pid = nbray.get(first.pid.remote())
    nbray.kill(first)
    gone(pid)

    def free():
        try:
            nbray.get_actor("free")
        except ValueError:
            return True
        return False

    until(free)
    second = Counter.options(name="free").remote()
    assert nbray.get(second.pid.remote()) != pid


# --- death -------------------------------------------------------------------------------------------------------------


def test_kill_ends_the_process_and_answers_every_queued_call(tmp_path):
    gate = Gate(tmp_path)

    @nbray.remote
    class Stuck:
        def pid(self):
            return os.getpid()

        def wait(self):
            gate.wait()

    stuck = Stuck.remote()
    pid = nbray.get(stuck.pid.remote())
    refs = [stuck.wait.remote() for _ in range(5)]
    gate.until_came()
    nbray.kill(stuck)
    for ref in refs:
        with pytest.raises(ActorDiedError):
            nbray.get(ref)
    with pytest.raises(ActorDiedError, match="killed"):
        nbray.get(stuck.pid.remote())
    assert gone(pid)


@pytest.mark.parametrize("wrong", [1, None, "name"])
def test_kill_of_anything_else_is_a_value_error(wrong):
    with pytest.raises(ValueError, match="actor"):
        nbray.kill(wrong)
    with pytest.raises(ValueError, match="actor"):
        nbray.kill(nbray.put(1))
    with pytest.raises(ValueError, match="actor"):
        nbray.kill(Counter)


def test_a_failed_constructor_shows_its_cause_on_every_call():
    @nbray.remote
    class Broken:
        def __init__(self):
            raise KeyError("the cause")

        def m(self): ...

    broken = Broken.remote()
    for _ in range(2):
        with pytest.raises(ActorDiedError, match="the cause") as caught:
            nbray.get(broken.m.remote())
        assert isinstance(caught.value, RayActorError)


def test_a_constructor_with_a_failed_argument_shows_the_root_cause():
    @nbray.remote
    def fail():
        raise KeyError("the root")

    counter = Counter.remote(fail.remote())
    with pytest.raises(RayActorError, match="the root"):
        nbray.get(counter.inc.remote())


def test_an_actor_that_ends_itself_fails_its_calls():
    counter = Counter.remote()
    refs = [counter.die.remote(), counter.inc.remote()]
    for ref in refs:
        with pytest.raises(ActorDiedError):
            nbray.get(ref)
    with pytest.raises(ActorDiedError, match=r"3|exit"):
        nbray.get(counter.inc.remote())


def test_an_argument_that_cannot_be_pickled_fails_at_the_call_and_the_actor_lives():
    import threading

    counter = Counter.remote()
    with pytest.raises(TypeError, match="lock"):
        counter.inc.remote(threading.Lock())
    assert nbray.get(counter.inc.remote()) == 1


def test_the_signal_that_ended_an_actor_is_in_its_error():
    counter = Counter.remote()
    os.kill(nbray.get(counter.pid.remote()), signal.SIGKILL)
    with pytest.raises(ActorDiedError, match=r"SIGKILL|9"):
        nbray.get(counter.inc.remote())


def test_the_runtime_context_of_a_method_names_its_actor():
    @nbray.remote
    class Who:
        def ids(self):
            context = nbray.get_runtime_context()
            return context.get_actor_id(), context.get_task_id(), context.namespace

    who = Who.remote()
    ref = who.ids.remote()
    actor, task, namespace = nbray.get(ref)
    assert actor in repr(who)
    assert actor == who._actor_id.hex()  # Ray's, and what its programs tell actors apart by
    assert task == ref.task_id().hex()
    assert namespace == nbray.get_runtime_context().namespace


def test_the_error_of_a_dead_actor_says_which_and_whether_it_ever_came_up():
    @nbray.remote
    class Broken:
        def __init__(self, fails):
            if fails:
                raise ValueError("no")

        def ping(self):
            return "pong"

    alive, broken = Broken.remote(False), Broken.remote(True)
    nbray.get(alive.ping.remote())
    nbray.kill(alive)
    for actor, init_failed in ((alive, False), (broken, True)):
        with pytest.raises(nbray.exceptions.ActorDiedError) as caught:
            nbray.get(actor.ping.remote())
        assert caught.value.actor_id in repr(actor)
        assert caught.value.actor_init_failed is init_failed
        assert caught.value.error_msg == str(caught.value)


def test_an_abstract_class_is_refused_where_it_is_made_remote():
    class Shape(abc.ABC):
        @abc.abstractmethod
        def area(self): ...

        def twice(self):
            return 2 * self.area()

    class Square(Shape):
        def area(self):
            return 4

    with pytest.raises(TypeError, match=r"Shape is abstract, it lacks area"):
        nbray.remote(Shape)
    assert nbray.get(nbray.remote(Square).remote().twice.remote()) == 8
