"""``python -m nbray.bench [CASE ...]``: measure nbray and its peers side by side."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from nbray.bench import report
from nbray.bench.cases import CASES
from nbray.bench.comparison import compare, known
from nbray.bench.peers import PEERS


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m nbray.bench",
        description="Measure nbray and its peers side by side: each in processes of its own, in turn, several rounds.",
    )
    parser.add_argument(
        "cases", nargs="*", metavar="CASE", help="cases to measure (default: all, see --list)"
    )
    parser.add_argument(
        "--vs",
        metavar="PEER,...",
        help="peers to compare with (default: every one that is installed): "
        + ", ".join(peer for peer in PEERS if peer != report.US),
    )
    parser.add_argument("--rounds", type=int, default=3, help="how often each peer has its turn (default: 3)")
    parser.add_argument(
        "--seconds", type=float, default=1.0, help="how long a case is timed in a round (default: 1.0)"
    )
    parser.add_argument("--cpus", type=int, help="CPUs of every pool (default: those this process may use)")
    parser.add_argument(
        "--python",
        action="append",
        default=[],
        metavar="PEER=PYTHON",
        help="run PEER with another interpreter",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample to FILE")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table to FILE")
    parser.add_argument("--list", action="store_true", help="name the cases and peers, and end")
    return parser


def interpreters(options: list[str]) -> dict[str, str]:
    """Interpreters by peer, from PEER=PYTHON.

    Raises:
        ValueError: an option has another form or names no peer.
    """
    found = {}
    for option in options:
        peer, equals, python = option.partition("=")
        if not (equals and python):
            raise ValueError(f"--python takes PEER=PYTHON, not {option!r}")
        found[known([peer], PEERS, "peer")[0]] = python
    return found


def main(arguments: list[str] | None = None) -> int:
    commands = parser()
    options = commands.parse_args(arguments)
    if options.list:
        for case in CASES.values():
            print(f"{case.name:16} {case.unit:9} {case.title}")
        print(f"peers: {', '.join(PEERS)}")
        return 0
    if options.rounds < 1 or options.seconds <= 0 or (options.cpus is not None and options.cpus < 1):
        commands.error("--rounds, --seconds and --cpus must be positive")
    try:
        names = known(options.cases, CASES, "case")
        wanted = list(PEERS) if options.vs is None else [name for name in options.vs.split(",") if name]
        peers = known(wanted, PEERS, "peer")
        pythons = interpreters(options.python)
    except ValueError as error:
        commands.error(str(error))

    found = compare(
        names,
        peers,
        rounds=options.rounds,
        seconds=options.seconds,
        cpus=options.cpus,
        pythons=pythons,
        say=lambda line: print(line, file=sys.stderr, flush=True),
    )
    print(report.text(found.outcomes, found.runs))
    if options.json:
        found.to_json(options.json)
    if options.markdown:
        found.to_markdown(options.markdown)
    failed = any(outcome.error for by_peer in found.outcomes.values() for outcome in by_peer.values())
    return 1 if failed else 0


if __name__ == "__main__":
    signal.signal(
        signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM)
    )  # unwind: the peers must not stay
    sys.exit(main())
