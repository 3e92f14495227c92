"""Tars that attack whoever reads them: names, links, records, claims of sizes, compression."""

from __future__ import annotations

import base64
import functools
import gzip
import struct
from collections.abc import Iterator
from pathlib import Path

from tests.hostile.forms import LIMITED, REFUSED, TAKEN, World, add, form, holding, made_of
from tests.support import archive, global_header, member, zstd
from wclayer.formats.tar.structs import TRAILER, header_checksum
from wclayer.win32.ea import ExtendedAttribute, encode_eas
from wclayer.win32.reparse import LinkTarget, LxSymlink, ReparsePoint

FILES = member(b"Files", kind=b"5")
FILE_A = member(b"Files/a", b"a")
_HUGE_PAX = member(b"Files/a", comment=b"x" * (2 << 20))


def zipped(*members: bytes) -> bytes:
    """A tar of these members, compressed by gzip."""
    return gzip.compress(archive(*members), mtime=0)


def _bad_checksum(block: bytes) -> bytes:
    return block[:148] + b"0012345\0" + block[156:]


CASES = {
    "truncated header": (archive(FILES, FILE_A)[:700], "offset 512.*ends inside a header"),
    "truncated data": (archive(FILES, member(b"Files/a", b"x" * 2000))[:2000], "member 'Files/a'.*short"),
    "lone zero block": (archive(FILES + bytes(512) + FILE_A), "offset 1024: a lone zero block"),
    "no end": (FILES + FILE_A, "without its end-of-archive"),
    "bad checksum": (archive(FILES, _bad_checksum(FILE_A)), r"member 'Files/a', offset 512: header checksum"),
    "oversized PAX": (archive(FILES, _HUGE_PAX), "offset 512: extension header of 2097"),
    "dot dot": (archive(FILES, member(b"Files/../etc", b"a")), r"entry 'Files/\.\./etc' \(offset 512\): name '\.\.'"),
    "dot": (archive(FILES, member(b"Files/./a", b"a")), r"name '\.'"),
    "absolute": (archive(FILES, member(b"/Files/a")), r"offset 512"),
    "absolute alone": (archive(FILES, member(b"/etc/passwd")), r"offset 512.*outside"),
    "drive": (archive(FILES, member(b"C:/Files/a")), r"offset 512.*outside|character ':'"),
    "drive inside": (archive(FILES, member(b"Files/C:/a")), r"offset 512.*character ':'"),
    "device": (archive(FILES, member(b"Files/\\\\.\\C:")), r"offset 512.*character"),
    "backslash": (archive(FILES, member(b"Files\\a")), r"offset 512"),
    "backslash inside": (archive(FILES, member(b"Files/b\\..\\c")), r"offset 512.*character"),
    "NUL in a PAX path": (archive(FILES, member(b"x", path=b"Files/a\0b")), r"offset 512.*character"),
    "empty component": (archive(FILES, member(b"Files//a")), r"offset 512"),
    "empty name": (archive(FILES, member(b"")), r"without a name"),
    "file under a file": (archive(FILES, FILE_A, member(b"Files/a/b")), r"\(offset 1536\): its parent is a file"),
    "case clash": (archive(FILES, FILE_A, member(b"Files/A")), r"'Files/A' \(offset 1536\): duplicate"),
    "case clash beyond ASCII": (archive(FILES, member("Files/é".encode()), member("Files/É".encode())), r"duplicate"),
    "duplicate file": (archive(FILES, FILE_A, FILE_A), r"offset 1536\): duplicate"),
    "duplicate directory": (archive(FILES, FILES), r"duplicate"),
    "file over a directory": (archive(FILES, member(b"Files/d", kind=b"5"), member(b"Files/d", b"x")), "duplicate"),
    "outside at the root": (archive(FILES, member(b"Evil")), r"'Evil' \(offset 512\): lies outside Files"),
    "outside first": (archive(member(b"Evil/x")), r"outside Files"),
    "outside the utility VM": (
        archive(member(b"UtilityVM", kind=b"5"), member(b"UtilityVM/x")),
        "outside UtilityVM/Files",
    ),
    "root as a file": (archive(member(b"Files", b"x")), "must be a directory"),
    "tombstone in a base layer": (archive(FILES, member(b"Files/.wh.a")), r"tombstone 'Files/a' \(offset 512\).*base"),
    "tombstone with data": (archive(FILES, member(b"Files/.wh.a", b"x")), "whiteout with data"),
    "empty tombstone": (archive(FILES, member(b"Files/.wh.")), "empty name|base layer"),
    "link to nothing": (archive(FILES, member(b"Files/l", kind=b"1", link=b"Files/no")), "'Files/no', which is not"),
    "link to later": (
        archive(FILES, member(b"Files/l", kind=b"1", link=b"Files/a"), FILE_A),
        "'Files/a', which is not there",
    ),
    "link to a directory": (archive(FILES, member(b"Files/l", kind=b"1", link=b"Files")), "hard link to 'Files'"),
    "link with the attribute of a directory": (
        archive(FILES, FILE_A, member(b"Files/l", kind=b"1", link=b"Files/a", MSWINDOWS_fileattr=b"16")),
        r"'Files/l' \(offset \d+\): hard link to 'Files/a' with the attribute of a directory",
    ),
    "link out": (archive(FILES, member(b"Files/l", kind=b"1", link=b"../../etc/passwd")), "not a path of a layer"),
    "link out inside": (archive(FILES, member(b"Files/l", kind=b"1", link=b"Files/../../x")), "not a path of a layer"),
    "link to a hive": (
        archive(
            FILES, member(b"Hives", kind=b"5"), member(b"Hives/h", b"x"), member(b"Files/l", kind=b"1", link=b"Hives/h")
        ),
        "links are possible below",
    ),
    "no parent": (archive(FILES, member(b"Files/d/a")), "parent directory was not there"),
    "below a symbolic link": (
        archive(FILES, member(b"Files/s", kind=b"2", link=b"C:\\x", MSWINDOWS_fileattr=b"1040"), member(b"Files/s/a")),
        "parent is a symbolic link or mount point|parent is a file",
    ),
    "below a file symbolic link": (
        archive(FILES, member(b"Files/s", kind=b"2", link=b"/etc"), member(b"Files/s/a")),
        "parent is a",
    ),
    "device member": (archive(FILES, member(b"Files/d", kind=b"3")), "member of type '3'"),
    "fifo member": (archive(FILES, member(b"Files/d", kind=b"6")), "member of type '6'"),
    "GNU sparse member": (archive(FILES, member(b"Files/d", kind=b"S")), "member of type 'S'"),
    "PAX sparse member": (archive(FILES, member(b"Files/d", b"x", GNU_sparse_major=b"1")), "sparse member"),
    "not UTF-8": (archive(FILES, member(b"x", path=b"Files/\xff\xfe")), "member .* decode"),
    "stream of a link": (
        archive(FILES, FILE_A, member(b"Files/l", kind=b"1", link=b"Files/a"), member(b"Files/l:s", b"x")),
        "stream of a hard link",
    ),
    "stream of nothing": (archive(FILES, member(b"Files/a:s", b"x")), "character ':'"),
    "stream not UTF-8": (archive(FILES, FILE_A, member(b"x", b"x", path=b"Files/a:\xff")), "decode"),
    "stream twice": (
        archive(FILES, FILE_A, member(b"Files/a:s", b"1"), member(b"Files/a:S", b"2")),
        "duplicate stream",
    ),
    "stream with a colon": (archive(FILES, FILE_A, member(b"Files/a:s:t", b"1")), "character ':' in a stream name"),
    "attributes": (archive(FILES, member(b"Files/a", MSWINDOWS_fileattr=b"-1")), "not a 32-bit number"),
    "attributes too large": (archive(FILES, member(b"Files/a", MSWINDOWS_fileattr=b"4294967296")), "not a 32-bit"),
    "directory with data": (archive(FILES, member(b"Files/a", b"x", MSWINDOWS_fileattr=b"16")), "directory by its"),
    "time": (archive(FILES, member(b"Files/a", LIBARCHIVE_creationtime=b"never")), "not decimal seconds"),
    "time out of range": (archive(FILES, member(b"Files/a", atime=b"-99999999999")), "outside 1601"),
    "descriptor": (archive(FILES, member(b"Files/a", MSWINDOWS_rawsd=b"!!!")), "not base64"),
    "SDDL": (archive(FILES, member(b"Files/a", MSWINDOWS_sd=b"nonsense")), "SDDL"),
    "EA": (archive(FILES, member(b"Files/a", MSWINDOWS_xattr_X=b"%%%")), "not base64"),
    "link target": (
        archive(FILES, member(b"Files/a", kind=b"2", link=b"x" * 70_000)),
        r"member 'Files/a' \(offset 512\): link target of 70000 UTF-16 units is longer than Windows allows",
    ),
    "EA list": (archive(FILES, member(b"Files/a", WCLAYER_ea=base64.b64encode(b"\xff" * 9))), "EA list"),
    "reparse": (archive(FILES, member(b"Files/a", WCLAYER_reparse=base64.b64encode(b"\xff" * 9))), "reparse buffer"),
    "extra stream": (archive(FILES, member(b"Files/a", WCLAYER_stream_0_99_0=b":")), "does not name a stream"),
    "extra stream numbers": (archive(FILES, member(b"Files/a", WCLAYER_stream_0_7_9999999999=b":")), "does not name"),
    "PAX size": (archive(FILES, member(b"Files/a", size=b"-5")), "PAX size .* is not a number"),
    "trailing junk": (archive(FILES) + b"j" * (2 << 20), "follow the end of the archive"),
    "global EA": (archive(FILES, global_header(MSWINDOWS_xattr_X=b"eA=="), FILE_A), "it belongs to one member"),
    "global sparse": (archive(FILES, global_header(GNU_sparse_major=b"1"), FILE_A), "it belongs to one member"),
    "gzip damage": (b"\x1f\x8b\x08\0" + b"x" * 100, "gzip"),
    "zstd damage": (b"\x28\xb5\x2f\xfd" + b"x" * 100, "zstd"),
    "empty": (b"", "without its end-of-archive"),
}
"""Tars that are refused, with what the message says."""


