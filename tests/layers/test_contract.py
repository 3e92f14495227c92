"""One suite that every format passes: what goes in comes out, in the parsed form and as backup streams."""

from __future__ import annotations

import ast
import contextlib
import importlib
import inspect
import io
import os
from collections.abc import Callable, Container, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings

import wclayer
from tests.layers.formats import (
    FORMATS,
    UNDER_WINE,
    ChangedChain,
    Directory,
    Format,
    Part,
    Rows,
    Scratch,
    Tar,
    Transport,
    rows_of,
)
from tests.layers.random_layers import AUDITED_SECURITY, EAS, PLAIN_SECURITY, RandomLayer, layers, put_all
from tests.source import ROOT, modules, parsed
from tests.support import TIME, directory, info, nothing_left_in, put_directories, put_file, put_files
from wclayer.engines.portable.base_processing import ReplacingLayerWriter
from wclayer.inventory.facts.writer import FactsWriter
from wclayer.layers.backup_api import BackupLayerReader, BackupLayerWriter
from wclayer.layers.base import LayerReaderBase, LayerWriterBase
from wclayer.layers.directory.records_writer import RecordsWriter
from wclayer.layers.indexed_tar.index import IndexWriter, PlacedTarReader
from wclayer.layers.tar import TarLayerReader, TarLayerWriter
from wclayer.model import DataStream, Entry, ExtraStream, LayerReader, LayerWriter
from wclayer.view.part import ChainPartReader
from wclayer.win32.attributes import FileBasicInfo
from wclayer.win32.backup import StreamHeader, StreamId
from wclayer.win32.names import path_key
from wclayer.win32.reparse import LinkTarget, LxSymlink, ReparsePoint

LINK, SECURITY = 1, 2
"""Where a row has the target of a link, and its security descriptor."""

_EXTRA = {
    Part.OBJECT_ID: ExtraStream(StreamId.OBJECT_ID, 0, "", bytes(64)),
    Part.PROPERTY_DATA: ExtraStream(StreamId.PROPERTY_DATA, 0, "", b"p"),
}
FOR_WRITERS = [kind for kind in FORMATS if kind.writes is not None]
"""The formats that are written."""
WHOLE = [kind for kind in FORMATS if kind.keeps_metadata]
"""The formats in which a layer comes back as it was."""


def _made(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Format]:
    made: Format = request.param(tmp_path)
    yield made
    made.held.close()


@pytest.fixture(params=FORMATS)
def read_format(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Format]:
    yield from _made(request, tmp_path)


@pytest.fixture(params=FOR_WRITERS)
def written_format(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Format]:
    yield from _made(request, tmp_path)


@pytest.fixture(params=WHOLE)
def layer_format(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Format]:
    yield from _made(request, tmp_path)


# The table.


def _concrete(base: type[object]) -> Iterator[type[object]]:
    for kind in base.__subclasses__():
        if kind.__module__.startswith("wclayer.") and not inspect.isabstract(kind):
            yield kind
        yield from _concrete(kind)


def _is_alike(kind: type[object], protocol: type[object]) -> bool:
    """True for a class that is no protocol, and has what the protocol has."""
    if inspect.isabstract(kind) or getattr(kind, "_is_protocol", False):
        return False
    # Files are iterators that are closed, too: a reader is one of items.
    item = getattr(protocol, "__next__", None)
    returned = None if item is None else item.__annotations__["return"]
    return all(hasattr(kind, name) for name in _members(protocol)) and (
        returned is None or getattr(getattr(kind, "__next__", None), "__annotations__", {}).get("return") == returned
    )


def _members(protocol: type[object]) -> set[str]:
    return {name for name, member in vars(protocol).items() if inspect.isfunction(member) and name != "__init__"}


