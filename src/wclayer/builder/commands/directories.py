"""The commands that make and remove directories and links: mkdir, rmdir, mklink."""

from __future__ import annotations

from dataclasses import dataclass

from wclayer.builder.commands.command import Action, Command, Invocation
from wclayer.builder.commands.messages import (
    ACCESS_DENIED,
    ALREADY_EXISTS,
    BAD_DIRECTORY,
    BAD_NAME,
    FILE_NOT_FOUND,
    IN_USE,
    NOT_EMPTY,
    PATH_NOT_FOUND,
    message_of,
)
from wclayer.builder.commands.state import PlannedState, Shell
from wclayer.builder.commands.wildcards import NOT_THERE, children, is_directory, split_path
from wclayer.builder.commands.words import split_words
from wclayer.errors import LayerError
from wclayer.win32.attributes import FileAttributes
from wclayer.win32.names import path_key
from wclayer.win32.reparse import LinkTarget
from wclayer.win32.wildcards import has_wildcards

_READ_ONLY = int(FileAttributes.READONLY)


def check_paths(state: PlannedState, paths: list[str]) -> None:
    """Refuses paths that are not in the image."""
    for path in paths:
        state.path(path)


@dataclass
class MakeDirectories:
    """`mkdir`: directories, with those above them."""

    paths: list[str]

    def check(self, state: PlannedState) -> None:
        check_paths(state, self.paths)

    def run(self, shell: Shell) -> int:
        code = 0
        for path in self.paths:
            message = _make_directory(shell, path)
            if message is not None:
                shell.complain(message)
                if len(self.paths) > 1:
                    shell.complain(f"Error occurred while processing: {path}.")
                code = 1
        return code


def _make_directory(shell: Shell, text: str) -> str | None:
    """Makes a directory, and those above it where they do not exist.

    Returns:
        None, or the message of Windows if the last of them could not be made.
    """
    parts = shell.path(text).split("\\")
    for count in range(2, len(parts) + 1):
        path = "\\".join(parts[:count])
        if has_wildcards(parts[count - 1]):
            return BAD_NAME
        if is_directory(shell, path) and count < len(parts):
            continue
        try:
            shell.view.mkdir(path)
        except FileExistsError:
            if count < len(parts):
                return PATH_NOT_FOUND
            return f"A subdirectory or file {text} already exists."
        except LayerError as error:
            message = message_of(error)
            if message is None:
                raise
            return message
    return None if len(parts) > 1 and parts[1] else f"A subdirectory or file {text} already exists."


def _parse_mkdir(invocation: Invocation) -> Action:
    words, switches = split_words(invocation.tail)
    if switches:
        raise invocation.refuse(switches[0], "there is no such switch; a path with / needs quotes")
    if not words:
        raise invocation.refuse(invocation.name, "write the directories to make")
    return MakeDirectories(words)


@dataclass
class RemoveDirectories:
    """`rmdir`: empty directories, or with /S directories and all that is in them."""

    paths: list[str]
    with_contents: bool

    def check(self, state: PlannedState) -> None:
        check_paths(state, self.paths)

    def run(self, shell: Shell) -> int:
        code = 0
        for path in self.paths:
            code = self._remove(shell, path) or code
        return code

    def _remove(self, shell: Shell, text: str) -> int:
        path = shell.path(text)
        if has_wildcards(path):
            return _failed(shell, BAD_NAME, 123)
        try:
            status = shell.view.stat(path, follow=False)
        except NOT_THERE:
            has_parent = is_directory(shell, split_path(path)[0])
            return _failed(shell, FILE_NOT_FOUND, 2) if has_parent else _failed(shell, PATH_NOT_FOUND, 3)
        if not status.is_directory:
            return _failed(shell, BAD_DIRECTORY, 267)
        if self.with_contents and not status.is_link:
            for found in children(shell, path):
                # Below, read-only files and directories are removed, too.
                shell.view.rmtree(found.path)
        if path == "C:\\" or (path_key(shell.directory) + "\\").startswith(path_key(path) + "\\"):
            return _failed(shell, IN_USE, 32)
        if status.info.attributes & _READ_ONLY and not self.with_contents:
            return _failed(shell, ACCESS_DENIED, 5)
        if not status.is_link and shell.view.listdir(path):
            return _failed(shell, NOT_EMPTY, 145)
        shell.view.rmdir(path)
        return 0


def _failed(shell: Shell, message: str, code: int) -> int:
    shell.complain(message)
    return code


def _parse_rmdir(invocation: Invocation) -> Action:
    words, switches = split_words(invocation.tail)
    for switch in switches:
        if switch not in ("/s", "/q"):
            raise invocation.refuse(switch, "possible are /S and /Q; a path with / needs quotes")
    if not words:
        raise invocation.refuse(invocation.name, "write the directories to remove")
    if "/s" in switches and "/q" not in switches:
        raise invocation.refuse("/s", "it asks before it removes, and nobody can answer in a build; add /Q")
    return RemoveDirectories(words, "/s" in switches)


@dataclass
class MakeLink:
    """`mklink`: a symbolic link, a hard link or a junction."""

    kind: str
    link: str
    target: str

    def check(self, state: PlannedState) -> None:
        check_paths(state, [self.link, self.target])

    def run(self, shell: Shell) -> int:
        path = shell.path(self.link)
        try:
            self._make(shell, path)
        except FileExistsError:
            return _failed(shell, ALREADY_EXISTS, 1)
        except LayerError as error:
            message = message_of(error)
            if message is None:
                raise
            return _failed(shell, message, 1)
        made = {"/h": "Hardlink", "/j": "Junction"}.get(self.kind, "symbolic link")
        shell.say(f"{made} created for {self.link} <<===>> {self.target}")
        return 0

    def _make(self, shell: Shell, path: str) -> None:
        if self.kind == "/h":
            shell.view.link(path, shell.path(self.target))
        elif self.kind == "/j":
            shell.view.mount_point(path, shell.path(self.target))
        else:
            link = LinkTarget.from_path(self.target.replace("/", "\\"), is_mount_point=False)
            shell.view.create_link(path, link, is_directory=self.kind == "/d")


def _parse_mklink(invocation: Invocation) -> Action:
    words, switches = split_words(invocation.tail)
    if len(switches) > 1 or any(switch not in ("/d", "/h", "/j") for switch in switches):
        raise invocation.refuse(" ".join(switches), "possible is one of /D, /H and /J; a path with / needs quotes")
    if len(words) != 2:
        raise invocation.refuse(invocation.name, "write the link and then its target")
    return MakeLink(switches[0] if switches else "", *words)


COMMANDS = (
    Command(
        ("mkdir", "md"),
        "mkdir PATH…",
        "Makes the directories above, too. One that exists is an error (1).",
        _parse_mkdir,
        is_builtin=True,
    ),
    Command(
        ("rmdir", "rd"),
        "rmdir [/S /Q] PATH…",
        "Exit codes: 2 and 3 (does not exist), 145 (not empty), 267 (a file), 32 (the current directory). /S "
        "needs /Q. Links are removed, not followed.",
        _parse_rmdir,
        is_builtin=True,
        keeps_error_level=True,
        hides_error_level=True,
    ),
    Command(
        ("mklink",),
        "mklink [/D | /H | /J] LINK TARGET",
        "The target of a symbolic link is kept as written, that of a junction becomes absolute; neither needs"
        " to exist. A hard link needs a file.",
        _parse_mklink,
        is_builtin=True,
    ),
)
"""The rows of the table."""
