"""Layers made of a few files, and their facts."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

from tests.support import info, layer_tar, put_directories, put_file
from wclayer.images.descriptor import OCI_LAYER, Descriptor
from wclayer.inventory.facts.archive import unpack_facts
from wclayer.inventory.facts.reading import make_facts
from wclayer.model import Entry, LayerWriter


def blob_of(files: Mapping[str, bytes], links: Mapping[str, str] | None = None) -> bytes:
    """The tar of a layer with files, and further names of them, by their paths below C:. Links come last."""
    names = {**files, **(links or {})}
    above = {"/".join(path.split("/")[:depth]) for path in names for depth in range(1, path.count("/") + 1)}

    def build(writer: LayerWriter) -> None:
        put_directories(writer, "Files", *(f"Files/{path}" for path in sorted(above)))
        for path, data in files.items():
            put_file(writer, f"Files/{path}", data)
        for path, target in (links or {}).items():
            writer.put(Entry(f"Files/{path}", info(), link_target=f"Files/{target}"))

    return layer_tar(build)


def facts_file(blob: bytes, target: Path) -> Path:
    """The facts file of a layer."""
    make_facts(lambda: io.BytesIO(blob), Descriptor.of(blob, OCI_LAYER), target)
    return target


def facts_of(blob: bytes, folder: Path) -> Path:
    """The unpacked facts of a layer."""
    folder.mkdir(exist_ok=True)
    unpack_facts(facts_file(blob, folder / "facts"), folder / "unpacked")
    return folder / "unpacked"
