"""The data of values of the registry: from a value of PowerShell to the stored form.

Source: `RegistryProvider.ConvertValueToKind` and `GetValueKindFromObject` of PowerShell.
"""

from __future__ import annotations

from wclayer.builder.commands.powershell.values import Scalar, Value, parse_number, parts_of, to_text
from wclayer.formats.regf.values import ValueType, encode_string

KINDS = {
    "string": ValueType.REG_SZ,
    "expandstring": ValueType.REG_EXPAND_SZ,
    "multistring": ValueType.REG_MULTI_SZ,
    "dword": ValueType.REG_DWORD,
    "qword": ValueType.REG_QWORD,
    "binary": ValueType.REG_BINARY,
}
"""The types by the names of .NET (RegistryValueKind), in lower case."""

_SIZES = {ValueType.REG_DWORD: 4, ValueType.REG_QWORD: 8}


def kind_of_value(value: Value) -> ValueType:
    """Returns the type of a value for which none is stated.

    Raises:
        ValueError: no type follows from the value.
    """
    if value is None or isinstance(value, str):
        return ValueType.REG_SZ
    if isinstance(value, int) and not isinstance(value, bool):
        return ValueType.REG_DWORD if -(1 << 31) <= value < 1 << 31 else ValueType.REG_QWORD
    raise ValueError("no type follows from this value; write -PropertyType or -Type")


def converted(value: Value, kind: ValueType) -> bytes:
    """Returns the stored form of a known value.

    Raises:
        ValueError: the value does not fit the type.
    """
    if kind in _SIZES:
        return _number(value, _SIZES[kind])
    if kind == ValueType.REG_BINARY:
        return b"".join(_number(part, 1) for part in _listed(value))
    if kind == ValueType.REG_MULTI_SZ:
        texts = [to_text(part) for part in _listed(value)]
        if "" in texts or any("\0" in text for text in texts):
            raise ValueError("an empty text would end the list of a MultiString")
        return b"".join(map(encode_string, texts)) + bytes(2)
    return encode_string(to_text(value))


def _listed(value: Value) -> tuple[Scalar, ...]:
    """Returns the values of which a list consists: none for `$null`."""
    return () if value is None else parts_of(value)


def _number(value: Value, size: int) -> bytes:
    if value is None:
        number: int | None = 0
    elif isinstance(value, str):
        text = value.strip()
        parsed = parse_number(text)
        number = 0 if not text else None if parsed is None else parsed.value
    else:
        number = value if isinstance(value, int) else None
    least = 0 if size == 1 else -(1 << (8 * size - 1))
    if number is None or not least <= number < 1 << 8 * size:
        raise ValueError(f"an integer of {8 * size} bits is expected")
    return (number % (1 << 8 * size)).to_bytes(size, "little")
