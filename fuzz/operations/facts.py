"""Tar to facts: what an import takes as a base layer has facts, and they have the entries and hives of the layer."""

from __future__ import annotations

import io
from pathlib import Path

from fuzz.operations.ground import LIMITS, RefusedError, expect, expect_equal, fresh, refusing_cleanly
from wclayer.engines.portable.engine import import_layer_from_tar
from wclayer.images.descriptor import OCI_LAYER, Descriptor
from wclayer.inventory.facts.archive import unpack_facts
from wclayer.inventory.facts.reading import make_facts
from wclayer.layers.directory import open_layer
from wclayer.layers.directory.layer import LayerDirectory
from wclayer.layers.hives import is_hive
from wclayer.win32.names import path_key


def facts_of_tar(data: bytes) -> None:
    """The data is the tar of a layer."""
    with fresh() as folder:
        layer, file, unpacked = folder / "layer", folder / "facts", folder / "unpacked"
        error = _refusal(data, file, folder)
        with refusing_cleanly(folder):
            import_layer_from_tar(io.BytesIO(data), layer, limits=LIMITS)
        expect(error is None, "an imported layer has no facts", error)
        unpack_facts(file, unpacked)
        with open_layer(layer) as imported, open_layer(unpacked) as facts:
            expect_equal(_entries(facts), _entries(imported), "the facts have other entries than the layer")


def _refusal(data: bytes, file: Path, folder: Path) -> BaseException | None:
    """Makes the facts; returns why they are refused, or None."""
    try:
        with refusing_cleanly(folder):
            make_facts(lambda: io.BytesIO(data), Descriptor.of(data, OCI_LAYER), file)
    except RefusedError as refusal:
        return refusal.__cause__
    return None


def _entries(layer: LayerDirectory) -> list[object]:
    found: list[object] = []
    for row in layer.own_entries():
        name = layer.name_of(row)
        streams = [(each.stream_id, each.name, each.size, each.sha256) for each in layer.stream_rows(row)]
        first = layer.name_of(layer.first_name(row))
        hive = b"".join(layer.data_chunks(row)) if is_hive(path_key(name)) and row.sha256 and row.size else b""
        found.append(
            (name, row.info, row.size, row.sha256, layer.security(row), row.eas, row.reparse, first, streams, hive)
        )
    return found
