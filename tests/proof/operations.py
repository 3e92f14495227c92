"""The operations that are tried under faults, power cuts and kills, and the world that they work in."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import wclayer
from tests.support import info, layer_tar, put_directories, put_file
from wclayer import sample
from wclayer.model import LayerWriter
from wclayer.view.transfer import copy_out

MIB = 1 << 20


@dataclass
class World:
    """Layers and files to work with; `place` is where results go, `scratch` one that may be changed."""

    sources: Path
    place: Path

    @property
    def base(self) -> Path:
        return self.sources / "base"

    @property
    def scratch(self) -> Path:
        return self.place / "scratch"


def make_sources(place: Path) -> None:
    """Puts what the operations read into a folder: a base layer, its tar, transport folder and disks, and a scratch."""
    (place / "base.tar").write_bytes(layer_tar(sample.write_base))
    with (place / "base.tar").open("rb") as stream:
        wclayer.import_layer_from_tar(stream, place / "base")
    wclayer.export_layer(place / "base", place / "transport")
    wclayer.convert_layer(place / "base", place / "base.img", to="ntfs", size=64 * MIB)
    wclayer.convert_disk(place / "base.img", place / "base.vhdx")
    wclayer.create_scratch_layer(place / "scratch", [place / "base"])
    with wclayer.LayerView(scratch=place / "scratch") as view:
        view.write_bytes("C:\\app.txt", b"x" * 300_000)


def _import_tar(world: World) -> None:
    with (world.sources / "base.tar").open("rb") as stream:
        wclayer.import_layer_from_tar(stream, world.place / "layer", source="base.tar")


def _import_many(world: World) -> None:
    """So many files that worker processes make them."""

    def build(writer: LayerWriter) -> None:
        put_directories(writer, "Files")
        for number in range(700):
            put_file(writer, f"Files/{number}", b"x" * 900)

    wclayer.import_layer_from_tar(io.BytesIO(layer_tar(build)), world.place / "layer", source="many.tar")


def _import_streams(world: World) -> None:
    def build(writer: LayerWriter) -> None:
        put_directories(writer, "Files")
        put_file(writer, "Files/f", b"x", stream=b"s" * 3_000_000)

    wclayer.import_layer_from_tar(io.BytesIO(layer_tar(build)), world.place / "layer", source="streams.tar")


def _write_backup(world: World) -> None:
    with wclayer.new_layer_writer(world.place / "layer") as writer:
        writer.add("Files", info(0x10))
        writer.add("Files/f", info())
        writer.write(b"\1\0\0\0\0\0\0\0" + (2 * MIB).to_bytes(8, "little") + bytes(4) + b"x" * 2 * MIB)


def _edit(path: Path) -> None:
    with wclayer.RegistryEditor(path) as editor:
        editor.set_value("HKLM\\SOFTWARE\\New", "a", 1, b"b\0\0\0")


def _copy_out(world: World) -> None:
    with wclayer.LayerView([world.base]) as view:
        copy_out(view, "C:\\Windows\\System32", world.place / "out", recursive=True)


def _change(world: World) -> None:
    with wclayer.LayerView(scratch=world.scratch) as view:
        view.mkdir("C:\\new")
        view.write_bytes("C:\\new\\file", b"x" * 500_000)
        view.write_bytes("C:\\Windows\\win.ini", b"changed")
        view.unlink("C:\\new\\file")


def _activate(world: World) -> None:
    wclayer.activate_layer(world.scratch)
    wclayer.deactivate_layer(world.scratch)


MAKING: dict[str, Callable[[World], object]] = {
    "import tar": _import_tar,
    "import many": _import_many,
    "import streams": _import_streams,
    "import folder": lambda w: wclayer.import_layer(w.place / "layer", w.sources / "transport"),
    "import disk": lambda w: wclayer.import_layer_from_disk(w.place / "layer", w.sources / "base.img"),
    "new_layer_writer": _write_backup,
    "create layer": lambda w: wclayer.create_layer(w.place / "layer", w.base),
    "create scratch": lambda w: wclayer.create_scratch_layer(w.place / "layer", [w.base]),
    "export tar": lambda w: wclayer.export_layer_to_file(w.place / "out", w.base),
    "export gzip": lambda w: wclayer.export_layer_to_file(w.place / "out", w.base, compression="gzip"),
    "export folder": lambda w: wclayer.export_layer(w.base, w.place / "out"),
    "convert vhdx": lambda w: wclayer.convert_layer(w.base, w.place / "out", size=64 * MIB),
    "convert ntfs": lambda w: wclayer.convert_layer(w.base, w.place / "out", to="ntfs", size=64 * MIB),
    "disk to vhdx": lambda w: wclayer.convert_disk(w.sources / "base.img", w.place / "out"),
    "disk to raw": lambda w: wclayer.convert_disk(w.sources / "base.vhdx", w.place / "out", to="raw"),
}
"""Functions that make something in `place`, which must be as it was if they fail."""
CHANGING: dict[str, Callable[[World], object]] = {
    "change scratch": _change,
    "activate, deactivate": _activate,
    "expand": lambda w: wclayer.expand_scratch_size(w.scratch, 30 << 30),
    "edit registry": lambda w: _edit(w.scratch),
    "grant": lambda w: wclayer.grant_vm_access("11111111-2222-3333-4444-555555555555", w.scratch / "sandbox.vhdx"),
    "copy out": _copy_out,
}
"""Functions that change the scratch, or make more than one thing."""
EVERY = MAKING | CHANGING


def copy_scratch(world: World) -> None:
    """Gives the world a scratch of its own, which operations may change."""
    shutil.copytree(world.sources / "scratch", world.scratch, symlinks=True)
