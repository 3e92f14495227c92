"""Writes docs/fleet-schema.md: the tables of a fleet, with the type and the meaning of each column.

    python docs/fleet_schema.py

The tables are made of `wclayer/fleet/tables/schema.py` alone. tests/fleet/test_schema.py fails while the two differ.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from wclayer.fleet.tables.schema import SCHEMA_VERSION, TABLES, Table

_KINDS = {
    str: "text", int: "64-bit integer", bool: "boolean", datetime: "timestamp (µs, UTC)", tuple: "list of texts",
}  # fmt: skip
DOCUMENT = Path(__file__).with_name("fleet-schema.md")
_HEAD = f"""\
# The tables of a fleet

<!-- Made by `python docs/fleet_schema.py`: change that, or wclayer/fleet/tables/schema.py, not this document. -->

A scan writes what it knows of many images as Parquet tables, to a path or to any URL that fsspec knows. This is
version {SCHEMA_VERSION}.

    OUT/
      fleet.json                          {{"format": "wclayer-fleet", "version": {SCHEMA_VERSION}, "buckets": N}}
      images/bucket=00f/HASH.parquet      the images of a bucket
      packages/bucket=00f/HASH.parquet    what these images hold; updates/, registry/ and findings/ likewise
      files/HEX.parquet                   the entries of a layer; HEX is the digest of its blob
      layers/layers.parquet               all layers
      scan.json                           at a URL, while a scan writes to it
      facts/                              what was read of the layers: a scan needs it, readers of the tables do not

## What holds for all tables

- NULL means that a value is unknown, or that there is none. A text that may be NULL is never empty.
- Digests are texts (`sha256:` and hexadecimal digits). What images hold is keyed by `image`, the digest of the
  manifest: several references may name one image.
- Text is UTF-8. Names of Windows may have lone surrogates, which UTF-8 has not: each is written as `<U+D800>`. The
  character `<` itself is in no name of a file. Texts may have any other character, NUL included.
- Times of files are FILETIMEs, numbers of 100 ns since 1601-01-01 UTC, because Parquet has no time that holds their
  range. Other times are timestamps in UTC, in microseconds.
- `properties` and `labels` are JSON objects as text.
- A file is compressed with zstd, and has at most 65,536 rows in a row group. The same rows give the same bytes.
- The footer of a file has the metadata `wclayer.table` and `wclayer.version`; that of a file in `files/` also has
  `wclayer.layer`, a summary of the layer as JSON.

## Buckets

The images whose digests begin with the same bits are in one bucket; a reference without an image is in that of its
SHA-256. The number of buckets is a power of 2 from 16 to 4096. The first scan chooses it for 128 images a bucket, and
it never changes.

A bucket is replaced as a whole. HASH is a hash of its rows in all tables, and the file in `images/` is written last. So
a bucket has the rows of those files whose HASH is in `images/`. A scan that was killed may leave files of another HASH:
`wclayer fleet query` passes over them, and the next scan removes them. Until then, a reader of all of
`packages/*/*.parquet` would see them, too.

One scan at a time writes to a place; another one is refused. In a folder, the scan holds a lock, which ends with it. At
a URL, it writes `scan.json` once a minute; after a scan was killed, another one is refused for five minutes.

## Versions

A newer version of the tables has other columns, or other meanings. Tables of a newer version are refused. Over tables
of an older version, a scan makes all of them anew; it uses `facts/` again, so that no layer is fetched for it.
"""


def document() -> str:
    """Returns the document."""
    return "\n".join([_HEAD, *(line for table in TABLES for line in _table(table))]) + "\n"


def _table(table: Table) -> Iterator[str]:
    yield from (f"## `{table.name}`", "", table.description, "", "| column | type | meaning |", "|---|---|---|")
    for column in table.columns:
        nullable = ", or NULL" if column.is_nullable else ""
        yield f"| `{column.name}` | {_KINDS[column.kind]}{nullable} | {column.description} |"
    yield ""


if __name__ == "__main__":
    DOCUMENT.write_text(document(), encoding="utf-8")
