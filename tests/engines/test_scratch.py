"""Processing, scratch layers, growth, access of virtual machines."""

from __future__ import annotations

import hashlib
import io
import os
import re
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import BinaryIO
from uuid import UUID

import pytest

import wclayer
from tests.formats.regf.boot_store import boot_store
from tests.packages import windows_volume
from tests.support import (
    copy_data,
    layer_tar,
    nothing_left_in,
    parsed,
    put_directories,
    put_file,
    run,
    text,
    verify_large_volume,
    volume_of,
    witness,
)
from wclayer import sample
from wclayer.engines.portable.vm_access import granted
from wclayer.errors import (
    CorruptLayerError,
    InvalidDataError,
    InvalidParameterError,
    NotALayerError,
    NotSupportedError,
    PathNotFoundError,
)
from wclayer.formats.ntfs.grow import grow_volume
from wclayer.formats.ntfs.structs import NtfsError, OutOfSpaceError
from wclayer.formats.ntfs.volume import NtfsVolume
from wclayer.layers.backup_api import BackupLayerReader
from wclayer.layers.directory import open_layer
from wclayer.layers.volume.disk_file import DiskFile
from wclayer.layers.volume.raw import RawDisk
from wclayer.layers.volume.reader import VolumeLayerReader
from wclayer.layers.volume.writer import VolumeLayerWriter
from wclayer.model import LayerWriter, Limits, use_limits
from wclayer.win32.inherit import volume_root
from wclayer.win32.sddl import to_sddl
from wclayer.win32.security import Ace, Acl, SecurityDescriptor
from wclayer.win32.sid import Sid, vm_sid

MIB, GIB = 1 << 20, 1 << 30
VM = UUID("00112233-4455-6677-8899-aabbccddeeff")


@pytest.fixture
def base(tmp_path: Path) -> Path:
    wclayer.import_layer_from_tar(io.BytesIO(layer_tar(sample.write_base)), tmp_path / "base")
    return tmp_path / "base"


@pytest.fixture
def scratch(tmp_path: Path, base: Path) -> Path:
    wclayer.create_scratch_layer(tmp_path / "scratch", [base])
    return tmp_path / "scratch"


def test_imports_process_base_layers(base: Path, tmp_path: Path) -> None:
    assert (base / "layout").read_bytes() == b"vhd-with-hives\n"
    for folder, names, size in (
        (base, ("blank-base.vhdx", "blank.vhdx"), 20 * GIB),
        (base / "UtilityVM", ("SystemTemplateBase.vhdx", "SystemTemplate.vhdx"), 10 * GIB),
    ):
        for name, kind in zip(names, ("dynamic", "differencing"), strict=True):
            facts = wclayer.disk_info(folder / name)
            assert (facts.kind, facts.size, facts.block_size) == (kind, size, MIB)
            assert [part.name for part in facts.partitions] == [
                "Microsoft reserved partition",
                "Basic data partition",
            ]
            assert list(wclayer.check_disk(folder / name)) == []
            assert (folder / name).stat().st_blocks * 512 < 8 * MIB
    with VolumeLayerReader(base / "blank.vhdx") as reader:
        assert [item.entry.name for item in reader] == ["Files"]
        assert reader.volume.cluster_size == 4096
    assert list(wclayer.check_layer(base)) == []
    # They are no entries: an export gives the same tar.
    out = io.BytesIO()
    assert wclayer.export_layer_to_tar(out, base).unchanged


def test_a_blank_volume_is_sound(base: Path, tmp_path: Path) -> None:
    verify_large_volume(volume_of(base / "blank-base.vhdx", tmp_path))


def test_processing_is_idempotent_and_names_a_missing_hive(base: Path, tmp_path: Path) -> None:
    before = {name: hashlib.sha256((base / name).read_bytes()).digest() for name in ("blank-base.vhdx", "blank.vhdx")}
    run("process", base)
    assert before == {name: hashlib.sha256((base / name).read_bytes()).digest() for name in before}
    for name in ("layout", "blank.vhdx", "blank-base.vhdx"):
        (base / name).unlink()
    assert "blank-base.vhdx" in text("process", base)
    assert wclayer.disk_info(base / "blank.vhdx").parents == (base / "blank-base.vhdx",)

    def build(writer: LayerWriter) -> None:
        put_directories(writer, "Files", "Files/Windows", "Files/Windows/System32", "Files/Windows/System32/config")
        for name in ("DEFAULT", "SAM", "SECURITY", "SYSTEM"):
            put_file(writer, f"Files/Windows/System32/config/{name}")

    wclayer.import_layer_from_tar(io.BytesIO(layer_tar(build)), tmp_path / "other")
    assert not (tmp_path / "other" / "layout").exists()
    with pytest.raises(PathNotFoundError, match="config/SOFTWARE"):
        wclayer.process_base_layer(tmp_path / "other")
    with pytest.raises(PathNotFoundError, match="BCD"):
        wclayer.process_utility_vm_image(tmp_path / "other" / "UtilityVM")
    with pytest.raises(NotALayerError):
        wclayer.process_base_layer(tmp_path)


