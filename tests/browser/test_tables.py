"""The cluster and the tables of a real pool in JupyterLab."""

from __future__ import annotations

from nbconvert import HTMLExporter

WORK = """
import pathlib, time, nbray
from nbray.testing import Cluster

def passes(gate):
    while not pathlib.Path(gate).exists():
        time.sleep(0.02)

@nbray.remote(num_cpus=0)
class Shelf:
    def __init__(self, gate=""):
        self.gate, self.kept = gate, []
    def keep(self, refs):
        self.kept = refs
    def wait(self):
        print("waits <b>here</b>\\a")
        passes(self.gate)
    def broken(self):
        raise ValueError("<img src=x onerror=alert(1)>")

@nbray.remote(num_cpus=0)
class Broken:
    def __init__(self):
        raise ValueError("no <i>such</i> data")

@nbray.remote
def load(size):
    return bytearray(size)

@nbray.remote
def step(i):
    time.sleep(0.03)
    return i
"""
BEGIN = """
cluster = Cluster()
first, second = cluster.add_node(num_cpus=2), cluster.add_node(num_cpus=1)
nbray.init(cluster.address)
"""
RUN = """
shelves = [Shelf.options(name=f"shelf-{i}").remote("shelf.gate") for i in range(3)]
large = [load.remote((i + 1) << 20) for i in range(4)]
nbray.wait(large, num_returns=4)
nbray.get(shelves[1].keep.remote(large[:1]))
held = shelves[0].wait.remote()
raised = shelves[2].broken.remote()
broken = Broken.remote()
nbray.wait([raised])
steps = [step.remote(i) for i in range(500)]
nbray.get(steps)
"""


def view(notebook, name: str):
    return notebook.page.locator(f".nbray-view.nbray-{name}")


def column(notebook, name: str, key: str) -> list[str]:
    return view(notebook, name).locator(f"tbody td.nbray-of-{key}").all_inner_texts()


