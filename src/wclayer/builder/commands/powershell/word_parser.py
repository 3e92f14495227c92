"""Parses the words and texts of PowerShell: plain characters, quoted texts, and variables in them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

from wclayer.builder.commands.command import Command, check_depth
from wclayer.builder.commands.powershell.expressions import (
    Constant,
    EnvironmentVariable,
    Expression,
    Text,
    Variable,
)
from wclayer.builder.commands.powershell.reader import LINE_ENDS, Reader
from wclayer.builder.commands.powershell.values import parse_number


class WordParser(ABC):
    """A recursive descent over the words of a script.

    Args:
        reader: the script, and the place where it is read.
        commands: the programs that the script may call.
        depth: the number of parentheses and shells around the script.
    """

    def __init__(self, reader: Reader, commands: Mapping[str, Command], depth: int) -> None:
        self._in = reader
        self._commands = commands
        self._depth = depth

    def _enter(self) -> None:
        self._depth += 1
        check_depth(self._depth, self._in.where, self._rest())

    def _leave(self) -> None:
        self._depth -= 1

    def _rest(self) -> str:
        rest = self._in.text[self._in.at :].split(None, 1)
        return rest[0][:40] if rest else "the end of the text"

    def _since(self, start: int) -> str:
        return self._in.text[start : self._in.at].strip()

    @abstractmethod
    def _subexpression(self) -> Expression:
        """Parses `$(…)`."""

    def _word(self, *, is_name: bool = False) -> Expression:
        """Parses a word in argument mode: plain characters, quoted texts and variables put together."""
        reader = self._in
        start = reader.at
        parts: list[str | Expression] = []
        is_plain = True
        while not reader.is_at_word_end() or reader.peek("`"):
            character = reader.text[reader.at]
            if character == "'":
                parts.append(reader.single_quoted())
                is_plain = False
            elif character == '"':
                parts.append(self._double_quoted())
                is_plain = False
            elif character == "`":
                if reader.text[reader.at + 1 : reader.at + 2] in tuple(LINE_ENDS):
                    break
                parts.append(reader.escaped())
                is_plain = False
            elif character == "$":
                parts.append(self._variable_in_text(is_first=reader.at == start))
            elif character in "<>":
                raise reader.refuse(self._since(start) + character, "write the word in quotes, or a blank before it")
            else:
                parts.append(character)
                reader.at += 1
        text = reader.text[start : reader.at]
        if not parts:
            raise reader.unexpected("a word")
        if len(parts) == 1 and not isinstance(parts[0], str):
            if is_name:
                raise reader.refuse(text, "write & before a name that a variable holds")
            return parts[0]
        if all(isinstance(part, str) for part in parts):
            joined = "".join(part for part in parts if isinstance(part, str))
            number = parse_number(joined) if is_plain and not is_name else None
            return Constant(text, joined if number is None else number)
        return Text(text, tuple(parts))

    # Texts with variables.

    def _double_quoted(self) -> Expression:
        """Parses `"…"`."""
        reader = self._in
        start = reader.at
        reader.at += 1
        parts = self._expandable(start, '"')
        return self._text(reader.text[start : reader.at], parts)

    @staticmethod
    def _text(text: str, parts: list[str | Expression]) -> Expression:
        if all(isinstance(part, str) for part in parts):
            return Constant(text, "".join(part for part in parts if isinstance(part, str)))
        return Text(text, tuple(parts))

    def _expandable(self, start: int, quote: str) -> list[str | Expression]:
        """Parses a text with variables up to its closing quote; without a quote, to the end."""
        reader = self._in
        parts: list[str | Expression] = []
        while True:
            if reader.is_at_end():
                if not quote:
                    return parts
                raise reader.refuse(reader.text[start : start + 40], f"this text has no closing {quote}")
            character = reader.text[reader.at]
            if quote and character == quote:
                reader.at += 1
                if not reader.takes(quote):
                    return parts
                parts.append(quote)
            elif character == "`":
                if reader.peek("`\r\n"):
                    reader.at += 1
                parts.append(reader.escaped())
            elif character == "$":
                parts.append(self._variable_in_text(is_first=False))
            else:
                parts.append(character)
                reader.at += 1

    def _variable_in_text(self, *, is_first: bool) -> str | Expression:
        """Parses what a `$` in a text or a word begins: a variable, `$(…)`, or the character itself."""
        reader = self._in
        start = reader.at
        if reader.peek("$("):
            return self._subexpression()
        name = reader.variable()
        if name is None:
            reader.at += 1
            return "$"
        word = self._since(start)
        if is_first:
            reader.check_no_member(word)
        return self._variable(word, name)

    def _variable(self, word: str, name: str) -> Expression:
        drive, colon, rest = name.partition(":")
        if not colon:
            return Variable(word, name)
        if drive.lower() != "env":
            raise self._in.refuse(word, "possible are $NAME and $env:NAME")
        return EnvironmentVariable(word, rest)

    def _here_string(self) -> Expression:
        reader = self._in
        start = reader.at
        reader.at += 2
        is_expandable = reader.text[reader.at - 1] == '"'
        content = reader.here_string()
        text = reader.text[start : reader.at]
        if not is_expandable:
            return Constant(text, content)
        inner = type(self)(Reader(content, reader.where), self._commands, self._depth)
        return self._text(text, inner._expandable(0, ""))
