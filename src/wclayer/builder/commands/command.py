"""What a command is: its names, what it supports, and the action that an invocation of it becomes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from wclayer.builder.commands.state import PlannedState, Shell
from wclayer.builder.commands.words import split_arguments
from wclayer.errors import NotSupportedError

MAX_DEPTH = 40
"""The most parentheses, blocks and shells in one another, those of all shells together."""


def check_depth(depth: int, where: str, word: str) -> None:
    """Refuses what is nested too deeply.

    Args:
        depth: the number of parentheses, blocks and shells around the word.
        where: the file and the line of the instruction.
        word: the word.

    Raises:
        NotSupportedError: there are too many.
    """
    if depth > MAX_DEPTH:
        raise refused(where, word, f"more than {MAX_DEPTH} parentheses and shells are around it; write it without them")


def refused(where: str, word: str, detail: str) -> NotSupportedError:
    """Returns the error that refuses a word before anything is built.

    Args:
        where: the file and the line of the instruction (`Dockerfile:12`).
        word: the word as it is written.
        detail: what is wrong with it, and what can be done.
    """
    return NotSupportedError(where, f"{word!r}: {detail}")


class Action(Protocol):
    """One thing that a RUN instruction does."""

    def check(self, state: PlannedState) -> None:
        """Does to a planned state what `run` will do to the shell, and refuses what is not supported.

        Raises:
            LayerError: the action is not supported; the error names the line, the word, and what can be done.
        """
        ...

    def run(self, shell: Shell) -> int:
        """Carries the action out, with the messages and the exit code of Windows.

        Returns:
            The exit code; 0 is success.
        """
        ...


@dataclass(frozen=True)
class Invocation:
    """A command as it is called: its name and what follows it, after expansion and without redirections."""

    name: str
    """The name as it is written, without quotes."""
    tail: str = ""
    """The text after the name, with its leading blanks and quotes."""
    where: str = "RUN"
    """The file and the line of the instruction."""
    depth: int = 0
    """The number of parentheses, blocks and shells around it."""

    @cached_property
    def arguments(self) -> tuple[str, ...]:
        """The arguments that a program gets, split and unquoted by the rules of Microsoft's C runtime."""
        return split_arguments(self.tail)

    def refuse(self, word: str, detail: str) -> NotSupportedError:
        """Returns the error for a word of the invocation that is not supported.

        Args:
            word: the word as it is written.
            detail: what is wrong with it, and what can be done.
        """
        return refused(self.where, word, f"{self.name}: {detail}")


@dataclass(frozen=True)
class Command:
    """A row of the table of commands.

    Attributes:
        names: the names in lower case, without `.exe`; all mean the same.
        usage: the supported form, as Windows' own help writes it.
        summary: what it does exactly, and what it does not do: a sentence or more for the document.
        parse: makes the action of an invocation. Raises a `LayerError` for what is not supported (`Invocation.refuse`).
        group: the title under which the document lists it.
        is_builtin: a command of cmd.exe itself, which `cmd` alone understands and whose name may be followed by
            arguments without a blank (`cd\\`, `echo.`); otherwise a program.
        keeps_error_level: a success leaves `%ERRORLEVEL%` as it is; otherwise it becomes 0.
        hides_error_level: a failure leaves it as it is, too, unless `||` follows.
        never_fails: the exit code is always 0.
        never_returns: nothing after it in the line runs.
        keeps_files: it changes no file but those of the registry; or its action tells what is known afterwards
            (`PlannedState.files`).
    """

    names: tuple[str, ...]
    usage: str
    summary: str
    parse: Callable[[Invocation], Action]
    group: str = "Files"
    is_builtin: bool = False
    keeps_error_level: bool = False
    hides_error_level: bool = False
    never_fails: bool = False
    never_returns: bool = False
    keeps_files: bool = False
