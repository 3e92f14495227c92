"""Makes actions of RUN instructions: the shell form with the SHELL in force, or the exec form."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from wclayer.builder.commands.command import Action, Command, Invocation, refused
from wclayer.builder.commands.programs import UNKNOWN, find_program
from wclayer.builder.commands.state import PlannedState, Shell
from wclayer.builder.commands.table import COMMANDS
from wclayer.builder.commands.words import join_arguments

DEFAULT_SHELL = ("cmd", "/S", "/C")
"""The shell of Windows images (Docker)."""
_PROGRAM = re.compile(r'\s*("[^"]*"?|[^\s"]+)')


def parse_run(
    command: str | Sequence[str],
    shell: Sequence[str] = DEFAULT_SHELL,
    state: PlannedState | None = None,
    commands: Mapping[str, Command] = COMMANDS,
) -> list[Action]:
    """Returns the actions of a RUN instruction, all of which were checked: nothing in them is unknown.

    The command line is the one that Docker makes: in the shell form the shell and the line with blanks between them, in
    the exec form the arguments, quoted.

    Args:
        command: the line of the shell form, or the arguments of the exec form.
        shell: the SHELL in force; it matters for the shell form only.
        state: what is known when the instruction runs: the process's variables (`process_environment`), the machine's
            variables, the directory (WORKDIR), the user, and the place of the instruction. Afterwards, it is what is
            known after the instruction.
        commands: the table.

    Raises:
        NotSupportedError: the instruction has a command or a word that is not supported.
    """
    state = PlannedState() if state is None else state
    line = " ".join([*shell, command]) if isinstance(command, str) else join_arguments(command)
    program, invocation = _parse_process(line, state.where, commands)
    action = program.parse(invocation)
    action.check(state)
    if not program.keeps_files:
        state.files = None
    return [action]


def _parse_process(line: str, where: str, commands: Mapping[str, Command]) -> tuple[Command, Invocation]:
    """Returns the program of a process, with its arguments."""
    found = _PROGRAM.match(line)
    if found is None:
        raise refused(where, line, "an empty command; write one, or remove the instruction")
    word = found[1]
    command = find_program(word, commands)
    if command is None:
        name = word.strip('"')
        hint = (
            f"{name} is a command of cmd; write RUN {name} … without brackets"
            if (row := commands.get(name.lower())) is not None and row.is_builtin
            else UNKNOWN
        )
        raise refused(where, name, hint)
    return command, Invocation(word.strip('"'), line[found.end() :], where)


def run_actions(actions: Sequence[Action], shell: Shell) -> int:
    """Carries the actions of one RUN instruction out.

    Returns:
        The exit code of the first action that fails, or 0.
    """
    for action in actions:
        code = action.run(shell)
        if code:
            return code
    return 0
