"""Plain folders that attack whoever makes a layer of them, or copies them into one."""

from __future__ import annotations

import os
from pathlib import Path

from tests.hostile.forms import LIMITED, REFUSED, TAKEN, World, add, form
from tests.hostile.layers import SPECIAL, Tamper, put_special
from tests.hostile.transport import make_levels
from wclayer.formats.regf.model import TreeKey
from wclayer.formats.regf.writer import write_hive

CONFIG = "Files/Windows/System32/config"
_BROKEN_LINK = frozenset({2, 4, 16})
"""What a copy into a layer says of a link that leads nowhere: it follows links of the host."""


def _folder(place: Path) -> Path:
    (place / CONFIG).mkdir(parents=True)
    (place / CONFIG / "SYSTEM").write_bytes(write_hive(TreeKey("ROOT")))
    (place / "Files" / "d").mkdir()
    (place / "Files" / "a").write_bytes(b"a")
    (place / "Files" / "d" / "b").write_bytes(b"b")
    return place


def _plain(
    name: str, finding: str, tamper: Tamper, outcome: frozenset[int] = REFUSED, *, more: frozenset[int] = frozenset()
) -> None:
    def build(place: Path, world: World) -> None:
        tamper(_folder(place), world)

    add("folder", name, finding, outcome, build, more=more)


_plain("untouched", "a sound folder", lambda folder, world: None, TAKEN)
for _path in (
    "Files",
    "Files/a",
    "Files/d",
    "Files/d/b",
    f"{CONFIG}/SYSTEM",
    "Hives",
    "Hives/System_Base",
    "UtilityVM",
    "UtilityVM/Files",
    "layer.db",
    "layerchain.json",
):
    for _kind in SPECIAL:
        # A copy follows links of the host, as `cp` does: it is not asked about those.
        if "link to" in _kind and _kind != "link to itself":
            continue
        _made = _path in ("Hives/System_Base", "layer.db", "layerchain.json")
        _plain(
            f"{_path} is a {_kind}",
            "plain folders",
            lambda folder, world, path=_path, kind=_kind: _put(folder, path, kind, world),  # type: ignore[misc]
            REFUSED | TAKEN | frozenset({3, 4, 8}),
            more=_BROKEN_LINK | frozenset({1}),
        )


def _put(folder: Path, path: str, kind: str, world: World) -> None:
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    put_special(folder / path, kind, world)


for _name, _bytes in (
    ("case", b"Files/A"),
    ("case of a directory", b"Files/D"),
    ("colon", b"Files/a:s"),
    ("backslash", b"Files/x\\y"),
    ("control", b"Files/\x1b[2J"),
    ("trailing dot", b"Files/x."),
    ("device", b"Files/CON"),
    ("not UTF-8", b"Files/\xff"),
    ("three dots", b"Files/..."),
    ("a second root", b"files"),
    ("surrogate", b"Files/\xed\xa0\x80"),
):
    _plain(
        f"name: {_name}",
        "F31, sibling",
        lambda folder, world, name=_bytes: Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_bytes(b"x"),  # type: ignore[misc]
        REFUSED | TAKEN,
        more=frozenset({3, 5}),
    )
_plain(
    "a file of 2 to the 40 bytes",
    "F18",
    lambda folder, world: os.truncate(folder / "Files/a", 1 << 40),
    LIMITED,
    more=LIMITED | frozenset({15}),
)
_plain(
    "a hive of 2 to the 40 bytes",
    "F20, sibling",
    lambda folder, world: os.truncate(folder / CONFIG / "SYSTEM", 1 << 40),
    LIMITED | REFUSED,
    more=LIMITED | frozenset({15}),
)
_plain(
    "three hundred levels",
    "F14, sibling",
    lambda folder, world: make_levels(folder / "Files/d", 300),
    TAKEN,
    more=frozenset({5}),
)


@form("folder", "hard links to outside", TAKEN | REFUSED)
def a_link_to_the_folder_that_it_is_in(place: Path, world: World) -> None:
    _folder(place)
    (place / "Files" / "loop").symlink_to("..")
