"""``%%nbray time``, ``%%nbray sweep`` and ``%nbray bench`` in a real kernel. Tiny work: what is tested is not speed."""

from __future__ import annotations

import json
import threading

import pytest
from kernels import Kernel, after, of_kind

pytestmark = pytest.mark.may_leak(
    "fds",
    "processes",
    "files",
    why="jupyter_client keeps an event loop, and the kernel of all tests here its pool",
)

SPLIT = "nbray.get([part.remote(data[i:i + chunk]) for i in range(0, len(data), chunk)])"
DEFINE = """
data = list(range(20))
def work(x):
    return x * x
import nbray.bench
@nbray.remote
def part(numbers):
    return [work(x) for x in numbers]
"""


@pytest.fixture(scope="module")
def ready(shared: Kernel) -> Kernel:
    shared.ok("%nbray init -n 2")
    shared.ok(DEFINE)
    return shared


def pictures(published: list[dict]) -> tuple[dict, dict]:
    """The first and the last still of the view under a cell."""
    first = of_kind(published, "display_data")[-1]
    last = of_kind(published, "update_display_data")[-1]
    assert last["transient"]["display_id"] == first["transient"]["display_id"]
    return first["data"], last["data"]


def test_a_sweep_shows_every_split_and_names_the_best(ready: Kernel, tmp_path):
    ready.ok("chunk = 'mine'")
    target = tmp_path / "sweep.json"
    published = ready.ok(
        f'%%nbray sweep --over chunk=1,10,20 --workers 1,2 -r 2 --serial "[work(x) for x in data]" --json {target}\n{SPLIT}'
    )
    first, last = pictures(published)
    assert "nothing measured yet" in first["text/plain"]
    assert 'data-cases="6" data-done="14" data-status="done"' in last["text/html"]
    assert "<img " in last["text/html"]
    assert "Best: chunk=" in last["text/plain"]
    assert "Serial: [work(x) for x in data], measured" in last["text/plain"]
    assert not of_kind(published, "execute_result")  # the view is there; no second picture of it
    assert ready.value(
        "(chunk, 'workers' in globals(), len(_.rows), [row.account.tasks for row in _.rows])"
    ) == ("('mine', False, 6, [20, 2, 1, 20, 2, 1])")
    assert len(json.loads(target.read_text())["rows"]) == 6


def test_the_value_of_a_sweep_is_shown_as_a_picture_again(ready: Kernel):
    ready.ok(f"%%nbray sweep --over chunk=10,20 -r 1\n{SPLIT}")
    published = ready.ok("kept = _\nkept")
    (_, still) = of_kind(published, "display_data")
    assert "How to split the work" in still["data"]["text/html"]
    assert ready.value("kept.to_pandas().shape[0]") == "2"


def test_actors_are_made_by_the_number_of_workers(ready: Kernel):
    ready.ok("@nbray.remote\nclass Worker:\n    def run(self, numbers):\n        return sum(numbers)")
    ready.ok(
        "%%nbray sweep --over chunk=5,10 --workers 1,2 -r 1\n"
        "team = [Worker.remote() for _ in range(workers)]\n"
        "jobs = [data[i:i + chunk] for i in range(0, len(data), chunk)]\n"
        "assert sum(nbray.get([team[i % workers].run.remote(job) for i, job in enumerate(jobs)])) == sum(data)"
    )
    assert ready.value("[row.account.tasks for row in _.rows]") == "[4, 2, 4, 2]"


def test_a_local_pool_is_larger_while_more_workers_are_measured(ready: Kernel):
    ready.ok(f"%%nbray sweep --over chunk=20 --workers 1,3 -r 1\n{SPLIT}")
    assert ready.value("[row.workers for row in _.rows], nbray.cluster_resources()['CPU']") == "([1, 3], 2.0)"


def test_a_pool_that_adapts_is_refused(ready: Kernel):
    ready.ok("%nbray shutdown")
    ready.ok("%nbray init --adapt 1 2")
    assert "the pool adapts its CPUs between 1 and 2" in ready.fails(
        f"%%nbray sweep --over chunk=20\n{SPLIT}"
    )
    ready.ok("%nbray scale 2")


def test_what_a_program_measures_is_shown_as_a_picture_too(ready: Kernel):
    published = ready.ok(
        "nbray.bench.sweep(lambda chunk: nbray.get([part.remote(data[:chunk])]), 'chunk=1,2', rounds=1)"
    )
    (_, still) = of_kind(published, "display_data")
    assert "Best: chunk=" in still["data"]["text/plain"]
    assert not of_kind(published, "execute_result")