def _octal_size(block: bytes, size: bytes) -> bytes:
    """A header that claims another size, in the twelve bytes of its field."""
    block = block[:124] + size.ljust(12, b"\0") + block[136:]
    return block[:148] + b"%06o\0 " % header_checksum(block[:512]) + block[156:]


def _base256(number: int) -> bytes:
    return (1 << 95 | number).to_bytes(12, "big")


for _name, (_data, _problem) in CASES.items():
    add("tar", _name, "refused by its reader", REFUSED | LIMITED, holding(_data))

# Names. What Windows takes for one name, for another, or for a device.

_NAMES = {
    "dot dot in the middle": b"Files/a/../../x",
    "dot dot at the end": b"Files/..",
    "dot dot with a space": b"Files/.. /x",
    "three dots": b"Files/.../x",
    "backslash at the end": b"Files/a\\",
    "backslash climbs": b"Files\\..\\..\\x",
    "slash and dots of another width": "Files/\uff0e\uff0e\uff0fx".encode(),
    "division slash": "Files/..\u2215x".encode(),
    "device": b"Files/CON",
    "device with an extension": b"Files/nul.txt",
    "device with a superscript": "Files/COM\u00b9".encode(),
    "trailing dot": b"Files/a.",
    "trailing space": b"Files/a ",
    "only spaces": b"Files/ ",
    "root with a dot": b"Files./x",
    "root in another width": "\uff26iles/x".encode(),
    "default stream": b"Files/a::$DATA",
    "index stream": b"Files/d:$I30:$INDEX_ALLOCATION",
    "overlong slash": b"Files/a\xc0\xafb",
    "unpaired surrogate": b"Files/\xed\xa0\x80",
    "surrogate pair in WTF-8": b"Files/\xed\xa0\xbd\xed\xb8\x80",
    "beyond Unicode": b"Files/\xf4\x90\x80\x80",
    "controls": b"Files/\x1b]0;owned\x07",
    "a line break": b"Files/a\nwclayer: done",
    "right to left": "Files/\u202egpj.exe".encode(),
    "dotless i": "Files/\u0131".encode(),
    "metadata of a transport folder": b"Files/d.$wcidirs$",
    "database": b"layer.db",
    "chain": b"layerchain.json",
    "disk": b"sandbox.vhdx",
    "data of a scratch": b"Data/0/0123456789abcdef",
    "MFT": b"Files/$MFT",
    "under the MFT": b"Files/$Extend/$Reparse",
    "whiteout of dots": b"Files/.wh...",
    "opaque whiteout": b"Files/.wh..wh..opq",
}
for _name, _path in _NAMES.items():
    add(
        "tar",
        f"name: {_name}",
        "path escapes",
        TAKEN | REFUSED,
        holding(archive(FILES, member(b"Files/d", kind=b"5"), FILE_A, member(b"x", b"1", path=_path))),
    )


