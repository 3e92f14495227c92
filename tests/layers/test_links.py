"""The names of files with several names: asked one by one, asked often, and in databases without an index of them."""

from __future__ import annotations

import sqlite3
import tracemalloc
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

import wclayer
from tests.hostile_layers import change
from tests.old_layers import make_old, make_version_3
from tests.support import layer_tar, put_directories, put_file
from wclayer.errors import CorruptLayerError
from wclayer.layers.directory import LayerDirectory, open_layer
from wclayer.layers.directory.link_table import LinkTable
from wclayer.model import Entry, LayerWriter, Limits, use_limits
from wclayer.win32.attributes import FileBasicInfo

FILE = FileBasicInfo(0x20, 1, 1, 1, 1)
FILES = 150
"""More files than are asked one by one."""


def _names(number: int) -> int:
    """How many names a file has."""
    return number % 4


def _build(writer: LayerWriter) -> None:
    put_directories(writer, "Files", "Files/a", "Files/b")
    for number in range(FILES):
        put_file(writer, f"Files/a/{number}", b"x")
    for name in range(max(map(_names, range(FILES)))):
        for number in range(FILES):
            if name < _names(number):
                target = f"Files/a/{number}"
                writer.put(Entry(f"Files/b/{number}.{name}", FILE, 1, link_target=target))


@pytest.fixture
def layer(tmp_path: Path) -> Path:
    (tmp_path / "layer.tar").write_bytes(layer_tar(_build))
    with open(tmp_path / "layer.tar", "rb") as tar:
        wclayer.import_layer_from_tar(tar, tmp_path / "layer")
    return tmp_path / "layer"


def _check(directory: LayerDirectory) -> None:
    for number in range(FILES):
        for path in [f"Files/a/{number}", *(f"Files/b/{number}.{name}" for name in range(_names(number)))]:
            row = directory.lookup(path)
            assert row is not None
            assert directory.link_count(row) == _names(number) + 1
            names = [directory.path_of(name) for name in directory.names(row)]
            assert names == [f"Files/a/{number}", *(f"Files/b/{number}.{name}" for name in range(_names(number)))]


@pytest.mark.parametrize("make", [None, make_version_3, make_old], ids=["today", "version 3", "version 1"])
def test_all_names_of_all_files_are_found(make: object, layer: Path) -> None:
    if callable(make):
        make(layer)
    with open_layer(layer) as directory:
        _check(directory)
        # Again, when the links are in memory.
        _check(directory)


def test_a_few_questions_do_not_read_all_links(layer: Path) -> None:
    with open_layer(layer) as directory:
        statements: list[str] = []
        directory._database.set_trace_callback(statements.append)
        for number in range(20):
            row = directory.lookup(f"Files/a/{number}")
            assert row is not None
            directory.link_count(row)
        assert [text for text in statements if "link IS NOT NULL" in text] == []
        plan = directory._database.execute("EXPLAIN QUERY PLAN SELECT id FROM entries WHERE link = 1 AND id <> link")
        assert any("entries_by_link" in str(step) for step in plan)


def test_many_questions_read_all_links_once(layer: Path) -> None:
    with open_layer(layer) as directory:
        statements: list[str] = []
        directory._database.set_trace_callback(statements.append)
        for row in directory.entries():
            directory.link_count(row)
        assert Counter("ORDER BY link, id" in text for text in statements)[True] == 1
        assert len(statements) < FILES


def test_an_index_that_contradicts_the_rows_is_damage(layer: Path) -> None:
    with open_layer(layer) as directory:
        row = directory.lookup("Files/a/3")
        assert row is not None
    find, remove = "FROM sqlite_master WHERE name = 'entries_by_link'", "PRAGMA writable_schema = ON"
    with closing(sqlite3.connect(layer / "layer.db", isolation_level=None)) as connection:
        known = connection.execute(f"SELECT * {find}").fetchone()
        connection.execute(remove)
        connection.execute(f"DELETE {find}")
    # A connection that does not know the index does not change it.
    change(layer, ("UPDATE entries SET link = ? WHERE link = ?", (row.id + 1, row.id)))
    with closing(sqlite3.connect(layer / "layer.db", isolation_level=None)) as connection:
        connection.execute(remove)
        connection.execute("INSERT INTO sqlite_master VALUES (?, ?, ?, ?, ?)", known)
    with open_layer(layer) as directory, pytest.raises(CorruptLayerError, match="has it as a name of"):
        directory.names(row)


def test_links_take_sixteen_bytes_each() -> None:
    count = 200_000
    tracemalloc.start()
    table = LinkTable((head, count + name) for name, head in enumerate(range(count)))
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size < 20 * count
    assert list(table.further_names(7)) == [count + 7]
    assert list(table.further_names(count)) == []


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE entries SET size = 5 WHERE name = 'a'",
        "UPDATE entries SET link = (SELECT id FROM entries WHERE name = '1') WHERE name = 'b'",
        "UPDATE entries SET link = -1 WHERE name = '1.0'",
        "UPDATE entries SET link = 0 WHERE name = '1.0'",
        "UPDATE entries SET link = 1.5 WHERE name = '1.0'",
        "UPDATE entries SET link = x'01' WHERE name = '1.0'",
        "UPDATE entries SET link_target = 'Other/a' WHERE name = '1.0'",
        "UPDATE entries SET link_target = 'Files//a' WHERE name = '1.0'",
        "UPDATE entries SET link_target = 'Files/../a' WHERE name = '1.0'",
        "UPDATE entries SET link_target = 'Files/a/.' WHERE name = '1.0'",
        "UPDATE entries SET link_target = 'Files/a:b' WHERE name = '1.0'",
        "UPDATE entries SET link_target = 5 WHERE name = '1.0'",
        "UPDATE entries SET link_target = x'ff' WHERE name = '1.0'",
    ],
)
def test_a_row_with_values_that_no_entry_has_is_damage(statement: str, layer: Path) -> None:
    change(layer, statement)
    with open_layer(layer) as directory, pytest.raises(CorruptLayerError, match="entry"):
        list(directory.entries())


@pytest.mark.parametrize(
    "target", ["Files/a/.b", "Files/..a", "files/A/1", "Files/" + "x" * 200, "Files/a/日本", "Hives"]
)
def test_any_path_may_be_the_target_of_a_link(target: str, layer: Path) -> None:
    change(layer, ("UPDATE entries SET link_target = ? WHERE name = '1.0'", (target,)))
    with open_layer(layer) as directory:
        assert [row.link_target for row in directory.entries() if row.name == "1.0"] == [target]


def test_the_target_of_a_link_is_not_longer_than_the_limit(layer: Path) -> None:
    use_limits(Limits(path_length=len("Files/a/1")))
    try:
        with open_layer(layer) as directory, pytest.raises(CorruptLayerError, match="--max-path-length"):
            list(directory.entries())
    finally:
        use_limits(Limits())
