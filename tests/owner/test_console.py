"""What a killed process had printed comes once, whichever way it came first."""

from nbray.owner.console import Console

WHO, PID, NODE = "f", 7, b"n" * 8


def lines(console):
    return [text for _, _, text, _, _ in console.queue]


def test_the_rest_leaves_out_what_has_come():
    console = Console(NODE)
    console.add(WHO, 1, "one\n", PID, NODE, 4)
    console.add(WHO, 1, "two\n", PID, NODE, 8)
    console.add_rest(1, 4, 0, b"two\nthree\n", PID, NODE)
    assert lines(console) == ["one\n", "two\n", "three\n"]


def test_the_rest_is_whole_if_nothing_of_it_has_come():
    console = Console(NODE)
    console.add(WHO, 1, "one\n", PID, NODE, 4)
    console.add_rest(1, 4, 0, b"two\n", PID, NODE)
    console.add_rest(2, 0, 0, b"error\n", PID, NODE)
    assert lines(console) == ["one\n", "two\n", "error\n"]


def test_nothing_is_shown_if_all_of_it_has_come():
    console = Console(NODE)
    console.add(WHO, 1, "one\n", PID, NODE, 4)
    console.add_rest(1, 0, 0, b"one\n", PID, NODE)
    assert lines(console) == ["one\n"]


def test_bytes_that_are_left_out_are_said_to_be():
    console = Console(NODE)
    console.add_rest(1, 100, 100, b"end\n", PID, NODE)
    assert lines(console) == ["... 100 bytes that came too late for a dead process are left out\nend\n"]


def test_what_is_passed_on_for_others_says_nothing_of_a_process():
    console = Console(NODE)
    console.add(WHO, 1, "one\n", PID, NODE, 0)
    console.add_rest(1, 0, 0, b"own\n", PID, NODE)
    assert lines(console) == ["one\n", "own\n"]