@form("tar", "long names", TAKEN | LIMITED | REFUSED)
def a_name_of_256_units(place: Path, world: World) -> None:
    place.write_bytes(archive(FILES, member(b"x", b"1", path=b"Files/" + b"n" * 256)))


@form("tar", "long names", LIMITED)
def a_path_longer_than_windows_has(place: Path, world: World) -> None:
    place.write_bytes(archive(FILES, member(b"x", b"1", path=b"Files" + b"/0123456789" * 4000)))


@form("tar", "F14", TAKEN)
def two_thousand_levels(place: Path, world: World) -> None:
    levels = [b"Files" + b"/d" * depth for depth in range(1, 2000)]
    place.write_bytes(zipped(FILES, *(member(b"d", kind=b"5", path=path) for path in levels)))


@form("tar", "case collisions", REFUSED)
def a_sharp_s_and_its_capital(place: Path, world: World) -> None:
    place.write_bytes(archive(FILES, member("Files/\u01c6".encode()), member("Files/\u01c4".encode())))


@form("tar", "F31", REFUSED)
def a_directory_in_two_spellings(place: Path, world: World) -> None:
    place.write_bytes(
        archive(FILES, member(b"Files/d", kind=b"5"), member(b"Files/D", kind=b"5"), member(b"Files/D/x"))
    )


