"""Sessions: start, end, again; what each call does without one."""

import subprocess
import sys
import textwrap
import threading

import psutil
import pytest
from gates import Gate

import nbray
from nbray.exceptions import RaySystemError


@pytest.fixture(autouse=True)
def no_session():
    nbray.shutdown()
    yield
    nbray.shutdown()


@nbray.remote
def echo(value):
    return value


@nbray.remote
class Counter:
    def __init__(self):
        self.n = 0

    def inc(self):
        self.n += 1
        return self.n


def test_init_starts_and_shutdown_ends():
    assert not nbray.is_initialized()
    nbray.init(num_cpus=1)
    assert nbray.is_initialized()
    nbray.shutdown()
    nbray.shutdown()
    assert not nbray.is_initialized()


def test_a_second_init_is_a_runtime_error_and_the_first_goes_on():
    nbray.init(num_cpus=1)
    with pytest.raises(RuntimeError, match="ignore_reinit_error"):
        nbray.init(num_cpus=1)
    assert nbray.get(echo.remote(1)) == 1


def test_an_address_at_which_nothing_can_be_is_refused_at_once():
    with pytest.raises(ConnectionError, match="init\\(\\) starts a pool"):
        nbray.init(address="auto")
    for wrong in ("nonsense", "ray://localhost:10001", "host:port"):
        with pytest.raises(ValueError, match=f"host:port.*{wrong}"):
            nbray.init(wrong)
    assert not nbray.is_initialized()


@pytest.mark.parametrize(
    "has",
    [
        {"num_cpus": 2},
        {"num_gpus": 0},
        {"resources": {"x": 1}},
        {"labels": {"zone": "a"}},
        {"object_store_memory": 1 << 24},
    ],
)
def test_what_a_cluster_has_is_not_said_by_who_attaches(has):
    (name,) = has
    with pytest.raises(ValueError, match=f"'{name}' of init.* not for a cluster to attach to"):
        nbray.init("127.0.0.1:1", **has)
    assert not nbray.is_initialized()


def test_the_address_local_is_a_pool_of_our_own():
    nbray.init("local", num_cpus=1, object_store_memory=1 << 24)
    assert nbray.get(echo.remote(1)) == 1
    with pytest.raises(RuntimeError, match="ignore_reinit_error"):
        nbray.init(address="auto")
    assert nbray.init(address="auto", ignore_reinit_error=True)["node_id"] == nbray.nodes()[0]["NodeID"]


def test_a_second_init_may_be_ignored():
    first = nbray.init(num_cpus=1)
    second = nbray.init(num_cpus=5, ignore_reinit_error=True)
    assert second["node_id"] == first["node_id"]
    assert nbray.cluster_resources()["CPU"] == 1


def test_functions_and_classes_made_before_work_in_the_next_session():
    for _ in range(2):
        nbray.init(num_cpus=1)
        assert nbray.get(echo.remote(1)) == 1
        assert nbray.get(Counter.remote().inc.remote()) == 1
        nbray.shutdown()


def test_the_context_ends_the_session_with_its_block():
    with nbray.init(num_cpus=1) as context:
        assert nbray.get(echo.remote(1)) == 1
        assert (
            context["node_id"] == context.address_info["node_id"] == nbray.get_runtime_context().get_node_id()
        )
        assert context.dashboard_url == ""
    assert not nbray.is_initialized()


def test_an_old_context_does_not_end_the_next_session():
    old = nbray.init(num_cpus=1)
    nbray.shutdown()
    nbray.init(num_cpus=1)
    old.disconnect()
    assert nbray.is_initialized()


def test_the_context_shows_what_there_is():
    context = nbray.init(num_cpus=1)
    assert "CPUs=1" in repr(context)
    assert "<table>" in context._repr_html_()
    assert "<script" not in context._repr_html_()
    nbray.shutdown()
    assert "ended" in repr(context)
    assert "ended" in context._repr_html_()


