"""The parts of a command line as actions: one command, commands in a row, blocks, conditions, redirections."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Protocol

from wclayer.builder.commands.command import Action, Command, refused
from wclayer.builder.commands.redirection import Redirection, redirected
from wclayer.builder.commands.state import PlannedState, Shell
from wclayer.errors import NotSupportedError

Outcomes = tuple[PlannedState | None, PlannedState | None]
"""The states after a success and after a failure; None where that cannot be."""


class ExitShell(Exception):  # noqa: N818 (ends the shell, as `exit` does; it is no error)
    """Ends a shell with an exit code."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Node(Protocol):
    """A part of a line."""

    def outcomes(self, state: PlannedState) -> Outcomes:
        """Checks the part, and returns the states that it may leave. The given state is not changed."""
        ...

    def run(self, shell: Shell) -> int:
        """Carries the part out, and returns its exit code."""
        ...


def either(one: PlannedState | None, other: PlannedState | None) -> PlannedState | None:
    """Returns what is known if one of two states holds; None is a state that cannot be."""
    if one is None or other is None:
        return one or other
    made = one.copy()
    made.take_either(one, other)
    return made


@dataclass
class Simple:
    """One command with its redirections."""

    command: Command
    action: Action
    redirections: tuple[Redirection, ...] = ()

    def outcomes(self, state: PlannedState) -> Outcomes:
        for redirection in self.redirections:
            redirection.check(state)
        after = state.copy()
        if any(redirection.makes_file for redirection in self.redirections):
            # The files are made before the command runs.
            after.files = None
        self.action.check(after)
        if not self.command.keeps_files:
            after.files = None
        if self.command.never_returns:
            return None, None
        never_fails = self.command.never_fails and not self.redirections
        return after, None if never_fails else either(state, after)

    def run(self, shell: Shell) -> int:
        with ExitStack() as stack:
            code = redirected(shell, self.redirections, stack)
            if code:
                return code
            code = self.action.run(shell)
        if not self.command.hides_error_level and (code or not self.command.keeps_error_level):
            shell.error_level = code
        return code


@dataclass
class Block:
    """Commands in parentheses, with redirections of their own."""

    body: Node
    redirections: tuple[Redirection, ...] = ()

    def outcomes(self, state: PlannedState) -> Outcomes:
        for redirection in self.redirections:
            redirection.check(state)
        inside = state.copy()
        if any(redirection.makes_file for redirection in self.redirections):
            inside.files = None
        ok, failed = self.body.outcomes(inside)
        return ok, either(state, failed) if self.redirections else failed

    def run(self, shell: Shell) -> int:
        with ExitStack() as stack:
            return redirected(shell, self.redirections, stack) or self.body.run(shell)


@dataclass
class Chain:
    """Parts in a row, with the same operator between them: `&`, `&&` or `||`."""

    parts: Sequence[Node]
    operator: str

    def outcomes(self, state: PlannedState) -> Outcomes:
        ok, failed = self.parts[0].outcomes(state)
        for part in self.parts[1:]:
            begin = either(ok, failed) if self.operator == "&" else ok if self.operator == "&&" else failed
            # What can never run is checked, too: nothing unknown is in a line that is accepted.
            part_ok, part_failed = part.outcomes(begin or state)
            if begin is None:
                part_ok = part_failed = None
            if self.operator == "&":
                ok, failed = part_ok, part_failed
            elif self.operator == "&&":
                ok, failed = part_ok, either(failed, part_failed)
            else:
                ok, failed = either(ok, part_ok), part_failed
        return ok, failed

    def run(self, shell: Shell) -> int:
        code = self.parts[0].run(shell)
        for part in self.parts[1:]:
            if self.operator == "||" and code:
                # This operator alone makes each failure the error level, that of `rmdir` and redirections included.
                shell.error_level = code
            if self.operator == "&" or (self.operator == "&&") == (code == 0):
                code = part.run(shell)
            elif self.operator == "&&":
                break
        return code


@dataclass
class If:
    """A condition with its two branches."""

    holds: Callable[[Shell], bool]
    check_condition: Callable[[PlannedState], None]
    then: Node
    otherwise: Node | None = None

    def outcomes(self, state: PlannedState) -> Outcomes:
        self.check_condition(state)
        inside = state.copy()
        # The condition may have looked whether a command is possible.
        inside.files = None
        ok, failed = self.then.outcomes(inside)
        other_ok, other_failed = self.otherwise.outcomes(inside) if self.otherwise else (state, None)
        return either(ok, other_ok), either(failed, other_failed)

    def run(self, shell: Shell) -> int:
        if self.holds(shell):
            return self.then.run(shell)
        return 0 if self.otherwise is None else self.otherwise.run(shell)


@dataclass
class Nothing:
    """A comment: it does nothing and succeeds."""

    def outcomes(self, state: PlannedState) -> Outcomes:
        return state, None

    def run(self, shell: Shell) -> int:
        return 0


@dataclass
class Line:
    """A whole line as one action: the line of a process `cmd`."""

    node: Node

    def check(self, state: PlannedState) -> None:
        ok, failed = self.node.outcomes(state)
        # The build goes on only after a success.
        after = ok or failed
        if after is not None:
            state.take(after)

    def run(self, shell: Shell) -> int:
        try:
            return self.node.run(shell)
        except ExitShell as end:
            return end.code


def unexpected(where: str, word: str) -> NotSupportedError:
    """Returns the error for a word that cmd.exe does not expect where it stands."""
    return refused(
        where, word or "the end of the line", "cmd.exe does not expect this here, and runs nothing of the line"
    )
