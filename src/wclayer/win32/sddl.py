"""Converts security descriptors to SDDL text and back.

Source: [MS-DTYP] section 2.5.1 (grammar and aliases). The text equals that of Windows' own conversion; the tests
compare descriptors with the SDDL that Windows printed for them. Two parts of the grammar are not interpreted, but kept
verbatim as an octet string, `#` and hexadecimal: the condition of a callback ACE and the claim of a resource-attribute
ACE.
"""

from __future__ import annotations

import re
from uuid import UUID

from wclayer.win32.guid import parse_guid
from wclayer.win32.security import Ace, AceFlags, AceType, Acl, Control, SecurityDescriptor
from wclayer.win32.sid import Sid

_TYPES = {
    "A": AceType.ACCESS_ALLOWED, "D": AceType.ACCESS_DENIED, "AU": AceType.SYSTEM_AUDIT, "AL": AceType.SYSTEM_ALARM,
    "OA": AceType.ACCESS_ALLOWED_OBJECT, "OD": AceType.ACCESS_DENIED_OBJECT, "OU": AceType.SYSTEM_AUDIT_OBJECT,
    "OL": AceType.SYSTEM_ALARM_OBJECT, "XA": AceType.ACCESS_ALLOWED_CALLBACK, "XD": AceType.ACCESS_DENIED_CALLBACK,
    "ZA": AceType.ACCESS_ALLOWED_CALLBACK_OBJECT, "XU": AceType.SYSTEM_AUDIT_CALLBACK,
    "ML": AceType.SYSTEM_MANDATORY_LABEL, "RA": AceType.SYSTEM_RESOURCE_ATTRIBUTE,
    "SP": AceType.SYSTEM_SCOPED_POLICY_ID, "TL": AceType.SYSTEM_PROCESS_TRUST_LABEL,
    "FL": AceType.SYSTEM_ACCESS_FILTER,
}  # fmt: skip
_TYPE_NAMES = {int(value): name for name, value in _TYPES.items()}

_FLAGS = {
    "OI": AceFlags.OBJECT_INHERIT, "CI": AceFlags.CONTAINER_INHERIT, "NP": AceFlags.NO_PROPAGATE_INHERIT,
    "IO": AceFlags.INHERIT_ONLY, "ID": AceFlags.INHERITED, "CR": AceFlags.CRITICAL,
    "SA": AceFlags.SUCCESSFUL_ACCESS, "FA": AceFlags.FAILED_ACCESS,
}  # fmt: skip

# Windows tries these whole masks first, then the single bits below ([MS-DTYP] 2.5.1.1).
_WHOLE_RIGHTS = {
    "FA": 0x1F01FF, "FR": 0x120089, "FW": 0x120116, "FX": 0x1200A0,
    "KA": 0xF003F, "KR": 0x20019, "KW": 0x20006, "KX": 0x20019,
}  # fmt: skip
_BIT_RIGHTS = {
    "GA": 0x10000000, "GX": 0x20000000, "GW": 0x40000000, "GR": 0x80000000,
    "CC": 0x1, "DC": 0x2, "LC": 0x4, "SW": 0x8, "RP": 0x10, "WP": 0x20, "DT": 0x40, "LO": 0x80, "CR": 0x100,
    "SD": 0x10000, "RC": 0x20000, "WD": 0x40000, "WO": 0x80000,
}  # fmt: skip
_LABEL_RIGHTS = {"NW": 0x1, "NR": 0x2, "NX": 0x4}
_WHOLE_NAMES = {mask: name for name, mask in reversed(_WHOLE_RIGHTS.items())}

_DACL_CONTROL = {"P": Control.DACL_PROTECTED, "AR": Control.DACL_AUTO_INHERIT_REQ, "AI": Control.DACL_AUTO_INHERITED}
_SACL_CONTROL = {"P": Control.SACL_PROTECTED, "AR": Control.SACL_AUTO_INHERIT_REQ, "AI": Control.SACL_AUTO_INHERITED}
_NULL_ACL = "NO_ACCESS_CONTROL"

