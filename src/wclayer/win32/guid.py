"""GUIDs are `uuid.UUID` objects. This module adds Windows' form with braces, and the numbers of a GUID in a SID.

Source: [MS-DTYP] section 2.3.4. The standard library's `UUID.bytes_le` is exactly the packet form.
"""

from __future__ import annotations

from uuid import UUID

__all__ = ["UUID", "parse_guid", "sid_sub_authorities"]


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
