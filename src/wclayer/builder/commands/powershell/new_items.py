"""New-Item and mkdir for files, directories and links.

Sources: "New-Item"; FileSystemProvider.NewItem, .CreateDirectory and SessionStateContainer.NewItem of PowerShell.
"""

from __future__ import annotations

from dataclasses import dataclass

from wclayer.builder.commands.command import Action
from wclayer.builder.commands.copy_file import check_overwritable
from wclayer.builder.commands.messages import is_of_host
from wclayer.builder.commands.powershell.cmdlet import Bound
from wclayer.builder.commands.powershell.item_calls import ItemCall
from wclayer.builder.commands.powershell.item_paths import check_path, is_container
from wclayer.builder.commands.powershell.name_patterns import has_wildcards
from wclayer.builder.commands.powershell.scope import Edition
from wclayer.builder.commands.powershell.values import to_text
from wclayer.builder.commands.state import PlannedState, Shell
from wclayer.builder.commands.wildcards import item_at, split_path
from wclayer.errors import ERROR_INVALID_NAME, LayerError
from wclayer.win32.names import path_key
from wclayer.win32.reparse import LinkTarget

_TYPES = {
    "directory": "Directory", "container": "Directory", "file": "File", "symboliclink": "SymbolicLink",
    "junction": "Junction", "hardlink": "HardLink",
}  # fmt: skip
_LINKS = ("SymbolicLink", "Junction", "HardLink")


@dataclass(frozen=True)
class NewItem:
    """`New-Item`.

    Attributes:
        bound: the call.
        paths: the new items, absolute or relative.
        type: File, Directory, SymbolicLink, Junction or HardLink.
        value: the contents of a file, or the target of a link.
        force: directories above are made, and what exists is no error.
    """

    bound: Bound
    paths: tuple[str, ...]
    type: str
    value: str
    force: bool

    def check(self, state: PlannedState) -> None:
        for path in self.paths:
            check_path(self.bound, state, "Path", path)
        if self.type in _LINKS:
            check_path(self.bound, state, "Value", self.value)

    def run(self, shell: Shell) -> int:
        call = ItemCall(self.bound, shell)
        for text in self.paths:
            path = shell.path(text)
            try:
                if self.force:
                    shell.view.makedirs(split_path(path)[0])
                self._make(call, path)
            except LayerError as error:
                call.fail_at(path, error)
        return call.code

    def _make(self, call: ItemCall, path: str) -> None:
        if self.type == "Directory":
            make_directory(call, path, force=self.force)
        elif self.type == "File":
            self._file(call, path)
        elif self.type == "Junction":
            self._junction(call, path)
        else:
            self._link(call, path)

    def _file(self, call: ItemCall, path: str) -> None:
        view = call.view
        if view.exists(path):
            if not self.force:
                call.fail(f"The file '{path}' already exists.")
                return
            overwrite(call, path)
        with view.open(path, "wb") as file:
            file.write(self.value.encode())

    def _link(self, call: ItemCall, path: str) -> None:
        target = call.shell.path(self.value)
        leads_to = item_at(call.shell, target)
        is_symbolic = self.type == "SymbolicLink"
        # Windows PowerShell wants the target of a symbolic link, too; PowerShell since 6 does not.
        if leads_to is None and not (is_symbolic and self.bound.edition is Edition.CORE):
            call.fail(f"Cannot find path '{target}' because it does not exist.")
            return
        is_directory = leads_to is not None and leads_to.is_directory
        if is_directory and not is_symbolic:
            call.fail(f"A file is required for the operation. The item '{target}' is not a file.")
            return
        existing = item_at(call.shell, path)
        if existing is not None:
            if not self.force:
                call.fail(f"Cannot create link because the path already exists: {path}.")
                return
            if path_key(path) == path_key(target):
                call.fail("The target and path cannot be the same.")
                return
            if existing.is_directory and not existing.status.is_link:
                call.view.rmdir(path)
            else:
                call.view.unlink(path)
        if is_symbolic:
            link = LinkTarget.from_path(self.value.replace("/", "\\"), is_mount_point=False)
            call.view.create_link(path, link, is_directory=is_directory)
        else:
            call.view.link(path, target)

    def _junction(self, call: ItemCall, path: str) -> None:
        target = call.shell.path(self.value)
        if item_at(call.shell, target) is None:
            call.fail(f"Cannot find path '{target}' because it does not exist.")
            return
        existing = item_at(call.shell, path)
        for one in (target, path):
            if (one == target or existing is not None) and not is_container(call.shell, one):
                call.fail(f"A directory is required for the operation. The item '{one}' is not a directory.")
                return
        if existing is not None:
            if not existing.status.is_link and call.view.listdir(path):
                call.fail(f"Directory {path} cannot be removed because it is not empty.")
                return
            call.view.rmdir(path)
        call.view.makedirs(split_path(path)[0])
        # PowerShell states no path to print, other than mklink.
        link = LinkTarget(f"\\??\\{target}", "", is_mount_point=True)
        call.view.create_link(path, link, is_directory=True)


def make_directory(call: ItemCall, path: str, *, force: bool) -> None:
    """Makes a directory and those above it. One that exists is an error, but not with `force`."""
    existing = item_at(call.shell, path)
    if existing is not None:
        if not force:
            call.fail(f"An item with the specified name {path} already exists.")
        return
    try:
        call.view.makedirs(path)
    except LayerError as error:
        # With -Force, PowerShell does not tell that a file is in the way.
        if not force or error.code == ERROR_INVALID_NAME or is_of_host(error):
            call.fail_at(path, error)


def overwrite(call: ItemCall, path: str) -> None:
    """Prepares a file for new contents, as CREATE_ALWAYS does: its alternate streams go, what it protects is refused.

    Raises:
        LayerError: it is a directory, read-only, hidden or a system file.
    """
    check_overwritable(call.view.stat(path), 0)
    for name, _ in call.view.streams(path):
        call.view.remove_stream(path, name)


def parse_new_item(bound: Bound) -> Action:
    """Returns the action of New-Item for files."""
    word = bound.text("ItemType") or "File"
    types = {kind for name, kind in _TYPES.items() if name.startswith(word.lower())}
    if len(types) != 1:
        raise bound.refuse(word, "possible are File, Directory, SymbolicLink, Junction and HardLink")
    return _new_item(bound, types.pop())


def parse_mkdir(bound: Bound) -> Action:
    """Returns the action of the function mkdir."""
    return _new_item(bound, "Directory")


def _new_item(bound: Bound, kind: str) -> NewItem:
    paths = bound.texts("Path")
    name = bound.text("Name")
    if name is not None:
        for path in paths:
            if has_wildcards(path):
                raise bound.refuse(
                    bound.word("Path"), "wildcards make an item in each directory; write them one by one"
                )
        paths = tuple(f"{path}\\{name}" for path in paths or (".",))
    if not paths:
        raise bound.refuse(bound.name, "write the path")
    value = bound.value("Value")
    if isinstance(value, tuple):
        raise bound.refuse(bound.word("Value"), "is several values; write one, or use Set-Content")
    text = to_text(value)
    if kind in _LINKS:
        if not text:
            raise bound.refuse(kind, "a link needs a target: -Target PATH")
        if text[1:3] not in (":\\", ":/"):
            raise bound.refuse(
                bound.word("Value"),
                "is a relative target, of which each version of PowerShell makes another link; write an absolute path",
            )
        if has_wildcards(text):
            raise bound.refuse(bound.word("Value"), "has a wildcard; write the path of one item")
    return NewItem(bound, tuple(path.rstrip(" \\/") or "\\" for path in paths), kind, text, bound.flag("Force"))