_PART = re.compile(r"\s*([OGDS]):", re.ASCII | re.IGNORECASE)
_SID_TEXT = re.compile(r"\s*(S-[0-9A-Fa-fxX-]+?(?=\s*(?:[OGDS]:|\Z))|[A-Za-z]{2})\s*", re.ASCII | re.IGNORECASE)
_ACL_FLAGS = re.compile(rf"\s*({_NULL_ACL}|(?:P|AR|AI)+)?\s*", re.ASCII | re.IGNORECASE)


def to_sddl(descriptor: SecurityDescriptor) -> str:
    """Returns the descriptor as SDDL.

    Raises:
        ValueError: SDDL has no letters for the type of an ACE.
    """
    text = ""
    if descriptor.owner is not None:
        text += "O:" + descriptor.owner.to_sddl()
    if descriptor.group is not None:
        text += "G:" + descriptor.group.to_sddl()
    if descriptor.control & Control.DACL_PRESENT:
        text += "D:" + _acl_text(descriptor.dacl, descriptor.control, _DACL_CONTROL)
    if descriptor.control & Control.SACL_PRESENT:
        text += "S:" + _acl_text(descriptor.sacl, descriptor.control, _SACL_CONTROL)
    return text


def security_text(security: bytes | None) -> str | None:
    """Returns a security descriptor as SDDL, or as hexadecimal if SDDL cannot express it."""
    if security is None:
        return None
    try:
        return to_sddl(SecurityDescriptor.decode(security))
    except ValueError:
        return f"hex:{security.hex()}"


def _acl_text(acl: Acl | None, control: int, names: dict[str, Control]) -> str:
    flags = "".join(name for name, bit in names.items() if control & bit)
    if acl is None:
        return flags + _NULL_ACL
    return flags + "".join(map(ace_text, acl.aces))


def ace_text(ace: Ace) -> str:
    """Returns an entry as SDDL: `(A;OICI;FA;;;BA)`.

    Raises:
        ValueError: SDDL has no letters for its type.
    """
    kind = _TYPE_NAMES.get(ace.type)
    if kind is None or ace.sid is None:
        raise ValueError(f"SDDL has no form for ACE type {ace.type:#04x}")
    fields = [
        kind,
        "".join(name for name, bit in _FLAGS.items() if ace.flags & bit),
        _rights_text(ace),
        str(ace.object_type or ""),
        str(ace.inherited_object_type or ""),
        ace.sid.to_sddl(),
    ]
    if ace.data:
        fields.append(f"(#{ace.data.hex()})")
    return f"({';'.join(fields)})"


def _rights_text(ace: Ace) -> str:
    mask = ace.mask
    if ace.type == AceType.SYSTEM_MANDATORY_LABEL:
        names, rest = _bits(mask, _LABEL_RIGHTS)
        return f"{mask:#x}" if rest else names
    if whole := _WHOLE_NAMES.get(mask):
        return whole
    names, rest = _bits(mask, _BIT_RIGHTS)
    return f"{mask:#x}" if rest else names


def _bits(mask: int, rights: dict[str, int]) -> tuple[str, int]:
    """Returns the names of the named bits of `mask`, and the bits without a name."""
    names = ""
    for name, bit in rights.items():
        if mask & bit:
            names += name
            mask &= ~bit
    return names, mask


def from_sddl(text: str) -> SecurityDescriptor:
    """Returns the descriptor that SDDL text describes.

    Raises:
        ValueError: the text is not SDDL. The message names the offset in it.
    """
    owner = group = None
    dacl = sacl = None
    control = int(Control.SELF_RELATIVE)
    seen: set[str] = set()
    at = 0
    while at < len(text):
        part = _PART.match(text, at)
        if part is None:
            if not text[at:].strip():
                break
            raise ValueError(f"SDDL: expected O:, G:, D: or S: at offset {at}")
        name = part[1].upper()
        if name in seen:
            raise ValueError(f"SDDL: a second {name}: at offset {at}")
        seen.add(name)
        if name in "OG":
            match = _SID_TEXT.match(text, part.end())
            if match is None:
                raise ValueError(f"SDDL: expected a SID at offset {part.end()}")
            at = match.end()
            if name == "O":
                owner = Sid.parse(match[1])
            else:
                group = Sid.parse(match[1])
        elif name == "D":
            dacl, flags, at = _parse_acl(text, part.end(), _DACL_CONTROL)
            control |= flags | Control.DACL_PRESENT
        else:
            sacl, flags, at = _parse_acl(text, part.end(), _SACL_CONTROL)
            control |= flags | Control.SACL_PRESENT
    return SecurityDescriptor(owner, group, dacl, sacl, control)


