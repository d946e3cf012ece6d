"""Tasks on a local pool."""

import os
import random
import sys
import threading

import pytest
from gates import Gate, Marks, until

import nbray

pytestmark = pytest.mark.usefixtures("pool")


@nbray.remote
def echo(*args, **kwargs):
    return (args, kwargs) if kwargs or len(args) != 1 else args[0]


@nbray.remote
def add(a, b):
    return a + b


def test_a_task_runs_in_another_process():
    @nbray.remote
    def pid():
        return os.getpid()

    assert nbray.get(pid.remote()) != os.getpid()


def test_a_thousand_results_come_in_the_order_of_their_refs():
    assert nbray.get([echo.remote(i) for i in range(1000)]) == list(range(1000))


def test_lambdas_and_closures_are_tasks():
    n = 5
    assert nbray.get(nbray.remote(lambda x: x + n).remote(1)) == 6


def test_keywords_and_defaults_arrive():
    @nbray.remote
    def f(a, b=2, *rest, c, d=4, **more):
        return a, b, rest, c, d, more

    assert nbray.get(f.remote(1, c=3)) == (1, 2, (), 3, 4, {})
    assert nbray.get(f.remote(1, 5, 6, 7, c=3, e=8)) == (1, 5, (6, 7), 3, 4, {"e": 8})


def test_refs_among_the_arguments_become_values():
    two, three = nbray.put(2), add.remote(1, 2)
    assert nbray.get(add.remote(two, three)) == 5
    assert nbray.get(add.remote(two, b=three)) == 5
    assert nbray.get(echo.remote(two, key=three)) == ((2,), {"key": 3})


def test_refs_inside_arguments_stay_refs():
    @nbray.remote
    def inner(refs):
        assert all(isinstance(ref, nbray.ObjectRef) for ref in refs["here"])
        return sum(nbray.get(refs["here"]))

    assert nbray.get(inner.remote({"here": [nbray.put(1), add.remote(2, 3)]})) == 6


def test_a_ref_twice_among_the_arguments_is_both_times_the_value():
    ref = nbray.put([1])
    assert nbray.get(echo.remote(ref, ref)) == (([1], [1]), {})


def test_a_chain_of_dependent_tasks_runs_in_order():
    ref = nbray.put(0)
    for _ in range(100):
        ref = add.remote(ref, 1)
    assert nbray.get(ref) == 100


def test_arguments_are_what_they_were_at_the_call():
    value = [1]
    ref = echo.remote(value)
    value.append(2)
    assert nbray.get(ref) == [1]


def test_a_pending_argument_delays_only_its_own_task(tmp_path):
    gate = Gate(tmp_path)

    @nbray.remote
    def late():
        gate.wait()
        return "late"

    pending = late.remote()
    behind = echo.remote(pending)
    assert nbray.get(echo.remote("now")) == "now"
    gate.open()
    assert nbray.get(behind) == "late"


def test_several_returns_are_several_refs():
    @nbray.remote(num_returns=3)
    def three():
        return 1, "two", [3]

    refs = three.remote()
    assert nbray.get(refs) == [1, "two", [3]]
    assert len({ref.task_id() for ref in refs}) == 1
    assert nbray.get(echo.remote(refs[1])) == "two"


def test_a_generator_may_give_several_returns():
    @nbray.remote(num_returns=2)
    def two():
        yield 1
        yield 2

    assert nbray.get(two.remote()) == [1, 2]


def test_one_return_may_be_a_tuple():
    assert nbray.get(nbray.remote(num_returns=1)(lambda: (1, 2)).remote()) == (1, 2)


def test_the_list_of_refs_is_the_callers_who_may_change_it(tmp_path):
    @nbray.remote(num_returns=3)
    def three(gate):
        gate.wait()
        return 1, 2, 3

    class Three:
        @nbray.method(num_returns=3)
        def three(self, gate):
            gate.wait()
            return 1, 2, 3

    gate = Gate(tmp_path)
    for refs in (three.remote(gate), nbray.remote(Three).remote().three.remote(gate)):
        last = refs.pop()
        refs.reverse()
        refs.append(nbray.put(4))
        gate.open()
        assert nbray.get([*refs, last]) == [2, 1, 4, 3]


def test_a_task_without_returns_runs_and_gives_none(tmp_path):
    marks = Marks(tmp_path)

    @nbray.remote(num_returns=0)
    def silent():
        marks.mark()

    assert silent.remote() is None
    until(lambda: marks.count() == 1)


