"""Remove-Item for files, directories and links.

Sources: "Remove-Item"; RemoveItemCommand and FileSystemProvider.RemoveItem of PowerShell.
"""

from __future__ import annotations

from dataclasses import dataclass

from wclayer.builder.commands.command import Action
from wclayer.builder.commands.powershell.cmdlet import Bound
from wclayer.builder.commands.powershell.item_calls import ItemCall
from wclayer.builder.commands.powershell.item_paths import HIDDEN, READ_ONLY, SYSTEM, ItemPaths, is_in_use
from wclayer.builder.commands.powershell.scope import Edition
from wclayer.builder.commands.state import PlannedState, Shell
from wclayer.builder.commands.wildcards import Found, children
from wclayer.errors import LayerError, NotSupportedError

_PROTECTING = HIDDEN | READ_ONLY | SYSTEM


@dataclass(frozen=True)
class RemoveItem:
    """`Remove-Item`.

    Attributes:
        bound: the call.
        paths: what is removed.
        recurse: with what is in it; without, a directory has to be empty.
        force: hidden, system and read-only items, too.
    """

    bound: Bound
    paths: ItemPaths
    recurse: bool
    force: bool

    def check(self, state: PlannedState) -> None:
        self.paths.check(self.bound, state)

    def run(self, shell: Shell) -> int:
        call = ItemCall(self.bound, shell)
        for text in self.paths.texts:
            for one in call.find(self.paths, text, with_hidden=self.force):
                try:
                    self._remove(call, one)
                except LayerError as error:
                    call.fail_at(one.path, error)
        return call.code

    def _remove(self, call: ItemCall, one: Found) -> None:
        if is_in_use(call.shell, one.path):
            call.fail(f"Cannot remove the item at '{one.path}' because it is in use.")
        elif not one.is_directory:
            self._one(call, one)
        elif one.status.is_link:
            self._check_link(one)
            call.view.rmdir(one.path)
        elif self.recurse:
            self._tree(call, one)
        elif call.view.listdir(one.path):
            raise NotSupportedError(
                one.path, "is a directory with something in it: Remove-Item asks before it removes that; add -Recurse"
            )
        else:
            self._one(call, one)

    def _check_link(self, one: Found) -> None:
        """Refuses a link to a directory in Windows PowerShell, which asks, fails or removes it, depending on its kind
        (PowerShell/PowerShell, issue 621)."""
        if self.bound.edition is Edition.WINDOWS:
            raise NotSupportedError(
                one.path,
                "is a link to a directory, which Windows PowerShell does not remove reliably; use cmd /c rmdir",
            )

    def _one(self, call: ItemCall, one: Found) -> None:
        """Removes a file, a link to one, or an empty directory."""
        if one.attributes & _PROTECTING and not self.force:
            call.fail(
                f"Cannot remove item {one.path}: You do not have sufficient access rights to perform this operation"
                " or the item is hidden, system, or read only."
            )
        elif one.is_directory:
            call.view.rmdir(one.path)
        else:
            call.view.unlink(one.path)

    def _tree(self, call: ItemCall, top: Found) -> None:
        """Removes a directory with all that is in it; links are removed and not followed."""
        inside = _all_in(call.shell, top)
        for one in inside:
            if one.is_directory and one.status.is_link:
                self._check_link(one)
        if self.force or not any(one.attributes & _PROTECTING for one in inside):
            call.view.rmtree(top.path)
            return
        for one in inside:
            if one.is_directory and not one.status.is_link and call.view.listdir(one.path):
                call.fail(f"Directory {one.path} cannot be removed because it is not empty.")
            else:
                self._one(call, one)


def _all_in(shell: Shell, top: Found) -> list[Found]:
    """Returns all items in a directory, each after what is in it, and the directory at the end."""
    found: list[Found] = []
    pending = [top]
    while pending:
        one = pending.pop()
        found.append(one)
        if one.is_directory and not one.status.is_link:
            pending += children(shell, one.path)
    return found[::-1]


def parse_remove_item(bound: Bound) -> Action:
    """Returns the action of Remove-Item for files."""
    return RemoveItem(bound, ItemPaths.of(bound), bound.flag("Recurse"), bound.flag("Force"))
