"""``%%nbray`` in a real kernel."""

from __future__ import annotations

import re
import threading

import pytest
from kernels import PATIENCE, Kernel, after, of_kind, said

pytestmark = pytest.mark.may_leak(
    "fds",
    "processes",
    "files",
    why="jupyter_client keeps an event loop, and the kernel of all tests here its pool",
)


def test_before_init_it_starts_a_pool_and_says_so_once(shared: Kernel):
    shared.ok("nbray.shutdown()")
    assert "started a local pool with" in said(shared.ok("%%nbray\n1 + 1"))
    assert said(shared.ok("%%nbray\n1 + 1")) == ""
    assert shared.value("_") == "2"
    shared.ok("nbray.shutdown()\n%nbray init -n 2")


def test_names_go_there_and_come_back(shared: Kernel):
    shared.ok(
        "import numpy as np\nbase = 10\ndef helper(x):\n    return x * base\ndata = np.arange(5)\ntotal = None"
    )
    cell = "%%nbray -o total -o parts\nbase = 20\ntotal = helper(data).sum()\nparts = [total] * 2\ntotal"
    assert shared.value(cell) == "np.int64(200)"
    assert shared.value("int(total), len(parts), base") == "(200, 2, 10)"


def test_it_runs_elsewhere_and_what_it_prints_is_under_it(shared: Kernel):
    published = shared.ok("%%nbray -o pid\nimport os\nprint('from afar')\npid = os.getpid()")
    assert "from afar" in said(published)
    assert shared.value("import os\npid == os.getpid()") == "False"


def test_a_rich_value_is_shown_richly_and_a_semicolon_shows_nothing(shared: Kernel):
    shared.ok("class Rich:\n    def _repr_html_(self):\n        return '<b>rich</b>'")
    (result,) = of_kind(shared.ok("%%nbray\nRich()"), "execute_result")
    assert result["data"]["text/html"] == "<b>rich</b>"
    assert shared.value("type(_) is Rich") == "True"
    assert of_kind(shared.ok("%%nbray\nRich();"), "execute_result") == []


def test_a_value_that_cannot_be_pickled_is_shown_all_the_same(shared: Kernel):
    assert "_thread.lock object" in shared.value("%%nbray\nimport threading\nthreading.Lock()")


def test_copies_have_numbers_and_give_lists(shared: Kernel):
    assert shared.value("%%nbray --each 3 -o many\nmany = rank\ni * 10") == "[0, 10, 20]"
    assert shared.value("many") == "[0, 1, 2]"
    assert of_kind(shared.ok("%%nbray --each 2\nprint(rank)"), "execute_result") == []


def test_noblock_leaves_refs(shared: Kernel):
    shared.ok("%%nbray --noblock -o one -o two\none, two = 1, 2")
    assert shared.value("nbray.get([one, two])") == "[1, 2]"
    assert shared.value("%%nbray --noblock\n6 * 7").startswith("ObjectRef(")
    assert shared.value("nbray.get(_)") == "42"
    shared.ok("%%nbray --noblock --each 2 -o many\nrank + 1")
    assert shared.value("nbray.get(many)") == "[1, 2]"
    shared.ok("%%nbray --noblock -o bad\nimport threading\nbad = threading.Lock()")
    assert "cannot pickle" in shared.fails("nbray.get(bad)")


def test_a_cell_in_an_actor_has_it_as_self(shared: Kernel):
    shared.ok(
        "@nbray.remote\nclass Counter:\n    def __init__(self):\n        self.n = 1\n"
        "counter = Counter.options(name='the counter').remote()\n"
        "@nbray.remote\nclass Slow:\n    async def wait(self):\n        pass\nslow = Slow.remote()"
    )
    shared.ok("step = 4")
    assert shared.value("%%nbray --actor counter\nself.n += step\nself.n") == "5"
    assert shared.value("%%nbray --actor 'the counter' --each 2\nself.n += 1\nself.n") == "[6, 7]"
    cell = "%%nbray --actor slow\nimport asyncio\nawait asyncio.sleep(0)\ntype(self).__name__"
    assert shared.value(cell) == "'Slow'"


