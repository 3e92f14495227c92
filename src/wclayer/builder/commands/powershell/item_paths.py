"""The paths of cmdlets: which ones are in the image, and which items a path with wildcards names.

Every name of a path may have wildcards. Source: PowerShell's LocationGlobber.cs.
"""

from __future__ import annotations

from dataclasses import dataclass

from wclayer.builder.commands.powershell.cmdlet import Bound
from wclayer.builder.commands.powershell.name_patterns import NamePattern, PatternError, has_wildcards, unescaped
from wclayer.builder.commands.state import PlannedState, Shell, is_null_device
from wclayer.builder.commands.wildcards import Found, children, item_at, join_path
from wclayer.win32.attributes import FileAttributes
from wclayer.win32.names import name_key

HIDDEN, READ_ONLY, SYSTEM = FileAttributes.HIDDEN, FileAttributes.READONLY, FileAttributes.SYSTEM


def check_path(bound: Bound, state: PlannedState, parameter: str, text: str) -> None:
    """Refuses a path that is not one of files in the image.

    Args:
        parameter: the name of the parameter whose value it is.

    Raises:
        NotSupportedError: it is on another drive or of another provider, names an alternate stream or a device, or
            begins with `~`.
        InvalidParameterError: it is empty.
    """
    word = bound.word(parameter)
    if text.startswith("~"):
        raise bound.refuse(word, "~ is the folder of the user; write $env:USERPROFILE")
    if text.startswith(("\\\\?\\", "\\\\.\\")) or is_null_device(text):
        raise bound.refuse(word, r"is a path of a device; paths in a build are on C:\ ")
    drive, colon, rest = text.partition(":")
    if colon and len(drive) != 1:
        what = "an alternate stream" if "\\" in drive or "/" in drive or "." in drive else f"the drive {drive}:"
        raise bound.refuse(word, f"is a path of {what}, and this command is supported for files and directories")
    if ":" in rest:
        raise bound.refuse(word, "names an alternate stream, which is not supported; use `cmd /c`")
    state.path(text)


@dataclass(frozen=True)
class ItemPaths:
    """The paths of a cmdlet: of `-Path`, with wildcards, or of `-LiteralPath`, without.

    Attributes:
        texts: the paths as they are written.
        parameter: the name of the parameter.
    """

    texts: tuple[str, ...]
    parameter: str

    @classmethod
    def of(cls, bound: Bound) -> ItemPaths:
        """Returns the paths of a call.

        Raises:
            NotSupportedError: there are none, or both parameters are given; a pattern is not valid.
        """
        if "Path" in bound and "LiteralPath" in bound:
            raise bound.refuse(bound.word("LiteralPath"), "write -Path or -LiteralPath, not both")
        made = cls(bound.texts("Path"), "Path") if "Path" in bound else cls(bound.texts("LiteralPath"), "LiteralPath")
        if not made.texts:
            raise bound.refuse(bound.name, "write the path")
        for text in made.texts:
            try:
                if made.has_wildcards(text):
                    NamePattern(text)
            except PatternError as error:
                raise bound.refuse(bound.word("Path"), f"{error}; use -LiteralPath, or a backtick before it") from None
        return made

    def has_wildcards(self, text: str) -> bool:
        """Returns whether one of the paths has wildcards."""
        return self.parameter == "Path" and has_wildcards(text)

    def check(self, bound: Bound, state: PlannedState) -> None:
        """Refuses paths that are not those of files in the image (`check_path`)."""
        for text in self.texts:
            check_path(bound, state, self.parameter, text)

    def plain(self, text: str) -> str:
        """Returns a path without wildcards as the file system has it."""
        return unescaped(text) if self.parameter == "Path" else text

    def find(self, shell: Shell, text: str, *, with_hidden: bool) -> list[Found]:
        """Returns what one of the paths names: with wildcards directories first, each in the order of their names.

        Args:
            with_hidden: wildcards find hidden files, too (`-Force`). A path without wildcards always finds them.

        Raises:
            NothingThereError: a path without wildcards, or the part before them, does not exist.
        """
        if not self.has_wildcards(text):
            path = shell.path(self.plain(text))
            one = item_at(shell, path)
            if one is None:
                raise NothingThereError(path)
            return [one]
        return _expanded(shell, shell.path(text), with_hidden)


class NothingThereError(Exception):
    """A path does not exist."""

    def __init__(self, path: str) -> None:
        super().__init__(f"Cannot find path '{path}' because it does not exist.")


def _expanded(shell: Shell, path: str, with_hidden: bool) -> list[Found]:
    parts = path.split("\\")
    first = next(at for at, part in enumerate(parts) if has_wildcards(part))
    base = "\\".join(parts[:first]) + ("\\" if first == 1 else "")
    top = item_at(shell, base)
    if top is None:
        raise NothingThereError(base)
    found = [top]
    for part in parts[first:]:
        if has_wildcards(part):
            found = [one for above in found for one in _inside(shell, above.path, part, with_hidden)]
        else:
            below = [item_at(shell, join_path(above.path, unescaped(part))) for above in found]
            found = [one for one in below if one is not None]
    return found


def _inside(shell: Shell, directory: str, pattern: str, with_hidden: bool) -> list[Found]:
    wanted = NamePattern(pattern)
    found = [
        one
        for one in children(shell, directory)
        if wanted.matches(one.name) and (with_hidden or not one.attributes & HIDDEN)
    ]
    return sorted(found, key=lambda one: (not one.is_directory, name_key(one.name)))


def is_container(shell: Shell, path: str) -> bool:
    """Returns whether a path names a directory or a link to one, as PowerShell sees it: by its attributes."""
    one = item_at(shell, path)
    return one is not None and one.is_directory


def is_in_use(shell: Shell, path: str) -> bool:
    """Returns whether a path is the current directory, or is above it: such an item cannot be moved or removed."""
    return (name_key(shell.directory).rstrip("\\") + "\\").startswith(name_key(path).rstrip("\\") + "\\")
