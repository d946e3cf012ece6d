"""A cell that is run here, again and again: its code, the variables set for it, and the picture of what was measured."""

from __future__ import annotations

import asyncio
import dis
import sys
import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from types import CodeType, FunctionType
from typing import Any

import nbray
from nbray.actor import ActorClass
from nbray.bench import words
from nbray.bench.comparison import Comparison
from nbray.bench.splits.result import Sweep
from nbray.bench.splits.timings import Timing
from nbray.remote_function import RemoteFunction
from nbray_magics.cellcode import VALUE, CellCode
from nbray_magics.failures import CellInterrupted, local_error
from nbray_magics.grammar import NbrayUsageError
from nbray_magics.notebook import Notebook

_MISSING = object()


# --- the code ----------------------------------------------------------------------------------------------------------


def runner(notebook: Notebook, code: CellCode) -> Callable[[], None]:
    """Runs a cell among the notebook's variables. The value of its last expression is let go of."""
    names = notebook.names

    def run() -> None:
        try:
            if code.awaits:
                awaited(lambda: eval(code.code, names))
            else:
                exec(code.code, names)
        finally:
            names.pop(VALUE, None)

    return run


def awaited(start: Callable[[], Coroutine[Any, Any, object]]) -> None:
    """Run a coroutine to its end on a thread of its own: this one's loop is the notebook's, which waits for the cell that asks.

    Raises:
        KeyboardInterrupt: Ctrl-C; the coroutine is cancelled. Whatever the coroutine raises.
    """
    failures: list[BaseException] = []
    loops: list[tuple[asyncio.AbstractEventLoop, asyncio.Task[object]]] = []

    async def noted() -> None:
        task = asyncio.current_task()
        assert task is not None
        loops.append((asyncio.get_running_loop(), task))
        await start()

    def run() -> None:
        try:
            asyncio.run(noted())
        except BaseException as failure:
            failures.append(failure)

    thread = threading.Thread(target=run, name="nbray-await", daemon=True)
    thread.start()
    try:
        thread.join()
    except KeyboardInterrupt:
        for loop, task in loops:
            with suppress(RuntimeError):  # it has ended by itself
                loop.call_soon_threadsafe(task.cancel)
        raise
    if failures:
        raise failures[0]


@contextmanager
def variables(names: dict[str, Any], which: Iterable[str]) -> Iterator[None]:
    """Variables that are as before afterwards, whatever happens."""
    before = {name: names.get(name, _MISSING) for name in which}
    try:
        yield
    finally:
        for name, value in before.items():
            if value is _MISSING:
                names.pop(name, None)
            else:
                names[name] = value


def check_parameters(notebook: Notebook, code: CellCode, parameters: list[str]) -> None:
    """That the cell uses what is varied, so that it makes a difference.

    Raises:
        NbrayUsageError: it does not, or sets it itself, or a remote function would see only the first value.
    """
    reads = code.reads | code.perhaps
    here, far = _reached(notebook.names, reads)
    for name in parameters:
        if name in code.assigns and name not in reads:
            raise NbrayUsageError(
                f"the cell sets {name!r} itself; the sweep does, so take that line out of the cell"
            )
        if name in far:
            raise NbrayUsageError(
                f"{name!r} is read inside the remote function {far[name]!r}, which goes to the pool once a cell, with the"
                f" first value; hand {name} over as an argument"
            )
        if name not in here and not code.opaque:
            known = (
                ", ".join(sorted(reads - set(dir(__builtins__)) - {"nbray", "ray"})[:12]) or "no variables"
            )
            raise NbrayUsageError(
                f"the cell never uses {name!r}, so varying it changes nothing; it uses {known}"
            )


