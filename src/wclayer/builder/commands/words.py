"""Splits the command line of a program into arguments, by the rules of Microsoft's C runtime."""

from __future__ import annotations

import re
from collections.abc import Sequence

_BACKSLASHES = re.compile(r'(\\*)("?)')


def split_arguments(tail: str) -> tuple[str, ...]:
    r"""Returns the arguments in the part of a command line that follows the program.

    Blanks separate arguments, quotes hold them together. Backslashes are plain, except before a quote: two mean one,
    and `\"` is a plain quote. In quotes, `""` is a plain quote, too. Source: "Parsing C command-line arguments" of
    Microsoft's C language reference.

        >>> split_arguments(r' add "HKLM\a b" /d "C:\\" /v \"x')
        ('add', 'HKLM\\a b', '/d', 'C:\\', '/v', '"x')
    """
    found: list[str] = []
    at = 0
    while True:
        while tail[at : at + 1] in (" ", "\t"):
            at += 1
        if at == len(tail):
            return tuple(found)
        pieces: list[str] = []
        is_quoted = False
        while at < len(tail) and (is_quoted or tail[at] not in " \t"):
            run = _BACKSLASHES.match(tail, at)
            assert run is not None
            at = run.end()
            if not run[2]:
                pieces.append(run[1])
                if not run[1]:
                    pieces.append(tail[at])
                    at += 1
            elif len(run[1]) % 2:
                pieces.append(run[1][: len(run[1]) // 2] + '"')
            else:
                pieces.append(run[1][: len(run[1]) // 2])
                if is_quoted and tail[at : at + 1] == '"':
                    pieces.append('"')
                    at += 1
                else:
                    is_quoted = not is_quoted
        found.append("".join(pieces))


def join_arguments(arguments: Sequence[str]) -> str:
    r"""Returns the command line of a program from its arguments: the inverse of `split_arguments`.

    Docker makes the line of a RUN in the exec form in the same way.

        >>> join_arguments(["reg", "add", "HKLM\\a b", "/d", 'x"y'])
        'reg add "HKLM\\a b" /d x\\"y'
    """
    return " ".join(map(_quoted, arguments))


def _quoted(argument: str) -> str:
    text = re.sub(r'(\\*)"', r'\1\1\\"', argument)
    if argument and not re.search(r"[ \t]", argument):
        return text
    return '"' + re.sub(r"(\\+)\Z", r"\1\1", text) + '"'


def split_words(tail: str) -> tuple[list[str], list[str]]:
    r"""Returns the words and the switches of a command of cmd.exe, which splits them in its own way.

    Blanks, commas, semicolons and equal signs separate words, quotes hold them together and are removed. An unquoted
    `/` begins a switch, also within a word: `/s/q`.

        >>> split_words(' /S/q "a b",c')
        (['a b', 'c'], ['/s', '/q'])
    """
    words: list[str] = []
    switches: list[str] = []
    for found in _WORD.finditer(tail):
        text = found[0].replace('"', "")
        if found[0].startswith("/"):
            switches.append(text.lower())
        else:
            words.append(text)
    return words, switches


_WORD = re.compile(r'/?(?:"[^"]*"?|[^\s,;="/])+|/')
