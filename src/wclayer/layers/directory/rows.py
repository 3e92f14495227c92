"""Checks the rows of `layer.db` before they are used.

A layer directory from elsewhere is untrusted input, and so is each row of its database: it may be damaged or hostile.
An invalid row is a `RowError`, which names the entry, the column and the problem. The references of a row (its
directory, its descriptor, its first name) are checked where they are looked up.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast

from wclayer.errors import FormatError, FormatLimitError, limit_hint
from wclayer.layers.directory.database import (
    BEING_WRITTEN,
    NOT_HASHED,
    POOL,
    ROOT,
    EntryRow,
    Origin,
    from_column,
    to_column,
)
from wclayer.layers.names import ROOTS
from wclayer.model import limits_in_use
from wclayer.win32.attributes import DIRECTORY
from wclayer.win32.filetime import MAX_FILETIME
from wclayer.win32.names import illegal_reason, name_key, path_key, stream_illegal_reason, utf16_length

# The integers of a usual row: one call checks their types and ranges. No id, size or count is negative.
_INTEGERS = struct.Struct("=QQIQQQQQQQB")
_USUAL_NAME = re.compile(r'[^"*/:<>?\\|\x00-\x1f]{1,127}')
# A path of such names; what else may be a path is checked slowly.
_USUAL_PATH = re.compile(r'(?:Files|Hives|UtilityVM)(?:/(?!\.{1,2}(?:/|\Z))[^"*/:<>?\\|\x00-\x1f]{1,127}){1,60}')
_DOTS = (".", "..")
_POOLED = re.compile(re.escape(POOL.decode()) + "/[0-9a-f]/[0-9a-f]{16}")
_ROOT_NAMES = {path_key(root): root for root in ROOTS if "/" not in root}
_SHA256_SIZE = 32
_DIGEST_SIZES = (len(NOT_HASHED), _SHA256_SIZE)
_MAX_ID = (1 << 63) - 1
_MAX_UINT32 = 0xFFFF_FFFF
_LAST_ORIGIN = max(Origin)
_make_row = tuple.__new__


class RowError(FormatError):
    """A row of `layer.db` has an invalid value."""


class StreamRow(NamedTuple):
    """A row of `streams`."""

    id: int
    entry: int
    stream_id: int
    attributes: int
    name: str
    size: int
    sha256: bytes
    form: bytes | None


class TombstoneRow(NamedTuple):
    """A row of `tombstones`."""

    id: int
    path: str
    key: str
    form: bytes | None


def entry_row(columns: Sequence[Any]) -> EntryRow:
    """Returns a checked row of `entries`.

    Args:
        columns: its columns, in the order of `EntryRow`.

    Raises:
        RowError: a column has an invalid value.
    """
    try:
        (
            number, parent, name, key, attributes, creation, access, write, change, security, size, sha256,
            origin, streams, eas, reparse, link, target, spelling, host, form,
        ) = columns  # fmt: skip
        # Nearly every row passes here; all others are checked column by column.
        _INTEGERS.pack(
            number, parent, attributes, creation, access, write, change, security or 0,
            0 if size == BEING_WRITTEN else size, streams, origin,
        )  # fmt: skip
        if (
            parent
            and number
            and (name.upper() if name.isascii() else name_key(name)) == key
            and _USUAL_NAME.fullmatch(name)
            and name not in _DOTS
            and (sha256 is None or (sha256.__class__ is bytes and len(sha256) in _DIGEST_SIZES))
            and security != 0
            and origin <= _LAST_ORIGIN
            and (not attributes & DIRECTORY or (not size and link is None))
            and spelling is None
            and (link is target is None or _is_usual_link(link, target))
            and (eas is reparse is form is None or _are_blobs(eas, reparse, form))
            and (host is None or _POOLED.fullmatch(host))
        ):
            return _make_row(EntryRow, columns)
    except (struct.error, TypeError, AttributeError, ValueError):
        pass
    for column, value in zip(EntryRow._fields, columns, strict=True):
        _check(f"entry {shown(columns[0])}", column, value, _ENTRY_COLUMNS[column])
    row = EntryRow._make(columns)
    if reason := _entry_reason(row):
        raise RowError(f"entry {row.id}: {reason}")
    return row


def _is_usual_link(link: object, target: object) -> bool:
    return (
        (link is None or (link.__class__ is int and 0 < link <= _MAX_ID))
        and (target is None or _USUAL_PATH.fullmatch(cast(str, target)) is not None)
        # A character is at most two units.
        and (target is None or 2 * len(cast(str, target)) <= limits_in_use().path_length)
    )


def _are_blobs(*values: object) -> bool:
    return all(value is None or isinstance(value, bytes) for value in values)


def _entry_reason(row: EntryRow) -> str | None:
    """Returns the problem of a row whose single columns are valid; None if it is valid as a whole."""
    name = from_column(row.name)
    key = name_key(name)
    if from_column(row.key) != key:
        return f"key: {from_column(row.key)!r} instead of {key!r}"
    if row.name != to_column(name) or row.key != to_column(key):
        return f"name: {name!r} is not stored as valid text"
    if row.spelling is not None and path_key(from_column(row.spelling)).rpartition("/")[2] != key:
        return f"spelling: {from_column(row.spelling)!r} is not a spelling of {name!r}"
    if row.parent == ROOT:
        if key not in _ROOT_NAMES or not row.attributes & DIRECTORY:
            return f"name: {name!r} cannot be at a layer's root"
        if row.host_name not in (None, _ROOT_NAMES[key]):
            return f"host_name: {row.host_name!r} instead of {_ROOT_NAMES[key]!r}"
    if row.attributes & DIRECTORY and (row.link is not None or row.size > 0):
        return "attributes: a directory with data, or with several names"
    return None


def stream_row(columns: Sequence[Any]) -> StreamRow:
    """Returns a checked row of `streams`; `columns` are all of its columns.

    Raises:
        RowError: a column has an invalid value.
    """
    for column, value in zip(StreamRow._fields, columns, strict=True):
        _check(f"stream {shown(columns[0])}", column, value, _STREAM_COLUMNS[column])
    return StreamRow._make(columns)._replace(name=from_column(columns[4]))


def tombstone_row(columns: Sequence[Any]) -> TombstoneRow:
    """Returns a checked row of `tombstones`; `columns` are all of its columns.

    Raises:
        RowError: a column has an invalid value.
    """
    for column, value in zip(TombstoneRow._fields, columns, strict=True):
        _check(f"tombstone {shown(columns[0])}", column, value, _TOMBSTONE_COLUMNS[column])
    number, path, key, form = columns
    row = TombstoneRow(number, from_column(path), from_column(key), form)
    if path_key(row.path) != row.key:
        raise RowError(f"tombstone {number}: key: {row.key!r} instead of {path_key(row.path)!r}")
    return row


def taken_row(columns: Sequence[Any]) -> tuple[int, int, int]:
    """Returns a checked row of `taken`: the layer, the id of the source there, the id of the entry.

    Raises:
        RowError: a column has an invalid value.
    """
    for column, value in zip(_TAKEN_COLUMNS, columns, strict=True):
        _check(f"taken {shown(columns[2])}", column, value, _TAKEN_COLUMNS[column])
    layer, source, entry = columns
    return layer, source, entry


def descriptor(number: int, value: object) -> bytes:
    """Returns the checked security descriptor with that number.

    Raises:
        RowError: the value is not a BLOB, or is larger than the limit.
    """
    most = limits_in_use().security_size
    if not isinstance(value, bytes):
        raise RowError(f"security {number}: descriptor: {shown(value)}, which is not a BLOB")
    if len(value) > most:
        raise FormatLimitError(f"security {number}: more than {most} bytes {limit_hint('security_size')}")
    return value


def piece(stream: int, expected: int, sequence: object, data: object) -> bytes:
    """Returns the data of a row of `stream_data`, which must be the piece of the stream with the number `expected`.

    Raises:
        RowError: it is another piece, or its data is not a BLOB.
    """
    if sequence != expected or not isinstance(data, bytes):
        raise RowError(f"stream {stream}: piece {expected}: {shown(sequence)}, {shown(data)} in its place")
    return data


# The valid values of columns: each function returns the problem of a value, or None if it is valid.


def _integer(low: int, high: int) -> Callable[[object], str | None]:
    def reason(value: object) -> str | None:
        if isinstance(value, int) and low <= value <= high:
            return None
        return f"{shown(value)} is not an integer from {low} to {high}"

    return reason


def _blob(*sizes: int) -> Callable[[object], str | None]:
    def reason(value: object) -> str | None:
        if not isinstance(value, bytes):
            return f"{shown(value)} is not a BLOB"
        if sizes and len(value) not in sizes:
            return f"{len(value)} bytes instead of {sizes[-1]}"
        return None

    return reason


def _text(what: Callable[[str], str | None]) -> Callable[[object], str | None]:
    """Returns a check for names, which are TEXT or BLOBs of WTF-8."""

    def reason(value: object) -> str | None:
        if not isinstance(value, (str, bytes)):
            return f"{shown(value)} is not a name"
        try:
            return what(from_column(value))
        except UnicodeDecodeError:
            return f"{shown(value)} is neither UTF-8 nor WTF-8"

    return reason


def _optional(what: Callable[[object], str | None]) -> Callable[[object], str | None]:
    return lambda value: None if value is None else what(value)


def _path_reason(path: str) -> str | None:
    """Returns the problem of a path from a layer's root; None if it is valid."""
    if utf16_length(path) > (most := limits_in_use().path_length):
        return f"a path of more than {most} units {limit_hint('path_length')}"
    parts = path.split("/")
    if name_key(parts[0]) not in _ROOT_NAMES:
        return f"{path[:300]!r} lies outside Files, Hives and UtilityVM"
    return next((found for part in parts if (found := illegal_reason(part))), None)


