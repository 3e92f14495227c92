"""Transport folders that attack whoever imports them."""

from __future__ import annotations

import os
import struct
from pathlib import Path

from tests.hostile.forms import LIMITED, REFUSED, TAKEN, World, add, form
from tests.hostile.layers import SPECIAL, Tamper, put_special
from tests.support import put_directories, put_file
from wclayer.layers.transport import TransportLayerWriter
from wclayer.layers.transport.layout import TOMBSTONES_HEADER
from wclayer.win32.backup import SPARSE_STREAM, StreamHeader, StreamId

NOT_A_LAYER = frozenset({4})
_LARGEST = (1 << 63) - 1


def _folder(place: Path) -> Path:
    with TransportLayerWriter(place) as writer:
        put_directories(writer, "Files", "Files/d")
        put_file(writer, "Files/a", b"contents")
        put_file(writer, "Files/d/b", b"contents")
    return place


def _transport(name: str, finding: str, tamper: Tamper, outcome: frozenset[int] = REFUSED) -> None:
    add("transport", name, finding, outcome, lambda place, world: _tampered(place, world, tamper))


def _tampered(place: Path, world: World, tamper: Tamper) -> None:
    tamper(_folder(place), world)


_transport("untouched", "a sound folder", lambda folder, world: None, TAKEN)


def _stream(*parts: bytes) -> bytes:
    return struct.pack("<I", 0x220) + b"".join(parts)


def _header(kind: int, size: int, attributes: int = 0, name: str = "", offset: int = 0) -> bytes:
    return StreamHeader(kind, size, attributes, name, offset).encode()


_SPARSE = _header(StreamId.DATA, 0, SPARSE_STREAM)


def _written(path: str, data: bytes) -> Tamper:
    """Gives a file of the folder other contents."""
    return lambda folder, world: (folder / path).write_bytes(data)


def _special(path: str, kind: str) -> Tamper:
    return lambda folder, world: put_special(folder / path, kind, world)


def _named(name: bytes) -> Tamper:
    """Makes a file of a name that is no text, perhaps."""
    return lambda folder, world: Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_bytes(
        struct.pack("<I", 0x20)
    )