def test_time_counts_the_tasks_and_says_where_the_time_went(ready: Kernel):
    published = ready.ok(f"%%nbray time -r 2\nchunk = 5\nfound = {SPLIT}")
    _, last = pictures(published)
    assert "median (lowest–highest) of 2 runs after one that is not counted" in last["text/plain"]
    assert "4 tasks" in last["text/plain"]
    assert "efficiency" in last["text/plain"]
    assert ready.value("len(found)") == "4"  # what the cell assigns stays


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        (
            f"%%nbray sweep --over chnk=1,2\n{SPLIT}",
            "the cell never uses 'chnk', so varying it changes nothing; it uses chunk,",
        ),
        (f"%%nbray sweep --over chunk=1,2\nchunk = 5\n{SPLIT}", "the cell sets 'chunk' itself"),
        (
            "%%nbray sweep --over chunk=1,2\nnbray.get(uses.remote())",
            "'chunk' is read inside the remote function 'uses'",
        ),
        (f"%%nbray sweep\n{SPLIT}", "a sweep needs something to vary"),
        (f"%%nbray sweep --over chunk\n{SPLIT}", "--over takes NAME=VALUES"),
        (f"%%nbray sweep --over chunk=9:1\n{SPLIT}", "--over goes from 9 down to 1"),
        (f"%%nbray sweep --over chunk=1 --over chunk=2\n{SPLIT}", "--over 'chunk' is given twice"),
        (
            f"%%nbray sweep --over chunk=1 --workers 1,999\n{SPLIT}",
            "999 workers are more than the pool's 2 CPUs",
        ),
        (
            f"%%nbray sweep --over chunk=1 --workers two\n{SPLIT}",
            "--workers takes whole numbers of at least 1",
        ),
        (f"%%nbray sweep --over workers=1,2\n{SPLIT}; workers", "--workers"),
        ("%%nbray sweep --over chunk=1,2\n   \n", "the cell is empty"),
        (f"%%nbray time -r 0\n{SPLIT}", "-r takes a whole number of runs, at least 1"),
        ("%nbray bench tasks_snyc", "did you mean 'tasks_sync'?"),
        ("%nbray bench wait --vs rya", "did you mean 'ray'?"),
        ("%nbray bench wait --seconds 0", "--seconds takes a number of seconds, more than 0"),
        ("%nbray bench wait --json /no/such/place.json", "there is no '/no/such'"),
    ],
)
def test_mistakes_are_one_line(ready: Kernel, cell, said):
    ready.ok("@nbray.remote\ndef uses():\n    return chunk")
    shown = ready.fails(cell)
    assert said in shown
    assert "Traceback" not in shown
    assert len(shown.strip().splitlines()) == 1


def test_an_error_of_the_cell_is_shown_with_the_cells_own_line_and_the_variables_are_as_before(ready: Kernel):
    ready.ok("chunk = 'mine'")
    shown = ready.fails("%%nbray sweep --over chunk=1,0\nx = 1\nraise ValueError(chunk)")
    assert "line 3" in shown
    assert "ValueError: 0" in shown
    assert "nbray_magics" not in shown
    assert "runs.py" not in shown
    assert ready.value("chunk") == "'mine'"
    assert "SyntaxError" in ready.fails("%%nbray time\nx = (1")
    failing = ready.fails("%%nbray time -r 1\nnbray.get(nbray.remote(lambda: 1 / 0).remote())")
    assert "ZeroDivisionError" in failing
    assert "values.py" not in failing


