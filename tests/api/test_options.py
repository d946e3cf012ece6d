"""Options: what is accepted, what it means, and how the errors read."""

import pytest

import nbray
from nbray._options import DEFAULT_CALL, actor_options, call_options, method_options, task_options
from nbray.core.messages import STREAMING


def test_a_task_takes_one_cpu_returns_one_value_and_is_retried_three_times_after_a_crash():
    options = task_options({})
    assert options.spec == ((("CPU", 10_000),), (), ())
    assert (options.returns, options.max_retries, options.retry_exceptions, options.name) == (1, 3, False, "")


def test_none_means_the_default():
    names = ("num_cpus", "num_gpus", "resources", "num_returns", "max_retries", "name", "runtime_env")
    assert task_options(dict.fromkeys(names)) == task_options({})


def test_resources_are_sorted_and_counted_in_ten_thousandths_and_zeros_left_out():
    options = task_options({"num_cpus": 0, "num_gpus": 0.5, "resources": {"b": 0.0001, "a": 2, "none": 0}})
    assert options.spec[0] == (("GPU", 5_000), ("a", 20_000), ("b", 1))


def test_a_tenth_of_a_cpu_is_exact():
    assert task_options({"num_cpus": 0.1}).spec[0] == (("CPU", 1_000),)


def test_environment_variables_are_part_of_the_shape():
    options = task_options({"runtime_env": {"env_vars": {"B": "2", "A": "1"}}})
    assert options.spec[1] == (("A", "1"), ("B", "2"))


def test_exception_types_may_come_in_a_list():
    assert task_options({"retry_exceptions": [ValueError]}).retry_exceptions == (ValueError,)
    assert task_options({"retry_exceptions": True}).retry_exceptions is True


def test_an_actor_needs_one_cpu_to_be_placed_and_keeps_none():
    options = actor_options({}, is_async=False)
    assert options.placing_spec == ((("CPU", 10_000),), (), ())
    assert options.held_spec == ((), (), ())
    assert (options.max_restarts, options.max_task_retries, options.max_concurrency) == (0, 0, 1)


@pytest.mark.parametrize(
    ("given", "held"),
    [
        ({"num_cpus": 2}, (("CPU", 20_000),)),
        ({"num_cpus": 0}, ()),
        ({"resources": {"x": 1}}, (("CPU", 10_000), ("x", 10_000))),
        ({"num_gpus": 1}, (("CPU", 10_000), ("GPU", 10_000))),
    ],
)
def test_an_actor_that_says_what_it_needs_keeps_it(given, held):
    options = actor_options(given, is_async=False)
    assert options.held_spec == options.placing_spec == (held, (), ())


def test_actors_with_async_methods_take_a_thousand_calls_at_a_time():
    assert actor_options({}, is_async=True).max_concurrency == 1000
    assert actor_options({"max_concurrency": 2}, is_async=True).max_concurrency == 2


def test_call_options_stand_on_those_of_the_method():
    base = call_options({"num_returns": 2, "max_task_retries": 1}, DEFAULT_CALL)
    assert call_options({"num_returns": 0}, base) == base._replace(returns=0)
    assert call_options({"retry_exceptions": [KeyError], "name": "n"}, base) == base._replace(
        retry_exceptions=(KeyError,), name="n", extra={"name": "n"}
    )
    assert (base.returns, base.max_task_retries) == (2, 1)


def test_a_generator_function_streams_unless_told_otherwise():
    assert task_options({}, streams=True).returns == STREAMING
    assert task_options({"num_returns": "streaming"}, streams=True).returns == STREAMING
    assert task_options({"num_returns": 2}, streams=True).returns == 2
    base = call_options({}, DEFAULT_CALL._replace(returns=STREAMING), streams=True)
    assert base.returns == STREAMING
    assert call_options({"num_returns": 3}, base, streams=True).returns == 3


def test_a_plain_function_cannot_stream():
    with pytest.raises(ValueError, match="yield"):
        task_options({"num_returns": "streaming"})
    with pytest.raises(ValueError, match="yield"):
        call_options({"num_returns": "streaming"}, DEFAULT_CALL)


def test_backpressure_is_a_number_of_items_or_none():
    name = "_generator_backpressure_num_objects"
    assert task_options({}, streams=True).ahead == task_options({name: -1}, streams=True).ahead == 0
    assert task_options({name: 3}, streams=True).ahead == 3
    base = call_options({name: 3}, DEFAULT_CALL)
    assert base.ahead == call_options({}, base).ahead == 3
    assert call_options({name: -1}, base).ahead == 0
    for wrong, kind in ((0, ValueError), (-2, ValueError), ("2", TypeError), (True, TypeError)):
        with pytest.raises(kind, match=name):
            task_options({name: wrong}, streams=True)


def test_memory_is_kept_by_an_actor_and_says_nothing_of_cpus():
    options = actor_options({"memory": 1000}, is_async=False)
    assert options.placing_spec[0] == (("CPU", 10_000), ("memory", 10_000_000))
    assert options.held_spec[0] == (("memory", 10_000_000),)


