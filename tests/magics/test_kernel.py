"""The magics in a real kernel, spoken to as a notebook does."""

from __future__ import annotations

import queue

import pytest
from kernels import PATIENCE, Kernel, of_kind, said

WIDGET = "application/vnd.jupyter.widget-view+json"

pytestmark = pytest.mark.may_leak(
    "fds", why="jupyter_client keeps an event loop for as long as the process lives"
)


DEFINE = """
import nbray

@nbray.remote
def load(x):
    return x

@nbray.remote
def total(*xs):
    return sum(xs)
"""


def test_two_lines_a_task_and_the_graph(kernel: Kernel):
    kernel.ok("%load_ext nbray")
    (status,) = of_kind(kernel.ok("%nbray init -n 2"), "display_data")
    assert 'data-cpus="2"' in status["data"]["text/html"]
    assert "2 CPUs in use on 1 node" in status["data"]["text/plain"]
    kernel.ok(DEFINE)

    widget, still = of_kind(kernel.ok("%nbray graph"), "display_data")
    assert WIDGET in widget["data"]
    assert still["data"].keys() == {"text/html", "text/plain"}
    name = still["transient"]["display_id"]

    published = kernel.ok("print(nbray.get(total.remote(*[load.remote(i) for i in range(10)])))")
    assert said(published) == "45\n"
    (after,) = of_kind(published, "update_display_data")
    assert after["transient"]["display_id"] == name
    assert 'data-name="load" data-done="10"' in after["data"]["text/html"]
    assert "total  ✓ 1 done" in after["data"]["text/plain"]

    published = kernel.ok("%nbray shutdown")
    assert "the pool has ended" in said(published)
    last = of_kind(published, "update_display_data")[-1]
    assert last["data"].keys() == {"text/html", "text/plain"}

    kernel.ok("%nbray init -n 1")  # and again, with a graph of its own
    kernel.ok(DEFINE + "nbray.get(load.remote(1))")
    _, second = of_kind(kernel.ok("%nbray graph"), "display_data")
    assert "1 task: 1 done" in second["data"]["text/plain"]
    kernel.ok("nbray.shutdown()")


def test_mistakes_are_a_line_and_tab_helps(kernel: Kernel):
    kernel.ok("%load_ext nbray")
    reply, published = kernel.run("%nbray statsu")
    assert reply["status"] == "error"
    assert "unknown verb 'statsu': did you mean 'status'?" in said(published) + "".join(
        "".join(content["traceback"]) for content in of_kind(published, "error")
    )
    assert "no pool is running" in said(kernel.ok("%nbray status"))
    for code, match in (("%nbray sta", "status"), ("%nbray init --num-c", "--num-cpus")):
        kernel.client.complete(code, len(code))
        found = kernel.client.get_shell_msg(timeout=PATIENCE)["content"]["matches"]
        assert found == [match]
    kernel.ok("%unload_ext nbray")
    reply, _ = kernel.run("%nbray status")
    assert reply["status"] == "error"
    with pytest.raises(queue.Empty):
        kernel.client.get_stdin_msg(timeout=0)


def test_the_tables_and_the_cluster_live_and_keep_their_last_picture(kernel: Kernel):
    kernel.ok("%load_ext nbray\n%nbray init -n 2")
    kernel.ok(
        DEFINE
        + "class Board:\n    def add(self, x):\n        print('adds', x)\n        return bytes(x)\n"
        + "board = nbray.remote(Board).options(name='best').remote()\n"
    )
    for verb, root in (
        ("status", "cluster"),
        ("actors", "actors"),
        ("objects", "objects"),
        ("logs best", "logs"),
    ):
        bundles = [shown["data"] for shown in of_kind(kernel.ok(f"%nbray {verb}"), "display_data")]
        assert any(WIDGET in bundle for bundle in bundles)
        assert any(f'class="nbray-{root} ' in bundle["text/html"] for bundle in bundles)
    published = kernel.ok("large = board.add.remote(300_000); nbray.wait([large])\nnbray.get(load.remote(1))")
    stills = {
        after["data"]["text/plain"].partition(":")[0] for after in of_kind(published, "update_display_data")
    }
    assert {"nbray", "nbray actors"} <= stills
    published = kernel.ok("%nbray shutdown")
    texts = [last["data"]["text/plain"] for last in of_kind(published, "update_display_data")]
    last = {text.partition(":")[0]: text for text in texts}
    assert "the pool has ended; it had 2 CPUs on 1 node; tasks: 2 done" in last["nbray"]
    assert "1 actor, all ended" in last["nbray actors"] and "best" in last["nbray actors"]
    assert "1 object: 293.0 KiB in memory" in last["nbray objects"].replace("293 KiB", "293.0 KiB")
    assert "(Board pid=" in last["nbray logs"] and "adds 300000" in last["nbray logs"]


def test_names_that_were_seen_are_offered_for_logs_and_a_mistyped_one_is_told(kernel: Kernel):
    kernel.ok("%load_ext nbray\n%nbray init -n 1")
    kernel.ok(DEFINE + "nbray.get([load.remote(1), total.remote(1)])")
    code = "%nbray logs "
    kernel.client.complete(code, len(code))
    found = kernel.client.get_shell_msg(timeout=PATIENCE)["content"]["matches"]
    assert {"load", "total"} <= set(found)
    assert "nothing called 'laod' has run yet; did you mean 'load'?" in said(kernel.ok("%nbray logs laod"))
    kernel.ok("%nbray shutdown")
    reply, published = kernel.run("%nbray actors")
    assert reply["status"] == "error"
