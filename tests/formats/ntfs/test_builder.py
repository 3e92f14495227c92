"""New volumes in little memory: the MFT in pages, names that are read back, links that come late, large directories."""

from __future__ import annotations

import io
import random
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wclayer.formats.ntfs import links, mft, names, structs
from wclayer.formats.ntfs.builder import VolumeBuilder
from wclayer.formats.ntfs.file_metadata import FileMetadata
from wclayer.formats.ntfs.number_table import NumberTable
from wclayer.formats.ntfs.structs import RECORD_MASK, AttributeType, FileTooComplexError, RecordHeader, SystemFile
from wclayer.formats.ntfs.volume import NtfsVolume
from wclayer.layers.volume.raw import RawDisk
from wclayer.win32.attributes import FileBasicInfo
from wclayer.win32.names import collation_key

MIB = 1 << 20
TIME = 133_500_000_000_000_000
SECURITY = b"a descriptor", b"another one"
INFO = FileBasicInfo(0x20, TIME + 1, TIME + 2, TIME + 3, TIME + 4)
METADATA = FileMetadata(TIME + 1, TIME + 3, TIME + 4, TIME + 2, 0x20, SECURITY[0])
DIRECTORY = FileMetadata(TIME, TIME, TIME, TIME, 0x10, SECURITY[1])


