"""Layers as NTFS volumes: as other programs see them, and back again."""

from __future__ import annotations

import errno
import hashlib
import io
import random
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from dissect.ntfs import NTFS
from hypothesis import given, settings
from hypothesis import strategies as st

import wclayer
from tests.packages import windows_volume
from tests.support import (
    contents,
    layer_tar,
    put_directories,
    put_file,
    run,
    text,
    verify_volume,
    witness,
    write_volume,
)
from wclayer import sample
from wclayer.errors import ERROR_DISK_FULL, DiskFullError, InvalidDataError, NotSupportedError
from wclayer.formats.ntfs.structs import AttributeType
from wclayer.formats.ntfs.volume import NtfsVolume
from wclayer.layers.volume.raw import RawDisk
from wclayer.layers.volume.reader import VolumeLayerReader
from wclayer.layers.volume.writer import VolumeLayerWriter
from wclayer.model import DataStream, Entry, ExtraStream, LayerWriter
from wclayer.win32.attributes import FileBasicInfo
from wclayer.win32.ea import ExtendedAttribute, encode_eas
from wclayer.win32.names import name_key
from wclayer.win32.reparse import LinkTarget

MIB = 1 << 20
TIME = 133_500_000_000_000_000


def _everything(writer: LayerWriter) -> None:
    """A layer with one of all that a volume holds, and the hard cases of each."""
    put_directories(writer, "Files", "Files/many", "Files/links", "Files/ÄÖ", "Hives")
    for number in range(1200):
        put_file(writer, f"Files/many/file number {number}.txt", b"%d" % number * number)
    put_file(writer, "Files/empty")
    put_file(writer, "Files/resident", b"x" * 600)
    put_file(writer, "Files/large", bytes(range(256)) * 8000)
    put_file(writer, "Files/streams", b"main", Zone_Identifier=b"zone", large=b"L" * 200_000)
    put_file(writer, "Files/" + "n" * 255, b"the longest name")
    put_file(writer, "Files/ÄÖ/\ud800unpaired", b"surrogate")
    put_file(writer, "Files/ÄÖ/😀", b"pair")
    info = FileBasicInfo(0x20, TIME + 1, TIME + 2, TIME + 3, TIME + 4)
    eas = encode_eas([ExtendedAttribute(b"A" * 200, b"v" * 30_000), ExtendedAttribute(b"B", b"", flags=0x80)])
    writer.put(Entry("Files/eas", info, 4, eas=eas), [DataStream("", 4, (b"data",))])
    sparse = bytes(300_000) + b"data" + bytes(1_000_000)
    writer.put(
        Entry("Files/sparse", FileBasicInfo(0x220, TIME, TIME, TIME, TIME), len(sparse)),
        [DataStream("", len(sparse), (sparse,))],
    )  # fmt: skip
    object_id = ExtraStream(7, 0, "", bytes(range(64)))
    writer.put(Entry("Files/id", info, 0, extra=(object_id,)), [DataStream("", 0, (b"",))])
    for name, target, junction in (("junction", r"C:\Users", True), ("link", r"..\elsewhere", False)):
        reparse = LinkTarget.from_path(target, is_mount_point=junction).encode()
        attributes = 0x410 if junction else 0x420
        writer.put(Entry(f"Files/{name}", FileBasicInfo(attributes, TIME, TIME, TIME, TIME), reparse=reparse))
    for number in range(60):
        writer.put(Entry(f"Files/links/{'a long name of a link' * 5} {number}", info, link_target="Files/large"))
    put_file(writer, "Hives/System_Delta", b"")


def _expected(build: Callable[[LayerWriter], None]) -> dict[str, tuple[object, ...]]:
    with wclayer.TarLayerReader(io.BytesIO(layer_tar(build)), "tar", is_base=True) as reader:
        return _by_name(reader)


