"""Extended attributes: FILE_FULL_EA_INFORMATION lists.

Source: [MS-FSCC] section 2.4.15. Entries are 4-byte aligned; the last has a next offset of zero.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass

_ENTRY = struct.Struct("<IBBH")  # NextEntryOffset, Flags, EaNameLength, EaValueLength

FILE_NEED_EA = 0x80
"""The flag of an EA without which the file must not be interpreted."""


@dataclass(frozen=True, slots=True)
class ExtendedAttribute:
    """One EA: its name in the OEM code page (at most 254 bytes), its value (at most 65,535 bytes), its flags."""

    name: bytes
    value: bytes
    flags: int = 0


def decode_eas(data: bytes | memoryview) -> list[ExtendedAttribute]:
    """The EAs of a FILE_FULL_EA_INFORMATION list, in order.

    Raises:
        ValueError: an entry reaches past the end, or its next offset does not; the message names its offset.
    """
    view = memoryview(data)
    eas: list[ExtendedAttribute] = []
    offset = 0
    while offset < len(view):
        if len(view) - offset < _ENTRY.size:
            raise ValueError(f"EA list: entry at offset {offset} is cut off")
        next_offset, flags, name_length, value_length = _ENTRY.unpack_from(view, offset)
        name_at = offset + _ENTRY.size
        value_at = name_at + name_length + 1
        end = value_at + value_length
        if end > len(view):
            raise ValueError(
                f"EA list: entry at offset {offset} reaches past the end of the list ({end} > {len(view)})"
            )
        if view[value_at - 1]:
            raise ValueError(f"EA list: name of the entry at offset {offset} does not end with NUL")
        eas.append(ExtendedAttribute(bytes(view[name_at : name_at + name_length]), bytes(view[value_at:end]), flags))
        if not next_offset:
            return eas
        if offset + next_offset < end:
            raise ValueError(f"EA list: next offset of the entry at offset {offset} points into the entry")
        offset += next_offset
    if eas:
        raise ValueError("EA list: last entry points past the end of the list")
    return eas


def encode_eas(eas: Iterable[ExtendedAttribute]) -> bytes:
    """A FILE_FULL_EA_INFORMATION list, each entry padded to four bytes (the last one too, as go-winio writes it).

    Raises:
        ValueError: a name or value is too long, or a name is empty or holds NUL.
    """
    entries = list(eas)
    out = bytearray()
    for index, ea in enumerate(entries):
        if not 0 < len(ea.name) <= 254 or 0 in ea.name:
            raise ValueError(f"EA name of {len(ea.name)} bytes: must be 1 to 254 bytes without NUL")
        if len(ea.value) > 0xFFFF:
            raise ValueError(f"EA {ea.name!r}: value of {len(ea.value)} bytes is longer than 65535")
        size = _ENTRY.size + len(ea.name) + 1 + len(ea.value)
        padded = (size + 3) & ~3
        last = index == len(entries) - 1
        out += _ENTRY.pack(0 if last else padded, ea.flags, len(ea.name), len(ea.value))
        out += ea.name + b"\0" + ea.value + bytes(padded - size)
    return bytes(out)
