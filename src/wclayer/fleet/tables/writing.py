"""`sole_writer`: sees to it that one scan at a time writes to a place.

A folder of this machine has a lock, which ends with the process. At a URL there are no locks: a scan writes a note, and
renews it while it runs. Two scans that begin in the same moment may both go on there. What they write is whole
nevertheless, and the next scan makes good what they took from each other.
"""

from __future__ import annotations

import json
import os
import platform
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from wclayer.errors import FormatError, LayerBusyError, LayerError, PathNotFoundError, errors_at
from wclayer.images.json_view import parse_json
from wclayer.layers.atomic import make_folder, wait_for_place
from wclayer.layers.object_folder import ObjectFolder

NOTE = "scan.json"
_EVERY, _LASTS = 60.0, 300
"""Seconds after which a note is renewed, and for which it counts. Clocks of machines may differ by the difference."""
_MOST = 1 << 16


class _Note(NamedTuple):
    """Which scan writes to the place, and its last sign of life, in seconds since 1970."""

    scan: str
    host: str
    process: int
    renewed: int


@contextmanager
def sole_writer(folder: ObjectFolder) -> Iterator[None]:
    """A context manager: no other scan writes to the place meanwhile.

    Raises:
        LayerBusyError: another scan does.
    """
    if folder.path is not None:
        with _locked(folder.path):
            yield
        return
    scan = secrets.token_hex(8)
    _check_free(folder)
    _renew(folder, scan)
    end = threading.Event()
    thread = threading.Thread(target=_keep_renewed, args=(folder, scan, end), daemon=True)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()
        with suppress(LayerError):
            found = _read(folder)
            if found is not None and found.scan == scan:
                folder.remove(NOTE)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with errors_at(path):
        make_folder(path, parents=True)
    lock = wait_for_place(path, patience=0, busy="another scan is writing to it; wait until it has ended")
    try:
        yield
    finally:
        lock.close()


def _check_free(folder: ObjectFolder) -> None:
    found = _read(folder)
    age = 0 if found is None else int(time.time()) - found.renewed
    if found is not None and abs(age) < _LASTS:
        raise LayerBusyError(
            folder.url,
            f"the scan of process {found.process} on {found.host} is writing to it, and gave a sign {age} s ago: wait"
            f" until it has ended; if it was killed, try again in {_LASTS - age} s",
        )


def _read(folder: ObjectFolder) -> _Note | None:
    """Returns the note; None if there is none, or a damaged one."""
    try:
        with folder.open(NOTE) as stream:
            view = parse_json(stream.read(_MOST), NOTE)
        return _Note(view.text("scan"), view.text("host"), view.number("process"), view.number("renewed"))
    except (PathNotFoundError, FormatError):
        return None


def _renew(folder: ObjectFolder, scan: str) -> None:
    note = _Note(scan, platform.node(), os.getpid(), int(time.time()))
    with folder.new_file(NOTE) as stream:
        stream.write(json.dumps(note._asdict()).encode())


def _keep_renewed(folder: ObjectFolder, scan: str, end: threading.Event) -> None:
    while not end.wait(_EVERY):
        # A store that cannot be reached now may be reached in a minute.
        with suppress(LayerError):
            _renew(folder, scan)
