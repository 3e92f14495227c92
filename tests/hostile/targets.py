"""What may lie in the place that a user names for a result."""

from __future__ import annotations

import os
from pathlib import Path

from tests.hostile.forms import TAKEN, World, form


@form("target", "F6", TAKEN)
def a_link_to_a_file(place: Path, world: World) -> None:
    own = place.parent / "own"
    own.write_bytes(b"old")
    place.symlink_to("own")


@form("target", "F6", TAKEN)
def a_link_to_nothing_yet(place: Path, world: World) -> None:
    place.symlink_to("own")


@form("target", "F6", TAKEN)
def a_device(place: Path, world: World) -> None:
    os.mknod(place, 0o020666, os.makedev(1, 3))


@form("target", "F6", frozenset({16, 5}))
def a_link_to_itself(place: Path, world: World) -> None:
    place.symlink_to(place.name)


@form("target", "F6", frozenset({12, 3, 0, 2}))
def a_folder_with_something_in_it(place: Path, world: World) -> None:
    place.mkdir()
    (place / "file").write_bytes(b"x")


@form("target", "F6", frozenset({1, 5, 6, 10, 18}))
def a_socket(place: Path, world: World) -> None:
    os.mknod(place, 0o140666)
