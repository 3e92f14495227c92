"""The hives of layer directories: effective ones are made at import, and only what came goes out."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest

import wclayer
from tests.formats.regf.craft import dirty
from tests.formats.regf.support import (
    crafted_hive,
    dirty_pair,
    hive_bytes,
    metadata_of,
    new_log,
    reread,
    simple_tree,
    two_states,
    two_step_logs,
)
from tests.layers.hive_layers import CONFIG, base_layer, child_layer, import_tar, put_hives
from tests.support import layer_tar, nothing_left_in, put_directories, put_file
from wclayer.errors import CorruptLayerError, InvalidDataError
from wclayer.formats.regf.delta import delta_of, merge
from wclayer.formats.regf.model import Key, TreeKey, Value
from wclayer.formats.regf.writer import write_hive
from wclayer.layers.directory import LayerDirectory, open_layer
from wclayer.layers.directory.hives import effective_hive, effective_root
from wclayer.layers.hives import LAYER_HIVES, LayerHive
from wclayer.model import LayerWriter, Limits

SYSTEM = next(hive for hive in LAYER_HIVES if hive.stem == "System")
SOFTWARE = next(hive for hive in LAYER_HIVES if hive.stem == "Software")


def _effective(hive: LayerHive, *layers: Path) -> Key | None:
    opened = [open_layer(layer) for layer in layers]
    _opened.extend(opened)
    return effective_root(opened, hive)


_opened: list[LayerDirectory] = []
"""What a key of `_effective` reads from, until the test ends."""


@pytest.fixture(autouse=True)
def _close_layers() -> Iterator[None]:
    yield
    while _opened:
        _opened.pop().close()


def _changed() -> tuple[TreeKey, bytes]:
    """What `simple_tree` becomes, and the delta hive for it."""
    changed = simple_tree()
    child = changed.subkey("Child")
    assert isinstance(child, TreeKey)
    child.set(Value("dword", 4, b"\x02\0\0\0"))
    del child.by_name["SHORT"]
    changed.add(TreeKey("New", child.metadata))
    delta = delta_of(simple_tree(), changed)
    assert delta is not None
    return changed, write_hive(delta, has_layered_keys=True)


def test_a_base_layer_gets_its_base_hives(tmp_path: Path) -> None:
    hive = write_hive(simple_tree())
    layer = base_layer(tmp_path, SYSTEM=hive, SOFTWARE=hive, SAM=hive, SECURITY=hive, DEFAULT=hive)
    for stem in ("DefaultUser", "Sam", "Security", "Software", "System"):
        assert (layer / "Hives" / f"{stem}_Base").read_bytes() == hive
    assert list(wclayer.check_layer(layer)) == []


def test_empty_hives_are_tolerated(tmp_path: Path) -> None:
    base = base_layer(tmp_path, SYSTEM=b"", SOFTWARE=b"")
    assert reread((base / "Hives/System_Base").read_bytes()).subkeys() == []
    assert not (base / "Hives/Sam_Base").exists()
    child = child_layer(tmp_path, "child", base, System=b"", Software=_changed()[1])
    assert not (child / "Hives/System_Base").exists()
    root = reread((child / "Hives/Software_Base").read_bytes())
    assert {key.name for key in root.subkeys()} == {"Child", "New"}
    for layer in (base, child):
        assert list(wclayer.check_layer(layer)) == []


def test_a_layer_without_hives_is_legal(tmp_path: Path) -> None:
    base = import_tar(tmp_path, "base", lambda writer: put_directories(writer, "Files"))
    child = child_layer(tmp_path, "child", base)
    assert list((base / "Hives").iterdir()) == list((child / "Hives").iterdir()) == []
    assert _effective(SYSTEM, child, base) is None


def test_a_child_gets_its_parent_s_hive_with_its_delta(tmp_path: Path) -> None:
    changed, delta = _changed()
    base = base_layer(tmp_path, SYSTEM=write_hive(simple_tree()))
    child = child_layer(tmp_path, "child", base, System=delta)
    assert metadata_of(reread((child / "Hives/System_Base").read_bytes())) == metadata_of(changed)
    # A layer in between without deltas changes nothing, and the next delta goes onto the nearest `_Base`.
    middle = child_layer(tmp_path, "middle", child, base)
    again = changed.subkey("New")
    assert isinstance(again, TreeKey)
    again.set(Value("more", 4, bytes(4)))
    second = delta_of(reread((child / "Hives/System_Base").read_bytes()), changed)
    assert second is not None
    top = child_layer(tmp_path, "top", middle, child, base, System=write_hive(second, has_layered_keys=True))
    assert metadata_of(reread((top / "Hives/System_Base").read_bytes())) == metadata_of(changed)
    assert not (middle / "Hives/System_Base").exists()


def test_the_effective_hive_without_base_hives_is_the_same(tmp_path: Path) -> None:
    """Layers made by earlier versions have no `_Base` hives: theirs are merged when they are asked for."""
    changed, delta = _changed()
    base = base_layer(tmp_path, SYSTEM=write_hive(simple_tree()))
    child = child_layer(tmp_path, "child", base, System=delta)
    merged = merge(_effective(SYSTEM, base), reread(delta))
    kept = _effective(SYSTEM, child, base)
    assert merged is not None
    assert kept is not None
    assert metadata_of(merged) == metadata_of(kept) == metadata_of(changed)


def _file_of(hive: LayerHive, *layers: Path) -> bytes | None:
    opened = [open_layer(layer) for layer in layers]
    _opened.extend(opened)
    return effective_hive(opened, hive)


@pytest.mark.parametrize("has_layer_between", [False, True])
def test_the_file_of_an_effective_hive_is_what_would_be_written_of_its_keys(
    tmp_path: Path, has_layer_between: bool
) -> None:
    base = base_layer(tmp_path, SYSTEM=hive_bytes("SYSTEM"))
    chain = [child_layer(tmp_path, "child", base, System=hive_bytes("a delta")), base]
    if has_layer_between:
        chain.insert(0, child_layer(tmp_path, "between", *chain, System=b""))
    root = _effective(SYSTEM, *chain)
    assert root is not None
    assert _file_of(SYSTEM, *chain) == write_hive(root, file_name=SYSTEM.config_name)
    assert _file_of(SOFTWARE, *chain) is None


def test_the_file_of_an_effective_hive_does_not_come_from_a_damaged_one(tmp_path: Path) -> None:
    base = base_layer(tmp_path, SYSTEM=hive_bytes("SYSTEM"))
    child = child_layer(tmp_path, "child", base, System=hive_bytes("a delta"))
    made = bytearray((child / SYSTEM.base).read_bytes())
    made[-1] ^= 1
    (child / SYSTEM.base).write_bytes(made)
    with pytest.raises(CorruptLayerError, match=r"System_Base.*SHA-256"):
        _file_of(SYSTEM, child, base)


def test_the_real_hives(tmp_path: Path) -> None:
    base = base_layer(tmp_path, SYSTEM=hive_bytes("SYSTEM"), DEFAULT=hive_bytes("strings"))
    child = child_layer(tmp_path, "child", base, System=hive_bytes("a delta"))
    merged = reread((child / "Hives/System_Base").read_bytes())
    expected = merge(reread(hive_bytes("SYSTEM")), reread(hive_bytes("a delta")))
    assert expected is not None
    assert metadata_of(merged) == metadata_of(expected)


def test_a_dirty_hive_is_recovered_from_the_logs_beside_it(tmp_path: Path) -> None:
    before, after = two_states()
    logs = {"SYSTEM_LOG1": two_step_logs()[0], "SYSTEM_LOG2": two_step_logs()[1]}
    base = base_layer(tmp_path, SYSTEM=dirty(before), **logs)
    assert metadata_of(reread((base / "Hives/System_Base").read_bytes())) == metadata_of(reread(after))


def test_a_damaged_hive_does_not_cost_the_layer(tmp_path: Path) -> None:
    base = base_layer(tmp_path, SYSTEM=b"not a hive" * 1000, SOFTWARE=write_hive(simple_tree()))
    assert not (base / "Hives/System_Base").exists()
    assert (base / "Hives/Software_Base").exists()
    problems = list(wclayer.check_layer(base))
    assert [problem.path for problem in problems] == [f"{CONFIG}/SYSTEM"]
    assert "signature" in problems[0].text
    with pytest.raises(InvalidDataError, match="signature"):
        _effective(SYSTEM, base)
    child = child_layer(tmp_path, "child", base, System=_changed()[1], Software=b"rubbish")
    assert {problem.path for problem in wclayer.check_layer(child)} == {"Hives/System_Delta", "Hives/Software_Delta"}


def test_a_hive_whose_file_a_power_cut_has_emptied_is_refused(tmp_path: Path) -> None:
    base = base_layer(tmp_path, SYSTEM=hive_bytes("SYSTEM"))
    (base / SYSTEM.base).write_bytes(b"")
    with open_layer(base) as layer, pytest.raises(InvalidDataError, match="System_Base"):
        effective_root([layer], SYSTEM)


def test_a_base_hive_that_came_with_the_layer_is_left_alone(tmp_path: Path) -> None:
    own = write_hive(simple_tree())

    def build(writer: LayerWriter) -> None:
        put_directories(writer, "Files", "Hives")
        put_file(writer, "Hives/System_Base", own)
        put_file(writer, "Hives/System_Delta", _changed()[1])

    base = base_layer(tmp_path, SYSTEM=b"")
    child = import_tar(tmp_path, "child", build, base)
    assert (child / "Hives/System_Base").read_bytes() == own


def test_base_hives_of_a_folder_are_made_anew(tmp_path: Path) -> None:
    config = tmp_path / "layer" / CONFIG
    config.mkdir(parents=True)
    (config / "SYSTEM").write_bytes(write_hive(simple_tree()))
    hives = tmp_path / "layer" / "Hives"
    hives.mkdir()
    (hives / "system_base").write_bytes(b"of an earlier, interrupted run")
    (hives / "System_Base").write_bytes(b"the same")
    wclayer.make_base_layer(tmp_path / "layer")
    assert (hives / "System_Base").read_bytes() == write_hive(simple_tree())
    for hive in LAYER_HIVES:
        data = (config / hive.config_name).read_bytes()
        assert reread(data).name == "ROOT"
        assert (tmp_path / "layer" / hive.base).read_bytes() == data
    with wclayer.new_layer_reader(tmp_path / "layer") as reader:
        assert not any("_Base" in item.entry.name for item in reader)


_DEEP = crafted_hive([(max(0, index - 1), "k") for index in range(514)])


def test_a_delta_of_more_levels_than_windows_allows_cannot_be_converted(tmp_path: Path) -> None:
    base = base_layer(tmp_path, SYSTEM=write_hive(simple_tree()))
    child = child_layer(tmp_path, "child", base, System=_DEEP)
    with open_layer(child) as opened:
        assert "more than 512 levels" in opened.hive_problems()[0]
    with nothing_left_in(tmp_path), pytest.raises(InvalidDataError, match="more than 512 levels") as caught:
        wclayer.convert_layer(child, tmp_path / "disk.vhdx")
    assert "System_Delta" in caught.value.path


def test_a_delta_whose_cells_stand_for_many_makes_no_base_hive(tmp_path: Path) -> None:
    base = base_layer(tmp_path, SYSTEM=write_hive(simple_tree()))
    keys = [(0, "r"), *((0, f"k{number}") for number in range(20_000))]
    hostile = crafted_hive(keys, values={number: [1, 2, 3, 4] for number in range(1, len(keys))}, data=bytes(256))
    child = child_layer(tmp_path, "child", base, System=hostile)
    with open_layer(child) as opened:
        assert "2 times their own" in opened.hive_problems()[0]
    assert not (child / "Hives" / "System_Base").exists()


def test_a_log_that_claims_gigabytes_makes_no_base_hive(tmp_path: Path) -> None:
    before, _, _ = dirty_pair()
    log = new_log(before, 1, [(0, before[4096:8192])], 256 << 20)
    base = base_layer(tmp_path, SYSTEM=before, SYSTEM_LOG1=log)
    with open_layer(base) as opened:
        assert "none of its 1 logs applies" in opened.hive_problems()[0]
    assert not (base / "Hives" / "System_Base").exists()


def test_the_limit_of_hives_holds_at_import(tmp_path: Path) -> None:
    before, _, log = dirty_pair()
    tar = layer_tar(lambda writer: put_hives(writer, SYSTEM=before, SYSTEM_LOG1=log))
    for limit, problems in ((len(before) - 1, 1), (1 << 20, 0)):
        layer = tmp_path / str(limit)
        wclayer.import_layer_from_tar(io.BytesIO(tar), layer, limits=Limits(hive_size=limit))
        with open_layer(layer) as opened:
            assert len(opened.hive_problems()) == problems
            assert all("--max-hive-size" in problem for problem in opened.hive_problems())
