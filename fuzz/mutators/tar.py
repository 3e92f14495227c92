"""Changes a tar: members, header fields and PAX records, with sizes and header checksums mended."""

from __future__ import annotations

import base64
import binascii
from random import Random

from fuzz.mutators.plain import is_rare, mutate_bytes, overwrite, rearrange
from wclayer.formats.tar import structs
from wclayer.formats.tar.structs import BLOCK, header_checksum

_FIELDS = (
    structs.NAME, structs.MODE, structs.UID, structs.GID, structs.SIZE, structs.MTIME, structs.LINKNAME, structs.MAGIC,
    structs.UNAME, structs.DEVMAJOR, structs.PREFIX,
)  # fmt: skip
_TYPES = b"\x00012345679xgLKSD"
_NAMES = (
    b"Files", b"Files/a", b"Files/A", b"Files/a:s", b"Files/d/b", b"files/D/B", b"Files/.wh.a", b"Files/.wh..wh..opq",
    b"Files/d", b"Files/d/", b"Hives", b"Hives/Software_Delta", b"Hives/.wh.x", b"UtilityVM", b"UtilityVM/Files",
    b"UtilityVM/Files/x", b"Files/\xc3\x84", b"Files/\xed\xb2\x80", b"Files/CON", b"Files/x.", b"Files/../x", b"/etc",
    b"", b"Files/a:$DATA", b"Files/a::$DATA", b"Files/a:b:c", b"./Files/a", b"Files//a", b"Files/" + b"n" * 120,
)  # fmt: skip
_KEYS = (
    b"path", b"linkpath", b"size", b"mtime", b"atime", b"ctime", b"LIBARCHIVE.creationtime", b"MSWINDOWS.fileattr",
    b"MSWINDOWS.rawsd", b"MSWINDOWS.sd", b"MSWINDOWS.mountpoint", b"MSWINDOWS.xattr.NAME", b"uid", b"uname", b"comment",
    b"SCHILY.xattr.user.x", b"GNU.sparse.major", b"hdrcharset",
)  # fmt: skip
_VALUES = (b"0", b"1", b"16", b"32", b"1024", b"1040", b"-1", b"1.5", b"1.000000001", b"1e3", b"18446744073709551615",
           b"", b" 5", b"AAAA", b"O:BAD:P(A;;FA;;;WD)")  # fmt: skip


def mutate_tar(data: bytes, chance: Random, most: int) -> bytes:
    """A tar in which one to three things are changed."""
    if is_rare(chance):
        return mutate_bytes(data, chance, most)
    members, rest = split_tar(data)
    for _ in range(chance.choice((1, 1, 2, 3))):
        members = _change(members, chance)
    return (b"".join(members) + rest)[:most]


def split_tar(data: bytes) -> tuple[list[bytes], bytes]:
    """The members of a tar, each with its header and padding, and what is behind the last one."""
    members = []
    at = 0
    while at + BLOCK <= len(data) and any(data[at : at + BLOCK]):
        size = _octal(data[at + structs.SIZE.start : at + structs.SIZE.stop])
        end = at + BLOCK + size + structs.padding(size)
        if end > len(data):
            break
        members.append(data[at:end])
        at = end
    return members, data[at:]


def join_member(header: bytes, data: bytes) -> bytes:
    """A member of that header and data: its size and checksum are set."""
    block = bytearray(header)
    block[structs.SIZE] = b"%011o\0" % len(data)
    return _mended(block) + data + bytes(structs.padding(len(data)))


def parse_records(data: bytes) -> list[tuple[bytes, bytes]]:
    """The PAX records in a member's data, up to the first that is none."""
    records = []
    at = 0
    while at < len(data):
        length, space, _ = data[at : at + 12].partition(b" ")
        if not space or not length.isdigit():
            break
        end = at + int(length)
        key, equals, value = data[at + len(length) + 1 : end - 1].partition(b"=")
        if not equals or end > len(data) or end <= at:
            break
        records.append((key, value))
        at = end
    return records


def join_records(records: list[tuple[bytes, bytes]]) -> bytes:
    """The data of a PAX member, with the length of each record."""
    out = []
    for key, value in records:
        body = len(key) + len(value) + 3
        length = body + len(str(body))
        length += len(str(length)) - len(str(body))
        out.append(b"%d %s=%s\n" % (length, key, value))
    return b"".join(out)


