"""docs/commands.md and the manual pages are what the help says, and `man` reads the pages."""

from __future__ import annotations

import runpy
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.source import ROOT
from tests.support import witness


@pytest.fixture(scope="module")
def made() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "docs" / "commands.py"))


def test_they_are_current(made: dict[str, Any]) -> None:
    hint = "run `python docs/commands.py`"
    assert (ROOT / "docs" / "commands.md").read_text(encoding="utf-8") == made["document"](), hint
    written = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "docs" / "man").iterdir()}
    assert written == made["manual"](), hint


def test_groff_sees_nothing_wrong_and_loses_nothing(made: dict[str, Any]) -> None:
    groff = witness("groff")
    for verb in made["verbs"]():
        page = ROOT / "docs" / "man" / f"{verb.page}.1"
        # No colours, no bold or underlined letters, no line breaks within a paragraph.
        plain = ["-P-cbou", "-rLL=10000n", "-Tutf8"]
        done = subprocess.run([groff, "-man", "-ww", *plain, page], capture_output=True, check=True, text=True)
        assert done.stderr == "", verb.path
        shown = " ".join(done.stdout.split())
        for option, meaning in verb.options:
            for text in (option, meaning):
                assert " ".join(text.split()) in shown, (verb.path, text)


def test_the_pages_are_in_the_wheel(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(ROOT)]
    subprocess.run(command, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as file:
        names = {name.rpartition("/")[2] for name in file.namelist() if "/data/share/man/man1/" in name}
    assert names == {path.name for path in (ROOT / "docs" / "man").iterdir()}
