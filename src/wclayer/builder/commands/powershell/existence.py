"""`Test-Path`: whether a file, a directory or a key exists."""

from __future__ import annotations

from dataclasses import dataclass

from wclayer.builder.commands.command import Action
from wclayer.builder.commands.powershell.cmdlet import (
    LITERAL_PATH,
    PATH,
    Bound,
    Cmdlet,
    Parameter,
    Question,
    unsupported,
)
from wclayer.builder.commands.powershell.item_paths import ItemPaths, NothingThereError
from wclayer.builder.commands.powershell.paths import by_provider, literal_keys
from wclayer.builder.commands.powershell.values import Unknown, Value
from wclayer.builder.commands.registry_keys import edited_registry
from wclayer.builder.commands.state import PlannedState, Shell

_UNKNOWN = Unknown("whether it exists is decided only when the command runs")
_KINDS = ("any", "container", "leaf")


def _answers(answers: list[bool]) -> Value:
    return answers[0] if len(answers) == 1 else tuple(answers)


@dataclass(frozen=True)
class FilesExist(Question):
    """`Test-Path` of files; a link counts, wherever it leads.

    Attributes:
        bound: the call.
        paths: the paths. One with wildcards is a directory if all that it finds are.
        kind: `container` for directories alone, `leaf` for files alone, or `any`.
    """

    bound: Bound
    paths: ItemPaths
    kind: str

    def plan(self, state: PlannedState) -> Value:
        self.paths.check(self.bound, state)
        return _UNKNOWN

    def answer(self, shell: Shell) -> Value:
        return _answers([self._exists(shell, text) for text in self.paths.texts])

    def _exists(self, shell: Shell, text: str) -> bool:
        try:
            found = self.paths.find(shell, text, with_hidden=False)
        except NothingThereError:
            return False
        is_container = all(one.is_directory for one in found)
        return bool(found) and (self.kind == "any" or (self.kind == "container") == is_container)


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
    return FilesExist(bound, ItemPaths.of(bound), _kind(bound))


def _of_keys(bound: Bound) -> Action:
    return KeysExist(tuple(key for key, _ in literal_keys(bound)), _kind(bound))


TEST_PATH = Cmdlet(
    ("Test-Path",),
    "Test-Path [-Path] PATH[, …] [-PathType Any | Container | Leaf]\nTest-Path -LiteralPath PATH[, …]",
    "Tells whether a file, a directory or a key exists: in a condition, or as a value. With wildcards for files.",
    (
        PATH,
        LITERAL_PATH,
        Parameter("PathType", aliases=("Type",)),
        *unsupported(
            "IsValid", "Filter", "Include", "Exclude", "Credential", "UseTransaction", "OlderThan", "NewerThan"
        ),
    ),
    by_provider(_of_files, _of_keys),
    "PowerShell: files and registry",
    never_fails=True,
)
