"""Finds files by paths with wildcards in their last component, and makes new names of masks, as `rename` does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from wclayer.builder.commands.state import Shell
from wclayer.errors import EntryNotDirectoryError, InvalidParameterError, PathNotFoundError, UnresolvedLinkError
from wclayer.view.layer_view import FileStatus
from wclayer.view.resolve import names_by_short_name
from wclayer.win32.attributes import FileAttributes
from wclayer.win32.wildcards import FilePattern, has_wildcards

NOT_THERE = PathNotFoundError, EntryNotDirectoryError, UnresolvedLinkError, InvalidParameterError
"""What a view raises for a path at which there is nothing. All else is a problem of the layer or the host."""


@dataclass(frozen=True)
class Found:
    r"""A file or directory that a path names: its path `C:\…` in the stored spelling of the name, and its metadata."""

    path: str
    status: FileStatus

    @property
    def name(self) -> str:
        """The name in the stored spelling."""
        return self.path.rpartition("\\")[2]

    @property
    def is_directory(self) -> bool:
        return self.status.is_directory

    @property
    def attributes(self) -> int:
        return self.status.info.attributes

    @property
    def is_read_only(self) -> bool:
        return bool(self.attributes & FileAttributes.READONLY)

    @property
    def is_hidden(self) -> bool:
        """Whether it is hidden or a system file: most commands do not see it then."""
        return bool(self.attributes & (FileAttributes.HIDDEN | FileAttributes.SYSTEM))


def split_path(path: str) -> tuple[str, str]:
    r"""Returns the directory and the name of an absolute path: `C:\a\b` is `C:\a` and `b`."""
    directory, _, name = path.rpartition("\\")
    return (directory + "\\" if directory == "C:" else directory), name


def join_path(directory: str, name: str) -> str:
    r"""Returns the path of a name in a directory, which may be `C:\`."""
    return directory.rstrip("\\") + "\\" + name


def is_directory(shell: Shell, path: str) -> bool:
    """Returns whether a directory, or a link to one, is at a path."""
    return shell.view.exists(path) and shell.view.stat(path).is_directory


def item_at(shell: Shell, path: str) -> Found | None:
    """Returns what is at an absolute path, or None if there is nothing; a link itself, not its target."""
    try:
        status = shell.view.stat(path, follow=False)
    except NOT_THERE:
        return None
    directory, name = split_path(path)
    return Found(join_path(directory, status.path.rpartition("/")[2]) if name else path, status)


def find(shell: Shell, text: str) -> Iterator[Found]:
    """Yields what a path with or without wildcards names, in the order of NTFS; a link itself, not its target."""
    path = shell.path(text)
    if not has_wildcards(path):
        one = item_at(shell, path)
        if one is not None:
            yield one
        return
    directory, pattern = split_path(path)
    if not has_wildcards(directory):
        yield from children(shell, directory, pattern)


def children(shell: Shell, directory: str, pattern: str = "*") -> Iterator[Found]:
    """Yields the entries of a directory that a pattern matches, by their name or their short name."""
    try:
        inside = shell.view.scan(directory)
    except NOT_THERE:
        return
    wanted = FilePattern(pattern)
    short = _short_names(shell, directory) if inside and not wanted.finds_all else {}
    for status in inside:
        name = status.path.rpartition("/")[2]
        if wanted.matches(name) or (name in short and wanted.matches(short[name])):
            yield Found(join_path(directory, name), status)


def _short_names(shell: Shell, directory: str) -> dict[str, str]:
    """Returns the short names in a directory by the long ones."""
    with shell.view.volume.reading() as tree:
        node = shell.view.volume.find(directory)
        return {long: short for short, long in names_by_short_name(tree, node).items()}


def walk(shell: Shell, directory: str) -> Iterator[str]:
    """Yields a directory and all directories below it; links are not followed."""
    pending = [directory]
    while pending:
        at = pending.pop()
        yield at
        below = [found.path for found in children(shell, at) if found.is_directory and not found.status.is_link]
        pending += reversed(below)


def renamed(name: str, mask: str) -> str:
    """Returns the new name of a file that `rename` makes of its name and a mask.

    `?` takes one character of the name, `*` all that are left, `*c` all up to the last `c`. Another character replaces
    one of the name. A dot goes on after the next dot of the name. Dots and blanks at the end are cut off.
    """
    made: list[str] = []
    at = place = 0
    while at < len(mask):
        character = mask[at]
        at += 1
        if character == "*":
            until = mask[at : at + 1]
            end = name.rfind(until, place) if until and until not in "*?" else -1
            if end < 0:
                made.append(name[place:])
                place = len(name)
            else:
                made.append(name[place:end])
                place = end
            if until == ".":
                made.append(".")
                place = min(place + 1, len(name))
                at += 1
        elif character == ".":
            dot = name.find(".", place)
            place = len(name) if dot < 0 else dot + 1
            made.append(".")
        elif character == "?":
            if place < len(name) and name[place] != ".":
                made.append(name[place])
                place += 1
        else:
            made.append(character)
            if place < len(name) and name[place] != ".":
                place += 1
    return "".join(made).rstrip(". ")
