"""VHDX files: what we write others read, what others write we read, and no step leaves a file that is neither."""

from __future__ import annotations

import gc
import io
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import pytest
from dissect.hypervisor.disk.vhdx import VHDX
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import witness
from wclayer.formats.disk import Disk
from wclayer.formats.vhdx import structs
from wclayer.formats.vhdx.check import check_vhdx
from wclayer.formats.vhdx.crc32c import crc32c
from wclayer.formats.vhdx.create import create_vhdx
from wclayer.formats.vhdx.errors import VhdxError
from wclayer.formats.vhdx.headers import ParentLocator
from wclayer.formats.vhdx.image import Vhdx
from wclayer.formats.vhdx.log import write_entry

MIB = 1 << 20


def _create(size: int = 8 * MIB, **options: object) -> tuple[io.BytesIO, Vhdx]:
    file = io.BytesIO()
    return file, create_vhdx(file, size, **options)  # type: ignore[arg-type]


def _child(parent: Vhdx, **options: object) -> tuple[io.BytesIO, Vhdx]:
    return _create(parent.size, parent=parent, locator=ParentLocator(parent.linkage, {"relative_path": "p"}), **options)


def _reopen(file: io.BytesIO, parent: Disk | None = None, *, writable: bool = False) -> Vhdx:
    def open_parent(_: ParentLocator) -> Disk:
        assert parent is not None
        return parent

    return Vhdx(file, writable=writable, open_parent=open_parent)


def test_crc32c() -> None:
    # RFC 3720, appendix B.4.
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(b"\xff" * 32) == 0x62A8AB43
    assert crc32c(bytes(range(32))) == 0x46DD794E
    assert crc32c(b"123456789") == 0xE3069283


@given(st.binary(max_size=40), st.integers(0, 300))
def test_crc32c_of_zeros_at_the_end(data: bytes, zeros: int) -> None:
    remainder = 0xFFFFFFFF
    for byte in data + bytes(zeros):
        remainder ^= byte
        for _ in range(8):
            remainder = remainder >> 1 ^ (0x82F63B78 if remainder & 1 else 0)
    assert crc32c(data + bytes(zeros)) == remainder ^ 0xFFFFFFFF


writes = st.lists(
    st.tuples(st.integers(0, 8 * MIB - 1), st.integers(1, 3 * MIB), st.integers(0, 255)), min_size=1, max_size=8
)


@given(writes, st.sampled_from([1, 2, 4]), st.sampled_from([512, 4096]), st.booleans())
@settings(max_examples=25)
def test_what_is_written_is_read(changes: list[tuple[int, int, int]], block: int, sector: int, is_fixed: bool) -> None:
    file, disk = _create(block_size=block * MIB, logical_sector_size=sector, is_fixed=is_fixed)
    expected = bytearray(disk.size)
    for offset, length, byte in changes:
        data = bytes([byte]) * min(length, disk.size - offset)
        disk.write(offset, data)
        expected[offset : offset + len(data)] = data
    disk.flush()
    for opened in (disk, _reopen(file)):
        assert opened.read(0, opened.size) == expected
    assert list(check_vhdx(file, disk)) == []
    assert disk.metadata.kind == ("fixed" if is_fixed else "dynamic")


@given(writes, writes, st.sampled_from([512, 4096]))
@settings(max_examples=25)
def test_a_differencing_disk_shows_its_parent(
    below: list[tuple[int, int, int]], above: list[tuple[int, int, int]], sector: int
) -> None:
    _, parent = _create(logical_sector_size=sector)
    expected = bytearray(parent.size)
    for offset, length, byte in below:
        data = bytes([byte]) * min(length, parent.size - offset)
        parent.write(offset, data)
        expected[offset : offset + len(data)] = data
    parent.flush()
    before = bytes(expected)
    file, child = _child(parent, logical_sector_size=sector, block_size=2 * MIB)
    for offset, length, byte in above:
        data = bytes([byte]) * min(length, child.size - offset)
        child.write(offset, data)
        expected[offset : offset + len(data)] = data
    child.flush()
    for opened in (child, _reopen(file, parent)):
        assert opened.read(0, opened.size) == expected
    assert parent.read(0, parent.size) == before
    assert list(check_vhdx(file, child)) == []