def test_an_unknown_argument_is_named_with_the_nearest():
    with pytest.raises(RuntimeError, match=r"'num_cpu'.*'num_cpus'"):
        nbray.init(num_cpu=1)
    assert not nbray.is_initialized()


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"num_cpus": -1}, ValueError),
        ({"num_cpus": "two"}, TypeError),
        ({"num_gpus": -1}, ValueError),
        ({"resources": {"x": -1}}, ValueError),
        ({"resources": {"CPU": 1}}, ValueError),
        ({"resources": ["x"]}, TypeError),
        ({"runtime_env": {"conda": "x"}}, ValueError),
    ],
)
def test_impossible_arguments_are_refused_before_anything_starts(options, kind):
    with pytest.raises(kind):
        nbray.init(**options)
    assert not nbray.is_initialized()


def test_rays_arguments_about_its_dashboard_and_logs_are_accepted():
    nbray.init(num_cpus=1, include_dashboard=False, logging_level="ERROR", configure_logging=False)
    assert nbray.get(echo.remote(1)) == 1


def test_environment_variables_of_the_session_reach_all_executors():
    nbray.init(num_cpus=1, runtime_env={"env_vars": {"NBRAY_TEST_SESSION": "yes"}})

    @nbray.remote
    def value():
        import os

        return os.environ["NBRAY_TEST_SESSION"]

    assert nbray.get(value.remote()) == "yes"


def test_the_namespace_of_the_session_is_where_names_count():
    nbray.init(num_cpus=1, namespace="mine")
    counter = Counter.options(name="c").remote()
    assert nbray.get_actor("c", namespace="mine") == counter
    assert nbray.get_runtime_context().namespace == "mine"


@pytest.mark.parametrize(
    "start",
    [
        lambda: nbray.get(echo.remote(1)),
        lambda: nbray.put(1),
        lambda: nbray.get([]),
        lambda: Counter.remote(),
        lambda: nbray.get_runtime_context(),
    ],
    ids=["remote", "put", "get", "actor", "context"],
)
def test_first_uses_start_a_pool(start):
    start()
    assert nbray.is_initialized()


def test_looking_for_an_actor_starts_a_pool():
    with pytest.raises(ValueError, match="nobody"):
        nbray.get_actor("nobody")
    assert nbray.is_initialized()


@pytest.mark.parametrize("ask", [nbray.nodes, nbray.cluster_resources, nbray.available_resources, nbray.feed])
def test_questions_about_the_session_do_not_start_one(ask):
    with pytest.raises(RaySystemError, match="init"):
        ask()
    assert not nbray.is_initialized()


def test_threads_that_start_the_pool_at_once_share_one():
    values, errors = [], []

    def use():
        try:
            values.append(nbray.get(echo.remote(1)))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (values, errors) == ([1] * 4, [])


# --- after shutdown ----------------------------------------------------------------------------------------------------


def test_a_ref_that_was_pending_at_shutdown_is_an_error(tmp_path):
    nbray.init(num_cpus=1)
    gate = Gate(tmp_path)

    @nbray.remote
    def late():
        gate.wait()

    ref = late.remote()
    gate.until_came()
    nbray.shutdown()
    nbray.init(num_cpus=1)
    with pytest.raises(RaySystemError, match="shut down"):
        nbray.get(ref, timeout=5)
    assert nbray.get(echo.remote(1)) == 1


def test_a_ref_of_an_earlier_session_cannot_be_an_argument(tmp_path):
    nbray.init(num_cpus=1)
    gate = Gate(tmp_path)

    @nbray.remote
    def late():
        gate.wait()

    ref = late.remote()
    gate.until_came()
    nbray.shutdown()
    nbray.init(num_cpus=1)
    with pytest.raises(RaySystemError):
        nbray.get(echo.remote(ref), timeout=5)
    assert nbray.get(echo.remote(1)) == 1


def test_an_actor_of_an_earlier_session_is_dead():
    nbray.init(num_cpus=1)
    counter = Counter.remote()
    assert nbray.get(counter.inc.remote()) == 1
    nbray.shutdown()
    nbray.init(num_cpus=1)
    with pytest.raises((RaySystemError, nbray.exceptions.RayActorError)):
        nbray.get(counter.inc.remote(), timeout=5)
    assert nbray.get(echo.remote(1)) == 1


