"""The language of ``%nbray``: verbs, options, help, completion. Pure: knows nothing of IPython or of a pool."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, NamedTuple


class NbrayUsageError(Exception):
    """The line is not understood. Its text is one line for the user."""


@dataclass(frozen=True)
class Option:
    """``flags``: all its spellings, the shortest first. ``key``: its name in `Command.options`."""

    flags: tuple[str, ...]
    key: str
    metavar: str
    help: str
    convert: Callable[[str], Any]


@dataclass(frozen=True)
class Verb:
    name: str
    summary: str
    details: str = ""
    options: tuple[Option, ...] = ()

    @property
    def usage(self) -> str:
        return " ".join(
            ["%nbray", self.name, *(f"[{option.flags[0]} {option.metavar}]" for option in self.options)]
        )

    @property
    def help(self) -> str:
        lines = [self.usage, "", f"  {self.summary}"]
        lines += [f"  {line}" for line in self.details.splitlines()]
        if self.options:
            lines.append("")
            lines += [
                f"  {', '.join(option.flags)} {option.metavar}   {option.help}" for option in self.options
            ]
        return "\n".join(lines)


class Command(NamedTuple):
    """``verb`` is None for a bare ``%nbray``. With ``help`` the verb is to be explained, not done."""

    verb: Verb | None
    options: dict[str, Any]
    help: bool = False


def _cpus(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise NbrayUsageError(f"-n takes a whole number of CPUs, at least 1, not {text!r}")
    return number


VERBS: dict[str, Verb] = {
    verb.name: verb
    for verb in (
        Verb(
            "init",
            "start a local pool, or show the one that runs",
            "Without options the pool has as many CPUs as this machine.\n"
            "Run again, it starts no second pool.",
            (Option(("-n", "--num-cpus"), "num_cpus", "CPUS", "how many CPUs the pool hands out", _cpus),),
        ),
        Verb("status", "nodes, CPUs, tasks and actors now"),
        Verb(
            "graph",
            "the live task graph",
            "Functions and actor methods with what waits, runs, is done or failed, and what depends on what.\n"
            "A click, or Enter, on one of them shows its single tasks.",
        ),
        Verb("shutdown", "end the pool with all that runs in it"),
    )
}
_HELP = ("--help", "-h")


def parse(line: str) -> Command:
    """What the line asks for.

    Raises:
        NbrayUsageError: an unknown verb or option, a missing or wrong value.
    """
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise NbrayUsageError(f"{error} in {line.strip()!r}") from None
    if not words or words[0] in _HELP:
        return Command(None, {}, bool(words))
    verb = VERBS.get(words[0])
    if verb is None:
        raise NbrayUsageError(f"unknown verb {_unknown(words[0], VERBS)}")
    flags = {flag: option for option in verb.options for flag in option.flags}
    options: dict[str, Any] = {}
    rest = words[1:]
    if any(word in _HELP for word in rest):
        return Command(verb, {}, True)
    while rest:
        flag, value = _split(rest.pop(0), flags)
        option = flags.get(flag)
        if option is None:
            if not flag.startswith("-"):
                raise NbrayUsageError(f"%nbray {verb.name} takes no {flag!r}; its usage: {verb.usage}")
            raise NbrayUsageError(f"%nbray {verb.name} has no option {_unknown(flag, flags)}")
        if option.key in options:
            raise NbrayUsageError(f"{flag} is given twice")
        if value is None:
            if not rest:
                raise NbrayUsageError(f"{flag} wants a value: {verb.usage}")
            value = rest.pop(0)
        options[option.key] = option.convert(value)
    return Command(verb, options)


def _split(word: str, flags: dict[str, Option]) -> tuple[str, str | None]:
    """``--flag=value``, ``-n=4`` and ``-n4`` in their two parts."""
    flag, equals, value = word.partition("=")
    if equals and flag.startswith("-"):
        return flag, value
    if word[:2] in flags and word not in flags and not word.startswith("--"):
        return word[:2], word[2:]
    return word, None


def _unknown(word: str, known: dict[str, Any]) -> str:
    near = get_close_matches(word, known, n=1, cutoff=0.5)
    return (
        f"{word!r}: did you mean {near[0]!r}?"
        if near
        else f"{word!r}: known are {', '.join(known) or 'none'}"
    )


def overview() -> str:
    """All verbs, a line each."""
    width = max(len(verb.usage) for verb in VERBS.values())
    lines = [f"  {verb.usage:<{width}}   {verb.summary}" for verb in VERBS.values()]
    return "\n".join([*lines, "  %nbray VERB --help tells more."])


def complete(line: str) -> list[str]:
    """What the last word of ``line`` can become. ``line``: the text after ``%nbray`` up to the cursor."""
    before, space, word = line.rpartition(" ")
    words = before.split()
    if not words:
        found = [*VERBS, *_HELP[:1]] if space or not line else []
    else:
        verb = VERBS.get(words[0])
        if verb is None:
            return []
        flags = {flag: option for option in verb.options for flag in option.flags}
        if words[-1] in flags:
            return []  # a value: only the user knows it
        used = {flags[w].key for w in (w.partition("=")[0] for w in words) if w in flags}
        found = [flag for flag, option in flags.items() if option.key not in used] + [_HELP[0]]
    return [candidate for candidate in found if candidate.startswith(word)]
