"""The values of a key by their names, as texts and numbers, whatever types a program has stored them with."""

from __future__ import annotations

from collections.abc import Iterator

from wclayer.formats.regf.model import Key, Value, fold
from wclayer.formats.regf.values import STRINGS, ValueType, decode_string, decode_strings, integer

_MAX_TEXT = 1 << 15
"""Characters of a value that are taken; longer texts are cut."""


class KeyValues:
    """The values of a key. Names are compared as Windows does.

    Args:
        key: the key; None has no values.
    """

    def __init__(self, key: Key | None) -> None:
        self._values: dict[str, Value] = {} if key is None else {fold(value.name): value for value in key.values()}

    def __contains__(self, name: str) -> bool:
        return fold(name) in self._values

    def __iter__(self) -> Iterator[Value]:
        return iter(self._values.values())

    def value(self, name: str) -> Value | None:
        """Returns a value as it is stored; None if it is not there."""
        return self._values.get(fold(name))

    def text(self, name: str) -> str:
        """Returns a value as a text without spaces around it, a number in decimal; "" if it is neither, or missing."""
        value = self.value(name)
        if value is None:
            return ""
        if value.type in STRINGS:
            return decode_string(value.data[: 2 * _MAX_TEXT]).strip()
        number = integer(value)
        return "" if number is None else str(number)

    def number(self, name: str) -> int | None:
        """Returns a value as a number: a DWORD or QWORD, or a text of decimal digits; None if it is neither."""
        value = self.value(name)
        if value is None:
            return None
        if value.type in STRINGS:
            text = self.text(name)
            return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None
        return integer(value)

    def texts(self, name: str) -> list[str]:
        """Returns the texts of a value of several; a single text as a list of one; [] if it is not there."""
        value = self.value(name)
        if value is None:
            return []
        if value.type == ValueType.REG_MULTI_SZ:
            return decode_strings(value.data[: 2 * _MAX_TEXT])
        text = self.text(name)
        return [text] if text else []
