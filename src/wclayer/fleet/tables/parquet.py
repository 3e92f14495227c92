"""Rows of the tables as Parquet: the same rows give the same bytes.

Parquet keeps text as UTF-8, which has no lone surrogates, but names of Windows may. A lone surrogate is written as
`<U+D800>`: no name of a file can have `<` itself.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from functools import cache
from itertools import islice
from typing import Any, BinaryIO

import pyarrow
from pyarrow import parquet

from wclayer.errors import InvalidDataError, NotSupportedError
from wclayer.fleet.tables.schema import SCHEMA_VERSION, Table
from wclayer.win32.shown import escaped

TABLE_KEY, VERSION_KEY, LAYER_KEY = b"wclayer.table", b"wclayer.version", b"wclayer.layer"
"""Metadata in the footers of the files: the name of the table, `SCHEMA_VERSION`, and a layer's summary as JSON."""
GROUP_ROWS = 1 << 16
"""Rows of a row group."""
_GROUP_TEXT = 16 << 20
"""Characters after which a row group ends: some rows have names of 32 KiB and long descriptors."""
_PIECE_ROWS = 1 << 8
"""Rows whose characters are counted together."""
_KINDS = {
    str: pyarrow.string(),
    int: pyarrow.int64(),
    bool: pyarrow.bool_(),
    datetime: pyarrow.timestamp("us", tz="UTC"),
    tuple: pyarrow.list_(pyarrow.string()),
}
_LONE_SURROGATES = re.compile("[\ud800-\udfff]")


@cache
def arrow_schema(table: Table) -> pyarrow.Schema:
    """Returns the schema of a table, with its name and version."""
    return pyarrow.schema(
        [pyarrow.field(column.name, _KINDS[column.kind], column.is_nullable) for column in table.columns],
        {TABLE_KEY: table.name.encode(), VERSION_KEY: str(SCHEMA_VERSION).encode()},
    )


def stored_text(text: str) -> str:
    """Returns a text as a table has it: with `<U+…>` for each lone surrogate."""
    return _LONE_SURROGATES.sub(lambda found: escaped(found[0]), text)


def write_rows(table: Table, rows: Iterable[Any], stream: BinaryIO, more: Mapping[bytes, bytes] | None = None) -> None:
    """Writes rows as a Parquet file. Not more than a row group is in memory.

    Args:
        table: their table.
        rows: the rows, in the order in which they are written.
        stream: where the file is written to.
        more: further metadata of the footer.
    """
    schema = arrow_schema(table)
    schema = schema.with_metadata({**schema.metadata, **(more or {})})
    with parquet.ParquetWriter(stream, schema, compression="zstd", version="2.6") as writer:
        for group in _groups(rows):
            writer.write_table(_arrow_table(group, schema), row_group_size=GROUP_ROWS)
            # Otherwise it would be in memory until the next one is complete.
            group.clear()


def read_rows(table: Table, stream: BinaryIO, name: str) -> Iterator[Any]:
    """Yields the rows of a Parquet file.

    Args:
        table: their table.
        stream: the file.
        name: its place, for messages.

    Raises:
        InvalidDataError: it is no Parquet file, or one of another table.
        NotSupportedError: another version of wclayer wrote it.
    """
    with arrow_errors(name), parquet.ParquetFile(stream) as file:
        _check(table, file.schema_arrow, name)
        tuples = [number for number, column in enumerate(table.columns) if column.kind is tuple]
        # Of a file without row groups, Arrow 18 gives an error.
        for batch in file.iter_batches(batch_size=1 << 13) if file.num_row_groups else ():
            columns = [column.to_pylist() for column in batch.columns]
            for number in tuples:
                columns[number] = [tuple(value) for value in columns[number]]
            yield from map(table.row._make, zip(*columns, strict=True))


def read_footer(stream: BinaryIO, name: str) -> Mapping[bytes, bytes]:
    """Returns the metadata in the footer of a Parquet file.

    Raises:
        InvalidDataError: it is no Parquet file.
    """
    with arrow_errors(name):
        return parquet.read_metadata(stream).metadata or {}


def check_version(text: str, name: str) -> None:
    """Checks the version of tables.

    Raises:
        NotSupportedError: it is not the version of this wclayer.
        InvalidDataError: it is none.
    """
    if not re.fullmatch("[1-9][0-9]{0,8}", text, re.ASCII):
        raise InvalidDataError(name, f"its version is {text[:40]!r}, not a number")
    if int(text) > SCHEMA_VERSION:
        raise NotSupportedError(
            name, f"has version {text} of the tables, and this wclayer knows {SCHEMA_VERSION}: install a newer one"
        )
    if int(text) < SCHEMA_VERSION:
        raise NotSupportedError(
            name, f"has version {text} of the tables, and this wclayer writes {SCHEMA_VERSION}: scan again; what was"
            " read of the layers is used again"
        )  # fmt: skip


@contextlib.contextmanager
def arrow_errors(name: str) -> Iterator[None]:
    """Turns errors of Arrow about the contents of a file into an `InvalidDataError`."""
    try:
        yield
    except (pyarrow.ArrowException, UnicodeDecodeError, OSError) as error:
        # Arrow tells some damage as an error of the host, which has no number then.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise InvalidDataError(name, f"is no intact Parquet file of a fleet ({error}); scan again") from error


def _check(table: Table, schema: pyarrow.Schema, name: str) -> None:
    metadata = schema.metadata or {}
    found = metadata.get(TABLE_KEY, b"").decode("ascii", "replace")
    if found != table.name:
        raise InvalidDataError(name, f"is of the table {found[:40]!r}, and {table.name!r} was expected; scan again")
    check_version(metadata.get(VERSION_KEY, b"").decode("ascii", "replace"), name)
    if not schema.equals(arrow_schema(table)):
        raise InvalidDataError(name, f"has not the columns of the table {table.name!r}; scan again")


def _groups(rows: Iterable[Any]) -> Iterator[list[Any]]:
    """Yields the rows in row groups. Their size follows from the rows alone."""
    group: list[Any] = []
    text = 0
    rest = iter(rows)
    while piece := list(islice(rest, _PIECE_ROWS)):
        group += piece
        text += sum(map(_text_size, zip(*piece, strict=True)))
        if len(group) == GROUP_ROWS or text > _GROUP_TEXT:
            yield group
            group, text = [], 0
    if group:
        yield group


def _text_size(values: tuple[Any, ...]) -> int:
    """Returns the characters of a column of texts; 0 for another one."""
    texts = [value for value in values if value is not None]
    return sum(map(len, texts)) if texts and isinstance(texts[0], str) else 0


def _arrow_table(rows: list[Any], schema: pyarrow.Schema) -> pyarrow.Table:
    columns = zip(*rows, strict=True)
    return pyarrow.table([_array(values, field.type) for values, field in zip(columns, schema, strict=True)], schema)


def _array(values: tuple[Any, ...], kind: pyarrow.DataType) -> pyarrow.Array:
    try:
        return pyarrow.array(values, kind)
    except UnicodeEncodeError:
        return pyarrow.array([_stored(value) for value in values], kind)


def _stored(value: str | tuple[str, ...] | None) -> str | tuple[str, ...] | None:
    if value is None:
        return None
    return stored_text(value) if isinstance(value, str) else tuple(map(stored_text, value))
