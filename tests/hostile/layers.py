"""Directories of finished layers that attack whoever reads them: their databases, files, chains and links."""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Callable
from pathlib import Path

import wclayer
from tests.hostile.forms import DAMAGED, LIMITED, TAKEN, UNSUPPORTED, World, add, form
from tests.hostile_layers import change, copy_of
from tests.support import archive, info, member, put_directories, put_file
from wclayer.layers.directory.writer import DirectoryLayerWriter
from wclayer.model import Entry
from wclayer.win32.reparse import LinkTarget

_SPECIAL = frozenset({8})
"""What all commands but `check` say where the folder is no layer that can be opened."""
CLIMBING = "../../../outside/secret.txt"
"""The canary, from `Files/dir` of a layer in a folder that has the folder `outside` beside it."""
_FILE = "UPDATE entries SET host_name = {} WHERE name = 'b.bin'"
_DIRECTORY = "UPDATE entries SET host_name = {} WHERE attributes & 16 AND name = {}"
ATTACKS = {
    "host name that climbs": (_FILE.format(f"'{CLIMBING}'"),),
    "host name from the root": (_FILE.format("'/../outside/secret.txt'"),),
    "host name in the pool that climbs": (_FILE.format(f"'/Data/0/{CLIMBING}'"),),
    "absolute host name": (_FILE.format("'/CANARY'"),),
    "host name of a directory that climbs": (
        _DIRECTORY.format("'../../../outside'", "'dir'"),
        _FILE.format("'secret.txt'"),
    ),
    "a root directory elsewhere": (
        _DIRECTORY.format("'../outside'", "'Files'"),
        _DIRECTORY.format("'.'", "'dir'"),
        _FILE.format("'secret.txt'"),
    ),
    "dots as a name": ("UPDATE entries SET name = '..', key = '..' WHERE attributes & 16 AND name = 'dir'",),
    "a name that climbs": (f"UPDATE entries SET name = '{CLIMBING}', key = '{CLIMBING.upper()}' WHERE name = 'b.bin'",),
    "a name with a backslash": (r"UPDATE entries SET name = '..\x', key = '..\X' WHERE name = 'b.bin'",),
    "a name as bytes": (f"UPDATE entries SET name = CAST('{CLIMBING}' AS BLOB) WHERE name = 'b.bin'",),
    "a file at the root": ("UPDATE entries SET parent = 0 WHERE name = 'b.bin'",),
}
"""What leads out of a layer: CANARY stands for the absolute path of the canary."""
COLUMNS: dict[str, list[object]] = {
    "attributes": [-1, 1 << 32, "x", 1.5, b"\x20"],
    "creation_time": [-1, -(1 << 63), "never", 1e300],
    "change_time": [-5, b""],
    "size": [-1, -2, 1.5],
    "sha256": [b"short", "text", 5],
    "origin": [4, -1],
    "streams": [-1, "x"],
    "security": [0, -1, 10**9, "x", b"x"],
    "parent": [-1, "x", 10**9],
    "link": [0, 10**9, "x"],
    "link_target": ["../x", "Files/../../x", b"\xff", 7, "elsewhere/x"],
    "spelling": ["../x", "Files/other", b"\xff", 7, "C:/x"],
    "host_name": ["a/b", ".", "..", "a\\b", "a\0b", 5, b"x", "/Data/0/x"],
    "name": ["", ".", "a/b", "a\0b", "a:b", 5, b"\xff", b"plain", "x" * 300],
    "key": ["lower", b"\xff", 5],
    "eas": ["text", 5, b"\xff" * 9],
    "reparse": ["text", 5, b"\xff" * 9],
    "form": ["text", 5],
}
"""Values of columns of `entries` that no layer has."""
OTHER_TABLES = [
    "UPDATE streams SET name = CAST(x'ff' AS TEXT)",
    "UPDATE streams SET name = 'a/b'",
    "UPDATE streams SET size = -1",
    "UPDATE streams SET size = 1000000000000",
    "UPDATE streams SET sha256 = 'text'",
    "UPDATE streams SET stream_id = -4",
    "DELETE FROM streams",
    "UPDATE stream_data SET data = 'text'",
    "UPDATE stream_data SET data = 5",
    "UPDATE stream_data SET sequence = 7",
    "DELETE FROM stream_data",
    "UPDATE security SET descriptor = 'text'",
    "UPDATE security SET descriptor = x'01' WHERE id = 1",
    "DELETE FROM security",
    "UPDATE tombstones SET path = 5",
    "UPDATE tombstones SET path = '../x', key = '../X'",
    "UPDATE tombstones SET key = 'FILES/ELSEWHERE'",
    "UPDATE tombstones SET key = CAST(x'ff' AS TEXT)",
    "UPDATE layer SET value = 1.5",
    "UPDATE layer SET value = x'00'",
    "INSERT OR REPLACE INTO layer VALUES ('hive_problems', 5)",
]
"""Rows of the other tables that no layer has; those of `layer` are no damage that `check` must tell."""
SCHEMAS = [
    "CREATE TRIGGER t AFTER INSERT ON entries BEGIN DELETE FROM entries; END",
    "CREATE TABLE more (x)",
    "DROP TABLE tombstones",
    "CREATE INDEX i ON entries (name)",
]
"""What makes another schema of it."""


