from __future__ import annotations

import pytest

from nbray.bench.splits.values import over, values, workers


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("1,10,100", [1, 10, 100]),
        ("1, 10 ,", [1, 10]),
        ("0.5,2.0", [0.5, 2.0]),
        ("1e6", [1_000_000]),
        ("1_000", [1000]),
        ("1:5", [1, 2, 3, 4, 5]),
        ("0:100:25", [0, 25, 50, 75, 100]),
        ("0:1:0.25", [0.0, 0.25, 0.5, 0.75, 1.0]),
        ("1:1000:log", [1, 10, 100, 1000]),
        ("1:50:log", [1, 10, 50]),
        ("1:1000:log4", [1, 10, 100, 1000]),
        ("0.001:1:log4", [0.001, 0.01, 0.1, 1]),
        ("1:64:x4", [1, 4, 16, 64]),
        ("0:1:lin3", [0, 0.5, 1]),
        ("0:10:lin3", [0, 5, 10]),
        ("1,10:30:10,1000", [1, 10, 20, 30, 1000]),
        ("1,1,2:3,2", [1, 2, 3]),
        ("gzip,lz4", ["gzip", "lz4"]),
        ("None,True,'a,b',(1,2)", [None, True, "a,b", (1, 2)]),
        ("1,True,1.0", [1, True, 1.0]),
        ("5", [5]),
        ("C:D", ["C:D"]),
    ],
)
def test_values_are_numbers_ranges_and_words(text, wanted):
    found = values(text)
    assert found == wanted
    assert list(map(type, found)) == list(map(type, wanted))


def test_a_parameter_is_a_name_and_its_values():
    assert over("chunk = 1,2") == ("chunk", [1, 2])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("chunk", "NAME=VALUES"),
        ("=1", "name of a variable"),
        ("for=1", "not 'for'"),
        ("a b=1", "not 'a b'"),
        ("c=", "names no values for 'c', such as c=1,10,100"),
        ("c=1,,2", "empty value"),
        ("c=0:10:log", "both must be over 0"),
        ("c=10:1:log", "the lower first"),
        ("c=10:1", "the lower bound comes first"),
        ("c=1:9:0", "more than 0"),
        ("c=1:9:x1", "more than 1"),
        ("c=1:9:lin", "how many values"),
        ("c=1:9:log1.5", "how many values"),
        ("c=1:9:foo", "ranges are"),
        ("c=1:100000", "100,000 values"),
    ],
)
def test_mistakes_are_named_with_what_would_be_right(text, said):
    with pytest.raises(ValueError) as mistake:
        over(text)
    assert said in str(mistake.value)


def test_workers_are_whole_numbers_from_one():
    assert workers("1,2,4") == [1, 2, 4]
    assert workers("1:3") == [1, 2, 3]
    for wrong in ("0", "1.5", "two", "-1"):
        with pytest.raises(ValueError, match="whole numbers"):
            workers(wrong)
