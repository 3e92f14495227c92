"""SQL of a user sees the tables of a fleet and nothing else: no other files, no network, no way to write."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet

from tests.fleet.made_fleet import made_fleet, write_fleet
from tests.support import tree_listing
from wclayer.errors import AccessDeniedError, InvalidParameterError, LayerError
from wclayer.fleet.query.session import FleetSession

SECRET = "the secret of this machine"
table_of_python = pyarrow.table({"secret": [SECRET]})
"""A variable that DuckDB would find by its name."""


class Place:
    """A fleet with secrets beside it and in it, and a server that counts who connects."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.fleet = folder / "fleet"
        self.connections = 0
        write_fleet(str(self.fleet), made_fleet(6))
        for name in ("secret.txt", "fleet/facts/secret.txt", "fleet/images/secret.txt"):
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(SECRET)
        for name in ("secret.parquet", "fleet/images/secret.parquet"):
            parquet.write_table(table_of_python, folder / name)
        (folder / "fleet/images/link.parquet").symlink_to(folder / "secret.parquet")
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = self.server.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.server.accept()
            except OSError:
                return
            self.connections += 1
            connection.close()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    place = Place(tmp_path_factory.mktemp("bounds"))
    with place.server:
        yield place


READS = [
    "FROM read_text('{folder}/secret.txt')", "FROM read_blob('{folder}/secret.txt')", "FROM '{folder}/secret.parquet'",
    "FROM read_csv('{folder}/secret.txt')", "FROM sniff_csv('{folder}/secret.txt')", "FROM glob('{folder}/*')",
    "FROM read_json('{folder}/secret.txt')", "FROM read_ndjson_objects('{folder}/secret.txt')",
    "FROM parquet_metadata('{folder}/secret.parquet')", "FROM parquet_schema('{folder}/secret.parquet')",
    "FROM read_parquet('{folder}/*.parquet')", "FROM parquet_scan(['{folder}/secret.parquet'])",
    "FROM read_text('file://{folder}/secret.txt')", "FROM read_text('/dev/stdin')",
    "FROM read_text('/proc/self/environ')",
    "FROM read_text('fleet://{folder}/secret.txt')", "FROM read_text('fleet://main/../secret.txt')",
    "FROM read_text('fleet://main/%2e%2e/secret.txt')", "FROM read_text('fleet:///{folder}/secret.txt')",
    "FROM read_text('fleet://main/facts/secret.txt')", "FROM read_text('fleet://main/fleet.json')",
    "FROM 'fleet://main/images/secret.parquet'", "FROM 'fleet://main/images/link.parquet'",
    "FROM read_parquet('fleet://main/images/*.parquet')", "FROM glob('fleet://**')", "FROM glob('fleet://main/**')",
    "SELECT * FROM images WHERE 1 = (SELECT count(*) FROM read_text('{folder}/secret.txt'))",
    "DESCRIBE '{folder}/secret.parquet'", "SUMMARIZE '{folder}/secret.txt'", "FROM table_of_python", "FROM place",
    "FROM query('FROM read_text(''{folder}/secret.txt'')')", "FROM query_table('{folder}/secret.parquet')",
    "FROM read_csv('http://127.0.0.1:{port}/x.csv')", "FROM 'http://127.0.0.1:{port}/x.parquet'",
    "FROM read_text('memory://x')", "FROM 's3://127.0.0.1:{port}/x.parquet'", "FROM read_duckdb('{folder}/secret.txt')",
    "FROM sqlite_scan('{folder}/secret.txt', 'x')", "FROM read_xlsx('{folder}/secret.txt')",
    "FROM postgres_scan('host=127.0.0.1 port={port}', 'a', 'b')", "FROM duckdb_secrets()", "SELECT getenv('HOME')",
    "FROM arrow_scan(NULL, NULL, NULL)", "FROM arrow_scan(1, 1, 1)", "FROM arrow_scan_dumb(NULL, NULL, NULL)",
    "FROM pandas_scan(NULL)", "FROM pandas_scan(1)", "FROM python_arrow_scan(NULL)",
]  # fmt: skip
"""Queries that would read what is no table."""
CHANGES = [
    "COPY (SELECT 1) TO '{folder}/new.csv'", "COPY images TO '{folder}/new.parquet'", "COPY images TO 'new.csv'",
    "COPY (SELECT 1) TO 'fleet://main/images/new.parquet'", "COPY (SELECT 1) TO 'fleet://{folder}/new.parquet'",
    "COPY (SELECT 1) TO '/dev/stdout'", "EXPORT DATABASE '{folder}/new'", "IMPORT DATABASE '{folder}'",
    "ATTACH '{folder}/new.db'", "ATTACH ':memory:' AS other", "INSTALL httpfs", "LOAD httpfs",
    "INSTALL x FROM 'http://127.0.0.1:{port}'", "LOAD '{folder}/secret.txt'", "FORCE INSTALL json",
    "SET enable_external_access = true", "SET lock_configuration = false", "RESET enable_external_access",
    "SET allowed_directories = ['/']", "SET allowed_paths = ['{folder}/secret.txt']", "SET memory_limit = '100GB'",
    "SET temp_directory = '{folder}/new'", "SET log_query_path = '{folder}/new'",
    "SET extension_directory = '{folder}'",
    "SET profiling_output = '{folder}/new'", "PRAGMA enable_profiling", "PRAGMA profile_output = '{folder}/new'",
    "CALL enable_logging(storage = 'file', storage_path = '{folder}/new')", "CREATE PERSISTENT SECRET x (TYPE s3)",
    "EXPLAIN ANALYZE COPY (SELECT 1) TO '{folder}/new.csv'", "PREPARE x AS COPY (SELECT 1) TO '{folder}/new.csv'",
]  # fmt: skip
"""Statements that would change or load something. All of them are refused because they are no queries, and once more by
DuckDB."""


