"""What a build shows: on a real terminal as the users of BuildKit know it, and in lines elsewhere."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from rich.cells import cell_len

from tests.builder.images import BASE, store_with_base
from tests.support import run
from tests.terminal import Told, on_a_terminal

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a terminal of POSIX")

FINE = r"""# escape=`
FROM base:1 AS tools
COPY files C:\tools
RUN echo [bold]not markup[/bold] and [/d]> C:\tools\made.txt && type C:\tools\made.txt
FROM base:1
ENV NAME=value
COPY --from=tools C:\tools C:\目录-with-a-name-that-does-not-fit-into-a-narrow-terminal
"""
FAILS = FINE + "RUN echo last words && del C:\\not-there.txt && if not exist C:\\x exit /b 3\n"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    store_with_base(tmp_path / "store")
    return tmp_path / "store"


@pytest.fixture
def context(tmp_path: Path) -> Path:
    (tmp_path / "context/files").mkdir(parents=True)
    for number in range(250):
        (tmp_path / f"context/files/{number}.txt").write_text("file")
    return tmp_path / "context"


def _build(store: Path, context: Path, dockerfile: str, *options: str, columns: int = 120, until: str = "") -> Told:
    (context / "Dockerfile").write_text(dockerfile)
    arguments: tuple[str | Path, ...] = ("build", "--store", store, "-t", "out:1", *options, context)
    return on_a_terminal(*arguments, columns=columns, interrupt_after=until)


def test_each_step_has_a_line_with_its_stage_and_its_time(store: Path, context: Path) -> None:
    # A step that takes longer than the time between two pictures, on any machine.
    for number in range(250, 5_000):
        (context / f"files/{number}.txt").write_text("file")
    told = _build(store, context, FINE)
    assert told.status == 0
    lines = {line.rpartition(" ")[0].rstrip() for line in told.lines if line.startswith(" => ")}
    assert lines >= {
        f" => [tools 1/3] FROM {BASE}",
        r" => [tools 2/3] COPY files C:\tools",
        r" => [tools 3/3] RUN echo [bold]not markup[/bold] and [/d]> C:\tools\made.txt && type C:\tools\made.txt",
        f" => [stage-1 1/2] FROM {BASE}",
        r" => [stage-1 2/2] COPY --from=tools C:\tools C:\目录-with-a-name-that-does-not-fit-into-a-narrow-terminal",
    }
    # While it ran, and not at the end.
    assert any(re.fullmatch(r" => \[tools 2/3\] COPY files C:\\tools  [\d,]+ entries", line) for line in lines)
    again = _build(store, context, FINE)
    assert any(line.startswith(r" => CACHED [tools 2/3] COPY files C:\tools") for line in again.lines)
    assert not any("entries" in line for line in again.lines)


@pytest.mark.parametrize("columns", [20, 40, 80])
def test_no_line_of_a_step_is_wider_than_the_terminal(store: Path, context: Path, columns: int) -> None:
    told = _build(store, context, FINE, columns=columns)
    assert told.status == 0
    shown = [line for line in told.lines if line.startswith(" => ")]
    assert len(shown) >= 5
    assert max(map(cell_len, shown)) <= columns - 2
    assert all(line.endswith("s") for line in shown if not line.startswith(" => => "))


def test_a_step_that_fails_is_an_error_and_keeps_what_its_command_said(store: Path, context: Path) -> None:
    told = _build(store, context, FAILS)
    assert told.status == 1
    at = next(number for number, line in enumerate(told.lines) if line.startswith(" => ERROR [stage-1 3/3] RUN echo"))
    said = [line for line in told.lines[at + 1 :] if line.startswith(" => => ")]
    assert said == [" => => last words", r" => => Could Not Find C:\not-there.txt"]
    assert "Traceback" not in told.text
    (context / "Dockerfile").write_text(FAILS)
    plain = run("build", "--store", store, "-t", "out:1", context, status=1)
    assert b" => ERROR [stage-1 3/3] RUN echo last words" in plain.stderr


def test_a_step_that_is_interrupted_is_canceled(store: Path, context: Path) -> None:
    # A file that takes longer to copy than the interrupt takes to arrive, on any machine.
    with (context / "files/large").open("wb") as large:
        large.truncate(1 << 30)
    told = _build(store, context, FINE, until="[tools 2/3]")
    assert told.status == 130
    assert any(line.startswith(r" => CANCELED [tools 2/3] COPY files C:\tools") for line in told.lines)
    # The cursor is there again.
    assert told.text.rindex("\x1b[?25h") > told.text.rindex("\x1b[?25l")


def test_plain_lines_are_whole_on_a_terminal_and_elsewhere(store: Path, context: Path) -> None:
    told = _build(store, context, FINE, "--progress", "plain", columns=40)
    elsewhere = run("build", "--store", store, "-t", "out:1", context).stderr.decode()
    line = r" => [stage-1 2/2] COPY --from=tools C:\tools C:\目录-with-a-name-that-does-not-fit-into-a-narrow-terminal"
    assert line in told.text
    assert "\x1b" not in told.text
    assert line.replace("=> [", "=> CACHED [") in elsewhere
