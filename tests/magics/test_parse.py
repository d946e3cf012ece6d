from __future__ import annotations

import subprocess
import sys
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbray_magics.complete import complete
from nbray_magics.grammar import Argument, NbrayUsageError, Option, Table, Value, Verb
from nbray_magics.parse import parse
from nbray_magics.table import CELL, LINE
from nbray_magics.values import name, quantity, whole


class Notebook:
    """What offers are asked with."""

    actors = ("counter", "kept in step", "cache")


def nothing(notebook: object, *cell: str, **given: object) -> None:
    """A verb that nobody runs here."""


TABLE = Table.of(
    "%pool",
    (
        Verb(
            "init",
            "start a pool",
            nothing,
            options=(
                Option(("-n", "--num-cpus"), "num_cpus", "how many CPUs", (Value("CPUS", whole("CPUs")),)),
                Option(
                    ("--adapt",),
                    "adapt",
                    "grow",
                    (Value("MIN", whole("CPUs", 0)), Value("MAX", whole("CPUs"))),
                ),
            ),
        ),
        Verb("status", "how it is", nothing),
        Verb("graph", "a picture", nothing),
        Verb(
            "trace", "write", nothing, arguments=(Argument("file", "where to", Value("FILE"), required=True),)
        ),
        Verb(
            "bench",
            "measure",
            nothing,
            options=(
                Option(
                    ("--vs",),
                    "peers",
                    "peers",
                    (Value("PEERS", choices=("ray", "dask", "processes"), listed=True),),
                ),
            ),
            arguments=(
                Argument("cases", "which", Value("CASE", choices=("tasks", "actors", "get")), repeated=True),
            ),
        ),
        Verb("shutdown", "end it", nothing),
    ),
)
CELLS = Table.of(
    "%%pool",
    (
        Verb(
            "time",
            "measure the cell",
            nothing,
            options=(Option(("-r",), "rounds", "rounds", (Value("R", whole("rounds")),)),),
        ),
    ),
    alone=Verb(
        "",
        "run the cell",
        nothing,
        options=(
            Option(("-o", "--out"), "out", "come back", (Value("NAME", name),), repeated=True),
            Option(("--noblock",), "noblock", "do not wait"),
            Option(("--actor",), "actor", "where", (Value("NAME", offer=lambda notebook: notebook.actors),)),
            Option(("--resources",), "resources", "what", (Value("NAME=N,...", quantity, listed=True),)),
        ),
    ),
)
EVERY = [(table, verb) for table in (LINE, CELL) for verb in table.verbs]


@pytest.mark.parametrize(
    "line", ["init -n 4", "init -n4", "init -n=4", "init --num-cpus 4", "  init   --num-cpus=4 "]
)
def test_a_number_of_cpus_in_every_spelling(line):
    command = parse(TABLE, line)
    assert command == (TABLE.verbs["init"], {"num_cpus": 4}, False)


@pytest.mark.parametrize(("table", "verb"), EVERY)
def test_each_verb_has_help_that_names_all_it_takes(table, verb):
    command = parse(table, f"{verb} --help")
    assert command.help
    text = table.help(command.verb)
    assert text.startswith(f"{table.magic} {verb}")
    for each in (*command.verb.options, *command.verb.arguments):
        assert each.heading in text
        assert each.help in text


def test_nothing_is_no_verb_or_what_the_magic_does_alone():
    assert parse(TABLE, "") == (None, {}, False)
    assert parse(TABLE, "--help") == (None, {}, True)
    assert parse(CELLS, "") == (CELLS.alone, {}, False)
    assert parse(CELLS, "--help") == (None, {}, True)


def test_switches_repeated_options_and_lists():
    line = "-o a --noblock -ob --resources gpu=1,disk=0.5"
    assert parse(CELLS, line).given == {
        "out": ["a", "b"],
        "noblock": True,
        "resources": (("gpu", 1), ("disk", 0.5)),
    }


def test_an_option_may_have_two_values():
    assert parse(TABLE, "init --adapt 1 4 -n 2").given == {"adapt": (1, 4), "num_cpus": 2}


