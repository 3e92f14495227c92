"""`wclayer fleet query`: what SQL sees, how answers are printed, and what is damaged or missing."""

from __future__ import annotations

import csv
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from tests.fleet.made_fleet import MadeFleet, made_fleet, write_fleet
from tests.support import parsed, run, text
from wclayer.errors import (
    InvalidDataError,
    InvalidParameterError,
    NotSupportedError,
    OutOfMemoryError,
    PathNotFoundError,
)
from wclayer.fleet.query.asking import query_fleet
from wclayer.fleet.query.questions import QUESTIONS
from wclayer.fleet.query.session import FleetSession
from wclayer.fleet.query.views import FUNCTIONS, VIEWS
from wclayer.fleet.tables.schema import TABLES
from wclayer.win32 import filetime


@pytest.fixture(scope="module")
def rows() -> MadeFleet:
    return made_fleet(60)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory, rows: MadeFleet) -> Path:
    path = tmp_path_factory.mktemp("query") / "fleet"
    write_fleet(str(path), rows)
    return path


def ask(fleet: Path | str, sql: str, **parameters: str) -> list[tuple[Any, ...]]:
    with query_fleet(fleet, sql, parameters) as answer:
        return list(answer)


def test_each_table_is_a_view_with_its_columns_and_rows(fleet: Path, rows: MadeFleet) -> None:
    known: dict[str, list[Any]] = {
        "images": rows.rows.images, "packages": rows.rows.packages, "updates": rows.rows.updates,
        "registry": rows.rows.registry, "findings": rows.rows.findings, "layers": list(rows.layers.values()),
        "files": [row for files in rows.files.values() for row in files],
    }  # fmt: skip
    assert {table.name for table in TABLES} == known.keys()
    for name, expected in known.items():
        with query_fleet(fleet, f"FROM {name}") as answer:
            records = list(answer.records())
            assert answer.columns == expected[0]._fields
        known_texts = sorted(json.dumps(_as_sql_has_it(row._asdict()), default=str) for row in expected)
        assert sorted(json.dumps(record, default=str) for record in records) == known_texts


def _as_sql_has_it(record: dict[str, Any]) -> dict[str, Any]:
    for name, value in record.items():
        if isinstance(value, tuple):
            record[name] = list(value)
        elif hasattr(value, "tzinfo"):
            record[name] = value.replace(tzinfo=None)
    if "key" in record and record["key"] is None:
        record["key"] = record["path"].upper()
    return record


def test_views_and_functions_are_there(fleet: Path) -> None:
    names = {name for (name,) in ask(fleet, "SHOW TABLES")}
    assert names == {table.name for table in TABLES} | {view.name for view in VIEWS}
    known = {name for (name,) in ask(fleet, "SELECT function_name FROM duckdb_functions() WHERE NOT internal")}
    assert known == {function.call.partition("(")[0] for function in FUNCTIONS}
    for ticks in (0, 116444736000000000, 133444736001234567):
        (found,) = ask(fleet, "SELECT time_of($ticks::BIGINT)", ticks=str(ticks))[0]
        assert found.isoformat()[:26] == filetime.to_iso(ticks)[: len(found.isoformat())]


def test_references_have_what_their_image_holds(fleet: Path, rows: MadeFleet) -> None:
    names = {row.image: 0 for row in rows.rows.images}
    for row in rows.rows.images:
        names[row.image] += 1
    expected = sum(names[row.image] for row in rows.rows.packages)
    assert ask(fleet, "SELECT count(*) FROM reference_packages") == [(expected,)]


def test_a_fleet_may_be_at_a_url(rows: MadeFleet) -> None:
    write_fleet("memory://query/fleet", rows)
    try:
        assert ask("memory://query/fleet", "SELECT count(*) FROM images") == [(len(rows.rows.images),)]
        assert ask("memory://query/fleet", "SELECT count(*) FROM image_files")[0][0] > 100
    finally:
        fsspec.filesystem("memory").rm("/query", recursive=True)


def test_parameters_are_values_and_no_sql(fleet: Path) -> None:
    assert ask(fleet, "SELECT $a || $b", a="'; --", b="x") == [("'; --x",)]


