"""The program xcopy: copies files and the directories around them."""

from __future__ import annotations

from dataclasses import dataclass

from wclayer.builder.commands.command import Action, Command, Invocation, refused
from wclayer.builder.commands.copy_file import copy_file, is_same_file
from wclayer.builder.commands.known_files import FileKind
from wclayer.builder.commands.messages import message_of
from wclayer.builder.commands.state import PlannedState, Shell
from wclayer.builder.commands.wildcards import (
    Found,
    children,
    find,
    is_directory,
    join_path,
    split_path,
)
from wclayer.errors import LayerError, NotSupportedError
from wclayer.win32.attributes import FileAttributes
from wclayer.win32.names import path_key
from wclayer.win32.wildcards import has_wildcards

_READ_ONLY = int(FileAttributes.READONLY)
_IGNORED = ("/c", "/v", "/f", "/w:n", "/z", "/j")
"""Switches that make no difference to what is copied here: errors, verification, listing, restart, buffering."""

_REPLACES = "exists, and xcopy asks before it replaces a file; add /Y"


def _what_is_it(*, is_one: bool) -> str:
    """Returns what is told of a target that may be a file or a directory."""
    hint = "; use copy if it is a file" if is_one else ", or add /I"
    return rf"xcopy asks whether the target is a file or a directory; end the target with \ if it is a directory{hint}"


@dataclass
class XCopy:
    """`xcopy` with its switches."""

    source: str
    target: str
    switches: frozenset[str]

    def check(self, state: PlannedState) -> None:
        source, target = state.path(self.source), state.path(self.target)
        if state.files is None or source is None or target is None or has_wildcards(source):
            return
        kind = state.files.kind(source)
        to = state.files.kind(target)
        if kind in (None, FileKind.ABSENT) or to is None:
            return
        is_one = kind is FileKind.FILE
        if to is FileKind.ABSENT and not self._names_directory(is_one=is_one):
            raise refused(state.where, self.target, _what_is_it(is_one=is_one))
        if is_one and "/y" not in self.switches:
            place = target if to is FileKind.FILE else join_path(target, split_path(source)[1])
            if state.files.kind(place) is FileKind.FILE:
                raise refused(state.where, self.target, _REPLACES)

    def run(self, shell: Shell) -> int:
        source = shell.path(self.source)
        is_tree = is_directory(shell, source)
        if is_tree:
            source = join_path(source, "*")
        directory, pattern = split_path(source)
        deep = bool({"/s", "/e"} & self.switches)
        if not is_tree and not self._any(shell, directory, pattern, deep=deep):
            shell.complain(f"File not found - {pattern}")
            shell.say("0 File(s) copied")
            return 4
        target = shell.path(self.target)
        is_one = not is_tree and not has_wildcards(source)
        if not is_directory(shell, target) and not self._makes_directory(shell, target, is_one=is_one):
            return self._one(shell, source, target)
        if deep and (path_key(target) + "\\").startswith(path_key(directory.rstrip("\\")) + "\\"):
            shell.complain("Cannot perform a cyclic copy")
            shell.say("0 File(s) copied")
            return 4
        try:
            copied = self._tree(shell, directory, pattern, target, deep=deep)
        except LayerError as error:
            message = message_of(error)
            if message is None:
                raise
            shell.complain(message)
            return 4
        shell.say(f"{copied} File(s) copied")
        return 0

    def _makes_directory(self, shell: Shell, target: str, *, is_one: bool) -> bool:
        """Returns whether a target that is no directory becomes one.

        Raises:
            NotSupportedError: xcopy asks what it shall be.
        """
        if shell.view.exists(target):
            return False
        if self._names_directory(is_one=is_one):
            return True
        raise NotSupportedError(target, _what_is_it(is_one=is_one))

    def _names_directory(self, *, is_one: bool) -> bool:
        """Returns whether a target that does not exist is a directory without a question."""
        return self.target[-1:] in ("\\", "/") or ("/i" in self.switches and not is_one)

    def _one(self, shell: Shell, source: str, target: str) -> int:
        """Copies to a target that is a file."""
        found = list(find(shell, source))
        if len(found) != 1:
            raise NotSupportedError(
                target, "is a file, and several files would be copied to it; use copy /B to join them"
            )
        self._copy(shell, found[0], target)
        shell.say("1 File(s) copied")
        return 0

    def _sees(self, found: Found) -> bool:
        return "/h" in self.switches or not found.is_hidden

    def _files(self, shell: Shell, directory: str, pattern: str) -> list[Found]:
        return [one for one in children(shell, directory, pattern) if not one.is_directory and self._sees(one)]

    def _below(self, shell: Shell, directory: str) -> list[Found]:
        found = [one for one in children(shell, directory) if one.is_directory and self._sees(one)]
        for one in found:
            if one.status.is_link:
                raise NotSupportedError(one.path, "is a link to a directory; xcopy would copy what it leads to")
        return found

    def _any(self, shell: Shell, directory: str, pattern: str, *, deep: bool) -> bool:
        """Returns whether there is a file to copy."""
        if self._files(shell, directory, pattern):
            return True
        return deep and any(self._any(shell, one.path, pattern, deep=True) for one in self._below(shell, directory))

    def _tree(self, shell: Shell, directory: str, pattern: str, target: str, *, deep: bool) -> int:
        copied = 0
        pending = [(directory, target)]
        while pending:
            at, to = pending.pop()
            files = self._files(shell, at, pattern)
            if files or "/e" in self.switches or "/t" in self.switches or at == directory:
                shell.view.makedirs(to)
            for one in files if "/t" not in self.switches else []:
                self._copy(shell, one, join_path(to, one.name))
                copied += 1
            if deep or "/t" in self.switches:
                inside = [one for one in self._below(shell, at) if self._is_wanted(shell, one, pattern)]
                pending += [(one.path, join_path(to, one.name)) for one in reversed(inside)]
        return copied

    def _is_wanted(self, shell: Shell, one: Found, pattern: str) -> bool:
        """Returns whether a directory is copied: one without files only with /E."""
        return "/e" in self.switches or self._any(shell, one.path, pattern, deep=True)

    def _copy(self, shell: Shell, one: Found, target: str) -> None:
        if "/q" not in self.switches:
            shell.say(one.path)
        exists = shell.view.exists(target)
        if exists and is_same_file(shell, one.path, target):
            raise NotSupportedError(target, "is the file that is copied; xcopy cannot copy a file onto itself")
        if exists and "/y" not in self.switches:
            raise NotSupportedError(target, _REPLACES)
        copy_file(shell, one.path, target, force="/r" in self.switches)
        attributes = shell.view.stat(target).info.attributes
        if attributes & _READ_ONLY and "/k" not in self.switches:
            shell.view.set_attributes(target, attributes & ~_READ_ONLY)