# Links.


def _link(name: bytes, target: bytes, **pax: bytes) -> bytes:
    return member(name, kind=b"2", link=target, **pax)


def _canary_link(place: Path, world: World) -> None:
    """A symbolic link to the canaries, and files that lie below it."""
    outside = str(world.outside).encode()
    place.write_bytes(
        archive(
            FILES,
            _link(b"Files/s", outside),
            member(b"Files/s/secret.txt", b"overwritten"),
            member(b"Files/s/new", b"made"),
        )
    )


add("tar", "files through a symbolic link", "F3, sibling", REFUSED, _canary_link)


@form("tar", "F2", TAKEN)
def symbolic_links_out(place: Path, world: World) -> None:
    outside = str(world.outside).encode()
    ways = [
        outside,
        b"../" * 40 + outside,
        b"..\\..\\..\\x",
        b"\\\\server\\share",
        b"C:" + outside.replace(b"/", b"\\"),
        b"\\\\.\\PhysicalDrive0",
        b".",
        b"..",
        b"l0",
        b"/proc/self/root" + outside,
    ]
    place.write_bytes(archive(FILES, *(_link(b"Files/l%d" % n, way) for n, way in enumerate(ways))))


@form("tar", "links in circles", TAKEN)
def symbolic_links_in_a_circle(place: Path, world: World) -> None:
    place.write_bytes(archive(FILES, _link(b"Files/a", b"b"), _link(b"Files/b", b"a"), _link(b"Files/c", b"c\\c\\c")))


@form("tar", "F11", REFUSED)
def a_symbolic_link_of_16_kib(place: Path, world: World) -> None:
    place.write_bytes(archive(FILES, _link(b"Files/l", b"x" * 16_384)))


_HARD = {
    "absolute": b"/etc/passwd",
    "climbing": b"Files/../../../etc/passwd",
    "drive": b"C:\\Windows",
    "empty": b"",
    "itself": b"Files/l",
    "root": b"Files",
    "another root": b"UtilityVM/Files/x",
    "stream": b"Files/a:s",
    "tombstone": b"Files/.wh.a",
    "the database": b"layer.db",
    "dot": b"Files/./a",
    "backslash": b"Files\\a",
    "NUL": b"Files/a\0b",
}
for _name, _path in _HARD.items():
    add(
        "tar",
        f"hard link to: {_name}",
        "F29, sibling",
        REFUSED,
        holding(archive(FILES, FILE_A, member(b"Files/l", kind=b"1", linkpath=_path))),
    )


@form("tar", "hard links in circles", REFUSED)
def hard_links_in_a_circle(place: Path, world: World) -> None:
    place.write_bytes(
        archive(FILES, member(b"Files/a", kind=b"1", link=b"Files/b"), member(b"Files/b", kind=b"1", link=b"Files/a"))
    )


@form("tar", "hard links", TAKEN | REFUSED | LIMITED | frozenset({10}))
def two_thousand_names_of_a_file(place: Path, world: World) -> None:
    links = (member(b"Files/%d" % number, kind=b"1", link=b"Files/a") for number in range(2000))
    place.write_bytes(zipped(FILES, FILE_A, *links))


@form("tar", "F29", REFUSED, has_parents=True)
def a_hard_link_into_a_parent_that_climbs(place: Path, world: World) -> None:
    place.write_bytes(
        archive(
            FILES,
            member(b"Files/l", kind=b"1", link=b"Files/../../../outside/secret.txt"),
            member(b"Files/m", kind=b"1", link=b"Files/dir"),
        )
    )


