"""A layer whose `layer.db` somebody has changed: every verb that reads ends with an answer or an error of the family,
and what `check` calls clean no other verb calls corrupt."""

from __future__ import annotations

import io
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from fuzz.operations.choices import Choices
from fuzz.operations.ground import (
    CORRUPT,
    LIMITS,
    base_layer,
    expect,
    fresh,
    info,
    layer_contents,
    made_once,
    put_directories,
    put_file,
)
from fuzz.operations.tars import build_rich
from tests.support import copy_layer
from wclayer.engines.portable.converting import convert_layer
from wclayer.engines.portable.engine import create_scratch_layer, export_layer, export_layer_to_tar
from wclayer.errors import LayerError
from wclayer.host.durability import unsynced
from wclayer.layers.directory import open_layer
from wclayer.layers.directory.check import check_layer
from wclayer.layers.directory.database import FILE_NAME
from wclayer.layers.directory.writer import DirectoryLayerWriter
from wclayer.model import Entry, LayerWriter, limits_in_use, use_limits
from wclayer.view.diff import diff_trees
from wclayer.view.layer_view import LayerView

_KINDS = ("base", "child", "scratch")
_TABLES = {
    "entries": (
        "id", "parent", "name", "key", "attributes", "creation_time", "last_access_time", "last_write_time",
        "change_time", "security", "size", "sha256", "origin", "streams", "eas", "reparse", "link", "link_target",
        "spelling", "host_name", "form",
    ),
    "streams": ("id", "entry", "stream_id", "attributes", "name", "size", "sha256", "form"),
    "stream_data": ("stream", "sequence", "data"),
    "security": ("id", "descriptor"),
    "tombstones": ("id", "path", "key", "form"),
    "layer": ("key", "value"),
}  # fmt: skip
_SCRATCH_TABLES = _TABLES | {"taken": ("layer", "source", "entry")}
_NUMBERS = (0, 1, 2, 3, 4, 5, 16, 32, 1024, 1040, 1056, -1, 255, 1 << 31, 1 << 32, (1 << 63) - 1, -(1 << 63))
_TEXTS = (
    "", "a", "A", "d", "D", "Files", "FILES", "Hives", "Files/a", "FILES/A", "..", ".", "a/b", "a:b", "Files/../x",
    "/Data/a/0123456789abcdef", "x" * 300, "Ä", "ä", "\0", "layer.db", "$Recycle.Bin",
)  # fmt: skip
_MOST = 12


def rows(data: bytes) -> None:
    """The data is a row of changes to the rows of a layer's database, made through SQLite."""
    choices = Choices(data)
    kind = choices.pick(_KINDS)
    verbs = choices.byte()
    with _copied(kind) as layer:
        tables = _SCRATCH_TABLES if kind == "scratch" else _TABLES
        connection = sqlite3.connect(layer / FILE_NAME, isolation_level=None)
        try:
            # A file can hold what the schema's checks refuse.
            connection.execute("PRAGMA ignore_check_constraints = ON")
            for _ in range(_MOST):
                if not choices:
                    break
                _edit(connection, choices, tables)
        finally:
            connection.close()
        use(layer, verbs)


def pages(data: bytes) -> None:
    """The data is a row of changes to the bytes of a layer's database: an offset, a length and the bytes, each."""
    choices = Choices(data)
    kind = choices.pick(_KINDS)
    verbs = choices.byte()
    with _copied(kind) as layer:
        place = layer / FILE_NAME
        database = bytearray(place.read_bytes())
        while choices:
            at, changed = choices.number(3) % len(database), choices.block()
            database[at : at + len(changed)] = changed[: len(database) - at]
        place.write_bytes(database)
        use(layer, verbs)


def _edit(connection: sqlite3.Connection, choices: Choices, tables: dict[str, tuple[str, ...]]) -> None:
    """Changes, copies or removes one row; what SQLite itself refuses is not done."""
    table = choices.pick(sorted(tables))
    columns = tables[table]
    action, number = choices.below(8), choices.byte()
    column = choices.pick(columns)
    try:
        row = _row(connection, table, columns, number)
        if row is None:
            return
        key = " AND ".join(f"{name} IS ?" for name in columns)
        if action == 0:
            connection.execute(f"DELETE FROM {table} WHERE {key}", row)
            return
        value = _value(connection, choices, table, column)
        if action == 1:
            changed = [value if name == column else old for name, old in zip(columns, row, strict=True)]
            if columns[0] == "id":
                changed[0] = choices.byte() + 1
            names = ",".join(columns)
            connection.execute(f"INSERT INTO {table} ({names}) VALUES ({','.join('?' * len(columns))})", changed)
        else:
            connection.execute(f"UPDATE {table} SET {column} = ? WHERE {key}", (value, *row))
    except (sqlite3.Error, OverflowError, UnicodeError):
        return


def _row(
    connection: sqlite3.Connection, table: str, columns: tuple[str, ...], number: int
) -> tuple[object, ...] | None:
    (count,) = connection.execute(f"SELECT COUNT(1) FROM {table}").fetchone()
    if not count:
        return None
    found = connection.execute(f"SELECT {','.join(columns)} FROM {table} LIMIT 1 OFFSET ?", (number % count,))
    row: tuple[object, ...] | None = found.fetchone()
    return row


