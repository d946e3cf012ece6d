"""``%%nbray``: a cell that runs in the pool."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import nbray
from nbray.actor import ActorHandle
from nbray.exceptions import RayError, RayTaskError
from nbray_magics import remote
from nbray_magics.cellcode import VALUE
from nbray_magics.failures import CellInterrupted, pool_error, remote_error
from nbray_magics.figures import show_figures_here
from nbray_magics.grammar import NbrayUsageError, Option, Value, Verb
from nbray_magics.notebook import Notebook, actors, variables
from nbray_magics.parse import nearest
from nbray_magics.sending import program, send, understand, wanted
from nbray_magics.values import amount, name, quantity, whole

NUMBERS = ("rank", "i")
#: Of one cell. Each is a task, and what comes back is a list.
MOST_COPIES = 100_000


def run(
    notebook: Notebook,
    text: str,
    out: Sequence[str] = (),
    noblock: bool = False,
    actor: str | None = None,
    each: int | None = None,
    **resources: Any,
) -> Any:
    cell = understand(notebook, text)
    names = wanted(cell, out)
    if VALUE not in names and (not names if noblock else cell.code.has_value):
        names = (*names, VALUE)
    if actor is not None and resources:
        raise NbrayUsageError("--actor NAME: the actor has its CPUs and other resources already")
    own = [name for name, _ in resources.get("resources", ())]
    twice = next((name for name in own if own.count(name) > 1), None)
    if twice is not None:
        raise NbrayUsageError(f"--resources gives {twice!r} twice")
    handle = _living(notebook, actor) if actor is not None else None
    start_if_needed()
    given = frozenset(NUMBERS if each is not None else ()) | frozenset(
        ("self",) if handle is not None else ()
    )
    sent = send(notebook, cell.code, given)
    title = f"In[{notebook.count}]"
    what = program(cell, names)
    if handle is None:
        submit = _task(title, 1 if not noblock else len(names), resources)
    else:
        submit = _call(handle, title, 1 if not noblock else len(names))
    copies = [{}] if each is None else [dict.fromkeys(NUMBERS, rank) for rank in range(each)]
    refs = [submit(what, sent.names, more, not noblock) for more in copies]
    if noblock:
        rows = [ref if isinstance(ref, list) else [ref] for ref in refs]
    else:
        rows = _results(notebook, refs, sent.left_out, in_actor=handle is not None)
    return _bind(notebook, out, names, rows, single=each is None)


def start_if_needed() -> None:
    """A local pool, unless there is one; said in a line."""
    if nbray.is_initialized():
        return
    nbray.init()
    cpus = nbray.cluster_resources().get("CPU", 0)
    print(
        f"nbray: started a local pool with {cpus:g} CPUs (%nbray init -n N chooses how many, %nbray shutdown ends it)",
        file=sys.stderr,
    )


def _living(notebook: Notebook, wanted: str) -> ActorHandle[Any]:
    """The actor: a variable that holds a handle, or an actor of that name."""
    if not nbray.is_initialized():
        raise NbrayUsageError(f"--actor {wanted}: no pool is running, so there is no actor")
    found = notebook.names.get(wanted)
    if isinstance(found, ActorHandle):
        return found
    try:
        return nbray.get_actor(wanted)
    except ValueError:
        raise NbrayUsageError(
            f"no living actor and no variable with a handle is called {nearest(wanted, actors(notebook))}"
        ) from None


def _task(title: str, returns: int, resources: dict[str, Any]) -> Any:
    """How a copy is submitted. It runs at most once: a cell may do what must not be done twice."""
    if "resources" in resources:
        resources["resources"] = dict(resources["resources"])
    cell = nbray.remote(remote.cell).options(name=title, num_returns=returns, max_retries=0, **resources)
    return cell.remote


def _call(handle: ActorHandle[Any], title: str, returns: int) -> Any:
    method = handle.__ray_call__.options(name=title, num_returns=returns)
    return lambda *args: method.remote(remote.cell_in_actor, *args)


def _results(notebook: Notebook, refs: list[Any], left_out: dict[str, str], *, in_actor: bool) -> list[Any]:
    """A tuple a copy. If one fails, or on Ctrl-C, what runs is cancelled."""
    try:
        return nbray.get(nbray.get(refs))
    except KeyboardInterrupt:
        _cancel(refs)
        goes_on = "what the actor has begun it does to the end" if in_actor else "the pool goes on"
        raise CellInterrupted(f"the cell was cancelled; {goes_on}") from None
    except RayTaskError as error:
        _cancel(refs)
        raise remote_error(error, _note(error, left_out)) from None
    except RayError as error:
        _cancel(refs)
        raise pool_error(error) from None


def _note(error: RayTaskError, left_out: dict[str, str]) -> str:
    """Why a name is not there that the notebook has."""
    if isinstance(error.cause, NameError):
        for name, reason in left_out.items():
            if repr(name) in str(error.cause):
                return f"The notebook's {name!r} was not sent along: the cell {reason}"
    return ""


def _cancel(refs: list[Any]) -> None:
    for ref in refs:
        nbray.cancel(ref)


def _bind(
    notebook: Notebook, out: Sequence[str], names: tuple[str, ...], found: list[Any], *, single: bool
) -> Any:
    """Assign what ``-o`` wants, all at once, and answer the value of the last expression."""
    columns = {name: [row[at] for row in found] for at, name in enumerate(names)}
    values = {name: column[0] if single else column for name, column in columns.items()}
    value = values.pop(VALUE, None)
    if not single and value and not any(each is not None for each in value):
        value = None  # as from a single cell whose last expression has no value
    foreign = [name for name in out if name not in values]
    if foreign:  # the cell calls nothing so: its last expression is meant
        values[foreign[0]], value = value, None
    notebook.shell.push(values)
    show_figures_here(value)
    return value


RUN = Verb(
    "",
    "run the cell in the pool",
    run,
    details="Names that the cell reads are sent along by value, functions of the notebook and imported modules too.\n"
    "The value of its last expression is shown and comes back as Out[n]; a semicolon at the end keeps it there.\n"
    "Other names stay in the pool, unless -o wants them. Without a pool a local one is started.\n"
    "A NAME that the cell does not use is the value of its last expression.",
    options=(
        Option(
            ("-o", "--out"),
            "out",
            "bring back what the cell assigns to NAME; may be given again",
            (Value("NAME", name, offer=variables),),
            repeated=True,
        ),
        Option(
            ("--noblock",),
            "noblock",
            "do not wait: NAME is a ref then, for nbray.get; without -o the ref of the last expression is the cell's value",
        ),
        Option(
            ("--num-cpus",), "num_cpus", "CPUs that the cell takes (default 1)", (Value("X", amount("CPUs")),)
        ),
        Option(("--num-gpus",), "num_gpus", "GPUs that the cell takes", (Value("X", amount("GPUs")),)),
        Option(
            ("--resources",),
            "resources",
            "custom resources that the cell takes",
            (Value("NAME=X,...", quantity, listed=True),),
        ),
        Option(
            ("--actor",),
            "actor",
            "run inside a living actor, which the cell sees as self; its name, or a variable with its handle",
            (Value("ACTOR", offer=actors),),
        ),
        Option(
            ("--each",),
            "each",
            "run N copies; each has its number, from 0, as rank (and i), and what comes back is a list",
            (Value("N", whole("copies", most=MOST_COPIES)),),
        ),
    ),
    examples=(
        "%%nbray -o model --num-cpus 2",
        "%%nbray --each 4",
        "%%nbray --actor counter",
    ),
)
