"""Encodes entries as tar members and decodes them: PAX records carry the metadata that Windows has of a file.

The encoder makes the canonical header: what go-winio's `backuptar` and hcsshim's export write. `MSWINDOWS.*` and
`LIBARCHIVE.*` records are theirs; the few things that these cannot hold go into `WCLAYER.*` records, which other
readers ignore. docs/formats/tar.md states all of it.
"""

from __future__ import annotations

import binascii
from base64 import b64encode
from collections.abc import Callable

from wclayer.formats.tar import structs
from wclayer.formats.tar.reader import TarMember
from wclayer.formats.tar.writer import TarHeader, encode_header
from wclayer.layers.cache import Cache
from wclayer.model import Entry, ExtraStream
from wclayer.win32 import filetime
from wclayer.win32.attributes import DIRECTORY, FileBasicInfo
from wclayer.win32.backup import StreamId
from wclayer.win32.ea import ExtendedAttribute, decode_eas, encode_eas
from wclayer.win32.names import decode_name, encode_name
from wclayer.win32.reparse import LinkTarget, ReparseTag, decode_link, decode_reparse
from wclayer.win32.sddl import from_sddl

FILE_ATTRIBUTES = b"MSWINDOWS.fileattr"
RAW_SECURITY = b"MSWINDOWS.rawsd"
SDDL_SECURITY = b"MSWINDOWS.sd"
MOUNT_POINT = b"MSWINDOWS.mountpoint"
EA_PREFIX = b"MSWINDOWS.xattr."
CREATION_TIME = b"LIBARCHIVE.creationtime"
REPARSE = b"WCLAYER.reparse"
"""REPARSE_DATA_BUFFER, base64: where it is not what the link target alone gives."""
EA_LIST = b"WCLAYER.ea"
"""FILE_FULL_EA_INFORMATION list, base64: where flags, order or names are not what the xattr records give."""
EXTRA_IDS = frozenset({StreamId.LINK, StreamId.PROPERTY_DATA, StreamId.OBJECT_ID, StreamId.TXFS_DATA})
EXTRA_PREFIX = b"WCLAYER.stream."
"""Followed by position, stream id and attributes: a link, property, object id or TxF stream (name and data, base64)."""
WHITEOUT_PREFIX = b".wh."
_WHITEOUT_NAME = WHITEOUT_PREFIX.decode()
GNU_SPARSE_PREFIX = b"GNU.sparse."
_COMMON_RECORDS = frozenset(
    {FILE_ATTRIBUTES, RAW_SECURITY, CREATION_TIME, b"atime", b"ctime", b"mtime", b"path", b"linkpath", b"size"}
)
_GLOBAL_RECORDS = _COMMON_RECORDS | {SDDL_SECURITY, MOUNT_POINT}

# File type bits of the mode (POSIX `c_ISDIR` …), as backuptar sets them.
_IS_DIRECTORY = 0o040000
_IS_REGULAR = 0o100000
_IS_LINK = 0o120000
_LINK_MODE = 0o644


def encode_entry(entry: Entry) -> bytes:
    """Encodes the canonical header of an entry's own member.

    Raises:
        ValueError: the entry has reparse data or EAs that are not well-formed.
    """
    name = encode_name(entry.name)
    info = entry.info
    if info is None:
        directory, slash, base = name.rpartition(b"/")
        return encode_header(TarHeader(directory + slash + WHITEOUT_PREFIX + base))
    records = _time_records(info)
    records[FILE_ATTRIBUTES] = b"%d" % info.attributes
    records[CREATION_TIME] = _seconds(info.creation_time)
    header = TarHeader(name, mtime=_whole_seconds(info.last_write_time), pax=records)
    if entry.link_target is not None:
        header.type, header.mode, header.link_name = structs.LINK, _LINK_MODE, encode_name(entry.link_target)
        return encode_header(header)
    header.mode = _mode(entry)
    if info.attributes & DIRECTORY:
        header.type = structs.DIRECTORY
    else:
        header.size = entry.size
    if entry.security is not None:
        records[RAW_SECURITY] = _known(_ENCODED, entry.security, b64encode)
    if entry.reparse is not None:
        _encode_reparse(entry, header)
    if entry.eas:
        records.update(ea_records(entry.eas))
    for index, extra in enumerate(entry.extra):
        key = EXTRA_PREFIX + b"%d.%d.%d" % (index, extra.id, extra.attributes)
        records[key] = b64encode(extra.name.encode("utf-8", "surrogatepass")) + b":" + b64encode(extra.data)
    return encode_header(header)


def encode_stream(entry: Entry, stream_name: str, size: int) -> bytes:
    """Encodes the canonical header of the member that carries an alternate stream of `entry`."""
    info = entry.info
    assert info is not None
    return encode_header(
        TarHeader(
            encode_name(f"{entry.name}:{stream_name}"),
            mode=_mode(entry),
            size=size,
            mtime=_whole_seconds(info.last_write_time),
            pax=_time_records(info),
        )
    )


