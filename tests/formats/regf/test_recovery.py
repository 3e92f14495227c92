"""Dirty hives become what Windows made of them."""

from __future__ import annotations

import random
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.formats.regf.support import dirty_pair, facts_of, hive_bytes, new_log, reread
from wclayer.formats.regf.hive import Hive
from wclayer.formats.regf.model import RegfError, RegfLimitError
from wclayer.formats.regf.recovery import is_dirty, marvin32, recover


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


def test_a_hive_grows_by_its_log() -> None:
    dirty, after, log = dirty_pair()
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


_PAIR = dirty_pair()


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


def test_a_log_makes_a_hive_no_larger_than_what_it_brings() -> None:
    dirty, _, _ = dirty_pair()
    # Each entry says that the hive has gigabytes, and brings one page.
    for bins_size in (256 << 20, (2 << 30) - 4096):
        log = new_log(dirty, 1, [(0, dirty[4096:8192])], bins_size)
        tracemalloc.start()
        with pytest.raises(RegfError, match="none of its 1 logs"):
            recover(dirty, [log])
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 1 << 20


def test_a_hive_larger_than_the_limit_is_not_recovered() -> None:
    dirty, _, log = dirty_pair()
    with pytest.raises(RegfLimitError, match="hive_size"):
        recover(dirty, [log], max_size=len(dirty) - 1)
    with pytest.raises(RegfError, match="none of its 1 logs"):
        recover(dirty, [log], max_size=len(dirty) + 4096)
