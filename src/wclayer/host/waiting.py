"""Waits for a resource that another process holds for a moment."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

_PAUSE = 0.01

T = TypeVar("T")


def retry(attempt: Callable[[], T], *, patience: float, busy: type[OSError] = BlockingIOError) -> T:
    """Calls `attempt` again as long as it raises `busy`, and returns its result.

    Args:
        patience: for how many seconds `attempt` is repeated; at least one call is made.
        busy: the class of the error of an attempt that may succeed later.

    Raises:
        OSError: the `busy` error of the last attempt.
    """
    end = time.monotonic() + patience
    while True:
        try:
            return attempt()
        except busy:
            if time.monotonic() >= end:
                raise
        time.sleep(_PAUSE)
