"""Tells which thread has which name: Python itself tells the system so only from 3.14 on.

`benchmarks.occupancy` puts this folder on the path of the Python processes that it looks at. Each thread appends a line
to the file that `WCLAYER_THREAD_NAMES` names: the number that the system knows it by, and its name in Python.
"""

import os
import threading
from typing import Any

_run: Any = threading.Thread.run


def _tell_and_run(thread: threading.Thread) -> None:
    with open(os.environ["WCLAYER_THREAD_NAMES"], "a", encoding="utf-8") as file:
        file.write(f"{threading.get_native_id()} {thread.name}\n")
    _run(thread)


if "WCLAYER_THREAD_NAMES" in os.environ:
    # By name: a method of another module's class is replaced on purpose.
    setattr(threading.Thread, "run", _tell_and_run)  # noqa: B010
