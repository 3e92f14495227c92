"""The tar of a layer in the explorer: the same as the imported layer, without it."""

from __future__ import annotations

import gzip
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import wclayer
from tests.explore.chains import base, update
from tests.explore.made import Driven, drive
from tests.explore.subjects import base_layer, base_tar, contents, items, search
from tests.support import layer_tar, tree_listing, witness
from wclayer.errors import LayerError
from wclayer.explore.model.explored import ChainSession, View
from wclayer.explore.model.explored_tar import ExploredTar
from wclayer.explore.model.export import export
from wclayer.view.transfer import copy_out

VIEW = View(1)


@pytest.fixture(autouse=True)
def temporary(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder for temporary files, in which nothing is left at the end."""
    folder = tmp_path_factory.mktemp("temporary")
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert list(folder.iterdir()) == []


@pytest.fixture(scope="module")
def tars(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The tar of the sample layer, plain and compressed."""
    folder = tmp_path_factory.mktemp("tars")
    plain = base_tar(folder)
    for form in ("gzip", "zstd"):
        packed = subprocess.run([witness(form), "-c", str(plain)], check=True, capture_output=True).stdout
        (folder / f"base.tar.{form}").write_bytes(packed)
    return {"plain": plain, **{form: folder / f"base.tar.{form}" for form in ("gzip", "zstd")}}


FORMS = pytest.mark.parametrize("form", ["plain", "gzip", "zstd"])


@FORMS
def test_the_tree_is_that_of_the_imported_layer(tars: dict[str, Path], tmp_path: Path, form: str) -> None:
    layer = base_layer(tmp_path)
    explored = ExploredTar(tars[form])
    with explored.session() as session, ChainSession([layer]) as imported:
        found, expected = session.files(VIEW), imported.files(VIEW)
        assert {p: i.size for p, i in items(found).items()} == {
            p: i.size for p, i in items(expected).items() if not p.startswith("Hives/")
        }
        assert contents(found) == contents(expected)
        path = "Files/License.txt"
        told = [fact.text for fact in found.facts(items(found)[path]) if fact.label != "stored in"]
        assert told == [fact.text for fact in expected.facts(items(expected)[path]) if fact.label != "stored in"]
        (stream,) = found.streams(items(found)[path])
        assert found.read_stream(items(found)[path], stream[0], 100) == b"[ZoneTransfer]\r\nZoneId=3\r\n"
    explored.close()


@FORMS
def test_it_is_shown_with_its_registry_inventory_and_waste(tars: dict[str, Path], form: str) -> None:
    explored = ExploredTar(tars[form])

    async def steps(driven: Driven) -> None:
        assert "▾ C:" in driven.text()
        assert "tar of a layer" in driven.text()
        await search(driven, "win.ini")
        await driven.press("enter")
        assert "[fonts]" in driven.text()
        await driven.press("2")
        await search(driven, "CurrentVersion")
        await driven.press("enter")
        assert "ProductName" in driven.text()
        await driven.press("escape", "3")
        assert "Operating system" in driven.text()
        await driven.press("4")
        assert "Layer" in driven.text()
        await driven.press("5")
        assert "The largest files" in driven.text()

    drive(explored, steps, (160, 60))
    explored.close()


@FORMS
def test_what_is_exported_is_what_cp_copies(tars: dict[str, Path], tmp_path: Path, form: str) -> None:
    layer = base_layer(tmp_path)
    explored = ExploredTar(tars[form])
    with explored.session() as session:
        item = items(session.files(VIEW))["Files/Users"]
        copied = export(session, VIEW, item, tmp_path / "copy", lambda state: None, lambda: False)
    explored.close()
    with wclayer.LayerView([layer]) as view:
        left: list[tuple[str, str]] = []
        count = copy_out(
            view, "/Files/Users", tmp_path / "expected", recursive=True, left_out=lambda *each: left.append(each)
        )
    assert (copied.files, copied.count_left_out) == (count, len(left))
    assert tree_listing(tmp_path / "copy") == tree_listing(tmp_path / "expected")
    for name in os.listdir(tmp_path / "expected" / "Public"):
        a, b = (tmp_path / each / "Public" / name for each in ("copy", "expected"))
        assert (a.is_symlink(), a.is_symlink() and os.readlink(a)) == (
            b.is_symlink(),
            b.is_symlink() and os.readlink(b),
        )


def test_a_layer_on_others_says_what_it_removes(tmp_path: Path) -> None:
    path = tmp_path / "update.tar"
    path.write_bytes(gzip.compress(layer_tar(update)))
    explored = ExploredTar(path)

    async def steps(driven: Driven) -> None:
        assert "removes 1 name" in " ".join(driven.text().split())
        assert "C:\\b" in driven.text()
        assert "added.txt" in driven.text() or "new" in driven.text()

    drive(explored, steps, (200, 50))
    explored.close()
    assert "layer of it" not in str(explored.summary)


def test_the_tar_is_not_replaced_by_an_export(tmp_path: Path) -> None:
    path = tmp_path / "base.tar"
    path.write_bytes(layer_tar(base))
    explored = ExploredTar(path)
    with explored.session() as session, pytest.raises(LayerError, match="is also what is read"):
        item = items(session.files(VIEW))["Files/Kept/x"]
        export(session, VIEW, item, path, lambda state: None, lambda: False)
    explored.close()


def test_an_empty_tar_is_an_empty_layer(tmp_path: Path) -> None:
    (tmp_path / "empty.tar").write_bytes(bytes(10240))
    explored = ExploredTar(tmp_path / "empty.tar")

    async def steps(driven: Driven) -> None:
        assert "C:" in driven.text()
        await driven.press("l", "2", "3", "4", "5")

    drive(explored, steps)
    explored.close()
