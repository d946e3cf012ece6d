"""What is printed is in the feed whole, unless it is much."""

from nbray.core.digest import BURST, LONGEST, RATE, Digest


def test_lines_are_taken_as_they_are():
    digest = Digest()
    assert [digest.take(f"line {i}\n", 10.0) for i in range(int(BURST))] == [
        f"line {i}\n" for i in range(int(BURST))
    ]


def test_a_long_text_keeps_its_two_ends():
    text = Digest().take("a" * LONGEST + "b" * LONGEST, 1.0)
    assert text.startswith("aaa")
    assert text.endswith("bbb")
    assert f"... {LONGEST} characters left out ..." in text
    assert len(text) < LONGEST + 100


def test_who_prints_too_often_is_left_out_and_counted():
    digest = Digest()
    taken = [digest.take("one\ntwo\n", 5.0) for _ in range(int(BURST) + 3)]
    assert taken[int(BURST) :] == [None] * 3
    assert digest.take("next\n", 5.0 + 1.5 / RATE) == "... 6 lines of several left out ...\nnext\n"
    assert digest.take("after\n", 5.0 + 1.6 / RATE) is None