def _contents(path: Path, size: int) -> bytes:
    """A disk as qemu-img reads it, and as dissect does."""
    raw = path.with_suffix(".raw")
    subprocess.run([witness("qemu-img"), "convert", "-O", "raw", str(path), str(raw)], check=True)
    theirs = raw.read_bytes()
    with path.open("rb") as file:
        assert VHDX(file).read(size) == theirs
    return theirs


def _fill(disk: Disk, seed: int) -> bytearray:
    expected = bytearray(disk.size)
    for number in range(1, 12):
        offset = (number * 7919 * seed * 1000) % (disk.size - 100_000)
        data = bytes([number]) * (number * 8191)
        disk.write(offset, data)
        expected[offset : offset + len(data)] = data
    disk.flush()
    return expected


@pytest.mark.parametrize("is_fixed", [False, True])
@pytest.mark.parametrize("block", [1, 8, 32])
def test_qemu_and_dissect_read_what_is_written(tmp_path: Path, is_fixed: bool, block: int) -> None:
    path = tmp_path / "disk.vhdx"
    with path.open("w+b") as file, create_vhdx(file, 40 * MIB, block_size=block * MIB, is_fixed=is_fixed) as disk:
        expected = _fill(disk, 3)
        disk.resize(100 * MIB)
        expected += bytes(60 * MIB)
        disk.write(90 * MIB, b"late")
        expected[90 * MIB : 90 * MIB + 4] = b"late"
    subprocess.run([witness("qemu-img"), "check", str(path)], check=True, capture_output=True)
    assert _contents(path, 100 * MIB) == expected


def test_what_qemu_writes_is_read(tmp_path: Path) -> None:
    raw, path = tmp_path / "raw", tmp_path / "disk.vhdx"
    content = b"".join(bytes([number % 251]) * 4096 for number in range(5000))
    raw.write_bytes(content + bytes(-len(content) % MIB))
    for options in ([], ["-o", "subformat=fixed"], ["-o", "block_size=1048576"]):
        command = [witness("qemu-img"), "convert", "-O", "vhdx", *options, str(raw), str(path)]
        subprocess.run(command, check=True)
        with path.open("rb") as file:
            disk = Vhdx(file)
            assert disk.read(0, len(content)) == content
            assert list(check_vhdx(file, disk)) == []


# dissect leaves the files of a chain open.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_vhdiinfo_knows_the_parent(tmp_path: Path) -> None:
    parent_path, child_path = tmp_path / "parent.vhdx", tmp_path / "child.vhdx"
    with parent_path.open("w+b") as below, child_path.open("w+b") as above:
        with create_vhdx(below, 8 * MIB) as parent:
            expected = _fill(parent, 1)
        locator = ParentLocator(
            parent.linkage, {"relative_path": r".\parent.vhdx", "absolute_win32_path": str(parent_path)}
        )
        with create_vhdx(above, 8 * MIB, parent=parent, locator=locator) as child:
            child.write(3 * MIB + 5, b"own")
            expected[3 * MIB + 5 : 3 * MIB + 8] = b"own"
    shown = subprocess.run([witness("vhdiinfo"), str(child_path)], capture_output=True, text=True, check=True).stdout
    assert "Differential" in shown
    assert str(parent.linkage) in shown
    assert VHDX(child_path).read(8 * MIB) == expected
    gc.collect()


def test_zeros_take_no_space() -> None:
    file, disk = _create(64 * MIB)
    disk.write(0, bytes(60 * MIB))
    disk.flush()
    assert disk.allocated() == 0
    assert len(file.getvalue()) == 4 * MIB
    disk.write(5 * MIB, b"\0" * 100 + b"x")
    assert disk.allocated() == 1


def test_the_linkage_changes_with_the_data() -> None:
    file, disk = _create()
    before = disk.linkage
    disk.write(0, b"of its maker")
    disk.flush()
    again = _reopen(file, writable=True)
    assert again.linkage == before
    again.write(0, b"x")
    assert again.linkage != before


def test_the_same_content_gives_the_same_file_when_asked() -> None:
    fixed: dict[str, object] = {"disk_id": UUID(int=1), "write_guid": UUID(int=2)}
    assert _create(MIB, **fixed)[0].getvalue() == _create(MIB, **fixed)[0].getvalue()


