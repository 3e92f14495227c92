"""`--facts`: inventories and differences of images whose layers are read once and never unpacked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import wclayer
from tests.images import samples
from tests.images.forms import write_layout
from tests.inventory.conftest import Windows
from tests.inventory.facts.chains import told
from tests.inventory.windows import APPLICATION, BASE
from tests.support import parsed, run, text
from wclayer.errors import InvalidDataError


def _shown(*arguments: str | Path) -> dict[str, Any]:
    record = parsed("inventory", *arguments)
    assert isinstance(record, dict)
    for layer in record["layers"]:
        layer["path"] = ""
    return record


def test_an_image_of_the_store_shows_the_same_and_is_read_once(machine: Windows, tmp_path: Path) -> None:
    store, facts = ("--store", machine.store.path), tmp_path / "facts"
    expected = _shown(*store, APPLICATION)
    assert _shown(*store, "--facts", facts, APPLICATION) == expected
    files = sorted(facts.glob("sha256/*/*.tar.zst"))
    assert len(files) == len(expected["layers"])
    before = [file.stat().st_mtime_ns for file in files]
    own = _shown(*store, "--facts", facts, "--own", "--no-files", APPLICATION)
    assert own == _shown(*store, "--own", "--no-files", APPLICATION)
    assert [file.stat().st_mtime_ns for file in files] == before


def test_layers_with_facts_are_not_needed_any_more(tmp_path: Path) -> None:
    image = samples.image(
        "oci", [samples.layer(samples.sample_base_tar()), samples.layer(samples.sample_child_tar())], [], {}
    )
    write_layout(tmp_path / "layout", {"1": image})
    with wclayer.open_image_facts(f"oci:{tmp_path / 'layout'}", tmp_path / "facts") as facts:
        first = wclayer.take_inventory(facts)
        assert [Path(place).exists() for place in facts.places] == [True, True]
        folders = facts.folders
    assert not any(folder.exists() for folder in folders)
    for layer in image.layers:
        (tmp_path / "layout/blobs" / layer.digest.replace(":", "/")).unlink()
    with wclayer.open_image_facts(f"oci:{tmp_path / 'layout'}", tmp_path / "facts") as facts:
        assert told(wclayer.take_inventory(facts)) == told(first)
    assert first.operating_system is not None


def test_the_facts_of_a_scan_are_used_and_added_to(tmp_path: Path, machine: Windows) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "fleet.json").write_text("{}")
    run("inventory", "--store", machine.store.path, "--facts", out, BASE)
    assert len(list((out / "facts").glob("sha256/*/*.tar.zst"))) == 2


def test_two_images_differ_as_their_layers_do(machine: Windows, tmp_path: Path) -> None:
    store = ("--store", machine.store.path)
    expected = text("diff", *store, BASE, APPLICATION, status=1)
    assert text("diff", *store, "--facts", tmp_path / "facts", BASE, APPLICATION, status=1) == expected
    assert len(expected.splitlines()) > 50
    assert text("diff", *store, "--facts", tmp_path / "facts", BASE, BASE) == ""


def test_differences_of_all_that_a_layer_can_have_are_the_same(tmp_path: Path) -> None:
    """Streams, EAs, links, security, a utility VM."""
    layers = [samples.layer(samples.sample_base_tar()), samples.layer(samples.sample_child_tar())]
    for name, chain in (("a", layers[:1]), ("b", layers)):
        write_layout(tmp_path / name, {"1": samples.image("oci", chain, [], {})})
    names = [f"oci:{tmp_path / name}" for name in "ab"]
    store = wclayer.ImageStore(tmp_path / "store")
    with wclayer.open_image(names[0], store) as a, wclayer.open_image(names[1], store) as b:
        expected = wclayer.diff_images(a, b)
    facts = tmp_path / "facts"
    with wclayer.open_image_facts(names[0], facts) as old, wclayer.open_image_facts(names[1], facts) as new:
        found = wclayer.diff_images(old, new)
    assert found.files == expected.files
    assert found.registry == expected.registry
    assert found.documents == expected.documents
    assert (found.inventory is None) == (expected.inventory is None)
    assert len(found.files) > 5


def test_a_damaged_layer_leaves_no_facts(tmp_path: Path) -> None:
    image = samples.image("oci", [samples.layer(samples.small_base_tar())], [], {})
    write_layout(tmp_path / "layout", {"1": image})
    blob = tmp_path / "layout/blobs" / image.layers[0].digest.replace(":", "/")
    blob.write_bytes(blob.read_bytes()[:-20])
    with (
        pytest.raises(InvalidDataError, match=image.layers[0].digest),
        wclayer.open_image_facts(f"oci:{tmp_path / 'layout'}", tmp_path / "facts"),
    ):
        pass
    assert not list((tmp_path / "facts").rglob("*.zst"))


@pytest.mark.parametrize("arguments", [("a:1",), ("--alone", "a:1", "b:1")])
def test_two_whole_images_are_compared_by_facts(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    found = run("diff", "--facts", tmp_path, *arguments, status=None)
    assert found.returncode
    assert b"--facts compares two images, A and B" in found.stderr
