from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbray_magics.parse import VERBS, NbrayUsageError, complete, overview, parse


@pytest.mark.parametrize(
    "line", ["init -n 4", "init -n4", "init -n=4", "init --num-cpus 4", "  init   --num-cpus=4 "]
)
def test_a_number_of_cpus_in_every_spelling(line):
    command = parse(line)
    assert command.verb is VERBS["init"]
    assert command.options == {"num_cpus": 4}


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_each_verb_alone_is_a_command_and_has_help(verb):
    assert parse(verb) == (VERBS[verb], {}, False)
    assert parse(f"{verb} --help").help
    assert VERBS[verb].help.startswith(f"%nbray {verb}")


def test_nothing_is_no_verb():
    assert parse("") == (None, {}, False)
    assert parse("--help") == (None, {}, True)


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("statsu", "unknown verb 'statsu': did you mean 'status'?"),
        ("grpah", "unknown verb 'grpah': did you mean 'graph'?"),
        ("xyzzy", "unknown verb 'xyzzy': known are init, status, graph, shutdown"),
        ("init --num-cpu 4", "%nbray init has no option '--num-cpu': did you mean '--num-cpus'?"),
        ("status -n 4", "%nbray status has no option '-n': known are none"),
        ("status now", "%nbray status takes no 'now'; its usage: %nbray status"),
        ("init -n", "-n wants a value: %nbray init [-n CPUS]"),
        ("init -n four", "-n takes a whole number of CPUs, at least 1, not 'four'"),
        ("init -n 0", "-n takes a whole number of CPUs, at least 1, not '0'"),
        ("init -n 1 -n 2", "-n is given twice"),
        ("init 'a", 'No closing quotation in "init \'a"'),
    ],
)
def test_what_is_wrong_is_said_in_one_line_with_the_nearest_name(line, hint):
    with pytest.raises(NbrayUsageError) as error:
        parse(line)
    assert str(error.value) == hint


@settings(deadline=None)
@given(st.text())
def test_any_line_is_a_command_or_a_usage_error(line):
    with suppress(NbrayUsageError):
        parse(line)


@pytest.mark.parametrize(
    ("line", "candidates"),
    [
        (" ", ["init", "status", "graph", "shutdown", "--help"]),
        (" s", ["status", "shutdown"]),
        (" sta", ["status"]),
        (" init ", ["-n", "--num-cpus", "--help"]),
        (" init --", ["--num-cpus", "--help"]),
        (" init -n ", []),
        (" init -n 4 ", ["--help"]),
        (" nothing ", []),
        (" graph --h", ["--help"]),
    ],
)
def test_tab_offers_what_can_follow(line, candidates):
    assert complete(line) == candidates


@settings(deadline=None)
@given(st.text())
def test_completions_go_on_from_what_is_typed(line):
    word = line.rpartition(" ")[2]
    assert all(candidate.startswith(word) for candidate in complete(line))


def test_the_overview_names_every_verb():
    assert all(f"%nbray {verb}" in overview() for verb in VERBS)
