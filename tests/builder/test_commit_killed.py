"""Builds that are killed at random: the store is sound at every moment, prune removes what they left, and the next one
makes the same image.

`WCLAYER_BUILD_KILLS` is the number of kills.
"""

from __future__ import annotations

import os
import random
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("processes are forked", allow_module_level=True)

from tests.builder import making
from tests.builder.images import BASE, store_with_base
from tests.images.victims import KILLED, Victims
from wclayer.images.store import ImageStore

KILLS = int(os.environ.get("WCLAYER_BUILD_KILLS", "12"))


@pytest.fixture(scope="module")
def victims() -> Iterator[Victims]:
    with Victims() as process:
        yield process


def _held(store: ImageStore) -> tuple[set[str], set[str]]:
    """The names of all files that a store has: blobs, and folders of layers."""
    return set(os.listdir(store.path / "blobs" / "sha256")), set(os.listdir(store.path / "layers"))


def test_builds_that_are_killed(victims: Victims, tmp_path: Path) -> None:
    first, _, _ = store_with_base(tmp_path / "first")
    shutil.copytree(first.path, tmp_path / "base", symlinks=True)
    status, seconds = victims.run("tests.builder.making:make", str(first.path))
    assert status == 0
    expected = first.find(making.NAME).digest
    base, complete = _held(ImageStore(tmp_path / "base")), _held(first)
    chance, kills, left, rounds = random.Random(17), 0, 0, 0
    while kills < KILLS:
        rounds += 1
        store = ImageStore(tmp_path / f"store{rounds}")
        shutil.copytree(tmp_path / "base", store.path, symlinks=True)
        status = KILLED
        while status == KILLED:
            # Now and then all of it, or no round would end on a machine that becomes slower.
            after = None if chance.random() < 0.1 else chance.uniform(0, seconds * 1.2)
            status, _ = victims.run("tests.builder.making:make", str(store.path), after=after)
            kills += status == KILLED
            assert list(store.check()) == []
            names = {name.name for name in store.images()}
            assert names in ({BASE}, {BASE, making.NAME})
            left += any(name.startswith(".wclayer-new-") for name in _held(store)[1])
            if chance.random() < 0.5:
                store.prune(keep_hours=0)
                assert _held(store) == (base if names == {BASE} else complete)
                assert list(store.check()) == []
        assert status == 0
        assert store.find(making.NAME).digest == expected
        store.prune(keep_hours=0)
        assert _held(store) == complete
        shutil.rmtree(store.path)
    assert left
