"""What a cmdlet is: its names, its parameters, what it supports, and the action that a call of it becomes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum

from wclayer.builder.commands.command import Action, refused
from wclayer.builder.commands.powershell.scope import Edition, ErrorAction, StoppedError
from wclayer.builder.commands.powershell.values import Number, Value, is_true, parts_of, plain, to_text
from wclayer.builder.commands.state import PlannedState, Shell
from wclayer.errors import NotSupportedError


class Kind(Enum):
    """What a parameter takes."""

    TEXT = "one text"
    TEXTS = "one text or several, with commas between them"
    VALUE = "any value"
    SWITCH = "nothing"
    REST = "all values that no other parameter takes"


@dataclass(frozen=True)
class Parameter:
    """A parameter of a cmdlet.

    Attributes:
        name: the name, as PowerShell's help spells it.
        kind: what it takes.
        position: its place among the values that follow no parameter, from 0.
        aliases: other names.
        refused: if it is not supported: what can be done. All parameters of a cmdlet are declared, because names may
            be abbreviated: `-F` is `-Force` only if no other parameter begins with F.
    """

    name: str
    kind: Kind = Kind.TEXT
    position: int | None = None
    aliases: tuple[str, ...] = ()
    refused: str = ""


def switch(name: str, *aliases: str) -> Parameter:
    """Returns a parameter that is there or not."""
    return Parameter(name, Kind.SWITCH, aliases=aliases)


def unsupported(*names: str, detail: str = "is not supported; leave it out") -> tuple[Parameter, ...]:
    """Returns parameters that PowerShell has and that are refused here."""
    return tuple(Parameter(name, refused=detail) for name in names)


PATH = Parameter("Path", Kind.TEXTS, 0)
"""The paths of a cmdlet, which may have wildcards."""
LITERAL_PATH = Parameter("LiteralPath", Kind.TEXTS, aliases=("PSPath", "LP"))
"""The paths of a cmdlet, without wildcards."""


@dataclass(frozen=True)
class Bound:
    """A call of a cmdlet: the values of its parameters, all of which are known.

    Attributes:
        name: the name of the cmdlet as it was called.
        where: the file and the line of the instruction.
        edition: the PowerShell that calls it.
        error_action: what follows an error; None if only the run decides it.
        values: the values by the names of the parameters, as they are declared.
        words: how they are written.
    """

    name: str
    where: str
    edition: Edition
    error_action: ErrorAction | None
    values: Mapping[str, Value]
    words: Mapping[str, str]

    def __contains__(self, name: str) -> bool:
        return name in self.values

    def refuse(self, word: str, detail: str) -> NotSupportedError:
        """Returns the error for a word of the call that is not supported.

        Args:
            word: the word as it is written.
            detail: what is wrong with it, and what can be done.
        """
        return refused(self.where, word, f"{self.name}: {detail}")

    def word(self, name: str) -> str:
        """Returns how the value of a parameter is written; without it, the name of the cmdlet."""
        return self.words.get(name, self.name)

    def text(self, name: str) -> str | None:
        """Returns the text of a parameter of the kind TEXT, or None without it."""
        return to_text(self.values[name]) if name in self.values else None

    def texts(self, name: str) -> tuple[str, ...]:
        """Returns the texts of a parameter of the kind TEXTS or REST; none without it."""
        return tuple(map(to_text, parts_of(self.values.get(name, ()))))

    def flag(self, name: str) -> bool:
        """Returns whether a switch is given, and not as `-Name:$false`."""
        return is_true(self.values.get(name, False))

    def value(self, name: str) -> Value:
        """Returns the value of a parameter of the kind VALUE; None without it. Numbers are integers.

        Raises:
            NotSupportedError: the value is a number that is no integer.
        """
        found = plain(self.values.get(name))
        for part in parts_of(found):
            if isinstance(part, Number):
                raise self.refuse(part.text, "is a number that is no integer; write it in quotes")
        return found

    def fail(self, shell: Shell, message: str) -> int:
        """Tells an error of the cmdlet, as PowerShell does, and goes on unless errors stop the script.

        Args:
            shell: the shell.
            message: a sentence in the words of PowerShell.

        Returns:
            The exit code of the action: 1.

        Raises:
            StoppedError: errors stop the script.
        """
        if self.error_action is None or not self.error_action.is_silent:
            shell.complain(f"{self.name} : {message}")
        if self.error_action is ErrorAction.STOP:
            raise StoppedError
        return 1


class Question(ABC):
    """The action of a cmdlet whose output is one value, which conditions and other commands use: `Test-Path`."""

    @abstractmethod
    def plan(self, state: PlannedState) -> Value:
        """Checks the question, and returns the answer, or `Unknown` if only the run decides it."""

    @abstractmethod
    def answer(self, shell: Shell) -> Value:
        """Returns the answer."""

    def check(self, state: PlannedState) -> None:
        """See `Action`."""
        self.plan(state)

    def run(self, shell: Shell) -> int:
        """See `Action`: prints the answer."""
        for part in parts_of(self.answer(shell)):
            shell.say(to_text(part))
        return 0


@dataclass(frozen=True)
class Answer(Question):
    """A question whose answer is known before a build."""

    known: Value

    def plan(self, state: PlannedState) -> Value:
        return self.known

    def answer(self, shell: Shell) -> Value:
        return self.known


@dataclass(frozen=True)
class Cmdlet:
    """A row of the table of cmdlets.

    Attributes:
        names: the name, as PowerShell's help spells it, and its aliases; all mean the same.
        usage: the supported form, as PowerShell's own help writes it.
        summary: what it does exactly, and what it does not do: a sentence or more for the document.
        parameters: all that the cmdlet has, but for those that every cmdlet has.
        parse: makes the action of a call. Raises a `LayerError` for what is not supported (`Bound.refuse`). An exit
            code of the action other than 0 is an error of the cmdlet (`$?` is false).
        group: the title under which the document lists it.
        pipeline: the parameter that takes the value before a `|`; without one, nothing can be before it.
        never_fails: the exit code is always 0.
        windows_names: aliases that only Windows PowerShell has.
        has_confirmation: it has `-WhatIf` and `-Confirm`.
    """

    names: tuple[str, ...]
    usage: str
    summary: str
    parameters: tuple[Parameter, ...]
    parse: Callable[[Bound], Action]
    group: str = "PowerShell: files"
    pipeline: str = ""
    never_fails: bool = False
    windows_names: tuple[str, ...] = ()
    has_confirmation: bool = False
