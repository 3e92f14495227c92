"""What a search has found, after the view has changed, and in directories that are damaged."""

from __future__ import annotations

import re
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest

from tests.explore.chains import base, update
from tests.explore.made import Driven, drive, explored, explored_pair
from tests.explore.registries import registry_base, registry_update
from tests.explore.subjects import search
from tests.support import put_directories, put_file, write_volume
from wclayer.explore.model.chain_files import ChainFiles
from wclayer.explore.model.explored import ExploredChain
from wclayer.explore.model.explored_disk import ExploredDisk
from wclayer.explore.model.files import FileItem
from wclayer.explore.model.totals import count_totals
from wclayer.model import LayerWriter


def third(writer: LayerWriter) -> None:
    put_directories(writer, "Files", "Files/a", "Files/new")
    put_file(writer, "Files/a/changed.txt", b"third version\n")


@pytest.fixture
def image(tmp_path: Path) -> ExploredChain:
    return explored(tmp_path, base, update, third)


def test_a_search_is_made_anew_in_another_layer(image: ExploredChain) -> None:
    async def steps(driven: Driven) -> None:
        await search(driven, "changed")
        for key, layer, size in (("full_stop", 3, 14), ("comma", 2, 15), ("comma", 1, 10), ("full_stop", 2, 15)):
            await driven.press(key)
            assert driven.files.item is not None
            assert (driven.files.item.path, driven.files.item.layer) == ("Files/a/changed.txt", layer)
            assert driven.files.item.size == size
            assert "1 item found" in driven.text()

    drive(image, steps)


def test_what_is_found_is_told_of_the_layer_that_is_shown(image: ExploredChain) -> None:
    async def steps(driven: Driven) -> None:
        await search(driven, "same")
        await driven.press("comma", "comma", "p")
        assert "2" * 20 in driven.text()
        await driven.press("escape")
        await search(driven, "added.txt")
        assert "0 items found" in driven.text()
        await driven.press("full_stop", "p", "p")
        assert "7" * 20 in driven.text()
        await driven.press("comma", "escape")
        assert "items found" not in driven.text()

    drive(image, steps, (200, 50))


def test_what_is_exported_is_of_the_layer_that_is_shown(image: ExploredChain, tmp_path: Path) -> None:
    async def steps(driven: Driven) -> None:
        await search(driven, "changed")
        await driven.press("comma", "x")
        driven.app.screen.query_one("#answer").value = str(tmp_path / "out.txt")  # type: ignore[attr-defined]
        await driven.press("enter")

    drive(image, steps)
    assert (tmp_path / "out.txt").read_bytes() == b"6" * 15


def test_keys_that_were_found_are_those_of_the_layer_that_is_shown(tmp_path: Path) -> None:
    async def steps(driven: Driven) -> None:
        await driven.press("2")
        await search(driven, "Changed")
        await driven.press("comma", "p")
        assert "layer 1 of 2" in driven.text()
        registry = driven.app.tabs["Registry"]
        assert {item.mark.word for item in registry.found or ()} == {"added"}  # type: ignore[attr-defined]
        await driven.press("enter", "p")

    drive(explored(tmp_path, registry_base, registry_update), steps, (150, 30))


@pytest.fixture
def damaged(tmp_path: Path) -> ExploredDisk:
    """A disk of whose directories one has a damaged index."""

    def many(writer: LayerWriter) -> None:
        put_directories(writer, "Files", "Files/a", "Files/b", "Files/c")
        for number in range(300):
            put_file(writer, f"Files/b/name-{number:04}.txt", b"x")
        put_file(writer, "Files/a/wanted.txt", b"yy")
        put_file(writer, "Files/c/wanted.txt", b"zzz")

    place = write_volume(tmp_path / "volume", many)
    data = bytearray(place.read_bytes())
    blocks = [found.start() for found in re.finditer(b"INDX", data)]
    blocks = [at for at in blocks if "name-0".encode("utf-16-le") in data[at : at + 4096]]
    assert blocks
    for at in blocks:
        data[at : at + 4] = b"BAAD"
    place.write_bytes(data)
    return ExploredDisk(place)


def test_a_damaged_directory_does_not_end_a_search(damaged: ExploredDisk) -> None:
    async def steps(driven: Driven) -> None:
        await search(driven, "wanted")
        assert "2 items found" in driven.text()
        assert "1 could not be read" in driven.text()

    drive(damaged, steps)


def test_a_damaged_directory_is_missing_in_the_sums_and_told(damaged: ExploredDisk) -> None:
    async def steps(driven: Driven) -> None:
        top = driven.files.rows.rows[0].item
        totals = driven.files.totals_of(top)
        assert totals is not None
        assert (totals.bytes, totals.files, totals.directories, totals.unread) == (5, 2, 3, 1)
        assert "without what is in 1 directory that cannot be read" in driven.text()
        assert [message for message in driven.messages if "C:\\b cannot be read" in message]
        await driven.press("5", "j")
        assert "C:\\b cannot be read" in driven.text()
        await driven.press("j", "l")
        assert "C:\\c\\wanted.txt" in driven.text()

    drive(damaged, steps, (200, 40))


def test_sums_that_are_known_later_are_told_of_what_is_chosen(
    damaged: ExploredDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def late(*arguments: Any) -> None:
        time.sleep(0.5)
        count_totals(*arguments)

    async def steps(driven: Driven) -> None:
        assert "without what is in 1 directory that cannot be read" in driven.text()

    monkeypatch.setattr("wclayer.explore.widgets.marked_pane.count_totals", late)
    drive(damaged, steps, (200, 40))


def test_a_damaged_directory_that_is_open_does_not_hinder_another_view(damaged: ExploredDisk) -> None:
    async def steps(driven: Driven) -> None:
        while driven.files.item is None or driven.files.item.name != "b":
            await driven.press("j")
        await driven.press("space", "t")
        assert driven.files.view.times is False
        assert driven.files.item.name == "b"
        told = [message for message in driven.messages if "INDX" in message or "b cannot be read" in message]
        assert told
        await driven.press("t")
        assert driven.files.view.times is True
        assert "C:\\b cannot be read" in driven.text()

    drive(damaged, steps, (200, 40))


def test_a_directory_that_cannot_be_read_is_told_of_two_that_are_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = explored_pair(tmp_path, [base], [], [update])
    children = ChainFiles.children

    def damaged_children(self: ChainFiles, item: FileItem) -> list[FileItem]:
        if item.path == "Files/b":
            raise sqlite3.DatabaseError("database disk image is malformed")
        return children(self, item)

    monkeypatch.setattr(ChainFiles, "children", damaged_children)
    for outline in (pair.waste(lambda state: None), pair.inventory(lambda state: None)):
        assert outline[0].title == "C:\\b cannot be read: database disk image is malformed"
    assert any(item.title.startswith("Contents of second alone (3 files)") for item in pair.waste(lambda state: None))
