"""Verifies a layer directory against its own records."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Generator, Iterator
from contextlib import suppress
from pathlib import Path

from wclayer._types import StrPath
from wclayer.errors import CorruptLayerError, InvalidDataError, LayerBusyError, LimitExceededError, during
from wclayer.formats.tar.structs import TRAILER
from wclayer.layers.budget import Budget
from wclayer.layers.directory.chain_file import CHAIN_FILE, read_chain
from wclayer.layers.directory.database import FILE_NAME, SELECT_ENTRIES, TRAILER_FORM, EntryRow
from wclayer.layers.directory.layer import LayerDirectory
from wclayer.layers.directory.opening import open_layer
from wclayer.layers.directory.problem import Problem
from wclayer.layers.directory.reader import DirectoryLayerReader
from wclayer.layers.directory.rows import descriptor
from wclayer.layers.directory.strangers import find_strangers
from wclayer.layers.names import NameChecker
from wclayer.layers.open_iterator import OpenIterator
from wclayer.layers.progress import Progress, ProgressCallback, report
from wclayer.layers.tar.header_delta import decode_header_delta
from wclayer.layers.tar.members import encode_entry, encode_stream
from wclayer.model import Entry, limits_in_use
from wclayer.win32.attributes import DIRECTORY
from wclayer.win32.backup import StreamId
from wclayer.win32.ea import decode_eas
from wclayer.win32.reparse import decode_reparse
from wclayer.win32.security import SecurityDescriptor

_TRIES = 10
# Each kind of reference, with the query for the entries whose reference has no target.
_DANGLING = {
    "parent": "SELECT id FROM entries"
    " WHERE parent <> 0 AND parent NOT IN (SELECT id FROM entries WHERE attributes & 16)",
    "security": "SELECT id FROM entries WHERE security IS NOT NULL AND security NOT IN (SELECT id FROM security)",
    "link": "SELECT id FROM entries WHERE link IS NOT NULL AND link NOT IN"
    " (SELECT id FROM entries WHERE link IS NULL AND NOT attributes & 16)",
    "stream": "SELECT entry FROM streams WHERE entry NOT IN (SELECT id FROM entries)",
}


def check_layer(path: StrPath, *, progress: ProgressCallback | None = None) -> OpenIterator[Problem]:
    """Checks a layer directory against its own records.

    It checks sizes, digests, links and references. It finds metadata that cannot be parsed, files that are missing or
    should not exist, and parents that no longer exist. A scratch may change during the check: each entry is checked in
    its state at that moment.

    Args:
        progress: called from time to time with the number of entries checked so far.

    Returns:
        An iterator of the problems. The layer stays open until the iterator is exhausted or closed.

    Raises:
        PathNotFoundError, NotALayerError, CorruptLayerError: the layer cannot be opened, or was removed meanwhile.
        LayerBusyError: an update replaced files of a finished layer during the check.
    """
    return OpenIterator(during("check layer", path), lambda: open_layer(path), lambda layer: _check(layer, progress))


def _check(layer: LayerDirectory, progress: ProgressCallback | None) -> Generator[Problem, None, None]:
    layer.budget = Budget(str(layer.path), limits_in_use())
    for place, problems in (
        (FILE_NAME, _check_database(layer)),
        (FILE_NAME, _check_records(layer)),
        (FILE_NAME, _check_entries(layer, progress)),
        (FILE_NAME, _check_tombstones(layer)),
        (FILE_NAME, _check_rules(layer)),
        (FILE_NAME, find_strangers(layer)),
        (CHAIN_FILE, _check_chain(layer)),
    ):
        yield from _told(place, problems)


def _told(place: str, problems: Iterator[Problem]) -> Iterator[Problem]:
    """Yields the problems. Damage that stops the search is yielded as the last problem."""
    try:
        yield from problems
    except (CorruptLayerError, LimitExceededError) as error:
        yield Problem(place, error.detail)


def _check_database(layer: LayerDirectory) -> Iterator[Problem]:
    for (text,) in layer.query("PRAGMA integrity_check(20)"):
        if text != "ok":
            yield Problem(FILE_NAME, str(text))
    for problem, sql in _DANGLING.items():
        for (entry_id,) in layer.query(sql):
            yield Problem(f"entry {entry_id}", f"its {problem} refers to nothing")
    for number, value in layer.query("SELECT id, descriptor FROM security ORDER BY id"):
        try:
            SecurityDescriptor.decode(descriptor(number, value))
        except ValueError as error:
            yield Problem(f"security {number}", str(error))


def _check_records(layer: LayerDirectory) -> Iterator[Problem]:
    for line in layer.hive_problems():
        name, _, text = line.partition(": ")
        yield Problem(name, text)
    for key, value in layer.query("SELECT key, value FROM layer ORDER BY key"):
        if not isinstance(value, (str, int, bytes)):
            yield Problem(FILE_NAME, f"record {key!r}: {value!r}")
    if trailer := layer.blob(TRAILER_FORM):
        yield from _check_form(trailer, TRAILER, FILE_NAME)


def _check_entries(layer: LayerDirectory, progress: ProgressCallback | None) -> Iterator[Problem]:
    state = Progress(total_entries=layer.totals().entries)
    last = 0
    for done, columns in enumerate(layer.query(f"{SELECT_ENTRIES} ORDER BY id")):
        if done % 256 == 0:
            state.entries = done
            report(state, progress)
        place = f"entry {columns[0]}"
        if columns[0] <= last:
            yield Problem(place, "is there twice")
            break
        last = columns[0]
        try:
            row = layer.row(columns)
            place = layer.name_of(row)
        except (CorruptLayerError, LimitExceededError) as error:
            yield Problem(place, error.detail)
            continue
        yield from _problems_of(layer, row, place)
    state.entries = state.total_entries or 0
    report(state, progress)


def _problems_of(layer: LayerDirectory, row: EntryRow, place: str) -> list[Problem]:
    """Returns the problems of an entry, which another process may be changing."""
    found = _settled_problems(layer, row, place)
    for _ in range(_TRIES):
        if found is not None:
            break
        # The entry is read again in its current state.
        with open_layer(layer.path) as now:
            columns = now.query(f"{SELECT_ENTRIES} WHERE id = ?", (row.link or row.id,)).fetchone()
            if columns is None:
                return []
            row = now.row(columns)
            found = _settled_problems(now, row, now.name_of(row))
    # An entry that is written to continuously cannot be checked.
    return found or []


def _settled_problems(layer: LayerDirectory, row: EntryRow, place: str) -> list[Problem] | None:
    """Returns the problems of an entry; None if another process changed it, so that the result would mean nothing.

    Raises:
        PathNotFoundError, LayerBusyError: another process has removed or changed the layer.
    """
    try:
        found = list(_told(place, _check_entry(layer, row, place)))
    except LayerBusyError:
        if not layer.may_change:
            raise
        return None
    changed = layer.changed(row) if found else None
    if changed is None:
        return found
    if layer.may_change and isinstance(changed, LayerBusyError):
        return None
    raise changed


def _check_tombstones(layer: LayerDirectory) -> Iterator[Problem]:
    """Reads all tombstones. A damaged one raises an error, which `_told` turns into a problem."""
    for row in layer.tombstones():
        if row.form is not None:
            yield from _check_form(row.form, encode_entry(Entry(row.path, None)), row.path)


def _check_rules(layer: LayerDirectory) -> Iterator[Problem]:
    """Checks the entries against the rules of layers, in the order in which a reader gets them."""
    tree = NameChecker(FILE_NAME, is_base=False)
    with DirectoryLayerReader(layer.path) as reader:
        for item in reader:
            try:
                tree.add(item.entry)
            except InvalidDataError as error:
                if isinstance(error, LimitExceededError):
                    raise
                yield Problem(item.entry.name, error.detail)


def _check_form(form: bytes, canonical: bytes, name: str) -> Iterator[Problem]:
    """Checks that a header delta fits the canonical header, as an export needs it."""
    try:
        decode_header_delta(form, canonical)
    except ValueError as error:
        yield Problem(name, str(error))


def _check_chain(layer: LayerDirectory) -> Iterator[Problem]:
    for parent in layer.parents():
        if not parent.is_dir():
            yield Problem(CHAIN_FILE, f"the parent {parent} does not exist; `wclayer relink` finds one that was moved")
        else:
            for above in _told(CHAIN_FILE, _above(layer.path, parent)):
                yield Problem(above.path, f"the parent {parent}: {above.text}")


def _above(layer: Path, parent: Path) -> Iterator[Problem]:
    own = os.path.realpath(layer)
    if any(os.path.realpath(path) == own for path in read_chain(parent)):
        yield Problem(CHAIN_FILE, "has the layer itself among its parents")


def _check_entry(layer: LayerDirectory, row: EntryRow, name: str) -> Iterator[Problem]:
    try:
        info = layer.host_status(row)
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
    if row.form is not None:
        yield from _check_form(row.form, encode_entry(layer.entry(row)), name)


def _check_data(layer: LayerDirectory, row: EntryRow, name: str, info: os.stat_result) -> Iterator[Problem]:
    if info.st_size != row.size:
        yield Problem(name, f"is {info.st_size} bytes long on the host, {row.size} by its record")
        return
    if row.link is not None:
        head = layer.by_id(row.link)
        host = None
        with suppress(OSError):  # a missing file is reported for the first name
            host = layer.host.stat(layer.host_path(head))
        if host is not None and os.path.samestat(host, info):
            # The same file on the host: its contents are checked under the first name.
            return
    if row.sha256:
        digest = hashlib.sha256()
        for chunk in layer.data_chunks(row, verify=False):
            digest.update(chunk)
        if digest.digest() != row.sha256:
            yield Problem(name, "its contents do not have the recorded SHA-256")


def _check_streams(layer: LayerDirectory, row: EntryRow, name: str) -> Iterator[Problem]:
    if row.link is not None:
        # The streams belong to the first name.
        return
    for stream in layer.stream_rows(row):
        if stream.form is not None and stream.stream_id == StreamId.ALTERNATE_DATA:
            yield from _check_form(stream.form, encode_stream(layer.entry(row), stream.name, stream.size), name)
        try:
            for _ in layer.stream_chunks(stream):
                pass
        except CorruptLayerError as error:
            yield Problem(f"{name}:{stream.name}", f"not of the recorded size and SHA-256: {error.detail}")