def _reached(names: Mapping[str, Any], reads: frozenset[str]) -> tuple[set[str], dict[str, str]]:
    """Variables that are read by the cell or by functions that it calls; and those that remote functions read, with whose."""
    here: set[str] = set()
    far: dict[str, str] = {}
    seen: set[int] = set()
    todo: list[tuple[str, str]] = [(name, "") for name in reads]
    while todo:
        name, remote = todo.pop()
        if remote:
            far.setdefault(name, remote)
        else:
            here.add(name)
        value = names.get(name)
        if isinstance(value, (RemoteFunction, ActorClass)):
            value, remote = getattr(value, "__wrapped__", None), name
        if value is None or (id(value) in seen and not remote):
            continue
        seen.add(id(value))
        todo += [(each, remote) for each in _globals_of(value, names) if not (remote and each in far)]
    return here, far


def _globals_of(value: Any, names: Mapping[str, Any]) -> set[str]:
    """The notebook's variables that a function, or the methods of a class, read."""
    functions = [value] if isinstance(value, FunctionType) else []
    if isinstance(value, type):
        functions = [each for each in vars(value).values() if isinstance(each, FunctionType)]
    found: set[str] = set()
    for function in functions:
        if function.__globals__ is names:
            found |= set(_loaded(function.__code__))
    return found


def _loaded(code: CodeType) -> Iterator[str]:
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            yield instruction.argval
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _loaded(constant)


def start_pool(cpus: int | None = None) -> None:
    """A local pool, unless there is one; said in a line."""
    if nbray.is_initialized():
        return
    nbray.init(num_cpus=cpus)
    found = nbray.cluster_resources().get("CPU", 0)
    print(
        f"nbray: started a local pool with {words.counted(int(found), 'CPU')} (%nbray shutdown ends it)",
        file=sys.stderr,
    )


# --- the picture -------------------------------------------------------------------------------------------------------


class Picture:
    """The live view of what is measured, where there is a notebook; lines on stderr in a terminal."""

    def __init__(self, notebook: Notebook) -> None:
        self._notebook = notebook
        self._said = ""
        self.found: Any = None
        self._view: Any = None
        if hasattr(notebook.shell, "kernel"):
            from IPython import display

            from nbray_widgets import BenchmarkView

            self._view = BenchmarkView()
            show: Any = display.display  # IPython's has no types
            show(self._view)

    def update(self, found: Any) -> None:
        """There is something new. Also the way to what is there when an exception ends it."""
        self.found = found
        if self._view is not None:
            self._view.update(found)
        elif getattr(found, "now", "") not in ("", self._said):
            self._said = found.now
            print(found.now, file=sys.stderr)

    @contextmanager
    def measuring(self, filename: str = "") -> Iterator[None]:
        """Around what may fail or be interrupted: the picture stays, with what there is.

        Args:
            filename: of the cell's code: only its frames are shown when it fails.

        Raises:
            CellInterrupted: Ctrl-C; what there is is the value of the cell all the same.
        """
        try:
            yield
        except KeyboardInterrupt:
            self._keep()
            raise CellInterrupted(f"stopped; {self._so_far()}") from None
        except Exception as error:
            if not filename or not _comes_from(error, filename):
                raise
            self._keep()
            raise local_error(self._notebook.shell, error, filename) from None
        finally:
            if self._view is not None:
                self._view.finish()

    def _keep(self) -> None:
        if self.found is not None:
            self._notebook.shell.displayhook.update_user_ns(self.found)

    def _so_far(self) -> str:
        found = self.found
        done = 0
        if isinstance(found, Comparison):
            done = found.progress()[0]
        elif isinstance(found, Sweep):
            done = found.done
        elif isinstance(found, Timing):
            done = len(found.runs)
        return (
            f"{words.counted(done, 'measurement')} so far, kept in _" if done else "nothing was measured yet"
        )

    def result(self, found: Any) -> Any:
        """``found`` as the value of the cell, without a second picture of it."""
        if self._view is not None:
            self._notebook.results.shown = found
        return found


def _comes_from(error: BaseException, filename: str) -> bool:
    frame = error.__traceback__
    while frame is not None:
        if frame.tb_frame.f_code.co_filename == filename:
            return True
        frame = frame.tb_next
    return False
