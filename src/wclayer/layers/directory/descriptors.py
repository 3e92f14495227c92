"""Security descriptors in `layer.db`, which stores each of them once."""

from __future__ import annotations

import sqlite3

from wclayer.errors import FormatLimitError, limit_hint
from wclayer.layers.cache import Cache


class Descriptors:
    """Finds and adds security descriptors by their number.

    Args:
        connection: the connection to the database.
        max_size: how many bytes of descriptors may be added (`Limits.all_security_size`).
    """

    def __init__(self, connection: sqlite3.Connection, max_size: int) -> None:
        self._database = connection
        self._known: Cache[bytes, int] = Cache()
        self._max_size = max_size
        self._size = 0

    def number(self, descriptor: bytes | None) -> int | None:
        """Returns the number of a descriptor, which is added if it is new.

        Raises:
            FormatLimitError: the descriptors would exceed the limit.
        """
        if descriptor is None:
            return None
        known = self._known.get(descriptor)
        if known is None:
            row = self._database.execute("SELECT id FROM security WHERE descriptor = ?", (descriptor,)).fetchone()
            if row is None:
                self._size += len(descriptor)
                if self._size > self._max_size:
                    raise FormatLimitError(
                        f"more than {self._max_size} bytes of different security descriptors"
                        f" {limit_hint('all_security_size')}"
                    )
                row = (self._database.execute("INSERT INTO security (descriptor) VALUES (?)", (descriptor,)).lastrowid,)
            known = int(row[0])
            self._known.keep(descriptor, known, len(descriptor))
        return known

    def forget(self) -> None:
        """Forgets the numbers of descriptors that a rollback has removed."""
        self._known.forget()
