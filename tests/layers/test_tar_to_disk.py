"""A disk of a layer tar: in one pass, without a layer directory, with the contents that the usual way gives."""

from __future__ import annotations

import io
import os
import threading
from pathlib import Path

import pytest

import wclayer
from tests.support import contents, layer_tar, put_directories, put_file, run, text, write_volume
from wclayer import sample
from wclayer.errors import (
    DiskFullError,
    InvalidDataError,
    InvalidParameterError,
    NotSupportedError,
)
from wclayer.formats.compression import Compression
from wclayer.layers.directory.writer import DirectoryLayerWriter
from wclayer.layers.tar import TarLayerWriter
from wclayer.layers.volume.reader import VolumeLayerReader
from wclayer.model import Entry, LayerWriter

MIB = 1 << 20


def _gzip(build: object) -> bytes:
    raw = io.BytesIO()
    with TarLayerWriter(raw, "tar", compression=Compression.GZIP) as writer:
        build(writer)  # type: ignore[operator]
    return raw.getvalue()


@pytest.fixture
def no_directories(monkeypatch: pytest.MonkeyPatch) -> None:
    """No layer directory can be made."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a layer directory is made")

    monkeypatch.setattr(DirectoryLayerWriter, "__init__", refuse)


def test_a_tar_that_can_be_read_only_once_becomes_a_disk(tmp_path: Path, no_directories: None) -> None:
    fifo, disk = tmp_path / "fifo", tmp_path / "out" / "disk.vhdx"
    disk.parent.mkdir()
    os.mkfifo(fifo)
    tar = _gzip(sample.write_base)
    feeder = threading.Thread(target=fifo.write_bytes, args=(tar,))
    feeder.start()
    result = wclayer.convert_layer(fifo, disk, size=128 * MIB)
    feeder.join()
    assert list(disk.parent.iterdir()) == [disk]
    with wclayer.TarLayerReader(io.BytesIO(tar), "tar", is_base=True) as reader:
        for _ in reader:
            pass
        reader.finish()
        assert (result.diff_id, result.digest) == (reader.diff_id, reader.digest)
    with VolumeLayerReader(disk) as reader:
        assert len(contents(reader)) == result.entries


@pytest.mark.parametrize("alone", [False, True])
def test_the_disk_has_what_the_disk_of_the_imported_layer_has(tmp_path: Path, alone: bool) -> None:
    tar, layer = tmp_path / "base.tar", tmp_path / "layer"
    tar.write_bytes(layer_tar(sample.write_base))
    wclayer.import_layer_from_tar(io.BytesIO(tar.read_bytes()), layer)
    found = []
    for source in (layer, tar):
        disk = tmp_path / f"{source.name}.img"
        wclayer.convert_layer(source, disk, to="ntfs", size=128 * MIB, alone=alone, reproducible=True)
        with VolumeLayerReader(disk) as reader:
            found.append(contents(reader))
    # The names of one file have the metadata of the one that came first: in the tar, or in Windows' order.
    several = {fact[0] for facts in found for fact in facts if fact[2]} | {fact[2] for facts in found for fact in facts}
    if alone:
        assert found[0] == found[1]
    assert [fact[0] for fact in found[0]] == [fact[0] for fact in found[1]]
    assert [(fact[2], fact[-1]) for fact in found[0]] == [(fact[2], fact[-1]) for fact in found[1]]
    assert [f for f in found[0] if f[0] not in several] == [f for f in found[1] if f[0] not in several]


def _put_tombstone(writer: LayerWriter) -> None:
    put_directories(writer, "Files")
    writer.put(Entry("Files/gone", None))


def _put_delta(writer: LayerWriter) -> None:
    put_directories(writer, "Files", "Hives")
    put_file(writer, "Hives/Software_Delta", b"regf")


@pytest.mark.parametrize("build", [_put_tombstone, _put_delta])
def test_the_tar_of_a_layer_over_others_is_refused(tmp_path: Path, build: object) -> None:
    tar = tmp_path / "x.tar"
    tar.write_bytes(layer_tar(build))  # type: ignore[arg-type]
    with pytest.raises(NotSupportedError, match="import the layer with its parents"):
        wclayer.convert_layer(tar, tmp_path / "disk", size=64 * MIB)
    assert [path.name for path in tmp_path.iterdir()] == ["x.tar"]


def test_what_is_no_whole_tar_leaves_nothing(tmp_path: Path) -> None:
    tar = tmp_path / "x.tar"
    whole = layer_tar(lambda writer: put_file(writer, "Files/large", b"x" * MIB))
    # The end marks are part of what is read, too.
    for size in (0, 10_000, len(whole) - 10_240):
        tar.write_bytes(whole[:size])
        with pytest.raises(InvalidDataError):
            wclayer.convert_layer(tar, tmp_path / "disk", size=64 * MIB)
    tar.write_bytes(whole + b"more")
    assert wclayer.convert_layer(tar, tmp_path / "kept", size=64 * MIB).entries == 1
    tar.write_bytes(layer_tar(lambda writer: put_file(writer, "Files/large", b"x" * 9 * MIB)))
    with pytest.raises(DiskFullError, match="--size"):
        wclayer.convert_layer(tar, tmp_path / "disk", to="ntfs", size=8 * MIB + 512)
    volume = write_volume(tmp_path / "volume", lambda writer: put_file(writer, "Files/f", b"x"), 8 * MIB)
    with pytest.raises(InvalidParameterError, match="disk convert"):
        wclayer.convert_layer(volume, tmp_path / "disk", size=64 * MIB)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept", "volume", "x.tar"]


def test_the_command_tells_the_digests(tmp_path: Path) -> None:
    tar, disk = tmp_path / "base.tar.gz", tmp_path / "disk.vhdx"
    tar.write_bytes(_gzip(sample.write_base))
    shown = text("convert", tar, "--size", "200MiB", "-o", disk)
    assert "diffID sha256:" in shown
    assert "digest sha256:" in shown
    run("import", "-i", disk, tmp_path / "back")
    assert "License.txt" in text("ls", tmp_path / "back", "C:\\")