_STREAMS: dict[str, tuple[bytes, frozenset[int]]] = {
    "sparse block at 2 to the 62": (_stream(_SPARSE, _header(StreamId.SPARSE_BLOCK, 0, offset=1 << 62)), LIMITED),
    "sparse block at the end of all": (_stream(_SPARSE, _header(StreamId.SPARSE_BLOCK, 0, offset=_LARGEST)), LIMITED),
    "sparse block beyond all": (
        _stream(_SPARSE, _header(StreamId.SPARSE_BLOCK, 0, offset=(1 << 64) - 1)),
        REFUSED | LIMITED,
    ),
    "a thousand sparse blocks": (
        _stream(_SPARSE, *(_header(StreamId.SPARSE_BLOCK, 1, offset=n << 30) + b"x" for n in range(1000))),
        LIMITED,
    ),
    "sparse blocks backwards": (
        _stream(_SPARSE, *(_header(StreamId.SPARSE_BLOCK, 1, offset=9 - n) + b"x" for n in range(9))),
        REFUSED,
    ),
    "sparse block before data": (_stream(_header(StreamId.SPARSE_BLOCK, 1, offset=0), b"x"), REFUSED),
    "data of exabytes": (_stream(_header(StreamId.DATA, _LARGEST), b"x"), REFUSED | LIMITED),
    "data of a negative size": (_stream(_header(StreamId.DATA, 1 << 63), b"x"), REFUSED),
    "alternate data of exabytes": (
        _stream(_header(StreamId.DATA, 0), _header(StreamId.ALTERNATE_DATA, _LARGEST, name=":s:$DATA")),
        REFUSED | LIMITED,
    ),
    "EAs of gigabytes": (_stream(_header(StreamId.EA_DATA, 4 << 30), b"x"), REFUSED | LIMITED),
    "security of gigabytes": (_stream(_header(StreamId.SECURITY_DATA, 4 << 30), b"x"), REFUSED | LIMITED),
    "reparse data of gigabytes": (_stream(_header(StreamId.REPARSE_DATA, 4 << 30), b"x"), REFUSED | LIMITED),
    "an object id of gigabytes": (_stream(_header(StreamId.OBJECT_ID, 4 << 30), b"x"), REFUSED | LIMITED),
    "links of gigabytes": (_stream(_header(StreamId.LINK, 4 << 30), b"x"), REFUSED | LIMITED),
    "a stream of nobody": (_stream(struct.pack("<IIQI", 77, 0, 0, 0)), REFUSED),
    "a name of gigabytes": (_stream(struct.pack("<IIQI", 4, 0, 0, 0xFFFFFFFE)), REFUSED),
    "a name of odd bytes": (_stream(struct.pack("<IIQI", 4, 0, 0, 3), b"abc"), REFUSED),
    "two main streams": (_stream(_header(StreamId.DATA, 1), b"x", _header(StreamId.DATA, 1), b"y"), REFUSED),
    "two streams in two cases": (
        _stream(*(_header(StreamId.ALTERNATE_DATA, 1, name=name) + b"x" for name in (":s:$DATA", ":S:$DATA"))),
        REFUSED,
    ),
    "a stream that climbs": (_stream(_header(StreamId.ALTERNATE_DATA, 1, name=":..\\..\\x:$DATA"), b"x"), REFUSED),
    "a stream of the index": (
        _stream(_header(StreamId.ALTERNATE_DATA, 1, name=":$I30:$INDEX_ALLOCATION"), b"x"),
        REFUSED,
    ),
    "nine thousand streams": (
        _stream(*(_header(StreamId.ALTERNATE_DATA, 0, name=f":{n}:$DATA") for n in range(9000))),
        LIMITED,
    ),
    "half a header": (_stream(b"\1\0\0\0"), REFUSED),
    "three bytes": (b"\x20\0\0", REFUSED),
    "nothing": (b"", REFUSED),
    "the attribute of a directory": (struct.pack("<I", 0x10) + _header(StreamId.DATA, 1) + b"x", REFUSED),
    "a hundred thousand empty streams": (_stream(_header(StreamId.OBJECT_ID, 0) * 100_000), LIMITED),
}
for _name, (_bytes, _outcome) in _STREAMS.items():
    _transport(
        f"stream: {_name}",
        "F18",
        _written("Files/a", _bytes),
        _outcome,
    )
    _transport(
        f"directory's stream: {_name}",
        "F18, sibling",
        _written("Files/d.$wcidirs$", _bytes),
        _outcome | REFUSED | TAKEN,
    )
for _path in ("Files", "Files/a", "Files/d", "Files/d/b", "Files/d.$wcidirs$", "tombstones.txt", "Hives"):
    for _kind in SPECIAL:
        _outcome = (
            TAKEN
            if (_kind, _path)
            in (
                ("directory", "Hives"),
                ("directory", "Files/d"),
                ("directory", "Files"),
                ("directory", "Files/a"),
                ("directory", "Files/d/b"),
            )
            else REFUSED
        )
        if _path == "tombstones.txt":
            _outcome = NOT_A_LAYER | REFUSED
        if _kind == "hard link to a canary":
            # Its bytes are read as any file's: the user's folder has the name, and nothing is changed.
            continue
        _transport(
            f"{_path} is a {_kind}",
            "F31, sibling",
            _special(_path, _kind),
            _outcome,
        )

