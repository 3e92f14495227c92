"""Security identifiers: binary, "S-1-…" text, and the two-letter aliases of SDDL.

Sources: [MS-DTYP] sections 2.4.2 (SID) and 2.4.2.4 (well-known SIDs); 2.5.1.1 (SDDL aliases).
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from uuid import UUID

from wclayer.errors import FormatError
from wclayer.win32.guid import parse_guid, sid_sub_authorities

MAX_SUB_AUTHORITIES = 15
_TEXT = re.compile(
    r"S-1-(0x[0-9A-Fa-f]{1,12}|\d{1,15})((?:-(?:0x[0-9A-Fa-f]{1,8}|\d{1,10}))*)\Z", re.IGNORECASE | re.ASCII
)


class SecurityError(FormatError):
    """The bytes are not a SID, or not a security descriptor."""


@dataclass(frozen=True, slots=True)
class Sid:
    """A security identifier: a 48-bit identifier authority and up to fifteen 32-bit sub-authorities."""

    authority: int
    sub_authorities: tuple[int, ...]

    def __str__(self) -> str:
        # Authorities of 2^32 and more print in hexadecimal ([MS-DTYP] 2.4.2.1).
        authority = str(self.authority) if self.authority < 1 << 32 else f"0x{self.authority:012x}"
        return "-".join(["S-1", authority, *map(str, self.sub_authorities)])

    @property
    def size(self) -> int:
        """The length of the binary form in bytes."""
        return 8 + 4 * len(self.sub_authorities)

    def encode(self) -> bytes:
        """Returns the binary form."""
        count = len(self.sub_authorities)
        return (
            struct.pack("<BB", 1, count)
            + self.authority.to_bytes(6, "big")
            + struct.pack(f"<{count}I", *self.sub_authorities)
        )

    @classmethod
    def decode(cls, data: bytes | memoryview, offset: int = 0) -> Sid:
        """Returns the SID at `offset`. The bytes after it are ignored.

        Raises:
            SecurityError: the SID is not of revision 1, has more than fifteen sub-authorities, or is cut off.
        """
        if len(data) - offset < 8:
            raise SecurityError(f"SID at offset {offset} is cut off")
        revision, count = data[offset], data[offset + 1]
        if revision != 1 or count > MAX_SUB_AUTHORITIES:
            raise SecurityError(f"SID at offset {offset}: revision {revision}, {count} sub-authorities")
        if len(data) - offset < 8 + 4 * count:
            raise SecurityError(f"SID at offset {offset} is cut off")
        authority = int.from_bytes(data[offset + 2 : offset + 8], "big")
        return cls(authority, struct.unpack_from(f"<{count}I", data, offset + 8))

    @classmethod
    def parse(cls, text: str) -> Sid:
        """Parses "S-1-5-32-544" or an SDDL alias ("BA").

        Raises:
            ValueError: the text has neither form, or a number is out of range.
        """
        if (alias := ALIASES.get(text.upper())) is not None:
            return alias
        match = _TEXT.match(text)
        if match is None:
            raise ValueError(f"not a SID: {text[:80]!r}")
        authority = _number(match[1])
        subs = tuple(_number(part) for part in match[2].split("-")[1:])
        if authority >= 1 << 48 or any(sub >= 1 << 32 for sub in subs) or len(subs) > MAX_SUB_AUTHORITIES:
            raise ValueError(f"not a SID: {text[:80]!r}")
        return cls(authority, subs)

    def to_sddl(self) -> str:
        """Returns the SDDL alias if there is one, else "S-1-…"."""
        return _ALIAS_OF.get(self) or str(self)


def _number(text: str) -> int:
    return int(text, 16) if text[:2] in ("0x", "0X") else int(text)


def _sid(authority: int, *sub_authorities: int) -> Sid:
    return Sid(authority, sub_authorities)


def vm_sid(vm_id: UUID | str) -> Sid:
    """Returns the SID of a virtual machine: S-1-5-83-1- and its GUID as four little-endian 32-bit numbers.

    Raises:
        ValueError: `vm_id` is text that is not a GUID.
    """
    guid = vm_id if isinstance(vm_id, UUID) else parse_guid(vm_id)
    return _sid(5, 83, 1, *sid_sub_authorities(guid))


CREATOR_OWNER = _sid(3, 0)
CREATOR_GROUP = _sid(3, 1)
LOCAL_SYSTEM = _sid(5, 18)
ADMINISTRATORS = _sid(5, 32, 544)
USERS = _sid(5, 32, 545)
VIRTUAL_MACHINES = _sid(5, 83, 0)
"""The group of all virtual machines."""
TRUSTED_INSTALLER = _sid(5, 80, 956008885, 3418522649, 1831038044, 1853292631, 2271478464)

# [MS-DTYP] 2.5.1.1. Aliases relative to a domain (DA, DU, LA, LG, …) have no SID without that domain. No parser that
# works off-line accepts them, so they are left out.
ALIASES: dict[str, Sid] = {
    "AA": _sid(5, 32, 579), "AC": _sid(15, 2, 1), "AN": _sid(5, 7), "AO": _sid(5, 32, 548), "AS": _sid(18, 1),
    "AU": _sid(5, 11), "BA": ADMINISTRATORS, "BG": _sid(5, 32, 546), "BO": _sid(5, 32, 551),
    "BU": USERS, "CD": _sid(5, 32, 574), "CG": CREATOR_GROUP, "CO": CREATOR_OWNER, "CY": _sid(5, 32, 569),
    "ED": _sid(5, 9), "ER": _sid(5, 32, 573), "ES": _sid(5, 32, 576), "HA": _sid(5, 32, 578),
    "HI": _sid(16, 12288), "IS": _sid(5, 32, 568), "IU": _sid(5, 4), "LS": _sid(5, 19), "LU": _sid(5, 32, 559),
    "LW": _sid(16, 4096), "ME": _sid(16, 8192), "MP": _sid(16, 8448), "MS": _sid(5, 32, 577),
    "MU": _sid(5, 32, 558), "NO": _sid(5, 32, 556), "NS": _sid(5, 20), "NU": _sid(5, 2), "OW": _sid(3, 4),
    "PO": _sid(5, 32, 550), "PS": _sid(5, 10), "PU": _sid(5, 32, 547), "RA": _sid(5, 32, 575),
    "RC": _sid(5, 12), "RD": _sid(5, 32, 555), "RE": _sid(5, 32, 552), "RM": _sid(5, 32, 580),
    "RU": _sid(5, 32, 554), "SI": _sid(16, 16384), "SO": _sid(5, 32, 549), "SS": _sid(18, 2), "SU": _sid(5, 6),
    "SY": LOCAL_SYSTEM, "UD": _sid(5, 84, 0, 0, 0, 0, 0), "WD": _sid(1, 0), "WR": _sid(5, 33),
}  # fmt: skip
_ALIAS_OF = {sid: alias for alias, sid in ALIASES.items()}