def attack(layer: Path, statements: tuple[str, ...], secret: Path) -> None:
    """Makes the row of a file one of the canary: its size and digest agree, so nothing but its place is wrong."""
    data = secret.read_bytes()
    change(
        layer,
        (
            "UPDATE entries SET size = ?, sha256 = ? WHERE name = 'b.bin'",
            (len(data), hashlib.sha256(data).digest()),
        ),
        *(statement.replace("CANARY", str(secret)) for statement in statements),
    )


Tamper = Callable[[Path, World], object]
"""Changes the copy of a layer; what it gives is of no use."""


def _layer(
    name: str,
    finding: str,
    tamper: Tamper,
    outcome: frozenset[int] = DAMAGED,
    *,
    more: frozenset[int] = frozenset(),
    which: tuple[str, ...] = ("base",),
) -> None:
    """Registers a tampered copy of the base layer, or of each of several layers."""
    for kind in which:

        def build(place: Path, world: World, kind: str = kind) -> None:
            tamper(copy_of(getattr(world.layers, kind), place), world)

        of_kind = "scratch" if kind == "scratch" else "layer"
        shown = name if len(which) == 1 else f"{name} in a {kind}"
        add(of_kind, shown, finding, outcome, build, more=more)


def _sql(*statements: str) -> Tamper:
    return lambda layer, world: change(layer, *statements)


_EVERY = ("base", "child", "scratch")
_layer("untouched", "a sound layer", lambda layer, world: None, TAKEN, which=_EVERY)
for _name, _statements in ATTACKS.items():
    _layer(
        _name,
        "F3",
        lambda layer, world, statements=_statements: attack(layer, statements, world.secret),  # type: ignore[misc]
        which=_EVERY,
    )
for _column, _values in COLUMNS.items():
    for _number, _value in enumerate(_values):
        _layer(
            f"column {_column} {_number}",
            "F5",
            lambda layer, world, column=_column, value=_value: change(  # type: ignore[misc]
                layer, (f"UPDATE OR REPLACE entries SET {column} = ? WHERE name = 'b.bin'", (value,))
            ),
            DAMAGED,
            # Of a scratch, a size of -1 says that the file is being written to.
            which=("base", "scratch") if _number == 0 and _column != "size" else ("base",),
        )
for _number, _statement in enumerate(OTHER_TABLES):
    _layer(
        f"other table {_number}",
        "F5, sibling",
        _sql(_statement),
        DAMAGED if "layer" not in _statement.split()[:5] else DAMAGED | TAKEN,
        which=("child",),
    )
for _number, _statement in enumerate(SCHEMAS):
    _layer(f"another schema {_number}", "F5, sibling", _sql(_statement), which=("base", "scratch"))

