"""A real JupyterLab and a real Chromium, both only on loopback and with nothing of the user's own settings."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[2]
SHOTS = ROOT / "build" / "screenshots"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE = 90_000  # ms; on a loaded machine a kernel alone takes ten seconds to start

# JupyterLab asks on its first start whether it may fetch news, and keeps Chromium's attention with the question.
SETTINGS = {"@jupyterlab/apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False}}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker("browser")
            item.add_marker(
                pytest.mark.may_leak(
                    "processes", "fds", "threads", why="JupyterLab and Chromium outlive a test"
                )
            )
            item.add_marker(pytest.mark.timeout(600))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item):
    """What a failed test saw is worth more than its traceback."""
    report = yield
    if report.failed:
        for number, notebook in enumerate(_opened):
            notebook.shoot(f"failed-{item.name}-{number}")
    return report


#: Seconds for which an event is waited for.
LIMIT = 30.0


class Lab:
    """A running JupyterLab over an empty directory."""

    def __init__(self, home: Path) -> None:
        self.notebooks = home / "notebooks"
        self.notebooks.mkdir()
        self._log = home / "lab.log"
        for name, values in SETTINGS.items():
            path = home / "settings" / f"{name}.jupyterlab-settings"
            path.parent.mkdir(parents=True)
            path.write_text(json.dumps(values))
        self.token = secrets.token_hex(16)
        runtime = home / "runtime"
        environment = os.environ | {
            "JUPYTER_CONFIG_DIR": str(home / "config"),
            "JUPYTER_DATA_DIR": str(home / "data"),
            "JUPYTER_RUNTIME_DIR": str(runtime),
            "JUPYTER_PREFER_ENV_PATH": "1",
            "JUPYTERLAB_SETTINGS_DIR": str(home / "settings"),
            "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces"),
            "IPYTHONDIR": str(home / "ipython"),
            "JUPYTER_TOKEN": self.token,
        }
        command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1"]
        command += ["--ServerApp.port=0", "--LabApp.news_url=", f"--notebook-dir={self.notebooks}"]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        self.url = self._address(runtime)

    def _address(self, runtime: Path) -> str:
        deadline = time.monotonic() + PATIENCE / 1000
        while time.monotonic() < deadline:
            assert self._process.poll() is None, self._log.read_text()
            for path in runtime.glob("jpserver-*.json"):
                try:
                    url = json.loads(path.read_text())["url"]
                    self._open(url, "api/status")
                except (OSError, ValueError):  # half written, or not listening yet
                    continue
                return str(url)
            time.sleep(0.05)  # the server announces itself by a file and in no other way
        raise AssertionError(self._log.read_text())

    def _open(self, url: str, path: str, method: str = "GET") -> bytes:
        request = urllib.request.Request(
            url + path, method=method, headers={"Authorization": f"token {self.token}"}
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            return bytes(answer.read())

    def add(self, name: str, *cells: str, source: Path | None = None) -> Path:
        """A new notebook of code cells, or a copy of ``source`` without its outputs."""
        if source is None:
            notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
        else:
            notebook = nbformat.read(source, 4)
            for cell in notebook.cells:
                if cell.cell_type == "code":
                    cell.outputs, cell.execution_count = [], None
        notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
        path = self.notebooks / name
        nbformat.write(notebook, path)
        return path

    def end_kernels(self) -> None:
        """The server refuses to end a kernel that it is restarting: then its next state is waited for."""
        deadline = time.monotonic() + LIMIT
        while sessions := json.loads(self._open(self.url, "api/sessions")):
            for session in sessions:
                try:
                    self._open(self.url, f"api/sessions/{session['id']}", "DELETE")
                except urllib.error.HTTPError:
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(0.1)

    def close(self) -> None:
        self.end_kernels()
        self._process.terminate()
        self._process.wait(30)


@pytest.fixture(scope="session")
def chromium() -> str:
    pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    for name in ("chromium", "chromium-browser", "google-chrome"):
        path = shutil.which(name)
        if path:
            return path
    pytest.skip("no Chromium on this machine")


@pytest.fixture(scope="session")
def lab(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    pytest.importorskip("jupyterlab", reason="jupyterlab is not installed")
    lab = Lab(tmp_path_factory.mktemp("lab"))
    yield lab
    lab.close()


@pytest.fixture(scope="session")
def browser(chromium: str, tmp_path_factory: pytest.TempPathFactory):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            tmp_path_factory.mktemp("chromium"),
            executable_path=chromium,
            headless=True,
            args=FLAGS,
            viewport={"width": 1180, "height": 900},
        )
        context.set_default_timeout(PATIENCE)
        yield context
        context.close()


class Notebook:
    """A notebook opened in JupyterLab, alone on the page."""

    def __init__(self, browser, lab: Lab, path: Path) -> None:
        self.path = path
        self.cells = nbformat.read(path, 4).cells
        self.page = browser.new_page()
        self.errors: list[str] = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.goto(f"{lab.url}doc/tree/{path.name}?token={lab.token}")
        self.page.locator(".jp-Notebook .jp-CodeCell").first.wait_for()
        self.page.get_by_text("| Idle").wait_for()  # only the status bar knows when a kernel is really there

    def command(self, menu: str, item: str) -> None:
        self.page.get_by_role("menuitem", name=menu, exact=True).click()
        self.page.get_by_role("menuitem", name=item, exact=True).click()

    def restart_kernel(self) -> None:
        self.page.get_by_role("menuitem", name="Kernel", exact=True).click()
        self.page.locator(".lm-Menu-item[data-command='kernelmenu:restart']").click()
        self.page.locator(".jp-Dialog .jp-mod-accept").click()

    def theme(self, name: str) -> None:
        self.page.get_by_role("menuitem", name="Settings", exact=True).click()
        self.page.locator(".lm-Menu-item[data-type=submenu]").filter(has_text="Theme").first.click()
        self.page.locator(".lm-Menu-item").filter(has_text=name).first.click()
        self.page.locator("#jupyterlab-splash").wait_for(state="detached")

    def run_all(self) -> None:
        self.command("Run", "Run All Cells")

    def cell(self, number: int):
        return self.page.locator(".jp-Notebook .jp-Cell").nth(number)

    def top(self, number: int) -> None:
        """Scrolls so that the cell is the first one to be seen."""
        self.cell(number).evaluate("cell => cell.scrollIntoView({block: 'start'})")

    def run(self, number: int) -> None:
        self.cell(number).locator(".jp-InputArea-editor").click()
        self.page.keyboard.press("Control+Enter")

    def ended(self, number: int) -> None:
        """Waits until the cell has run."""
        prompt = self.cell(number).locator(".jp-InputPrompt")
        prompt.get_by_text("[", exact=False).wait_for()
        self.page.wait_for_function(
            r"""n => /^\[\d+\]:/.test(
                document.querySelectorAll('.jp-Notebook .jp-Cell')[n].querySelector('.jp-InputPrompt').textContent)""",
            arg=number,
        )

    def save(self) -> dict:
        """Saves, and returns the file once the server has said that it is written."""
        self.page.keyboard.press("Escape")
        with self.page.expect_response(
            lambda response: response.request.method == "PUT" and "/api/contents/" in response.url
        ):
            self.page.keyboard.press("Control+s")
        return nbformat.read(self.path, 4)

    def shoot(self, name: str, element=None) -> Path:
        SHOTS.mkdir(parents=True, exist_ok=True)
        target = SHOTS / f"{name}.png"
        (element or self.page).screenshot(path=target)
        return target


_opened: list[Notebook] = []


@pytest.fixture
def opened(browser, lab: Lab) -> Iterator:
    """``opened(name, *cells, source=None)`` makes a notebook and opens it; see `Lab.add`."""

    def open_notebook(name: str, *cells: str, source: Path | None = None) -> Notebook:
        _opened.append(Notebook(browser, lab, lab.add(name, *cells, source=source)))
        return _opened[-1]

    yield open_notebook
    while _opened:
        _opened.pop().page.close()
    lab.end_kernels()