def test_the_default_strategy_may_be_said():
    assert task_options({"scheduling_strategy": "DEFAULT"}) == task_options({})


def for_actors(options):
    return actor_options(options, is_async=False)


@pytest.mark.parametrize("resolve", [task_options, for_actors])
@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"num_cpus": -1}, ValueError),
        ({"num_cpus": float("nan")}, ValueError),
        ({"num_cpus": float("inf")}, ValueError),
        ({"num_cpus": 0.00001}, ValueError),
        ({"num_cpus": "1"}, TypeError),
        ({"num_gpus": 1.5}, ValueError),
        ({"resources": [1]}, TypeError),
        ({"resources": {"CPU": 1}}, ValueError),
        ({"resources": {"GPU": 1}}, ValueError),
        ({"resources": {"x": -1}}, ValueError),
        ({"resources": {"x": "1"}}, TypeError),
        ({"resources": {"": 1}}, TypeError),
        ({"resources": {1: 1}}, TypeError),
        ({"name": 3}, TypeError),
        ({"runtime_env": 3}, TypeError),
        ({"runtime_env": {"env_vars": {"A": 1}}}, TypeError),
        ({"runtime_env": {"env_vars": {"A=B": "1"}}}, ValueError),
        ({"runtime_env": {"pip": ["x"]}}, ValueError),
    ],
)
def test_a_wrong_type_is_a_type_error_and_a_wrong_value_a_value_error(resolve, options, kind):
    with pytest.raises(kind):
        resolve(options)


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"num_returns": -1}, ValueError),
        ({"num_returns": 1.5}, TypeError),
        ({"num_returns": "a"}, TypeError),
        ({"num_returns": "streaming"}, ValueError),
        ({"max_retries": -2}, ValueError),
        ({"max_retries": 1.5}, TypeError),
        ({"max_retries": "a"}, TypeError),
        ({"retry_exceptions": 3}, TypeError),
        ({"retry_exceptions": [3]}, ValueError),
    ],
)
def test_wrong_task_options_are_refused(options, kind):
    with pytest.raises(kind):
        task_options(options)


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"max_restarts": -2}, ValueError),
        ({"max_task_retries": -2}, ValueError),
        ({"max_concurrency": 0}, ValueError),
        ({"max_concurrency": 1.5}, TypeError),
        ({"name": ""}, ValueError),
        ({"name": "x", "namespace": ""}, ValueError),
        ({"name": "x", "namespace": 3}, TypeError),
        ({"get_if_exists": True}, ValueError),
        ({"lifetime": "forever"}, ValueError),
        ({"lifetime": 3}, TypeError),
    ],
)
def test_wrong_actor_options_are_refused(options, kind):
    with pytest.raises(kind):
        for_actors(options)


@pytest.mark.parametrize(
    ("resolve", "name", "nearest"),
    [
        (task_options, "num_cpu", "num_cpus"),
        (task_options, "max_retry", "max_retries"),
        (for_actors, "max_restart", "max_restarts"),
        (method_options, "num_return", "num_returns"),
        (lambda options: call_options(options, DEFAULT_CALL), "num_return", "num_returns"),
    ],
)
def test_an_unknown_option_names_itself_and_the_nearest(resolve, name, nearest):
    with pytest.raises(ValueError, match=f"'{name}'.*'{nearest}'"):
        resolve({name: 1})


@pytest.mark.parametrize(("resolve", "name"), [(task_options, "max_restarts"), (for_actors, "max_retries")])
def test_options_of_the_other_kind_are_unknown(resolve, name):
    with pytest.raises(ValueError, match=name):
        resolve({name: 1})


@pytest.mark.parametrize("name", ["fallback_strategy", "placement_group"])
def test_what_ray_has_and_nbray_does_not_is_said_to_be_not_supported_yet(name):
    with pytest.raises(ValueError, match=f"'{name}'.*not supported yet"):
        task_options({name: 1})


@pytest.mark.parametrize(
    "resolve",
    [task_options, for_actors, method_options, lambda options: call_options(options, DEFAULT_CALL)],
)
def test_task_events_may_be_switched_off_and_change_nothing(resolve):
    assert resolve({"enable_task_events": False}) == resolve({})
    with pytest.raises(TypeError, match="'enable_task_events' must be a bool"):
        resolve({"enable_task_events": "no"})


def test_the_default_strategy_is_accepted_and_others_are_said_to_come_later():
    task_options({"scheduling_strategy": "DEFAULT"})
    with pytest.raises(ValueError, match="'SPREAD' is not supported yet; 'DEFAULT' is"):
        task_options({"scheduling_strategy": "SPREAD"})


def test_an_option_that_is_not_there_yet_may_be_none_and_nothing_else():
    for target in (lambda: None, type("Plain", (), {})):
        nbray.remote(target).options(fallback_strategy=None, placement_group=None)
        with pytest.raises(ValueError, match=r"fallback_strategy.*not supported yet"):
            nbray.remote(target).options(fallback_strategy=[{"label_selector": {"zone": "a"}}])
