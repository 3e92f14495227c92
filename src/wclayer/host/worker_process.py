"""Starts worker processes: programs that import nothing of the package, and begin to work in a few milliseconds."""

from __future__ import annotations

import fcntl
import inspect
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from types import ModuleType

assert sys.platform == "linux"

_STREAMS = 3
"""The descriptors below are the standard streams of a new process."""


def start_worker(
    program: ModuleType,
    fds: Sequence[int],
    words: Sequence[str] = (),
    *,
    held: Sequence[int] = (),
    stdin: int,
    stdout: int,
) -> subprocess.Popen[bytes]:
    """Starts a program that does not see interrupts: whoever has started it ends it.

    Args:
        program: the module of the program.
        fds: descriptors that it gets; its first words are their numbers in the new process.
        words: its further words.
        held: descriptors that it only holds open, for their locks.
        stdin, stdout: its standard streams (see `subprocess.Popen`).

    Raises:
        OSError: the host starts no process.
    """
    with ExitStack() as stack:

        def above_streams(fd: int) -> int:
            # A process without standard streams has other files there, and the new one has its streams in their place.
            if fd >= _STREAMS:
                return fd
            copy = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _STREAMS)
            stack.callback(os.close, copy)
            return copy

        given = [above_streams(fd) for fd in fds]
        kept = [above_streams(fd) for fd in held]
        path = program.__file__
        # In a zip, the module is no file of the host.
        source = [path] if path is not None and os.path.isfile(path) else ["-c", inspect.getsource(program)]
        # Isolated and without site: it starts in a few milliseconds, whatever the caller's environment is.
        command = [sys.executable or "", "-I", "-S", *source, *map(str, given), *words]
        # It inherits what is blocked. If it ignored interrupts itself, one would come before that, while it starts.
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        try:
            return subprocess.Popen(command, stdin=stdin, stdout=stdout, bufsize=0, pass_fds=[*given, *kept])
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
