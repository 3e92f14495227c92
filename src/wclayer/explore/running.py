"""Runs the explorer on the terminal of the process, and ends it with the terminal."""

from __future__ import annotations

import contextlib
import gc
import os
import select
import sys
import threading

from wclayer.errors import LayerError
from wclayer.explore.app import ExploreApp
from wclayer.explore.model.explored import Explorable

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
"""Seconds in which the program may end by itself after its terminal has gone."""


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
    from it or to write to it would wait for ever.
    """
    app = ExploreApp(explored)
    sys.setswitchinterval(_SWITCH)
    # What is loaded stays. The collector of garbage would look at it again and again, and all threads would wait.
    gc.freeze()
    ended = threading.Event()
    if sys.stdin.isatty() or "TEXTUAL_DRIVER" in os.environ:
        threading.Thread(target=_watch, args=(app, ended), daemon=True, name="explore-terminal").start()
    try:
        app.run()
    finally:
        app.close()
        ended.set()
    return app.return_code or 0


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
    # The program itself may be waiting for the terminal already, and does not answer then.
    threading.Thread(target=_ask_to_end, args=(app,), daemon=True, name="explore-end").start()
    if not ended.wait(_GRACE):
        with contextlib.suppress(LayerError):
            app.explored.close()
        os._exit(_HANGUP)


def _ask_to_end(app: ExploreApp) -> None:
    with contextlib.suppress(RuntimeError):
        app.call_from_thread(app.exit, None, _HANGUP)
