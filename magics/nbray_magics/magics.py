"""``%nbray`` and ``%%nbray`` in IPython. Thin: ``parse`` understands the line, a file in ``verbs`` does it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from IPython.core.completer import (
    CompletionContext,
    SimpleCompletion,
    SimpleMatcherResult,
    context_matcher,
)
from IPython.core.error import UsageError
from IPython.core.magic import Magics, cell_magic, line_magic, magics_class

from nbray.exceptions import NbrayError, RayTaskError
from nbray_magics import frames, routing
from nbray_magics.complete import complete
from nbray_magics.grammar import NbrayUsageError, Table
from nbray_magics.notebook import Notebook
from nbray_magics.parse import Command, parse
from nbray_magics.table import CELL, LINE
from nbray_magics.verbs.status import status_line

TABLES = {LINE.magic: LINE, CELL.magic: CELL}


@magics_class
class NbrayMagics(Magics):
    """The magics ``%nbray`` and ``%%nbray`` of one shell."""

    def __init__(self, shell: Any) -> None:
        super().__init__(shell)
        self.notebook = Notebook(shell)
        self.matcher = _matcher(self.notebook)

    @line_magic("nbray")  # type: ignore[arg-type]
    def line(self, line: str) -> Any:
        """Start, watch and end an nbray pool. ``%nbray`` alone lists the verbs."""
        return self._do(LINE, CELL, line)

    @cell_magic("nbray")  # type: ignore[arg-type]
    def cell(self, line: str, cell: str) -> Any:
        """Run or measure a cell in the pool. ``%%nbray --help`` tells how."""
        return self._do(CELL, LINE, line, cell)

    def _do(self, table: Table, others: Table, line: str, *cell: str) -> Any:
        self.notebook.magic = f"{table.magic} {line}".rstrip()
        try:
            command = parse(table, line, others)
            if command.verb is table.alone and cell and not cell[0].strip():
                command = Command(None, {}, True)
            if command.verb is None:
                if table is LINE:
                    print(f"nbray: {status_line()}\n\n{LINE.overview()}\n\n{_CELLS}")
                else:
                    print(table.overview())
                return None
            if command.help:
                print(table.help(command.verb))
                return None
            return command.verb.run(self.notebook, *cell, **command.given)
        except (NbrayUsageError, NbrayError, ValueError, RuntimeError, OSError) as error:
            if isinstance(error, RayTaskError) or hasattr(error, "_render_traceback_"):
                raise  # the user's own, or one that knows how it wants to look
            # UsageError is what IPython shows as one line, without a traceback.
            raise UsageError(str(error)) from None


#: Who lists the verbs of ``%nbray`` wants to know of the others, too.
_CELLS = (
    f"  As the first line of a cell: {CELL.magic} runs it in the pool, "
    f"{' and '.join(f'{CELL.magic} {verb}' for verb in CELL.verbs)} measure it.\n"
    f"  {CELL.magic} --help tells more."
)


def _explain() -> None:
    """What ``%nbray?`` shows."""
    methods: Any = NbrayMagics
    methods.line.__doc__ = f"Start, watch and end an nbray pool.\n\n{LINE.overview()}"
    methods.cell.__doc__ = f"Run or measure a cell in the pool.\n\n{CELL.overview()}"


_explain()


def help_without_a_cell(lines: list[str]) -> list[str]:
    """``%%nbray --help`` alone: IPython refuses a cell magic without a cell, so it gets an empty line."""
    if len(lines) == 1 and re.match(r"%%nbray(\s|$)", lines[0]):
        return [lines[0].rstrip("\n") + "\n", "\n"]
    return lines


# --- completion ------------------------------------------------------------------------------------------------------

_LINE = re.compile(r"^\s*(?:[\w\s.,]+=\s*)?(%%?nbray)(\s.*)$")


def _matcher(notebook: Notebook) -> Callable[[CompletionContext], SimpleMatcherResult]:
    @context_matcher(identifier="nbray_magics.verbs_and_options")  # type: ignore[untyped-decorator]
    def matcher(context: CompletionContext) -> SimpleMatcherResult:
        """Verbs, options and values. IPython completes no options of magics by itself."""
        found = _LINE.match(context.text_until_cursor)
        if found is None:
            return {"completions": [], "suppress": False}
        offered = complete(TABLES[found[1]], found[2], notebook)
        return {
            "completions": [SimpleCompletion(text=text, type="magic") for text in offered.candidates],
            "matched_fragment": offered.fragment,
            # After %nbray nothing else makes sense: names of variables are no options.
            "suppress": bool(offered.candidates),
        }

    return matcher  # type: ignore[no-any-return]


# --- loading ---------------------------------------------------------------------------------------------------------


def load(shell: Any) -> None:
    """Add magics and completion to a shell, unless they are there."""
    if _loaded(shell) is not None:
        return
    magics = NbrayMagics(shell)
    shell.register_magics(magics)
    shell.Completer.custom_matchers.append(magics.matcher)
    shell.input_transformers_cleanup.append(help_without_a_cell)
    frames.hide(shell)
    routing.install()


def unload(shell: Any) -> None:
    """Take everything back."""
    magics = _loaded(shell)
    if magics is None:
        return
    manager = shell.magics_manager
    del manager.registry[NbrayMagics.__name__]
    for kind in ("line", "cell"):
        manager.magics[kind].pop("nbray", None)
    shell.Completer.custom_matchers.remove(magics.matcher)
    shell.input_transformers_cleanup.remove(help_without_a_cell)
    magics.notebook.close()
    routing.uninstall()
    frames.show(shell)


def _loaded(shell: Any) -> NbrayMagics | None:
    found: NbrayMagics | None = shell.magics_manager.registry.get(NbrayMagics.__name__)
    return found