def test_every_reader_and_writer_is_in_the_table() -> None:
    """A class that reads or writes layers is in `FORMATS`, whether it derives from the base or has the methods."""
    # Neither what calls Windows is loaded, nor what needs FUSE.
    loaded = [
        importlib.import_module(name)
        for name in modules()
        if not name.startswith(
            (
                "wclayer.engines.hcs",
                "wclayer.host.win",
                "wclayer.view.fuse.operations",
                "wclayer.view.fuse.session",
                "wclayer.view.fuse.server",
                "wclayer.__main__",
            )
        )
    ]
    known = {kind for row in FORMATS for kind in (row.writes, row.reads)} | {BackupLayerReader, BackupLayerWriter}
    # It reads several layers as one, which no row of the table can make: tests/builder/test_part.py has its contract.
    known.add(ChainPartReader)
    # It is a row's writer that replaces a damaged layer, which no row has: tests/images/test_repair.py tests that.
    known.add(ReplacingLayerWriter)
    # They keep no contents, so nothing comes back: tests/inventory/facts/test_reading.py and
    # tests/layers/test_indexed_tar.py test what does.
    known |= {RecordsWriter, FactsWriter, IndexWriter}
    # It reads a tar as its base does, and notes the places of contents: tests/layers/test_indexed_tar.py tests that.
    known.add(PlacedTarReader)
    for base, protocol in ((LayerReaderBase, LayerReader), (LayerWriterBase, LayerWriter)):
        derived = set(_concrete(base))
        assert len(derived) >= 6
        alike = {
            kind
            for module in loaded
            for kind in vars(module).values()
            if inspect.isclass(kind) and kind.__module__ == module.__name__ and _is_alike(kind, protocol)
        }
        assert derived | alike <= known, derived | alike
    found = {
        node.name
        for name, path in modules().items()
        if name.startswith("wclayer.engines.hcs")
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.ClassDef) and node.name.endswith(("LayerReader", "LayerWriter"))
    }
    assert found == UNDER_WINE
    guest = (ROOT / "tests/windows/guest/test_layers.py").read_text()
    assert "new_layer_reader" in guest
    assert "new_layer_writer" in guest


# What comes back.


def _everything(writer: LayerWriter, refused: Container[Part] = ()) -> None:
    put_directories(writer, "Files", "Files/a", "Files/a/b", "Hives")
    put_file(writer, "Files/empty")
    put_file(writer, "Files/data", b"x" * 100_000, 0x21, first=b"stream", second=b"", third=bytes(70_000))
    data = b"all metadata"
    extra = tuple(stream for part, stream in _EXTRA.items() if part not in refused)
    writer.put(
        Entry("Files/all", info(0x26), len(data), AUDITED_SECURITY, EAS, extra=extra),
        [DataStream("", len(data), (data,))],
    )
    symlink = LinkTarget.from_path("..\\data", is_mount_point=False).encode()
    writer.put(Entry("Files/symlink", info(0x420), security=PLAIN_SECURITY, reparse=symlink))
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


def _tar_of(build: Callable[[LayerWriter], None]) -> bytes:
    raw = io.BytesIO()
    with TarLayerWriter(raw) as writer:
        build(writer)
    return raw.getvalue()


def _expect_same(made: Format, found: Rows, rows: Rows, *, with_info: bool = True) -> None:
    expected = made.expected(rows)
    assert found.keys() == expected.keys()
    for name, row in expected.items():
        there = found[name]
        if made.is_volume and row is not None and there is not None:
            row, there = (*row[:-1], sorted(row[-1])), (*there[:-1], sorted(there[-1]))
            if row[LINK] is row[SECURITY] is None:
                assert there[SECURITY]
                row = (*row[:SECURITY], there[SECURITY], *row[SECURITY + 1 :])
        if row is None or there is None or with_info:
            assert there == row, name
        else:
            assert there[1:] == row[1:], name


def test_everything_comes_back(layer_format: Format) -> None:
    def build(writer: LayerWriter) -> None:
        _everything(writer, layer_format.refuses)

    layer_format.make(build)
    _expect_same(layer_format, rows_of(layer_format.reader()), rows_of(TarLayerReader(io.BytesIO(_tar_of(build)))))


