"""What a statement of PowerShell sees: the variables of the script, the environment, and how errors end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum

from wclayer.builder.commands.command import Command, refused
from wclayer.builder.commands.powershell.values import Unknown, Value
from wclayer.builder.commands.state import Environment, PlannedState, Shell
from wclayer.errors import NotSupportedError


class Edition(Enum):
    """The two PowerShells: `powershell` (Windows PowerShell 5.1) and `pwsh` (PowerShell 7)."""

    WINDOWS = "powershell"
    CORE = "pwsh"


class ErrorAction(Enum):
    """What follows an error of a cmdlet (`-ErrorAction`, `$ErrorActionPreference`)."""

    CONTINUE = "Continue"
    """It is told, and the script goes on."""
    STOP = "Stop"
    """It is told, and ends the script."""
    SILENTLY_CONTINUE = "SilentlyContinue"
    """The script goes on."""
    IGNORE = "Ignore"
    """The script goes on."""

    @property
    def is_silent(self) -> bool:
        """Whether errors are not told."""
        return self in (ErrorAction.SILENTLY_CONTINUE, ErrorAction.IGNORE)


_ACTIONS_BY_NUMBER = {
    0: ErrorAction.SILENTLY_CONTINUE, 1: ErrorAction.STOP, 2: ErrorAction.CONTINUE, 4: ErrorAction.IGNORE,
}  # fmt: skip


def parse_error_action(value: Value) -> ErrorAction | None:
    """Returns the action that a value names, by its name, the beginning of it, or its number; None if it names none."""
    if isinstance(value, int) and not isinstance(value, bool):
        return _ACTIONS_BY_NUMBER.get(value)
    if not isinstance(value, str) or not value:
        return None
    found = [action for action in ErrorAction if action.value.lower().startswith(value.lower())]
    return found[0] if len(found) == 1 else None


class StoppedError(Exception):
    """Ends a script after an error (a terminating error)."""


@dataclass
class Scope:
    """What a script knows between two statements, whether it is planned or runs.

    Attributes:
        where: the file and the line of the instruction, for messages.
        edition: the PowerShell.
        commands: the programs that may be called.
        variables: the variables that the script has set, by their names in lower case.
        error_action: `$ErrorActionPreference`; None if only the run decides it.
    """

    where: str
    edition: Edition
    commands: Mapping[str, Command] = field(repr=False)
    variables: dict[str, Value]
    error_action: ErrorAction | None

    @property
    def environment(self) -> Environment:
        """The variables of the process."""
        raise NotImplementedError

    @property
    def directory(self) -> str | None:
        """The current directory; None if only the run decides it."""
        raise NotImplementedError

    def refuse(self, word: str, detail: str) -> NotSupportedError:
        """Returns the error for a word that is not supported.

        Args:
            word: the word as it is written.
            detail: what is wrong with it, and what can be done.
        """
        return refused(self.where, word, detail)

    def set_variable(self, name: str, value: Value) -> None:
        """Sets a variable of the script."""
        self.variables[name.lower()] = value


@dataclass
class PlannedScope(Scope):
    """A scope before anything is built."""

    state: PlannedState
    succeeded: PlannedState | None = None
    """The state if the last statement had no error; None if it is `state`."""
    exits: list[PlannedState] = field(default_factory=list)
    """The states with which the script may end before its last statement."""

    @property
    def environment(self) -> Environment:
        return self.state.environment

    @property
    def directory(self) -> str | None:
        return self.state.directory

    @property
    def end(self) -> PlannedState:
        """The state of a script that ends here with success: an error of the last statement is one of the script."""
        return self.succeeded or self.state

    def copy(self) -> PlannedScope:
        """Returns a copy, which changes on its own; the ways out of the script are shared."""
        return replace(self, variables=dict(self.variables), state=self.state.copy())

    def unreachable(self) -> PlannedScope:
        """Returns a copy for statements that can never run: what they do changes nothing that is known."""
        return replace(self.copy(), exits=[])

    def take_either(self, one: PlannedScope, other: PlannedScope) -> None:
        """Takes over what is the same in two scopes, of which the run decides which one holds."""
        reason = "whether an earlier statement sets it is decided only when it runs"
        missing = object()
        merged: dict[str, Value] = {}
        for name in one.variables.keys() | other.variables.keys():
            mine, theirs = one.variables.get(name, missing), other.variables.get(name, missing)
            same = mine == theirs and type(mine) is type(theirs)
            merged[name] = one.variables[name] if same else Unknown(reason)
        self.variables = merged
        self.error_action = one.error_action if one.error_action == other.error_action else None
        end = self.state.copy()
        end.take_either(one.end, other.end)
        self.succeeded = end
        self.state.take_either(one.state, other.state)

    def take(self, other: PlannedScope) -> None:
        """Takes over another scope."""
        self.variables, self.error_action = other.variables, other.error_action
        self.state.take(other.state)
        self.succeeded = other.succeeded


@dataclass
class RunningScope(Scope):
    """A scope of a script that runs."""

    shell: Shell
    is_ok: bool = True
    """`$?`: whether the last statement had no error."""
    last_exit_code: int | None = None
    """`$LASTEXITCODE`: of the last program."""

    @property
    def environment(self) -> Environment:
        return self.shell.environment

    @property
    def directory(self) -> str | None:
        return self.shell.directory