_POINTS = {
    "symbolic link out": LinkTarget("..\\" * 40 + "outside", "", 1).encode(),
    "junction to a device": LinkTarget.from_path("\\\\.\\C:", is_mount_point=True).encode(),
    "junction to a share": LinkTarget.from_path("\\\\server\\share", is_mount_point=True).encode(),
    "junction to itself": LinkTarget.from_path("C:\\p", is_mount_point=True).encode(),
    "link of WSL": LxSymlink(2, b"/etc/passwd").encode(),
    "names beyond its end": struct.pack("<IHHHHHHI", 0xA000000C, 12, 0, 60_000, 60_000, 0, 60_000, 0),
    "odd lengths": struct.pack("<IHHHHHHI", 0xA000000C, 16, 0, 1, 3, 0, 1, 0) + bytes(4),
    "tag of nobody": ReparsePoint(0xFFFFFFFF, b"x").encode(),
    "tag of zero": ReparsePoint(0, b"x").encode(),
    "overlay of a provider of files": struct.pack("<IHH", 0x80000017, 16, 0) + struct.pack("<IIII", 1, 2, 1, 99),
    "longer than it says": struct.pack("<IHH", 0xA000000C, 0, 0) + bytes(16_000),
}
for _name, _data in _POINTS.items():
    for _attributes in (b"1056", b"1040"):
        add(
            "tar",
            f"reparse point: {_name} {_attributes.decode()}",
            "reparse points",
            TAKEN | REFUSED,
            holding(
                archive(
                    FILES, member(b"Files/p", MSWINDOWS_fileattr=_attributes, WCLAYER_reparse=base64.b64encode(_data))
                )
            ),
            more=frozenset({10, 16}),
        )


@form("tar", "F2, sibling", REFUSED)
def a_file_below_a_junction(place: Path, world: World) -> None:
    junction = LinkTarget.from_path("C:\\d", is_mount_point=True).encode()
    place.write_bytes(
        archive(
            FILES,
            member(b"Files/p", kind=b"5", MSWINDOWS_fileattr=b"1040", WCLAYER_reparse=base64.b64encode(junction)),
            member(b"Files/p/x", b"1"),
        )
    )


# Claims of sizes.

_SIZES = {
    "8 GiB in octal": b"77777777777",
    "2 to the 62 in base 256": _base256(1 << 62),
    "2 to the 63 in base 256": _base256(1 << 63),
    "2 to the 94 in base 256": _base256((1 << 94) - 1),
    "negative in base 256": b"\xff" * 12,
    "minus one": b"-0000000001",
    "spaces": b"            ",
    "not octal": b"00000000009",
    "a sign in octal": b"+0000000001",
    "grouped": b"0000_000001",
    "digits of another script": "\u0661".encode() * 5,
}
for _name, _field in _SIZES.items():
    _claiming = _octal_size(member(b"Files/a", b"x"), _field)
    add("tar", f"size: {_name}", "F18, sibling", TAKEN | REFUSED | LIMITED, holding(FILES + _claiming + TRAILER))
    _claiming = _octal_size(member(b"Files/a", comment=b"x"), _field)
    add("tar", f"size of PAX: {_name}", "F18, sibling", REFUSED | LIMITED, holding(FILES + _claiming + TRAILER))

_PAX_SIZES = {
    "2 to the 63": b"9223372036854775808",
    "2 to the 64": b"18446744073709551616",
    "4,000 digits": b"9" * 4000,
    "5,000 digits": b"9" * 5000,
    "exponent": b"1e9",
    "hexadecimal": b"0x10",
    "underscore": b"1_0",
    "sign": b"+1",
    "space": b" 1",
    "script": "\u0661".encode(),
    "empty": b"",
    "fraction": b"1.0",
}
for _name, _field in _PAX_SIZES.items():
    add(
        "tar",
        f"PAX size: {_name}",
        "F18, sibling",
        TAKEN | REFUSED | LIMITED,
        holding(archive(FILES, member(b"Files/a", size=_field))),
    )
    add(
        "tar",
        f"PAX time: {_name}",
        "F5, sibling",
        TAKEN | REFUSED,
        holding(
            archive(FILES, member(b"Files/a", mtime=_field, atime=_field, ctime=_field, LIBARCHIVE_creationtime=_field))
        ),
    )
    add(
        "tar",
        f"PAX attributes: {_name}",
        "F5, sibling",
        TAKEN | REFUSED,
        holding(archive(FILES, member(b"Files/a", MSWINDOWS_fileattr=_field))),
    )