def test_the_cluster_and_the_tables_follow_a_pool(opened, lab, browser, tmp_path):
    (lab.notebooks / "shelf.gate").unlink(missing_ok=True)
    notebook = opened(
        "tables.ipynb",
        "%load_ext nbray\n" + WORK,
        BEGIN,
        "%nbray status",
        "%nbray actors",
        "%nbray objects",
        "%nbray logs",
        RUN,
        "second.kill()",
        "nbray.shutdown(); cluster.shutdown()",
    )
    page = notebook.page
    for cell in range(6):
        notebook.run(cell)
        notebook.ended(cell)
    page.locator('.nbray-view.nbray-cluster[data-nodes="2"][data-cpus="3"]').wait_for()
    view(notebook, "actors").get_by_text("No actors yet").wait_for()
    view(notebook, "objects").get_by_text("None.").wait_for()
    notebook.run(6)
    notebook.ended(6)

    # The actors: what runs, what failed, why one died; everything is text.
    waiting = view(notebook, "actors").locator("tr").filter(has_text="shelf-0")
    waiting.locator("td.nbray-of-method").get_by_text("wait").wait_for()
    assert waiting.locator("td.nbray-of-queue").inner_text() == "1"
    view(notebook, "actors").get_by_text("its __init__ raised: ValueError: no <i>such</i> data").wait_for()
    shelf = view(notebook, "actors").locator("tr").filter(has_text="shelf-2")
    assert shelf.locator("td.nbray-of-failed").inner_text() == "1"
    assert view(notebook, "actors").locator("td img, td i").count() == 0

    # Sorted by the keyboard: the notebook's own keys are not in the way.
    name = view(notebook, "actors").locator("th.nbray-of-name button")
    name.focus()
    page.keyboard.press("Enter")
    view(notebook, "actors").locator('th.nbray-of-name[aria-sort="ascending"]').wait_for()
    assert column(notebook, "actors", "name") == ["", "shelf-0", "shelf-1", "shelf-2"]
    page.keyboard.press("Enter")
    assert column(notebook, "actors", "name") == ["shelf-2", "shelf-1", "shelf-0", ""]

    # The objects: largest first, with who holds them.
    view(notebook, "objects").locator("tr").filter(has_text="Shelf (pid").wait_for()
    assert column(notebook, "objects", "size") == ["4 MiB", "3 MiB", "2 MiB", "1 MiB"]
    assert set(column(notebook, "objects", "made")) == {"result of load"}

    # The logs: text, with what cannot be seen written out; filtered where they are.
    view(notebook, "logs").get_by_text(r"waits <b>here</b>\x07").wait_for()
    view(notebook, "logs").get_by_label("find").fill("nothing like it")
    view(notebook, "logs").get_by_text("No such line among these.").wait_for()
    view(notebook, "logs").get_by_label("find").fill("WAITS <B>HERE")
    view(notebook, "logs").locator(".nbray-line-of:not([hidden])").wait_for()

    # The cluster, while work goes on.
    cluster = view(notebook, "cluster")
    cluster.locator(".nbray-tile-actors").get_by_text("1 dead").wait_for()
    cluster.locator("td.nbray-of-used").filter(has_text="of 2").wait_for()
    cluster.locator(".nbray-tile-tasks .nbray-spark-line[d]").wait_for(state="attached")
    notebook.shoot("cluster", cluster)
    for name in ("actors", "objects", "logs"):
        notebook.shoot(f"table-{name}", view(notebook, name))

    # In a narrow place rows are cards, and nothing is cut off.
    page.evaluate("for (const e of document.querySelectorAll('.nbray-view')) e.style.width = '400px'")
    for name in ("cluster", "actors", "objects", "logs"):
        page.wait_for_function(
            "name => { const e = document.querySelector('.nbray-view.nbray-' + name);"
            " const scrolls = [...e.querySelectorAll('.nbray-scroll')];"
            " return e.clientWidth <= 400 && scrolls.every(s => s.scrollWidth <= s.clientWidth) }",
            arg=name,
        )
        notebook.shoot(f"table-{name}-400px", view(notebook, name))
    page.evaluate("for (const e of document.querySelectorAll('.nbray-view')) e.style.width = ''")
    notebook.theme("JupyterLab Dark")
    for name in ("cluster", "actors", "objects", "logs"):
        notebook.shoot(f"table-{name}-dark", view(notebook, name))
    notebook.theme("JupyterLab Light")

    # A node dies; then the pool ends, and the notebook keeps what was there.
    notebook.run(7)
    notebook.ended(7)
    page.locator('.nbray-view.nbray-cluster[data-nodes="1"][data-cpus="2"]').wait_for()
    cluster.locator("td.nbray-of-up").filter(has_text="down").wait_for()
    (lab.notebooks / "shelf.gate").touch()
    notebook.run(8)
    notebook.ended(8)
    cluster.locator(".nbray-live").get_by_text("ended").wait_for()
    view(notebook, "actors").locator(".nbray-live").get_by_text("ended").wait_for()
    facts = view(notebook, "actors").locator(".nbray-facts > span:not([hidden])")
    assert facts.all_text_contents() == ["4 actors, all ended"]
    assert notebook.errors == []
    exported, _ = HTMLExporter().from_notebook_node(notebook.save())
    path = tmp_path / "tables.html"
    path.write_text(exported)
    page = browser.new_page()
    page.route("http*://**", lambda route: route.abort())  # a reader without a network
    page.goto(path.as_uri())
    page.locator('.nbray-cluster.nbray-still[data-nodes="1"][data-cpus="2"]').wait_for()
    page.locator(".nbray-actors.nbray-still").get_by_text("shelf-1").wait_for()
    page.locator(".nbray-objects.nbray-still").get_by_text("4 MiB").first.wait_for()
    page.locator(".nbray-logs.nbray-still").get_by_text(r"waits <b>here</b>\x07").wait_for()
    page.close()
