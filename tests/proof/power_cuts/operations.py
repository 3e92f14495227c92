"""The operations that power cuts are tried on: those of the list, and what the next process does after a crash."""

from __future__ import annotations

import os

import wclayer
from tests.proof.operations import EVERY, Operation, scratch_at
from tests.proof.world import World, copy_scratch
from wclayer.layers.directory.scratch import IN_USE, ScratchDirectory


def _copy_littered(world: World) -> None:
    """A scratch in which a process died: nothing refers to some contents."""
    copy_scratch(world)
    shelf = sorted(path for path in (world.scratch / "Data").iterdir())[0]
    (shelf / "0123456789abcdef").write_bytes(b"left over")
    (world.scratch / f"{IN_USE}.0123456789abcdef").touch()


def _copy_crashed(world: World) -> None:
    """The same, in which a power cut has cut off contents."""
    _copy_littered(world)
    first, *_ = sorted(path for path in (world.scratch / "Data").rglob("*") if path.is_file())
    os.truncate(first, 10)


def _open(world: World) -> None:
    wclayer.LayerView(scratch=world.scratch).close()


def _opened(world: World) -> object:
    ScratchDirectory(world.scratch, exclusive=True).close()
    return scratch_at(world.scratch)


OPERATIONS: dict[str, Operation] = {
    **EVERY,
    "open after a crash": Operation(_open, _opened, _copy_littered),
    "open after a power cut": Operation(_open, _opened, _copy_crashed),
}