def _value(connection: sqlite3.Connection, choices: Choices, table: str, column: str) -> object:
    kind = choices.below(8)
    if kind == 0:
        return None
    if kind == 1:
        return choices.pick(_NUMBERS)
    if kind == 2:
        return choices.number(choices.below(8))
    if kind == 3:
        return choices.pick(_TEXTS)
    if kind == 4:
        return choices.block()
    if kind == 5:
        return choices.block().decode("utf-8", "replace")
    if kind == 6:
        return choices.byte() / 2
    # The value of another row: it is valid there.
    (count,) = connection.execute(f"SELECT COUNT(1) FROM {table}").fetchone()
    return connection.execute(
        f"SELECT {column} FROM {table} LIMIT 1 OFFSET ?", (choices.byte() % (count or 1),)
    ).fetchone()[0]


@contextmanager
def _copied(kind: str) -> Iterator[Path]:
    """A copy of one of the layers, to change."""
    source = layers()[kind]
    before = limits_in_use()
    with fresh() as folder:
        use_limits(LIMITS)
        try:
            # The contents are only read: they need no copy.
            copy_layer(source, folder / "layer", copy_function=_copy)
            yield folder / "layer"
        finally:
            use_limits(before)


def _copy(source: str, target: str) -> str:
    if os.path.basename(source).startswith(FILE_NAME):
        shutil.copyfile(source, target)
    else:
        os.link(source, target)
    return target


def use(layer: Path, verbs: int) -> None:
    """Runs all verbs that read, some only if `verbs` has their bit; compares what they say with what `check` says."""
    told: list[str] = []
    try:
        told = [f"{problem.path}: {problem.text}" for problem in check_layer(layer)]
    except LayerError as error:
        told = [str(error)]
    for name, verb in _verbs(layer, verbs):
        try:
            verb()
        except CORRUPT as error:
            expect(bool(told), f"check has nothing to say, and {name} has:", error)
        except LayerError:
            continue


def _verbs(layer: Path, verbs: int) -> Iterator[tuple[str, Callable[[], object]]]:
    out = layer.parent
    yield "walk", lambda: layer_contents(layer)
    yield "look-up", lambda: _look_up(layer)
    yield "export", lambda: export_layer_to_tar(io.BytesIO(), layer)
    yield "view", lambda: _view(layer)
    if verbs & 1:
        yield "transport", lambda: export_layer(layer, out / "transport")
    if verbs & 2:
        yield "diff", lambda: list(diff_trees(layer, base_layer()))
    if verbs & 4:
        yield "convert", lambda: convert_layer(layer, out / "disk", to="ntfs", size=8 << 20)


def _look_up(layer: Path) -> None:
    with open_layer(layer) as opened:
        opened.totals()
        for path in ("Files/a", "files\\D\\B", "Files/l", "Files/d/e/c", "Files/d/ea", "Files/x", "Hives"):
            row = opened.lookup(path)
            if row is None:
                continue
            opened.names(row)
            opened.link_count(row)
            opened.security(row)
            opened.host_path(row)
            opened.name_of(row)
            for stream in opened.stream_rows(row):
                for _ in opened.stream_chunks(stream):
                    pass
        for _ in opened.tombstones():
            pass


def _view(layer: Path) -> None:
    is_scratch = (layer / "sandbox.vhdx").exists()
    with LayerView(scratch=layer) if is_scratch else LayerView([layer]) as view:
        pending = ["C:\\"]
        count = 0
        while pending and count < 200:
            for status in view.scan(pending.pop()):
                count += 1
                path = "C:\\" + status.path.partition("/")[2]
                if status.is_link:
                    continue
                if status.is_directory:
                    pending.append(path)
                else:
                    view.read_bytes(path)
                for name, _ in view.streams(path):
                    view.read_bytes(f"{path}:{name}")


def _build_child(writer: LayerWriter) -> None:
    put_directories(writer, ("Files", "Files/d"))
    writer.put(Entry("Files/d/e", None))
    writer.put(Entry("Files/l", None))
    put_file(writer, "Files/a", b"another a")
    put_file(writer, "Files/new", b"new", more=b"m" * 10)
    writer.put(Entry("Files/from-parent", info(), link_target="Files/d/b"))


@lru_cache(maxsize=1)
def layers() -> dict[str, Path]:
    """Small layers to change copies of: a base, a child of one, and a scratch."""
    found = {kind: made_once(f"db-{kind}") for kind in _KINDS}
    with unsynced():
        with DirectoryLayerWriter(found["base"]) as writer:
            build_rich(writer)
        with DirectoryLayerWriter(found["child"], [base_layer()]) as writer:
            _build_child(writer)
        create_scratch_layer(found["scratch"], [base_layer()])
        with LayerView(scratch=found["scratch"]) as view:
            view.write_bytes("C:\\d\\b", b"changed")
            view.write_bytes("C:\\own", b"own")
            view.link("C:\\own-too", "C:\\own")
            view.write_bytes("C:\\own:stream", b"s" * 20)
            view.unlink("C:\\l")
            view.mkdir("C:\\made")
            view.rename("C:\\d\\e", "C:\\made\\e")
    # Nobody looks into the disk, and the layer is copied again and again.
    with open(found["scratch"] / "sandbox.vhdx", "wb"):
        pass
    return found


def row_seeds() -> list[bytes]:
    """One change of each kind to each kind of layer."""
    tables = len(_TABLES)
    return [
        bytes([kind, 7, table, action, 3, column, value, 1, 1, 1])
        for kind in range(len(_KINDS))
        for table, action, column, value in ((0, 2, 8, 1), (1, 1, 2, 3), (2 % tables, 0, 0, 0), (0, 3, 16, 7))
    ] + [bytes([0, 7])]


def page_seeds() -> list[bytes]:
    """One change of bytes in each kind of layer."""
    return [bytes([kind, 7]) + (5000 + 4096 * kind).to_bytes(3, "little") + b"\x04abcd" for kind in range(len(_KINDS))]
