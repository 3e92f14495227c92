"""The pictures of the explorer show it as it is, load nothing, and are shown by the documents."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

from tests.explore.pictures import FOLDER, pictures
from tests.source import ROOT


def test_they_are_current() -> None:
    hint = "run `python -m tests.explore.pictures`, and look at the pictures"
    made = pictures()
    assert {path.name for path in FOLDER.iterdir()} == made.keys(), hint
    for name, svg in made.items():
        assert _text(svg) == _text((FOLDER / name).read_text(encoding="utf-8")), hint
        assert svg == (FOLDER / name).read_text(encoding="utf-8"), hint


def _text(svg: str) -> list[str]:
    """What a picture says, piece by piece: a difference is readable."""
    return [element.text or "" for element in ElementTree.fromstring(svg).iter() if element.tag.endswith("}text")]


def test_they_load_nothing_and_are_of_no_machine() -> None:
    for path in FOLDER.iterdir():
        svg = path.read_text(encoding="utf-8")
        assert not re.search(
            r"https?://(?!www\.w3\.org/)|@import|url\((?!#)", svg.replace("https://www.textualize.io", "")
        )
        assert "/tmp" not in svg


def test_each_is_shown() -> None:
    shown = {
        name
        for document in ("README.md", "docs/index.md", "docs/explore.md")
        for name in re.findall(r"\((?:docs/)?pictures/([^)]+)\)", (ROOT / document).read_text(encoding="utf-8"))
    }
    assert shown == {path.name for path in FOLDER.iterdir()}
