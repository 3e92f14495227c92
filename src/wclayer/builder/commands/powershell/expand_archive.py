"""Expand-Archive: a zip, unpacked into a directory.

Sources: "Expand-Archive"; the module Microsoft.PowerShell.Archive (1.0.1.0 in Windows PowerShell, 1.2.5 in PowerShell).
"""

from __future__ import annotations

from dataclasses import dataclass

from wclayer.builder.commands.command import Action
from wclayer.builder.commands.powershell.cmdlet import Bound
from wclayer.builder.commands.powershell.expansion import Expansion
from wclayer.builder.commands.powershell.item_calls import ItemCall
from wclayer.builder.commands.powershell.item_paths import ItemPaths, check_path, is_container
from wclayer.builder.commands.powershell.name_patterns import has_wildcards
from wclayer.builder.commands.powershell.new_items import make_directory
from wclayer.builder.commands.powershell.scope import Edition
from wclayer.builder.commands.state import PlannedState, Shell
from wclayer.builder.commands.wildcards import Found, join_path
from wclayer.errors import errors_at
from wclayer.formats.zip import ZipReader


@dataclass(frozen=True)
class ExpandArchive:
    """`Expand-Archive`.

    Attributes:
        bound: the call.
        paths: the archive, one path.
        destination: the directory; None for one in the current directory with the name of the archive.
        force: existing files are replaced.
    """

    bound: Bound
    paths: ItemPaths
    destination: str | None
    force: bool

    def check(self, state: PlannedState) -> None:
        self.paths.check(self.bound, state)
        if self.destination is not None:
            check_path(self.bound, state, "DestinationPath", self.destination)

    def run(self, shell: Shell) -> int:
        call = ItemCall(self.bound, shell)
        target = None if self.destination is None else shell.path(self.destination)
        # As in the module: the directory is made also if the archive does not exist.
        if target is not None and not _has_target(call, target):
            return call.code
        archive = self._archive(call)
        if archive is None:
            return call.code
        if target is None:
            target = join_path(shell.directory, archive.name.rpartition(".")[0] or archive.name)
            if not _has_target(call, target):
                return call.code
        with errors_at(archive.path), shell.view.open(archive.path, "rb") as file:
            # A link leads to the archive.
            archive = Found(archive.path, shell.view.stat(archive.path))
            expansion = Expansion(shell, archive, target, ZipReader(file))
            expansion.check()
            for path in expansion.existing if not self.force else ():
                call.fail(
                    f"Failed to create file '{path}' while expanding the archive file '{archive.path}' contents as the "
                    f"file '{path}' already exists. Use the -Force parameter if you want to overwrite the existing "
                    f"directory '{path}' contents when expanding the archive file."
                )
            expansion.write(replace=self.force)
        return call.code

    def _archive(self, call: ItemCall) -> Found | None:
        """Returns the archive, or None after an error."""
        text = self.paths.texts[0]
        found = call.find(self.paths, text, with_hidden=False)
        if call.code:
            return None
        if len(found) > 1:
            call.fail(f"The archive file path '{text}' is resolving to multiple file system paths.")
            return None
        if not found or found[0].is_directory:
            call.fail(f"The path '{text}' either does not exist or is not a valid file system path.")
            return None
        name = found[0].name
        if self.bound.edition is Edition.WINDOWS and not name.lower().endswith(".zip"):
            call.fail(f"{name} is not a supported archive file format. .zip is the only supported archive file format.")
            return None
        return found[0]


def _has_target(call: ItemCall, path: str) -> bool:
    """Makes the directory unless it exists. Returns whether it exists then."""
    if not is_container(call.shell, path):
        make_directory(call, path, force=False)
    return is_container(call.shell, path)


def parse_expand_archive(bound: Bound) -> Action:
    """Returns the action of Expand-Archive."""
    paths = ItemPaths.of(bound)
    if len(paths.texts) > 1:
        raise bound.refuse(bound.word(paths.parameter), "one archive is expected; write one call for each")
    destination = bound.text("DestinationPath")
    if destination == "":
        raise bound.refuse(bound.word("DestinationPath"), "the path is empty")
    if destination is not None and has_wildcards(destination):
        raise bound.refuse(bound.word("DestinationPath"), "has a wildcard; write the path of one directory")
    return ExpandArchive(bound, paths, destination, bound.flag("Force"))
