"""``@remote`` on functions and classes, before anything runs: what decorated things look like and what they refuse."""

import functools
import inspect
import pickle
import subprocess
import sys

import cloudpickle
import pytest

import nbray
from nbray import _runtime


class Recorder:
    """Stands where the runtime is, and keeps what it was asked."""

    def __init__(self):
        self.functions = []
        self.calls = []

    def function(self, target, name):
        self.functions.append((target, name))
        return len(self.functions)

    def submit(self, function, args, kwargs, options):
        self.calls.append((function, args, kwargs))
        return [object() for _ in range(options.returns)]


@pytest.fixture
def runtime(monkeypatch):
    recorder = Recorder()
    monkeypatch.setattr(_runtime, "current", lambda: recorder)
    return recorder


@nbray.remote
def add(a, b=2):
    """Adds."""
    return a + b


@nbray.remote
class Counter:
    """Counts."""

    start = 5

    def __init__(self, start=0):
        self.n = start

    def inc(self, by=1):
        """Counts on."""
        self.n += by
        return self.n


def test_calling_a_remote_function_directly_says_what_to_do():
    with pytest.raises(TypeError, match=r"add\.remote\(\)"):
        add(1)


def test_making_an_instance_directly_says_what_to_do():
    with pytest.raises(TypeError, match=r"Counter\.remote\(\)"):
        Counter()


def test_inheriting_from_an_actor_class_is_refused():
    with pytest.raises(TypeError, match="plain class"):

        class More(Counter):
            pass


def test_a_remote_function_keeps_name_docstring_and_signature():
    assert (add.__name__, add.__doc__) == ("add", "Adds.")
    for shown in (add, add.remote, add.options(num_cpus=2).remote):
        assert str(inspect.signature(shown)) == "(a, b=2)"
    assert add.remote.__doc__ == "Adds."
    assert "return a + b" in inspect.getsource(add)


def test_an_actor_class_keeps_name_docstring_signature_and_attributes():
    assert (Counter.__name__, Counter.__doc__) == ("Counter", "Counts.")
    for shown in (Counter, Counter.remote):
        assert str(inspect.signature(shown)) == "(start=0)"
    assert Counter.start == 5


def test_reprs_name_the_function_and_the_class():
    assert "add" in repr(add)
    assert "Counter" in repr(Counter)


def test_wrong_arguments_fail_at_the_call_in_the_words_of_a_direct_call(runtime):
    for args, kwargs, text in [
        ((), {}, "missing 1 required positional argument: 'a'"),
        ((1, 2, 3), {}, "takes from 1 to 2 positional arguments but 3 were given"),
        ((1,), {"z": 1}, "unexpected keyword argument 'z'"),
        ((1,), {"a": 1}, "multiple values for argument 'a'"),
    ]:
        with pytest.raises(TypeError, match=text):
            add.remote(*args, **kwargs)
    assert not runtime.calls


def test_wrong_constructor_arguments_fail_at_the_call(runtime):
    with pytest.raises(TypeError, match="takes from 1 to 2 positional arguments"):
        Counter.remote(1, 2)
    with pytest.raises(TypeError, match="unexpected keyword argument 'z'"):
        Counter.remote(z=1)


def test_a_class_without_constructor_takes_no_arguments(runtime):
    @nbray.remote
    class Empty:
        pass

    with pytest.raises(TypeError):
        Empty.remote(1)


def test_the_number_of_returns_makes_a_ref_a_list_or_none(runtime):
    assert type(add.remote(1)) is object
    assert len(add.options(num_returns=2).remote(1)) == 2
    assert add.options(num_returns=1).remote(1) is not None
    assert add.options(num_returns=0).remote(1) is None


def test_a_function_is_sent_once_a_session(runtime, monkeypatch):
    add.remote(1)
    add.options(num_cpus=2).remote(2)
    assert [name for _, name in runtime.functions] == ["add"]
    other = Recorder()
    monkeypatch.setattr(_runtime, "current", lambda: other)
    add.remote(1)
    assert [name for _, name in other.functions] == ["add"]


def test_a_function_is_sent_anew_at_its_first_call_in_each_cell(runtime, monkeypatch):
    class Shell:
        execution_count = 1

    shell = Shell()
    monkeypatch.setattr("nbray._exported._shell", lambda: shell)

    @nbray.remote
    def cell():
        pass

    cell.remote()
    cell.remote()
    assert len(runtime.functions) == 1
    shell.execution_count = 2
    cell.remote()
    cell.remote()
    assert len(runtime.functions) == 2


