from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nbray_widgets.reducers.delta import applied, delta
from nbray_widgets.reducers.origins import Origins
from nbray_widgets.text import plain, seconds

tables = st.dictionaries(st.sampled_from("ab"), st.dictionaries(st.sampled_from("xyz"), st.integers(0, 3)))


@given(tables, tables)
def test_a_change_applied_to_the_old_state_is_the_new_one(old, new):
    kept = {table: dict(entries) for table, entries in old.items()}
    full = {table: new.get(table, {}) for table in {*old, *new}}  # tables themselves never go
    assert applied(old, delta(old, full)) == full
    assert old == kept


@given(tables)
def test_no_change_is_empty(state):
    assert delta(state, state) == {}


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(0, 3), st.sampled_from("fg"))))
def test_every_object_is_found_and_no_put_is(tasks):
    origins: Origins[str] = Origins()
    expected, sequence = {}, 0
    for count, puts, source in tasks:
        origins.add(sequence, count, source)
        expected.update((sequence + i, source) for i in range(count))
        sequence += count + puts
    assert [origins.find(n) for n in range(sequence + 2)] == [expected.get(n) for n in range(sequence + 2)]


def test_submissions_of_several_threads_may_be_told_out_of_order():
    origins: Origins[str] = Origins()
    for sequence in (0, 3, 1, 2, 5, 4):
        origins.add(sequence, 1, "fg"[sequence % 2])
    assert "".join(filter(None, map(origins.find, range(6)))) == "fgfgfg"


def test_a_loop_over_one_function_is_one_range_and_old_ranges_go():
    origins: Origins[str] = Origins(limit=10)
    for n in range(1_000):
        origins.add(n, 1, "f")
    assert len(origins) == 1
    for n in range(1_000, 1_100):
        origins.add(n, 1, "fg"[n % 2])
    assert len(origins) <= 20
    assert origins.find(5) is None
    assert origins.find(1_099) == "g"


def test_text_is_one_line_without_control_characters():
    assert plain("a\x1b[31m\u202eb\nc") == "a\N{REPLACEMENT CHARACTER}[31m\N{REPLACEMENT CHARACTER}b c"
    assert len(plain("x" * 1_000)) == 120


def test_durations_read_well_at_every_size():
    values = [0, 0.00034, 0.0012, 0.0123, 0.9994, 0.9996, 3.2, 59.94, 250]
    assert [seconds(v) for v in values] == [
        "0 µs", "340 µs", "1.2 ms", "12 ms", "999 ms", "1.00 s", "3.20 s", "59.9 s", "4 min 10 s",
    ]  # fmt: skip
