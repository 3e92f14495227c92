"""Every source obeys `Limits`: what is refused names its limit and the option that raises it, and leaves nothing."""

from __future__ import annotations

import base64
import io
import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from pathlib import Path

import pytest

import wclayer
from tests.support import archive, info, layer_tar, member, nothing_left_in, put_directories, put_file
from wclayer.layers.backup_api import BackupLayerReader
from wclayer.layers.directory.writer import DirectoryLayerWriter
from wclayer.layers.folder import FolderLayerReader
from wclayer.layers.transport import TransportLayerReader, TransportLayerWriter
from wclayer.model import DataStream, Entry, ExtraStream, LayerWriter, Limits, limits_in_use, use_limits
from wclayer.win32.attributes import FileBasicInfo
from wclayer.win32.backup import SPARSE_STREAM, StreamHeader, StreamId
from wclayer.win32.ea import ExtendedAttribute, encode_eas
from wclayer.win32.sddl import from_sddl


@pytest.fixture(autouse=True)
def _limits() -> Iterator[None]:
    yield
    use_limits(Limits())


def _many(writer: LayerWriter) -> None:
    put_directories(writer, "Files", "Files/a", "Files/a/b")
    for number in range(3):
        writer.put(
            Entry(f"Files/{number}", info(), security=from_sddl("O:SYG:SYD:" + "(A;;FA;;;BA)" * (25 + number)).encode())
        )
    eas = encode_eas([ExtendedAttribute(b"NAME", bytes(500))])
    extra = (ExtraStream(int(StreamId.OBJECT_ID), 0, "", bytes(100)),)
    writer.put(Entry("Files/a/eas", info(), 5, eas=eas, extra=extra), [DataStream("", 5, (b"12345",))])
    put_file(writer, "Files/a/b/streams", b"x" * 1000, one=b"1", two=b"2", three=b"3")


_LOWERED = {
    "entries": 5, "total_size": 900, "path_length": 12, "path_depth": 3, "streams": 2, "security_size": 600,
    "all_security_size": 1500, "metadata_size": 500,
}  # fmt: skip


def _import_tar(folder: Path) -> None:
    wclayer.import_layer_from_tar(io.BytesIO(layer_tar(_many)), folder / "layer")


def _import_folder(folder: Path) -> None:
    wclayer.import_layer(folder / "layer", folder / "transport")


def _import_disk(folder: Path) -> None:
    wclayer.import_layer_from_disk(folder / "disk", folder / "layer")


def _write(folder: Path) -> None:
    with wclayer.new_layer_writer(folder / "layer") as writer, TransportLayerReader(folder / "transport") as reader:
        backup = BackupLayerReader(reader)
        while (entry := backup.next()) is not None:
            assert entry.info is not None
            writer.add(entry.name, entry.info)
            writer.write(backup.read())


@pytest.mark.parametrize("limit", _LOWERED)
@pytest.mark.parametrize("source", [_import_tar, _import_folder, _import_disk, _write])
def test_each_source_obeys_each_limit(source: Callable[[Path], None], limit: str, tmp_path: Path) -> None:
    with TransportLayerWriter(tmp_path / "transport") as writer:
        _many(writer)
    if source is _import_disk:
        with DirectoryLayerWriter(tmp_path / "source") as directory:
            _many(directory)
        wclayer.convert_layer(tmp_path / "source", tmp_path / "disk", to="ntfs")
    source(tmp_path)
    os.rename(tmp_path / "layer", tmp_path / "whole")
    use_limits(replace(Limits(), **{limit: _LOWERED[limit]}))
    with nothing_left_in(tmp_path), pytest.raises(wclayer.LimitExceededError) as refused:
        source(tmp_path)
    assert str(refused.value).endswith(f"(limit {limit}; --max-{limit.replace('_', '-')} raises it)")
    assert str(_LOWERED[limit]) in str(refused.value)


def test_limits_are_not_negative() -> None:
    for field in fields(Limits):
        with pytest.raises(ValueError, match=field.name):
            replace(Limits(), **{field.name: -1})
    assert limits_in_use() == Limits()


def _transport(folder: Path, data: bytes) -> Path:
    place = folder / "transport"
    with TransportLayerWriter(place) as writer:
        put_directories(writer, "Files")
        put_file(writer, "Files/a", b"x")
    (place / "Files/a").write_bytes(struct.pack("<I", 0x220) + data)
    return place


_SPARSE = StreamHeader(StreamId.DATA, 0, SPARSE_STREAM).encode()


@pytest.mark.parametrize("size", [1 << 30, 1 << 62])
def test_a_sparse_block_far_out_is_refused_before_anything_is_written(size: int, tmp_path: Path) -> None:
    """A file of 52 bytes that claims any size, in a transport folder and through `write`."""
    stream = _SPARSE + StreamHeader(StreamId.SPARSE_BLOCK, 0, offset=size).encode()
    folder = _transport(tmp_path, stream)
    with nothing_left_in(tmp_path), pytest.raises(wclayer.LimitExceededError, match=r"'Files/a'.*limit (ratio|total)"):
        wclayer.import_layer(tmp_path / "layer", folder)
    with (
        nothing_left_in(tmp_path),
        pytest.raises(wclayer.LimitExceededError, match=r"'Files/a'.*limit (ratio|total)"),
        wclayer.new_layer_writer(tmp_path / "layer") as writer,
    ):
        writer.add("Files", FileBasicInfo(0x10))
        writer.add("Files/a", FileBasicInfo(0x220))
        writer.write(stream)


