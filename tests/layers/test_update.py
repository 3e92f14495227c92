"""Updates of finished layers: whole or not at all, wherever they stop."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import wclayer
from tests.formats.regf.support import simple_tree
from tests.layers.hive_layers import CONFIG, base_layer, child_layer
from wclayer.errors import InvalidStateError, LayerBusyError, NotSupportedError
from wclayer.formats.regf.writer import write_hive
from wclayer.layers.directory import open_layer
from wclayer.layers.directory.database import Origin
from wclayer.layers.directory.update import LayerUpdate

TIME = 133_000_000_000_000_000


def _child(folder: Path) -> Path:
    base = base_layer(folder, SYSTEM=write_hive(simple_tree()))
    return child_layer(folder, "child", base, System=b"")


def _update(layer: Path, content: bytes) -> None:
    with LayerUpdate(layer) as update:
        update.put("Hives/System_Delta", content, origin=Origin.OWN)
        update.put("Hives/Software_Delta", content, origin=Origin.OWN)
        update.put("Hives/System_Base", content, origin=Origin.MADE)
        update.commit(TIME)


def _read(layer: Path, path: str) -> bytes | None:
    with open_layer(layer) as opened:
        row = opened.lookup(path)
        return None if row is None else b"".join(opened.data_chunks(row))


def test_files_are_replaced_and_added(tmp_path: Path) -> None:
    layer = _child(tmp_path)
    _update(layer, b"new")
    assert sorted(os.listdir(layer / "Hives")) == ["Software_Delta", "System_Base", "System_Delta"]
    for name in os.listdir(layer / "Hives"):
        assert (layer / "Hives" / name).read_bytes() == b"new"
    assert list(wclayer.check_layer(layer)) == []
    with wclayer.new_layer_reader(layer) as reader:
        entries = {item.entry.name: item.entry for item in reader}
    assert list(entries) == ["Files", "Hives", "Hives/System_Delta", "Hives/Software_Delta"]
    info = entries["Hives/System_Delta"].info
    assert info is not None
    assert info.last_write_time == info.change_time == TIME
    # It is no longer the tar that it came from.
    with open_layer(layer) as opened:
        assert opened.record("diff_id") is None
    _update(layer, b"newer")
    assert _read(layer, "Hives/System_Delta") == b"newer"


def test_nothing_happens_without_commit(tmp_path: Path) -> None:
    layer = _child(tmp_path)
    with LayerUpdate(layer) as update:
        update.put("Hives/System_Delta", b"new", origin=Origin.OWN)
    assert _read(layer, "Hives/System_Delta") == b""
    with pytest.raises(InvalidStateError):
        update.commit(TIME)


def test_two_updates_do_not_meet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layer = _child(tmp_path)
    monkeypatch.setattr("wclayer.layers.atomic.PATIENCE", 0.1)
    with LayerUpdate(layer), pytest.raises(LayerBusyError):
        LayerUpdate(layer)
    with LayerUpdate(layer):
        pass


def test_a_hard_link_is_not_replaced(tmp_path: Path) -> None:
    layer = base_layer(tmp_path, SYSTEM=write_hive(simple_tree()))
    with LayerUpdate(layer) as update:
        with pytest.raises(NotSupportedError, match="no such directory"):
            update.put("Nowhere/at/all", b"", origin=Origin.OWN)
        update.put(f"{CONFIG}/SYSTEM", b"x", origin=Origin.OWN)


def _watch(action: Callable[[], None], die_at: int = 0) -> int:
    """Runs `action` and counts the calls that change the host; at the `die_at`th the process ends, as if killed."""
    seen = 0
    armed = True

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal seen
        flags = arguments[2] if event == "open" else 0
        writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR)
        if armed and (writes or event in ("os.rename", "os.link", "os.remove", "sqlite3.connect")):
            seen += 1
            if seen == die_at:
                os._exit(0)

    sys.addaudithook(watch)
    action()
    armed = False
    return seen


def test_killed_at_every_step_the_layer_is_the_old_or_the_new_one(tmp_path: Path) -> None:
    layer = _child(tmp_path)
    total = _watch(lambda: _update(layer, b"new"))
    assert total > 15
    outcomes = []
    for step in range(1, total + 1):
        folder = tmp_path / str(step)
        folder.mkdir()
        layer = _child(folder)
        child = os.fork()
        if child == 0:
            _watch(lambda layer=layer: _update(layer, b"new"), step)  # type: ignore[misc]
            os._exit(1)
        assert os.waitpid(child, 0)[1] == 0
        names = ("System_Delta", "Software_Delta", "System_Base")
        found = [_read(layer, f"Hives/{name}") for name in names]
        assert found in ([b"new"] * 3, [b"", None, None]), step
        outcomes.append(found[0] == b"new")
        assert list(wclayer.check_layer(layer)) == [], step
        # The next update ends what was begun, and leaves nothing of it.
        _update(layer, b"third")
        assert sorted(os.listdir(layer / "Hives")) == ["Software_Delta", "System_Base", "System_Delta"]
        assert [name for name in os.listdir(layer) if name.startswith(".")] == []
        assert list(wclayer.check_layer(layer)) == []
    # There is one moment before which it is the old one, and after which it is the new one.
    assert outcomes == sorted(outcomes)
    assert outcomes[0] is False
    assert outcomes[-1] is True