_ENDLESS = "WITH RECURSIVE e(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM e)"
_COLUMNS = ", ".join(f"1 AS {name}" for name in ("id", "parent", "name", "key", "attributes", "size"))
_layer(
    "an endless view",
    "F5",
    _sql("ALTER TABLE entries RENAME TO kept", f"CREATE VIEW entries AS {_ENDLESS} SELECT {_COLUMNS} FROM e"),
    which=("base", "scratch"),
)
_layer(
    "a virtual table",
    "F5, sibling",
    _sql("DROP TABLE tombstones", "CREATE VIRTUAL TABLE tombstones USING fts5(id, path, key, form)"),
)
_layer(
    "a generated column",
    "F5, sibling",
    _sql(
        "DROP TABLE tombstones",
        "CREATE TABLE tombstones (id INTEGER PRIMARY KEY, path NOT NULL, key NOT NULL, form"
        " BLOB AS (hex(zeroblob(1000000000))))",
    ),
)
_layer(
    "a default that is an expression",
    "F5, sibling",
    _sql(
        "DROP TABLE tombstones",
        "CREATE TABLE tombstones (id INTEGER PRIMARY KEY, path NOT NULL DEFAULT"
        " (load_extension('/x')), key NOT NULL, form BLOB)",
    ),
)
_layer(
    "a check that is an expression",
    "F5, sibling",
    _sql("DROP TABLE layer", "CREATE TABLE layer (key TEXT PRIMARY KEY, value CHECK (value < 10)) WITHOUT ROWID"),
)
_layer(
    "a collation that is not there",
    "F5, sibling",
    lambda layer, world: _write_schema(
        layer, "UPDATE sqlite_master SET sql = replace(sql, 'name NOT NULL', 'name NOT NULL COLLATE nobody')"
    ),
)
_layer(
    "a schema that does not parse",
    "F5, sibling",
    lambda layer, world: _write_schema(
        layer, "UPDATE sqlite_master SET sql = 'CREATE TABLE entries (' WHERE name = 'entries'"
    ),
)
_layer(
    "a table whose root is another's",
    "F5, sibling",
    lambda layer, world: _write_schema(
        layer,
        "UPDATE sqlite_master SET rootpage = (SELECT rootpage FROM sqlite_master WHERE name = 'security')"
        " WHERE name = 'tombstones'",
    ),
)
_layer(
    "a table whose root is the schema",
    "F5, sibling",
    lambda layer, world: _write_schema(layer, "UPDATE sqlite_master SET rootpage = 1 WHERE name = 'tombstones'"),
)
_layer(
    "a table whose root is beyond the end",
    "F5, sibling",
    lambda layer, world: _write_schema(layer, "UPDATE sqlite_master SET rootpage = 2147483647 WHERE name = 'entries'"),
)


def _write_schema(layer: Path, statement: str) -> None:
    change(layer, "PRAGMA writable_schema = ON", statement, "PRAGMA writable_schema = RESET")


def _write_at(offset: int, data: bytes) -> Tamper:
    """Changes bytes of the database's header (SQLite's file format, section 1.3)."""

    def tamper(layer: Path, world: World) -> None:
        with (layer / "layer.db").open("r+b") as file:
            file.seek(offset)
            file.write(data)

    return tamper


for _name, _offset, _bytes in (
    ("another mark", 0, b"SQLite format 4\0"),
    ("a page of one byte", 16, b"\0\1"),
    ("a page of 0 bytes", 16, b"\0\0"),
    ("a page of 64 KiB", 16, b"\0\1"),
    ("a version of the future", 18, b"\x09\x09"),
    ("all of a page reserved", 20, b"\xff"),
    ("four billion pages", 28, b"\xff" * 4),
    ("a free list beyond the end", 32, b"\x7f\xff\xff\xff\0\0\0\1"),
    ("a schema format of the future", 44, b"\0\0\0\x7f"),
    ("UTF-16", 56, b"\0\0\0\2"),
    ("another user version", 60, b"\0\0\0\7"),
    ("another application", 68, b"abcd"),
    ("a write-ahead log that is not there", 18, b"\2\2"),
    ("a root page that is an index", 100, b"\x0a"),
    ("a root page of four billion cells", 103, b"\xff\xff"),
):
    _outcome = (
        DAMAGED
        if _name not in ("a free list beyond the end", "a write-ahead log that is not there")
        else TAKEN | DAMAGED
    )
    if _name == "another user version":
        # A schema of the future.
        _outcome = UNSUPPORTED
    _layer(
        f"header {_name}", "F36", _write_at(_offset, _bytes), _outcome | (TAKEN if _offset in (28, 44) else frozenset())
    )
