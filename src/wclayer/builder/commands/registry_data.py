"""The data of `reg add`: from the text of `/d` to the stored form."""

from __future__ import annotations

import re

from wclayer.formats.regf.values import ValueType, encode_string

DATA_TYPES = {
    "REG_SZ": ValueType.REG_SZ,
    "REG_EXPAND_SZ": ValueType.REG_EXPAND_SZ,
    "REG_MULTI_SZ": ValueType.REG_MULTI_SZ,
    "REG_DWORD": ValueType.REG_DWORD,
    "REG_DWORD_LITTLE_ENDIAN": ValueType.REG_DWORD,
    "REG_DWORD_BIG_ENDIAN": ValueType.REG_DWORD_BIG_ENDIAN,
    "REG_QWORD": ValueType.REG_QWORD,
    "REG_BINARY": ValueType.REG_BINARY,
    "REG_NONE": ValueType.REG_NONE,
}
"""The types that `reg add` knows, by name."""

_NUMBERS = {ValueType.REG_DWORD: 4, ValueType.REG_DWORD_BIG_ENDIAN: 4, ValueType.REG_QWORD: 8}
_NUMBER = re.compile("0x[0-9a-f]{1,16}|0|[1-9][0-9]{0,19}", re.IGNORECASE)


def parse_data(kind: ValueType, text: str | None, separator: str = "\\0") -> bytes:
    r"""Returns the stored form of a value's data.

    Args:
        kind: the type of the value.
        text: what follows `/d`; None without `/d`: an empty string, or no bytes.
        separator: what stands between the strings of a REG_MULTI_SZ.

    Raises:
        ValueError: the text does not fit the type.
    """
    if kind in _NUMBERS:
        size = _NUMBERS[kind]
        if text is None or not _NUMBER.fullmatch(text) or int(text, 0) >= 1 << 8 * size:
            raise ValueError(
                f"{kind.name} needs /d and a number of {8 * size} bits, decimal without a leading 0 or 0x…"
            )
        return int(text, 0).to_bytes(size, "big" if kind == ValueType.REG_DWORD_BIG_ENDIAN else "little")
    if kind == ValueType.REG_BINARY:
        if len(text or "") % 2 or not re.fullmatch("[0-9A-Fa-f]*", text or ""):
            raise ValueError("REG_BINARY has data in hexadecimal, two digits for each byte")
        return bytes.fromhex(text or "")
    if kind == ValueType.REG_MULTI_SZ:
        parts = (text or "").removesuffix(separator).split(separator) if text else []
        if "" in parts:
            raise ValueError("an empty string would end the list of a REG_MULTI_SZ")
        return b"".join(map(encode_string, parts)) + bytes(2)
    # reg.exe stores the text of a REG_NONE like a string.
    return encode_string(text or "")
