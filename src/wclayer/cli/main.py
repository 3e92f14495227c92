"""The entry point: how the process begins and ends.

The verbs are loaded inside of `main`, so that an interrupt at any moment is one line and not a traceback.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any

_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command and exits; every error is one line on the error stream.

    Args:
        arguments: what follows the command's name; by default, what the process was given.
    """
    try:
        # While modules are loaded, nothing is begun that could be left half done.
        usual = _at_interrupt(_stop_at_once)
        _replace_closed_streams()
        from wclayer.cli.verbs import run

        _at_interrupt(usual)
        status = run(arguments)
    except KeyboardInterrupt:
        status = _say_interrupted()
    # The work is done and its status is known: an interrupt from here on could only add a traceback.
    _at_interrupt(signal.SIG_IGN)
    sys.exit(status)


def _at_interrupt(handler: Any) -> Any:
    """Sets what SIGINT does and returns what it did before; a process that ignores SIGINT goes on to do so."""
    known = signal.getsignal(signal.SIGINT)
    if known not in (signal.SIG_IGN, None):
        with contextlib.suppress(ValueError):  # only the main thread can set it
            signal.signal(signal.SIGINT, handler)
    return known


def _say_interrupted() -> int:
    with contextlib.suppress(OSError):
        os.write(2, b"wclayer: interrupted\n")
    return _INTERRUPTED


def _stop_at_once(*_: object) -> None:
    os._exit(_say_interrupted())


def _replace_closed_streams() -> None:
    """Gives a process that was started without a standard stream one that fails when it is used; messages are lost.

    Otherwise the next file that is opened gets the stream's descriptor, and what a child process prints goes into it.
    """
    for usual, name, access in ((0, "stdin", os.O_WRONLY), (1, "stdout", os.O_RDONLY), (2, "stderr", os.O_RDWR)):
        if getattr(sys, name) is None:
            # The lowest free descriptor is given: the stream's own, if nothing else has it.
            descriptor = os.open(os.devnull, access)
            os.set_inheritable(descriptor, descriptor == usual)
            stream = os.fdopen(descriptor, "r" if name == "stdin" else "w", encoding="utf-8", closefd=False)
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)
