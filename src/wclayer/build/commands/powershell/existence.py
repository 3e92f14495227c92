"""`Test-Path`: whether a file, a directory or a key exists."""

from __future__ import annotations

from dataclasses import dataclass

from wclayer.build.commands.command import Action
from wclayer.build.commands.powershell.cmdlet import Bound, Cmdlet, Kind, Parameter, Question, unsupported
from wclayer.build.commands.powershell.paths import (
    by_provider,
    checked_wildcards,
    file_path_of,
    literal_keys,
    paths_of,
    paths_word,
)
from wclayer.build.commands.powershell.values import Unknown, Value
from wclayer.build.commands.registry_keys import edited_registry
from wclayer.build.commands.state import PlannedState, Shell
from wclayer.build.commands.wildcards import find, has_wildcards

_UNKNOWN = Unknown("whether it exists is decided only when the command runs")
_KINDS = ("any", "container", "leaf")


def _answers(answers: list[bool]) -> Value:
    return answers[0] if len(answers) == 1 else tuple(answers)


@dataclass(frozen=True)
class FilesExist(Question):
    """`Test-Path` of files; a link counts, wherever it leads.

    Attributes:
        paths: the paths.
        kind: `container` for directories alone, `leaf` for files alone, or `any`.
        is_literal: wildcards have no meaning.
    """

    paths: tuple[str, ...]
    kind: str
    is_literal: bool

    def plan(self, state: PlannedState) -> Value:
        for path in self.paths:
            state.path(path)
        return _UNKNOWN

    def answer(self, shell: Shell) -> Value:
        return _answers([self._exists(shell, path) for path in self.paths])

    def _exists(self, shell: Shell, path: str) -> bool:
        if self.is_literal and has_wildcards(path):
            # No name has these characters.
            return False
        return any(
            self.kind == "any" or (self.kind == "container") == found.is_directory for found in find(shell, path)
        )


@dataclass(frozen=True)
class KeysExist(Question):
    """`Test-Path` of keys of the registry. A key is a container."""

    keys: tuple[str, ...]
    kind: str

    def plan(self, state: PlannedState) -> Value:
        return _UNKNOWN

    def answer(self, shell: Shell) -> Value:
        with edited_registry(shell, self.keys) as registry:
            return _answers([self.kind != "leaf" and registry.find(key) is not None for key in self.keys])


def _kind(bound: Bound) -> str:
    kind = (bound.text("PathType") or "Any").lower()
    if kind not in _KINDS:
        raise bound.refuse(bound.word("PathType"), "possible are Any, Container and Leaf")
    return kind


def _of_files(bound: Bound) -> Action:
    word = paths_word(bound)
    is_literal = "LiteralPath" in bound
    paths = tuple(file_path_of(bound, path, word) for path in paths_of(bound))
    if not is_literal:
        paths = tuple(checked_wildcards(bound, path, word) for path in paths)
    return FilesExist(paths, _kind(bound), is_literal)


def _of_keys(bound: Bound) -> Action:
    return KeysExist(tuple(key for key, _ in literal_keys(bound)), _kind(bound))


TEST_PATH = Cmdlet(
    ("Test-Path",),
    "Test-Path [-Path] PATH[, …] [-PathType Any | Container | Leaf]\nTest-Path -LiteralPath PATH[, …]",
    "Tells whether a file, a directory or a key exists: in a condition, or as a value. With the wildcards `*` and `?`.",
    (
        Parameter("Path", Kind.TEXTS, 0),
        Parameter("LiteralPath", Kind.TEXTS, aliases=("PSPath", "LP")),
        Parameter("PathType", aliases=("Type",)),
        *unsupported(
            "IsValid", "Filter", "Include", "Exclude", "Credential", "UseTransaction", "OlderThan", "NewerThan"
        ),
    ),
    by_provider(_of_files, _of_keys),
    "PowerShell: files and registry",
    never_fails=True,
)