def _mode(entry: Entry) -> int:
    mode = _IS_DIRECTORY if entry.is_directory else 0
    if entry.reparse is not None:
        mode |= _IS_LINK
    if entry.has_data:
        mode |= _IS_REGULAR
    return mode


def _time_records(info: FileBasicInfo) -> dict[bytes, bytes]:
    records = {b"atime": _seconds(info.last_access_time), b"ctime": _seconds(info.change_time)}
    mtime = _seconds(info.last_write_time)
    # Go leaves mtime to the ustar field when that holds all of it.
    if not mtime.isdigit() or int(mtime) > structs.MAX_OCTAL_11:
        records[b"mtime"] = mtime
    return records


def _seconds(time: int) -> bytes:
    return filetime.to_decimal_seconds(time).encode()


def _whole_seconds(time: int) -> int:
    return (time - filetime.UNIX_EPOCH) // filetime.TICKS_PER_SECOND


def _encode_reparse(entry: Entry, header: TarHeader) -> None:
    assert entry.reparse is not None
    point = decode_reparse(entry.reparse)
    if point.tag in (ReparseTag.SYMLINK, ReparseTag.MOUNT_POINT) and not entry.size:
        target = decode_link(point)
        header.type = structs.SYMLINK
        header.link_name = encode_name(target.print_name)
        if target.is_mount_point:
            header.pax[MOUNT_POINT] = b"1"
        if _link_reparse(header.link_name, target.is_mount_point) == entry.reparse:
            return
    header.pax[REPARSE] = b64encode(entry.reparse)


def _link_reparse(link_name: bytes, is_mount_point: bool) -> bytes:
    target = decode_name(link_name).replace("/", "\\")
    return LinkTarget.from_path(target, is_mount_point=is_mount_point).encode()


def ea_records(data: bytes) -> dict[bytes, bytes]:
    """Returns the records of a FILE_FULL_EA_INFORMATION list.

    Raises:
        EaError: the list is not well-formed.
    """
    eas = decode_eas(data)
    # The key of a record ends at its first "=": an EA with one in its name has no record, and is in the list alone.
    records = {EA_PREFIX + ea.name: b64encode(ea.value) for ea in eas if b"=" not in ea.name}
    if eas_from_records(records) != data:
        records[EA_LIST] = b64encode(data)
    return records


def eas_from_records(records: dict[bytes, bytes]) -> bytes:
    """Returns the FILE_FULL_EA_INFORMATION list of the EAs among the records of a member.

    Raises:
        ValueError: a value is not base64, or the EAs do not fit into a list.
    """
    found = sorted(key for key in records if key.startswith(EA_PREFIX))
    return encode_eas(ExtendedAttribute(key[len(EA_PREFIX) :], decode_base64(records[key])) for key in found)


def unusable_in_tar_reason(name: str) -> str | None:
    """Returns why a file or directory cannot have `name` as its last component in the tar of a layer, or None.

    Such a name is legal on Windows, but whoever reads the tar would delete another one instead.
    """
    return f"name {name!r} is that of a whiteout in the tar of a layer" if name.startswith(_WHITEOUT_NAME) else None


def whiteout_name(name: bytes) -> bytes | None:
    """Returns the name that a whiteout member deletes, or None for any other member."""
    directory, slash, base = name.rpartition(b"/")
    return directory + slash + base[len(WHITEOUT_PREFIX) :] if base.startswith(WHITEOUT_PREFIX) else None


def global_records(records: dict[bytes, bytes]) -> dict[bytes, bytes]:
    """Returns the records of a global header that concern entries.

    Raises:
        ValueError: a record that can concern one member only.
    """
    for key in records:
        if key.startswith((EA_PREFIX, b"WCLAYER.", GNU_SPARSE_PREFIX)):
            raise ValueError(f"global record {key[:80]!r}: it belongs to one member")
    return {key: records[key] for key in _GLOBAL_RECORDS & records.keys()}


def decode_entry(member: TarMember) -> Entry:
    """Decodes a member that is not an alternate stream.

    Raises:
        ValueError: a record is malformed, or a layer cannot hold the type of the member.
    """
    name = member.name
    kind = member.type
    place = f"offset {member.offset}"
    # Common tar writers add these; they mean nothing.
    if name.startswith(b"./"):
        name = name[2:]
    if name.endswith(b"/") and kind == structs.DIRECTORY:
        name = name[:-1]
    if (deleted := whiteout_name(name)) is not None:
        if member.size:
            raise ValueError("a whiteout with data")
        return Entry(decode_name(deleted), None, place=place)
    pax = member.pax
    info = _decode_info(member)
    if kind == structs.LINK:
        target = member.link_name.removeprefix(b"./")
        return Entry(decode_name(name), info, link_target=decode_name(target), place=place)
    entry = Entry(decode_name(name), info, member.size, place=place)
    if kind == structs.DIRECTORY:
        info.attributes |= DIRECTORY
    elif kind == structs.SYMLINK:
        entry.reparse = _link_reparse(member.link_name, MOUNT_POINT in pax)
    elif kind != structs.REGULAR:
        raise ValueError(f"a member of type {chr(kind)!r}: a layer holds files, directories and links")
    elif info.attributes & DIRECTORY and member.size:
        raise ValueError(f"a directory by its attributes, with {member.size} bytes of data")
    if (raw := pax.get(RAW_SECURITY)) is not None:
        entry.security = _known(_DECODED, raw, decode_base64) or None
    elif sddl := pax.get(SDDL_SECURITY):
        entry.security = _known(_DECODED_SDDL, sddl, _decode_sddl)
    if not pax.keys() <= _COMMON_RECORDS:
        _decode_rare(entry, pax)
    return entry