def _parse_acl(text: str, at: int, names: dict[str, Control]) -> tuple[Acl | None, int, int]:
    control = 0
    while (match := _ACL_FLAGS.match(text, at)) and match[1]:
        at = match.end()
        if match[1].upper() == _NULL_ACL:
            return None, control, at
        for flag in re.findall("P|AR|AI", match[1].upper()):
            control |= names[flag]
    at += len(text[at:]) - len(text[at:].lstrip())
    aces = []
    while at < len(text) and text[at] == "(":
        end = _closing(text, at)
        aces.append(_parse_ace(text[at + 1 : end], at))
        at = end + 1
        at += len(text[at:]) - len(text[at:].lstrip())
    return Acl.of(aces), control, at


def _closing(text: str, at: int) -> int:
    """Returns the offset of the parenthesis that closes the one at `at`. Those in quoted strings do not count."""
    depth = 0
    quoted = False
    for index in range(at, len(text)):
        c = text[index]
        if c == '"':
            quoted = not quoted
        elif not quoted:
            depth += (c == "(") - (c == ")")
            if not depth:
                return index
    raise ValueError(f"SDDL: ACE at offset {at} is not closed")


def _parse_ace(body: str, at: int) -> Ace:
    fields = [field.strip() for field in body.split(";", 6)]
    if len(fields) < 6:
        raise ValueError(f"SDDL: ACE at offset {at} has {len(fields)} fields, not 6 or 7")
    kind = _TYPES.get(fields[0].upper())
    if kind is None:
        raise ValueError(f"SDDL: unknown ACE type {fields[0]!r} at offset {at}")
    flags = 0
    for name in _pairs(fields[1], at):
        if name not in _FLAGS:
            raise ValueError(f"SDDL: unknown ACE flag {name!r} at offset {at}")
        flags |= _FLAGS[name]
    data = b""
    if len(fields) == 7:
        octets = re.fullmatch(r"\(\s*#((?:[0-9A-Fa-f]{2})*)\s*\)", fields[6])
        if octets is None:
            raise ValueError(f"SDDL: the expression of the ACE at offset {at} is not an octet string (#hex)")
        data = bytes.fromhex(octets[1])
        data += bytes(-len(data) % 4)
    return Ace(
        int(kind), flags, _parse_rights(fields[2], kind, at), Sid.parse(fields[5]), data,
        _parse_object(fields[3]), _parse_object(fields[4]),
    )  # fmt: skip


def _parse_object(text: str) -> UUID | None:
    return parse_guid(text) if text else None


def _parse_rights(text: str, kind: AceType, at: int) -> int:
    if re.fullmatch(r"0[xX][0-9A-Fa-f]{1,8}|\d{1,10}", text):
        mask = int(text, 16) if text[:2].lower() == "0x" else int(text, 8 if text[0] == "0" else 10)
        if mask >= 1 << 32:
            raise ValueError(f"SDDL: rights {text} at offset {at} do not fit in 32 bits")
        return mask
    known = _LABEL_RIGHTS if kind == AceType.SYSTEM_MANDATORY_LABEL else _WHOLE_RIGHTS | _BIT_RIGHTS
    mask = 0
    for name in _pairs(text, at):
        if name not in known:
            raise ValueError(f"SDDL: unknown right {name!r} at offset {at}")
        mask |= known[name]
    return mask


def _pairs(text: str, at: int) -> list[str]:
    if len(text) % 2:
        raise ValueError(f"SDDL: {text!r} at offset {at} is not a sequence of two-letter names")
    return [text[i : i + 2].upper() for i in range(0, len(text), 2)]