def test_a_file_that_cannot_be_written_costs_no_measurement(ready: Kernel, tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    published = ready.ok(f"%%nbray sweep --over chunk=10,20 -r 1 --json {tmp_path}/loop\n{SPLIT}")
    (told,) = [c["text"] for c in of_kind(published, "stream") if "was not written" in c["text"]]
    assert told.endswith("; the result is here and in _\n")
    assert ready.value("len(_.rows)") == "2"
    assert "--serial takes the code of the same work" in ready.fails(
        f"%%nbray sweep --over chunk=1 --serial ''\n{SPLIT}"
    )


def test_ctrl_c_keeps_what_was_measured(ready: Kernel):
    begun = threading.Event()
    thread = after(begun, ready.interrupt)
    reply, _ = ready.run(
        f"%%nbray sweep --over chunk=10,20 -r 1000\n{SPLIT}\nprint('ran')",
        lambda message: begun.set() if message["msg_type"] == "stream" else None,
    )
    thread.join()
    assert reply["status"] == "error"
    (line,) = reply["traceback"]
    assert line.startswith("KeyboardInterrupt: stopped; ")
    assert ready.value("(_.status, _.total)") == "('interrupted', 2000)"
    assert ready.value("sum(nbray.get(part.remote([1, 2])))") == "5"  # the pool goes on, with all its CPUs
    assert "4" in ready.value("nbray.get(part.options(num_cpus=2).remote([2]))")


@pytest.mark.parametrize("work", ["nbray.get(doze.remote())", "await doze.remote()"])
def test_ctrl_c_cancels_the_tasks_that_the_sweep_has_submitted(ready: Kernel, work):
    ready.ok(
        "@nbray.remote(num_cpus=2)\ndef doze():\n    import time\n    print('dozes')\n    time.sleep(600)"
    )
    begun = threading.Event()
    thread = after(begun, ready.interrupt)
    reply, _ = ready.run(
        f"%%nbray sweep --over n=1,2 -r 1\nn\n{work}",
        lambda message: begun.set() if message["msg_type"] == "stream" else None,
    )
    thread.join()
    assert reply["traceback"] == ["KeyboardInterrupt: stopped; nothing was measured yet"]
    assert "4" in ready.value("nbray.get(part.options(num_cpus=2).remote([2]), timeout=30)")


def test_a_cell_that_awaits_is_measured(ready: Kernel):
    ready.ok("%%nbray sweep --over chunk=10,20 -r 1\nfound = await part.remote(data[:chunk])")
    assert ready.value("([len(row.runs) for row in _.rows], len(found) in (10, 20))") == "([1, 1], True)"
    ready.ok("%%nbray time -r 1\nfound = await part.remote([3])")
    assert ready.value("found") == "[9]"
    assert "line 3" in ready.fails("%%nbray time\nx = 1\nawait missing")


def test_a_pool_that_adapts_is_refused_whoever_has_made_it_adapt(ready: Kernel):
    ready.ok("nbray.adapt(1, 2)")
    shown = ready.fails(f"%%nbray sweep --over chunk=1,2\n{SPLIT}")
    assert "UsageError: the pool adapts its CPUs between 1 and 2" in shown
    ready.ok("%nbray scale 2")
    ready.ok(f"%%nbray sweep --over chunk=10,20 -r 1\n{SPLIT}")


def test_the_benchmark_is_shown_and_written_and_leaves_the_pool_alone(ready: Kernel, tmp_path):
    page, samples = tmp_path / "bench.md", tmp_path / "bench.json"
    published = ready.ok(
        f"%nbray bench tasks_sync get_small --vs processes --rounds 1 --seconds 0.05 --json {samples} --markdown {page}"
    )
    first, last = pictures(published)
    assert 'data-cases="2"' in last["text/html"]
    assert "tasks one by one" in last["text/plain"]
    assert "times as fast as processes" in last["text/plain"]
    assert "| tasks one by one |" in page.read_text()
    assert set(json.loads(samples.read_text())["cases"]) == {"tasks_sync", "get_small"}
    assert ready.value("sorted({row['peer'] for row in _.rows})") == "['nbray', 'processes']"
    assert ready.value("sum(nbray.get(part.remote([1, 2])))") == "5"


def test_tab_names_cases_peers_and_variables(ready: Kernel):
    assert "tasks_sync" in ready.complete("%nbray bench tasks_s")
    assert "dask" in ready.complete("%nbray bench --vs ray,da")
    assert "data=" in ready.complete("%%nbray sweep --over dat")


def test_without_a_pool_one_is_started_with_as_many_cpus_as_workers(kernel: Kernel):
    kernel.ok("import nbray\n%load_ext nbray")
    kernel.ok(DEFINE)
    published = kernel.ok(f"%%nbray sweep --over chunk=20 --workers 1,3 -r 1\n{SPLIT}")
    assert "started a local pool with 3 CPUs" in "".join(c["text"] for c in of_kind(published, "stream"))
    kernel.ok("found = _\n%unload_ext nbray")
    assert "Best: " in kernel.value("found")  # as text, without the extension
    assert kernel.value("nbray.cluster_resources()['CPU']") == "3.0"


def test_a_sweep_leaves_nothing_of_its_own_in_the_views(ready: Kernel):
    ready.ok("%nbray shutdown\n%nbray init -n 2")
    ready.ok("%%nbray sweep --over chunk=10,20 --workers 1,2 -r 1\n" + SPLIT)
    calls = ready.value("sum(raw[0] == 2 and raw[4] == 'done' for raw in nbray.feed().raw_since(0)[0])")
    for verb in ("actors", "status", "graph", "timeline"):
        (shown,) = of_kind(ready.ok(f"%nbray {verb}"), "display_data")[-1:]
        text = shown["data"]["text/plain"]
        assert "CpusSetAside" not in text
        assert "dead" not in text
        assert not (verb == "status" and f"{calls} done" in text), "its calls are counted"
    assert ready.value("[r for r in nbray.timeline() if 'CpusSetAside' in str(r)]") == "[]"
    assert "CpusSetAside" not in ready.complete("%nbray logs Cpu")
