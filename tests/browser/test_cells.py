"""``%nbray`` and ``%%nbray`` as somebody types them in JupyterLab."""

from __future__ import annotations


def test_cells_run_in_the_pool_and_tab_knows_the_words(opened):
    notebook = opened(
        "cells.ipynb",
        "%load_ext nbray\n%nbray init -n 2",
        "import pandas as pd\nprices = pd.DataFrame({'day': [1, 2], 'price': [3.0, 4.5]})",
        "%%nbray -o dear\nprint('looking at', len(prices), 'days')\ndear = prices[prices.price > 4]\ndear",
        "%%nbray\ndef ratio(a, b):\n    return a / b\n\nratio(1, 0)",
        "%%nbray\ntotal = (1 +\nprint(total)",
        "%%nbray --nobloc\n1",
        "%%nbray --each 2\nimport time\nprint('begun')\ntime.sleep(1000)",
        "%nbray sh",
    )
    for number in range(7):
        notebook.run(number)
        if number < 6:
            notebook.ended(number)
    done = notebook.cell(2)
    done.get_by_text("looking at 2 days").wait_for()
    done.locator("table.dataframe").wait_for()
    failed = notebook.cell(3)
    failed.get_by_text("ZeroDivisionError: division by zero").wait_for()
    failed.get_by_text("line 5, in <module>").wait_for()
    notebook.cell(4).get_by_text("'(' was never closed").wait_for()
    notebook.cell(5).get_by_text("did you mean '--noblock'?").wait_for()
    stopped = notebook.cell(6)
    stopped.get_by_text("begun").nth(1).wait_for()
    page = notebook.page
    page.get_by_role("button", name="Interrupt the kernel").first.click()
    stopped.get_by_text("KeyboardInterrupt: the cell was cancelled").wait_for()
    failed.scroll_into_view_if_needed()
    notebook.shoot("cells")
    last = notebook.cell(7)
    last.locator(".cm-content").click()
    page.keyboard.press("End")
    page.keyboard.press("Tab")
    page.locator(".jp-Completer-item", has_text="shutdown").wait_for()
    page.keyboard.press("Enter")
    last.get_by_text("%nbray shutdown").wait_for()
    assert "nbray_magics" not in page.locator(".jp-Notebook").inner_text()
    assert notebook.errors == []
