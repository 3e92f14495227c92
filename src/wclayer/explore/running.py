"""Runs the explorer on the terminal of the process, and ends it with the terminal."""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType

from wclayer.errors import LayerError
from wclayer.explore.app import ExploreApp
from wclayer.explore.model.explored import Explorable
from wclayer.explore.terminal_state import NUDGE, TerminalState

_LOOK = 0.5
"""Seconds between two looks at the terminal."""
_HANGUP = 128 + 1
"""The exit status of a process that SIGHUP ends."""
_MOST_FILES = 16_384
"""More than the files of two chains of the longest kind, which are opened by each thread."""
_SWITCH = 0.0005
"""Seconds for which a thread may compute while another one waits to: the one that answers keys waits for others,
several times for each key."""
_GRACE = 3.0
"""Seconds in which the program may end by itself: it may be waiting for a terminal that has gone, or does not read."""
_AGAIN = 0.05
"""Seconds until a program that does not run yet is asked again to end."""


def allow_many_files() -> None:
    """Raises the number of files that the process may open, as far as the host allows: each thread opens all layers."""
    if sys.platform != "win32":
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        most = _MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_FILES)
        if soft != resource.RLIM_INFINITY and soft < most:
            with contextlib.suppress(OSError, ValueError):
                resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def run(explored: Explorable) -> int:
    """Shows what is explored until the user ends it, and returns the exit status.

    If the terminal goes away, or the pipe of the program that stands for one, the process ends: whoever waits to read
    from it or to write to it would wait for ever. If the process is asked to end, it ends as by the key q, so that the
    terminal is as it was; also if the terminal reads nothing.
    """
    app = ExploreApp(explored)
    sys.setswitchinterval(_SWITCH)
    # What is loaded stays. The collector of garbage would look at it again and again, and all threads would wait.
    gc.freeze()
    left, ended = threading.Event(), threading.Event()
    if sys.stdin.isatty() or "TEXTUAL_DRIVER" in os.environ:
        threading.Thread(target=_watch, args=(app, ended), daemon=True, name="explore-terminal").start()
    try:
        with _ending_at_signals(app, left):
            app.run()
    finally:
        left.set()
        app.close()
        ended.set()
    return app.return_code or 0


@contextlib.contextmanager
def _ending_at_signals(app: ExploreApp, left: threading.Event) -> Iterator[None]:
    """Inside the context, a request to end is one for the program, which has some time for it.

    Args:
        app: the program.
        left: tells whether it has left the terminal.
    """
    state = TerminalState()
    if sys.platform != "win32":
        signal.signal(NUDGE, _do_nothing)

    def asked(number: int, frame: FrameType | None) -> None:
        # The thread of the program, in which this runs, may be waiting for the terminal.
        threading.Thread(target=_leave, args=(app, left, 128 + number, state), name="explore-signal").start()

    # Windows has no SIGHUP.
    numbers = {signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)}
    before = {number: signal.signal(number, asked) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _do_nothing(number: int, frame: FrameType | None) -> None:
    """Handles a signal that is only to interrupt a thread."""


def _watch(app: ExploreApp, ended: threading.Event) -> None:
    """Ends the process when its terminal has gone."""
    if sys.platform == "win32":
        return
    poll = select.poll()
    # Without a kind of event, only the end of the terminal and errors are told.
    poll.register(sys.stdin.fileno(), 0)
    while not ended.wait(_LOOK):
        if any(events & (select.POLLHUP | select.POLLERR) for _, events in poll.poll(0)):
            break
    else:
        return
    _ask(app, ended, _HANGUP)
    if not ended.wait(_GRACE):
        with contextlib.suppress(LayerError):
            app.explored.close()
        os._exit(_HANGUP)


def _leave(app: ExploreApp, left: threading.Event, status: int, state: TerminalState) -> None:
    """Makes the program end, also if its terminal reads nothing.

    Args:
        app: the program.
        left: tells whether it has left the terminal.
        status: the exit status.
        state: what the terminal was.
    """
    _ask(app, left, status)
    if left.wait(_GRACE):
        return
    end = time.monotonic() + _GRACE
    while not left.wait(_AGAIN) and time.monotonic() < end:
        state.skip()
    state.restore(is_free=left.is_set())
    if not left.is_set():
        with contextlib.suppress(LayerError):
            app.explored.close()
        os._exit(status)


def _ask(app: ExploreApp, ended: threading.Event, status: int) -> None:
    """Asks the program to end. It may be waiting for the terminal, and does not answer then."""
    threading.Thread(target=_ask_to_end, args=(app, ended, status), daemon=True, name="explore-end").start()


def _ask_to_end(app: ExploreApp, ended: threading.Event, status: int) -> None:
    while not ended.is_set():
        try:
            app.call_from_thread(app.exit, None, status)
        except RuntimeError:
            # It does not run yet, or no more.
            ended.wait(_AGAIN)
        else:
            return