@pytest.mark.parametrize(
    ("size", "options", "message"),
    [
        (0, {}, "a disk of 0 bytes"),
        (1000, {}, "whole sectors"),
        ((64 << 40) + 512, {}, "64 TiB"),
        (MIB, {"block_size": 3 * MIB}, "powers of two"),
        (MIB, {"block_size": 512 << 20}, "1 to 256 MiB"),
        (MIB, {"logical_sector_size": 1024}, "512 and 4096"),
        (MIB, {"locator": ParentLocator(UUID(int=0))}, "both"),
    ],
)
def test_sizes_that_no_disk_has(size: int, options: dict[str, object], message: str) -> None:
    with pytest.raises(VhdxError, match=message):
        _create(size, **options)


def test_a_disk_of_64_tib_is_small() -> None:
    file, disk = _create(64 << 40, block_size=256 * MIB)
    disk.write((64 << 40) - 10, b"the end")
    disk.flush()
    assert _reopen(file).read((64 << 40) - 10, 7) == b"the end"


def test_ranges_are_checked() -> None:
    file, disk = _create()
    for offset, length in ((-1, 1), (8 * MIB, 1), (8 * MIB - 1, 2)):
        with pytest.raises(VhdxError, match="of a disk of"):
            disk.read(offset, length)
        if length > 0:
            with pytest.raises(VhdxError, match="of a disk of"):
                disk.write(offset, b"x" * length)
    with pytest.raises(VhdxError, match="reading only"):
        _reopen(file).write(0, b"x")


def test_growing_keeps_what_is_there_and_refuses_to_shrink() -> None:
    file, disk = _create(8 * MIB)
    expected = _fill(disk, 5)
    # The BAT of a terabyte does not fit where it was: it moves.
    for size in (9 * MIB, 1 << 40):
        disk.resize(size)
        assert disk.read(0, 8 * MIB) == expected
        again = _reopen(file)
        assert again.size == size
        assert again.read(0, 8 * MIB) == expected
        assert list(check_vhdx(file, again)) == []
    disk.resize(1 << 40)
    with pytest.raises(VhdxError, match="cannot shrink"):
        disk.resize(8 * MIB)


def test_a_differencing_disk_grows_past_its_parent() -> None:
    _, parent = _create()
    expected = _fill(parent, 2)
    file, child = _child(parent)
    child.write(100, b"x")
    expected[100:101] = b"x"
    child.resize(32 * MIB)
    assert _reopen(file, parent).read(0, 32 * MIB) == expected + bytes(24 * MIB)


