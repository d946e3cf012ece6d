"""How a cell that failed elsewhere looks: the user's lines, and nothing of what carried them."""

from __future__ import annotations

from typing import Any

from nbray.exceptions import RayError, RayTaskError


class CellFailed(Exception):
    """A failure that IPython shows as the lines that it brings, without a traceback of this process."""

    def __init__(self, text: str, lines: list[str]) -> None:
        super().__init__(text)
        self._lines = lines

    def _render_traceback_(self) -> list[str]:
        return self._lines


class CellInterrupted(KeyboardInterrupt):
    """Ctrl-C, shown in one line."""

    def _render_traceback_(self) -> list[str]:
        return [f"KeyboardInterrupt: {self}"]


CellInterrupted.__name__ = "KeyboardInterrupt"  # what notebooks show


def syntax_error(shell: Any, error: SyntaxError) -> CellFailed:
    """As IPython shows it for a cell of its own. Not a SyntaxError itself: those IPython shows with all frames."""
    kind = type(error)
    lines = list(shell.SyntaxTB.structured_traceback(kind, error, []))
    made: CellFailed = type(kind.__name__, (CellFailed,), {"__module__": kind.__module__})(str(error), lines)
    return made


def pool_error(error: RayError) -> RayError:
    """The same error; IPython will show what it says and, if the cell let it through, the cell's lines; no frames of ours."""
    notes = [note for note in getattr(error, "__notes__", ()) if "Traceback" in note]
    # A cell in an actor is a call of a method that the user has not written.
    lines = [f"{type(error).__name__}: {error}".replace(".__ray_call__", ""), *notes]
    error.__dict__["_render_traceback_"] = lambda: lines
    return error


def remote_error(error: RayTaskError, note: str = "") -> RayTaskError:
    """The same error; IPython will show the remote traceback alone."""
    lines = [error.traceback_str.rstrip(), *filter(None, (note,))]
    error.__dict__["_render_traceback_"] = lambda: lines
    return error


def local_error(shell: Any, error: Exception, filename: str) -> Exception:
    """The same error of code that was run here; IPython will show its traceback from the cell ``filename`` on."""
    if hasattr(error, "_render_traceback_"):
        return error
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename != filename:
        frames = frames.tb_next
    # From the cell's frame on: none of IPython's is there that it would leave out.
    lines = list(shell.InteractiveTB.structured_traceback(type(error), error, frames, tb_offset=0))
    error.__dict__["_render_traceback_"] = lambda: lines
    return error
