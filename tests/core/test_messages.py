"""Kinds of messages are told apart by their numbers."""

from itertools import takewhile

from nbray.core import messages


def test_no_two_kinds_have_one_number():
    kinds = {
        name: number
        for name, number in takewhile(lambda item: item[0] != "RESOURCE_UNIT", vars(messages).items())
        if name.isupper() and type(number) is int
    }
    assert {"ATTACH", "ADOPT", "LEAVING"} <= kinds.keys()
    assert len(set(kinds.values())) == len(kinds)
