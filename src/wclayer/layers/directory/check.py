"""Verifies a layer directory against its own records."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from wclayer._types import StrPath
from wclayer.errors import CorruptLayerError, InvalidDataError, LayerBusyError, LimitExceededError, during, errors_at
from wclayer.formats.tar.structs import TRAILER
from wclayer.host import system
from wclayer.layers.budget import Budget
from wclayer.layers.directory.chain_file import CHAIN_FILE, read_chain
from wclayer.layers.directory.database import FILE_NAME, ROOT, TRAILER_FORM, EntryRow
from wclayer.layers.directory.layer import CHILDREN, LayerDirectory
from wclayer.layers.directory.reader import DirectoryLayerReader
from wclayer.layers.directory.rows import descriptor
from wclayer.layers.directory.scratch import IN_USE
from wclayer.layers.directory.update import SUBSTITUTE
from wclayer.layers.names import NameChecker
from wclayer.layers.tar.header_delta import decode_header_delta
from wclayer.layers.tar.members import encode_entry, encode_stream
from wclayer.model import Entry, limits_in_use
from wclayer.win32.attributes import DIRECTORY
from wclayer.win32.backup import StreamId
from wclayer.win32.ea import decode_eas
from wclayer.win32.reparse import decode_reparse
from wclayer.win32.security import SecurityDescriptor

_TRIES = 10
# What an entry refers to, and the query for those entries whose reference leads nowhere.
_DANGLING = {
    "parent": "SELECT id FROM entries"
    " WHERE parent <> 0 AND parent NOT IN (SELECT id FROM entries WHERE attributes & 16)",
    "security": "SELECT id FROM entries WHERE security IS NOT NULL AND security NOT IN (SELECT id FROM security)",
    "link": "SELECT id FROM entries WHERE link IS NOT NULL AND link NOT IN"
    " (SELECT id FROM entries WHERE link IS NULL AND NOT attributes & 16)",
    "stream": "SELECT entry FROM streams WHERE entry NOT IN (SELECT id FROM entries)",
}


@dataclass(frozen=True, slots=True)
class Problem:
    """Something in a layer that is not as its records say: the path it concerns, and what is wrong."""

    path: str
    text: str


@during("check layer")
def check_layer(path: StrPath, *, progress: Callable[[int, int], None] | None = None) -> Iterator[Problem]:
    """Every problem of a layer directory: sizes, digests, links, references, metadata that does not parse, files that
    are missing or should not be there, parents that are gone.

    Args:
        progress: called now and then with the entries checked and their total.

    Raises:
        PathNotFoundError, NotALayerError, CorruptLayerError: it cannot be opened at all, or was removed meanwhile.
        LayerBusyError: an update has replaced files of a finished layer meanwhile. A scratch may be changed: of each
            entry, it is checked as it is when it is looked at.
    """
    with LayerDirectory(path) as layer:
        layer.budget = Budget(str(layer.path), limits_in_use())
        for place, problems in (
            (FILE_NAME, _check_database(layer)),
            (FILE_NAME, _check_records(layer)),
            (FILE_NAME, _check_entries(layer, progress)),
            (FILE_NAME, _check_tombstones(layer)),
            (FILE_NAME, _check_rules(layer)),
            (FILE_NAME, _find_strangers(layer)),
            (CHAIN_FILE, _check_chain(layer)),
        ):
            yield from _told(place, problems)


def _told(place: str, problems: Iterator[Problem]) -> Iterator[Problem]:
    """Problems, and as the last one the damage that ends the search for more."""
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


def _check_entries(layer: LayerDirectory, progress: Callable[[int, int], None] | None) -> Iterator[Problem]:
    total = layer.totals().entries
    last = 0
    for done, columns in enumerate(layer.query("SELECT * FROM entries ORDER BY id")):
        if progress is not None and done % 256 == 0:
            progress(done, total)
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
    if progress is not None:
        progress(total, total)


def _problems_of(layer: LayerDirectory, row: EntryRow, place: str) -> list[Problem]:
    """What is wrong with an entry, which another process may be changing meanwhile."""
    found = _settled_problems(layer, row, place)
    for _ in range(_TRIES):
        if found is not None:
            break
        # It is looked at as it is now.
        with LayerDirectory(layer.path) as now:
            columns = now.query("SELECT * FROM entries WHERE id = ?", (row.link or row.id,)).fetchone()
            if columns is None:
                return []
            row = now.row(columns)
            found = _settled_problems(now, row, now.name_of(row))
    # Of one that somebody writes to all the time, nothing can be told.
    return found or []


def _settled_problems(layer: LayerDirectory, row: EntryRow, place: str) -> list[Problem] | None:
    """What is wrong with an entry; None if another process has changed it in a scratch, so that nothing can be told.

    Raises:
        PathNotFoundError, LayerBusyError: another process has removed or changed the layer.
    """
    try:
        found = list(_told(place, _check_entry(layer, row, place)))
    except LayerBusyError:
        if not layer.is_scratch:
            raise
        return None
    changed = layer.changed(row) if found else None
    if changed is None:
        return found
    if layer.is_scratch and isinstance(changed, LayerBusyError):
        return None
    raise changed


def _check_tombstones(layer: LayerDirectory) -> Iterator[Problem]:
    """Reads all tombstones: a damaged one raises, and `_told` makes the problem of it."""
    for row in layer.tombstones():
        if row.form is not None:
            yield from _check_form(row.form, encode_entry(Entry(row.path, None)), row.path)


def _check_rules(layer: LayerDirectory) -> Iterator[Problem]:
    """The rules of layers, as whoever reads this one holds its entries against them, in their order."""
    tree = NameChecker(FILE_NAME, is_base=False)
    with DirectoryLayerReader(layer.path) as reader:
        for entry in reader:
            try:
                tree.add(entry)
            except InvalidDataError as error:
                if isinstance(error, LimitExceededError):
                    raise
                yield Problem(entry.name, error.detail)


def _check_form(form: bytes, canonical: bytes, name: str) -> Iterator[Problem]:
    """That a form fits what the tar says canonically, as an export needs it."""
    try:
        decode_header_delta(form, canonical)
    except ValueError as error:
        yield Problem(name, str(error))


def _check_chain(layer: LayerDirectory) -> Iterator[Problem]:
    for parent in layer.parents():
        if not parent.is_dir():
            yield Problem(CHAIN_FILE, f"the parent {parent} does not exist")
        else:
            for above in _told(CHAIN_FILE, _above(layer.path, parent)):
                yield Problem(above.path, f"the parent {parent}: {above.text}")


def _above(layer: Path, parent: Path) -> Iterator[Problem]:
    own = os.path.realpath(layer)
    if any(os.path.realpath(path) == own for path in read_chain(parent)):
        yield Problem(CHAIN_FILE, "has the layer itself among its parents")


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
    if row.form is not None:
        yield from _check_form(row.form, encode_entry(layer.entry(row)), name)


def _check_data(layer: LayerDirectory, row: EntryRow, name: str, info: os.stat_result) -> Iterator[Problem]:
    if info.st_size != row.size:
        yield Problem(name, f"is {info.st_size} bytes long on the host, {row.size} by its record")
        return
    if row.link is not None:
        head = layer.by_id(row.link)
        host = None
        with suppress(OSError):  # that it is not there is told of the first name
            host = layer.host.stat(layer.host_path(head))
        if layer.is_scratch or (host is not None and (host.st_dev, host.st_ino) == (info.st_dev, info.st_ino)):
            # The same file on the host: its first name's contents are checked.
            return
    if row.sha256:
        digest = hashlib.sha256()
        for chunk in layer.data_chunks(row, verify=False):
            digest.update(chunk)
        if digest.digest() != row.sha256:
            yield Problem(name, "its contents do not have the recorded SHA-256")


def _check_streams(layer: LayerDirectory, row: EntryRow, name: str) -> Iterator[Problem]:
    if row.link is not None:
        # They are those of its first name.
        return
    for stream in layer.stream_rows(row):
        if stream.form is not None and stream.stream_id == StreamId.ALTERNATE_DATA:
            yield from _check_form(stream.form, encode_stream(layer.entry(row), stream.name, stream.size), name)
        try:
            for _ in layer.stream_chunks(stream):
                pass
        except CorruptLayerError as error:
            yield Problem(f"{name}:{stream.name}", f"not of the recorded size and SHA-256: {error.detail}")


def _find_strangers(layer: LayerDirectory) -> Iterator[Problem]:
    """Files on the host that no entry accounts for."""
    found = list(_strange_contents(layer) if layer.is_scratch else _strange_files(layer))
    if found and layer.is_scratch and not _is_in_use(layer):
        # Other processes may have put them there since, and ended.
        with LayerDirectory(layer.path) as now:
            known = {problem.path for problem in _strange_contents(now)}
        found = [problem for problem in found if problem.path in known]
    if found and (changed := layer.changed()) is not None:
        raise changed
    if found and not _is_in_use(layer):
        yield from found


def _is_in_use(layer: LayerDirectory) -> bool:
    """Whether another process is changing the layer, so that there may be files that are no part of it yet, or no
    longer."""
    if layer.is_scratch:
        # Old contents wait until the records are safe, and are then removed; after a crash, when it is next opened.
        return any(name.startswith(IN_USE) for name in layer.host.names(b""))
    with errors_at(layer.path):
        lock = system.Lock(layer.path)
        try:
            lock.take(shared=True)
        except BlockingIOError:
            return True
        except OSError as error:
            # Where the file system has no locks, whoever would change the layer is refused.
            if error.errno != errno.ENOTSUP:
                raise
        finally:
            lock.close()
    return False


def _strange_contents(layer: LayerDirectory) -> Iterator[Problem]:
    """Contents in a scratch's pool that no entry has."""
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
                # An update was interrupted: what it replaces stays until the next one ends it.
                known.add(layer.host_path(row._replace(host_name=None)).rpartition(b"/")[2])
            if row.attributes & DIRECTORY:
                pending.append(row)
        try:
            names = layer.host.names(host)
        except OSError:
            continue
        listed = set(map(os.fsencode, names))
        # Some hosts list a name in another spelling than it was given: in another case, or decomposed.
        respelled = _identities(layer, host, known - listed)
        for name in sorted(listed - known):
            # The utility VM's folder also holds what processing made, beside its Files; an update that was interrupted
            # leaves contents that have no place yet, or have theirs already.
            if (host == b"UtilityVM" and name != b"Files") or name.startswith(SUBSTITUTE.encode()):
                continue
            if not respelled or not _identities(layer, host, {name}) & respelled:
                yield Problem(os.fsdecode(host + b"/" + name), unknown)


def _identities(layer: LayerDirectory, directory: bytes, names: set[bytes]) -> set[tuple[int, int]]:
    """Device and inode of each of the names that the directory has on the host."""
    found = set()
    for name in names:
        with suppress(OSError):
            status = layer.host.stat(directory + b"/" + name)
            found.add((status.st_dev, status.st_ino))
    return found


def _children(layer: LayerDirectory, directory: int) -> Iterator[EntryRow | None]:
    """The rows of a directory's entries, None for one that is damaged."""
    for columns in layer.query(CHILDREN, (directory,)):
        try:
            row = layer.row(columns)
        except (CorruptLayerError, LimitExceededError):
            yield None
            continue
        yield row if row.parent == directory else None
