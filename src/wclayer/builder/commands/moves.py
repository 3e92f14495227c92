"""The commands that give files and directories other names: move and rename."""

from __future__ import annotations

from dataclasses import dataclass

from wclayer.builder.commands.command import Action, Command, Invocation
from wclayer.builder.commands.copy_file import is_same_file
from wclayer.builder.commands.messages import (
    ACCESS_DENIED,
    DUPLICATE_NAME,
    FILE_NOT_FOUND,
    IN_USE,
    PATH_NOT_FOUND,
    message_of,
)
from wclayer.builder.commands.state import PlannedState, Shell
from wclayer.builder.commands.wildcards import (
    NOT_THERE,
    Found,
    find,
    is_directory,
    join_path,
    renamed,
    split_path,
)
from wclayer.builder.commands.words import split_words
from wclayer.errors import LayerError
from wclayer.win32.names import names_equal, path_key
from wclayer.win32.wildcards import has_wildcards

_MANY_TO_ONE = "Cannot move multiple files to a single file."
_BAD_TARGET = "The filename, directory name, or volume label syntax is incorrect."


@dataclass
class Move:
    """`move`: files to a directory or another name, or one directory."""

    source: str
    target: str

    def check(self, state: PlannedState) -> None:
        state.path(self.source)
        state.path(self.target)

    def run(self, shell: Shell) -> int:
        found = [one for one in find(shell, self.source) if not has_wildcards(self.source) or not one.is_directory]
        if has_wildcards(self.source):
            found = [one for one in found if not one.is_hidden]
        if not found:
            shell.complain(FILE_NOT_FOUND)
            return 1
        path = shell.path(self.target)
        if has_wildcards(path):
            shell.complain(_BAD_TARGET)
            return 1
        into = is_directory(shell, path)
        if len(found) > 1 and not into:
            shell.complain(_MANY_TO_ONE)
            return 1
        if self.target[-1:] in ("\\", "/") and not into and not found[0].is_directory:
            shell.complain(PATH_NOT_FOUND)
            _tell(shell, 0, found[0])
            return 1
        moved = 0
        for one in found:
            if has_wildcards(self.source):
                shell.say(one.path)
            message = _move(shell, one, join_path(path, one.name) if into and not _is(one, path) else path)
            if message is not None:
                shell.complain(message)
                _tell(shell, moved, one)
                return 1
            moved += 1
        _tell(shell, moved, found[-1])
        return 0


def _is(one: Found, path: str) -> bool:
    """Returns whether a path is another spelling of the entry itself: then only the spelling changes."""
    return path_key(one.path) == path_key(path)


def _move(shell: Shell, one: Found, target: str) -> str | None:
    """Moves an entry. Returns the message of Windows if it cannot be moved."""
    view = shell.view
    if _is_in_use(shell, one):
        return IN_USE
    exists = view.exists(target) and not _is(one, target)
    if exists:
        status = view.stat(target, follow=False)
        # Like MoveFileEx with MOVEFILE_REPLACE_EXISTING: a file may replace a file, and nothing else.
        if one.is_directory or status.is_directory or Found(target, status).is_read_only:
            return ACCESS_DENIED
        if is_same_file(shell, one.path, target):
            view.unlink(one.path)
            return None
    try:
        view.rename(one.path, target)
    except LayerError as error:
        if "into itself" in error.detail:
            return IN_USE
        message = message_of(error)
        if message is None:
            raise
        return message
    return None


def _is_in_use(shell: Shell, one: Found) -> bool:
    """Returns whether an entry is the current directory or above it: the shell holds it open."""
    return one.is_directory and (path_key(shell.directory) + "\\").startswith(path_key(one.path) + "\\")


def _tell(shell: Shell, count: int, last: Found) -> None:
    shell.say(f"{count:9} {'dir' if last.is_directory else 'file'}(s) moved.")


def _parse_move(invocation: Invocation) -> Action:
    words, switches = split_words(invocation.tail)
    for switch in switches:
        if switch != "/y":
            raise invocation.refuse(switch, "possible is /Y; a path with / needs quotes")
    if len(words) not in (1, 2):
        raise invocation.refuse(invocation.name, "write a source and a target")
    return Move(words[0], words[1] if len(words) == 2 else ".")


@dataclass
class Rename:
    """`rename`: another name in the same directory."""

    source: str
    mask: str

    def check(self, state: PlannedState) -> None:
        state.path(self.source)

    def run(self, shell: Shell) -> int:
        is_many = has_wildcards(self.source)
        found = [one for one in find(shell, self.source) if not (is_many and one.is_directory)]
        if not found:
            # `rename` tells a missing directory and a missing file apart.
            is_there = is_directory(shell, split_path(shell.path(self.source))[0])
            shell.complain(FILE_NOT_FOUND if is_there else PATH_NOT_FOUND)
            return 1
        code = 0
        for one in found:
            message = self._rename(shell, one)
            if message is not None:
                shell.complain(message)
                code = 1
        return code

    def _rename(self, shell: Shell, one: Found) -> str | None:
        if _is_in_use(shell, one):
            return IN_USE
        directory = split_path(one.path)[0]
        name = renamed(one.name, self.mask)
        target = join_path(directory, name)
        if not names_equal(name, one.name) and _is_taken(shell, target):
            return DUPLICATE_NAME
        try:
            shell.view.rename(one.path, target, replace=False)
        except FileExistsError:
            return DUPLICATE_NAME
        except LayerError as error:
            message = message_of(error)
            if message is None:
                raise
            return message
        return None


def _is_taken(shell: Shell, path: str) -> bool:
    try:
        shell.view.stat(path, follow=False)
    except NOT_THERE:
        return False
    return True


def _parse_rename(invocation: Invocation) -> Action:
    words, switches = split_words(invocation.tail)
    if switches:
        raise invocation.refuse(switches[0], "there is no such switch; a path with / needs quotes")
    if len(words) != 2:
        raise invocation.refuse(invocation.name, "write a file and its new name")
    if any(character in words[1] for character in "\\/:"):
        raise invocation.refuse(words[1], "a new name without a directory is expected; use move")
    return Rename(*words)


COMMANDS = (
    Command(
        ("move",),
        "move [/Y] SOURCE TARGET",
        "Files with wildcards, or one directory. An existing file is replaced without a question, as in any "
        "`cmd /c`; an existing directory or a read-only file is an error (1). Metadata stay, security "
        "included.",
        _parse_move,
        is_builtin=True,
    ),
    Command(
        ("rename", "ren"),
        "ren SOURCE NAME",
        "With wildcards, which then mean files only: `?` takes a character of the old name, `*` the rest, "
        "`*c` all up to the last `c`. A name that is taken is an error (1).",
        _parse_rename,
        is_builtin=True,
    ),
)
"""The rows of the table."""
