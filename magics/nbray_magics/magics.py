"""``%nbray`` in IPython. Thin: ``parse`` understands the line, the public API does it, ``nbray_widgets`` draws it."""

from __future__ import annotations

import re
import sys
from typing import Any

from IPython import display as ipython_display
from IPython.core.completer import (
    CompletionContext,
    SimpleCompletion,
    SimpleMatcherResult,
    context_matcher,
)
from IPython.core.error import UsageError
from IPython.core.magic import Magics, line_magic, magics_class

import nbray
from nbray.exceptions import NbrayError
from nbray_magics import parse

display: Any = ipython_display.display  # IPython's has no types

NO_POOL = "no pool is running; %nbray init -n 4 starts one with 4 CPUs"


@magics_class
class NbrayMagics(Magics):
    """The line magic ``%nbray``."""

    def __init__(self, shell: Any) -> None:
        super().__init__(shell)
        self._graph: tuple[Any, Any] = (None, None)

    @line_magic
    def nbray(self, line: str) -> Any:
        """Start, watch and end an nbray pool. ``%nbray`` alone lists the verbs."""
        try:
            command = parse.parse(line)
            if command.verb is None:
                print(f"nbray: {_status_line()}\n\n{parse.overview()}")
                return None
            if command.help:
                print(command.verb.help)
                return None
            return getattr(self, f"_do_{command.verb.name}")(**command.options)
        except (parse.NbrayUsageError, NbrayError, ValueError, RuntimeError, OSError) as error:
            # UsageError is what IPython shows as one line, without a traceback.
            raise UsageError(str(error)) from None

    def _do_init(self, num_cpus: int | None = None) -> None:
        if not nbray.is_initialized():
            nbray.init(num_cpus=num_cpus)
        else:
            cpus = nbray.cluster_resources().get("CPU", 0)
            if num_cpus is not None and num_cpus != cpus:
                print(
                    f"A pool with {cpus:g} CPUs is running already; %nbray shutdown ends it, then start another."
                )
        _show_status()

    def _do_status(self) -> None:
        if not nbray.is_initialized():
            print(f"nbray: {NO_POOL}")
        else:
            _show_status()

    def _do_graph(self) -> Any:
        from nbray_widgets import TaskGraph

        if not nbray.is_initialized():
            raise parse.NbrayUsageError(NO_POOL)
        feed, view = self._graph
        if feed is not nbray.feed():
            feed = nbray.feed()
            view = TaskGraph(feed)
            self._graph = (feed, view)
        return view

    def _do_shutdown(self) -> None:
        if not nbray.is_initialized():
            print("nbray: no pool is running")
            return
        nbray.shutdown()
        print("nbray: the pool has ended")


def _status_line() -> str:
    if not nbray.is_initialized():
        return NO_POOL
    from nbray_widgets.picture import cluster

    return cluster.line(_status())


def _status() -> dict[str, Any]:
    from nbray_widgets.picture import cluster

    return cluster.status(
        nbray.nodes(), nbray.cluster_resources(), nbray.available_resources(), nbray.feed().raw_since(0)[0]
    )


def _show_status() -> None:
    from nbray_widgets.picture import cluster

    status = _status()
    display({"text/plain": cluster.text(status), "text/html": cluster.html(status)}, raw=True)


# --- completion ------------------------------------------------------------------------------------------------------

_LINE = re.compile(r"^\s*%nbray(\s.*)$")


@context_matcher(identifier="nbray_magics.verbs_and_options")  # type: ignore[untyped-decorator]
def matcher(context: CompletionContext) -> SimpleMatcherResult:
    """Verbs and options of ``%nbray``. IPython completes no options of magics by itself."""
    found = _LINE.match(context.text_until_cursor)
    if found is None:
        return {"completions": [], "suppress": False}
    completions = [SimpleCompletion(text=text, type="magic") for text in parse.complete(found[1])]
    # Inside %nbray nothing else makes sense: names of variables are no options.
    return {"completions": completions, "suppress": bool(completions)}


# --- loading ---------------------------------------------------------------------------------------------------------


def load_ipython_extension(shell: Any) -> None:
    """``%load_ext nbray``."""
    shell.register_magics(NbrayMagics)
    if matcher not in shell.Completer.custom_matchers:
        shell.Completer.custom_matchers.append(matcher)


def unload_ipython_extension(shell: Any) -> None:
    """``%unload_ext nbray``: the magic, its completion and live views go. A pool goes on until ``nbray.shutdown``."""
    shell.magics_manager.magics["line"].pop("nbray", None)
    shell.magics_manager.registry.pop(NbrayMagics.__name__, None)
    if matcher in shell.Completer.custom_matchers:
        shell.Completer.custom_matchers.remove(matcher)
    widgets = sys.modules.get("nbray_widgets")
    if widgets is not None:
        widgets.finish_all()
