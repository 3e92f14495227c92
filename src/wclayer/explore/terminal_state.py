"""What the terminal was before the explorer, to leave it so when it reads nothing any more."""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
from contextlib import suppress

_LEAVE = (
    b"\x18\x1b[?1000l\x1b[?1003l\x1b[?1015l\x1b[?1006l\x1b[?2004l\x1b[?1004l\x1b[?7h\x1b[<u\x1b[?1049l\x1b[?25h\r\n"
)
"""Ends all that the explorer has asked a terminal for, after a control that ends what was written in part."""

_WRITER = "textual-output"
"""The name of the thread of Textual that writes to the terminal."""
NUDGE = getattr(signal, "SIGURG", signal.SIGTERM)
"""The signal that interrupts it: one that does nothing. Windows has none, and needs none."""


class TerminalState:
    """The state of the terminal of the process, if it has one."""

    def __init__(self) -> None:
        # Textual puts something else in the place of the standard streams.
        self._streams = (sys.stdin.fileno(), sys.stdout.fileno()) if sys.stdin.isatty() else None
        if sys.platform != "win32" and self._streams is not None:
            import termios

            self._attributes = termios.tcgetattr(self._streams[0])

    def skip(self) -> None:
        """Throws away what was written and not read yet, so that the thread that waits to write goes on."""
        if sys.platform != "win32" and self._streams is not None:
            import termios

            with suppress(OSError, termios.error):
                termios.tcflush(self._streams[1], termios.TCOFLUSH)
                for thread in threading.enumerate():
                    if thread.name == _WRITER and thread.ident is not None:
                        # It looks anew whether there is room only when something interrupts it.
                        signal.pthread_kill(thread.ident, NUDGE)

    def restore(self, *, is_free: bool) -> None:
        """Leaves the terminal as it was, without waiting for it.

        Args:
            is_free: whether nobody writes to it any more. Otherwise the screen stays as it is.
        """
        if sys.platform == "win32" or self._streams is None:
            return
        import termios

        read, written = self._streams
        with suppress(OSError, termios.error):
            termios.tcsetattr(read, termios.TCSANOW, self._attributes)
            if is_free:
                termios.tcflush(written, termios.TCOFLUSH)
                if select.select([], [written], [], 0)[1]:
                    os.write(written, _LEAVE)
