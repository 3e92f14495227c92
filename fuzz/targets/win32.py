"""What `win32/` reads: names, descriptors, reparse points, EAs, backup streams, and the texts of the small types."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import reduce
from operator import or_
from uuid import UUID

from fuzz.target import Target
from wclayer.rights.audit.judge import WRITING, Judge
from wclayer.rights.explain import explain_security
from wclayer.rights.kinds import ObjectKind
from wclayer.view.resolve import link_path
from wclayer.view.spelling import layer_path, split_stream
from wclayer.win32 import filetime
from wclayer.win32.attributes import (
    FileBasicInfo,
    attribute_letters,
    attribute_names,
    changed_attributes,
)
from wclayer.win32.backup import BackupStreamParser, BackupStreamReader, StreamHeader
from wclayer.win32.ea import ExtendedAttribute, decode_eas, encode_eas, with_last_marked
from wclayer.win32.guid import pack_guid, parse_guid, sid_sub_authorities, unpack_guid
from wclayer.win32.inherit import inherit, volume_root
from wclayer.win32.names import (
    collation_key,
    decode_name,
    encode_name,
    illegal_reason,
    is_reserved,
    name_key,
    names_equal,
    path_key,
    sorted_keys,
    split_path,
    stream_illegal_reason,
    unusable_reason,
    utf16_length,
)
from wclayer.win32.reparse import (
    LinkTarget,
    LxSymlink,
    ReparsePoint,
    ReparseTag,
    WciPlaceholder,
    WofFile,
    decode_link,
    decode_lx_symlink,
    decode_reparse,
    decode_wci,
    decode_wof,
    is_name_surrogate,
)
from wclayer.win32.sddl import from_sddl, to_sddl
from wclayer.win32.security import SecurityDescriptor
from wclayer.win32.shortnames import is_short, may_be_generated, short_names
from wclayer.win32.sid import Sid, vm_sid
from wclayer.win32.upcase import upcase


def _backup_stream(data: bytes) -> None:
    """Both readers find the same, which is all that there is."""
    parser = BackupStreamParser()
    found: list[StreamHeader | bytes] = []
    for start in range(0, len(data), 7):
        found += (
            part if isinstance(part, StreamHeader) else bytes(part) for part in parser.feed(data[start : start + 7])
        )
    parser.finish()
    again = b"".join(part.encode() if isinstance(part, StreamHeader) else part for part in found)
    assert again == data, "the parts are not the whole"
    reader = BackupStreamReader(io.BytesIO(data))
    headers = []
    contents = b""
    while (header := reader.next()) is not None:
        headers.append(header)
        contents += reader.read()
    assert headers == [part for part in found if isinstance(part, StreamHeader)]
    assert contents == b"".join(part for part in found if isinstance(part, bytes))


def _eas(data: bytes) -> None:
    eas = decode_eas(data)
    assert decode_eas(encode_eas(eas)) == eas
    assert decode_eas(with_last_marked(data)) == eas


def _security(data: bytes) -> None:
    descriptor = SecurityDescriptor.decode(data)
    assert SecurityDescriptor.decode(descriptor.encode()) == descriptor
    for is_directory in (False, True):
        child = inherit(descriptor, is_directory=is_directory)
        assert SecurityDescriptor.decode(child.encode()) == child
    to_sddl(descriptor)


def _rights(data: bytes) -> None:
    """Every descriptor is judged and told in words: nobody has rights that its entries, or being the owner, do not
    give."""
    descriptor = SecurityDescriptor.decode(data)
    for kind in ObjectKind:
        told = explain_security(data, kind)
        assert all(line.isprintable() for line in told.lines())
        json.dumps(told.to_json())
        stated = reduce(or_, (kind.mapped(ace.mask) for ace in descriptor.dacl.aces), 0) if descriptor.dacl else -1
        for grant in Judge({}).grants(data, kind):
            assert grant.mask & WRITING[kind] == grant.mask
            assert not grant.mask & ~(stated | 0x60000)


def _sddl(data: bytes) -> None:
    descriptor = from_sddl(data.decode("latin-1"))
    text = to_sddl(descriptor)
    assert to_sddl(from_sddl(text)) == text
    assert SecurityDescriptor.decode(descriptor.encode()) == descriptor


def _sid(data: bytes) -> None:
    text = data.decode("latin-1")
    sid = Sid.parse(text)
    assert Sid.parse(str(sid)) == sid
    assert Sid.decode(sid.encode()) == sid


def _guid(data: bytes) -> None:
    text = data.decode("latin-1")
    guid = parse_guid(text)
    assert parse_guid(str(guid)) == parse_guid(f"{{{guid}}}") == guid
    assert vm_sid(guid).encode()[-16:] == b"".join(part.to_bytes(4, "little") for part in sid_sub_authorities(guid))


def _packed_guid(data: bytes) -> None:
    text = data.decode("latin-1")
    assert pack_guid(unpack_guid(text)) == text.upper()


def _reparse(data: bytes) -> None:
    """What is read of a reparse point says the same when it is written."""
    is_name_surrogate(data)
    link = link_path(data)
    if link is not None and any(not part or "/" in part for part in link.parts if not link.is_relative):
        raise AssertionError(f"components {link.parts}")
    point = decode_reparse(data)
    assert decode_reparse(point.encode()) == point
    decode = _DECODERS.get(point.tag, decode_wci)
    target = decode(point)
    assert decode(decode_reparse(target.encode())) == target


_DECODERS: dict[int, Callable[[ReparsePoint], LinkTarget | WofFile | LxSymlink | WciPlaceholder]] = {
    ReparseTag.SYMLINK: decode_link,
    ReparseTag.MOUNT_POINT: decode_link,
    ReparseTag.WOF: decode_wof,
    ReparseTag.LX_SYMLINK: decode_lx_symlink,
}


def _reparse_seeds() -> list[bytes]:
    guid = UUID(int=5)
    return [
        LinkTarget.from_path("C:\\x", is_mount_point=True).encode(),
        LinkTarget.from_path("..\\x", is_mount_point=False).encode(),
        LinkTarget.from_path("\\\\server\\share", is_mount_point=False).encode(),
        LinkTarget.from_path(f"\\\\?\\Volume{{{guid}}}\\", is_mount_point=True).encode(),
        WciPlaceholder(ReparseTag.WCI_1, 1, 0, guid, "Files\\a").encode(),
        WofFile(1, 2, 1, 1).encode(),
        LxSymlink(2, b"/x/y").encode(),
        ReparsePoint(0x80000023, b"AF_UNIX").encode(),
    ]


def _path(data: bytes) -> None:
    """However a path is spelled, it stays inside the layer."""
    file, _ = split_stream(data.decode("utf-16-le", "surrogatepass"))
    parts = layer_path(file).split("/")
    assert ".." not in parts
    assert "." not in parts
    assert layer_path(layer_path(file)) == layer_path(file)
    short = short_names(dict.fromkeys(part for part in parts if illegal_reason(part) is None))
    assert len(short) == len(set(short.values())), short
    for name in short:
        assert is_short(name), name
        assert may_be_generated(name), name


def _name(data: bytes) -> None:
    """Names that Windows holds for the same have one key, whichever way they are read."""
    name = decode_name(data)
    assert decode_name(encode_name(name)) == name
    assert len(name.encode("utf-16-le", "surrogatepass")) == 2 * utf16_length(name)
    upper = upcase(name)
    assert upcase(upper) == upper
    assert names_equal(name, upper)
    assert name_key(name) == name_key(upper)
    assert path_key(name) == path_key(upper)
    assert collation_key(name)[0] == collation_key(upper)[0]
    assert sorted_keys([name_key(name), ""]) == sorted_keys(["", name_key(name)])
    assert all(split_path(part) == [part] for part in split_path(name))
    for reason in (illegal_reason(name), stream_illegal_reason(name), unusable_reason(name)):
        assert reason != ""
    if is_reserved(name):
        assert unusable_reason(name)


def _time(data: bytes) -> None:
    time = filetime.from_decimal_seconds(data.decode("latin-1"))
    assert filetime.from_decimal_seconds(filetime.to_decimal_seconds(time)) == time
    assert filetime.from_unix_ns(filetime.to_unix_ns(time)) == time
    filetime.to_iso(time)


def _attributes(data: bytes) -> None:
    if len(data) >= 4:
        attributes = int.from_bytes(data[:4], "little")
        attribute_names(attributes)
        assert len(attribute_letters(attributes)) == len(attribute_letters(0))
        changed = changed_attributes(attributes, data[4:].decode("latin-1").split())
        assert changed_attributes(changed, data[4:].decode("latin-1").split()) == changed


def _basic_info(data: bytes) -> None:
    info = FileBasicInfo.unpack(data)
    assert FileBasicInfo.unpack(info.pack()) == info
    assert int(info.flags) == info.attributes
    for ticks, moment in (
        (info.creation_time, info.created), (info.last_access_time, info.accessed),
        (info.last_write_time, info.written), (info.change_time, info.changed),
    ):  # fmt: skip
        assert moment == filetime.to_datetime(ticks)
        is_shown = moment.replace(tzinfo=None) not in (datetime.min, datetime.max)
        assert not is_shown or (moment - datetime(1601, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) == ticks // 10


TARGETS = {
    "attributes": Target(_attributes, lambda: [b"\x20\0\0\0+R -H"], max_size=64),
    "basic_info": Target(_basic_info, lambda: [FileBasicInfo(0x20, 1, 2, 3, 4).pack()], max_size=64),
    "backup_stream": Target(
        _backup_stream,
        lambda: [
            StreamHeader(4, 3, 0, ":s:$DATA").encode() + b"abc" + StreamHeader(1, 1, 0).encode() + b"d",
            StreamHeader(9, 8, 8).encode() + bytes(8),
        ],
        words=(b":$DATA",),
        max_size=1024,
    ),
    "eas": Target(
        _eas, lambda: [encode_eas([ExtendedAttribute(b"A", b"b"), ExtendedAttribute(b"C", b"d", 0x80)])], max_size=1024
    ),
    "guid": Target(_guid, lambda: [b"{1532b584-8431-5b5a-8735-5e1b4fe9c2a9}"], words=(b"{", b"}", b"-"), max_size=64),
    "name": Target(
        _name, lambda: [b"CON.txt", "\u00e9\U0001f600".encode(), b"\xed\xa0\x80x:"], max_size=256
    ),
    "packed_guid": Target(_packed_guid, lambda: [b"96F071321C0420729002000010000000"], max_size=64),
    "path": Target(
        _path,
        lambda: ["C:\\a\\..\\b:c".encode("utf-16-le"), "Files/A long one/..".encode("utf-16-le")],
        words=tuple(word.encode("utf-16-le") for word in ("..", "\\", "/", ":", "~1", "C:", "Files", "\\\\?\\")),
        max_size=512,
    ),
    "reparse": Target(_reparse, _reparse_seeds, words=("\\??\\UNC\\".encode("utf-16-le"),), max_size=1024),
    "sddl": Target(
        _sddl,
        lambda: [
            b"O:BAD:P(OA;CI;RP;;;WD)(XA;;GA;;;WD;(#61727478))S:(ML;;NW;;;LW)(RA;;;;;WD;(#01020304))",
            b"O:BAG:SYD:PAI(A;OICIIO;GA;;;CO)(D;;0x1f01ff;;;S-1-5-21-1-2-3-500)S:AI(AU;SAFA;WD;;;WD)",
        ],
        words=(
            b"(XA;;GA;;;WD;(#", b"(RA;;;;;WD;(#", b"NO_ACCESS_CONTROL", b"S-1-5-", b"0x", b"(OA;", b"D:PAI", b"S:AR",
        ),
        max_size=512,
    ),
    "rights": Target(
        _rights,
        lambda: [
            from_sddl(text).encode()
            for text in (
                "O:BUG:SYD:PAI(D;;DC;;;WD)(A;OICIID;0x1301bf;;;BU)(A;;GA;;;AU)S:(ML;;NWNR;;;HI)",
                "O:S-1-5-80-1-2-3-4-5G:SYD:(OA;CI;RP;00299570-246d-11d0-a768-00aa006e0529;;WD)(XA;;GA;;;WD;(#01020304))",
                "O:BAG:SYD:NO_ACCESS_CONTROL",
                "O:BAG:SYD:(A;;KA;;;OW)(A;;KA;;;S-1-15-3-1024-1-2-3-4-5-6-7-8)(A;;KR;;;S-1-15-3-3)S:(TL;;KR;;;S-1-19-512-1)",
            )
        ],
        max_size=512,
    ),
    "security": Target(
        _security,
        lambda: [
            volume_root().encode(),
            from_sddl("O:BAD:P(OA;CIIO;RP;;;WD)(OA;OI;GA;bf967aba-0de6-11d0-a285-00aa003049e2;;CO)").encode(),
            from_sddl("D:(XA;;GA;;;WD;(#61727478))S:(ML;;NW;;;LW)(RA;;;;;WD;(#01020304))").encode(),
        ],
        max_size=1024,
    ),
    "sid": Target(_sid, lambda: [b"S-1-5-32-544", b"S-1-0x100000000-4"], words=(b"S-1-", b"0x"), max_size=256),
    "time": Target(_time, lambda: [b"1667169497.6310847", b"-1.5"], max_size=64),
}  # fmt: skip
