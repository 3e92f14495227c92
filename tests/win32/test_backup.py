"""Backup streams: every id, sparse blocks, any portions, and nothing but ValueError for bad bytes."""

from __future__ import annotations

import io
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import chunks_of
from wclayer.win32.backup import (
    BackupStreamParser,
    BackupStreamReader,
    StreamHeader,
    StreamId,
)

_names = st.text(st.characters(exclude_characters="\0"), max_size=20)
_headers = st.one_of(
    st.builds(
        StreamHeader,
        st.sampled_from([i for i in StreamId if i != StreamId.SPARSE_BLOCK]).map(int),
        st.just(0),
        st.integers(0, 0xFFFFFFFF),
        _names,
    ),
    st.builds(
        StreamHeader,
        st.just(int(StreamId.SPARSE_BLOCK)),
        st.just(0),
        st.integers(0, 0xFFFFFFFF),
        st.just(""),
        st.integers(0, (1 << 63) - 1),
    ),
)
_streams = st.lists(st.tuples(_headers, st.binary(max_size=50)), max_size=6)


def _encode(streams: list[tuple[StreamHeader, bytes]]) -> bytes:
    return b"".join(_sized(header, data).encode() + data for header, data in streams)


def _sized(header: StreamHeader, data: bytes) -> StreamHeader:
    return StreamHeader(header.id, len(data), header.attributes, header.name, header.offset)


@given(_streams)
def test_reader_gives_back_what_was_encoded(streams: list[tuple[StreamHeader, bytes]]) -> None:
    reader = BackupStreamReader(io.BytesIO(_encode(streams)))
    assert [(header, reader.read()) for header in reader] == [(_sized(h, d), d) for h, d in streams]


@given(_streams, st.lists(st.integers(1, 30), max_size=40))
def test_parser_gives_the_same_whatever_the_portions(
    streams: list[tuple[StreamHeader, bytes]], sizes: list[int]
) -> None:
    parser = BackupStreamParser()
    found: list[tuple[StreamHeader, bytes]] = []
    for chunk in chunks_of(_encode(streams), sizes):
        for item in parser.feed(chunk):
            if isinstance(item, StreamHeader):
                found.append((item, b""))
            else:
                found[-1] = (found[-1][0], found[-1][1] + item)
    parser.finish()
    assert found == [(_sized(h, d), d) for h, d in streams]


@given(st.binary(max_size=200))
def test_arbitrary_bytes_give_streams_or_a_value_error(data: bytes) -> None:
    reader = BackupStreamReader(io.BytesIO(data))
    parser = BackupStreamParser()
    try:
        for header in reader:
            reader.read(header.size // 2)
    except ValueError as error:
        assert "backup stream" in str(error)
    try:
        list(parser.feed(data))
        parser.finish()
    except ValueError as error:
        assert "backup stream" in str(error)


def test_header_is_win32_stream_id() -> None:
    header = StreamHeader(StreamId.ALTERNATE_DATA, 5, 8, ":x:$DATA")
    assert header.encode() == struct.pack("<IIQI", 4, 8, 5, 16) + ":x:$DATA".encode("utf-16-le")


def test_sparse_block_counts_its_offset_in_its_size() -> None:
    assert StreamHeader(StreamId.SPARSE_BLOCK, 3, 0, "", 7).encode() == struct.pack("<IIQIQ", 9, 0, 11, 0, 7)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (struct.pack("<IIQI", 11, 0, 0, 0), "unknown stream id 11 at offset 0"),
        (struct.pack("<IIQI", 4, 0, 0, 3), "name of 3 bytes"),
        (struct.pack("<IIQI", 4, 0, 0, 1 << 20), "name of 1048576 bytes"),
        (struct.pack("<IIQI", 1, 0, 1 << 63, 0), "negative size"),
        (struct.pack("<IIQI", 9, 0, 7, 0), "no room for its offset"),
        (struct.pack("<IIQI", 1, 0, 5, 0) + b"abc", "2 bytes short"),
        (struct.pack("<IIQ", 1, 0, 5), "bytes short"),
    ],
)
def test_damage_is_named_with_its_offset(data: bytes, problem: str) -> None:
    reader = BackupStreamReader(io.BytesIO(data))
    with pytest.raises(ValueError, match=problem):
        for _ in reader:
            reader.read()


def test_a_huge_size_allocates_nothing() -> None:
    reader = BackupStreamReader(io.BytesIO(struct.pack("<IIQI", 1, 0, 1 << 62, 0) + b"x"))
    assert reader.next() is not None
    with pytest.raises(ValueError, match="short"):
        reader.read()


def test_unread_data_is_skipped() -> None:
    data = StreamHeader(1, 4).encode() + b"data" + StreamHeader(3, 2).encode() + b"sd"
    reader = BackupStreamReader(io.BytesIO(data))
    assert reader.next() == StreamHeader(1, 4)
    assert reader.read(2) == b"da"
    assert reader.next() == StreamHeader(3, 2)
    assert reader.read() == b"sd"
    assert reader.next() is None
