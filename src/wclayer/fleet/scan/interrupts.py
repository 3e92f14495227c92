"""What an interrupt may not break of a scan on processes of this machine: their start and end."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker


@contextmanager
def interrupts_wait() -> Iterator[None]:
    """Lets an interrupt wait until the end of the context.

    Threads that are started inside never take an interrupt, and neither do processes that these threads start, at any
    time: a terminal sends it to all processes, and this one tells the others to end.

    Raises:
        KeyboardInterrupt: at the end, if an interrupt came.
    """
    came = threading.Event()
    usual = signal.getsignal(signal.SIGINT)
    is_ours = threading.current_thread() is threading.main_thread() and usual not in (signal.SIG_IGN, None)
    if is_ours:
        signal.signal(signal.SIGINT, lambda *_: came.set())
    try:
        with _blocked():
            yield
    finally:
        if is_ours:
            signal.signal(signal.SIGINT, usual)
    if came.is_set():
        raise KeyboardInterrupt


@contextmanager
def _blocked() -> Iterator[None]:
    """Blocks the signal in this thread; threads and processes inherit that."""
    if sys.platform == "win32":
        yield
        return
    # Its start would take the signal out of the mask again.
    resource_tracker.ensure_running()
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
