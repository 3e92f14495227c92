"""`peak_memory`: the most memory of a process, as a program that a test runs tells it."""

from __future__ import annotations

import re
from pathlib import Path


def peak_memory() -> int:
    """Returns the most memory that this process has had, in bytes.

    It is asked of Linux's `/proc`, not of `getrusage`, whose value starts with what the parent had when it forked.
    """
    found = re.search(r"^VmHWM:\s+(\d+) kB$", Path("/proc/self/status").read_text("ascii", "replace"), re.MULTILINE)
    assert found is not None
    return int(found[1]) << 10
