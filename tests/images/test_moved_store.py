"""A scratch of an image finds its parents again after the store was moved, by the command that the message names."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.images import samples
from tests.images.stores import fill
from tests.support import run, text
from wclayer.errors import PathNotFoundError
from wclayer.images.store import ImageStore


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """A scratch of an image in a store, whose store was moved since."""
    fill(ImageStore(tmp_path / "store"), "app:1", samples.small_child())
    run("create", "--store", tmp_path / "store", "--from", "app:1", tmp_path / "run")
    assert "Windows" in text("ls", tmp_path / "run", "C:\\")
    (tmp_path / "store").rename(tmp_path / "moved")
    return tmp_path / "run"


def test_the_message_names_a_command_that_works(scratch: Path) -> None:
    told = run("ls", scratch, "C:\\", status=PathNotFoundError.exit_status).stderr.decode()
    found = re.search("`wclayer (relink --store FOLDER .*)`", told)
    assert found is not None, told
    command = found[1].replace("FOLDER", str(scratch.parent / "moved")).split(" ")
    assert "2 parents" in text(*command)
    assert "Windows" in text("ls", scratch, "C:\\")
    assert text("check", scratch).endswith("no problem found\n")


def test_the_store_keeps_the_image_that_was_found(scratch: Path) -> None:
    moved = scratch.parent / "moved"
    store = ImageStore(moved)
    # Only the name is left, as in another store with the same image.
    store.untag(samples.small_child().digest)
    text("relink", "--store", moved, scratch)
    store.untag("app:1")
    store.prune()
    assert "Windows" in text("ls", scratch, "C:\\")


def test_a_store_without_the_image_is_told(scratch: Path) -> None:
    shutil.rmtree(scratch.parent / "moved")
    told = run("relink", "--store", scratch.parent / "moved", scratch, status=PathNotFoundError.exit_status).stderr
    assert b"name the parents: -l" in told
