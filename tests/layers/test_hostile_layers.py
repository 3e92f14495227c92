"""Layer directories from elsewhere: whatever their databases and files say, nothing outside of them is touched, every
verb ends, and its error is one of the family."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import random
import re
import sys
import tracemalloc
from pathlib import Path

import pytest

import wclayer
from tests import hostile_layers
from tests.hostile_layers import Canary, Layers, change, copy_of, use
from tests.support import directory, info
from wclayer.errors import CorruptLayerError, LayerError, LimitExceededError, NotALayerError
from wclayer.host.root import HostRoot, PathError
from wclayer.layers.directory import DirectoryLayerWriter, LayerDirectory
from wclayer.layers.directory.chain_file import read_chain
from wclayer.layers.directory.check import check_layer
from wclayer.layers.directory.scratch import ScratchDirectory
from wclayer.model import Entry

needs_posix = pytest.mark.skipif(sys.platform == "win32", reason="links and FIFOs of POSIX")


@pytest.fixture(scope="module")
def layers(tmp_path_factory: pytest.TempPathFactory) -> Layers:
    return hostile_layers.make_layers(tmp_path_factory.mktemp("layers"))


@pytest.fixture
def canary(tmp_path: Path) -> Canary:
    return Canary(tmp_path / "outside")


def _use_all(layer: Path, layers: Layers, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    commands: list[list[str]] = [*hostile_layers.reading_verbs(layer, layers.base, out)]
    with_scratch = (layer / "sandbox.vhdx").is_file()
    if with_scratch:
        commands += hostile_layers.changing_verbs(layer)
    assert use(iter(commands)) == []
    assert not [path for path in tmp_path.rglob("*") if path.name.endswith((".partial", ".gone"))]


@pytest.mark.parametrize("kind", Layers._fields)
@pytest.mark.parametrize("part", range(2))
def test_every_verb_ends_well_on_a_database_with_some_damaged_bytes(
    layers: Layers, tmp_path: Path, kind: str, part: int
) -> None:
    for seed in range(10):
        folder = tmp_path / str(seed)
        folder.mkdir()
        layer = copy_of(getattr(layers, kind), folder / "layer")
        hostile_layers.damage(layer, random.Random(seed * 100 + part))
        _use_all(layer, layers, folder)


# What leads out of a layer.

OUT = "../../../outside/canary"
"""The canary, from `Files/dir` of a layer beside its folder."""
_FILE = "UPDATE entries SET host_name = {} WHERE name = 'b.bin'"
_DIRECTORY = "UPDATE entries SET host_name = {} WHERE attributes & 16 AND name = {}"
ATTACKS = {
    "host name that climbs": (_FILE.format(f"'{OUT}'"),),
    "host name from the root": (_FILE.format("'/../outside/canary'"),),
    "host name in the pool that climbs": (_FILE.format(f"'/Data/0/{OUT}'"),),
    "absolute host name": (_FILE.format("'/CANARY'"),),
    "host name of a directory that climbs": (
        _DIRECTORY.format("'../../../outside'", "'dir'"), _FILE.format("'canary'"),
    ),
    "a root directory elsewhere": (
        _DIRECTORY.format("'../outside'", "'Files'"), _DIRECTORY.format("'.'", "'dir'"), _FILE.format("'canary'"),
    ),
    "dots as a name": ("UPDATE entries SET name = '..', key = '..' WHERE attributes & 16 AND name = 'dir'",),
    "a name that climbs": (f"UPDATE entries SET name = '{OUT}', key = '{OUT.upper()}' WHERE name = 'b.bin'",),
    "a name with a backslash": (r"UPDATE entries SET name = '..\x', key = '..\X' WHERE name = 'b.bin'",),
    "a name as bytes": (f"UPDATE entries SET name = CAST('{OUT}' AS BLOB) WHERE name = 'b.bin'",),
    "a file at the root": ("UPDATE entries SET parent = 0 WHERE name = 'b.bin'",),
}  # fmt: skip


def _attack(layer: Path, attack: tuple[str, ...], canary: Canary) -> None:
    """Makes the row of a file one of the canary: its size and digest agree, so nothing but its place is wrong."""
    data = canary.file.read_bytes()
    change(
        layer,
        (
            "UPDATE entries SET size = ?, sha256 = ? WHERE name = 'b.bin'",
            (len(data), hashlib.sha256(data).digest()),
        ),
        *(statement.replace("CANARY", str(canary.file)) for statement in attack),
    )


@pytest.mark.parametrize("kind", Layers._fields)
@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_nothing_outside_of_a_layer_is_touched(
    layers: Layers, canary: Canary, tmp_path: Path, kind: str, attack: tuple[str, ...]
) -> None:
    layer = copy_of(getattr(layers, kind), tmp_path / "layer")
    _attack(layer, attack, canary)
    _use_all(layer, layers, tmp_path)
    canary.assert_untouched()
    canary.assert_unread(tmp_path / "out", layer / "Files")
    assert list(check_layer(layer))


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_no_file_outside_becomes_part_of_a_child(
    layers: Layers, canary: Canary, tmp_path: Path, attack: tuple[str, ...]
) -> None:
    parent, made = copy_of(layers.base, tmp_path / "parent"), tmp_path / "child"
    _attack(parent, attack, canary)
    with contextlib.suppress(LayerError), DirectoryLayerWriter(made, [parent]) as writer:
        writer.put(directory("Files"))
        writer.put(Entry("Files/stolen", info(), link_target="Files/dir/b.bin"))
        # While the link stands, if one was made: what is discarded later would hide it.
        canary.assert_untouched()
    canary.assert_untouched()
    if made.exists():
        canary.assert_unread(made)


@needs_posix
@pytest.mark.parametrize("place", ["Files/dir/b.bin", "Files/dir", "Files"])
def test_a_link_in_a_layer_is_not_followed(layers: Layers, canary: Canary, tmp_path: Path, place: str) -> None:
    layer = copy_of(layers.base, tmp_path / "layer")
    os.rename(layer / place, tmp_path / "was")
    (layer / place).symlink_to(canary.file if place.endswith("bin") else canary.folder)
    _use_all(layer, layers, tmp_path)
    canary.assert_untouched()
    canary.assert_unread(tmp_path / "out")
    assert list(check_layer(layer))


@needs_posix
@pytest.mark.parametrize("make", [lambda path: os.mkfifo(path), os.mkdir, lambda path: os.symlink("/dev/zero", path)],
                         ids=["FIFO", "directory", "link"])  # fmt: skip
@pytest.mark.parametrize(
    "name", ["layer.db", "layer.db-wal", "layer.db-shm", "layer.db-journal", "layerchain.json", "scratch.open", "Data"]
)
def test_what_is_no_file_in_the_place_of_one_hangs_nobody(
    layers: Layers, tmp_path: Path, name: str, make: object
) -> None:
    layer = copy_of(layers.scratch, tmp_path / "layer")
    if (layer / name).exists():
        os.rename(layer / name, tmp_path / "was")
    make(layer / name)  # type: ignore[operator]
    _use_all(layer, layers, tmp_path)


def test_the_journal_that_names_a_file_of_the_host_removes_nothing(
    layers: Layers, canary: Canary, tmp_path: Path
) -> None:
    layer = copy_of(layers.scratch, tmp_path / "layer")
    # A hot journal that ends with the name of the journal above it, which SQLite removes once it has played this back.
    name = str(canary.file).encode()
    checksum = sum(byte if byte < 128 else byte - 256 for byte in name) & 0xFFFFFFFF
    magic = bytes.fromhex("d9d505f920a163d7")
    page, pages = 4096, (layer / "layer.db").stat().st_size // 4096
    header = magic + b"".join(number.to_bytes(4, "big") for number in (0, 0, pages, 512, page))
    lock_page = ((1 << 30) // page + 1).to_bytes(4, "big")
    above = lock_page + name + len(name).to_bytes(4, "big") + checksum.to_bytes(4, "big") + magic
    (layer / "layer.db-journal").write_bytes(header.ljust(512, b"\0") + above)
    _use_all(layer, layers, tmp_path)
    canary.assert_untouched()


# What does not end, or takes everything.


@pytest.mark.parametrize(
    "sql",
    [
        "WITH RECURSIVE e(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM e) SELECT n AS id, 0 AS parent, 'x' AS name",
        None,
    ],
)
def test_a_view_in_the_place_of_a_table_is_refused(layers: Layers, tmp_path: Path, sql: str | None) -> None:
    layer = copy_of(layers.base, tmp_path / "layer")
    columns = ", ".join(f"1 AS {name}" for name in ("id", "parent", "name", "key", "attributes", "size"))
    endless = "WITH RECURSIVE e(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM e)"
    change(
        layer,
        "ALTER TABLE entries RENAME TO real_entries",
        f"CREATE VIEW entries AS {endless} SELECT {columns} FROM e" if sql else "CREATE VIEW entries AS SELECT 1 AS id",
    )
    with pytest.raises(CorruptLayerError, match="entries"):
        LayerDirectory(layer)
    _use_all(layer, layers, tmp_path)


@pytest.mark.parametrize("sql", [
    "CREATE TRIGGER t AFTER INSERT ON entries BEGIN DELETE FROM entries; END",
    "CREATE TABLE more (x)",
    "DROP TABLE tombstones",
    "CREATE INDEX i ON entries (name)",
])  # fmt: skip
def test_another_schema_is_refused(layers: Layers, tmp_path: Path, sql: str) -> None:
    layer = copy_of(layers.base, tmp_path / "layer")
    change(layer, sql)
    with pytest.raises(CorruptLayerError, match=r"layer\.db: (trigger|table|index) '"):
        LayerDirectory(layer)


def test_an_index_that_puts_a_directory_below_itself_does_not_make_a_walk_endless(
    layers: Layers, tmp_path: Path
) -> None:
    layer = copy_of(layers.base, tmp_path / "layer")
    with LayerDirectory(layer) as opened:
        files = opened.lookup("Files")
        below = opened.lookup("Files/dir")
    assert files is not None
    assert below is not None
    data = (layer / "layer.db").read_bytes()
    # The index's record of "DIR" now says that it stands for the directory above.
    record = re.compile(rb"\x04([\x08\x09\x01])\x13\x01(\x01?)DIR(.)", re.DOTALL)
    assert record.search(data)
    (layer / "layer.db").write_bytes(record.sub(lambda found: found.group()[:-1] + bytes([files.id]), data))
    with LayerDirectory(layer) as opened, pytest.raises(CorruptLayerError, match="index"):
        list(opened.walk(opened.root()))


def test_directories_below_each_other_are_found_and_bounded(layers: Layers, tmp_path: Path) -> None:
    layer = copy_of(layers.base, tmp_path / "layer")
    change(layer, "UPDATE entries SET parent = (SELECT id FROM entries WHERE name = 'deep') WHERE name = 'dir'")
    assert any("below itself" in problem.text for problem in check_layer(layer))
    _use_all(layer, layers, tmp_path)


# What columns may hold.


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
}  # fmt: skip


@pytest.mark.parametrize(("column", "value"), [(column, value) for column in COLUMNS for value in COLUMNS[column]])
def test_a_column_that_no_layer_has_is_told_by_entry_and_name(
    layers: Layers, tmp_path: Path, column: str, value: object
) -> None:
    layer = copy_of(layers.base, tmp_path / "layer")
    with LayerDirectory(layer) as opened:
        row = opened.lookup("Files/dir/b.bin")
    assert row is not None
    change(layer, ("UPDATE OR REPLACE entries SET " + column + " = ? WHERE id = ?", (value, row.id)))
    problems = list(check_layer(layer))
    assert any(str(row.id) in problem.path or "b.bin" in problem.path for problem in problems), problems
    assert use(hostile_layers.looking_verbs(layer)) == []


@pytest.mark.parametrize(("column", "value"), [("origin", 4), ("eas", b"\xff" * 9), ("reparse", b"\xff" * 9)])
def test_a_row_that_no_layer_has_is_not_left_out_of_an_export(
    layers: Layers, tmp_path: Path, column: str, value: object
) -> None:
    layer = copy_of(layers.base, tmp_path / "layer")
    change(layer, (f"UPDATE entries SET {column} = ? WHERE name = 'b.bin'", (value,)))
    with pytest.raises(CorruptLayerError, match="entry"):
        wclayer.export_layer_to_tar(io.BytesIO(), layer)


@pytest.mark.parametrize("sql", [
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
])  # fmt: skip
def test_other_tables_are_checked_too(layers: Layers, tmp_path: Path, sql: str) -> None:
    layer = copy_of(layers.child, tmp_path / "layer")
    change(layer, sql)
    assert use(hostile_layers.looking_verbs(layer)) == []
    if "layer SET" not in sql:
        assert list(check_layer(layer))


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("UPDATE entries SET form = x'07' WHERE name = 'new'", "Files/new: unknown kind of tar form"),
        ("UPDATE streams SET form = x'0001'", "Files/new: tar form does not fit its entry"),
        ("UPDATE tombstones SET form = x''", "Files/dir/deep: unknown kind of tar form"),
        ("INSERT INTO layer VALUES ('trailer_form', x'00')", "layer.db: tar form does not fit its entry"),
        ("INSERT INTO tombstones SELECT id + 100, path, key, form FROM tombstones", "Files/dir/deep: .*duplicate"),
        ("UPDATE entries SET id = 100 WHERE name = 'dir'; UPDATE entries SET parent = 100 WHERE name = 'b.bin'",
         "its parent directory was not there before it"),
    ],
)  # fmt: skip
def test_check_tells_what_an_export_would_stumble_over(layers: Layers, tmp_path: Path, sql: str, said: str) -> None:
    layer = copy_of(layers.child, tmp_path / "layer")
    assert list(check_layer(layer)) == []
    change(layer, *sql.split(";"))
    assert re.search(said, "\n".join(f"{problem.path}: {problem.text}" for problem in check_layer(layer)))


def test_a_check_goes_on_after_a_row_that_is_damaged(layers: Layers, tmp_path: Path) -> None:
    layer = copy_of(layers.base, tmp_path / "layer")
    change(
        layer,
        "UPDATE entries SET attributes = -1 WHERE name = 'a.txt'",
        "UPDATE entries SET size = 7 WHERE name = 'b.bin'",
    )
    (layer / "Files" / "stranger").write_bytes(b"")
    texts = [f"{problem.path}: {problem.text}" for problem in check_layer(layer)]
    assert any("attributes" in text for text in texts)
    assert any("b.bin" in text and "7 by its record" in text for text in texts)
    assert any("stranger" in text for text in texts)


# layerchain.json.


@pytest.mark.parametrize(
    "chain",
    [
        b"[" * 100_000,
        b'{"a": 1}',
        b"[1]",
        b"\xff\xfe",
        json.dumps(["relative/path"]).encode(),
        json.dumps(["/a\0b"]).encode(),
        json.dumps(["/a", "/a"]).encode(),
        json.dumps(["/a", "/b/../a"]).encode(),
    ],
)
def test_a_chain_that_is_none_is_refused(layers: Layers, tmp_path: Path, chain: bytes) -> None:
    layer = copy_of(layers.base, tmp_path / "layer")
    (layer / "layerchain.json").write_bytes(chain)
    with pytest.raises(CorruptLayerError, match=r"layerchain\.json"):
        read_chain(layer)
    assert any(problem.path == "layerchain.json" for problem in check_layer(layer))
    _use_all(layer, layers, tmp_path)


def test_a_layer_is_not_its_own_parent(layers: Layers, tmp_path: Path) -> None:
    layer, other = copy_of(layers.base, tmp_path / "layer"), copy_of(layers.base, tmp_path / "other")
    (layer / "layerchain.json").write_text(json.dumps([str(layer)]))
    assert any("itself" in problem.text for problem in check_layer(layer))
    (layer / "layerchain.json").write_text(json.dumps([str(other)]))
    (other / "layerchain.json").write_text(json.dumps([str(layer)]))
    assert any("itself" in problem.text for problem in check_layer(layer))
    _use_all(layer, layers, tmp_path)


def test_a_chain_of_too_many_parents_is_refused(layers: Layers, tmp_path: Path) -> None:
    layer = copy_of(layers.base, tmp_path / "layer")
    (layer / "layerchain.json").write_text(json.dumps([f"/{number}" for number in range(100_000)]))
    with pytest.raises(LimitExceededError, match="chain_length"):
        read_chain(layer)
    with (layer / "layerchain.json").open("wb") as file:
        file.truncate(10 << 30)
    with pytest.raises(LimitExceededError, match="json_size"):
        read_chain(layer)


# The door.


@pytest.mark.parametrize(
    "path", [b"..", b"a/..", b"../a", b"a/../b", b".", b"a/./b", b"", b"a//b", b"/a", b"a/", b"a\0b"]
)
def test_no_path_leads_out_of_a_root(tmp_path: Path, path: bytes) -> None:
    (tmp_path / "root" / "a").mkdir(parents=True)
    with HostRoot(tmp_path / "root") as root:
        for call in (root.open, root.create, root.stat, root.remove, root.make_directory, root.map):
            with pytest.raises(PathError):
                call(path)
        with pytest.raises(PathError):
            root.read_bytes(path, 100)
        with pytest.raises(PathError):
            root.link(path, b"new")
        with pytest.raises(PathError):
            root.copy(path, b"new")
        if path:
            with pytest.raises(PathError):
                root.names(path)
    assert os.listdir(tmp_path / "root") == ["a"]


def test_a_read_takes_the_memory_of_the_file_not_of_the_limit(tmp_path: Path) -> None:
    (tmp_path / "small").write_bytes(b"1")
    with HostRoot(tmp_path) as root:
        tracemalloc.start()
        try:
            assert root.read_bytes(b"small") == b"1"
            assert tracemalloc.get_traced_memory()[1] < 1 << 20
        finally:
            tracemalloc.stop()


@needs_posix
def test_a_link_is_made_of_files_only(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("/etc/passwd")
    with HostRoot(tmp_path) as root:
        for name in (b"fifo", b"link"):
            with pytest.raises(FileNotFoundError):
                root.link(name, b"new")


@pytest.mark.skipif(sys.platform == "win32", reason="descriptors are counted by POSIX")
def test_many_roots_keep_few_directories_open(tmp_path: Path) -> None:
    for number in range(20):
        (tmp_path / str(number)).mkdir()
    roots = [HostRoot(tmp_path) for _ in range(100)]
    try:
        before = len(os.listdir("/dev/fd"))
        for root in roots:
            for number in range(20):
                root.directory(str(number).encode())
        assert len(os.listdir("/dev/fd")) - before < 600
    finally:
        for root in roots:
            root.close()


# A file where a folder is needed.


def test_a_file_is_no_layer_and_the_message_says_what_to_do(layers: Layers, tmp_path: Path) -> None:
    tar = tmp_path / "base.tar.gz"
    tar.write_bytes(b"\x1f\x8b")
    for call in (LayerDirectory, read_chain, ScratchDirectory):
        with pytest.raises(NotALayerError, match=r"base\.tar\.gz: a file, .*wclayer import"):
            call(tar)
    with pytest.raises(NotALayerError, match="wclayer import"):
        DirectoryLayerWriter(tmp_path / "new", [tar])
    assert sorted(os.listdir(tmp_path)) == ["base.tar.gz"]
