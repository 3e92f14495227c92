"""`Set-Location`: the directory from which relative paths begin."""

from __future__ import annotations

from dataclasses import dataclass

from wclayer.builder.commands.command import Action
from wclayer.builder.commands.powershell.cmdlet import Bound, Cmdlet, Parameter, switch, unsupported
from wclayer.builder.commands.powershell.paths import checked_wildcards, file_path_of, paths_of, paths_word
from wclayer.builder.commands.state import PlannedState, Shell
from wclayer.builder.commands.wildcards import has_wildcards, is_directory


@dataclass(frozen=True)
class SetLocation:
    """Changes the directory."""

    bound: Bound
    path: str

    def check(self, state: PlannedState) -> None:
        state.directory = state.path(self.path)

    def run(self, shell: Shell) -> int:
        path = shell.path(self.path)
        if not shell.view.exists(path) or not is_directory(shell, path):
            return self.bound.fail(shell, f"Cannot find path '{path}' because it does not exist.")
        shell.directory = path
        return 0


def _parse(bound: Bound) -> Action:
    word = paths_word(bound)
    (text,) = paths_of(bound)
    path = file_path_of(bound, text, word)
    if "LiteralPath" not in bound and has_wildcards(checked_wildcards(bound, path, word)):
        raise bound.refuse(word, "wildcards are not supported; write the name")
    return SetLocation(bound, path)


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
