"""Compressed streams: by magic, hashed on both sides, bounded, and readable by gzip and zstd."""

from __future__ import annotations

import gzip
import hashlib
import io
import subprocess
import zlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import witness, zstd
from wclayer.formats.compression import (
    CompressedDataError,
    Compression,
    ExpansionLimitError,
    HashedInput,
    detect,
)
from wclayer.formats.hashed_output import HashedOutput

_BIG = b"".join(hashlib.sha256(b"%d" % n).digest() * 3 for n in range(20_000))


def _compress(data: bytes, compression: Compression) -> tuple[bytes, HashedOutput]:
    raw = io.BytesIO()
    with HashedOutput(raw, compression) as output:
        for start in range(0, len(data), 70_000):
            output.write(data[start : start + 70_000])
        output.finish()
    return raw.getvalue(), output


def _decompress(data: bytes, **limits: Any) -> tuple[bytes, HashedInput]:
    source = HashedInput(io.BytesIO(data), **limits)
    try:
        return b"".join(source), source
    finally:
        source.close()


@pytest.mark.parametrize("compression", list(Compression))
@pytest.mark.parametrize("data", [b"", b"x", _BIG])
def test_both_ways_with_digests(compression: Compression, data: bytes) -> None:
    packed, output = _compress(data, compression)
    plain, source = _decompress(packed)
    assert plain == data
    assert source.compression is compression or not packed
    assert source.diff_id == output.diff_id == f"sha256:{hashlib.sha256(data).hexdigest()}"
    assert source.digest == output.digest == f"sha256:{hashlib.sha256(packed).hexdigest()}"
    assert (source.size, source.stored_size) == (output.size, output.stored_size) == (len(data), len(packed))


@given(st.binary(max_size=5000), st.lists(st.integers(1, 900), max_size=10))
@settings(max_examples=30)
def test_bytes_do_not_depend_on_portions(data: bytes, sizes: list[int]) -> None:
    raw = io.BytesIO()
    with HashedOutput(raw, Compression.GZIP) as output:
        at = 0
        for size in sizes:
            output.write(data[at : at + size])
            at += size
        output.write(data[at:])
        output.finish()
    assert raw.getvalue() == _compress(data, Compression.GZIP)[0]


@pytest.mark.parametrize(("compression", "program"), [(Compression.GZIP, "gzip"), (Compression.ZSTD, "zstd")])
def test_the_usual_programs_read_it(compression: Compression, program: str) -> None:
    packed, _ = _compress(_BIG, compression)
    assert subprocess.run([witness(program), "-dc"], input=packed, check=True, capture_output=True).stdout == _BIG


def test_what_the_usual_programs_write_is_read() -> None:
    for program in ("gzip", "zstd"):
        packed = subprocess.run([witness(program), "-c"], input=_BIG, check=True, capture_output=True).stdout
        assert _decompress(packed)[0] == _BIG


def test_members_and_frames_in_a_row() -> None:
    assert _decompress(gzip.compress(b"one") + gzip.compress(b"two") + bytes(100))[0] == b"onetwo"
    frame = zstd.compress
    skippable = b"\x50\x2a\x4d\x18\x03\0\0\0abc"
    assert _decompress(skippable + frame(b"one") + skippable + frame(b"two"))[0] == b"onetwo"


@pytest.mark.parametrize("compression", [Compression.GZIP, Compression.ZSTD])
def test_damage_is_an_error(compression: Compression) -> None:
    packed, _ = _compress(_BIG, compression)
    for damaged in (packed[:-1], packed[: len(packed) // 2], packed[:100] + b"\xff" * 50 + packed[150:]):
        with pytest.raises(CompressedDataError):
            _decompress(damaged)


def test_limits() -> None:
    bomb = zlib.compressobj(9, zlib.DEFLATED, 31)
    packed = b"".join(bomb.compress(bytes(1 << 20)) for _ in range(128)) + bomb.flush()
    with pytest.raises(ExpansionLimitError, match="more than 1000000 bytes"):
        _decompress(packed, max_size=1_000_000)
    with pytest.raises(ExpansionLimitError, match="more than 100 for one"):
        _decompress(packed, max_ratio=100)
    assert len(_decompress(packed, max_ratio=2000)[0]) == 128 << 20


def test_zstd_bomb_is_bounded() -> None:
    packed = zstd.compress(bytes(512 << 20), 19)
    with pytest.raises(ExpansionLimitError):
        _decompress(packed, max_ratio=100)


def test_what_expands_much_comes_in_small_pieces() -> None:
    packed = zstd.compress(bytes(64 << 20), 19)
    pieces = [len(piece) for piece in HashedInput(io.BytesIO(packed))]
    assert sum(pieces) == 64 << 20
    assert max(pieces) <= 1 << 20


def test_frames_may_be_tiny_and_empty() -> None:
    packed = (zstd.compress(b"") + zstd.compress(b"x")) * 5000 + zstd.compress(b"")
    assert _decompress(packed)[0] == b"x" * 5000


@given(st.binary(max_size=300))
def test_arbitrary_bytes_give_data_or_an_error(data: bytes) -> None:
    for prefix in (b"", b"\x1f\x8b\x08\0", b"\x28\xb5\x2f\xfd"):
        try:
            _decompress(prefix + data, max_size=1 << 20)
        except CompressedDataError:
            pass


def test_detection() -> None:
    assert detect(b"\x1f\x8b\x08\0") is Compression.GZIP
    assert detect(b"\x28\xb5\x2f\xfd") is Compression.ZSTD
    assert detect(b"File") is Compression.NONE
    assert detect(b"") is Compression.NONE


def test_closing_early_ends_the_thread() -> None:
    source = HashedInput(io.BytesIO(_compress(_BIG * 5, Compression.GZIP)[0]))
    next(source)
    source.close()
    assert source._thread is not None
    source._thread.join(5)
    assert not source._thread.is_alive()


@pytest.mark.parametrize("compression", Compression)
def test_a_digest_that_is_known_is_not_computed(compression: Compression) -> None:
    data = b"some bytes" * 1000
    stored, output = _compress(data, compression)
    plain, source = _decompress(stored, known_digest="sha256:known")
    assert (plain, source.digest) == (data, "sha256:known")
    assert source.diff_id == ("sha256:known" if compression is Compression.NONE else output.diff_id)