@pytest.fixture
def little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few pages of the MFT, a part of the names and a few links in memory."""
    monkeypatch.setattr(mft, "_KEPT_PAGES", 3)
    monkeypatch.setattr(names, "_AT_ONCE", 500)
    monkeypatch.setattr(names, "_SAMPLE", 4)
    monkeypatch.setattr(links, "_MAX_WAITING", 2000)


def _disk(size: int = 64 * MIB) -> RawDisk:
    return RawDisk(io.BytesIO(), size=size)


def _builder(disk: RawDisk, cluster_size: int = 4096) -> VolumeBuilder:
    return VolumeBuilder(disk, DIRECTORY, cluster_size=cluster_size, serial=1, time=TIME)


def _files(volume: NtfsVolume, directory: int = SystemFile.ROOT, path: str = "") -> Iterator[tuple[str, int, bytes]]:
    """Every name of a volume in order: its path, the record, the data; checks the order and the number of names."""
    own = [e for e in volume.entries(volume.record(directory)) if e.reference & RECORD_MASK >= 32]
    assert [e.name for e in own] == sorted((e.name for e in own), key=collation_key)
    for entry in own:
        number = entry.reference & RECORD_MASK
        record = volume.record(number)
        main = record.find(AttributeType.DATA)
        yield path + entry.name, number, b"" if main is None else b"".join(volume.chunks(main))
        if record.is_directory:
            yield from _files(volume, number, f"{path}{entry.name}/")


def test_links_to_files_whose_records_were_written_long_ago(little_memory: None) -> None:
    disk = _disk()
    builder = _builder(disk)
    source = random.Random(1)
    many = builder.make_directory(builder.root, "many", DIRECTORY)
    expected = {}
    for number in range(1500):
        data = source.randbytes(number % 1500)
        builder.put_plain_file(many, f"File {number}", INFO, SECURITY[0], data)
        expected[f"many/File {number}"] = data
    other = builder.make_directory(builder.root, "other", DIRECTORY)
    for number in source.sample(range(1500), 200):
        file = builder.find(many, f"fILE {number}")
        assert file is not None
        for count in range(source.choice((1, 1, 2, 30))):
            name = f"link {count} {'x' * source.randrange(80)} of {number}"
            place = source.choice((many, other))
            builder.add_link(place, name, file)
            expected[f"{'many' if place == many else 'other'}/{name}"] = expected[f"many/File {number}"]
    assert builder.find(many, "link 0 of 7") is None
    assert builder.find(other, "File 7") is None
    builder.finish()
    volume = NtfsVolume(disk)
    found = {path: (number, data) for path, number, data in _files(volume) if "/" in path}
    assert {path: data for path, (_, data) in found.items()} == expected
    for path, (number, _) in found.items():
        listed = [(name.parent, name.name) for name in volume.record(number).names()]
        header = RecordHeader._make(structs.RECORD.unpack(disk.read(volume.record_offset(number), structs.RECORD.size)))
        assert header.links == len(listed) == len(set(listed)), path
        assert path.rpartition("/")[2] in [name for _, name in listed]


@pytest.mark.parametrize("order", ["sorted", "reversed", "mixed", "mixed and not ASCII"])
def test_a_directory_of_more_names_than_are_sorted_at_once(little_memory: None, order: str) -> None:
    disk = _disk()
    builder = _builder(disk)
    given_names = sorted(f"Name{'ä' if 'ASCII' in order else ''} {number:05d}" for number in range(3000))
    if order == "reversed":
        given_names.reverse()
    elif "mixed" in order:
        random.Random(2).shuffle(given_names)
    for name in given_names:
        builder.put_plain_file(builder.root, name, INFO, SECURITY[0], name.encode())
    builder.finish()
    found = [(path, data) for path, _, data in _files(NtfsVolume(disk))]
    assert found == [(name, name.encode()) for name in sorted(given_names)]


def test_the_mft_of_a_volume_with_the_smallest_clusters() -> None:
    """Its runs have whole records; with half of one, the records after it were lost."""
    disk = _disk()
    builder = _builder(disk, 512)
    for number in range(25_000):
        builder.put_plain_file(builder.root, f"{number}", INFO, SECURITY[0], b"%d" % number)
    builder.finish()
    found = {path: data for path, _, data in _files(NtfsVolume(disk))}
    assert found == {f"{number}": b"%d" % number for number in range(25_000)}


@pytest.mark.parametrize("cluster_size", [512, 4096, 65_536])
@given(
    st.text(st.characters(codec="utf-16", exclude_characters="/"), min_size=1, max_size=127),
    st.integers(0, 2**32 - 1),
    st.lists(st.integers(0, 2**63 - 1), min_size=4, max_size=4),
    st.one_of(st.binary(max_size=700), st.integers(600, 70_000).map(bytes)),
)
@settings(max_examples=20)
def test_a_plain_file_is_what_its_steps_make(
    cluster_size: int, name: str, attributes: int, times: list[int], data: bytes
) -> None:
    volumes = []
    for is_plain in (False, True):
        disk = _disk(9 * MIB)
        builder = _builder(disk, cluster_size)
        attributes &= ~0x10
        if is_plain:
            builder.put_plain_file(builder.root, name, FileBasicInfo(attributes, *times), SECURITY[0], data)
        else:
            builder.begin_node(
                builder.root, name, FileMetadata(times[0], times[2], times[3], times[1], attributes, SECURITY[0])
            )
            builder.begin_stream("", len(data))
            builder.write(data)
            builder.end_stream()
            builder.end_node()
        builder.finish()
        volumes.append(disk.read(0, disk.size))
    assert volumes[0] == volumes[1]


def test_directories_with_streams_and_with_a_list_get_their_index(little_memory: None) -> None:
    disk = _disk()
    builder = _builder(disk)
    expected = []
    for count in (0, 1, 30, 300):
        for children in (0, 3, 40):
            directory = builder.make_directory(builder.root, f"{count} {children}", DIRECTORY)
            for number in range(count):
                builder.begin_stream(f"stream {number}", 2)
                builder.write(b"ab")
                builder.end_stream()
            for number in range(children):
                builder.put_plain_file(directory, f"file {number:02d}", INFO, SECURITY[0], b"x" * number)
            expected.append((f"{count} {children}", count, children))
    builder.finish()
    volume = NtfsVolume(disk)
    found = []
    for path, number, _ in _files(volume):
        record = volume.record(number)
        if record.is_directory:
            streams = [a for a in record.attributes if a.type == AttributeType.DATA]
            assert all(volume.value(stream) == b"ab" for stream in streams)
            found.append((path, len(streams), sum(1 for _ in volume.entries(record))))
    assert sorted(found) == sorted(expected)


def test_the_root_directory_is_found_by_its_object_id() -> None:
    disk = _disk(9 * MIB)
    builder = _builder(disk)
    builder.set_root(FileMetadata(TIME, TIME, TIME, TIME, 0x10, SECURITY[0], object_id=bytes(range(64))))
    builder.finish()
    volume = NtfsVolume(disk)
    extend = {e.name: e.reference & RECORD_MASK for e in volume.entries(volume.record(SystemFile.EXTEND))}
    root = volume.record(extend["$ObjId"]).find(AttributeType.INDEX_ROOT, "$O")
    assert root is not None
    assert bytes(range(16)) in volume.value(root)


def test_a_message_has_the_whole_path(little_memory: None) -> None:
    builder = _builder(_disk())
    outer = builder.make_directory(builder.root, "outer", DIRECTORY)
    inner = builder.make_directory(outer, "inner", DIRECTORY)
    builder.put_plain_file(inner, "file", INFO, SECURITY[0], b"")
    for number in range(1000):
        builder.put_plain_file(outer, f"{number}", INFO, SECURITY[0], b"")
    file = builder.find(inner, "FILE")
    assert file is not None
    for number in range(1023):
        builder.add_link(inner, f"link {number}", file)
    with pytest.raises(FileTooComplexError, match="'outer/inner/last': a further name of a file with 1024"):
        builder.add_link(inner, "last", file)


def test_the_descriptor_of_a_directory_is_known(little_memory: None) -> None:
    builder = _builder(_disk())
    assert builder.descriptor_of(builder.root) == SECURITY[1]
    directory = builder.make_directory(builder.root, "directory", FileMetadata(1, 2, 3, 4, 0x10, b"own"))
    assert builder.descriptor_of(directory) == b"own"
    for number in range(1000):
        builder.put_plain_file(directory, f"{number}", INFO, SECURITY[0], b"")
    assert builder.descriptor_of(directory) == b"own"
    builder.set_root(FileMetadata(1, 2, 3, 4, 0x10, b"of the root"))
    assert builder.descriptor_of(builder.root) == b"of the root"


@given(st.lists(st.tuples(st.text(max_size=3), st.integers(0, 2**32 - 1)), max_size=1500))
def test_a_table_of_numbers_is_a_dictionary(items: list[tuple[str, int]]) -> None:
    table = NumberTable()
    for key, number in items:
        table.keep(key, number)
    for key, number in dict(items).items():
        assert table.get(key) == number
    assert table.get(("another", "key")) is None


@pytest.mark.parametrize("cluster_size", [512, 4096, 65_536])
def test_a_plain_directory_is_what_the_general_way_makes(cluster_size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    volumes = []
    for is_plain in (True, False):
        if not is_plain:
            monkeypatch.setattr(FileMetadata, "is_plain", False)
        disk = _disk(9 * MIB)
        builder = _builder(disk, cluster_size)
        for name in ("d", "n" * 255, "\ud800", "ä"):
            builder.make_directory(builder.root, name, FileMetadata(1, 2, 3, 4, 0x2000_0016, SECURITY[0]))
        builder.finish()
        volumes.append(disk.read(0, disk.size))
    assert volumes[0] == volumes[1]
