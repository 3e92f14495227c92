"""Rows are read back as they were written, whatever they hold, by us and by readers that are not Arrow."""

from __future__ import annotations

import io
import string
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet as arrow_parquet

from wclayer.errors import InvalidDataError, NotSupportedError
from wclayer.fleet.tables import parquet
from wclayer.fleet.tables.parquet import GROUP_ROWS, arrow_schema, read_rows, stored_text, write_rows
from wclayer.fleet.tables.schema import FILES, FINDINGS, IMAGES, TABLES, FileRow, FindingRow, ImageRow, Table, unknown
from wclayer.win32.filetime import MAX_FILETIME

_TEXTS = st.text(st.characters() | st.sampled_from("\0\ud800\udfff\ufffe\U0010ffff<>'\""), max_size=40)
_INTEGERS = st.integers(-(1 << 63), (1 << 63) - 1) | st.sampled_from([0, MAX_FILETIME, -(1 << 63)])
_TIMES = st.datetimes(timezones=st.just(UTC))
_KINDS: dict[type, st.SearchStrategy[Any]] = {
    str: _TEXTS, int: _INTEGERS, bool: st.booleans(), datetime: _TIMES,
    tuple: st.lists(_TEXTS, max_size=4).map(tuple),
}  # fmt: skip


def _rows(table: Table) -> st.SearchStrategy[list[Any]]:
    cells = [
        _KINDS[column.kind] if not column.is_nullable else st.none() | _KINDS[column.kind] for column in table.columns
    ]
    return st.lists(st.tuples(*cells).map(table.row._make), max_size=6)


def _stored(row: Any) -> Any:
    def stored(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(map(stored_text, value))
        return stored_text(value) if isinstance(value, str) else value

    return type(row)(*map(stored, row))


def _written(table: Table, rows: list[Any]) -> io.BytesIO:
    stream = io.BytesIO()
    write_rows(table, rows, stream)
    stream.seek(0)
    return stream


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
@given(data=st.data())
def test_rows_are_read_back(table: Table, data: st.DataObject) -> None:
    rows = data.draw(_rows(table))
    stream = _written(table, rows)
    assert list(read_rows(table, stream, "rows")) == list(map(_stored, rows))
    assert _written(table, rows).getvalue() == stream.getvalue()


# These two have columns of all types.
@pytest.mark.parametrize("table", [IMAGES, FILES], ids=lambda table: table.name)
@given(data=st.data())
def test_duckdb_reads_the_same_values(table: Table, data: st.DataObject) -> None:
    rows = data.draw(_rows(table))
    with tempfile.NamedTemporaryFile(suffix=".parquet") as file:
        file.write(_written(table, rows).getvalue())
        file.flush()
        _check_duckdb(file.name, table, rows)


def _check_duckdb(path: str, table: Table, rows: list[Any]) -> None:
    found = duckdb.read_parquet(path)
    assert found.columns == [column.name for column in table.columns]
    # As numbers, because Python's times begin and end within a year, in every time zone.
    columns = ", ".join(
        f"epoch_us({column.name})" if column.kind is datetime else column.name for column in table.columns
    )
    assert found.project(columns).fetchall() == [tuple(map(_plain, _stored(row))) for row in rows]


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        delta = value - datetime(1970, 1, 1, tzinfo=UTC)
        return (delta.days * 86400 + delta.seconds) * 1_000_000 + delta.microseconds
    return list(value) if isinstance(value, tuple) else value


def test_a_lone_surrogate_is_told_and_a_pair_is_a_character() -> None:
    assert stored_text("a\ud800b\udc00") == "a<U+D800>b<U+DC00>"
    assert stored_text("\U00010000 <U+D800>") == "\U00010000 <U+D800>"


def test_long_names_make_small_row_groups() -> None:
    name = "/".join(["n" * 255] * 127)
    rows = [
        FileRow(**unknown(FileRow) | {"layer": "sha256:" + "a" * 64, "path": f"{name}/{number}", "kind": "file"})
        for number in range(3000)
    ]
    stream = _written(FILES, rows)
    metadata = arrow_parquet.read_metadata(stream)
    assert metadata.num_row_groups >= 2
    assert max(metadata.row_group(number).total_byte_size for number in range(metadata.num_row_groups)) < 48 << 20
    assert list(read_rows(FILES, stream, "long")) == rows


def test_row_groups_have_a_fixed_number_of_rows() -> None:
    rows = [FindingRow("i", "damaged", "p", f"{number}") for number in range(GROUP_ROWS + 10)]
    metadata = arrow_parquet.read_metadata(_written(FINDINGS, rows))
    assert [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)] == [GROUP_ROWS, 10]
    assert metadata.row_group(0).column(0).compression == "ZSTD"


# What is not a table of this version.


def _of_version(version: bytes) -> bytes:
    schema = arrow_schema(FINDINGS)
    stream = io.BytesIO()
    table = pyarrow.table([[], [], [], []], schema.with_metadata({**schema.metadata, parquet.VERSION_KEY: version}))
    arrow_parquet.write_table(table, stream)
    return stream.getvalue()


def _other_columns() -> bytes:
    schema = arrow_schema(FINDINGS)
    stream = io.BytesIO()
    arrow_parquet.write_table(pyarrow.table([[]], schema.remove(3).remove(2).remove(1)), stream)
    return stream.getvalue()


_WRONG: dict[str, tuple[Callable[[], bytes], type[Exception], str]] = {
    "newer": (lambda: _of_version(b"2"), NotSupportedError, "version 2 of the tables.*install a newer"),
    "no version": (lambda: _of_version(b"-"), InvalidDataError, "version is '-', not a number"),
    "another table": (lambda: _written(FILES, []).getvalue(), InvalidDataError, "of the table 'files'"),
    "other columns": (_other_columns, InvalidDataError, "not the columns of the table 'findings'"),
    "no Parquet": (lambda: b"PAR1 or not", InvalidDataError, "no intact Parquet file"),
    "nothing": (lambda: b"", InvalidDataError, "no intact Parquet file"),
    "cut": (lambda: _written(FINDINGS, []).getvalue()[:-9], InvalidDataError, "no intact Parquet file"),
}


@pytest.mark.parametrize("name", _WRONG)
def test_what_is_no_such_table_is_refused(name: str) -> None:
    make, error, text = _WRONG[name]
    with pytest.raises(error, match=text) as caught:
        list(read_rows(FINDINGS, io.BytesIO(make()), "OUT/findings"))
    assert "OUT/findings" in str(caught.value)


@given(at=st.integers(0, 3000), value=st.integers(0, 255))
def test_a_changed_byte_is_an_error_or_other_rows(at: int, value: int) -> None:
    known = {"source": "s", "layer_count": 1, "layers": ("a", "b"), "diff_ids": (), "status": "ok"}
    rows = [ImageRow(**unknown(ImageRow) | known | {"reference": f"r{number}"}) for number in range(20)]
    data = bytearray(_written(IMAGES, rows).getvalue())
    data[at % len(data)] = value
    try:
        list(read_rows(IMAGES, io.BytesIO(data), "damaged"))
    except (InvalidDataError, NotSupportedError):
        pass


def test_what_duckdb_is_told_to_read_is_utf_8(tmp_path: Path) -> None:
    rows = [FindingRow("i", "damaged", character, "t\0t") for character in (*string.printable, "é", "\U0001f600")]
    (tmp_path / "f.parquet").write_bytes(_written(FINDINGS, rows).getvalue())
    found = duckdb.read_parquet(str(tmp_path / "f.parquet")).project("place, length(text)").fetchall()
    assert found == [(row.place, 3) for row in rows]
