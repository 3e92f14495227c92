"""The small parts of NTFS: runlists, LZNT1, records, indexes, descriptors."""

from __future__ import annotations

import io

import pytest
from dissect.ntfs import NTFS
from dissect.util.compression import lznt1
from hypothesis import given
from hypothesis import strategies as st

from tests.packages import windows_volume
from wclayer.formats.ntfs import structs
from wclayer.formats.ntfs.index import build_index, directory_entry
from wclayer.formats.ntfs.lznt1 import decompress
from wclayer.formats.ntfs.records import Attribute, decode_record, encode_record
from wclayer.formats.ntfs.runs import Run, decode_runs, encode_runs
from wclayer.formats.ntfs.secure import SecurityStore, descriptor_hash
from wclayer.formats.ntfs.structs import AttributeType, Collation, NtfsError

runs = st.lists(st.builds(Run, st.one_of(st.none(), st.integers(0, 2**40)), st.integers(1, 2**33)), max_size=20)


@given(runs)
def test_runlists(expected: list[Run]) -> None:
    assert list(decode_runs(encode_runs(expected))) == expected


@given(st.binary(max_size=40))
def test_any_runlist_is_read_or_refused(data: bytes) -> None:
    try:
        for run in decode_runs(data):
            assert run.length > 0
    except NtfsError:
        pass


def test_runs_take_few_bytes() -> None:
    assert encode_runs([Run(0x20, 0x18)]) == bytes.fromhex("11182000")
    assert encode_runs([Run(0x342573, 0x38), Run(0x363758, 0x114)])[:5] == bytes.fromhex("3138732534")


@given(st.binary(max_size=300))
def test_any_lznt1_is_decompressed_or_refused(data: bytes) -> None:
    try:
        assert len(decompress(data, 8192)) == 8192
    except NtfsError:
        pass


@pytest.mark.parametrize(
    ("data", "expected"),
    [("0330616263640000", b"abcd"), ("0000", b"")],
)
def test_lznt1_as_dissect_decompresses_it(data: str, expected: bytes | None) -> None:
    raw = bytes.fromhex(data)
    theirs = lznt1.decompress(raw)
    ours = decompress(raw, len(theirs))
    if expected is not None:
        assert ours == expected
    assert ours == theirs


@given(st.lists(st.binary(max_size=200), max_size=4))
def test_records_survive(values: list[bytes]) -> None:
    attributes = [Attribute(AttributeType.DATA, f"s{n}", value) for n, value in enumerate(values)]
    attributes.append(Attribute(AttributeType.EA, "", None, [Run(5, 3), Run(None, 2)], 20_000, 5 * 4096))
    encoded = [attribute.encode(n) for n, attribute in enumerate(attributes)]
    if sum(map(len, encoded)) > 900:
        return
    record = encode_record(40, 3, 1, 2, encoded)
    assert len(record) == 1024
    base, found = decode_record(record)
    assert base == 0
    assert found == attributes


@given(st.lists(st.binary(min_size=4032, max_size=4032), min_size=1, max_size=4), st.sampled_from([1024, 4096]))
def test_many_blocks_are_protected_as_each_alone(contents: list[bytes], size: int) -> None:
    offset = 0x30
    head = b"FILE" + offset.to_bytes(2, "little") + (size // 512 + 1).to_bytes(2, "little") + bytes(56)
    blocks = [bytearray((head + content)[:size]) for content in contents]
    joined = bytearray(b"".join(blocks))
    structs.protect_all(joined, size, offset)
    for block in blocks:
        structs.protect(block, 1)
    assert joined == b"".join(blocks)
    whole = bytearray(joined)
    assert structs.unprotect_all(joined, size, offset)
    for number, block in enumerate(blocks):
        assert structs.unprotect(block)
        assert joined[number * size : (number + 1) * size] == block
    # A sector that was not written has other bytes at its end.
    whole[-2:] = b"\2\0"
    assert not structs.unprotect_all(whole, size, offset)


def test_blocks_of_zeros_stay_zeros() -> None:
    blocks = bytearray(4096)
    assert structs.unprotect_all(blocks, 1024, 0x30)
    assert not any(blocks)


@pytest.mark.parametrize("count", [0, 1, 3, 4, 30, 31, 32, 33, 34, 1000, 20_000])
@pytest.mark.parametrize("cluster_size", [512, 4096, 65_536])
@pytest.mark.parametrize("at", [0, 29, 31, 10_000])
def test_indexes_are_balanced_and_in_order(count: int, cluster_size: int, at: int) -> None:
    entries = [directory_entry(n, n.to_bytes(100, "big")) for n in range(count)]
    blocks = bytearray()
    batches = [entries[:at], entries[at:]]
    root = build_index(batches, AttributeType.FILE_NAME, Collation.FILE_NAME, cluster_size, 400, blocks.extend)
    unit = cluster_size if cluster_size <= 4096 else 512
    depths = set()
    seen = []
    visited = set()

    def visit(data: bytes, header: int, depth: int) -> None:
        offset, used, _, flags, _ = structs.INDEX_HEADER.unpack_from(data, header)
        position = header + offset
        while True:
            file, length, _, entry_flags, _ = structs.INDEX_ENTRY.unpack_from(data, position)
            assert bool(entry_flags & structs.ENTRY_HAS_BLOCK) == bool(flags)
            if entry_flags & structs.ENTRY_HAS_BLOCK:
                vcn = int.from_bytes(data[position + length - 8 : position + length], "little")
                number = vcn * unit // 4096
                assert number not in visited
                visited.add(number)
                block = blocks[number * 4096 : (number + 1) * 4096]
                assert structs.unprotect(block)
                assert int.from_bytes(block[16:24], "little") == vcn
                visit(bytes(block), structs.INDEX_BLOCK.size, depth + 1)
            else:
                depths.add(depth)
            if entry_flags & structs.ENTRY_IS_LAST:
                assert position + length == header + used
                return
            seen.append(file)
            position += length

    visit(root, structs.INDEX_ROOT.size, 0)
    assert seen == list(range(count))
    assert len(depths) == 1
    assert visited == set(range(len(blocks) // 4096))


def test_descriptors_are_those_of_a_windows_volume() -> None:
    """Every descriptor of a volume that Windows made has the hash that Windows gave it, and the same indexes."""
    volume = NTFS(io.BytesIO(windows_volume()))
    stream = volume.mft.get(9).open("$SDS").read()
    store = SecurityStore()
    position = 0
    count = 0
    while position + 20 < len(stream):
        hashed, number, offset, length = structs.SDS_ENTRY.unpack_from(stream, position)
        if offset != position or length < 20:
            break
        descriptor = stream[position + 20 : position + length]
        assert descriptor_hash(descriptor) == hashed
        assert store.id_of(descriptor) == number
        position = -(-(position + length) // 16) * 16
        count += 1
    assert count > 5
    used = min(len(store.stream), structs.SDS_BLOCK)
    assert bytes(store.stream[: position - 16]) == stream[: position - 16]
    assert store.stream[structs.SDS_BLOCK :][:100] == stream[structs.SDS_BLOCK :][:100]
    assert used


def test_many_descriptors_cross_no_block() -> None:
    store = SecurityStore()
    for number in range(3000):
        store.id_of(number.to_bytes(4, "little") * 50)
    data = bytes(store.stream)
    block = structs.SDS_BLOCK
    for start in range(0, len(data), 2 * block):
        assert data[start : start + block].rstrip(b"\0") == data[start + block : start + 2 * block].rstrip(b"\0")
    assert len(store.by_id()) == len(store.by_hash()) == 3000