def _with_pax(block: bytes) -> bytes:
    """A tar whose member has these bytes as its PAX records."""
    head = bytearray(member(b"Files/a", comment=b"x")[:512])
    head[124:136] = b"%011o\0" % len(block)
    head[148:156] = b"%06o\0 " % header_checksum(bytes(head))
    return archive(FILES, bytes(head) + block + bytes(-len(block) % 512), FILE_A)


_RECORDS = {
    "digits": b"1" * 65_536,
    "digits and spaces": b"1 " * 32_768,
    "no value": b"5 a=\n" * 10_000,
    "no end": b"30 comment=abc",
    "a length of zero": b"0 a=b\n" * 10_000,
    "shorter than itself": b"1 a=b\n",
    "longer than all": b"999999999999999999999 a=b\n",
    "4,500 digits of length": b"9" * 4500 + b" a=b\n",
    "no equals sign": b"10 abcdef\n",
    "no line break": b"9 a=bcdef",
    "an empty key": b"6 =bc\n",
    "NUL in a key": b"8 a\0b=c\n",
    "leading zeros": b"0000000006 a=b\n",
    "a sign": b"+6 a=b\n",
    "a record twice": b"11 path=a/\n11 path=b/\n",
    "a million bytes of one key": b"1000012 " + b"k" * 1_000_002 + b"=\n",
}
for _name, _block in _RECORDS.items():
    add(
        "tar",
        f"PAX records: {_name}",
        "F1",
        TAKEN | REFUSED | LIMITED,
        holding(gzip.compress(_with_pax(_block), mtime=0)),
    )


@form("tar", "F15", TAKEN)
def a_comment_of_a_million_bytes(place: Path, world: World) -> None:
    place.write_bytes(zipped(FILES, member(b"Files/a", comment=b"1" * 1_000_000)))


@form("tar", "F40", REFUSED | LIMITED)
def a_small_archive_of_large_records(place: Path, world: World) -> None:
    place.write_bytes(gzip.compress(_with_pax(b"1" * (1 << 20)), mtime=0))


@form("tar", "F12", LIMITED | TAKEN)
def many_global_records(place: Path, world: World) -> None:
    headers = (global_header(**{f"comment{number}": b"x" * 4000}) for number in range(400))
    place.write_bytes(zipped(FILES, *headers, *(member(b"Files/%d" % n) for n in range(200))))


@form("tar", "F12, sibling", LIMITED)
def global_records_that_are_known(place: Path, world: World) -> None:
    headers = (global_header(**{"MSWINDOWS_rawsd" if n % 2 else "path": b"x" * 60_000}) for n in range(40))
    place.write_bytes(zipped(FILES, *headers, FILE_A))


_GLOBALS = {
    "path": {"path": b"Files/../../x"},
    "link path": {"linkpath": b"/etc/passwd"},
    "size": {"size": b"99999999999"},
    "descriptor": {"MSWINDOWS_rawsd": b"!!"},
    "reparse": {"WCLAYER_reparse": b"AAAA"},
    "time": {"mtime": b"1e400"},
}
for _name, _pairs in _GLOBALS.items():
    add(
        "tar",
        f"global {_name}",
        "F12, sibling",
        TAKEN | REFUSED | LIMITED,
        holding(archive(FILES, global_header(**_pairs), FILE_A, member(b"Files/b", b"2"))),
    )


@form("tar", "F13", TAKEN | LIMITED)
def different_descriptors(place: Path, world: World) -> None:
    place.write_bytes(
        gzip.compress(
            archive(
                FILES,
                *(member(b"Files/%d" % n, MSWINDOWS_sd=b"O:SYG:SYD:" + b"(A;;%d;;;WD)" % n * 2000) for n in range(60)),
            ),
            mtime=0,
        )
    )


@form("tar", "F17", REFUSED | LIMITED)
def descriptors_of_750_kilobytes(place: Path, world: World) -> None:
    place.write_bytes(
        gzip.compress(
            archive(
                FILES,
                *(member(b"Files/%d" % n, MSWINDOWS_rawsd=base64.b64encode(b"%8d" % n * 90_000)) for n in range(8)),
            ),
            mtime=0,
        )
    )


@form("tar", "F34", REFUSED)
def an_extended_attribute_without_a_name(place: Path, world: World) -> None:
    place.write_bytes(archive(FILES, member(b"Files/a", WCLAYER_ea=base64.b64encode(bytes(9)))))


