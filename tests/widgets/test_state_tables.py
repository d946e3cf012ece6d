from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from nbray_widgets.reducers.delta import applied, delta
from nbray_widgets.reducers.origins import Origins
from nbray_widgets.text import plain, seconds

tables = st.dictionaries(st.sampled_from("ab"), st.dictionaries(st.sampled_from("xyz"), st.integers(0, 3)))


@settings(deadline=None)
@given(tables, tables)
def test_a_change_applied_to_the_old_state_is_the_new_one(old, new):
    kept = {table: dict(entries) for table, entries in old.items()}
    full = {table: new.get(table, {}) for table in {*old, *new}}  # tables themselves never go
    assert applied(old, delta(old, full)) == full
    assert old == kept


@settings(deadline=None)
@given(tables)
def test_no_change_is_empty(state):
    assert delta(state, state) == {}


@settings(deadline=None)
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


def test_a_loop_over_some_functions_is_some_runs_however_long_it_is():
    origins: Origins[str] = Origins()
    stride = 1 << 20
    for n in range(3_000):
        origins.add(n * stride, 2, "fgh"[n % 3])
    assert len(origins) == 3
    assert origins.find(1_000 * stride) == "g"
    assert origins.find(1_000 * stride + 1) == "g"
    assert origins.find(1_000 * stride + 2) is None


def test_without_any_rule_the_oldest_are_forgotten():
    origins: Origins[str] = Origins(limit=10)
    for n in range(50):
        origins.add(n * n * n, 1, "f")
    assert len(origins) <= 10
    assert origins.find(0) is None
    assert origins.find(49**3) == "f"


def test_text_is_one_line_without_control_characters():
    assert plain("a\x1b[31m\u202eb\nc") == "a\N{REPLACEMENT CHARACTER}[31m\N{REPLACEMENT CHARACTER}b c"
    assert len(plain("x" * 1_000)) == 120


def test_durations_read_well_at_every_size():
    values = [0, 0.00034, 0.0012, 0.0123, 0.9994, 0.9996, 3.2, 59.94, 250]
    assert [seconds(v) for v in values] == [
        "0 µs", "340 µs", "1.2 ms", "12 ms", "999 ms", "1.00 s", "3.20 s", "59.9 s", "4 min 10 s",
    ]  # fmt: skip
