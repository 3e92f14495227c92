"""The language of PowerShell: turns a script into statements, or refuses it as a whole.

It is the plain part of the language: calls, values, `if`, assignments. Everything else is refused with its word.
Sources: "about_Parsing", "about_Operators", "about_Operator_Precedence", "about_If" (Microsoft Learn).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from wclayer.build.commands.command import Command
from wclayer.build.commands.powershell.calls import CommandCall, MethodCall, Word, check_member, check_name
from wclayer.build.commands.powershell.expressions import (
    COMPARISONS,
    Array,
    Comparison,
    Constant,
    EnvironmentVariable,
    Expression,
    Format,
    Logical,
    Not,
    Sum,
    Text,
    Variable,
)
from wclayer.build.commands.powershell.reader import ENDS_WORD, Reader
from wclayer.build.commands.powershell.refusals import KEYWORDS, OPERATORS
from wclayer.build.commands.powershell.statements import (
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
from wclayer.build.commands.powershell.values import parse_number

MAX_LENGTH = 32_767
"""The most characters of a script: those of a command line of Windows (CreateProcess)."""
_MAX_DEPTH = 32
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PARAMETER = re.compile(r"-([A-Za-z_?][^\s{}();,|&.\[:'\"`$]*)(:?)")
_OPERATOR = re.compile(r"-[A-Za-z]+|[+\-*/%]|\.\.")
_ASSIGNMENT = re.compile(r"\+=|=(?!=)|[-*/%?]\??=|\+\+|--")
_TYPE = re.compile(r"\[\s*([A-Za-z_][A-Za-z0-9_.]*)\s*\]")
_STATIC = re.compile(r"::([A-Za-z_][A-Za-z0-9_]*)")
_REDIRECTION = re.compile(r"([1-6*]?)(>>?)(&[12])?|<")
_NULL = re.compile(r"\$null(?![A-Za-z0-9_])", re.IGNORECASE)
_OUT_NULL = re.compile(r"Out-Null(?![^\s;|)}])", re.IGNORECASE)
_NOT = re.compile(r"!|-not(?![A-Za-z])", re.IGNORECASE)
_NUMBER_START = re.compile(r"[0-9]|\.[0-9]")


def parse_script(text: str, commands: Mapping[str, Command], where: str) -> Statements:
    """Returns the statements of a script.

    Args:
        text: the script.
        commands: the programs that the script may call.
        where: the file and the line of the instruction, for messages.

    Raises:
        NotSupportedError: the script has a word that is not supported, or is not well-formed.
    """
    reader = Reader(text, where)
    if len(text) > MAX_LENGTH:
        raise reader.refuse(text[:40] + "…", f"the script has {len(text)} characters, Windows takes {MAX_LENGTH}")
    return _Parser(reader, commands).statements("")


class _Parser:
    """A recursive descent over the script."""

    def __init__(self, reader: Reader, commands: Mapping[str, Command]) -> None:
        self._in = reader
        self._commands = commands
        self._depth = 0

    def _enter(self) -> None:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise self._in.refuse(self._rest(), f"more than {_MAX_DEPTH} levels; write it with fewer parentheses")

    def _leave(self) -> None:
        self._depth -= 1

    def _rest(self) -> str:
        rest = self._in.text[self._in.at :].split(None, 1)
        return rest[0][:40] if rest else "the end of the text"

    def _since(self, start: int) -> str:
        return self._in.text[start : self._in.at].strip()

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

    def _is_command(self) -> bool:
        """Returns whether a call begins here; otherwise it is an expression."""
        reader = self._in
        if reader.is_at_end() or reader.text[reader.at] in "$'\"(@[!,+-" or reader.peek("{"):
            return False
        if reader.look(_NUMBER_START):
            end = reader.at
            while end < len(reader.text) and reader.text[end] not in ENDS_WORD:
                end += 1
            return parse_number(reader.text[reader.at : end]) is None
        return True

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
        if found := _void(reader):
            reader.at = found
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
        return CommandCall(name.text, name, tuple(words))

    def _argument(self) -> Word:
        reader = self._in
        start = reader.at
        if reader.peek("--%"):
            raise reader.refuse("--%", "is not supported; write the words in quotes")
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
        reader = self._in
        start = reader.at
        items = [self._argument_item()]
        while True:
            before = reader.at
            reader.skip_blanks()
            if not reader.takes(","):
                reader.at = before
                break
            reader.skip_lines()
            items.append(self._argument_item())
        return items[0] if len(items) == 1 else Array(self._since(start), tuple(items))

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
                if reader.text[reader.at + 1 : reader.at + 2] in ("\r", "\n"):
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
        if reader.takes("$("):
            reader.at = start
            return self._primary()
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

    # Expressions, the weakest operators first.

    def _expression(self, *, has_commas: bool = True) -> Expression:
        self._enter()
        start = self._in.at
        first = self._comparison(has_commas)
        others: list[tuple[str, Expression]] = []
        while (operator := self._operator("-and", "-or")) is not None:
            others.append((operator, self._comparison(has_commas)))
        self._leave()
        return Logical(self._since(start), first, tuple(others)) if others else first

    def _operator(self, *possible: str) -> str | None:
        """Takes an operator if it is one of the possible ones. One that no level knows is refused."""
        reader = self._in
        before = reader.at
        reader.skip_blanks()
        found = reader.look(_OPERATOR)
        word = found[0].lower() if found else ""
        if word in possible:
            reader.at += len(word)
            reader.skip_lines()
            return word
        if word in OPERATORS:
            raise reader.refuse(word, OPERATORS[word])
        reader.at = before
        return None

    def _comparison(self, has_commas: bool) -> Expression:
        start = self._in.at
        value = self._sum(has_commas)
        operator = self._operator(*COMPARISONS)
        if operator is None:
            return value
        right = self._sum(has_commas)
        return Comparison(self._since(start), value, operator, right)

    def _sum(self, has_commas: bool) -> Expression:
        start = self._in.at
        terms = [self._format(has_commas)]
        while self._operator("+") is not None:
            terms.append(self._format(has_commas))
        return Sum(self._since(start), tuple(terms)) if len(terms) > 1 else terms[0]

    def _format(self, has_commas: bool) -> Expression:
        start = self._in.at
        value = self._unary(has_commas)
        if self._operator("-f") is not None:
            value = Format(self._since(start), value, self._unary(has_commas))
        return value

    def _unary(self, has_commas: bool) -> Expression:
        reader = self._in
        start = reader.at
        if reader.match(_NOT):
            reader.skip_lines()
            self._enter()
            operand = self._unary(has_commas)
            self._leave()
            return Not(self._since(start), operand)
        return self._list() if has_commas else self._primary()

    def _list(self) -> Expression:
        reader = self._in
        start = reader.at
        if reader.peek(","):
            raise reader.unexpected("a value")
        items = [self._primary()]
        while True:
            before = reader.at
            reader.skip_blanks()
            if not reader.takes(","):
                reader.at = before
                break
            reader.skip_lines()
            items.append(self._primary())
        return items[0] if len(items) == 1 else Array(self._since(start), tuple(items))

    def _primary(self) -> Expression:
        reader = self._in
        start = reader.at
        if reader.is_at_end():
            raise reader.unexpected("a value")
        if reader.peek("'"):
            content = reader.single_quoted()
            value: Expression = Constant(reader.text[start : reader.at], content)
        elif reader.peek('"'):
            value = self._double_quoted()
        elif reader.peek("@'") or reader.peek('@"'):
            value = self._here_string()
        elif reader.peek("@("):
            value = self._array()
        elif reader.peek("@"):
            raise reader.refuse(self._rest(), "tables and splatting (@) are not supported; write parameters and values")
        elif reader.peek("("):
            value = self._parenthesis()
        elif reader.peek("$("):
            reader.at += 1
            value = self._parenthesis()
        elif reader.peek("$"):
            name = reader.variable()
            if name is None:
                raise reader.unexpected("a value")
            value = self._variable(self._since(start), name)
        elif reader.peek("["):
            return self._typed()
        elif reader.look(re.compile(r"[+-]?(?:[0-9]|\.[0-9])")):
            value = self._number()
        else:
            raise reader.refuse(self._rest(), "a value is expected here; write texts in quotes")
        reader.check_no_member(self._since(start))
        if reader.peek("::"):
            raise reader.unexpected("the end of the value")
        return value

    def _number(self) -> Expression:
        reader = self._in
        found = reader.match(re.compile(r"[+-]?[0-9A-Za-z.]+"))
        number = parse_number(found[0]) if found else None
        if found is None or number is None or number.value is None:
            raise reader.refuse(found[0] if found else "", "is no integer; write it in quotes")
        return Constant(found[0], number.value)

    def _here_string(self) -> Expression:
        reader = self._in
        start = reader.at
        reader.at += 2
        is_expandable = reader.text[reader.at - 1] == '"'
        content = reader.here_string()
        text = reader.text[start : reader.at]
        if not is_expandable:
            return Constant(text, content)
        inner = _Parser(Reader(content, reader.where), self._commands)
        inner._depth = self._depth
        return self._text(text, inner._expandable(0, ""))

    def _array(self) -> Expression:
        """Parses `@(…)`."""
        reader = self._in
        start = reader.at
        reader.at += 2
        items: list[Expression] = []
        reader.skip_separators()
        while not reader.takes(")"):
            items.append(self._expression())
            reader.skip_blanks()
            if not reader.peek(")") and not reader.peek(";") and not (reader.peek("\r") or reader.peek("\n")):
                raise reader.unexpected(")")
            reader.skip_separators()
        return Array(self._since(start), tuple(items), flattens=True)

    def _parenthesis(self) -> Expression:
        """Parses `(…)`: a value, or a call whose output is one."""
        reader = self._in
        reader.at += 1
        self._enter()
        reader.skip_lines()
        start = reader.at
        value: Expression
        if self._is_command():
            call = self._call()
            value = ValueOf(self._since(start), call)
        else:
            value = self._expression()
        reader.skip_lines()
        if not reader.takes(")"):
            raise reader.unexpected(")")
        self._leave()
        return value

    def _typed(self) -> Expression:
        """Parses `[Type]::Member`, `[Type]::Method(…)`."""
        reader = self._in
        start = reader.at
        kind = reader.match(_TYPE)
        if kind is None:
            raise reader.unexpected("a type in brackets")
        member = reader.match(_STATIC)
        if member is None:
            if kind[1].lower() in ("string", "system.string"):
                reader.skip_blanks()
                return Text(self._since(start), ("", self._primary()))
            raise reader.refuse(
                kind[0], "conversions are not supported, but for [string]; possible are [Type]::Method(…) of "
                "docs/build.md",
            )  # fmt: skip
        check_member(kind[1], member[1], reader.where)
        arguments: list[Expression] | None = None
        if reader.takes("("):
            arguments = self._method_arguments()
        text = self._since(start)
        reader.check_no_member(text)
        call = MethodCall(text, kind[1], member[1], None if arguments is None else tuple(arguments))
        return ValueOf(text, call)

    def _method_arguments(self) -> list[Expression]:
        reader = self._in
        found: list[Expression] = []
        self._enter()
        reader.skip_lines()
        while not reader.takes(")"):
            if found and not reader.takes(","):
                raise reader.unexpected(", or )")
            reader.skip_lines()
            found.append(self._expression(has_commas=False))
            reader.skip_lines()
        self._leave()
        return found


def _void(reader: Reader) -> int | None:
    """Returns the place after `[void]` if it is next."""
    found = reader.look(_TYPE)
    return found.end() if found is not None and found[1].lower() in ("void", "system.void") else None
