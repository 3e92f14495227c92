"""The functions of the real API: what they do, and the codes of their errors."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

import wclayer
from tests.support import contents, info, layer_tar, put_directories, put_file
from wclayer import sample
from wclayer.errors import LayerBusyError, during, from_os_error
from wclayer.host import system
from wclayer.win32.attributes import FileBasicInfo
from wclayer.win32.backup import StreamHeader, StreamId


@pytest.fixture
def base(tmp_path: Path) -> Path:
    with wclayer.new_layer_writer(tmp_path / "base") as writer:
        sample.write_base(writer)
    return tmp_path / "base"


@pytest.fixture
def child(tmp_path: Path, base: Path) -> Path:
    with wclayer.new_layer_writer(tmp_path / "child", [base]) as writer:
        sample.write_child(writer)
    return tmp_path / "child"


def test_create_layer_is_empty_and_has_its_parents(tmp_path: Path, base: Path) -> None:
    wclayer.create_layer(tmp_path / "new", base)
    assert wclayer.layer_exists(tmp_path / "new")
    assert contents(wclayer.new_layer_reader(tmp_path / "new", [base])) == []
    assert json.loads((tmp_path / "new/layerchain.json").read_text()) == ["../base"]
    assert sorted(os.listdir(tmp_path / "new")) == ["Files", "Hives", "layer.db", "layerchain.json"]
    # An empty folder is what hcsshim's callers make first.
    (tmp_path / "folder").mkdir()
    wclayer.create_layer(tmp_path / "folder", base)


def test_layer_exists(tmp_path: Path, base: Path) -> None:
    assert wclayer.layer_exists(base)
    assert not wclayer.layer_exists(tmp_path)
    assert not wclayer.layer_exists(tmp_path / "nothing")
    (tmp_path / "windows" / "Files").mkdir(parents=True)
    assert wclayer.layer_exists(tmp_path / "windows")


def test_destroy_layer_removes_only_layers(tmp_path: Path, base: Path, child: Path) -> None:
    wclayer.destroy_layer(child)
    assert not child.exists()
    assert base.exists()
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").write_bytes(b"")
    with pytest.raises(wclayer.NotALayerError):
        wclayer.destroy_layer(tmp_path / "precious")
    (tmp_path / "alias").symlink_to(base)
    with pytest.raises(wclayer.NotALayerError):
        wclayer.destroy_layer(tmp_path / "alias")
    assert (tmp_path / "precious" / "file").exists()
    assert base.exists()


def _not_a_layer(folder: Path) -> Path:
    (folder / "folder").mkdir()
    (folder / "folder" / "x").touch()
    return folder / "folder"


_Case = tuple[Callable[[Path, Path], object], type[wclayer.LayerError], type[Exception], int]
_ERRORS: dict[str, _Case] = {
    "create over": (lambda t, b: wclayer.create_layer(b, b), wclayer.AlreadyExistsError, FileExistsError, 183),
    "create nowhere": (
        lambda t, b: wclayer.create_layer(t / "no/new", b), wclayer.PathNotFoundError, FileNotFoundError, 3),
    "create on nothing": (
        lambda t, b: wclayer.create_layer(t / "new", t / "no"), wclayer.PathNotFoundError, FileNotFoundError, 3),
    "create on a folder": (
        lambda t, b: wclayer.create_layer(t / "new", _not_a_layer(t)), wclayer.NotALayerError, NotADirectoryError, 267),
    "parent twice": (
        lambda t, b: wclayer.create_layer(t / "new", parents=[b, b]), wclayer.InvalidParameterError, ValueError, 87),
    "destroy nothing": (lambda t, b: wclayer.destroy_layer(t / "no"), wclayer.PathNotFoundError, FileNotFoundError, 3),
    "destroy a folder": (
        lambda t, b: wclayer.destroy_layer(_not_a_layer(t)), wclayer.NotALayerError, NotADirectoryError, 267),
    "export nothing": (
        lambda t, b: wclayer.export_layer(t / "no", t / "out"), wclayer.PathNotFoundError, FileNotFoundError, 3),
    "export a folder": (
        lambda t, b: wclayer.export_layer(_not_a_layer(t), t / "out"), wclayer.NotALayerError, NotADirectoryError, 267),
    "export over": (lambda t, b: wclayer.export_layer(b, b), wclayer.AlreadyExistsError, FileExistsError, 183),
    "export with parents that it has not": (
        lambda t, b: wclayer.export_layer(b, t / "out", [b]), wclayer.InvalidParameterError, ValueError, 87),
    "export to a file nowhere": (
        lambda t, b: wclayer.export_layer_to_file(b, t / "no/x.tar"), wclayer.PathNotFoundError, FileNotFoundError, 3),
    "import nothing": (
        lambda t, b: wclayer.import_layer(t / "new", t / "no"), wclayer.PathNotFoundError, FileNotFoundError, 3),
    "import a folder": (
        lambda t, b: wclayer.import_layer(t / "new", _not_a_layer(t)), wclayer.NotALayerError, NotADirectoryError, 267),
    "import over": (
        lambda t, b: wclayer.import_layer_from_tar(io.BytesIO(layer_tar(sample.write_base)), b),
        wclayer.AlreadyExistsError, FileExistsError, 183),
    "read nothing": (lambda t, b: wclayer.new_layer_reader(t / "no"), wclayer.PathNotFoundError, FileNotFoundError, 3),
    "name": (lambda t, b: wclayer.name_to_guid(""), wclayer.InvalidParameterError, ValueError, 87),
    "base layer of nothing": (
        lambda t, b: wclayer.make_base_layer(t / "no"), wclayer.PathNotFoundError, FileNotFoundError, 3),
    "base layer of a folder": (
        lambda t, b: wclayer.make_base_layer(_not_a_layer(t)), wclayer.NotALayerError, NotADirectoryError, 267),
    "base layer again": (lambda t, b: wclayer.make_base_layer(b), wclayer.AlreadyExistsError, FileExistsError, 183),
}  # fmt: skip


@pytest.mark.parametrize("name", _ERRORS)
def test_errors_carry_windows_codes(name: str, tmp_path: Path, base: Path) -> None:
    call, kind, built_in, code = _ERRORS[name]
    with pytest.raises(kind) as raised:
        call(tmp_path, base)
    error = raised.value
    assert isinstance(error, OSError)
    assert isinstance(error, built_in)
    assert error.code == code
    assert error.hresult == 0x80070000 | code
    assert error.operation
    assert error.path in str(error) or not error.path
    assert not (tmp_path / "new").exists()
    assert not (tmp_path / "out").exists()


def test_parents_in_the_wrong_order(tmp_path: Path, base: Path, child: Path) -> None:
    with pytest.raises(wclayer.InvalidParameterError, match="nearest first"):
        wclayer.create_layer(tmp_path / "new", parents=[base, child])
    wclayer.create_layer(tmp_path / "new", parents=[child, base])
    with pytest.raises(wclayer.InvalidParameterError, match="nearest first"):
        wclayer.export_layer(tmp_path / "new", tmp_path / "out", [base, child])
    wclayer.export_layer(tmp_path / "new", tmp_path / "out", [child, base])


def test_a_chain_named_in_full_is_the_chain_of_its_nearest_layer(tmp_path: Path, base: Path, child: Path) -> None:
    nearest = tmp_path / "nearest"
    wclayer.import_layer_from_tar(io.BytesIO(layer_tar(sample.write_child)), nearest, [child, base])
    # What a layer further below records is not asked for: it was compared when the nearest one was made.
    (child / "layerchain.json").write_text("damaged")
    for number, named in enumerate([[nearest], [nearest, child, base]]):
        scratch = tmp_path / f"scratch{number}"
        wclayer.create_layer(scratch, parents=named)
        assert json.loads((scratch / "layerchain.json").read_text()) == ["../nearest", "../child", "../base"]
    with pytest.raises(wclayer.InvalidParameterError, match="other parents were named after it"):
        wclayer.create_layer(tmp_path / "other", parents=[nearest, base])


def test_a_busy_layer_is_not_destroyed(base: Path) -> None:
    lock = system.Lock(base)
    lock.take()
    with pytest.raises(LayerBusyError) as busy:
        wclayer.destroy_layer(base)
    assert busy.value.code == 32
    lock.close()
    wclayer.destroy_layer(base)


def test_failures_of_the_host_keep_their_code() -> None:
    with pytest.raises(wclayer.DiskFullError) as full, during("write", "/x"):
        raise OSError(28, "No space left on device")
    assert (full.value.code, str(full.value)) == (112, "write: /x: No space left on device")
    assert from_os_error("/x", PermissionError(13, "Permission denied")).code == 5


def test_guids_are_version_5_and_never_change() -> None:
    guid = wclayer.name_to_guid("base")
    assert str(guid) == "89d4c5e3-6f95-5376-a7ef-f3d23f2c0c93"
    assert guid.version == 5
    assert wclayer.layer_id("/layers/base/") == wclayer.layer_id("C:\\layers\\base") == guid
    assert wclayer.name_to_guid("Base") != guid


@given(st.uuids(), st.text(st.characters(exclude_characters="\0"), max_size=50), st.booleans(), st.sampled_from([4, 8]))
def test_descriptors_both_ways(guid: UUID, path: str, dirty: bool, pointer_size: int) -> None:
    path = path.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
    flags = wclayer.DescriptorFlags.DIRTY if dirty else wclayer.DescriptorFlags.NONE
    descriptor = wclayer.LayerDescriptor(guid, path, flags)
    packed = descriptor.pack(0x1000, pointer_size=pointer_size)
    assert wclayer.LayerDescriptor.unpack(packed, 0x1000, pointer_size=pointer_size) == descriptor


def test_descriptor_layout() -> None:
    guid = UUID("00010203-0405-0607-0809-0a0b0c0d0e0f")
    packed = wclayer.LayerDescriptor(guid, "C:\\l", wclayer.DescriptorFlags.DIRTY).pack(0x10000)
    assert packed[:16] == guid.bytes_le
    assert packed[16:24] == b"\0\0\0\x80\0\0\0\0"
    assert int.from_bytes(packed[24:32], "little") == 0x10000 + 32
    assert packed[32:] == "C:\\l\0".encode("utf-16-le")


@given(st.binary(max_size=80), st.integers(0, 100))
def test_arbitrary_memory_gives_a_descriptor_or_a_value_error(data: bytes, address: int) -> None:
    try:
        wclayer.LayerDescriptor.unpack(data, address)
    except ValueError:
        pass


def test_filter_reader_and_writer_are_hcsshim_s(tmp_path: Path, base: Path, child: Path) -> None:
    with (
        wclayer.FilterLayerReader(child, [base]) as reader,
        wclayer.FilterLayerWriter(tmp_path / "copy", [base]) as writer,
    ):
        while (found := reader.next()) is not None:
            name, _size, basic = found
            assert "/" not in name
            if basic is None:
                writer.remove(name)
                continue
            writer.add(name, basic)
            while piece := reader.read(4096):
                assert writer.write(piece) == len(piece)
    ours, theirs = (
        {row[0]: row[3:] for row in contents(wclayer.new_layer_reader(path))} for path in (tmp_path / "copy", child)
    )
    # Read as a stream of its own, a link into a parent is a file.
    ours.pop("Files/app/component.dll")
    theirs.pop("Files/app/component.dll")
    assert ours == theirs


def test_link_info_counts_names(base: Path) -> None:
    with wclayer.new_layer_reader(base) as reader:
        seen: dict[bytes, int] = {}
        for item in reader:
            entry = item.entry
            links = reader.link_info()
            if entry.name.endswith("component05.dll"):
                assert links.number_of_links == 2
                seen[links.file_id] = seen.get(links.file_id, 0) + 1
    assert list(seen.values()) == [2]


def test_filter_writer_links(tmp_path: Path) -> None:
    with wclayer.FilterLayerWriter(tmp_path / "layer") as writer:
        writer.add("Files", FileBasicInfo(0x10))
        writer.add("Files\\a", info())
        writer.add_link("Files\\b", "Files\\a")
        writer.add_link("Files/c", "\\Files\\a")
    assert os.path.samefile(tmp_path / "layer/Files/a", tmp_path / "layer/Files/b")
    with wclayer.new_layer_reader(tmp_path / "layer") as reader:
        infos = {item.entry.name: item.entry.info for item in reader}
    assert infos["Files/a"] == infos["Files/b"] == infos["Files/c"] == info()


def test_a_filter_writer_links_to_the_entry_that_it_writes(tmp_path: Path) -> None:
    with wclayer.FilterLayerWriter(tmp_path / "layer") as writer:
        writer.add("Files", FileBasicInfo(0x10))
        writer.add("Files/a", info())
        writer.write(StreamHeader(StreamId.DATA, 4).encode() + b"data")
        writer.add_link("Files/b", "Files/a")
    with wclayer.new_layer_reader(tmp_path / "layer") as reader:
        assert [(item.entry.name, item.entry.info) for item in reader][2] == ("Files/b", info())
    assert (tmp_path / "layer/Files/b").read_bytes() == b"data"


def test_make_base_layer(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    (folder / "Files/App").mkdir(parents=True)
    (folder / "Files/App/a.txt").write_bytes(b"hello")
    (folder / "Files/App/b.txt").hardlink_to(folder / "Files/App/a.txt")
    (folder / "Files/windows/system32").mkdir(parents=True)
    wclayer.make_base_layer(folder)
    assert list(wclayer.check_layer(folder)) == []
    # What was there keeps its spelling; what was missing is made.
    assert sorted(os.listdir(folder / "Files/windows/system32/config")) == [
        "DEFAULT", "SAM", "SECURITY", "SOFTWARE", "SYSTEM",
    ]  # fmt: skip
    found = {row[0]: row for row in contents(wclayer.new_layer_reader(folder))}
    assert found["Files/App/b.txt"][2] == "Files/App/a.txt"
    assert found["Files/App/a.txt"][3] is not None
    raw = io.BytesIO()
    wclayer.export_layer_to_tar(raw, folder)
    wclayer.import_layer_from_tar(io.BytesIO(raw.getvalue()), tmp_path / "again")
    assert contents(wclayer.new_layer_reader(tmp_path / "again")) == contents(wclayer.new_layer_reader(folder))


def test_make_base_layer_refuses_what_has_no_place(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    (folder / "Files").mkdir(parents=True)
    (folder / "Files/link").symlink_to("/etc/passwd")
    with pytest.raises(wclayer.InvalidDataError, match="neither a file nor a directory"):
        wclayer.make_base_layer(folder)
    assert not (folder / "layer.db").exists()
    (folder / "Files/link").unlink()
    (folder / "Files/a:b").touch()
    with pytest.raises(wclayer.InvalidDataError, match="character ':'"):
        wclayer.make_base_layer(folder)
    (folder / "Files/a:b").unlink()
    wclayer.make_base_layer(folder)


def test_export_to_a_file_replaces_it_whole(tmp_path: Path, base: Path) -> None:
    target = tmp_path / "out.tar"
    target.write_bytes(b"old")
    (base / "Files/Windows/win.ini").unlink()
    with pytest.raises(wclayer.CorruptLayerError):
        wclayer.export_layer_to_file(base, target)
    assert target.read_bytes() == b"old"
    assert not list(tmp_path.glob(".wclayer-*"))


def test_transport_folders_that_are_not(tmp_path: Path) -> None:
    folder = tmp_path / "t"
    folder.mkdir()
    (folder / "tombstones.txt").write_bytes(b"Version 2.0")
    with pytest.raises(wclayer.NotALayerError, match=r"version 1\.0"):
        wclayer.import_layer(tmp_path / "new", folder)
    (folder / "tombstones.txt").write_bytes(b"\xef\xbb\xbfVersion 1.0\r\nno backslash\r\n")
    with pytest.raises(wclayer.InvalidDataError, match="line 2"):
        wclayer.import_layer(tmp_path / "new", folder)
    (folder / "tombstones.txt").write_bytes(b"\xef\xbb\xbfVersion 1.0\r\n")
    (folder / "Files").mkdir()
    for data, problem in (
        (b"abc", "shorter than"),
        (b"\0\0\0\0" + b"\xff" * 30, "stream id"),
        (bytes(4) + b"\1", "short"),
    ):
        (folder / "Files/a").write_bytes(data)
        with pytest.raises(wclayer.InvalidDataError, match=problem):
            wclayer.import_layer(tmp_path / "new", folder)
    (folder / "Files/a").unlink()
    (folder / "Files/d.$wcidirs$").write_bytes(bytes(4))
    with pytest.raises(wclayer.InvalidDataError, match="without the directory"):
        wclayer.import_layer(tmp_path / "new", folder)
    assert not (tmp_path / "new").exists()


def test_host_names_that_are_no_text(tmp_path: Path) -> None:
    with wclayer.TransportLayerWriter(tmp_path / "t") as writer:
        put_directories(writer, "Files")
    (tmp_path / "mine/Files").mkdir(parents=True)
    for folder in ("t", "mine"):
        (tmp_path / folder / "Files" / os.fsdecode(b"\xff\xfe")).touch()
    with pytest.raises(wclayer.InvalidDataError, match="not UTF-8"):
        wclayer.import_layer(tmp_path / "new", tmp_path / "t")
    with pytest.raises(wclayer.InvalidDataError, match="not UTF-8"):
        wclayer.make_base_layer(tmp_path / "mine")
    assert not (tmp_path / "new").exists()


def test_transport_folders_compare_without_case(tmp_path: Path) -> None:
    with wclayer.TransportLayerWriter(tmp_path / "t") as writer:
        put_directories(writer, "Files", "Files/Dir", "Files/$Recycle.Bin")
        put_file(writer, "Files/Dir/a", b"x")
        put_file(writer, "Files/$Recycle.Bin/trash", b"x")
        writer.put(wclayer.Entry("files/DIR/gone", None))
    os.rename(tmp_path / "t/Files/Dir.$wcidirs$", tmp_path / "t/Files/DIR.$WCIDIRS$")
    os.rename(tmp_path / "t/Files", tmp_path / "t/FILES")
    with wclayer.TransportLayerReader(tmp_path / "t") as reader:
        found = [(item.entry.name, item.entry.is_tombstone) for item in reader]
    assert found == [
        ("FILES", False), ("FILES/Dir", False), ("Files/DIR/gone", True), ("FILES/Dir/a", False), ("Hives", False),
    ]  # fmt: skip


def test_effective_hives_of_a_call_that_was_interrupted_are_no_part_of_a_base_layer(tmp_path: Path) -> None:
    for name in ("first", "again"):
        (tmp_path / name / "Files").mkdir(parents=True)
    (tmp_path / "again" / "Hives").mkdir()
    for name in ("System_Base", "Sam_Base"):
        (tmp_path / "again" / "Hives" / name).write_bytes(b"cut off")
    listed = []
    for name in ("first", "again"):
        wclayer.make_base_layer(tmp_path / name)
        assert list(wclayer.check_layer(tmp_path / name)) == []
        with wclayer.new_layer_reader(tmp_path / name) as reader:
            listed.append([item.entry.name for item in reader])
    assert listed[0] == listed[1]
    assert "Hives" not in listed[0]