def _by_name(reader: wclayer.LayerReader) -> dict[str, tuple[object, ...]]:
    """Entries by name: all that a volume holds of them."""
    found: dict[str, tuple[object, ...]] = {}
    for item in reader:
        entry = item.entry
        streams = {s.name: hashlib.sha256(b"".join(s.chunks)).hexdigest() for s in item.streams()}
        info = entry.info
        assert info is not None
        times = (info.creation_time, info.last_write_time, info.change_time, info.last_access_time)
        link = entry.link_target is not None
        found[entry.name] = (
            link, info.attributes, times, entry.size, entry.eas, entry.reparse, {} if link else streams,
            tuple((e.id, e.data) for e in entry.extra),
        )  # fmt: skip
    return found


@pytest.mark.parametrize("cluster", [512, 1024, 4096, 65_536])
def test_everything_is_sound_and_comes_back(tmp_path: Path, cluster: int) -> None:
    path = write_volume(tmp_path / "volume", _everything, 128 * MIB, cluster=cluster)
    verify_volume(path)
    expected = _expected(_everything)
    with VolumeLayerReader(path) as reader:
        found = _by_name(reader)
    assert found.keys() == expected.keys()
    for name, facts in expected.items():
        if facts[0] or name == "Files/large":
            continue
        assert found[name] == facts, name
    # Of a file with several names, the first in Windows' order is the file, the others are links.
    names = sorted((n for n, f in expected.items() if f[0]), key=name_key)
    group = sorted([*names, "Files/large"], key=lambda n: [name_key(part) for part in n.split("/")])
    assert [found[n][0] for n in group] == [False] + [True] * 60
    assert found[group[0]][6] == expected["Files/large"][6]


def test_the_sample_layer_comes_back_through_a_volume(tmp_path: Path) -> None:
    tar = layer_tar(sample.write_base)
    wclayer.import_layer_from_tar(io.BytesIO(tar), tmp_path / "layer")
    with wclayer.new_layer_reader(tmp_path / "layer") as reader:
        links = {item.entry.name for item in reader if item.entry.link_target} | {
            f"Files/Windows/System32/component{number:02d}.dll" for number in range(60)
        }
    for to in ("ntfs", "raw", "vhdx"):
        disk = tmp_path / f"disk.{to}"
        wclayer.convert_layer(tmp_path / "layer", disk, to=to, alone=True, size=100 * MIB)
        wclayer.import_layer_from_disk(disk, tmp_path / f"back-{to}")
        with wclayer.MergedTree([tmp_path / "layer"]) as a, wclayer.MergedTree([tmp_path / f"back-{to}"]) as b:
            # Names of one file have one set of times.
            assert {d.path for d in wclayer.diff_trees(a, b)} <= links
            assert list(wclayer.diff_trees(a, b, times=False)) == []
        assert list(wclayer.check_layer(tmp_path / f"back-{to}")) == []


def test_a_chain_is_flattened(tmp_path: Path) -> None:
    base, child = tmp_path / "base", tmp_path / "child"
    wclayer.import_layer_from_tar(io.BytesIO(layer_tar(sample.write_base)), base)
    wclayer.import_layer_from_tar(io.BytesIO(layer_tar(sample.write_child)), child, [base])
    result = wclayer.convert_layer(child, tmp_path / "disk.vhdx", size=200 * MIB)
    assert result.disk_size == 200 * MIB
    assert list(wclayer.check_disk(tmp_path / "disk.vhdx")) == []
    with VolumeLayerReader(tmp_path / "disk.vhdx") as reader:
        found = _by_name(reader)
    assert "Files/License.txt" not in found
    assert found["Files/app/settings.json"][3] == 15
    assert not any(name.startswith(("Hives", "UtilityVM")) for name in found)
    # Imported again, the registry is the merged one.
    wclayer.import_layer_from_disk(tmp_path / "disk.vhdx", tmp_path / "flat")
    with wclayer.Registry(child) as a, wclayer.Registry(tmp_path / "flat") as b:
        assert list(wclayer.diff_registries(a, b)) == []
        assert b.find(r"HKLM\SOFTWARE\Sample\App") is not None
    with wclayer.MergedTree([child, base]) as a_tree, wclayer.MergedTree([tmp_path / "flat"]) as b_tree:
        differences = list(wclayer.diff_trees(a_tree, b_tree, times=False))
    changed = {d.path for d in differences if not d.path.startswith(("Hives", "UtilityVM"))}
    assert changed == {"Files/Windows/System32/config/SOFTWARE"}


