"""Volumes at the limits of their forms: files in many records, large lists, other orders of names, fragmented MFTs."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import re
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from dissect.ntfs import NTFS

import wclayer
from tests.layers.damaged_volumes import read_record, write_record
from tests.packages import NTFS as NTFS_PACKAGE
from tests.packages import packaged, write_cloud_volume
from tests.support import (
    TIME,
    archive,
    contents,
    layer_tar,
    member,
    put_directories,
    put_file,
    put_files,
    run,
    verify_volume,
    witness,
    write_volume,
)
from wclayer import sample
from wclayer.errors import DiskFullError, InvalidDataError, InvalidParameterError, NotSupportedError
from wclayer.formats.ntfs import mft, streams, structs
from wclayer.formats.ntfs.grow import grow_volume
from wclayer.formats.ntfs.records import Attribute, encode_record, reference
from wclayer.formats.ntfs.runs import Run
from wclayer.formats.ntfs.structs import RECORD_SIZE, AttributeType, NtfsError, RecordFlags, SystemFile
from wclayer.formats.ntfs.volume import NtfsVolume
from wclayer.layers.volume.raw import RawDisk
from wclayer.layers.volume.reader import VolumeLayerReader
from wclayer.layers.volume.writer import VolumeLayerWriter
from wclayer.model import DataStream, Entry, LayerWriter
from wclayer.win32.attributes import FileBasicInfo
from wclayer.win32.backup import StreamHeader, StreamId
from wclayer.win32.ea import ExtendedAttribute, encode_eas
from wclayer.win32.reparse import ReparsePoint
from wclayer.win32.sddl import from_sddl

MIB = 1 << 20
INFO = FileBasicInfo(0x20, TIME, TIME, TIME, TIME)
SPARSE = FileBasicInfo(0x220, TIME, TIME, TIME, TIME)
CLOUD_TAG = 0x9000701A


def _read_by_ntfs_3g(path: Path, name: str, stream: str = "") -> bytes:
    command = [witness("ntfscat"), *(["-n", stream] if stream else []), str(path), name]
    return subprocess.run(command, capture_output=True, check=True).stdout


def _names_in(path: Path) -> list[str]:
    with VolumeLayerReader(path) as reader:
        return [item.entry.name for item in reader]


# Names and streams.


def test_streams_are_in_the_order_of_the_upcase_table(tmp_path: Path) -> None:
    names = ("\u00df", "z", "\uff5a", "\U0001f600", "a")
    streams = {name: name.encode() * 300 for name in names}

    def build(writer: LayerWriter) -> None:
        named = [DataStream(name, len(data), (data,)) for name, data in streams.items()]
        writer.put(Entry("Files/f", INFO, 4), [DataStream("", 4, (b"main",)), *named])

    path = write_volume(tmp_path / "volume", build, whole=False)
    for name, data in streams.items():
        assert _read_by_ntfs_3g(path, "f", name) == data
    with VolumeLayerReader(path) as reader:
        assert [item.entry.name for item in reader][-1] == "Files/f"
    with VolumeLayerReader(path) as reader:
        file = next(item for item in reader if item.entry.name == "Files/f")
        # By code unit: a pair of surrogates is before what follows them in the table.
        found = [stream.name for stream in file.streams()]
    assert found == ["", "a", "z", "\u00df", "\U0001f600", "\uff5a"]
    verify_volume(path)


def test_names_are_in_the_order_of_the_upcase_table(tmp_path: Path) -> None:
    names = ["\uff5a", "\U0001f600", "z", "\u00df", "A", "\u0131", "i"]
    path = write_volume(tmp_path / "volume", lambda w: put_files(w, *(f"Files/{name}" for name in names)), whole=False)
    expected = ["A", "i", "z", "\u00df", "\u0131", "\U0001f600", "\uff5a"]
    assert [name.removeprefix("Files/") for name in _names_in(path)][1:] == expected
    for name in names:
        assert _read_by_ntfs_3g(path, name) == b""


def test_children_of_directories_whose_tag_is_no_name_surrogate_are_read(tmp_path: Path) -> None:
    cloud = ReparsePoint(CLOUD_TAG, b"\1\0\0\0").encode()

    def build(writer: LayerWriter) -> None:
        put_directories(writer, "Files")
        writer.put(Entry("Files/OneDrive", FileBasicInfo(0x410, TIME, TIME, TIME, TIME), reparse=cloud))
        put_directories(writer, "Files/OneDrive/d")
        put_file(writer, "Files/OneDrive/d/f", b"data")

    path = write_volume(tmp_path / "volume", build, whole=False)
    expected = ["Files", "Files/OneDrive", "Files/OneDrive/d", "Files/OneDrive/d/f"]
    assert _names_in(path) == expected
    wclayer.import_layer_from_disk(path, tmp_path / "layer")
    assert list(wclayer.check_layer(tmp_path / "layer")) == []
    with wclayer.LayerView([tmp_path / "layer"]) as view:
        assert view.read_bytes("/OneDrive/d/f") == b"data"
    with wclayer.new_layer_reader(tmp_path / "layer") as reader:
        assert [item.entry.name for item in reader] == expected


# Files in many records.


def _pieces(count: int, size: int) -> bytes:
    """Data that are pieces with a hole before each."""
    return b"".join(bytes(size) + number.to_bytes(4, "little") * (size // 4) for number in range(1, count + 1))


def _put_sparse(writer: LayerWriter, name: str, data: bytes) -> None:
    writer.put(Entry(name, SPARSE, len(data)), [DataStream("", len(data), (data,))])


@pytest.mark.parametrize(("count", "cluster"), [(180, 4096), (6000, 4096), (3000, 512)])
def test_a_file_of_many_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int, cluster: int) -> None:
    monkeypatch.setattr(streams, "_SPARSE_UNIT", 4096)
    data = _pieces(count, 4096)

    def build(writer: LayerWriter) -> None:
        put_directories(writer, "Files")
        _put_sparse(writer, "Files/sparse", data)
        # The file is read back and written once more when it gets another name.
        writer.put(Entry("Files/again", SPARSE, link_target="Files/sparse"))

    path = write_volume(tmp_path / "volume", build, 96 * MIB, whole=False, cluster=cluster)
    verify_volume(path)
    digest = hashlib.sha256(data).digest()
    assert hashlib.sha256(_read_by_ntfs_3g(path, "sparse")).digest() == digest
    with path.open("rb") as file:
        record = NTFS(file).mft.get("sparse")
        assert hashlib.sha256(record.open().read()).digest() == digest
        number = record.segment
        volume = NtfsVolume(RawDisk(file))
        found = volume.record(number).find(AttributeType.DATA)
        assert found is not None
        assert len(found.runs) == 2 * count
    icat = subprocess.run([witness("icat"), str(path), str(number)], capture_output=True, check=True)
    assert hashlib.sha256(icat.stdout).digest() == digest
    with VolumeLayerReader(path) as reader:
        facts = contents(reader)
    assert [fact[0] for fact in facts] == ["Files", "Files/again", "Files/sparse"]
    assert facts[1][-1] == [("", digest.hex())]


def test_a_scratch_with_a_file_of_many_runs_is_deactivated(tmp_path: Path) -> None:
    def build(writer: LayerWriter) -> None:
        put_directories(writer, "Files")

    base, scratch = tmp_path / "base", tmp_path / "scratch"
    wclayer.import_layer_from_tar(io.BytesIO(layer_tar(build)), base)
    wclayer.create_scratch_layer(scratch, [base])
    data = _pieces(200, 65_536)
    wclayer.activate_layer(scratch)
    with wclayer.LayerView(scratch=scratch) as view:
        view.write_bytes("/sparse", data)
        view.set_attributes("/sparse", 0x220)
    wclayer.deactivate_layer(scratch)
    with wclayer.ScratchLayerReader(scratch / "sandbox.vhdx", [base]) as reader:
        assert contents(reader)[-1][-1] == [("", hashlib.sha256(data).hexdigest())]


def _put_streams(count: int) -> Callable[[LayerWriter], None]:
    def build(writer: LayerWriter) -> None:
        put_directories(writer, "Files", "Files/d")
        streams = [DataStream("", 0, ()), *(DataStream(f"s{n}", 2, (b"ab",)) for n in range(count))]
        writer.put(Entry("Files/d/f", INFO, 0), streams)

    return build


def _put_links(count: int) -> Callable[[LayerWriter], None]:
    def build(writer: LayerWriter) -> None:
        put_directories(writer, "Files", "Files/d")
        put_file(writer, "Files/d/f", b"data")
        for number in range(1, count):
            writer.put(Entry(f"Files/d/link{number}", INFO, link_target="Files/d/f"))

    return build


def test_a_file_has_as_many_names_and_streams_as_windows_allows(tmp_path: Path) -> None:
    path = write_volume(tmp_path / "streams", _put_streams(5000), 32 * MIB)
    assert _read_by_ntfs_3g(path, "Files/d/f", "s4999") == b"ab"
    verify_volume(path)
    path = write_volume(tmp_path / "links", _put_links(1024), 32 * MIB)
    assert _read_by_ntfs_3g(path, "Files/d/link1023") == b"data"
    verify_volume(path)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (_put_links(1025), r"'Files/d/link1024': a further name of a file with 1024"),
        (_put_streams(7000), r"'Files/d/f': its names, streams and pieces take more than the 262144 bytes"),
        (_put_streams(66_000), r"'Files/d/f': 66003 names, streams"),
    ],
)
def test_more_than_ntfs_holds_of_a_file_is_refused_by_name(
    tmp_path: Path, build: Callable[[LayerWriter], None], message: str
) -> None:
    with pytest.raises(NotSupportedError, match=message):
        write_volume(tmp_path / "volume", build, 32 * MIB)
    if build is not None and "66003" not in message:
        wclayer.import_layer_from_tar(io.BytesIO(layer_tar(build)), tmp_path / "layer")
        with pytest.raises(NotSupportedError, match=message.replace("Files/", "").replace("link1024", r"link\d+")):
            wclayer.convert_layer(tmp_path / "layer", tmp_path / "disk", to="ntfs", size=32 * MIB)
        assert not (tmp_path / "disk").exists()


def test_the_runs_of_the_largest_mft_fit_into_its_record() -> None:
    have, runs = 0, []
    while have < 64 << 30:
        size = mft.mft_growth(have)
        runs.append(Run(have * 3, size // 4096))
        have += size
    assert len(Attribute(AttributeType.DATA, value=None, runs=runs, size=have, allocated=have).encode(0)) < 600


# What the volume says of itself.


def test_a_label_is_as_long_as_the_volume_says(tmp_path: Path) -> None:
    tar = layer_tar(lambda writer: put_file(writer, "Files/f"))
    wclayer.import_layer_from_tar(io.BytesIO(tar), tmp_path / "layer")
    label = "\U0001f600" * 64
    wclayer.convert_layer(tmp_path / "layer", tmp_path / "disk", to="ntfs", size=16 * MIB, label=label)
    with VolumeLayerReader(tmp_path / "disk") as reader:
        assert reader.volume.label == label
    with pytest.raises(InvalidParameterError, match="129 UTF-16 units"):
        wclayer.convert_layer(tmp_path / "layer", tmp_path / "other", to="ntfs", size=16 * MIB, label=label + "x")
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("cluster", [512, 4096, 8192, 65_536])
def test_the_mirror_has_a_whole_cluster(tmp_path: Path, cluster: int) -> None:
    path = write_volume(tmp_path / "volume", lambda w: put_file(w, "Files/f", b"x"), cluster=cluster)
    verify_volume(path)
    _check_mirror(path, max(4096, cluster))


def _check_mirror(path: Path, size: int) -> None:
    with path.open("rb") as file:
        volume = NtfsVolume(RawDisk(file))
        mirror = volume.record(SystemFile.MFT_MIRROR).find(AttributeType.DATA)
        assert mirror is not None
        assert mirror.size == size
        records = volume.record(SystemFile.MFT).find(AttributeType.DATA)
        assert records is not None
        assert b"".join(volume.chunks(mirror)) == b"".join(volume.chunks(records, 0, size))


@pytest.mark.parametrize("cluster", [4096, 8192, 16_384, 65_536])
def test_a_volume_of_others_keeps_its_mirror_when_it_grows(tmp_path: Path, cluster: int) -> None:
    path = tmp_path / "volume"
    path.write_bytes(b"")
    with path.open("r+b") as file:
        file.truncate(64 * MIB)
    subprocess.run(
        [witness("mkntfs"), "-F", "-q", "-Q", "-c", str(cluster), str(path)], check=True, capture_output=True
    )
    with path.open("r+b") as file:
        file.truncate(20 << 30)
        disk = RawDisk(file)
        assert grow_volume(disk) > 19 << 30
    _check_mirror(path, max(4096, cluster))
    verify_volume(path)


def test_views_and_eas_are_described_as_windows_does(tmp_path: Path) -> None:
    eas = encode_eas([ExtendedAttribute(b"A", b"12345"), ExtendedAttribute(b"BB", b"", flags=0x80)])

    def build(writer: LayerWriter) -> None:
        writer.put(Entry("Files/f", INFO, 0, eas=eas), [DataStream("", 0, ())])

    path = write_volume(tmp_path / "volume", build, whole=False)
    with path.open("rb") as file:
        volume = NtfsVolume(RawDisk(file))
        for view in (SystemFile.SECURE, SystemFile.QUOTA, SystemFile.OBJECT_IDS, SystemFile.REPARSE):
            assert volume.record(view).information().attributes == 0x2000_0006
        number = next(e.reference & structs.RECORD_MASK for e in volume.entries(volume.record(5)) if e.name == "f")
        record = volume.record(number)
        information = record.find(AttributeType.EA_INFORMATION)
        name = record.find(AttributeType.FILE_NAME)
        assert information is not None
        assert name is not None
        assert information.value is not None
        assert name.value is not None
        packed, needed, unpacked = structs.EA_INFORMATION.unpack(information.value)
        assert (packed, needed, unpacked) == (5 + 1 + 5 + 5 + 2, 1, len(eas))
        assert structs.FILE_NAME.unpack_from(name.value)[8] == packed
    verify_volume(path)


# An MFT whose own record has an attribute list.


def _fragment_mft(path: Path, spare: int, *, far_list: bool) -> None:
    """Deals out the runs of a volume's MFT: one to its record, one to record 27, the rest to the record `spare`, which
    only the second run leads to."""
    with path.open("r+b") as file:
        disk = RawDisk(file)
        volume = NtfsVolume(disk)
        size = volume.cluster_size
        places = {number: volume.record_offset(number) for number in (0, 27, spare)}
        attributes = read_record(disk, places[0])
        data = next(a for a in attributes if a.type == AttributeType.DATA)
        first, second, *rest = data.runs
        assert rest
        assert first.length * size // RECORD_SIZE <= spare < (first.length + second.length) * size // RECORD_SIZE
        data.runs = [first]
        parts = [(0, data)]
        vcn = first.length
        for number, runs in ((27, [second]), (spare, rest)):
            parts.append((number, Attribute(AttributeType.DATA, value=None, runs=runs, first_vcn=vcn)))
            vcn += sum(run.length for run in runs)
        own = [*attributes]
        listed = sorted(
            [(0, a) for a in own if a is not data] + parts, key=lambda part: (part[1].type, part[1].first_vcn)
        )
        entries = b""
        for number, attribute in listed:
            place = reference(number, 1)
            index = own.index(attribute) if number == 0 else 0
            entries += structs.LIST_ENTRY.pack(attribute.type, 32, 0, 26, attribute.first_vcn, place, index).ljust(
                32, b"\0"
            )
        listing = Attribute(AttributeType.ATTRIBUTE_LIST, value=entries)
        if far_list:
            free = volume.clusters - 1
            disk.write(free * size, entries.ljust(size, b"\0"))
            listing = Attribute(
                AttributeType.ATTRIBUTE_LIST, value=None, runs=[Run(free, 1)], size=len(entries), allocated=size
            )
        encoded = [attribute.encode(index) for index, attribute in enumerate(own)]
        encoded.insert(1, listing.encode(len(own)))
        base = encode_record(0, 1, RecordFlags.IN_USE, 1, encoded, next_id=len(own) + 1)
        write_record(disk, places[0], base)
        mirror = volume.mirror_offset(0)
        assert mirror is not None
        write_record(disk, mirror, base)
        for number, part in parts[1:]:
            record = encode_record(number, 1, RecordFlags.IN_USE, 0, [part.encode(0)], base=reference(0, 1), next_id=1)
            write_record(disk, places[number], record)


def _many_files(path: Path) -> tuple[Path, int]:
    """A volume whose MFT has several runs, with a record in the second that nothing uses."""
    spare = 0
    with path.open("w+b") as file:
        file.truncate(64 * MIB)
        with VolumeLayerWriter(RawDisk(file), str(path), serial=1, time=TIME) as writer:
            put_directories(writer, "Files", "Files/d")
            for number in range(1500):
                if number == 300:
                    spare = writer._builder._mft.new_record()
                put_file(writer, f"Files/d/{number}", b"%d" % number)
    return path, spare


@pytest.mark.parametrize("far_list", [False, True])
def test_an_mft_with_an_attribute_list_is_read(tmp_path: Path, far_list: bool) -> None:
    path, spare = _many_files(tmp_path / "volume")
    with VolumeLayerReader(path) as reader:
        expected = contents(reader)
    _fragment_mft(path, spare, far_list=far_list)
    with path.open("rb") as file:
        theirs = NTFS(file)
        assert theirs.mft.get("d/1499").open().read() == b"1499"
    assert _read_by_ntfs_3g(path, "d/1499") == b"1499"
    with VolumeLayerReader(path) as reader:
        assert contents(reader) == expected


def test_an_mft_whose_list_leads_nowhere_is_refused(tmp_path: Path) -> None:
    path, spare = _many_files(tmp_path / "volume")
    _fragment_mft(path, spare, far_list=False)
    with path.open("r+b") as file:
        place = NtfsVolume(RawDisk(file)).record_offset(27)
        # The second part leads to itself: to what only the third has.
        file.seek(place)
        file.write(bytes(RECORD_SIZE))
        with pytest.raises(NtfsError, match="record 27: signature"):
            NtfsVolume(RawDisk(file))


def test_the_root_directory_keeps_a_descriptor_that_nothing_else_has(tmp_path: Path) -> None:
    descriptor = from_sddl("O:BAG:SYD:(A;;GA;;;WD)").encode()

    def build(writer: LayerWriter) -> None:
        writer.put(Entry("Files", FileBasicInfo(0x10, TIME, TIME, TIME, TIME), security=descriptor))

    path = write_volume(tmp_path / "volume", build, whole=False)
    with VolumeLayerReader(path) as reader:
        assert [item.entry.security for item in reader] == [descriptor]


# What a volume has no form for, or another.


def test_a_full_volume_says_what_size_is_needed(tmp_path: Path) -> None:
    wclayer.import_layer_from_tar(io.BytesIO(layer_tar(sample.write_base)), tmp_path / "layer")
    with pytest.raises(DiskFullError, match="is full; a disk of") as caught:
        wclayer.convert_layer(tmp_path / "layer", tmp_path / "disk", to="ntfs", size=10_719_232)
    needed = int(re.findall(r"a disk of (\d+) bytes", str(caught.value))[0])
    made = wclayer.convert_layer(tmp_path / "layer", tmp_path / "disk", to="ntfs", size=needed)
    assert made.disk_size == needed
    with pytest.raises(DiskFullError):
        wclayer.convert_layer(tmp_path / "layer", tmp_path / "other", to="ntfs", size=needed // 3)


def test_a_file_marked_as_encrypted_can_be_opened_on_the_volume(tmp_path: Path) -> None:
    def build(writer: LayerWriter) -> None:
        put_directories(writer, "Files")
        put_file(writer, "Files/f", b"plain", 0x4020)
        writer.put(Entry("Files/d", FileBasicInfo(0x4010, TIME, TIME, TIME, TIME)))

    layer, disk = tmp_path / "layer", tmp_path / "disk"
    wclayer.import_layer_from_tar(io.BytesIO(layer_tar(build)), layer)
    assert wclayer.convert_layer(layer, disk, to="ntfs", size=16 * MIB).unencrypted == 2
    assert _read_by_ntfs_3g(disk, "f") == b"plain"
    with VolumeLayerReader(disk) as reader:
        assert [item.entry.info.attributes for item in reader if item.entry.info][1:] == [0x10, 0x20]
    done = run("convert", layer, "--to", "ntfs", "--size", "16MiB", "-o", tmp_path / "other")
    assert b"2 entries are marked as encrypted" in done.stderr


def _led(eas: list[ExtendedAttribute]) -> bytes:
    """A list whose last entry leads to its end, as ntfs-3g writes it."""
    plain, last = encode_eas(eas), len(encode_eas(eas[:-1]))
    return plain[:last] + (len(plain) - last).to_bytes(4, "little") + plain[last + 4 :]


EAS = [ExtendedAttribute(b"A", b"12345"), ExtendedAttribute(b"BB", b"", flags=0x80)]


def test_eas_as_ntfs_3g_writes_them_are_taken_from_a_disk(tmp_path: Path) -> None:
    def build(writer: LayerWriter) -> None:
        writer.put(Entry("Files/f", INFO, 0, eas=_led(EAS)), [DataStream("", 0, ())])

    path = write_volume(tmp_path / "volume", build, whole=False)
    layer = tmp_path / "layer"
    wclayer.import_layer_from_disk(path, layer)
    assert list(wclayer.check_layer(layer)) == []
    with wclayer.LayerView([layer]) as view:
        assert view.volume.find("/f").row.eas == encode_eas(EAS)
    wclayer.export_layer_to_file(layer, tmp_path / "tar")
    wclayer.convert_layer(layer, tmp_path / "disk", to="ntfs", size=16 * MIB)


def test_eas_as_ntfs_3g_writes_them_keep_their_bytes_in_a_tar(tmp_path: Path) -> None:
    def build(writer: LayerWriter) -> None:
        writer.put(Entry("Files/f", INFO, 0, eas=_led(EAS)), [DataStream("", 0, ())])

    tar, layer = layer_tar(build), tmp_path / "layer"
    result = wclayer.import_layer_from_tar(io.BytesIO(tar), layer)
    assert list(wclayer.check_layer(layer)) == []
    assert wclayer.export_layer_to_file(layer, tmp_path / "tar").diff_id == result.diff_id
    assert (tmp_path / "tar").read_bytes() == tar
    wclayer.convert_layer(layer, tmp_path / "disk", to="ntfs", size=16 * MIB)
    with VolumeLayerReader(tmp_path / "disk") as reader:
        assert [item.entry.eas for item in reader][-1] == encode_eas(EAS)


_TOO_MANY = b"".join(
    struct.pack("<IBBH", 0xFFF8 // 2, 0, 1, 0x7000) + b"A\0" + bytes(0xFFF8 // 2 - 10) for _ in range(3)
)


@pytest.mark.parametrize(
    ("eas", "message"),
    [
        (_TOO_MANY, "at most 65536"),
        (struct.pack("<IBBH", 0, 0, 0, 0) + b"\0", "EA name of 0 bytes"),
        (struct.pack("<IBBH", 0, 0, 2, 0) + b"a\0\0", "without NUL"),
        (struct.pack("<IBBH", 11, 0, 1, 0) + b"a\0", "past the end"),
    ],
)
def test_eas_that_no_file_has_are_refused_by_every_source(tmp_path: Path, eas: bytes, message: str) -> None:
    layer = tmp_path / "layer"
    tar = archive(
        member(b"Files", kind=b"5", MSWINDOWS_fileattr=b"16"),
        member(b"Files/f", MSWINDOWS_fileattr=b"32", WCLAYER_ea=base64.b64encode(eas)),
    )
    with pytest.raises(InvalidDataError, match=f"Files/f.*{message}"):
        wclayer.import_layer_from_tar(io.BytesIO(tar), layer, limits=wclayer.Limits(pax_size=1 << 20))
    with pytest.raises(InvalidDataError, match=f"Files/f.*{message}"), wclayer.new_layer_writer(layer) as writer:
        writer.add("Files", FileBasicInfo(0x10, TIME, TIME, TIME, TIME))
        writer.add("Files/f", INFO)
        writer.write(StreamHeader(StreamId.EA_DATA, len(eas)).encode() + eas)
    wclayer.import_layer_from_tar(io.BytesIO(layer_tar(lambda w: put_file(w, "Files/f"))), tmp_path / "whole")
    wclayer.export_layer(tmp_path / "whole", tmp_path / "transport")
    with (tmp_path / "transport" / "Files" / "f").open("ab") as file:
        file.write(StreamHeader(StreamId.EA_DATA, len(eas)).encode() + eas)
    with pytest.raises(InvalidDataError, match=f"Files/f.*{message}"):
        wclayer.import_layer(layer, tmp_path / "transport")
    assert not layer.exists()


def test_the_fragmented_mft_of_a_windows_volume_is_read(tmp_path: Path) -> None:
    path = tmp_path / "volume"
    rows = csv.reader(io.StringIO(packaged(NTFS_PACKAGE, "tests/_data/ntfs_fragmented_mft.csv.gz").decode()))
    # The boot sector, the MFT's own records, and holes for the rest.
    csv.field_size_limit(1 << 20)
    with path.open("w+b") as file:
        for offset, data in rows:
            file.seek(int(offset))
            file.write(bytes.fromhex(data))
        file.truncate(1 << 40)
        volume = NtfsVolume(RawDisk(file))
        file.seek(0)
        theirs = NTFS(file)
        mft = volume.record(SystemFile.MFT).find(AttributeType.DATA)
        assert mft is not None
        assert [(run.start, run.length) for run in mft.runs] == theirs.mft.fh.runlist
    assert len(mft.runs) == 238


def _below(view: wclayer.LayerView, path: str) -> Iterator[str]:
    for name in view.listdir(path):
        child = f"{path}/{name}"
        yield child
        if view.volume.find(child).is_directory:
            yield from _below(view, child)


def test_a_folder_of_onedrive_is_read_with_its_files(tmp_path: Path) -> None:
    path = tmp_path / "volume"
    write_cloud_volume(path)
    found = [name for name in _names_in(path) if name.startswith("Files/OneDrive/")]
    assert len(found) == 9
    wclayer.import_layer_from_disk(path, tmp_path / "layer")
    with wclayer.LayerView([tmp_path / "layer"]) as view:
        assert {f"Files{path}" for path in _below(view, "/OneDrive")} == set(found)