def test_a_damaged_boot_store_is_not_processed(tmp_path: Path) -> None:
    boot = tmp_path / "layer/UtilityVM/Files/EFI/Microsoft/Boot"
    boot.mkdir(parents=True)
    (tmp_path / "layer/Files").mkdir()
    (boot / "BCD").write_bytes(b"no hive")
    wclayer.make_base_layer(tmp_path / "layer")
    assert (tmp_path / "layer/blank.vhdx").exists()
    assert not (tmp_path / "layer/UtilityVM/SystemTemplate.vhdx").exists()
    with pytest.raises(InvalidDataError, match="BCD"):
        wclayer.process_utility_vm_image(tmp_path / "layer/UtilityVM")


def test_a_boot_store_beyond_the_limit_of_hives_costs_no_import(tmp_path: Path) -> None:
    store = boot_store()
    boot = "UtilityVM/Files/EFI/Microsoft/Boot"

    def build(writer: LayerWriter) -> None:
        put_directories(writer, "Files", "UtilityVM", "UtilityVM/Files", *_above(boot))
        put_file(writer, f"{boot}/BCD", store)

    for name, limits in (("within", Limits()), ("beyond", Limits(hive_size=len(store) - 1))):
        use_limits(limits)
        try:
            wclayer.import_layer_from_tar(io.BytesIO(layer_tar(build)), tmp_path / name)
        finally:
            use_limits(Limits())
        assert (tmp_path / name / boot / "BCD").read_bytes() == store
        assert (tmp_path / name / "UtilityVM/SystemTemplate.vhdx").exists() == (name == "within")


def _above(path: str) -> list[str]:
    """The directories below UtilityVM/Files that lead to one, and that one."""
    parts = path.split("/")
    return ["/".join(parts[:count]) for count in range(3, len(parts) + 1)]


def test_a_scratch_layer_finds_its_parent(scratch: Path, base: Path, tmp_path: Path) -> None:
    facts = wclayer.disk_info(scratch / "sandbox.vhdx")
    assert facts.parents == (base / "blank-base.vhdx",)
    assert facts.linkage != wclayer.disk_info(base / "blank.vhdx").linkage
    with DiskFile(scratch / "sandbox.vhdx") as opened:
        locator = opened.vhdx().metadata.locator
        assert locator is not None
        assert locator.entries["relative_path"] == r"..\base\blank-base.vhdx"
    assert wclayer.layer_exists(scratch)
    assert list(wclayer.check_layer(scratch)) == []
    with open_layer(scratch) as layer:
        assert layer.parents() == [base]
    with pytest.raises(InvalidParameterError, match="at least one parent"):
        wclayer.create_scratch_layer(tmp_path / "other", [])
    assert not (tmp_path / "other").exists()
    wclayer.destroy_layer(scratch)
    assert not scratch.exists()


def test_a_scratch_grows_with_its_contents(scratch: Path, base: Path, tmp_path: Path) -> None:
    before = (base / "blank-base.vhdx").read_bytes()
    for size in (10 * GIB, 20 * GIB):
        wclayer.expand_scratch_size(scratch, size)
        assert wclayer.disk_info(scratch / "sandbox.vhdx").size == 20 * GIB
    for size in (21 * GIB, 24 * GIB + 1):
        run("expand", scratch, str(size))
        facts = wclayer.disk_info(scratch / "sandbox.vhdx")
        assert size <= facts.size < size + MIB
        assert list(wclayer.check_disk(scratch / "sandbox.vhdx")) == []
        with VolumeLayerReader(scratch / "sandbox.vhdx") as reader:
            assert reader.volume.clusters * 4096 > size - 20 * MIB
    verify_large_volume(volume_of(scratch / "sandbox.vhdx", tmp_path))
    assert (base / "blank-base.vhdx").read_bytes() == before
    with pytest.raises(PathNotFoundError, match=r"sandbox\.vhdx"):
        wclayer.expand_scratch_size(base, 30 * GIB)
    with pytest.raises(InvalidParameterError, match="64 TiB"):
        wclayer.expand_scratch_size(scratch, 65 << 40)
    for size in (0, -1):
        with pytest.raises(InvalidParameterError, match=f"a size of {size} bytes"):
            wclayer.expand_scratch_size(scratch, size)


