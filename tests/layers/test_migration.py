"""Layers with an older schema: they are read as they are, and get the schema of today when they are first changed."""

from __future__ import annotations

import io
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

import wclayer
from tests.hostile_layers import Layers, change, make_layers
from tests.old_layers import make_old, make_version_3, version_of
from wclayer.errors import CorruptLayerError, LayerBusyError
from wclayer.host import system
from wclayer.layers.atomic import lock_place
from wclayer.layers.directory import check, migration, open_layer
from wclayer.layers.directory.database import Origin
from wclayer.layers.directory.finished import FinishedLayer
from wclayer.layers.directory.schema import VERSION, LayerKind, declared
from wclayer.layers.directory.scratch import ScratchDirectory
from wclayer.layers.directory.scratch_layer import ScratchLayer
from wclayer.layers.directory.update import LayerUpdate
from wclayer.view.layer_view import LayerView

TIME = 133_000_000_000_000_000


@pytest.fixture
def layers(tmp_path: Path) -> Layers:
    """A base layer, a child and a scratch."""
    return make_layers(tmp_path)


@pytest.fixture
def old(layers: Layers) -> Layers:
    """The same, as an old wclayer made them."""
    for layer in layers:
        make_old(layer)
    return layers


def _tar(layer: Path) -> bytes:
    target = io.BytesIO()
    wclayer.export_layer_to_tar(target, layer)
    return target.getvalue()