_EAS = {
    "next beyond the end": struct.pack("<IBBH", 1 << 30, 0, 1, 0) + b"A\0",
    "next to itself": struct.pack("<IBBH", 0, 0, 1, 0) + b"A\0" + struct.pack("<IBBH", 0, 0, 1, 0) + b"A\0",
    "a value beyond the end": struct.pack("<IBBH", 0, 0, 1, 60_000) + b"A\0",
    "the same name twice": encode_eas([ExtendedAttribute(b"A", b"1"), ExtendedAttribute(b"B", b"2")]).replace(
        b"B", b"a"
    ),
    "a name with NUL": encode_eas([ExtendedAttribute(b"AB", b"1")]).replace(b"B", b"\0"),
}
for _name, _data in _EAS.items():
    add(
        "tar",
        f"extended attribute: {_name}",
        "F34, sibling",
        TAKEN | REFUSED,
        holding(archive(FILES, member(b"Files/a", WCLAYER_ea=base64.b64encode(_data)))),
    )


@form("tar", "many streams", LIMITED)
def nine_thousand_streams(place: Path, world: World) -> None:
    streams = (member(b"Files/a:%d" % number, b"1") for number in range(9000))
    place.write_bytes(zipped(FILES, FILE_A, *streams))


@form("tar", "many entries", TAKEN)
def four_thousand_empty_members(place: Path, world: World) -> None:
    files = (member(b"Files/%d" % number) for number in range(4000))
    place.write_bytes(zipped(FILES, *files))


# Sparse files of GNU tar, in their four forms.

_SPARSE: dict[str, dict[str, bytes]] = {
    "0.0": {"GNU_sparse_size": b"9223372036854775807", "GNU_sparse_numblocks": b"1", "GNU_sparse_offset": b"1"},
    "0.1": {"GNU_sparse_size": b"9223372036854775807", "GNU_sparse_map": b"9223372036854775806,1"},
    "1.0": {"GNU_sparse_major": b"1", "GNU_sparse_minor": b"0", "GNU_sparse_realsize": b"9223372036854775807"},
    "its name": {"GNU_sparse_name": b"../../x"},
}
for _name, _pairs in _SPARSE.items():
    add("tar", f"sparse {_name}", "F18, sibling", REFUSED, holding(archive(FILES, member(b"Files/a", b"x", **_pairs))))


@form("tar", "F18, sibling", REFUSED)
def a_sparse_header_of_old_gnu_tar(place: Path, world: World) -> None:
    block = bytearray(member(b"Files/a", b"x", kind=b"S"))
    block[257:265] = b"ustar  \0"
    block[386:398], block[398:410], block[483:495] = b"77777777777\0", b"00000000001\0", b"77777777777\0"
    block[148:156] = b"%06o\0 " % header_checksum(bytes(block[:512]))
    place.write_bytes(archive(FILES, bytes(block)))


@form("tar", "long names", REFUSED | LIMITED)
def a_long_name_of_gnu_tar_that_claims_gigabytes(place: Path, world: World) -> None:
    place.write_bytes(FILES + _octal_size(member(b"././@LongLink", b"x" * 512, kind=b"L"), b"77777777777") + TRAILER)


@form("tar", "path escapes", REFUSED)
def a_long_name_of_gnu_tar_that_climbs(place: Path, world: World) -> None:
    name = member(b"././@LongLink", b"Files/../../outside/secret.txt\0", kind=b"L")
    place.write_bytes(archive(FILES, name, member(b"Files/a", b"x")))


@form("tar", "F29, sibling", REFUSED)
def a_long_link_of_gnu_tar_that_climbs(place: Path, world: World) -> None:
    name = member(b"././@LongLink", b"Files/../../outside/secret.txt\0", kind=b"K")
    place.write_bytes(archive(FILES, name, member(b"Files/a", kind=b"1", link=b"x")))


for _kind in b"34567DMNVXx\0Z\xff":
    add(
        "tar",
        f"member of type {_kind:#x}",
        "devices and kinds of others",
        TAKEN | REFUSED,
        holding(archive(FILES, _octal_size(member(b"Files/a", b"", kind=bytes([_kind])), b"0"))),
    )


# Compression.


@functools.cache
def _bomb(size: int) -> bytes:
    """A tar with a file of zeros."""
    return archive(FILES, member(b"Files/zeros", bytes(size)))


def _zstd(data: bytes) -> bytes:
    """One frame."""
    return zstd.compress(data, level=1)


