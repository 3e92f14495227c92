"""The bounds of a run on one input: its time, and the memory that the process may have.

`docs/security.md` promises that memory stays below 256 MiB and time is linear in the bytes read and written. Inputs are
small, so that a bound of seconds is far above what a linear reader needs, also on a busy machine.
"""

from __future__ import annotations

import contextlib
import resource
import signal
from collections.abc import Iterator
from pathlib import Path

SECONDS = 5
"""The most seconds of the processor that a run on one input may take."""
WAITING = 60
"""The most seconds that may pass meanwhile, on a machine that has other work, too."""
MEMORY = 256 << 20
"""The most bytes of memory that a process may have beyond those it starts with."""


class OutOfTimeError(BaseException):
    """A run took longer than its time. No `Exception`: no handler of the package takes it for one of its own."""


def expired(number: int, frame: object) -> None:
    """Handles the signal of a timer: ends the run."""
    raise OutOfTimeError("the run takes longer than its time")


@contextlib.contextmanager
def bounded(seconds: int = SECONDS) -> Iterator[None]:
    """Holds its body to the bounds: after the time it gets `OutOfTimeError`, beyond the memory `MemoryError`."""

    def expire(number: int, frame: object) -> None:
        raise OutOfTimeError(
            f"the run takes longer than {seconds} s of the processor, or waits longer than {WAITING} s"
        )

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    before = [(number, signal.signal(number, expired)) for number in (signal.SIGPROF, signal.SIGALRM)]
    limit_memory()
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.alarm(WAITING)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.alarm(0)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        for number, handler in before:
            signal.signal(number, handler)


def limit_memory(beyond: int = MEMORY) -> None:
    """Limits the address space of this process to what it has now and so many bytes."""
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (_pages(0) + beyond, hard))


def resident() -> int:
    """The bytes of memory that this process has now."""
    return _pages(1)


def _pages(field: int) -> int:
    """A field of /proc/self/statm (proc(5)), in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[field]) * resource.getpagesize()
