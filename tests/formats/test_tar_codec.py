"""The tar codec: what Go, GNU tar, bsdtar and Python write is read; what we write is what Go writes."""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import VECTORS, archive, member, vector_bytes, witness
from wclayer.formats.tar.reader import HeaderTooLargeError, TarFormatError, TarMember, TarStream, parse_pax
from wclayer.formats.tar.structs import TRAILER, byte_sum, header_checksum
from wclayer.formats.tar.writer import TarHeader, encode_header, encode_pax_record

_keys = st.binary(min_size=1, max_size=20).filter(lambda key: b"=" not in key and b"\n" not in key)


def members(data: bytes, max_header: int = 1 << 20) -> list[tuple[TarMember, bytes]]:
    stream: TarStream[TarMember] = TarStream(iter([data]), max_header=max_header)
    found = []
    while (entry := stream.next()) is not None:
        assert isinstance(entry, TarMember)
        found.append((entry, b"".join(map(bytes, stream.data()))))
    return found


@pytest.mark.parametrize("name", VECTORS)
def test_headers_and_data_are_those_that_tarfile_sees(name: str) -> None:
    data = vector_bytes(name)
    ours = members(data)
    with tarfile.open(fileobj=io.BytesIO(data)) as reference:
        theirs = reference.getmembers()
        assert len(ours) == len(theirs) > 5
        for (entry, content), info in zip(ours, theirs, strict=True):
            # tarfile drops a directory's trailing slash.
            assert entry.name.decode().rstrip("/") == info.name
            assert (entry.mode, entry.link_name.decode()) == (info.mode, info.linkname)
            assert {k.decode(): v.decode() for k, v in entry.pax.items()} == info.pax_headers
            if info.isreg():
                file = reference.extractfile(info)
                assert file is not None
                assert content == file.read()


@pytest.mark.parametrize("form", ["pax", "gnu", "ustar"])
def test_gnu_tar_s_forms_are_read(tmp_path: Path, form: str) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / ("n" * 90)).write_bytes(b"x" * 1000)
    if form != "ustar":
        (tmp_path / "d" / ("long" * 50)).write_bytes(b"long name")
        (tmp_path / "d" / "grüße").write_bytes(b"utf-8")
    command = [witness("tar"), "-C", str(tmp_path), f"--format={form}", "-cf", "-", "d"]
    data = subprocess.run(command, check=True, capture_output=True).stdout
    found = {entry.name.rstrip(b"/"): content for entry, content in members(data)}
    assert found == {
        str(path.relative_to(tmp_path)).encode(): path.read_bytes() if path.is_file() else b""
        for path in [tmp_path / "d", *(tmp_path / "d").iterdir()]
    }


def test_bsdtar_s_forms_are_read(tmp_path: Path) -> None:
    (tmp_path / ("long" * 50)).write_bytes(b"x" * 700)
    command = [witness("bsdtar"), "-C", str(tmp_path), "--format=pax", "-cf", "-", "long" * 50]
    data = subprocess.run(command, check=True, capture_output=True).stdout
    assert [(entry.name, content) for entry, content in members(data)] == [(b"long" * 50, b"x" * 700)]


@given(
    st.binary(min_size=1, max_size=300).filter(lambda name: 0 not in name),
    st.integers(0, 0o7777777),
    st.integers(0, 1 << 40),
    st.integers(0, 1 << 33),
    st.binary(max_size=200).filter(lambda name: 0 not in name),
    st.dictionaries(_keys, st.binary(max_size=100), max_size=4),
)
def test_headers_both_ways(
    name: bytes, mode: int, size: int, mtime: int, link_name: bytes, pax: dict[bytes, bytes]
) -> None:
    pax = {key: value for key, value in pax.items() if key not in (b"path", b"linkpath", b"size")}
    header = TarHeader(name, ord("0"), mode, size, mtime, link_name, pax)
    stream: TarStream[TarMember] = TarStream(iter([encode_header(header)]))
    found = stream.next()
    assert isinstance(found, TarMember)
    assert (found.name, found.mode, found.size, found.link_name) == (name, mode, size, link_name)
    assert {k: v for k, v in found.pax.items() if k not in (b"path", b"linkpath", b"size")} == pax
    assert found.header == encode_header(header)


