"""Calls: of cmdlets of the table, of programs of RUN's table, and of static methods of .NET."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from wclayer.builder.commands.command import Command, Invocation, refused
from wclayer.builder.commands.powershell.binding import Argument, bind
from wclayer.builder.commands.powershell.cmdlet import Answer
from wclayer.builder.commands.powershell.expressions import Expression, known
from wclayer.builder.commands.powershell.method import CalledMethod
from wclayer.builder.commands.powershell.programs import program_tail
from wclayer.builder.commands.powershell.refusals import TYPES, refusal_of
from wclayer.builder.commands.powershell.scope import Edition, Scope
from wclayer.builder.commands.powershell.statements import Prepared
from wclayer.builder.commands.powershell.table import CMDLETS, CONSTANTS, METHODS, WINDOWS_NAMES
from wclayer.builder.commands.powershell.values import Value, to_text
from wclayer.builder.commands.programs import find_program


@dataclass(frozen=True)
class Word:
    """A word of a call.

    Attributes:
        text: the word as it is written.
        parameter: the name after the dash, if it may be that of a parameter.
        expression: its value; None for a name alone.
    """

    text: str
    parameter: str = ""
    expression: Expression | None = None

    def argument(self, scope: Scope) -> Argument:
        """Returns the word with its value."""
        if self.expression is None:
            return Argument(self.text, self.parameter, has_value=False)
        return Argument(self.text, self.parameter, value=known(self.expression, scope))


def check_name(name: str, commands: Mapping[str, Command], where: str) -> None:
    """Refuses the name of a command that is neither a cmdlet of the table nor a program.

    Raises:
        NotSupportedError: it is none.
    """
    if name.lower() not in CMDLETS and find_program(name, commands) is None:
        raise refused(where, name, refusal_of(name))


@dataclass(frozen=True)
class CommandCall:
    """A call of a cmdlet or a program by its name."""

    text: str
    name: Expression
    words: tuple[Word, ...]
    depth: int

    def prepare(self, scope: Scope, piped: Value | None = None) -> Prepared:
        """See `Call`."""
        name = to_text(known(self.name, scope))
        key = name.lower()
        cmdlet = CMDLETS.get(key)
        if cmdlet is not None and key in WINDOWS_NAMES and scope.edition is Edition.CORE:
            raise scope.refuse(name, f"pwsh has no such name; write {cmdlet.names[0]}")
        arguments = [word.argument(scope) for word in self.words]
        if cmdlet is not None:
            if piped is not None:
                if not cmdlet.pipeline:
                    raise scope.refuse(name, "takes nothing from a pipeline here; write the values after it")
                arguments.append(Argument("|", cmdlet.pipeline, value=piped))
            bound = bind(cmdlet, name, arguments, scope)
            return Prepared(cmdlet.parse(bound), False, cmdlet.never_fails, bound.error_action)
        check_name(name, scope.commands, scope.where)
        command = find_program(name, scope.commands)
        assert command is not None
        if piped is not None:
            raise scope.refuse(name, "takes nothing from a pipeline here")
        invocation = Invocation(name, program_tail(arguments, scope), scope.where, self.depth)
        return Prepared(command.parse(invocation), True, command.never_fails)


@dataclass(frozen=True)
class MethodCall:
    """A static method or a constant of a type: `[Environment]::GetEnvironmentVariable('A')`."""

    text: str
    kind: str
    member: str
    arguments: tuple[Expression, ...] | None

    def prepare(self, scope: Scope, piped: Value | None = None) -> Prepared:
        """See `Call`."""
        check_member(self.kind, self.member, scope.where)
        key = _member_key(self.kind, self.member)
        method = METHODS.get(key)
        if method is None:
            return Prepared(Answer(CONSTANTS[key]), never_fails=True)
        word = f"[{self.kind}]::{self.member}"
        if self.arguments is None:
            raise scope.refuse(word, "write its arguments in parentheses")
        values = tuple(known(argument, scope) for argument in self.arguments)
        words = tuple(argument.text for argument in self.arguments)
        return Prepared(method.parse(CalledMethod(word, scope.where, scope.edition, values, words)), never_fails=True)


def _member_key(kind: str, member: str) -> str:
    return f"{kind.lower().removeprefix('system.')}::{member.lower()}"


def check_member(kind: str, member: str, where: str) -> None:
    """Refuses a member of a type that the table does not have.

    Raises:
        NotSupportedError: it does not have it.
    """
    key = _member_key(kind, member)
    if key not in METHODS and key not in CONSTANTS:
        possible = ", ".join(f"[{each.kind}]::{each.name}(…)" for each in METHODS.values())
        advice = next((f"; {TYPES[each]}" for each in TYPES if key.startswith(each)), "")
        raise refused(where, f"[{kind}]::{member}", f"is not supported{advice}; possible are {possible}")
