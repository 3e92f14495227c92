"""The expressions of PowerShell that are supported, as they are evaluated: planned before a build, and when it runs.

While a build is planned, what only the run decides has the value `Unknown`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from wclayer.builder.commands.powershell.scope import PlannedScope, RunningScope, Scope
from wclayer.builder.commands.powershell.values import (
    MAX_ITEMS,
    Number,
    Scalar,
    Unknown,
    Value,
    ValueTooLargeError,
    checked_text,
    is_true,
    plain,
    to_text,
    unknown_in,
)

_FIELD = re.compile(r"\{\{|\}\}|\{([0-9]{1,4})\}|[{}]")


class Expression(Protocol):
    """A part of a script that has a value."""

    @property
    def text(self) -> str:
        """The expression as it is written."""
        ...

    def value(self, scope: Scope) -> Value:
        """Returns the value.

        Raises:
            NotSupportedError: the value is not supported.
        """
        ...


def known(expression: Expression, scope: Scope) -> Value:
    """Returns the value of an expression that has to be known before a build.

    Raises:
        NotSupportedError: only the run decides it.
    """
    value = expression.value(scope)
    unknown = unknown_in(value)
    if unknown is not None:
        raise scope.refuse(
            expression.text, f"its value is not known before the build: {unknown.reason}; write the value instead"
        )
    return value


@dataclass(frozen=True)
class Constant:
    """A value that is written as it is."""

    text: str
    constant: Value

    def value(self, scope: Scope) -> Value:
        return self.constant


@dataclass(frozen=True)
class Variable:
    """`$NAME`: a variable that the script has set, or one that PowerShell sets."""

    text: str
    name: str

    def value(self, scope: Scope) -> Value:
        key = self.name.lower()
        if key in scope.variables:
            return scope.variables[key]
        automatic = _AUTOMATIC.get(key)
        if automatic is None:
            raise scope.refuse(
                self.text, "no statement before it in this RUN gives it a value; write the value, or $env:NAME for a "
                "variable of ENV or ARG",
            )  # fmt: skip
        return automatic(scope)


def _last_exit_code(scope: Scope) -> Value:
    return scope.last_exit_code if isinstance(scope, RunningScope) else Unknown("a program decides it when it runs")


def _is_ok(scope: Scope) -> Value:
    return scope.is_ok if isinstance(scope, RunningScope) else Unknown("the statement before it decides it")


def _directory(scope: Scope) -> Value:
    return Unknown("an earlier command decides it when it runs") if scope.directory is None else scope.directory


_AUTOMATIC: dict[str, Callable[[Scope], Value]] = {
    "true": lambda _: True,
    "false": lambda _: False,
    "null": lambda _: None,
    "?": _is_ok,
    "lastexitcode": _last_exit_code,
    "pwd": _directory,
    "home": lambda scope: EnvironmentVariable("$HOME", "USERPROFILE").value(scope),
}


@dataclass(frozen=True)
class EnvironmentVariable:
    """`$env:NAME`: a variable of the process, or `$null`."""

    text: str
    name: str

    def value(self, scope: Scope) -> Value:
        value = scope.environment.get(self.name)
        if value is None and (reason := scope.environment.unknown_reason(self.name)):
            return Unknown(reason)
        return value


@dataclass(frozen=True)
class Text:
    """A text with values in it: `"a $b"`, or a word such as `$env:A\\b`."""

    text: str
    parts: tuple[str | Expression, ...]

    def value(self, scope: Scope) -> Value:
        found: list[str] = []
        for part in self.parts:
            value = part if isinstance(part, str) else part.value(scope)
            unknown = unknown_in(value)
            if unknown is not None:
                return unknown
            found.append(to_text(plain(value)))
        return _checked(self, scope, "".join(found))


def _checked(expression: Expression, scope: Scope, text: str) -> str:
    try:
        return checked_text(text)
    except ValueTooLargeError as error:
        raise scope.refuse(expression.text[:40], str(error)) from None


@dataclass(frozen=True)
class Array:
    """`a, b` and `@(…)`. Arrays in `@(…)` become part of it; an array in `a, b` is refused."""

    text: str
    items: tuple[Expression, ...]
    flattens: bool = False

    def value(self, scope: Scope) -> Value:
        found: list[Scalar] = []
        for item in self.items:
            value = item.value(scope)
            if not isinstance(value, tuple):
                found.append(value)
            elif self.flattens:
                found += value
            else:
                raise scope.refuse(item.text, "an array in an array is not supported")
            if len(found) > MAX_ITEMS:
                raise scope.refuse(self.text[:40], f"an array of more than {MAX_ITEMS} values")
        return tuple(found)


@dataclass(frozen=True)
class Sum:
    """`a + b + …` of texts, of integers, or of arrays."""

    text: str
    terms: tuple[Expression, ...]

    def value(self, scope: Scope) -> Value:
        total = plain(self.terms[0].value(scope))
        for term in self.terms[1:]:
            total = self._added(total, plain(term.value(scope)), term, scope)
        return total

    def _added(self, total: Value, value: Value, term: Expression, scope: Scope) -> Value:
        if isinstance(total, tuple):
            return Array(self.text, (Constant("", total), Constant("", value)), flattens=True).value(scope)
        unknown = unknown_in(total) or unknown_in(value)
        if unknown is not None:
            return unknown
        if isinstance(total, str):
            return _checked(self, scope, total + to_text(value))
        if total is None:
            # $null + x is x.
            return value
        if isinstance(total, bool) or isinstance(value, bool) or not isinstance(value, int | None):
            raise scope.refuse(term.text, "only texts, integers and arrays can be added; write a text before it")
        assert isinstance(total, int)
        if abs(total + (value or 0)) >= 1 << 63:
            raise scope.refuse(self.text[:40], "makes a number of more than 64 bits")
        return total + (value or 0)


@dataclass(frozen=True)
class Format:
    """`'… {0} …' -f a, b`."""

    text: str
    pattern: Expression
    values: Expression

    def value(self, scope: Scope) -> Value:
        pattern, values = self.pattern.value(scope), plain(self.values.value(scope))
        unknown = unknown_in(pattern) or unknown_in(values)
        if unknown is not None:
            return unknown
        items = values if isinstance(values, tuple) else (values,)
        found: list[str] = []
        at = 0
        text = to_text(pattern)
        for field in _FIELD.finditer(text):
            found.append(text[at : field.start()])
            at = field.end()
            if field[0] in ("{{", "}}"):
                found.append(field[0][0])
            elif field[1] is None or int(field[1]) >= len(items):
                raise scope.refuse(
                    self.pattern.text[:80], f"-f: {text[field.start() : field.start() + 12]!r}: possible are "
                    f"{{0}} to {{{len(items) - 1}}}, and {{{{ and }}}} for braces",
                )  # fmt: skip
            else:
                found.append(to_text(items[int(field[1])]))
        return _checked(self, scope, "".join([*found, text[at:]]))


@dataclass(frozen=True)
class Not:
    """`-not x`, `!x`."""

    text: str
    operand: Expression

    def value(self, scope: Scope) -> Value:
        value = self.operand.value(scope)
        return unknown_in(value) or not is_true(value)


@dataclass(frozen=True)
class Logical:
    """`a -and b`, `a -or b`, from the left; the right side is evaluated only if it matters."""

    text: str
    first: Expression
    others: tuple[tuple[str, Expression], ...]

    def value(self, scope: Scope) -> Value:
        total = self.first.value(scope)
        for operator, operand in self.others:
            unknown = unknown_in(total)
            if unknown is None and is_true(total) == (operator == "-or"):
                if isinstance(scope, PlannedScope):
                    # What is never evaluated is checked, too.
                    operand.value(scope)
                total = operator == "-or"
                continue
            value = operand.value(scope)
            total = unknown or unknown_in(value) or is_true(value)
        return total


@dataclass(frozen=True)
class Comparison:
    """`a -eq b` and its relatives: of texts without case, of integers as numbers."""

    text: str
    left: Expression
    operator: str
    right: Expression

    def value(self, scope: Scope) -> Value:
        left, right = plain(self.left.value(scope)), plain(self.right.value(scope))
        for value, side in ((left, self.left), (right, self.right)):
            if isinstance(value, tuple | Number):
                raise scope.refuse(side.text, f"{self.operator} compares texts and integers only")
        unknown = unknown_in(left) or unknown_in(right)
        if unknown is not None:
            return unknown
        if self.operator in _ORDERS and (isinstance(left, str) or isinstance(right, str)):
            raise scope.refuse(self.operator, "compares integers only")
        if isinstance(left, str) and isinstance(right, str | int) and not isinstance(right, bool):
            return self._compared_texts(left, to_text(right))
        if type(left) is type(right) or left is None or right is None:
            return self._compared(left, right, scope)
        raise scope.refuse(self.text, "compares values of different kinds; write both as texts")

    def _compared_texts(self, left: str, right: str) -> bool:
        operator = self.operator
        if not operator.startswith("-c"):
            left, right = left.lower(), right.lower()
        return (left == right) == operator.endswith("eq")

    def _compared(self, left: object, right: object, scope: Scope) -> bool:
        if self.operator[-2:] in ("eq", "ne"):
            return (left == right) == self.operator.endswith("eq")
        if not isinstance(left, int) or not isinstance(right, int) or isinstance(left, bool):
            raise scope.refuse(self.operator, "compares integers only")
        return _ORDERS[self.operator](left, right)


_ORDERS: dict[str, Callable[[int, int], bool]] = {
    "-gt": lambda left, right: left > right,
    "-ge": lambda left, right: left >= right,
    "-lt": lambda left, right: left < right,
    "-le": lambda left, right: left <= right,
}
COMPARISONS = ("-eq", "-ne", "-ieq", "-ine", "-ceq", "-cne", *_ORDERS)
"""The operators of `Comparison`."""
