"""Scratches on a small base, and shells over them, for tests of commands."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import wclayer
from tests.support import put_directories, put_file
from wclayer.builder.commands.cmd_language import parse_line
from wclayer.builder.commands.expansion import expand_variables
from wclayer.builder.commands.run import DEFAULT_SHELL, parse_run, run_actions
from wclayer.builder.commands.state import Environment, PlannedState, Shell, process_environment
from wclayer.builder.commands.table import COMMANDS
from wclayer.engines.portable.registry import RegistryEditor
from wclayer.layers.directory.writer import DirectoryLayerWriter
from wclayer.view.layer_view import LayerView


class ScratchWorkspace:
    """What commands need of a workspace: the view of a scratch. It has no registry."""

    def __init__(self, view: LayerView) -> None:
        self.view = view
        self.time: int | None = None

    def registry(self) -> AbstractContextManager[RegistryEditor]:
        raise AssertionError("these commands do not use the registry")


@contextmanager
def scratch_view(folder: Path, bases: Path) -> Iterator[LayerView]:
    """Yields a writable view over a base that has only the directories of Windows and `C:\\t`."""
    base = bases / "small" / "base"
    if not base.exists():
        base.parent.mkdir(exist_ok=True)
        with DirectoryLayerWriter(base) as writer:
            put_directories(writer, "Files", "Files/Windows", "Files/Windows/System32", "Files/t")
            put_file(writer, "Files/t/base.txt", b"base\r\n")
    wclayer.create_scratch_layer(folder / "run", [base])
    with LayerView(scratch=folder / "run") as view:
        yield view


class Console:
    """A shell whose output is kept, with a planned state beside it."""

    def __init__(self, view: LayerView, directory: str = "C:\\t", variables: dict[str, str] | None = None) -> None:
        self.view = view
        self.directory = directory
        self.machine = Environment()
        self.variables = variables or {}
        self.output = b""
        self.errors = b""

    def run(self, line: str | list[str], shell: tuple[str, ...] = DEFAULT_SHELL) -> int:
        """Runs one RUN instruction as a builder does; returns its exit code. The output is kept in the object."""
        environment = process_environment(self.machine, self.variables)
        state = PlannedState("Dockerfile:3", environment, self.machine.copy(), self.directory)
        actions = parse_run(line, shell, state)
        out, err = bytearray(), bytearray()
        made = Shell(
            ScratchWorkspace(self.view), environment.copy(), self.directory, stdout=out.extend, stderr=err.extend
        )
        try:
            return run_actions(actions, made)
        finally:
            self.machine = state.machine
            self.output, self.errors = bytes(out), bytes(err)

    def error_level_after(self, line: str) -> int:
        """Returns `%ERRORLEVEL%` after a line of a batch file."""
        environment = process_environment(self.machine, self.variables)
        state = PlannedState("Dockerfile:3", environment, self.machine.copy(), self.directory)
        action = parse_line(expand_variables(line, state, state.where), COMMANDS, state.where)
        action.check(state)
        shell = Shell(ScratchWorkspace(self.view), environment, self.directory)
        action.run(shell)
        return shell.error_level

    def say(self, line: str) -> str:
        """Returns what a line prints on its standard output."""
        self.run(line)
        return self.output.decode("cp437")