def test_async_cells(shared: Kernel):
    assert shared.value("%%nbray\nimport asyncio\nawait asyncio.sleep(0, 'slept')") == "'slept'"
    shared.ok("%autoawait False")
    assert "'await' outside" in shared.fails("%%nbray\nimport asyncio\nawait asyncio.sleep(0)")
    shared.ok("%autoawait asyncio")


def test_an_error_shows_the_cells_own_lines_and_none_of_ours(shared: Kernel):
    shown = shared.fails("%%nbray\n\ndef f(x):\n    return 1 / x\n\nf(0)")
    assert "line 6, in <module>\n    f(0)" in shown
    assert "line 4, in f\n    return 1 / x" in shown
    assert shown.rstrip().endswith("ZeroDivisionError: division by zero")
    number = int(shared.value("len(In) - 1"))
    assert f"Cell In[{number - 1}], line 6" in shown
    assert "nbray_magics" not in shown
    awaited = shared.fails("%%nbray\nimport asyncio\nawait asyncio.sleep(0)\n{}['key']")
    assert "line 4, in <module>" in awaited
    assert "runners.py" not in awaited


def test_assigned_names_come_back_all_or_none(shared: Kernel):
    shared.ok("one, two = 'before', 'before'")
    shared.fails("%%nbray -o one -o two\none = 1\nraise ValueError\ntwo = 2")
    shared.fails("%%nbray -o one -o two\nimport threading\none = 1\ntwo = threading.Lock()")
    assert shared.value("one, two") == "('before', 'before')"


@pytest.mark.parametrize(
    ("cell", "line"),
    [
        ("%%nbray --nobloc\n1", "%%nbray has no option '--nobloc': did you mean '--noblock'?"),
        (
            "%%nbray -o reslt\nresult = 1\nresult",
            "-o reslt: the cell assigns no 'reslt': did you mean 'result'?",
        ),
        ("%%nbray -o x\nfor x in (): pass", "nothing is called 'x', which -o wants"),
        ("%%nbray -o x\n# nothing", "-o x: the cell assigns nothing"),
        ("%%nbray -out x\nx = 1", "%%nbray has no option '-out': did you mean '--out'?"),
        ("%%nbray --each 99999999999\n1", "--each takes a whole number of copies, at most 100,000"),
        ("%%nbray --resources a=1,a=2\n1", "--resources gives 'a' twice"),
        ("%%nbray --resources CPU=2\n1", "CPUs are asked for with --num-cpus"),
        ("%%nbray\nexit()", "the cell uses exit(), which is the notebook's"),
        ("%%nbray --actor nobody\n1", "no living actor and no variable with a handle is called 'nobody'"),
        (
            "%%nbray --actor a --num-cpus 2\n1",
            "--actor NAME: the actor has its CPUs and other resources already",
        ),
        (
            "%%nbray\n%time 1",
            "'%time 1' is for the notebook: magics and shell commands do not run in the pool",
        ),
        ("%%nbray\nx = !ls", "'x = !ls' is for the notebook"),
        ("%%nbray --num-cpus 999\n1", "{CPU: 999}, which no node can ever hold"),
        ("%%nbray\nlock", "it uses the global variable 'lock' (type _thread.lock)"),
        ("%%nbray\nuses_lock()", "'uses_lock'"),
        ("%%nbray -o lock\nimport threading\nlock = threading.Lock()", "'lock' (type lock) cannot come back"),
        ("%%nbray\nfor x in ():\n    lock = 1\nlock", "The notebook's 'lock' was not sent along"),
        ("%%nbray\nx = 1\ny = (", "line 3"),
        ("%%nbray\nx = (1 +\nprint(x)", "'(' was never closed"),
        ("%%nbray\nimport os\nos._exit(3)", "WorkerCrashedError: "),
    ],
)
def test_mistakes_are_said_shortly_and_without_a_traceback_of_ours(shared: Kernel, cell, line):
    shared.ok("import threading\nlock = threading.Lock()\ndef uses_lock():\n    return lock")
    shown = shared.fails(cell)
    assert line in shown
    assert "nbray_magics" not in shown
    assert shown.count("Traceback") <= 1