def _octal(field: bytes) -> int:
    text = field.strip(b" \0")
    return int(text, 8) if text and all(digit in b"01234567" for digit in text) else 0


def _mended(block: bytearray) -> bytes:
    block[structs.CHECKSUM] = b"%06o\0 " % header_checksum(bytes(block))
    return bytes(block)


def _change(members: list[bytes], chance: Random) -> list[bytes]:
    if not members or not chance.randrange(4):
        return rearrange(members, chance)
    at = chance.randrange(len(members))
    member = members[at]
    size = _octal(member[structs.SIZE])
    header, data = member[:BLOCK], member[BLOCK : BLOCK + size]
    kind = chance.randrange(6)
    if header[structs.TYPEFLAG] in (structs.PAX, structs.PAX_GLOBAL) and kind < 5:
        changed = join_member(header, join_records(_change_records(parse_records(data), chance)))
    elif kind < 3:
        changed = _change_header(header, chance) + member[BLOCK:]
    elif kind == 3:
        changed = join_member(header, mutate_bytes(data, chance, 1 << 16))
    elif kind == 4:
        changed = join_member(header, overwrite(data, chance))
    else:
        # A new member, as the one here but of another name.
        block = bytearray(header)
        block[structs.NAME] = chance.choice(_NAMES)[:100].ljust(100, b"\0")
        return [*members[: at + 1], join_member(bytes(block), data[:20]), *members[at + 1 :]]
    return [*members[:at], changed, *members[at + 1 :]]


def _change_header(header: bytes, chance: Random) -> bytes:
    block = bytearray(header)
    kind = chance.randrange(4)
    if kind == 0:
        block[structs.TYPEFLAG] = chance.choice(_TYPES)
    elif kind == 1:
        field = chance.choice((structs.NAME, structs.NAME, structs.LINKNAME))
        name = chance.choice(_NAMES) if chance.randrange(2) else _vary(bytes(block[field]).rstrip(b"\0"), chance)
        block[field] = name[:100].ljust(100, b"\0")
    else:
        field = chance.choice(_FIELDS)
        length = field.stop - field.start
        number = chance.choice((0, 1, 7, 512, 1 << 33, 0o77777777777))
        text = b"%0*o\0" % (length - 1, number % 8 ** (length - 1))
        block[field] = chance.choice((text, overwrite(bytes(block[field]), chance), bytes(length)))
    return _mended(block)


def _vary(name: bytes, chance: Random) -> bytes:
    """A name that is nearly the same: in another case, with a letter more or less, or with a stream."""
    letters = (b"x", b"X", b" ", b".", b":", b"/", "ä".encode(), b"$", b"~1", b":Odd Name")
    kind = chance.randrange(4)
    if kind == 0:
        return name.swapcase()
    if kind == 1:
        at = chance.randrange(len(name) + 1)
        return name[:at] + name[at : at + 1].swapcase() + name[at + 1 :]
    if kind == 2:
        return name[:-1]
    at = chance.choice((len(name), chance.randrange(len(name) + 1)))
    return name[:at] + chance.choice(letters) + name[at:]


def _change_records(records: list[tuple[bytes, bytes]], chance: Random) -> list[tuple[bytes, bytes]]:
    out = list(records)
    kind = chance.randrange(5)
    if not out or kind == 0:
        out.insert(chance.randrange(len(out) + 1), (chance.choice(_KEYS), chance.choice(_VALUES + _NAMES)))
        return out
    at = chance.randrange(len(out))
    key, value = out[at]
    if kind == 1:
        del out[at]
    elif kind == 2:
        out.insert(chance.randrange(len(out) + 1), out[at])
    elif kind == 3:
        out[at] = (key, chance.choice(_VALUES + _NAMES))
    else:
        out[at] = (key, _change_value(value, chance))
    return out


def _change_value(value: bytes, chance: Random) -> bytes:
    """A value with bytes changed: what base64 stands for, if it is that."""
    try:
        inner = base64.b64decode(value, validate=True)
    except binascii.Error:
        inner = b""
    if len(inner) > 8 and chance.randrange(4):
        return base64.b64encode(overwrite(inner, chance))
    return mutate_bytes(value, chance, 1 << 12)
