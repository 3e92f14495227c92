"""The language of PowerShell: turns a script into statements, or refuses it as a whole.

It is the plain part of the language: calls, values, `if`, assignments. Everything else is refused with its word.
Sources: "about_Parsing", "about_Operators", "about_Operator_Precedence", "about_If" (Microsoft Learn).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from wclayer.builder.commands.command import Command, check_depth
from wclayer.builder.commands.powershell.calls import CommandCall, Word, check_name
from wclayer.builder.commands.powershell.expression_parser import ExpressionParser
from wclayer.builder.commands.powershell.expressions import (
    Constant,
    EnvironmentVariable,
    Expression,
    Sum,
    Variable,
)
from wclayer.builder.commands.powershell.reader import ENDS_WORD, Reader
from wclayer.builder.commands.powershell.refusals import KEYWORDS
from wclayer.builder.commands.powershell.statements import (
    AssignEnvironment,
    AssignVariable,
    Call,
    CalledBlock,
    Exit,
    If,
    Pipeline,
    Statement,
    Statements,
    Throw,
    ValueOf,
)

MAX_LENGTH = 32_767
"""The most characters of a script: those of a command line of Windows (CreateProcess)."""
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PARAMETER = re.compile(r"-([A-Za-z_?][^\s{}();,|&.\[:'\"`$]*)(:?)")
_ASSIGNMENT = re.compile(r"\+=|=(?!=)|[-*/%?]\??=|\+\+|--")
_REDIRECTION = re.compile(r"([1-6*]?)(>>?)(&[12])?|<")
_NULL = re.compile(r"\$null(?![A-Za-z0-9_])", re.IGNORECASE)
_OUT_NULL = re.compile(r"Out-Null(?![^\s;|)}])", re.IGNORECASE)


def parse_script(text: str, commands: Mapping[str, Command], where: str, depth: int = 0) -> Statements:
    """Returns the statements of a script.

    Args:
        text: the script.
        commands: the programs that the script may call.
        where: the file and the line of the instruction, for messages.
        depth: the number of parentheses and shells around the script.

    Raises:
        NotSupportedError: the script has a word that is not supported, or is not well-formed.
    """
    reader = Reader(text, where)
    if len(text) > MAX_LENGTH:
        raise reader.refuse(text[:40] + "…", f"the script has {len(text)} characters, Windows takes {MAX_LENGTH}")
    check_depth(depth, where, text[:20])
    return _Parser(reader, commands, depth).statements("")


class _Parser(ExpressionParser):
    """A recursive descent over the script."""

    # Statements.

    def statements(self, end: str) -> Statements:
        """Parses statements up to a closing brace or parenthesis, or to the end of the text if `end` is empty."""
        reader = self._in
        parts: list[Statement] = []
        reader.skip_separators()
        while not (reader.peek(end) if end else reader.is_at_end()):
            if reader.is_at_end():
                raise reader.unexpected(end)
            parts.append(self._statement())
            reader.skip_blanks()
            if not (
                reader.is_at_end() or reader.peek(";") or reader.text[reader.at] in "\r\n" or (end and reader.peek(end))
            ):
                raise reader.unexpected("; or the end of a line")
            reader.skip_separators()
        return Statements(parts)

    def _block(self) -> Statements:
        """Parses `{ … }`."""
        reader = self._in
        reader.skip_lines()
        if not reader.takes("{"):
            raise reader.unexpected("{")
        self._enter()
        body = self.statements("}")
        self._leave()
        reader.at += 1
        return body

    def _statement(self) -> Statement:
        reader = self._in
        start = reader.at
        name = reader.look(_NAME)
        if name is not None and name.end() < len(reader.text) and reader.text[name.end()] not in ENDS_WORD:
            name = None
        keyword = name[0].lower() if name else ""
        if keyword in KEYWORDS:
            raise reader.refuse(name[0] if name else "", KEYWORDS[keyword])
        if keyword == "if":
            reader.at += 2
            return self._if()
        if keyword in ("exit", "throw"):
            reader.at += len(keyword)
            return self._exit() if keyword == "exit" else self._throw()
        if reader.peek("$"):
            assignment = self._assignment()
            if assignment is not None:
                return assignment
            reader.at = start
        return self._pipeline()

    def _if(self) -> Statement:
        reader = self._in
        reader.skip_lines()
        if not reader.peek("("):
            raise reader.unexpected("(")
        condition = self._parenthesis()
        then = self._block()
        after = reader.at
        reader.skip_lines()
        found = reader.look(_NAME)
        word = found[0].lower() if found else ""
        if word == "elseif":
            reader.at += len(word)
            self._enter()
            otherwise = self._if()
            self._leave()
            return If(condition, then, otherwise)
        if word == "else":
            reader.at += len(word)
            return If(condition, then, self._block())
        reader.at = after
        return If(condition, then, Statements(()))

    def _ends_statement(self) -> bool:
        self._in.skip_blanks()
        return self._in.is_at_end() or self._in.text[self._in.at] in ";\r\n})"

    def _exit(self) -> Statement:
        return Exit(Constant("", 0)) if self._ends_statement() else Exit(self._expression())

    def _throw(self) -> Statement:
        return Throw(Constant("", None) if self._ends_statement() else self._expression())

    def _assignment(self) -> Statement | None:
        """Parses `$NAME = …`, or returns None if the statement is none."""
        reader = self._in
        start = reader.at
        name = reader.variable()
        if name is None:
            return None
        word = self._since(start)
        reader.skip_blanks()
        operator = reader.match(_ASSIGNMENT)
        if operator is None:
            return None
        if operator[0] not in ("=", "+="):
            raise reader.refuse(operator[0], "possible are = and +=")
        reader.skip_lines()
        if name.lower() == "null" and operator[0] == "=":
            return self._without_output()
        value = self._value_statement()
        drive, colon, rest = name.partition(":")
        target: Expression = EnvironmentVariable(word, rest) if colon else Variable(word, name)
        if operator[0] == "+=":
            value = Sum(self._since(start), (target, value))
        if not colon:
            if name.lower() in ("true", "false", "null", "?", "lastexitcode", "pwd", "home", "^", "$"):
                raise reader.refuse(word, "PowerShell itself sets this variable; use another name")
            return AssignVariable(name, value)
        if drive.lower() != "env":
            raise reader.refuse(word, "possible are $NAME and $env:NAME")
        return AssignEnvironment(rest, value)

    def _without_output(self) -> Statement:
        """Parses what follows `$null =` and `[void]`."""
        if not self._is_command():
            value = self._expression()
            return Pipeline(None, value.call, True) if isinstance(value, ValueOf) else Pipeline(value, None, True)
        statement = self._pipeline()
        assert isinstance(statement, Pipeline)
        return Pipeline(statement.value, statement.call, True, statement.hides_errors)

    def _value_statement(self) -> Expression:
        """Parses the right side of an assignment: a value, or a call whose output is one."""
        if self._is_command():
            start = self._in.at
            call = self._call()
            return ValueOf(self._since(start), call)
        return self._expression()

    def _pipeline(self) -> Statement:
        reader = self._in
        if reader.peek("&"):
            reader.at += 1
            reader.skip_blanks()
            if reader.peek("{"):
                return CalledBlock(self._block())
            return self._piped(None, self._arguments(self._called_name()))
        if reader.peek(". ") or reader.peek(".\t"):
            raise reader.refuse(".", "scripts do not run here; write the commands themselves")
        if self._takes_void():
            reader.skip_blanks()
            return self._without_output()
        if self._is_command():
            return self._piped(None, self._call())
        value = self._expression()
        if isinstance(value, ValueOf):
            return self._piped(None, value.call)
        return self._piped(value, None)

    def _piped(self, value: Expression | None, call: Call | None) -> Statement:
        """Parses what follows a call or a value: redirections and `| …`."""
        reader = self._in
        hides_output = hides_errors = False
        while True:
            reader.skip_blanks()
            if reader.peek("||") or reader.peek("&&"):
                raise reader.refuse(reader.text[reader.at : reader.at + 2], "write ; and if ($?) { … } instead")
            if reader.takes("|"):
                reader.skip_lines()
                if reader.match(_OUT_NULL):
                    hides_output = True
                elif call is None and value is not None and self._is_command():
                    call = self._call()
                else:
                    raise reader.refuse(
                        self._rest(), "pipelines are not supported; possible are | Out-Null, and a text before "
                        "a cmdlet that takes it",
                    )  # fmt: skip
                continue
            found = reader.match(_REDIRECTION)
            if found is None:
                return Pipeline(value, call, hides_output, hides_errors)
            self._check_redirection(found)
            hides_output |= found[1] in ("", "1", "*")
            hides_errors |= found[1] in ("2", "*")

    def _check_redirection(self, found: re.Match[str]) -> None:
        reader = self._in
        reader.skip_blanks()
        if found[2] is None or found[3] is not None or not reader.match(_NULL):
            raise reader.refuse(
                found[0], "possible are > $null, 2> $null and *> $null; to write a file, use Set-Content",
            )  # fmt: skip

    # Calls.

    def _called_name(self) -> Expression:
        """Parses the name after `&`."""
        reader = self._in
        if reader.is_at_end() or reader.text[reader.at] in ENDS_WORD:
            raise reader.unexpected("a name or { after &")
        return self._primary() if reader.text[reader.at] in "$'\"" else self._word()

    def _call(self) -> Call:
        reader = self._in
        if reader.text[reader.at] in ENDS_WORD + "<>":
            raise reader.unexpected("a command")
        name = self._word(is_name=True)
        if isinstance(name, Constant) and isinstance(name.constant, str):
            check_name(name.constant, self._commands, reader.where)
        return self._arguments(name)

    def _arguments(self, name: Expression) -> Call:
        reader = self._in
        words: list[Word] = []
        while True:
            reader.skip_blanks()
            if reader.is_at_end() or reader.text[reader.at] in "\r\n;|&)}" or reader.look(_REDIRECTION):
                break
            words.append(self._argument())
        return CommandCall(name.text, name, tuple(words), self._depth)

    def _argument(self) -> Word:
        reader = self._in
        start = reader.at
        for word in ("--%", "--"):
            if reader.peek(word) and self._ends_at(reader.at + len(word)):
                raise reader.refuse(word, "is not supported; write the words after it in quotes")
        parameter = reader.look(_PARAMETER)
        if parameter is not None and (parameter[2] or self._ends_at(parameter.end())):
            reader.at = parameter.end()
            if not parameter[2]:
                return Word(parameter[0], parameter[1])
            reader.skip_blanks()
            if self._ends_statement():
                raise reader.refuse(parameter[0], "needs a value after it")
            value = self._argument_value()
            return Word(self._since(start), parameter[1], value)
        value = self._argument_value()
        return Word(self._since(start), "", value)

    def _ends_at(self, place: int) -> bool:
        return place >= len(self._in.text) or self._in.text[place] in ENDS_WORD

    def _argument_value(self) -> Expression:
        """Parses a value of a call: a word, or several with commas between them."""
        return self._with_commas(self._argument_item)

    def _argument_item(self) -> Expression:
        reader = self._in
        if reader.is_at_end() or reader.text[reader.at] in "\r\n;|&)},":
            raise reader.unexpected("a value")
        start = reader.at
        if reader.peek("(") or reader.peek("@") or reader.peek("$("):
            value = self._primary()
        elif reader.peek("{"):
            raise reader.refuse(self._rest(), "blocks of statements are not supported as values")
        else:
            value = self._word()
        if not reader.is_at_word_end():
            raise reader.unexpected("a blank")
        if reader.peek("("):
            raise reader.refuse(
                f"{self._since(start)}(", "PowerShell takes ( for the beginning of a value; write the word in quotes"
            )  # fmt: skip
        if reader.peek("{"):
            raise reader.refuse(f"{self._since(start)}{{", "PowerShell takes { for a block; write the word in quotes")
        return value
