"""PE files of a view are read through it, without a copy on the host."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO, cast

from tests.formats.pe import craft
from tests.support import put_directories, put_file
from wclayer.formats.pe.facts import read_facts
from wclayer.formats.pe.image import PeImage
from wclayer.formats.pe.source import FileSource
from wclayer.layers.directory.writer import DirectoryLayerWriter
from wclayer.view.layer_view import LayerView


def test_the_version_of_a_program_in_a_layer_is_read(tmp_path: Path) -> None:
    version = craft.version_info(((10, 0, 20348, 2),) * 2, {"040904b0": [("ProductName", "Windows")]})
    tree: craft.Tree = {3: {1: {0: bytes(1 << 20)}}, 16: {1: {1033: version}}}
    with DirectoryLayerWriter(tmp_path / "base") as writer:
        put_directories(writer, "Files")
        put_file(writer, "Files/program.exe", craft.with_resources(tree).encode())
    with LayerView(tmp_path / "base") as view, cast(BinaryIO, view.open("program.exe")) as file:
        facts = read_facts(PeImage(FileSource(file)))
    assert facts.problems == ()
    assert facts.version is not None
    assert facts.version.fixed is not None
    assert facts.version.fixed.file_version == (10, 0, 20348, 2)
    assert facts.version.get("ProductName") == "Windows"
