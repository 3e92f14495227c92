"""Where targets work: a folder of each process, in memory where the host has such a place."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

_MEMORY = "/dev/shm"
_folders: dict[int, Path] = {}


def memory() -> str | None:
    """A folder of the host that is in memory; None, as `tempfile` takes it, where there is none."""
    return _MEMORY if os.access(_MEMORY, os.W_OK) else None


def use(folder: Path) -> None:
    """Says where this process works; whoever made the folder removes it."""
    _folders[os.getpid()] = folder
    tempfile.tempdir = str(folder)


def own() -> Path:
    """The folder of this process; one that is made here is removed at the end of the process."""
    pid = os.getpid()
    if pid not in _folders:
        folder = _folders[pid] = Path(tempfile.mkdtemp(prefix="wclayer-fuzz-", dir=memory()))

        def remove() -> None:
            # Not at the end of a fork.
            if os.getpid() == pid:
                shutil.rmtree(folder, ignore_errors=True)

        atexit.register(remove)
    return _folders[pid]
