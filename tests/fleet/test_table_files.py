"""The files that DuckDB reads: shared by threads, whole, and nothing beside them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.fleet.made_fleet import made_fleet, write_fleet
from wclayer.errors import AccessDeniedError, InvalidDataError
from wclayer.fleet.query.session import FleetSession
from wclayer.fleet.query.table_files import TableFiles
from wclayer.fleet.tables.dataset import Dataset
from wclayer.fleet.tables.schema import IMAGES


@pytest.fixture
def fleet(tmp_path: Path) -> Path:
    write_fleet(str(tmp_path / "fleet"), made_fleet(12))
    return tmp_path / "fleet"


def test_each_thread_has_its_own_position(fleet: Path) -> None:
    """The threads of DuckDB share a file, and set the position and read in two calls."""
    files = TableFiles({"main": Dataset(fleet)})
    url = files.urls("main")[IMAGES][0]
    data = Path(files.place(url)).read_bytes()
    with ThreadPoolExecutor(1) as first, ThreadPoolExecutor(1) as second:
        file = files.open(url)
        for a, b in ((0, 100), (7, 3), (len(data) - 8, 0)):
            assert (first.submit(file.seek, a).result(), second.submit(file.seek, b).result()) == (a, b)
            assert first.submit(file.read, 8).result() == data[a : a + 8]
            assert second.submit(file.read, 8).result() == data[b : b + 8]
            assert (first.submit(file.tell).result(), second.submit(file.tell).result()) == (a + 8, b + 8)
        file.close()


def test_what_a_file_does_not_have_is_an_error(fleet: Path) -> None:
    files = TableFiles({"main": Dataset(fleet)})
    url = files.urls("main")[IMAGES][0]
    file = files.open(url)
    with pytest.raises(InvalidDataError, match="bytes after its end"):
        file.read(1 << 40)
    path = Path(files.place(url))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InvalidDataError, match="shorter"):
        file.read()
    file.close()


@pytest.mark.parametrize("name", ["fleet://main/fleet.json", "fleet://main/../x", "fleet://other/x", "x", ""])
def test_other_files_are_not_there(fleet: Path, name: str) -> None:
    files = TableFiles({"main": Dataset(fleet)})
    files.urls("main")
    for ask in (files.open, files.info, files.glob):
        with pytest.raises(AccessDeniedError):
            ask(name)
    with pytest.raises(AccessDeniedError):
        files.open(files.urls("main")[IMAGES][0], "wb")


def test_many_threads_read_what_one_reads(tmp_path: Path) -> None:
    write_fleet(str(tmp_path / "fleet"), made_fleet(300))
    answers = set()
    for threads in (1, 4, 8):
        with FleetSession({"main": tmp_path / "fleet"}, threads=threads) as session:
            answers |= set(session.ask("SELECT count(*), sum(hash(files)) FROM files"))
            answers |= set(session.ask("SELECT count(*), sum(hash(packages)) FROM packages"))
    assert len(answers) == 2
