"""The entry point: how the process begins and ends.

The verbs are loaded inside `main`, so that an interrupt at any moment prints one line and no traceback.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any

from wclayer._ending import Ending, ends_interrupt

_SIGNALLED = 128
_INTERRUPTED = _SIGNALLED + signal.SIGINT


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command and exits. Each error is one line on the error stream.

    Args:
        arguments: the words after the command's name; by default those of the process.
    """
    ending = Ending()
    interrupted: int | None = None

    def leave() -> None:
        # Python remembers an interrupt that came while it compiled and ran a text, as for a dataclass, and would end
        # itself by SIGINT, whatever the status is. It has nothing left to do when this is called.
        if interrupted is not None:
            os._exit(interrupted)

    if arguments is None:
        # Before all others, so that it is called after them.
        atexit.register(leave)
    try:
        with ends_interrupt(ending):
            # No operation has begun while modules are loaded: the process can stop at once.
            usual = _at_interrupt(lambda *_: os._exit(_status(_say_interrupted(), ending)))
            _replace_closed_streams()
            from wclayer.cli.verbs import run

            _at_interrupt(usual)
            status = run(arguments)
    except KeyboardInterrupt:
        status = _say_interrupted()
    # The work is done and the status is known. An interrupt from here on would only add a traceback.
    _at_interrupt(signal.SIG_IGN)
    if status == _INTERRUPTED:
        status = interrupted = _status(status, ending)
    sys.exit(status)


def _status(status: int, ending: Ending) -> int:
    """Returns the exit status: of an interrupted command, it tells which signal has interrupted it."""
    return _SIGNALLED + ending.signal if status == _INTERRUPTED and ending.signal is not None else status


def _at_interrupt(handler: Any) -> Any:
    """Sets the handler of SIGINT and returns the former one. A process that ignores SIGINT keeps ignoring it."""
    known = signal.getsignal(signal.SIGINT)
    if known not in (signal.SIG_IGN, None):
        with contextlib.suppress(ValueError):  # only the main thread can set it
            signal.signal(signal.SIGINT, handler)
    return known


def _say_interrupted() -> int:
    with contextlib.suppress(OSError):
        os.write(2, b"wclayer: interrupted\n")
    return _INTERRUPTED


def _replace_closed_streams() -> None:
    """Replaces each standard stream that the process does not have by one that fails when it is used.

    Messages to such a stream are lost. Without a replacement, the next file that is opened would get the stream's
    descriptor, and the output of a child process would go into that file.
    """
    for usual, name, access in ((0, "stdin", os.O_WRONLY), (1, "stdout", os.O_RDONLY), (2, "stderr", os.O_RDWR)):
        if getattr(sys, name) is None:
            # The system assigns the lowest free descriptor: the stream's own, unless another file has it.
            descriptor = os.open(os.devnull, access)
            os.set_inheritable(descriptor, descriptor == usual)
            stream = os.fdopen(descriptor, "r" if name == "stdin" else "w", encoding="utf-8", closefd=False)
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)