@pytest.mark.parametrize("sql", [*READS, *CHANGES])
def test_sql_does_not_get_out(place: Place, sql: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    before = tree_listing(place.folder)
    with FleetSession({"main": place.fleet}) as session:
        with pytest.raises((AccessDeniedError, InvalidParameterError)) as refused:
            print(list(session.ask(sql.format(folder=place.folder, port=place.port))))
        assert list(session.ask("SELECT count(*) FROM images")) == [(7,)]
    assert SECRET not in str(refused.value)
    assert tree_listing(place.folder) == before
    assert os.listdir(tmp_path) == []
    assert place.connections == 0


@pytest.mark.parametrize("sql", CHANGES)
def test_duckdb_refuses_what_is_no_query(
    place: Place, sql: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if the check for queries had a hole."""
    monkeypatch.chdir(tmp_path)
    before = tree_listing(place.folder)
    with FleetSession({"main": place.fleet}) as session:
        connection, told = session._connection, session._told
        try:
            with told():
                connection.execute(sql.format(folder=place.folder, port=place.port)).fetchall()
        except LayerError as error:
            assert SECRET not in str(error)
        else:
            # What is in memory alone is nobody's.
            assert sql.startswith(("ATTACH ':memory:'", "FORCE INSTALL json", "PREPARE"))
        assert list(session.ask("SELECT current_setting('enable_external_access')")) == [(False,)]
        assert list(session.ask("SELECT current_setting('lock_configuration')")) == [(True,)]
    assert tree_listing(place.folder) == before
    assert os.listdir(tmp_path) == []
    assert place.connections == 0


@pytest.mark.parametrize("sql", ["SELECT " + "(" * 50_000 + "1" + ")" * 50_000, "SELECT 1 --" + "x" * (1 << 20)])
def test_a_long_query_is_an_error(place: Place, sql: str) -> None:
    with FleetSession({"main": place.fleet}) as session, pytest.raises(InvalidParameterError):
        session.ask(sql)
