"""Calls of DuckDB that an interrupt ends: DuckDB 2.0.1 does not look for one while it works."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

_Result = TypeVar("_Result")


def interruptible(cursor: Any, call: Callable[..., _Result], *arguments: object) -> _Result:
    """Has a thread call a method of a cursor of DuckDB, and returns its result.

    Raises:
        KeyboardInterrupt: there was an interrupt. The cursor has ended its work.
    """
    with ThreadPoolExecutor(1, "wclayer-query") as pool:
        result = pool.submit(call, *arguments)
        try:
            return result.result()
        except KeyboardInterrupt:
            cursor.interrupt()
            raise