def test_the_command_prints_a_table_json_and_csv(fleet: Path, rows: MadeFleet) -> None:
    sql = "SELECT reference, created, layers, status = 'ok' AS is_ok, size, NULL AS nothing FROM images ORDER BY 1"
    expected = sorted(rows.rows.images)
    lines = text("fleet", "query", fleet, sql).splitlines()
    assert lines[0].split() == ["REFERENCE", "CREATED", "LAYERS", "IS_OK", "SIZE", "NOTHING"]
    assert [line.split()[0] for line in lines[1:]] == [row.reference for row in expected]
    found: Any = parsed("fleet", "query", fleet, sql)
    for record, row in zip(found, expected, strict=True):
        created = row.created.replace(tzinfo=None).isoformat() if row.created else None
        assert record == {
            "reference": row.reference, "created": created, "layers": list(row.layers), "is_ok": row.status == "ok",
            "size": row.size, "nothing": None,
        }  # fmt: skip
    table = list(csv.reader(io.StringIO(text("fleet", "query", fleet, sql, "--csv"))))
    assert table[0] == list(found[0])
    assert [json.loads(line[2]) for line in table[1:]] == [record["layers"] for record in found]
    assert {line[3] for line in table[1:]} == {"true", "false"}


def test_json_has_a_form_for_every_type(fleet: Path) -> None:
    sql = (
        "SELECT 1.5::DOUBLE AS a, 'nan'::DOUBLE AS a, 12345678901234567890::HUGEINT AS b, 1.25::DECIMAL(4,2) AS c,"
        " DATE '2026-01-02' AS d, TIME '03:04:05' AS e, INTERVAL 90 SECOND AS f, '\\x00\\xff'::BLOB AS g,"
        " {'x': [1, NULL]} AS h, MAP {'k': 1} AS i, uuid() IS NOT NULL AS j, TIMESTAMPTZ '2026-01-02 00:00:00+02' AS k,"
        " '\u202e\x1b' AS l"
    )
    found: Any = parsed("fleet", "query", fleet, sql)
    (record,) = found
    assert record == {
        "a": 1.5, "a_2": "nan", "b": 12345678901234567890, "c": "1.25", "d": "2026-01-02", "e": "03:04:05",
        "f": "0:01:30", "g": "00ff", "h": {"x": [1, None]}, "i": {"k": 1}, "j": True, "k": "2026-01-01T22:00:00+00:00",
        "l": "\u202e\x1b",
    }  # fmt: skip
    assert "\x1b" not in text("fleet", "query", fleet, sql)


def test_what_was_not_read_is_told_beside_the_answer(fleet: Path, rows: MadeFleet) -> None:
    unread = sum(row.status in ("error", "incomplete") for row in rows.rows.images)
    done = run("fleet", "query", fleet, "--question", "patch-levels", "--csv")
    assert f"wclayer: {unread} references could not be read" in done.stderr.decode()


def test_the_questions_are_listed() -> None:
    lines = text("fleet", "query", "--list").splitlines()
    assert [line.split()[0] for line in lines] == [question.name for question in QUESTIONS]
    listed: Any = parsed("fleet", "query", "--list")
    assert [each["name"] for each in listed] == [question.name for question in QUESTIONS]


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["SELECT 1", "SELECT 2"], 64, "one query as one word"), ([], 64, "one query as one word"),
        (["SELECT 1", "--json", "--csv"], 64, "exclude each other"), (["SELEC"], 5, "syntax error"),
        (["SELECT nothing FROM images"], 5, "nothing"), (["--question", "why"], 5, "no ready question"),
        (["SELECT 1", "--memory", "1MiB"], 5, "too few"), (["SELECT 1", "--threads", "0"], 64, "threads"),
        (["SELECT 1; SELECT 2"], 5, "not one query"), ([""], 5, "not one query"), (["SELECT $x"], 5, "x"),
    ],
)  # fmt: skip
def test_wrong_use_is_one_line(fleet: Path, arguments: list[str], status: int, message: str) -> None:
    done = run("fleet", "query", fleet, *arguments, status=status)
    assert done.stdout == b""
    assert done.stderr.decode().count("\n") == 1
    assert message in done.stderr.decode()