def test_backup_streams_carry_everything(layer_format: Format) -> None:
    tar = _tar_of(lambda writer: _everything(writer, layer_format.refuses))
    with (
        BackupLayerReader(TarLayerReader(io.BytesIO(tar))) as reader,
        BackupLayerWriter(layer_format.writer()) as writer,
    ):
        while (entry := reader.next()) is not None:
            if entry.link_target is not None:
                writer.add_link(entry.name, entry.link_target)
                continue
            assert entry.info is not None
            writer.add(entry.name.replace("/", "\\"), entry.info)
            while piece := reader.read(777):
                writer.write(piece)
    expected, found = rows_of(TarLayerReader(io.BytesIO(tar))), rows_of(layer_format.reader())
    # What `add_link` cannot be told is the link's own basic info.
    for rows in (expected, found):
        link = rows["Files/z second name"]
        assert link is not None
        rows["Files/z second name"] = ("any", *link[1:])
    _expect_same(layer_format, found, expected)


def _object_id(writer: LayerWriter) -> None:
    writer.put(Entry("Files/x", info(), extra=(_EXTRA[Part.OBJECT_ID],)))


def _property_data(writer: LayerWriter) -> None:
    writer.put(Entry("Files/x", info(), extra=(_EXTRA[Part.PROPERTY_DATA],)))


def _utility_vm(writer: LayerWriter) -> None:
    put_directories(writer, "UtilityVM", "UtilityVM/Files")
    put_file(writer, "UtilityVM/Files/x", b"y")


def _tombstones(writer: LayerWriter) -> None:
    put_directories(writer, "Files/deleted", "Files/new")
    assert isinstance(writer, LayerWriterBase)
    BackupLayerWriter(writer).remove("Files\\deleted\\file")
    writer.put(Entry("Files/gone", None))


PARTS: dict[Part, Callable[[LayerWriter], None]] = {
    Part.TOMBSTONE: _tombstones,
    Part.TOMBSTONE_ALONE: lambda writer: writer.put(Entry("Files/deleted/file", None)),
    Part.TOMBSTONE_IN_UTILITY_VM: lambda writer: writer.put(Entry("UtilityVM/Files/gone", None)),
    Part.UTILITY_VM: _utility_vm,
    Part.OBJECT_ID: _object_id,
    Part.PROPERTY_DATA: _property_data,
}


@pytest.mark.parametrize("part", PARTS)
def test_a_part_comes_back_or_is_refused(written_format: Format, part: Part, tmp_path: Path) -> None:
    def build(writer: LayerWriter) -> None:
        put_directories(writer, "Files")
        PARTS[part](writer)

    if part in written_format.refuses:
        writer = written_format.writer()
        before = sorted(os.listdir(tmp_path))
        kind = written_format.refuses[part]
        with pytest.raises(kind, match=r"Files|UtilityVM") as refused, writer:
            build(writer)
        assert type(refused.value) is kind
        assert refused.value.path.startswith(str(written_format.place))
        assert {name for name in os.listdir(tmp_path) if not name.startswith(".")} <= {*before, "layer1"}
    else:
        with written_format.writer() as writer:
            build(writer)
        if written_format.keeps_metadata:
            found, expected = rows_of(written_format.reader()), rows_of(TarLayerReader(io.BytesIO(_tar_of(build))))
            # A layer directory and a transport folder always have the roots.
            if "Hives" not in written_format.expected(expected):
                found.pop("Hives", None)
            _expect_same(written_format, found, expected, with_info=False)


