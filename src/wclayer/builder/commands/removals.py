"""The command del, which removes files."""

from __future__ import annotations

import re
from dataclasses import dataclass

from wclayer.builder.commands.command import Action, Command, Invocation, refused
from wclayer.builder.commands.known_files import FileKind
from wclayer.builder.commands.messages import ACCESS_DENIED, PATH_NOT_FOUND
from wclayer.builder.commands.state import PlannedState, Shell
from wclayer.builder.commands.wildcards import Found, children, find, is_directory, join_path, split_path, walk
from wclayer.builder.commands.words import split_words
from wclayer.errors import NotSupportedError
from wclayer.win32.attributes import FileAttributes

_BITS = {
    "r": int(FileAttributes.READONLY), "h": int(FileAttributes.HIDDEN), "s": int(FileAttributes.SYSTEM),
    "a": int(FileAttributes.ARCHIVE), "i": int(FileAttributes.NOT_CONTENT_INDEXED),
    "l": int(FileAttributes.REPARSE_POINT),
}  # fmt: skip
_READ_ONLY = _BITS["r"]
_ASKS = "is a directory: `del` asks before it removes all files in it; add /Q"


@dataclass
class Delete:
    """`del`: removes files that a path names and whose attributes fit."""

    paths: list[str]
    force: bool
    below: bool
    quiet: bool
    with_bits: int
    without_bits: int

    def check(self, state: PlannedState) -> None:
        for path in self.paths:
            place = state.path(path)
            if (
                not self.quiet
                and place is not None
                and state.files is not None
                and state.files.kind(place) is FileKind.DIRECTORY
            ):
                raise refused(state.where, path, _ASKS)

    def run(self, shell: Shell) -> int:
        code = 0
        for path in self.paths:
            code = self._delete(shell, path) or code
        return code

    def _delete(self, shell: Shell, text: str) -> int:
        path = shell.path(text)
        if is_directory(shell, path) and not _is_link(shell, path):
            if not self.quiet:
                raise NotSupportedError(path, _ASKS)
            path = join_path(path, "*")
        directory, pattern = split_path(path)
        if not is_directory(shell, directory):
            shell.complain(PATH_NOT_FOUND)
            return 1
        seen = False
        for folder in list(walk(shell, directory)) if self.below else [directory]:
            inside = children(shell, folder, pattern) if self.below else find(shell, path)
            for found in list(inside):
                if self._fits(found):
                    seen = True
                    self._remove(shell, found)
        if not seen:
            shell.complain(f"Could Not Find {path}")
        return 0

    def _fits(self, found: Found) -> bool:
        is_one = not found.is_directory
        return (
            is_one and found.attributes & self.with_bits == self.with_bits and not found.attributes & self.without_bits
        )

    def _remove(self, shell: Shell, found: Found) -> None:
        if found.is_read_only and not self.force:
            shell.complain(found.path)
            shell.complain(ACCESS_DENIED)
            return
        shell.view.unlink(found.path)
        if self.below:
            shell.say(f"Deleted file - {found.path}")


def _is_link(shell: Shell, path: str) -> bool:
    return shell.view.stat(path, follow=False).is_link


def _parse_del(invocation: Invocation) -> Action:
    words, switches = split_words(invocation.tail)
    with_bits, without_bits = 0, _BITS["h"] | _BITS["s"]
    for switch in switches:
        if (attributes := re.fullmatch(r"/a:?((?:-?[rhsail])*)", switch)) is not None:
            with_bits = without_bits = 0
            for change in re.findall(r"-?[a-z]", attributes[1]):
                if change[0] == "-":
                    without_bits |= _BITS[change[1]]
                else:
                    with_bits |= _BITS[change]
        elif switch == "/p":
            raise invocation.refuse(switch, "nobody can answer in a build; leave it out")
        elif switch not in ("/f", "/s", "/q"):
            raise invocation.refuse(switch, "possible are /F, /S, /Q and /A; a path with / needs quotes")
    if not words:
        raise invocation.refuse(invocation.name, "write the files to remove")
    for word in words:
        if split_path(word.replace("/", "\\"))[1] in ("*", "*.*", "*.") and "/q" not in switches:
            raise invocation.refuse(
                word, "it asks before it removes all files, and nobody can answer in a build; add /Q"
            )
    return Delete(words, "/f" in switches, "/s" in switches, "/q" in switches, with_bits, without_bits)


COMMANDS = (
    Command(
        ("del", "erase"),
        "del [/F] [/S] [/Q] [/A[:ATTRIBUTES]] PATH…",
        "With wildcards; of a directory all files in it, which needs /Q. Hidden and system files stay without"
        " /A, read-only ones without /F. As on Windows, the exit code is 0 also if nothing was found or "
        "removed, and 1 if a directory on the way does not exist. Links are removed, not followed.",
        _parse_del,
        is_builtin=True,
    ),
)
"""The rows of the table."""