def test_no_fleet_is_told(tmp_path: Path) -> None:
    with pytest.raises(PathNotFoundError, match="no fleet"):
        ask(tmp_path / "nothing", "SELECT 1")
    (tmp_path / "fleet.json").write_text('{"format": "wclayer-fleet", "version": 1, "buckets": 16}')
    with pytest.raises(PathNotFoundError, match="no scan has ended"):
        ask(tmp_path, "SELECT 1")
    (tmp_path / "fleet.json").write_text('{"format": "wclayer-fleet", "version": 99, "buckets": 16}')
    with pytest.raises(NotSupportedError, match="newer"):
        ask(tmp_path, "SELECT 1")
    (tmp_path / "fleet.json").write_text("{")
    with pytest.raises(InvalidDataError, match=r"fleet\.json"):
        ask(tmp_path, "SELECT 1")


@pytest.fixture
def copied(tmp_path: Path, fleet: Path) -> Path:
    return Path(shutil.copytree(fleet, tmp_path / "copy"))


@pytest.mark.parametrize("table", ["packages", "images", "files"])
def test_a_missing_file_is_an_error(copied: Path, table: str) -> None:
    file = next((copied / table).rglob("*.parquet"))
    with FleetSession({"main": copied}) as session:
        file.unlink()
        with pytest.raises(PathNotFoundError, match=file.name):
            list(session.ask(f"SELECT count(DISTINCT {table}::TEXT) FROM {table}"))
    if table == "packages":
        with pytest.raises(PathNotFoundError, match=file.name):
            ask(copied, "SELECT 1")


def test_a_file_of_another_table_is_an_error(copied: Path) -> None:
    file = sorted((copied / "packages").rglob("*.parquet"))[1]
    shutil.copy(copied / "layers/layers.parquet", file)
    with pytest.raises(InvalidDataError, match=file.name):
        ask(copied, "FROM packages")


def _damages(data: bytes) -> Iterator[bytes]:
    chance = random.Random(len(data))
    yield b""
    yield data[: chance.randrange(len(data))]
    yield data[:-1]
    for _ in range(4):
        changed = bytearray(data)
        place = chance.randrange(len(data) - 1500, len(data)) if chance.random() < 0.6 else chance.randrange(len(data))
        changed[max(0, place)] ^= 1 << chance.randrange(8)
        yield bytes(changed)


@pytest.mark.parametrize("table", [table.name for table in TABLES])
def test_a_damaged_file_is_an_error_and_no_crash(copied: Path, table: str) -> None:
    file = next((copied / table).rglob("*.parquet"))
    data = file.read_bytes()
    errors = 0
    for changed in _damages(data):
        file.write_bytes(changed)
        try:
            ask(copied, f"FROM {table}")
        except InvalidDataError as error:
            errors += 1
            assert error.path in (str(file), str(copied))
    assert errors >= 3


def test_memory_is_bounded(fleet: Path) -> None:
    with FleetSession({"main": fleet}, memory=100 << 20) as session:
        with pytest.raises(OutOfMemoryError, match="more memory than it may use"):
            list(session.ask("SELECT count(DISTINCT repeat(range::TEXT, 100)) FROM range(10000000)"))
        assert list(session.ask("SELECT 1")) == [(1,)]


def test_an_answer_is_used_in_pieces_and_closed_early(fleet: Path) -> None:
    with query_fleet(fleet, "SELECT range, repeat('x', 1000) FROM range(1000000000)") as answer:
        assert next(answer)[0] == 0
    assert list(answer) == []
    with pytest.raises(InvalidParameterError):
        query_fleet(fleet, "nonsense")


def test_an_interrupt_ends_a_long_query_in_one_line(fleet: Path) -> None:
    sql = "SELECT count(*) FROM range(10000000) a, range(10000000) b WHERE hash(a.range + b.range) % 7 = 3"
    assert _interrupted(fleet, sql) == (130, b"", b"wclayer: interrupted\n")


def test_an_interrupt_ends_a_query_that_has_given_rows(fleet: Path) -> None:
    status, out, told = _interrupted(
        fleet, "SELECT range FROM range(1000000000000) WHERE range < 5000 OR hash(range) = 3"
    )
    assert (status, told) == (130, b"wclayer: interrupted\n")
    assert out.startswith(b"RANGE\n0\n1\n")


def _interrupted(fleet: Path, sql: str) -> tuple[int, bytes, bytes]:
    """How the command ends, and what it prints, if an interrupt comes while it works on a query."""
    words = [sys.executable, "-m", "wclayer", "fleet", "query", str(fleet), sql]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        # It works once it has used more time than it takes to start.
        while _seconds_used(process.pid) < 5:
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        out, told = process.communicate()
    return process.returncode, out, told


def _seconds_used(pid: int) -> float:
    """The time of processors that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