add("tar", "zstd bomb", "compression bombs", LIMITED, made_of(lambda: _zstd(_bomb(100 << 20))))
add(
    "tar",
    "zstd bomb in many frames",
    "compression bombs",
    LIMITED,
    made_of(lambda: b"".join(_zstd(piece) for piece in _pieces(_bomb(80 << 20), 1 << 20))),
)
add("tar", "gzip in gzip", "nested compression", REFUSED, made_of(lambda: gzip.compress(gzip.compress(archive(FILES)))))
add("tar", "zstd in gzip", "nested compression", REFUSED, made_of(lambda: gzip.compress(_zstd(archive(FILES)))))
add(
    "tar",
    "concatenated members of gzip",
    "concatenated members",
    TAKEN | REFUSED,
    made_of(lambda: b"".join(gzip.compress(piece, mtime=0) for piece in _pieces(archive(FILES, FILE_A), 100))),
)
add(
    "tar",
    "a tar behind a tar",
    "trailing garbage",
    REFUSED | LIMITED | TAKEN,
    made_of(lambda: archive(FILES, FILE_A) + archive(FILES, member(b"Files/hidden", b"x"))),
)
add(
    "tar",
    "garbage behind gzip",
    "trailing garbage",
    REFUSED | TAKEN,
    made_of(lambda: zipped(FILES) + b"garbage" * 100),
)
add(
    "tar",
    "garbage behind zstd",
    "trailing garbage",
    REFUSED | TAKEN,
    made_of(lambda: _zstd(archive(FILES)) + b"garbage" * 100),
)
add(
    "tar",
    "zeros behind gzip",
    "trailing garbage",
    REFUSED | TAKEN | LIMITED,
    made_of(lambda: zipped(FILES) + bytes(100_000)),
)
add(
    "tar",
    "a hundred MiB of zeros behind a tar",
    "trailing garbage",
    LIMITED,
    made_of(lambda: gzip.compress(archive(FILES) + bytes(100 << 20), mtime=0)),
)
add(
    "tar",
    "empty gzip members",
    "concatenated members",
    REFUSED | LIMITED | TAKEN,
    made_of(lambda: gzip.compress(b"", mtime=0) * 20_000 + zipped(FILES)),
)
add(
    "tar",
    "empty zstd frames",
    "concatenated members",
    REFUSED | LIMITED | TAKEN,
    made_of(lambda: _zstd(b"") * 20_000 + _zstd(archive(FILES))),
)
add(
    "tar",
    "skippable zstd frames",
    "concatenated members",
    REFUSED | LIMITED | TAKEN,
    made_of(lambda: (struct.pack("<II", 0x184D2A50, 4) + b"skip") * 20_000 + _zstd(archive(FILES))),
)
add(
    "tar",
    "a skippable zstd frame of 4 GiB",
    "concatenated members",
    REFUSED | LIMITED,
    made_of(lambda: struct.pack("<II", 0x184D2A5F, 0xFFFFFFFF) + _zstd(archive(FILES))),
)
add(
    "tar",
    "a zstd window of 2 GiB",
    "huge claims",
    REFUSED | LIMITED,
    made_of(lambda: b"\x28\xb5\x2f\xfd\x00" + bytes([21 << 3]) + bytes(20)),
)
add(
    "tar",
    "a zstd frame that claims exabytes",
    "huge claims",
    REFUSED | LIMITED,
    made_of(lambda: b"\x28\xb5\x2f\xfd\xe0" + b"\xff" * 7 + b"\x0f" + bytes(20)),
)
add(
    "tar",
    "a zstd frame with a dictionary",
    "huge claims",
    REFUSED,
    made_of(lambda: b"\x28\xb5\x2f\xfd\x23" + b"\x01\x02\x03\x04" + b"\x05" + bytes(20)),
)
add(
    "tar",
    "gzip with a name without an end",
    "huge claims",
    REFUSED | LIMITED,
    made_of(lambda: b"\x1f\x8b\x08\x08" + bytes(6) + b"n" * 300_000),
)
add(
    "tar",
    "a gzip checksum that is wrong",
    "compression damage",
    REFUSED,
    made_of(lambda: zipped(FILES)[:-8] + bytes(8)),
)
add(
    "tar",
    "gzip that ends early",
    "compression damage",
    REFUSED,
    made_of(lambda: zipped(FILES, FILE_A)[:-20]),
)
for _name, _data in (
    ("gzip", b"\x1f\x8b"),
    ("zstd", b"\x28\xb5\x2f\xfd"),
    ("xz", b"\xfd7zXZ\0" + bytes(50)),
    ("bzip2", b"BZh91AY&SY" + bytes(50)),
    ("zip", b"PK\3\4" + bytes(50)),
):
    add("tar", f"nothing but the mark of {_name}", "compression damage", REFUSED | frozenset({10}), holding(_data))


def _pieces(data: bytes, size: int) -> Iterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]