def test_the_sleuth_kit_sees_the_same(tmp_path: Path) -> None:
    path = write_volume(tmp_path / "volume", _everything, 128 * MIB)
    listed = subprocess.run([witness("fls"), "-r", "-p", str(path)], capture_output=True, check=True).stdout
    names = {}
    for line in listed.decode("utf-8", "replace").splitlines():
        if line.startswith("V/V"):
            continue
        match = re.match(r"([rd-])/[rd-] (\d+)(?:-\d+-\d+)?:\t(.*)", line)
        assert match is not None, line
        names[match[3]] = match[2]
    with VolumeLayerReader(path) as reader:
        for item in reader:
            entry = item.entry
            if "\ud800" in entry.name:
                continue
            assert entry.name in names, entry.name
            if entry.has_data and entry.size and entry.reparse is None:
                data = b"".join(next(iter(item.streams())).chunks)
                inode = names[entry.name]
                if entry.name.rpartition(" ")[2] in ("1.txt", "700.txt") or "many" not in entry.name:
                    theirs = subprocess.run([witness("icat"), str(path), inode], capture_output=True, check=True)
                    assert theirs.stdout == data
    shown = subprocess.run(
        [witness("istat"), str(path), names["Files/large"]], capture_output=True, text=True, check=True
    )
    assert "Links: 61" in shown.stdout
    statistics = subprocess.run([witness("fsstat"), str(path)], capture_output=True, text=True, check=True).stdout
    assert "Volume Name: Test" in statistics


def test_dissect_sees_the_same(tmp_path: Path) -> None:
    path = write_volume(tmp_path / "volume", _everything, 128 * MIB)
    with path.open("rb") as file:
        theirs = NTFS(file)
        assert theirs.volume_name == "Test"
        with VolumeLayerReader(path) as reader:
            for item in reader:
                entry = item.entry
                if "\ud800" in entry.name or entry.link_target is not None:
                    continue
                record = theirs.mft.get(entry.name)
                information = record.attributes[AttributeType.STANDARD_INFORMATION][0].attribute
                info = entry.info
                assert info is not None
                assert information.creation_time_ns // 100 == (info.creation_time - 116_444_736_000_000_000)
                assert information.last_modification_time_ns // 100 == info.last_write_time - 116_444_736_000_000_000
                for stream in item.streams():
                    assert record.open(stream.name).read() == b"".join(stream.chunks)
                if entry.security is not None:
                    identity = information.security_id
                    assert theirs.secure.lookup(identity) is not None


def test_ntfs_3g_writes_into_it(tmp_path: Path) -> None:
    """Its MFT grows, its directories split, its bitmap gives clusters; what was there stays."""
    path = write_volume(tmp_path / "volume", _everything, 128 * MIB)
    with VolumeLayerReader(path) as reader:
        before = _by_name(reader)
    source = tmp_path / "source"
    for number in range(40):
        source.write_bytes(b"%d" % number * (number * 3000 + 1))
        copy = [witness("ntfscp"), "-f", str(path), str(source), f"Files/many/new file {number}"]
        subprocess.run(copy, check=True, capture_output=True)
        shown = [witness("ntfscat"), str(path), f"Files/many/new file {number}"]
        assert subprocess.run(shown, check=True, capture_output=True).stdout == source.read_bytes()
    verify_volume(path)
    with VolumeLayerReader(path) as reader:
        after = _by_name(reader)
    assert len(after) == len(before) + 40
    changed = {name for name, facts in before.items() if after[name] != facts}
    assert changed <= {"Files/many"}