def test_what_a_cell_cannot_take_along_is_named_with_its_line(shared: Kernel):
    shared.ok("import threading\nlock = threading.Lock()")
    shown = shared.fails("%%nbray\nx = 1\ndef inner():\n    return lock\nx = lock")
    assert re.search(r"\('lock' is named at Cell In\[\d+\], line 4\)", shown), shown


def test_a_dead_actor_is_said_to_be_dead(shared: Kernel):
    shared.ok("@nbray.remote\nclass A:\n    pass\nended = A.remote()\nnbray.kill(ended)")
    shown = shared.fails("%%nbray --actor ended\n1")
    assert shown.startswith("ActorDiedError: ")
    assert "The actor of A is dead" in shown
    assert "\n" not in shown.strip()


def test_a_cell_may_delete_what_the_notebook_has_and_the_notebook_keeps_it(shared: Kernel):
    shared.ok("kept = [1]")
    shared.ok("%%nbray -o left\ndel kept\nleft = 'kept' in globals()")
    assert shared.value("(left, kept)") == "(False, [1])"
    assert "'kept', which -o wants" in shared.fails("%%nbray -o kept\ndel kept")
    assert shared.value("kept") == "[1]"


def test_names_are_shown_as_text(shared: Kernel):
    shown = shared.fails("%%nbray --actor '<b>\\x1b[31m'\n1")
    assert "<b>" in shown
    assert "\x1b[31m" not in shown


def test_an_interrupt_ends_the_cell_and_its_tasks(shared: Kernel):
    begun = threading.Event()
    waiter = after(begun, shared.interrupt)
    seen = []

    def look(message: dict) -> None:
        if message["msg_type"] == "stream":
            seen.append(message["content"]["text"])
            if "".join(seen).count("begun") == 2:
                begun.set()

    cell = (
        "%%nbray --each 2\nimport time\ntry:\n    print('begun', flush=True)\n    time.sleep(1000)\n"
        "finally:\n    open(f'ended{rank}', 'w').close()"
    )
    reply, published = shared.run(cell, look)
    waiter.join(PATIENCE)
    (error,) = of_kind(published, "error")
    assert (reply["ename"], error["traceback"]) == (
        "KeyboardInterrupt",
        ["KeyboardInterrupt: the cell was cancelled; the pool goes on"],
    )
    # Both CPUs are free again only when both copies have ended.
    cell = "%%nbray --num-cpus 2\nimport pathlib\nsorted(path.name for path in pathlib.Path().glob('ended*'))"
    assert shared.value(cell) == "['ended0', 'ended1']"


def test_help_without_a_cell(shared: Kernel):
    assert "--noblock" in said(shared.ok("%%nbray --help"))
    assert "--noblock" in said(shared.ok("%%nbray"))


def test_tab_completes_cells(shared: Kernel):
    shared.ok(
        "@nbray.remote\nclass A:\n    pass\nfamous = A.options(name='famous actor').remote()\nfameless = 1"
    )
    assert shared.complete("%%nbray --nob") == ["--noblock"]
    assert shared.complete("%%nbray --actor fam") == ["'famous actor'", "famous"]
    assert "fameless" in shared.complete("%%nbray -o fam")
    shared.ok("%config Completer.use_jedi = True")
    assert shared.complete("%%nbray --nob") == ["--noblock"]
    shared.ok("%config Completer.use_jedi = False")
    assert shared.complete("%%nbray --nob") == ["--noblock"]