def _rows(layer: Path) -> dict[str, list[object]]:
    """All rows of a database, without the record of the kind."""
    with closing(sqlite3.connect(layer / "layer.db")) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        found = {table: connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2").fetchall() for table in tables}
    found["layer"] = [row for row in found["layer"] if row[0] != "kind"]
    return found


def _schema(layer: Path) -> frozenset[object]:
    with closing(sqlite3.connect(layer / "layer.db")) as connection:
        return frozenset(connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master"))


@pytest.fixture
def version_3(layers: Layers) -> Layers:
    """The same, as a wclayer made them whose schema had version 3."""
    for layer in layers:
        make_version_3(layer)
    return layers


def _change(layer: Path) -> None:
    with LayerUpdate(layer) as update:
        update.put("Files/a.txt2", b"new", origin=Origin.OWN)
        update.commit(TIME)


def _change_scratch(scratch: Path) -> None:
    with LayerView(scratch=scratch) as view:
        view.write_bytes("Files/changed", b"changed")


def test_new_layers_have_the_schema_of_today(layers: Layers) -> None:
    for layer, kind in ((layers.base, LayerKind.FINISHED), (layers.scratch, LayerKind.SCRATCH)):
        assert version_of(layer) == VERSION
        with open_layer(layer) as opened:
            assert opened.record("kind") == kind
        assert _schema(layer) == declared(VERSION, kind)


def test_old_layers_are_read_and_not_written(layers: Layers) -> None:
    tars = [_tar(layer) for layer in layers]
    for layer in layers:
        make_old(layer)
    before = [(layer / "layer.db").read_bytes() for layer in layers]
    with open_layer(layers.base) as base, open_layer(layers.scratch) as scratch:
        assert isinstance(base, FinishedLayer)
        assert isinstance(scratch, ScratchLayer)
        # Several readers at once.
        assert [_tar(layer) for layer in layers] == tars
        for layer in layers:
            assert list(check.check_layer(layer)) == []
    with LayerView([layers.child]) as view:
        assert view.read_bytes("Files/new") == b"new"
    assert [(layer / "layer.db").read_bytes() for layer in layers] == before
    assert [version_of(layer) for layer in layers] == [1, 1, 2]


def test_layers_of_version_3_are_read_and_not_written(layers: Layers) -> None:
    tars = [_tar(layer) for layer in layers]
    for layer in layers:
        make_version_3(layer)
    before = [(layer / "layer.db").read_bytes() for layer in layers]
    assert [_tar(layer) for layer in layers] == tars
    for layer in layers:
        assert list(check.check_layer(layer)) == []
    assert [(layer / "layer.db").read_bytes() for layer in layers] == before
    assert [version_of(layer) for layer in layers] == [3, 3, 3]


def test_layers_of_version_3_get_the_schema_of_today(version_3: Layers) -> None:
    before = [_rows(layer) for layer in (version_3.base, version_3.scratch)]
    with LayerUpdate(version_3.base) as update:
        update.set_record("x", 1)
        update.commit(TIME)
    before[0]["layer"] = sorted([*before[0]["layer"], ("x", 1)], key=str)
    with ScratchDirectory(version_3.scratch):
        pass
    for layer, rows, kind in zip((version_3.base, version_3.scratch), before, LayerKind, strict=True):
        assert version_of(layer) == VERSION
        assert _schema(layer) == declared(VERSION, kind)
        after = _rows(layer)
        after["layer"].sort(key=str)
        rows["layer"].sort(key=str)
        assert after == rows
        assert list(check.check_layer(layer)) == []


def test_old_layers_are_read_where_nothing_can_be_written(tmp_path: Path) -> None:
    # Not at the top: Windows runs the other tests.
    from tests.proof.conditions import make_read_only, mounted

    with mounted(tmp_path / "m", "64m") as disk:
        old = make_layers(disk)
        for layer in old:
            make_old(layer)
        make_read_only(disk)
        for layer in old:
            assert _tar(layer)


def test_several_processes_read_an_old_layer_at_once(old: Layers) -> None:
    script = "import sys, io, wclayer\nfor path in sys.argv[1:]: wclayer.export_layer_to_tar(io.BytesIO(), path)"
    readers = [subprocess.Popen([sys.executable, "-c", script, *old]) for _ in range(3)]
    assert [reader.wait() for reader in readers] == [0, 0, 0]
    assert [version_of(layer) for layer in old] == [1, 1, 2]


def test_an_update_of_an_old_layer_gives_it_the_schema_of_today(old: Layers) -> None:
    before = _rows(old.base)
    with LayerUpdate(old.base) as update:
        update.set_record("x", 1)
        update.commit(TIME)
    assert version_of(old.base) == VERSION
    assert _schema(old.base) == declared(VERSION, LayerKind.FINISHED)
    after = _rows(old.base)
    after["layer"].remove(("x", 1))
    assert after == before
    with closing(sqlite3.connect(old.base / "layer.db")) as connection:
        assert connection.execute("PRAGMA freelist_count").fetchone() == (0,)
    assert list(check.check_layer(old.base)) == []
    # Its children, which are old, are read over it.
    with LayerView([old.child, old.base]) as view:
        assert view.read_bytes("Files/a.txt") == b"the contents of a"


def test_an_old_scratch_gets_the_schema_of_today_when_it_is_opened_for_changes(old: Layers) -> None:
    before = _rows(old.scratch)
    with ScratchDirectory(old.scratch):
        pass
    assert version_of(old.scratch) == VERSION
    assert _schema(old.scratch) == declared(VERSION, LayerKind.SCRATCH)
    assert _rows(old.scratch) == before
    _change_scratch(old.scratch)
    with LayerView(scratch=old.scratch) as view:
        assert view.read_bytes("Files/changed") == b"changed"
        assert view.read_bytes("Files/dir/b.bin") == b"changed in the scratch"
    assert list(check.check_layer(old.scratch)) == []


def test_a_reader_of_an_old_scratch_goes_on_while_it_gets_the_schema_of_today(old: Layers) -> None:
    with open_layer(old.scratch) as reader:
        names = [row.name for row in reader.entries()]
        _change_scratch(old.scratch)
        assert [row.name for row in reader.entries()] == names
        # The file itself is written only when no reader needs what was in it.
        with open_layer(old.scratch) as second:
            assert second.lookup("Files/changed") is not None
    with open_layer(old.scratch) as third:
        assert third.lookup("Files/changed") is not None


def test_an_old_scratch_that_others_change_is_left_to_them(old: Layers) -> None:
    with closing(lock_place(old.scratch, shared=True)), pytest.raises(LayerBusyError, match="older wclayer"):
        ScratchDirectory(old.scratch)
    assert version_of(old.scratch) == 2
    with ScratchDirectory(old.scratch):
        pass


def test_an_old_finished_layer_becomes_a_scratch(old: Layers) -> None:
    (old.child / "sandbox.vhdx").write_bytes(b"")
    with ScratchDirectory(old.child) as scratch:
        assert scratch.lookup("Files/new") is not None
    assert _schema(old.child) == declared(VERSION, LayerKind.SCRATCH)


@pytest.mark.parametrize("kind", ["finished", "scratch"])
def test_a_damaged_old_layer_stays_as_it_is(kind: str, old: Layers) -> None:
    layer = old.base if kind == "finished" else old.scratch
    change(layer, "UPDATE entries SET sha256 = 'text' WHERE name = 'b.bin'")
    before = _rows(layer)
    with pytest.raises(CorruptLayerError, match="sha256"):
        _change(layer) if kind == "finished" else _change_scratch(layer)
    assert _rows(layer) == before
    assert version_of(layer) == (1 if kind == "finished" else 2)
    assert [name for name in os.listdir(layer) if name.endswith(".partial")] == []


_KILLED = """
import os, signal, sys
from wclayer.layers.directory import migration
from wclayer.layers.directory.scratch import ScratchDirectory
from wclayer.layers.directory.update import LayerUpdate

class Kill:
    def __conform__(self, protocol):
        os.kill(os.getpid(), signal.SIGKILL)

migration.KIND = Kill()
path, kind = sys.argv[1:]
if kind == "scratch":
    ScratchDirectory(path)
else:
    with LayerUpdate(path) as update:
        update.set_record("x", 1)
        update.commit(0)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="kills by a signal")
@pytest.mark.parametrize("kind", ["finished", "scratch"])
def test_a_process_that_is_killed_in_the_middle_leaves_the_old_layer(kind: str, old: Layers) -> None:
    layer = old.base if kind == "finished" else old.scratch
    before = _rows(layer)
    done = subprocess.run([sys.executable, "-c", _KILLED, layer, kind])
    assert done.returncode == -signal.SIGKILL
    assert version_of(layer) == (1 if kind == "finished" else 2)
    assert _rows(layer) == before
    if kind == "finished":
        _change(layer)
    else:
        _change_scratch(layer)
    assert version_of(layer) == VERSION
    assert list(check.check_layer(layer)) == []


def test_a_record_of_another_kind_is_refused(layers: Layers) -> None:
    change(layers.base, "UPDATE layer SET value = 'scratch' WHERE key = 'kind'")
    change(layers.scratch, "DELETE FROM layer WHERE key = 'kind'")
    for layer in (layers.base, layers.scratch):
        with pytest.raises(CorruptLayerError, match="record 'kind'"):
            open_layer(layer)


def test_values_that_no_layer_has_are_refused_by_the_database(layers: Layers) -> None:
    with closing(sqlite3.connect(layers.base / "layer.db")) as connection:
        for statement in (
            "UPDATE entries SET size = 'text'",
            "UPDATE entries SET size = -2",
            "UPDATE entries SET attributes = 4294967296",
            "UPDATE entries SET name = 5",
            "UPDATE entries SET sha256 = 'text'",
            "UPDATE entries SET origin = 4",
            "UPDATE entries SET host_name = x'00'",
            "UPDATE streams SET size = -1",
            "UPDATE stream_data SET data = 'text'",
            "UPDATE layer SET value = 1.5",
        ):
            with pytest.raises(sqlite3.IntegrityError, match="CHECK"):
                connection.execute(statement)


def test_the_lock_of_a_migration_is_given_back(old: Layers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migration, "SET_RECORD", "no SQL")
    with pytest.raises(CorruptLayerError):
        ScratchDirectory(old.scratch)
    monkeypatch.undo()
    lock = system.Lock(old.scratch)
    lock.take()
    lock.close()
    _change_scratch(old.scratch)
