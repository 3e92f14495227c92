"""Parses the expressions of PowerShell: values, texts with variables in them, operators."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Callable

from wclayer.builder.commands.powershell.calls import MethodCall, check_member
from wclayer.builder.commands.powershell.expressions import (
    COMPARISONS,
    Array,
    Comparison,
    Constant,
    Expression,
    Format,
    Logical,
    Not,
    Sum,
    Text,
)
from wclayer.builder.commands.powershell.reader import ENDS_WORD, LINE_ENDS
from wclayer.builder.commands.powershell.refusals import OPERATORS
from wclayer.builder.commands.powershell.statements import Call, ValueOf
from wclayer.builder.commands.powershell.values import parse_number
from wclayer.builder.commands.powershell.word_parser import WordParser

_OPERATOR = re.compile(r"-[A-Za-z]+|[+\-*/%]|\.\.")
_TYPE = re.compile(r"\[\s*([A-Za-z_][A-Za-z0-9_.]*)\s*\]")
_STATIC = re.compile(r"::([A-Za-z_][A-Za-z0-9_]*)")
_NOT = re.compile(r"!|-not(?![A-Za-z])", re.IGNORECASE)
_NUMBER_START = re.compile(r"[0-9]|\.[0-9]")
_SIGNED_NUMBER = re.compile(r"[+-]?(?:[0-9]|\.[0-9])")
_NUMBER = re.compile(r"[+-]?[0-9A-Za-z.]+")


class ExpressionParser(WordParser):
    """A recursive descent over the expressions of a script."""

    @abstractmethod
    def _call(self) -> Call:
        """Parses a call of a command."""

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
        if self._in.peek(","):
            raise self._in.unexpected("a value")
        return self._with_commas(self._primary)

    def _with_commas(self, parse: Callable[[], Expression]) -> Expression:
        """Parses one value, or an array: several values with commas between them.

        Args:
            parse: parses one of the values.
        """
        reader = self._in
        start = reader.at
        items = [parse()]
        while True:
            before = reader.at
            reader.skip_blanks()
            if not reader.takes(","):
                reader.at = before
                break
            reader.skip_lines()
            items.append(parse())
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
            value = self._subexpression()
        elif reader.peek("$"):
            name = reader.variable()
            if name is None:
                raise reader.unexpected("a value")
            value = self._variable(self._since(start), name)
        elif reader.peek("["):
            return self._typed()
        elif reader.look(_SIGNED_NUMBER):
            value = self._number()
        else:
            raise reader.refuse(self._rest(), "a value is expected here; write texts in quotes")
        reader.check_no_member(self._since(start))
        if reader.peek("::"):
            raise reader.unexpected("the end of the value")
        return value

    def _number(self) -> Expression:
        reader = self._in
        found = reader.match(_NUMBER)
        number = parse_number(found[0]) if found else None
        if found is None or number is None or number.value is None:
            raise reader.refuse(found[0] if found else "", "is no integer; write it in quotes")
        return Constant(found[0], number.value)

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
            if (
                not reader.peek(")")
                and not reader.peek(";")
                and reader.text[reader.at : reader.at + 1] not in tuple(LINE_ENDS)
            ):
                raise reader.unexpected(")")
            reader.skip_separators()
        return Array(self._since(start), tuple(items), flattens=True)

    def _subexpression(self) -> Expression:
        self._in.at += 1
        return self._parenthesis()

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

    def _takes_void(self) -> bool:
        """Takes `[void]` if it is next."""
        found = self._in.look(_TYPE)
        if found is None or found[1].lower() not in ("void", "system.void"):
            return False
        self._in.at = found.end()
        return True
