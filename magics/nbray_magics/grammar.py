"""What a verb is made of: options, arguments, their values, and the help that follows from them. Pure: no IPython, no pool."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

HELP = ("--help", "-h")

#: From the notebook (see ``notebook.Notebook``) to what a value may be right now: names of actors, of variables, ...
Offer = Callable[[Any], Iterable[str]]


class NbrayUsageError(Exception):
    """The line is not understood, or asks for what cannot be. Its text is one line for the user."""


@dataclass(frozen=True)
class Value:
    """One value of an option or an argument.

    Attributes:
        metavar: what the help calls it.
        read: from the text to the value. Raises ValueError; its text says what would be right ("a whole number, at least 1").
        choices: all that it can be, if that is known beforehand. Completed, checked, and the nearest one named.
        listed: several of them, with commas between; the value is a tuple.
        offer: what Tab shows when there are no ``choices``.
    """

    metavar: str
    read: Callable[[str], Any] = str
    choices: tuple[str, ...] = ()
    listed: bool = False
    offer: Offer | None = None

    def candidates(self, notebook: Any) -> list[str]:
        if self.choices:
            return list(self.choices)
        return list(self.offer(notebook)) if self.offer is not None else []


@dataclass(frozen=True)
class Option:
    """``-n 4``, ``--noblock``, ``--adapt 1 4``.

    Attributes:
        flags: all its spellings, the one that the usage shows first.
        key: its name among the arguments of ``Verb.run``.
        values: none: a switch, True when it is there. One: the value itself. More: a tuple.
        repeated: may be given more than once; the argument is a list.
    """

    flags: tuple[str, ...]
    key: str
    help: str
    values: tuple[Value, ...] = ()
    repeated: bool = False

    @property
    def usage(self) -> str:
        words = [self.flags[0], *(value.metavar for value in self.values)]
        return f"[{' '.join(words)}]{'...' if self.repeated else ''}"

    @property
    def heading(self) -> str:
        return " ".join([", ".join(self.flags), *(value.metavar for value in self.values)])


@dataclass(frozen=True)
class Argument:
    """A word without a flag: ``%nbray trace FILE``, ``%nbray logs [NAME]``, ``%nbray bench [CASE...]`` (``repeated``: a list)."""

    key: str
    help: str
    value: Value
    required: bool = False
    repeated: bool = False

    @property
    def usage(self) -> str:
        word = f"{self.value.metavar}{'...' if self.repeated else ''}"
        return word if self.required else f"[{word}]"

    @property
    def heading(self) -> str:
        return self.value.metavar


@dataclass(frozen=True)
class Verb:
    """One thing that ``%nbray`` or ``%%nbray`` does.

    Attributes:
        name: "" for what a magic does without a verb.
        summary: one line for the overview. details: more lines for ``--help``.
        run: does it. Called with the notebook, of a cell verb also with the cell's text, and what was given by key; what was not
            given is left to its defaults. What it returns is the magic's value.
        examples: lines that the help ends with.
    """

    name: str
    summary: str
    run: Callable[..., Any]
    details: str = ""
    options: tuple[Option, ...] = ()
    arguments: tuple[Argument, ...] = ()
    examples: tuple[str, ...] = ()

    @property
    def takes(self) -> tuple[Argument | Option, ...]:
        return (*self.arguments, *self.options)

    @property
    def flags(self) -> dict[str, Option]:
        return {flag: option for option in self.options for flag in option.flags}


@dataclass(frozen=True)
class Table:
    """The verbs of one magic. ``alone``: what the magic does without a verb, if not to list the verbs."""

    magic: str
    verbs: dict[str, Verb] = field(default_factory=dict)
    alone: Verb | None = None

    @classmethod
    def of(cls, magic: str, verbs: Iterable[Verb], alone: Verb | None = None) -> Table:
        return cls(magic, {verb.name: verb for verb in verbs}, alone)

    def usage(self, verb: Verb) -> str:
        """``%nbray init [-n CPUS]``."""
        words = [self.magic, verb.name, *(each.usage for each in verb.takes)]
        return " ".join(word for word in words if word)

    def help(self, verb: Verb) -> str:
        """All there is to say of one verb."""
        lines = [
            self.usage(verb),
            "",
            f"  {verb.summary}",
            *(f"  {line}" for line in verb.details.splitlines()),
        ]
        described = [(each.heading, _described(each)) for each in verb.takes]
        if described:
            lines += ["", *_columns(described)]
        if verb.examples:
            lines += ["", "  Examples:", *(f"    {line}" for line in verb.examples)]
        return "\n".join(lines)

    def overview(self) -> str:
        """All verbs, a line each; the help of what the magic does alone before them."""
        first = [self.help(self.alone), ""] if self.alone is not None else []
        rows = [(_brief(self.usage(verb)), verb.summary) for verb in self.verbs.values()]
        last = [f"  {self.magic} VERB --help tells more."] if rows else []
        return "\n".join([*first, *_columns(rows), *last])


MOST_USAGE = 44


def _brief(usage: str) -> str:
    """A usage that would push the whole column to the right ends in dots."""
    if len(usage) <= MOST_USAGE:
        return usage
    return f"{usage[: MOST_USAGE - 4].rpartition(' ')[0]} ..."


def _described(each: Option | Argument) -> str:
    values = each.values if isinstance(each, Option) else (each.value,)
    choices = [value.choices for value in values if value.choices]
    return "".join([each.help, *(f" ({', '.join(some)})" for some in choices)])


def _columns(rows: list[tuple[str, str]]) -> list[str]:
    width = max((len(left) for left, _ in rows), default=0)
    return [f"  {left:<{width}}   {right}" for left, right in rows]
