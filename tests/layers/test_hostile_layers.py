"""Layer directories from elsewhere: whatever their databases and files say, nothing outside of them is touched, every
verb ends, and its error is one of the family."""

from __future__ import annotations

import contextlib
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
from tests.hostile import layers as hostile
from tests.hostile.forms import World
from tests.hostile_layers import Canary, Layers, change, copy_of, use
from tests.support import directory, info, nothing_left_in
from wclayer.errors import CorruptLayerError, LayerError, LimitExceededError, NotALayerError
from wclayer.host.root import HostRoot, PathError
from wclayer.layers.directory import open_layer
from wclayer.layers.directory.chain_file import read_chain
from wclayer.layers.directory.check import check_layer
from wclayer.layers.directory.scratch import ScratchDirectory
from wclayer.layers.directory.writer import DirectoryLayerWriter
from wclayer.model import Entry
from wclayer.view.layer_view import LayerView
from wclayer.view.transfer import copy_out

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


@pytest.mark.parametrize("kind", Layers._fields)
@pytest.mark.parametrize("attack", hostile.ATTACKS.values(), ids=hostile.ATTACKS)
def test_nothing_outside_of_a_layer_is_touched(
    layers: Layers, canary: Canary, tmp_path: Path, kind: str, attack: tuple[str, ...]
) -> None:
    layer = copy_of(getattr(layers, kind), tmp_path / "layer")
    hostile.attack(layer, attack, canary.file)
    _use_all(layer, layers, tmp_path)
    canary.assert_untouched()
    canary.assert_unread(tmp_path / "out", layer / "Files")
    assert list(check_layer(layer))


@pytest.mark.parametrize("attack", hostile.ATTACKS.values(), ids=hostile.ATTACKS)
def test_no_file_outside_becomes_part_of_a_child(
    layers: Layers, canary: Canary, tmp_path: Path, attack: tuple[str, ...]
) -> None:
    parent, made = copy_of(layers.base, tmp_path / "parent"), tmp_path / "child"
    hostile.attack(parent, attack, canary.file)
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
    hostile.put_journal(layer, canary.file)
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
        open_layer(layer)
    _use_all(layer, layers, tmp_path)


@pytest.mark.parametrize("sql", hostile.SCHEMAS)
def test_another_schema_is_refused(layers: Layers, tmp_path: Path, sql: str) -> None:
    layer = copy_of(layers.base, tmp_path / "layer")
    change(layer, sql)
    with pytest.raises(CorruptLayerError, match=r"layer\.db: (trigger|table|index) '"):
        open_layer(layer)


def test_an_index_that_puts_a_directory_below_itself_does_not_make_a_walk_endless(
    layers: Layers, tmp_path: Path
) -> None:
    layer = copy_of(layers.base, tmp_path / "layer")
    with open_layer(layer) as opened:
        files = opened.lookup("Files")
        below = opened.lookup("Files/dir")
    assert files is not None
    assert below is not None
    data = (layer / "layer.db").read_bytes()
    # The index's record of "DIR" now says that it stands for the directory above.
    record = re.compile(rb"\x04([\x08\x09\x01])\x13\x01(\x01?)DIR(.)", re.DOTALL)
    assert record.search(data)
    (layer / "layer.db").write_bytes(record.sub(lambda found: found.group()[:-1] + bytes([files.id]), data))
    with open_layer(layer) as opened, pytest.raises(CorruptLayerError, match="index"):
        list(opened.walk(opened.root()))


def test_directories_below_each_other_are_found_and_bounded(layers: Layers, tmp_path: Path) -> None:
    layer = copy_of(layers.base, tmp_path / "layer")
    change(layer, "UPDATE entries SET parent = (SELECT id FROM entries WHERE name = 'deep') WHERE name = 'dir'")
    assert any("below itself" in problem.text for problem in check_layer(layer))
    _use_all(layer, layers, tmp_path)


# What columns may hold.


@pytest.mark.parametrize(
    ("column", "value"), [(column, value) for column, values in hostile.COLUMNS.items() for value in values]
)
def test_a_column_that_no_layer_has_is_told_by_entry_and_name(
    layers: Layers, tmp_path: Path, column: str, value: object
) -> None:
    layer = copy_of(layers.base, tmp_path / "layer")
    with open_layer(layer) as opened:
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


