"""The conductor with interpreters that are scripts of ours, and once with a real peer."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from nbray.bench import conductor
from nbray.bench.__main__ import interpreters, known, main
from nbray.bench.cases import CASES
from nbray.bench.conductor import PeerRun, conduct

HEAD = f"""#!{sys.executable}
import json, os, signal, sys
code = sys.argv[2] == "-c"
if code and "find_spec" in sys.argv[3]:
    sys.exit(0)
job = None if code else json.loads(sys.argv[3])
def say(**fields): print("@nbray-bench " + json.dumps(fields), flush=True)
"""


@pytest.fixture
def interpreter(tmp_path):
    """Makes a program that takes the place of a peer's Python: what follows ``HEAD`` is run instead of the child."""

    def make(body: str) -> str:
        path = tmp_path / "python"
        path.write_text(HEAD + body, encoding="utf-8")
        path.chmod(0o755)
        return str(path)

    return make


def outcomes_of(python: str, names: list[str], rounds: int = 1):
    run = PeerRun("mp", python)
    outcomes = conduct([run], names, rounds=rounds, seconds=0.01, cpus=1, progress=lambda _: None)
    return run, {name: by_peer["mp"] for name, by_peer in outcomes.items()}


def test_every_round_gives_a_sample(interpreter):
    python = interpreter(
        "say(version='1.2', python='3.11')\n"
        "for case in job['cases']:\n"
        "    say(begins=case)\n"
        "    print('noise')\n"
        "    say(ends=case, rate=5.0)\n"
        "say(done=True)\n"
    )
    run, outcomes = outcomes_of(python, ["tasks_sync", "wait"], rounds=3)
    assert (run.version, run.python_version) == ("1.2", "3.11")
    assert [outcome.samples for outcome in outcomes.values()] == [[5.0] * 3] * 2


def test_a_case_that_kills_its_process_fails_and_the_others_go_on(interpreter):
    python = interpreter(
        "say(version='1', python='3')\n"
        "for case in job['cases']:\n"
        "    say(begins=case)\n"
        "    if case == 'wait': os.kill(os.getpid(), signal.SIGSEGV)\n"
        "    say(ends=case, rate=5.0)\n"
        "say(done=True)\n"
    )
    _, outcomes = outcomes_of(python, ["tasks_sync", "wait", "put_small"])
    assert outcomes["wait"].error == "the process was killed by signal 11"
    assert outcomes["tasks_sync"].samples == outcomes["put_small"].samples == [5.0]


def test_a_case_that_failed_is_not_tried_in_the_next_round(interpreter):
    python = interpreter(
        "say(version='1', python='3')\n"
        "for case in job['cases']:\n"
        "    say(begins=case)\n"
        "    say(ends=case, **({'error': 'E: no'} if case == 'wait' else {'rate': len(job['cases'])}))\n"
        "say(done=True)\n"
    )
    _, outcomes = outcomes_of(python, ["tasks_sync", "wait"], rounds=2)
    assert outcomes["wait"].error == "E: no"
    assert outcomes["tasks_sync"].samples == [2, 1]


def test_a_peer_that_does_not_start_says_why_and_leaves_no_figures(interpreter):
    _, outcomes = outcomes_of(interpreter("sys.exit('no licence')\n"), ["tasks_sync", "wait"])
    assert {outcome.error for outcome in outcomes.values()} == {"the process ended with status 1: no licence"}


def test_a_peer_that_hangs_is_ended_with_its_children(interpreter, monkeypatch):
    monkeypatch.setattr(conductor, "CASE_SECONDS", 0.5)
    python = interpreter(
        "os.fork() or signal.pause()\nsay(version='1', python='3')\nsay(begins=job['cases'][0])\nsignal.pause()\n"
    )
    _, outcomes = outcomes_of(python, ["tasks_sync"])
    assert "no answer within" in outcomes["tasks_sync"].error


def test_a_cold_start_is_timed_until_the_first_result(interpreter):
    _, outcomes = outcomes_of(interpreter("print('noise')\nprint('ready', flush=True)\n"), ["cold"])
    assert len(outcomes["cold"].samples) == 1


def test_a_peer_that_is_not_installed_is_skipped_by_name():
    run, outcomes = outcomes_of("/nowhere/python", ["tasks_sync"])
    assert run.skipped == "not installed"
    assert outcomes["tasks_sync"] == conductor.Outcome()


def test_two_real_peers_give_figures_for_what_they_can_and_reasons_for_the_rest(tmp_path, capfd):
    names = [
        "cold",
        "tasks_sync",
        "tasks_batch",
        "tasks_chain",
        "tasks_nested",
        "wait",
        "actor_sync",
        "put_small",
    ]
    run = [PeerRun("mp"), PeerRun("processes")]
    outcomes = conduct(run, names, rounds=1, seconds=0.01, cpus=1, progress=lambda _: None)
    for peer in ("mp", "processes"):
        did = {name for name in names if outcomes[name][peer].samples}
        assert did == {"cold", "tasks_sync", "tasks_batch", "wait"}
        assert all(outcomes[name][peer].absent for name in names if name not in did)
        assert not any(outcome[peer].error for outcome in outcomes.values())


def test_every_case_runs_on_nbray(tmp_path):
    json_file, page = tmp_path / "b.json", tmp_path / "b.md"
    main(
        ["--vs", "", "--rounds", "1", "--seconds", "0.02", "--json", str(json_file), "--markdown", str(page)]
    )
    cases = json.loads(json_file.read_text(encoding="utf-8"))["cases"]
    errors = {
        name: case["peers"]["nbray"]["error"]
        for name, case in cases.items()
        if case["peers"]["nbray"]["error"]
    }
    assert set(cases) == set(CASES)
    assert not errors
    assert all(len(case["peers"]["nbray"]["samples"]) == 1 for case in cases.values())
    assert "| 1,000 tasks at once |" in page.read_text(encoding="utf-8")


def test_a_wrong_name_names_the_nearest():
    with pytest.raises(ValueError, match="there is no case 'task_sync'; did you mean tasks_sync"):
        known(["task_sync"], CASES, "case")
    with pytest.raises(SystemExit):
        main(["--vs", "rya"])


def test_an_interpreter_is_named_as_peer_and_path():
    assert interpreters(["ray=/a/python"]) == {"ray": "/a/python"}
    for wrong in ("ray", "ray="):
        with pytest.raises(ValueError, match="PEER=PYTHON"):
            interpreters([wrong])


def test_the_list_names_all_cases_and_peers(capsys):
    assert main(["--list"]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in CASES)
    assert "dask" in listed


def test_the_measuring_side_needs_only_what_a_foreign_interpreter_has():
    sources = Path(conductor.__file__).parent
    for source in sources.glob("*.py"):
        if source.stem in ("__main__", "comparison", "conductor", "report", "scale", "limits"):
            continue
        text = source.read_text(encoding="utf-8")
        assert "from nbray" not in text
        assert "\nimport nbray" not in text
