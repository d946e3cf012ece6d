"""``%nbray bench``: nbray and its peers side by side."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import nbray
from nbray.bench.cases import CASES
from nbray.bench.peers import PEERS
from nbray_magics.grammar import Argument, Option, Value, Verb
from nbray_magics.measuring import Picture
from nbray_magics.notebook import Notebook
from nbray_magics.values import file_to_write, positive, whole


def bench(
    notebook: Notebook,
    cases: Sequence[str] = (),
    vs: Sequence[str] = tuple(PEERS),
    rounds: int = 3,
    seconds: float = 1.0,
    cpus: int | None = None,
    json: Path | None = None,
    markdown: Path | None = None,
) -> object:
    from nbray.bench.comparison import compare

    _warn_of_others()
    picture = Picture(notebook)
    try:
        with picture.measuring():
            found = compare(
                list(cases), vs, rounds=rounds, seconds=seconds, cpus=cpus, progress=picture.update
            )
    finally:
        if picture.found is not None and picture.found.rows:
            if json is not None:
                picture.found.to_json(json)
            if markdown is not None:
                picture.found.to_markdown(markdown)
    return picture.result(found)


def _warn_of_others() -> None:
    """The measured processes are their own, but CPUs are shared."""
    if not nbray.is_initialized():
        return
    from nbray.bench.splits.limits import check_idle

    try:
        check_idle()
    except RuntimeError:
        print(
            "nbray: tasks or actors of this notebook's pool are at work: they take CPUs from what is measured",
            file=sys.stderr,
        )


BENCH = Verb(
    "bench",
    "speed side by side with Ray, Dask, process pools and others, live",
    bench,
    details="Each peer is measured in processes of its own, in turn, several rounds: the notebook's pool takes no part, and\n"
    "is left alone. Shown are medians with their spread, and how many times as fast nbray is.\n"
    "All cases with all peers take a quarter of an hour; Ctrl-C ends it and keeps what is there.\n"
    "The value is a table: _.rows, _.to_pandas(). In a terminal: python -m nbray.bench",
    arguments=(
        Argument(
            "cases",
            "what to measure; default: everything",
            Value("CASE", choices=tuple(CASES)),
            repeated=True,
        ),
    ),
    options=(
        Option(
            ("--vs",),
            "vs",
            "peers, with commas between; default: all that are installed",
            (Value("PEER,...", choices=tuple(PEERS), listed=True),),
        ),
        Option(
            ("--rounds", "-r"),
            "rounds",
            "how often each has its turn; default 3",
            (Value("N", whole("rounds")),),
        ),
        Option(
            ("--seconds", "-s"),
            "seconds",
            "how long a case is timed in a round; default 1",
            (Value("S", positive("seconds")),),
        ),
        Option(
            ("--cpus", "-n"),
            "cpus",
            "CPUs of every pool; default: this machine's",
            (Value("N", whole("CPUs")),),
        ),
        Option(("--json",), "json", "write every sample to FILE", (Value("FILE", file_to_write),)),
        Option(("--markdown",), "markdown", "write the table to FILE", (Value("FILE", file_to_write),)),
    ),
    examples=(
        "%nbray bench tasks_batch actor_batch --vs ray,processes",
        "%nbray bench cold --rounds 5 --json cold.json",
    ),
)
