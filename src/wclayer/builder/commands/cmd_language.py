"""The language of cmd.exe: divides an expanded command line into commands, conditions and redirections.

The rules are those of a line given to `cmd /c`. A line with anything that is not in the table of commands is refused as
a whole. Sources: "cmd", "if", "Using command redirection operators" (Microsoft Learn), and what cmd.exe does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from wclayer.builder.commands.command import Command, Invocation, check_depth, refused
from wclayer.builder.commands.conditions import parse_condition
from wclayer.builder.commands.expansion import expand_variables
from wclayer.builder.commands.flow import Block, Chain, If, Line, Node, Nothing, Simple, unexpected
from wclayer.builder.commands.programs import UNKNOWN, find_program
from wclayer.builder.commands.redirection import Redirection
from wclayer.builder.commands.state import PlannedState, Shell

_DELIMITERS = " \t,;="
_BUILTIN = re.compile(r"([A-Za-z]+)(?=[.\\/:+\[\](\"]|$)")
_REFUSED = {
    "call": "write the command itself; programs and batch files do not run here",
    "for": "loops are not supported; write the commands one by one",
    "goto": "there are no labels in a line",
    "setlocal": "it has no effect in a line",
    "endlocal": "it has no effect in a line",
    "start": "programs do not run here",
    "dir": "listings are not supported; use `if exist`, or leave it out",
    "ver": "the version is that of the base image; leave it out",
    "vol": "an image has no volume label; leave it out",
    "pause": "nobody can press a key in a build; leave it out",
    "path": "it changes nothing that stays; use ENV, or setx /M PATH",
    "assoc": "use reg add on HKLM\\SOFTWARE\\Classes",
    "ftype": "use reg add on HKLM\\SOFTWARE\\Classes",
    "date": "a build has no clock of its own; leave it out",
    "time": "a build has no clock of its own; leave it out",
}  # fmt: skip


def parse_line(text: str, commands: Mapping[str, Command], where: str, depth: int = 0) -> Line:
    """Returns the action of a line whose variables are replaced already (`expand_variables`).

    Args:
        text: the line, as cmd.exe has it after the expansion.
        commands: the table of commands by name.
        where: the file and the line of the instruction, for messages.
        depth: the number of parentheses and shells around the line.

    Raises:
        NotSupportedError: the line has a command or a word that is not supported, or is not well-formed.
    """
    if "\n" in text or "\r" in text:
        raise refused(where, text.split()[0] if text.split() else "", "the line contains a line break")
    if "\0" in text:
        raise refused(where, "\\0", "a NUL character ends the line on Windows; remove it")
    parser = _Parser(text, commands, where, depth)
    node = parser.parse_list()
    if parser.at < len(text):
        raise unexpected(where, text[parser.at :].split()[0])
    return Line(node)


class _Parser:
    """A recursive descent over the line; `at` is the next character."""

    def __init__(self, text: str, commands: Mapping[str, Command], where: str, nested: int) -> None:
        self.text = text
        self.at = 0
        self.depth = 0
        self._nested = nested
        self._commands = commands
        self._where = where

    def _skip(self, characters: str) -> None:
        while self.at < len(self.text) and self.text[self.at] in characters:
            self.at += 1

    def _takes(self, operator: str) -> bool:
        """Takes an operator if it is the next thing; `&` is not taken where `&&` stands."""
        self._skip(" \t")
        if not self.text.startswith(operator, self.at):
            return False
        if operator == "&" and self.text.startswith("&&", self.at):
            return False
        self.at += len(operator)
        return True

    # The operators, the weakest first.

    def parse_list(self) -> Node:
        """Parses commands with `&` between them."""
        self._nested += 1
        check_depth(self._nested, self._where, self.text[self.at :][:20] or "(")
        parts = [self._parse_or()]
        while self._takes("&"):
            self._skip(_DELIMITERS)
            if self.at == len(self.text) or (self.depth and self.text[self.at] == ")"):
                break
            parts.append(self._parse_or())
        self._nested -= 1
        return _joined(parts, "&")

    def _parse_or(self) -> Node:
        parts = [self._parse_and()]
        while self._takes("||"):
            parts.append(self._parse_and())
        return _joined(parts, "||")

    def _parse_and(self) -> Node:
        parts = [self._parse_command()]
        while self._takes("&&"):
            parts.append(self._parse_command())
        self._skip(" \t")
        if self.text.startswith("|", self.at) and not self.text.startswith("||", self.at):
            raise refused(self._where, "|", "pipes are not supported; write to a file with > instead")
        return _joined(parts, "&&")

    # One command.

    def _parse_command(self) -> Node:
        self._skip(_DELIMITERS)
        quiet = self.at
        self._skip("@" + _DELIMITERS)
        redirections: list[Redirection] = []
        while (redirection := self._redirection_at_start()) is not None:
            redirections.append(redirection)
            self._skip("@" + _DELIMITERS)
        if self.at == len(self.text):
            if self.text[quiet:].strip(_DELIMITERS) == "@" and not redirections:
                return Nothing()
            raise unexpected(self._where, "")
        character = self.text[self.at]
        if character == "(":
            return self._parse_block(redirections)
        if character in "&|)":
            raise unexpected(self._where, character)
        if character == ":":
            raise refused(self._where, self.text[self.at :].split()[0], "labels are not supported in a line")
        start = self.at
        name = self._read_word()
        builtin = _BUILTIN.match(name)
        key = builtin[1].lower() if builtin else ""
        if key == "rem" and not name[3:].startswith(("\\", ":", '"', "(")):
            return self._parse_comment(start)
        if key == "if" and name[2:3] in ("", "/"):
            self.at = start + 2
            return self._parse_if(redirections)
        return self._parse_simple(name, key, redirections)

    def _parse_block(self, redirections: list[Redirection]) -> Node:
        self.at += 1
        self.depth += 1
        body = self.parse_list()
        self._skip(_DELIMITERS)
        if not self.text.startswith(")", self.at):
            raise unexpected(self._where, self.text[self.at : self.at + 1])
        self.at += 1
        self.depth -= 1
        self._skip(_DELIMITERS)
        while (redirection := self._redirection_at_start()) is not None:
            redirections.append(redirection)
            self._skip(_DELIMITERS)
        rest = self.text[self.at :]
        ends = not rest or rest[0] in "&|" or (self.depth > 0 and rest[0] == ")")
        if not ends and not re.match(r"else(?![A-Za-z0-9_.\-])", rest, re.ASCII | re.IGNORECASE):
            raise unexpected(self._where, rest.split()[0])
        return Block(body, tuple(redirections))

    def _parse_comment(self, start: int) -> Node:
        """Parses `rem`: what follows is ignored to the end of the line, `&` included, unless `&` follows at once."""
        self.at = start + 3
        self._skip(_DELIMITERS)
        if self.at == len(self.text) or self.text[self.at] in "&|" or (self.depth and self.text[self.at] == ")"):
            return Nothing()
        if self.depth:
            raise refused(self._where, "rem", "a comment in parentheses hides the closing one; move it out of them")
        first = re.match(r"[^ \t]*", self.text[self.at :])
        if first and re.search(r"[&|<>^]", first[0]):
            raise refused(self._where, first[0], "write a blank after the first word of a comment")
        self.at = len(self.text)
        return Nothing()

    def _parse_if(self, redirections: list[Redirection]) -> Node:
        if redirections:
            raise refused(self._where, "if", "a redirection before `if` is not supported; write it after the command")
        condition = parse_condition(self._read_condition_word, self._where)
        then = self.parse_list()
        otherwise = None
        self._skip(_DELIMITERS)
        if re.match(r"else(?![A-Za-z0-9_.\-])", self.text[self.at :], re.ASCII | re.IGNORECASE):
            self.at += 4
            otherwise = self.parse_list()
        return If(condition.holds, condition.check, then, otherwise)

    def _read_condition_word(self, *, may_be_operator: bool) -> str:
        """Reads the next word of a condition; `==` is a word of its own where it may stand."""
        if may_be_operator:
            self._skip(" \t,;")
            if self.text.startswith("==", self.at):
                self.at += 2
                return "=="
        self._skip(_DELIMITERS)
        if self.at == len(self.text) or self.text[self.at] in "&|<>":
            raise unexpected(self._where, self.text[self.at : self.at + 1])
        return self._read_word()

    def _parse_simple(self, name: str, key: str, redirections: list[Redirection]) -> Node:
        if name.lower() == "c:":
            return Nothing()
        if re.fullmatch("[A-Za-z]:", name):
            raise refused(self._where, name, "an image has only the drive C:")
        tail = self._read_tail(redirections)
        command = self._commands.get(key) if key else None
        if command is not None and not command.is_builtin and name.lower() != key:
            command = None
        if command is not None and command.is_builtin:
            tail = name[len(key) :] + tail
            written = name[: len(key)]
        elif key in _REFUSED:
            raise refused(self._where, name, _REFUSED[key])
        else:
            command = find_program(name, self._commands)
            written = name
        if command is None:
            raise refused(self._where, name, UNKNOWN)
        invocation = Invocation(written, tail, self._where, self._nested)
        return Simple(command, command.parse(invocation), tuple(redirections))

    # Words.

    def _read_word(self) -> str:
        """Reads a word to the next delimiter or operator; quotes stay, carets are resolved."""
        found: list[str] = []
        in_quotes = False
        while self.at < len(self.text):
            character = self.text[self.at]
            if in_quotes:
                in_quotes = character != '"'
            elif character == "^":
                self._read_after_caret(found)
                continue
            elif character in _DELIMITERS or character in "&|<>" or (character == ")" and self.depth):
                break
            elif character == '"':
                in_quotes = True
            found.append(character)
            self.at += 1
        return "".join(found)

    def _read_after_caret(self, found: list[str]) -> None:
        """Reads a caret, and the character behind it, which means itself."""
        self.at += 1
        if self.at < len(self.text):
            found.append(self.text[self.at])
            self.at += 1

    def _read_tail(self, redirections: list[Redirection]) -> str:
        """Reads what follows a command to the next operator, and takes the redirections out of it."""
        found: list[str] = []
        in_quotes = False
        # Whether the last character may be the number of a handle: a digit after a delimiter.
        was_delimiter, may_be_handle = self.at < len(self.text) and self.text[self.at] in _DELIMITERS, False
        while self.at < len(self.text):
            character = self.text[self.at]
            if in_quotes:
                in_quotes = character != '"'
            elif character == "^":
                self._read_after_caret(found)
                was_delimiter = may_be_handle = False
                continue
            elif character in "<>":
                handle = int(found.pop()) if may_be_handle else None
                redirections.append(self._read_redirection(handle))
                was_delimiter, may_be_handle = True, False
                continue
            elif character in "&|" or (character == ")" and self.depth):
                break
            elif character == '"':
                in_quotes = True
            found.append(character)
            may_be_handle = was_delimiter and character in "0123456789"
            was_delimiter = character in _DELIMITERS
            self.at += 1
        return "".join(found)

    def _redirection_at_start(self) -> Redirection | None:
        found = re.match(r"([0-9])?(?=[<>])", self.text[self.at : self.at + 2])
        if found is None:
            return None
        self.at += found.end()
        return self._read_redirection(int(found[1]) if found[1] else None)

    def _read_redirection(self, handle: int | None) -> Redirection:
        operator = ">>" if self.text.startswith(">>", self.at) else self.text[self.at]
        self.at += len(operator)
        if handle is None:
            handle = 0 if operator == "<" else 1
        if self.text.startswith("&", self.at):
            self.at += 1
            self._skip(_DELIMITERS)
            target = self.text[self.at : self.at + 1]
            self.at += 1
            if operator == "<" or not target.isdigit():
                raise refused(self._where, f"{operator}&{target}", "possible are >&1 and >&2")
            return Redirection(handle, ">&", target, self._where)
        self._skip(_DELIMITERS)
        target = self._read_word().replace('"', "")
        if not target:
            raise unexpected(self._where, self.text[self.at : self.at + 1])
        return Redirection(handle, operator, target, self._where)


def _joined(parts: list[Node], operator: str) -> Node:
    """Returns one node for parts in a row."""
    return parts[0] if len(parts) == 1 else Chain(parts, operator)


@dataclass
class NestedShell:
    """`cmd /c`: a line in a process of its own, with its own variables and directory."""

    invocation: Invocation
    commands: Mapping[str, Command]

    def __post_init__(self) -> None:
        self._text = self._line()

    def _line(self) -> str:
        """Returns what follows `/c`, without the quotes that cmd.exe removes."""
        tail = self.invocation.tail
        at = 0
        while (switch := re.compile(r"[ \t,;=]*/([A-Za-z?])(:[^ \t/]*)?").match(tail, at)) is not None:
            letter, value = switch[1].lower(), switch[2]
            if letter == "c" and not value:
                text = tail[switch.end() :].lstrip(" \t")
                if text.startswith('"'):
                    # /S is the rule here, and without /S only a program of that name keeps its quotes.
                    before, _, after = text[1:].rpartition('"')
                    text = before + after if '"' in text[1:] else text[1:]
                return text
            if letter not in "sdq" or value:
                raise self.invocation.refuse(switch[0].strip(), "possible are /C, and /S, /D, /Q before it")
            at = switch.end()
        raise self.invocation.refuse(
            tail.strip() or "cmd", "write /C and a line; a shell that waits for input is of no use"
        )

    def _parse(self, state: PlannedState | Shell) -> Line:
        where = self.invocation.where
        depth = self.invocation.depth + 1
        return parse_line(expand_variables(self._text, state, where), self.commands, where, depth)

    def check(self, state: PlannedState) -> None:
        if not self._text.strip():
            return
        inner = state.copy()
        self._parse(inner).check(inner)
        # The machine's variables are those of all processes, and so are the files.
        state.machine, state.files = inner.machine, inner.files

    def run(self, shell: Shell) -> int:
        return self._parse(shell).run(shell.child()) if self._text.strip() else 0