def test_words_without_a_flag_are_arguments():
    assert parse(TABLE, "trace 'my file.json'").given == {"file": "my file.json"}
    assert parse(TABLE, "bench tasks --vs ray,dask get").given == {
        "cases": ["tasks", "get"],
        "peers": ("ray", "dask"),
    }


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("statsu", "unknown verb 'statsu': did you mean 'status'?"),
        ("grpah", "unknown verb 'grpah': did you mean 'graph'?"),
        ("xyzzy", "unknown verb 'xyzzy': known are init, status, graph, trace, bench, shutdown"),
        ("init --num-cpu 4", "%pool init has no option '--num-cpu': did you mean '--num-cpus'?"),
        ("status -n 4", "%pool status has no option '-n': there are none"),
        ("status now", "%pool status takes no 'now'; its usage: %pool status"),
        ("init -n", "-n wants a value: %pool init [-n CPUS] [--adapt MIN MAX]"),
        ("init -n --adapt 1 2", "-n wants a value: %pool init [-n CPUS] [--adapt MIN MAX]"),
        ("init --adapt 1", "--adapt wants 2 values, MIN and MAX: %pool init [-n CPUS] [--adapt MIN MAX]"),
        ("trace", "%pool trace wants FILE: %pool trace FILE"),
        ("trace a b", "%pool trace takes no 'b'; its usage: %pool trace FILE"),
        ("bench taks", "CASE knows no 'taks': did you mean 'tasks'?"),
        ("bench --vs ray,dsak", "--vs knows no 'dsak': did you mean 'dask'?"),
        ("time", "'time' is a verb of %%pool: %%pool time [-r R]"),
        ("init -n four", "-n takes a whole number of CPUs, at least 1, not 'four'"),
        ("init -n 0", "-n takes a whole number of CPUs, at least 1, not '0'"),
        ("init -n 1 -n 2", "-n is given twice"),
        ("init 'a", 'No closing quotation in "init \'a"'),
    ],
)
def test_what_is_wrong_is_said_in_one_line_with_the_nearest_name(line, hint):
    with pytest.raises(NbrayUsageError) as error:
        parse(TABLE, line, CELLS)
    assert str(error.value) == hint


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("tiem", "unknown verb 'tiem': did you mean 'time'?"),
        ("init -n 4", "'init' is a verb of %pool: %pool init [-n CPUS] [--adapt MIN MAX]"),
        ("--nobloc", "%%pool has no option '--nobloc': did you mean '--noblock'?"),
        ("--noblock=1", "--noblock takes no value, but got '1'"),
        ("-o 1x", "-o takes the name of a variable, not '1x'"),
        ("-o class", "-o takes the name of a variable, not 'class'"),
        ("--resources gpu", "--resources takes NAME=NUMBER, not 'gpu'"),
        ("--resources gpu=-1", "--resources takes NAME=NUMBER, not 'gpu=-1'"),
        (
            "-o a b",
            "%%pool takes no 'b'; its usage: %%pool [-o NAME]... [--noblock] [--actor NAME] [--resources NAME=N,...]",
        ),
    ],
)
def test_so_it_is_for_cells(line, hint):
    with pytest.raises(NbrayUsageError) as error:
        parse(CELLS, line, TABLE)
    assert str(error.value) == hint


@settings(deadline=None)
@given(st.text())
def test_any_line_is_a_command_or_a_usage_error(line):
    for table in (TABLE, CELLS):
        with suppress(NbrayUsageError):
            parse(table, line)


@pytest.mark.parametrize(
    ("line", "candidates"),
    [
        (" ", ["init", "status", "graph", "trace", "bench", "shutdown", "--help"]),
        (" s", ["status", "shutdown"]),
        (" sta", ["status"]),
        (" init ", ["-n", "--num-cpus", "--adapt", "--help"]),
        (" init --", ["--num-cpus", "--adapt", "--help"]),
        (" init -n ", []),
        (" init -n 4 ", ["--adapt", "--help"]),
        (" init --adapt 1 ", []),
        (" init --adapt 1 2 ", ["-n", "--num-cpus", "--help"]),
        (" bench ta", ["tasks"]),
        (" bench tasks ", ["tasks", "actors", "get", "--vs", "--help"]),
        (" bench --vs ", ["ray", "dask", "processes"]),
        (" bench --vs ray,", ["dask", "processes"]),
        (" bench --vs=ray,d", ["dask"]),
        (" trace 'a", []),
        (" nothing ", []),
        (" graph --h", ["--help"]),
    ],
)
def test_tab_offers_what_can_follow(line, candidates):
    assert complete(TABLE, line).candidates == candidates


@pytest.mark.parametrize(
    ("line", "fragment", "candidates"),
    [
        (" ", "", ["time", "-o", "--out", "--noblock", "--actor", "--resources", "--help"]),
        (" t", "t", ["time"]),
        (" --no", "--no", ["--noblock"]),
        (" -o x --noblock -", "-", ["-o", "--out", "--actor", "--resources", "--help"]),
        (" --actor c", "c", ["counter", "cache"]),
        (" --actor k", "k", ["'kept in step'"]),
        (" --actor 'k", "'k", ["'kept in step'"]),
        (" --actor=ca", "ca", ["cache"]),
        (" time -", "-", ["-r", "--help"]),
    ],
)
def test_so_it_is_for_cells_and_values_that_live(line, fragment, candidates):
    assert complete(CELLS, line, Notebook()) == (fragment, candidates)


@settings(deadline=None)
@given(st.text())
def test_completions_go_on_from_what_is_typed(line):
    for table in (TABLE, CELLS):
        fragment, candidates = complete(table, line, Notebook())
        assert line.endswith(fragment)
        assert all(each.startswith((fragment, f"'{fragment}")) for each in candidates)


@pytest.mark.parametrize("table", [LINE, CELL])
def test_the_overview_names_every_verb(table):
    assert all(f"{table.magic} {verb}" in table.overview() for verb in table.verbs)


def test_the_grammar_and_the_verbs_are_free_of_ipython():
    program = "import sys, nbray_magics.table, nbray_magics.complete; print('IPython' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
