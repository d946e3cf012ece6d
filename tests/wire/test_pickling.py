import copyreg
import os
import subprocess
import sys
import threading
import types

import cloudpickle
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbray.exceptions import SerializationError
from nbray.wire import pickling, reducers
from nbray.wire.pickling import (
    BUFFER_MIN,
    LARGE_BYTES,
    dump,
    dump_function,
    load,
    note_ref,
)


def through(value):
    """The value as a reader gets it from shared memory: on writable memory of his own."""
    dumped = dump(value)
    return load(dumped.pickle, [bytearray(b) for b in dumped.buffers])


class Ref:
    def __init__(self, name):
        self.name = name

    def __reduce__(self):
        self.noted = note_ref(self.name)
        return Ref, (self.name,)


class Sharing:
    """Pickles another value while it is pickled itself, as a ref with a ready value does."""

    def __init__(self, inner):
        self.inner = inner

    def __reduce__(self):
        self.dumped = dump(self.inner)
        note_ref("outer")
        return Sharing, (None,)


class Refuses:
    def __reduce__(self):
        raise ValueError("no")


ATOMS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary(max_size=50)
)
LARGE = st.sampled_from([b"x" * LARGE_BYTES, bytearray(LARGE_BYTES), b"y" * (LARGE_BYTES - 1)])
KEYS = st.text(max_size=4) | st.integers()
VALUES = st.recursive(
    ATOMS | LARGE,
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.lists(inner, max_size=5).map(tuple)
        | st.dictionaries(KEYS, inner, max_size=5)
        | st.tuples(st.lists(inner, max_size=3).map(tuple), st.dictionaries(st.text(), inner, max_size=3))
    ),
    max_leaves=20,
)


@settings(max_examples=200, deadline=None)
@given(VALUES)
def test_any_nested_value_comes_back_equal(value):
    assert through(value) == value


@given(VALUES)
@settings(max_examples=50, deadline=None)
def test_no_large_bytes_near_the_top_are_copied_into_the_stream(value):
    dumped = dump((value, {"k": value}) if isinstance(value, bytes | bytearray) else value)
    if isinstance(value, bytes | bytearray) and len(value) >= LARGE_BYTES:
        assert len(dumped.pickle) < 1000


@pytest.mark.parametrize("value", [5, "a", None, b"abc", (1, "a", b"b"), ((1, 2), {"x": 3})])
def test_small_plain_values_have_neither_buffers_nor_refs(value):
    dumped = dump(value)
    assert not dumped.buffers and not dumped.refs
    assert load(dumped.pickle) == value


@pytest.mark.parametrize("kind", [bytes, bytearray])
def test_large_bytes_travel_as_a_view_of_the_users_memory(kind):
    value = kind(os.urandom(LARGE_BYTES))
    dumped = dump(value)
    assert len(dumped.pickle) < 100
    assert [b.obj for b in dumped.buffers] == [value]
    back = through(value)
    assert type(back) is kind and back == value


def test_bytes_that_occur_twice_in_a_value_travel_once_and_stay_one_object():
    large = bytearray(LARGE_BYTES)
    first, second, third = through((large, [large], {"k": large}))
    assert len(dump((large, [large])).buffers) == 1
    assert first is second[0] is third["k"]


def test_a_list_that_contains_itself_comes_back_as_such():
    value = [b"x" * LARGE_BYTES]
    value.append(value)
    back = through(value)
    assert back[1] is back and back[0] == value[0]


def test_large_buffers_go_out_of_band_and_small_ones_stay_inside():
    small = np.zeros(BUFFER_MIN - 1, np.uint8)
    large = np.zeros(BUFFER_MIN, np.uint8)
    assert not dump(small).buffers
    assert [b.nbytes for b in dump([small, large]).buffers] == [BUFFER_MIN]


ARRAYS = {
    "small": np.arange(10),
    "contiguous": np.arange(10_000.0),
    "fortran": np.asfortranarray(np.arange(10_000).reshape(100, 100)),
    "strided": np.arange(20_000)[::2],
    "transposed": np.arange(30_000).reshape(10, 100, 30).transpose(1, 2, 0),
    "dates": np.arange(5_000).astype("datetime64[s]"),
    "records": np.zeros(1_000, dtype=[("a", "i4"), ("b", "f8")]),
    "text": np.array(["abc"] * 2_000),
    "empty": np.zeros((0, 5)),
    "scalar": np.array(5.0),
    "broadcast": np.broadcast_to(np.arange(100), (100, 100)),
}


