"""Who looks for leftovers of interrupted builds does not stand in the way of what is just being made."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

import wclayer
from tests.support import directory
from wclayer.host import system
from wclayer.layers.atomic import remove_leftovers
from wclayer.layers.directory.writer import DirectoryLayerWriter


def test_a_layer_can_be_removed_while_another_process_still_holds_what_it_took_for_a_leftover(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one opens the layer under its hidden name, and locks it when it has its own name already."""
    opened, made, locked = threading.Event(), threading.Event(), threading.Event()
    take = system.Lock.take

    def late(lock: system.Lock, *, shared: bool = False) -> None:
        is_late = threading.current_thread() is other
        if is_late:
            opened.set()
            assert made.wait(10)
        take(lock, shared=shared)
        if is_late:
            locked.set()
            time.sleep(0.1)

    other = threading.Thread(target=remove_leftovers, args=(tmp_path,))
    with DirectoryLayerWriter(tmp_path / "layer") as writer:
        writer.put(directory("Files"))
        monkeypatch.setattr(system.Lock, "take", late)
        other.start()
        assert opened.wait(10)
    made.set()
    assert locked.wait(10)
    wclayer.destroy_layer(tmp_path / "layer")
    other.join()
    assert not list(tmp_path.iterdir())
