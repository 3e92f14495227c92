"""One suite that every format passes: what goes in comes out, in the parsed form and as backup streams."""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import wclayer
from tests.support import TIME, contents, directory, info, nothing_left_in, put_directories, put_file, put_files
from wclayer import sample
from wclayer.layers.directory import DirectoryLayerReader, DirectoryLayerWriter
from wclayer.layers.tar import TarLayerReader, TarLayerWriter
from wclayer.layers.transport import TransportLayerReader, TransportLayerWriter
from wclayer.model import DataStream, Entry, ExtraStream, LayerReader, LayerWriter
from wclayer.win32.attributes import FileBasicInfo
from wclayer.win32.backup import StreamHeader, StreamId
from wclayer.win32.ea import ExtendedAttribute, encode_eas
from wclayer.win32.inherit import volume_root
from wclayer.win32.names import path_key
from wclayer.win32.reparse import LinkTarget, LxSymlink, ReparsePoint
from wclayer.win32.sddl import from_sddl

_SECURITY = volume_root().encode()
_AUDITED = from_sddl("O:SYG:SYD:(A;;FA;;;BA)S:(AU;SA;FA;;;WD)(ML;;NW;;;LW)").encode()
_EAS = encode_eas([ExtendedAttribute(b"FIRST", b"one", 0x80), ExtendedAttribute(b"SECOND", bytes(300))])


class Format(ABC):
    """A place for layers of one format."""

    keeps_tombstones_in_utility_vm = True

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.count = 0

    @abstractmethod
    def writer(self) -> LayerWriter:
        """A writer to a new place."""

    @abstractmethod
    def reader(self) -> LayerReader:
        """A reader of the place last written."""


class Tar(Format):
    def writer(self) -> LayerWriter:
        self.raw = io.BytesIO()
        return TarLayerWriter(self.raw)

    def reader(self) -> LayerReader:
        return TarLayerReader(io.BytesIO(self.raw.getvalue()))


class GzipTar(Tar):
    def writer(self) -> LayerWriter:
        self.raw = io.BytesIO()
        return TarLayerWriter(self.raw, compression=wclayer.Compression.GZIP)


class Transport(Format):
    keeps_tombstones_in_utility_vm = False

    def writer(self) -> LayerWriter:
        self.count += 1
        return TransportLayerWriter(self.folder / f"transport{self.count}")

    def reader(self) -> LayerReader:
        return TransportLayerReader(self.folder / f"transport{self.count}")


class Directory(Format):
    def writer(self) -> LayerWriter:
        parent = self.folder / "parent"
        if not parent.exists():
            with DirectoryLayerWriter(parent) as writer:
                put_directories(writer, "Files", "Files/deleted", "UtilityVM", "UtilityVM/Files")
                put_file(writer, "Files/deleted/file")
                put_file(writer, "UtilityVM/Files/gone")
        self.count += 1
        return DirectoryLayerWriter(self.folder / f"layer{self.count}", [parent])

    def reader(self) -> LayerReader:
        return DirectoryLayerReader(self.folder / f"layer{self.count}")


@pytest.fixture(params=[Tar, GzipTar, Transport, Directory])
def layer_format(request: pytest.FixtureRequest, tmp_path: Path) -> Format:
    made: Format = request.param(tmp_path)
    return made


