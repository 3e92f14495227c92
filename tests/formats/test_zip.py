"""Zip archives: what other programs write is read as they read it, and what is damaged or not supported is an error."""

from __future__ import annotations

import io
import shutil
import struct
import subprocess
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wclayer.formats.zip import ZipError, ZipMember, ZipReader

END, CENTRAL, LOCAL = b"PK\5\6", b"PK\1\2", b"PK\3\4"


def archive(*files: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED, comment: bytes = b"") -> bytes:
    """An archive as Python's zipfile writes it."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", method) as target:
        target.comment = comment
        for name, data in files:
            target.writestr(zipfile.ZipInfo(name, (2024, 2, 29, 12, 34, 56)), data, method)
    return made.getvalue()


def contents(data: bytes) -> dict[str, bytes]:
    """What is read of an archive: the data of each member."""
    reader = ZipReader(io.BytesIO(data))
    return {member.name.decode(): b"".join(reader.data(member)) for member in reader.members()}


def as_python_reads_it(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as source:
        return {info.filename: source.read(info) for info in source.infolist()}


@given(
    st.dictionaries(
        st.text(st.characters(exclude_characters="\0/\\:", exclude_categories=["Cs"]), min_size=1), st.binary()
    ),
    st.sampled_from((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)),
    st.binary(max_size=50).filter(lambda comment: b"PK" not in comment),
)
def test_what_python_writes_is_read_back(files: dict[str, bytes], method: int, comment: bytes) -> None:
    assert contents(archive(*files.items(), method=method, comment=comment)) == files


def _zip(source: Path, target: Path) -> None:
    subprocess.run(["zip", "-q", "-r", str(target), "."], cwd=source, check=True)


def _zip_stream(source: Path, target: Path) -> None:
    # Written to a pipe: sizes and checksums follow the data.
    with target.open("wb") as stream:
        subprocess.run(["zip", "-q", "-r", "-", "."], cwd=source, check=True, stdout=stream)


def _bsdtar(source: Path, target: Path) -> None:
    subprocess.run(["bsdtar", "--format", "zip", "-cf", str(target), "."], cwd=source, check=True)


@pytest.mark.parametrize("program", [_zip, _zip_stream, _bsdtar])
def test_what_other_programs_write_is_read_as_python_reads_it(
    tmp_path: Path, program: Callable[[Path, Path], None]
) -> None:
    name = program.__name__.strip("_").partition("_")[0]
    if shutil.which(name) is None:
        pytest.skip(f"needs {name}")
    source = tmp_path / "source"
    (source / "a b" / "empty").mkdir(parents=True)
    (source / "a b" / "x.txt").write_bytes(b"hello " * 50_000)
    (source / "none").write_bytes(b"")
    (source / "random").write_bytes(bytes(range(256)) * 300)
    program(source, tmp_path / "a.zip")
    data = (tmp_path / "a.zip").read_bytes()
    assert contents(data) == as_python_reads_it(data)
    assert len(contents(data)) >= 3


def test_more_members_than_a_short_count_holds_are_read() -> None:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as target:
        for number in range(0x1_0001):
            target.writestr(zipfile.ZipInfo(str(number)), b"")
    assert ZipReader(made).count == 0x1_0001
    assert sum(1 for _ in ZipReader(made).members()) == 0x1_0001


def test_sizes_in_the_zip64_field_are_read() -> None:
    data = archive(("a", b"x" * 100), method=zipfile.ZIP_STORED)
    begin, end = data.index(CENTRAL), data.index(END)
    central, record = bytearray(data[begin:end]), bytearray(data[end:])
    for offset in (20, 24, 42):
        struct.pack_into("<I", central, offset, 0xFFFF_FFFF)
    central += struct.pack("<2H3Q", 1, 24, 100, 100, 0)
    struct.pack_into("<H", central, 30, 28)
    struct.pack_into("<I", record, 12, len(central))
    made = data[:begin] + bytes(central) + bytes(record)
    assert contents(made) == as_python_reads_it(made) == {"a": b"x" * 100}


def test_the_time_is_that_of_the_archive_in_utc() -> None:
    (member,) = ZipReader(io.BytesIO(archive(("a", b"")))).members()
    assert member.filetime == (1_709_210_096 + 11_644_473_600) * 10_000_000


@pytest.mark.parametrize("time", [0, 0xFFFF_FFFF, 13 << 21 | 1 << 16])
def test_a_time_that_is_none_is_the_first_that_a_zip_can_state(time: int) -> None:
    member = ZipMember(b"a", 0, 0, time, 0, 0, 0, 0)
    assert member.filetime == (315_532_800 + 11_644_473_600) * 10_000_000


def _changed(data: bytes, magic: bytes, offset: int, value: bytes) -> bytes:
    at = data.rindex(magic) + offset
    return data[:at] + value + data[at + len(value) :]


PLAIN = archive(("a", b"x" * 100), method=zipfile.ZIP_STORED)
DEFLATE = archive(("a", b"x" * 100))
DAMAGED = {
    "nothing": (b"", "no zip archive"),
    "no archive": (b"x" * 100, "no zip archive"),
    "cut off": (PLAIN[:-1], "no zip archive|cut off"),
    "more after the end": (PLAIN + b"x", "not at the end"),
    "more before the beginning": (b"x" * 10 + PLAIN, "central directory"),
    "split": (_changed(PLAIN, END, 4, b"\1"), "split"),
    "more members than there are": (_changed(PLAIN, END, 8, b"\2\0\2\0"), "central directory"),
    "fewer members than there are": (_changed(PLAIN, END, 8, b"\0\0\0\0"), "bytes more"),
    "no member": (_changed(PLAIN, CENTRAL, 0, b"XX"), "end record|damaged"),
    "encrypted": (_changed(PLAIN, CENTRAL, 8, b"\1"), "encrypted"),
    "bzip2": (_changed(PLAIN, CENTRAL, 10, b"\x0c"), "bzip2"),
    "an unknown compression": (_changed(PLAIN, CENTRAL, 10, b"\x77"), "method 119"),
    "two sizes": (_changed(PLAIN, CENTRAL, 24, b"\1"), "stored in"),
    "data behind the directory": (_changed(PLAIN, CENTRAL, 42, b"\xff"), "before the central directory"),
    "the local header of another": (_changed(PLAIN, LOCAL, 30, b"b"), "local header"),
    "no local header": (_changed(PLAIN, LOCAL, 0, b"XX"), "local header"),
    "another checksum": (_changed(PLAIN, CENTRAL, 16, b"\0\0\0\0"), "checksum"),
    "more data than stated": (_changed(DEFLATE, CENTRAL, 24, b"\1"), "more than"),
    "less data than stated": (_changed(DEFLATE, CENTRAL, 24, b"\xff"), "and not the 255"),
    "damaged data": (_changed(DEFLATE, LOCAL, 31, b"\xff\xff"), "damaged"),
    "data that is cut off": (_changed(DEFLATE, CENTRAL, 20, b"\2"), "cut off"),
    "a Zip64 field is missing": (_changed(PLAIN, CENTRAL, 24, b"\xff\xff\xff\xff"), "Zip64"),
}


@pytest.mark.parametrize(("data", "message"), DAMAGED.values(), ids=DAMAGED)
def test_what_is_damaged_or_not_supported_is_an_error(data: bytes, message: str) -> None:
    with pytest.raises(ZipError, match=message):
        contents(data)


def test_bytes_after_the_deflated_data_are_an_error() -> None:
    deflated = zlib.compress(b"x" * 100)[2:-4]
    data = DEFLATE.replace(deflated, deflated + b"y") if deflated in DEFLATE else b""
    begin = data.index(CENTRAL)
    data = _changed(data, CENTRAL, 20, bytes([len(deflated) + 1]))
    data = _changed(data, END, 16, struct.pack("<I", begin))
    with pytest.raises(ZipError, match="after the end of its data"):
        contents(data)


def test_a_bomb_is_read_in_pieces() -> None:
    reader = ZipReader(io.BytesIO(archive(("a", bytes(50 << 20)))))
    (member,) = reader.members()
    assert max(map(len, reader.data(member))) <= 1 << 16
