"""The conditions of `if`."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from wclayer.builder.commands.command import refused
from wclayer.builder.commands.state import PlannedState, Shell
from wclayer.builder.commands.wildcards import find
from wclayer.win32.names import name_key

_COMPARISONS: dict[str, Callable[[int, int], bool]] = {
    "EQU": operator.eq, "NEQ": operator.ne, "LSS": operator.lt, "LEQ": operator.le, "GTR": operator.gt,
    "GEQ": operator.ge,
}  # fmt: skip


class ReadWord(Protocol):
    """Reads the next word of a line."""

    def __call__(self, *, may_be_operator: bool) -> str: ...


@dataclass
class Condition:
    """A condition: whether it holds when the line runs."""

    test: Callable[[Shell], bool]
    is_negated: bool
    path: str | None = None

    def check(self, state: PlannedState) -> None:
        """Refuses a path that is not in the image."""
        if self.path is not None:
            state.path(self.path)

    def holds(self, shell: Shell) -> bool:
        """Returns whether the commands after it run."""
        return self.test(shell) != self.is_negated


def parse_condition(read: ReadWord, where: str) -> Condition:
    """Returns the condition after `if`.

    Args:
        read: gives the next word.
        where: the file and the line of the instruction, for messages.

    Raises:
        NotSupportedError: the condition has another form.
    """
    is_negated = ignores_case = False
    word = read(may_be_operator=False)
    while word.lower() in ("not", "/i"):
        if word.lower() == "not":
            is_negated = not is_negated
        else:
            ignores_case = True
        word = read(may_be_operator=False)
    kind = word.lower()
    if kind == "exist":
        path = read(may_be_operator=False).replace('"', "")
        return Condition(lambda shell: _exists(shell, path), is_negated, path)
    if kind == "defined":
        name = read(may_be_operator=False).replace('"', "")
        return Condition(lambda shell: name in shell.environment, is_negated)
    if kind in ("errorlevel", "cmdextversion"):
        least = _number(text := read(may_be_operator=False))
        if least is None:
            raise refused(where, text, f"a number is expected after {kind}")
        return Condition(
            lambda shell: (shell.error_level if kind == "errorlevel" else 2) >= least, is_negated
        )  # fmt: skip
    comparison = read(may_be_operator=True)
    other = read(may_be_operator=False)
    result = _compared(word, comparison, other, where, ignores_case=ignores_case)
    return Condition(lambda _: result, is_negated)


def _compared(left: str, comparison: str, right: str, where: str, *, ignores_case: bool) -> bool:
    if ignores_case:
        left, right = name_key(left), name_key(right)
    if comparison == "==":
        return left == right
    compare = _COMPARISONS.get(comparison.upper())
    if compare is None:
        raise refused(where, comparison, "possible are ==, EQU, NEQ, LSS, LEQ, GTR and GEQ")
    numbers = _number(left), _number(right)
    if numbers[0] is not None and numbers[1] is not None:
        return compare(numbers[0], numbers[1])
    if compare not in (operator.eq, operator.ne):
        raise refused(
            where, comparison, f"{left!r} and {right!r} are not both decimal numbers; compare numbers, or use =="
        )
    return (left == right) == (compare is operator.eq)


def _number(text: str) -> int | None:
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit()) or (len(digits) > 1 and digits[0] == "0"):
        # Windows reads numbers with a leading zero as octal ones.
        return None
    return int(text)


def _exists(shell: Shell, path: str) -> bool:
    """Returns whether FindFirstFile finds something; a link counts, wherever it leads."""
    if not path:
        return False
    if path[-1] in "\\/":
        full = shell.path(path)
        return shell.view.exists(full) and shell.view.stat(full).is_directory
    return any(True for _ in find(shell, path))
