"""From a magic's line to a verb and its arguments. Pure: text and a table in, a command or a usage error out."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any, NamedTuple

from nbray_magics.grammar import HELP, Argument, NbrayUsageError, Option, Table, Value, Verb


class Command(NamedTuple):
    """``verb`` is None for a magic alone that does nothing alone. With ``help`` the verb is to be explained, not done."""

    verb: Verb | None
    given: dict[str, Any]
    help: bool = False


def parse(table: Table, line: str, others: Table | None = None) -> Command:
    """What the line asks for.

    Args:
        table: the magic's verbs. others: of the magic with one ``%`` more or less, for a hint when somebody takes the wrong one.

    Raises:
        NbrayUsageError: an unknown verb or option, a missing or wrong value.
    """
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise NbrayUsageError(f"{error} in {line.strip()!r}") from None
    if words and words[0] in HELP:
        return Command(None, {}, True)
    verb, words = _verb(table, words, others)
    if verb is None:
        return Command(None, {})
    if any(word in HELP for word in words):
        return Command(verb, {}, True)
    return Command(verb, _arguments(table, verb, words))


def _verb(table: Table, words: list[str], others: Table | None) -> tuple[Verb | None, list[str]]:
    if not words:
        return table.alone, []
    if words[0] in table.verbs:
        return table.verbs[words[0]], words[1:]
    if table.alone is not None and (words[0].startswith("-") or table.alone.arguments):
        return table.alone, words
    if others is not None and words[0] in others.verbs:
        raise NbrayUsageError(
            f"{words[0]!r} is a verb of {others.magic}: {others.usage(others.verbs[words[0]])}"
        )
    raise NbrayUsageError(f"unknown verb {nearest(words[0], table.verbs)}")


def _arguments(table: Table, verb: Verb, words: list[str]) -> dict[str, Any]:
    flags = verb.flags
    given: dict[str, Any] = {}
    loose: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        flag, value = split(word, flags)
        option = flags.get(flag)
        if option is not None:
            _take(table, verb, option, flag, value, rest, given)
        elif word.startswith("-") and len(word) > 1 and not (verb.arguments and word[1].isdigit()):
            raise NbrayUsageError(f"{_named(table, verb)} has no option {nearest(flag, flags)}")
        else:
            loose.append(word)
    _place(table, verb, loose, given)
    return given


def _take(
    table: Table,
    verb: Verb,
    option: Option,
    flag: str,
    value: str | None,
    rest: list[str],
    given: dict[str, Any],
) -> None:
    """The values of one option, from behind its ``=`` or the words that follow."""
    if option.key in given and not option.repeated:
        raise NbrayUsageError(f"{flag} is given twice")
    if not option.values:
        if value is not None:
            raise NbrayUsageError(f"{flag} takes no value, but got {value!r}")
        given[option.key] = True
        return
    texts = [value] if value is not None else []
    while len(texts) < len(option.values):
        if not rest or split(rest[0], verb.flags)[0] in verb.flags:
            wanted = " and ".join(each.metavar for each in option.values)
            missing = "a value" if len(option.values) == 1 else f"{len(option.values)} values, {wanted}"
            raise NbrayUsageError(f"{flag} wants {missing}: {table.usage(verb)}")
        texts.append(rest.pop(0))
    read = tuple(_read(flag, each, text) for each, text in zip(option.values, texts, strict=True))
    result = read[0] if len(read) == 1 else read
    if option.repeated:
        given.setdefault(option.key, []).append(result)
    else:
        given[option.key] = result


def _place(table: Table, verb: Verb, loose: list[str], given: dict[str, Any]) -> None:
    """Words without a flag, to the arguments in order."""
    for argument in verb.arguments:
        if not loose:
            if argument.required:
                raise NbrayUsageError(
                    f"{_named(table, verb)} wants {argument.value.metavar}: {table.usage(verb)}"
                )
            continue
        taken = len(loose) if argument.repeated else 1
        read = [_read_argument(argument, text) for text in loose[:taken]]
        given[argument.key] = read if argument.repeated else read[0]
        del loose[:taken]
    if loose:
        raise NbrayUsageError(f"{_named(table, verb)} takes no {loose[0]!r}; its usage: {table.usage(verb)}")


def _read_argument(argument: Argument, text: str) -> Any:
    return _read(argument.value.metavar, argument.value, text)


def _read(what: str, value: Value, text: str) -> Any:
    if value.listed:
        return tuple(_read_one(what, value, part.strip()) for part in text.split(",") if part.strip())
    return _read_one(what, value, text)


def _read_one(what: str, value: Value, text: str) -> Any:
    if value.choices and text not in value.choices:
        raise NbrayUsageError(f"{what} knows no {nearest(text, value.choices)}")
    try:
        return value.read(text)
    except ValueError as error:
        raise NbrayUsageError(f"{what} takes {error}, not {text!r}") from None


def split(word: str, flags: dict[str, Option]) -> tuple[str, str | None]:
    """``--flag=value``, ``-n=4`` and ``-n4`` in their two parts."""
    flag, equals, value = word.partition("=")
    if equals and flag.startswith("-"):
        return flag, value
    short = flags.get(word[:2])
    typo = f"-{word}" in flags  # -out is --out with a dash too few, and not -o ut
    if short is not None and short.values and word not in flags and not word.startswith("--") and not typo:
        return word[:2], word[2:]
    return word, None


def nearest(word: str, known: Iterable[str]) -> str:
    """The word, quoted, and what may have been meant."""
    known = list(known)
    begun = [each for each in known if len(word) > 2 and each.startswith(word)]
    near = begun or get_close_matches(word, known, n=1, cutoff=0.5)
    if near:
        return f"{word!r}: did you mean {near[0]!r}?"
    return f"{word!r}: {'known are ' + ', '.join(known) if known else 'there are none'}"


def _named(table: Table, verb: Verb) -> str:
    return f"{table.magic} {verb.name}".strip()
