"""`Clock`: the time that a build gives to what it makes: the present, or a fixed one for the same bytes on any day."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from time import time_ns

from wclayer.errors import InvalidParameterError
from wclayer.images.config import LATEST, seconds_of
from wclayer.win32.filetime import from_unix_ns

VARIABLE = "SOURCE_DATE_EPOCH"
"""The variable of the environment with the seconds since 1970 (reproducible-builds.org, "SOURCE_DATE_EPOCH")."""
_SECONDS = re.compile(r"\d{1,11}\Z", re.ASCII)
_NS = 10**9


@dataclass(frozen=True, slots=True)
class Clock:
    """The time that a build gives to what it makes.

    Attributes:
        epoch: the seconds since 1970 that replace every later time; None keeps the times.
    """

    epoch: int | None = None

    @classmethod
    def of(cls, *, reproducible: bool, base_created: str = "", environment: Mapping[str, str] | None = None) -> Clock:
        """Returns the clock that a user wants.

        With SOURCE_DATE_EPOCH in the environment, it is that. Otherwise, if the result must be reproducible, it is the
        time when the base image was made, or 1970 without a base image.

        Args:
            reproducible: the same inputs must give the same bytes.
            base_created: when the base image was made, as its configuration writes it; "" if that is unknown.
            environment: the variables; by default those of this process.

        Raises:
            InvalidParameterError: SOURCE_DATE_EPOCH is not a number of seconds.
        """
        text = (os.environ if environment is None else environment).get(VARIABLE, "")
        if text:
            if not _SECONDS.match(text) or int(text) > LATEST:
                raise InvalidParameterError(VARIABLE, f"is {text[:40]!r}, not a number of seconds since 1970")
            return cls(int(text))
        return cls(seconds_of(base_created)) if reproducible else cls()

    @property
    def latest(self) -> int | None:
        """The FILETIME that replaces every later time; None keeps the times."""
        return None if self.epoch is None else from_unix_ns(self.epoch * _NS)

    def now(self) -> str:
        """Returns the present, or the fixed time, as RFC 3339 writes it: for the configuration and the history."""
        ns = time_ns() if self.epoch is None else min(time_ns(), self.epoch * _NS)
        seconds, rest = divmod(ns, _NS)
        fraction = f".{rest:09d}".rstrip("0") if rest else ""
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}{fraction}Z"