_layer("a database that ends early", "F36", lambda layer, world: os.truncate(layer / "layer.db", 9000))
_layer("a database of nothing", "F24", lambda layer, world: os.truncate(layer / "layer.db", 0))
_layer(
    "a database of exabytes",
    "huge claims",
    lambda layer, world: os.truncate(layer / "layer.db", _largest(layer)),
    TAKEN | DAMAGED,
)


def _largest(folder: Path) -> int:
    """The largest size that a file of the host's can have in that folder, in whole pages."""
    largest = (1 << 63) - 1
    with (folder / "probe").open("wb") as file:
        while largest:
            try:
                file.truncate(largest & ~4095)
                break
            except OSError:
                largest >>= 1
    (folder / "probe").unlink()
    return largest & ~4095


# Rows that are sound one by one, and claim too much together.

_layer(
    "a file of 2 to the 62 bytes",
    "F18, sibling",
    _sql("UPDATE entries SET size = 4611686018427387904 WHERE name = 'b.bin'"),
    which=("base", "scratch"),
)
_layer(
    "a file of 2 to the 40 bytes that is a hole",
    "F18, sibling",
    lambda layer, world: _hole(layer, 1 << 40),
    more=frozenset({7, 15}),
)
_layer("a stream of 2 to the 62 bytes", "F18, sibling", _sql("UPDATE streams SET size = 4611686018427387904"))
_layer("a count of streams", "huge claims", _sql("UPDATE entries SET streams = 9223372036854775807"), DAMAGED | TAKEN)
_layer(
    "directories below each other",
    "loops",
    _sql("UPDATE entries SET parent = (SELECT id FROM entries WHERE name = 'deep') WHERE name = 'dir'"),
)
_layer("a directory below itself", "loops", _sql("UPDATE entries SET parent = id WHERE name = 'dir'"), which=_EVERY)
_layer(
    "a link to itself", "loops", _sql("UPDATE entries SET link = id WHERE name = 'b.bin'"), which=("base", "scratch")
)
_layer(
    "links to each other",
    "loops",
    _sql(
        "UPDATE entries SET link = (SELECT id FROM entries WHERE name = 'a.txt') WHERE name = 'b.bin'",
        "UPDATE entries SET link = (SELECT id FROM entries WHERE name = 'b.bin') WHERE name = 'a.txt'",
    ),
)
_layer(
    "a link to a directory",
    "hard links to directories",
    _sql("UPDATE entries SET link = (SELECT id FROM entries WHERE name = 'dir') WHERE name = 'b.bin'"),
)
_layer(
    "a file that is a directory",
    "kinds",
    _sql("UPDATE entries SET attributes = 16, size = 0, sha256 = NULL WHERE name = 'b.bin'"),
)
_layer(
    "a directory that is a file", "kinds", _sql("UPDATE entries SET attributes = 32 WHERE name = 'dir'"), which=_EVERY
)
_layer(
    "names that differ in case",
    "case collisions",
    _sql("UPDATE entries SET name = 'B.bin', key = 'b.BIN' WHERE name = 'b.bin'"),
)
_layer("a key of another name", "case collisions", _sql("UPDATE entries SET key = 'OTHER' WHERE name = 'b.bin'"))
_layer("no roots", "loops", _sql("UPDATE entries SET parent = 77 WHERE parent = 0"))
_layer("no entries", "kinds", _sql("DELETE FROM entries"))
_layer(
    "the largest id",
    "huge claims",
    _sql("UPDATE entries SET id = 9223372036854775807 WHERE name = 'empty'"),
    TAKEN | DAMAGED,
    which=("base", "scratch"),
)
_layer(
    "names that command a terminal",
    "names",
    _sql(
        "UPDATE entries SET name = char(27) || ']0;x' || char(7), key = char(27) || ']0;X' || char(7)"
        " WHERE name = 'a.txt'"
    ),
)
_layer("a mount record of a finished layer", "F28", _sql("INSERT INTO layer VALUES ('mount', '/')"), TAKEN | DAMAGED)