def test_wimlib_captures_it(tmp_path: Path) -> None:
    path = write_volume(tmp_path / "volume", _everything, 128 * MIB)
    wim = tmp_path / "captured.wim"
    capture = [witness("wimlib-imagex"), "capture", str(path), str(wim), "--check", "--compress=none"]
    subprocess.run(capture, check=True, capture_output=True)
    subprocess.run([witness("wimlib-imagex"), "verify", str(wim)], check=True, capture_output=True)
    listing = subprocess.run([witness("wimlib-imagex"), "dir", str(wim), "1"], capture_output=True, check=True)
    shown = set(listing.stdout.decode("utf-8", "replace").splitlines())
    for name in _expected(_everything):
        if "\ud800" not in name:
            assert f"/{name}" in shown


def _applied(tmp_path: Path) -> Path:
    """A volume that mkntfs makes and wimlib fills from the sample layer's volume."""
    path = write_volume(tmp_path / "ours", _everything, 128 * MIB)
    wim, theirs = tmp_path / "captured.wim", tmp_path / "theirs"
    subprocess.run(
        [witness("wimlib-imagex"), "capture", str(path), str(wim), "--compress=none"], check=True, capture_output=True
    )
    theirs.write_bytes(b"")
    with theirs.open("r+b") as file:
        file.truncate(128 * MIB)
    subprocess.run([witness("mkntfs"), "-F", "-q", "-Q", str(theirs)], check=True, capture_output=True)
    subprocess.run([witness("wimlib-imagex"), "apply", str(wim), "1", str(theirs)], check=True, capture_output=True)
    return theirs


def test_what_mkntfs_and_wimlib_make_is_read(tmp_path: Path) -> None:
    theirs = _applied(tmp_path)
    with VolumeLayerReader(theirs) as reader:
        found = _by_name(reader)
    for name, facts in _expected(_everything).items():
        assert name in found, name
        if facts[0] or name == "Files/large":
            continue
        # A WIM keeps neither change times nor, in Linux, object ids.
        assert int(str(found[name][1])) & ~0x20 == int(str(facts[1])) & ~0x20, name
        assert found[name][3] == facts[3], name
        assert found[name][5:7] == facts[5:7], name


def test_a_volume_that_windows_made(tmp_path: Path) -> None:
    path = tmp_path / "windows"
    path.write_bytes(windows_volume())
    with path.open("rb") as file:
        theirs = NTFS(file)
        count = compressed = 0
        with VolumeLayerReader(path) as reader:
            assert reader.volume.label == "New Volume"
            for item in reader:
                entry = item.entry
                count += 1
                record = theirs.mft.get(entry.name.removeprefix("Files") or "\\")
                assert entry.security is not None
                for stream in item.streams():
                    assert record.open(stream.name).read() == b"".join(stream.chunks), entry.name
                if entry.has_data:
                    own = reader.volume.record(record.segment).find(AttributeType.DATA)
                    compressed += own is not None and own.is_compressed
    assert compressed
    assert count == 2056
    layer = tmp_path / "layer"
    run("import", "-i", path, layer)
    assert "no problem found" in text("check", layer)


def test_a_volume_is_the_same_each_time_when_asked(tmp_path: Path) -> None:
    wclayer.import_layer_from_tar(io.BytesIO(layer_tar(sample.write_base)),
                                  tmp_path / "layer")  # fmt: skip
    digests = set()
    for number in range(2):
        disk = tmp_path / f"{number}.vhdx"
        wclayer.convert_layer(tmp_path / "layer", disk, size=100 * MIB, reproducible=True)
        digests.add(hashlib.sha256(disk.read_bytes()).hexdigest())
    assert len(digests) == 1