class _Recorder(io.BytesIO):
    """A file that remembers each write, so that a writer stopped after any of them can be looked at."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[tuple[int, bytes]] = []

    def write(self, data: object) -> int:
        raw = bytes(data)  # type: ignore[call-overload]
        self.steps.append((self.tell(), raw))
        return super().write(raw)


def _stopped(start: bytes, steps: list[tuple[int, bytes]]) -> io.BytesIO:
    file = io.BytesIO(start)
    for offset, data in steps:
        file.seek(offset)
        file.write(data)
    return file


def _every_stop(action: Callable[[Vhdx], None], check: Callable[[Vhdx], str]) -> list[str]:
    """What a disk is after each step of an action."""
    recorder = _Recorder()
    disk = create_vhdx(recorder, 4 * MIB)
    disk.write(0, b"old" * 1000)
    disk.flush()
    start, recorder.steps = recorder.getvalue(), []
    action(disk)
    found = []
    full = len(recorder.getvalue())
    for count in range(len(recorder.steps) + 1):
        file = _stopped(start + bytes(full - len(start)), recorder.steps[:count])
        # The log is taken into account when reading, and carried out when writing.
        seen = check(_reopen(file))
        assert check(_reopen(file, writable=True)) == seen
        assert not _reopen(file).log_was_replayed
        found.append(seen)
    return found


def test_stopped_while_growing_the_disk_has_the_old_or_the_new_size() -> None:
    for size in (64 * MIB, 1 << 40):
        states = _every_stop(
            lambda disk, size=size: disk.resize(size),  # type: ignore[misc]
            lambda disk: f"{disk.size} {disk.read(0, 3000) == b'old' * 1000}",
        )
        assert set(states) == {f"{4 * MIB} True", f"{size} True"}
        assert states.index(f"{size} True") == states.count(f"{4 * MIB} True")


def test_stopped_while_writing_every_block_is_old_or_new() -> None:
    def action(disk: Vhdx) -> None:
        disk.write(2 * MIB, b"new" * 1000)
        disk.flush()

    states = _every_stop(action, lambda disk: repr(disk.read(2 * MIB, 6)))
    assert set(states) == {repr(bytes(6)), repr(b"newnew")}


def test_a_log_that_was_left_behind_is_replayed() -> None:
    file, disk = _create()
    _fill(disk, 1)
    guid = b"g" * 16
    sector = bytes(range(256)) * 16
    entry = write_entry([(3 * MIB + 4096, sector)], guid, len(file.getvalue()))
    file.seek(disk.header.log_offset)
    file.write(entry)
    disk._write_header(disk.header._replace(log_guid=guid))
    assert _reopen(file).log_was_replayed
    assert any("stopped" in problem for problem in check_vhdx(file, _reopen(file)))
    assert not _reopen(file, writable=True).size % MIB
    assert file.getvalue()[3 * MIB + 4096 : 3 * MIB + 8192] == sector


def test_a_log_without_a_sound_entry_is_an_error() -> None:
    file, disk = _create()
    disk._write_header(disk.header._replace(log_guid=b"g" * 16))
    with pytest.raises(VhdxError, match="no complete entry"):
        _reopen(file)


def test_one_copy_of_everything_is_enough() -> None:
    file, disk = _create()
    expected = _fill(disk, 1)
    for offset in (structs.HEADER_OFFSETS[1 - disk._header_index], structs.REGION_TABLE_OFFSETS[0]):
        data = bytearray(file.getvalue())
        data[offset + 20] ^= 1
        damaged = io.BytesIO(bytes(data))
        assert _reopen(damaged).read(0, disk.size) == expected
        assert any("not sound" in problem for problem in check_vhdx(damaged, _reopen(damaged)))
    data = bytearray(file.getvalue())
    for offset in structs.HEADER_OFFSETS:
        data[offset + 20] ^= 1
    with pytest.raises(VhdxError, match="neither header"):
        _reopen(io.BytesIO(bytes(data)))


def test_overlapping_blocks_are_found() -> None:
    file, disk = _create()
    disk.write(0, b"a")
    disk.write(MIB, b"b")
    disk.flush()
    data = bytearray(file.getvalue())
    data[3 * MIB + 8 : 3 * MIB + 16] = data[3 * MIB : 3 * MIB + 8]
    damaged = io.BytesIO(bytes(data))
    assert any("overlaps" in problem for problem in check_vhdx(damaged, _reopen(damaged)))
    data[3 * MIB : 3 * MIB + 8] = (1 << 40 | 6).to_bytes(8, "little")
    with pytest.raises(VhdxError, match="outside of the file"):
        _reopen(io.BytesIO(bytes(data))).read(0, 10)
    data[3 * MIB : 3 * MIB + 8] = (5).to_bytes(8, "little")
    with pytest.raises(VhdxError, match="state 5"):
        _reopen(io.BytesIO(bytes(data))).read(0, 10)


def _seed() -> bytes:
    file, disk = _create(2 * MIB)
    disk.write(0, b"data")
    disk.flush()
    return file.getvalue()


_SEED = _seed()
_PLACES = (0, 64 << 10, 128 << 10, 192 << 10, 256 << 10, 2 * MIB, 2 * MIB + (64 << 10), 3 * MIB)


@given(st.lists(st.tuples(st.sampled_from(_PLACES), st.integers(0, 200), st.integers(0, 255)), min_size=1, max_size=6))
@settings(max_examples=60)
def test_damaged_files_are_read_or_refused(damage: list[tuple[int, int, int]]) -> None:
    data = bytearray(_SEED)
    for place, offset, byte in damage:
        data[place + offset] = byte
    try:
        disk = _reopen(io.BytesIO(bytes(data)))
        disk.read(0, min(disk.size, 4 * MIB))
    except VhdxError as error:
        assert str(error)


def test_holes_stay_holes(tmp_path: Path) -> None:
    path = tmp_path / "fixed.vhdx"
    with path.open("w+b") as file, create_vhdx(file, 200 * MIB, is_fixed=True) as disk:
        disk.write(100 * MIB, b"x")
    assert path.stat().st_size > 200 * MIB
    assert os.stat(path).st_blocks * 512 < 8 * MIB