@pytest.mark.parametrize("values", [(1,), (1, 2, 3), ()])
def test_a_wrong_number_of_values_is_a_value_error_in_the_task(values):
    refs = nbray.remote(num_returns=2)(lambda: values).remote()
    for ref in refs:
        with pytest.raises(ValueError, match="2"):
            nbray.get(ref)


def test_a_single_value_where_several_are_due_is_an_error_in_the_task():
    with pytest.raises((TypeError, ValueError)):
        nbray.get(nbray.remote(num_returns=2)(lambda: 1).remote())


def test_a_remote_function_may_be_an_argument_and_a_result():
    @nbray.remote
    def call(function, x):
        return nbray.get(function.remote(x)), function

    value, function = nbray.get(call.remote(echo, 3))
    assert value == 3
    assert nbray.get(function.remote(4)) == 4


def test_environment_variables_of_a_task_hold_for_it_alone():
    @nbray.remote
    def value():
        return os.environ.get("NBRAY_TEST_VALUE")

    env = {"env_vars": {"NBRAY_TEST_VALUE": "7"}}
    assert nbray.get(value.options(runtime_env=env).remote()) == "7"
    assert nbray.get(value.remote()) is None


def test_environment_variables_are_those_of_nested_tasks_and_actors_too():
    def values():
        return os.environ.get("NBRAY_TEST_ONE"), os.environ.get("NBRAY_TEST_TWO")

    value = nbray.remote(num_cpus=0)(values)

    @nbray.remote(num_cpus=0)
    class Host:
        def values(self):
            return values()

        def of_others(self, *more):
            return nbray.get([one.remote() for one in (value, *more)])

        def of_an_actor(self):
            return nbray.get(Host.remote().values.remote())

    one, two = ({"env_vars": {f"NBRAY_TEST_{name}": "set"}} for name in ("ONE", "TWO"))
    host = Host.options(runtime_env=one).remote()
    assert nbray.get(host.of_others.remote(value.options(runtime_env=two))) == [("set", None), ("set", "set")]
    assert nbray.get(host.of_an_actor.remote()) == ("set", None)
    own = value.options(runtime_env={"env_vars": {"NBRAY_TEST_ONE": "own"}})
    assert nbray.get(host.of_others.remote(own))[1] == ("own", None)
    assert nbray.get(value.remote()) == (None, None)


def test_executors_share_the_drivers_working_directory_and_path():
    @nbray.remote
    def surroundings():
        return os.getcwd(), sys.path

    cwd, path = nbray.get(surroundings.remote())
    assert cwd == os.getcwd()
    assert [entry for entry in sys.path if entry] == [entry for entry in path if entry]


def test_random_streams_differ_between_executors(tmp_path):
    gate = Gate(tmp_path)

    @nbray.remote
    def draw():
        gate.wait()
        return random.random()

    refs = [draw.remote() for _ in range(2)]
    gate.until_came(2)
    gate.open()
    assert len(set(nbray.get(refs))) == 2


def test_threads_submit_and_get_at_once():
    sums, errors = [], []

    def work(k):
        try:
            sums.append(sum(nbray.get([add.remote(k, i) for i in range(50)])))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert sorted(sums) == [50 * k + 1225 for k in range(8)]


def test_threads_wait_for_the_same_ref(tmp_path):
    gate = Gate(tmp_path)

    @nbray.remote
    def late():
        gate.wait()
        return 7

    ref, values = late.remote(), []
    threads = [threading.Thread(target=lambda: values.append(nbray.get(ref))) for _ in range(4)]
    for thread in threads:
        thread.start()
    gate.until_came()
    gate.open()
    for thread in threads:
        thread.join()
    assert values == [7] * 4


def test_the_runtime_context_tells_driver_and_task_apart():
    @nbray.remote
    def facts():
        context = nbray.get_runtime_context()
        return (
            context.get_job_id(),
            context.get_task_id(),
            context.get_actor_id(),
            context.get_worker_id(),
            context.namespace,
        )

    ref = facts.remote()
    job, task, actor, worker, namespace = nbray.get(ref)
    here = nbray.get_runtime_context()
    assert (job, namespace) == (here.get_job_id(), here.namespace)
    assert task == ref.task_id().hex()
    assert actor is None
    assert worker != here.get_worker_id()
    assert here.get_task_id() is None
