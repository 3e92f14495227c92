"""PowerShell in RUN: the language, the start of the process, the exit codes, refusals."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.build.scratches import Console, scratch_view

SHELL = ("powershell", "-Command")


@pytest.fixture
def console(tmp_path: Path) -> Iterator[Console]:
    with scratch_view(tmp_path) as view:
        yield Console(view, variables={"VAR": "qwerty", "PATHS": r"C:\a;C:\b"})


SAID = {
    "Write-Host word": "word\r\n",
    "Write-Host 'a  b' c": "a b c\r\n",
    "if (Test-Path C:\\t\\base.txt) { Write-Host a } else { Write-Host b }": "a\r\n",
    "if (!(Test-Path C:\\nothing)) { Write-Host a }": "a\r\n",
}


@pytest.mark.parametrize(("script", "expected"), SAID.items())
def test_a_script_says_what_it_says_on_windows(console: Console, script: str, expected: str) -> None:
    assert console.run(script, SHELL) == 0
    assert console.output.decode("cp437") == expected