def _hole(layer: Path, size: int) -> None:
    os.truncate(layer / "Files/dir/b.bin", size)
    change(layer, ("UPDATE entries SET size = ? WHERE name = 'b.bin'", (size,)))


@form("layer", "F35", TAKEN | DAMAGED)
def times_out_of_range(place: Path, world: World) -> None:
    largest = (1 << 63) - 1
    change(
        copy_of(world.layers.base, place),
        *(
            f"UPDATE entries SET {column} = {largest}"
            for column in ("creation_time", "last_access_time", "last_write_time", "change_time")
        ),
    )


@form("layer", "F21, sibling", TAKEN)
def three_hundred_names_of_each_of_three_files(place: Path, world: World) -> None:
    members = [member(b"Files", kind=b"5"), member(b"Files/dir", kind=b"5")]
    for file in range(3):
        members.append(member(b"Files/dir/%d" % file, b"x"))
        members += [member(b"Files/dir/%d-%d" % (file, n), kind=b"1", link=b"Files/dir/%d" % file) for n in range(300)]
    wclayer.import_layer_from_tar(io.BytesIO(archive(*members)), place)


@form("layer", "F2", TAKEN)
def links_out(place: Path, world: World) -> None:
    outside = str(world.outside)
    with DirectoryLayerWriter(place) as writer:
        put_directories(writer, "Files", "Files/dir")
        put_file(writer, "Files/a.txt", b"a")
        for number, target in enumerate(
            ("..\\" * 40 + outside[1:].replace("/", "\\"), "C:\\..\\..\\" + outside, "\\\\server\\share", "..", "l0\\x")
        ):
            data = LinkTarget.from_path(target, is_mount_point=False).encode()
            writer.put(Entry(f"Files/dir/l{number}", info(0x400), reparse=data))
            writer.put(Entry(f"Files/dir/p{number}", info(0x410), reparse=LinkTarget(target, "", 0, True).encode()))


# What lies in the place of a file or folder of the layer.

_PLACES = ("layer.db", "layerchain.json", "Files", "Files/dir", "Files/dir/b.bin", "Hives")


def put_special(place: Path, kind: str, world: World) -> None:
    """Puts something where a file or folder was, or was not."""
    if os.path.lexists(place):
        os.rename(place, place.parent / (place.name + ".was"))
        if place.parent.name in ("dir", "Files"):
            os.rename(place.parent / (place.name + ".was"), world.folder / f"{len(os.listdir(world.folder))}.was")
    match kind:
        case "FIFO":
            os.mkfifo(place)
        case "directory":
            place.mkdir()
        case "link to a canary":
            place.symlink_to(world.secret)
        case "link to a folder of canaries":
            place.symlink_to(world.outside)
        case "link to zeros":
            place.symlink_to("/dev/zero")
        case "link to itself":
            place.symlink_to(place.name)
        case "link to a FIFO":
            place.symlink_to(world.outside / "fifo")
        case "hard link to a canary":
            os.link(world.secret, place)
        case "socket":
            put_socket(place)
        case "device":
            os.mknod(place, 0o020666, os.makedev(1, 5))
        case "empty file":
            place.write_bytes(b"")
        case _:
            raise ValueError(kind)


def put_socket(place: Path) -> None:
    """Makes a socket, whose whole path may be longer than one can be bound to."""
    os.mknod(place, 0o140666)


SPECIAL = (
    "FIFO",
    "directory",
    "link to a canary",
    "link to a folder of canaries",
    "link to zeros",
    "link to itself",
    "link to a FIFO",
    "hard link to a canary",
    "socket",
    "device",
    "empty file",
)


