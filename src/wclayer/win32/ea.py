"""Extended attributes: FILE_FULL_EA_INFORMATION lists.

Source: [MS-FSCC] section 2.4.15. Entries are 4-byte aligned. The last one has a next offset of zero, or one that leads
to the end of the list, which ntfs-3g writes and go-winio reads.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from wclayer.errors import FormatError

_ENTRY = struct.Struct("<IBBH")  # NextEntryOffset, Flags, EaNameLength, EaValueLength
_OFFSET = struct.Struct("<I")

MAX_LIST_SIZE = 1 << 16
"""The most bytes of a list that NTFS stores for one file, according to the `$AttrDef` of its volumes."""
_MAX_NAME = 254
_MAX_VALUE = 0xFFFF
FILE_NEED_EA = 0x80
"""The flag of an EA that a program must understand in order to interpret the file."""


@dataclass(frozen=True, slots=True)
class ExtendedAttribute:
    """An EA: its name in the OEM code page (at most 254 bytes), its value (at most 65,535 bytes), and its flags."""

    name: bytes
    value: bytes
    flags: int = 0


class EaError(FormatError):
    """A list of EAs is not well-formed, or longer than NTFS allows for a file."""


def decode_eas(data: bytes | memoryview) -> list[ExtendedAttribute]:
    """Returns the EAs of a FILE_FULL_EA_INFORMATION list, in order.

    Raises:
        EaError: the list is longer than NTFS stores; an entry or its next offset reaches past the end of the list; no
            EA can have such a name. The message names the entry's offset.
    """
    view = memoryview(data)
    if len(view) > MAX_LIST_SIZE:
        raise EaError(f"EA list of {len(view)} bytes: a file has at most {MAX_LIST_SIZE}")
    eas: list[ExtendedAttribute] = []
    for offset, next_offset in _entries(view):
        _, flags, name_length, value_length = _ENTRY.unpack_from(view, offset)
        name_at = offset + _ENTRY.size
        value_at = name_at + name_length + 1
        end = value_at + value_length
        if end > len(view):
            raise EaError(f"EA list: entry at offset {offset} reaches past the end of the list ({end} > {len(view)})")
        if view[value_at - 1]:
            raise EaError(f"EA list: name of the entry at offset {offset} does not end with NUL")
        if next_offset and offset + next_offset < end:
            raise EaError(f"EA list: next offset of the entry at offset {offset} points into the entry")
        ea = ExtendedAttribute(bytes(view[name_at : name_at + name_length]), bytes(view[value_at:end]), flags)
        if reason := _illegal_reason(ea.name):
            raise EaError(f"EA list: entry at offset {offset}: {reason}")
        eas.append(ea)
    return eas


def _entries(view: memoryview) -> Iterator[tuple[int, int]]:
    """Yields the offset of each entry of a list, and the distance to the next entry."""
    offset = 0
    while offset < len(view):
        if len(view) - offset < _ENTRY.size:
            raise EaError(f"EA list: entry at offset {offset} is cut off")
        (next_offset,) = _OFFSET.unpack_from(view, offset)
        if offset + next_offset > len(view):
            raise EaError(f"EA list: next offset of the entry at offset {offset} leads past the end of the list")
        yield offset, next_offset
        if not next_offset:
            return
        offset += next_offset


def with_last_marked(data: bytes) -> bytes:
    """Returns a sound list with a next offset of zero in its last entry. Windows shows every list in this form."""
    last, next_offset = 0, 0
    for last, next_offset in _entries(memoryview(data)):  # noqa: B007 (the last of all)
        pass
    return data if not next_offset else data[:last] + bytes(_OFFSET.size) + data[last + _OFFSET.size :]


def encode_eas(eas: Iterable[ExtendedAttribute]) -> bytes:
    """Returns a FILE_FULL_EA_INFORMATION list. Each entry is padded to four bytes, the last one too, as in go-winio.

    Raises:
        EaError: no EA can have such a name or value, or the list is longer than NTFS stores for one file.
    """
    entries = list(eas)
    out = bytearray()
    for index, ea in enumerate(entries):
        if reason := _illegal_reason(ea.name):
            raise EaError(reason)
        if len(ea.value) > _MAX_VALUE:
            raise EaError(f"EA {ea.name!r}: value of {len(ea.value)} bytes is longer than {_MAX_VALUE}")
        size = _ENTRY.size + len(ea.name) + 1 + len(ea.value)
        padded = (size + 3) & ~3
        last = index == len(entries) - 1
        out += _ENTRY.pack(0 if last else padded, ea.flags, len(ea.name), len(ea.value))
        out += ea.name + b"\0" + ea.value + bytes(padded - size)
        if len(out) > MAX_LIST_SIZE:
            raise EaError(f"EAs of more than {MAX_LIST_SIZE} bytes in all, the most that a file has")
    return bytes(out)


def _illegal_reason(name: bytes) -> str | None:
    if 0 < len(name) <= _MAX_NAME and 0 not in name:
        return None
    return f"EA name of {len(name)} bytes: must be 1 to {_MAX_NAME} bytes without NUL"