def test_a_directory_of_many_entries(tmp_path: Path) -> None:
    source = random.Random(4)
    names = [f"{source.randrange(10**9):x}-{number}" for number in range(100_000)]

    def build(writer: LayerWriter) -> None:
        put_directories(writer, "Files", "Files/d")
        for name in names:
            put_file(writer, f"Files/d/{name}")

    path = write_volume(tmp_path / "volume", build, 400 * MIB)
    verify_volume(path)
    with VolumeLayerReader(path) as reader:
        found = [item.entry.name.rpartition("/")[2] for item in reader][2:]
    assert found == sorted(names, key=name_key)


def test_a_full_volume_is_an_error(tmp_path: Path) -> None:
    def build(writer: LayerWriter) -> None:
        put_directories(writer, "Files")
        put_file(writer, "Files/large", bytes(9 * MIB))

    with pytest.raises(DiskFullError, match="is full") as caught:
        write_volume(tmp_path / "volume", build, 9 * MIB)
    assert (caught.value.code, caught.value.errno) == (ERROR_DISK_FULL, errno.ENOSPC)
    wclayer.import_layer_from_tar(io.BytesIO(layer_tar(build)), tmp_path / "layer")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(DiskFullError, match="is full"):
        wclayer.convert_layer(tmp_path / "layer", tmp_path / "disk", to="ntfs", size=9 * MIB)
    assert sorted(tmp_path.iterdir()) == before


def test_sizes_and_what_has_no_place(tmp_path: Path) -> None:
    for size in (8 * MIB, 1 << 40):
        path = write_volume(tmp_path / "volume", lambda writer: put_file(writer, "Files/f", b"x"), size)
        assert path.stat().st_blocks * 512 < 60 * MIB
        if size < 1 << 40:
            verify_volume(path)
    for size, cluster in ((MIB, 4096), (64 * MIB, 3000)):
        with pytest.raises(ValueError, match="possible are"):
            write_volume(tmp_path / "other", lambda writer: None, size, cluster=cluster)
    base, child = tmp_path / "base", tmp_path / "child"
    wclayer.import_layer_from_tar(io.BytesIO(layer_tar(sample.write_base)), base)
    wclayer.import_layer_from_tar(io.BytesIO(layer_tar(sample.write_child)), child, [base])
    with pytest.raises(NotSupportedError, match="tombstone"):
        wclayer.convert_layer(child, tmp_path / "disk", alone=True, size=64 * MIB)
    assert not (tmp_path / "disk").exists()


_names = st.text(
    st.characters(codec="utf-16", exclude_characters='"*/:<>?\\|', exclude_categories=["Cc"]), min_size=1, max_size=80
).filter(lambda name: name not in (".", "..") and len(name.encode("utf-16-le", "surrogatepass")) <= 510)


@given(
    st.dictionaries(_names, st.tuples(st.binary(max_size=3000), st.integers(0, 2**62), st.booleans()), max_size=12),
    st.sampled_from([512, 4096, 16_384]),
)
@settings(max_examples=25)
def test_random_trees(tree: dict[str, tuple[bytes, int, bool]], cluster: int) -> None:
    unique = {name_key(name): (name, facts) for name, facts in tree.items()}
    file = io.BytesIO()
    disk = RawDisk(file, size=16 * MIB)
    expected = {}
    with VolumeLayerWriter(disk, "memory", whole=False, cluster_size=cluster, serial=1, time=TIME) as writer:
        for name, (data, time, is_directory) in unique.values():
            info = FileBasicInfo(0x10 if is_directory else 0x20, time, time + 1, time + 2, time + 3)
            if is_directory:
                writer.put(Entry(f"Files/{name}", info))
            else:
                writer.put(Entry(f"Files/{name}", info, len(data)), [DataStream("", len(data), (data,))])
            expected[name] = (is_directory, b"" if is_directory else data, time)
    volume = NtfsVolume(disk)
    found = {}
    for entry in volume.entries(volume.record(5)):
        if entry.reference & 0xFFFFFFFFFFFF >= 32:
            record = volume.record(entry.reference & 0xFFFFFFFFFFFF)
            main = record.find(AttributeType.DATA)
            data = b"" if main is None else b"".join(volume.chunks(main))
            found[entry.name] = (record.is_directory, data, record.information().creation_time)
    assert found == expected


