"""The process that serves a mount: what it tells of its end, and what it does with descriptors of other files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import wclayer
from tests.support import put_directories
from wclayer.errors import DiskFullError
from wclayer.layers.directory.scratch import ScratchDirectory
from wclayer.layers.directory.writer import DirectoryLayerWriter
from wclayer.view.fuse import mount
from wclayer.view.volume import Volume

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs fuse")

_ENDS_WITH_AN_ERROR = """
import os, sys
from wclayer.errors import LayerError
from wclayer.view.fuse import server

def serve(*arguments, ready, **options):
    ready()
    # One of these has the number that the pipe had.
    for _ in range(int(sys.argv[2])):
        os.open(sys.argv[3], os.O_RDWR)
    raise LayerError("layer", "the last writes cannot be recorded")

server.serve = serve
server.main(*sys.argv[1:3])
"""


def test_an_error_at_the_end_of_a_mount_is_not_written_to_an_open_file(tmp_path: Path) -> None:
    contents = tmp_path / "contents"
    contents.write_bytes(b"contents of a file in the mount")
    wanted: dict[str, object] = {"target": "", "layers": [], "scratch": None}
    wanted |= dict.fromkeys(("allow_other", "make_target", "needed", "hold"))
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as answer:
        try:
            # The server continues in a child process, which has the standard output until its end.
            subprocess.run(
                [sys.executable, "-c", _ENDS_WITH_AN_ERROR, json.dumps(wanted), str(writer), str(contents)],
                stdout=subprocess.PIPE, pass_fds=(writer,), check=True,
            )  # fmt: skip
        finally:
            os.close(writer)
        assert json.loads(answer.read()).keys() == {"pid"}
    assert contents.read_bytes() == b"contents of a file in the mount"


def test_a_mount_whose_record_cannot_be_removed_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def set_mount(scratch: ScratchDirectory, place: str | None) -> None:
        if place is None:
            raise DiskFullError("layer.db", "full")

    with DirectoryLayerWriter(tmp_path / "base") as writer:
        put_directories(writer, "Files")
    wclayer.create_scratch_layer(tmp_path / "run", [tmp_path / "base"])
    (tmp_path / "place").mkdir()
    for name, value in (("check_fuse", str), ("run_session", lambda *_, **__: None), ("_set_mount", set_mount)):
        monkeypatch.setattr(mount, name, value)
    with pytest.raises(DiskFullError):
        mount.serve(tmp_path / "place", scratch=tmp_path / "run", hold=True)
    Volume(scratch=tmp_path / "run", exclusive=True).close()
    wclayer.destroy_layer(tmp_path / "run")
    wclayer.destroy_layer(tmp_path / "base")