@given(st.dictionaries(_keys, st.binary(max_size=200), max_size=6))
def test_pax_records_both_ways(records: dict[bytes, bytes]) -> None:
    data = b"".join(encode_pax_record(key, value) for key, value in records.items())
    assert parse_pax(data, 0) == records


@pytest.mark.parametrize("length", [*range(90, 105), *range(985, 1005), *range(9980, 9999)])
def test_a_pax_record_s_length_counts_its_own_digits(length: int) -> None:
    record = encode_pax_record(b"k", b"v" * length)
    assert len(record) == int(record.split(b" ")[0])


@given(st.binary(max_size=100))
def test_arbitrary_pax_gives_records_or_a_format_error(data: bytes) -> None:
    try:
        parse_pax(data, 0)
    except TarFormatError:
        pass


@given(st.binary(min_size=512, max_size=512))
def test_the_fast_byte_sum_is_the_byte_sum(block: bytes) -> None:
    assert byte_sum(block) == sum(block)
    assert header_checksum(block) == sum(block[:148]) + 8 * 32 + sum(block[156:])


@given(st.binary(max_size=1200), st.integers(0, 3000), st.integers(0, 255))
def test_damaged_archives_give_members_or_a_format_error(tail: bytes, at: int, value: int) -> None:
    data = bytearray(archive(member(b"Files", kind=b"5"), member(b"Files/a", b"x" * 600, atime=b"1.5")))
    data[at % len(data)] = value
    for candidate in (bytes(data), bytes(data[:at]), tail, bytes(data[:512]) + tail):
        try:
            members(candidate)
        except TarFormatError as error:
            assert "offset" in str(error)


def test_whole_corpus_of_cuts() -> None:
    """Cut off at any byte, an archive is an error."""
    data = archive(member(b"Files", kind=b"5"), member(b"Files/a", b"x" * 600, atime=b"1.5"))
    end = len(data) - len(TRAILER)
    for cut in range(0, end, 7):
        with pytest.raises(TarFormatError):
            members(data[:cut])


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        (slice(124, 136), b"-0000000001\0", "not an octal number"),
        (slice(124, 136), b"0000_000001\0", "not an octal number"),
        (slice(124, 136), b"00000000008\0", "not an octal number"),
        (slice(124, 136), b"\xff" * 12, "does not fit in 63 bits"),
        (slice(124, 136), b"\x80" + b"\xff" * 11, "does not fit in 63 bits"),
        (slice(148, 156), b"000000\0 ", "checksum"),
    ],
)
def test_bad_numbers_are_named(field: slice, value: bytes, problem: str) -> None:
    block = bytearray(encode_header(TarHeader(b"name", size=1)))
    block[field] = value
    if field.start != 148:
        block[148:156] = b"%06o\0 " % header_checksum(bytes(block))
    with pytest.raises(TarFormatError, match=problem):
        members(bytes(block) + bytes(512) + TRAILER)


def test_base_256_sizes_are_read() -> None:
    block = bytearray(encode_header(TarHeader(b"name")))
    block[124:136] = b"\x80" + (700).to_bytes(11, "big")
    block[148:156] = b"%06o\0 " % header_checksum(bytes(block))
    ((entry, content),) = members(bytes(block) + b"y" * 700 + bytes(324) + TRAILER)
    assert (entry.size, content) == (700, b"y" * 700)


def test_header_limits() -> None:
    with pytest.raises(HeaderTooLargeError, match="larger than 1000"):
        members(archive(member(b"a", comment=b"x" * 2000)), max_header=1000)
    long = encode_header(TarHeader(b"././@LongLink", ord("L"), size=100)) + b"n" * 100 + bytes(412)
    with pytest.raises(HeaderTooLargeError, match="too many extension headers"):
        members(long * 100 + member(b"a") + TRAILER, max_header=1000)


def test_global_records_apply_to_all_that_follow() -> None:
    record = encode_pax_record(b"comment", b"all")
    block = encode_header(TarHeader(b"g", ord("g"), size=len(record))) + record + bytes(-len(record) % 512)
    data = block + member(b"a") + member(b"b", comment=b"own") + TRAILER
    assert [entry.pax[b"comment"] for entry, _ in members(data)] == [b"all", b"own"]
