"""Waits for what another process has for a moment."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

_PAUSE = 0.01

T = TypeVar("T")


def retry(attempt: Callable[[], T], *, patience: float, busy: type[OSError] = BlockingIOError) -> T:
    """Returns what `attempt` returns, which is called again while it raises `busy`.

    Args:
        patience: for how many seconds it is called again; at least one call is made.
        busy: the error of an attempt that may succeed later.

    Raises:
        OSError: the `busy` of the last attempt.
    """
    end = time.monotonic() + patience
    while True:
        try:
            return attempt()
        except busy:
            if time.monotonic() >= end:
                raise
        time.sleep(_PAUSE)
