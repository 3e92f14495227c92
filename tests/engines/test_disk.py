"""Disk files: opened with their parents, converted, checked, through the library and the command."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

import wclayer
from tests.support import parsed, run, text, witness
from wclayer.errors import InvalidDataError, InvalidParameterError, PathNotFoundError
from wclayer.formats.disk import DiskError
from wclayer.formats.vhdx.errors import VhdxError
from wclayer.layers.volume.disk_file import DiskFile, PartitionWindow
from wclayer.layers.volume.raw import RawDisk

MIB = 1 << 20


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    path = tmp_path / "disk.img"
    content = bytearray(40 * MIB)
    for number in range(10):
        content[number * 3 * MIB : number * 3 * MIB + 5000] = bytes([number + 1]) * 5000
    path.write_bytes(content)
    subprocess.run([witness("sgdisk"), "-n", "1:2048:+20M", str(path)], check=True, capture_output=True)
    return path


def test_there_and_back(raw: Path, tmp_path: Path) -> None:
    vhdx, again = tmp_path / "disk.vhdx", tmp_path / "again.img"
    for options in ([], ["--fixed"], ["--block-size", "32"]):
        run("disk", "convert", *options, raw, vhdx)
        assert "no problem found" in text("disk", "check", vhdx)
        run("disk", "convert", "--to", "raw", vhdx, again)
        assert again.read_bytes() == raw.read_bytes()
    facts = parsed("disk", "info", vhdx)
    assert isinstance(facts, dict)
    assert (facts["kind"], facts["size"], facts["block_size"]) == ("dynamic", 40 * MIB, 32 * MIB)
    assert facts["partitions"][0]["size"] == 20 * MIB
    assert "partition" in text("disk", "info", raw)


def test_a_chain(raw: Path, tmp_path: Path) -> None:
    base, middle, top = tmp_path / "base.vhdx", tmp_path / "middle.vhdx", tmp_path / "sub" / "top.vhdx"
    top.parent.mkdir()
    run("disk", "convert", raw, base)
    content = bytearray(raw.read_bytes())
    content[5 * MIB : 5 * MIB + 100] = b"m" * 100
    (tmp_path / "middle.img").write_bytes(content)
    run("disk", "convert", "--parent", base, tmp_path / "middle.img", middle)
    content[6 * MIB : 6 * MIB + 100] = bytes(100)
    (tmp_path / "top.img").write_bytes(content)
    run("disk", "convert", "--parent", middle, tmp_path / "top.img", top)
    facts = parsed("disk", "info", top)
    assert isinstance(facts, dict)
    assert facts["parents"] == [str(middle), str(base)]
    assert (facts["kind"], facts["blocks_present"]) == ("differencing", 1)
    run("disk", "convert", "--to", "raw", top, tmp_path / "out.img")
    assert (tmp_path / "out.img").read_bytes() == content
    # Moved together, they still find each other; alone, they do not.
    moved = tmp_path / "moved"
    moved.mkdir()
    for path in (base, middle):
        shutil.move(path, moved)
    shutil.move(top.parent, moved)
    with DiskFile(moved / "sub" / "top.vhdx") as opened:
        assert opened.disk.read(0, 40 * MIB) == content
    (moved / "base.vhdx").rename(moved / "gone.vhdx")
    with pytest.raises(PathNotFoundError, match=r"base\.vhdx"), DiskFile(moved / "sub" / "top.vhdx"):
        pass


def test_a_parent_that_was_changed_is_refused(raw: Path, tmp_path: Path) -> None:
    base, child = tmp_path / "base.vhdx", tmp_path / "child.vhdx"
    wclayer.convert_disk(raw, base)
    wclayer.convert_disk(raw, child, parent=base)
    with DiskFile(base, writable=True) as opened:
        opened.disk.write(0, b"changed")
    with pytest.raises(InvalidDataError, match="changed since"), DiskFile(child):
        pass


def test_failures_leave_nothing(raw: Path, tmp_path: Path) -> None:
    target = tmp_path / "target.vhdx"
    before = sorted(tmp_path.iterdir())
    for arguments, message in (
        ({"to": "qcow2"}, "possible are"),
        ({"to": "raw", "parent": raw}, "no parent"),
        ({"parent": raw}, "no VHDX"),
        ({"block_size": 5}, "powers of two"),
        ({"is_fixed": True, "parent": tmp_path / "base.vhdx"}, "fixed disk"),
    ):
        if arguments.get("is_fixed"):
            wclayer.convert_disk(raw, tmp_path / "base.vhdx")
            before = sorted(tmp_path.iterdir())
        with pytest.raises(InvalidParameterError, match=message):
            wclayer.convert_disk(raw, target, **arguments)
        assert sorted(tmp_path.iterdir()) == before
    with pytest.raises(PathNotFoundError):
        wclayer.convert_disk(tmp_path / "nothing", target)


def test_damage_is_found(raw: Path, tmp_path: Path) -> None:
    path = tmp_path / "disk.vhdx"
    run("disk", "convert", raw, path)
    data = bytearray(path.read_bytes())
    data[(192 << 10) + 8] ^= 1
    path.write_bytes(data)
    assert "first region table is not sound" in text("disk", "check", path, status=1)
    path.write_bytes(b"vhdxfile" + bytes(5 * MIB))
    assert "neither header" in run("disk", "check", path, status=6).stderr.decode()
    image = bytearray(raw.read_bytes())
    image[512 + 60] ^= 1
    raw.write_bytes(image)
    assert "primary table" in text("disk", "check", raw, status=1)


def _with_bad_block(path: Path) -> Path:
    """Makes the BAT of a VHDX file, which stands at 3 MiB, name a place outside of the file for one block."""
    data = bytearray(path.read_bytes())
    data[3 * MIB + 3 * 8 : 3 * MIB + 4 * 8] = ((1 << 40) | 6).to_bytes(8, "little")
    path.write_bytes(data)
    return path


def test_a_damaged_source_is_the_source_s_damage(raw: Path, tmp_path: Path) -> None:
    path, target = tmp_path / "disk.vhdx", tmp_path / "target.vhdx"
    wclayer.convert_disk(raw, path)
    _with_bad_block(path)
    with pytest.raises(InvalidDataError, match="outside of the file") as caught:
        wclayer.convert_disk(path, target)
    assert caught.value.path == str(path)
    assert not target.exists()
    wclayer.convert_disk(raw, path)
    wclayer.convert_disk(raw, tmp_path / "child.vhdx", parent=path)
    _with_bad_block(path)
    with pytest.raises(InvalidDataError, match="outside of the file") as caught:
        wclayer.convert_disk(raw, target, parent=path)
    assert caught.value.path == str(path)


def test_a_block_outside_of_the_file_is_a_problem_that_check_tells(raw: Path, tmp_path: Path) -> None:
    path = tmp_path / "disk.vhdx"
    wclayer.convert_disk(raw, path)
    _with_bad_block(path)
    assert "outside of the file" in text("disk", "check", path, status=1)
    assert "outside of the file" in run("disk", "info", path, status=6).stderr.decode()


def test_a_raw_disk_and_a_partition_refuse_what_is_outside_of_them(raw: Path) -> None:
    with raw.open("r+b") as file:
        disk = RawDisk(file)
        for place in (disk, PartitionWindow(disk, MIB, 4 * MIB)):
            with pytest.raises(DiskError, match=r"of a (disk|partition) of") as caught:
                place.read(place.size, 1)
            assert not isinstance(caught.value, VhdxError)
            with pytest.raises(DiskError, match=r"of a (disk|partition) of") as caught:
                place.write(-1, b"x")
            assert not isinstance(caught.value, VhdxError)
