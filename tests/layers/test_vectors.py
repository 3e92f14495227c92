"""The vectors of another implementation: our reading equals its own, and every conversion keeps them."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest

import wclayer
from tests.support import DATA, VECTORS, contents, tree_listing, vector_bytes
from wclayer.layers.backup_api import BackupLayerReader, BackupLayerWriter
from wclayer.layers.tar import TarLayerReader, TarLayerWriter
from wclayer.layers.transport import TransportLayerReader


def _expected(name: str) -> list[dict[str, object]]:
    lines = (DATA / f"{name.partition('.')[0]}.expected.jsonl").read_text(encoding="utf-8").strip().split("\n")
    return [json.loads(line) for line in lines]


def _import(name: str, place: Path) -> Path:
    """The vector as a layer; a child has the base vector as its parent."""
    parents = []
    if name.startswith("child"):
        parents = [_import("base.tar.gz", place)]
    layer = place / name.partition(".")[0]
    with (DATA / name).open("rb") as stream:
        wclayer.import_layer_from_tar(stream, layer, parents, source=name)
    return layer


@pytest.mark.parametrize("name", VECTORS)
def test_our_reading_is_the_reference_s(name: str) -> None:
    expected = _expected(name)
    found: list[dict[str, object]] = []
    with TarLayerReader(io.BytesIO((DATA / name).read_bytes()), name, is_base=name.startswith("base")) as layer:
        reader = BackupLayerReader(layer)
        while (entry := reader.next()) is not None:
            if entry.info is None:
                found.append({"kind": "whiteout", "name": entry.name})
            elif entry.link_target is not None:
                found.append({"kind": "link", "name": entry.name, "target": entry.link_target})
            else:
                found.append(
                    {
                        "kind": "entry",
                        "name": entry.name,
                        "size": entry.size,
                        "file_attributes": entry.info.attributes,
                        "creation_time": entry.info.creation_time,
                        "last_access_time": entry.info.last_access_time,
                        "last_write_time": entry.info.last_write_time,
                        "change_time": entry.info.change_time,
                        "backup_stream_sha256": hashlib.sha256(reader.read()).hexdigest(),
                    }
                )
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours == theirs


@pytest.mark.parametrize("name", VECTORS)
def test_tar_to_directory_to_tar_is_bit_identical(name: str, tmp_path: Path) -> None:
    layer = _import(name, tmp_path)
    assert list(wclayer.check_layer(layer)) == []
    raw = io.BytesIO()
    result = wclayer.export_layer_to_tar(raw, layer)
    assert raw.getvalue() == vector_bytes(name)
    assert result.unchanged
    assert result.diff_id == f"sha256:{hashlib.sha256(vector_bytes(name)).hexdigest()}"


@pytest.mark.parametrize("name", VECTORS)
def test_every_header_of_the_vectors_is_canonical(name: str, tmp_path: Path) -> None:
    """Our writer makes what Go's made, without any form kept: same entries, same bytes."""
    raw = io.BytesIO()
    with (
        BackupLayerReader(TarLayerReader(io.BytesIO((DATA / name).read_bytes()), name)) as reader,
        BackupLayerWriter(TarLayerWriter(raw)) as writer,
    ):
        wclayer.copy_layer(reader, writer)
    assert raw.getvalue() == vector_bytes(name)


@pytest.mark.parametrize("name", VECTORS)
def test_backup_streams_carry_everything(name: str) -> None:
    """The layer written through `add` and `write` from `read` is the layer."""
    raw = io.BytesIO()
    with (
        BackupLayerReader(TarLayerReader(io.BytesIO((DATA / name).read_bytes()), name)) as reader,
        BackupLayerWriter(TarLayerWriter(raw)) as writer,
    ):
        while (entry := reader.next()) is not None:
            if entry.info is None:
                writer.remove(entry.name)
            elif entry.link_target is not None:
                writer.put(entry)
            else:
                writer.add(entry.name, entry.info)
                while piece := reader.read(1000):
                    writer.write(piece)
    assert raw.getvalue() == vector_bytes(name)


@pytest.fixture
def reference_transport(tmp_path: Path) -> Path:
    folder = tmp_path / "reference"
    with tarfile.open(DATA / "child-no-junction.transport.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    return folder


def test_tar_to_transport_is_the_reference_s_folder(tmp_path: Path, reference_transport: Path) -> None:
    layer = _import("child-no-junction.tar", tmp_path)
    wclayer.export_layer(layer, tmp_path / "transport")
    assert tree_listing(tmp_path / "transport") == tree_listing(reference_transport)


def test_the_reference_s_transport_folder_to_tar(tmp_path: Path, reference_transport: Path) -> None:
    """Everything but times comes back: a POSIX host keeps no creation and change times of what others wrote."""
    base = _import("base.tar.gz", tmp_path)
    wclayer.import_layer(tmp_path / "from-transport", reference_transport, [base])
    raw = io.BytesIO()
    wclayer.export_layer_to_tar(raw, tmp_path / "from-transport")
    ours = {row[0]: row[2:] for row in contents(TarLayerReader(io.BytesIO(raw.getvalue())))}
    theirs = {row[0]: row[2:] for row in contents(TarLayerReader(io.BytesIO(vector_bytes("child-no-junction.tar"))))}
    assert ours == theirs


def test_our_transport_folder_to_tar_keeps_times_too(tmp_path: Path) -> None:
    layer = _import("child-no-junction.tar", tmp_path)
    wclayer.export_layer(layer, tmp_path / "transport")
    wclayer.import_layer(tmp_path / "again", tmp_path / "transport", [tmp_path / "base"])
    assert sorted(contents(wclayer.new_layer_reader(tmp_path / "again")), key=str) == sorted(
        contents(wclayer.new_layer_reader(layer)), key=str
    )


def test_transport_folders_of_children_keep_tombstones(tmp_path: Path) -> None:
    layer = _import("child.tar", tmp_path)
    wclayer.export_layer(layer, tmp_path / "transport")
    text = (tmp_path / "transport" / "tombstones.txt").read_bytes()
    deleted = [row["name"] for row in _expected("child.tar") if row["kind"] == "whiteout"]
    assert text == b"\xef\xbb\xbfVersion 1.0\r\n" + b"".join(
        b"\\" + str(name).removeprefix("Files/").replace("/", "\\").encode() + b"\r\n" for name in deleted
    )
    with TransportLayerReader(tmp_path / "transport") as reader:
        assert [item.entry.name for item in reader if item.entry.is_tombstone] == sorted(map(str, deleted))


def test_gzip_of_any_maker_gives_the_same_layer(tmp_path: Path) -> None:
    packed = gzip.compress(vector_bytes("base.tar.gz"), 1)
    result = wclayer.import_layer_from_tar(io.BytesIO(packed), tmp_path / "layer")
    assert result.digest == f"sha256:{hashlib.sha256(packed).hexdigest()}"
    assert result.diff_id == f"sha256:{hashlib.sha256(vector_bytes('base.tar.gz')).hexdigest()}"
