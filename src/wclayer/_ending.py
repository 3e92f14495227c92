"""A request to end, as a service manager or a terminal that closes sends it, interrupts the process as Ctrl-C does."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_ENDS = ("SIGTERM", "SIGHUP")
"""The signals of a service manager and of a terminal that is closed. Windows has no SIGHUP."""


class Ending:
    """Tells what has asked the process to end.

    Attributes:
        signal: the number of the signal; None if there was none.
    """

    signal: int | None = None


@contextmanager
def ends_interrupt(ending: Ending | None = None) -> Iterator[None]:
    """Lets each signal that asks a process to end interrupt the context as Ctrl-C does: what was started is ended, and
    temporary files are removed. A signal that the process ignores (nohup) or handles stays so.

    Where the process ignores Ctrl-C, as in the background of a script, the signal interrupts it nevertheless.

    Args:
        ending: tells of the signal when it has come.
    """
    told = Ending() if ending is None else ending
    usual = signal.getsignal(signal.SIGINT)

    def interrupt(number: int, _: FrameType | None) -> None:
        told.signal = number
        if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        # Not an exception from here: who lets interrupts wait lets this one wait, too.
        signal.raise_signal(signal.SIGINT)

    known = [
        getattr(signal, name)
        for name in _ENDS
        if threading.current_thread() is threading.main_thread()
        and hasattr(signal, name)
        and signal.getsignal(getattr(signal, name)) == signal.SIG_DFL
    ]
    for number in known:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number in known:
            signal.signal(number, signal.SIG_DFL)
        if known and usual == signal.SIG_IGN:
            signal.signal(signal.SIGINT, usual)