@pytest.mark.parametrize("name", ARRAYS)
@pytest.mark.parametrize("writeable", [True, False])
def test_arrays_come_back_equal_and_writable(name, writeable):
    array = ARRAYS[name].view()
    if not writeable:
        array.flags.writeable = False
    back = through(array)
    assert back.dtype == array.dtype and back.shape == array.shape
    assert np.array_equal(back, array)
    assert back.flags.writeable
    if array.nbytes >= BUFFER_MIN:
        assert len(dump(array).pickle) < 1000


def test_arrays_of_objects_are_pickled_by_numpy():
    back = through(np.array([1, "a", None] * 500, dtype=object))
    assert back.tolist() == [1, "a", None] * 500


def test_a_read_only_array_is_not_copied_to_be_dumped():
    array = np.arange(10_000)
    array.flags.writeable = False
    (buffer,) = dump(array).buffers
    assert np.shares_memory(np.frombuffer(buffer, array.dtype), array)
    assert not array.flags.writeable


def test_inline_buffers_of_bytes_are_made_writable():
    dumped = dump(np.arange(10_000))
    assert load(dumped.pickle, [bytes(b) for b in dumped.buffers]).flags.writeable


def test_frames_of_pandas_come_back_writable():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"a": np.arange(5_000), "b": np.arange(5_000.0), "c": ["x"] * 5_000})
    back = through(frame)
    assert back.equals(frame)
    back.loc[0, "a"] = 99
    assert back.loc[0, "a"] == 99 and frame.loc[0, "a"] == 0
    assert len(dump(frame).buffers) >= 2


def test_classes_and_functions_of_main_go_by_value():
    script = """
import os, subprocess, sys
from nbray.wire.pickling import dump, dump_function
helper = 3
class Point:
    def __init__(self, x): self.x = x
    def twice(self): return self.x * 2 * helper
def make(x): return Point(x)
for pickled in (dump([Point(4)]).pickle, dump((Point(4), {})).pickle, dump(make).pickle, dump_function(make), dump(Point).pickle):
    sys.stdout.write(pickled.hex() + "\\n")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    listed, argument, function, by_function, kind = [load(bytes.fromhex(x)) for x in done.stdout.split()]
    assert listed[0].twice() == 24
    assert argument[0].twice() == 24
    assert function(5).twice() == by_function(5).twice() == kind(5).twice() == 30


def test_instances_of_classes_with_slots_come_back_from_a_process_that_got_the_class_with_them():
    script = """
import sys
from dataclasses import dataclass
from nbray.wire.pickling import dump, load
@dataclass(slots=True)
class Point:
    x: int
class Named(Point):
    __slots__ = ("__name", "__weakref__")
    def __init__(self, x): super().__init__(x); self.__name = "p"
    def name(self): return self.__name
if sys.argv[1:] == ["other"]:
    del Point, Named  # as in an executor, which has no such main module
    points = load(sys.stdin.buffer.read())
    assert [p.x for p in points] == [1, 2] and points[1].name() == "p"
    assert not hasattr(points[0], "__dict__")
    points[0].x = 3
    sys.stdout.buffer.write(dump(points).pickle)
else:
    import subprocess
    command = [sys.executable, "-c", SCRIPT, "other"]
    there = subprocess.run(command, input=dump([Point(1), Named(2)]).pickle, capture_output=True, check=True)
    points = load(there.stdout)
    assert [type(p) for p in points] == [Point, Named]
    print(points[0].x, points[1].x, points[1].name())
"""
    done = subprocess.run(
        [sys.executable, "-c", f"SCRIPT = {script!r}\n" + script], capture_output=True, text=True, check=False
    )
    assert done.stdout == "3 2 p\n", done.stderr


def test_named_tuples_of_a_script_come_back_from_a_process_that_got_the_class_with_them():
    script = """
import sys
from typing import NamedTuple
from nbray.wire.pickling import dump, load
class Row(NamedTuple):
    name: str
    size: int = 2
    def twice(self): return self.size * 2
class Wide(Row):
    __slots__ = ()
    def twice(self): return super().twice() + 1
if sys.argv[1:] == ["other"]:
    del Row, Wide  # as in an executor, which has no such main module
    row, wide = load(sys.stdin.buffer.read())
    assert (row.name, row.twice(), wide.twice()) == ("a", 4, 7)
    sys.stdout.buffer.write(dump([row._replace(size=5), wide]).pickle)