def test_sparse_blocks_are_written_out_dense(layer_format: Format) -> None:
    with BackupLayerWriter(layer_format.writer()) as writer:
        put_directories(writer, "Files")
        writer.add("Files/sparse", info(0x220))
        writer.write(StreamHeader(StreamId.DATA, 0, 8).encode())
        writer.write(StreamHeader(StreamId.SPARSE_BLOCK, 3, 0, "", 5000).encode() + b"abc")
        writer.write(StreamHeader(StreamId.SPARSE_BLOCK, 3, 0, "", 3_000_000).encode() + b"def")
        writer.write(StreamHeader(StreamId.SPARSE_BLOCK, 0, 0, "", 4_000_000).encode())
    expected = bytearray(4_000_000)
    expected[5000:5003], expected[3_000_000:3_000_003] = b"abc", b"def"
    with layer_format.reader() as reader:
        entries = [(item.entry, [stream.read_all() for stream in item.streams()]) for item in reader]
    ((entry, streams),) = [pair for pair in entries if pair[0].name == "Files/sparse"]
    assert entry.size == 4_000_000
    assert streams == [bytes(expected)]


# What every reader promises.


def _usual(writer: LayerWriter) -> None:
    """What every format holds: directories, files of several sizes, two names of a file."""
    put_directories(writer, "Files", "Files/a", "Files/a/b")
    put_file(writer, "Files/a/b/empty")
    put_file(writer, "Files/a/b/large", bytes(range(256)) * 1000)
    put_file(writer, "Files/a/small", b"small")
    put_file(writer, "Files/link 1", b"linked" * 20_000)
    writer.put(Entry("Files/link 2", info(), link_target="Files/link 1"))


def test_the_order_is_one_that_every_writer_takes(read_format: Format) -> None:
    """A name comes once, after its directory; a hard link after its target, which is the first name of the file."""
    read_format.make(_usual)
    seen: dict[str, bool] = {"": False}
    links = {}
    with read_format.reader() as reader:
        for item in reader:
            entry = item.entry
            assert path_key(entry.name) not in seen
            assert path_key(entry.name.rpartition("/")[0]) in seen
            if entry.link_target is not None:
                assert seen[path_key(entry.link_target)] is False
                links[entry.name] = entry.link_target
            seen[path_key(entry.name)] = entry.link_target is not None
    assert links == {"Files/link 2": "Files/link 1"}


def test_streams_are_whole(read_format: Format) -> None:
    """The main stream comes first and has the entry's size; each stream has the size that it says."""
    read_format.make(_usual if not read_format.keeps_metadata else _with_streams)
    found = {}
    with read_format.reader() as reader:
        for item in reader:
            entry = item.entry
            streams = [(stream.name, stream.size, stream.read_all()) for stream in item.streams()]
            assert all(len(data) == size for _, size, data in streams)
            assert [name for name, _, _ in streams[1:] if not name] == []
            assert len({path_key(name) for name, _, _ in streams}) == len(streams)
            if entry.link_target is None:
                found[entry.name] = {name: data for name, _, data in streams}
                assert found[entry.name].get("", b"") == b"" or len(found[entry.name][""]) == entry.size
                assert ("" in found[entry.name]) is entry.has_data
    assert found["Files/a/b/empty"] == {"": b""}
    assert found["Files/a/b/large"][""] == bytes(range(256)) * 1000
    assert found["Files/link 1"] == {"": b"linked" * 20_000}


def _with_streams(writer: LayerWriter) -> None:
    _usual(writer)
    put_file(writer, "Files/streams", b"main", first=b"1" * 70_000, second=b"")
    writer.put(directory("Files/directory with a stream"), [DataStream("s", 3, (b"abc",))])


def test_what_is_not_read_is_skipped(read_format: Format) -> None:
    read_format.make(_usual if not read_format.keeps_metadata else _with_streams)
    ways: list[Callable[[BackupLayerReader], object]] = [
        lambda reader: None, lambda reader: reader.read(), lambda reader: reader.read(700),
        lambda reader: next(reader.streams(), None), lambda reader: [stream.size for stream in reader.streams()],
        lambda reader: [next(iter(stream.chunks), b"") for stream in reader.streams()],
    ]  # fmt: skip
    listings = []
    for way in ways:
        with BackupLayerReader(read_format.reader()) as reader:
            listings.append([(item.entry, way(reader))[0] for item in reader])
    assert len(listings[0]) > 7
    for listing in listings[1:]:
        assert listing == listings[0]