def test_a_thread_that_waits_at_shutdown_gets_an_error(tmp_path):
    nbray.init(num_cpus=1)
    gate = Gate(tmp_path)

    @nbray.remote
    def late():
        gate.wait()

    ref, caught = late.remote(), []
    gate.until_came()

    def wait():
        try:
            nbray.get(ref)
        except RaySystemError as error:
            caught.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    nbray.shutdown()
    thread.join(timeout=10)
    assert len(caught) == 1


def test_shutdown_ends_all_processes(tmp_path):
    nbray.init(num_cpus=2)
    gate = Gate(tmp_path)

    @nbray.remote
    def stand():
        gate.wait()

    actors = [Counter.remote() for _ in range(2)]
    nbray.get([actor.inc.remote() for actor in actors])
    refs = [stand.remote() for _ in range(2)]
    gate.until_came(2)
    children = psutil.Process().children(recursive=True)
    assert len(children) >= 4
    nbray.shutdown()
    gone, alive = psutil.wait_procs(children, timeout=5)
    assert not alive
    del refs


def run(code):
    script = textwrap.dedent(code)
    return subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )


def test_a_script_that_does_not_shut_down_ends_silently_and_leaves_nothing():
    done = run(
        """
        import nbray, psutil
        @nbray.remote
        class A:
            def m(self): return 1
        a = A.remote()
        print(nbray.get(a.m.remote()))
        print(*[p.pid for p in psutil.Process().children(recursive=True)])
        """
    )
    value, pids = done.stdout.splitlines()
    assert (done.returncode, value, done.stderr) == (0, "1", "")
    for pid in map(int, pids.split()):
        try:
            psutil.Process(pid).wait(timeout=5)
        except psutil.NoSuchProcess:
            pass


def test_things_of_main_work_by_value():
    done = run(
        """
        import nbray
        factor = 3
        class Point:
            def __init__(self, x): self.x = x
        def helper(point): return Point(point.x * factor)
        @nbray.remote
        def scale(point): return helper(point)
        with nbray.init(num_cpus=1):
            result = nbray.get(scale.remote(Point(2)))
            print(type(result) is Point, result.x)
        """
    )
    assert (done.stdout, done.stderr) == ("True 6\n", "")


def test_a_forked_child_refuses_to_use_the_session_and_can_end():
    done = run(
        """
        import os, nbray
        nbray.init(num_cpus=1)
        ref = nbray.put(1)
        pid = os.fork()
        if not pid:
            try:
                nbray.get(nbray.put(2))
            except nbray.exceptions.RaySystemError as error:
                print("refused", "fork" in str(error), flush=True)
            os._exit(0)
        os.waitpid(pid, 0)
        print(nbray.get(ref))
        """
    )
    assert (done.stdout, done.returncode) == ("refused True\n1\n", 0)


def test_what_only_ray_has_may_be_left_at_its_default():
    with nbray.init(num_cpus=1, local_mode=False, job_config=None):
        pass
    internals = {
        "_temp_dir": "/tmp/ray",
        "_system_config": {"a": 1},
        "_redis_password": "x",
        "_memory": 1 << 20,
    }
    with nbray.init(num_cpus=1, enable_resource_isolation=False, cgroup_path=None, **internals):
        assert nbray.cluster_resources()["memory"] == 1 << 20
    with pytest.raises(RuntimeError, match="_temp_dirs"):
        nbray.init(_temp_dirs="/tmp/ray")
    with pytest.raises(RuntimeError, match="local_mode"):
        nbray.init(local_mode=True)


def test_the_context_is_a_mapping_of_what_it_tells():
    with nbray.init(num_cpus=1, namespace="mine") as context:
        assert dict(context) == context.address_info
        assert "node_id" in context and "port" not in context
        assert context.get("port") is None and len(context) == len(context.address_info)
        again = nbray.init(ignore_reinit_error=True)
        assert dict(again) == dict(context) and again != context and len({context, again}) == 2


@pytest.mark.parametrize(("namespace", "error"), [(1, TypeError), ("", ValueError)])
def test_a_namespace_that_can_be_none_is_refused(namespace, error):
    with pytest.raises(error, match="namespace"):
        nbray.init(num_cpus=1, namespace=namespace)
    assert not nbray.is_initialized()
