"""The command attrib, which changes the attributes of files."""

from __future__ import annotations

import re
from dataclasses import dataclass

from wclayer.builder.commands.command import Action, Command, Invocation
from wclayer.builder.commands.state import PlannedState, Shell
from wclayer.builder.commands.wildcards import Found, children, find, split_path, walk
from wclayer.win32.attributes import FileAttributes, changed_attributes
from wclayer.win32.wildcards import has_wildcards

_HIDDEN, _SYSTEM = int(FileAttributes.HIDDEN), int(FileAttributes.SYSTEM)


@dataclass
class ChangeAttributes:
    """`attrib` with changes such as +R and -H."""

    changes: list[str]
    path: str
    below: bool
    with_directories: bool
    follows: bool

    def check(self, state: PlannedState) -> None:
        state.path(self.path)

    def run(self, shell: Shell) -> int:
        path = shell.path(self.path)
        directory, pattern = split_path(path)
        found = list(find(shell, path))
        if self.below:
            found = [one for folder in walk(shell, directory) for one in children(shell, folder, pattern)]
        if has_wildcards(path) or self.below:
            found = [one for one in found if self.with_directories or not one.is_directory]
        if not found:
            shell.say(f"File not found - {path}")
            return 1
        for one in found:
            self._change(shell, one)
        return 0

    def _change(self, shell: Shell, one: Found) -> None:
        letters = {change[1].upper() for change in self.changes}
        for bit, letter, name in ((_SYSTEM, "S", "system"), (_HIDDEN, "H", "hidden")):
            if one.attributes & bit and letter not in letters:
                shell.say(f"Not resetting {name} file - {one.path}")
                return
        follow = one.status.is_link and not self.follows
        status = shell.view.stat(one.path, follow=follow)
        attributes = changed_attributes(status.info.attributes, self.changes)
        shell.view.set_attributes(one.path, attributes, follow=follow)


def _parse_attrib(invocation: Invocation) -> Action:
    changes: list[str] = []
    switches: set[str] = set()
    paths: list[str] = []
    for argument in invocation.arguments:
        if re.fullmatch(r"[+-][rahsiRAHSI]", argument):
            changes.append(argument)
        elif argument.lower() in ("/s", "/d", "/l"):
            switches.add(argument.lower())
        elif argument[:1] in ("+", "-", "/"):
            raise invocation.refuse(argument, "possible are + or - with R, A, S, H or I, and /S, /D and /L")
        else:
            paths.append(argument)
    if not changes:
        raise invocation.refuse("attrib", "write a change such as +R; lists are not supported")
    if len(paths) > 1:
        raise invocation.refuse(paths[1], "a second path; quote paths with blanks")
    return ChangeAttributes(changes, paths[0] if paths else "*", "/s" in switches, "/d" in switches, "/l" in switches)


COMMANDS = (
    Command(
        ("attrib",),
        "attrib {+|-}{R|A|S|H|I}… [PATH] [/S [/D]] [/L]",
        "With wildcards, which then mean files only; /D adds directories, /S the directories below. A system "
        "or hidden file is left as it is unless S or H is among the changes, as on Windows. A link's target "
        "is changed; with /L the link itself.",
        _parse_attrib,
    ),
)
"""The rows of the table."""
