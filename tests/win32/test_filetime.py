"""FILETIMEs: exact both ways, in the spelling of Go's PAX writer."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wclayer.win32 import filetime
from wclayer.win32.attributes import FileAttributes, FileBasicInfo

_times = st.integers(0, filetime.MAX_FILETIME)


@given(_times)
def test_decimal_seconds_are_exact(time: int) -> None:
    text = filetime.to_decimal_seconds(time)
    assert filetime.from_decimal_seconds(text) == time
    assert Decimal(text) * 10_000_000 == time - filetime.UNIX_EPOCH


@given(_times)
def test_unix_nanoseconds_are_exact(time: int) -> None:
    assert filetime.from_unix_ns(filetime.to_unix_ns(time)) == time


@pytest.mark.parametrize(
    ("time", "text"),
    [
        (filetime.UNIX_EPOCH, "0"),
        (filetime.UNIX_EPOCH + 1, "0.0000001"),
        (filetime.UNIX_EPOCH - 1, "-0.0000001"),
        (filetime.UNIX_EPOCH - 5_000_000, "-0.5"),
        (132313303292205695, "1586856729.2205695"),
        (132313303292205000, "1586856729.2205"),
        (0, "-11644473600"),
    ],
)
def test_spelling(time: int, text: str) -> None:
    assert filetime.to_decimal_seconds(time) == text
    assert filetime.from_decimal_seconds(text) == time


def test_digits_finer_than_100_ns_are_dropped() -> None:
    """Towards 1970, as go-winio does it: before that, Windows' own tools and ours agree."""
    assert filetime.from_decimal_seconds("1.12345678") == filetime.UNIX_EPOCH + 11_234_567
    assert filetime.from_decimal_seconds("-1.12345678") == filetime.UNIX_EPOCH - 11_234_567
    assert filetime.from_decimal_seconds("-1.00000005") == filetime.UNIX_EPOCH - 10_000_000


@pytest.mark.parametrize("text", ["", ".", "1e5", "nan", "1.2.3", "0x1", "1_0", "--1", "9" * 16, "-11644473601", "１"])
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"seconds|time"):
        filetime.from_decimal_seconds(text)


def test_iso_has_all_seven_digits() -> None:
    assert filetime.to_iso(132313303292205695) == "2020-04-14T09:32:09.2205695Z"
    assert filetime.to_iso(filetime.MAX_FILETIME) == f"filetime:{filetime.MAX_FILETIME}"


def test_a_listed_time_is_as_long_as_any_other() -> None:
    assert filetime.to_listed(132313303292205695) == "2020-04-14 09:32:09"
    assert filetime.to_listed(filetime.MAX_FILETIME) == f"filetime:{filetime.MAX_FILETIME}"[:19]


@given(_times)
def test_a_datetime_is_the_time_cut_to_microseconds(time: int) -> None:
    moment = filetime.to_datetime(time)
    if moment.year < 9999:
        assert filetime.to_iso(time)[:26] == f"{moment:%Y-%m-%dT%H:%M:%S.%f}"
        assert filetime.to_listed(time) == f"{moment:%Y-%m-%d %H:%M:%S}"
    assert moment.utcoffset() == timedelta(0)


def test_basic_info_has_its_times_and_attributes_in_python_s_types() -> None:
    info = FileBasicInfo(0x21, 0, filetime.UNIX_EPOCH, filetime.UNIX_EPOCH + 10_000_019, filetime.MAX_FILETIME)
    assert info.created == datetime(1601, 1, 1, tzinfo=UTC)
    assert info.accessed == datetime(1970, 1, 1, tzinfo=UTC)
    assert info.written == datetime(1970, 1, 1, 0, 0, 1, 1, tzinfo=UTC)
    assert info.changed == datetime.max.replace(tzinfo=UTC)
    assert info.flags == FileAttributes.READONLY | FileAttributes.ARCHIVE
