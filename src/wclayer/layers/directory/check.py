"""Verifies a layer directory against its own records."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from wclayer.errors import CorruptLayerError
from wclayer.layers.directory.database import EntryRow
from wclayer.layers.directory.layer import LayerDirectory
from wclayer.layers.directory.scratch import IN_USE
from wclayer.win32.attributes import DIRECTORY
from wclayer.win32.ea import decode_eas
from wclayer.win32.reparse import decode_reparse
from wclayer.win32.security import SecurityDescriptor

# What an entry refers to, and the query for those entries whose reference leads nowhere.
_DANGLING = {
    "parent": "SELECT id FROM entries"
    " WHERE parent <> 0 AND parent NOT IN (SELECT id FROM entries WHERE attributes & 16)",
    "security": "SELECT id FROM entries WHERE security IS NOT NULL AND security NOT IN (SELECT id FROM security)",
    "link": "SELECT id FROM entries WHERE link IS NOT NULL AND link NOT IN (SELECT id FROM entries WHERE link IS NULL)",
    "stream": "SELECT entry FROM streams WHERE entry NOT IN (SELECT id FROM entries)",
}


@dataclass(frozen=True, slots=True)
class Problem:
    """Something in a layer that is not as its records say: the path it concerns, and what is wrong."""

    path: str
    text: str


def check_layer(
    path: str | os.PathLike[str], *, progress: Callable[[int, int], None] | None = None
) -> Iterator[Problem]:
    """Every problem of a layer directory: sizes, digests, links, references, metadata that does not parse, files that
    are missing or should not be there, parents that are gone.

    Args:
        progress: called now and then with the entries checked and their total.

    Raises:
        PathNotFoundError, NotALayerError, CorruptLayerError: it cannot be opened at all.
    """
    with LayerDirectory(path, operation="check layer") as layer:
        yield from _check_database(layer)
        for line in layer.hive_problems():
            yield Problem(*line.split(": ", 1))
        (total,) = layer.query("SELECT COUNT(*) FROM entries").fetchone()
        for done, row in enumerate(map(layer.row, layer.query("SELECT * FROM entries ORDER BY id"))):
            if progress is not None and done % 256 == 0:
                progress(done, total)
            try:
                name = layer.path_of(row)
                yield from _check_entry(layer, row, name)
            except CorruptLayerError as error:
                yield Problem(f"entry {row.id}", error.detail)
        if progress is not None:
            progress(total, total)
        yield from _find_strangers(layer)
        for parent in layer.parents():
            if not parent.is_dir():
                yield Problem("layerchain.json", f"the parent {parent} does not exist")


def _check_database(layer: LayerDirectory) -> Iterator[Problem]:
    for (text,) in layer.query("PRAGMA integrity_check(20)"):
        if text != "ok":
            yield Problem("layer.db", text)
    for problem, sql in _DANGLING.items():
        for (entry_id,) in layer.query(sql):
            yield Problem(f"entry {entry_id}", f"its {problem} refers to nothing")
    for number, descriptor in layer.query("SELECT id, descriptor FROM security"):
        try:
            SecurityDescriptor.decode(descriptor)
        except ValueError as error:
            yield Problem(f"security {number}", str(error))


def _check_entry(layer: LayerDirectory, row: EntryRow, name: str) -> Iterator[Problem]:
    try:
        # Of a scratch, only contents are on the host.
        info = None if layer.is_scratch and row.host_name is None else layer.host.stat(layer.host_path(row))
    except OSError as error:
        yield Problem(name, f"not on the host: {error.strerror}")
        return
    if info is None:
        pass
    elif row.attributes & DIRECTORY:
        if not stat.S_ISDIR(info.st_mode):
            yield Problem(name, "is a directory, but not on the host")
    elif not stat.S_ISREG(info.st_mode):
        yield Problem(name, "is a file, but not on the host")
    else:
        yield from _check_data(layer, row, name, info)
    for what, value, decode in (("reparse data", row.reparse, decode_reparse), ("EAs", row.eas, decode_eas)):
        if value is not None:
            try:
                decode(value)
            except ValueError as error:
                yield Problem(name, f"{what}: {error}")
    yield from _check_streams(layer, row, name)


def _check_data(layer: LayerDirectory, row: EntryRow, name: str, info: os.stat_result) -> Iterator[Problem]:
    if info.st_size != row.size:
        yield Problem(name, f"is {info.st_size} bytes long on the host, {row.size} by its record")
        return
    if row.link is not None:
        head = layer.by_id(row.link)
        host = layer.host.stat(layer.host_path(head))
        if layer.is_scratch or (host.st_dev, host.st_ino) == (info.st_dev, info.st_ino):
            # The same file on the host: its first name's contents are checked.
            return
    if row.sha256:
        digest = hashlib.sha256()
        for chunk in layer.data_chunks(row, verify=False):
            digest.update(chunk)
        if digest.digest() != row.sha256:
            yield Problem(name, "its contents do not have the recorded SHA-256")


def _check_streams(layer: LayerDirectory, row: EntryRow, name: str) -> Iterator[Problem]:
    entry = layer.first_name(row).id if layer.is_scratch else row.id
    (count,) = layer.query("SELECT COUNT(*) FROM streams WHERE entry = ?", (entry,)).fetchone() if row.streams else (0,)
    if count != row.streams:
        yield Problem(name, f"has {count} streams, {row.streams} by its record")
    if not count:
        return
    for number, stream, size, sha256 in layer.query(
        "SELECT id, name, size, sha256 FROM streams WHERE entry = ?", (entry,)
    ).fetchall():
        digest, length = hashlib.sha256(), 0
        for (data,) in layer.query("SELECT data FROM stream_data WHERE stream = ? ORDER BY sequence", (number,)):
            digest.update(data)
            length += len(data)
        if length != size or digest.digest() != sha256:
            yield Problem(f"{name}:{stream}", "the stream's contents do not have the recorded size and SHA-256")


def _find_strangers(layer: LayerDirectory) -> Iterator[Problem]:
    """Files on the host that no entry accounts for."""
    if layer.is_scratch:
        if any(name.startswith(IN_USE) for name in layer.host.names(b"")):
            # Old contents wait until the records are safe, and are then removed; after a crash, when it is next opened.
            return
        known_files = {
            name.encode()[1:] for (name,) in layer.query("SELECT host_name FROM entries WHERE host_name > '/'")
        }
        for path in layer.pool():
            if path not in known_files:
                yield Problem(os.fsdecode(path), "is on the host, but not in layer.db")
        return
    tops = {layer.host_path(row): row for row in layer.children(0)}
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
        for row in layer.children(directory.id):
            known.add(layer.host_path(row).rpartition(b"/")[2])
            if row.attributes & DIRECTORY:
                pending.append(row)
        try:
            names = layer.host.names(host)
        except OSError:
            continue
        for name in sorted(map(os.fsencode, names)):
            # The utility VM's folder also holds what processing made, beside its Files.
            if name not in known and not (host == b"UtilityVM" and name != b"Files"):
                yield Problem(os.fsdecode(host + b"/" + name), "is on the host, but not in layer.db")