def test_a_reader_ends_and_is_closed(read_format: Format) -> None:
    """`next` returns None at the end, as often as it is asked; a closed reader says so, and is closed twice."""
    read_format.make(_usual)
    with BackupLayerReader(read_format.reader()) as reader:
        for early in (reader.streams, reader.read, reader.link_info):
            with pytest.raises(wclayer.InvalidStateError, match="call next first"):
                early()
        first = reader.next()
        assert first is not None
        # Iterating goes on from where `next` was.
        rest = [item.entry.name for item in reader]
        assert first.name not in rest
        assert "Files/link 2" in rest
        assert reader.next() is None
        assert reader.next() is None
        assert list(reader) == []
    reader.close()
    reader.close()
    with pytest.raises(wclayer.InvalidStateError, match="closed"):
        reader.next()


@pytest.mark.parametrize("kind", [Scratch, ChangedChain])
def test_a_layer_that_is_changed_meanwhile_is_read_as_of_one_moment(kind: type[Scratch], tmp_path: Path) -> None:
    """The entries are those of the start. Contents that are gone are told to be; never are others given for them."""
    made = kind(tmp_path)
    made.make(_usual)
    before = rows_of(made.reader())
    with made.reader() as reader:
        names = [next(reader).entry.name]
        with wclayer.LayerView(scratch=made.place) as view:
            view.write_bytes("C:\\a\\new", b"new")
            view.unlink("C:\\link 2")
            view.write_bytes("C:\\a\\small", b"other")
        for item in reader:
            entry = item.entry
            names.append(entry.name)
            if entry.name != "Files/a/small":
                assert all(stream.size == len(stream.read_all()) for stream in item.streams())
            else:
                with pytest.raises(wclayer.LayerBusyError, match="changed"):
                    [stream.read_all() for stream in item.streams()]
    assert names == list(before)
    assert "Files/a/new" in rows_of(made.reader())
    made.held.close()


def test_damage_is_told_with_the_path(read_format: Format, tmp_path: Path) -> None:
    read_format.make(_usual)
    read_format.damage()
    with pytest.raises(wclayer.LayerError) as found:
        rows_of(read_format.reader())
    assert isinstance(found.value, (wclayer.InvalidDataError, wclayer.CorruptLayerError)), found.value
    assert found.value.path.startswith(str(read_format.place))
    assert found.value.operation


# What every writer promises.


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
    written_format: Format, build: Callable[[BackupLayerWriter], object], problem: str, tmp_path: Path
) -> None:
    written_format.prepare()
    with _nothing_made(written_format, tmp_path):
        writer = BackupLayerWriter(written_format.writer())
        with pytest.raises(wclayer.LayerError, match=problem) as refused, writer:
            put_directories(writer, "Files")
            build(writer)
        assert refused.value.path.startswith(str(written_format.place))


@contextlib.contextmanager
def _nothing_made(made: Format, folder: Path) -> Iterator[None]:
    """Checks that a writer which does not end leaves nothing; what the caller opened for it stays the caller's."""
    with contextlib.ExitStack() as stack:
        if made.is_staged:
            stack.enter_context(nothing_left_in(folder))
        yield
        if not made.is_staged:
            made.held.close()
            callers = {f"layer{number + 1}" for number in range(made.count)}
            assert {path.name for path in folder.iterdir()} <= {"parent", *callers}


@pytest.mark.parametrize("after", [0, 1, 600])
def test_a_layer_that_is_given_up_leaves_nothing(written_format: Format, tmp_path: Path, after: int) -> None:
    written_format.prepare()
    with _nothing_made(written_format, tmp_path):
        writer = BackupLayerWriter(written_format.writer())
        if after:
            put_directories(writer, "Files")
        for number in range(after):
            put_file(writer, f"Files/{number}", b"x" * 400)
        writer.add("Files/begun", info()) if after else None
        writer.abort()
        writer.abort()
        for late in _USES:
            with pytest.raises(wclayer.InvalidStateError):
                late(writer)


