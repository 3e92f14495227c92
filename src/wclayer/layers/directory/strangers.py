"""Files of a layer's folder that belong to no entry."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import suppress

from wclayer.errors import CorruptLayerError, LimitExceededError, errors_at
from wclayer.host import system
from wclayer.layers.directory.database import ROOT, EntryRow
from wclayer.layers.directory.entries import CHILDREN
from wclayer.layers.directory.layer import LayerDirectory
from wclayer.layers.directory.opening import open_layer
from wclayer.layers.directory.problem import Problem
from wclayer.layers.directory.scratch import IN_USE
from wclayer.layers.directory.scratch_layer import ScratchLayer
from wclayer.layers.directory.update import SUBSTITUTE
from wclayer.win32.attributes import DIRECTORY


def find_strangers(layer: LayerDirectory) -> Iterator[Problem]:
    """Yields a problem for each file on the host that belongs to no entry.

    Nothing is reported while another process changes the layer: there may be files that are not part of it yet, or no
    longer.

    Raises:
        PathNotFoundError, LayerBusyError: another process has removed or replaced the layer.
    """
    if isinstance(layer, ScratchLayer):
        found = list(_strange_contents(layer))
        if found and _is_scratch_in_use(layer):
            return
        if found:
            # A process may have made them after the check began, and ended.
            with open_layer(layer.path) as now:
                known = {problem.path for problem in _strange_contents(now)} if isinstance(now, ScratchLayer) else set()
            found = [problem for problem in found if problem.path in known]
    else:
        found = list(_strange_files(layer))
    if found and (changed := layer.changed()) is not None:
        raise changed
    if isinstance(layer, ScratchLayer):
        if not _is_scratch_in_use(layer):
            # A process that replaced contents between the two looks has ended, and has removed the old ones.
            yield from (problem for problem in found if _is_there(layer, problem.path))
    elif found and not _is_locked(layer):
        yield from found


def _is_scratch_in_use(scratch: ScratchLayer) -> bool:
    """Returns whether a process is changing a scratch, or ended without closing it."""
    # Old contents are kept until the records are safe, and are then removed; after a crash, at the next opening.
    return any(name.startswith(IN_USE) for name in scratch.host.names(b""))


def _is_there(scratch: ScratchLayer, path: str) -> bool:
    """Returns whether a scratch's folder still has a file that was listed in it."""
    try:
        scratch.host.stat(os.fsencode(path))
    except FileNotFoundError:
        return False
    return True


def _is_locked(layer: LayerDirectory) -> bool:
    """Returns whether another process is changing a finished layer."""
    with errors_at(layer.path):
        lock = system.Lock(layer.path)
        try:
            lock.take(shared=True)
        except BlockingIOError:
            return True
        except OSError as error:
            # On a file system without locks, layers cannot be changed.
            if error.errno != errno.ENOTSUP:
                raise
        finally:
            lock.close()
    return False


def _strange_contents(layer: ScratchLayer) -> Iterator[Problem]:
    """Yields contents in a scratch's pool that no entry has."""
    known = {layer.host_path(row) for row in layer.entries() if row.host_name is not None}
    for path in layer.pool():
        if path not in known:
            yield Problem(os.fsdecode(path), "is on the host, but not in layer.db")


def _strange_files(layer: LayerDirectory) -> Iterator[Problem]:
    tops = {layer.host_path(row): row for row in _children(layer, ROOT) if row is not None}
    for top in (b"Files", b"Hives", b"UtilityVM"):
        if top in tops:
            yield from _strangers_below(layer, tops[top])
        elif os.path.lexists(os.path.join(os.fsencode(layer.path), top)):
            yield Problem(top.decode(), "is on the host, but not in layer.db")


def _strangers_below(layer: LayerDirectory, top: EntryRow) -> Iterator[Problem]:
    pending = [top]
    while pending:
        directory = pending.pop()
        host = layer.host_path(directory)
        known = set()
        unknown = "is on the host, but not in layer.db"
        for row in _children(layer, directory.id):
            if row is None:
                unknown = "is on the host, but in no record of layer.db that is sound"
                continue
            known.add(layer.host_path(row).rpartition(b"/")[2])
            if (row.host_name or "").startswith(SUBSTITUTE):
                # An update was interrupted: the files that it replaces stay until the next update completes it.
                known.add(layer.host_path(row._replace(host_name=None)).rpartition(b"/")[2])
            if row.attributes & DIRECTORY:
                pending.append(row)
        try:
            names = layer.host.names(host)
        except OSError:
            continue
        listed = set(map(os.fsencode, names))
        # Some hosts list a name in another spelling than it was created with: in another case, or decomposed.
        respelled = _identities(layer, host, known - listed)
        for name in sorted(listed - known):
            # The utility VM's folder also holds files that processing made, beside its `Files`. An interrupted update
            # leaves contents that are not in place yet, or are in place already.
            if (host == b"UtilityVM" and name != b"Files") or name.startswith(SUBSTITUTE.encode()):
                continue
            if not respelled or not _identities(layer, host, {name}) & respelled:
                yield Problem(os.fsdecode(host + b"/" + name), unknown)


def _identities(layer: LayerDirectory, directory: bytes, names: set[bytes]) -> set[tuple[int, int]]:
    """Returns device and inode of each of the names that the directory has on the host."""
    found = set()
    for name in names:
        with suppress(OSError):
            status = layer.host.stat(directory + b"/" + name)
            found.add((status.st_dev, status.st_ino))
    return found


def _children(layer: LayerDirectory, directory: int) -> Iterator[EntryRow | None]:
    """Yields the rows of a directory's entries, None for a damaged one."""
    for columns in layer.query(CHILDREN, (directory,)):
        try:
            row = layer.row(columns)
        except (CorruptLayerError, LimitExceededError):
            yield None
            continue
        yield row if row.parent == directory else None
