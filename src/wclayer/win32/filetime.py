"""FILETIME: 100 ns intervals since 1601-01-01 00:00 UTC, and its exact conversions.

Source: [MS-DTYP] section 2.3.3. No conversion uses a float, because a float does not hold 100 ns.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import lru_cache

TICKS_PER_SECOND = 10_000_000
UNIX_EPOCH = 116_444_736_000_000_000
"""1970-01-01 00:00 UTC as a FILETIME."""
MAX_FILETIME = 0x7FFF_FFFF_FFFF_FFFF
"""The largest FILETIME: Windows rejects times with the top bit set."""


def from_decimal_seconds(text: str) -> int:
    """Returns the FILETIME of decimal seconds since 1970 as in PAX records ("1667169497.6310847", "-0.5").

    Digits finer than 100 ns are dropped, towards 1970, as go-winio's `NsecToFiletime` does for Windows' own tools.

    Raises:
        ValueError: the text is not a decimal number, or outside of the range of FILETIMEs.
    """
    whole, dot, fraction = text.partition(".")
    digits = whole[1:] if whole[:1] in ("-", "+") else whole
    if not digits.isascii() or not digits.isdigit() or len(digits) > 15:
        raise ValueError(f"not decimal seconds: {text[:40]!r}")
    if dot and fraction and not (fraction.isascii() and fraction.isdigit()):
        raise ValueError(f"not decimal seconds: {text[:40]!r}")
    ticks = int(digits) * TICKS_PER_SECOND + int(fraction[:7].ljust(7, "0"))
    if whole[0] == "-":
        ticks = -ticks
    ticks += UNIX_EPOCH
    if not 0 <= ticks <= MAX_FILETIME:
        raise ValueError(f"time outside 1601..30828: {text[:40]!r}")
    return ticks


def to_decimal_seconds(filetime: int) -> str:
    """Returns decimal seconds since 1970 in the form of Go's PAX writer: up to seven digits, without trailing zeros."""
    seconds, ticks = divmod(filetime - UNIX_EPOCH, TICKS_PER_SECOND)
    if not ticks:
        return str(seconds)
    if seconds < 0:
        return "-" + _decimal(-seconds - 1, TICKS_PER_SECOND - ticks)
    return _decimal(seconds, ticks)


def _decimal(seconds: int, ticks: int) -> str:
    return f"{seconds}.{ticks:07d}".rstrip("0")


def from_unix_ns(nanoseconds: int) -> int:
    """Returns the FILETIME of nanoseconds since 1970 (see `os.stat`), cut to 100 ns and to their range."""
    return min(max(nanoseconds // 100 + UNIX_EPOCH, 0), MAX_FILETIME)


def to_unix_ns(filetime: int) -> int:
    """Returns nanoseconds since 1970, as for `os.utime`."""
    return (filetime - UNIX_EPOCH) * 100


def to_datetime(filetime: int) -> datetime:
    """Returns a FILETIME as a `datetime` in UTC, cut to microseconds.

    For a time before the year 1 or after 9999, it returns the first or the last `datetime`.
    """
    try:
        return datetime(1601, 1, 1, tzinfo=UTC) + timedelta(microseconds=filetime // 10)
    except OverflowError:
        return (datetime.max if filetime > 0 else datetime.min).replace(tzinfo=UTC)


def to_iso(filetime: int) -> str:
    """Returns ISO 8601 in UTC with all seven digits ("2022-10-30T22:38:17.6310847Z"); after 9999, "filetime:N"."""
    seconds, ticks = divmod(filetime, TICKS_PER_SECOND)
    try:
        day, time = _day_and_time(seconds)
    except OverflowError:
        return f"filetime:{filetime}"
    return f"{day}T{time}.{ticks:07}Z"


def to_listed(filetime: int) -> str:
    """Returns a FILETIME as listings show it: in UTC, cut to seconds ("2022-10-30 22:38:17"); after 9999, the beginning
    of "filetime:N", equally long."""
    try:
        day, time = _day_and_time(filetime // TICKS_PER_SECOND)
    except OverflowError:
        return f"filetime:{filetime}"[:19]
    return f"{day} {time}"


def _day_and_time(seconds: int) -> tuple[str, str]:
    """Returns the date and the time of day so many seconds after 1601-01-01 ("2022-10-30", "22:38:17").

    Raises:
        OverflowError: the date is after 9999.
    """
    # Listings show very many times, of few days.
    minutes = seconds // 60
    return _iso_day(minutes // 1440), f"{_clock(minutes % 1440)}:{seconds % 60:02}"


@lru_cache(1024)
def _iso_day(days: int) -> str:
    """Returns the date so many days after 1601-01-01."""
    return (date(1601, 1, 1) + timedelta(days=days)).isoformat()


@lru_cache(1440)
def _clock(minute: int) -> str:
    """Returns the time of a minute of the day ("22:38")."""
    return f"{minute // 60:02}:{minute % 60:02}"
