"""Output of tasks in JupyterLab: it stays with its cell, also when that has long ended, and in the saved notebook."""

from __future__ import annotations

PRELUDE = """
import pathlib, sys, time
import nbray

def gate(name):
    while not pathlib.Path(name).exists():
        time.sleep(0.01)

@nbray.remote
def train(model, epochs, then):
    gate(then)
    for epoch in range(epochs):
        print(f"{model}: epoch {epoch:4}, \\x1b[32mloss {1 / (epoch + 1):.4f}\\x1b[0m")
        if epoch % 100 == 70:
            print(f"{model}: epoch {epoch:4} diverged <b>again</b>", file=sys.stderr)
    from IPython.display import HTML
    display(HTML(f"<em class='shown'>{model} is trained</em>"))

nbray.init(num_cpus=2)
"""


def test_late_output_is_shown_and_saved_under_its_own_cell(opened, lab):
    for gate in ("output1.gate", "output2.gate"):
        (lab.notebooks / gate).unlink(missing_ok=True)
    notebook = opened(
        "output.ipynb",
        PRELUDE,
        "few = train.remote('a', 5, 'output1.gate')",
        "many = [train.remote(model, 3000, 'output2.gate') for model in ('b', 'c')]",
        "nbray.get([few, *many]); print('all is done')",
        "nbray.shutdown()",
    )
    page = notebook.page
    for number in range(3):
        notebook.run(number)
        notebook.ended(number)
    few, many, last = notebook.cell(1), notebook.cell(2), notebook.cell(3)
    (lab.notebooks / "output1.gate").touch()  # both cells have ended, and nothing runs
    few.locator(".shown").get_by_text("a is trained").wait_for()
    assert few.locator(".ansi-green-fg").count() == 5
    assert many.locator(".jp-OutputArea-child").count() == 0
    notebook.run(3)
    (lab.notebooks / "output2.gate").touch()
    notebook.ended(3)
    last.get_by_text("all is done", exact=True).wait_for()
    for model in "bc":
        many.get_by_text(f"{model} is trained").wait_for()
    assert last.locator(".jp-OutputArea-child").count() == 1
    blocks = many.locator(".nbray-output")
    blocks.first.locator("details.nbray-worker").first.locator("summary").click()
    blocks.first.locator("details[open] pre").first.wait_for()
    assert blocks.first.locator("b", has_text="again").count() == 0
    blocks.first.scroll_into_view_if_needed()
    notebook.shoot("output-folded")
    saved = notebook.save()
    assert "a: epoch    4" in saved.cells[1].outputs[0].text
    text = "".join(
        output.get("text") or output.data["text/plain"] + "\n" for output in saved.cells[2].outputs
    )
    for model in "bc":
        lines = [line for line in text.splitlines() if f") {model}: epoch" in line and "loss" in line]
        assert [int(line.split("epoch")[1].split(",")[0]) for line in lines] == list(range(3000))
        assert text.count(f") {model}: epoch") == 3030
    page.reload()
    notebook.cell(2).locator(".nbray-output").first.wait_for()
    notebook.cell(1).get_by_text("a is trained").wait_for()
    assert notebook.errors == []
