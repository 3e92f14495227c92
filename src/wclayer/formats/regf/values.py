"""The types of registry values, and their data as text in the forms of `reg.exe`."""

from __future__ import annotations

from enum import IntEnum

from wclayer.formats.regf.model import Value


class ValueType(IntEnum):
    """The predefined types ("Data types" in the specification); a value's type may be any other number."""

    REG_NONE = 0
    REG_SZ = 1
    REG_EXPAND_SZ = 2
    REG_BINARY = 3
    REG_DWORD = 4
    REG_DWORD_BIG_ENDIAN = 5
    REG_LINK = 6
    REG_MULTI_SZ = 7
    REG_RESOURCE_LIST = 8
    REG_FULL_RESOURCE_DESCRIPTOR = 9
    REG_RESOURCE_REQUIREMENTS_LIST = 10
    REG_QWORD = 11


STRINGS = (ValueType.REG_SZ, ValueType.REG_EXPAND_SZ, ValueType.REG_LINK)
_INTEGERS = {ValueType.REG_DWORD: 4, ValueType.REG_DWORD_BIG_ENDIAN: 4, ValueType.REG_QWORD: 8}


def type_name(kind: int) -> str:
    """Returns the name of a type (`REG_SZ`, …), or its number in hexadecimal if it has no name."""
    try:
        return ValueType(kind).name
    except ValueError:
        return f"{kind:#x}"


def parse_type(text: str) -> int:
    """Returns the type that a name in any case, or a number, stands for: the inverse of `type_name`.

    Raises:
        ValueError: the text is neither a known name nor a number of 32 bits.
    """
    name = text.upper()
    if name in ValueType.__members__:
        return ValueType[name]
    try:
        kind = int(text, 0)
    except ValueError:
        kind = -1
    if not 0 <= kind <= 0xFFFFFFFF:
        raise ValueError(f"{text!r} is not a type of registry values; known are {', '.join(ValueType.__members__)}")
    return kind


def encode_string(text: str) -> bytes:
    """Returns a string in the form of registry values: UTF-16LE with a terminating null."""
    return (text + "\0").encode("utf-16-le", "surrogatepass")


def decode_string(data: bytes) -> str:
    """Returns the string up to its first null. Half a unit at the end is ignored, as Windows does."""
    return data[: len(data) & ~1].decode("utf-16-le", "surrogatepass").partition("\0")[0]


def decode_strings(data: bytes) -> list[str]:
    """Returns the strings of a REG_MULTI_SZ, up to the empty string that ends it."""
    found = []
    for text in data[: len(data) & ~1].decode("utf-16-le", "surrogatepass").split("\0"):
        if not text:
            break
        found.append(text)
    return found


def integer(value: Value) -> int | None:
    """Returns the number that a DWORD or QWORD value holds, or None if the value has another type or size."""
    size = _INTEGERS.get(ValueType(value.type)) if value.type in _INTEGERS else None
    if size != len(value.data):
        return None
    return int.from_bytes(value.data, "big" if value.type == ValueType.REG_DWORD_BIG_ENDIAN else "little")


def to_text(value: Value) -> str:
    r"""Returns a value's data as `reg query` prints it.

    Strings are unchanged, multiple strings joined by `\0`, numbers like `0x1`, everything else in hexadecimal.
    """
    if value.type in STRINGS:
        return decode_string(value.data)
    if value.type == ValueType.REG_MULTI_SZ:
        return "\\0".join(decode_strings(value.data))
    number = integer(value)
    return value.data.hex().upper() if number is None else f"{number:#x}"


def from_text(kind: int, text: str) -> bytes:
    r"""Returns the data of a value of type `kind` from its text, in the form of `reg add`.

    Numbers are decimal or `0x…`, multiple strings joined by `\0`, everything but strings and numbers in hexadecimal.

    Raises:
        ValueError: the text does not fit the type.
    """
    if kind in STRINGS:
        return encode_string(text)
    if kind == ValueType.REG_MULTI_SZ:
        # An empty string would end the list.
        return b"".join(encode_string(part) for part in text.split("\\0") if part) + bytes(2)
    if kind in _INTEGERS:
        size = _INTEGERS[ValueType(kind)]
        try:
            number = int(text, 0)
            return number.to_bytes(size, "big" if kind == ValueType.REG_DWORD_BIG_ENDIAN else "little")
        except (ValueError, OverflowError):
            raise ValueError(f"{text!r} is not a number of {8 * size} bits, decimal or 0x…") from None
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise ValueError(f"{text!r} is not data in hexadecimal") from None
