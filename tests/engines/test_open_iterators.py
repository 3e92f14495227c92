"""Checks open what they read at the call, and close it when they are left before their end."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import wclayer
from tests.source import ROOT
from wclayer import sample
from wclayer.layers.open_iterator import OpenIterator


@pytest.fixture
def layer(tmp_path: Path) -> Path:
    """A base layer with a problem in it, and a boot store."""
    with wclayer.new_layer_writer(tmp_path / "layer") as writer:
        sample.write_base(writer)
    (tmp_path / "layer" / "Files" / "stranger").write_bytes(b"x")
    return tmp_path / "layer"


@pytest.mark.parametrize("call", [wclayer.check_layer, wclayer.check_disk, wclayer.read_boot_store])
def test_what_is_missing_is_said_at_the_call(tmp_path: Path, call: Callable[[Path], object]) -> None:
    with pytest.raises(wclayer.PathNotFoundError) as caught:
        call(tmp_path / "none")
    assert caught.value.operation


def test_a_boot_store_that_is_missing_is_said_at_the_call(tmp_path: Path) -> None:
    wclayer.create_layer(tmp_path / "empty")
    with pytest.raises(wclayer.PathNotFoundError, match="has no UtilityVM"):
        wclayer.read_boot_store(tmp_path / "empty")


def _open_files() -> list[str]:
    gc.collect()
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink(f"/proc/self/fd/{name}"))
        except FileNotFoundError:
            pass  # that of the listing itself
    return [target for target in found if target.startswith(str(ROOT)) is False and "layer" in target]


@pytest.mark.skipif(sys.platform != "linux", reason="the witness needs /proc")
@pytest.mark.parametrize("way", ["whole", "closed", "with", "abandoned", "not started"])
def test_a_layer_is_closed_however_its_check_ends(layer: Path, way: str) -> None:
    before = _open_files()
    found: OpenIterator[wclayer.Problem] = wclayer.check_layer(layer)
    assert len(_open_files()) > len(before)
    if way == "whole":
        assert list(found)
    elif way == "closed":
        assert next(found).path
        found.close()
        assert list(found) == []
    elif way == "with":
        with found:
            next(found)
    elif way == "abandoned":
        next(found)
        del found
    else:
        del found
    assert _open_files() == before
