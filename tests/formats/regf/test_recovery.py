"""Dirty hives become what Windows made of them."""

from __future__ import annotations

import random
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.formats.regf.support import facts_of, hive_bytes, reread, simple_tree
from wclayer.formats.regf import structs
from wclayer.formats.regf.hive import Hive
from wclayer.formats.regf.model import RegfError, TreeKey, Value
from wclayer.formats.regf.recovery import is_dirty, marvin32, recover
from wclayer.formats.regf.writer import write_hive


def _logs(name: str) -> list[bytes]:
    return [hive_bytes(f"{name}.LOG1"), hive_bytes(f"{name}.LOG2")]


@pytest.mark.parametrize(
    ("dirty", "recovered"),
    [
        ("NewDirtyHive1.NewDirtyHive", "NewDirtyHive1.RecoveredHive_Windows10"),
        ("OldDirtyHive.OldDirtyHive", "OldDirtyHive.RecoveredHive_Windows7"),
    ],
)
def test_a_recovered_hive_is_windows_own(dirty: str, recovered: str) -> None:
    data = hive_bytes(dirty)
    assert is_dirty(data)
    assert Hive(data).is_dirty
    ours, theirs = recover(data, _logs(dirty)), hive_bytes(recovered)
    assert not Hive(ours).is_dirty
    assert facts_of(reread(ours)) == facts_of(reread(theirs)) != facts_of(reread(data))
    if dirty.startswith("New"):
        assert ours[4096:] == theirs[4096:]
        assert Hive(ours).base[1:3] == Hive(theirs).base[1:3]


def test_the_order_of_the_logs_does_not_matter() -> None:
    name = "NewDirtyHive1.NewDirtyHive"
    assert recover(hive_bytes(name), _logs(name)) == recover(hive_bytes(name), _logs(name)[::-1])


def test_only_the_log_that_follows_is_applied() -> None:
    name = "NewDirtyHive2.NewDirtyHive"
    ours = recover(hive_bytes(name), _logs(name))
    assert Hive(ours).base.primary_sequence == 6
    assert recover(hive_bytes(name), _logs(name)[1:]) == ours
    with pytest.raises(RegfError, match="none of its 1 logs"):
        recover(hive_bytes(name), _logs(name)[:1])


def test_real_logs_bring_keys() -> None:
    data = hive_bytes("transactions_NTUSER.DAT")
    logs = [hive_bytes("transactions_ntuser.dat.log1"), hive_bytes("transactions_ntuser.dat.log2")]
    before, after = facts_of(reread(data)), facts_of(reread(recover(data, logs)))
    assert len(before) == 2590
    assert len(after) == 3105


def test_a_clean_hive_stays_as_it_is() -> None:
    data = hive_bytes("OldDirtyHive.RecoveredHive_Windows7")
    assert recover(data, _logs("OldDirtyHive.OldDirtyHive")) is data


def test_a_dirty_hive_without_logs_is_an_error() -> None:
    data = hive_bytes("NewDirtyHive1.NewDirtyHive")
    with pytest.raises(RegfError, match="has no logs"):
        recover(data, [])
    with pytest.raises(RegfError, match="none of its 2 logs"):
        recover(data, [b"", bytes(5000)])


@pytest.mark.parametrize("name", ["NewDirtyHive1.NewDirtyHive", "OldDirtyHive.OldDirtyHive"])
def test_a_base_block_that_was_lost_comes_from_the_log(name: str) -> None:
    data = bytearray(hive_bytes(name))
    data[12:508] = bytes(496)
    ours = recover(bytes(data), _logs(name))
    assert not Hive(ours).is_dirty
    assert facts_of(reread(ours))


