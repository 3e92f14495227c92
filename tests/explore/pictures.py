"""Makes the pictures of the explorer in docs/pictures, of an image that it makes itself.

    python -m tests.explore.pictures

tests/docs/test_pictures.py fails while they differ.
"""

from __future__ import annotations

import asyncio
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tests.explore.made import running
from tests.explore.pictured import NAME, open_pictured
from tests.source import ROOT
from wclayer.explore.model.explored import ExploredChain

FOLDER = ROOT / "docs" / "pictures"
_FONTS = "ui-monospace, Menlo, Consolas, DejaVu Sans Mono, monospace"
"""What readers have: the picture loads nothing."""
_STORE = "/home/me/.local/share/wclayer"


@dataclass(frozen=True)
class _Picture:
    """A picture: the size of the terminal, and the keys that are pressed before."""

    size: tuple[int, int]
    keys: Sequence[str]

    @property
    def file(self) -> str:
        return f"explore-{self.size[0]}x{self.size[1]}.svg"


def _shown(*names: str) -> list[str]:
    """The keys that search for each name in its turn, and show what is found in its place."""
    return [key for name in names for key in ("slash", *name, "enter", "enter", "escape")]


PICTURES = (
    _Picture((80, 24), ["5", "down", "down", "right", "up", "right", "down"]),
    _Picture((120, 40), _shown("hosting.exe", "appsettings")),
    _Picture(
        (200, 60),
        ["v", "2", *_shown(".txt", "Run", "Server", "RollupFix", "W3SVC", "LogMode", "Windows NT"), "right", "down"],
    ),
)


def pictures() -> dict[str, str]:
    """Returns the pictures by the names of their files."""
    with tempfile.TemporaryDirectory() as folder, open_pictured(Path(folder)) as image:
        explored = ExploredChain(NAME, image.layers, image)
        return {picture.file: asyncio.run(_taken(explored, picture)) for picture in PICTURES}


async def _taken(explored: ExploredChain, picture: _Picture) -> str:
    store = str(explored.paths[0].parent.parent)
    async with running(explored, picture.size) as driven:
        await driven.press(*picture.keys)
        # The folder of the machine on which the picture is made may have a path of any length.
        detail = driven.app.detail
        detail.show([replace(fact, text=fact.text.replace(store, _STORE)) for fact in detail.facts])
        await driven.settled()
        svg = driven.app.export_screenshot(title=f"wclayer explore {NAME}", simplify=True)
    svg = re.sub(r"@font-face \{.*?\}\n", "", svg, flags=re.DOTALL)
    svg = svg.replace("Fira Code, monospace", _FONTS).replace("arial", "sans-serif")
    # The lines of frames reach from one line to the next so.
    svg = svg.replace("font-size: 20px", "font-size: 21px")
    # The number is made of all that is shown: each line would differ if one does.
    svg = re.sub(r"terminal-\d+-", "", svg)
    return re.sub(r"[ \t]+$", "", svg, flags=re.MULTILINE)


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, svg in pictures().items():
        (FOLDER / name).write_text(svg, encoding="utf-8")