def _everything(writer: LayerWriter) -> None:
    put_directories(writer, "Files", "Files/a", "Files/a/b", "Hives")
    put_file(writer, "Files/empty")
    put_file(writer, "Files/data", b"x" * 100_000, 0x21, first=b"stream", second=b"", third=bytes(70_000))
    data = b"all metadata"
    extra = (ExtraStream(StreamId.OBJECT_ID, 0, "", bytes(64)), ExtraStream(StreamId.PROPERTY_DATA, 0, "", b"p"))
    writer.put(
        Entry("Files/all", info(0x26), len(data), _AUDITED, _EAS, extra=extra), [DataStream("", len(data), (data,))]
    )
    symlink = LinkTarget.from_path("..\\data", is_mount_point=False).encode()
    writer.put(Entry("Files/symlink", info(0x420), security=_SECURITY, reparse=symlink))
    junction = LinkTarget.from_path("C:\\Files", is_mount_point=True).encode()
    writer.put(Entry("Files/junction", info(0x410), reparse=junction))
    odd = LinkTarget("\\??\\C:\\real", "shown", 0, True).encode()
    writer.put(Entry("Files/odd junction", info(0x410), reparse=odd))
    writer.put(Entry("Files/wsl", info(0x420), reparse=LxSymlink(2, b"/usr").encode()))
    writer.put(
        Entry("Files/unknown", info(0x420), 4, reparse=ReparsePoint(0x9000301A, b"cloud").encode()),
        [DataStream("", 4, (b"data",))],
    )
    put_file(writer, "Files/a/日本語 😀", b"name", stream名=b"x")
    put_file(writer, "Files/a/\ud800 unpaired", b"surrogate")
    put_file(writer, "Files/a/CON", b"reserved")
    put_file(writer, "Files/a/trailing. ", b"legal for NTFS")
    put_file(writer, "Files/a/" + "x" * 240, b"long")
    writer.put(directory("Files/stream on a directory"), [DataStream("s", 3, (b"abc",))])
    writer.put(Entry("Files/a/b/early", FileBasicInfo(0, 0, 1, 2, 3)))
    writer.put(Entry("Files/a/b/late", FileBasicInfo(0, (1 << 63) - 1, (1 << 63) - 2, 300_000_000_000_000_000, TIME)))
    put_file(writer, "Files/z first name", b"linked")
    writer.put(Entry("Files/z second name", info(), link_target="Files/z first name"))


def _values(layer: LayerReader) -> dict[object, tuple[object, ...]]:
    return {row[0]: row[1:] for row in contents(layer)}


def test_everything_comes_back(layer_format: Format, tmp_path: Path) -> None:
    with layer_format.writer() as writer:
        _everything(writer)
    found = _values(layer_format.reader())
    reference = Tar(tmp_path)
    with reference.writer() as writer:
        _everything(writer)
    expected = _values(reference.reader())
    assert found.keys() == expected.keys()
    for name, row in expected.items():
        assert found[name] == row, name


def test_backup_streams_carry_everything(layer_format: Format, tmp_path: Path) -> None:
    source = Tar(tmp_path)
    with source.writer() as writer:
        _everything(writer)
    with source.reader() as reader, layer_format.writer() as writer:
        while (entry := reader.next()) is not None:
            if entry.link_target is not None:
                writer.add_link(entry.name, entry.link_target)
                continue
            assert entry.info is not None
            writer.add(entry.name.replace("/", "\\"), entry.info)
            while piece := reader.read(777):
                writer.write(piece)
    expected, found = _values(source.reader()), _values(layer_format.reader())
    # What `add_link` cannot be told is the link's own basic info.
    assert found.pop("Files/z second name")[1:] == expected.pop("Files/z second name")[1:]
    assert found == expected


def test_tombstones_come_back(layer_format: Format) -> None:
    with layer_format.writer() as writer:
        put_directories(writer, "Files", "Files/new")
        writer.remove("Files\\deleted\\file")
        writer.remove("Files/deleted")
        if layer_format.keeps_tombstones_in_utility_vm:
            writer.remove("UtilityVM/Files/gone")
    with layer_format.reader() as reader:
        found = [entry.name for entry in reader if entry.is_tombstone]
    expected = ["Files/deleted", "Files/deleted/file"]
    if layer_format.keeps_tombstones_in_utility_vm:
        expected.append("UtilityVM/Files/gone")
    assert sorted(found) == expected


