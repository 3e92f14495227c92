"""GUIDs are `uuid.UUID` objects. This module adds Windows' form with braces, the numbers of a GUID in a SID, and the
packed form of Windows Installer.

Sources: [MS-DTYP] section 2.3.4, whose packet form is exactly the standard library's `UUID.bytes_le`; for the packed
form, the keys of products below `HKLM\\SOFTWARE\\Classes\\Installer`.
"""

from __future__ import annotations

import re
from uuid import UUID

from wclayer.errors import FormatError

__all__ = ["UUID", "pack_guid", "parse_guid", "sid_sub_authorities", "unpack_guid"]

_PACKED = re.compile("[0-9A-Fa-f]{32}")


def parse_guid(text: str) -> UUID:
    """Parses a GUID with or without braces ("{1532b584-8431-5b5a-8735-5e1b4fe9c2a9}").

    Raises:
        ValueError: the text does not have the 8-4-4-4-12 form.
    """
    bare = text[1:-1] if text.startswith("{") and text.endswith("}") else text
    value = UUID(bare)
    if len(bare) != 36 or str(value) != bare.lower():
        raise ValueError(f"not a GUID: {text[:64]!r}")
    return value


def sid_sub_authorities(guid: UUID) -> tuple[int, int, int, int]:
    """Returns the GUID's sixteen bytes as four little-endian 32-bit numbers, the form in a virtual machine's SID."""
    data = guid.bytes_le
    a, b, c, d = (int.from_bytes(data[i : i + 4], "little") for i in (0, 4, 8, 12))
    return a, b, c, d


def pack_guid(guid: UUID) -> str:
    """Returns the packed form, in which Windows Installer names its keys: 32 digits, those of each part backwards.

    Parts are the first three numbers, and each of the eight bytes after them.
    """
    return _digits_swapped(guid.bytes_le.hex()).upper()


def unpack_guid(text: str) -> UUID:
    """Returns the GUID that `pack_guid` has packed.

    Raises:
        FormatError: the text is not 32 hexadecimal digits.
    """
    if _PACKED.fullmatch(text) is None:
        raise FormatError(f"not a packed GUID: {text[:64]!r}")
    return UUID(bytes_le=bytes.fromhex(_digits_swapped(text)))


def _digits_swapped(digits: str) -> str:
    return "".join(digits[place : place + 2][::-1] for place in range(0, len(digits), 2))