@pytest.mark.parametrize(
    ("seed", "data", "expected"),
    [
        # Of Microsoft's own tests of its Marvin32 (dotnet/runtime, MarvinTests).
        (0x004FB61A001BDBCC, "", 0x30ED35C100CD3C7D),
        (0x004FB61A001BDBCC, "AF", 0x48E73FC77D75DDC1),
        (0x004FB61A001BDBCC, "E70F", 0xB5F6E1FC485DBFF8),
        (0x004FB61A001BDBCC, "37F495", 0xF0B07C789B8CF7E8),
        (0x004FB61A001BDBCC, "8642DC59", 0x7008F2E87E9CF556),
        (0x004FB61A001BDBCC, "153FB79826", 0xE6C08C6DA2AFA997),
    ],
)
def test_marvin32(seed: int, data: str, expected: int) -> None:
    assert marvin32(bytes.fromhex(data), seed) == expected


def _new_log(base: bytes, sequence: int, pages: list[tuple[int, bytes]], bins_size: int) -> bytes:
    """A log file in the new format with one entry."""
    head = bytearray(base[:512])
    struct.pack_into("<II", head, 4, sequence, sequence)
    struct.pack_into("<I", head, 28, structs.FILE_TYPE_NEW_LOG)
    structs.BASE_CHECKSUM.pack_into(head, 508, structs.checksum(bytes(head[:508])))
    body = b"".join(structs.PAGE_REFERENCE.pack(offset, len(data)) for offset, data in pages)
    body += b"".join(data for _, data in pages)
    size = -(-(40 + len(body)) // 512) * 512
    body = body.ljust(size - 40, b"\0")
    fields = (b"HvLE", size, 0, sequence, bins_size, len(pages))
    first = struct.pack("<4sIIIIIQ", *fields, marvin32(body))
    return bytes(head) + first + struct.pack("<Q", marvin32(first)) + body


def _dirty_pair() -> tuple[bytes, bytes, bytes]:
    """A hive, what it became, and the log between them."""
    before = write_hive(simple_tree())
    tree = simple_tree()
    child = tree.subkey("child")
    assert isinstance(child, TreeKey)
    child.set(Value("new", 3, bytes(30_000)))
    after = write_hive(tree)
    pages = [
        (offset - 4096, after[offset : offset + 4096])
        for offset in range(4096, len(after), 4096)
        if after[offset : offset + 4096] != before[offset : offset + 4096]
    ]
    dirty = bytearray(before)
    struct.pack_into("<II", dirty, 4, 2, 1)
    structs.BASE_CHECKSUM.pack_into(dirty, 508, structs.checksum(bytes(dirty[:508])))
    return bytes(dirty), after, _new_log(before, 1, pages, len(after) - 4096)


def test_a_hive_grows_by_its_log() -> None:
    dirty, after, log = _dirty_pair()
    assert len(after) > len(dirty)
    recovered = recover(dirty, [log])
    assert facts_of(reread(recovered)) == facts_of(reread(after))
    assert recovered[4096:] == after[4096:]


@given(st.lists(st.tuples(st.integers(0, 100_000), st.integers(0, 255)), min_size=1, max_size=4))
def test_a_damaged_log_is_applied_as_far_as_it_is_sound(damage: list[tuple[int, int]]) -> None:
    dirty, _, log = _PAIR
    broken = bytearray(log)
    for position, byte in damage:
        broken[position % len(broken)] = byte
    try:
        recovered = recover(dirty, [bytes(broken)])
    except RegfError:
        return
    assert not Hive(recovered).is_dirty


_PAIR = _dirty_pair()


def test_damaged_real_logs_never_crash() -> None:
    source = random.Random(5)
    for name in ("NewDirtyHive1.NewDirtyHive", "OldDirtyHive.OldDirtyHive"):
        data, logs = hive_bytes(name), _logs(name)
        for _ in range(30):
            broken = [bytearray(log) for log in logs]
            for log in broken:
                for _ in range(4):
                    if log:
                        log[source.randrange(min(len(log), 1200))] = source.randrange(256)
            try:
                recover(data, [bytes(log) for log in broken])
            except RegfError:
                pass
