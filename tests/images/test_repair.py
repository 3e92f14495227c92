"""`prune --repair`: damage of a store goes, what is whole stays, and scratches stay usable."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import wclayer
from tests.images import samples
from tests.images.stores import fill
from tests.support import run
from wclayer.errors import CorruptLayerError, LayerBusyError, PathNotFoundError
from wclayer.host import system
from wclayer.images.repair import repair_store
from wclayer.images.store import ImageStore
from wclayer.images.store.build_cache import BuildCache, CachedStep
from wclayer.images.unpack import unpack_image
from wclayer.layers.volume.disk_file import DiskFile

NAME = "localhost:5000/app:1"
IMAGE = samples.small_child(
    "docker",
    samples.image(
        "docker", [samples.layer(samples.small_base_tar())], [samples.step("Apply image 10.0.20348.1")], {}
    ),
)  # fmt: skip
BASE, CHILD = IMAGE.chain_ids


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ImageStore:
    """A store with an image of two layers, which are unpacked."""
    monkeypatch.setenv("WCLAYER_STORE", str(tmp_path / "store"))
    store = ImageStore()
    fill(store, NAME, IMAGE)
    unpack_image(store, store.find(NAME))
    return store


def problems(store: ImageStore) -> list[str]:
    return [f"{problem.path}: {problem.text}" for problem in store.check()]


def contents(store: ImageStore) -> dict[str, bytes]:
    """What is in the files of a store, but for its database."""
    files = (path for part in ("blobs", "layers") for path in (store.path / part).rglob("*") if path.is_file())
    return {str(file.relative_to(store.path)): file.read_bytes() for file in files if file.name != "layer.db"}


def flip(path: Path) -> None:
    """Changes one bit of a file, and neither its size nor its times."""
    status = path.stat()
    data = bytearray(path.read_bytes())
    data[len(data) // 2 if path.name != "layer.db" else 2] ^= 4
    path.chmod(0o600)
    path.write_bytes(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def cut(path: Path) -> None:
    path.chmod(0o600)
    os.truncate(path, path.stat().st_size // 2)


def test_a_whole_store_stays_as_it_is(store: ImageStore) -> None:
    with store.ingest(wclayer.Descriptor.of(b"kept by no name", "text/plain")) as ingest:
        ingest.write(b"kept by no name")
        ingest.commit()
    before = contents(store)
    result = repair_store(store)
    assert (result.blobs, result.layers, result.steps, result.problems) == ([], [], [], [])
    assert contents(store) == before


@pytest.mark.parametrize("damage", [flip, cut])
def test_a_damaged_blob_goes_and_the_next_pull_brings_it(store: ImageStore, damage: Callable[[Path], None]) -> None:
    before = contents(store)
    for digest in (*(layer.digest for layer in IMAGE.layers), samples.sha256(IMAGE.config)):
        damage(store.blob_path(digest))
        result = repair_store(store)
        assert (result.blobs, result.layers) == ([digest], [])
        assert [digest in problem.text and problem.path == NAME for problem in result.problems] == [True]
        fill(store, NAME, IMAGE)
        assert repair_store(store).problems == []
    assert contents(store) == before


@pytest.mark.parametrize("damage", [flip, cut, Path.unlink])
@pytest.mark.parametrize(
    ("chain_id", "file"),
    [
        (BASE, "Files/Windows/win.ini"), (CHILD, "Files/app/a.txt"), (CHILD, "layer.db"), (BASE, "layer.db"),
        (CHILD, "layerchain.json"),
    ],
)  # fmt: skip
def test_a_damaged_layer_is_unpacked_again(
    store: ImageStore, chain_id: str, file: str, damage: Callable[[Path], None]
) -> None:
    before = contents(store)
    damage(store.layer_path(chain_id) / file)
    assert problems(store)
    result = repair_store(store)
    assert (result.blobs, result.layers, result.problems) == ([], [chain_id], [])
    assert contents(store) == before
    assert problems(store) == []


def test_a_layer_that_a_whole_layer_needs_is_unpacked_again(store: ImageStore) -> None:
    before = {path: data for path, data in contents(store).items() if "blank" not in path}
    shutil.rmtree(store.layer_path(BASE))
    result = repair_store(store)
    assert (result.layers, result.problems) == ([BASE], [])
    assert {path: data for path, data in contents(store).items() if "blank" not in path} == before


def test_scratches_fit_the_base_layer_that_was_unpacked_again(store: ImageStore, tmp_path: Path) -> None:
    base, scratch = store.layer_path(BASE), tmp_path / "run"
    wclayer.create_scratch_layer(scratch, [store.layer_path(CHILD), base])
    disks = {name: (base / name).read_bytes() for name in ("blank-base.vhdx", "blank.vhdx", "layout")}
    flip(base / "Files/Windows/win.ini")
    assert repair_store(store).layers == [BASE]
    assert {name: (base / name).read_bytes() for name in disks} == disks
    with DiskFile(scratch / "sandbox.vhdx") as disk:
        assert disk.chain == [base / "blank-base.vhdx"]
    assert [str(problem) for problem in wclayer.check_layer(scratch)] == []


@pytest.mark.parametrize("damage", [cut, Path.unlink])
def test_a_damaged_child_of_the_blank_disk_is_made_again(store: ImageStore, damage: Callable[[Path], None]) -> None:
    base = store.layer_path(BASE)
    blank = (base / "blank-base.vhdx").read_bytes()
    damage(base / "blank.vhdx")
    flip(base / "Files/Windows/win.ini")
    result = repair_store(store)
    assert (result.layers, result.problems) == ([BASE], [])
    assert (base / "blank-base.vhdx").read_bytes() == blank
    wclayer.create_scratch_layer(store.path.parent / "run", [base])


def test_a_damaged_blank_disk_is_told_and_made_again_with_its_child(store: ImageStore, tmp_path: Path) -> None:
    base = store.layer_path(BASE)
    os.truncate(base / "blank-base.vhdx", 4096)
    assert [problem.partition(": ")[2].partition(":")[0] for problem in problems(store)] == [
        "blank-base.vhdx", "blank.vhdx",
    ]  # fmt: skip
    assert (repair_store(store).layers, problems(store)) == ([BASE], [])
    wclayer.create_scratch_layer(tmp_path / "run", [base])


def test_a_damaged_layer_without_a_sound_blob_stays(store: ImageStore) -> None:
    files = store.layer_path(CHILD) / "Files/app"
    flip(files / "a.txt")
    kept = {path.name: path.read_bytes() for path in files.iterdir()}
    flip(store.blob_path(IMAGE.layers[1].digest))
    for _ in range(2):
        result = repair_store(store)
        assert result.layers == []
        assert any("cannot be unpacked again: its blob" in problem.text for problem in result.problems)
        assert {path.name: path.read_bytes() for path in files.iterdir()} == kept
    fill(store, NAME, IMAGE)
    assert (repair_store(store).layers, problems(store)) == ([CHILD], [])


def test_a_damaged_layer_of_no_image_stays(store: ImageStore) -> None:
    store.untag(NAME)
    flip(store.layer_path(CHILD) / "Files/app/a.txt")
    (_, why) = repair_store(store).problems
    assert "no image in the store that can be read has it" in why.text
    assert store.has_layer(CHILD)


def test_a_layer_over_a_damaged_one_that_stays_is_not_unpacked_again(store: ImageStore) -> None:
    flip(store.layer_path(BASE) / "Files/Windows/win.ini")
    flip(store.layer_path(CHILD) / "Files/app/a.txt")
    store.blob_path(IMAGE.layers[0].digest).unlink()
    result = repair_store(store)
    assert result.layers == []
    assert any("a layer below it is damaged or missing" in problem.text for problem in result.problems)


def test_a_layer_that_is_open_is_left_and_told(store: ImageStore) -> None:
    flip(store.layer_path(CHILD) / "Files/app/a.txt")
    with wclayer.open_image(NAME, store):
        result = repair_store(store)
    assert result.layers == []
    assert any("it is mounted or open" in problem.text for problem in result.problems)
    assert repair_store(store).layers == [CHILD]


def test_a_host_that_cannot_replace_a_folder_keeps_the_damaged_layer(
    store: ImageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    flip(store.layer_path(CHILD) / "Files/app/a.txt")
    monkeypatch.setattr(system, "exchange_directories", lambda *_: False)
    result = repair_store(store)
    assert (result.layers, store.has_layer(CHILD)) == ([], True)
    assert any("this host cannot replace a folder in one step" in problem.text for problem in result.problems)


def test_what_an_image_has_wrong_itself_is_told_and_no_damage(tmp_path: Path) -> None:
    files = {f"Files/Windows/System32/config/{name}": b"" for name in ("DEFAULT", "SAM", "SECURITY", "SYSTEM")}
    tar = samples.small_tar(files | {"Files/Windows/System32/config/SOFTWARE": b"no hive"})
    image = samples.image("oci", [samples.layer(tar, "oci")], [samples.step("Apply image 10.0.20348.1")], {})
    store = ImageStore(tmp_path / "store")
    fill(store, NAME, image)
    unpack_image(store, store.find(NAME))
    before = contents(store)
    result = repair_store(store)
    assert result.layers == []
    assert [problem.path for problem in result.problems] == [problem.path for problem in store.check()]
    assert contents(store) == before


def test_records_of_build_steps_that_refer_to_nothing_go(store: ImageStore) -> None:
    cache = BuildCache(store.path)
    layer = wclayer.Descriptor("application/x", IMAGE.layers[1].digest, len(IMAGE.layers[1].data))
    cache.put("sha256:" + "1" * 64, CachedStep("COPY a b", "2026-01-01T00:00:00Z", layer, IMAGE.diff_ids[1], CHILD))
    cache.put("sha256:" + "2" * 64, CachedStep("WORKDIR C:\\", "2026-01-01T00:00:00Z"))
    gone = CachedStep("COPY c d", "2026-01-01T00:00:00Z", layer, IMAGE.diff_ids[1], "sha256:" + "9" * 64)
    cache.put("sha256:" + "3" * 64, gone)
    (store.path / "cache" / ("4" * 64)).write_bytes(b"{")
    assert len(problems(store)) == 2
    assert repair_store(store).steps == ["sha256:" + "3" * 64, "sha256:" + "4" * 64]
    assert (problems(store), repair_store(store).steps) == ([], [])


def test_a_layer_of_a_build_step_is_unpacked_again(store: ImageStore) -> None:
    layer = wclayer.Descriptor("application/x", IMAGE.layers[1].digest, len(IMAGE.layers[1].data))
    step = CachedStep("COPY a b", "2026-01-01T00:00:00Z", layer, IMAGE.diff_ids[1], CHILD)
    BuildCache(store.path).put("sha256:" + "1" * 64, step)
    store.untag(NAME)
    flip(store.layer_path(CHILD) / "Files/app/a.txt")
    assert (repair_store(store).layers, problems(store)) == ([CHILD], [])


def test_nothing_is_changed_if_the_names_cannot_be_read(store: ImageStore) -> None:
    cut(store.blob_path(IMAGE.layers[0].digest))
    (store.path / "store.db").write_bytes(b"no database at all, but a long text of no use to anybody" * 200)
    before = contents(store)
    with pytest.raises(CorruptLayerError):
        repair_store(store)
    assert contents(store) == before


def test_a_store_in_use_is_not_repaired(store: ImageStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wclayer.layers.atomic.PATIENCE", 0.1)
    with store.in_use(), pytest.raises(LayerBusyError, match="uses the store"):
        repair_store(store)
    with pytest.raises(PathNotFoundError, match="there is no store here"):
        repair_store(ImageStore(store.path / "none"))


def test_any_damage_is_repaired_after_a_pull(store: ImageStore) -> None:
    before = contents(store)
    chance = random.Random(16)
    kinds: list[Callable[[Path], None]] = [flip, cut, Path.unlink]
    files = sorted(path for path in before if "blank" not in path and "layout" not in path)
    for _ in range(15):
        for path in chance.sample(files, 3):
            damaged = store.path / path
            # Two names may be of one file.
            if damaged.exists() and damaged.stat().st_size:
                damage: Callable[[Path], None] = chance.choice(kinds)
                damage(damaged)
        repair_store(store)
        fill(store, NAME, IMAGE)
        assert repair_store(store).problems == []
        assert contents(store) == before


def test_the_verb_tells_what_it_did(store: ImageStore) -> None:
    def told(*arguments: str, status: int = 0) -> str:
        ended = run(*arguments, status=status)
        return (ended.stdout or ended.stderr).decode().replace("\r\n", "\n")

    digest = IMAGE.layers[0].digest
    flip(store.layer_path(CHILD) / "Files/app/a.txt")
    assert "`wclayer prune --repair` mends" in told("prune", "--check", status=1)
    assert told("prune", "--repair") == f"unpacked the layer {CHILD} again\n{store.path}: no problem found\n"
    flip(store.blob_path(digest))
    record = json.loads(told("prune", "--repair", "--json", status=1))
    assert (record["blobs"], record["layers"], record["steps"]) == ([digest], [], [])
    assert [problem["path"] for problem in record["problems"]] == [NAME]
    assert "removes only what is damaged" in told("prune", "--repair", "--all", status=64)
    assert "give one of them" in told("prune", "--repair", "--check", status=64)


def test_the_folder_of_the_cache_is_read_once_for_many_records(
    store: ImageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = BuildCache(store.path)
    leftover = store.path / "cache" / f".wclayer-x-{'0' * 16}.partial"
    leftover.write_bytes(b"of a process that was killed")
    read: list[str] = []
    scandir = os.scandir

    def counted(path: str) -> Any:
        read.append(os.fspath(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", counted)
    for number in range(1, 5):
        cache.put("sha256:" + f"{number}" * 64, CachedStep("ENV A=1", "2026-01-01T00:00:00Z"))
    assert read.count(str(store.path / "cache")) == 1
    assert not leftover.exists()
