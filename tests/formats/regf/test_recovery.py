"""Dirty hives become what Windows made of them."""

from __future__ import annotations

import random
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.formats.regf.craft import dirty, old_log
from tests.formats.regf.support import dirty_pair, metadata_of, new_log, reread, two_states, two_step_logs
from wclayer.formats.regf.hive import Hive
from wclayer.formats.regf.model import RegfError, RegfLimitError
from wclayer.formats.regf.recovery import is_dirty, marvin32, recover


def _logs(form: str) -> list[bytes]:
    before, after = two_states()
    return two_step_logs() if form == "new" else [old_log(before, after), b""]


@pytest.mark.parametrize("form", ["new", "old"])
def test_a_hive_is_recovered_from_its_logs(form: str) -> None:
    before, after = two_states()
    data = dirty(before)
    assert is_dirty(data)
    assert Hive(data).is_dirty
    ours = recover(data, _logs(form))
    assert not Hive(ours).is_dirty
    assert ours[4096:] == after[4096:]
    assert metadata_of(reread(ours)) == metadata_of(reread(after)) != metadata_of(reread(data))
    # The write that ends a recovery has the number after that of the last entry, or of the old log.
    assert Hive(ours).base[1:3] == ((3, 3) if form == "new" else (6, 6))


def test_the_order_of_the_logs_does_not_matter() -> None:
    data = dirty(two_states()[0])
    assert recover(data, _logs("new")) == recover(data, _logs("new")[::-1])


def test_only_the_log_that_follows_is_applied() -> None:
    before, after = two_states()
    past = new_log(before, 0, [(0, bytes(4096))], len(before) - 4096)
    assert recover(dirty(before), [past, *_logs("new")])[4096:] == after[4096:]
    with pytest.raises(RegfError, match="none of its 1 logs"):
        recover(dirty(before), [past])
    # The second entry alone does not say what came before it, but follows what the file holds.
    assert Hive(recover(dirty(before), _logs("new")[:1])).base.primary_sequence == 2


def test_a_clean_hive_stays_as_it_is() -> None:
    _, after = two_states()
    assert recover(after, _logs("old")) is after


def test_a_dirty_hive_without_logs_is_an_error() -> None:
    data = dirty(two_states()[0])
    with pytest.raises(RegfError, match="has no logs"):
        recover(data, [])
    with pytest.raises(RegfError, match="none of its 2 logs"):
        recover(data, [b"", bytes(5000)])


@pytest.mark.parametrize("form", ["new", "old"])
def test_a_base_block_that_was_lost_comes_from_the_log(form: str) -> None:
    data = bytearray(dirty(two_states()[0]))
    data[12:508] = bytes(496)
    # Of two logs, only the latest counts then: the first one here brings the second's pages, too.
    logs = _logs(form)[-1:] if form == "new" else _logs(form)
    ours = recover(bytes(data), logs)
    assert not Hive(ours).is_dirty
    assert metadata_of(reread(ours))


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
    before, after, log = dirty_pair()
    assert len(after) > len(before)
    recovered = recover(before, [log])
    assert metadata_of(reread(recovered)) == metadata_of(reread(after))
    assert recovered[4096:] == after[4096:]


@given(st.lists(st.tuples(st.integers(0, 100_000), st.integers(0, 255)), min_size=1, max_size=4))
def test_a_damaged_log_is_applied_as_far_as_it_is_sound(damage: list[tuple[int, int]]) -> None:
    before, _, log = _PAIR
    broken = bytearray(log)
    for position, byte in damage:
        broken[position % len(broken)] = byte
    try:
        recovered = recover(before, [bytes(broken)])
    except RegfError:
        return
    assert not Hive(recovered).is_dirty


_PAIR = dirty_pair()


def test_damaged_logs_never_crash() -> None:
    source = random.Random(5)
    for form in ("new", "old"):
        data, logs = dirty(two_states()[0]), _logs(form)
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
    before, _, _ = dirty_pair()
    # Each entry says that the hive has gigabytes, and brings one page.
    for bins_size in (256 << 20, (2 << 30) - 4096):
        log = new_log(before, 1, [(0, before[4096:8192])], bins_size)
        tracemalloc.start()
        with pytest.raises(RegfError, match="none of its 1 logs"):
            recover(before, [log])
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 1 << 20


def test_a_hive_larger_than_the_limit_is_not_recovered() -> None:
    before, _, log = dirty_pair()
    with pytest.raises(RegfLimitError, match="hive_size"):
        recover(before, [log], max_size=len(before) - 1)
    with pytest.raises(RegfError, match="none of its 1 logs"):
        recover(before, [log], max_size=len(before) + 4096)
