"""The program robocopy: copies and mirrors directories."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from wclayer.builder.commands.command import Action, Command, Invocation
from wclayer.builder.commands.copy_file import copy_file
from wclayer.builder.commands.state import PlannedState, Shell
from wclayer.builder.commands.wildcards import Found, children, is_directory, join_path
from wclayer.errors import NotSupportedError
from wclayer.win32.attributes import FileAttributes
from wclayer.win32.names import name_key, path_key
from wclayer.win32.wildcards import matches

COPIED, EXTRA, MISMATCHED, SERIOUS = 1, 2, 4, 16
"""Bits of the exit code ("Robocopy", exit codes, Microsoft Learn)."""
_IGNORED = re.compile(
    r"/(njh|njs|nfl|ndl|np|nc|ns|nobo|eta|ts|fp|v|x|z|b|zb|j|r:\d+|w:\d+|mt(:\d+)?|reg|tbd|unicode|bytes|copy:dat|dcopy:da)"
)
"""Options of the report, of tries, of the way in which files are read; and those that are the default."""
_DIRECTORY_BITS = int(FileAttributes.READONLY | FileAttributes.HIDDEN | FileAttributes.SYSTEM)


@dataclass
class Robocopy:
    """`robocopy` with its options."""

    source: str
    target: str
    masks: tuple[str, ...]
    options: frozenset[str]
    without_files: tuple[str, ...] = ()
    without_directories: tuple[str, ...] = ()
    _code: int = field(default=0, init=False)
    _made: bool = field(default=False, init=False)

    def check(self, state: PlannedState) -> None:
        state.path(self.source)
        state.path(self.target)

    def run(self, shell: Shell) -> int:
        source, target = shell.path(self.source), shell.path(self.target)
        self._code, self._made = 0, False
        if not is_directory(shell, source):
            shell.complain(f"ERROR 2 (0x00000002) Accessing Source Directory {source}\\")
            shell.complain("The system cannot find the file specified.")
            return SERIOUS
        if (path_key(target) + "\\").startswith(path_key(source).rstrip("\\") + "\\"):
            raise NotSupportedError(target, f"the target of robocopy is {source} or in it; choose another target")
        pending = [(source, target)]
        while pending:
            pending += self._one(shell, *pending.pop())
        if "/move" in self.options:
            _remove_empty(shell, source)
        if self._made and not self._code & COPIED:
            raise NotSupportedError(
                target,
                "only directories were made: whether the exit code of robocopy is then 0 or 1 is not documented; use "
                "mkdir, or xcopy /T /E",
            )
        return self._code

    def _one(self, shell: Shell, source: str, target: str) -> list[tuple[str, str]]:
        """Copies the files of one directory. Returns the directories in it, with their targets."""
        inside = list(children(shell, source))
        for one in inside:
            if one.status.is_link:
                raise NotSupportedError(one.path, "is a link; robocopy would copy what it leads to")
        files = [one for one in inside if not one.is_directory and self._wants(one)]
        below = [one for one in inside if one.is_directory and not _is_named(one, self.without_directories)]
        if not is_directory(shell, target):
            shell.view.makedirs(target)
            shell.view.set_attributes(target, shell.view.stat(source).info.attributes)
            self._made = True
        self._note_extras(shell, target, inside)
        for one in files:
            self._copy(shell, one, join_path(target, one.name))
        if not {"/s", "/e"} & self.options:
            return []
        if "/e" not in self.options:
            below = [one for one in below if self._has_files(shell, one.path)]
        return [(one.path, join_path(target, one.name)) for one in reversed(below)]

    def _wants(self, one: Found) -> bool:
        return any(matches(one.name, mask) for mask in self.masks) and not _is_named(one, self.without_files)

    def _has_files(self, shell: Shell, directory: str) -> bool:
        return any(
            self._has_files(shell, one.path) if one.is_directory else self._wants(one)
            for one in children(shell, directory)
        )

    def _note_extras(self, shell: Shell, target: str, inside: Iterable[Found]) -> None:
        """Notes, and with /PURGE removes, what the target has and the source has not."""
        names = {name_key(one.name): one for one in inside}
        deep = bool({"/s", "/e"} & self.options)
        for one in list(children(shell, target)):
            other = names.get(name_key(one.name))
            if other is not None:
                if other.is_directory != one.is_directory:
                    raise NotSupportedError(
                        one.path, f"and {other.path} are a file and a directory; remove one of them"
                    )
                continue
            if one.is_directory and (not deep or _is_named(one, self.without_directories)):
                continue
            if not one.is_directory and not self._wants(one):
                continue
            self._code |= EXTRA
            if "/purge" in self.options:
                shell.view.rmtree(one.path)

    def _copy(self, shell: Shell, one: Found, target: str) -> None:
        if shell.view.exists(target) and not self._differs(one, shell, target):
            return
        if shell.view.exists(target):
            shell.view.set_attributes(target, 0)
        copy_file(shell, one.path, target, force=True)
        info = one.status.info
        shell.view.set_attributes(target, info.attributes)
        shell.view.set_times(target, creation=info.creation_time, write=info.last_write_time)
        self._code |= COPIED
        if {"/mov", "/move"} & self.options:
            shell.view.unlink(one.path)

    def _differs(self, one: Found, shell: Shell, target: str) -> bool:
        """Returns whether a file of the source is copied over one of the target."""
        existing = shell.view.stat(target)
        new, old = one.status.info.last_write_time, existing.info.last_write_time
        if new == old and one.status.size == existing.size:
            return "/is" in self.options
        return not (new < old and "/xo" in self.options)


def _is_named(one: Found, masks: Iterable[str]) -> bool:
    """Returns whether /XF or /XD names an entry: by its name with wildcards, or by its path."""
    for mask in masks:
        path = mask.replace("/", "\\")
        if path_key(path.rstrip("\\")) == path_key(one.path) if "\\" in path else matches(one.name, path):
            return True
    return False


def _remove_empty(shell: Shell, directory: str) -> None:
    """Removes a directory and those in it, as far as nothing was left in them."""
    for one in list(children(shell, directory)):
        if one.is_directory:
            _remove_empty(shell, one.path)
    if not shell.view.listdir(directory):
        shell.view.rmdir(directory)


def _parse_robocopy(invocation: Invocation) -> Action:
    words: list[str] = []
    options: set[str] = set()
    excluded: dict[str, list[str]] = {"/xf": [], "/xd": []}
    at: list[str] = words
    for argument in invocation.arguments:
        option = argument.lower()
        if not argument.startswith("/"):
            at.append(argument)
        elif option in excluded:
            at = excluded[option]
        elif option in ("/s", "/e", "/purge", "/mov", "/move", "/is", "/xo"):
            options.add(option)
            at = words
        elif option == "/mir":
            options |= {"/e", "/purge"}
            at = words
        elif _IGNORED.fullmatch(option):
            at = words
        else:
            raise invocation.refuse(
                argument, "possible are /S, /E, /MIR, /PURGE, /MOV, /MOVE, /XF, /XD, /XO, /IS and options of the report"
            )  # fmt: skip
    if len(words) < 2:
        raise invocation.refuse("robocopy", "write a source and a target directory")
    if "/move" in options and {"/xf", "/xd"} & {key for key, value in excluded.items() if value}:
        raise invocation.refuse("/move", "together with /XF or /XD it is not supported; use /MOV")
    return Robocopy(
        words[0],
        words[1],
        tuple(words[2:]) or ("*",),
        frozenset(options),
        tuple(excluded["/xf"]),
        tuple(excluded["/xd"]),
    )


COMMANDS = (
    Command(
        ("robocopy",),
        "robocopy SOURCE TARGET [FILE…] [/S | /E] [/MIR] [/PURGE] [/MOV | /MOVE] [/XF FILE…] [/XD DIRECTORY…]"
        " [/XO] [/IS]",
        "Copies data, attributes and times; a file with the same size and time is left out. **The exit code "
        "has bits: 1 files were copied, 2 the target has more, 16 the source does not exist; so a RUN whose "
        "robocopy copied a file fails, as it does with Docker.** Write `robocopy … & if errorlevel 8 (exit 1)"
        " else exit 0`. Options of the report and of tries (/NJH, /NP, /R:n, /MT, …) are ignored; links in "
        "the source end the build.",
        _parse_robocopy,
    ),
)
"""The rows of the table."""
