"""Scratch volumes as Windows' container filter leaves them: the layer is the difference to the parents."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest

import wclayer
from tests.support import layer_tar, put_directories, put_file
from wclayer.errors import InvalidDataError
from wclayer.layers.volume.raw import RawDisk
from wclayer.layers.volume.scratch import ScratchLayerReader
from wclayer.layers.volume.writer import VolumeLayerWriter
from wclayer.model import DataStream, Entry, ExtraStream, LayerWriter
from wclayer.win32.attributes import FileBasicInfo
from wclayer.win32.ea import ExtendedAttribute, encode_eas
from wclayer.win32.inherit import inherit, volume_root
from wclayer.win32.reparse import ReparsePoint, ReparseTag, WciPlaceholder

TIME = 133_500_000_000_000_000
DIRECTORY = inherit(volume_root(), is_directory=True).encode()
FILE = inherit(volume_root(), is_directory=False).encode()
INFO = FileBasicInfo(0x20, TIME, TIME, TIME, TIME)


def _base(folder: Path) -> Path:
    def build(writer: LayerWriter) -> None:
        for name in ("Files", "Files/Windows", "Files/Windows/Sub", "Files/Untouched"):
            writer.put(Entry(name, FileBasicInfo(0x10, TIME, TIME, TIME, TIME), security=DIRECTORY))
        for name in ("Windows/kept", "Windows/changed", "Windows/retagged", "Windows/gone", "Windows/Sub/deep",
                     "Untouched/a"):  # fmt: skip
            data = name.encode()
            writer.put(Entry(f"Files/{name}", INFO, len(data), FILE), [DataStream("", len(data), (data,))])

    wclayer.import_layer_from_tar(io.BytesIO(layer_tar(build)), folder / "base")
    return folder / "base"


def _mark(tag: int, name: str) -> bytes:
    return WciPlaceholder(tag, 1, 0, UUID(int=5), name.replace("/", "\\")).encode()


def _scratch(folder: Path, *, bad: bool = False) -> Path:
    path = folder / "sandbox.img"

    def directory(name: str) -> None:
        info = FileBasicInfo(0x410, TIME, TIME, TIME, TIME)
        writer.put(Entry(f"Files/{name}", info, security=DIRECTORY, reparse=_mark(ReparseTag.WCI_1, name)))

    def placeholder(
        name: str, info: FileBasicInfo = INFO, target: str = "", tag: ReparseTag = ReparseTag.WCI_1
    ) -> None:
        info = FileBasicInfo(info.attributes | 0x600, info.creation_time, info.last_access_time, info.last_write_time,
                             info.change_time)  # fmt: skip
        writer.put(Entry(f"Files/{name}", info, security=FILE, reparse=_mark(tag, target or name)))

    with path.open("w+b") as file:
        file.truncate(16 << 20)
        with VolumeLayerWriter(RawDisk(file), str(path), serial=1, time=TIME) as writer:
            writer.put(Entry("Files", FileBasicInfo(0x10, TIME, TIME, TIME, TIME), security=DIRECTORY))
            directory("Untouched")
            placeholder("Untouched/a")
            directory("Windows")
            placeholder("Windows/kept")
            put_file(writer, "Files/Windows/changed", b"other content")
            placeholder("Windows/retagged", FileBasicInfo(0x22, TIME, TIME, TIME, TIME))
            tombstone = ReparsePoint(ReparseTag.WCI_TOMBSTONE, b"").encode()
            writer.put(Entry("Files/Windows/gone", FileBasicInfo(0x420, TIME, TIME, TIME, TIME), reparse=tombstone))
            placeholder("Windows/linked", target="Windows/kept", tag=ReparseTag.WCI_LINK_1)
            directory("Windows/Sub")
            placeholder("Windows/Sub/deep")
            put_file(writer, "Files/Windows/Sub/new", b"new")
            if bad:
                placeholder("Windows/nowhere")
            put_directories(writer, "Files/WcSandboxState", "Files/WcSandboxState/Hives")
            put_file(writer, "Files/WcSandboxState/Hives/System_Delta", b"")
            put_file(writer, "Files/WcSandboxState/other", b"Windows' own")
    return path


def test_the_difference_is_read(tmp_path: Path) -> None:
    base, scratch = _base(tmp_path), _scratch(tmp_path)
    with ScratchLayerReader(scratch, [base]) as reader:
        found = [(item.entry, b"".join(next(iter(item.streams()), DataStream("", 0, ())).chunks)) for item in reader]
    assert [entry.name for entry, _ in found] == [
        "Files",
        "Hives",
        "Hives/System_Delta",
        "Files/Windows",
        "Files/Windows/changed",
        "Files/Windows/gone",
        "Files/Windows/linked",
        "Files/Windows/retagged",
        "Files/Windows/Sub",
        "Files/Windows/Sub/new",
    ]
    by_name = {entry.name.rpartition("/")[2]: (entry, data) for entry, data in found}
    assert by_name["changed"][1] == b"other content"
    assert by_name["gone"][0].is_tombstone
    assert by_name["linked"][0].link_target == "Files/Windows/kept"
    entry, data = by_name["retagged"]
    assert data == b"Windows/retagged"
    assert entry.info is not None
    assert entry.info.attributes == 0x22
    assert all(entry.reparse is None for entry, _ in found)


def test_it_becomes_a_layer_over_its_parents(tmp_path: Path) -> None:
    base, scratch = _base(tmp_path), _scratch(tmp_path)
    wclayer.import_layer_from_disk(scratch, tmp_path / "child", [base])
    assert list(wclayer.check_layer(tmp_path / "child")) == []
    with wclayer.MergedTree([base]) as a, wclayer.MergedTree([tmp_path / "child", base]) as b:
        changes = {(d.change.value, d.path) for d in wclayer.diff_trees(a, b, times=False)}
    assert changes == {
        ("changed", "Files/Windows/changed"),
        ("changed", "Files/Windows/retagged"),
        ("removed", "Files/Windows/gone"),
        ("added", "Files/Windows/linked"),
        ("added", "Files/Windows/Sub/new"),
        ("added", "Hives/System_Delta"),
    }


def test_a_placeholder_for_nothing_is_an_error(tmp_path: Path) -> None:
    base, scratch = _base(tmp_path), _scratch(tmp_path, bad=True)
    with pytest.raises(InvalidDataError, match="no parent has"):
        wclayer.import_layer_from_disk(scratch, tmp_path / "child", [base])
    assert not (tmp_path / "child").exists()


DIRECTORY_INFO = FileBasicInfo(0x10, TIME, TIME, TIME, TIME)
EAS = encode_eas([ExtendedAttribute(b"A", b"value")])


def _one_directory(
    folder: Path, entry: Entry, streams: Sequence[DataStream], scratch: Entry, *more: DataStream
) -> Path:
    """A layer with one directory, and a disk on which a placeholder stands for it."""

    def build(writer: LayerWriter) -> None:
        writer.put(Entry("Files", DIRECTORY_INFO, security=DIRECTORY))
        writer.put(replace(entry, name="Files/d", security=DIRECTORY), streams)

    wclayer.import_layer_from_tar(io.BytesIO(layer_tar(build)), folder / "base")
    path = folder / "sandbox.img"
    with path.open("w+b") as file:
        file.truncate(16 << 20)
        with VolumeLayerWriter(RawDisk(file), str(path), serial=1, time=TIME) as writer:
            writer.put(Entry("Files", DIRECTORY_INFO, security=DIRECTORY))
            assert scratch.info is not None
            info = replace(scratch.info, attributes=scratch.info.attributes | 0x400)
            mark = _mark(ReparseTag.WCI_1, "d")
            writer.put(replace(scratch, name="Files/d", info=info, security=DIRECTORY, reparse=mark), more)
    return path


def _stream(name: str, data: bytes) -> DataStream:
    return DataStream(name, len(data), (data,))


@pytest.mark.parametrize(
    ("entry", "streams"),
    [
        (Entry("", DIRECTORY_INFO, eas=EAS), (_stream("s", b"data"),)),
        (Entry("", DIRECTORY_INFO), (_stream("s", b"data"), _stream("t", b""))),
        (Entry("", DIRECTORY_INFO), (_stream("s", b"DATA"),)),
        (Entry("", DIRECTORY_INFO), ()),
        (Entry("", FileBasicInfo(0x10, TIME + 1, TIME, TIME, TIME)), (_stream("s", b"data"),)),
        (Entry("", FileBasicInfo(0x10, TIME, TIME, TIME + 1, TIME)), (_stream("s", b"data"),)),
        (Entry("", FileBasicInfo(0x10, TIME, TIME, TIME, TIME + 1)), (_stream("s", b"data"),)),
        (Entry("", FileBasicInfo(0x12, TIME, TIME, TIME, TIME)), (_stream("s", b"data"),)),
        (Entry("", DIRECTORY_INFO, extra=(ExtraStream(7, 0, "", bytes(range(64))),)), (_stream("s", b"data"),)),
    ],
    ids=[
        "eas",
        "one stream more",
        "stream",
        "one stream less",
        "creation",
        "write",
        "change",
        "attributes",
        "object id",
    ],
)
def test_a_change_of_a_directory_alone_is_read(tmp_path: Path, entry: Entry, streams: tuple[DataStream, ...]) -> None:
    path = _one_directory(tmp_path, Entry("", DIRECTORY_INFO), (_stream("s", b"data"),), entry, *streams)
    with ScratchLayerReader(path, [tmp_path / "base"]) as reader:
        found = [(item.entry, {s.name: s.read_all() for s in item.streams()}) for item in reader]
    assert [e.name for e, _ in found] == ["Files", "Files/d"]
    changed = found[1][0]
    assert changed.info == entry.info
    assert (changed.eas, changed.extra, changed.reparse) == (entry.eas, entry.extra, None)
    assert found[1][1] == {stream.name: b"".join(stream.chunks) for stream in streams}


def test_a_directory_that_is_as_in_the_parents_is_left_out(tmp_path: Path) -> None:
    streams = (_stream("s", b"data"),)
    # The last access is none of the container's changes.
    scratch = Entry("", FileBasicInfo(0x10, TIME, TIME + 1, TIME, TIME), eas=EAS)
    path = _one_directory(tmp_path, Entry("", DIRECTORY_INFO, eas=EAS), streams, scratch, _stream("s", b"data"))
    with ScratchLayerReader(path, [tmp_path / "base"]) as reader:
        assert [item.entry.name for item in reader] == ["Files"]


def test_directories_alone_come_back_from_the_disk_of_a_scratch(tmp_path: Path) -> None:
    _one_directory(tmp_path, Entry("", DIRECTORY_INFO), (_stream("s", b"data"),), Entry("", DIRECTORY_INFO))
    scratch = tmp_path / "scratch"
    wclayer.create_scratch_layer(scratch, [tmp_path / "base"])
    wclayer.activate_layer(scratch)
    with wclayer.LayerView(scratch=scratch) as view:
        view.set_eas("/d", EAS)
        view.write_bytes("/d:t", b"new")
    wclayer.deactivate_layer(scratch)
    wclayer.import_layer_from_disk(scratch / "sandbox.vhdx", tmp_path / "back", [tmp_path / "base"])
    with wclayer.LayerView([tmp_path / "back", tmp_path / "base"]) as view:
        assert view.volume.find("/d").row.eas == EAS
        assert view.read_bytes("/d:t") == b"new"
        assert view.read_bytes("/d:s") == b"data"