def test_sparse_blocks_are_written_out_dense(layer_format: Format) -> None:
    with layer_format.writer() as writer:
        put_directories(writer, "Files")
        writer.add("Files/sparse", info(0x220))
        writer.write(StreamHeader(StreamId.DATA, 0, 8).encode())
        writer.write(StreamHeader(StreamId.SPARSE_BLOCK, 3, 0, "", 5000).encode() + b"abc")
        writer.write(StreamHeader(StreamId.SPARSE_BLOCK, 3, 0, "", 3_000_000).encode() + b"def")
        writer.write(StreamHeader(StreamId.SPARSE_BLOCK, 0, 0, "", 4_000_000).encode())
    expected = bytearray(4_000_000)
    expected[5000:5003], expected[3_000_000:3_000_003] = b"abc", b"def"
    with layer_format.reader() as reader:
        entries = [(entry, [stream.read_all() for stream in reader.streams()]) for entry in reader]
    ((entry, streams),) = [pair for pair in entries if pair[0].name == "Files/sparse"]
    assert entry.size == 4_000_000
    assert streams == [bytes(expected)]


@pytest.mark.parametrize(
    ("build", "problem"),
    [
        (lambda w: put_files(w, "Files/no/parent"), "parent directory was not there"),
        (lambda w: put_files(w, "Elsewhere"), "outside Files, Hives and UtilityVM"),
        (lambda w: put_files(w, "Files/a:b"), "character ':'"),
        (lambda w: put_files(w, "Files/../a"), "'..'"),
        (lambda w: put_files(w, "Files/a", "Files/A"), "duplicate"),
        (lambda w: put_files(w, "Files/a", "Files/a/b"), "parent is a file"),
        (lambda w: w.write(b"x"), "call add first"),
        (lambda w: (w.add("Files/a", info()), w.write(b"\xff" * 20)), "unknown stream id"),
        (lambda w: (w.add("Files/a", info()), w.write(StreamHeader(1, 9).encode()), w.close()), "short"),
        (lambda w: w.put(Entry("Files/a", info(), 5), [DataStream("", 5, (b"abc",))]), "size|bytes"),
        (lambda w: w.put(Entry("Files/a", info(), 3), [DataStream("", 3, (b"abcdef",))]), "size|bytes"),
        (lambda w: w.put(Entry("Files/a", info(), link_target="UtilityVM")), "not a path|links are possible"),
        (
            lambda w: w.put(Entry("Files/a", info(), 1), [DataStream("", 1, (b"a",)), DataStream("", 1, (b"b",))]),
            "main",
        ),
        (lambda w: w.put(Entry("Files/a", info(), 1), [DataStream("s", 1, (b"a",))]), "no data instead of 1|0 bytes"),
    ],
)
def test_bad_input_is_named_and_leaves_nothing(
    layer_format: Format, build: Callable[[LayerWriter], object], problem: str, tmp_path: Path
) -> None:
    layer_format.writer().abort()
    with nothing_left_in(tmp_path):
        writer = layer_format.writer()
        with pytest.raises(wclayer.LayerError, match=problem), writer:
            put_directories(writer, "Files")
            build(writer)


def test_a_failed_writer_stays_failed(layer_format: Format) -> None:
    writer = layer_format.writer()
    with pytest.raises(wclayer.InvalidDataError):
        put_file(writer, "Nowhere/a")
    with pytest.raises(wclayer.InvalidStateError):
        put_directories(writer, "Files")
    with pytest.raises(wclayer.InvalidStateError):
        writer.close()
    writer.abort()


def test_closing_twice_does_nothing(layer_format: Format) -> None:
    writer = layer_format.writer()
    put_directories(writer, "Files")
    writer.close()
    writer.close()
    reader = layer_format.reader()
    reader.close()
    reader.close()
    with pytest.raises(wclayer.InvalidStateError):
        reader.next()


def test_unread_entries_are_skipped(layer_format: Format) -> None:
    with layer_format.writer() as writer:
        sample.write_child(writer) if not isinstance(layer_format, Directory) else _everything(writer)
    with layer_format.reader() as reader:
        quick = [entry.name for entry in reader]
    with layer_format.reader() as reader:
        slow = [(entry.name, reader.read())[0] for entry in reader]
    assert quick == slow


