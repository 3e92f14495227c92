"""Compressed files at any offset: what gzip and zstd decompress, wherever one begins to read."""

from __future__ import annotations

import gzip
import hashlib
import io
import random
import subprocess
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import witness
from wclayer.formats import compressed_file
from wclayer.formats.compressed_file import CompressedFile, Waypoints
from wclayer.formats.compression import CompressedDataError, Compression

_WORDS = [hashlib.sha256(b"%d" % number).digest() for number in range(500)]
_BIG = b"".join(random.Random(1).choices(_WORDS, k=200_000))


def _packed(program: str, data: bytes) -> bytes:
    if program == "plain":
        return data
    return subprocess.run([witness(program), "-c"], input=data, check=True, capture_output=True).stdout


@pytest.mark.parametrize("program", ["plain", "gzip", "zstd"])
def test_any_offset_has_the_bytes_that_the_usual_programs_packed(program: str) -> None:
    file = CompressedFile(io.BytesIO(_packed(program, _BIG)), Waypoints())
    places = random.Random(2)
    for _ in range(60):
        start, size = places.randrange(len(_BIG) + 10), places.choice([0, 1, 4096, 3_000_000])
        assert file.read_at(start, size) == _BIG[start : start + size]
    assert file.read_at(len(_BIG), 10) == b""
    assert file.read_at(0, len(_BIG) + 1) == _BIG


@pytest.mark.parametrize("program", ["gzip", "zstd"])
def test_members_and_frames_follow_one_another(program: str) -> None:
    pieces = [_BIG[at : at + 1_500_000] for at in range(0, len(_BIG), 1_500_000)]
    packed = b"".join(_packed(program, piece) for piece in pieces)
    file = CompressedFile(io.BytesIO(packed), Waypoints())
    for start in (len(_BIG) - 5, 1_499_998, 0, 4_500_000):
        assert file.read_at(start, 5) == _BIG[start : start + 5]


def test_zeros_may_follow_a_gzip_member() -> None:
    file = CompressedFile(io.BytesIO(gzip.compress(b"abc") + bytes(20_000)), Waypoints())
    assert file.read_at(0, 10) == b"abc"


class _Counted(io.BytesIO):
    """A file that counts the bytes that are read of it."""

    count = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self.count += len(data)
        return data


def test_a_gzip_file_that_was_read_once_is_not_decompressed_from_its_beginning_again() -> None:
    packed = _packed("gzip", _BIG)
    points = Waypoints()
    for piece in CompressedFile(io.BytesIO(packed), points).pieces(0, len(_BIG)):
        assert piece
    counted = _Counted(packed)
    file = CompressedFile(counted, points)
    for start in (len(_BIG) - 100, len(_BIG) // 2, 100):
        before = counted.count
        assert file.read_at(start, 100) == _BIG[start : start + 100]
        assert counted.count - before < len(packed) // 2


def test_a_zstd_file_of_many_frames_is_not_decompressed_from_its_beginning_either() -> None:
    size = 1 << 20
    packed = b"".join(_packed("zstd", _BIG[at : at + size]) for at in range(0, len(_BIG), size))
    points = Waypoints()
    assert CompressedFile(io.BytesIO(packed), points).read_at(0, len(_BIG)) == _BIG
    counted = _Counted(packed)
    assert CompressedFile(counted, points).read_at(len(_BIG) - 100, 100) == _BIG[-100:]
    assert counted.count < len(packed) // 2


def test_waypoints_take_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compressed_file, "_MOST", 8)
    monkeypatch.setattr(compressed_file, "_STEP", 1 << 14)
    points = Waypoints()
    packed = _packed("gzip", _BIG)
    file = CompressedFile(io.BytesIO(packed), points)
    assert file.read_at(len(_BIG) - 1, 1) == _BIG[-1:]
    assert len(points._points) <= 9
    for start in range(0, len(_BIG), len(_BIG) // 20):
        assert file.read_at(start, 7) == _BIG[start : start + 7]


def test_threads_share_waypoints() -> None:
    packed, points = _packed("gzip", _BIG), Waypoints()
    wrong: list[int] = []

    def read(seed: int) -> None:
        file, places = CompressedFile(io.BytesIO(packed), points), random.Random(seed)
        for _ in range(20):
            start = places.randrange(len(_BIG))
            if file.read_at(start, 1000) != _BIG[start : start + 1000]:
                wrong.append(start)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize("program", ["gzip", "zstd"])
def test_a_file_that_is_cut_off_or_damaged_says_so(program: str) -> None:
    packed = _packed(program, _BIG)
    with pytest.raises(CompressedDataError, match="cut off"):
        CompressedFile(io.BytesIO(packed[:-20]), Waypoints()).read_at(len(_BIG) - 1, 2)
    damaged = bytearray(packed)
    damaged[len(packed) // 2 : len(packed) // 2 + 40] = bytes(40)
    file = CompressedFile(io.BytesIO(bytes(damaged)), Waypoints())
    for _ in range(2):
        with pytest.raises(CompressedDataError, match=program):
            # The checksum is behind the last byte.
            file.read_at(0, 2 * len(_BIG))
    assert file.read_at(0, 10) == _BIG[:10]


@given(st.binary(max_size=300), st.sampled_from(list(Compression)), st.integers(0, 400), st.integers(1, 50))
@settings(max_examples=50)
def test_arbitrary_bytes_raise_at_most_a_format_error(
    data: bytes, compression: Compression, start: int, size: int
) -> None:
    magic = {Compression.NONE: b"", Compression.GZIP: b"\x1f\x8b\x08\0", Compression.ZSTD: b"\x28\xb5\x2f\xfd"}
    file = CompressedFile(io.BytesIO(magic[compression] + data), Waypoints())
    assert file.compression is compression or compression is Compression.NONE
    try:
        assert len(file.read_at(start, size)) <= size
    except CompressedDataError:
        pass


def test_a_file_of_the_host_is_read_in_place(tmp_path: Path) -> None:
    path = tmp_path / "file.gz"
    path.write_bytes(_packed("gzip", _BIG))
    with path.open("rb") as file:
        assert CompressedFile(file, Waypoints()).read_at(5_000_000, 4) == _BIG[5_000_000:5_000_004]
