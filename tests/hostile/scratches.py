"""Directories of scratches that attack whoever reads, changes or mounts them."""

from __future__ import annotations

import os
from pathlib import Path

from tests.hostile.forms import DAMAGED, TAKEN, World, add, form
from tests.hostile.layers import Tamper, put_journal, put_special
from tests.hostile_layers import change, copy_of
from wclayer.layers.directory import database


def _scratch(name: str, finding: str, tamper: Tamper, *, more: frozenset[int] = frozenset()) -> None:
    def build(place: Path, world: World) -> None:
        tamper(copy_of(world.layers.scratch, place), world)

    add("scratch", name, finding, DAMAGED | TAKEN, build, more=more)


def _special(path: str, kind: str) -> Tamper:
    return lambda layer, world: put_special(layer / path, kind, world)


def _mounted_at(place: str) -> Tamper:
    """Records where the scratch is mounted, as an SQL expression; OUTSIDE stands for the folder of the canaries."""
    return lambda layer, world: change(
        layer, f"INSERT OR REPLACE INTO layer VALUES ('mount', {place.replace('OUTSIDE', str(world.outside))})"
    )


_scratch("the journal of another", "F41, sibling", lambda layer, world: put_journal(layer, world.secret))
for _path in (
    "layer.db-wal",
    "layer.db-shm",
    "layer.db-journal",
    "scratch.open",
    "scratch.open.0123456789abcdef",
    "Data",
    "Data/0",
    "Data/f",
    "mount",
):
    for _kind in ("FIFO", "link to a canary", "link to a folder of canaries", "directory", "device"):
        _scratch(
            f"{_path} is a {_kind}",
            "F3, sibling",
            _special(_path, _kind),
            more=frozenset({4, 5, 9, 11, 17}) if _path == "mount" else frozenset(),
        )
for _kind in ("FIFO", "link to a canary", "directory", "device", "socket", "empty file", "link to itself"):
    # Without its disk it is no scratch.
    _scratch(
        f"sandbox.vhdx is a {_kind}",
        "F3, sibling",
        _special("sandbox.vhdx", _kind),
        more=frozenset({4, 5, 6, 10, 12}),
    )
for _number, _place in enumerate(
    ("'/'", "'/proc'", "'../outside'", "''", "'/dev/shm'", "'OUTSIDE'", "5", "x'00'", "char(0)")
):
    # What was recorded there is no mount of this scratch, so nothing is unmounted.
    _scratch(
        f"mount record {_number}",
        "F28",
        _mounted_at(_place),
        more=frozenset({9}),
    )
_scratch(
    "taken of nothing",
    "huge claims",
    lambda layer, world: change(
        layer,
        "INSERT INTO taken VALUES (9223372036854775807, -1, 9223372036854775807)",
        "INSERT INTO taken VALUES ('x', x'00', 1.5)",
    ),
)
_scratch(
    "unsaved by a text",
    "F5, sibling",
    lambda layer, world: change(layer, "INSERT OR REPLACE INTO layer VALUES ('unsaved', 'x')"),
)
_scratch(
    "written to by somebody who died",
    "F41",
    lambda layer, world: (layer / "scratch.open.0123456789abcdef").write_bytes(b""),
)
_scratch(
    "a file that is being written to",
    "F41",
    lambda layer, world: change(layer, f"UPDATE entries SET size = {database.BEING_WRITTEN} WHERE name = 'own'"),
)
_scratch(
    "a write-ahead log of rubbish",
    "F36",
    lambda layer, world: (layer / "layer.db-wal").write_bytes(b"\x37\x7f\x06\x82" + b"x" * 100_000),
)
_scratch(
    "a write-ahead log that claims pages",
    "F36",
    lambda layer, world: (layer / "layer.db-wal").write_bytes(
        b"\x37\x7f\x06\x82\x00\x2d\xe2\x18" + b"\x7f\xff\xff\xff" * 6
    ),
)


@form("scratch", "F26", DAMAGED)
def contents_that_are_gone(place: Path, world: World) -> None:
    layer = copy_of(world.layers.scratch, place)
    for file in (layer / "Data").glob("*/*"):
        file.unlink()


@form("scratch", "F3", DAMAGED)
def contents_that_are_links(place: Path, world: World) -> None:
    layer = copy_of(world.layers.scratch, place)
    for file in (layer / "Data").glob("*/*"):
        file.unlink()
        file.symlink_to(world.secret)


@form("scratch", "F29, sibling", DAMAGED)
def contents_that_are_hard_links(place: Path, world: World) -> None:
    layer = copy_of(world.layers.scratch, place)
    for file in (layer / "Data").glob("*/*"):
        file.unlink()
        os.link(world.secret, file)