def _filled(path: Path, size: int, *, maker: str) -> dict[str, str]:
    """A volume of ours, or of mkntfs, with files in it; gives what is in it."""
    path.write_bytes(b"")
    os.truncate(path, size)
    if maker == "Windows":
        path.write_bytes(windows_volume())
    elif maker == "mkntfs":
        subprocess.run([witness("mkntfs"), "-F", "-q", "-Q", str(path)], check=True, capture_output=True)
        source = path.with_name("source")
        source.write_bytes(bytes(range(256)) * 2000)
        copy = [witness("ntfscp"), "-f", str(path), str(source), "copied.bin"]
        subprocess.run(copy, check=True, capture_output=True)
    else:
        with path.open("r+b") as file, VolumeLayerWriter(RawDisk(file), str(path), serial=1, time=1) as writer:
            for number in range(300):
                put_file(writer, f"Files/file {number}", b"%d" % number * number * 10)
    return _contents(path)


def _contents(path: Path) -> dict[str, str]:
    with BackupLayerReader(VolumeLayerReader(path)) as reader:
        return {item.entry.name: hashlib.sha256(reader.read()).hexdigest() for item in reader}


@pytest.mark.parametrize("maker", ["wclayer", "mkntfs", "Windows"])
def test_volumes_grow_in_place(tmp_path: Path, maker: str) -> None:
    path = tmp_path / "volume"
    before = _filled(path, 30 * MIB, maker=maker)
    for size in (31 * MIB, 700 * MIB, 40 * GIB):
        os.truncate(path, size)
        with path.open("r+b") as file:
            grown = grow_volume(RawDisk(file))
            assert grown == size - 512
            assert grow_volume(RawDisk(file)) == grown
        assert _contents(path) == before
        verify_large_volume(path)


class _Stopping(RawDisk):
    """Stops taking writes after some of them, as a killed process does."""

    def __init__(self, file: BinaryIO, writes: int) -> None:
        super().__init__(file)
        self._left = writes

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        self._left -= 1
        if self._left < 0:
            raise InterruptedError
        super().write(offset, data)


def _copy(source: Path, target: Path, size: int) -> Path:
    """Copies a sparse file, and gives the copy that size."""
    with source.open("rb") as reader, target.open("wb") as writer:
        copy_data(reader, writer)
    os.truncate(target, size)
    return target


def test_stopped_while_growing_the_volume_has_the_old_or_the_new_size(tmp_path: Path) -> None:
    path = tmp_path / "volume"
    before = _filled(path, 12 * MIB, maker="wclayer")
    size = 412 * MIB
    sizes = []
    for writes in range(40):
        stopped = _copy(path, tmp_path / "stopped", size)
        with stopped.open("r+b") as file:
            try:
                grow_volume(_Stopping(file, writes))
            except InterruptedError:
                finished = False
            else:
                finished = True
            sizes.append(NtfsVolume(RawDisk(file)).sectors * 512)
        if writes % 4 == 0 or finished:
            assert _contents(stopped) == before
            alone = _copy(stopped, tmp_path / "alone", sizes[-1] + 512)
            if finished or not writes:
                verify_large_volume(alone)
            else:
                # Clusters may be marked that nobody uses, no more.
                subprocess.run([witness("ntfsfix"), "-n", str(alone)], check=True, capture_output=True)
        # What was begun is ended by the next one.
        with stopped.open("r+b") as file:
            assert grow_volume(RawDisk(file)) == size - 512
        if finished:
            break
    assert finished
    assert sizes == sorted(sizes)
    assert set(sizes) == {12 * MIB - 512, size - 512}


def test_volumes_that_cannot_grow(tmp_path: Path) -> None:
    path = tmp_path / "volume"
    _filled(path, 12 * MIB, maker="wclayer")
    data = bytearray(path.read_bytes())
    volume = NtfsVolume(RawDisk(io.BytesIO(bytes(data))))
    record = volume.record_offset(3)
    at = data.index(b"\x03\x01\x00\x00", record)
    data[at + 2] |= 1
    file = io.BytesIO(bytes(data) + bytes(MIB))
    with pytest.raises(NtfsError, match="dirty"):
        grow_volume(RawDisk(file))
    # A volume without a free cluster has no place for a larger bitmap.
    data = bytearray(path.read_bytes())
    bitmap = volume.record(6).attributes[-1]
    assert bitmap.runs[0].start is not None
    start = bitmap.runs[0].start * 4096
    data[start : start + bitmap.size] = b"\xff" * bitmap.size
    with pytest.raises(OutOfSpaceError, match="no free clusters"):
        grow_volume(RawDisk(io.BytesIO(bytes(data) + bytes(400 * MIB))))
    # One whose list of bad clusters is damaged is refused before anything is written.
    data = bytearray(path.read_bytes())
    data[volume.record_offset(8)] ^= 1
    file = io.BytesIO(bytes(data) + bytes(400 * MIB))
    with pytest.raises(NtfsError, match="record 8"):
        grow_volume(RawDisk(file))
    assert file.getvalue()[: len(data)] == data


