"""Compressed output: the same bytes from any number of threads and in any portions, and about as small as gzip's."""

from __future__ import annotations

import gzip
import hashlib
import io
import random
import subprocess
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import witness
from wclayer.formats.compression import Compression
from wclayer.formats.hashed_output import HashedOutput

_MIB = 1 << 20
# Text and noise, so that blocks compress differently.
_SOURCE = b"".join(path.read_bytes() for path in sorted((Path(__file__).parents[2] / "src").rglob("*.py")))
_DATA = _SOURCE[: 2 * _MIB] + random.Random(5).randbytes(_MIB) + bytes(_MIB) + _SOURCE[-_MIB // 2 :] + b"end"


def _write(
    data: bytes, compression: Compression, sizes: list[int], threads: int | None = None
) -> tuple[bytes, HashedOutput]:
    raw = io.BytesIO()
    with HashedOutput(raw, compression, threads=threads) as output:
        at = 0
        for size in sizes:
            piece = bytearray(data[at : at + size])
            output.write(piece if size % 2 else bytes(piece))
            # What was written may be changed.
            piece[:] = bytes(len(piece))
            at += size
        output.write(data[at:])
        output.finish()
    return raw.getvalue(), output


@pytest.mark.parametrize("compression", list(Compression))
@given(sizes=st.lists(st.sampled_from([1, 511, 4096, 70_001, 262_144, 300_001, _MIB, _MIB + 1, 2 * _MIB]), max_size=8))
@settings(max_examples=8)
def test_bytes_and_digests_do_not_depend_on_portions(compression: Compression, sizes: list[int]) -> None:
    packed, output = _write(_DATA, compression, sizes)
    assert packed == _write(_DATA, compression, [])[0]
    assert (output.size, output.stored_size) == (len(_DATA), len(packed))
    assert output.diff_id == f"sha256:{hashlib.sha256(_DATA).hexdigest()}"
    assert output.digest == f"sha256:{hashlib.sha256(packed).hexdigest()}"


@pytest.mark.parametrize("compression", list(Compression))
def test_bytes_do_not_depend_on_the_number_of_threads(compression: Compression) -> None:
    data = _DATA * 3
    once = _write(data, compression, [], threads=1)[0]
    for threads in (2, 5, 40):
        assert _write(data, compression, [], threads=threads)[0] == once


def test_gzip_is_a_member_for_each_mib() -> None:
    packed = _write(_DATA, Compression.GZIP, [])[0]
    sizes = []
    while packed:
        inflate = zlib.decompressobj(31)
        sizes.append(len(inflate.decompress(packed)))
        assert inflate.eof
        packed = inflate.unused_data
    assert sizes == [_MIB, _MIB, _MIB, _MIB, len(_DATA) - 4 * _MIB]


@pytest.mark.parametrize("level", [1, 6, 9])
def test_every_level_of_gzip_is_read_by_others(level: int) -> None:
    raw = io.BytesIO()
    with HashedOutput(raw, Compression.GZIP, level) as output:
        output.write(_DATA)
        output.finish()
    assert gzip.decompress(raw.getvalue()) == _DATA
    done = subprocess.run([witness("gzip"), "-dc"], input=raw.getvalue(), check=True, capture_output=True)
    assert done.stdout == _DATA


def test_gzip_is_about_as_small_as_that_of_the_usual_program() -> None:
    # Text is the worst case: members cannot refer to what was before them. Programs are smaller than with gzip.
    theirs = subprocess.run([witness("gzip"), "-6", "-c"], input=_SOURCE, check=True, capture_output=True).stdout
    assert len(_write(_SOURCE, Compression.GZIP, [])[0]) <= 1.02 * len(theirs)