def test_options_stand_on_those_of_the_decorator():
    @nbray.remote(num_cpus=2, max_retries=0)
    def f():
        pass

    options = f.options(num_returns=2)._options
    assert options.spec[0] == (("CPU", 20_000),)
    assert (options.max_retries, options.returns) == (0, 2)
    assert f._options.returns == 1


def test_the_decorator_may_be_written_in_all_its_forms():
    def f(): ...

    class A: ...

    for decorate in (nbray.remote, nbray.remote(), nbray.remote(num_cpus=1)):
        assert decorate(f).__name__ == "f"
        assert decorate(A).__name__ == "A"


def test_what_is_no_function_and_no_class_is_refused():
    for wrong in (3, len, functools.partial(int), add):
        with pytest.raises(TypeError):
            nbray.remote(wrong)
    with pytest.raises(TypeError):
        nbray.remote(lambda: None, num_cpus=1)


def test_coroutine_functions_are_refused_as_tasks():
    async def f(): ...

    with pytest.raises(ValueError, match="async def"):
        nbray.remote(f).remote()


def test_unknown_options_are_refused_where_they_are_written():
    for use in (nbray.remote, add.options, Counter.options):
        with pytest.raises(ValueError, match=r"'num_cpu'.*'num_cpus'"):
            use(num_cpu=1)
    with pytest.raises(ValueError, match="max_restarts"):
        nbray.remote(max_restarts=1)(lambda: None)


def test_unknown_options_of_methods_are_refused():
    with pytest.raises(ValueError, match=r"'num_return'.*'num_returns'"):
        nbray.method(num_return=1)


def test_a_method_may_be_annotated_in_all_forms():
    def f(self): ...

    assert nbray.method(f) is f
    assert nbray.method()(f) is f
    assert nbray.method(num_returns=2)(f) is f


def test_a_function_that_calls_itself_survives_pickling(runtime):
    @nbray.remote(num_cpus=2)
    def fib(n, *, least=2):
        return n if n < least else fib.remote(n - 1)

    back = cloudpickle.loads(cloudpickle.dumps(fib))
    back.remote(1)
    inner = runtime.functions[0][0]
    assert inner.__closure__[0].cell_contents is back
    assert back._options == fib._options
    with pytest.raises(TypeError, match="missing 1 required"):
        back.remote()


def test_a_class_that_names_itself_survives_pickling():
    @nbray.remote(max_task_retries=1)
    class Node:
        def __init__(self, depth):
            self.child = Node.remote(depth - 1) if depth else None

    back = cloudpickle.loads(cloudpickle.dumps(Node))
    assert back._given == {"max_task_retries": 1}
    with pytest.raises(TypeError, match="missing 1 required"):
        back.remote()


def test_a_decorated_function_of_a_module_can_be_pickled_by_cloudpickle():
    assert cloudpickle.loads(cloudpickle.dumps(add)).__name__ == "add"
    with pytest.raises(pickle.PicklingError):
        pickle.dumps(add)


def test_importing_nbray_imports_neither_dask_nor_numpy():
    code = "import sys, nbray; print([m for m in ('dask', 'distributed', 'numpy', 'IPython', 'tornado') if m in sys.modules])"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.strip() == "[]"


def test_all_lists_just_the_public_names():
    assert sorted(nbray.__all__) == nbray.__all__
    for name in nbray.__all__:
        assert getattr(nbray, name) is not None
    with pytest.raises(AttributeError, match="nonsense"):
        nbray.nonsense


def test_the_function_itself_is_under_rays_name_too():
    assert nbray.remote(lambda x: x + 1)._function(1) == 2


def test_bind_is_refused_in_words():
    class Plain:
        def method(self):
            pass

    class Binds(Plain):
        def bind(self):
            return "its own"

    for remote in (nbray.remote(lambda: None), nbray.remote(Plain), nbray.remote(Plain).options(num_cpus=1)):
        with pytest.raises(AttributeError, match=r"'bind'.*graphs of calls.*\.remote\(\)"):
            remote.bind()
    assert nbray.remote(Binds).bind is Binds.bind


def test_names_of_util_that_are_missing_lead_to_the_readme():
    with pytest.raises(AttributeError, match=r"'placement_group'.*README"):
        nbray.util.placement_group