def _special(path: str, kind: str) -> Tamper:
    return lambda layer, world: put_special(layer / path, kind, world)


for _path in _PLACES:
    for _kind in SPECIAL:
        if (_path, _kind) == ("Hives", "directory"):
            continue
        _layer(
            f"{_path} is a {_kind}",
            "F4" if "json" in _path else "F3, sibling",
            _special(_path, _kind),
            DAMAGED | frozenset({4}) if _path == "layer.db" else DAMAGED,
        )
for _suffix in ("-wal", "-shm", "-journal"):
    for _kind in ("FIFO", "link to a canary", "directory", "device"):
        _layer(f"layer.db{_suffix} is a {_kind}", "F3, sibling", _special(f"layer.db{_suffix}", _kind), TAKEN | DAMAGED)


@form("layer", "the journal of another", TAKEN | DAMAGED)
def a_journal_that_names_a_file_of_the_host(place: Path, world: World) -> None:
    copy_of(world.layers.base, place)
    put_journal(place, world.secret)


def put_journal(layer: Path, secret: Path) -> None:
    """A hot journal that ends with the name of the journal above it, which SQLite removes once it has played this
    back."""
    name = str(secret).encode()
    checksum = sum(byte if byte < 128 else byte - 256 for byte in name) & 0xFFFFFFFF
    magic = bytes.fromhex("d9d505f920a163d7")
    page, pages = 4096, (layer / "layer.db").stat().st_size // 4096
    header = magic + b"".join(number.to_bytes(4, "big") for number in (0, 0, pages, 512, page))
    lock_page = ((1 << 30) // page + 1).to_bytes(4, "big")
    above = lock_page + name + len(name).to_bytes(4, "big") + checksum.to_bytes(4, "big") + magic
    (layer / "layer.db-journal").write_bytes(header.ljust(512, b"\0") + above)


# Chains.


CHAINS: dict[str, bytes] = {
    "deep": b"[" * 100_000,
    "deep objects": b'{"a":' * 100_000,
    "an object": b'{"a": 1}',
    "a number in it": b"[1]",
    "not UTF-8": b"\xff\xfe",
    "relative": b'["relative/path"]',
    "with NUL": b'["/a\\u0000b"]',
    "twice": b'["/a", "/a"]',
    "twice by another path": b'["/a", "/b/../a"]',
    "an unpaired surrogate": b'["/\\ud800"]',
    "a number of a million digits": b"[" + b"9" * 1_000_000 + b"]",
    "NaN": b"[NaN]",
    "UTF-16": '["/no/such/layer"]'.encode("utf-16"),
    "a mark before it": b'\xef\xbb\xbf["/no/such/layer"]',
    "two documents": b'["/a"]["/b"]',
    "a share": b'["\\\\\\\\server\\\\share"]',
    "a device": b'["/dev/zero"]',
    "a long path": b'["/' + b"x" * 5000 + b'"]',
    "a long path of short names": b'["' + b"/x" * 3000 + b'"]',
    "an empty path": b'[""]',
    "the root": b'["/"]',
}
_CHAIN_TAKEN = (
    "UTF-16",
    "a share",
    "a device",
    "a long path",
    "a long path of short names",
    "the root",
    "a mark before it",
)
for _name, _bytes in CHAINS.items():
    _layer(
        f"chain {_name}",
        "F4",
        lambda layer, world, data=_bytes: (layer / "layerchain.json").write_bytes(data),  # type: ignore[misc]
        DAMAGED | (TAKEN if _name == "the root" else frozenset()),
        more=frozenset({2, 4}) if _name in _CHAIN_TAKEN else frozenset(),
    )
_layer("chain of nothing", "F24", lambda layer, world: (layer / "layerchain.json").write_bytes(b""))
_layer(
    "chain itself", "F4", lambda layer, world: (layer / "layerchain.json").write_text(json.dumps([str(layer)])) and None
)
_layer("chain through a link to itself", "F4", lambda layer, world: _through_a_link(layer))
_layer(
    "chain of 100,000 parents",
    "F4",
    lambda layer, world: (layer / "layerchain.json").write_text(json.dumps([f"/{n}" for n in range(90_000)])),
    DAMAGED | LIMITED,
)
_layer(
    "chain of exabytes",
    "F4",
    lambda layer, world: (
        os.truncate(layer / "layerchain.json", _largest(layer))
        if (layer / "layerchain.json").exists()
        else _sparse(layer / "layerchain.json", _largest(layer))
    ),
    DAMAGED | LIMITED,
)
_layer(
    "chain outside",
    "F4, sibling",
    lambda layer, world: (layer / "layerchain.json").write_text(json.dumps([str(world.outside)])),
    DAMAGED | TAKEN,
    more=frozenset({2, 4}),
)
_layer(
    "chain a file",
    "F4, sibling",
    lambda layer, world: (layer / "layerchain.json").write_text(json.dumps([str(world.secret)])),
    more=frozenset({2, 4}),
)


def _sparse(place: Path, size: int) -> None:
    with place.open("wb") as file:
        file.truncate(size)


def _through_a_link(layer: Path) -> None:
    link = layer.parent / f"{layer.name}-link"
    # Below the layer, so that it goes with it.
    link = layer / "to-itself"
    link.symlink_to(layer)
    (layer / "layerchain.json").write_text(json.dumps([str(link)]))


# Layers with parents of their own.


def _family(name: str, finding: str, build: Tamper, *, more: frozenset[int] = frozenset()) -> None:
    def whole(place: Path, world: World) -> None:
        place.mkdir()
        copy_of(world.layers.child, place / "top")
        copy_of(world.layers.base, place / "base")
        (place / "top" / "layerchain.json").write_text(json.dumps([str(place / "base")]))
        build(place, world)

    add("parent", name, finding, DAMAGED | TAKEN, whole, more=more)


def _of_base(tamper: Tamper) -> Tamper:
    return lambda place, world: tamper(place / "base", world)


_family(
    "each other's parents",
    "F4",
    lambda place, world: (place / "base/layerchain.json").write_text(json.dumps([str(place / "top")])),
)
for _name, _statements in ATTACKS.items():
    _family(_name, "F29", _of_base(lambda layer, world, s=_statements: attack(layer, s, world.secret)))  # type: ignore[misc]
for _path in ("Files", "Files/dir", "Files/a.txt", "layer.db"):
    for _kind in ("FIFO", "link to a canary", "link to a folder of canaries", "directory", "link to itself"):
        _family(
            f"{_path} of a parent is a {_kind}",
            "F29, sibling",
            _of_base(_special(_path, _kind)),
            more=frozenset({4}) if _path == "layer.db" else frozenset(),
        )
_family(
    "a parent that is gone",
    "kinds",
    lambda place, world: os.rename(place / "base", place / "elsewhere"),
    more=frozenset({2}),
)


def _instead(put: Tamper) -> Tamper:
    """Puts something in the place of the base layer, which goes elsewhere."""

    def tamper(place: Path, world: World) -> None:
        os.rename(place / "base", place / "elsewhere")
        put(place / "base", world)

    return tamper


_family("a parent that is a link", "kinds", _instead(lambda base, world: os.symlink("elsewhere", base)))
_family("a parent that is a FIFO", "kinds", _instead(lambda base, world: os.mkfifo(base)), more=frozenset({4}))
_family(
    "a parent that is a scratch",
    "kinds",
    _instead(lambda base, world: copy_of(world.layers.scratch, base)),
    more=frozenset({5}),
)
_family("three hundred parents", "F4", lambda place, world: _many_parents(place, 300), more=LIMITED)
_family("two hundred parents", "F4", lambda place, world: _many_parents(place, 200))


def _many_parents(place: Path, count: int) -> None:
    """Layers of a few rows, each with its own folder."""
    names = [f"p{number}" for number in range(count)]
    with DirectoryLayerWriter(place / "p") as writer:
        put_directories(writer, "Files")
    for name in names:
        copy_of(place / "p", place / name)
    (place / "top" / "layerchain.json").write_text(json.dumps([str(place / name) for name in [*names, "base"]]))
