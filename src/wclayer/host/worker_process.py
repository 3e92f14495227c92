"""Starts worker processes: programs that import nothing of the package, and begin to work in a few milliseconds."""

from __future__ import annotations

import fcntl
import inspect
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from types import ModuleType

from wclayer.host.interpreter import python_program

assert sys.platform == "linux"

_STREAMS = 3
"""The descriptors below are the standard streams of a new process."""
_ERROR_STREAM = 2
_OF_ITS_CALLER = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""What a terminal, a service manager or `timeout` sends to a whole group: the caller decides what it means."""
_PATIENCE = 10.0
"""Seconds that a worker may take to start."""


class CannotStartError(Exception):
    """No worker starts here: there is no Python for it, or the host starts no process. The work is done without it."""


def start_worker(
    program: ModuleType,
    fds: Sequence[int],
    words: Sequence[str] = (),
    *,
    held: Sequence[int] = (),
    stdin: int,
    stdout: int,
) -> subprocess.Popen[bytes]:
    """Starts a program that sees neither interrupts nor requests to end: whoever has started it ends it.

    `await_ready` tells whether it works.

    Args:
        program: the module of the program.
        fds: descriptors that it gets; its first words are their numbers in the new process.
        words: its further words. Behind them is the number of the descriptor that becomes its error stream when it
            works: until then, nobody sees what another program, or a Python that cannot start, says there.
        held: descriptors that it only holds open, for their locks.
        stdin, stdout: its standard streams (see `subprocess.Popen`).

    Raises:
        CannotStartError: no process was started.
    """
    python = python_program()
    if python is None:
        raise CannotStartError("the running Python is a part of another program")
    try:
        return _start(python, program, fds, words, held, stdin, stdout)
    except OSError as error:
        raise CannotStartError(str(error)) from error


def await_ready(fd: int, word: bytes) -> None:
    """Waits until a worker says that it works.

    Args:
        fd: where its answers come from.
        word: what it says first.

    Raises:
        CannotStartError: it has ended, is another program, or takes too long.
    """
    answers = select.poll()
    answers.register(fd, select.POLLIN)
    end = time.monotonic() + _PATIENCE
    said = b""
    while said != word:
        if not answers.poll(max(0.0, end - time.monotonic()) * 1000):
            raise CannotStartError(f"it has said nothing for {_PATIENCE:g} s")
        more = os.read(fd, len(word) - len(said))
        said += more
        if not more or not word.startswith(said):
            raise CannotStartError("it is another program, or has ended at once")


def _start(
    python: str,
    program: ModuleType,
    fds: Sequence[int],
    words: Sequence[str],
    held: Sequence[int],
    stdin: int,
    stdout: int,
) -> subprocess.Popen[bytes]:
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
        try:
            errors = above_streams(_ERROR_STREAM)
        except OSError:
            # The process has no error stream.
            errors = os.open(os.devnull, os.O_WRONLY)
            stack.callback(os.close, errors)
        path = program.__file__
        # In a zip, the module is no file of the host.
        source = [path] if path is not None and os.path.isfile(path) else ["-c", inspect.getsource(program)]
        # Isolated and without site: it starts in a few milliseconds, whatever the caller's environment is.
        command = [python, "-I", "-S", *source, *map(str, given), *words, str(errors)]
        # It inherits what is blocked. If it ignored interrupts itself, one would come before that, while it starts.
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, _OF_ITS_CALLER)
        try:
            return subprocess.Popen(
                command, stdin=stdin, stdout=stdout, stderr=subprocess.DEVNULL, bufsize=0,
                pass_fds=[*given, *kept, errors],
            )  # fmt: skip
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
