"""The facts of a layer say what the unpacked layer says."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

import wclayer
from tests.support import VECTORS, layer_tar, vector_bytes
from wclayer import sample
from wclayer.images.descriptor import OCI_LAYER, Descriptor
from wclayer.inventory.facts.archive import unpack_facts
from wclayer.inventory.facts.reading import make_facts
from wclayer.layers.directory import open_layer
from wclayer.layers.directory.hives import open_hive
from wclayer.layers.directory.layer import LayerDirectory
from wclayer.layers.hives import LAYER_HIVES

TARS: dict[str, Callable[[], bytes]] = {
    **{name: partial(vector_bytes, name) for name in VECTORS},
    "sample base": lambda: layer_tar(sample.write_base),
    "sample child": lambda: layer_tar(sample.write_child),
}


def facts_of(blob: bytes, folder: Path) -> Path:
    """The unpacked facts of a layer."""
    folder.mkdir(exist_ok=True)
    made = make_facts(lambda: io.BytesIO(blob), Descriptor.of(blob, OCI_LAYER), folder / "facts")
    assert unpack_facts(folder / "facts", folder / "unpacked") == made
    return folder / "unpacked"


def rows_of(layer: LayerDirectory) -> list[tuple[object, ...]]:
    """All entries of a layer with all metadata, sizes and digests; of a link to a parent's file what its layer says."""
    found: list[tuple[object, ...]] = []
    for row in layer.own_entries():
        if row.link_target is not None and row.link is None:
            found.append((layer.name_of(row), row.info, row.link_target))
            continue
        streams = [
            (each.stream_id, each.attributes, each.name, each.size, each.sha256) for each in layer.stream_rows(row)
        ]
        first = layer.name_of(layer.first_name(row))
        found.append(
            (
                layer.name_of(row), row.info, row.size, row.sha256, layer.security(row), row.eas, row.reparse,
                row.link_target, first, streams,
            )
        )  # fmt: skip
    return [*found, *((row.path,) for row in layer.tombstones())]


@pytest.mark.parametrize("name", TARS)
def test_facts_have_all_entries_of_the_layer(name: str, tmp_path: Path) -> None:
    blob = TARS[name]()
    parents = []
    if "child" in name:
        parents = [tmp_path / "base"]
        base = TARS["sample base" if name == "sample child" else "base.tar.gz"]()
        wclayer.import_layer_from_tar(io.BytesIO(base), parents[0])
    wclayer.import_layer_from_tar(io.BytesIO(blob), tmp_path / "layer", parents)
    with open_layer(tmp_path / "layer") as layer, open_layer(facts_of(blob, tmp_path / "facts")) as facts:
        expected = rows_of(layer)
        assert rows_of(facts) == expected
        assert len(expected) > 7
        hives = 0
        for hive in LAYER_HIVES:
            for path in (hive.config, hive.delta):
                whole, known = open_hive(layer, path), open_hive(facts, path)
                assert (whole is None) == (known is None), path
                if whole is not None and known is not None:
                    assert bytes(whole.buffer) == bytes(known.buffer)
                    hives += 1
        assert hives or "sample" not in name


def test_equal_blobs_have_equal_facts(tmp_path: Path) -> None:
    blob = TARS["sample base"]()
    for name in ("a", "b"):
        facts_of(blob, tmp_path / name)
    assert (tmp_path / "a/facts").read_bytes() == (tmp_path / "b/facts").read_bytes()


def test_nothing_is_left_beside_the_facts(tmp_path: Path) -> None:
    facts_of(TARS["sample base"](), tmp_path / "x")
    assert sorted(path.name for path in (tmp_path / "x").iterdir()) == ["facts", "unpacked"]
