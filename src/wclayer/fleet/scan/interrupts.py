"""How a scan on processes of this machine is ended from outside, and what that may not break: their start and end."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker

_ENDS = ("SIGTERM", "SIGHUP")
"""The signals of a service manager and of a terminal that is closed. Windows has no SIGHUP."""


@contextmanager
def ends_interrupt() -> Iterator[None]:
    """Lets each signal that asks a process to end interrupt the context as Ctrl-C does: what was started is ended, and
    temporary folders are removed. A signal that the process ignores or handles (nohup) stays so."""
    known = [
        getattr(signal, name)
        for name in _ENDS
        if threading.current_thread() is threading.main_thread()
        and hasattr(signal, name)
        and signal.getsignal(getattr(signal, name)) == signal.SIG_DFL
    ]
    for number in known:
        signal.signal(number, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        yield
    finally:
        for number in known:
            signal.signal(number, signal.SIG_DFL)


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