def test_the_sid_of_a_virtual_machine() -> None:
    # The GUID as four little-endian 32-bit numbers, as hcsshim makes it.
    first, second, third, fourth = (int.from_bytes(VM.bytes_le[at : at + 4], "little") for at in range(0, 16, 4))
    assert str(vm_sid(VM)) == str(vm_sid(f"{{{VM}}}")) == f"S-1-5-83-1-{first}-{second}-{third}-{fourth}"
    assert (first, second) == (0x00112233, 0x66774455)


def test_access_is_granted_once(base: Path) -> None:
    path = base / "Files/License.txt"
    before = text("stat", base, "License.txt")
    run("grant", str(VM), path)
    after = text("stat", base, "License.txt")
    assert f"(A;;FA;;;{vm_sid(VM)})" in after
    assert str(vm_sid(VM)) not in before
    run("grant", str(VM), path)
    assert text("stat", base, "License.txt").count(str(vm_sid(VM))) == 1
    assert list(wclayer.check_layer(base)) == []
    # It is in what is exported, and nothing else is changed.
    out = io.BytesIO()
    assert not wclayer.export_layer_to_tar(out, base).unchanged
    with wclayer.TarLayerReader(io.BytesIO(out.getvalue()), "tar", is_base=True) as reader:
        found = {item.entry.name: item.entry.security for item in reader}
    security = found["Files/License.txt"]
    assert security is not None
    assert str(vm_sid(VM)) in to_sddl(SecurityDescriptor.decode(security))


def test_access_to_disks_of_a_layer(base: Path, scratch: Path) -> None:
    for disk in ("blank-base.vhdx", "UtilityVM/SystemTemplate.vhdx"):
        facts = parsed("stat", base, disk)
        assert isinstance(facts, dict)
        assert "(A;;FA;;;S-1-5-83-0)" in facts["security"]
    wclayer.grant_vm_access(VM, scratch / "sandbox.vhdx")
    assert str(vm_sid(VM)) in text("stat", scratch, "sandbox.vhdx")
    # The record of the tar stays: no entry was changed.
    with open_layer(base) as layer:
        assert layer.record("diff_id") is not None


def test_access_that_cannot_be_granted(base: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidParameterError, match="UUID"):
        wclayer.grant_vm_access("not a guid", base / "Files/License.txt")
    with pytest.raises(PathNotFoundError, match="does not exist"):
        wclayer.grant_vm_access(VM, base / "nothing")
    (tmp_path / "file").touch()
    with pytest.raises(PathNotFoundError, match="neither"):
        wclayer.grant_vm_access(VM, tmp_path / "file")


def test_access_to_a_file_whose_descriptor_cannot_take_it_is_refused(base: Path) -> None:
    path = base / "Files/License.txt"
    full = volume_root().with_dacl(Acl.of([Ace(0, 0, 1, Sid(5, (number,))) for number in range(3275)]))
    for descriptor, kind in ((b"\1\2" * 8, CorruptLayerError), (full.encode(), NotSupportedError)):
        with closing(sqlite3.connect(base / "layer.db")) as connection, connection:
            for (number,) in connection.execute("SELECT id FROM security").fetchall():
                # Each is there once: what follows a descriptor is not read.
                value = descriptor + bytes(number)
                connection.execute("UPDATE security SET descriptor = ? WHERE id = ?", (value, number))
        with pytest.raises(kind, match=re.escape("License.txt")):
            wclayer.grant_vm_access(VM, path)


def test_explicit_entries_come_first_and_a_null_dacl_stays() -> None:
    descriptor = granted(volume_root().encode(), vm_sid(VM))
    decoded = SecurityDescriptor.decode(descriptor)
    assert decoded.dacl is not None
    assert decoded.dacl.aces[0].sid == vm_sid(VM)
    null = SecurityDescriptor(control=0x8004).encode()
    assert granted(null, vm_sid(VM)) == null


def test_the_verbs(base: Path, tmp_path: Path) -> None:
    run("create", "-l", base, "--size", "25GiB", tmp_path / "run")
    assert wclayer.disk_info(tmp_path / "run/sandbox.vhdx").size == 25 * GIB
    assert "name the parents" in run("create", tmp_path / "x", status=64).stderr.decode()
    assert "UUID" in run("grant", "x", base / "layout", status=5).stderr.decode()


@pytest.mark.parametrize(
    ("size", "message"), [("5", "at least the 21474836480"), ("10GiB", "at least"), ("70TiB", "64 TiB")]
)
def test_a_size_that_the_disk_of_a_new_scratch_cannot_have_is_refused(
    base: Path, tmp_path: Path, size: str, message: str
) -> None:
    with nothing_left_in(tmp_path):
        assert message in run("create", "-l", base, "--size", size, tmp_path / "run", status=5).stderr.decode()