def _stream_reason(name: str) -> str | None:
    # The name of a stream that is not alternate data may be empty.
    return stream_illegal_reason(name) if name else None


def _host_reason(value: object) -> str | None:
    """Checks a file's name on the host, which is one legal name or a path in a scratch's pool."""
    if not isinstance(value, str):
        return f"{shown(value)} is not text"
    if _POOLED.fullmatch(value):
        return None
    return illegal_reason(value)


_ID = _integer(1, _MAX_ID)
_COUNT = _integer(0, _MAX_ID)
_UINT32 = _integer(0, _MAX_UINT32)
_FILETIME = _integer(0, MAX_FILETIME)
_NAME = _text(illegal_reason)
_PATH = _text(_path_reason)
_BLOB = _blob()

_ENTRY_COLUMNS: dict[str, Callable[[object], str | None]] = {
    "id": _ID,
    "parent": _COUNT,
    "name": _NAME,
    "key": _NAME,
    "attributes": _UINT32,
    "creation_time": _FILETIME,
    "last_access_time": _FILETIME,
    "last_write_time": _FILETIME,
    "change_time": _FILETIME,
    "security": _optional(_ID),
    "size": _integer(BEING_WRITTEN, _MAX_ID),
    "sha256": _optional(_blob(*_DIGEST_SIZES)),
    "origin": _integer(min(Origin), max(Origin)),
    "streams": _COUNT,
    "eas": _optional(_BLOB),
    "reparse": _optional(_BLOB),
    "link": _optional(_ID),
    "link_target": _optional(_PATH),
    "spelling": _optional(_PATH),
    "host_name": _optional(_host_reason),
    "form": _optional(_BLOB),
}
_STREAM_COLUMNS: dict[str, Callable[[object], str | None]] = {
    "id": _ID,
    "entry": _ID,
    "stream_id": _UINT32,
    "attributes": _UINT32,
    "name": _text(_stream_reason),
    "size": _COUNT,
    "sha256": _blob(_SHA256_SIZE),
    "form": _optional(_BLOB),
}
_TAKEN_COLUMNS: dict[str, Callable[[object], str | None]] = {"layer": _ID, "source": _ID, "entry": _ID}
_TOMBSTONE_COLUMNS: dict[str, Callable[[object], str | None]] = {
    "id": _ID,
    "path": _PATH,
    "key": _PATH,
    "form": _optional(_BLOB),
}


def _check(row: str, column: str, value: object, reason: Callable[[object], str | None]) -> None:
    if problem := reason(value):
        raise RowError(f"{row}: {column}: {problem}")


def shown(value: object) -> str:
    """Returns a value for a message, shortened if it is long."""
    if isinstance(value, (str, bytes)) and len(value) > 60:
        return f"{value[:60]!r}…"
    return repr(value)