_NAMES = {
    "case": (b"Files/A", REFUSED),
    "case of a directory": (b"Files/D", REFUSED),
    "device": (b"Files/CON", REFUSED | TAKEN),
    "colon": (b"Files/a:s", REFUSED),
    "backslash": (b"Files/x\\y", REFUSED),
    "question mark": (b"Files/x?", REFUSED),
    "control": (b"Files/x\x1b[2J", REFUSED),
    "trailing dot": (b"Files/x.", REFUSED | TAKEN),
    "trailing space": (b"Files/x ", REFUSED | TAKEN),
    "three dots": (b"Files/...", REFUSED | TAKEN),
    "not UTF-8": (b"Files/\xff", REFUSED),
    "surrogate": (b"Files/\xed\xa0\x80", TAKEN),
    "sidecar of nothing": (b"Files/x.$wcidirs$", REFUSED),
    "sidecar of a file": (b"Files/a.$wcidirs$", REFUSED),
    "a second root": (b"files", REFUSED),
    "a stranger": (b"stranger", TAKEN),
    "a database": (b"layer.db", TAKEN),
    "tombstones in another case": (b"TOMBSTONES.TXT", TAKEN | REFUSED),
    "a long name": (b"Files/" + b"n" * 255, TAKEN),
}
for _name, (_bytes, _outcome) in _NAMES.items():
    _transport(
        f"name: {_name}",
        "F31",
        _named(_bytes),
        _outcome,
    )

_TOMBSTONES = {
    "climbing": b"\r\n..\\..\\x",
    "absolute": b"\r\nC:\\Windows",
    "elsewhere": b"\r\nelsewhere\\x",
    "the root": b"\r\n",
    "NUL": b"\r\nFiles\\a\0b",
    "not UTF-8": b"\r\nFiles\\\xff",
    "twice": b"\r\nFiles\\x\r\nFiles\\X",
    "of a file that is there": b"\r\nFiles\\a",
    "another version": None,
    "no line breaks": b"\r\n" + b"x" * 500_000,
    "many": b"".join(b"\r\nFiles\\%d" % n for n in range(20_000)),
    "a stream": b"\r\nFiles\\a:s",
    "a device": b"\r\nFiles\\CON",
}
for _name, _lines in _TOMBSTONES.items():
    _data = b"\xef\xbb\xbfVersion 9.0" if _lines is None else TOMBSTONES_HEADER + _lines
    _transport(
        f"tombstones: {_name}",
        "path escapes",
        _written("tombstones.txt", _data),
        NOT_A_LAYER | REFUSED | LIMITED | (TAKEN if _name == "the root" else frozenset()),
    )
_transport(
    "tombstones of exabytes",
    "huge claims",
    lambda folder, world: _grow(folder / "tombstones.txt", 1 << 40),
    NOT_A_LAYER | REFUSED | LIMITED,
)
_transport("a file of exabytes", "F18", lambda folder, world: _grow(folder / "Files/a", 1 << 40), REFUSED | LIMITED)
_transport("a hive of exabytes", "F18, sibling", lambda folder, world: _hive(folder, 1 << 40), REFUSED | LIMITED)


def _grow(file: Path, size: int) -> None:
    os.truncate(file, size)


def _hive(folder: Path, size: int) -> None:
    (folder / "Hives").mkdir(exist_ok=True)
    (folder / "Hives" / "System_Delta").write_bytes(b"")
    _grow(folder / "Hives" / "System_Delta", size)


def make_levels(top: Path, count: int) -> None:
    """Makes folders in each other, one at a time: their paths are longer than a path of the host may be."""
    fd = os.open(top, os.O_RDONLY | os.O_DIRECTORY)
    for _ in range(count):
        os.mkdir("d", dir_fd=fd)
        below = os.open("d", os.O_RDONLY | os.O_DIRECTORY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)


_transport("three hundred levels", "F14, sibling", lambda folder, world: make_levels(folder / "Files/d", 300), TAKEN)


@form("transport", "F29, sibling", TAKEN)
def two_names_of_a_canary(place: Path, world: World) -> None:
    """Hard links of the host to a file outside, whose attributes its first bytes are: it is read, and not written."""
    _folder(place)
    own = world.folder / "own"
    own.write_bytes(struct.pack("<I", 0x20))
    os.link(own, place / "Files" / "l1")
    os.link(own, place / "Files" / "l2")
    own.unlink()
