"""Layers with hives, imported from tars."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import wclayer
from tests.support import layer_tar, put_directories, put_file
from wclayer.model import LayerWriter

CONFIG = "Files/Windows/System32/config"


def import_tar(folder: Path, name: str, build: Callable[[LayerWriter], None], *parents: Path) -> Path:
    """Imports a layer, and checks that it goes out as it came in."""
    tar = layer_tar(build)
    wclayer.import_layer_from_tar(io.BytesIO(tar), folder / name, parents)
    out = io.BytesIO()
    assert wclayer.export_layer_to_tar(out, folder / name).unchanged
    assert out.getvalue() == tar
    return folder / name


def base_layer(folder: Path, **hives: bytes) -> Path:
    """A base layer with those hives in its config."""

    return import_tar(folder, "base", lambda writer: put_hives(writer, **hives))


def put_hives(writer: LayerWriter, **hives: bytes) -> None:
    """Puts the entries of a base layer with those hives in its config."""
    put_directories(writer, "Files", "Files/Windows", "Files/Windows/System32", CONFIG)
    for name, data in hives.items():
        put_file(writer, f"{CONFIG}/{name.replace('_', '.')}", data)


def child_layer(folder: Path, name: str, *parents: Path, **deltas: bytes) -> Path:
    """A child with those deltas."""

    def build(writer: LayerWriter) -> None:
        put_directories(writer, "Files", "Hives")
        for stem, data in deltas.items():
            put_file(writer, f"Hives/{stem}_Delta", data)

    return import_tar(folder, name, build, *parents)
