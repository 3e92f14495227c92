"""Copy-Item for files and directories.

Sources: "Copy-Item"; SessionStateContainer.CopyItem and FileSystemProvider.CopyItem of PowerShell. It looks once for
each path whether the target is a directory, and again for each item. So of several directories that `*` finds, the
first one becomes a target that does not exist, and the others are errors.
"""

from __future__ import annotations

from dataclasses import dataclass

from wclayer.builder.commands.command import Action
from wclayer.builder.commands.copy_file import copy_file, is_same_file
from wclayer.builder.commands.powershell.cmdlet import Bound
from wclayer.builder.commands.powershell.item_calls import ItemCall
from wclayer.builder.commands.powershell.item_paths import HIDDEN, READ_ONLY, ItemPaths, check_path, is_container
from wclayer.builder.commands.powershell.new_items import make_directory
from wclayer.builder.commands.state import PlannedState, Shell
from wclayer.builder.commands.wildcards import Found, children, item_at, join_path
from wclayer.errors import ERROR_ACCESS_DENIED, ERROR_PATH_NOT_FOUND, LayerError, NotSupportedError
from wclayer.win32.names import path_key


@dataclass(frozen=True)
class CopyItem:
    """`Copy-Item`.

    Attributes:
        bound: the call.
        paths: what is copied.
        destination: where it goes.
        recurse: with what is in directories; without, a directory is copied empty.
        force: hidden and read-only files are replaced, and a directory that exists is no error.
    """

    bound: Bound
    paths: ItemPaths
    destination: str
    recurse: bool
    force: bool

    def check(self, state: PlannedState) -> None:
        self.paths.check(self.bound, state)
        check_path(self.bound, state, "Destination", self.destination)

    def run(self, shell: Shell) -> int:
        call = ItemCall(self.bound, shell)
        target = shell.path(self.destination)
        for text in self.paths.texts:
            found = call.find(self.paths, text, with_hidden=self.force)
            was_container = is_container(shell, target)
            for one in found:
                if one.is_directory and not was_container and item_at(shell, target) is not None:
                    call.fail("Container cannot be copied onto existing leaf item.")
                elif is_same_file(shell, one.path, target):
                    call.fail(f"Cannot overwrite the item {one.path} with itself.")
                elif one.is_directory:
                    self._directory(call, one, target)
                else:
                    self._file(call, one, target)
        return call.code

    def _file(self, call: ItemCall, one: Found, target: str) -> None:
        if is_container(call.shell, target):
            target = join_path(target, one.name)
        elif self.destination[-1:] in ("\\", "/"):
            # A file's name does not end in a separator.
            call.fail_at(target + "\\", LayerError(target, "is no directory", code=ERROR_PATH_NOT_FOUND))
            return
        if is_same_file(call.shell, one.path, target):
            call.fail(f"Cannot overwrite the item {target} with itself.")
            return
        try:
            if self.force:
                _make_replaceable(call, target)
            copy_file(call.shell, one.path, target)
        except LayerError as error:
            call.fail_at(target if error.code == ERROR_ACCESS_DENIED else one.path, error)

    def _directory(self, call: ItemCall, top: Found, destination: str) -> None:
        pending = [(top, destination)]
        while pending:
            one, target = pending.pop()
            if one is not top and one.status.is_link:
                raise NotSupportedError(one.path, "is a link in a directory; Copy-Item would copy what it leads to")
            if is_container(call.shell, target):
                target = join_path(target, one.name)
            make_directory(call, target, force=self.force)
            if not self.recurse:
                continue
            if _is_in(call, target, top.path):
                raise NotSupportedError(target, f"is in {top.path}, which is copied there; choose another destination")
            inside = list(children(call.shell, one.path))
            for file in inside:
                if not file.is_directory:
                    self._file(call, file, target)
            pending += [(each, target) for each in reversed(inside) if each.is_directory]


def _is_in(call: ItemCall, path: str, directory: str) -> bool:
    """Returns whether a path is that of a directory or of something in it, wherever links on the way lead."""
    if not call.view.exists(path):
        return False
    real, above = (path_key(call.view.stat(each).path) for each in (path, directory))
    return f"{real}/".startswith(f"{above}/")


def _make_replaceable(call: ItemCall, path: str) -> None:
    """Takes from an existing file the attributes that keep it from being replaced, as -Force does."""
    if call.view.exists(path):
        status = call.view.stat(path)
        if status.info.attributes & (READ_ONLY | HIDDEN) and not status.is_directory:
            call.view.set_attributes(path, status.info.attributes & ~(READ_ONLY | HIDDEN))


def parse_copy_item(bound: Bound) -> Action:
    """Returns the action of Copy-Item."""
    if "Container" in bound and not bound.flag("Container"):
        raise bound.refuse("-Container:$false", "is not supported; copy the files of each directory")
    destination = bound.text("Destination")
    if destination == "":
        raise bound.refuse(bound.word("Destination"), "the path is empty")
    return CopyItem(bound, ItemPaths.of(bound), destination or ".", bound.flag("Recurse"), bound.flag("Force"))
