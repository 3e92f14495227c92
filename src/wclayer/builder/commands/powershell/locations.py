"""`Set-Location`: the directory from which relative paths begin."""

from __future__ import annotations

from dataclasses import dataclass

from wclayer.builder.commands.command import Action
from wclayer.builder.commands.powershell.cmdlet import Bound, Cmdlet, Parameter, switch, unsupported
from wclayer.builder.commands.powershell.item_paths import ItemPaths, check_path
from wclayer.builder.commands.state import PlannedState, Shell
from wclayer.builder.commands.wildcards import is_directory


@dataclass(frozen=True)
class SetLocation:
    """`Set-Location`.

    Attributes:
        bound: the call.
        path: the directory.
        parameter: the name of the parameter whose value it is.
    """

    bound: Bound
    path: str
    parameter: str

    def check(self, state: PlannedState) -> None:
        check_path(self.bound, state, self.parameter, self.path)
        state.directory = state.path(self.path)

    def run(self, shell: Shell) -> int:
        path = shell.path(self.path)
        if not shell.view.exists(path) or not is_directory(shell, path):
            return self.bound.fail(shell, f"Cannot find path '{path}' because it does not exist.")
        shell.directory = path
        return 0


def _parse(bound: Bound) -> Action:
    paths = ItemPaths.of(bound)
    (text,) = paths.texts
    if paths.has_wildcards(text):
        raise bound.refuse(bound.word(paths.parameter), "wildcards are not supported; write the name")
    return SetLocation(bound, paths.plain(text), paths.parameter)


SET_LOCATION = Cmdlet(
    ("Set-Location", "cd", "sl", "chdir"),
    "Set-Location [-Path] PATH",
    "Changes the directory. Keys of the registry are refused.",
    (
        Parameter("Path", position=0),
        Parameter("LiteralPath", aliases=("PSPath", "LP")),
        switch("PassThru"),
        *unsupported("StackName", "UseTransaction"),
    ),
    _parse,
    "PowerShell",
)
