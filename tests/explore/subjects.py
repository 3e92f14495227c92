"""Disks and tars for the tests of the explorer, and what is in a tree of files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import wclayer
from tests.explore.made import Driven
from tests.layers.hive_layers import import_tar
from tests.support import layer_tar
from wclayer import sample
from wclayer.explore.model.files import FileItem, FileTree


def base_layer(folder: Path) -> Path:
    """The sample base layer."""
    return import_tar(folder, "base", sample.write_base)


def base_tar(folder: Path) -> Path:
    """Its tar."""
    path = folder / "base.tar"
    path.write_bytes(layer_tar(sample.write_base))
    return path


def base_disk(folder: Path, to: str = "vhdx") -> Path:
    """A disk with the same files."""
    disk = folder / f"base.{to}"
    wclayer.convert_layer(base_layer(folder), disk, to=to, label="SYSTEM")
    return disk


@contextmanager
def nothing_else_in(folder: Path) -> Iterator[None]:
    """Inside the context, a folder gets nothing that stays."""
    before = sorted(folder.iterdir())
    yield
    assert sorted(folder.iterdir()) == before


def items(tree: FileTree) -> dict[str, FileItem]:
    """All items of a tree by their paths."""
    found: dict[str, FileItem] = {}
    pending = list(tree.roots())
    while pending:
        item = pending.pop()
        found[item.path] = item
        if item.is_directory:
            pending += tree.children(item)
    return found


def contents(tree: FileTree) -> dict[str, str]:
    """The SHA-256 of all files of C: by their paths."""
    found = {}
    for path, item in items(tree).items():
        if path.startswith("Files/") and not item.is_directory and tree.has_data(item):
            with tree.open(item) as opened:
                found[path] = hashlib.sha256(opened.read()).hexdigest()
    return found


async def search(driven: Driven, text: str) -> None:
    """Searches for a text as a user does."""
    names = {".": "full_stop", ":": "colon", " ": "space", "*": "asterisk", "\\": "backslash"}
    await driven.press("slash", *(names.get(key, key) for key in text))
    await driven.press("enter")
