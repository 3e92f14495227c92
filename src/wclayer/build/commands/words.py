"""Splits the command line of a program into arguments, by the rules of Microsoft's C runtime."""

from __future__ import annotations

import re

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