else:
    import subprocess
    command = [sys.executable, "-c", SCRIPT, "other"]
    rows = [Row("a"), Wide("w", 3)]
    there = subprocess.run(command, input=dump(rows).pickle, capture_output=True, check=True)
    back = load(there.stdout)
    assert [type(row) for row in back] == [Row, Wide]
    print(*back)
"""
    done = subprocess.run(
        [sys.executable, "-c", f"SCRIPT = {script!r}\n" + script], capture_output=True, text=True, check=False
    )
    assert done.stdout == "Row(name='a', size=5) Wide(name='w', size=3)\n", done.stderr


def test_an_instance_of_an_importable_class_is_pickled_by_name():
    assert b"cloudpickle" not in dump([Ref("a")]).pickle


def test_modules_registered_for_pickling_by_value_go_by_value(monkeypatch):
    module = types.ModuleType("module_that_only_the_driver_has")
    exec("class Thing: n = 7", module.__dict__)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    cloudpickle.register_pickle_by_value(module)
    try:
        dumped = dump([module.Thing()])
    finally:
        cloudpickle.unregister_pickle_by_value(module)
    monkeypatch.delitem(sys.modules, module.__name__)
    assert load(dumped.pickle)[0].n == 7


def test_lambdas_closures_and_local_classes_can_be_values():
    factor = np.arange(10_000)

    class Local:
        def scaled(self, x):
            return x * factor

    assert through(lambda x: x + 1)(2) == 3
    assert np.array_equal(through([Local()])[0].scaled(2), factor * 2)
    assert len(dump(Local()).buffers) == 1


def test_what_users_register_with_copyreg_counts():
    class Odd:
        pass

    copyreg.pickle(Odd, lambda _: "os.sep" and (str, ("odd",)))
    try:
        assert through([Odd()]) == ["odd"]
    finally:
        del copyreg.dispatch_table[Odd]


def test_a_registered_reducer_counts_on_every_road_until_it_is_unregistered():
    reducers.register(Refuses, lambda _: (str, ("reduced",)))
    try:
        assert through([Refuses()]) == ["reduced"]
        assert through([Refuses(), lambda: 1])[0] == "reduced"
    finally:
        reducers.unregister(Refuses)
    with pytest.raises(ValueError, match="no"):
        dump([Refuses()])


def test_refs_are_collected_where_they_are_nested():
    dumped = dump({"a": [Ref("x")], "b": (Ref("y"), {"c": Ref("x")})})
    assert sorted(dumped.refs) == ["x", "x", "y"]


def test_refs_are_collected_once_when_cloudpickle_has_to_do_the_work_again():
    ref = Ref("x")
    assert dump([ref, lambda: 1]).refs == ["x"]
    assert dump(lambda: ref).refs == ["x"]


def test_a_ref_pickled_outside_of_a_dump_is_told_so():
    ref = Ref("x")
    cloudpickle.dumps(ref)
    assert ref.noted is False
    dump([ref])
    assert ref.noted is True


def test_a_dump_inside_a_dump_keeps_its_refs_to_itself():
    sharing = Sharing([Ref("inner")])
    assert dump([Ref("before"), sharing, Ref("after")]).refs == ["before", "outer", "after"]
    assert sharing.dumped.refs == ["inner"]


def test_a_failed_dump_leaves_no_collector_behind():
    with pytest.raises(ValueError):
        dump([Ref("x"), Refuses()])
    assert note_ref("y") is False


def test_threads_collect_apart():
    inside, go_on = threading.Event(), threading.Event()
    seen = []

    class Slow:
        def __reduce__(self):
            inside.set()
            go_on.wait(10)
            return Ref, ("slow",)

    thread = threading.Thread(target=lambda: seen.append(dump([Slow(), Ref("theirs")]).refs))
    thread.start()
    assert inside.wait(10)
    assert note_ref("nobody's") is False
    assert dump([Ref("ours")]).refs == ["ours"]
    go_on.set()
    thread.join()
    assert seen == [["theirs"]]


def test_the_refs_in_a_functions_closure_can_be_collected():
    ref = Ref("x")
    refs = []
    function = load(dump_function(lambda: ref.name, refs))
    assert refs == ["x"] and function() == "x"
    dump_function(lambda: ref)
    assert ref.noted is False


def test_a_value_that_cannot_be_made_here_is_a_typed_error():
    with pytest.raises(SerializationError, match="no_such_module"):
        load(b"cno_such_module\nthing\n.")
    with pytest.raises(SerializationError):
        load(b"\x80\x05rubbish")


class FakeTensor:
    """As much of a tensor as the reducer asks for."""

    layout, is_quantized, is_leaf, requires_grad, _backward_hooks, dtype = (
        "strided",
        False,
        True,
        True,
        None,
        "torch.f8",
    )
    device = types.SimpleNamespace(type="cpu")

    def __init__(self, array):
        object.__setattr__(self, "__dict__", {})
        FakeTensor.arrays[id(self)] = array

    arrays: dict = {}
    shape = property(lambda self: self.arrays[id(self)].shape)

    def detach(self):
        return self

    resolve_conj = resolve_neg = contiguous = detach

    def reshape(self, *shape):
        return FakeTensor(self.arrays[id(self)].reshape(*shape))

    def view(self, dtype):
        return FakeTensor(self.arrays[id(self)].view(dtype))

    def numpy(self):
        return self.arrays[id(self)]

    def requires_grad_(self):
        FakeTensor.marked = self
        return self


@pytest.fixture
def fake_torch(monkeypatch):
    torch = types.ModuleType("torch")
    monkeypatch.setitem(reducers._awaited, "torch", reducers._install_torch)
    monkeypatch.setitem(sys.modules, "torch", torch)
    yield torch
    reducers.unregister(FakeTensor)


def test_a_tensors_data_is_a_buffer_once_torch_is_imported(fake_torch):
    dump([])  # torch is half imported
    assert FakeTensor not in reducers.table
    fake_torch.Tensor, fake_torch.strided, fake_torch.uint8, fake_torch.f8 = (
        FakeTensor,
        "strided",
        np.uint8,
        float,
    )
    fake_torch.frombuffer = lambda buffer, dtype: FakeTensor(np.frombuffer(buffer, dtype))
    tensor = FakeTensor(np.arange(10_000.0).reshape(100, 100))
    dumped = dump([tensor])
    assert [b.nbytes for b in dumped.buffers] == [80_000]
    (back,) = load(dumped.pickle, [bytearray(b) for b in dumped.buffers])
    assert np.array_equal(back.numpy(), tensor.numpy()) and back is FakeTensor.marked


def test_nothing_is_imported_to_pickle_a_value():
    script = """
