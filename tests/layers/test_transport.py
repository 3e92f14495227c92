"""Transport folders: what the form cannot hold or Windows could not read is said, never lost."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

import wclayer
from tests.support import info, nothing_left_in, put_directories, put_file
from wclayer.layers.transport import TransportLayerReader, TransportLayerWriter
from wclayer.layers.transport import reader as reader_module
from wclayer.layers.transport.layout import read_times
from wclayer.model import Entry
from wclayer.win32.attributes import FileBasicInfo
from wclayer.win32.backup import StreamHeader, StreamId
from wclayer.win32.ea import ExtendedAttribute, encode_eas
from wclayer.win32.filetime import UNIX_EPOCH
from wclayer.win32.inherit import volume_root


@pytest.mark.parametrize(
    ("below", "names"),
    [
        ("Files", ("a", "A")), ("Files", ("ä", "Ä")), ("Files/d", ("x.$wcidirs$", "x.$WCIDIRS$")),
        (".", ("Hives", "HIVES")),
    ],
)  # fmt: skip
def test_transport_folders_with_names_that_differ_in_case_are_refused(
    below: str, names: tuple[str, str], tmp_path: Path
) -> None:
    """To Windows they are one: one of the two would be lost."""
    folder = tmp_path / "folder"
    with TransportLayerWriter(folder) as writer:
        put_directories(writer, "Files", "Files/d", "Files/d/x")
        put_file(writer, "Files/a", b"data")
    shutil.rmtree(folder / "Hives")
    for name in names:
        if name.lower().startswith("hives"):
            (folder / below / name).mkdir()
        else:
            (folder / below / name).write_bytes((folder / "Files/a").read_bytes())
    found = sorted(os.listdir(folder / below))
    if not set(names) <= set(found):
        pytest.skip("this host holds the two names for one")
    one, two = sorted(names)
    with nothing_left_in(tmp_path), pytest.raises(wclayer.InvalidDataError) as refused:
        wclayer.import_layer(tmp_path / "layer", folder)
    assert f"{one!r} and {two!r} differ only in case" in str(refused.value)


@pytest.mark.parametrize("size", [100, 1 << 60, (1 << 63) - 1])
def test_a_stream_that_claims_more_than_its_file_has_names_the_file(size: int, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    with TransportLayerWriter(folder) as writer:
        put_directories(writer, "Files")
        put_file(writer, "Files/a", b"data")
    header = StreamHeader(StreamId.DATA, size)
    (folder / "Files/a").write_bytes(bytes(4) + header.encode() + b"1")
    with nothing_left_in(tmp_path), pytest.raises(wclayer.InvalidDataError, match="ends inside") as refused:
        wclayer.import_layer(tmp_path / "layer", folder)
    assert str(folder / "Files/a") in str(refused.value)


def test_a_file_that_becomes_shorter_while_it_is_read_is_not_taken_for_one_with_less_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with TransportLayerWriter(tmp_path / "transport") as writer:
        put_directories(writer, "Files")
        writer.put(Entry("Files/a", info(), security=volume_root().encode()), [])
    real = read_times

    def cut(fd: int, status: os.stat_result, *, is_hive: bool) -> FileBasicInfo:
        # Between the call that tells the size and the first one that reads.
        os.truncate(tmp_path / "transport/Files/a", 4)
        return real(fd, status, is_hive=is_hive)

    with TransportLayerReader(tmp_path / "transport") as reader:
        assert next(reader).entry.name == "Files"
        monkeypatch.setattr(reader_module, "read_times", cut)
        with pytest.raises(wclayer.InvalidDataError, match="became shorter while it was read"):
            next(reader)


@pytest.mark.skipif(os.name == "nt", reason="links and FIFOs of POSIX")
@pytest.mark.parametrize("kind", ["link", "fifo", "link to a folder"])
def test_what_is_no_file_in_a_transport_folder_is_refused_by_name(kind: str, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    with TransportLayerWriter(folder) as writer:
        put_directories(writer, "Files")
    (tmp_path / "canary").write_bytes(b"canary")
    if kind == "fifo":
        os.mkfifo(folder / "Files/a")
    else:
        (folder / "Files/a").symlink_to(tmp_path / ("canary" if kind == "link" else "."))
    with nothing_left_in(tmp_path), pytest.raises(wclayer.InvalidDataError, match="not a regular file") as refused:
        wclayer.import_layer(tmp_path / "layer", folder)
    assert str(folder / "Files/a") in str(refused.value)


@pytest.mark.skipif(os.name == "nt", reason="links and FIFOs of POSIX")
@pytest.mark.parametrize("kind", ["link", "fifo"])
def test_tombstones_that_are_no_file_are_refused_by_name(kind: str, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    with TransportLayerWriter(folder) as writer:
        put_directories(writer, "Files")
    place = folder / "tombstones.txt"
    place.rename(tmp_path / "elsewhere")
    if kind == "fifo":
        os.mkfifo(place)
    else:
        place.symlink_to(tmp_path / "elsewhere")
    with nothing_left_in(tmp_path), pytest.raises((wclayer.InvalidDataError, wclayer.NotALayerError)) as refused:
        wclayer.import_layer(tmp_path / "layer", folder)
    assert "tombstones.txt" in str(refused.value)
    assert "symbolic" not in str(refused.value)


def test_reparse_data_that_no_volume_holds_is_refused_where_it_comes_in(tmp_path: Path) -> None:
    """A layer with them could be neither read nor exported."""
    folder = tmp_path / "folder"
    with TransportLayerWriter(folder) as writer:
        put_directories(writer, "Files")
        put_file(writer, "Files/a", b"data")
    header = StreamHeader(StreamId.REPARSE_DATA, 8)
    (folder / "Files/a").write_bytes(b"\x20\x04\0\0" + header.encode() + b"\x0c\0\0\xa0\x99\0\0\0")
    with nothing_left_in(tmp_path), pytest.raises(wclayer.InvalidDataError, match=r"'Files/a': reparse buffer"):
        wclayer.import_layer(tmp_path / "layer", folder)


def test_the_spelling_of_a_root_is_kept(tmp_path: Path) -> None:
    """A second folder `Files` beside it would be one name too many."""
    with TransportLayerWriter(tmp_path / "folder") as writer:
        put_directories(writer, "files", "Files/d")
        put_file(writer, "FILES/d/a", b"data")
    assert sorted(path.name for path in (tmp_path / "folder").iterdir() if path.is_dir()) == ["Hives", "files"]
    wclayer.import_layer(tmp_path / "layer", tmp_path / "folder")
    with wclayer.LayerView([tmp_path / "layer"]) as view:
        assert view.read_bytes("C:\\d\\a") == b"data"


def test_a_transport_folder_says_what_it_cannot_hold_of_a_hive(tmp_path: Path) -> None:
    security = volume_root().encode()
    for entry, problem in (
        (Entry("Hives/h", info(), security=security), "a security descriptor"),
        (Entry("Hives/h", info(), eas=encode_eas([ExtendedAttribute(b"N", b"v")])), "EAs"),
        (Entry("Hives/h", info(0x22)), r"attributes \(HIDDEN, ARCHIVE\)"),
    ):
        with (
            nothing_left_in(tmp_path),
            pytest.raises(wclayer.NotSupportedError, match=f"'Hives/h'.*hives as plain files, without {problem}"),
            TransportLayerWriter(tmp_path / "folder") as writer,
        ):
            put_directories(writer, "Files", "Hives")
            writer.put(entry)
    with TransportLayerWriter(tmp_path / "folder") as writer:
        put_directories(writer, "Files", "Hives")
        put_file(writer, "Hives/h", b"hive")
    with TransportLayerReader(tmp_path / "folder") as reader:
        assert [item.entry.info for item in reader if item.entry.name == "Hives/h"] == [info()]


def test_a_link_may_spell_its_target_in_another_case(tmp_path: Path) -> None:
    with TransportLayerWriter(tmp_path / "folder") as writer:
        put_directories(writer, "Files", "Files/Dir")
        put_file(writer, "Files/Dir/Größe", b"data")
        writer.put(Entry("Files/link", info(), link_target="FILES/dir/GRÖßE"))
    assert os.path.samefile(tmp_path / "folder/Files/link", tmp_path / "folder/Files/Dir/Größe")


def test_the_times_of_a_host_file_without_ours(tmp_path: Path) -> None:
    """As docs/formats/transport-folder.md says: what a folder from elsewhere has."""
    with TransportLayerWriter(tmp_path / "folder") as writer:
        put_directories(writer, "Files", "Hives")
        put_file(writer, "Files/a", b"data")
        put_file(writer, "Hives/h", b"hive")
    seconds = 1_600_000_000
    for name in ("Files/a", "Hives/h"):
        os.utime(tmp_path / "folder" / name, (seconds + 50, seconds))
    written = UNIX_EPOCH + seconds * 10**7
    with TransportLayerReader(tmp_path / "folder") as reader:
        found = {item.entry.name: item.entry.info for item in reader}
    assert found["Files/a"] == FileBasicInfo(0x20, written, written + 50 * 10**7, written, written)
    assert found["Hives/h"] == FileBasicInfo(0x20, written, written, written, written)
