"""Layers as a wclayer made them whose databases had version 1 (finished), 2 (scratch) or 3 of the schema."""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path

from wclayer.layers.directory.chain_file import CHAIN_FILE, read_chain

_TABLES = """
CREATE TABLE layer (key TEXT PRIMARY KEY, value) WITHOUT ROWID;

CREATE TABLE security (id INTEGER PRIMARY KEY, descriptor BLOB NOT NULL UNIQUE);

CREATE TABLE entries (
    id INTEGER PRIMARY KEY,
    parent INTEGER NOT NULL,
    name NOT NULL,
    key NOT NULL,
    attributes INTEGER NOT NULL,
    creation_time INTEGER NOT NULL,
    last_access_time INTEGER NOT NULL,
    last_write_time INTEGER NOT NULL,
    change_time INTEGER NOT NULL,
    security INTEGER,
    size INTEGER NOT NULL,
    sha256 BLOB,
    origin INTEGER NOT NULL DEFAULT 0,
    streams INTEGER NOT NULL DEFAULT 0,
    eas BLOB,
    reparse BLOB,
    link INTEGER,
    link_target,
    spelling,
    host_name TEXT,
    form BLOB
);
CREATE UNIQUE INDEX entries_by_name ON entries (parent, key);

CREATE TABLE tombstones (id INTEGER PRIMARY KEY, path NOT NULL, key NOT NULL, form BLOB);

CREATE TABLE streams (
    id INTEGER PRIMARY KEY,
    entry INTEGER NOT NULL,
    stream_id INTEGER NOT NULL,
    attributes INTEGER NOT NULL,
    name NOT NULL,
    size INTEGER NOT NULL,
    sha256 BLOB NOT NULL,
    form BLOB
);
CREATE INDEX streams_by_entry ON streams (entry);
CREATE TABLE stream_data (stream INTEGER, sequence INTEGER, data BLOB, PRIMARY KEY (stream, sequence)) WITHOUT ROWID;
"""
_SCRATCH_TABLES = """
CREATE UNIQUE INDEX tombstones_by_key ON tombstones (key);
CREATE INDEX entries_by_link ON entries (link) WHERE link IS NOT NULL;
CREATE INDEX entries_being_written ON entries (id) WHERE size < 0;
CREATE TABLE taken (layer INTEGER, source INTEGER, entry INTEGER NOT NULL, PRIMARY KEY (layer, source)) WITHOUT ROWID;
CREATE INDEX taken_by_entry ON taken (entry);
"""


def make_old(layer: Path) -> None:
    """Gives a layer the database that an old wclayer would have made for it; nothing has the layer open."""
    place, old = layer / "layer.db", layer / "old.db"
    with closing(sqlite3.connect(place)) as connection:
        kind = connection.execute("SELECT value FROM layer WHERE key = 'kind'").fetchone()[0]
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    is_scratch = kind == "scratch"
    with closing(sqlite3.connect(old, isolation_level=None)) as connection:
        connection.execute("PRAGMA page_size = 4096")
        connection.execute("PRAGMA application_id = 0x57434C59")
        connection.execute(f"PRAGMA user_version = {2 if is_scratch else 1}")
        connection.executescript(_TABLES + (_SCRATCH_TABLES if is_scratch else ""))
        connection.execute("ATTACH ? AS new", (str(place),))
        for (table,) in connection.execute("SELECT name FROM main.sqlite_master WHERE type = 'table'").fetchall():
            names = ", ".join(row[1] for row in connection.execute(f"PRAGMA main.table_info({table})"))
            connection.execute(f"INSERT INTO main.{table} ({names}) SELECT {names} FROM new.{table}")
        connection.execute("DELETE FROM main.layer WHERE key = 'kind'")
        connection.execute("DETACH new")
        if is_scratch:
            connection.execute("PRAGMA journal_mode = WAL")
    for suffix in ("-wal", "-shm"):
        (layer / f"layer.db{suffix}").unlink(missing_ok=True)
    os.replace(old, place)


def make_version_3(layer: Path) -> None:
    """Gives a layer the database that a wclayer would have made for it whose schema had version 3."""
    with closing(sqlite3.connect(layer / "layer.db", isolation_level=None)) as connection:
        (kind,) = connection.execute("SELECT value FROM layer WHERE key = 'kind'").fetchone()
        if kind == "finished":
            connection.execute("DROP INDEX entries_by_link")
        connection.execute("PRAGMA user_version = 3")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def version_of(layer: Path) -> int:
    """Returns the version of the schema of a layer's database."""
    with closing(sqlite3.connect(layer / "layer.db")) as connection:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)


def make_old_chain(layer: Path) -> None:
    """Gives a layer the `layerchain.json` that an old wclayer would have made for it: absolute paths."""
    if parents := read_chain(layer):
        (layer / CHAIN_FILE).write_text(json.dumps([str(parent) for parent in parents]))
