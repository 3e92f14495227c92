"""The used bytes and the capacity of a scratch's disk."""

from __future__ import annotations

import threading
from time import monotonic

from wclayer.errors import DiskFullError
from wclayer.layers.directory.scratch import DISK, ScratchDirectory

_OLD_SECONDS = 0.25
"""The maximal age of the sum when other processes change the scratch, too."""


class Quota:
    """Counts the bytes of contents in a scratch as contents are added and removed."""

    def __init__(self, scratch: ScratchDirectory) -> None:
        self._scratch = scratch
        self._lock = threading.Lock()
        self._used: int | None = None
        self._is_old, self._counted = False, 0.0
        # The scratch of a build has none, and never gets one.
        self._has_disk = (scratch.path / DISK).exists()
        self._capacity: int | None = None

    @property
    def capacity(self) -> int | None:
        """The bytes of contents for which the scratch's disk has room; None if there is no readable disk."""
        if self._capacity is None and self._has_disk:
            # Views that only read do not load the formats of disks.
            from wclayer.layers.volume.capacity import scratch_capacity

            self._capacity = scratch_capacity(self._scratch.path)
        return self._capacity

    @property
    def used(self) -> int:
        """The bytes of contents in the scratch."""
        if self._used is None or (self._is_old and monotonic() - self._counted > _OLD_SECONDS):
            self._used = self._scratch.used()
            self._is_old, self._counted = False, monotonic()
        return self._used

    def reserve(self, size: int) -> None:
        """Counts bytes that contents are about to take.

        Raises:
            DiskFullError: the disk has no room for them.
        """
        with self._lock:
            used, capacity = self.used, self.capacity
            if capacity is not None and used + size > capacity:
                raise DiskFullError(
                    self._scratch.path, f"{size} bytes more than the {used} in use do not fit into {capacity}"
                )
            self._used = used + size

    def release(self, size: int) -> None:
        """Counts bytes that contents no longer take."""
        with self._lock:
            self._used = max(0, self.used - size)

    def note_others(self) -> None:
        """Marks the sum as old, so that it is counted again, because another process has changed the scratch."""
        self._is_old = True

    def forget(self) -> None:
        """Drops the sum, because counted changes were rolled back."""
        with self._lock:
            self._used = None