def test_tab_and_question_mark_know_handles_and_remote_functions(shared: Kernel):
    shared.ok(
        "@nbray.remote\nclass Tally:\n    'Counts things.'\n    def inc(self, by: int = 1):\n        'Add to it.'\n"
        "tally = Tally.remote()\n@nbray.remote\ndef square(x: float) -> float:\n    'The square of x.'\n    return x * x"
    )
    assert [match.lstrip(".") for match in shared.complete("tally.")] == ["inc"]
    shown = shared.inspect("tally")
    assert "Counts things." in shown
    assert "inc(by: int = 1)" in shown
    for code, signature, doc in (
        ("tally.inc", "(by: int = 1)", "Add to it."),
        ("tally.inc.remote", "(by: int = 1)", "Add to it."),
        ("square", "(x: float) -> float", "The square of x."),
        ("square.remote", "(x: float) -> float", "The square of x."),
    ):
        assert signature in shared.inspect(code)
        assert doc in shared.inspect(code)


def test_autoreload_goes_on_working_and_modules_are_imported_there(shared: Kernel, tmp_path):
    (tmp_path / "edited_here.py").write_text("def answer():\n    return 1\n")
    shared.ok(
        f"import sys\nsys.path.insert(0, {str(tmp_path)!r})\n%load_ext autoreload\n%autoreload 2\nimport edited_here"
    )
    cell = f"%%nbray\nimport sys\nsys.path.insert(0, {str(tmp_path)!r})\nimport edited_here\nedited_here.answer()"
    assert shared.value(cell) == "1"
    assert shared.value("edited_here.answer()") == "1"
    shared.ok("%autoreload 0")


def test_a_pool_scales_while_it_runs(shared: Kernel):
    assert "the pool has 3 CPUs now" in said(shared.ok("%nbray scale 3"))
    assert shared.value("%%nbray --num-cpus 3\n'ran'") == "'ran'"
    assert "the pool has 2 CPUs now" in said(shared.ok("%nbray scale 2"))


def test_figures_that_a_cell_leaves_open_are_shown_under_it_as_in_the_notebook(shared: Kernel):
    draw = "%%nbray\nimport matplotlib.pyplot as plt\nfigure, axes = plt.subplots(figsize=(1, 1))\naxes.plot([1, 2])\n"
    (shown,) = of_kind(shared.ok(f"{draw}None"), "display_data")
    assert "image/png" in shown["data"]
    assert of_kind(shared.ok(f"{draw}plt.show()\nNone"), "display_data") != []
    published = shared.ok(f"{draw}figure")
    assert of_kind(published, "display_data") == []  # it is the value, and once is enough
    assert "image/png" in of_kind(published, "execute_result")[0]["data"]
    assert len(of_kind(published, "execute_result")) == 1
    (shown,) = of_kind(shared.run(f"{draw}1 / 0")[1], "display_data")
    assert "image/png" in shown["data"]
    assert shared.value("%%nbray\nimport matplotlib.pyplot as plt\nplt.get_fignums()") == "[]"


def test_a_widget_of_a_task_is_a_sentence_and_no_broken_widget(shared: Kernel):
    published = shared.ok("%%nbray\nimport ipywidgets\ndisplay(ipywidgets.IntSlider())")
    (shown,) = of_kind(published, "display_data")
    assert list(shown["data"]) == ["text/plain"]
    assert "IntSlider" in shown["data"]["text/plain"]
    assert "make it in a cell" in shown["data"]["text/plain"]


def test_capture_captures_what_the_pool_prints_and_displays(shared: Kernel):
    published = shared.ok(
        "%%capture caught\n%%nbray\nimport sys\nprint('out')\nprint('err', file=sys.stderr)\ndisplay({'rich': 1})\n3"
    )
    assert of_kind(published, "stream") == of_kind(published, "display_data") == []
    assert shared.value("(caught.stdout.split()[-1], caught.stderr.split()[-1])") == "('out', 'err')"
    assert shared.value("caught.outputs[0].data['text/plain']") == "\"{'rich': 1}\""
    assert "after" in said(shared.ok("%%nbray\nprint('after')"))
