"""SHA-256 of bytes that a thread of its own hashes, while the caller reads or writes the next ones."""

from __future__ import annotations

import hashlib
from collections import deque
from concurrent.futures import Future

from wclayer.formats.threads import Workers

_AHEAD = 4
"""The number of pieces that wait for the thread."""


class BackgroundHash:
    """A SHA-256 whose updates a thread makes, in their order.

    Args:
        worker: one thread. Several hashes may share it, one after the other.
    """

    def __init__(self, worker: Workers) -> None:
        self._worker = worker
        self._hash = hashlib.sha256()
        self._pending: deque[Future[None]] = deque()

    def update(self, data: bytes) -> None:
        """Hashes bytes, soon. It waits while four pieces before them are not hashed yet.

        Raises:
            OSError: the thread cannot be started.
            MemoryError: the thread has died.
        """
        self._pending.append(self._worker.submit(self._hash.update, data))
        if len(self._pending) > _AHEAD:
            self._worker.result(self._pending.popleft())

    def digest(self) -> bytes:
        """Returns the SHA-256 of all bytes so far, when they are hashed.

        Raises:
            MemoryError: the thread has died.
        """
        self._wait()
        return self._hash.digest()

    def hexdigest(self) -> str:
        """Returns the digest in hexadecimal (see `digest`)."""
        self._wait()
        return self._hash.hexdigest()

    def _wait(self) -> None:
        while self._pending:
            self._worker.result(self._pending.popleft())