def _decode_rare(entry: Entry, pax: dict[bytes, bytes]) -> None:
    if (reparse := pax.get(REPARSE)) is not None:
        entry.reparse = decode_base64(reparse)
        decode_reparse(entry.reparse)
    if (eas := pax.get(EA_LIST)) is not None:
        entry.eas = decode_base64(eas)
        decode_eas(entry.eas)
    elif any(key.startswith(EA_PREFIX) for key in pax):
        entry.eas = eas_from_records(pax)
    extras = []
    for key, value in pax.items():
        if key.startswith(GNU_SPARSE_PREFIX):
            raise ValueError("a sparse member of GNU tar: a layer's files are written out whole")
        if key.startswith(EXTRA_PREFIX):
            index, stream_id, attributes = _extra_numbers(key)
            encoded_name, _, data = value.partition(b":")
            name = decode_base64(encoded_name).decode("utf-8", "surrogatepass")
            extras.append((index, ExtraStream(stream_id, attributes, name, decode_base64(data))))
    if extras:
        entry.extra = tuple(extra for _, extra in sorted(extras, key=lambda pair: pair[0]))


def _extra_numbers(key: bytes) -> tuple[int, int, int]:
    """Decodes the position, the stream id and the attributes in the key of an extra stream's record."""
    parts = key[len(EXTRA_PREFIX) :].split(b".")
    if len(parts) != 3 or not all(part.isdigit() and len(part) <= 10 for part in parts):
        raise ValueError(f"record {key[:80]!r} does not name a stream")
    index, stream_id, attributes = map(int, parts)
    if stream_id not in EXTRA_IDS or attributes > 0xFFFFFFFF:
        raise ValueError(f"record {key[:80]!r} does not name a stream")
    return index, stream_id, attributes


def _decode_info(member: TarMember) -> FileBasicInfo:
    pax = member.pax
    mtime = pax.get(b"mtime")
    # An empty record counts as missing; a missing time is that of the last write.
    write = _filetime(mtime or b"%d" % member.mtime)
    creation, access, change = pax.get(CREATION_TIME), pax.get(b"atime"), pax.get(b"ctime")
    attributes = pax.get(FILE_ATTRIBUTES)
    if not attributes:
        bits = DIRECTORY if member.type == structs.DIRECTORY else 0
    else:
        digits = attributes.lstrip(b"0") or b"0"
        bits = int(digits) if attributes.isdigit() and len(digits) <= 10 else -1
        if not 0 <= bits <= 0xFFFFFFFF:
            raise ValueError(f"MSWINDOWS.fileattr {attributes[:20]!r} is not a 32-bit number")
    return FileBasicInfo(
        bits,
        _filetime(creation) if creation else write,
        _filetime(access) if access else write,
        write,
        _filetime(change) if change else write,
    )


def _filetime(value: bytes) -> int:
    # The common form, "1667169497.6310847", without the generality of `from_decimal_seconds`.
    whole, dot, fraction = value.partition(b".")
    if dot and len(fraction) <= 7 and len(whole) <= 11 and whole.isdigit() and fraction.isdigit():
        return int(whole) * 10_000_000 + int(fraction.ljust(7, b"0")) + filetime.UNIX_EPOCH
    return filetime.from_decimal_seconds(value.decode("ascii", "replace"))


def decode_base64(value: bytes) -> bytes:
    """Decodes strict base64, perhaps broken into lines, as Go's decoder does.

    Raises:
        ValueError: the value is not base64.
    """
    try:
        return binascii.a2b_base64(value.translate(None, b"\r\n"), strict_mode=True) if value else b""
    except binascii.Error as error:
        raise ValueError(f"not base64: {error}") from None


# A layer has a few hundred distinct descriptors for all of its files.
_DECODED: Cache[bytes, bytes] = Cache()
_DECODED_SDDL: Cache[bytes, bytes] = Cache()
_ENCODED: Cache[bytes, bytes] = Cache()


def _known(cache: Cache[bytes, bytes], value: bytes, convert: Callable[[bytes], bytes]) -> bytes:
    """Converts a value, or returns the result of an earlier conversion."""
    found = cache.get(value)
    if found is None:
        found = convert(value)
        cache.keep(value, found, len(value) + len(found))
    return found


def _decode_sddl(value: bytes) -> bytes:
    return from_sddl(value.decode("utf-8")).encode()
