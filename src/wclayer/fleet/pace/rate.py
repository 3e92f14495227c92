"""`Rate`: a number of requests in a time, as a user writes it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from wclayer.errors import InvalidParameterError

_TEXT = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)(?:/(s|m|h))?", re.ASCII)
_SECONDS = {"s": 1, "m": 60, "h": 3600}
_LONGEST = 3600.0
"""The seconds between two requests that are accepted."""


@dataclass(frozen=True, slots=True)
class Rate:
    """How many requests may be sent.

    Attributes:
        interval: the seconds from one request to the next; 0 for any number of requests.
    """

    interval: float = 0.0


def parse_rate(text: str | None) -> Rate:
    """Returns the rate that a text means.

    Args:
        text: "20" or "20/s" (requests in a second), "500/m" (in a minute), "5000/h" (in an hour); None for any number.

    Raises:
        InvalidParameterError: it is none of these, or less than one request in an hour.
    """
    if text is None:
        return Rate()
    found = _TEXT.fullmatch(text.strip())
    count = float(found[1]) if found else 0.0
    if found is None or not count or (interval := _SECONDS[found[2] or "s"] / count) > _LONGEST:
        raise InvalidParameterError(
            text[:80] or "''",
            "is no number of requests; write 20 (in a second), 500/m (in a minute) or 5000/h (in an hour)",
        )
    return Rate(interval)