def test_streams_of_nothing_count(tmp_path: Path) -> None:
    """A hundred thousand of them in a file of 2 MB took minutes."""
    empty = StreamHeader(StreamId.OBJECT_ID, 0, name="").encode()
    folder = _transport(tmp_path, empty * 9000)
    with nothing_left_in(tmp_path), pytest.raises(wclayer.LimitExceededError, match=r"'Files/a'.*limit metadata_size"):
        wclayer.import_layer(tmp_path / "layer", folder)


def test_what_a_sparse_file_may_claim_can_be_raised(tmp_path: Path) -> None:
    size = 1 << 20
    blocks = b"".join(StreamHeader(StreamId.SPARSE_BLOCK, 1, offset=at).encode() + b"!" for at in range(0, 3000, 1000))
    folder = _transport(tmp_path, _SPARSE + blocks + StreamHeader(StreamId.SPARSE_BLOCK, 0, offset=size).encode())
    use_limits(Limits(unrated_size=size, ratio=0))
    with pytest.raises(wclayer.LimitExceededError, match="limit ratio"):
        # The root entry has no data: one byte more than the file's own is too much.
        use_limits(Limits(unrated_size=size - 1, ratio=0))
        wclayer.import_layer(tmp_path / "layer", folder)
    use_limits(Limits(unrated_size=size, ratio=0))
    wclayer.import_layer(tmp_path / "layer", folder)
    data = (tmp_path / "layer/Files/a").read_bytes()
    assert len(data) == size
    assert [at for at in range(4000) if data[at]] == [0, 1000, 2000]


def test_a_plain_folder_with_holes_is_bounded(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "Files").mkdir(parents=True)
    (folder / "Files/hole").touch()
    os.truncate(folder / "Files/hole", 1 << 40)
    with pytest.raises(wclayer.LimitExceededError, match=r"'Files/hole'.*limit ratio; --max-ratio raises it"):
        wclayer.make_base_layer(folder)
    with FolderLayerReader(folder, limits=Limits(unrated_size=1 << 40)) as reader:
        assert {item.entry.name: item.entry.size for item in reader}["Files/hole"] == 1 << 40


def test_the_names_of_a_folder_are_bounded(tmp_path: Path) -> None:
    with TransportLayerWriter(tmp_path / "transport") as writer:
        put_directories(writer, "Files", "Files/d")
        for number in range(50):
            put_file(writer, f"Files/d/{number}")
    use_limits(Limits(names_size=5000))
    with nothing_left_in(tmp_path), pytest.raises(wclayer.LimitExceededError, match="limit names_size"):
        wclayer.import_layer(tmp_path / "layer", tmp_path / "transport")
    with (
        pytest.raises(wclayer.LimitExceededError, match="limit names_size"),
        FolderLayerReader(tmp_path / "transport") as reader,
    ):
        list(reader)


@pytest.mark.parametrize("lines", [100, 5000])
def test_tombstones_are_bounded(lines: int, tmp_path: Path) -> None:
    with TransportLayerWriter(tmp_path / "transport") as writer:
        put_directories(writer, "Files")
        for number in range(lines):
            writer.put(Entry(f"Files/{number}", None))
    use_limits(Limits(names_size=5000))
    with pytest.raises(wclayer.LimitExceededError, match="limit names_size"):
        TransportLayerReader(tmp_path / "transport")


def test_forms_wait_in_a_bounded_batch(tmp_path: Path) -> None:
    """Headers of a megabyte that are kept: they go to the database as they come."""
    from wclayer.layers.directory import records

    kept: list[int] = []
    flush = records.LayerRecords.flush

    def watched(self: records.LayerRecords) -> None:
        kept.append(sum(len(row[-1] or b"") for batch in self._waiting for row in batch.rows))
        flush(self)

    members = [member(b"Files/%d" % n, comment=base64.b64encode(os.urandom(700_000))) for n in range(20)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records.LayerRecords, "flush", watched)
        wclayer.import_layer_from_tar(io.BytesIO(archive(member(b"Files", kind=b"5"), *members)), tmp_path / "layer")
    assert max(kept) < 6 << 20


def test_caches_are_bounded_in_bytes() -> None:
    from wclayer.layers.cache import Cache

    cache: Cache[int, bytes] = Cache(1000)
    for number in range(100):
        cache.keep(number, bytes(100), 100)
        assert sum(map(len, cache.values())) <= 1000
        assert number in cache
    cache.keep(7, bytes(5000), 5000)
    assert list(cache) == [7]
