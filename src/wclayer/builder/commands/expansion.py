"""Replaces `%NAME%` in a command line as cmd.exe does before it reads the line."""

from __future__ import annotations

import re
from collections.abc import Iterator

from wclayer.builder.commands.command import refused
from wclayer.builder.commands.state import PlannedState, Shell
from wclayer.win32.names import name_key

_SUBSTRING = re.compile(r"~\s*(-?[0-9]+)?\s*(?:,\s*(-?[0-9]+)?\s*)?")
_NOT_THE_SAME_TWICE = {
    "DATE": "the date of a build is not known before it",
    "TIME": "the time of a build is not known before it",
    "RANDOM": "a random number is another one each time",
    "CMDCMDLINE": "it is not the same in all builders",
    "HIGHESTNUMANODENUMBER": "each machine has its own",
}
_MAX_LENGTH = 8191
"""The most characters of a line in cmd.exe ("Command prompt line string limitation", Microsoft Learn)."""


def expand_variables(text: str, state: PlannedState | Shell, where: str) -> str:
    r"""Returns a line with its variables replaced by the rules of a command line (`cmd /c`), not of a batch file.

    The whole line is expanded before it is split into commands; quotes and carets do not matter. `%NAME:a=b%` and
    `%NAME:~n,m%` change the value. What names no variable stays as it is, with its percent signs, and `%%` stays `%%`.

    Args:
        text: the line.
        state: has the variables and the current directory.
        where: the file and the line of the instruction, for messages.

    Raises:
        NotSupportedError: the value of a variable is not known; the expanded line is longer than cmd.exe allows.
    """
    found = "".join(_pieces(text, state, where))
    if len(found) > _MAX_LENGTH:
        raise refused(
            where, found[:40] + "…", f"the line has {len(found)} characters, cmd.exe takes at most {_MAX_LENGTH}; "
            "divide it over several RUN instructions",
        )  # fmt: skip
    return found


def _pieces(text: str, state: PlannedState | Shell, where: str) -> Iterator[str]:
    at = 0
    while (percent := text.find("%", at)) >= 0:
        yield text[at:percent]
        end = text.find("%", percent + 1)
        if end < 0:
            at = percent
            break
        inner = text[percent + 1 : end]
        name, colon, change = inner.partition(":")
        value = _value(name, state, where) if name else None
        changed = value if not colon or value is None else _changed(value, change)
        if changed is None:
            yield "%"
            at = percent + 1
        else:
            yield changed
            at = end + 1
    yield text[at:]


def _value(name: str, state: PlannedState | Shell, where: str) -> str | None:
    """Returns the value of a variable, those included that cmd.exe itself has, or None if there is none."""
    value = state.environment.get(name)
    if value is not None:
        return value
    if reason := state.environment.unknown_reason(name):
        raise refused(where, f"%{name}%", f"its value is not known before the build: {reason}; write the value instead")
    key = name_key(name)
    if key in _NOT_THE_SAME_TWICE:
        raise refused(where, f"%{name}%", f"{_NOT_THE_SAME_TWICE[key]}; give the value with ARG or ENV")
    if key == "CD":
        if state.directory is None:
            raise refused(where, "%CD%", "an earlier command decides the directory when it runs; write the path")
        return state.directory
    # Each line is a process of its own, which begins with 0.
    return {"ERRORLEVEL": "0", "CMDEXTVERSION": "2"}.get(key)


def _changed(value: str, change: str) -> str | None:
    """Returns a value with the change after the colon, or None if that has neither form."""
    if change.startswith("~"):
        found = _SUBSTRING.fullmatch(change)
        if found is None or found[0].strip() == "~":
            return None
        start = _bounded(int(found[1] or 0), len(value))
        end = len(value) if found[2] is None else int(found[2])
        end = start + end if end >= 0 and found[2] is not None else end + len(value) if end < 0 else end
        return value[start : max(start, end)]
    old, equals, new = change[:1] + change[1:].partition("=")[0], "=" in change[1:], change[1:].partition("=")[2]
    if not equals:
        return None
    if old.startswith("*"):
        place = name_key(value).find(name_key(old[1:])) if len(old) > 1 else -1
        return value if place < 0 else new + value[place + len(old) - 1 :]
    return re.sub(re.escape(name_key(old)), lambda _: new, value, flags=re.IGNORECASE) if old != "=" else value


def _bounded(number: int, length: int) -> int:
    return max(number + length, 0) if number < 0 else min(number, length)
