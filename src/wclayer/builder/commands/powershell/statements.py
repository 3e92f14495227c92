"""The statements of PowerShell that are supported: each is checked before a build, and carried out when it runs.

Sources: "about_Language_Keywords", "about_Automatic_Variables", "about_Preference_Variables" (Microsoft Learn), and
`MshCommandRuntime.WriteError` of PowerShell: an error of a cmdlet makes `$?` false with every `-ErrorAction`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Protocol

from wclayer.builder.commands.command import Action
from wclayer.builder.commands.flow import ExitShell
from wclayer.builder.commands.powershell.cmdlet import Question
from wclayer.builder.commands.powershell.expressions import Expression, known
from wclayer.builder.commands.powershell.scope import (
    Edition,
    ErrorAction,
    PlannedScope,
    RunningScope,
    Scope,
    StoppedError,
    parse_error_action,
)
from wclayer.builder.commands.powershell.values import Unknown, Value, is_true, plain, to_text, unknown_in

_ERROR_ACTION = "erroractionpreference"
_MAX_EXIT_CODE = 1 << 31


class Statement(Protocol):
    """A statement."""

    def check(self, scope: PlannedScope) -> bool:
        """Does to a planned scope what `run` will do, and refuses what is not supported.

        Returns:
            Whether the script may go on after the statement.
        """
        ...

    def run(self, scope: RunningScope) -> None:
        """Carries the statement out.

        Raises:
            ExitShell: the script ends with an exit code.
            StoppedError: an error ends the script.
        """
        ...


@dataclass(frozen=True)
class Prepared:
    """What a call does, with known words.

    Attributes:
        action: the action.
        is_program: it is a program, whose exit code is `$LASTEXITCODE`.
        never_fails: the exit code is always 0.
        error_action: what follows an error of a cmdlet.
    """

    action: Action
    is_program: bool = False
    never_fails: bool = False
    error_action: ErrorAction | None = None


class Call(Protocol):
    """A call of a cmdlet, of a program or of a method."""

    @property
    def text(self) -> str:
        """The call as it is written."""
        ...

    def prepare(self, scope: Scope, piped: Value | None = None) -> Prepared:
        """Returns what the call does where it stands.

        Args:
            scope: where it stands.
            piped: the value before a `|`.

        Raises:
            NotSupportedError: the call is not supported.
        """
        ...


@dataclass(frozen=True)
class ValueOf:
    """The value of a call: `(Test-Path C:\\x)`."""

    text: str
    call: Call

    def value(self, scope: Scope) -> Value:
        action = self.call.prepare(scope).action
        if not isinstance(action, Question):
            raise scope.refuse(self.call.text, "its output is not supported as a value; write the value instead")
        if isinstance(scope, PlannedScope):
            return action.plan(scope.state)
        assert isinstance(scope, RunningScope)
        return action.answer(scope.shell)


@dataclass(frozen=True)
class Pipeline:
    """A call, or a value that is printed, or a value that a call takes.

    Attributes:
        value: the value before the call.
        call: the call.
        hides_output: `| Out-Null`, `> $null`, `$null = …`.
        hides_errors: `2> $null`.
    """

    value: Expression | None = None
    call: Call | None = None
    hides_output: bool = False
    hides_errors: bool = False

    def check(self, scope: PlannedScope) -> bool:
        scope.succeeded = None
        piped = self._piped(scope)
        if self.call is None:
            return True
        before = scope.state.copy()
        prepared = self.call.prepare(scope, piped)
        if prepared.is_program and self.hides_errors and scope.edition is Edition.WINDOWS:
            raise scope.refuse(
                self.call.text, "Windows PowerShell makes errors of what a program prints if 2> is behind it; write "
                "cmd /c '… 2>nul'",
            )  # fmt: skip
        prepared.action.check(scope.state)
        goes_on_after_error = prepared.is_program or prepared.error_action is not ErrorAction.STOP
        if goes_on_after_error and not prepared.never_fails:
            scope.succeeded = scope.state.copy()
            scope.state.take_either(before, scope.state)
        return True

    def run(self, scope: RunningScope) -> None:
        piped = self._piped(scope)
        shell = scope.shell
        with ExitStack() as stack:
            if self.hides_output or self.hides_errors:
                hidden = _hide if self.hides_output else None
                stack.enter_context(shell.redirected(hidden, _hide if self.hides_errors else None))
            if self.call is None:
                for line in piped if isinstance(piped, tuple) else (piped,):
                    if line is not None:
                        shell.say(to_text(plain(line)))
                scope.is_ok = True
                return
            prepared = self.call.prepare(scope, piped)
            action = prepared.error_action
            if action is not None and action.is_silent and not prepared.is_program:
                stack.enter_context(shell.redirected(None, _hide))
            code = prepared.action.run(shell)
        scope.is_ok = code == 0
        if prepared.is_program:
            scope.last_exit_code = code
        elif code and prepared.error_action is ErrorAction.STOP:
            raise StoppedError

    def _piped(self, scope: Scope) -> Value | None:
        if self.value is None:
            return None
        if self.call is None:
            return self.value.value(scope)
        piped = known(self.value, scope)
        if piped is None:
            raise scope.refuse(self.value.text, "has no value, so the command after | takes nothing; leave it out")
        return piped


def _hide(_: bytes) -> None:
    pass


class _Assignment(ABC):
    """An assignment, which does the same when it is planned and when it runs."""

    def check(self, scope: PlannedScope) -> bool:
        scope.succeeded = None
        self._assign(scope)
        return True

    def run(self, scope: RunningScope) -> None:
        self._assign(scope)
        scope.is_ok = True

    @abstractmethod
    def _assign(self, scope: Scope) -> None: ...


@dataclass(frozen=True)
class AssignVariable(_Assignment):
    """`$NAME = value`, `$NAME += value` (whose value is then a sum)."""

    name: str
    value: Expression

    def _assign(self, scope: Scope) -> None:
        value = self.value.value(scope)
        if self.name.lower() == _ERROR_ACTION:
            action = parse_error_action(plain(known(self.value, scope)))
            if action is None:
                possible = ", ".join(each.value for each in ErrorAction)
                raise scope.refuse(self.value.text, f"$ErrorActionPreference: possible are {possible}")
            scope.error_action = action
        scope.set_variable(self.name, value)


@dataclass(frozen=True)
class AssignEnvironment(_Assignment):
    """`$env:NAME = value`: a variable of this process; an empty value removes it."""

    name: str
    value: Expression

    def _assign(self, scope: Scope) -> None:
        text = to_text(plain(known(self.value, scope)))
        if text:
            scope.environment.set(self.name, text)
        else:
            scope.environment.delete(self.name)


@dataclass(frozen=True)
class If:
    """`if (…) {…} elseif (…) {…} else {…}`."""

    condition: Expression
    then: Statement
    otherwise: Statement

    def check(self, scope: PlannedScope) -> bool:
        value = self.condition.value(scope)
        scope.succeeded = None
        may_hold = unknown_in(value) is not None or is_true(value)
        may_not_hold = unknown_in(value) is not None or not is_true(value)
        # What can never run is checked, too: nothing unknown is in a script that is accepted.
        one = scope.copy() if may_hold else scope.unreachable()
        other = scope.copy() if may_not_hold else scope.unreachable()
        goes_on = self.then.check(one) and may_hold
        other_goes_on = self.otherwise.check(other) and may_not_hold
        if goes_on and other_goes_on:
            scope.take_either(one, other)
        else:
            scope.take(one if goes_on else other)
        return goes_on or other_goes_on

    def run(self, scope: RunningScope) -> None:
        holds = is_true(self.condition.value(scope))
        scope.is_ok = True
        (self.then if holds else self.otherwise).run(scope)


@dataclass(frozen=True)
class Statements:
    """Statements one after the other."""

    parts: Sequence[Statement]

    def check(self, scope: PlannedScope) -> bool:
        goes_on = True
        for part in self.parts:
            if not goes_on:
                scope = scope.unreachable()
            goes_on = part.check(scope) and goes_on
        return goes_on

    def run(self, scope: RunningScope) -> None:
        for part in self.parts:
            part.run(scope)


@dataclass(frozen=True)
class CalledBlock:
    """`& { … }`: statements whose variables end with them."""

    body: Statement

    def check(self, scope: PlannedScope) -> bool:
        variables, action = dict(scope.variables), scope.error_action
        goes_on = self.body.check(scope)
        scope.variables, scope.error_action = variables, action
        scope.succeeded = None
        return goes_on

    def run(self, scope: RunningScope) -> None:
        variables, action = dict(scope.variables), scope.error_action
        self.body.run(scope)
        scope.variables, scope.error_action = variables, action
        # Errors inside are not those of the block.
        scope.is_ok = True


@dataclass(frozen=True)
class Exit:
    """`exit`, `exit CODE`: ends the process."""

    code: Expression

    def check(self, scope: PlannedScope) -> bool:
        code = self.code.value(scope)
        if isinstance(code, Unknown) or self._number(code, scope) == 0:
            scope.exits.append(scope.state.copy())
        return False

    def run(self, scope: RunningScope) -> None:
        raise ExitShell(self._number(self.code.value(scope), scope))

    def _number(self, value: Value, scope: Scope) -> int:
        number = plain(value)
        if number is None:
            return 0
        if not isinstance(number, int) or isinstance(number, bool) or abs(number) >= _MAX_EXIT_CODE:
            raise scope.refuse(self.code.text, "an exit code is an integer")
        return number


@dataclass(frozen=True)
class Throw:
    """`throw value`: ends the process with an error."""

    message: Expression

    def check(self, scope: PlannedScope) -> bool:
        self.message.value(scope)
        return False

    def run(self, scope: RunningScope) -> None:
        scope.shell.complain(to_text(plain(self.message.value(scope))) or "ScriptHalted")
        raise StoppedError