import sys
from nbray.wire.pickling import dump
dump([1, lambda: 2])
print('torch' in sys.modules, 'numpy' in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_the_fast_road_takes_the_payload_of_a_call_and_leaves_what_may_hide_something(monkeypatch):
    slow = []
    monkeypatch.setattr(pickling, "_dump_any", slow.append)
    for value in (((1, "a"), {"x": 2.0, "y": [1, {"z": None}]}, b"tail"), [], {}, [True, ()]):
        dump(value)
    assert slow == []
    same = []
    same.append(same)
    values = (
        (np.float64(1),),
        {"x": object()},
        {b"k": 1},
        [b"x" * LARGE_BYTES],
        list(range(100)),
        [[[[[1]]]]],
        same,
    )
    for value in values:
        dump(value)
    assert len(slow) == len(values)


def test_an_array_of_numbers_takes_the_fast_road_unless_it_may_hide_something_or_the_user_knows_better(
    monkeypatch,
):
    dump([np.arange(3)])  # NumPy's entry is there from the first array on
    slow = []
    monkeypatch.setattr(pickling, "_dump_any", slow.append)
    for name in ("contiguous", "fortran", "strided"):
        assert np.array_equal(load(*dump(ARRAYS[name])[:2]), ARRAYS[name])
    assert slow == []
    objects = np.array([object()] * BUFFER_MIN)
    dump(objects)
    dump(ARRAYS["records"])
    dump(ARRAYS["contiguous"].view(np.matrix))
    assert len(slow) == 3
    monkeypatch.setitem(reducers.table, np.ndarray, lambda _: (str, ("reduced",)))
    dump(ARRAYS["contiguous"])
    assert len(slow) == 4


def test_functions_and_classes_keep_the_file_they_were_written_in():
    def outer():
        def inner():
            pass

        return inner

    class Local:
        def method(self):
            return outer()

    again = load(dump_function(Local))
    inner = again().method()
    assert again.method.__code__.co_filename == inner.__code__.co_filename == __file__
