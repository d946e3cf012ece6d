import functools
import threading

import numpy as np
import pytest

from nbray.wire import explain
from nbray.wire.explain import explain_unpicklable
from nbray.wire.pickling import dump, note_ref

lock = threading.Lock()


def why(value, what=None):
    with pytest.raises(Exception) as failed:
        dump(value)
    return explain_unpicklable(value, failed.value, what)


def as_if_in_a_notebook(source, **variables):
    """A function ``f`` of ``__main__``, which goes by value."""
    space = {"__name__": "__main__", **variables}
    exec(compile(source, "cell.py", "exec"), space)
    return space["f"]


def test_a_global_variable_is_named_with_type_and_the_functions_place():
    text = why(as_if_in_a_notebook("\ndef f(): return lock", lock=lock))
    assert text.startswith(
        "cannot pickle function 'f' (cell.py:2): it uses the global variable 'lock' (type _thread.lock)"
    )
    assert text.count("\n") == 0


def test_a_global_of_an_inner_function_is_found():
    text = why(as_if_in_a_notebook("def f():\n    return [lock for _ in (lambda: lock,)]", lock=lock))
    assert "it uses the global variable 'lock'" in text


def test_a_captured_variable_is_named():
    def outer():
        held = threading.Lock()
        return lambda: held

    assert "it captures the variable 'held' (type _thread.lock)" in why(outer())


def test_a_default_is_named():
    def f(a, b=lock, *, c=3):
        pass

    def g(a, *, c=lock):
        pass

    assert "it has a default for its parameter 'b' (type _thread.lock)" in why(f)
    assert "it has a default for its parameter 'c' (type _thread.lock)" in why(g)


def test_of_a_long_way_the_beginning_and_the_end_are_told():
    deep = {"here": [lock]}
    for step in range(7):
        deep = {step: deep}

    def f():
        return deep

    told = why(f)
    assert "captures the variable 'deep' (type dict), which has the item [6] (type dict), which" in told
    assert (
        "has the item [4] (type dict), and 5 steps further on something, which has the item [0] (type _thread.lock): "
        in told
    )
    assert len(told) < 500


def test_the_way_through_objects_and_containers_is_told():
    class Model:
        def __init__(self):
            self.parts = {"a": [1, lock]}

    model = Model()

    def f():
        return model

    assert (
        "<locals>.Model), which has the attribute 'parts' (type dict), which has the item ['a'] (type list), "
        "which has the item [1] (type _thread.lock)"
    ) in why(f)
    assert "it captures the variable 'model' (type " in why(f)


def test_helpers_called_by_a_function_are_looked_into():
    helper = as_if_in_a_notebook("def f(): return lock", lock=lock)
    text = why(as_if_in_a_notebook("def f(): return helper()", helper=helper))
    assert (
        "it uses the global variable 'helper' (function 'f', cell.py:1), which uses the global variable 'lock'"
        in text
    )


def test_partials_methods_and_classes_are_looked_into():
    class Kind:
        shared = lock

        def method(self):
            return 1

    assert "it has the argument 0 (type _thread.lock)" in why(functools.partial(print, lock))
    assert "it has the argument 'end' (type _thread.lock)" in why(functools.partial(print, end=lock))
    assert "it has the class attribute 'shared' (type _thread.lock)" in why(Kind)
    assert "which has the class attribute 'shared'" in why(Kind().method)


def test_the_culprit_itself_is_named_by_type():
    assert (
        why(x for x in ())
        == "cannot pickle a value of type generator: TypeError: cannot pickle 'generator' object"
    )


def test_the_caller_can_say_what_the_value_is():
    assert why([lock], "argument 'x' of g").startswith("cannot pickle argument 'x' of g: it has the item [0]")


def test_cycles_end_and_the_culprit_beside_them_is_found():
    outer, inner = [], []
    inner.append(outer)
    outer.extend([inner, lock])
    assert "it has the item [1] (type _thread.lock)" in why(outer)


def test_nesting_without_end_gives_an_answer():
    value = lock
    for _ in range(100):
        value = [value]
    assert "in which something cannot be pickled" in why(value)


def test_objects_that_refuse_to_be_looked_at_give_an_answer():
    class Hostile:
        def __reduce_ex__(self, protocol):
            raise RuntimeError("no")

        def __repr__(self):
            raise RuntimeError("no")

    assert "RuntimeError: no" in why([{Hostile(): 1}])


def test_the_search_stops_at_its_time_limit(monkeypatch):
    monkeypatch.setattr(explain, "TIME_LIMIT", 0.0)
    assert (
        why([1, [lock]])
        == "cannot pickle a value of type list: TypeError: cannot pickle '_thread.lock' object"
    )


def test_large_arrays_beside_the_culprit_are_not_copied():
    assert "it has the item [1] (type _thread.lock)" in why([np.zeros(1 << 27, np.uint8), lock])


def test_looking_for_the_culprit_takes_no_note_of_refs():
    answers = []

    class Ref:
        def __reduce__(self):
            answers.append(note_ref(self))
            return str, ("ref",)

    why([Ref(), lock])
    assert answers and all(answers)