@pytest.mark.parametrize("sql", hostile.OTHER_TABLES)
def test_other_tables_are_checked_too(layers: Layers, tmp_path: Path, sql: str) -> None:
    layer = copy_of(layers.child, tmp_path / "layer")
    change(layer, sql)
    assert use(hostile_layers.looking_verbs(layer)) == []
    if "layer SET" not in sql:
        assert list(check_layer(layer))


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("UPDATE entries SET form = x'07' WHERE name = 'new'", "Files/new: unknown kind of header delta"),
        ("UPDATE streams SET form = x'0001'", "Files/new: header delta does not fit its entry"),
        ("UPDATE tombstones SET form = x''", "Files/dir/deep: unknown kind of header delta"),
        ("INSERT INTO layer VALUES ('trailer_form', x'00')", "layer.db: header delta does not fit its entry"),
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


@pytest.mark.skipif(sys.platform == "win32", reason="Windows can have such paths")
@pytest.mark.parametrize("chain", [b'["/\\ud800"]', b'["/' + b"x" * 5000 + b'"]', b'["' + b"/x" * 3000 + b'"]'])
def test_a_chain_names_no_path_that_the_host_cannot_have(layers: Layers, tmp_path: Path, chain: bytes) -> None:
    layer = copy_of(layers.base, tmp_path / "layer")
    (layer / "layerchain.json").write_bytes(chain)
    with pytest.raises(CorruptLayerError, match=r"layerchain\.json: .*(cannot be a path|longer than a path)"):
        read_chain(layer)
    _use_all(layer, layers, tmp_path)


# What a record claims, and what lies on the way to it.


@needs_posix
def test_a_file_that_is_one_hole_is_refused_before_it_comes_out(layers: Layers, tmp_path: Path) -> None:
    layer = copy_of(layers.base, tmp_path / "layer")
    os.truncate(layer / "Files/dir/b.bin", 1 << 40)
    change(layer, ("UPDATE entries SET size = ? WHERE name = 'b.bin'", (1 << 40,)))
    assert any("limit ratio" in problem.text for problem in check_layer(layer))
    with nothing_left_in(tmp_path):
        for call in (
            lambda: wclayer.export_layer_to_file(layer, tmp_path / "out"),
            lambda: wclayer.convert_layer(layer, tmp_path / "out", to="ntfs", size=2 << 40),
        ):
            with pytest.raises(LimitExceededError, match=r"b\.bin.*limit ratio"):
                call()
    with pytest.raises(LimitExceededError, match=r"b\.bin.*limit ratio"), LayerView([layer]) as view:
        copy_out(view, "C:\\dir\\b.bin", tmp_path / "copied")
    assert not (tmp_path / "copied").exists()


@needs_posix
@pytest.mark.parametrize("place", ["Files", "Files/dir", "Files/dir/b.bin"])
@pytest.mark.parametrize("kind", ["FIFO", "empty file", "link to itself", "directory"])
def test_what_lies_in_the_way_is_damage_of_the_layer(
    layers: Layers, canary: Canary, tmp_path: Path, place: str, kind: str
) -> None:
    layer = copy_of(layers.base, tmp_path / "layer")
    hostile.put_special(layer / place, kind, World(tmp_path, canary.folder))
    with pytest.raises(CorruptLayerError) as told, LayerView([layer]) as view:
        copy_out(view, "C:\\dir\\b.bin", tmp_path / "copied")
    assert told.value.path.startswith(str(layer))
    assert not (tmp_path / "copied").exists()
    if (place, kind) == ("Files/dir/b.bin", "empty file"):
        # A link to it can be made; `check` tells what it holds.
        return
    with pytest.raises(CorruptLayerError) as told, DirectoryLayerWriter(tmp_path / "made", [layer]) as writer:
        writer.put(directory("Files"))
        writer.put(Entry("Files/l", info(), link_target="Files/dir/b.bin"))
    assert told.value.path.startswith(str(layer))


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
    for call in (open_layer, read_chain, ScratchDirectory):
        with pytest.raises(NotALayerError, match=r"base\.tar\.gz: a file, .*wclayer import"):
            call(tar)
    with pytest.raises(NotALayerError, match="wclayer import"):
        DirectoryLayerWriter(tmp_path / "new", [tar])
    assert sorted(os.listdir(tmp_path)) == ["base.tar.gz"]
