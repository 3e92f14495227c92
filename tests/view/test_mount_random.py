"""Random sequences of calls in a mount: each does what a model in memory does, and each returns.

`WCLAYER_MOUNT_SEEDS=500` in the environment takes as many seeds, from a random one on."""

from __future__ import annotations

import json
import os
import random
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

import wclayer
from tests.support import info, put_directories, put_file, witness
from tests.view import mount_steps
from wclayer.layers.directory.writer import DirectoryLayerWriter
from wclayer.model import Entry
from wclayer.view.fuse import mount
from wclayer.view.layer_view import LayerView

_PATIENCE = 60.0
"""Seconds after which a call hangs."""
_STEPS = 300
_COUNT = int(os.environ.get("WCLAYER_MOUNT_SEEDS", "0"))
_FIRST = random.SystemRandom().randrange(10**6)
_SEEDS = range(_FIRST, _FIRST + _COUNT) if _COUNT else range(4)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    witness("fusermount3")
    layer = tmp_path_factory.mktemp("layers") / "base"
    with DirectoryLayerWriter(layer) as writer:
        put_directories(writer, "Files", "Files/d", "Files/d/d")
        for name, data in mount_steps.FILES.items():
            put_file(writer, f"Files/{name}", data)
        first, second = mount_steps.LINKED
        put_file(writer, f"Files/{first}", mount_steps.LINKED_DATA)
        writer.put(Entry(f"Files/{second}", info(), link_target=f"Files/{first}"))
    return layer


@pytest.mark.parametrize("seed", _SEEDS)
def test_random_calls_return_and_do_what_a_file_system_does(base: Path, tmp_path: Path, seed: int) -> None:
    wclayer.create_scratch_layer(tmp_path / "run", [base])
    place = tmp_path / "m"
    place.mkdir()
    server = mount.start(place, scratch=tmp_path / "run")
    try:
        said = _watched(server, [str(place), str(seed), str(_STEPS)])
    finally:
        if os.path.ismount(place):
            mount.unmount(place)
    mount.wait_until_free(tmp_path / "run")
    assert said[-1].startswith("done "), "\n".join(said[-12:])
    wanted = json.loads(said[-1].removeprefix("done "))
    with LayerView(scratch=tmp_path / "run") as view:
        names = [node.path.removeprefix("Files/") for node in view.volume.tree.walk(view.volume.find("C:\\"))]
    assert sorted(names) == sorted(wanted)
    assert list(wclayer.check_layer(tmp_path / "run")) == []
    wclayer.export_layer_to_file(tmp_path / "run", tmp_path / "changes.tar")


def _watched(server: int, arguments: list[str]) -> list[str]:
    """What the steps say; if a call does not return, the mount's server is killed, which ends it."""
    with subprocess.Popen(
        [sys.executable, "-m", mount_steps.__name__, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as steps:
        assert steps.stdout is not None
        said = b""
        last = time.monotonic()
        while True:
            if select.select([steps.stdout], [], [], 1.0)[0]:
                piece = os.read(steps.stdout.fileno(), 1 << 16)
                if not piece:
                    break
                said += piece
                last = time.monotonic()
            elif time.monotonic() - last > _PATIENCE:
                os.kill(server, 9)
                steps.kill()
                said += b"hangs"
                break
    return said.decode().splitlines()
