"""Move-Item and Rename-Item for files and directories.

Sources: "Move-Item", "Rename-Item"; MoveItemCommand, FileSystemProvider.MoveItem and .RenameItem of PowerShell.
"""

from __future__ import annotations

from dataclasses import dataclass

from wclayer.builder.commands.command import Action
from wclayer.builder.commands.messages import ALREADY_EXISTS
from wclayer.builder.commands.powershell.cmdlet import Bound
from wclayer.builder.commands.powershell.item_calls import ItemCall
from wclayer.builder.commands.powershell.item_paths import ItemPaths, check_path, is_container, is_in_use
from wclayer.builder.commands.powershell.name_patterns import has_wildcards
from wclayer.builder.commands.powershell.scope import Edition
from wclayer.builder.commands.state import PlannedState, Shell
from wclayer.builder.commands.wildcards import Found, item_at, join_path, split_path
from wclayer.errors import LayerError, NotSupportedError
from wclayer.win32.names import is_reserved, names_equal, path_key

_SAME = "Source and destination path must be different."


@dataclass(frozen=True)
class MoveItem:
    """`Move-Item`.

    Attributes:
        bound: the call.
        paths: what is moved.
        destination: where it goes.
        force: an existing file is replaced.
    """

    bound: Bound
    paths: ItemPaths
    destination: str
    force: bool

    def check(self, state: PlannedState) -> None:
        self.paths.check(self.bound, state)
        check_path(self.bound, state, "Destination", self.destination)

    def run(self, shell: Shell) -> int:
        call = ItemCall(self.bound, shell)
        target = shell.path(self.destination)
        for text in self.paths.texts:
            found = call.find(self.paths, text, with_hidden=self.force)
            if len(found) > 1 and not is_container(shell, target):
                raise NotSupportedError(
                    target, f"is no directory, and {text} finds {len(found)} items; make the directory before"
                )
            for one in found:
                if is_in_use(shell, one.path):
                    call.fail(f"Cannot move item because the item at '{one.path}' is in use.")
                    continue
                try:
                    self._move(call, one, target)
                except LayerError as error:
                    call.fail_at(target, error)
        return call.code

    def _move(self, call: ItemCall, one: Found, target: str) -> None:
        if is_container(call.shell, target):
            target = join_path(target, one.name)
        elif self.destination[-1:] in ("\\", "/") and not one.is_directory:
            call.fail(f"Could not find a part of the path '{target}\\'.")
            return
        if one.is_directory and (path_key(target) + "\\").startswith(path_key(one.path) + "\\"):
            call.fail(f"Destination path cannot be a subdirectory of the source or the source itself: {target}.")
            return
        existing = item_at(call.shell, target)
        if existing is not None and existing.status.path == one.status.path:
            # The item itself, by another case or through a link: only the spelling changes.
            if not names_equal(split_path(target)[1], one.name):
                raise NotSupportedError(target, f"is the short name of {one.path}; write another name")
        elif existing is not None:
            if one.is_directory or existing.is_directory or not self.force:
                call.fail(ALREADY_EXISTS)
                return
            call.view.unlink(target)
        call.view.rename(one.path, target)


@dataclass(frozen=True)
class RenameItem:
    """`Rename-Item`.

    Attributes:
        bound: the call.
        paths: the item, one path.
        name: its new name.
    """

    bound: Bound
    paths: ItemPaths
    name: str

    def check(self, state: PlannedState) -> None:
        self.paths.check(self.bound, state)

    def run(self, shell: Shell) -> int:
        call = ItemCall(self.bound, shell)
        for one in call.find(self.paths, self.paths.texts[0], with_hidden=True):
            if is_in_use(shell, one.path):
                call.fail(f"Cannot rename the item at '{one.path}' because it is in use.")
                continue
            directory = split_path(one.path)[0]
            try:
                self._rename(call, one, directory)
            except LayerError as error:
                call.fail_at(one.path, error)
        return call.code

    def _rename(self, call: ItemCall, one: Found, directory: str) -> None:
        name = self.name
        if name.startswith((".\\", "./")):
            name = name[2:]
        elif path_key(name.replace("/", "\\")).startswith(path_key(directory.rstrip("\\")) + "\\"):
            name = name[len(directory.rstrip("\\")) + 1 :]
        if "\\" in name or "/" in name or ":" in name or is_reserved(name):
            call.fail("Cannot rename the specified target, because it represents a path or device name.")
            return
        target = call.shell.path(join_path(directory, name))
        name = split_path(target)[1]
        if names_equal(name, one.name):
            # .NET Framework compares the paths of directories without case, .NET with case.
            if one.is_directory and (name == one.name or self.bound.edition is Edition.WINDOWS):
                call.fail(_SAME)
                return
        elif item_at(call.shell, target) is not None:
            call.fail(ALREADY_EXISTS)
            return
        call.view.rename(one.path, target, replace=False)


def parse_move_item(bound: Bound) -> Action:
    """Returns the action of Move-Item."""
    destination = bound.text("Destination")
    if destination == "":
        raise bound.refuse(bound.word("Destination"), "the path is empty")
    if destination is not None and has_wildcards(destination):
        raise bound.refuse(bound.word("Destination"), "has a wildcard; write the path of one directory or file")
    return MoveItem(bound, ItemPaths.of(bound), destination or ".", bound.flag("Force"))


def parse_rename_item(bound: Bound) -> Action:
    """Returns the action of Rename-Item for files."""
    paths = ItemPaths.of(bound)
    name = bound.text("NewName")
    if not name:
        raise bound.refuse(bound.name, "write the new name: -NewName NAME")
    if len(paths.texts) > 1 or paths.has_wildcards(paths.texts[0]):
        raise bound.refuse(bound.word(paths.parameter), "one item can be renamed; write its path without wildcards")
    return RenameItem(bound, paths, name)
