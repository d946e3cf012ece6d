"""What users say about pickling, and ask about it."""

import io
import threading

import pytest

import nbray
from nbray.util import deregister_serializer, inspect_serializability, register_serializer


def connection_type():
    class Connection:
        def __init__(self, url):
            self.url = url
            self.lock = threading.Lock()

    return Connection


class TestSerializers:
    def test_registered_types_travel(self, pool):
        connection = connection_type()
        register_serializer(
            connection, serializer=lambda value: value.url, deserializer=lambda url: f"made of {url}"
        )
        try:
            assert nbray.get(nbray.put([connection("here")])) == ["made of here"]
            task = nbray.remote(lambda value: value)
            assert nbray.get(task.remote(connection("there"))) == "made of there"
        finally:
            deregister_serializer(connection)
        with pytest.raises(TypeError, match="lock"):
            nbray.put(connection("nowhere"))

    def test_deregistering_what_is_not_registered_does_nothing(self):
        deregister_serializer(connection_type())

    def test_wrong_arguments_are_named(self):
        with pytest.raises(TypeError, match="cls"):
            register_serializer("int", serializer=str, deserializer=int)
        with pytest.raises(TypeError, match="deserializer"):
            register_serializer(connection_type(), serializer=str, deserializer="int")


class TestInspection:
    def inspect(self, value, **options):
        printed = io.StringIO()
        return (*inspect_serializability(value, print_file=printed, **options), printed.getvalue())

    def test_what_can_be_pickled_is_fine(self):
        ok, failures, text = self.inspect([1, 2], name="numbers")
        assert (ok, failures) == (True, set())
        assert "numbers" in text and "Yes" in text

    def test_the_captured_variable_is_found(self):
        lock = threading.Lock()

        def outer():
            return {"key": lock}

        ok, failures, text = self.inspect(outer, name="outer")
        (failure,) = failures
        assert not ok
        assert failure.obj is lock
        assert failure.path == ("outer", "lock")
        assert failure.parent is outer
        assert "captures the variable 'lock'" in text
        assert "outer -> lock" in repr(failure)

    def test_the_way_goes_through_attributes_and_items(self):
        connection = connection_type()("here")
        ok, failures, text = self.inspect([connection])
        (failure,) = failures
        assert failure.obj is connection.lock
        assert failure.path == ("[0]", "lock")
        assert failure.parent is connection

    def test_the_depth_is_a_limit(self):
        connection = connection_type()("here")
        _, failures, _ = self.inspect([[[connection]]], depth=2)
        assert [failure.path for failure in failures] == [("[0]", "[0]")]
        _, failures, _ = self.inspect(connection, depth=0, name="connection")
        assert [failure.obj for failure in failures] == [connection]

    def test_it_prints_to_standard_output(self, capsys):
        inspect_serializability(1)
        assert "Yes" in capsys.readouterr().out
