"""The forms that arguments of an instruction have: flags, quoted words, NAME=VALUE, a JSON array of strings.

Reference: BuildKit, frontend/dockerfile/parser and frontend/dockerfile/instructions.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from wclayer.errors import FormatError

_SPACE = re.compile(r"[\t\v\f\r ]+")
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Assignment:
    """A name and its value.

    Attributes:
        name: the name.
        value: the value; None if only the name is stated, which ARG permits.
    """

    name: str
    value: str | None


def split_first(text: str) -> tuple[str, str]:
    """Returns the first word of a text, and the rest without white space around it."""
    first, *rest = _SPACE.split(text.strip(), maxsplit=1)
    return first, rest[0].strip() if rest else ""


def split_at_space(text: str) -> list[str]:
    """Returns what is between white space, with quotes and escapes as they are."""
    return _SPACE.split(text.strip()) if text.strip() else []


def possible(word: str, known: Iterable[str]) -> str:
    """Returns the end of a message that refuses a word: the nearest known word, or all of them."""
    names = list(known)
    near = difflib.get_close_matches(word, names, 1)
    return f"is {near[0]} meant?" if near else f"possible are {', '.join(names)}"


def take_flags(text: str, escape: str) -> tuple[list[str], str]:
    """Returns the flags (`--name…`) with which a text begins, without quotes and escapes, and the rest of the text.

    Raises:
        FormatError: a quote has no end.
    """
    flags: list[str] = []
    at = 0
    while True:
        while text[at : at + 1].isspace():
            at += 1
        if not text.startswith("--", at):
            return flags, text[at:].strip()
        flag, at = _flag(text, at, escape)
        if flag == "--":
            return flags, text[at:].strip()
        flags.append(flag)


def _flag(text: str, at: int, escape: str) -> tuple[str, int]:
    """Returns the flag at a position, and where it ends."""
    word: list[str] = []
    quote = ""
    while at < len(text) and (quote or not text[at].isspace()):
        char = text[at]
        if quote and char == quote:
            quote = ""
        elif not quote and char in "'\"":
            quote = char
        elif char == escape:
            at += 1
            word.append(text[at : at + 1])
        else:
            word.append(char)
        at += 1
    if quote:
        raise FormatError(f"the flag {''.join(word)[:60]} has a {quote} without a second one")
    return "".join(word), at


class Flags:
    """The flags of one instruction, checked against those that it has."""

    def __init__(
        self,
        instruction: str,
        given: Sequence[str],
        *,
        texts: Sequence[str] = (),
        lists: Sequence[str] = (),
        switches: Sequence[str] = (),
        refused: Mapping[str, str] | None = None,
    ) -> None:
        """Checks the flags.

        Args:
            instruction: the name of the instruction, for messages.
            given: the flags as `take_flags` returns them.
            texts: the names of flags with a value.
            lists: the names of flags with a value that may be given several times.
            switches: the names of flags that are true, false, or stated alone.
            refused: the names of flags that Docker has, each with why it is refused.

        Raises:
            FormatError: a flag is unknown, refused or given twice, or its value is missing or wrong.
        """
        self._values: dict[str, list[str]] = {}
        refused = refused or {}
        for flag in given:
            name, equals, value = flag.removeprefix("--").partition("=")
            if name in refused:
                raise FormatError(f"{instruction} --{name} is not supported: {refused[name]}")
            known = [*texts, *lists, *switches]
            if name not in known:
                choice = possible(f"--{name}", [f"--{each}" for each in known]) if known else "it has no flags"
                raise FormatError(f"{instruction} has no flag --{name[:60]}: {choice}")
            if name in self._values and name not in lists:
                raise FormatError(f"{instruction} --{name} is given twice")
            if name in switches:
                value = value.lower() if equals else "true"
                if value not in ("true", "false"):
                    raise FormatError(f"{instruction} --{name}={value[:60]}: possible are true and false")
            elif not equals:
                raise FormatError(f"{instruction} --{name} has no value: write --{name}=VALUE")
            self._values.setdefault(name, []).append(value)

    def text(self, name: str) -> str:
        """Returns the value of a flag; "" if it is not given."""
        return self._values.get(name, [""])[0]

    def all(self, name: str) -> tuple[str, ...]:
        """Returns the values of a flag that may be given several times."""
        return tuple(self._values.get(name, ()))

    def switch(self, name: str) -> bool | None:
        """Returns whether a switch is on; None if it is not given."""
        return self._values[name][0] == "true" if name in self._values else None


def quoted_words(text: str, escape: str) -> list[str]:
    """Returns the words of a text, separated at white space outside of quotes. Quotes and escapes stay."""
    words: list[str] = []
    word: list[str] = []
    quote = ""
    at = 0
    while at < len(text):
        char = text[at]
        if not quote and char.isspace():
            if word:
                words.append("".join(word))
                word = []
        elif char == escape and quote != "'":
            # An escape at the end of the text is no character.
            if at + 1 < len(text):
                word.append(text[at : at + 2])
            at += 1
        else:
            if char == quote:
                quote = ""
            elif not quote and char in "'\"":
                quote = char
            word.append(char)
        at += 1
    return [*words, "".join(word)] if word else words


def assignments(text: str, escape: str, instruction: str) -> tuple[Assignment, ...]:
    """Returns the names and values of ENV and LABEL: NAME=VALUE several times, or NAME VALUE once.

    Raises:
        FormatError: there is no name, or no value.
    """
    words = quoted_words(text, escape)
    if not words:
        raise FormatError(f"{instruction} names nothing: write {instruction} NAME=VALUE")
    if "=" not in words[0]:
        name, value = split_first(text)
        if not value:
            raise FormatError(f"{instruction} {name[:60]} has no value: write {instruction} NAME=VALUE")
        return (Assignment(name, value),)
    pairs = []
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise FormatError(
                f"{instruction} has the word {word[:60]!r} without '=': write NAME=VALUE, with spaces in quotes"
            )
        if not name:
            raise FormatError(f"{instruction} has no name before {word[:60]!r}: write NAME=VALUE")
        pairs.append(Assignment(name, value))
    return tuple(pairs)


def json_words(text: str) -> tuple[str, ...] | None:
    """Returns the strings of a JSON array; None if the text is none, and so has another form.

    Raises:
        FormatError: it is a JSON array with something else than strings.
    """
    if not text.startswith("["):
        return None
    try:
        found = json.loads(text, parse_int=lambda _: 0, parse_float=lambda _: 0, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return None
    if not all(isinstance(each, str) for each in found):
        raise FormatError(f"{text[:60]} is a JSON array of more than strings: write each word in double quotes")
    # JSON can spell halves of UTF-16 pairs, which no text has.
    return tuple(_LONE_SURROGATE.sub("\ufffd", each) for each in found)


def _no_constant(name: str) -> None:
    raise ValueError(name)
