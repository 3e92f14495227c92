"""The values of PowerShell that are supported: texts, numbers, `$true`, `$false`, `$null`, and arrays of these."""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_TEXT = 1 << 16
"""The most characters of a text that a script makes."""
MAX_ITEMS = 4096
"""The most values of an array."""

_NUMBER = re.compile(r"([+-]?)(0x[0-9a-f]+|[0-9]+)(kb|mb|gb|tb|pb)?", re.ASCII | re.IGNORECASE)
_OTHER_NUMBER = re.compile(
    r"[+-]?(0x[0-9a-f]+|[0-9]+\.?[0-9]*(e[+-]?[0-9]+)?|\.[0-9]+(e[+-]?[0-9]+)?)(u?[lsy]|[udn])?(kb|mb|gb|tb|pb)?",
    re.ASCII | re.IGNORECASE,
)
_FACTORS = {"": 0, "kb": 10, "mb": 20, "gb": 30, "tb": 40, "pb": 50}
_MOST_DIGITS = 20


@dataclass(frozen=True)
class Number:
    """A number as an argument of a command, which keeps its spelling: `-Name 007` is the text 007.

    Attributes:
        text: the spelling.
        value: the number; None for one that is no plain integer.
    """

    text: str
    value: int | None


@dataclass(frozen=True)
class Unknown:
    """A value that only the run decides, and why."""

    reason: str


Scalar = str | int | bool | Number | Unknown | None
Value = Scalar | tuple[Scalar, ...]
"""A value of PowerShell."""


class ValueTooLargeError(ValueError):
    """A value that a script makes is larger than is accepted."""


def parse_number(text: str) -> Number | None:
    """Returns the number that a word is, or None if it is none.

    Integers may be decimal or hexadecimal, with a sign, and with `KB`, `MB`, …; other numbers have no value.

        >>> parse_number("0x1F"), parse_number("2kb").value, parse_number("1.2.3")
        (Number(text='0x1F', value=31), 2048, None)
    """
    found = _NUMBER.fullmatch(text)
    if found is None or len(found[2]) > _MOST_DIGITS:
        return Number(text, None) if _OTHER_NUMBER.fullmatch(text) else None
    digits = found[2].lower()
    number = int(digits, 16) if digits.startswith("0x") else int(digits)
    if digits.startswith("0x") and 1 << 31 <= number < 1 << 32:
        # A hexadecimal number of 32 bits is one with a sign.
        number -= 1 << 32
    number <<= _FACTORS[(found[3] or "").lower()]
    return Number(text, None if number >= 1 << 63 else -number if found[1] == "-" else number)


def plain(value: Value) -> Value:
    """Returns a value without the spelling of its numbers."""
    return tuple(map(_plain, value)) if isinstance(value, tuple) else _plain(value)


def _plain(value: Scalar) -> Scalar:
    return value.value if isinstance(value, Number) and value.value is not None else value


def parts_of(value: Value) -> tuple[Scalar, ...]:
    """Returns the values of an array; of any other value, the value alone."""
    return value if isinstance(value, tuple) else (value,)


def unknown_in(value: Value) -> Unknown | None:
    """Returns the part of a value that only the run decides, or None if all of it is known."""
    return next((part for part in parts_of(value) if isinstance(part, Unknown)), None)


def to_text(value: Value) -> str:
    """Returns the text of a known value, as PowerShell puts it into a text: arrays with blanks between the values.

    Raises:
        ValueTooLargeError: the text is too long.
    """
    if isinstance(value, tuple):
        return checked_text(" ".join(map(to_text, value)))
    if value is None:
        return ""
    if isinstance(value, bool):
        return "True" if value else "False"
    if isinstance(value, Number):
        return value.text
    assert not isinstance(value, Unknown)
    return str(value)


def checked_text(text: str) -> str:
    """Returns a text that a script makes.

    Raises:
        ValueTooLargeError: it is too long.
    """
    if len(text) > MAX_TEXT:
        raise ValueTooLargeError(f"makes a text of more than {MAX_TEXT} characters; write it to a file and COPY that")
    return text


def is_true(value: Value) -> bool:
    """Returns whether a known value holds as a condition."""
    if isinstance(value, tuple):
        return is_true(value[0]) if len(value) == 1 else bool(value)
    return bool(plain(value))
