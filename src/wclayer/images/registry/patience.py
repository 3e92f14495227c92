"""`in_time`: cuts a connection whose other end takes too long for one step, however steadily its bytes come.

The time limit of a socket holds for each byte alone. One thread watches all connections of the process.
"""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
import time
from collections.abc import Iterator

_LEAST_PAUSE, _PAUSE = 0.02, 0.25
"""The seconds between two looks at the connections."""
TIMES = 2
"""A step may take so many times as long as no byte may come."""


class _Watch:
    """The steps that are under way, each with its end, and the thread that cuts those that are over."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._steps: dict[int, tuple[float, socket.socket]] = {}
        self._numbers = itertools.count()
        self._cut: set[int] = set()
        self._is_running = False

    def begin(self, connection: socket.socket, seconds: float) -> int:
        """Begins a step, and returns its number."""
        with self._changed:
            number = next(self._numbers)
            self._steps[number] = time.monotonic() + seconds, connection
            if not self._is_running:
                self._is_running = True
                threading.Thread(target=self._run, name="wclayer-patience", daemon=True).start()
            return number

    def end(self, number: int) -> bool:
        """Ends a step, and returns whether its connection was cut."""
        with self._changed:
            self._steps.pop(number, None)
            was_cut = number in self._cut
            self._cut.discard(number)
            return was_cut

    def _run(self) -> None:
        while True:
            with self._changed:
                now = time.monotonic()
                for number, (end, connection) in list(self._steps.items()):
                    if end <= now:
                        del self._steps[number]
                        self._cut.add(number)
                        with contextlib.suppress(OSError):
                            connection.shutdown(socket.SHUT_RDWR)
                if not self._steps:
                    self._is_running = False
                    return
                next_end = min(end for end, _ in self._steps.values())
            time.sleep(max(_LEAST_PAUSE, min(next_end - now, _PAUSE)))


_watch = _Watch()


@contextlib.contextmanager
def in_time(connection: socket.socket | None, silence: float | None, what: str) -> Iterator[None]:
    """Cuts a connection if the body of the context takes too long.

    Args:
        connection: its socket; None for one that is closed already.
        silence: for how many seconds no byte may come; None for ever.
        what: what it waits for, for the message.

    Raises:
        TimeoutError: it took too long. An error of the body that the cut has caused is that error.
    """
    if connection is None or silence is None:
        yield
        return
    number = _watch.begin(connection, silence * TIMES)
    try:
        yield
    finally:
        was_cut = _watch.end(number)
    if was_cut:
        # For http.client, what comes ends where the connection does.
        raise TimeoutError(f"{what} comes too slowly")
