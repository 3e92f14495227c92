"""The command copy: files to files or directories, or several files into one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import IO

from wclayer.builder.commands.command import Action, Command, Invocation
from wclayer.builder.commands.copy_file import check_overwritable, copy_file, is_same_file
from wclayer.builder.commands.messages import (
    ACCESS_DENIED,
    COPY_ONTO_ITSELF,
    FILE_NOT_FOUND,
    PATH_NOT_FOUND,
    message_of,
)
from wclayer.builder.commands.state import PlannedState, Shell, is_null_device
from wclayer.builder.commands.wildcards import (
    Found,
    find,
    is_directory,
    join_path,
    renamed,
    split_path,
)
from wclayer.errors import LayerError
from wclayer.win32.wildcards import has_wildcards

_PIECE = 1 << 20
_END_OF_FILE = b"\x1a"
"""Ctrl+Z, with which texts ended on CP/M: `copy` without /B still heeds and writes it when it joins files."""
_TOKEN = re.compile(r'/[^\s,;="/+]*|\+|(?:"[^"]*"?|[^\s,;="/+])+')
_LOST = "The content of the destination file was lost before copy."


@dataclass
class Copy:
    """`copy` of one or more sources to a target."""

    sources: list[str]
    target: str
    is_binary: bool

    def check(self, state: PlannedState) -> None:
        for path in (*self.sources, self.target):
            if not is_null_device(path):
                state.path(path)

    def run(self, shell: Shell) -> int:
        try:
            return self._joined(shell) if self._joins(shell) else self._each(shell)
        except LayerError as error:
            message = message_of(error)
            if message is None:
                raise
            return _ended(shell, 0, message)

    def _joins(self, shell: Shell) -> bool:
        """Returns whether the sources become one file."""
        if len(self.sources) > 1:
            return True
        source = self.sources[0]
        is_many = not is_null_device(source) and (has_wildcards(source) or is_directory(shell, shell.path(source)))
        takes_many = is_null_device(self.target) or has_wildcards(self.target) or self._is_directory(shell)
        return is_many and not takes_many

    def _is_directory(self, shell: Shell) -> bool:
        if is_null_device(self.target):
            return False
        return self.target[-1:] in ("\\", "/") or is_directory(shell, shell.path(self.target))

    def _found(self, shell: Shell, source: str) -> list[Found]:
        """Returns the files of a source: of a directory those in it. Hidden and system files are not seen."""
        path = shell.path(source)
        if is_directory(shell, path):
            path = join_path(path, "*")
        return [found for found in find(shell, path) if not found.is_directory and not found.is_hidden]

    def _target_of(self, shell: Shell, name: str) -> str | None:
        """Returns the path to which a file is copied, or None if its directory does not exist."""
        path = shell.path(self.target)
        if self._is_directory(shell):
            return join_path(path, name) if is_directory(shell, path) else None
        directory, mask = split_path(path)
        return join_path(directory, renamed(name, mask) if has_wildcards(mask) else mask)

    def _each(self, shell: Shell) -> int:
        source = self.sources[0]
        if is_null_device(source):
            return self._empty(shell)
        found = self._found(shell, source)
        if not found:
            is_there = is_directory(shell, split_path(shell.path(source))[0])
            shell.complain(FILE_NOT_FOUND if is_there else PATH_NOT_FOUND)
            return 1
        shows_names = len(found) > 1 or has_wildcards(source) or is_directory(shell, shell.path(source))
        copied = 0
        for one in found:
            if shows_names:
                shell.say(one.name if "\\" not in source else join_path(source.rpartition("\\")[0], one.name))
            if not is_null_device(self.target):
                target = self._target_of(shell, one.name)
                if target is None:
                    return _ended(shell, copied, PATH_NOT_FOUND)
                if is_same_file(shell, one.path, target):
                    return _ended(shell, copied, COPY_ONTO_ITSELF)
                copy_file(shell, one.path, target)
            copied += 1
        return _ended(shell, copied)

    def _empty(self, shell: Shell) -> int:
        """Makes the target an empty file, as `copy nul` does."""
        if not is_null_device(self.target):
            if self._is_directory(shell):
                return _ended(shell, 0, ACCESS_DENIED)
            path = shell.path(self.target)
            if shell.view.exists(path):
                check_overwritable(shell.view.stat(path), 0)
            with shell.view.open(path, "wb"):
                pass
        return _ended(shell, 1)

    def _joined(self, shell: Shell) -> int:
        found = [one for source in self.sources if not is_null_device(source) for one in self._found(shell, source)]
        if not found:
            shell.complain(FILE_NOT_FOUND)
            return 1
        for one in found:
            shell.say(one.name)
        if is_null_device(self.target):
            return _ended(shell, 1)
        target = self._target_of(shell, found[0].name)
        if target is None:
            return _ended(shell, 0, PATH_NOT_FOUND)
        if lost := [one for one in found[1:] if is_same_file(shell, one.path, target)]:
            # Its contents are gone when its turn comes; the others are joined all the same.
            shell.complain(_LOST)
            found = [one for one in found if one not in lost]
        if shell.view.exists(target):
            check_overwritable(shell.view.stat(target), 0)
        with shell.view.replacing(target) as joined:
            for one in found:
                with shell.view.open(one.path, "rb") as file:
                    self._append(file, joined)
            if not self.is_binary:
                joined.write(_END_OF_FILE)
        return _ended(shell, 1)

    def _append(self, file: IO[bytes], joined: IO[bytes]) -> None:
        while piece := file.read(_PIECE):
            end = -1 if self.is_binary else piece.find(_END_OF_FILE)
            joined.write(piece if end < 0 else piece[:end])
            if end >= 0:
                return


def _ended(shell: Shell, copied: int, message: str | None = None) -> int:
    if message is not None:
        shell.complain(message)
    shell.say(f"{copied:9} file(s) copied.")
    return 0 if copied and message is None else 1


def _parse_copy(invocation: Invocation) -> Action:
    sources: list[str] = []
    target: str | None = None
    is_binary = joins = False
    for found in _TOKEN.finditer(invocation.tail):
        token = found[0]
        switch = token.lower()
        if switch == "+":
            joins = True
        elif switch == "/b":
            if sources:
                raise invocation.refuse(token, "write /B before the first source, where it holds for all files")
            is_binary = True
        elif token.startswith("/"):
            if switch not in ("/y", "/v", "/z", "/j"):
                raise invocation.refuse(token, "possible are /Y, /B and /V; a path with / needs quotes")
        elif not sources or joins:
            sources.append(token.replace('"', ""))
            joins = False
        elif target is None:
            target = token.replace('"', "")
        else:
            raise invocation.refuse(token, "a third path; join sources with +, and quote paths with blanks")
    if not sources or joins:
        raise invocation.refuse(invocation.tail.strip() or invocation.name, "write a source and a target")
    if target is None and len(sources) > 1:
        raise invocation.refuse("+", "write the target after the sources")
    return Copy(sources, "." if target is None else target, is_binary)


COMMANDS = (
    Command(
        ("copy",),
        "copy [/Y] [/B] SOURCE[+SOURCE…] [TARGET]",
        "With wildcards in SOURCE and TARGET. Streams, EAs, attributes and the time of the last write are "
        "copied; a new file inherits its security. An existing file is replaced without a question, as in any"
        " `cmd /c`; one that is read-only, hidden or a system file is an error (1). Hidden and system files "
        "are not found. Joined files end with Ctrl+Z unless /B stands before the sources.",
        _parse_copy,
        is_builtin=True,
    ),
)
"""The rows of the table."""