def test_an_exception_of_the_caller_gives_the_layer_up(written_format: Format, tmp_path: Path) -> None:
    class MineError(Exception):
        pass

    written_format.prepare()
    with _nothing_made(written_format, tmp_path):
        with pytest.raises(MineError), written_format.writer() as writer:
            put_directories(writer, "Files")
            raise MineError
        with pytest.raises(MineError), written_format.writer() as writer:
            writer.put(directory("Files"), (_raise(MineError) for _ in range(1)))


def _raise(kind: type[Exception]) -> DataStream:
    raise kind


_USES: list[Callable[[BackupLayerWriter], object]] = [
    lambda writer: put_directories(writer, "Files/late"),
    lambda writer: writer.add("Files/late", info()),
    lambda writer: writer.add_link("Files/late", "Files/x"),
    lambda writer: writer.remove("Files/late"),
    lambda writer: writer.write(b"x"),
]


def test_a_failed_writer_stays_failed(written_format: Format) -> None:
    writer = BackupLayerWriter(written_format.writer())
    with pytest.raises(wclayer.InvalidDataError):
        put_file(writer, "Nowhere/a")
    for use in _USES:
        with pytest.raises(wclayer.InvalidStateError):
            use(writer)
    with pytest.raises(wclayer.InvalidStateError):
        writer.close()
    writer.abort()


def test_a_layer_is_there_when_it_is_closed_and_ends_then(written_format: Format) -> None:
    writer = BackupLayerWriter(written_format.writer())
    put_directories(writer, "Files")
    put_file(writer, "Files/x", b"x")
    if written_format.is_staged:
        assert not written_format.place.exists()
    writer.close()
    writer.close()
    # Neither takes anything back that is done.
    writer.abort()
    for use in _USES:
        with pytest.raises(wclayer.InvalidStateError):
            use(writer)
    with written_format.reader() as reader:
        assert "Files/x" in [item.entry.name for item in reader]


def test_progress_and_cancellation(layer_format: Format, tmp_path: Path) -> None:
    def build(writer: LayerWriter) -> None:
        put_directories(writer, "Files")
        for number in range(600):
            put_file(writer, f"Files/{number}", b"x" * 1000)

    tar = _tar_of(build)
    seen: list[tuple[int, int]] = []
    with TarLayerReader(io.BytesIO(tar)) as reader, layer_format.writer() as writer:
        wclayer.copy_layer(reader, writer, progress=lambda state: seen.append((state.entries, state.bytes)))
    assert seen[-1] == (601, 600_000)
    assert len(seen) > 2
    assert seen == sorted(seen)
    with _nothing_made(layer_format, tmp_path) if layer_format.is_staged else contextlib.nullcontext():
        with (
            pytest.raises(wclayer.OperationCancelledError) as cancelled,
            TarLayerReader(io.BytesIO(tar)) as reader,
            layer_format.writer() as writer,
        ):
            wclayer.copy_layer(reader, writer, cancelled=lambda: True)
        assert cancelled.value.code == 1223


# Random layers.


@pytest.mark.parametrize("kind", WHOLE)
def test_random_layers_come_back(kind: type[Format], tmp_path_factory: pytest.TempPathFactory) -> None:
    @given(layers())
    @settings(max_examples=40 if kind in (Tar, Transport, Directory) else 8)
    def check(layer: RandomLayer) -> None:
        made = kind(tmp_path_factory.mktemp("layers"))
        made.make(lambda writer: put_all(writer, layer))
        found = rows_of(made.reader())
        expected = rows_of(TarLayerReader(io.BytesIO(_tar_of(lambda w: put_all(w, layer)))))
        # A layer directory and a transport folder always have the roots.
        if "Hives" not in made.expected(expected):
            found.pop("Hives", None)
        _expect_same(made, found, expected)

    check()
