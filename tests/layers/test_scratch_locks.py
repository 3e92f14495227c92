"""What a process wrote to a scratch stays when others open and close the same scratch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import wclayer
from tests.support import directory
from wclayer.layers.directory import open_layer
from wclayer.layers.directory.scratch import ScratchDirectory
from wclayer.layers.directory.writer import DirectoryLayerWriter

_READ = "import sys; from wclayer.layers.directory import open_layer as L; print(L(sys.argv[1]).record('x'))"


def _other_process(path: Path) -> str:
    """What another process reads as the record "x" of the scratch."""
    return subprocess.run(
        [sys.executable, "-c", _READ, path], check=True, capture_output=True, text=True
    ).stdout.strip()


def test_a_second_look_at_a_scratch_does_not_let_another_process_remove_its_log(tmp_path: Path) -> None:
    with DirectoryLayerWriter(tmp_path / "base") as writer:
        writer.put(directory("Files"))
    run = tmp_path / "run"
    wclayer.create_scratch_layer(run, [tmp_path / "base"])
    with ScratchDirectory(run, exclusive=True) as scratch:
        with open_layer(run):
            pass
        assert _other_process(run) == "None"
        with scratch.transaction():
            scratch.set_record("x", "kept")
        assert _other_process(run) == "kept"
    assert _other_process(run) == "kept"
