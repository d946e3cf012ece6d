"""What Tab offers after ``%nbray`` and ``%%nbray``. Pure, but for the offers that verbs declare for their values."""

from __future__ import annotations

import shlex
from typing import Any, NamedTuple

from nbray_magics.grammar import HELP, Table, Value, Verb
from nbray_magics.parse import split


class Offered(NamedTuple):
    """``candidates`` go on from ``fragment``, the end of what was typed."""

    fragment: str
    candidates: list[str]


def complete(table: Table, line: str, notebook: Any = None) -> Offered:
    """What the last word of ``line`` can become.

    Args:
        line: the text after the magic's name up to the cursor.
        notebook: what the values' offers are asked with.
    """
    words, word = _words(line)
    if words is None:
        return Offered("", [])
    if not words and not (table.alone is not None and word.startswith("-") and "=" in word):
        return _verbs(table, line, word)
    verb = table.verbs.get(words[0]) if words else None
    if verb is None:
        if table.alone is None or not (words or [word])[0].startswith("-"):
            return Offered(word, [])
        return _inside(table.alone, words, word, notebook)
    return _inside(verb, words[1:], word, notebook)


def _words(line: str) -> tuple[list[str] | None, str]:
    """The finished words, and the one that the cursor is at. None: inside of quotes that nobody can finish."""
    before, _, word = line.rpartition(" ")
    try:
        return shlex.split(before), word
    except ValueError:
        quote = max(line.rfind('"'), line.rfind("'"))
        try:
            return shlex.split(line[:quote]), line[quote:]
        except ValueError:
            return None, word


def _verbs(table: Table, line: str, word: str) -> Offered:
    if line and not line.startswith((" ", "\t")):
        return Offered(word, [])
    found = [*table.verbs]
    if table.alone is not None:
        found += [*table.alone.flags]
    return _matching(word, [*found, HELP[0]])


def _inside(verb: Verb, words: list[str], word: str, notebook: Any) -> Offered:
    flags = verb.flags
    used: set[str] = set()
    loose = 0
    rest = list(words)
    while rest:
        flag, value = split(rest.pop(0), flags)
        option = flags.get(flag)
        if option is None:
            loose += 1
            continue
        wanted = len(option.values) - (value is not None)
        if wanted > len(rest):
            return _values(option.values[len(option.values) - wanted + len(rest)], word, notebook)
        del rest[:wanted]
        if not option.repeated:
            used.add(option.key)
    flag, value = split(word, flags)
    if value is not None and flag in flags:
        return _values(flags[flag].values[0], value, notebook) if flags[flag].values else Offered(word, [])
    found = [flag for flag, option in flags.items() if option.key not in used] + [HELP[0]]
    arguments = verb.arguments
    at = min(loose, len(arguments) - 1)
    if arguments and (loose < len(arguments) or arguments[at].repeated) and not word.startswith("-"):
        offered = _values(arguments[at].value, word, notebook)
        more = [] if word else found
        return Offered(offered.fragment, [*offered.candidates, *more])
    return _matching(word, found)


def _values(value: Value, word: str, notebook: Any) -> Offered:
    """Of values with commas between, only the last part is completed, and none that is there already."""
    candidates = value.candidates(notebook)
    if value.listed:
        before, _, word = word.rpartition(",")
        candidates = [each for each in candidates if each not in before.split(",")]
    bare = word.lstrip("'\"")
    quoted = [shlex.quote(each) for each in candidates if each.startswith(bare)]
    return Offered(word, [each for each in quoted if each.startswith(word) or word == bare])


def _matching(word: str, candidates: list[str]) -> Offered:
    return Offered(word, [candidate for candidate in candidates if candidate.startswith(word)])
