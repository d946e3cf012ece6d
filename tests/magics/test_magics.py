"""The magic in an IPython of this process, over a pool that is a few lines."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import pytest
import shells
from widgets_events import ran

import nbray
import nbray_magics
from nbray.events import Feed


class Pool:
    def __init__(self) -> None:
        self.cpus: float = 0
        self.starts: list[dict] = []
        self.address_info: dict = {}
        self.events = Feed()

    def init(self, address: object = None, ignore_reinit_error: bool = False, **given: float) -> Pool:
        if not ignore_reinit_error:
            self.starts.append(given if address is None else {"address": address})
            if given.get("num_cpus") == 99:
                raise RuntimeError("99 CPUs are more than this machine has")
            self.cpus = given.get("num_cpus", 2)
            self.address_info = {"address": address or ""}
        return self

    def scale(self, n: float) -> None:
        self.cpus = n

    def adapt(self, minimum: float, maximum: float) -> None:
        self.bounds = (minimum, maximum)

    def timeline(self, path: str) -> None:
        Path(path).write_text("[]")

    def is_initialized(self) -> bool:
        return bool(self.cpus)

    def shutdown(self) -> None:
        self.cpus = 0
        self.events.close()

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": float(self.cpus)}

    def available_resources(self) -> dict[str, float]:
        return {"CPU": 0.5}

    def nodes(self) -> list[dict]:
        return [{"NodeID": "ab" * 8, "Alive": True, "Resources": self.cluster_resources()}]

    def feed(self) -> Feed:
        return self.events


@pytest.fixture
def pool(monkeypatch):
    pool = Pool()
    for name in (
        "init",
        "scale",
        "adapt",
        "timeline",
        "is_initialized",
        "shutdown",
        "cluster_resources",
        "available_resources",
        "nodes",
        "feed",
    ):
        monkeypatch.setattr(nbray, name, getattr(pool, name), raising=False)
    return pool


@pytest.fixture
def shell(tmp_path):
    with shells.shell(tmp_path) as shell:
        nbray_magics.load_ipython_extension(shell)
        yield shell


@pytest.fixture
def run(shell, pool, capsys):
    """Runs a cell; returns what it printed."""

    def run_cell(cell: str) -> str:
        shell.run_cell(cell)
        captured = capsys.readouterr()
        assert "Traceback" not in captured.out + captured.err
        return captured.out + captured.err

    return run_cell


def test_alone_it_tells_the_state_and_the_verbs(run, pool):
    said = run("%nbray")
    assert "no pool is running" in said and "%%nbray time and %%nbray sweep" in said
    run("%nbray init -n 2")
    text = run("%nbray")
    assert text.startswith("nbray: 1.5 of 2 CPUs in use on 1 node")
    assert "%nbray graph" in text


def test_init_starts_one_pool_and_then_shows_it(run, pool):
    assert "2 CPUs in use on 1 node" in run("%nbray init -n 2")
    assert "2 CPUs in use on 1 node" in run("%nbray init")
    said = run("%nbray init -n 4 --gpus 1")
    assert "a pool with 2 CPUs is running already, and goes on without -n 4 and --gpus 1" in said
    assert "already" not in run("%nbray init -n 2")
    assert pool.starts == [{"num_cpus": 2}]


def test_init_attaches_to_an_address_or_to_what_a_variable_holds(run, pool, shell):
    run("%nbray init --address 127.0.0.1:8786")
    assert "attached to 127.0.0.1:8786 is running already" in run("%nbray init --address 127.0.0.1:9")
    pool.cpus = 0
    from distributed import LocalCluster

    with LocalCluster(n_workers=0, processes=False, dashboard_address="127.0.0.1:0") as cluster:
        shell.user_ns["cluster"] = cluster
        assert completions(shell, "%nbray init --address cl") == ["cluster"]
        run("%nbray init --address cluster")
    assert pool.starts == [{"address": "127.0.0.1:8786"}, {"address": cluster}]


def test_init_on_hosts_over_ssh(run, pool):
    run("%nbray init --ssh me@one,two:23")
    assert pool.starts == [{"address": "ssh://me@one,two:23"}]
    assert "goes on" not in run("%nbray init --ssh me@one,two:23")
    assert "goes on without --ssh three" in run("%nbray init --ssh three")


def test_init_between_two_bounds(run, pool):
    run("%nbray init --adapt 1 4")
    assert pool.starts == [{"num_cpus": 1}]
    assert pool.bounds == (1, 4)
    assert "goes on" not in run("%nbray init --adapt 1 4")
    assert "goes on without --adapt 2 4" in run("%nbray init --adapt 2 4")
    run("%nbray scale 2")
    assert "goes on without --adapt 1 4" in run("%nbray init --adapt 1 4")


def test_scale_and_trace(run, pool, tmp_path):
    assert "no pool is running" in run("%nbray scale 2")
    assert "no pool is running" in run("%nbray trace x.json")
    run("%nbray init")
    assert "the pool has 3 CPUs now" in run("%nbray scale 3")
    assert "wrote" in run(f"%nbray trace '{tmp_path}/my trace.json'")
    assert (tmp_path / "my trace.json").read_text() == "[]"
    assert "FILE takes a file in a directory that exists" in run(f"%nbray trace {tmp_path}/none/x.json")
    assert "FILE takes a file, and this is a directory" in run(f"%nbray trace {tmp_path}")
    assert "N takes a whole number of CPUs, at least 1, not '-1'" in run("%nbray scale -1")


def test_status_counts_tasks(run, pool):
    assert "no pool is running" in run("%nbray status")
    run("%nbray init")
    pool.events.extend(ran(0, "load"))
    assert "tasks: 1 done" in run("%nbray status")


def test_graph_shows_the_graph_and_again_the_same_one(run, pool, shell):
    run("%nbray init")
    pool.events.extend(ran(0, "load"))
    assert "load  ✓ 1 done" in run("one = %nbray graph\none")
    run("two = %nbray graph")
    assert shell.user_ns["one"] is shell.user_ns["two"]


def test_shutdown_ends_the_pool_once(run, pool):
    run("%nbray init")
    assert "has ended" in run("%nbray shutdown")
    assert "no pool" in run("%nbray shutdown")


@pytest.mark.parametrize(
    ("cell", "line"),
    [
        ("%nbray statsu", "unknown verb 'statsu': did you mean 'status'?"),
        ("%nbray init -n 99", "99 CPUs are more than this machine has"),
        ("%nbray init --adapt 4 1", "--adapt MIN MAX: 4 is more than 1"),
        (
            "%nbray init --adapt 1 4 -n 2",
            "--adapt MIN MAX lets the number of CPUs change: leave -n out",
        ),
        (
            "%nbray init --adapt 1 4 --address tcp://127.0.0.1:1",
            "--adapt has Dask start and end workers, which takes the cluster and not its address: --address NAME, where NAME is "
            "the variable with the Dask cluster of tcp://127.0.0.1:1",
        ),
        (
            "%nbray init --address nothing",
            "--address takes a scheduler's address such as tcp://127.0.0.1:8786, or a variable with a Dask client or cluster; "
            "'nothing' is neither",
        ),
        (
            "%nbray init --address tcp://127.0.0.1:1 -n 2",
            "--address attaches to a cluster that has its nodes already: leave -n out",
        ),
        (
            "%nbray init --ssh a,b -n 2 --gpus 1",
            "--ssh starts a pool that has the CPUs of its hosts: leave -n and --gpus out",
        ),
        (
            "%nbray init --ssh a --address b",
            "--address attaches to a cluster that has its nodes already: leave --ssh out",
        ),
        ("%nbray graph", "no pool is running; %nbray init -n 4 starts one with 4 CPUs"),
    ],
)
def test_errors_are_one_line(run, cell, line):
    assert run(cell).strip() == f"UsageError: {line}"


def test_help_of_a_verb(run):
    assert "-n, --num-cpus CPUS" in run("%nbray init --help")


def completions(shell, text: str) -> list[str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [completion.text for completion in shell.Completer.completions(text, len(text))]


def test_tab_completes_verbs_and_options_and_nothing_else(shell):
    assert completions(shell, "%nbray sta") == ["status"]
    assert completions(shell, "%nbray init --num-c") == ["--num-cpus"]
    assert completions(shell, "picture = %nbray gra") == ["graph"]
    assert "status" not in completions(shell, "x = 1; sta")


def test_unloading_takes_everything_back(shell, pool):
    nbray_magics.unload_ipython_extension(shell)
    assert "nbray" not in shell.magics_manager.magics["line"]
    assert completions(shell, "%nbray sta") == []
    assert "nbray" not in shell.magics_manager.magics["cell"]
    assert not shell.Completer.custom_matchers
    assert not [
        each for each in shell.input_transformers_cleanup if "nbray" in getattr(each, "__module__", "")
    ]
    nbray_magics.unload_ipython_extension(shell)  # again: nothing to do
    nbray_magics.load_ipython_extension(shell)
    nbray_magics.load_ipython_extension(shell)
    assert len(shell.Completer.custom_matchers) == 1


def test_loading_does_not_load_widgets():
    """The first picture may take half a second; ``%load_ext`` must not."""
    import subprocess

    program = "import nbray_magics, sys; print('anywidget' in sys.modules, 'nbray_widgets' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
