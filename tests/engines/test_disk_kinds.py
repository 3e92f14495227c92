"""What a file is: disks of every kind are read, other containers are refused by name, and what is no disk is none."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

import wclayer
from tests.support import boot_record, nothing_left_in, parsed, run, text, witness
from wclayer.errors import InvalidDataError, LimitExceededError, NotSupportedError
from wclayer.formats.vhdx.headers import ParentLocator
from wclayer.layers.volume.disk_file import DiskFile

MIB = 1 << 20
_VOLUME = 8 * MIB


@pytest.fixture(scope="module")
def volume(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """An NTFS volume with one file in it."""
    path = tmp_path_factory.mktemp("volume") / "ntfs"
    with path.open("wb") as file:
        file.truncate(_VOLUME)
    subprocess.run([witness("mkntfs"), "-F", "-q", "-s", "512", str(path)], check=True, capture_output=True)
    subprocess.run([witness("ntfscp"), "-q", str(path), __file__, "file"], check=True, capture_output=True)
    return path.read_bytes()


def _imports(tmp_path: Path, disk: Path) -> None:
    """Checks that the volume of a disk becomes a layer with the file."""
    assert wclayer.is_disk(disk)
    run("import", "-i", disk, tmp_path / f"layer-{disk.name}")
    assert run("cat", tmp_path / f"layer-{disk.name}", "file").stdout == Path(__file__).read_bytes()


def _partitioned(path: Path, volume: bytes, *, sector: int = 512, logical: bool = False) -> Path:
    first = 64
    count = len(volume) // sector
    with path.open("wb") as file:
        if logical:
            file.write(boot_record((0x0C, 8, 8), (0x0F, 32, count + 40)))
            file.seek(32 * sector)
            file.write(boot_record((7, first - 32, count)))
        else:
            file.write(boot_record((0x0C, 8, 8), (7, first, count)))
        file.seek(first * sector)
        file.write(volume)
        file.truncate((first + count + 64) * sector)
    return path


@pytest.mark.parametrize(("sector", "logical"), [(512, False), (512, True), (4096, False)])
def test_the_volume_of_an_mbr_disk_is_found(volume: bytes, tmp_path: Path, sector: int, logical: bool) -> None:
    disk = _partitioned(tmp_path / "disk.img", volume, sector=sector, logical=logical)
    _imports(tmp_path, disk)
    facts = parsed("disk", "info", disk)
    assert isinstance(facts, dict)
    assert str(facts["partition_table"]).startswith("MBR ")
    data = next(part for part in facts["partitions"] if part["type"] == "0x07")
    assert (data["offset"], data["size"]) == (64 * sector, _VOLUME)
    assert "no problem" in text("disk", "check", disk)
    run("disk", "convert", disk, tmp_path / "disk.vhdx")
    _imports(tmp_path, tmp_path / "disk.vhdx")


@pytest.mark.parametrize("subformat", ["fixed", "dynamic"])
def test_a_vhd_is_taken_wherever_a_disk_is(volume: bytes, tmp_path: Path, subformat: str) -> None:
    raw, disk = _partitioned(tmp_path / "disk.img", volume), tmp_path / "disk.vhd"
    options = f"subformat={subformat},force_size=on"
    command = [witness("qemu-img"), "convert", "-f", "raw", "-O", "vpc", "-o", options, str(raw), str(disk)]
    subprocess.run(command, check=True)
    _imports(tmp_path, disk)
    facts = parsed("disk", "info", disk)
    assert isinstance(facts, dict)
    assert (facts["format"], facts["kind"], facts["size"]) == ("vhd", subformat, raw.stat().st_size)
    assert "no problem" in text("disk", "check", disk)
    run("disk", "convert", "--to", "raw", disk, tmp_path / "again.img")
    assert (tmp_path / "again.img").read_bytes() == raw.read_bytes()
    run("disk", "convert", disk, tmp_path / "disk.vhdx")
    with DiskFile(tmp_path / "disk.vhdx") as opened:
        assert opened.disk.read(0, opened.disk.size) == raw.read_bytes()
    with pytest.raises(NotSupportedError, match="not written"):
        DiskFile(disk, writable=True)


@pytest.mark.parametrize("form", ["qcow2", "qcow", "vmdk", "vdi", "qed", "parallels"])
def test_containers_that_qemu_makes_are_refused_by_name(form: str, tmp_path: Path) -> None:
    path = tmp_path / "disk"
    subprocess.run([witness("qemu-img"), "create", "-q", "-f", form, str(path), "4M"], check=True)
    for verb in (("disk", "info", path), ("disk", "check", path), ("import", "-i", path, tmp_path / "layer")):
        assert f"qemu-img convert -f {form} " in run(*verb, status=10).stderr.decode()
    with nothing_left_in(tmp_path), pytest.raises(NotSupportedError, match="qemu-img"):
        wclayer.convert_disk(path, tmp_path / "disk.vhdx")


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"# Disk DescriptorFile\nversion=1\n", "descriptor of a VMDK"),
        (b"MSWIM\0\0\0" + bytes(200), "WIM"),
        (b"EVF\x09\x0d\x0a\xff\0" + bytes(600), "EWF"),
        (bytes(32768) + b"\1CD001\1" + bytes(2041), "ISO 9660"),
        (b"\xeb\x58\x90-FVE-FS-" + bytes(499) + b"\x55\xaa", "BitLocker"),
    ],
)
def test_other_containers_are_refused_by_name(data: bytes, name: str, tmp_path: Path) -> None:
    path = tmp_path / "disk"
    path.write_bytes(data)
    for call in (
        lambda: wclayer.disk_info(path),
        lambda: list(wclayer.check_disk(path)),
        lambda: wclayer.convert_disk(path, tmp_path / "made.vhdx"),
        lambda: wclayer.import_layer_from_disk(path, tmp_path / "layer"),
    ):
        with nothing_left_in(tmp_path), pytest.raises(NotSupportedError, match=name):
            call()


def _tar() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.add(__file__, "Files")
    return file.getvalue()


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"\x1f\x8b" + bytes(510), "a gzip file"),
        (_tar(), "a tar"),
        (b"regf" + bytes(4092), "a registry hive"),
        (b"text\n" * 512, "something else"),
        (b"", "an empty file"),
        (bytes(1000), "something else"),
    ],
)
def test_what_is_no_disk_is_none(data: bytes, name: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(data)
    assert not wclayer.is_disk(path)
    for verb in ("info", "check"):
        assert f"not a disk: it is {name}" in run("disk", verb, path, status=6).stderr.decode()
    with nothing_left_in(tmp_path), pytest.raises(InvalidDataError, match="not a disk"):
        wclayer.convert_disk(path, tmp_path / "made.vhdx")


def test_a_blank_image_and_one_with_another_file_system_are_disks(tmp_path: Path) -> None:
    blank, other = tmp_path / "blank.img", tmp_path / "fat.img"
    blank.write_bytes(bytes(MIB))
    other.write_bytes(b"\xeb\x3c\x90MSDOS5.0" + os.urandom(499) + b"\x55\xaa" + bytes(MIB - 512))
    for path in (blank, other):
        assert not wclayer.is_disk(path)
        wclayer.convert_disk(path, tmp_path / f"{path.stem}.vhdx")
        with DiskFile(tmp_path / f"{path.stem}.vhdx") as opened:
            assert opened.disk.read(0, MIB) == path.read_bytes()


def test_the_limits_of_a_disk_are_those_of_the_call_or_the_command(volume: bytes, tmp_path: Path) -> None:
    disk = _partitioned(tmp_path / "disk.img", volume)
    size = Path(__file__).stat().st_size
    with nothing_left_in(tmp_path), pytest.raises(LimitExceededError, match="max-total-size"):
        wclayer.import_layer_from_disk(disk, tmp_path / "layer", limits=wclayer.Limits(total_size=size - 1))
    with nothing_left_in(tmp_path):
        refused = run("import", "--max-size", str(size - 1), "-i", disk, tmp_path / "layer", status=7)
    assert b"--max-total-size" in refused.stderr
    wclayer.import_layer_from_disk(disk, tmp_path / "layer", limits=wclayer.Limits(total_size=size))


def test_disks_that_are_each_other_s_parent_are_refused(tmp_path: Path) -> None:
    blank, first, second = (tmp_path / name for name in ("blank.img", "first.vhdx", "second.vhdx"))
    blank.write_bytes(bytes(MIB))
    wclayer.convert_disk(blank, first)
    wclayer.convert_disk(blank, second, parent=first)
    for parent in (second, first):
        # The second becomes the parent of itself, then of the first, which is its own.
        wclayer.convert_disk(blank, tmp_path / "new.vhdx", parent=parent)
        with DiskFile(tmp_path / "new.vhdx", writable=True) as opened:
            opened.vhdx().set_locator(ParentLocator(opened.vhdx().linkage, {"relative_path": r".\new.vhdx"}))
        for call in (wclayer.disk_info, lambda path: list(wclayer.check_disk(path))):
            with pytest.raises(InvalidDataError, match="itself made from it"):
                call(tmp_path / "new.vhdx")
        (tmp_path / "new.vhdx").unlink()