def test_progress_and_cancellation(layer_format: Format, tmp_path: Path) -> None:
    source = Tar(tmp_path)
    with source.writer() as writer:
        put_directories(writer, "Files")
        for number in range(600):
            put_file(writer, f"Files/{number}", b"x" * 1000)
    seen: list[tuple[int, int]] = []
    with source.reader() as reader, layer_format.writer() as writer:
        wclayer.copy_layer(reader, writer, progress=lambda state: seen.append((state.entries, state.bytes)))
    assert seen[-1] == (601, 600_000)
    assert len(seen) > 2
    assert seen == sorted(seen)
    before = sorted(path.name for path in tmp_path.iterdir())
    with (
        pytest.raises(wclayer.OperationCancelledError) as cancelled,
        source.reader() as reader,
        layer_format.writer() as writer,
    ):
        wclayer.copy_layer(reader, writer, cancelled=lambda: True)
    assert cancelled.value.code == 1223
    assert sorted(path.name for path in tmp_path.iterdir()) == before


_parts = st.text(
    st.characters(exclude_characters='"*/:<>?\\|', min_codepoint=33, exclude_categories=["Cs"]), min_size=1, max_size=8
).filter(lambda name: name not in (".", "..") and not name.startswith(".wh."))
_small = st.binary(max_size=40)


@st.composite
def _layers(draw: st.DrawFn) -> list[tuple[Entry, list[tuple[str, bytes]]]]:
    """A random legal layer: directories and files with any metadata, in a legal order."""
    directories = ["Files"]
    made: list[tuple[Entry, list[tuple[str, bytes]]]] = [(directory("Files"), [])]
    seen = {"FILES"}
    for _ in range(draw(st.integers(0, 8))):
        name = f"{draw(st.sampled_from(directories))}/{draw(_parts)}"
        if path_key(name) in seen:
            continue
        seen.add(path_key(name))
        time = st.integers(0, (1 << 63) - 1)
        basic = FileBasicInfo(draw(st.integers(0, 0xFFFF)) & ~0x610, *(draw(time) for _ in range(4)))
        security = draw(st.sampled_from([None, _SECURITY, _AUDITED]))
        eas = draw(st.sampled_from([b"", _EAS]))
        if draw(st.booleans()):
            basic.attributes |= 0x10
            directories.append(name)
            made.append((Entry(name, basic, 0, security, eas), []))
        else:
            data = draw(_small)
            streams = draw(st.dictionaries(st.sampled_from(["s", "Zone.Identifier", "日本"]), _small, max_size=2))
            made.append((Entry(name, basic, len(data), security, eas), [("", data), *streams.items()]))
    return made


def _put_all(writer: LayerWriter, layer: list[tuple[Entry, list[tuple[str, bytes]]]]) -> None:
    for entry, streams in layer:
        writer.put(entry, (DataStream(name, len(data), (data,)) for name, data in streams))


@pytest.mark.parametrize("kind", [Tar, Transport, Directory])
def test_random_layers_come_back(kind: type[Format], tmp_path_factory: pytest.TempPathFactory) -> None:
    @given(_layers())
    @settings(max_examples=40)
    def check(layer: list[tuple[Entry, list[tuple[str, bytes]]]]) -> None:
        made = kind(tmp_path_factory.mktemp("layers"))
        reference = Tar(made.folder)
        for place in (made, reference):
            with place.writer() as writer:
                _put_all(writer, layer)
        found, expected = _values(made.reader()), _values(reference.reader())
        # A layer directory and a transport folder always have the roots.
        found.pop("Hives", None)
        assert found == expected

    check()


def _entries(reader: LayerReader) -> Iterator[str]:
    with reader:
        for entry in reader:
            yield entry.name


def test_parents_come_before_their_children(layer_format: Format) -> None:
    with layer_format.writer() as writer:
        _everything(writer)
    seen = {""}
    for name in _entries(layer_format.reader()):
        assert name.rpartition("/")[0] in seen
        seen.add(name)