def _small_volume() -> bytes:
    file = io.BytesIO()
    with VolumeLayerWriter(RawDisk(file, size=8 * MIB), "memory", serial=1, time=TIME) as writer:
        put_directories(writer, "Files", "Files/d")
        for number in range(60):
            put_file(writer, f"Files/d/a file with a long name {number}", b"x" * number * 40)
    return file.getvalue().ljust(8 * MIB, b"\0")


_SMALL = _small_volume()
_MFT = NtfsVolume(RawDisk(io.BytesIO(_SMALL)))._mft.runs[0].start or 0


@given(st.lists(st.tuples(st.integers(0, 40 * 1024), st.integers(0, 255)), min_size=1, max_size=5), st.booleans())
@settings(max_examples=60)
def test_damaged_volumes_are_read_or_refused(damage: list[tuple[int, int]], in_boot: bool) -> None:
    data = bytearray(_SMALL)
    for offset, byte in damage:
        data[offset % 90 if in_boot else _MFT * 4096 + offset] = byte
    try:
        volume = NtfsVolume(RawDisk(io.BytesIO(bytes(data))))
        for number in range(60):
            try:
                record = volume.record(number)
                for attribute in record.attributes:
                    if attribute.size < MIB:
                        volume.value(attribute)
                record.names()
                if record.is_directory:
                    list(volume.entries(record))
            except ValueError as error:
                assert str(error)
    except ValueError as error:
        assert str(error)


def test_damage_names_the_place(tmp_path: Path) -> None:
    path = tmp_path / "volume"
    data = bytearray(_SMALL)
    record = _MFT * 4096 + 34 * 1024
    data[record : record + 4] = b"BAAD"
    path.write_bytes(data)
    with pytest.raises(InvalidDataError, match=r"Files/d/.*: record 34: signature"), VolumeLayerReader(path) as reader:
        contents(reader)
    for content in (b"", b"x" * 5000):
        path.write_bytes(content)
        with pytest.raises(InvalidDataError, match="not a disk"), VolumeLayerReader(path):
            pass


def test_the_commands(tmp_path: Path) -> None:
    (tmp_path / "base.tar").write_bytes(layer_tar(sample.write_base))
    run("import", "-i", tmp_path / "base.tar", tmp_path / "base")
    shown = text("convert", tmp_path / "base", "--size", "200MiB", "-o", tmp_path / "disk.vhdx")
    assert "in a volume of 183.0 MiB" in shown
    run("import", "-i", tmp_path / "disk.vhdx", tmp_path / "back")
    assert "License.txt" in text("ls", tmp_path / "back", "C:\\")
    assert (
        "not a size"
        in run("convert", tmp_path / "base", "--size", "many", "-o", tmp_path / "x", status=64).stderr.decode()
    )
    assert (
        "no room" in run("convert", tmp_path / "base", "--size", "1MiB", "-o", tmp_path / "x", status=5).stderr.decode()
    )


@pytest.mark.parametrize("whole", [True, False])
def test_what_would_inherit_of_a_damaged_descriptor_is_refused(whole: bool) -> None:
    disk = RawDisk(io.BytesIO(), size=8 * MIB)
    writer = VolumeLayerWriter(disk, "memory", whole=whole, serial=1, time=TIME)
    put_directories(writer, "Files")
    writer.put(Entry("Files/d", FileBasicInfo(0x10, 1, 2, 3, 4), security=b"\1" * 9))
    with pytest.raises(InvalidDataError, match=r"Files/d/file.*its directory is damaged"):
        put_file(writer, "Files/d/file", b"data")