_SWITCHES = ("/s", "/e", "/i", "/y", "/q", "/h", "/r", "/k", "/t", *_IGNORED)


def _parse_xcopy(invocation: Invocation) -> Action:
    paths: list[str] = []
    switches: set[str] = set()
    for argument in invocation.arguments:
        if argument.startswith("/"):
            for switch in argument.lower().split("/")[1:]:
                if f"/{switch}" not in _SWITCHES:
                    raise invocation.refuse(
                        f"/{switch}", "possible are /S, /E, /T, /I, /Y, /Q, /H, /R, /K, /C, /V and /F"
                    )  # fmt: skip
                switches.add(f"/{switch}")
        else:
            paths.append(argument)
    if len(paths) not in (1, 2):
        raise invocation.refuse("xcopy", "write a source and a target")
    if len(paths) == 2 and has_wildcards(paths[1]):
        raise invocation.refuse(paths[1], "wildcards in the target are not supported")
    return XCopy(paths[0], paths[1] if len(paths) == 2 else ".", frozenset(switches))


COMMANDS = (
    Command(
        ("xcopy",),
        "xcopy SOURCE [TARGET] [/S | /E | /T] [/I] [/Y] [/Q] [/H] [/R] [/K] [/C] [/V] [/F]",
        "Copies files as `copy` does, without the read-only attribute unless /K is given. /S copies "
        "directories that have files in them, /E all, /T directories alone. What would ask is an error that "
        "ends the build: an existing file without /Y, a new target without /I or `\\` at its end. /A, /D, /M,"
        " /O, /X and /EXCLUDE are refused. Exit code 4: nothing was found.",
        _parse_xcopy,
    ),
)
"""The rows of the table."""
